//! What applications were told: the truth that a world is checked against.

use std::collections::BTreeMap;

/// What is known of a value that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief<T> {
    /// It was acknowledged.
    Is(T),
    /// A request about it has not been answered for certain.
    Perhaps,
}

/// A participant, as its application knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// Whether it is in the conference.
    pub present: Belief<bool>,
    /// Whether it is muted.
    pub muted: Belief<bool>,
}

/// A conference, as applications know it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Makes the create call safe to repeat.
    pub request_id: String,
    /// Application that asked for it.
    pub creator: usize,
    /// It is not to be restored: it ends when its node is lost.
    pub no_restore: bool,
    /// Number that was asked for; empty: any.
    pub wanted: String,
    /// MOID and number, once acknowledged.
    pub known: Option<(String, String)>,
    /// Refused for certain: it must not exist.
    pub refused: bool,
    /// Whether it was ended.
    pub ended: Belief<bool>,
    /// When that was acknowledged.
    pub ended_ms: u64,
    /// Everybody who ever asked to join.
    pub people: BTreeMap<String, Person>,
    /// The store forgot what was acknowledged while nobody was there who knew: a declared loss.
    pub excused: bool,
}

/// All conferences that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order of asking.
    pub entries: Vec<Entry>,
}

impl Entry {
    /// MOID, once acknowledged.
    pub fn id(&self) -> Option<&str> {
        self.known.as_ref().map(|(id, _)| id.as_str())
    }

    /// Acknowledged, and nobody has asked to end it.
    pub fn lives(&self) -> bool {
        self.known.is_some() && self.ended == Belief::Is(false)
    }
}

impl Ledger {
    /// Conferences that live for certain.
    pub fn living(&self) -> Vec<usize> {
        (0..self.entries.len()).filter(|index| self.entries[*index].lives()).collect()
    }

    /// The conference with this MOID.
    pub fn of(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id() == Some(id))
    }

    /// Whether another conference may have had this number since then.
    pub fn may_be_taken(&self, number: &str, but: usize, since_ms: u64) -> bool {
        self.entries.iter().enumerate().any(|(index, entry)| {
            let same = match &entry.known {
                Some((_, known)) => known == number,
                None => !entry.refused && (entry.wanted == number || entry.wanted.is_empty()),
            };
            index != but && same && (entry.ended != Belief::Is(true) || entry.ended_ms >= since_ms)
        })
    }
}
