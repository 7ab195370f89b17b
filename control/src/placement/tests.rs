//! Nodes of different size and load.

use super::*;
use motet_proto::node::{self as wire, Capacity, NodeDescription};
use proptest::prelude::*;

const UNITS: u64 = 1_500;

/// Three participants; the name tells conferences apart.
fn wanted(name: &str) -> Wanted {
    Wanted { conference: name.to_owned(), units: UNITS, legs: 3, fill_percent_max: 70, ..Wanted::default() }
}

fn node(state: NodeState, units: u64) -> Node {
    let capacity = Some(Capacity { units, workers: 1, ..Capacity::default() });
    Node::for_test(state, NodeDescription { capacity, ..NodeDescription::default() })
}

fn ready(units: u64) -> Node {
    node(NodeState::Ready, units)
}

fn nodes(given: &[(&str, Node)]) -> BTreeMap<String, Node> {
    given.iter().map(|(id, node)| ((*id).to_owned(), node.clone())).collect()
}

/// Places so many conferences one after the other; gives how many each node got, and why the last was
/// refused.
fn fill(nodes: &BTreeMap<String, Node>, count: usize) -> (BTreeMap<String, Promised>, Option<Refusal>) {
    let mut promised: BTreeMap<String, Promised> = BTreeMap::new();
    for n in 0..count {
        match place(nodes, &promised, &wanted(&format!("c{n}")), &BTreeMap::new()) {
            Ok(placed) => {
                let node = promised.entry(placed.node).or_default();
                node.units += UNITS;
                node.legs += 3;
                node.conferences += 1;
            }
            Err(refusal) => return (promised, Some(refusal)),
        }
    }
    (promised, None)
}

fn conferences(promised: &BTreeMap<String, Promised>) -> Vec<u64> {
    promised.values().map(|promised| promised.conferences).collect()
}

#[test]
fn many_creates_between_two_reports_spread_evenly() {
    for units in [0, 1_000_000] {
        let nodes =
            nodes(&[("a", ready(units)), ("b", ready(units)), ("c", ready(units)), ("d", ready(units))]);
        let (promised, refused) = fill(&nodes, 400);
        assert_eq!((conferences(&promised), refused), (vec![100; 4], None), "{units} units each");
    }
}

/// Control processes place in turn; each sees what the others have placed `unseen` conferences later. Gives how many
/// each node got.
fn side_by_side(nodes: &BTreeMap<String, Node>, (css, count, unseen): (usize, usize, usize)) -> Vec<u64> {
    let add = |sums: &mut BTreeMap<String, Promised>, node: &String| {
        let sum = sums.entry(node.clone()).or_default();
        (sum.units, sum.legs, sum.conferences) = (sum.units + UNITS, sum.legs + 3, sum.conferences + 1);
    };
    let mut placed: Vec<String> = Vec::new();
    for n in 0..count {
        let rank = n % css;
        let (mut own, mut promised) = (BTreeMap::new(), BTreeMap::new());
        for (other, node) in placed.iter().enumerate() {
            if other % css == rank {
                add(&mut own, node);
            }
            if other % css == rank || other + unseen < n {
                add(&mut promised, node);
            }
        }
        let wanted = Wanted { beside: Some(Beside { own, rank }), ..wanted(&format!("c{n}")) };
        placed.push(place(nodes, &promised, &wanted, &BTreeMap::new()).expect("room").node);
    }
    let counts = nodes.keys().map(|id| placed.iter().filter(|node| *node == id).count() as u64);
    counts.collect()
}

#[test]
fn control_processes_side_by_side_spread_evenly() {
    for units in [0, 10_000_000] {
        let nodes = nodes(&[("a", ready(units)), ("b", ready(units)), ("c", ready(units))]);
        for (css, count, unseen) in [(2, 500, 100), (2, 499, 40), (3, 501, 100), (2, 10, 100)] {
            let counts = side_by_side(&nodes, (css, count, unseen));
            let even = count as f64 / 3.0;
            let fits = counts.iter().all(|here| (*here as f64 - even).abs() <= 1.0);
            assert!(fits, "{css} processes, {count} conferences, {unseen} unseen: {counts:?}");
        }
    }
}

#[test]
fn side_by_side_fuller_nodes_are_left_out_all_the_same() {
    let nodes = nodes(&[("a", ready(1_000_000)), ("b", ready(1_000_000))]);
    let promised = BTreeMap::from([("a".to_owned(), Promised { units: 200_000, legs: 9, conferences: 3 })]);
    // This process has placed nothing on `a`, others have.
    let beside = Beside {
        own: BTreeMap::from([("b".to_owned(), Promised { units: 9_000, ..Promised::default() })]),
        rank: 0,
    };
    let wanted = Wanted { beside: Some(beside), ..wanted("c") };
    assert_eq!(place(&nodes, &promised, &wanted, &BTreeMap::new()).expect("room").node, "b");
}

