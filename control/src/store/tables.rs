//! The rules of a store, as plain data: what the embedded stores are made of, and a reference for others.

use super::{Base, Changes, Cursor, Peer, Place, StoreError};
use crate::conference::{Domain, NodeNote, Phase, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Removals that the feed remembers; who is further behind reads everything.
const REMOVED_MAX: usize = 10_000;

/// A store without its edge: pure, and the same input gives the same answer. Times are milliseconds on one
/// clock of the caller's. The methods are those of [`super::Store`], and keep its promises.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    records: BTreeMap<String, Record>,
    /// Who has a number, and which records of theirs have not ended.
    numbers: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Conference by request id.
    requests: BTreeMap<String, String>,
    /// Conference by place in the feed, and the other way round; removed ones too.
    feed: BTreeMap<u64, String>,
    places_in_feed: BTreeMap<String, u64>,
    removed: BTreeSet<u64>,
    /// Removals up to here are no longer in the feed.
    forgotten: u64,
    sequence: u64,
    generation: u64,
    /// And until when.
    peers: BTreeMap<String, (Peer, u64)>,
    /// Until when, by conference.
    occupied: BTreeMap<Place, BTreeMap<String, u64>>,
    domains: BTreeMap<String, Domain>,
    notes: BTreeMap<String, NodeNote>,
    touched: BTreeSet<Row>,
}

/// Something that changed and is to be written to a disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// A record.
    Record(String),
    /// One conference in a place.
    Occupant(Place, String),
    /// A domain.
    Domain(String),
    /// What operators have said about a node.
    Note(String),
}

impl Tables {
    /// Empty tables whose feed is not that of another generation.
    pub fn of_generation(generation: u64) -> Tables {
        Tables { generation, ..Tables::default() }
    }

    /// See [`super::Store::changes`].
    pub fn changes(&self, since: Cursor) -> Changes {
        let cursor = Cursor { generation: self.generation + 1, sequence: self.sequence };
        if since.generation != cursor.generation || since.sequence < self.forgotten {
            let records = self.records.values().cloned().collect();
            return Changes { records, removed: Vec::new(), complete: true, cursor };
        }
        let mut changes = Changes { cursor, ..Changes::default() };
        for id in self.feed.range(since.sequence + 1..).map(|(_, id)| id) {
            match self.records.get(id) {
                Some(record) => changes.records.push(record.clone()),
                None => changes.removed.push(id.clone()),
            }
        }
        changes
    }

    /// See [`super::Store::get`].
    pub fn get(&self, conference: &str) -> Option<Record> {
        self.records.get(conference).cloned()
    }

    /// See [`super::Store::put`].
    pub fn put(&mut self, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        let known = self.records.get(&record.id);
        if known == Some(record) {
            return Ok(());
        }
        if known.map(Base::of) != base || base.is_some_and(|base| Base::of(record) <= base) {
            return Err(StoreError::Conflict);
        }
        if base.is_none()
            && let Some(owner) = self.requests.get(&record.request_id)
        {
            return Err(StoreError::RequestTaken { conference: owner.clone() });
        }
        let lives = record.phase != Phase::Ended && !record.number.is_empty();
        if lives && self.numbers.get(&record.number).is_some_and(|(owner, _)| owner != record.number_owner())
        {
            return Err(StoreError::NumberTaken);
        }
        self.unlink(&record.id);
        self.insert(record.clone());
        self.touched.insert(Row::Record(record.id.clone()));
        Ok(())
    }

    /// Puts a record in without asking.
    pub(super) fn insert(&mut self, record: Record) {
        if record.phase != Phase::Ended && !record.number.is_empty() {
            let owner = || (record.number_owner().to_owned(), BTreeSet::new());
            let (_, living) = self.numbers.entry(record.number.clone()).or_insert_with(owner);
            living.insert(record.id.clone());
        }
        if !record.request_id.is_empty() {
            self.requests.insert(record.request_id.clone(), record.id.clone());
        }
        self.tell(&record.id);
        self.records.insert(record.id.clone(), record);
    }

    /// Frees what the record that is there owns.
    fn unlink(&mut self, id: &str) {
        let Some(known) = self.records.get(id) else { return };
        if let Some((_, living)) = self.numbers.get_mut(&known.number) {
            living.remove(id);
            if living.is_empty() {
                self.numbers.remove(&known.number);
            }
        }
        if self.requests.get(&known.request_id).is_some_and(|owner| owner == id) {
            self.requests.remove(&known.request_id);
        }
    }

    /// Puts a conference at the end of the feed.
    fn tell(&mut self, id: &str) -> u64 {
        self.sequence += 1;
        if let Some(before) = self.places_in_feed.insert(id.to_owned(), self.sequence) {
            self.feed.remove(&before);
            self.removed.remove(&before);
        }
        self.feed.insert(self.sequence, id.to_owned());
        self.sequence
    }

