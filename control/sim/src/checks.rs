//! Rules that are looked at all the time: at each write of the store, each command that a node takes, and
//! several times a second. [`quiet`] and [`finale`] look when all is well again.
//!
//! Each rule is shown to fire by a world that is wrong on purpose; see [`Mutation`].

mod finale;
mod quiet;

use crate::ledger::{Belief, Entry};
use crate::message::{Who, record_words};
use crate::network::CALM;
use crate::node::Life;
use crate::trace::Violation;
use crate::world::World;
use motet_control::conference::{NOT_RESTORED, Phase, Record};
use motet_proto::node as wire;
use std::collections::BTreeMap;

/// A world that is wrong on purpose, to see that a rule notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The store takes writes that are older than what it holds.
    StoreTakesStaleWrites,
    /// The store gives a number to two conferences.
    StoreIgnoresClaims,
    /// The store removes nothing.
    StoreNeverForgets,
    /// Nodes take commands of old epochs and revisions.
    NodeTakesStaleEpochs,
    /// Nodes run all legs but the last.
    NodeLosesLegs,
    /// Nodes say that they deleted a conference and run it on.
    NodeKeepsDeleted,
    /// Each assignment has the same epoch.
    EpochIsNotRaised,
    /// Nodes are told before the store is.
    NodeComesFirst,
    /// Some conferences are not found.
    AnswersNotFound,
    /// A mute is acknowledged and not done.
    MuteIsForgotten,
    /// A leave is acknowledged and not done.
    LeaveIsForgotten,
    /// What is not to be restored is restored.
    NoRestoreIsForgotten,
    /// A create that is repeated makes another conference.
    RequestIdIsForgotten,
    /// Conferences end although nobody asked for it.
    EndsByItself,
    /// Some requests are never answered.
    ForgetsToAnswer,
    /// Ended conferences are written as running once more.
    EndedComesBack,
}

/// How long two nodes may run one conference while both can be told, in milliseconds: a list finds the
/// older copy, and a delete that is lost is repeated at the next list.
pub const FENCE_MS: u64 = 12_000;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watchman {
    pub(crate) violations: Vec<Violation>,
    /// Node of each assignment, by conference and epoch.
    assigned: BTreeMap<(String, u64), usize>,
    /// Highest epoch that the store took, by conference.
    stored_epochs: BTreeMap<String, u64>,
    /// Conferences whose end the store took.
    ended: BTreeMap<String, u64>,
    /// Since when a conference has had two homes that could both be told.
    two_homes: BTreeMap<String, u64>,
    /// Longest such time, for the report.
    pub(crate) two_homes_ms_max: u64,
    /// Writes that the store refused as stale or taken.
    pub(crate) refused_writes: u64,
    /// Conferences that a store forgot something of, and what it held of them.
    pub(crate) rolled_back: BTreeMap<String, Record>,
}

/// A run stops looking after so many.
const VIOLATIONS_MAX: usize = 20;

impl World {
    pub(crate) fn violated(&mut self, rule: &'static str, what: String) {
        self.trace.say(self.now_ms, Who::Plan, || format!("VIOLATION {rule}: {what}"));
        let known = self.watchman.violations.iter().any(|known| known.rule == rule && known.what == what);
        if !known && self.watchman.violations.len() < VIOLATIONS_MAX {
            self.watchman.violations.push(Violation { rule, at_ms: self.now_ms, what });
        }
    }

    /// The store took a write.
    pub(crate) fn check_write(&mut self, before: Option<&Record>, record: &Record) {
        if let Some(before) = before
            && (before.epoch, before.version) >= (record.epoch, record.version)
        {
            let what = format!("the store took {} over {}", record_words(record), record_words(before));
            self.violated("N12", what);
        }
        let highest = self.watchman.stored_epochs.entry(record.id.clone()).or_default();
        *highest = record.epoch.max(*highest);
        if record.phase == Phase::Ended {
            self.watchman.ended.entry(record.id.clone()).or_insert(self.now_ms);
        } else if let Some(at) = self.watchman.ended.get(&record.id) {
            let what = format!("{} had ended at {at} ms and came back", record_words(record));
            self.violated("N1", what);
        }
        self.check_unrestored(before, record);
        if record.phase != Phase::Ended && !record.number.is_empty() {
            let twin = self.store.records.values().find(|other| {
                other.number == record.number && other.phase != Phase::Ended && other.id != record.id
            });
            if let Some(twin) = twin {
                let what = format!("{} and {} have the number {}", record.id, twin.id, record.number);
                self.violated("N1", what);
            }
        }
        match self.watchman.rolled_back.get(&record.id) {
            // Another process goes on from what the store has left.
            Some(lost) if lost.maintainer != record.maintainer => self.declare_lost(&record.id.clone()),
            Some(lost) if record.version > lost.version => {
                self.watchman.rolled_back.remove(&record.id);
            }
            _ => {}
        }
    }

