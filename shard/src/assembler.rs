//! A small assembler for eBPF: instruction words with labels, and a listing for people.
//!
//! It knows the instructions that the programs here use (`steer/`, `shed/`) and no more: no object files, no type information, no compiler. A method is one
//! instruction and reads like it: `subtract(R1, R2)` is `r1 -= r2`. Jumps name a [`Label`]; [`Assembler::finish`] fills in
//! the distances.
//!
//! ```text
//!   8 bytes:  code | dst:4 src:4 | offset:16 | immediate:32
//!   code   =  class (low 3 bits) | source: register 0x08 | operation or width
//!   a 64-bit constant takes two words: the immediates hold its halves
//! ```
//!
//! What it refuses (by panic: the program is ours): a label placed twice or never, a jump further than 32,767 words.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::bpf::Word;

/// A register. `R0` holds results, `R1`–`R5` arguments of a call (lost by it), `R6`–`R9` outlive calls, `R10` is the end of
/// the 512-byte stack.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The second operand: a register, or a 32-bit constant that is extended by its sign.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Operand {
    Register(Register),
    Constant(i32),
}

/// Arithmetic on 64 bits.
#[derive(Copy, Clone, Debug)]
#[repr(u8)]
enum Arithmetic {
    Add = 0x00,
    Subtract = 0x10,
    Multiply = 0x20,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Xor = 0xa0,
    Copy = 0xb0,
}

/// Conditions of a jump, unsigned.
#[derive(Copy, Clone, Debug)]
#[repr(u8)]
pub(crate) enum Condition {
    Equal = 0x10,
    Above = 0x20,
    AtLeast = 0x30,
    Different = 0x50,
    AtMost = 0xb0,
}

/// How much a memory access moves.
#[derive(Copy, Clone, Debug)]
#[repr(u8)]
pub(crate) enum Width {
    Word4 = 0x00,
    Byte1 = 0x10,
    Double8 = 0x18,
}

/// Kernel functions.
#[derive(Copy, Clone, Debug)]
#[repr(i32)]
pub(crate) enum Helper {
    MapLookup = 1,
    MonotonicNanos = 5,
    LoadBytes = 26,
    LoadBytesRelative = 68,
    SelectSocket = 82,
}

/// A place in the program.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Label(usize);

struct LabelState {
    name: &'static str,
    place: Option<usize>,
}

/// The program so far.
#[derive(Default)]
pub(crate) struct Assembler {
    words: Vec<Word>,
    labels: Vec<LabelState>,
    /// Word index of a jump and its label.
    jumps: Vec<(usize, Label)>,
    /// Word index and text; a label's line comes before its instruction's.
    listing: Vec<(Option<usize>, String)>,
}

/// A finished program. Its words may hold a key, so it shows itself as the listing, which never does.
pub(crate) struct Program {
    words: Vec<Word>,
    listing: Vec<(Option<usize>, String)>,
}

const CLASS_LOAD_CONSTANT: u8 = 0x18;
const CLASS_LOAD: u8 = 0x61;
const CLASS_STORE: u8 = 0x63;
/// A 64-bit addition to memory that no other processor sees half done: class store, mode atomic, width 8, operation add (immediate 0).
const ATOMIC_ADD: u8 = 0xdb;
const CLASS_JUMP: u8 = 0x05;
const CLASS_ARITHMETIC: u8 = 0x07;
const FROM_REGISTER: u8 = 0x08;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// Source-register marks of a 64-bit constant: a map's descriptor, or the address of a map's first value.
const CONSTANT_IS_MAP: u8 = 1;
const CONSTANT_IS_MAP_VALUE: u8 = 2;

impl From<Register> for Operand {
    fn from(register: Register) -> Operand {
        Operand::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(constant: i32) -> Operand {
        Operand::Constant(constant)
    }
}

impl Operand {
    fn parts(self) -> (u8, Option<Register>, i32) {
        match self {
            Operand::Register(register) => (FROM_REGISTER, Some(register), 0),
            Operand::Constant(constant) => (0, None, constant),
        }
    }
}

macro_rules! arithmetic {
    ($($method:ident $operation:ident $sign:literal;)*) => {
        $(pub(crate) fn $method(&mut self, to: Register, operand: impl Into<Operand>) {
            let operand = operand.into();
            let (from_register, register, constant) = operand.parts();
            let code = CLASS_ARITHMETIC | from_register | Arithmetic::$operation as u8;
            self.emit(code, Some(to), register, 0, constant, format!("{to} {} {operand}", $sign));
        })*
    };
}

impl Assembler {
    arithmetic! {
        copy Copy "=";
        add Add "+=";
        subtract Subtract "-=";
        multiply Multiply "*=";
        and And "&=";
        or Or "|=";
        xor Xor "^=";
        shift_left ShiftLeft "<<=";
        shift_right ShiftRight ">>=";
    }

