//! IPv6, and calls that come in by one listener and leave by another.

use std::net::{IpAddr, Ipv6Addr};

use crate::corelane::{Corelane, Options, listener};
use crate::peer::{Message, Peer};
use crate::serial;
use crate::sipp::Sipp;
use crate::site::{Site, Tables, free_port};

const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn whole_calls_over_ipv6() {
    let _serial = serial();
    let site = Site::new();
    let (address, gateway) = (free_port(LOOPBACK6), free_port(LOOPBACK6));
    let tables = Tables::new(address, LOOPBACK6).gateway("49", gateway);
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Sipp::uas(&site, "uas_basic", gateway).start();
    Sipp::uac(&site, "uac_basic", LOOPBACK6, address).dial(&["4912345"]).calls(50, 100).many_sockets().run();
    assert_eq!(gateway.stop().successful, 50);
    assert_eq!(corelane.stop_empty().node("calls_answered"), 50);
}

#[test]
fn whole_calls_from_ipv4_to_ipv6_hung_up_from_either_side() {
    let _serial = serial();
    let site = Site::new();
    let (inside, outside) = (listener(&site), free_port(LOOPBACK6));
    let (answers, hangs_up) = (free_port(LOOPBACK6), free_port(LOOPBACK6));
    let tables = Tables::default()
        .listener(inside)
        .listener(outside)
        .source(site.caller(), Some(1))
        .gateway_behind("49", answers, Some(2))
        .gateway_behind("33", hangs_up, Some(2));
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let answers = Sipp::uas(&site, "uas_basic", answers).start();
    let hangs_up = Sipp::uas(&site, "uas_hangs_up", hangs_up).start();
    let caller = |scenario: &str, number: &str| {
        Sipp::uac(&site, scenario, site.caller(), inside).dial(&[number]).calls(50, 100).many_sockets().run()
    };
    caller("uac_basic", "4912345");
    caller("uac_hungup", "3312345");
    assert_eq!([answers.stop().successful, hangs_up.stop().successful], [50, 50]);
    assert_eq!(corelane.stop_empty().node("calls_answered"), 100);
}

/// RFC 5658: where ingress and egress listener differ, each side sees its own listener on top and both are popped.
#[test]
fn two_listeners_record_route_twice() {
    let _serial = serial();
    let site = Site::new();
    let (inside, outside, gateway) = (site.address(1), site.address(2), site.address(21));
    let tables = Tables::default().listener(inside).listener(outside).source(site.caller(), Some(1)).gateway_behind(
        "49",
        gateway,
        Some(2),
    );
    let corelane = Corelane::start(&site, &tables, &Options::default());
    let gateway = Peer::at(gateway, outside);
    let caller = Peer::new(site.caller(), inside);

    let invite = caller.request("INVITE", "4912345");
    caller.send(invite.text());
    let received = gateway.receive_starting("INVITE");
    let recorded = record_routes(&received);
    assert_eq!(recorded.len(), 2, "{}", received.0);
    assert!(recorded[0].contains(&outside.to_string()), "the gateway's next hop is on top: {}", received.0);
    assert!(recorded[1].contains(&inside.to_string()), "{}", received.0);
    assert!(received.header("Via").is_some_and(|via| via.contains(&outside.to_string())), "{}", received.0);
    gateway.send(received.answer("200 OK", gateway.address()));

    let dialog = caller.answered(invite);
    let ack = gateway.receive_starting("ACK");
    assert!(ack.header("Route").is_none(), "both Routes are ours and are popped: {}", ack.0);
    assert!(ack.0.starts_with(&format!("ACK sip:gateway@{}", gateway.address())), "the remote target: {}", ack.0);

    let bye = caller.say_bye(&dialog);
    let received = gateway.receive_starting("BYE");
    assert!(received.header("Route").is_none(), "{}", received.0);
    gateway.send(received.answer("200 OK", gateway.address()));
    assert_eq!(caller.receive_final(&bye).code(), Some(200));
    assert_eq!(corelane.stop_empty().node("calls_answered"), 1);
}

/// The values of all Record-Route headers, one per line or several.
fn record_routes(message: &Message) -> Vec<&str> {
    message.headers("Record-Route").into_iter().flat_map(|line| line.split(',')).map(str::trim).collect()
}
