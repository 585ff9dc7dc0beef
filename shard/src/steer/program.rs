//! The steering program: Call-ID → slot → shard → socket, in the kernel, before a socket is chosen.
//!
//! It computes what `Steering::slot_of_datagram` computes, bit for bit; `tests/steering.rs` holds the two equal through real
//! sockets. In pseudo-code:
//!
//! ```text
//! direct    the ordinary message, read in the packet: at `hash`, or   the end of the header fields: pass
//! copy      scratch = the first 8 KiB behind the UDP header, eight LF, eight 0x7f
//!           skip blanks                                        nothing left: pass
//! scan      loop: 16 bytes without an LF: at += 16, again
//! line        at = the place behind the first LF of them       the 257th LF: pass
//!             LF or CR LF there:                               pass
//!             `i` or `Call-ID`, any case, then blank or `:`:   found
//!             else again
//! found     skip blanks, `:`, skip blanks                      no `:`, nothing left: pass
//! hash      SipHash-1-3 in words of 8 bytes up to a blank
//! select    socket = sockets[table[hash >> 48]]
//! pass      whatever was selected; the kernel's own hash where nothing was
//! ```
//!
//! # The message
//!
//! For UDP, IPv4 and IPv6 alike, offset 0 of the context's packet is the **UDP header**: the message starts at 8. How much of it the
//! program can read directly is up to the driver (128 or 256 bytes and the rest in page fragments are common; on loopback
//! nothing but the header once a datagram exceeds about 16 KiB; a reassembled datagram is a chain). So there are two paths:
//! `direct.rs` reads the packet and decides only the ordinary message that it sees whole up to its Call-ID; for all else one helper
//! call copies the message into a scratch value of this CPU, and the path in this file, which knows the whole definition, starts anew.
//! Nothing else touches the value meanwhile: the program runs with softirqs off.
//!
//! Behind the copy stand eight LF and eight 0x7f. The LF are an empty line to the scan, and a blank to the hash; the 0x7f end the
//! skipping of blanks. So every loop stops within 16 bytes of the message's end and needs no comparison with its length.
//!
//! # Registers
//!
//! | | `copy` to `found` | `hash` | `select` |
//! | --- | --- | --- | --- |
//! | `R0` | | word | |
//! | `R1` | spare | spare | arguments |
//! | `R2`–`R5` | words; `R5` = seven low bits of each byte | `v0`–`v3` | arguments |
//! | `R6` | `at`: place of a word | `at` | |
//! | `R7` | scratch | scratch, or the message in the packet | |
//! | `R8` | rounds left | rounds left | |
//! | `R9` | eight LF | ends in the word | |
//!
//! # What the verifier wants
//!
//! It walks every round of a loop, and every way through a round, unless it has seen the same state at the same place. So
//! each loop is built from two parts that keep its walk as long as one way through all rounds:
//!
//! - **Rounds left** is a constant to it. It proves the end, and nothing else does: the bounds are such that it never runs out.
//! - **`at`** is any number below [`AT_LIMIT`] to it, whatever happened before: it starts as a number read back from
//!   memory, and each round masks it, which forgets what was added. So all ways into the next round are the same state.
//!
//! A walk of `at` in steps from a known start, or a comparison with a bound instead of the mask, makes each way a new state, and the
//! program "too large" (a million instructions); see `docs/adr/0004-steering.md`.

use std::os::fd::BorrowedFd;

use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::siphash::{Hasher, Key};
use corelane_core::steering::{LINES_MAX, SLOTS};

use super::direct;
use crate::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::assembler::{Assembler, Condition, Helper, Label, Program, Register, Width};

/// Where the value lies that the hash reads.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Source {
    /// In the packet, whose end each read must respect.
    Packet,
    /// In the scratch value, where something stands behind the message.
    Scratch,
}

/// What the verifier takes `at` to be below: a power of two over the size of a message.
pub(super) const AT_LIMIT: i32 = 0x4000;

/// The same for the lines seen.
const LINES_LIMIT: i32 = 0x400;

/// Bytes of a scratch value: `at`, and what is read behind it: a line up to 16 bytes later as we know and 263 as the verifier does,
/// then its name and a word. No more than the first 8 KiB and a little are ever touched.
pub(super) const SCRATCH_SIZE: usize = AT_LIMIT as usize + 512;

