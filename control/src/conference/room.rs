//! Room on nodes: for a new conference, and for one that grows.

use super::model::Record;
use super::step::Step;
use crate::placement::units::PARTICIPANTS_EXPECTED;
use crate::placement::{self, Beside, Placed, Promised, Wanted};
use crate::refusal::Refusal;
use motet_proto::conference::CreateRequest;
use serde::{Deserialize, Serialize};
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

/// Where a conference is to run, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placing {
    /// Machine room that is preferred; empty: none is.
    #[serde(default)]
    pub room: String,
    /// Labels that its node must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Placing {
    /// As a request says; a user domain without a word in it has its own room.
    pub(super) fn check(
        create: &CreateRequest,
        rooms: &BTreeMap<String, String>,
    ) -> Result<Placing, Refusal> {
        if create.room.len() > 128 {
            return Err(Refusal::invalid("room", "is longer than 128 bytes"));
        }
        if create.node_labels.len() > 16 || create.node_labels.iter().any(|(k, v)| k.len() + v.len() > 256) {
            return Err(Refusal::invalid("node_labels", "are more than 16, or longer than 256 bytes"));
        }
        let room = if create.room.is_empty() { rooms.get(&create.user_domain) } else { Some(&create.room) };
        let labels = create.node_labels.clone().into_iter().collect();
        Ok(Placing { room: room.cloned().unwrap_or_default(), labels })
    }
}

impl Step<'_> {
    /// A node for a new conference.
    pub(super) fn place(&self, record: &Record, tried: &BTreeMap<String, String>) -> Result<Placed, Refusal> {
        let wanted = Wanted::of(record, self.state.options.fill_percent_max, self.now.steady_ms);
        let mut wanted = self.with_backup_rooms(wanted);
        wanted.beside = self.beside();
        let promised = self.state.conferences.promised();
        placement::place(&self.state.nodes, &promised, &wanted, &self.left_out(tried.clone()))
    }

    /// What to know when other control processes place at the same time.
    fn beside(&self) -> Option<Beside> {
        let css = &self.state.options.css;
        let rank = self.state.living().position(|living| living == css)?;
        let own = || self.state.conferences.promised_by(css);
        (self.state.living().count() > 1).then(|| Beside { own: own(), rank })
    }

    /// A node for a conference that lost its own: this one, or one in the same room, if it can be. What is kept free of new
    /// conferences is there for this, too.
    pub(super) fn place_again(
        &self,
        record: &Record,
        promised: &BTreeMap<String, Promised>,
        tried: BTreeMap<String, String>,
        node: &str,
    ) -> Result<Placed, Refusal> {
        let mut wanted = Wanted::of(record, 100, self.now.steady_ms);
        node.clone_into(&mut wanted.node);
        if !record.room.is_empty() {
            wanted.room.clone_from(&record.room);
        }
        let wanted = self.with_backup_rooms(wanted);
        placement::place(&self.state.nodes, promised, &wanted, &self.left_out(tried))
    }

    fn with_backup_rooms(&self, wanted: Wanted) -> Wanted {
        let backup_rooms = self.state.options.backup_rooms.get(&wanted.room).cloned().unwrap_or_default();
        Wanted { backup_rooms, ..wanted }
    }

    /// Whether the node has room for what the conference grows by.
    pub(super) fn check_growth(&self, before: &Record, next: &Record) -> Result<(), Refusal> {
        let units = next.units().saturating_sub(before.units());
        let node = self.state.nodes.get(&before.node_id);
        let Some(node) = node.filter(|_| units > 0) else { return Ok(()) };
        let promised = self.state.conferences.promised_to(&before.node_id);
        placement::check_growth(&before.node_id, node, promised, units)
    }
}
