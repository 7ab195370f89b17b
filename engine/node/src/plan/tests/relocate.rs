//! Moves of a conference to another worker.

use super::*;
use std::collections::HashSet;

/// What does not depend on numbers or the worker.
fn shape(held: &Holdings) -> Vec<String> {
    let legs = held.legs.iter().map(|(id, leg)| format!("{id} {}", leg.report_ssrc));
    let ports = held.legs.values().flat_map(|leg| &leg.ports);
    let ports = ports.map(|ports| format!("{} {}", ports.rtp.1, ports.base));
    // Which of the streams a route carries.
    let index = |stream| held.streams.values().position(|known| *known == stream);
    let routes = held.routes.iter();
    let routes = routes.map(|(key, route)| format!("{key:?} {} {:?}", route.ssrc, index(route.stream)));
    legs.chain(ports).chain(routes).collect()
}

#[test]
fn a_relocated_conference_is_the_same_under_other_numbers() {
    let mut world = World::new();
    world.go(&conference(vec![caller("a"), caller("b"), caller("c")]));
    assert_eq!(only_worker(&world.held), Some(0));
    let relocation = relocate(&world.held, (0, 1), &mut world.resources).expect("numbers do not end");
    let Relocation { next, numbers, released } = relocation;
    assert_eq!(only_worker(&next), Some(1));
    assert_eq!(shape(&next), shape(&world.held));
    // Every number is new, and every number before is free.
    let (legs, streams, routes) = (&numbers.legs, &numbers.streams, &numbers.routes);
    assert_eq!((legs.len(), streams.len(), routes.len(), numbers.ports.len()), (3, 6, 12, 12));
    assert!(world.held.legs.iter().all(|(id, leg)| legs[&leg.id] == next.legs[id].id));
    assert!(world.held.streams.iter().all(|(key, stream)| streams[stream] == next.streams[key]));
    assert!(world.held.routes.iter().all(|(key, route)| routes[&route.id] == next.routes[key].id));
    let freed = (released.legs.len(), released.streams.len(), released.routes.len());
    assert_eq!((freed, released.trunk_ports.len()), ((3, 6, 12), 12));
    assert_eq!(released.ports, [], "sockets go along");
    let before: HashSet<PortId> = numbers.ports.keys().copied().collect();
    assert!(released.trunk_ports.iter().all(|(worker, port)| *worker == 0 && before.contains(port)));
    // What comes next finds its place there.
    world.held = next;
    let plan = world.go(&conference(vec![caller("a"), caller("b")]));
    assert_eq!(plan.steps.keys().copied().collect::<Vec<_>>(), [1]);
    assert!(plan_end(&world.held).released.legs.iter().all(|(worker, _)| *worker == 1));
}

#[test]
fn what_is_on_several_workers_or_none_has_no_only_worker() {
    assert_eq!(only_worker(&Holdings::default()), None);
    let mut world = World::new();
    world.resources.legs_max = Some(2);
    world.go(&conference(vec![caller("a"), caller("b"), caller("c")]));
    assert_eq!(only_worker(&world.held), None);
}

#[test]
fn a_conference_that_finds_no_room_stays() {
    struct Full(Counting);
    impl Resources for Full {
        fn worker(&mut self, legs: &BTreeMap<usize, u32>) -> usize {
            self.0.worker(legs)
        }
        fn leg(&mut self, worker: usize) -> Result<LegId, NodeError> {
            self.0.leg(worker)
        }
        fn stream(&mut self, worker: usize) -> Result<StreamId, NodeError> {
            self.0.stream(worker)
        }
        fn route(&mut self, _worker: usize) -> Result<RouteId, NodeError> {
            Err(NodeError::Exhausted { field: "f".into(), why: "w".into() })
        }
        fn ports(&mut self, worker: usize, transport: &Transport) -> Result<HeldPorts, NodeError> {
            self.0.ports(worker, transport)
        }
        fn trunk_port(&mut self, worker: usize) -> PortId {
            self.0.trunk_port(worker)
        }
        fn mixer(&mut self) -> Result<usize, NodeError> {
            self.0.mixer()
        }
        fn canvas(&mut self) -> Result<usize, NodeError> {
            self.0.canvas()
        }
        fn random(&mut self) -> u32 {
            self.0.random()
        }
    }
    let mut world = World::new();
    world.go(&conference(vec![caller("a"), caller("b")]));
    let error = relocate(&world.held, (0, 1), &mut Full(Counting::default())).expect_err("no routes left");
    assert!(matches!(error, NodeError::Exhausted { .. }));
}
