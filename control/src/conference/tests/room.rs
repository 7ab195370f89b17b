//! Room on nodes that have measured themselves.

use super::*;

/// Nodes with so many units each.
fn world(nodes: &[(&str, u64)]) -> World {
    let mut world = World::new();
    for (name, units) in nodes {
        world.nodes.entry((*name).to_owned()).or_default();
        world.boots.insert((*name).into(), "b1".into());
        world.requests += 1;
        let capacity = Some(node::Capacity { units: *units, workers: 1, ..Default::default() });
        let description = NodeDescription {
            node_id: (*name).into(),
            boot_id: "b1".into(),
            capacity,
            ..NodeDescription::default()
        };
        let announcement =
            NodeAnnouncement { held: Vec::new(), address: (*name).into(), description, leaving: false };
        world.event(Event::Announced(RequestId(world.requests), Box::new(announcement)));
    }
    world.settle();
    world
}

fn create(world: &mut World, id: &str, expected_participants: u32) -> u64 {
    let create = wire::CreateRequest { expected_participants, ..Default::default() };
    world.request(Request::Create { id: id.into(), seed: 7, create })
}

fn units_used(world: &mut World) -> Vec<u64> {
    let request = world.request(Request::ListNodes);
    let Ok(Response::Nodes(list)) = &world.replies[&request] else { panic!("a list") };
    list.nodes.iter().map(|node| node.units_used).collect()
}

#[test]
fn what_is_promised_counts_before_anybody_comes() {
    // Five participants with sound and picture: 5 * 4 * 250 units.
    let mut world = world(&[("n1", 10_000), ("n2", 8_000)]);
    for id in ["c1", "c2"] {
        create(&mut world, id, 5);
    }
    // Not even the answers of store and nodes have come.
    assert_eq!(units_used(&mut world), [5_000, 5_000], "one on each");
    world.settle();
    let third = create(&mut world, "c3", 5);
    let refusal = world.refusal(third);
    assert_eq!(refusal.code, Code::ResourceExhausted);
    assert!(refusal.message.contains("n1: has 2000 of 7000 units left"), "{refusal}");
    assert!(refusal.message.contains("n2: has 600 of 5600 units left"), "{refusal}");
    assert!(!world.state.conferences.contains_key("c3"), "nothing was changed");

    let end = wire::EndRequest { conference: "c1".into(), ..Default::default() };
    world.request(Request::End(end));
    world.settle();
    create(&mut world, "c4", 5);
    world.settle();
    assert_eq!(world.phase("c4"), Phase::Running, "what ended gives its room back");
}

#[test]
fn those_who_were_expected_may_come_and_more_while_there_is_room() {
    // Two are expected: 2 * 250 units, of which their sound alone is 100.
    let mut world = world(&[("n1", 800)]);
    create(&mut world, "c1", 2);
    world.settle();
    for (name, used) in [("a", 100), ("b", 100), ("c", 300), ("d", 600)] {
        let joined = world.join("c1", name);
        world.settle();
        assert!(world.replies[&joined].is_ok(), "{name}");
        // Until the second has come, an empty seat with a camera that nobody can see is kept.
        assert_eq!(units_used(&mut world), [used], "{name}");
    }
    let fifth = world.join("c1", "e");
    let refusal = world.refusal(fifth);
    assert_eq!(refusal.code, Code::ResourceExhausted);
    assert!(refusal.message.contains("200 of 800 units left and the participant needs 400"), "{refusal}");
    assert_eq!(world.state.conferences["c1"].record.participants.len(), 4, "nothing was changed");
}

#[test]
fn nonsense_is_refused_by_name() {
    let mut world = world(&[("n1", 0)]);
    let request = create(&mut world, "c1", 10_001);
    assert_eq!(world.refusal(request).field, "expected_participants");
}

#[test]
fn ten_thousand_who_join_at_once_are_answered_each_and_nothing_is_half_done() {
    // Twenty whose sound goes to all others: 20 * 19 * 50 units.
    let mut world = world(&[("n1", 19_100)]);
    world.checked = false;
    create(&mut world, "c1", 2);
    world.settle();
    let joins: Vec<u64> = (0..10_000).map(|n| world.join("c1", &format!("p{n:05}"))).collect();
    // The store and the node answer, and now and then they do not.
    let mut turn = 0;
    while world.answer(turn % 5 != 3) {
        turn += 1;
        assert!(turn < 100_000, "it ends");
    }
    world.live(120_000);
    world.settle();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut joined = BTreeSet::new();
    for (n, join) in joins.iter().enumerate() {
        match world.replies.get(join).expect("each is answered") {
            Ok(_) => drop(joined.insert(format!("p{n:05}"))),
            Err(refusal) => *refused.entry(format!("{:?}", refusal.code)).or_default() += 1,
        }
    }
    let record = &world.state.conferences["c1"].record;
    let there: BTreeSet<String> = record.participants.keys().cloned().collect();
    assert_eq!(there, joined, "who was told so is in, and nobody else");
    assert!((1..=20).contains(&joined.len()), "{}", joined.len());
    assert!(refused["ResourceExhausted"] > 9_000, "{refused:?}");
    let known = ["ResourceExhausted", "Unavailable", "Aborted", "FailedPrecondition"];
    assert!(refused.keys().all(|code| known.contains(&code.as_str())), "{refused:?}");
    let (_, revision, metadata) = &world.nodes["n1"]["c1"];
    let told: Record = serde_json::from_slice(metadata).expect("it is what control wrote");
    assert_eq!(
        (*revision, told.participants.keys().cloned().collect()),
        (record.revision, there),
        "the node too"
    );
    world.state.conferences.check();
}