    /// See [`super::Store::remove`].
    pub fn remove(&mut self, conference: &str) {
        self.unlink(conference);
        if self.records.remove(conference).is_none() {
            return;
        }
        self.touched.insert(Row::Record(conference.to_owned()));
        let place = self.tell(conference);
        self.removed.insert(place);
        while self.removed.len() > REMOVED_MAX {
            let Some(oldest) = self.removed.pop_first() else { return };
            if let Some(id) = self.feed.remove(&oldest) {
                self.places_in_feed.remove(&id);
            }
            self.forgotten = oldest;
        }
    }

    /// See [`super::Store::renew`].
    pub fn renew(&mut self, me: &Peer, lease_ms: u64, now_ms: u64) -> Vec<Peer> {
        self.peers.insert(me.id.clone(), (me.clone(), now_ms + lease_ms));
        self.peers.retain(|_, (_, until)| *until > now_ms);
        self.peers.values().map(|(peer, _)| peer.clone()).collect()
    }

    /// See [`super::Store::leave`].
    pub fn leave(&mut self, id: &str) {
        self.peers.remove(id);
    }

    /// See [`super::Store::occupy`].
    pub fn occupy(
        &mut self,
        place: &Place,
        conference: &str,
        limit: u64,
        lease_ms: u64,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.sweep(place, now_ms);
        let occupants = self.occupied.entry(place.clone()).or_default();
        let occupied = occupants.len() as u64;
        if !occupants.contains_key(conference) && occupied >= limit {
            return Err(StoreError::Full { occupied });
        }
        occupants.insert(conference.to_owned(), now_ms + lease_ms);
        self.touched.insert(Row::Occupant(place.clone(), conference.to_owned()));
        Ok(())
    }

    /// Drops those whose lease is over.
    fn sweep(&mut self, place: &Place, now_ms: u64) {
        let Some(occupants) = self.occupied.get_mut(place) else { return };
        let over: Vec<String> =
            occupants.iter().filter(|(_, until)| **until <= now_ms).map(|(id, _)| id.clone()).collect();
        for id in over {
            self.vacate(place, &id);
        }
    }

    /// See [`super::Store::vacate`].
    pub fn vacate(&mut self, place: &Place, conference: &str) {
        let Some(occupants) = self.occupied.get_mut(place) else { return };
        if occupants.remove(conference).is_some() {
            self.touched.insert(Row::Occupant(place.clone(), conference.to_owned()));
        }
        if occupants.is_empty() {
            self.occupied.remove(place);
        }
    }

    /// See [`super::Store::occupants`].
    pub fn occupants(&self, place: &Place, now_ms: u64) -> Vec<String> {
        let occupants = self.occupied.get(place).into_iter().flatten();
        occupants.filter(|(_, until)| **until > now_ms).map(|(id, _)| id.clone()).collect()
    }

    /// See [`super::Store::domains`].
    pub fn domains(&self) -> Vec<Domain> {
        self.domains.values().cloned().collect()
    }

    /// See [`super::Store::put_domain`].
    pub fn put_domain(&mut self, domain: &Domain) -> Result<(), StoreError> {
        match self.domains.get(&domain.moid) {
            Some(known) if known == domain => return Ok(()),
            Some(known) if known.version >= domain.version => return Err(StoreError::Conflict),
            _ => {}
        }
        self.domains.insert(domain.moid.clone(), domain.clone());
        self.touched.insert(Row::Domain(domain.moid.clone()));
        Ok(())
    }

    /// See [`super::Store::remove_domain`].
    pub fn remove_domain(&mut self, domain: &str) {
        if self.domains.remove(domain).is_some() {
            self.touched.insert(Row::Domain(domain.to_owned()));
        }
    }

    /// See [`super::Store::notes`].
    pub fn notes(&self) -> Vec<NodeNote> {
        self.notes.values().cloned().collect()
    }

    /// See [`super::Store::put_note`].
    pub fn put_note(&mut self, note: &NodeNote) {
        self.touched.insert(Row::Note(note.node.clone()));
        if note.is_empty() {
            self.notes.remove(&note.node);
        } else {
            self.insert_note(note.clone());
        }
    }

    pub(super) fn insert_note(&mut self, note: NodeNote) {
        self.notes.insert(note.node.clone(), note);
    }

    pub(super) fn note(&self, node: &str) -> Option<&NodeNote> {
        self.notes.get(node)
    }

    /// What has changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<Row> {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn record(&self, id: &str) -> Option<&Record> {
        self.records.get(id)
    }

    pub(super) fn domain(&self, id: &str) -> Option<&Domain> {
        self.domains.get(id)
    }

    pub(super) fn occupant(&self, place: &Place, conference: &str) -> Option<u64> {
        self.occupied.get(place)?.get(conference).copied()
    }

    /// Puts a domain in without asking.
    pub(super) fn insert_domain(&mut self, domain: Domain) {
        self.domains.insert(domain.moid.clone(), domain);
    }

    /// Puts a conference into a place without asking.
    pub(super) fn insert_occupant(&mut self, place: Place, conference: String, until_ms: u64) {
        self.occupied.entry(place).or_default().insert(conference, until_ms);
    }
}
