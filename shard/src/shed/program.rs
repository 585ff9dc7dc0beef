//! The shedding program: which datagrams a shard's socket does not take while its shard sheds.
//!
//! ```text
//! start     eight bytes at 8 are not `INVITE `                           pass
//! source    the entry of the sender's address is another's, or dead      pass
//! copy      longer than a message may be                                 pass
//!           scratch = the message, then 16 zeros
//! scan      8 bytes a round: does `cl=` begin in them, in any case?       pass
//!           does `tag` begin in them, in any case? how often so far; hash of all words
//! verdict   `tag` in two rounds or more                                  pass
//!           hash, in 65,536ths, below the entry's share                  pass
//!           else: count it and drop it
//! ```
//!
//! # Why nothing of a call in progress is dropped
//!
//! Only a datagram that begins with `INVITE ` is ever dropped: no other method, no response. A request inside a dialog has a tag in From **and** in
//! To (RFC 3261 §12.2.1.1), each as the parameter `tag` in whatever case and folding, in a header field each; between the two
//! there is at least a value, a line end and the name of a field, so they never begin within the same eight bytes. A new call has one.
//! A peer of RFC 2543 gives no tag, so a request in a dialog with one has the other's only. But it has our token, the parameter `cl` of the
//! Record-Route, or the engine would not know the dialog either (`names_dialog`): it has to return our URI as it was, in a Route or, behind a strict
//! router, as Request-URI. What else contains the letters (a user part, a body) passes and meets the engine: the error is to this side only. The
//! same goes for every doubt.
//!
//! # Why the draw is a hash of the message
//!
//! A caller repeats an unanswered INVITE byte for byte (RFC 3261 §17.1.1.2), up to six times. Were each copy drawn anew, a share that lets every
//! third call in would in the end let nearly all in, late, and the share would have to fall until most calls come at their fifth attempt.
//! So all copies of a message have one fate while the share stands: a call comes in promptly or not at all.
//!
//! # The datagram
//!
//! When a UDP socket's filter runs, offset 0 of the packet is the UDP header, for IPv4 and IPv6 alike; the address is found from the network header. A
//! filter may not read packet memory, hence the copy; the scratch value belongs to this CPU, and the program runs with softirqs off.
//!
//! # What the verifier wants
//!
//! There is one way through a round and `at` is a constant to it, so its walk is as long as the loop is: rounds × instructions. The ways
//! out of the loop all meet the same short end. See `steer/program.rs` for what it does with branches in a loop.

use std::os::fd::BorrowedFd;

use corelane_core::limits::MESSAGE_SIZE_MAX;
use corelane_core::token::TOKEN_PARAMETER;

use super::table::{CHECK_SHIFT, ENTRY_WORDS, FACTOR, HEADER_WORDS, Hash, LIFE, PASS_SHIFT, PLACE_BITS, TIME_SHIFT};
use crate::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::assembler::{Assembler, Condition, Helper, Label, Program, Width};

/// Bytes of a scratch value: the longest message, the zeros behind it, and as many again because the verifier sees lengths by their mask.
pub(super) const SCRATCH_SIZE: usize = 2 * MESSAGE_SIZE_MAX + 32;

const UDP_HEADER: i32 = 8;
/// Offsets in `struct __sk_buff`: length from the UDP header on; the protocol in network order.
const CONTEXT_LENGTH: i16 = 0;
const CONTEXT_PROTOCOL: i16 = 16;
const IPV4: i32 = 0x0800_u16.to_be() as i32;
const IPV6: i32 = 0x86dd_u16.to_be() as i32;
/// Where the sender's address is in an IP header.
const IPV4_SOURCE: i32 = 12;
const IPV6_SOURCE: i32 = 8;
/// `BPF_HDR_START_NET`.
const FROM_NETWORK_HEADER: i32 = 1;

/// Stack: the context, saved; the start of the message; the key of the scratch map; the sender's address, 16 bytes; the entry's second
/// word.
const CONTEXT: i16 = -8;
const FIRST: i16 = -16;
const MAP_KEY: i16 = -24;
const SOURCE: i16 = -40;
const REST: i16 = -48;

/// Return values of a filter: take all of the datagram, or nothing.
const PASS: i32 = -1;
const DROP: i32 = 0;

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH_BIT: u64 = 0x80 * EACH;
/// All bits but that of the case, and the highest: then each byte is less than 0x80, and one less than it has the high bit just where it was 0.
const ANY_CASE: u64 = 0x5f * EACH;

/// What our Record-Route has and a new call has not; the engine's own `;cl=`, without the separator.
const TOKEN: [u8; 3] = {
    let [_, token @ ..] = *TOKEN_PARAMETER;
    token
};

const _: () = assert!(MESSAGE_SIZE_MAX.is_power_of_two(), "a mask bounds what comes after a length");

