//! One seed, several nodes: what receivers know a conference by does not depend on who runs it.

use super::*;
use motet_proto::media::{AudioMode, AudioSettings};
use motet_relay::Numbering;

fn seeded(legs: Vec<wire::Leg>) -> wire::ConferenceSpec {
    wire::ConferenceSpec { seed: 0x5eed, ..conference(legs) }
}

/// SSRCs and numbers of all routes, by their ends, and SSRCs of our own reports.
#[derive(Debug, Default, PartialEq)]
struct Known {
    ssrcs: BTreeMap<RouteKey, u32>,
    reports: BTreeMap<Id, u32>,
    mixes: BTreeMap<Id, u32>,
}

fn known(world: &World) -> Known {
    let held = &world.held;
    let outputs = held.mix.iter().flat_map(|mix| &mix.outputs);
    Known {
        ssrcs: held.routes.iter().map(|(key, route)| (key.clone(), route.ssrc)).collect(),
        reports: held.legs.iter().map(|(id, leg)| (id.clone(), leg.report_ssrc)).collect(),
        mixes: outputs.map(|(id, output)| (id.clone(), output.ssrc)).collect(),
    }
}

/// Numbers of all routes that a plan makes, in the order of their ends.
fn numbers(plan: &Plan) -> BTreeMap<RouteKey, Numbering> {
    let all = plan.steps.values().flat_map(|step| step.commands.iter().chain(&step.last));
    let made: BTreeMap<RouteId, Numbering> = all
        .filter_map(|command| match command {
            Command::AddRoute(id, spec) => Some((*id, spec.numbering)),
            _ => None,
        })
        .collect();
    let routes = plan.next.routes.iter();
    routes.filter_map(|(key, route)| Some((key.clone(), *made.get(&route.id)?))).collect()
}

/// A node that has given numbers to others before.
fn used(legs_max: Option<u32>) -> World {
    let resources = Counting { next: 5_000, legs_max, ..Counting::default() };
    World { resources, ..World::new() }
}

#[test]
fn another_node_makes_the_same_whatever_came_before() {
    let all = || vec![caller("a"), caller("b"), caller("c"), caller("d")];
    let mut first = World::new();
    // They come one by one, and not in the order of their names.
    for legs in [vec![caller("c")], vec![caller("c"), caller("a")], all()] {
        first.go(&seeded(legs));
    }
    let mut second = used(None);
    let plan = second.go(&seeded(all()));
    assert_eq!(known(&second), known(&first));
    assert!(numbers(&plan).values().all(|numbers| matches!(numbers, Numbering::Shift { .. })));
    // Spread over workers it is the same again, since what crosses keeps its numbers.
    let mut spread = used(Some(1));
    let plan_spread = spread.go(&seeded(all()));
    assert_eq!(known(&spread), known(&first));
    assert_eq!(numbers(&plan_spread), numbers(&plan));
    let crossings = plan_spread.steps.values().flat_map(|step| &step.last);
    let as_is = Numbering::Shift { sequence: 0, timestamp: 0 };
    assert!(crossings.clone().count() > 0);
    assert!(crossings.clone().all(|c| matches!(c, Command::AddRoute(_, spec) if spec.numbering == as_is)));
}

#[test]
fn numbers_are_a_streams_and_ssrcs_differ_between_streams() {
    let mut world = World::new();
    let plan = world.go(&seeded(vec![caller("a"), caller("b"), caller("c")]));
    let numbers = numbers(&plan);
    for (key, other) in numbers.keys().zip(numbers.keys().skip(1)) {
        let same = key.source() == other.source();
        assert_eq!(numbers[key] == numbers[other], same, "{key:?} {other:?}");
        assert_eq!(world.held.routes[key].ssrc == world.held.routes[other].ssrc, same);
    }
}

#[test]
fn an_ssrc_that_a_leg_uses_itself_is_stepped_past_in_the_same_way_everywhere() {
    let mut world = World::new();
    world.go(&seeded(vec![caller("a"), caller("b")]));
    let common = ssrcs_of(&world, "a", "video")["b"];
    let legs = || {
        let mut own = caller("d");
        own.media[0].ssrc = common;
        own.media[1].ssrc = world.held.legs["a"].report_ssrc;
        vec![caller("a"), caller("b"), own]
    };
    let (mut first, mut second) = (World::new(), used(None));
    first.go(&seeded(vec![caller("a"), caller("b")]));
    first.go(&seeded(legs()));
    second.go(&seeded(legs()));
    assert_eq!(known(&second), known(&first));
    assert_ne!(ssrcs_of(&first, "a", "video")["d"], common);
    assert_eq!(ssrcs_of(&first, "a", "video")["b"], common);
}

#[test]
fn a_leg_that_is_made_anew_keeps_what_it_is_known_by() {
    let mut world = World::new();
    let mut spec = seeded(vec![caller("a"), caller("b")]);
    let before = numbers(&world.go(&spec));
    let ssrcs = known(&world);
    // Other ports.
    spec.legs[1].transports[0].rtcp_mux = true;
    let after = numbers(&world.go(&spec));
    assert_eq!(known(&world), ssrcs);
    assert!(!after.is_empty() && after.iter().all(|(key, numbers)| before[key] == *numbers));
}

#[test]
fn a_mix_is_known_by_the_same_on_another_node() {
    let mixed = || {
        let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
        wire::ConferenceSpec { audio: Some(audio), ..seeded(vec![caller("a"), caller("b")]) }
    };
    let (mut first, mut second) = (World::new(), used(Some(1)));
    first.go(&mixed());
    second.go(&mixed());
    assert_eq!(known(&second), known(&first));
    assert_eq!(known(&first).mixes.len(), 2);
}

#[test]
fn other_seeds_make_others_and_none_is_random() {
    let legs = || vec![caller("a"), caller("b")];
    let (mut first, mut second, mut third) = (World::new(), World::new(), used(None));
    first.go(&seeded(legs()));
    let plan = third.go(&conference(legs()));
    second.go(&wire::ConferenceSpec { seed: 1, ..conference(legs()) });
    let (first, second, third) = (known(&first), known(&second), known(&third));
    assert!(first.ssrcs.iter().all(|(key, ssrc)| second.ssrcs[key] != *ssrc && third.ssrcs[key] != *ssrc));
    assert!(numbers(&plan).values().all(|numbers| matches!(numbers, Numbering::Begin { .. })));
}

#[test]
fn who_was_there_before_the_seed_keeps_what_it_has() {
    let mut world = World::new();
    world.go(&conference(vec![caller("a"), caller("b")]));
    let before = known(&world);
    let legs = || vec![caller("a"), caller("b"), caller("c")];
    let plan = world.go(&seeded(legs()));
    let after = known(&world);
    assert!(before.ssrcs.iter().all(|(key, ssrc)| after.ssrcs[key] == *ssrc));
    let to_c = ssrcs_of(&world, "a", "audio");
    assert_eq!(to_c["c"], to_c["b"], "all know a stream under one SSRC: {plan:?}");
}
