//! The store's double: compare-and-set as in Redis, with a replica that may be behind.

use crate::checks::Mutation;
use motet_control::conference::{Phase, Record};
use motet_control::store::{Base, StoreError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
struct Undo {
    at_ms: u64,
    id: String,
    record: Option<Record>,
    /// Number whose claim changed, and its owner before.
    claims: Vec<(String, Option<String>)>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) service: Service,
    pub(crate) records: BTreeMap<String, Record>,
    /// Owners of numbers, as `e164/{NUMBER}` in Redis.
    pub(crate) claims: BTreeMap<String, String>,
    /// How far the replica is behind.
    pub(crate) lag_ms: u64,
    tail: VecDeque<Undo>,
    pub(crate) mutation: Option<Mutation>,
}

impl Store {
    pub(crate) fn new(lag_ms: u64, mutation: Option<Mutation>) -> Store {
        Store {
            service: Service::Up,
            records: BTreeMap::new(),
            claims: BTreeMap::new(),
            lag_ms,
            tail: VecDeque::new(),
            mutation,
        }
    }

    pub(crate) fn load(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Box<Record>> {
        self.records.get(id).cloned().map(Box::new)
    }

    /// As the rules of `control/src/store/mod.rs`: in the place of what the write was made from, with the number
    /// and the request id free.
    pub(crate) fn put(&mut self, now_ms: u64, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        let known = self.records.get(&record.id);
        if known == Some(record) {
            return Ok(());
        }
        let stale = known.map(Base::of) != base || base.is_some_and(|base| Base::of(record) <= base);
        if stale && self.mutation != Some(Mutation::StoreTakesStaleWrites) {
            return Err(StoreError::Conflict);
        }
        let same = |other: &&Record| other.request_id == record.request_id && other.id != record.id;
        if base.is_none()
            && !record.request_id.is_empty()
            && let Some(owner) = self.records.values().find(same)
        {
            return Err(StoreError::RequestTaken { conference: owner.id.clone() });
        }
        let mut claims = Vec::new();
        if !record.number.is_empty() {
            let owner = self.claims.get(&record.number).cloned();
            if record.phase != Phase::Ended {
                let taken = owner.as_ref().is_some_and(|owner| *owner != record.id);
                if taken && self.mutation != Some(Mutation::StoreIgnoresClaims) {
                    return Err(StoreError::NumberTaken);
                }
                claims.push((record.number.clone(), owner));
                self.claims.insert(record.number.clone(), record.id.clone());
            } else if owner.as_ref() == Some(&record.id) {
                claims.push((record.number.clone(), owner));
                self.claims.remove(&record.number);
            }
        }
        let before = self.records.insert(record.id.clone(), record.clone());
        self.remember(Undo { at_ms: now_ms, id: record.id.clone(), record: before, claims });
        Ok(())
    }

    pub(crate) fn remove(&mut self, now_ms: u64, id: &str) {
        if self.mutation == Some(Mutation::StoreNeverForgets) {
            return;
        }
        let Some(before) = self.records.remove(id) else { return };
        let mut claims = Vec::new();
        if self.claims.get(&before.number).is_some_and(|owner| owner == id) {
            claims.push((before.number.clone(), self.claims.remove(&before.number)));
        }
        self.remember(Undo { at_ms: now_ms, id: id.to_owned(), record: Some(before), claims });
    }

    /// The replica takes over: what it had not heard of is gone. Gives the conferences that went back.
    pub(crate) fn switch_over(&mut self, now_ms: u64) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        while let Some(undo) = self.tail.back() {
            if undo.at_ms + self.lag_ms <= now_ms {
                break;
            }
            let undo = self.tail.pop_back().expect("looked at a moment ago");
            match undo.record {
                Some(record) => self.records.insert(undo.id.clone(), record),
                None => self.records.remove(&undo.id),
            };
            for (number, owner) in undo.claims.into_iter().rev() {
                match owner {
                    Some(owner) => self.claims.insert(number, owner),
                    None => self.claims.remove(&number),
                };
            }
            lost.insert(undo.id);
        }
        self.tail.clear();
        lost
    }

    fn remember(&mut self, undo: Undo) {
        let replicated = undo.at_ms.saturating_sub(self.lag_ms);
        while self.tail.front().is_some_and(|first| first.at_ms <= replicated) {
            self.tail.pop_front();
        }
        if self.lag_ms > 0 {
            self.tail.push_back(undo);
        }
    }
}
