//! Who is named to whom, while a call is set up and inside its dialog (RFC 3323, RFC 3325; columns `privacy` and `from_host`).

use std::time::Duration;

use corelane_core::routing::Privacy;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::ProviderRecord;

use super::world::{Answered, CALLER, GATEWAY, Request, Sent, World, answered, invite, ladder, response};
use Privacy::{Trusted, Untrusted};

const FROM: &str = "<sip:alice@192.0.2.10>;tag=caller";
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=caller";
const ASSERTED: &str = "<sip:+4989@192.0.2.10>";

fn image(provider: Privacy, gateway: Privacy, from_host: Option<&str>) -> ImageBytes {
    let mut builder = Builder::new();
    builder.listener("10.0.0.1:5060");
    builder.listener("10.0.1.1:5070");
    let privacy = provider;
    let record =
        ProviderRecord { enabled: true, routing_group: 1, refuse_code: 503, privacy, ..ProviderRecord::default() };
    let provider = builder.provider_with(record);
    builder.address(provider, CALLER.split(':').next().expect("an address"));
    let slot = builder.gateway("near", GATEWAY);
    builder.edit_gateway(slot, |record| {
        record.privacy = gateway;
        record.from_host = from_host.map(Into::into);
    });
    let carrier = builder.carrier("near", &[slot]);
    builder.route(1, "49", carrier);
    builder.finish()
}

/// An INVITE that says who calls in every way there is.
fn named(privacy: &str) -> Request {
    let mut request = invite("4930123456", "who");
    for line in [
        &*format!("P-Asserted-Identity: {ASSERTED}"),
        "P-Asserted-Identity: <tel:+4989>",
        "Remote-Party-ID: <sip:+4989@192.0.2.10>;party=calling",
        "X-Other: kept",
    ] {
        request.extra.push(line.into());
    }
    if !privacy.is_empty() {
        request.extra.push(format!("Privacy: {privacy}"));
    }
    request
}

fn forwarded(world: &mut World, request: &Request) -> Sent {
    let sent = world.deliver(CALLER, &request.text());
    assert_eq!(ladder(&sent), [format!("{CALLER} 100"), format!("{GATEWAY} INVITE")]);
    sent[1].clone()
}

/// Trust of both sides, and what the caller wishes.
#[test]
fn an_invite_names_the_caller_to_whom_it_may() {
    for (provider, gateway, privacy, asserted, from) in [
        (Trusted, Trusted, "", true, FROM),
        (Trusted, Trusted, "id", true, FROM),
        (Trusted, Untrusted, "", true, FROM),
        (Trusted, Untrusted, "none", true, FROM),
        (Trusted, Untrusted, "id", false, ANONYMOUS),
        (Trusted, Untrusted, "user;critical", false, ANONYMOUS),
        (Untrusted, Trusted, "", false, FROM),
        (Untrusted, Trusted, "id", false, FROM),
        (Untrusted, Untrusted, "", false, FROM),
        (Untrusted, Untrusted, "header", false, ANONYMOUS),
    ] {
        let mut world = World::routed_by(image(provider, gateway, None));
        let sent = forwarded(&mut world, &named(privacy));
        let case = format!("{provider:?} to {gateway:?}, {privacy}");
        assert_eq!(sent.headers("P-Asserted-Identity").len(), if asserted { 2 } else { 0 }, "{case}");
        assert_eq!(sent.headers("Remote-Party-ID").len(), usize::from(asserted), "{case}");
        assert_eq!(sent.headers("From"), [from], "{case}");
        assert_eq!(sent.headers("Privacy").join(""), privacy, "who is behind us hides as well: {case}");
        assert_eq!(sent.header("X-Other"), "kept", "{case}");
        assert_eq!(sent.header("Contact"), "<sip:alice@192.0.2.10>", "{case}");
        world.deliver(GATEWAY, &response(&sent, 486, "callee", &[]));
        world.settle();
    }
}

/// RFC 3261 §8.2.6.2: a response has the From of its request, on either side; ACK and CANCEL that of the INVITE as it was sent.
#[test]
fn each_side_sees_one_from() {
    for (gateway, from_host, from) in [
        (Trusted, Some("us.example"), "<sip:alice@us.example>;tag=caller"),
        (Untrusted, None, ANONYMOUS),
        (Untrusted, Some("us.example"), ANONYMOUS),
    ] {
        let mut world = World::routed_by(image(Trusted, gateway, from_host));
        let request = named("id");
        let sent = forwarded(&mut world, &request);
        assert_eq!(sent.header("From"), from);
        assert!(world.deliver(GATEWAY, &response(&sent, 100, "", &[])).is_empty());
        for status in [180, 183, 200] {
            let answer = response(&sent, status, "callee", &["Contact: <sip:bob@198.51.100.20>", "X-Other: kept"]);
            assert!(answer.contains(from), "the gateway answers what it was sent");
            let up = world.deliver(GATEWAY, &answer);
            assert_eq!(ladder(&up), [format!("{CALLER} {status}")]);
            assert_eq!(up[0].headers("From"), [FROM]);
            assert_eq!((up[0].header("X-Other"), up[0].headers("Via").len()), ("kept", 1));
        }
        world.settle();

        let mut world = World::routed_by(image(Trusted, gateway, from_host));
        let sent = forwarded(&mut world, &request);
        let up = world.deliver(GATEWAY, &response(&sent, 486, "callee", &[]));
        assert_eq!(ladder(&up), [format!("{GATEWAY} ACK"), format!("{CALLER} 486")]);
        assert_eq!((up[0].header("From"), up[1].header("From")), (from, FROM));
        world.settle();

        let mut world = World::routed_by(image(Trusted, gateway, from_host));
        let sent = forwarded(&mut world, &request);
        world.deliver(GATEWAY, &response(&sent, 180, "callee", &[]));
        let cancelled = world.deliver(CALLER, &request.hop("CANCEL").text());
        let cancel = cancelled.iter().find(|sent| sent.to == GATEWAY).expect("a CANCEL");
        assert_eq!((cancel.start_line().split(' ').next(), cancel.header("From")), (Some("CANCEL"), from));
        let up = world.deliver(GATEWAY, &response(&sent, 487, "callee", &[]));
        assert!(up.iter().filter(|sent| sent.to == CALLER).all(|sent| sent.header("From") == FROM));
        world.settle();
    }
}

