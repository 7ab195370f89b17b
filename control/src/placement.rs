//! Which node takes a new conference. Pure.
//!
//! Least load: legs, then conferences, both with what was placed since the node's last report, so that many
//! creates between two reports spread evenly. The same input gives the same answer.

use crate::conference::Node;
use crate::refusal::Refusal;
use motet_proto::registry::NodeState;
use std::collections::BTreeMap;
use tonic::Code;

/// Legs that a conference is expected to get, as long as its node has not reported them.
const LEGS_EXPECTED: u64 = 3;

/// Takes the least loaded node that is ready and was not tried; counts the conference against it. Gives the
/// node's id and room. A refusal says why for each candidate.
pub fn place(
    nodes: &mut BTreeMap<String, Node>,
    tried: &BTreeMap<String, String>,
) -> Result<(String, String), Refusal> {
    let mut reasons = Vec::new();
    let mut best: Option<(u64, u64, String)> = None;
    for (id, node) in nodes.iter() {
        if let Some(why) = tried.get(id).cloned().or_else(|| unfit(node)) {
            reasons.push(format!("{id}: {why}"));
            continue;
        }
        let load = node.description.load.as_ref();
        let conferences = u64::from(load.map_or(0, |load| load.conferences)) + u64::from(node.placed);
        let legs = u64::from(load.map_or(0, |load| load.legs)) + LEGS_EXPECTED * u64::from(node.placed);
        let candidate = (legs, conferences, id.clone());
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    let Some((_, _, id)) = best else {
        let why =
            if reasons.is_empty() { "no node has announced itself".to_owned() } else { reasons.join("; ") };
        return Err(Refusal::plain(Code::ResourceExhausted, format!("no node takes the conference: {why}")));
    };
    let node = nodes.get_mut(&id).expect("the best is one of them");
    node.placed += 1;
    Ok((id, node.description.room.clone()))
}

/// Why a node cannot take a conference.
fn unfit(node: &Node) -> Option<String> {
    match node.state {
        NodeState::Ready if node.description.draining => Some("drains".to_owned()),
        NodeState::Ready => None,
        NodeState::Draining => Some("drains".to_owned()),
        NodeState::Lost => Some("does not answer".to_owned()),
        NodeState::Joining | NodeState::Unspecified => Some("has not said yet what it runs".to_owned()),
    }
}

/// Whether a node can be told something.
pub fn reachable(node: &Node) -> bool {
    matches!(node.state, NodeState::Ready | NodeState::Draining)
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_proto::node::{Load, NodeDescription};

    fn node(state: NodeState, legs: u32) -> Node {
        let load = Some(Load { legs, conferences: legs / 3, ..Load::default() });
        Node::for_test(state, NodeDescription { load, ..NodeDescription::default() })
    }

    #[test]
    fn many_creates_between_two_reports_spread_evenly() {
        let mut nodes: BTreeMap<String, Node> =
            (0..4).map(|n| (format!("n{n}"), node(NodeState::Ready, 0))).collect();
        for _ in 0..500 {
            place(&mut nodes, &BTreeMap::new()).expect("all are ready");
        }
        assert!(nodes.values().all(|node| node.placed == 125));
    }

    #[test]
    fn the_least_loaded_ready_node_is_taken() {
        let mut nodes = BTreeMap::from([
            ("a".to_owned(), node(NodeState::Ready, 30)),
            ("b".to_owned(), node(NodeState::Lost, 0)),
            ("c".to_owned(), node(NodeState::Ready, 12)),
        ]);
        assert_eq!(place(&mut nodes, &BTreeMap::new()).expect("two are ready").0, "c");
    }

    #[test]
    fn a_refusal_says_why_for_each() {
        let mut nodes = BTreeMap::from([
            ("a".to_owned(), node(NodeState::Draining, 0)),
            ("b".to_owned(), node(NodeState::Lost, 0)),
            ("c".to_owned(), node(NodeState::Ready, 0)),
        ]);
        let tried = BTreeMap::from([("c".to_owned(), "port range exhausted".to_owned())]);
        let refusal = place(&mut nodes, &tried).expect_err("none is left");
        for part in ["a: drains", "b: does not answer", "c: port range exhausted"] {
            assert!(refusal.message.contains(part), "{}", refusal.message);
        }
    }
}
