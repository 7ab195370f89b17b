//! Conferences of lost nodes, restored on others.

use super::losing::nodes;
use super::*;

fn kill(world: &mut World, node: &str) {
    world.dead.insert(node.into());
    world.nodes.get_mut(node).expect("a node").clear();
    let (node, boot_id) = (node.to_owned(), world.boots[node].clone());
    world.event(Event::NodeUnreachable { node, boot_id, why: "is not there".into(), certain: true });
}

fn end(world: &mut World, conference: &str) -> u64 {
    world.request(Request::End(wire::EndRequest { conference: conference.into(), ..Default::default() }))
}

fn leave(world: &mut World, conference: &str, participant: &str) -> u64 {
    let (conference, participant) = (conference.to_owned(), participant.to_owned());
    world.request(Request::Remove(wire::RemoveParticipantRequest {
        conference,
        participant,
        ..Default::default()
    }))
}

/// T-JI11798: the last sessions of a dead bridge were not invited again.
#[test]
fn conferences_of_no_one_two_and_three_are_restored() {
    let mut world = nodes(1);
    for (conference, participants) in [("e0", 0), ("e2", 2), ("e3", 3)] {
        world.create(conference, "");
        world.settle();
        for n in 0..participants {
            world.join(conference, &format!("p{n}"));
            world.settle();
        }
    }
    world.announce("n2", "b1");
    world.settle();
    world.events.clear();
    kill(&mut world, "n1");
    world.live(300);
    for (conference, participants) in [("e0", 0), ("c1", 1), ("e2", 2), ("e3", 3)] {
        let record = &world.state.conferences[conference].record;
        assert_eq!((record.phase, record.node_id.as_str(), record.epoch), (Phase::Running, "n2", 2));
        assert_eq!(record.participants.len(), participants, "{conference}");
        assert_eq!(world.nodes["n2"][conference].0, 2, "under the new epoch");
        assert_eq!(world.stored[conference].phase, Phase::Running);
    }
    assert_eq!(world.emitted(Kind::ParticipantMoved), 6);
    let order = [
        Kind::NodeSuspect,
        Kind::NodeLost,
        Kind::PendingRestore,
        Kind::Restoring,
        Kind::Running,
        Kind::ParticipantMoved,
    ];
    let first = |kind| world.events.iter().position(|(known, _)| *known == kind).expect("it was told");
    assert!(order.map(first).is_sorted(), "{:?}", world.events);
}

#[test]
fn the_store_knows_before_the_node_does() {
    let mut world = nodes(2);
    kill(&mut world, "n1");
    while !world.pending.iter().any(|effect| matches!(effect, Effect::NodePut { .. })) {
        if !world.answer(true) {
            world.pass(50);
        }
    }
    let stored = &world.stored["c1"];
    assert_eq!((stored.phase, stored.node_id.as_str(), stored.epoch), (Phase::Restoring, "n2", 2));
}

/// T-JI282: the old bridge removed the endpoint that had moved.
#[test]
fn a_node_that_comes_back_is_told_to_delete_and_changes_nothing() {
    let mut world = nodes(2);
    world.dead.insert("n1".into());
    world.live(2_000);
    assert_eq!((world.node_of("c1"), world.nodes["n1"].len()), ("n2", 1), "it runs on both for now");
    world.dead.clear();
    world.live(500);
    assert!(world.nodes["n1"].is_empty());
    let record = &world.state.conferences["c1"].record;
    assert_eq!((record.phase, record.node_id.as_str(), record.epoch), (Phase::Running, "n2", 2));
    let late = node::Event {
        node_id: "n1".into(),
        conference: "c1".into(),
        epoch: 1,
        kind: Some(node::event::Kind::LegAlive(node::LegAlive { leg: "alice".into(), ..Default::default() })),
        ..Default::default()
    };
    world.event(Event::Media(Box::new(late)));
    assert!(!world.state.conferences["c1"].info().participants[0].alive, "its word no longer counts");
}

