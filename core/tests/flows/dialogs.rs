//! Requests inside a dialog (RFC 3261 §12, §16.4, §16.12).

use std::time::Duration;

use corelane_core::Counter;
use corelane_core::call::EndReason;
use corelane_core::routing::build::Builder;

use super::world::{
    Answered, CALLER, FAR_GATEWAY, GATEWAY, Request, STRANGER, Sent, World, answered, invite, ladder, response,
};

/// The callee may hang up as well.
#[test]
fn the_callee_ends_the_call() {
    let mut world = World::new();
    let call = answered(&mut world, "b");
    let sent = world.deliver(GATEWAY, &call.callee_sends("BYE", "b-bye", 1).text());
    assert_eq!(ladder(&sent), [format!("{CALLER} BYE")]);
    assert!(sent[0].headers("Route").is_empty());
    assert_eq!(ladder(&world.deliver(CALLER, &response(&sent[0], 200, "", &[]))), [format!("{GATEWAY} 200")]);
    assert_eq!(world.count(Counter::CallsLive), 0);
    world.settle();
}

/// RFC 3261 §14: a re-INVITE is an INVITE transaction of its own; its ACK goes end to end.
#[test]
fn a_reinvite_passes_with_its_ack() {
    let mut world = World::new();
    let call = answered(&mut world, "re");
    let sent = world.deliver(GATEWAY, &call.callee_sends("INVITE", "re-inv", 5).text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} 100"), format!("{CALLER} INVITE")]);
    let ok = world.deliver(CALLER, &response(&sent[1], 200, "", &[]));
    assert_eq!(ladder(&ok), [format!("{GATEWAY} 200")]);
    let ack = world.deliver(GATEWAY, &call.callee_sends("ACK", "re-ack", 5).text());
    assert_eq!(ladder(&ack), [format!("{CALLER} ACK")]);
    // Refused, the call goes on (RFC 3261 §14.1).
    let sent = world.deliver(CALLER, &call.caller_sends("INVITE", "re-inv2", 6).text());
    let refused = world.deliver(GATEWAY, &response(&sent[1], 488, "", &[]));
    assert_eq!(ladder(&refused), [format!("{GATEWAY} ACK"), format!("{CALLER} 488")]);
    assert_eq!(world.count(Counter::CallsLive), 1);
    world.settle();
}

/// The ACK of a re-INVITE that never went on (refused without state: its transaction is not there to tell) is no ACK of a 2xx.
#[test]
fn an_ack_of_an_invite_that_did_not_go_on_ends_here() {
    let mut world = World::new();
    let call = answered(&mut world, "ack-of-nothing");
    assert!(world.deliver(CALLER, &call.caller_sends("ACK", "ack9", 9).text()).is_empty());
    assert_eq!(world.count(Counter::StrayAcks), 1);
    let again = world.deliver(CALLER, &call.caller_sends("ACK", "ack1", 1).text());
    assert_eq!(ladder(&again), [format!("{GATEWAY} ACK")]);
    world.settle();
}

/// PRACK, UPDATE, INFO and the like pass in both directions; PRACK already in an early dialog (RFC 3262).
#[test]
fn other_methods_pass() {
    let mut world = World::new();
    let request = invite("4930123456", "prack");
    let forwarded = world.deliver(CALLER, &request.text())[1].clone();
    let progress = world.deliver(GATEWAY, &response(&forwarded, 183, "callee", &["RSeq: 1", "Require: 100rel"]));
    let call = Answered { invite: request, forwarded, ok: progress[0].clone() };
    let prack = world.deliver(CALLER, &call.caller_sends("PRACK", "p", 2).text());
    assert_eq!(ladder(&prack), [format!("{GATEWAY} PRACK")]);
    assert_eq!(ladder(&world.deliver(GATEWAY, &response(&prack[0], 200, "", &[]))), [format!("{CALLER} 200")]);
    world.deliver(GATEWAY, &response(&call.forwarded, 200, "callee", &[]));
    for (cseq, method) in [(3, "UPDATE"), (4, "INFO"), (5, "NOTIFY"), (6, "X-ODD")] {
        let sent = world.deliver(GATEWAY, &call.callee_sends(method, &format!("m{cseq}"), cseq).text());
        assert_eq!(ladder(&sent), [format!("{CALLER} {method}")]);
        assert_eq!(ladder(&world.deliver(CALLER, &response(&sent[0], 200, "", &[]))), [format!("{GATEWAY} 200")]);
    }
    world.settle();
}

