//! Nodes that live and that control does not reach: what it has to say goes through another node that does. When
//! no node reaches it either, a conference goes on as it is, until somebody wants to join it: then it moves, for
//! participants in vain would be no better off on a node that nobody can tell of them.

use super::effect::NodeAddress;
use super::model::{Conference, Phase};
use super::step::{RETRY_MS, Step};
use crate::placement::reachable;
use crate::refusal::Refusal;
use motet_proto::registry::NodeState;
use std::collections::BTreeMap;
use tonic::Code;

/// Since when control does not reach a node that lives, and who does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Isolation {
    since_ms: u64,
    /// A node that reached it when last asked.
    via: Option<String>,
}

impl Isolation {
    pub(super) fn new(since_ms: u64, via: Option<String>) -> Isolation {
        Isolation { since_ms, via }
    }

    /// It was asked about again.
    pub(super) fn reached_by(&mut self, via: Option<String>) {
        self.via = via;
    }
}

impl Step<'_> {
    /// How a node can be told what it is to run, directly or through another one. None: it cannot.
    pub(super) fn way_to(&self, id: &str) -> Option<NodeAddress> {
        let node = self.state.nodes.get(id)?;
        let via = match node.state {
            NodeState::Lost => return None,
            NodeState::Isolated => {
                let by = node.isolation.as_ref()?.via.as_ref()?;
                Some(self.state.nodes.get(by).filter(|by| reachable(by))?.address.clone())
            }
            _ => None,
        };
        Some(NodeAddress { address: node.address.clone(), via })
    }

    /// Whether a node will hear what it is told.
    pub(super) fn hears(&self, id: &str) -> bool {
        let Some(node) = self.state.nodes.get(id) else { return false };
        reachable(node) || node.state == NodeState::Isolated && self.way_to(id).is_some()
    }

    /// Why a node cannot be told anything, for people.
    pub(super) fn unreached(&self, id: &str) -> String {
        if self.state.nodes.contains_key(id) {
            format!("neither control nor another node reaches node {id}; what runs there goes on")
        } else {
            format!("node {id} is not known here")
        }
    }

    /// Since when its node has been isolated, if nobody reaches that.
    pub(super) fn unreached_since(&self, conference: &Conference) -> Option<u64> {
        let id = &conference.record.node_id;
        let node = self.state.nodes.get(id).filter(|node| node.state == NodeState::Isolated)?;
        let isolation = node.isolation.as_ref()?;
        self.way_to(id).is_none().then_some(isolation.since_ms)
    }

    /// Somebody wants to join a conference on a node that nobody reaches: it goes to another node, if that has
    /// lasted, and if there is one. Errors: it stays.
    pub(super) fn leave_isolated(&mut self, moid: &str, joins: &str) -> Result<(), Refusal> {
        let conference = &self.state.conferences[moid];
        if conference.record.phase != Phase::Running {
            return Ok(());
        }
        let Some(since_ms) = self.unreached_since(conference) else { return Ok(()) };
        let (number, node) = (&conference.record.number, &conference.record.node_id);
        let stays = |why: &str| {
            let message = format!("{number}: {}{why}; ask again", self.unreached(node));
            Refusal::at(Code::Unavailable, "conference", message).retry_in(RETRY_MS)
        };
        if self.now.steady_ms < since_ms + self.state.options.detection.leave_isolated_ms {
            return Err(stays(""));
        }
        // It would end for those who are in it.
        if conference.record.no_restore {
            return Err(stays(", and it is not to go to another node (no_restore)"));
        }
        let promised = self.state.conferences.promised();
        self.place_again(&conference.record, &promised, BTreeMap::new(), "")
            .map_err(|refusal| stays(&format!(", and no other takes it: {}", refusal.message)))?;
        let reason = format!("node {node} lives, but nobody reaches it, and {joins} wants to join");
        self.conference(moid).expect("looked at a moment ago").restore.leaves = true;
        self.pending_restore(moid, &reason);
        Ok(())
    }
}
