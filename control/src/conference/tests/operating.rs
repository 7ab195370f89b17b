//! What operators ask and say, and what is kept of what happened.

use super::losing::nodes;
use super::*;

fn cordon(world: &mut World, node: &str, reason: &str) -> u64 {
    let cordon = registry::CordonNodeRequest { node_id: node.into(), reason: reason.into() };
    world.request(Request::Cordon(cordon))
}

fn uncordon(world: &mut World, node: &str) {
    world.request(Request::Uncordon(registry::UncordonNodeRequest { node_id: node.into() }));
}

fn what_if(world: &mut World, node: &str) -> u64 {
    world.request(Request::WhatIf(registry::WhatIfLostRequest { node_id: node.into() }))
}

fn history(world: &mut World, conference: &str) -> wire::HistoryResponse {
    let asked = world.request(Request::History(wire::HistoryRequest { conference: conference.into() }));
    let Ok(Response::History(told)) = &world.replies[&asked] else { panic!("a history") };
    (**told).clone()
}

/// T-SC525: a server that was disabled was still used.
#[test]
fn a_cordoned_node_takes_nothing_from_the_next_decision_on() {
    let mut world = nodes(2);
    cordon(&mut world, "n2", "smells of smoke");
    world.settle();
    let refused = cordon(&mut world, "", "");
    assert_eq!(world.refusal(refused).field, "node_id");
    for id in ["x1", "x2", "x3"] {
        world.create(id, "");
        world.settle();
        assert_eq!(world.node_of(id), "n1", "though it is the busier one");
    }
    let list = world.request(Request::ListNodes);
    let Ok(Response::Nodes(list)) = &world.replies[&list] else { panic!("a list") };
    assert_eq!(
        (list.nodes[1].state(), list.nodes[1].reason.as_str()),
        (NodeState::Cordoned, "smells of smoke")
    );
    // Another start of it changes nothing, and neither are conferences restored there.
    world.announce("n2", "b2");
    world.settle();
    world.dead.insert("n1".into());
    world.nodes.get_mut("n1").expect("a node").clear();
    world.live(3_000);
    let info = world.state.conferences["c1"].info();
    assert!(info.reason.contains("n2: is cordoned: smells of smoke"), "{}", info.reason);
    uncordon(&mut world, "n2");
    world.settle();
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"), "at once");
    assert_eq!(world.emitted(Kind::NodeCordoned), 1);
}

#[test]
fn what_if_a_node_dies_is_what_happens_when_it_does() {
    let mut world = nodes(1);
    for n in 0..9 {
        world.create(&format!("x{n}"), "");
        world.settle();
    }
    for node in ["n2", "n3"] {
        world.announce(node, "b1");
    }
    world.settle();
    let before = world.state.conferences.clone();
    let asked = what_if(&mut world, "n1");
    let Ok(Response::WhatIf(plan)) = world.replies[&asked].clone() else { panic!("a plan") };
    assert_eq!((plan.moves.len(), world.state.conferences == before), (10, true), "nothing is changed");
    world.dead.insert("n1".into());
    world.nodes.get_mut("n1").expect("a node").clear();
    world.live(3_000);
    for planned in plan.moves {
        assert_eq!(world.node_of(&planned.conference), planned.to_node, "{}", planned.why);
    }
    let unknown = what_if(&mut world, "n9");
    assert_eq!(world.refusal(unknown).code, Code::NotFound);
}

#[test]
fn what_would_not_fit_is_said() {
    let mut world = nodes(1);
    let asked = what_if(&mut world, "n1");
    let Ok(Response::WhatIf(plan)) = &world.replies[&asked] else { panic!("a plan") };
    let [planned] = plan.moves.as_slice() else { panic!("one conference") };
    assert_eq!((planned.to_node.as_str(), planned.participants), ("", 1));
    assert!(planned.why.contains("n1: is the one that is lost"), "{}", planned.why);
}

#[test]
fn the_history_says_who_did_what_and_why_it_went_where() {
    let mut world = nodes(2);
    world.join("c1", "bob");
    world.settle();
    world.dead.insert("n1".into());
    world.live(3_000);
    world.request(Request::Remove(wire::RemoveParticipantRequest {
        conference: "c1".into(),
        participant: "bob".into(),
        ..Default::default()
    }));
    world.settle();
    world.request(Request::End(wire::EndRequest { conference: "c1".into(), ..Default::default() }));
    world.settle();
    let told = history(&mut world, "c1");
    let kinds: Vec<_> = told.entries.iter().map(|entry| entry.kind.as_str()).collect();
    let expected = [
        "placed",
        "created",
        "running",
        "participant-joined",
        "participant-joined",
        "pending-restore",
        "placed",
        "restoring",
        "running",
        "participant-left",
        "ended",
    ];
    assert_eq!(kinds, expected, "{:#?}", told.entries);
    assert!(told.entries[6].message.contains("of 1 that fit"), "{}", told.entries[6].message);
    assert!(told.entries.is_sorted_by_key(|entry| entry.unix_ms));
    world.pass(1_100);
    world.settle();
    assert_eq!(world.stored["c1"].told(), told, "the store has it all");
}

#[test]
fn the_call_record_is_one_chain_without_gaps() {
    let mut world = nodes(3);
    let created = world.now.unix_ms;
    world.live(1_000);
    world.dead.insert("n1".into());
    world.live(3_000);
    let second = world.node_of("c1").to_owned();
    world.dead.clear();
    world.live(12_000);
    world.dead.insert(second.clone());
    world.live(4_000);
    world.request(Request::End(wire::EndRequest { conference: "c1".into(), ..Default::default() }));
    world.settle();
    let segments = history(&mut world, "c1").segments;
    assert_eq!(segments.iter().map(|segment| segment.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((segments[0].node_id.as_str(), segments[1].node_id.as_str()), ("n1", second.as_str()));
    assert_eq!((segments[0].from_unix_ms, segments[2].until_unix_ms), (created, world.now.unix_ms));
    for pair in segments.windows(2) {
        assert_eq!(pair[0].until_unix_ms, pair[1].from_unix_ms);
    }
    let wall = (world.now.unix_ms - created) as u64;
    let down: u64 = segments.iter().map(|segment| segment.down_ms).sum();
    let participants: u64 = segments.iter().map(|segment| segment.participant_ms).sum();
    assert_eq!((participants + down, segments[1].participants_max), (wall, 1), "one was there all the time");
    assert!(down < 1_000, "{down} ms from known losses until it ran again");
}

#[test]
fn a_long_history_keeps_its_begin_and_its_end() {
    let mut world = nodes(1);
    for n in 0..100 {
        let name = format!("p{n}");
        world.join("c1", &name);
        world.settle();
    }
    let told = history(&mut world, "c1");
    assert_eq!((told.entries.len(), told.left_out), (50, 54));
    assert_eq!(told.entries[1].kind, "created");
    assert_eq!(told.entries[49].participant, "p99");
}
