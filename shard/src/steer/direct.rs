//! The direct path of the steering program: it reads the packet where it lies, and copies nothing.
//!
//! A call of a kernel function costs more than all that is done with an ordinary message, so the message is not fetched by
//! one. This path knows the ordinary message only; whatever is not ordinary, or not in the part of the packet that a program may
//! read, goes to the path that copies (`program.rs`), from its beginning. So it may give up anywhere, and **all that it has to prove is
//! that what it decides is what the other would**:
//!
//! ```text
//! start     blank in front, message of fewer than 8 bytes              copy
//! scan      16 bytes without an LF: at += 16, again                    packet's end: copy
//! line        behind the first LF of them, LF or CR LF: pass
//!               `Call-ID` any case, or `i`, then `:`: found            then a blank: copy
//!             at = behind the word (behind the LF if another is in the word), again
//! found     one space or none, a byte of a value                       another blank: copy
//! hash      words up to a blank                                        packet's end, 512 bytes: copy
//! ```
//!
//! Two limits of the definition never bind here: [`ROUNDS`] rounds look at no more line feeds than it allows, and at no more than 4 KiB,
//! with the value still less than 8 KiB. The rounds end in the copy too.
//!
//! **`at` goes from word to word, not from line to line.** The place of a line feed takes a chain of some twenty instructions to
//! compute, and the next line's could only start when it is known; now the processor reads ahead while a line is looked at.
//!
//! # Registers
//!
//! | | `scan` | `line` |
//! | --- | --- | --- |
//! | `R0` | [`HIGH_BIT`] | eight LF, then spare |
//! | `R1` | address of `at` | address of the line |
//! | `R2`, `R3` | words | words; `R3` = marks of the LF, then spare |
//! | `R4` | | the next `at` |
//! | `R5` | [`ABOVE_LF`] | [`LOW_BITS`], seven low bits of each byte |
//! | `R6` | `at` | place of the line |
//! | `R7`, `R8`, `R9` | message, rounds left, end of what may be read | the same |
//!
//! The verifier's rules are those of `program.rs`, and one more: an address to which an unknown number was added is a new
//! one to it, which must be compared with the packet's end again.

use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::steering::LINES_MAX;

use super::program::{
    AT_LIMIT, BLANK, CALL_ID_CASE, CONTEXT, CR_LF, DATA_END, EACH, HIGH_BIT, LINE_FEEDS, LOW_BITS, UDP_HEADER, ZERO,
    count_bytes,
};
use crate::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::assembler::{Assembler, Condition, Label, Register, Width};

/// Offsets in `struct sk_reuseport_md`: the linear part of the packet, from the UDP header on.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 8;

/// Rounds of the scan, of 16 bytes or an LF each: some 2 KiB of an ordinary message.
const ROUNDS: i32 = 192;

/// Rounds of the hash, 8 bytes each.
pub(super) const HASH_ROUNDS: i32 = 64;

const _: () = assert!(ROUNDS as usize <= LINES_MAX, "a round is at most one line feed");
const _: () = assert!(
    (ROUNDS as usize + 2) * 16 + HASH_ROUNDS as usize * 8 <= MESSAGE_SIZE_MAX,
    "the cut of a large message is never met"
);

/// Added to a word it leaves the high bit 0 in the byte of an LF, which becomes 0x7f. Nearly all other text, 0x0b to 0x8a, gets a high bit. A
/// byte that carries into the next loses its own, so that its word is looked at closely, as any with a byte of the rest.
const ABOVE_LF: u64 = 0x75 * EACH;

/// The constants of `scan`.
fn patterns(asm: &mut Assembler) {
    asm.constant(R5, ABOVE_LF);
    asm.constant(R0, HIGH_BIT);
}

