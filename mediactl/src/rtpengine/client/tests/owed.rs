//! What is held and owed: over the end of a process and of a client, in nodes' lists and without them.

use super::*;

#[test]
fn what_a_killed_process_held_is_paid_by_the_next() {
    let mut records = Sessions::open(table(), Origin { boot: 8, ..ORIGIN }, 1);
    let session = SessionId { origin: Origin { boot: 8, ..ORIGIN }, call: MediaCall { call_hash: 5, pass: 1 } };
    records.put(address(1), session).unwrap();
    records.put(address(44), session).unwrap();
    let mut world = World::new(1, records.into_records());
    world.run(900);
    assert_eq!(world.deleted, [], "what it asked may be on its way still");
    world.run(110);
    assert_eq!(world.deleted, [(1, session.to_string())]);
    assert_eq!(world.client.counters().value(Counter::SessionsStranded), 1, "at an address that no row means");
}

/// A row that means another machine now is another node, and the one of before leaves: what it has is asked of it, and of nobody else.
#[test]
fn a_debt_is_owed_to_the_address_that_got_the_offer() {
    let mut world = World::new(1, table());
    for call in [5, 6] {
        world.ask(call, Verb::Offer, 0, b"");
    }
    world.run(3);
    let moved = |world: &mut World, nodes: Vec<NodeConfig>| {
        world.modes.extend(nodes.iter().map(|node| (node.id, Mode::Alive)));
        world.client.configure(Instant::from_micros(world.now), nodes);
    };
    let leaving = NodeConfig { admin: Admin::Leaving, ..config(1) };
    moved(&mut world, vec![leaving.clone(), config(2)]);
    let [answer, new] =
        [(5, Verb::Answer, 1), (7, Verb::Offer, 0)].map(|(call, verb, node)| world.ask(call, verb, node, b""));
    world.run(3);
    assert_eq!([answer, new].map(|asked| world.outcome(asked)), [1, 2].map(|node| Some((MediaOutcome::Done, node))));
    world.ended(5);
    world.run(3);
    let name = |call| SessionId { origin: ORIGIN, call: MediaCall { call_hash: call, pass: 1 } }.to_string();
    assert_eq!(world.deleted, [(1, name(5))]);

    // Over a restart with another table: the address that is owed something is there, and the one of the row gets nothing.
    moved(&mut world, vec![config(2), config(3)]);
    world.begin_again(10);
    world.run(1_100);
    assert_eq!(world.deleted[1..], [(2, name(7))]);
    assert_eq!((world.value(Counter::SessionsStranded), world.client.sessions().at(address(1))), (1, 1));
    moved(&mut world, vec![config(3), leaving]);
    world.run(10);
    assert_eq!(world.deleted[2..], [(1, name(6))]);
    assert_eq!(world.client.sessions().live(), 0);
}

/// What is owed to a node that stays dead is given up in the end, over panics and restarts; one that answers is paid however old the debt is.
#[test]
fn a_debt_that_nobody_acknowledges_is_given_up_when_it_is_old() {
    let mut world = World::new(2, table());
    let offers = [5, 6].map(|call| world.ask(call, Verb::Offer, 0, b""));
    let live = |world: &World| world.client.sessions().live();
    world.run(3);
    assert!(offers.iter().all(|offer| matches!(world.outcome(*offer), Some((MediaOutcome::Done, _)))));
    world.modes = [1, 2].map(|node| (node, Mode::Frozen)).into();
    world.ended(5);
    world.pass(1_000);
    world.panicked();
    world.ended(6);
    world.pass(1_000);
    world.begin_again(10);
    world.pass(1_880);
    assert_eq!((live(&world), world.value(Counter::DeletesAbandoned)), (2, 0), "for as long as the node may have it");
    world.pass(40);
    assert_eq!((live(&world), world.value(Counter::DeletesAbandoned)), (1, 1), "each has its own time");
    world.pass(1_000);
    assert_eq!((live(&world), world.value(Counter::DeletesAbandoned)), (0, 2));
    assert!(world.client.queued.is_empty() && world.client.ready.is_empty() && world.client.debts.is_empty());
    world.modes = [1, 2].map(|node| (node, Mode::Alive)).into();
    world.pass(10);
    assert_eq!(world.deleted, [], "nothing is asked for any more");

    // A debt that is older than that when a node starts: asked for before it is given up.
    let mut records = Sessions::open(table(), Origin { boot: 8, ..ORIGIN }, 1);
    let session = SessionId { origin: Origin { boot: 8, ..ORIGIN }, call: MediaCall { call_hash: 5, pass: 1 } };
    for node in [1, 44] {
        records.put(address(node), session).unwrap();
    }
    records.due(session, 1);
    let mut world = World::new(1, records.into_records());
    world.pass(50);
    assert_eq!((world.deleted.len(), live(&world), world.value(Counter::DeletesAbandoned)), (1, 1, 0));
    world.pass(20);
    assert_eq!((live(&world), world.value(Counter::DeletesAbandoned)), (0, 1));
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
    world.client = world.client.with_boots(&[8]);
    let mut list = b"d5:callsl".to_vec();
    for name in [&live, &lost, &older, &id(8, 9, 6), &id(7, 7, 6), &id(7, 10, 5), "someone@example.com"] {
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
    assert_eq!((counters.value(Counter::OrphansFound), counters.value(Counter::SessionsForeign)), (2, 2));
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
    world.run(600);
    assert!(world.deleted.is_empty(), "a delete does not overtake what the other one asked");
    world.run(110);
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
    assert_eq!(world.client.sessions().at(address(1)), CALLS as u32 / 2);
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
    assert_eq!((world.value(Counter::RecordsGone), world.client.sessions().at(address(1))), (0, 1));
    world.ended(5);
    world.list(1, None);
    assert_eq!(world.value(Counter::Queries), 1, "nor when it is owed");
}

/// A node lost a session and was asked for it, so that its record went. What is played again makes another there, and that is owed as any other: also
/// where the node then has no room for it (world 20).
#[test]
fn an_offer_that_is_played_again_leaves_with_a_record() {
    let mut world = World::new(1, table());
    world.ask(5, Verb::Offer, 0, b"");
    world.run(3);
    world.ask(5, Verb::Answer, 1, b"b");
    world.run(3);
    world.gone.insert(SessionId { origin: ORIGIN, call: MediaCall { call_hash: 5, pass: 1 } }.to_string());
    world.list(1, None);
    world.run(3);
    assert_eq!((world.value(Counter::RecordsGone), world.client.sessions().at(address(1))), (1, 0));
    for (mode, held) in [(Mode::Full, 0), (Mode::Alive, 1)] {
        world.modes.insert(1, mode);
        world.ask(5, Verb::Restore, 1, b"b");
        world.run(6);
        assert_eq!(world.client.sessions().at(address(1)), held, "{mode:?}");
    }
    world.ended(5);
    world.run(3);
    assert_eq!((world.deleted.len(), world.client.sessions().live()), (1, 0));
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