/// RFC 3325 §5 the other way: who answers is not believed where we do not trust, nor named to strangers when he wishes not to be.
#[test]
fn a_response_names_the_callee_to_whom_it_may() {
    for (provider, gateway, privacy, passes) in [
        (Trusted, Trusted, "Privacy: id", true),
        (Trusted, Untrusted, "X: y", false),
        (Untrusted, Trusted, "X: y", true),
        (Untrusted, Trusted, "Privacy: id", false),
    ] {
        let mut world = World::routed_by(image(provider, gateway, None));
        let sent = forwarded(&mut world, &named(""));
        let lines = ["P-Asserted-Identity: <sip:bob@198.51.100.20>", privacy];
        for status in [180, 200] {
            let up = world.deliver(GATEWAY, &response(&sent, status, "callee", &lines));
            let expected = usize::from(passes);
            assert_eq!(up[0].headers("P-Asserted-Identity").len(), expected, "{gateway:?} to {provider:?}, {privacy}");
            assert_eq!(up[0].headers("From"), [FROM]);
        }
        world.settle();
    }
}

const SHOWN: &str = "<sip:alice@us.example>;tag=caller";

/// RFC 3261 §12.2: inside the dialog too each side sees the caller under the name that it knows, in requests of both sides and their
/// answers, and in the BYE that Corelane sends.
#[test]
fn inside_a_dialog_each_side_sees_one_caller() {
    let mut world = World::routed_by(image(Trusted, Trusted, Some("us.example")));
    let call = answered(&mut world, "in");
    assert_eq!((call.forwarded.header("From"), call.ok.header("From")), (SHOWN, FROM));
    let ack = world.deliver(CALLER, &call.caller_sends("ACK", "in-ack", 1).text());
    assert_eq!((ladder(&ack), ack[0].header("From")), (vec![format!("{GATEWAY} ACK")], SHOWN));
    let sent = world.deliver(CALLER, &call.caller_sends("UPDATE", "in-update", 2).text());
    assert_eq!((ladder(&sent), sent[0].header("From")), (vec![format!("{GATEWAY} UPDATE")], SHOWN));
    let up = world.deliver(GATEWAY, &response(&sent[0], 200, "", &[]));
    assert_eq!((ladder(&up), up[0].header("From")), (vec![format!("{CALLER} 200")], FROM));
    let sent = world.deliver(GATEWAY, &call.callee_sends("INFO", "in-info", 7).text());
    assert_eq!((ladder(&sent), sent[0].header("To")), (vec![format!("{CALLER} INFO")], FROM));
    let down = world.deliver(CALLER, &response(&sent[0], 200, "", &[]));
    assert_eq!((ladder(&down), down[0].header("To")), (vec![format!("{GATEWAY} 200")], SHOWN));
    let ended = world.advance(Duration::from_secs(1900));
    let bye = |to: &str| ended.iter().find(|sent| sent.to == to && sent.start_line().starts_with("BYE")).cloned();
    assert_eq!(bye(GATEWAY).expect("a BYE").header("From"), SHOWN);
    assert_eq!(bye(CALLER).expect("a BYE").header("To"), FROM);
    world.settle();
}

/// Before the answer as well (RFC 3262, RFC 3311 §5): an anonymous caller is not named by his PRACK.
#[test]
fn an_early_dialog_hides_the_caller() {
    let mut world = World::routed_by(image(Trusted, Untrusted, None));
    let request = named("id");
    let sent = forwarded(&mut world, &request);
    let ringing = world.deliver(GATEWAY, &response(&sent, 183, "callee", &["Contact: <sip:bob@198.51.100.20>"]));
    let call = Answered { invite: request, forwarded: sent.clone(), ok: ringing[0].clone() };
    let mut prack = call.caller_sends("PRACK", "early-prack", 2);
    prack.extra.push(format!("P-Asserted-Identity: {ASSERTED}"));
    prack.extra.push("Privacy: id".into());
    let down = world.deliver(CALLER, &prack.text());
    assert_eq!((ladder(&down), down[0].header("From")), (vec![format!("{GATEWAY} PRACK")], ANONYMOUS));
    assert!(down[0].headers("P-Asserted-Identity").is_empty());
    let up = world.deliver(GATEWAY, &response(&down[0], 200, "", &[&format!("P-Asserted-Identity: {ASSERTED}")]));
    assert_eq!((ladder(&up), up[0].header("From")), (vec![format!("{CALLER} 200")], FROM));
    assert!(up[0].headers("P-Asserted-Identity").is_empty(), "an untrusted gateway's word");
    let update = world.deliver(GATEWAY, &call.callee_sends("UPDATE", "early-update", 1).text());
    assert_eq!((ladder(&update), update[0].header("To")), (vec![format!("{CALLER} UPDATE")], FROM));
    let answer = world.deliver(CALLER, &response(&update[0], 200, "", &[]));
    assert_eq!((ladder(&answer), answer[0].header("To")), (vec![format!("{GATEWAY} 200")], ANONYMOUS));
    world.deliver(GATEWAY, &response(&sent, 486, "callee", &[]));
    world.settle();
}