#[test]
fn a_node_that_comes_back_in_time_keeps_what_it_runs() {
    let mut world = nodes(1);
    world.dead.insert("n1".into());
    world.live(3_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    world.dead.clear();
    world.live(500);
    let record = &world.state.conferences["c1"].record;
    assert_eq!((record.phase, record.epoch), (Phase::Running, 1));
    assert_eq!(world.emitted(Kind::ParticipantMoved), 0, "nobody is to send elsewhere");
}

/// T-JI933: a dead node was chosen again and again.
#[test]
fn a_node_that_fails_is_not_asked_again_at_once() {
    let mut world = nodes(3);
    world
        .request(Request::Cordon(registry::CordonNodeRequest { node_id: "n2".into(), ..Default::default() }));
    world.create("busy", "");
    world.settle();
    assert_eq!(world.node_of("busy"), "n3", "so n2 will be chosen first");
    world.request(Request::Uncordon(registry::UncordonNodeRequest { node_id: "n2".into() }));
    world.dead.insert("n2".into());
    kill(&mut world, "n1");
    // n3 says so; n2 is not known to be dead when it is chosen.
    world.pass(100);
    world.settle();
    world.pass(100);
    world.settle();
    let record = &world.state.conferences["c1"].record;
    assert_eq!((record.phase, record.node_id.as_str(), record.epoch), (Phase::Running, "n3", 3));
}

#[test]
fn without_room_it_waits_and_says_why_until_there_is() {
    let mut world = nodes(1);
    kill(&mut world, "n1");
    world.live(1_000);
    let info = world.state.conferences["c1"].info();
    assert!(info.reason.contains("no other node can say"), "{}", info.reason);
    world.request(Request::GiveUp(registry::GiveUpNodeRequest { node_id: "n1".into() }));
    world.settle();
    let info = world.state.conferences["c1"].info();
    assert!(info.reason.contains("no node takes the conference: n1: does not answer"), "{}", info.reason);
    world.live(30_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    world.announce("n2", "b1");
    world.settle();
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"), "at once");
}

#[test]
fn what_is_asked_meanwhile_is_done_or_waits() {
    let mut world = nodes(1);
    for name in ["bob", "carol"] {
        world.join("c1", name);
        world.settle();
    }
    kill(&mut world, "n1");
    world.live(1_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    let join = world.join("c1", "dora");
    let left = leave(&mut world, "c1", "alice");
    let mute = wire::SetParticipantAudioRequest {
        conference: "c1".into(),
        participant: "bob".into(),
        muted: Some(true),
        ..Default::default()
    };
    let mute = world.request(Request::SetParticipantAudio(mute));
    world.settle();
    assert!(world.replies[&left].is_ok() && world.replies[&mute].is_ok(), "at once");
    assert!(!world.replies.contains_key(&join), "it waits");
    assert!(!world.stored["c1"].participants.contains_key("alice"), "and is kept");
    world.announce("n2", "b1");
    world.live(2_000);
    assert!(world.replies[&join].is_ok(), "{:?}", world.replies[&join]);
    let (_, _, metadata) = &world.nodes["n2"]["c1"];
    let record: Record = serde_json::from_slice(metadata).expect("a record");
    let names: Vec<_> = record.participants.iter().map(|(id, who)| (id.as_str(), who.audio.muted)).collect();
    assert_eq!(names, [("bob", true), ("carol", false), ("dora", false)]);
}

#[test]
fn a_join_does_not_wait_for_ever() {
    let mut world = nodes(1);
    kill(&mut world, "n1");
    world.live(1_000);
    let join = world.join("c1", "bob");
    world.live(4_500);
    let refusal = world.refusal(join);
    assert_eq!((refusal.code, refusal.retry_ms), (Code::Unavailable, 1_000), "{refusal}");
}

#[test]
fn an_end_works_at_once_and_nothing_comes_back() {
    let mut world = nodes(1);
    kill(&mut world, "n1");
    world.live(1_000);
    let join = world.join("c1", "bob");
    let ended = end(&mut world, "c1");
    world.settle();
    assert!(world.replies[&ended].is_ok());
    assert_eq!(world.refusal(join).code, Code::FailedPrecondition);
    world.announce("n2", "b1");
    world.live(5_000);
    assert!(world.nodes["n2"].is_empty());
    assert_eq!(world.phase("c1"), Phase::Ended);
}

#[test]
fn only_so_many_are_restored_at_once() {
    let mut world = nodes(1);
    for n in 0..200 {
        world.create(&format!("x{n:03}"), "");
    }
    world.settle();
    world.announce("n2", "b1");
    world.settle();
    world.pending.clear();
    kill(&mut world, "n1");
    let mut most = 0;
    for _ in 0..20_000 {
        let started = |effect: &&Effect| {
            matches!(effect, Effect::StorePut { record, .. } if record.phase == Phase::Restoring)
                || matches!(effect, Effect::NodePut { .. })
        };
        most = most.max(world.pending.iter().filter(started).count());
        if !world.answer(true) {
            world.pass(50);
        }
        if world.nodes["n2"].len() == 201 {
            break;
        }
    }
    assert_eq!((most, world.nodes["n2"].len()), (64, 201));
}

#[test]
fn the_store_is_away_while_a_node_is_lost() {
    let mut world = nodes(2);
    let store_is_away = |world: &mut World| {
        for _ in 0..30 {
            let store = |effect: &Effect| matches!(effect, Effect::StorePut { .. } | Effect::StoreLoad);
            let well = !world.pending.first().is_some_and(store);
            if !world.answer(well) {
                world.announce("n2", "b1");
                world.pass(200);
            }
        }
    };
    kill(&mut world, "n1");
    store_is_away(&mut world);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    assert!(world.nodes["n2"].is_empty(), "no node is told what the store does not know");
    world.live(3_000);
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"));
}

#[test]
fn a_node_that_was_started_again_gets_back_what_it_ran_but_not_again_and_again() {
    let mut world = nodes(2);
    for (boot, node, epoch) in [("b2", "n1", 2), ("b3", "n2", 3)] {
        world.nodes.get_mut("n1").expect("a node").clear();
        world.announce("n1", boot);
        world.live(500);
        let record = &world.state.conferences["c1"].record;
        assert_eq!((record.phase, record.node_id.as_str(), record.epoch), (Phase::Running, node, epoch));
        assert!(record.history.entries.iter().any(|entry| entry.message.contains("started again")));
    }
}

/// Control that ended before it told participants where to send, and was started again.
#[test]
fn after_a_restart_of_control_participants_are_told_where_to_send_and_never_nowhere() {
    let before = running();
    let mut world = World::unloaded();
    (world.nodes, world.stored) = (before.nodes, before.stored);
    world.event(Event::StoreLoaded(world.stored.values().cloned().collect()));
    world.pending.clear();
    let early = world.join("700", "alice");
    assert_eq!(world.refusal(early).code, Code::Unavailable, "her node has not said it yet");

    world.announce("n1", "b1");
    let listing = world.pending.iter().find_map(|effect| match effect {
        Effect::NodeList { token, .. } => Some(*token),
        _ => None,
    });
    let transport = world.state.conferences["c1"].record.participants["alice"].media[0].transport();
    let local = "192.0.2.1:5000".to_owned();
    let transport = node::TransportAllocation { transport, local, ..Default::default() };
    let leg = node::LegAllocation { leg: "alice".into(), transports: vec![transport] };
    let mut list = world.list("n1");
    list.conferences[0].allocation = Some(ConferenceAllocation { legs: vec![leg], ..Default::default() });
    let token = listing.expect("it is asked what it runs");
    world.event(Event::NodeListed { token, node: "n1".into(), result: Ok(list) });
    assert_eq!(world.emitted(Kind::ParticipantMoved), 1);
    let late = world.join("700", "alice");
    assert!(
        matches!(&world.replies[&late], Ok(Response::Participant(info)) if !info.media[0].local.is_empty())
    );
}