/// The maps that the program names.
#[derive(Copy, Clone)]
pub(super) struct Maps<'a> {
    /// One value of [`SCRATCH_SIZE`] bytes per CPU.
    pub(super) scratch: BorrowedFd<'a>,
    /// The table, see `table.rs`.
    pub(super) table: BorrowedFd<'a>,
}

/// The program of one shard.
pub(super) fn shedding(hash: Hash, maps: Maps<'_>) -> Program {
    let mut asm = Assembler::default();
    let pass = asm.label("pass");
    start(&mut asm, pass);
    source(&mut asm, hash, pass);
    entry(&mut asm, maps, pass);
    copy(&mut asm, maps, pass);
    scan(&mut asm, hash, pass);
    verdict(&mut asm, maps, pass);
    asm.place(pass);
    asm.copy(R0, PASS);
    asm.exit();
    asm.finish()
}

/// Saves the context; goes on with a message that begins with `INVITE `.
fn start(asm: &mut Assembler, pass: Label) {
    asm.store(Width::Double8, R10, CONTEXT, R1);
    asm.copy(R2, UDP_HEADER);
    asm.copy(R3, R10);
    asm.add(R3, i32::from(FIRST));
    asm.copy(R4, 8);
    asm.call(Helper::LoadBytes);
    asm.jump_if(R0, Condition::Different, 0, pass);
    asm.load(Width::Double8, R1, R10, FIRST);
    asm.shift_left(R1, 8);
    asm.constant(R2, u64::from_le_bytes(*b"\0INVITE "));
    asm.jump_if(R1, Condition::Different, R2, pass);
}

/// `R7` = the key of the sender.
fn source(asm: &mut Assembler, hash: Hash, pass: Label) {
    let [ipv4, ipv6, load] = ["ipv4", "ipv6", "load_source"].map(|name| asm.label(name));
    asm.load(Width::Double8, R1, R10, CONTEXT);
    asm.load(Width::Word4, R2, R1, CONTEXT_PROTOCOL);
    asm.copy(R3, 0);
    asm.store(Width::Double8, R10, SOURCE, R3);
    // ::ffff:0.0.0.0
    asm.constant(R3, 0xffff_0000);
    asm.store(Width::Double8, R10, SOURCE + 8, R3);
    asm.copy(R3, R10);
    asm.jump_if(R2, Condition::Equal, IPV4, ipv4);
    asm.jump_if(R2, Condition::Equal, IPV6, ipv6);
    asm.jump(pass);
    asm.place(ipv4);
    asm.copy(R2, IPV4_SOURCE);
    asm.add(R3, i32::from(SOURCE) + 12);
    asm.copy(R4, 4);
    asm.jump(load);
    asm.place(ipv6);
    asm.copy(R2, IPV6_SOURCE);
    asm.add(R3, i32::from(SOURCE));
    asm.copy(R4, 16);
    asm.place(load);
    asm.copy(R5, FROM_NETWORK_HEADER);
    asm.call(Helper::LoadBytesRelative);
    asm.jump_if(R0, Condition::Different, 0, pass);
    asm.secret(R7, hash.start);
    asm.constant(R2, FACTOR);
    for word in [SOURCE, SOURCE + 8] {
        asm.load(Width::Double8, R1, R10, word);
        asm.xor(R7, R1);
        asm.multiply(R7, R2);
        asm.copy(R1, R7);
        asm.shift_right(R1, 32);
        asm.xor(R7, R1);
    }
    asm.multiply(R7, R2);
}

/// Saves the entry's second word, when the entry is of `R7` and alive.
fn entry(asm: &mut Assembler, maps: Maps<'_>, pass: Label) {
    const HEADER: i16 = 8 * HEADER_WORDS as i16;
    asm.copy(R2, R7);
    asm.shift_right(R2, 64 - PLACE_BITS as i32);
    asm.multiply(R2, 8 * ENTRY_WORDS as i32);
    asm.map_value(R1, maps.table, "table");
    asm.add(R1, R2);
    asm.load(Width::Double8, R2, R1, HEADER);
    asm.jump_if(R2, Condition::Different, R7, pass);
    asm.load(Width::Double8, R6, R1, HEADER + 8);
    asm.store(Width::Double8, R10, REST, R6);
    asm.copy(R1, R7);
    asm.shift_left(R1, CHECK_SHIFT as i32);
    asm.copy(R2, R6);
    asm.shift_right(R2, CHECK_SHIFT as i32);
    asm.shift_left(R2, CHECK_SHIFT as i32);
    asm.jump_if(R1, Condition::Different, R2, pass);
    asm.call(Helper::MonotonicNanos);
    asm.shift_right(R0, TIME_SHIFT as i32);
    // The time left, in 32 bits: what has expired has more than a life left.
    asm.subtract(R6, R0);
    asm.shift_left(R6, 32);
    asm.shift_right(R6, 32);
    asm.jump_if(R6, Condition::Above, LIFE as i32, pass);
}