/// Where the scratch value keeps a number while the verifier forgets it.
const FORGET: i16 = SCRATCH_SIZE as i16 - 8;

/// Where the scratch value has a 0 that the verifier does not know: nobody writes there.
pub(super) const ZERO: i16 = SCRATCH_SIZE as i16 - 16;

/// Bytes of the slot table's value: a shard for each slot.
pub(super) const TABLE_SIZE: usize = SLOTS;

/// Offset of `len` in `struct sk_reuseport_md`: bytes from the UDP header on.
const CONTEXT_LENGTH: i16 = 16;
pub(super) const UDP_HEADER: i32 = 8;
/// Stack: the context, saved; the message's length; line feeds seen; the place of the value; the key of a map; the address of the
/// scratch value; the end of what may be read of the packet.
pub(super) const CONTEXT: i16 = -8;
const LENGTH: i16 = -16;
const LINES: i16 = -24;
const START: i16 = -32;
const MAP_KEY: i16 = -40;
const SCRATCH: i16 = -48;
pub(super) const DATA_END: i16 = -56;
/// `SK_PASS`: deliver; to the kernel's choice where no socket was selected.
const PASS: i32 = 1;

pub(super) const EACH: u64 = 0x0101_0101_0101_0101;
pub(super) const LOW_BITS: u64 = 0x7f * EACH;
pub(super) const HIGH_BIT: u64 = 0x80 * EACH;
pub(super) const LINE_FEEDS: u64 = b'\n' as u64 * EACH;
/// The largest blank.
pub(super) const BLANK: u64 = 0x20;
/// The case bit of the letters of `Call-ID`, and of them only: it would make a hyphen of a CR.
pub(super) const CALL_ID_CASE: u64 = u64::from_le_bytes(*b"    \0  \0");
pub(super) const CR_LF: i32 = u16::from_le_bytes(*b"\r\n") as i32;

/// Rounds of a loop that goes 8 bytes a round, over the message and what stands behind it.
const WORD_ROUNDS: i32 = MESSAGE_SIZE_MAX as i32 / 8 + 3;
/// Rounds of the scan: 16 bytes or a line each.
const SCAN_ROUNDS: i32 = MESSAGE_SIZE_MAX as i32 / 16 + LINES_MAX as i32 + 2;

const _: () = assert!(MESSAGE_SIZE_MAX + 64 <= AT_LIMIT as usize, "the mask never changes a place");

/// The maps that the program names.
#[derive(Copy, Clone)]
pub(super) struct Maps<'a> {
    /// One value of [`SCRATCH_SIZE`] bytes per CPU.
    pub(super) scratch: BorrowedFd<'a>,
    /// One value of [`TABLE_SIZE`] bytes.
    pub(super) table: BorrowedFd<'a>,
    /// The sockets of one group by shard.
    pub(super) sockets: BorrowedFd<'a>,
}

/// The program for one group.
pub(super) fn steering(key: Key, maps: Maps<'_>) -> Program {
    let mut asm = Assembler::default();
    let pass = asm.label("pass");
    let copied = asm.label("copy");
    let hashed = asm.label("hashed");
    start(&mut asm, maps, pass);
    direct::find(&mut asm, pass, copied);
    hash(&mut asm, key, Source::Packet, copied);
    asm.jump(hashed);
    asm.place(copied);
    copy(&mut asm, pass);
    skip_blanks(&mut asm, pass);
    scan(&mut asm, pass);
    skip_blanks(&mut asm, pass);
    colon(&mut asm, pass);
    skip_blanks(&mut asm, pass);
    hash(&mut asm, key, Source::Scratch, pass);
    asm.place(hashed);
    select(&mut asm, maps);
    asm.place(pass);
    asm.copy(R0, PASS);
    asm.exit();
    asm.finish()
}

/// A program that selects nothing: what the kernel's own part of a run costs.
pub(super) fn nothing() -> Program {
    let mut asm = Assembler::default();
    asm.copy(R0, PASS);
    asm.exit();
    asm.finish()
}

/// Saves the context; `R0` = the scratch value, saved too.
fn start(asm: &mut Assembler, maps: Maps<'_>, pass: Label) {
    asm.store(Width::Double8, R10, CONTEXT, R1);
    asm.copy(R2, 0);
    asm.store(Width::Word4, R10, MAP_KEY, R2);
    asm.map(R1, maps.scratch, "scratch");
    asm.copy(R2, R10);
    asm.add(R2, i32::from(MAP_KEY));
    asm.call(Helper::MapLookup);
    asm.jump_if(R0, Condition::Equal, 0, pass);
    asm.store(Width::Double8, R10, SCRATCH, R0);
}

