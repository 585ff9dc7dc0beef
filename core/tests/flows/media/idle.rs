//! `timeout_mode` `media`: at `default_timeout` the node says whether RTP flows (SPEC §2).

use std::time::Duration;

use corelane_core::bus::{MediaOutcome, Verb};
use corelane_core::call::EndReason;
use corelane_core::routing::{ProviderSlot, TimeoutMode};
use corelane_core::{Counter, Settings};

use super::through::{answer, bare, image, offer, talking, the, world as hard_world};
use crate::world::{Answered, CALLER, GATEWAY, Sent, World, answered, ladder, response, settings};

/// `default_timeout`, and a moment.
const EXPIRY: Duration = Duration::from_millis(1_800_100);
/// `media_idle`.
const IDLE: Duration = Duration::from_secs(60);

/// The provider keeps calls that RTP flows in.
fn world() -> World {
    world_with(settings())
}

fn world_with(settings: Settings) -> World {
    let image = image(|image| {
        image.edit_provider(ProviderSlot(0), |provider| {
            provider.timeout_mode = TimeoutMode::Media;
        });
    });
    World::with(settings).with_routing(image).with_node()
}

/// BYE both ways, for the reason of an expired call.
fn is_expired(world: &World, sent: &[Sent]) {
    assert_eq!(ladder(sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
    assert_eq!(sent[0].header("Reason"), "Q.850;cause=102");
    assert_eq!(world.last_record().reason, EndReason::Expired);
}

/// The node hears RTP: the timer starts again, each time. What is asked names the session's node, and since when RTP counts.
#[test]
fn a_call_with_rtp_outlives_default_timeout() {
    let mut world = world();
    talking(&mut world, "flows");
    world.hold();
    let (nearly, moment) = (Duration::from_millis(1_799_900), Duration::from_millis(200));
    world.advance(nearly);
    for round in 1..=3 {
        assert!(world.advance(moment).is_empty());
        let wish = world.wishes[0].clone();
        assert_eq!((wish.word().as_str(), wish.node, wish.sdp.as_str()), ("Query 1 >", 3, ""));
        let now_us = world.now().wall.0;
        assert!((now_us - 60_200_000..now_us - 60_000_000).contains(&wish.since_us));
        assert!(world.answer_wish().is_empty());
        assert_eq!((world.count(Counter::CallsLive), world.count(Counter::MediaFlowing)), (1, round));
        assert!(world.advance(nearly).is_empty(), "the whole of it again");
        assert!(world.wishes.is_empty());
    }
    world.node().says.push((Verb::Query, MediaOutcome::Silent));
    world.advance(moment);
    let sent = world.answer_wish();
    is_expired(&world, &sent);
    world.settle();
}

/// None within `media_idle`, or the node does not know the call.
#[test]
fn a_call_without_rtp_ends_at_default_timeout() {
    let mut world = world();
    talking(&mut world, "silent");
    world.node().says.push((Verb::Query, MediaOutcome::Silent));
    let sent = world.advance(EXPIRY);
    is_expired(&world, &sent);
    assert_eq!((world.asked(), world.count(Counter::MediaSilent)), (vec!["Query 1 >".to_owned()], 1));
    world.settle();
}

/// Whoever does not answer is asked again after `media_idle`, three times; the next answer counts as the first would have.
#[test]
fn a_node_that_does_not_say_is_asked_again() {
    for outcome in [MediaOutcome::NoNode, MediaOutcome::Failed, MediaOutcome::Refused] {
        let mut world = world();
        talking(&mut world, "unsaid");
        world.node().says.extend([(Verb::Query, outcome); 3]);
        assert!(world.advance(EXPIRY).is_empty());
        assert!(world.advance(2 * IDLE).is_empty());
        assert_eq!(world.asked().len(), 3);
        assert!(world.advance(IDLE).is_empty());
        assert_eq!((world.asked().len(), world.count(Counter::MediaFlowing)), (1, 1));
        // The count began anew with that.
        world.node().says.extend([(Verb::Query, outcome); 4]);
        assert!(world.advance(EXPIRY + 3 * IDLE).is_empty());
        assert_eq!(world.asked().len(), 4);
        let sent = world.advance(IDLE);
        is_expired(&world, &sent);
        assert!(world.asked().is_empty(), "four times in all");
        world.settle();
    }
}

/// The control core is mute: the call's own timer goes on.
#[test]
fn a_control_core_that_never_says_whether_rtp_flows() {
    let mut world = world();
    talking(&mut world, "mute");
    world.hold();
    let given_up = Duration::from_secs(6);
    assert!(world.advance(EXPIRY + 3 * IDLE + given_up).is_empty());
    assert_eq!((world.wishes.len(), world.count(Counter::MediaTimeouts)), (4, 4));
    let sent = world.advance(IDLE - given_up);
    is_expired(&world, &sent);
    assert!(world.answer_wish().is_empty(), "nobody waits for it any more");
    world.settle();
}

/// A refresh meanwhile starts the timer; what the node says of the time before is nobody's.
#[test]
fn a_refresh_goes_before_what_the_node_says() {
    let mut world = world();
    let call = talking(&mut world, "fresh");
    world.hold();
    world.advance(EXPIRY);
    let sent = world.deliver(CALLER, &call.caller_sends("UPDATE", "fresh-u", 2).text());
    let contact = ["Contact: <sip:bob@198.51.100.20>"];
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&sent[0], 200, "", &contact))), [format!("{CALLER} 200")]);
    world.node().says.push((Verb::Query, MediaOutcome::Silent));
    assert!(world.answer_wish().is_empty());
    assert_eq!(world.count(Counter::CallsLive), 1);
    assert!(world.advance(EXPIRY - Duration::from_secs(1)).is_empty());
    assert!(world.wishes.is_empty());
    world.settle();
}