#[test]
fn backup_rooms_come_in_their_order_and_before_all_others() {
    let in_room = |room: &str, state| {
        let description = NodeDescription { room: room.to_owned(), ..NodeDescription::default() };
        Node::for_test(state, description)
    };
    let mut there: BTreeMap<String, Node> =
        ["a", "b", "c", "d"].map(|room| (room.to_owned(), in_room(room, NodeState::Ready))).into();
    let backup_rooms = vec!["c".to_owned(), "b".to_owned()];
    let wanted = Wanted { room: "a".into(), backup_rooms, ..wanted("x") };
    for expected in ["a", "c", "b", "d"] {
        let placed = place(&there, &BTreeMap::new(), &wanted, &BTreeMap::new()).expect("one is ready");
        assert_eq!(placed.node, expected);
        there.insert(expected.into(), in_room(expected, NodeState::Lost));
    }
}

#[test]
fn those_that_are_alike_are_not_always_taken_in_the_same_order() {
    let nodes = nodes(&[("a", ready(0)), ("b", ready(0)), ("c", ready(0))]);
    let none = BTreeMap::new();
    let first =
        |n: u32| place(&nodes, &none, &wanted(&format!("c{n}")), &BTreeMap::new()).expect("room").node;
    let mut counts = BTreeMap::new();
    for n in 0..300 {
        assert_eq!(first(n), first(n), "the same input gives the same answer");
        *counts.entry(first(n)).or_insert(0) += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| (60..140).contains(count)), "{counts:?}");
}

#[test]
fn the_preferred_room_comes_first_while_it_has_room() {
    let in_room = |room: &str| {
        let mut node = ready(10_000);
        node.description.room = room.to_owned();
        node
    };
    let nodes = nodes(&[("far", in_room("r2")), ("near", in_room("r1"))]);
    let wanted = Wanted { room: "r1".to_owned(), ..wanted("c") };
    let mut promised: BTreeMap<String, Promised> = BTreeMap::new();
    promised.entry("near".to_owned()).or_default().units = 5_000;
    let placed = place(&nodes, &promised, &wanted, &BTreeMap::new()).expect("both have room");
    assert_eq!((placed.node.as_str(), placed.room.as_str()), ("near", "r1"), "though it is the busier one");
    promised.entry("near".to_owned()).or_default().units = 7_000;
    let placed = place(&nodes, &promised, &wanted, &BTreeMap::new()).expect("one has room");
    assert_eq!(
        (placed.node.as_str(), placed.why.contains("none in room r1 does")),
        ("far", true),
        "{placed:?}"
    );
}

#[test]
fn what_a_node_lacks_is_said() {
    let mut labelled = ready(0);
    labelled.description.labels.insert("zone".to_owned(), "dmz".to_owned());
    let nodes = nodes(&[("labelled", labelled), ("plain", ready(0))]);
    let labels = BTreeMap::from([("zone".to_owned(), "dmz".to_owned())]);
    let in_zone = Wanted { labels, ..wanted("c") };
    let none = BTreeMap::new();
    assert_eq!(place(&nodes, &none, &in_zone, &BTreeMap::new()).expect("one has it").node, "labelled");
    let composed = Wanted { composes: true, ..in_zone.clone() };
    let refusal = place(&nodes, &none, &composed, &BTreeMap::new()).expect_err("none composes");
    assert!(refusal.message.contains("labelled: has no threads for canvases"), "{}", refusal.message);
    let mixed = Wanted { mixes: true, ..in_zone };
    let refusal = place(&nodes, &none, &mixed, &BTreeMap::new()).expect_err("none mixes");
    for part in ["labelled: has no threads that mix", "plain: has no label zone=dmz"] {
        assert!(refusal.message.contains(part), "{}", refusal.message);
    }
}

#[test]
fn what_is_recorded_goes_where_it_goes_on_being_recorded() {
    let in_room = |room: &str, records: bool| {
        let mut node = ready(10_000);
        node.description.room = room.to_owned();
        node.description.capacity.as_mut().expect("it has one").records = records;
        node
    };
    let here = |nodes: &BTreeMap<String, Node>, records: bool| {
        let wanted = Wanted { room: "r1".to_owned(), records, ..wanted("c") };
        place(nodes, &BTreeMap::new(), &wanted, &BTreeMap::new()).expect("one has room")
    };
    let two = nodes(&[("far", in_room("r2", true)), ("near", in_room("r1", false))]);
    assert_eq!(here(&two, false).node, "near");
    assert_eq!(here(&two, true).node, "far", "in another room, but nothing of it is missing");
    let one = nodes(&[("near", in_room("r1", false))]);
    let placed = here(&one, true);
    assert_eq!(placed.node, "near", "it goes on unrecorded");
    assert!(placed.why.contains("does not record (--recordings)"), "{}", placed.why);
}

#[test]
fn nodes_fill_in_proportion_to_what_they_measured() {
    let nodes = nodes(&[("big", ready(600_000)), ("small", ready(200_000))]);
    assert_eq!(conferences(&fill(&nodes, 200).0), [150, 50]);
}

