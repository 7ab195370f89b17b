//! What must hold when all faults are over and time has passed.

use crate::ledger::{Belief, Entry};
use crate::message::{Who, record_words};
use crate::node::Running;
use crate::world::World;
use motet_control::conference::{Phase, Record};
use std::collections::BTreeSet;

impl World {
    /// The quiet point: everything that was acknowledged is there, once, and nothing else is.
    pub(crate) fn quiet(&mut self) {
        self.trace.say(self.now_ms, Who::Plan, || "quiet: all must be well".into());
        self.check_answers();
        for entry in self.ledger.entries.clone() {
            self.check_entry(&entry);
        }
        for record in self.store.records.values().cloned().collect::<Vec<_>>() {
            self.check_record(&record);
        }
        for index in 0..self.nodes.len() {
            self.check_copies(index);
        }
        self.check_views();
        self.begin_finale();
    }

    /// Whoever asked has been told.
    fn check_answers(&mut self) {
        for index in 0..self.clients.len() {
            let Some(operation) = self.clients[index].operation.clone() else { continue };
            let what = format!(
                "app{} still waits for {:?} after {} attempts",
                index + 1,
                operation.what,
                operation.attempts
            );
            self.violated("liveness", what);
        }
        for index in 0..self.css.len() {
            let waiting = self.css[index].requests.len();
            if waiting > 0 {
                self.violated("liveness", format!("css{} has not answered {waiting} requests", index + 1));
            }
        }
    }

    fn homes(&self, id: &str) -> Vec<(usize, &Running)> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| node.conferences.get(id).map(|running| (index, running)))
            .collect()
    }

    fn check_entry(&mut self, entry: &Entry) {
        let same = |record: &&Record| record.request_id == entry.request_id;
        let records: Vec<Record> = self.store.records.values().filter(same).cloned().collect();
        let living = records.iter().filter(|record| record.phase != Phase::Ended).count();
        if living > 1 {
            let all: Vec<String> = records.iter().map(record_words).collect();
            self.violated("N5", format!("{} made {all:?}", entry.request_id));
        }
        if entry.excused {
            return self.count("excused");
        }
        if entry.refused && !records.is_empty() {
            let what = format!("{} was refused and made {}", entry.request_id, record_words(&records[0]));
            self.violated("N5", what);
        }
        let Some((id, number)) = entry.known.clone() else { return };
        let record = self.store.records.get(&id).cloned();
        match (entry.ended, record) {
            (Belief::Is(true), Some(record)) if record.phase != Phase::Ended => {
                self.violated("N1", format!("{} was ended", record_words(&record)));
            }
            (Belief::Is(false), None) => {
                self.violated("N1", format!("{id} was created and is not in the store"));
            }
            (Belief::Is(false), Some(record)) => {
                if record.phase == Phase::Ended {
                    let why = &record.reason;
                    self.violated("N1", format!("{id} has ended and nobody asked for it: {why}"));
                } else {
                    self.check_living(entry, &record, &number);
                }
            }
            _ => {}
        }
    }

    fn check_living(&mut self, entry: &Entry, record: &Record, number: &str) {
        if record.number != *number {
            let what = format!("{} was created with the number {number}", record_words(record));
            self.violated("N1", what);
        }
        let mut wrong = Vec::new();
        for (who, person) in &entry.people {
            let there = record.participants.get(who);
            match (person.present, there) {
                (Belief::Is(true), None) => wrong.push(("N3", format!("{who} joined and is not in"))),
                (Belief::Is(false), Some(_)) => {
                    wrong.push(("N3", format!("{who} left or never joined, and is in")))
                }
                (Belief::Is(true), Some(there)) => {
                    if let Belief::Is(muted) = person.muted
                        && there.audio.muted != muted
                    {
                        wrong.push(("N4", format!("{who} shall be muted: {muted}")));
                    }
                }
                _ => {}
            }
        }
        for who in record.participants.keys().filter(|who| !entry.people.contains_key(*who)) {
            wrong.push(("N3", format!("nobody knows {who}")));
        }
        for (rule, what) in wrong {
            self.violated(rule, format!("{what}: {}", record_words(record)));
        }
    }

    /// What the store holds is what one node runs.
    fn check_record(&mut self, record: &Record) {
        let words = record_words(record);
        let homes = self.homes(&record.id);
        let legs_of = |running: &Running| -> BTreeSet<String> {
            running.spec.legs.iter().map(|leg| leg.id.clone()).collect()
        };
        let problem = match (record.phase, homes.as_slice()) {
            (Phase::Ended, []) => None,
            (Phase::Ended, [(node, _), ..]) => Some(("N2", format!("n{} still runs it", node + 1))),
            (Phase::Creating, _) => Some(("N9", "it is still being created".to_owned())),
            (_, [_, _, ..]) => Some(("N2", "it runs on several nodes".to_owned())),
            (Phase::PendingRestore | Phase::Restoring, _) => {
                Some(("N1", format!("it was not restored ({})", record.reason)))
            }
            (_, []) => Some(("N1", "no node runs it".to_owned())),
            (_, [(node, running)]) => {
                let people: BTreeSet<String> = record.participants.keys().cloned().collect();
                if self.nodes[*node].name != record.node_id {
                    Some(("N2", format!("n{} runs it", node + 1)))
                } else if (running.epoch, running.revision) != (record.epoch, record.revision) {
                    let what = format!("n{} runs e{} r{}", node + 1, running.epoch, running.revision);
                    Some(("N2", what))
                } else if legs_of(running) != people {
                    Some(("N3", format!("n{} runs the legs {:?}", node + 1, legs_of(running))))
                } else {
                    muted_otherwise(record, running)
                }
            }
        };
        if let Some((rule, what)) = problem {
            self.violated(rule, format!("{what}: {words}"));
        }
    }

    /// Nothing runs that the store does not know.
    fn check_copies(&mut self, index: usize) {
        let unknown: Vec<String> = self.nodes[index]
            .conferences
            .keys()
            .filter(|id| !self.store.records.contains_key(*id))
            .cloned()
            .collect();
        for id in unknown {
            self.violated("N9", format!("n{} runs {id}, which the store does not know", index + 1));
        }
    }

    /// Control says what the store holds. Tombstones may be on their way out.
    fn check_views(&mut self) {
        let lives = |record: &&Record| record.phase != Phase::Ended;
        let named = |record: &Record| (record.id.clone(), record.phase.name());
        let stored: BTreeSet<_> = self.store.records.values().filter(lives).map(named).collect();
        for index in 0..self.css.len() {
            let known = self.css[index].state.conferences.values().map(|conference| &conference.record);
            let known: BTreeSet<_> = known.filter(lives).map(named).collect();
            if let Some((id, phase)) = known.symmetric_difference(&stored).next() {
                let what = format!("css{} and the store differ about {id} ({phase})", index + 1);
                self.violated("N10", what);
            }
        }
    }
}

fn muted_otherwise(record: &Record, running: &Running) -> Option<(&'static str, String)> {
    running.spec.legs.iter().find_map(|leg| {
        let wanted = record.participants.get(&leg.id)?.audio.muted;
        let is = leg.audio.as_ref().is_some_and(|audio| audio.muted);
        (wanted != is).then(|| ("N4", format!("{} is muted on its node: {is}", leg.id)))
    })
}
