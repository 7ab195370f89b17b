//! The store's double: the rules of `motet_control::store::Tables`, with a replica that may be behind.

use crate::checks::Mutation;
use motet_control::conference::Record;
use motet_control::store::{Base, Changes, Cursor, Peer, StoreError, Tables};
use std::collections::{BTreeMap, VecDeque};

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Answers at once.
    Up,
    /// Answers after so many milliseconds more.
    Slow(u64),
    /// Does not answer.
    Down,
}

/// What a write replaced, so that it can be forgotten.
#[derive(Clone, Debug)]
struct Before {
    at_ms: u64,
    id: String,
    record: Option<Record>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) service: Service,
    tables: Tables,
    /// The same records, to look at.
    pub(crate) records: BTreeMap<String, Record>,
    /// Control processes and until when they live.
    peers: BTreeMap<String, (Peer, u64)>,
    /// How far the replica is behind.
    lag_ms: u64,
    /// Counts primaries.
    pub(crate) generation: u64,
    tail: VecDeque<Before>,
    mutation: Option<Mutation>,
}

impl Store {
    pub(crate) fn new(lag_ms: u64, mutation: Option<Mutation>) -> Store {
        Store {
            service: Service::Up,
            tables: Tables::default(),
            records: BTreeMap::new(),
            peers: BTreeMap::new(),
            lag_ms,
            generation: 0,
            tail: VecDeque::new(),
            mutation,
        }
    }

    pub(crate) fn changes(&self, since: Cursor) -> Changes {
        self.tables.changes(since)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Box<Record>> {
        self.records.get(id).cloned().map(Box::new)
    }

    pub(crate) fn put(&mut self, now_ms: u64, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        if self.records.get(&record.id) == Some(record) {
            return Ok(());
        }
        match (self.tables.put(record, base), self.mutation) {
            (Err(StoreError::Conflict), Some(Mutation::StoreTakesStaleWrites)) => {
                self.tables.remove(&record.id);
                self.tables.put(record, None)?;
            }
            (Err(StoreError::NumberTaken), Some(Mutation::StoreIgnoresClaims)) => {
                self.tables.put(&Record { number: String::new(), ..record.clone() }, base)?;
            }
            (result, _) => result?,
        }
        let before = self.records.insert(record.id.clone(), record.clone());
        self.remember(Before { at_ms: now_ms, id: record.id.clone(), record: before });
        Ok(())
    }

    pub(crate) fn remove(&mut self, now_ms: u64, id: &str) {
        if self.mutation == Some(Mutation::StoreNeverForgets) {
            return;
        }
        self.tables.remove(id);
        if let Some(before) = self.records.remove(id) {
            self.remember(Before { at_ms: now_ms, id: id.to_owned(), record: Some(before) });
        }
    }

    pub(crate) fn renew(&mut self, now_ms: u64, me: Peer, lease_ms: u64) -> Vec<Peer> {
        self.peers.insert(me.id.clone(), (me, now_ms + lease_ms));
        self.peers.retain(|_, (_, until_ms)| *until_ms > now_ms);
        self.peers.values().map(|(peer, _)| peer.clone()).collect()
    }

    /// The replica takes over: what it had not heard of is gone. Gives what was forgotten of the conferences that
    /// went back.
    pub(crate) fn switch_over(&mut self, now_ms: u64) -> BTreeMap<String, Record> {
        let mut lost = BTreeMap::new();
        while self.tail.back().is_some_and(|last| last.at_ms + self.lag_ms > now_ms) {
            let Some(Before { id, record, .. }) = self.tail.pop_back() else { break };
            let forgotten = match record {
                Some(record) => self.records.insert(id.clone(), record),
                None => self.records.remove(&id),
            };
            if let Some(forgotten) = forgotten {
                lost.entry(id).or_insert(forgotten);
            }
        }
        self.tail.clear();
        self.generation += 1;
        self.tables = Tables::of_generation(self.generation);
        for record in self.records.values() {
            // Those that a wrong store has taken have no place in a right one.
            let _ = self.tables.put(record, None);
        }
        lost
    }

    fn remember(&mut self, before: Before) {
        let replicated_ms = before.at_ms.saturating_sub(self.lag_ms);
        while self.tail.front().is_some_and(|first| first.at_ms <= replicated_ms) {
            self.tail.pop_front();
        }
        if self.lag_ms > 0 {
            self.tail.push_back(before);
        }
    }
}
