//! Who is named to whom, while a call is set up and inside its dialog (RFC 3323, RFC 3325; columns `privacy` and `from_host`).

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::routing::Privacy;
use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::ProviderRecord;

use super::world::{Answered, CALLER, GATEWAY, Request, Sent, World, answered, invite, ladder, response};
use Privacy::{Trusted, Untrusted};

const FROM: &str = "<sip:alice@192.0.2.10>;tag=caller";
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=caller";
const ASSERTED: &str = "<sip:+4989@192.0.2.10>";

fn image(provider: Privacy, gateway: Privacy, from_host: Option<&str>) -> ImageBytes {
    image_of(provider, gateway, from_host).finish()
}

fn image_of(provider: Privacy, gateway: Privacy, from_host: Option<&str>) -> Builder {
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
    builder
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

/// RFC 3325 §7: a caller who asked not to be named is not named by what follows without a word of it, request or answer, before and after
/// the 2xx. `none` is a word.
#[test]
fn a_caller_who_asked_once_stays_unnamed() {
    let wishes = ["X: y", "Privacy: session", "Privacy: none", "Remote-Party-ID: <sip:+4989@192.0.2.10>;privacy=off"];
    for (gateway, privacy) in [(Untrusted, "id"), (Untrusted, ""), (Trusted, "id")] {
        let mut world = World::routed_by(image(Trusted, gateway, None));
        let plain = |sent: &Sent| response(sent, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
        let call = talking(&mut world, named(privacy), plain);
        world.deliver(CALLER, &call.caller_sends("ACK", "once-ack", 1).text());
        for (number, wish) in wishes.into_iter().enumerate() {
            let named = gateway == Trusted || privacy.is_empty() || wish == "Privacy: none";
            let lines = [&*format!("P-Asserted-Identity: {ASSERTED}"), "Identity: x", wish];
            for (cseq, method) in [(10, "UPDATE"), (20, "INVITE"), (30, "INFO")] {
                let mut request = call.caller_sends(method, &format!("{method}-{number}"), cseq + number as u32);
                request.extra.extend(lines.map(str::to_owned));
                let sent = world.deliver(CALLER, &request.text());
                let sent = sent.iter().find(|sent| sent.to == GATEWAY).expect("it goes on").clone();
                let case = format!("{method} to {gateway:?}, {privacy}, {wish}");
                assert_eq!(sent.headers("P-Asserted-Identity").len(), usize::from(named), "{case}");
                assert_eq!(sent.headers("Identity").len(), usize::from(named), "{case}");
                assert_eq!(sent.header("From"), call.forwarded.header("From"), "{case}");
                world.deliver(GATEWAY, &response(&sent, 488, "", &[]));
                world.deliver(CALLER, &request.hop("ACK").text());
            }
            let theirs = call.callee_sends("UPDATE", &format!("theirs-{number}"), 40 + number as u32);
            let asked = world.deliver(GATEWAY, &theirs.text())[0].clone();
            let down = world.deliver(CALLER, &response(&asked, 200, "", &lines));
            assert_eq!(down[0].headers("P-Asserted-Identity").len(), usize::from(named), "an answer, {wish}");
            // Who hides is the caller: the callee said nothing of the kind.
            let mut theirs = call.callee_sends("UPDATE", &format!("named-{number}"), 50 + number as u32);
            theirs.extra.extend(lines.map(str::to_owned));
            let asked = world.deliver(GATEWAY, &theirs.text())[0].clone();
            assert_eq!(asked.headers("P-Asserted-Identity").len(), usize::from(gateway == Trusted), "{wish}");
            world.deliver(CALLER, &response(&asked, 200, "", &[]));
        }
        world.settle();
    }
}

/// INVITE, 200, ACK of a caller who is not to be named; the 200 as the gateway wrote it.
fn talking(world: &mut World, request: Request, ok: impl FnOnce(&Sent) -> String) -> Answered {
    let sent = forwarded(world, &request);
    let ok = world.deliver(GATEWAY, &ok(&sent))[0].clone();
    assert_eq!(ok.header("From").rsplit(';').next(), Some("tag=caller"));
    Answered { invite: request, forwarded: sent, ok }
}

/// The dialog's text cannot be kept whole: its routes are too long, or there is little memory. What the caller sends names him to the gateway
/// no more than his INVITE did.
#[test]
fn a_caller_stays_unnamed_without_the_texts_of_his_dialog() {
    let many: String = (0..40).map(|number| format!("Record-Route: <sip:down{number}.example.net;lr>\r\n")).collect();
    let long = |sent: &Sent| {
        let ok = response(sent, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
        ok.replacen("Record-Route:", &format!("{many}Record-Route:"), 1)
    };
    for (from_host, gateway, from) in [(None, Untrusted, ANONYMOUS), (Some("us.example"), Trusted, SHOWN)] {
        let mut world = World::routed_by(image(Trusted, gateway, from_host));
        let mut call = talking(&mut world, named("id"), long);
        call.ok.text = call.ok.text.replace(&many, "");
        let ack = world.deliver(CALLER, &call.caller_sends("ACK", "long-ack", 1).text());
        assert_eq!((ladder(&ack), ack[0].headers("From")), (vec![format!("{GATEWAY} ACK")], vec![from]));
        // Corelane can end it all the same.
        let byes = super::hangup::hang_up_all(&mut world);
        assert_eq!(ladder(&byes), [format!("{GATEWAY} BYE"), format!("{CALLER} BYE")]);
        assert_eq!((byes[0].header("From"), byes[1].header("To")), (from, FROM));
        assert!(byes.iter().all(|bye| bye.headers("Route").is_empty()));
        world.settle();
    }
    // A name that is too long for the small buffers, while INVITEs need the others.
    for (from_host, gateway, from) in
        [(None, Untrusted, ANONYMOUS), (Some("us.example"), Trusted, "@us.example>;tag=caller")]
    {
        let mut settings = super::world::settings();
        settings.budget.buffers = [32, 4, 0, 0];
        let mut world = World::with(settings).with_routing(image(Trusted, gateway, from_host));
        let name = "x".repeat(700);
        let own = |request: Request| request.text().replace("<sip:alice@", &format!("\"{name}\" <sip:alice@"));
        let request = invite("4930123456", "scarce");
        let text = own(Request { extra: vec!["Privacy: id".into()], ..request.clone() });
        let sent = world.deliver(CALLER, &text)[1].clone();
        assert!(sent.header("From").ends_with(from));
        let ok = world.deliver(GATEWAY, &response(&sent, 200, "callee", &[]))[0].clone();
        let call = Answered { invite: request, forwarded: sent, ok };
        let ack = world.deliver(CALLER, &own(call.caller_sends("ACK", "scarce-ack", 1)));
        assert_eq!(ladder(&ack), [format!("{GATEWAY} ACK")]);
        assert!(
            ack[0].header("From").ends_with(from) && !ack[0].header("From").contains("192.0.2.10"),
            "{}",
            ack[0].text
        );
        assert!(super::hangup::hang_up_all(&mut world).is_empty(), "it has no text");
        world.settle();
    }
}

/// BYEs that cross: the call is over when the caller answers that of the callee. The same of any request that waits when the operator ends
/// the call.
#[test]
fn an_answer_after_the_end_does_not_name_the_caller() {
    for (from_host, gateway, shown) in [(None, Untrusted, ANONYMOUS), (Some("us.example"), Trusted, SHOWN)] {
        for hung_up in [false, true] {
            let mut world = World::routed_by(image(Trusted, gateway, from_host));
            let plain = |sent: &Sent| response(sent, 200, "callee", &["Contact: <sip:bob@198.51.100.20>"]);
            let call = talking(&mut world, named("id"), plain);
            world.deliver(CALLER, &call.caller_sends("ACK", "x-ack", 1).text());
            let method = if hung_up { "INFO" } else { "BYE" };
            let theirs = world.deliver(GATEWAY, &call.callee_sends(method, "x-theirs", 7).text());
            assert_eq!((ladder(&theirs), theirs[0].header("To")), (vec![format!("{CALLER} {method}")], FROM));
            if hung_up {
                super::hangup::hang_up_all(&mut world);
            } else {
                let ours = world.deliver(CALLER, &call.caller_sends("BYE", "x-ours", 2).text());
                world.deliver(GATEWAY, &response(&ours[0], 200, "", &[]));
            }
            assert_eq!(world.count(Counter::CallsLive), 0);
            let down = world.deliver(CALLER, &response(&theirs[0], 200, "", &[]));
            assert_eq!((ladder(&down), down[0].headers("To")), (vec![format!("{GATEWAY} 200")], vec![shown]));
            world.settle();
        }
    }
}

/// The 200 is with a media node, and the INVITE that it answers is not kept any more: a PRACK is not named by the caller's own From.
#[test]
fn a_caller_stays_unnamed_while_the_answer_waits() {
    let mut builder = image_of(Trusted, Untrusted, None);
    builder.media_node(1);
    let mut world = World::routed_by(builder.finish()).with_node();
    let mut request = named("id");
    request.extra.push("Content-Type: application/sdp".into());
    let sent = world.deliver(CALLER, &Request { body: super::media::node::sdp("offer"), ..request.clone() }.text());
    let sent = sent.iter().find(|sent| sent.to == GATEWAY).expect("the INVITE").clone();
    let reliable = ["RSeq: 1", "Require: 100rel", "Contact: <sip:bob@198.51.100.20>"];
    let ringing = world.deliver(GATEWAY, &response(&sent, 180, "callee", &reliable));
    let call = Answered { invite: request, forwarded: sent.clone(), ok: ringing[0].clone() };
    world.hold();
    let body = super::media::node::sdp("answer");
    let ok = response(&sent, 200, "callee", &["Content-Type: application/sdp"]);
    let ok = ok.replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    assert!(world.deliver(GATEWAY, &ok).is_empty());
    let prack = world.deliver(CALLER, &call.caller_sends("PRACK", "held-prack", 2).text());
    assert_eq!((ladder(&prack), prack[0].headers("From")), (vec![format!("{GATEWAY} PRACK")], vec![ANONYMOUS]));
    assert_eq!(ladder(&world.answer_wish()), [format!("{CALLER} 200")]);
    world.settle();
}

/// An untrusted gateway asks in its early dialog and fails; the next one is trusted. The answer goes to the first as that knows the caller.
#[test]
fn a_gateway_that_failed_is_not_told_what_the_next_one_is() {
    const NEXT: &str = "198.51.100.21:5060";
    for (first, second, shown) in
        [(Untrusted, Trusted, ANONYMOUS), (Trusted, Untrusted, "<sip:callee@10.0.0.1>;tag=caller")]
    {
        let mut builder = Builder::new();
        builder.listener("10.0.0.1:5060");
        let provider = builder.provider("acme", 1);
        builder.edit_provider(provider, |provider| provider.privacy = Trusted);
        builder.address(provider, CALLER.split(':').next().expect("an address"));
        let gateways = [(GATEWAY, first), (NEXT, second)].map(|(address, privacy)| {
            let slot = builder.gateway(address, address);
            builder.edit_gateway(slot, |record| record.privacy = privacy);
            (slot, 1, 0)
        });
        let carrier = builder.carrier_weighted("both", &[gateways[0], (gateways[1].0, 2, 0)]);
        builder.route(1, "49", carrier);
        let mut world = World::routed_by(builder.finish());
        let request = named("id");
        let sent = forwarded(&mut world, &request);
        let ringing = world.deliver(GATEWAY, &response(&sent, 183, "callee", &["Contact: <sip:bob@198.51.100.20>"]));
        let call = Answered { invite: request, forwarded: sent.clone(), ok: ringing[0].clone() };
        let update = world.deliver(GATEWAY, &call.callee_sends("UPDATE", "next-update", 1).text());
        assert_eq!(
            (ladder(&update), update[0].header("To").ends_with(";tag=caller")),
            (vec![format!("{CALLER} UPDATE")], true)
        );
        let next = world.deliver(GATEWAY, &response(&sent, 503, "callee", &[]));
        assert_eq!(ladder(&next), [format!("{GATEWAY} ACK"), format!("{NEXT} INVITE")]);
        let answer = world.deliver(CALLER, &response(&update[0], 200, "", &[]));
        assert_eq!(ladder(&answer), [format!("{GATEWAY} 200")]);
        assert_eq!(answer[0].headers("To"), [shown], "as it was asked");
        world.deliver(NEXT, &response(&next[1], 486, "callee", &[]));
        world.settle();
    }
}