/// RFC 3261 §16.4: a strict router moved our URI into the Request-URI.
#[test]
fn a_strict_routers_request_is_repaired() {
    let mut world = World::new();
    let call = answered(&mut world, "strict");
    let mut bye = call.caller_sends("BYE", "strict-bye", 2);
    let own = bye.routes[0].trim_matches(['<', '>']).to_owned();
    bye.uri = own;
    bye.routes = vec!["<sip:bob@198.51.100.20>".into()];
    let sent = world.deliver(CALLER, &bye.text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE")]);
    assert_eq!(sent[0].start_line(), "BYE sip:bob@198.51.100.20 SIP/2.0");
    assert!(sent[0].headers("Route").is_empty());
    world.settle();
}

/// The same where the call passes two of our listeners: one of our URIs became the Request-URI, the other one is on top of the Route.
#[test]
fn a_strict_router_beside_two_listeners_is_repaired() {
    let mut world = World::new();
    let invite = invite("4312345678", "faces");
    let forwarded = world.deliver(CALLER, &invite.text())[1].clone();
    assert_eq!((forwarded.to.as_str(), forwarded.listener), (FAR_GATEWAY, 1));
    let ok = response(&forwarded, 200, "callee", &["Contact: <sip:bob@198.51.100.30>"]);
    let ok = world.deliver_to(1, FAR_GATEWAY, ok.as_bytes())[0].clone();
    let call = Answered { invite, forwarded, ok };
    world.deliver(CALLER, &call.caller_sends("ACK", "faces-ack", 1).text());
    let strict = |mut request: Request, target: &str, behind: &[&str]| {
        request.uri = request.routes.remove(0).trim_matches(['<', '>']).to_owned();
        assert_eq!(request.routes.len(), 1);
        request.routes.extend(behind.iter().map(|&route| route.to_owned()));
        Request { routes: [request.routes, vec![format!("<{target}>")]].concat(), ..request }
    };
    let target = "sip:bob@198.51.100.30";
    let info = strict(call.caller_sends("INFO", "faces-info", 2), target, &["<sip:beyond.example;lr>"]);
    let sent = world.deliver(CALLER, &info.text());
    assert_eq!(ladder(&sent), [format!("{FAR_GATEWAY} INFO")]);
    assert_eq!(sent[0].start_line(), format!("INFO {target} SIP/2.0"));
    assert_eq!(sent[0].headers("Route"), ["<sip:beyond.example;lr>"]);
    world.deliver_to(1, FAR_GATEWAY, response(&sent[0], 200, "", &[]).as_bytes());
    let via = format!("SIP/2.0/UDP {FAR_GATEWAY};branch=z9hG4bK-faces-bye");
    let bye = Request { via, ..strict(call.callee_sends("BYE", "faces-bye", 1), "sip:alice@192.0.2.10", &[]) };
    let sent = world.deliver_to(1, FAR_GATEWAY, bye.text().as_bytes());
    assert_eq!((ladder(&sent), sent[0].listener), (vec![format!("{CALLER} BYE")], 0));
    assert_eq!(sent[0].start_line(), "BYE sip:alice@192.0.2.10 SIP/2.0");
    assert!(sent[0].headers("Route").is_empty());
    world.deliver(CALLER, &response(&sent[0], 200, "", &[]));
    assert_eq!(world.last_record().reason, EndReason::ByCallee);
    world.settle();
}

/// What lies behind us in the route set stays.
#[test]
fn routes_of_others_stay() {
    let mut world = World::new();
    let call = answered(&mut world, "more");
    let mut bye = call.caller_sends("BYE", "more-bye", 2);
    bye.routes.push("<sip:beyond.example;lr>".into());
    let sent = world.deliver(CALLER, &bye.text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE")], "the learned peer is the next hop");
    assert_eq!(sent[0].headers("Route"), ["<sip:beyond.example;lr>"]);
    world.settle();
}

/// SPEC §3 *Recognise*: a token of ours, both tags and a living call, or 481; silence to strangers.
#[test]
fn what_names_no_dialog_of_ours_gets_481() {
    let mut world = World::new();
    let call = answered(&mut world, "who");
    let bye = call.caller_sends("BYE", "who-bye", 2);
    let mut wrong_tag = bye.clone();
    wrong_tag.to_tag = "nobody".into();
    let mut no_route = bye.clone();
    no_route.routes.clear();
    let mut forged = bye.clone();
    forged.routes[0] = forged.routes[0].replace(";cl=1", ";cl=1A");
    let mut elsewhere = bye.clone();
    elsewhere.call_id = "other@192.0.2.10".into();
    for (place, wrong) in [wrong_tag, no_route, forged, elsewhere].into_iter().enumerate() {
        let sent = world.deliver(CALLER, &wrong.text());
        assert_eq!(ladder(&sent), [format!("{CALLER} 481")], "case {place}");
        assert!(world.deliver(STRANGER, &wrong.text()).is_empty(), "case {place}");
    }
    assert_eq!(world.count(Counter::CallsLive), 1);
    // The token is what counts, not the address: a caller behind a new NAT binding may still hang up.
    let sent = world.deliver(STRANGER, &bye.text());
    assert_eq!(ladder(&sent), [format!("{GATEWAY} BYE")]);
    world.settle();
}

/// SPEC §3 *Answers*: of two forks that answer the second is acknowledged and ended by Corelane, once; its retransmission only
/// acknowledged. The first is a call like any other.
#[test]
fn the_second_answer_of_a_fork_is_ended() {
    let mut world = World::new();
    let call = answered(&mut world, "fork");
    let contact = ["Contact: <sip:other@198.51.100.20:5099>"];
    let second = response(&call.forwarded, 200, "other", &contact);
    let sent = world.deliver(GATEWAY, &second);
    assert_eq!(ladder(&sent), [format!("{GATEWAY} ACK"), format!("{GATEWAY} BYE")]);
    assert_eq!(sent[0].start_line(), "ACK sip:other@198.51.100.20:5099 SIP/2.0");
    assert!(sent[1].header("To").ends_with(";tag=other") && sent[1].header("From").ends_with(";tag=caller"));
    assert_eq!(sent[1].header("CSeq"), "2 BYE");
    assert_eq!(ladder(&world.deliver(GATEWAY, &second)), [format!("{GATEWAY} ACK")]);
    assert!(world.deliver(GATEWAY, &response(&sent[1], 200, "", &[])).is_empty());
    assert_eq!(world.count(Counter::CallsLive), 1);
    let bye = world.deliver(CALLER, &call.caller_sends("BYE", "fork-bye", 2).text());
    world.deliver(GATEWAY, &response(&bye[0], 200, "", &[]));
    assert_eq!(world.last_record().reason, EndReason::ByCaller);
    world.settle();
}

/// RFC 3261 §17.1.1.3: the ACK of what we refused ourselves ends here.
#[test]
fn the_ack_of_a_refused_reinvite_goes_no_further() {
    let mut world = World::new();
    let call = answered(&mut world, "sr");
    let mut again = call.caller_sends("INVITE", "sr-2", 2);
    again.extra.push("Proxy-Require: foo".into());
    assert_eq!(world.deliver(CALLER, &again.text())[0].status(), 420);
    let ack = call.caller_sends("ACK", "sr-2", 2);
    assert!(world.deliver(CALLER, &ack.text()).is_empty());
    world.settle();
}

/// RFC 4320: to a non-INVITE no provisional but 100, and no 408.
#[test]
fn what_a_non_invite_must_not_get_is_kept_back() {
    let mut world = World::new();
    let call = answered(&mut world, "nit");
    let notify = world.deliver(CALLER, &call.caller_sends("NOTIFY", "nit-2", 2).text());
    assert!(world.deliver(GATEWAY, &response(&notify[0], 180, "", &[])).is_empty());
    assert!(world.deliver(GATEWAY, &response(&notify[0], 408, "", &[])).is_empty());
    assert_eq!(world.count(Counter::CallsLive), 1);
    let again = call.caller_sends("NOTIFY", "nit-2", 2);
    assert!(world.deliver(CALLER, &again.text()).is_empty(), "no new request");
    let nothing = world.advance(Duration::from_secs(31));
    assert!(nothing.is_empty() && world.deliver(CALLER, &again.text()).is_empty(), "{:?}", ladder(&nothing));
    world.settle();
}

/// RFC 3261 §16.7 step 3: a response with no Via but ours is for nobody.
#[test]
fn a_response_without_a_second_via_is_dropped() {
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "nv").text())[1].clone();
    let second = format!("Via: {}\r\n", forwarded.headers("Via")[1]);
    let alone = response(&forwarded, 180, "t", &[]).replace(&second, "");
    assert!(world.deliver(GATEWAY, &alone).is_empty());
    assert_eq!(world.count(Counter::StrayResponses), 1);
    world.settle();
}

