//! Which conferences are to be looked at, and when: those that have changed, and those whose time has come.
//!
//! A step looks at a bounded number of them, so that ten thousand conferences cost a step no more than a hundred.

use super::index::Id;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is to be looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// Those that have changed, in the order in which they did; some may be there twice.
    changed: VecDeque<Id>,
    /// The others, by time.
    due: BTreeSet<(u64, Id)>,
    known: BTreeMap<Id, When>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// It has changed.
    Soon,
    At(u64),
    /// It is being looked at.
    Now,
}

impl Agenda {
    pub(super) fn changed(&mut self, id: &Id) {
        match self.known.insert(Id::clone(id), When::Soon) {
            Some(When::Soon) => return,
            Some(When::At(due_ms)) => _ = self.due.remove(&(due_ms, Id::clone(id))),
            Some(When::Now) | None => {}
        }
        self.changed.push_back(Id::clone(id));
    }

    pub(super) fn changed_if_known(&mut self, id: &str) {
        if let Some((id, _)) = self.known.get_key_value(id) {
            let id = Id::clone(id);
            self.changed(&id);
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some((id, When::At(due_ms))) = self.known.remove_entry(id) {
            self.due.remove(&(due_ms, id));
        }
    }

    /// It was looked at.
    pub(super) fn put_off(&mut self, id: &str, due_ms: u64) {
        let Some((id, when)) = self.known.remove_entry(id) else { return };
        if let When::At(before_ms) = when {
            self.due.remove(&(before_ms, Id::clone(&id)));
        }
        self.due.insert((due_ms, Id::clone(&id)));
        self.known.insert(id, When::At(due_ms));
    }

    pub(super) fn take_due(&mut self, now_ms: u64, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(id) = self.changed.pop_front()
        {
            if self.known.get(&id) == Some(&When::Soon) {
                taken.push(id.to_string());
                self.known.insert(id, When::Now);
            }
        }
        for _ in 0..count {
            let Some((due_ms, _)) = self.due.first() else { break };
            if *due_ms > now_ms {
                break;
            }
            let (_, id) = self.due.pop_first().expect("looked at a moment ago");
            taken.push(id.to_string());
            self.known.insert(id, When::Now);
        }
        taken
    }

    /// Panics unless each of these is to be looked at some time, and nothing else is.
    pub(super) fn check<'a>(&self, ids: impl Iterator<Item = &'a Id>) {
        assert!(ids.eq(self.known.keys()));
        for (id, when) in &self.known {
            match when {
                When::Soon => assert!(self.changed.contains(id), "{id}"),
                When::At(due_ms) => assert!(self.due.contains(&(*due_ms, Id::clone(id))), "{id}"),
                When::Now => panic!("{id} is being looked at for ever"),
            }
        }
        assert_eq!(self.due.len(), self.known.values().filter(|when| matches!(when, When::At(_))).count());
    }
}
