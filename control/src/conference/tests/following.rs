//! A conference that another control process maintains, as this one sees it.

use super::*;
use crate::peers::PeerFailure;
use crate::store::{News, Peer};

/// Control process `a` of two, with what `b` has made: conference c1 with alice on node n1.
fn follower() -> World {
    let mut record = running().state.conferences["c1"].record.clone();
    record.maintainer = "b".into();
    let mut world = World::unloaded();
    world.state = State::new(Options { shared: true, css: "a".into(), ..Options::default() });
    let peer = |id: &str| Peer { id: id.into(), address: format!("http://{id}") };
    world.event(Event::PeersSeen(Ok(vec![peer("a"), peer("b")])));
    world.event(Event::StoreLoaded(vec![record]));
    for node in ["n1", "n2"] {
        world.announce(node, "b1");
    }
    list(&mut world, "n1", 1, &[("alice", "192.0.2.1:5000")]);
    world
}

/// The feed tells how `b` changed the record.
fn changed(world: &mut World, change: impl Fn(&mut Record)) {
    let mut record = world.state.conferences["c1"].record.clone();
    record.version += 1;
    change(&mut record);
    world.pass(200);
    let followed = world.pending.iter().position(|effect| matches!(effect, Effect::StoreFollow { .. }));
    let Effect::StoreFollow { token } = world.pending.remove(followed.expect("it follows")) else { panic!() };
    world.event(Event::StoreChanged { token, result: Ok(News { records: vec![record], ..News::default() }) });
    world.pass(50);
}

/// A node says where participants of c1 send.
fn list(world: &mut World, node: &str, epoch: u64, legs: &[(&str, &str)]) {
    let asked =
        |effect: &Effect| matches!(effect, Effect::NodeList { node: asked, .. } if asked.as_str() == node);
    let at = world.pending.iter().rposition(asked).expect("the node is asked");
    let Effect::NodeList { token, node, .. } = world.pending.remove(at) else { panic!() };
    let transport = world.state.conferences["c1"].record.participants["alice"].media[0].transport();
    let legs = legs.iter().map(|(leg, local)| node::LegAllocation {
        leg: (*leg).into(),
        transports: vec![node::TransportAllocation {
            transport: transport.to_owned(),
            local: (*local).into(),
            ..Default::default()
        }],
    });
    let allocation =
        ConferenceAllocation { id: "c1".into(), epoch, legs: legs.collect(), ..Default::default() };
    let copy =
        RunningConference { id: "c1".into(), epoch, allocation: Some(allocation), ..Default::default() };
    let copy = RunningConference { alive_legs: world.heard.0.clone(), ..copy };
    let (boot_id, conferences) = (world.boots[&node].clone(), vec![copy]);
    let event_sequence = world.heard.1;
    let list = ListConferencesResponse { boot_id, conferences, event_sequence, ..Default::default() };
    world.event(Event::NodeListed { token, node, result: Ok(list) });
}

fn joins(record: &mut Record) {
    let alice = record.participants["alice"].clone();
    record.participants.insert("bob".into(), alice);
}

fn told(world: &World) -> Vec<&str> {
    let moved = world.events.iter().filter(|(kind, _)| *kind == Kind::ParticipantMoved);
    moved.map(|(_, message)| message.as_str()).collect()
}

#[test]
fn who_joined_elsewhere_has_not_moved() {
    let mut world = follower();
    changed(&mut world, joins);
    let records = world.state.conferences.values().map(|known| known.record.clone()).collect();
    // Nodes are asked once more.
    world.event(Event::StoreLoaded(records));
    world.pass(50);
    list(&mut world, "n1", 1, &[("alice", "192.0.2.1:5000"), ("bob", "192.0.2.1:5002")]);
    assert_eq!(told(&world), [""; 0]);
    assert_eq!(world.emitted(Kind::ParticipantJoined), 1);
}

#[test]
fn all_are_told_where_to_send_after_a_move_even_who_had_just_joined() {
    let mut world = follower();
    changed(&mut world, joins);
    changed(&mut world, |record| {
        (record.node_id, record.epoch) = ("n2".into(), 2);
    });
    world.pass(250);
    list(&mut world, "n2", 2, &[("alice", "192.0.2.2:6000"), ("bob", "192.0.2.2:6002")]);
    let told = told(&world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("alice") && told[0].contains("192.0.2.2:6000"), "{told:?}");
    assert!(told[1].contains("bob") && told[1].contains("192.0.2.2:6002"), "{told:?}");
}

/// The oldest reading of the feed that was asked for finds these.
fn fed(world: &mut World, records: Vec<Record>) {
    let at = world.pending.iter().position(|effect| matches!(effect, Effect::StoreFollow { .. }));
    let Effect::StoreFollow { token } = world.pending.remove(at.expect("it follows")) else { panic!() };
    world.event(Event::StoreChanged { token, result: Ok(News { records, ..News::default() }) });
}

fn get(world: &mut World, conference: &str) -> u64 {
    world.request(Request::Get(wire::GetRequest { conference: conference.into() }))
}

fn passed_on(world: &World) -> usize {
    world.pending.iter().filter(|effect| matches!(effect, Effect::Forward { .. })).count()
}

