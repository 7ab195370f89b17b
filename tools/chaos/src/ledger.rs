//! What control has acknowledged, and must not lose.

use crate::media::PartyId;
use std::collections::{BTreeMap, BTreeSet};

/// A conference as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// E.164 number.
    pub number: String,
    /// What its name may be: the one that was acknowledged last, and those of changes without an answer.
    pub names: BTreeSet<String>,
    /// Whether it may be locked, whether it may be open.
    pub locks: BTreeSet<bool>,
    /// Who takes part.
    pub people: BTreeMap<String, PartyId>,
    /// Whose joining or leaving had no answer: may be there or not.
    pub unsure: BTreeSet<String>,
    /// The highest epoch that was seen.
    pub epoch: u64,
    /// Ending it was acknowledged.
    pub ended: bool,
    /// Ending it was asked for and had no answer.
    pub maybe_ended: bool,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By MOID.
    pub conferences: BTreeMap<String, Expected>,
    /// Names of conferences whose creation had no answer: may be there or not.
    pub unsure: BTreeSet<String>,
    /// Answers that contradict what was acknowledged, a sentence each.
    pub wrong: Vec<String>,
}

impl Ledger {
    /// Creating it was acknowledged.
    pub fn created(&mut self, id: &str, number: &str, name: &str, epoch: u64) {
        let expected = Expected {
            number: number.to_owned(),
            names: [name.to_owned()].into(),
            locks: [false].into(),
            epoch,
            ..Expected::default()
        };
        self.unsure.remove(name);
        self.conferences.insert(id.to_owned(), expected);
    }

    /// A change of this conference, if it is known.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Expected)) {
        if let Some(expected) = self.conferences.get_mut(id) {
            change(expected);
        }
    }

    /// Those that must run.
    pub fn living(&self) -> impl Iterator<Item = (&String, &Expected)> {
        self.conferences.iter().filter(|(_, expected)| !expected.ended && !expected.maybe_ended)
    }
}