    fn emit(
        &mut self,
        code: u8,
        to: Option<Register>,
        from: Option<Register>,
        offset: i16,
        immediate: i32,
        text: String,
    ) {
        let half = |register: Option<Register>| register.map_or(0, |register| register as u8);
        self.listing.push((Some(self.words.len()), text));
        self.words.push(Word { code, registers: half(to) | half(from) << 4, offset, immediate });
    }

    /// `to` = all bits turned.
    pub(crate) fn not(&mut self, to: Register) {
        self.xor(to, -1);
    }

    /// `to` = `to` rotated left; the machine has no such instruction. `spare` is lost.
    pub(crate) fn rotate_left(&mut self, to: Register, bits: i32, spare: Register) {
        self.copy(spare, to);
        self.shift_left(spare, bits);
        self.shift_right(to, 64 - bits);
        self.or(to, spare);
    }

    /// `to` = `base` + `offset`.
    pub(crate) fn address(&mut self, to: Register, base: Register, offset: Register) {
        self.copy(to, base);
        self.add(to, offset);
    }

    /// `to` = memory at `base + offset`, extended by zeros.
    pub(crate) fn load(&mut self, width: Width, to: Register, base: Register, offset: i16) {
        let text = format!("{to} = {width}[{base} {offset:+}]");
        self.emit(CLASS_LOAD | width as u8, Some(to), Some(base), offset, 0, text);
    }

    /// Memory at `base + offset` = `from`.
    pub(crate) fn store(&mut self, width: Width, base: Register, offset: i16, from: Register) {
        let text = format!("{width}[{base} {offset:+}] = {from}");
        self.emit(CLASS_STORE | width as u8, Some(base), Some(from), offset, 0, text);
    }

    /// Memory at `base + offset` += `amount`, atomically, 8 bytes.
    pub(crate) fn atomic_add(&mut self, base: Register, offset: i16, amount: Register) {
        let text = format!("atomic u64[{base} {offset:+}] += {amount}");
        self.emit(ATOMIC_ADD, Some(base), Some(amount), offset, 0, text);
    }

    /// `to` = a 64-bit constant.
    pub(crate) fn constant(&mut self, to: Register, constant: u64) {
        self.wide(to, 0, constant, format!("{to} = {constant:#018x}"));
    }

    /// `to` = a 64-bit constant that the listing must not show.
    pub(crate) fn secret(&mut self, to: Register, constant: u64) {
        self.wide(to, 0, constant, format!("{to} = <secret>"));
    }

    /// `to` = a map, as helpers take it.
    pub(crate) fn map(&mut self, to: Register, map: BorrowedFd<'_>, name: &str) {
        self.wide(to, CONSTANT_IS_MAP, map.as_raw_fd() as u64, format!("{to} = map {name}"));
    }

    /// `to` = the address of the first value of an array map.
    pub(crate) fn map_value(&mut self, to: Register, map: BorrowedFd<'_>, name: &str) {
        self.wide(to, CONSTANT_IS_MAP_VALUE, map.as_raw_fd() as u64, format!("{to} = &{name}[0]"));
    }

    fn wide(&mut self, to: Register, mark: u8, constant: u64, text: String) {
        self.emit(CLASS_LOAD_CONSTANT, Some(to), None, 0, constant as i32, text);
        self.words.last_mut().expect("just pushed").registers |= mark << 4;
        self.words.push(Word { code: 0, registers: 0, offset: 0, immediate: (constant >> 32) as i32 });
    }

    /// A name for a place that is not yet known.
    pub(crate) fn label(&mut self, name: &'static str) -> Label {
        self.labels.push(LabelState { name, place: None });
        Label(self.labels.len() - 1)
    }

    /// The next instruction is at `label`.
    pub(crate) fn place(&mut self, label: Label) {
        let state = &mut self.labels[label.0];
        assert!(state.place.is_none(), "label {} is placed twice", state.name);
        state.place = Some(self.words.len());
        self.listing.push((None, format!("{}:", state.name)));
    }

    /// A label here.
    pub(crate) fn here(&mut self, name: &'static str) -> Label {
        let label = self.label(name);
        self.place(label);
        label
    }

    /// Goes to `label`.
    pub(crate) fn jump(&mut self, label: Label) {
        let text = format!("goto {}", self.labels[label.0].name);
        self.jumps.push((self.words.len(), label));
        self.emit(CLASS_JUMP, None, None, 0, 0, text);
    }