#[test]
fn what_another_has_just_made_is_found() {
    let mut world = follower();
    let mut record = world.state.conferences["c1"].record.clone();
    (record.id, record.number) = ("c9".into(), "900".into());
    let asked = get(&mut world, "900");
    assert!(!world.replies.contains_key(&asked) && passed_on(&world) == 0);
    fed(&mut world, vec![record]);
    assert!(!world.replies.contains_key(&asked) && passed_on(&world) == 1, "its maintainer is asked");
}

#[test]
fn what_nobody_made_is_not_found_when_the_feed_was_read() {
    let mut world = follower();
    world.pass(200);
    // The reading that is under way may have begun before.
    let asked = get(&mut world, "900");
    fed(&mut world, vec![]);
    assert!(!world.replies.contains_key(&asked));
    fed(&mut world, vec![]);
    assert_eq!(world.refusal(asked).code, Code::NotFound);
}

#[test]
fn without_the_store_nobody_waits_for_the_feed() {
    let mut world = follower();
    let asked = get(&mut world, "900");
    let at = world.pending.iter().position(|effect| matches!(effect, Effect::StoreFollow { .. }));
    let Effect::StoreFollow { token } = world.pending.remove(at.expect("it follows")) else { panic!() };
    world.event(Event::StoreChanged { token, result: Err(StoreError::Unavailable("away".into())) });
    assert_eq!(world.refusal(asked).code, Code::Unavailable);
}

#[test]
fn without_the_store_a_number_is_not_taken_for_that_of_one_that_has_ended() {
    let mut world = follower();
    changed(&mut world, |record| record.phase = Phase::Ended);
    let asked = get(&mut world, "700");
    let at = world.pending.iter().position(|effect| matches!(effect, Effect::StoreFollow { .. }));
    let Effect::StoreFollow { token } = world.pending.remove(at.expect("it follows")) else { panic!() };
    world.event(Event::StoreChanged { token, result: Err(StoreError::Unavailable("away".into())) });
    assert_eq!(world.refusal(asked).code, Code::Unavailable);
    // As long as it is away; by its id it is told.
    let asked = get(&mut world, "700");
    assert_eq!(world.refusal(asked).code, Code::Unavailable);
    get(&mut world, "c1");
    assert_eq!(passed_on(&world), 1, "who maintains it is asked");
}

#[test]
fn who_was_just_started_does_not_take_what_others_maintain() {
    let mut world = follower();
    world.event(Event::PeersSeen(Ok(vec![Peer { id: "a".into(), address: "http://a".into() }])));
    let lock = wire::SetLockRequest { conference: "700".into(), locked: true, ..Default::default() };
    let asked = world.request(Request::SetLock(lock));
    world.pass(500);
    assert!(!world.pending.iter().any(|effect| matches!(effect, Effect::StorePut { .. })), "no claim");
    assert!(!world.replies.contains_key(&asked));
    let peer = |id: &str| Peer { id: id.into(), address: format!("http://{id}") };
    world.event(Event::PeersSeen(Ok(vec![peer("a"), peer("b")])));
    world.pass(50);
    assert_eq!(passed_on(&world), 1);
}

#[test]
fn who_is_heard_is_taken_from_a_list_while_the_conference_is_restored() {
    let mut world = follower();
    changed(&mut world, |record| {
        (record.node_id, record.epoch, record.phase) = ("n2".into(), 2, Phase::Restoring);
    });
    world.pass(250);
    world.heard = (vec!["alice".into()], 5);
    list(&mut world, "n2", 2, &[("alice", "192.0.2.2:6000")]);
    changed(&mut world, |record| record.phase = Phase::Running);
    assert!(world.state.conferences["c1"].info().participants[0].alive);
}

#[test]
fn all_are_told_after_a_move_though_no_list_came_before() {
    let mut world = follower();
    world.state.conferences.get_mut("c1").expect("it is known").allocation = None;
    changed(&mut world, |record| {
        (record.node_id, record.epoch) = ("n2".into(), 2);
    });
    world.pass(250);
    list(&mut world, "n2", 2, &[("alice", "192.0.2.2:6000")]);
    assert_eq!(told(&world).len(), 1);
}

#[test]
fn what_is_passed_on_follows_the_number_to_who_has_it_now() {
    let mut world = follower();
    let lock = wire::SetLockRequest { conference: "700".into(), locked: true, ..Default::default() };
    let asked = world.request(Request::SetLock(lock));
    let passed = |world: &mut World| {
        let at = world.pending.iter().position(|effect| matches!(effect, Effect::Forward { .. }));
        let Effect::Forward { id, address, .. } = world.pending.remove(at.expect("it is passed on")) else {
            panic!()
        };
        (id, address)
    };
    let (id, address) = passed(&mut world);
    assert_eq!(address, "http://b");
    // There c1 has ended, and another process has given its number to c2.
    let why = Refusal::at(Code::Aborted, "conference", "c maintains it now");
    world.event(Event::ForwardDone { id, result: Box::new(Err(PeerFailure::Refused(why))) });
    let mut ended = world.state.conferences["c1"].record.clone();
    let other = Record { id: "c2".into(), maintainer: "c".into(), ..ended.clone() };
    (ended.phase, ended.version) = (Phase::Ended, ended.version + 1);
    let peer = |id: &str| Peer { id: id.into(), address: format!("http://{id}") };
    world.event(Event::PeersSeen(Ok(vec![peer("a"), peer("b"), peer("c")])));
    fed(&mut world, vec![ended, other]);
    world.event(Event::Tick);
    assert_eq!(passed(&mut world).1, "http://c");
    assert!(!world.replies.contains_key(&asked), "who asked waits");
}