/// A session that nobody refreshed ends when it is over, whatever a node says, or does not say. Within the interval that was agreed on
/// nobody is asked; one below `min_se` ends nothing before that, and `default_timeout` may come in between.
#[test]
fn a_session_ends_whatever_the_node_says() {
    for (mute, interval, asked) in [(false, 90, 0), (true, 90, 0), (false, 1, 1), (true, 1, 1)] {
        let mut settings = settings();
        settings.timers.default_timeout = Duration::from_secs(70);
        let mut world = world_with(settings);
        let mut invite = offer("timed");
        invite.extra.extend(["Supported: timer".to_owned(), "Session-Expires: 90".to_owned()]);
        let forwarded = the(&world.deliver(CALLER, &invite.text()), "INVITE");
        let expires = format!("Session-Expires: {interval};refresher=uac");
        let lines = ["Contact: <sip:bob@198.51.100.20>", "Require: timer", &expires];
        let ok = the(&world.deliver(GATEWAY, &answer(&forwarded, 200, "callee", "answer", &lines)), "SIP/2.0 200");
        let call = Answered { invite, forwarded, ok };
        world.deliver(CALLER, &call.caller_sends("ACK", "timed-ack", 1).text());
        world.node().held = mute;
        world.asked();
        assert!(world.advance(Duration::from_secs(89)).is_empty());
        assert_eq!(world.count(Counter::MediaQueries), asked, "default_timeout is 70 s, min_se 90 s");
        let sent = world.advance(Duration::from_millis(1_200));
        assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
        assert_eq!(world.last_record().reason, EndReason::SessionExpired);
        world.settle();
    }
}

/// Mode `hard` asks nobody; nor does mode `media` where no node has a session: the image has none, or nobody offered.
#[test]
fn a_call_without_a_node_ends_as_in_mode_hard() {
    let mut hard = hard_world();
    talking(&mut hard, "hard");
    let mut silent = world();
    let forwarded = the(&silent.deliver(CALLER, &bare("bare").text()), "INVITE");
    let ok = silent.deliver(GATEWAY, &response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]));
    let call = Answered { invite: bare("bare"), forwarded, ok: ok[0].clone() };
    silent.deliver(CALLER, &call.caller_sends("ACK", "bare-ack", 1).text());
    let mut direct = World::new();
    answered(&mut direct, "direct");
    for mut world in [hard, silent, direct] {
        let sent = world.advance(EXPIRY);
        is_expired(&world, &sent);
        assert_eq!(world.count(Counter::MediaQueries), 0);
        world.settle();
    }
}

/// An answer that only a question of this kind has is none to any other.
#[test]
fn silence_answers_no_offer() {
    let mut world = world();
    world.node().says.push((Verb::Offer, MediaOutcome::Silent));
    let sent = world.deliver(CALLER, &offer("odd").text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{CALLER} 503")]);
    assert_eq!((world.count(Counter::MediaFailed), world.count(Counter::MediaSilent)), (1, 0));
    world.settle();
}
