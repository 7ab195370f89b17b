//! Nodes that drain and no longer drain.

use super::*;
use motet_proto::node::DrainRequest;
use motet_proto::registry::{DrainNodeRequest, UndrainNodeRequest};

impl World {
    fn drain(&mut self, node: &str, deadline_ms: u64) -> u64 {
        self.request(Request::Drain(DrainNodeRequest { node_id: node.into(), deadline_ms }))
    }

    fn undrain(&mut self, node: &str) -> u64 {
        self.request(Request::Undrain(UndrainNodeRequest { node_id: node.into() }))
    }

    /// Has the node answer that it did what it was told last, or that it cannot be reached; gives what it
    /// was told.
    fn node_drains(&mut self, well: bool) -> Option<DrainRequest> {
        let told = self.pending.pop().expect("the node is told");
        let Effect::NodeDrain { request, node, drain, .. } = told else { panic!("{told:?}") };
        let result = if well { Ok(7) } else { Err(NodeFailure::Unreachable("cut".into())) };
        self.event(Event::NodeDrained { request, node, drain, result });
        drain
    }
}

/// Two nodes that run nothing.
fn two_nodes() -> World {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.announce("n2", "b1");
    world.settle();
    world
}

#[test]
fn a_draining_node_gets_no_conference_until_that_is_cancelled() {
    let mut world = two_nodes();
    let request = world.drain("n1", 60_000);
    assert!(!world.replies.contains_key(&request), "the node comes first");
    assert_eq!(world.node_drains(true), Some(DrainRequest { deadline_ms: 60_000 }));
    assert!(matches!(&world.replies[&request], Ok(Response::Draining(left)) if left.conferences_left == 7));
    assert_eq!(world.state.nodes["n1"].state, NodeState::Draining);
    assert_eq!(world.events.last().map(|(kind, _)| *kind), Some(Kind::NodeDraining));
    for number in ["1", "2", "3"] {
        world.create(number, number);
        world.settle();
    }
    assert_eq!((world.nodes["n1"].len(), world.nodes["n2"].len()), (0, 3));

    let request = world.undrain("n1");
    assert_eq!(world.node_drains(true), None);
    assert!(world.replies[&request].is_ok());
    assert_eq!(world.state.nodes["n1"].state, NodeState::Ready);
    world.create("4", "4");
    world.settle();
    assert_eq!(world.nodes["n1"].len(), 1, "the least loaded one takes it again");
}

#[test]
fn what_runs_on_a_draining_node_can_still_be_joined() {
    let mut world = running();
    world.drain("n1", 0);
    world.node_drains(true);
    let request = world.join("700", "bob");
    world.settle();
    assert!(world.replies[&request].is_ok());
    let create = world.create("c2", "701");
    let refusal = world.refusal(create);
    assert_eq!(refusal.code, Code::ResourceExhausted);
    assert!(refusal.message.contains("n1: drains"), "{refusal}");
}

#[test]
fn a_node_that_does_not_hear_is_left_as_it_is() {
    let mut world = two_nodes();
    let events = world.events.len();
    let request = world.drain("n1", 0);
    world.node_drains(false);
    assert_eq!(world.refusal(request).code, Code::Unavailable);
    assert_eq!((world.state.nodes["n1"].state, world.events.len()), (NodeState::Ready, events));
    let request = world.drain("n3", 0);
    let refusal = world.refusal(request);
    assert_eq!((refusal.code, refusal.field.as_str()), (Code::NotFound, "node_id"));
}

#[test]
fn a_lost_node_cannot_be_told() {
    let mut world = two_nodes();
    world.dead.extend(["n1".to_owned(), "n2".to_owned()]);
    world.live(3_000);
    assert_eq!(world.state.nodes["n1"].state, NodeState::Lost);
    world.pending.clear();
    let request = world.undrain("n1");
    assert_eq!(world.refusal(request).code, Code::Unavailable);
    assert_eq!(world.pending, []);
}

#[test]
fn the_store_need_not_be_there() {
    let mut world = two_nodes();
    world.event(Event::StoreLoadFailed("away".into()));
    let request = world.drain("n1", 0);
    world.node_drains(true);
    assert!(world.replies[&request].is_ok());
}
