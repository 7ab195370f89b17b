//! Conferences whose node is lost, or runs them no more, go to another node.
//!
//! The store knows of the new node, under a higher epoch, before that node does. When the node has confirmed,
//! its copy is the only one that counts: older ones are deleted wherever they turn up. Everybody is told the new
//! addresses by events, in order. What cannot be placed waits, is tried again with growing pauses, and at once
//! when a node becomes ready. What is not to be restored ends at the moment at which it would go.

use super::conferences::Waiting;
use super::index::Id;
use super::model::{Conference, Node, Now, Operation, Phase, Record, RequestId, Work};
use super::requests::Request;
use super::step::{About, RETRY_MS, Step};
use crate::nodes::NodeFailure;
use crate::placement::{Placed, reachable};
use crate::refusal::Refusal;
use motet_proto::conference::{ConferenceEvent, ConferenceEventKind as Kind};
use motet_proto::registry::NodeState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tonic::Code;

/// How conferences of lost nodes are restored. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restoration {
    /// Restores that may be under way at once.
    pub in_flight_max: usize,
    /// Pause before what could not be placed is tried again; doubled each time.
    pub retry_ms: u64,
    /// The longest such pause.
    pub retry_ms_max: u64,
    /// How long a node that did not take a conference is left out when that conference is placed again.
    pub exclude_ms: u64,
    /// How long a join waits for the restore before it is refused.
    pub join_wait_ms: u64,
}

impl Default for Restoration {
    fn default() -> Self {
        Restoration {
            in_flight_max: 64,
            retry_ms: 1_000,
            retry_ms_max: 10_000,
            exclude_ms: 10_000,
            join_wait_ms: 4_000,
        }
    }
}

/// A conference on its way to another node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Restore {
    /// Why it is to move, for people.
    pub(super) cause: String,
    pub(super) since_ms: u64,
    due_ms: u64,
    /// [`Restores::round`] when that was said.
    round: u64,
    attempts: u32,
    /// Highest epoch that may have left for the store or a node.
    epoch_max: u64,
    /// When it last went back to the node that it came from.
    back_ms: Option<u64>,
    /// It goes although its node lives.
    pub(super) leaves: bool,
    /// Nodes that did not take it: why, and until when they are left out.
    failed: BTreeMap<String, (String, u64)>,
    /// Joins that wait for it, and until when.
    pub(super) joins: VecDeque<(RequestId, Request, u64)>,
}

impl Restore {
    /// Nodes that did not take it a short while ago, and why.
    fn failed(&self, now_ms: u64) -> BTreeMap<String, String> {
        let failed = self.failed.iter().filter(|(_, (_, until_ms))| *until_ms > now_ms);
        failed.map(|(node, (why, _))| (node.clone(), why.clone())).collect()
    }
}

/// Restores, and what waits for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Restores {
    /// Conferences that may be under way.
    under_way: BTreeSet<String>,
    /// Nothing is due before.
    look_ms: u64,
    /// Raised when something may have become possible for those that could not be placed.
    round: u64,
    /// The last that was looked at, when there were too many for one step; what is due of those before; and
    /// whether to begin anew after the last of all.
    looked: Option<Waiting>,
    next_ms: u64,
    again: bool,
    /// Conferences that joins wait for, and until when; some may have gone on by now.
    joins: VecDeque<(u64, String)>,
}

