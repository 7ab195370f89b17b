//! How many of what there are, for metrics.

use super::model::{Phase, State};
use motet_proto::registry::NodeState;
use std::collections::BTreeMap;

/// A count of what control knows. Every state is there, with 0 too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Conferences by the name of their state, tombstones included.
    pub conferences: BTreeMap<&'static str, usize>,
    /// Participants of conferences that have not ended.
    pub participants: usize,
    /// Nodes by the name of their state.
    pub nodes: BTreeMap<&'static str, usize>,
    /// Conferences that this control process maintains.
    pub maintained: usize,
    /// Control processes that live, this one too; 0 where there can be no other.
    pub peers: usize,
    /// Why the store cannot be used; none when it can.
    pub store_fault: Option<String>,
}

const PHASES: [Phase; 6] =
    [Phase::Creating, Phase::Running, Phase::PendingRestore, Phase::Restoring, Phase::Booked, Phase::Ended];
const NODE_STATES: [NodeState; 7] = [
    NodeState::Joining,
    NodeState::Ready,
    NodeState::Draining,
    NodeState::Cordoned,
    NodeState::Suspect,
    NodeState::Isolated,
    NodeState::Lost,
];

impl State {
    /// Counts everything.
    pub fn census(&self) -> Census {
        let mut census = Census {
            conferences: PHASES.map(|phase| (phase.name(), self.conferences.in_phase(phase))).into(),
            nodes: NODE_STATES.map(|state| (name(state), 0)).into(),
            store_fault: self.store_fault.clone(),
            participants: self.conferences.participants(),
            maintained: self.maintained(),
            peers: self.living().count(),
        };
        for (id, node) in &self.nodes {
            *census.nodes.entry(name(self.shown_state(id, node))).or_default() += 1;
        }
        census
    }

    /// Conferences that this control process maintains.
    fn maintained(&self) -> usize {
        let maintainers = self.conferences.maintainers().into_iter();
        let ours = maintainers.filter(|(css, _)| !self.options.shared || *css == self.options.css);
        ours.map(|(_, count)| count).sum()
    }
}

fn name(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "ready",
        NodeState::Draining => "draining",
        NodeState::Cordoned => "cordoned",
        NodeState::Lost => "lost",
        NodeState::Suspect => "suspect",
        NodeState::Isolated => "isolated",
        NodeState::Joining | NodeState::Unspecified => "joining",
    }
}
