//! What crosses between workers.

use super::*;

#[test]
fn a_conference_on_two_workers_has_a_trunk_for_each_publisher_and_side() {
    let mut world = World::new();
    world.resources.legs_max = Some(2);
    let plan = world.go(&conference(vec![caller("a"), caller("b"), caller("c"), caller("d")]));
    let workers: Vec<usize> = world.held.legs.values().map(|leg| leg.worker).collect();
    assert_eq!(workers, [0, 0, 1, 1]);
    let trunks: Vec<_> =
        world.held.trunks.iter().map(|(key, t)| (key.leg.as_str(), t.from, key.to)).collect();
    assert_eq!(trunks, [("a", 0, 1), ("b", 0, 1), ("c", 1, 0), ("d", 1, 0)]);
    assert!(
        world.held.trunks.values().all(|trunk| trunk.crossings.len() == 2),
        "sound and picture, once each"
    );
    // What crosses begins when the other side expects it.
    let last = plan.steps.values().flat_map(|step| &step.last);
    assert!(
        last.clone().count() == 8 && last.clone().all(|command| matches!(command, Command::AddRoute(..)))
    );
    let again = world.go(&conference(vec![caller("a"), caller("b"), caller("c"), caller("d")]));
    assert!(again.steps.is_empty(), "{again:?}");
}

#[test]
fn a_trunk_goes_with_its_last_receiver() {
    let mut world = World::new();
    world.resources.legs_max = Some(2);
    world.go(&conference(vec![caller("a"), caller("b"), caller("c")]));
    assert_eq!(world.held.trunks.len(), 3);
    let plan = world.go(&conference(vec![caller("a"), caller("b")]));
    assert!(world.held.trunks.is_empty());
    assert_eq!((plan.released.trunk_ports.len(), plan.steps[&1].close.len()), (6, 3));
}

#[test]
fn a_muted_publisher_does_not_cross() {
    let mut world = World::new();
    world.resources.legs_max = Some(1);
    let mut spec = conference(vec![caller("a"), caller("b")]);
    world.go(&spec);
    spec.legs[0].muted = true;
    let plan = world.go(&spec);
    let stops =
        |step: &Step| step.commands.iter().filter(|c| matches!(c, Command::SetRouteActive(_, false))).count();
    assert_eq!((stops(&plan.steps[&0]), stops(&plan.steps[&1])), (2, 2), "on the trunk, and to the receiver");
}