/// `R7` = the message in the scratch value; `R6` = 0, and so are the lines seen, both unknown to the verifier; `R5` and `R9` = the
/// patterns that stand behind the message, which the scan uses.
fn copy(asm: &mut Assembler, pass: Label) {
    asm.load(Width::Double8, R7, R10, SCRATCH);
    // The general case first: the verifier then sees the capped length as one of those it has walked.
    let too_long = asm.label("too_long");
    let fits = asm.label("fits");
    asm.load(Width::Double8, R1, R10, CONTEXT);
    asm.load(Width::Word4, R4, R1, CONTEXT_LENGTH);
    asm.jump_if(R4, Condition::AtMost, UDP_HEADER, pass);
    asm.subtract(R4, UDP_HEADER);
    asm.jump_if(R4, Condition::Above, MESSAGE_SIZE_MAX as i32, too_long);
    asm.place(fits);
    asm.store(Width::Double8, R10, LENGTH, R4);
    asm.copy(R2, UDP_HEADER);
    asm.copy(R3, R7);
    asm.call(Helper::LoadBytes);
    asm.jump_if(R0, Condition::Different, 0, pass);

    asm.load(Width::Double8, R6, R10, LENGTH);
    asm.address(R1, R7, R6);
    asm.copy(R2, 0);
    asm.store(Width::Double8, R1, 0, R2);
    asm.load(Width::Double8, R6, R1, 0);
    asm.store(Width::Double8, R10, LINES, R6);
    asm.constant(R9, LINE_FEEDS);
    asm.store(Width::Double8, R1, 0, R9);
    asm.constant(R5, LOW_BITS);
    asm.store(Width::Double8, R1, 8, R5);
    let copied = asm.label("copied");
    asm.jump(copied);

    asm.place(too_long);
    asm.copy(R4, MESSAGE_SIZE_MAX as i32);
    asm.jump(fits);
    asm.place(copied);
}

/// Makes the verifier take `at` for any number below [`AT_LIMIT`]: what comes back from the scratch value it does not know.
fn forget(asm: &mut Assembler) {
    asm.store(Width::Double8, R7, FORGET, R6);
    asm.load(Width::Double8, R6, R7, FORGET);
    asm.and(R6, AT_LIMIT - 1);
}

/// `at` = the place of the next byte that is no blank; to `pass` where the message ends before.
fn skip_blanks(asm: &mut Assembler, pass: Label) {
    let blank_word = asm.label("blank_word");
    let skipped = asm.label("skipped");
    asm.copy(R8, WORD_ROUNDS);
    forget(asm);
    let again = asm.here("skip_blanks");
    asm.address(R1, R7, R6);
    asm.load(Width::Double8, R2, R1, 0);
    // The high bit of each byte of `R3` where the word has no blank; exact up to the lowest.
    asm.constant(R3, (0x7f - BLANK) * EACH);
    asm.add(R3, R2);
    asm.or(R3, R2);
    asm.constant(R1, HIGH_BIT);
    asm.and(R3, R1);
    asm.jump_if(R3, Condition::Equal, 0, blank_word);
    count_to_mark(asm, R3, R2, R1);
    asm.add(R6, R2);
    asm.subtract(R6, 1);
    asm.jump(skipped);
    asm.place(blank_word);
    asm.add(R6, 8);
    asm.and(R6, AT_LIMIT - 1);
    asm.subtract(R8, 1);
    asm.jump_if(R8, Condition::Different, 0, again);
    asm.jump(pass);
    asm.place(skipped);
    asm.load(Width::Double8, R1, R10, LENGTH);
    asm.jump_if(R6, Condition::AtLeast, R1, pass);
}

/// `to` = the number of bytes up to and with the lowest marked one: `marks` has a high bit in each.
fn count_to_mark(asm: &mut Assembler, marks: Register, to: Register, spare: Register) {
    asm.copy(to, marks);
    asm.subtract(to, 1);
    asm.xor(to, marks);
    count_bytes(asm, to, spare);
}

