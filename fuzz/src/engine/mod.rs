//! The engine under a script: calls and what may happen to them, in any order.
//!
//! ```text
//!   3 bytes   the world: budget, ring, shards, unknown sources, media node, seed
//!   then      step byte = what (low 4 bits) and which (high 4 bits), and the bytes that the step reads
//! ```
//!
//! The messages are not random: they are put together from what the engine sent before, as peers do, so that dialogs and transactions
//! really match; then a script may bend them (`step 9` edits, `step 12` transplants a field). What holds after each step is in `world`.
//!
//! At the end the clock runs past every timer, the ring takes what it was given, and nothing may be left: no record, no buffer, no timer, and as
//! many calls ended as began.

mod bend;
mod compose;
mod relay;
mod site;
mod world;

use core::time::Duration;

use corelane_core::routing::build::ImageBytes;

use self::compose::{IN_DIALOG, Invite, TAGS};
use self::world::World;
use crate::script::Script;

pub use self::site::{images, sources};

/// Steps of one script: what comes behind is not looked at, so that no input takes long.
const STEPS_MAX: usize = 128;

/// How long a step of time is. The last is longer than every timer.
const SPANS: [Duration; 16] = [
    Duration::from_millis(0),
    Duration::from_millis(1),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_000),
    Duration::from_millis(4_001),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(32),
    Duration::from_secs(33),
    Duration::from_secs(61),
    Duration::from_secs(181),
    Duration::from_secs(900),
    Duration::from_secs(1801),
    Duration::from_secs(7200),
];

/// Statuses that mean different things to a call.
const STATUSES: [u16; 24] = [
    100, 180, 183, 199, 200, 202, 299, 300, 302, 400, 401, 407, 408, 422, 481, 486, 487, 491, 500, 503, 504, 580, 600,
    699,
];

/// In the second byte: the images have a media node.
const RELAYED: u8 = 0x80;

/// Runs a script against the two images of [`images`], or the two with a media node.
///
/// # Panics
/// When the engine breaks a promise.
pub fn check(bytes: &[u8]) {
    let relayed = bytes.get(1).is_some_and(|how| how & RELAYED != 0);
    run(if relayed { site::relayed_images() } else { images() }, bytes);
}

/// Runs a script against other images: `step 11` changes between them.
///
/// # Panics
/// When the engine breaks a promise.
pub fn run(images: &[ImageBytes; 2], bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new(images, &mut script);
    for _ in 0..STEPS_MAX {
        if script.is_done() {
            break;
        }
        step(&mut world, &mut script);
    }
    world.settle();
}

fn step(world: &mut World<'_>, script: &mut Script<'_>) {
    let head = script.byte();
    let which = usize::from(head >> 4);
    match head & 15 {
        0 => {
            let invite = Invite::read(which, script);
            world.deliver(invite.from, invite.listener, invite.text());
        }
        1 => respond(world, which, script),
        2 => hop(world, which, script),
        3 | 4 => in_dialog(world, head & 15 == 3, which, script),
        5 => {
            if let Some(past) = world.delivered(which) {
                world.deliver(past.flow.peer, past.flow.listener.0, past.bytes);
            }
        }
        6 => world.advance(SPANS[which]),
        7 => world.unreachable(which),
        8 => world.ring(which),
        9 => world.edit_next(which, script),
        10 => {
            let length = usize::from(script.byte());
            world.go_astray();
            world.deliver(site::peer(which), 0, script.slice(length).to_vec());
        }
        11 if which < 2 => world.swap_image(which),
        11 => world.command(which, script),
        12 => world.transplant_next(which, script),
        13 if world.has_relay() => world.reply(which),
        13 => world.step_wall(which),
        14 => come_back(world, which, script),
        _ => world.advance_to_next_timer(),
    }
}

/// A response to a request that was sent: from where it went, or from elsewhere.
fn respond(world: &mut World<'_>, which: usize, script: &mut Script<'_>) {
    let (status, how) = (script.pick(&STATUSES), script.byte());
    let Some(request) = world.sent(which, compose::is_request) else { return };
    let tag = TAGS[usize::from(how & 3)];
    let text = compose::response(&request.bytes, status, tag, how >> 2 & 7);
    let from = if how & 0x20 == 0 { request.flow.peer } else { site::peer(usize::from(how >> 6)) };
    world.deliver(from, request.flow.listener.0, text);
}

/// The ACK or CANCEL of an INVITE that a caller sent, hop by hop.
fn hop(world: &mut World<'_>, which: usize, script: &mut Script<'_>) {
    let how = script.byte();
    let Some(invite) = world.delivered_invite(which) else { return };
    let tag = if how & 2 == 0 { None } else { Some(TAGS[usize::from(how >> 2 & 3)]) };
    let method = if how & 1 == 0 { "CANCEL" } else { "ACK" };
    world.deliver(invite.flow.peer, invite.flow.listener.0, compose::hop(&invite.bytes, method, tag));
}

/// A request inside a dialog: the caller's from a response that it got, the callee's from a request that it got.
fn in_dialog(world: &mut World<'_>, by_caller: bool, which: usize, script: &mut Script<'_>) {
    let (method, how) = (script.pick(&IN_DIALOG), script.byte());
    let base = if by_caller { world.sent(which, compose::is_response) } else { world.sent(which, compose::is_request) };
    let Some(base) = base else { return };
    let branch = world.next_branch(how & 0x40 != 0);
    let text = compose::in_dialog(&base.bytes, by_caller, method, &branch, how);
    let from = if how & 0x80 == 0 { base.flow.peer } else { site::peer(which) };
    world.deliver(from, base.flow.listener.0, text);
}

/// What was sent comes back, as from a softswitch that routes the call to us again (a spiral), or as it was (a loop).
fn come_back(world: &mut World<'_>, which: usize, script: &mut Script<'_>) {
    let how = script.byte();
    let Some(sent) = world.sent(which, |_| true) else { return };
    let from = if how & 1 == 0 { sent.flow.peer } else { site::peer(usize::from(how >> 4)) };
    let text = if how & 2 == 0 { sent.bytes } else { compose::through_a_proxy(&sent.bytes, how >> 2 & 3) };
    world.deliver(from, sent.flow.listener.0, text);
}