impl Step<'_> {
    /// The conference's node does not run it, as far as is known.
    pub(super) fn pending_restore(&mut self, id: &str, reason: &str) {
        if !self.ours(id) {
            return;
        }
        let now = self.now.steady_ms;
        let Some(conference) = self.conference(id) else { return };
        conference.record.phase = Phase::PendingRestore;
        conference.record.reason = reason.to_owned();
        conference.nobody_is_heard();
        let restore = &mut conference.restore;
        (restore.cause, restore.since_ms, restore.due_ms) = (reason.to_owned(), now, now);
        restore.attempts = 0;
        // An operation in progress was made from the record before; its result must not bring that back.
        if let Some(operation) = &mut conference.operation
            && operation.next.phase == Phase::Running
        {
            operation.next.phase = Phase::PendingRestore;
            operation.next.reason = reason.to_owned();
        }
        let (number, node) = (conference.record.number.clone(), conference.record.node_id.clone());
        let waits = if conference.record.no_restore { NOT_RUN } else { "waits to be restored" };
        let about = About { conference: id, node: &node, ..About::default() };
        self.emit(Kind::PendingRestore, about, format!("conference {number} {waits}: {reason}"));
        self.flush(id);
        self.wait_for_restore();
    }

    /// It is to be restored as soon as possible.
    pub(super) fn wait_for_restore(&mut self) {
        let restores = &mut self.state.restores;
        restores.look_ms = 0;
        restores.again = restores.looked.is_some();
    }

    /// Something may have become possible: a node is ready, one is no longer held, room was given back.
    pub(super) fn look_for_restores(&mut self) {
        self.state.restores.round += 1;
        self.wait_for_restore();
    }

    /// Begins the restores that are due, those with participants first, then those that wait longest. Looks at
    /// a bounded number; the others follow with the next steps.
    pub(super) fn restore_due(&mut self) {
        let now = self.now.steady_ms;
        if now < self.state.restores.look_ms || self.state.store_fault.is_some() {
            return;
        }
        let after = self.state.restores.looked.take();
        let waiting = self.state.conferences.waiting(after.as_ref(), LOOKED_AT_MAX);
        let last = waiting.last().filter(|_| waiting.len() == LOOKED_AT_MAX).cloned();
        let patience_ms = self.patience_until_ms();
        let mut next_ms = if after.is_some() { self.state.restores.next_ms } else { u64::MAX };
        if now < patience_ms && !waiting.is_empty() {
            next_ms = next_ms.min(patience_ms);
        }
        self.state.restores.under_way.retain(|id| self.state.conferences.get(id).is_some_and(under_way));
        let (mut due, mut over) = (Vec::new(), Vec::new());
        for (_, _, id) in waiting {
            let conference = &self.state.conferences[&*id];
            // Who holds the node makes control look again.
            if !self.ours(&id) || self.stays(conference) {
                continue;
            }
            let restore = &conference.restore;
            if conference.record.no_restore {
                over.push(id);
            } else if restore.due_ms > now && restore.round == self.state.restores.round {
                next_ms = next_ms.min(restore.due_ms);
            } else {
                due.push(id);
            }
        }
        let restores = &mut self.state.restores;
        let go_on = last.is_some() || std::mem::take(&mut restores.again);
        (restores.looked, restores.next_ms) = (last, next_ms);
        restores.look_ms = if go_on { now } else { next_ms };
        self.restore_these(&due);
        for id in over {
            let cause = self.state.conferences[&*id].record.reason.clone();
            let _ = self.end(RequestId::NOBODY, &id, format!("{NOT_RESTORED}: {cause}"));
        }
    }

    /// Begins these restores, in order, as far as there may be more under way.
    fn restore_these(&mut self, due: &[Id]) {
        let now = self.now.steady_ms;
        if due.is_empty() {
            return;
        }
        let mut promised = self.state.conferences.promised();
        for id in due {
            if self.state.restores.under_way.len() >= self.state.options.restoration.in_flight_max {
                // The next one that is done makes control look again, from the first on.
                let restores = &mut self.state.restores;
                (restores.looked, restores.look_ms) = (None, restores.next_ms);
                break;
            }
            let conference = &self.state.conferences[&**id];
            let back = if self.goes_back(conference) { conference.record.node_id.as_str() } else { "" };
            match self.place_again(&conference.record, &promised, conference.restore.failed(now), back) {
                Ok(placed) => {
                    promised.entry(placed.node.clone()).or_default().add(&conference.record);
                    self.state.restores.under_way.insert(id.to_string());
                    self.restore_to(id, placed);
                }
                Err(refusal) => {
                    let due_ms = self.not_placed(id, &refusal);
                    let restores = &mut self.state.restores;
                    restores.look_ms = restores.look_ms.min(due_ms);
                    restores.next_ms = restores.next_ms.min(due_ms);
                }
            }
        }
    }

    /// Whether what is known of its node forbids to move it.
    fn stays(&self, conference: &Conference) -> bool {
        match self.state.nodes.get(&conference.record.node_id) {
            // After a start of control it may not have had the time to announce itself.
            None => self.now.steady_ms < self.patience_until_ms(),
            Some(node) => match node.state {
                NodeState::Lost => node.hold.is_some(),
                // It was asked what it runs, and it does not run this.
                NodeState::Ready | NodeState::Draining => false,
                NodeState::Isolated => !conference.restore.leaves,
                // What it says decides.
                _ => true,
            },
        }
    }

    /// Whether its node, which was started again and is ready, is the first choice: its address may have moved
    /// along with it. Not twice within a minute, in case it is the conference that ends the node.
    fn goes_back(&self, conference: &Conference) -> bool {
        let ready = self.state.nodes.get(&conference.record.node_id).is_some_and(reachable);
        let before_ms = conference.restore.back_ms;
        ready && before_ms.is_none_or(|before_ms| self.now.steady_ms >= before_ms + BACK_AGAIN_MS)
    }

    /// No node takes it: when to try again.
    fn not_placed(&mut self, id: &str, refusal: &Refusal) -> u64 {
        let (now, restoration) = (self.now.steady_ms, self.state.options.restoration);
        let round = self.state.restores.round;
        let Some(conference) = self.conference(id) else { return u64::MAX };
        let restore = &mut conference.restore;
        restore.round = round;
        let pause_ms = restoration.retry_ms << restore.attempts.min(10);
        restore.due_ms = now + pause_ms.min(restoration.retry_ms_max);
        restore.attempts += 1;
        let due_ms = restore.due_ms;
        let reason = format!("{}; {}", restore.cause, refusal.message);
        if conference.record.reason != reason {
            conference.record.reason = reason;
            self.flush(id);
        }
        due_ms
    }

    /// Assigns it to a node under a higher epoch: first in the store.
    pub(super) fn restore_to(&mut self, id: &str, placed: Placed) {
        let Now { unix_ms, steady_ms } = self.now;
        let Some(conference) = self.conference(id) else { return };
        let restore = &mut conference.restore;
        restore.epoch_max = restore.epoch_max.max(conference.record.epoch) + 1;
        let (from, epoch) = (conference.record.node_id.clone(), conference.record.epoch);
        if placed.node == from {
            restore.back_ms = Some(steady_ms);
        }
        let reason = format!("goes from node {from} to node {}: {}", placed.node, restore.cause);
        let mut next = Record {
            phase: Phase::Restoring,
            epoch: restore.epoch_max,
            revision: conference.record.revision + 1,
            reason,
            ..conference.record.clone()
        };
        next.assign(placed, unix_ms);
        self.start(id, next, Work::Restore { from, epoch });
    }

    /// A node that was given up, or was lost, still runs it, and no other one does.
    pub(super) fn restore_here(&mut self, id: &str, node: &str) {
        let Some(known) = self.state.nodes.get(node) else { return };
        let room = known.description.room.clone();
        if self.state.store_fault.is_none() {
            let why = "it still runs there".to_owned();
            self.restore_to(id, Placed { node: node.to_owned(), room, why });
        }
    }

    /// The new node runs it.
    pub(super) fn restored(&mut self, moid: &str, from: &str, epoch: u64) {
        let Some(conference) = self.conference(moid) else { return };
        conference.record.phase = Phase::Running;
        conference.record.reason.clear();
        conference.dirty = true;
        let (number, node) = (conference.record.number.clone(), conference.record.node_id.clone());
        let about = About { conference: moid, node: &node, ..About::default() };
        let message = format!("conference {number} runs on node {node}, restored from node {from}");
        self.emit(Kind::Running, about, message);
        self.tell_moved(moid, |_| true);
        if from != node && self.state.nodes.get(from).is_some_and(reachable) {
            // It came back meanwhile.
            self.delete_on(from, moid, epoch);
        }
        self.runs_again(moid);
    }

    /// It runs: joins that waited go on.
    pub(super) fn runs_again(&mut self, moid: &str) {
        let Some(conference) = self.conference(moid) else { return };
        let joins = std::mem::take(&mut conference.restore.joins);
        let Restore { epoch_max, back_ms, .. } = conference.restore;
        conference.restore = Restore { epoch_max, back_ms, ..Restore::default() };
        conference.queue.extend(joins.into_iter().map(|(id, join, _)| (id, join)));
        self.wait_for_restore();
    }

    /// Tells participants where to send from now on, those that `moved` says.
    pub(super) fn tell_moved(&mut self, moid: &str, moved: impl Fn(&str) -> bool) {
        let Some(conference) = self.state.conferences.get(moid) else { return };
        let record = &conference.record;
        for id in record.participants.keys().filter(|id| moved(id)) {
            let info = conference.participant_info(id);
            let to = info.iter().flat_map(|info| &info.media).map(|medium| medium.local.as_str());
            let to = to.filter(|local| !local.is_empty()).collect::<BTreeSet<_>>();
            let to = to.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("{id} of conference {} is to send to {to} from now on", record.number);
            self.effects.push(super::effect::Effect::Emit(Box::new(ConferenceEvent {
                sequence: 0,
                unix_ms: self.now.unix_ms,
                conference: moid.to_owned(),
                participant: id.clone(),
                node_id: record.node_id.clone(),
                kind: Kind::ParticipantMoved.into(),
                message,
                participant_info: info,
                user_domain: record.user_domain.clone(),
            })));
        }
    }

    /// The new node did not take it, as far as is known.
    pub(super) fn not_restored(&mut self, moid: &str, operation: Operation, failure: &NodeFailure) {
        let (now, restoration) = (self.now.steady_ms, self.state.options.restoration);
        let Some(conference) = self.conference(moid) else { return };
        let (version, cause) = (conference.record.version, conference.restore.cause.clone());
        conference.record = Record { version, phase: Phase::PendingRestore, reason: cause, ..operation.next };
        conference.dirty = true;
        let (node, epoch) = (conference.record.node_id.clone(), conference.record.epoch);
        let failed = (failure.to_string(), now + restoration.exclude_ms);
        conference.restore.failed.insert(node.clone(), failed);
        conference.restore.due_ms = now;
        // It may have heard all the same.
        self.delete_on(&node, moid, epoch);
        if let Some(node) = self.state.nodes.get_mut(&node) {
            node.avoid_until_ms = now + restoration.exclude_ms;
        }
        self.wait_for_restore();
    }

    /// What was asked of a lost node will not be answered.
    pub(super) fn fail_operations(&mut self, node: &str, why: &str) {
        let waiting = self.state.conferences.told_to(node).into_iter().filter_map(|conference| {
            let operation = conference.operation.as_ref()?;
            Some((conference.record.id.clone(), operation.token))
        });
        for (id, token) in waiting.collect::<Vec<_>>() {
            self.node_put_done(token, &id, Err(NodeFailure::Unreachable(format!("node {node} {why}"))));
        }
    }

    /// What waited for word about a node goes on.
    pub(super) fn kick(&mut self, node: &str) {
        let waiting = self.state.conferences.queued_on(node).into_iter();
        for id in waiting.map(|conference| conference.record.id.clone()).collect::<Vec<_>>() {
            self.next_request(&id);
        }
    }

    /// Joins that have waited long enough.
    pub(super) fn tick_joins(&mut self) {
        let now = self.now.steady_ms;
        let mut late = Vec::new();
        while self.state.restores.joins.front().is_some_and(|(until_ms, _)| *until_ms <= now) {
            let Some((_, id)) = self.state.restores.joins.pop_front() else { break };
            let Some(conference) = self.state.conferences.get_mut(&id) else { continue };
            let joins = &mut conference.restore.joins;
            while joins.front().is_some_and(|(_, _, until_ms)| *until_ms <= now) {
                late.extend(joins.pop_front().map(|(request, _, _)| (request, id.clone())));
            }
        }
        for (request, id) in late {
            let refusal = self.ask_again(&id);
            self.reply(request, Err(refusal));
        }
    }

    /// Why a join cannot be done now.
    fn ask_again(&self, id: &str) -> Refusal {
        let record = &self.state.conferences[id].record;
        let why = format!("{} waits to be restored: {}; ask again", record.number, record.reason);
        let refusal = Refusal::at(Code::Unavailable, "conference", why);
        refusal.retry_in(self.state.options.restoration.retry_ms)
    }

    /// A join that comes while its conference waits.
    pub(super) fn join_later(
        &mut self,
        request: RequestId,
        moid: &str,
        join: Request,
    ) -> Result<(), Refusal> {
        let until_ms = self.now.steady_ms + self.state.options.restoration.join_wait_ms;
        let conference = self.conference(moid).expect("the caller found it");
        if conference.restore.joins.len() >= JOINS_WAITING_MAX {
            return Err(self.ask_again(moid));
        }
        conference.restore.joins.push_back((request, join, until_ms));
        self.state.restores.joins.push_back((until_ms, moid.to_owned()));
        Ok(())
    }

    /// It ends instead: joins that waited are refused.
    pub(super) fn refuse_joins(&mut self, moid: &str) {
        let Some(conference) = self.conference(moid) else { return };
        let number = conference.record.number.clone();
        for (request, _, _) in std::mem::take(&mut conference.restore.joins) {
            let why = format!("{number} has ended");
            self.reply(request, Err(Refusal::at(Code::FailedPrecondition, "conference", why)));
        }
    }

    /// Whether a change is kept without telling the node: there is none, or it is isolated and somebody leaves.
    pub(super) fn kept_for_later(&self, operation: &Operation) -> bool {
        let isolated = |node: &Node| node.state == NodeState::Isolated;
        match &operation.work {
            Work::Change { joins: true, .. } => false,
            Work::Change { .. } => {
                operation.next.phase == Phase::PendingRestore
                    || self.state.nodes.get(&operation.next.node_id).is_some_and(isolated)
            }
            Work::Audio { .. } => operation.next.phase == Phase::PendingRestore,
            _ => false,
        }
    }

    /// Whether it is being found out whether the conference's node lives.
    pub(super) fn in_doubt(&self, moid: &str) -> bool {
        let Some(conference) = self.state.conferences.get(moid) else { return false };
        let node = self.state.nodes.get(&conference.record.node_id);
        conference.record.phase == Phase::Running && node.is_some_and(|node| node.state == NodeState::Suspect)
    }

    /// A restore could not be written.
    pub(super) fn restore_later(&mut self, moid: &str) {
        let due_ms = self.now.steady_ms + RETRY_MS;
        let round = self.state.restores.round;
        if let Some(conference) = self.conference(moid) {
            (conference.restore.due_ms, conference.restore.round) = (due_ms, round);
        }
        self.wait_for_restore();
    }
}

impl Conference {
    /// Where each participant sends.
    pub(super) fn addresses(&self) -> BTreeMap<String, Vec<String>> {
        let of = |id: &String| {
            let media = self.participant_info(id).map(|info| info.media).unwrap_or_default();
            (id.clone(), media.into_iter().map(|medium| medium.local).collect())
        };
        self.record.participants.keys().map(of).collect()
    }
}

fn under_way(conference: &Conference) -> bool {
    let operation = conference.operation.as_ref();
    operation.is_some_and(|operation| matches!(operation.work, Work::Restore { .. }))
}

/// Begin of the reason of a conference that ended since it was not to be restored.
pub const NOT_RESTORED: &str = "is not to be restored (no_restore), and no node runs it any more";
/// Of the same, until it is certain that no node runs it.
const NOT_RUN: &str = "is not to be restored (no_restore), and ends unless its node runs it";
/// Waiting conferences that one step looks at.
const LOOKED_AT_MAX: usize = 512;
/// Pause before a conference may go back to the same node once more.
const BACK_AGAIN_MS: u64 = 60_000;
/// Joins of one conference that may wait for its restore.
const JOINS_WAITING_MAX: usize = 1_000;