/// `bytes` = how many of its low bytes are all ones, the others being 0.
pub(super) fn count_bytes(asm: &mut Assembler, bytes: Register, spare: Register) {
    asm.constant(spare, EACH);
    asm.and(bytes, spare);
    asm.multiply(bytes, spare);
    asm.shift_right(bytes, 56);
}

/// `at` = the place behind the name of the Call-ID line.
fn scan(asm: &mut Assembler, pass: Label) {
    let line_feed = asm.label("line_feed");
    let again = asm.label("again");
    asm.copy(R8, SCAN_ROUNDS);
    forget(asm);
    let scan = asm.here("scan");
    asm.address(R1, R7, R6);
    for (word, offset) in [(R3, 0), (R4, 8)] {
        // All ones but for the high bit of each byte that is an LF. Exact: a byte is 0 now where it was one, and only then
        // neither it nor its low bits plus 0x7f have the high bit.
        asm.load(Width::Double8, R2, R1, offset);
        asm.xor(R2, R9);
        asm.copy(word, R2);
        asm.and(word, R5);
        asm.add(word, R5);
        asm.or(word, R2);
        asm.or(word, R5);
    }
    asm.copy(R1, R3);
    asm.and(R1, R4);
    asm.jump_if(R1, Condition::Different, -1, line_feed);
    asm.add(R6, 16);
    asm.place(again);
    asm.and(R6, AT_LIMIT - 1);
    asm.subtract(R8, 1);
    asm.jump_if(R8, Condition::Different, 0, scan);
    asm.jump(pass);

    asm.place(line_feed);
    let in_first = asm.label("in_first");
    asm.jump_if(R3, Condition::Different, -1, in_first);
    asm.copy(R3, R4);
    asm.add(R6, 8);
    asm.and(R6, AT_LIMIT - 1);
    asm.place(in_first);
    asm.not(R3);
    count_to_mark(asm, R3, R2, R1);
    asm.add(R6, R2);
    asm.load(Width::Double8, R1, R10, LINES);
    asm.and(R1, LINES_LIMIT - 1);
    asm.add(R1, 1);
    asm.store(Width::Double8, R10, LINES, R1);
    asm.jump_if(R1, Condition::Above, LINES_MAX as i32, pass);

    let compact = asm.label("compact");
    let call_id = asm.label("call_id");
    let found = asm.label("found");
    asm.address(R1, R7, R6);
    asm.load(Width::Double8, R2, R1, 0);
    asm.copy(R1, R2);
    asm.and(R1, 0xff);
    asm.copy(R3, R1);
    asm.or(R3, 0x20);
    asm.jump_if(R3, Condition::Equal, i32::from(b'c'), call_id);
    asm.jump_if(R3, Condition::Equal, i32::from(b'i'), compact);
    asm.jump_if(R1, Condition::Equal, i32::from(b'\n'), pass);
    asm.and(R2, 0xffff);
    asm.jump_if(R2, Condition::Equal, CR_LF, pass);
    asm.jump(again);

    asm.place(compact);
    asm.shift_right(R2, 8);
    asm.and(R2, 0xff);
    asm.copy(R3, 1);
    asm.jump_if(R2, Condition::Equal, i32::from(b':'), found);
    asm.jump_if(R2, Condition::Above, BLANK as i32, again);
    asm.jump(found);

    asm.place(call_id);
    asm.copy(R3, R2);
    asm.constant(R1, CALL_ID_CASE);
    asm.or(R3, R1);
    asm.shift_left(R3, 8);
    asm.constant(R1, u64::from_le_bytes(*b"\0call-id"));
    asm.jump_if(R3, Condition::Different, R1, again);
    asm.shift_right(R2, 56);
    asm.copy(R3, 7);
    asm.jump_if(R2, Condition::Equal, i32::from(b':'), found);
    asm.jump_if(R2, Condition::Above, BLANK as i32, again);

    asm.place(found);
    asm.add(R6, R3);
}

/// `at` = the place behind the colon at `at`.
fn colon(asm: &mut Assembler, pass: Label) {
    asm.and(R6, AT_LIMIT - 1);
    asm.address(R1, R7, R6);
    asm.load(Width::Byte1, R2, R1, 0);
    asm.jump_if(R2, Condition::Different, i32::from(b':'), pass);
    asm.add(R6, 1);
}