    /// Goes to `label` if `left` compares so with `right`; the verifier looks at the other way first.
    pub(crate) fn jump_if(&mut self, left: Register, condition: Condition, right: impl Into<Operand>, label: Label) {
        let right = right.into();
        let (from_register, register, constant) = right.parts();
        let text = format!("if {left} {condition} {right} goto {}", self.labels[label.0].name);
        self.jumps.push((self.words.len(), label));
        self.emit(CLASS_JUMP | from_register | condition as u8, Some(left), register, 0, constant, text);
    }

    /// Calls a kernel function.
    pub(crate) fn call(&mut self, helper: Helper) {
        self.emit(CALL, None, None, 0, helper as i32, format!("r0 = {helper:?}(…)"));
    }

    /// Returns `R0`.
    pub(crate) fn exit(&mut self) {
        self.emit(EXIT, None, None, 0, 0, "exit".to_owned());
    }

    /// Fills in the jumps.
    pub(crate) fn finish(mut self) -> Program {
        for (from, label) in self.jumps {
            let state = &self.labels[label.0];
            let place = state.place.unwrap_or_else(|| panic!("label {} is never placed", state.name));
            let distance = place as isize - from as isize - 1;
            self.words[from].offset = i16::try_from(distance).expect("a program shorter than a jump reaches");
        }
        Program { words: self.words, listing: self.listing }
    }
}

impl Program {
    /// The words for the kernel. They hold what [`Assembler::secret`] was given.
    pub(crate) fn words(&self) -> &[Word] {
        &self.words
    }
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, text) in &self.listing {
            match place {
                Some(place) => writeln!(out, "{place:>5}  {text}")?,
                None => writeln!(out, "{text}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Register {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "r{}", *self as u8)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Register(register) => write!(out, "{register}"),
            Operand::Constant(constant) if (-1..10).contains(constant) => write!(out, "{constant}"),
            Operand::Constant(constant) => write!(out, "{constant:#x}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Condition::Equal => "==",
            Condition::Above => ">",
            Condition::AtLeast => ">=",
            Condition::Different => "!=",
            Condition::AtMost => "<=",
        })
    }
}

impl fmt::Display for Width {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Width::Byte1 => "u8",
            Width::Word4 => "u32",
            Width::Double8 => "u64",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Register::{R0, R1, R2, R10};
    use super::{Assembler, Condition, Helper, Width};
    use crate::sys::bpf::Word;

    /// The words are those of the kernel's instruction set document, computed by hand.
    #[test]
    fn words_and_listing() {
        let mut asm = Assembler::default();
        let out = asm.label("out");
        asm.secret(R1, 0x1122_3344_5566_7788);
        let again = asm.here("again");
        asm.load(Width::Byte1, R2, R10, -8);
        asm.jump_if(R2, Condition::Equal, 32, out);
        asm.subtract(R1, R2);
        asm.jump_if(R1, Condition::Above, R2, again);
        asm.store(Width::Word4, R10, -4, R1);
        asm.place(out);
        asm.call(Helper::SelectSocket);
        asm.copy(R0, 1);
        asm.exit();
        let program = asm.finish();
        let word = |code, registers, offset, immediate| Word { code, registers, offset, immediate };
        assert_eq!(
            program.words(),
            [
                word(0x18, 0x01, 0, 0x5566_7788),
                word(0x00, 0x00, 0, 0x1122_3344),
                word(0x71, 0xa2, -8, 0),
                word(0x15, 0x02, 3, 32),
                word(0x1f, 0x21, 0, 0),
                word(0x2d, 0x21, -4, 0),
                word(0x63, 0x1a, -4, 0),
                word(0x85, 0x00, 0, 82),
                word(0xb7, 0x00, 0, 1),
                word(0x95, 0x00, 0, 0),
            ]
        );
        let listing = program.to_string();
        assert_eq!(
            listing,
            "    0  r1 = <secret>\nagain:\n    2  r2 = u8[r10 -8]\n    3  if r2 == 0x20 goto out\n    4  r1 -= r2\n    5  \
             if r1 > r2 goto again\n    6  u32[r10 -4] = r1\nout:\n    7  r0 = SelectSocket(…)\n    8  r0 = 1\n    9  exit\n"
        );
    }

    #[test]
    #[should_panic(expected = "label nowhere is never placed")]
    fn a_jump_to_nowhere_is_our_bug() {
        let mut asm = Assembler::default();
        let nowhere = asm.label("nowhere");
        asm.jump(nowhere);
        asm.finish();
    }
}
