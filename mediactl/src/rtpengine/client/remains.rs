//! What of a client outlives a panic that ended it: the SDP that both sides of each call agreed on, so that a refused re-INVITE is still taken back.
//!
//! Everything else is made anew. What is kept is never changed once it is there (`kept.rs`), and one call's is changed while that call alone is dealt with:
//! so all of it can be taken over but that of the call that was dealt with last, which may be half of one thing and half of another. Of that call nothing
//! is known to hold then, until both sides agree on something again.

use std::collections::HashMap;

use corelane_core::bus::MediaCall;

use super::super::sessions::Records;
use super::Client;
use super::call::Call;
use super::kept::Room;

/// What another client goes on with.
#[derive(Debug)]
pub struct Remains {
    calls: HashMap<MediaCall, Call>,
    room: Room,
}

impl<R: Records> Client<R> {
    /// Takes it out of a client that has ended. Questions that were out are answered by the timers of who asked.
    pub fn remains(&mut self) -> Remains {
        let mut calls = std::mem::take(&mut self.calls);
        if let Some(call) = self.touched {
            calls.remove(&call);
        }
        calls.values_mut().for_each(Call::forget_questions);
        Remains { calls, room: std::mem::replace(&mut self.room, Room::new(0)) }
    }

    /// Goes on with what another client of this boot knew. This one has not been asked for anything yet.
    pub fn take_up(&mut self, remains: Remains) {
        let Remains { calls, room } = remains;
        (self.calls, self.room) = (calls, room);
    }
}