/// `R2` = the hash of the value at `at`, as [`Hasher`] computes it; to `fail` where its end is not found.
fn hash(asm: &mut Assembler, key: Key, source: Source, fail: Label) {
    const STATE: [Register; 4] = [R2, R3, R4, R5];
    const WORD: Register = R0;
    asm.store(Width::Double8, R10, START, R6);
    for (register, start) in STATE.into_iter().zip(Hasher::new(key).state()) {
        asm.secret(register, start);
    }
    let absorb = asm.label("absorb");
    match source {
        // `at` comes unknown and below its limit from there.
        Source::Packet => asm.copy(R8, direct::HASH_ROUNDS),
        Source::Scratch => {
            asm.copy(R8, WORD_ROUNDS);
            forget(asm);
        }
    }
    let word = asm.here("hash");
    asm.address(R1, R7, R6);
    if source == Source::Packet {
        asm.copy(R9, R1);
        asm.add(R9, 8);
        asm.load(Width::Double8, WORD, R10, DATA_END);
        asm.jump_if(R9, Condition::Above, WORD, fail);
    }
    asm.load(Width::Double8, WORD, R1, 0);
    // The high bit of each byte of `R9` where the word has a blank; exact up to the lowest.
    asm.copy(R9, WORD);
    asm.constant(R1, (BLANK + 1) * EACH);
    asm.subtract(R9, R1);
    asm.copy(R1, WORD);
    asm.not(R1);
    asm.and(R9, R1);
    asm.constant(R1, HIGH_BIT);
    asm.and(R9, R1);
    asm.jump_if(R9, Condition::Equal, 0, absorb);
    // The last word: what is left of the value, and the value's length in the top byte. `R9` becomes ones in the bytes before the
    // blank, then their number.
    asm.copy(R1, R9);
    asm.subtract(R1, 1);
    asm.not(R9);
    asm.and(R9, R1);
    asm.shift_right(R9, 7);
    asm.and(WORD, R9);
    count_bytes(asm, R9, R1);
    asm.add(R9, R6);
    asm.load(Width::Double8, R1, R10, START);
    asm.subtract(R9, R1);
    asm.shift_left(R9, 56);
    asm.or(WORD, R9);
    asm.copy(R9, 1);

    asm.place(absorb);
    let [v0, _, v2, v3] = STATE;
    asm.xor(v3, WORD);
    round(asm, STATE);
    asm.xor(v0, WORD);
    let finish = asm.label("finish");
    asm.jump_if(R9, Condition::Different, 0, finish);
    asm.add(R6, 8);
    asm.and(R6, AT_LIMIT - 1);
    asm.subtract(R8, 1);
    asm.jump_if(R8, Condition::Different, 0, word);
    asm.jump(fail);

    asm.place(finish);
    asm.xor(v2, 0xff);
    for _ in 0..3 {
        round(asm, STATE);
    }
    for other in &STATE[1..] {
        asm.xor(v0, *other);
    }
}

/// One round of SipHash.
fn round(asm: &mut Assembler, [v0, v1, v2, v3]: [Register; 4]) {
    asm.add(v0, v1);
    asm.rotate_left(v1, 13, R1);
    asm.xor(v1, v0);
    asm.rotate_left(v0, 32, R1);
    asm.add(v2, v3);
    asm.rotate_left(v3, 16, R1);
    asm.xor(v3, v2);
    asm.add(v0, v3);
    asm.rotate_left(v3, 21, R1);
    asm.xor(v3, v0);
    asm.add(v2, v1);
    asm.rotate_left(v1, 17, R1);
    asm.xor(v1, v2);
    asm.rotate_left(v2, 32, R1);
}

/// Selects the socket of the shard that owns the slot of `R2`. A place without a socket (its shard is gone) is an error that the
/// program ignores: the kernel's hash chooses, as for a datagram without a Call-ID.
fn select(asm: &mut Assembler, maps: Maps<'_>) {
    asm.shift_right(R2, 48);
    asm.map_value(R1, maps.table, "table");
    asm.add(R1, R2);
    asm.load(Width::Byte1, R2, R1, 0);
    asm.store(Width::Word4, R10, MAP_KEY, R2);
    asm.load(Width::Double8, R1, R10, CONTEXT);
    asm.map(R2, maps.sockets, "sockets");
    asm.copy(R3, R10);
    asm.add(R3, i32::from(MAP_KEY));
    asm.copy(R4, 0);
    asm.call(Helper::SelectSocket);
}
