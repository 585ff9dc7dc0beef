//! What is held and owed: over the end of a process and of a client, in nodes' lists and without them.

use super::*;

#[test]
fn what_a_killed_process_held_is_paid_by_the_next() {
    let mut records = Sessions::open(table(), Origin { boot: 8, ..ORIGIN });
    let session = SessionId { origin: Origin { boot: 8, ..ORIGIN }, call: MediaCall { call_hash: 5, pass: 1 } };
    records.put(1, session).unwrap();
    records.put(44, session).unwrap();
    let mut world = World::new(1, records.into_records());
    world.run(10);
    assert_eq!(world.deleted, [(1, session.to_string())]);
    assert_eq!(world.client.counters().value(Counter::SessionsStranded), 1, "of a node that is not configured");
}

/// What this node holds nowhere is deleted when two lists a minute apart have it; what it holds, and what others hold, never.
#[test]
fn sessions_that_nobody_knows_are_deleted() {
    let mut world = World::new(1, table());
    let held = world.ask(5, Verb::Offer, 0, b"");
    world.run(3);
    assert_eq!(world.outcome(held), Some((MediaOutcome::Done, 1)));
    let id = |node: u32, boot: u64, call_hash: u64| {
        SessionId { origin: Origin { node, boot }, call: MediaCall { call_hash, pass: 1 } }.to_string()
    };
    let (live, lost, older) = (id(7, 9, 5), id(7, 9, 6), id(7, 8, 5));
    let mut list = b"d5:callsl".to_vec();
    for name in [&live, &lost, &older, &id(8, 9, 6), "someone@example.com"] {
        list.extend(format!("{}:{name}", name.len()).bytes());
    }
    list.extend(*b"e6:result2:oke");
    for wait in [30_000, 31_000, 31_000] {
        let now = Instant::from_micros(world.now);
        world.client.on_list(now, 1, Some(&list), &mut world.out);
        assert!(world.deleted.is_empty(), "one list proves nothing");
        world.carry();
        world.run(wait);
    }
    world.client.on_list(Instant::from_micros(world.now), 1, None, &mut world.out);
    let mut deleted: Vec<&str> = world.deleted.iter().map(|(_, session)| session.as_str()).collect();
    deleted.sort_unstable();
    assert_eq!(deleted, [older.as_str(), lost.as_str()]);
    let counters = world.client.counters();
    assert_eq!((counters.value(Counter::Lists), counters.value(Counter::ListsMissed)), (3, 1));
    assert_eq!(counters.value(Counter::OrphansFound), 2);
}

/// A panic of the media task: the client is made anew in the middle of calls, with nothing but the table.
#[test]
fn a_client_made_anew_pays_for_the_calls_of_the_one_before() {
    let mut world = World::new(2, table());
    let offers: Vec<ExchangeId> = (1..=20).map(|call| world.ask(call, Verb::Offer, 0, b"")).collect();
    world.run(3);
    assert!(offers.iter().all(|offer| matches!(world.outcome(*offer), Some((MediaOutcome::Done, _)))));
    // This one's reply finds nobody who asked.
    world.ask(21, Verb::Offer, 0, b"");
    world.panicked();
    world.run(300);
    assert!(world.deleted.is_empty(), "the calls live");
    assert_eq!(world.value(Counter::RepliesLate), 1, "it knows that the cookie was used before it");
    let answer = world.ask(3, Verb::Answer, world.outcome(offers[2]).unwrap().1, b"b");
    world.run(3);
    assert!(matches!(world.outcome(answer), Some((MediaOutcome::Done, _))));
    (1..=21).for_each(|call| world.ended(call));
    world.run(10);
    let mut deleted: Vec<String> = world.deleted.iter().map(|(_, session)| session.clone()).collect();
    deleted.sort_unstable();
    let all =
        (1..=21).map(|call| SessionId { origin: ORIGIN, call: MediaCall { call_hash: call, pass: 1 } }.to_string());
    assert_eq!(deleted, all.collect::<Vec<_>>(), "each once");
    assert_eq!((world.value(Counter::DeletesPaid), world.client.sessions().live()), (21, 0));
}

/// Without a list the table is walked, so many sessions at a time: what the node does not have any more is no longer held.
#[test]
fn a_node_without_a_list_is_asked_for_what_the_table_has() {
    const CALLS: u64 = QUERIES as u64 + 10;
    let mut world = World::new(1, table());
    for call in 1..=CALLS {
        world.ask(call, Verb::Offer, 0, b"");
    }
    world.run(3);
    let name = |call| SessionId { origin: ORIGIN, call: MediaCall { call_hash: call, pass: 1 } }.to_string();
    world.gone = (1..=CALLS).step_by(2).map(name).collect();
    let lists: [Option<&[u8]>; 2] = [None, Some(b"d6:result5:error12:error-reason20:Unrecognized commande")];
    let mut queries = 0;
    // The second walk comes to the table's end, and to what the first has left of its beginning.
    for (list, asked) in lists.into_iter().zip([QUERIES as u64, 10 + QUERIES as u64 / 2]) {
        world.list(1, list);
        queries += asked;
        assert_eq!(world.value(Counter::Queries), queries);
        world.run(3);
    }
    assert_eq!(world.value(Counter::RecordsGone), CALLS / 2);
    assert_eq!((world.value(Counter::NodesUnlisted), world.value(Counter::ListsMissed)), (1, 2));
    assert_eq!(world.client.sessions().of_node(1), CALLS as u32 / 2);
    (1..=CALLS).for_each(|call| world.ended(call));
    world.run(20);
    assert_eq!(world.value(Counter::DeletesPaid), CALLS / 2, "nothing is owed for those that are gone");
    assert_eq!(world.client.sessions().live(), 0);
    world.list(1, Some(b"d5:callsle6:result2:oke"));
    assert_eq!(world.value(Counter::NodesUnlisted), 0);
}

/// A reply that was overtaken proves nothing: the offer that was asked since has made the session.
#[test]
fn a_session_that_was_offered_again_since_it_was_asked_for_stays() {
    let mut world = World::new(1, table());
    world.ask(5, Verb::Offer, 0, b"");
    world.run(3);
    world.gone.insert(SessionId { origin: ORIGIN, call: MediaCall { call_hash: 5, pass: 1 } }.to_string());
    world.list(1, None);
    assert_eq!(world.value(Counter::Queries), 1);
    world.ask(5, Verb::Offer, 1, b"b");
    world.list(1, None);
    assert_eq!(world.value(Counter::Queries), 1, "not while the call is asked for");
    world.run(3);
    assert_eq!((world.value(Counter::RecordsGone), world.client.sessions().of_node(1)), (0, 1));
    world.ended(5);
    world.list(1, None);
    assert_eq!(world.value(Counter::Queries), 1, "nor when it is owed");
}

/// A node that was full when it died is not full any more when it is back, and is not taken for it until its next count is due.
#[test]
fn a_node_that_is_back_says_at_once_how_many_sessions_it_has() {
    let mut world = World::new(1, table());
    world.reported = 1000;
    world.run(10_100);
    assert_eq!(world.value(Counter::NodesUsable), 0, "others have filled it");
    world.modes.insert(1, Mode::Frozen);
    world.run(2000);
    world.reported = 3;
    world.modes.insert(1, Mode::Alive);
    world.run(1000);
    assert_eq!((world.value(Counter::BreakersClosed), world.value(Counter::NodesUsable)), (1, 1));
}