#[test]
fn room_is_kept_and_then_refused_with_the_figures() {
    let nodes = nodes(&[("a", ready(10_000)), ("b", node(NodeState::Lost, 10_000))]);
    // 70 % of 10,000 holds four conferences of 1,500.
    let (promised, refused) = fill(&nodes, 10);
    assert_eq!(conferences(&promised), [4]);
    let refusal = refused.expect("the fifth has no room");
    assert_eq!(refusal.code, Code::ResourceExhausted);
    let expected = "no node takes the conference: a: has 1000 of 7000 units left (70 % of 10000 measured), \
                    1500 are needed; b: does not answer";
    assert_eq!(refusal.message, expected);
}

#[test]
fn a_node_that_was_not_measured_is_never_full() {
    let nodes = nodes(&[("a", ready(0))]);
    assert_eq!(fill(&nodes, 1_000).1, None);
}

#[test]
fn what_a_node_carries_for_others_counts() {
    let mut busy = ready(10_000);
    busy.description.load = Some(wire::Load { packets_per_second: 6_000.0, ..wire::Load::default() });
    let nodes = nodes(&[("busy", busy.clone()), ("calm", ready(10_000))]);
    let none = BTreeMap::new();
    assert_eq!(place(&nodes, &none, &wanted("c"), &BTreeMap::new()).expect("one is calm").node, "calm");
    assert_eq!(units_of_node(&busy, Promised::default()), (10_000, 6_000));
    // Nonsense is no load.
    busy.description.load = Some(wire::Load { packets_per_second: f64::NAN, ..wire::Load::default() });
    assert_eq!(units_of_node(&busy, Promised::default()), (10_000, 0));
}

#[test]
fn legs_and_ports_have_limits_too() {
    let mut few_legs = ready(0);
    few_legs.description.capacity = Some(Capacity { workers: 1, legs_max: 2, ..Capacity::default() });
    let mut no_ports = ready(0);
    no_ports.description.capacity = Some(Capacity { workers: 1, ports_max: 40, ..Capacity::default() });
    no_ports.description.load = Some(wire::Load { ports_used: 40, ..wire::Load::default() });
    let nodes = nodes(&[("few-legs", few_legs), ("no-ports", no_ports)]);
    let refusal = place(&nodes, &BTreeMap::new(), &wanted("c"), &BTreeMap::new()).expect_err("both are full");
    assert!(refusal.message.contains("few-legs: has 0 of 2 legs"), "{}", refusal.message);
    assert!(refusal.message.contains("no-ports: has no media ports left"), "{}", refusal.message);
}

#[test]
fn a_refusal_says_why_for_each() {
    let nodes = nodes(&[
        ("a", node(NodeState::Draining, 0)),
        ("b", node(NodeState::Lost, 0)),
        ("c", ready(0)),
        ("d", node(NodeState::Joining, 0)),
    ]);
    let tried = BTreeMap::from([("c".to_owned(), "port range exhausted".to_owned())]);
    let refusal = place(&nodes, &BTreeMap::new(), &wanted("c"), &tried).expect_err("none is left");
    for part in ["a: drains", "b: does not answer", "c: port range exhausted", "d: has not said yet"] {
        assert!(refusal.message.contains(part), "{}", refusal.message);
    }
    let none = place(&BTreeMap::new(), &BTreeMap::new(), &wanted("c"), &tried).expect_err("there are none");
    assert!(none.message.contains("no node has announced itself"), "{}", none.message);
}

#[test]
fn those_who_join_may_use_what_was_kept_free() {
    let node = ready(10_000);
    let promised = Promised { units: 9_000, legs: 30, conferences: 6 };
    assert_eq!(check_growth("a", &node, promised, 1_000), Ok(()));
    let refusal = check_growth("a", &node, promised, 1_001).expect_err("one too many");
    assert_eq!(refusal.code, Code::ResourceExhausted);
    assert!(refusal.message.contains("node a has 1000 of 10000 units left"), "{}", refusal.message);
    assert_eq!(check_growth("a", &ready(0), promised, u64::from(u32::MAX)), Ok(()), "not measured");
}

proptest! {
    #[test]
    fn no_node_is_filled_beyond_its_limit(sizes in prop::collection::vec(1u64..100_000, 1..6), count in 0usize..200) {
        let given: Vec<(String, Node)> =
            sizes.iter().enumerate().map(|(index, units)| (format!("n{index}"), ready(*units))).collect();
        let nodes: BTreeMap<String, Node> = given.into_iter().collect();
        let (promised, refused) = fill(&nodes, count);
        for (id, node) in &nodes {
            let units = promised.get(id.as_str()).map_or(0, |promised| promised.units);
            let capacity = node.description.capacity.as_ref().map_or(0, |capacity| capacity.units);
            prop_assert!(units <= capacity * 70 / 100);
            // A refusal means that none had room.
            prop_assert!(refused.is_none() || units + UNITS > capacity * 70 / 100);
        }
    }
}