/// `R7 + R6` = the address of the value, with `R6` as the hash wants it; to `pass` at the end of the header fields, to `copy` for all that is
/// not ordinary. `R0` is the scratch value before.
pub(super) fn find(asm: &mut Assembler, pass: Label, copy: Label) {
    let [line, next, restore] = ["direct_line", "direct_next", "direct_restore"].map(|name| asm.label(name));
    asm.load(Width::Double8, R6, R0, ZERO);
    asm.load(Width::Double8, R1, R10, CONTEXT);
    asm.load(Width::Double8, R7, R1, CONTEXT_DATA);
    asm.load(Width::Double8, R9, R1, CONTEXT_DATA_END);
    asm.store(Width::Double8, R10, DATA_END, R9);
    within(asm, R7, UDP_HEADER + 8, copy);
    asm.add(R7, UDP_HEADER);
    asm.load(Width::Byte1, R2, R7, 0);
    asm.jump_if(R2, Condition::AtMost, BLANK as i32, copy);
    asm.and(R6, AT_LIMIT - 1);
    asm.copy(R8, ROUNDS);
    patterns(asm);

    let scan = asm.here("direct_scan");
    asm.address(R1, R7, R6);
    within(asm, R1, 16, copy);
    asm.load(Width::Double8, R2, R1, 0);
    asm.load(Width::Double8, R3, R1, 8);
    asm.add(R2, R5);
    asm.add(R3, R5);
    asm.and(R2, R3);
    asm.and(R2, R0);
    asm.jump_if(R2, Condition::Different, R0, line);
    asm.add(R6, 16);
    let again = asm.here("direct_again");
    asm.and(R6, AT_LIMIT - 1);
    asm.subtract(R8, 1);
    asm.jump_if(R8, Condition::Different, 0, scan);
    asm.jump(copy);

    asm.place(line);
    line_feed(asm, restore);
    let [compact, call_id] = ["direct_compact", "direct_call_id"].map(|name| asm.label(name));
    first_bytes(asm, compact, call_id, pass, copy);
    asm.place(next);
    asm.copy(R6, R4);
    asm.place(restore);
    patterns(asm);
    asm.jump(again);

    let colon = asm.label("direct_colon");
    asm.place(compact);
    asm.copy(R3, 2);
    asm.shift_right(R2, 8);
    asm.and(R2, 0xff);
    asm.jump_if(R2, Condition::Equal, i32::from(b':'), colon);
    asm.jump_if(R2, Condition::Above, BLANK as i32, next);
    asm.jump(copy);

    asm.place(call_id);
    asm.copy(R3, 8);
    asm.constant(R1, CALL_ID_CASE);
    asm.or(R2, R1);
    asm.constant(R1, u64::from_le_bytes(*b"call-id:"));
    asm.xor(R2, R1);
    asm.jump_if(R2, Condition::Equal, 0, colon);
    // The name, and behind it no colon: a blank, or a longer name. The copy tells which.
    asm.shift_left(R2, 8);
    asm.jump_if(R2, Condition::Different, 0, next);
    asm.jump(copy);

    asm.place(colon);
    asm.add(R6, R3);
    asm.and(R6, AT_LIMIT - 1);
    value(asm, copy);
}

/// To `copy` unless the program may read `bytes` at `address`; `R2` is lost.
fn within(asm: &mut Assembler, address: Register, bytes: i32, copy: Label) {
    asm.copy(R2, address);
    asm.add(R2, bytes);
    asm.jump_if(R2, Condition::Above, R9, copy);
}

/// `R1` and `R6` = the address and the place behind the first LF of 16 bytes; `R4` = where the scan goes on: behind the word, or behind the
/// LF where another follows in the word. To `none` with the place behind the 16 bytes where none is an LF.
fn line_feed(asm: &mut Assembler, none: Label) {
    let [marked, only] = ["direct_marked", "direct_only"].map(|name| asm.label(name));
    asm.constant(R5, LOW_BITS);
    asm.constant(R0, LINE_FEEDS);
    mark(asm);
    asm.jump_if(R3, Condition::Different, 0, marked);
    asm.add(R1, 8);
    asm.add(R6, 8);
    mark(asm);
    asm.jump_if(R3, Condition::Different, 0, marked);
    asm.add(R6, 8);
    asm.jump(none);
    asm.place(marked);
    asm.copy(R4, R6);
    asm.add(R4, 8);
    // `R2` = ones up to and with the lowest mark, `R3` = the marks without it.
    asm.copy(R0, R3);
    asm.subtract(R0, 1);
    asm.copy(R2, R0);
    asm.xor(R2, R3);
    asm.and(R3, R0);
    count_bytes(asm, R2, R0);
    asm.add(R1, R2);
    asm.add(R6, R2);
    asm.jump_if(R3, Condition::Equal, 0, only);
    asm.copy(R4, R6);
    asm.place(only);
}

/// `R3` = the high bit of each byte that is an LF in the word at `R1`, exactly; `R2` is lost.
fn mark(asm: &mut Assembler) {
    asm.load(Width::Double8, R2, R1, 0);
    asm.xor(R2, R0);
    asm.copy(R3, R2);
    asm.and(R3, R5);
    asm.add(R3, R5);
    asm.or(R3, R2);
    asm.or(R3, R5);
    asm.not(R3);
}

/// `R2` = the first eight bytes of the line at `R1`. Goes on where the line is of no interest.
fn first_bytes(asm: &mut Assembler, compact: Label, call_id: Label, pass: Label, copy: Label) {
    within(asm, R1, 8, copy);
    asm.load(Width::Double8, R2, R1, 0);
    asm.copy(R3, R2);
    asm.and(R3, 0xff);
    asm.jump_if(R3, Condition::Equal, i32::from(b'\n'), pass);
    asm.or(R3, 0x20);
    asm.jump_if(R3, Condition::Equal, i32::from(b'c'), call_id);
    asm.jump_if(R3, Condition::Equal, i32::from(b'i'), compact);
    asm.and(R2, 0xffff);
    asm.jump_if(R2, Condition::Equal, CR_LF, pass);
}

/// Skips one space at `R6`; to `copy` unless the value starts there.
fn value(asm: &mut Assembler, copy: Label) {
    let starts = asm.label("direct_value");
    asm.address(R1, R7, R6);
    within(asm, R1, 2, copy);
    asm.load(Width::Byte1, R2, R1, 0);
    asm.jump_if(R2, Condition::Different, i32::from(b' '), starts);
    asm.load(Width::Byte1, R2, R1, 1);
    asm.add(R6, 1);
    asm.and(R6, AT_LIMIT - 1);
    asm.place(starts);
    asm.jump_if(R2, Condition::AtMost, BLANK as i32, copy);
}