/// `R6` = the scratch value with the message and zeros behind it; `R8` = the message's length.
fn copy(asm: &mut Assembler, maps: Maps<'_>, pass: Label) {
    asm.copy(R2, 0);
    asm.store(Width::Word4, R10, MAP_KEY, R2);
    asm.map(R1, maps.scratch, "scratch");
    asm.copy(R2, R10);
    asm.add(R2, i32::from(MAP_KEY));
    asm.call(Helper::MapLookup);
    asm.jump_if(R0, Condition::Equal, 0, pass);
    asm.copy(R6, R0);
    asm.load(Width::Double8, R1, R10, CONTEXT);
    asm.load(Width::Word4, R8, R1, CONTEXT_LENGTH);
    asm.jump_if(R8, Condition::AtMost, UDP_HEADER, pass);
    asm.subtract(R8, UDP_HEADER);
    asm.jump_if(R8, Condition::Above, MESSAGE_SIZE_MAX as i32, pass);
    asm.copy(R2, UDP_HEADER);
    asm.copy(R3, R6);
    asm.copy(R4, R8);
    asm.call(Helper::LoadBytes);
    asm.jump_if(R0, Condition::Different, 0, pass);
    asm.and(R8, 2 * MESSAGE_SIZE_MAX as i32 - 1);
    asm.address(R1, R6, R8);
    asm.copy(R2, 0);
    asm.store(Width::Double8, R1, 0, R2);
    asm.store(Width::Double8, R1, 8, R2);
}

/// `R5` = rounds in which `tag` begins; `R7` = the hash of the message. Ends at the first `cl=`.
fn scan(asm: &mut Assembler, hash: Hash, pass: Label) {
    let done = asm.label("scanned");
    asm.secret(R7, hash.start);
    asm.copy(R5, 0);
    asm.copy(R9, 0);
    let round = asm.here("scan");
    asm.address(R1, R6, R9);
    asm.load(Width::Double8, R2, R1, 0);
    asm.load(Width::Double8, R3, R1, 1);
    asm.load(Width::Double8, R4, R1, 2);
    asm.constant(R0, FACTOR);
    asm.xor(R7, R2);
    asm.multiply(R7, R0);
    asm.copy(R0, R7);
    asm.shift_right(R0, 32);
    asm.xor(R7, R0);
    // A byte of `R1` becomes 0 where our parameter begins, and one of `R2` where `tag` does, but for the case.
    asm.constant(R1, u64::from(TOKEN[0]) * EACH);
    asm.xor(R1, R2);
    for (word, letter) in [(R3, TOKEN[1]), (R4, TOKEN[2])] {
        asm.constant(R0, u64::from(letter) * EACH);
        asm.xor(R0, word);
        asm.or(R1, R0);
    }
    for (word, letter) in [(R2, b'T'), (R3, b'A'), (R4, b'G')] {
        asm.constant(R0, u64::from(letter) * EACH);
        asm.xor(word, R0);
    }
    asm.or(R2, R3);
    asm.or(R2, R4);
    // Not 0 exactly where there is a byte of 0.
    asm.constant(R0, ANY_CASE);
    asm.and(R1, R0);
    asm.and(R2, R0);
    asm.constant(R0, EACH);
    asm.subtract(R1, R0);
    asm.subtract(R2, R0);
    asm.constant(R0, HIGH_BIT);
    asm.and(R1, R0);
    asm.and(R2, R0);
    asm.jump_if(R1, Condition::Different, 0, pass);
    // 1 for not 0, without a second way through the round.
    asm.copy(R3, 0);
    asm.subtract(R3, R2);
    asm.or(R3, R2);
    asm.shift_right(R3, 63);
    asm.add(R5, R3);
    asm.add(R9, 8);
    asm.jump_if(R9, Condition::AtLeast, R8, done);
    asm.jump_if(R9, Condition::Different, MESSAGE_SIZE_MAX as i32, round);
    asm.place(done);
}

fn verdict(asm: &mut Assembler, maps: Maps<'_>, pass: Label) {
    asm.jump_if(R5, Condition::Above, 1, pass);
    asm.constant(R2, FACTOR);
    asm.multiply(R7, R2);
    asm.shift_right(R7, 48);
    asm.load(Width::Double8, R1, R10, REST);
    asm.shift_left(R1, 64 - CHECK_SHIFT as i32);
    asm.shift_right(R1, 64 - CHECK_SHIFT as i32 + PASS_SHIFT as i32);
    asm.jump_if(R7, Condition::AtMost, R1, pass);
    asm.map_value(R1, maps.table, "table");
    asm.copy(R2, 1);
    asm.atomic_add(R1, 0, R2);
    asm.copy(R0, DROP);
    asm.exit();
}
