//! The Reason headers of what Corelane sends by itself (RFC 3326), as `docs/call-lifecycle.md` promises them: each end is brought about, and
//! what the caller and the gateway get is compared with its row.

use std::time::Duration;

use corelane_core::call::EndReason;

use super::documents::{ENDS, quoted, read, rows};
use super::hangup::hang_up_all;
use super::world::{CALLER, GATEWAY, Sent, World, answered, invite, response, ringing, unacknowledged};

/// The Reason of the BYE or CANCEL of ours that a side gets; empty where there is none.
fn reason_to(peer: &str, sent: &[Sent]) -> String {
    let own = |sent: &&Sent| {
        let line = sent.start_line();
        sent.to == peer && (line.starts_with("BYE") || line.starts_with("CANCEL"))
    };
    let told = sent.iter().find(own).map(|sent| sent.headers("Reason").join(", "));
    told.unwrap_or_default()
}

/// Brings an end about; everything that left on the way.
fn ended(world: &mut World, end: EndReason) -> Vec<Sent> {
    let second = Duration::from_secs(1);
    match end {
        EndReason::Refused => {
            let call = ringing(world, "end");
            world.deliver(GATEWAY, &response(&call.forwarded, 486, "callee", &[]))
        }
        EndReason::Cancelled => {
            let call = ringing(world, "end");
            let mut sent = world.deliver(CALLER, &call.invite.hop("CANCEL").text());
            sent.extend(world.deliver(GATEWAY, &response(&call.forwarded, 487, "callee", &[])));
            sent
        }
        EndReason::Unanswered => {
            let call = ringing(world, "end");
            let mut sent = world.advance(181 * second);
            sent.extend(world.deliver(GATEWAY, &response(&call.forwarded, 487, "callee", &[])));
            sent
        }
        EndReason::ByCaller | EndReason::ByCallee => {
            let call = answered(world, "end");
            let (from, to, bye) = match end {
                EndReason::ByCaller => (CALLER, GATEWAY, call.caller_sends("BYE", "end-bye", 2)),
                _ => (GATEWAY, CALLER, call.callee_sends("BYE", "end-bye", 2)),
            };
            let mut sent = world.deliver(from, &bye.text());
            sent.extend(world.deliver(to, &response(&sent[0].clone(), 200, "", &[])));
            sent
        }
        EndReason::Unacknowledged => {
            unacknowledged(world, "end");
            world.advance(61 * second)
        }
        EndReason::Expired => {
            answered(world, "end");
            world.advance(1801 * second)
        }
        EndReason::SessionExpired => {
            super::session::answered(world, "end", &["Supported: timer", "Session-Expires: 90"], &[]);
            world.advance(91 * second)
        }
        EndReason::Lost => {
            let call = answered(world, "end");
            let info = world.deliver(CALLER, &call.caller_sends("INFO", "end-info", 2).text());
            world.deliver(GATEWAY, &response(&info[0], 481, "", &[]))
        }
        EndReason::HungUp => {
            answered(world, "end");
            hang_up_all(world)
        }
    }
}

/// What a cell promises of a Reason; empty where it promises none. "The same" is what the other side gets.
fn promised(cell: &str, same: &str) -> String {
    let texts: Vec<&str> = quoted(cell).into_iter().filter_map(|text| text.strip_prefix("Reason: ")).collect();
    match texts[..] {
        [] if cell.contains("the same") => same.to_owned(),
        [] => String::new(),
        [text] => text.to_owned(),
        _ => panic!("several Reasons in {cell:?}"),
    }
}

/// The table of ends: what the caller and the gateway get.
#[test]
fn the_lifecycle_has_the_reasons_of_every_end() {
    let document = read("docs/call-lifecycle.md");
    let rows = rows(&document, "end");
    assert_eq!(rows.len(), ENDS.len());
    for (row, end) in rows.iter().zip(ENDS) {
        let mut world = World::new();
        let sent = ended(&mut world, end);
        assert_eq!(world.last_record().reason, end);
        let caller = promised(&row[2], "");
        let promised = [promised(&row[3], &caller), caller];
        let promised = [&promised[1], &promised[0]];
        let told = [reason_to(CALLER, &sent), reason_to(GATEWAY, &sent)];
        assert_eq!([&told[0], &told[1]], promised, "{end:?}: the caller, the gateway");
        world.settle();
    }
}

/// The table of what crosses: the gateway that is not needed any more is told so, and a callee whose 2xx comes too late.
#[test]
fn the_lifecycle_has_the_reasons_of_what_crosses() {
    let document = read("docs/call-lifecycle.md");
    let rows = rows(&document, "| and");
    let of = |what: &str, and: &str| {
        let row = rows.iter().find(|row| row[0] == what && row[1] == and);
        promised(&row.unwrap_or_else(|| panic!("no row {what}, {and}"))[2], "")
    };
    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "forks").text())[1].clone();
    world.deliver(GATEWAY, &response(&forwarded, 200, "one", &["Contact: <sip:bob@198.51.100.20>"]));
    let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "two", &["Contact: <sip:bob@198.51.100.20>"]));
    assert_eq!(reason_to(GATEWAY, &sent), of("2xx", "another 2xx"));
    world.settle();

    let mut world = World::new();
    let forwarded = world.deliver(CALLER, &invite("4930123456", "late").text())[1].clone();
    world.advance(Duration::from_secs(5));
    let sent = world.deliver(GATEWAY, &response(&forwarded, 200, "late", &["Contact: <sip:bob@198.51.100.20>"]));
    assert_eq!(reason_to(GATEWAY, &sent), of("2xx", "Corelane's own refusal"));
    world.settle();
    assert_eq!(of("2xx of a gateway that was given up", "the next gateway's ringing"), "SIP;cause=200");
}