/// RFC 3261 §19.1.1: what a strict router left as the target must be a Request-URI.
#[test]
fn a_repaired_target_with_headers_is_refused() {
    let mut world = World::new();
    let call = answered(&mut world, "sh");
    let mut again = call.caller_sends("INVITE", "sh-2", 2);
    again.uri = again.routes[0].trim_matches(['<', '>']).to_owned();
    again.routes = vec!["<sip:bob@198.51.100.20?a=b>".into()];
    assert_eq!(ladder(&world.deliver(CALLER, &again.text())), [format!("{CALLER} 400")]);
    world.settle();
}

/// A spiral (SPEC §3 *Tokens*): a softswitch sends the call back, as a provider of its own. Each request inside the dialog passes both calls, each
/// takes off its own Route, and none goes past the switch, also where that does not record-route.
#[test]
fn requests_pass_both_calls_of_a_spiral() {
    const BEYOND: &str = "198.51.100.40:5060";
    const SWITCH: &str = GATEWAY;
    for own_route in [None, Some("<sip:switch.example;lr>")] {
        let mut builder = Builder::new();
        builder.listener("10.0.0.1:5060");
        for (group, source, gateway) in [(1, "192.0.2.10", SWITCH), (2, "198.51.100.20", BEYOND)] {
            let provider = builder.provider(source, group);
            builder.address(provider, source);
            let gateway = builder.gateway(gateway, gateway);
            let carrier = builder.carrier(source, &[gateway]);
            builder.route(group, "49", carrier);
        }
        let mut world = World::routed_by(builder.finish());
        // What the switch sends on of what came to it: its Via on top, its Route taken off.
        let passed_on = |came: &Sent, branch: &str, extra: &[String]| {
            let (head, _) = came.text.split_once("\r\n\r\n").expect("an empty line");
            let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
            lines.retain(|line| own_route.is_none_or(|own| *line != format!("Route: {own}")));
            lines.retain(|line| !line.starts_with("Content-Length:"));
            lines.insert(1, format!("Via: SIP/2.0/UDP {SWITCH};branch=z9hG4bK-{branch}"));
            lines.splice(1..1, extra.iter().cloned());
            lines.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n"
        };
        let recorded: Vec<String> = own_route.iter().map(|own| format!("Record-Route: {own}")).collect();
        let invite = invite("4930123456", "spiral");
        let first = world.deliver(CALLER, &invite.text())[1].clone();
        let second = world.deliver(SWITCH, &passed_on(&first, "again", &recorded))[1].clone();
        assert_eq!(second.to, BEYOND);
        let ok = response(&second, 200, "callee", &["Contact: <sip:bob@198.51.100.40>"]);
        let ok = world.deliver(BEYOND, &ok)[0].clone();
        assert_eq!((ok.to.as_str(), ok.headers("Via").len()), (SWITCH, 3));
        let ok = ok.text.replacen(&format!("Via: {}\r\n", ok.header("Via")), "", 1);
        let ok = world.deliver(SWITCH, &ok)[0].clone();
        assert_eq!((ok.to.as_str(), ok.headers("Record-Route").len()), (CALLER, 2 + recorded.len()));
        let call = Answered { invite, forwarded: second, ok };
        let through = |world: &mut World, from: &str, to: &str, request: &Request| {
            let sent = world.deliver(from, &request.text());
            let sent = sent.iter().find(|sent| sent.to == SWITCH).expect("to the switch").clone();
            assert_eq!(sent.headers("Route").len(), 1 + recorded.len(), "{}", sent.text);
            let sent = world.deliver(SWITCH, &passed_on(&sent, &format!("{}-{}", request.method, request.cseq), &[]));
            let sent = sent.iter().find(|sent| sent.to == to).expect("to the other end").clone();
            assert!(sent.headers("Route").is_empty(), "{}", sent.text);
        };
        through(&mut world, CALLER, BEYOND, &call.caller_sends("ACK", "spiral-ack", 1));
        through(&mut world, CALLER, BEYOND, &call.caller_sends("INFO", "spiral-info", 2));
        through(&mut world, BEYOND, CALLER, &call.callee_sends("UPDATE", "spiral-update", 1));
        through(&mut world, BEYOND, CALLER, &call.callee_sends("INVITE", "spiral-re", 2));
        // RFC 3261 §16.4: a strict router before us. What it put into the Request-URI is of the call that comes first.
        let mut strict = call.caller_sends("INFO", "spiral-strict", 3);
        strict.uri = strict.routes.remove(0).trim_matches(['<', '>']).to_owned();
        strict.routes.push("<sip:bob@198.51.100.40>".into());
        let sent = world.deliver(CALLER, &strict.text());
        assert_eq!(ladder(&sent), [format!("{SWITCH} INFO")]);
        assert_eq!(sent[0].start_line(), "INFO sip:bob@198.51.100.40 SIP/2.0");
        assert_eq!(sent[0].headers("Route"), strict.routes[..strict.routes.len() - 1]);
        assert_eq!((world.count(Counter::CallsLive), world.count(Counter::StrayAcks)), (2, 0));
        world.advance(Duration::from_secs(33));
        world.settle();
    }
}
