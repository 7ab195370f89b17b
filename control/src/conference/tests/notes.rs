//! What operators have said about nodes: kept in the store, and followed by every control process.

use super::losing::nodes;
use super::*;

fn list_reason(world: &mut World, node: &str) -> (NodeState, String) {
    let list = world.request(Request::ListNodes);
    let Ok(Response::Nodes(list)) = &world.replies[&list] else { panic!("a list") };
    let found =
        list.nodes.iter().find(|known| known.node.as_ref().is_some_and(|known| known.node_id == node));
    let found = found.expect("the node is listed");
    (found.state(), found.reason.clone())
}

fn cordon(world: &mut World, node: &str) -> u64 {
    let cordon = registry::CordonNodeRequest { node_id: node.into(), reason: "fan".into() };
    let request = world.request(Request::Cordon(cordon));
    world.settle();
    request
}

#[test]
fn a_cordon_survives_a_restart_of_control() {
    let mut world = nodes(2);
    cordon(&mut world, "n2");
    let mut again = World::unloaded();
    (again.notes, again.stored) = (world.notes.clone(), world.stored.clone());
    (again.nodes, again.boots) = (world.nodes.clone(), world.boots.clone());
    again.event(Event::StoreLoaded(again.stored.values().cloned().collect()));
    again.live(300);
    assert_eq!(list_reason(&mut again, "n2"), (NodeState::Cordoned, "fan".into()));
    for id in ["x1", "x2", "x3"] {
        again.create(id, "");
        again.settle();
        assert_eq!(again.node_of(id), "n1");
    }
}

#[test]
fn a_cordon_that_the_store_did_not_take_is_refused() {
    let mut world = nodes(2);
    let cordon = registry::CordonNodeRequest { node_id: "n2".into(), reason: String::new() };
    let request = world.request(Request::Cordon(cordon));
    world.answer(false);
    assert_eq!(world.refusal(request).code, Code::Unavailable);
    assert_eq!(list_reason(&mut world, "n2").0, NodeState::Ready);
}

#[test]
fn what_another_control_process_was_told_is_followed() {
    let mut world = nodes(2);
    world.state.options.shared = true;
    let note = NodeNote { node: "n2".into(), cordon: Some("fan".into()), ..NodeNote::default() };
    world.notes.insert("n2".into(), note);
    world.live(1_500);
    assert_eq!(list_reason(&mut world, "n2").0, NodeState::Cordoned);
    world.notes.clear();
    world.live(1_500);
    assert_eq!(list_reason(&mut world, "n2").0, NodeState::Ready);
    assert_eq!(world.emitted(Kind::NodeCordoned), 1);
}

#[test]
fn a_node_that_was_given_up_elsewhere_is_given_up_here_once() {
    let mut world = nodes(2);
    let node = world.node_of("c1").to_owned();
    world.state.options.shared = true;
    world.live(1_500);
    // Others reach it, so that its conferences would stay.
    world.cut.insert(node.clone());
    world.live(3_000);
    assert_eq!(list_reason(&mut world, &node).0, NodeState::Isolated);
    let note = |given_up: &str, given_up_unix_ms| NodeNote {
        node: node.clone(),
        given_up: given_up.into(),
        given_up_unix_ms,
        ..NodeNote::default()
    };
    // Another start of it was.
    world.notes.insert(node.clone(), note("b0", 1));
    world.live(1_500);
    assert_eq!(list_reason(&mut world, &node).0, NodeState::Isolated);
    world.notes.insert(node.clone(), note("b1", 2));
    world.live(3_000);
    assert_ne!(world.node_of("c1"), node);
    // It comes back and is cut off again: that is another matter.
    world.cut.clear();
    world.live(3_000);
    assert_eq!(list_reason(&mut world, &node).0, NodeState::Ready);
    world.cut.insert(node.clone());
    world.live(3_000);
    assert_eq!(list_reason(&mut world, &node).0, NodeState::Isolated);
}
