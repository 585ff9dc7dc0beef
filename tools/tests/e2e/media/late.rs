//! An answer that comes when its gateway has been given up: which of two early dialogs is heard.

use super::Stage;
use super::rtp::{Codec, RtpEnd};
use crate::corelane::Options;
use crate::peer::Peer;
use crate::serial;

/// How long a gateway may be silent where one is.
const FR_TIMER_MS: u64 = 2_500;

/// A gateway that was given up for its silence answers after all, while the next one rings with an answer of its own: the caller hears the
/// first one, and the other is cancelled.
#[test]
fn a_late_answer_of_a_gateway_that_was_given_up_is_heard() {
    let _serial = serial();
    let stage = Stage::with(1, &Options { fr_timer_ms: FR_TIMER_MS, ..Options::default() });
    let then = Peer::at(stage.then, stage.address);
    let invite = stage.offer();
    stage.caller.send(invite.text());
    let (first, gateway_told) = stage.relayed(invite.call_id(), "INVITE", 1);
    let second = then.receive_request(invite.call_id(), "INVITE", 1);
    let end = RtpEnd::new(Codec::Pcma, then.address().ip(), 0x55);
    let answer = |status: &str, sdp: &str| {
        second.answer_with(status, then.address(), &[], sdp).replace(";tag=gateway", ";tag=then")
    };
    then.send(answer("183 Session Progress", &end.sdp("sendrecv")));
    stage.of_relay(&stage.caller.receive_status(183));

    stage.answer(&first, "200 OK", &[], "sendrecv");
    let dialog = stage.caller.answered(invite);
    let caller_told = stage.of_relay(dialog.answer());
    stage.gateway.receive_request(dialog.call_id(), "ACK", 1);
    let cancel = then.receive_request(dialog.call_id(), "CANCEL", 1);
    then.send(cancel.answer("200 OK", then.address()));
    then.send(answer("487 Request Terminated", ""));
    then.receive_request(dialog.call_id(), "ACK", 1);
    stage.audio([caller_told, gateway_told]);
    stage.hang_up(&dialog);
    stage.end();
}
