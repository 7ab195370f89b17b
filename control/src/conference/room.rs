//! Room on nodes: for a new conference, and for one that grows.

use super::model::Record;
use super::step::Step;
use crate::placement::units::PARTICIPANTS_EXPECTED;
use crate::placement::{self, Wanted};
use crate::refusal::Refusal;
use motet_proto::conference::CreateRequest;
use std::collections::BTreeMap;

/// Participants that room can be kept for.
const PARTICIPANTS_MAX: u32 = 10_000;

/// How many participants to keep room for.
pub(super) fn expected_participants(create: &CreateRequest) -> Result<u32, Refusal> {
    match create.expected_participants {
        0 => Ok(PARTICIPANTS_EXPECTED),
        given if given <= PARTICIPANTS_MAX => Ok(given),
        given => {
            let why = format!("{given} is more than {PARTICIPANTS_MAX}");
            Err(Refusal::invalid("expected_participants", why))
        }
    }
}

impl Step<'_> {
    /// A node for a conference of this size.
    pub(super) fn place(
        &self,
        units: u64,
        seats: u32,
        tried: &BTreeMap<String, String>,
    ) -> Result<(String, String), Refusal> {
        let fill_percent_max = self.state.options.fill_percent_max;
        let wanted = Wanted { units, legs: u64::from(seats), fill_percent_max };
        let promised = placement::promised(self.state.conferences.values());
        placement::place(&self.state.nodes, &promised, wanted, tried)
    }

    /// Whether the node has room for what the conference grows by.
    pub(super) fn check_growth(&self, before: &Record, next: &Record) -> Result<(), Refusal> {
        let units = next.units().saturating_sub(before.units());
        let node = self.state.nodes.get(&before.node_id);
        let Some(node) = node.filter(|_| units > 0) else { return Ok(()) };
        let promised = placement::promised(self.state.conferences.values());
        let promised = promised.get(&before.node_id).copied().unwrap_or_default();
        placement::check_growth(&before.node_id, node, promised, units)
    }
}
