//! What of a store's feed is news.

use super::{Base, Changes, Cursor};
use crate::conference::Record;
use std::collections::{HashMap, HashSet};

/// How often all records are read and compared, in case the feed lacks one, in milliseconds.
const COMPARE_MS: u64 = 30_000;

/// How far a store was read, and what was passed on: pure. Times are milliseconds of one steady clock.
///
/// Ask the store for what has changed since [`Reader::since`], and give its answer to [`Reader::all`] or
/// [`Reader::news`].
#[derive(Debug, Default)]
pub struct Reader {
    cursor: Cursor,
    /// By conference; an empty maintainer is one, too.
    passed: HashMap<String, (Base, String)>,
    compare_at_ms: Option<u64>,
    /// The last reading was the first one by a new connection.
    is_new: bool,
}

/// What has changed in a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// Records as they are now; some may have been passed on before.
    pub records: Vec<Record>,
    /// Conferences that somebody has removed.
    pub removed: Vec<String>,
    /// Conferences that were there and are not, though nobody says that they were removed: a replica that took over
    /// may not have heard of them.
    pub missing: Vec<String>,
}

impl Reader {
    /// From where to read.
    pub fn since(&self, now_ms: u64) -> Cursor {
        let compare = self.is_new || self.compare_at_ms.is_none_or(|at_ms| now_ms >= at_ms);
        if compare { Cursor::default() } else { self.cursor }
    }

    /// Everything that the store holds; `changes` are those since [`Cursor::default`].
    pub fn all(&mut self, changes: Changes, now_ms: u64) -> Vec<Record> {
        self.passed.clear();
        self.pass(&changes, now_ms);
        changes.records
    }

    /// What has changed, as far as that can be told. `written`: what this control process has written since it read
    /// last.
    pub fn news(&mut self, mut changes: Changes, written: Vec<String>, now_ms: u64) -> News {
        let mut missing = Vec::new();
        // What was written after the reading may be taken for removed; whoever wrote it looks again.
        for id in written {
            self.passed.entry(id).or_default();
        }
        let is_new = changes.cursor.generation != self.cursor.generation;
        let was_new = std::mem::replace(&mut self.is_new, is_new);
        if changes.complete {
            let listed: HashSet<&str> = changes.records.iter().map(|record| record.id.as_str()).collect();
            missing = self.passed.keys().filter(|id| !listed.contains(id.as_str())).cloned().collect();
            missing.sort();
            missing.iter().for_each(|id| drop(self.passed.remove(id)));
            // A new connection may be one to another server, which lacks what the one before had acknowledged
            // last and what the feed has never told of. What was on its way then is compared once more.
            if !is_new && !was_new {
                changes.records.retain(|record| {
                    let known = self.passed.get(&record.id);
                    known.is_none_or(|(base, css)| *base != Base::of(record) || *css != record.maintainer)
                });
            }
        }
        self.pass(&changes, now_ms);
        News { records: changes.records, removed: changes.removed, missing }
    }

    fn pass(&mut self, changes: &Changes, now_ms: u64) {
        self.cursor = changes.cursor;
        for record in &changes.records {
            self.passed.insert(record.id.clone(), (Base::of(record), record.maintainer.clone()));
        }
        for id in &changes.removed {
            self.passed.remove(id);
        }
        if changes.complete {
            self.compare_at_ms = Some(now_ms + COMPARE_MS);
        }
    }
}