    /// What is not to be restored goes to no other node, and may end when its own is lost.
    fn check_unrestored(&mut self, before: Option<&Record>, record: &Record) {
        let asked = |entry: &Entry| entry.no_restore && entry.request_id == record.request_id;
        if !self.ledger.entries.iter().any(asked) {
            return;
        }
        if record.phase == Phase::Restoring {
            self.violated("CONF-11", format!("{} is not to be restored", record_words(record)));
        }
        let ended = record.phase == Phase::Ended && before.is_none_or(|before| before.phase != Phase::Ended);
        if !ended || !record.reason.starts_with(NOT_RESTORED) {
            return;
        }
        if self.plan.faults.is_empty() && self.plan.manner == CALM {
            let what = format!("{} ended in a world without faults: {}", record.id, record.reason);
            self.violated("CONF-11", what);
        }
        self.count("ended unrestored");
        let same = |entry: &&mut Entry| entry.request_id == record.request_id;
        if let Some(entry) = self.ledger.entries.iter_mut().find(same) {
            // The store may forget it once more.
            entry.ended = Belief::Perhaps;
        }
    }

    /// The store has forgotten something that it had acknowledged, and nobody is left who knows: the loss that
    /// asynchronous replication declares.
    pub(crate) fn declare_lost(&mut self, id: &str) {
        self.watchman.rolled_back.remove(id);
        let epoch = self.store.records.get(id).map_or(0, |record| record.epoch);
        self.watchman.assigned.retain(|(known, of), _| known != id || *of <= epoch);
        if let Some(entry) = self.ledger.entries.iter_mut().find(|entry| entry.id() == Some(id)) {
            entry.excused = true;
            self.count("declared losses");
        }
    }

    /// A control process is killed, and with it what it alone knew.
    pub(crate) fn nobody_knows(&mut self, css: usize) {
        let name = Who::Css(css).to_string();
        let rolled_back = self.watchman.rolled_back.iter();
        let lost: Vec<String> =
            rolled_back.filter(|(_, lost)| lost.maintainer == name).map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.declare_lost(&id);
        }
    }

    /// A node was told to run something and does. `before`: epoch and revision of what it ran.
    pub(crate) fn check_put(
        &mut self,
        node: usize,
        put: &wire::PutConferenceRequest,
        before: Option<(u64, u64)>,
    ) {
        let Some(spec) = &put.spec else { return };
        let id = spec.id.clone();
        if before.is_some_and(|before| (put.epoch, put.revision) < before) {
            let what = format!("n{} took {id} e{} r{} over {before:?}", node + 1, put.epoch, put.revision);
            self.violated("N12", what);
        }
        let first = *self.watchman.assigned.entry((id.clone(), put.epoch)).or_insert(node);
        if first != node {
            let what = format!("{id} e{} was given to n{} and to n{}", put.epoch, first + 1, node + 1);
            self.violated("N12", what);
        }
        let stored = self.watchman.stored_epochs.get(&id).copied().unwrap_or_default();
        if stored < put.epoch {
            let what = format!("n{} runs {id} e{}, which the store never held", node + 1, put.epoch);
            self.violated("N12", what);
        }
    }

    /// Looks at what cannot be seen at a single command.
    pub(crate) fn monitor(&mut self) {
        let mut homes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.life == Life::Up) {
            for id in node.conferences.keys() {
                homes.entry(id.clone()).or_default().push(index);
            }
        }
        homes.retain(|_, nodes| nodes.len() > 1 && nodes.iter().all(|node| self.can_be_told(*node)));
        self.watchman.two_homes.retain(|id, _| homes.contains_key(id));
        for (id, nodes) in homes {
            let since = *self.watchman.two_homes.entry(id.clone()).or_insert(self.now_ms);
            let long = self.now_ms - since;
            self.watchman.two_homes_ms_max = self.watchman.two_homes_ms_max.max(long);
            if long > FENCE_MS {
                let what = format!("{id} has run on {nodes:?} since {since} ms, longer than {FENCE_MS} ms");
                self.watchman.two_homes.insert(id, self.now_ms);
                self.violated("N2", what);
            }
        }
    }

    /// Whether nothing stands between control and a node, so that a second copy there has no excuse.
    fn can_be_told(&self, node: usize) -> bool {
        let well = |css: &crate::css::Css| {
            css.life == Life::Up
                && self.network.joined(Who::Css(css.index), Who::Node(node), self.now_ms)
                && self.network.joined(Who::Css(css.index), Who::Store, self.now_ms)
        };
        self.css.iter().all(well)
            && self.store.service == crate::store::Service::Up
            && self.network.manner.lost_permille == 0
    }
}
