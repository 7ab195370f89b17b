//! How long a conference waits for others, and what happens when that is over.
//!
//! | state | waits for | at most | then |
//! | --- | --- | --- | --- |
//! | creating | the store, and nodes in turn | 10 s | who asked is refused (DEADLINE_EXCEEDED); it is removed from the store, and from a node where it turns up |
//! | running | its end, or somebody to come | as agreed | it ends |
//! | pending-restore | a node with room | a day (`pending_ms_max`) | it ends, and the reason says why it could not be restored; with `no_restore`: until no node runs it for certain |
//! | restoring | the new node | 5 s | it waits again; that node is left out for a while |
//! | ending | the store | 10 s | who asked is told (UNAVAILABLE); it goes on until the store has it |
//! | ended | copies to turn up | 10 minutes (`tombstone_ms`) | it is forgotten |
//!
//! A node that was told something else has as long as for a restore; then the change counts as not done.
//! What is booked has its own times ([`super::schedule`]).

use super::model::{Conference, Phase, RequestId, Work};
use super::options::Options;
use super::step::Step;
use crate::nodes::NodeFailure;
use crate::refusal::Refusal;
use tonic::Code;

/// From a request to create a conference until it is created.
pub(super) const CREATING_MS: u64 = 10_000;
/// How long a node has to do what it is told.
pub(super) const NODE_MS: u64 = 5_000;
/// How long who ends a conference waits for the store.
pub(super) const ENDING_MS: u64 = 10_000;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Creating,
    Node,
    Ending,
    Restore,
}

impl Conference {
    /// What it waits for, and until when.
    fn waits(&self, options: &Options) -> [Option<(u64, Wait)>; 2] {
        let Some(operation) = &self.operation else {
            let waits = self.record.phase == Phase::PendingRestore && self.ending.is_none();
            let until_ms = self.restore.since_ms.saturating_add(options.pending_ms_max);
            return [waits.then_some((until_ms, Wait::Restore)), None];
        };
        let of_work = match &operation.work {
            Work::Create { .. } => Some((self.begun_ms + CREATING_MS, Wait::Creating)),
            Work::Confirm { request } if *request != RequestId::NOBODY => {
                Some((self.begun_ms + CREATING_MS, Wait::Creating))
            }
            Work::End { request } if *request != RequestId::NOBODY => {
                Some((operation.since_ms + ENDING_MS, Wait::Ending))
            }
            _ => None,
        };
        let of_node = operation.at_node.then_some((operation.since_ms + NODE_MS, Wait::Node));
        [of_work, of_node]
    }

    /// When the next wait is over.
    pub(super) fn deadline_ms(&self, options: &Options) -> Option<u64> {
        self.waits(options).into_iter().flatten().map(|(until_ms, _)| until_ms).min()
    }

    /// Whether it is to end, and the store has not said that it has.
    pub(super) fn is_ending(&self) -> bool {
        let ends = |work: &Work| matches!(work, Work::End { .. });
        self.ending.is_some() || self.operation.as_ref().is_some_and(|operation| ends(&operation.work))
    }
}

impl Step<'_> {
    /// Ends what a conference has waited for for too long.
    pub(super) fn end_waits(&mut self, id: &str) {
        let Some(conference) = self.state.conferences.get(id) else { return };
        let waits = conference.waits(&self.state.options).into_iter().flatten();
        let over = waits.filter(|(until_ms, _)| *until_ms <= self.now.steady_ms).map(|(_, wait)| wait);
        match over.min_by_key(|wait| *wait as u8) {
            Some(Wait::Creating) => self.not_created_in_time(id),
            Some(Wait::Node) => self.node_is_silent(id),
            Some(Wait::Ending) => self.not_ended_in_time(id),
            Some(Wait::Restore) => self.never_restored(id),
            None => {}
        }
    }

    fn not_created_in_time(&mut self, id: &str) {
        let store = self.state.options.store.clone();
        let Some(conference) = self.conference(id) else { return };
        if let Some(Work::Confirm { request }) = conference.operation.as_mut().map(|known| &mut known.work) {
            // The store may hold that it runs, and others may have said so: it is written again until it does.
            let request = std::mem::replace(request, RequestId::NOBODY);
            let why = format!("the store {store} has not answered for {} s; ask again", CREATING_MS / 1000);
            return self.reply(request, Err(Refusal::plain(Code::DeadlineExceeded, why)));
        }
        let Some(operation) = conference.operation.take() else { return };
        let node = operation.next.node_id;
        // Whoever was told may have done it.
        self.delete_on(&node, id, operation.next.epoch);
        let seconds = CREATING_MS / 1000;
        let waited = if operation.at_node { format!("node {node}") } else { format!("the store {store}") };
        let why = format!("it was not created within {seconds} s: {waited} has not answered; ask again");
        let request = operation.work.request().unwrap_or(RequestId::NOBODY);
        self.forget(id, request, Refusal::plain(Code::DeadlineExceeded, why));
    }

    fn node_is_silent(&mut self, id: &str) {
        let Some(operation) = self.state.conferences.get(id).and_then(|known| known.operation.as_ref())
        else {
            return;
        };
        let (token, node) = (operation.token, operation.next.node_id.as_str());
        let why = format!("node {node} has not answered for {} s", NODE_MS / 1000);
        self.node_put_done(token, id, Err(NodeFailure::Unreachable(why)));
    }

    fn not_ended_in_time(&mut self, id: &str) {
        let store = self.state.options.store.clone();
        let Some(operation) = self.conference(id).and_then(|conference| conference.operation.as_mut()) else {
            return;
        };
        let nobody = Work::End { request: RequestId::NOBODY };
        let Some(request) = std::mem::replace(&mut operation.work, nobody).request() else { return };
        let seconds = ENDING_MS / 1000;
        let why =
            format!("the store {store} has not answered for {seconds} s; the conference is being ended");
        self.reply(request, Err(Refusal::plain(Code::Unavailable, why)));
    }

    fn never_restored(&mut self, id: &str) {
        if self.store_ready().is_err() {
            return;
        }
        let hours = self.state.options.pending_ms_max as f64 / 3_600_000.0;
        let Some(conference) = self.conference(id) else { return };
        let reason = format!("could not be restored for {hours:.1} h: {}", conference.record.reason);
        let _ = self.end(RequestId::NOBODY, id, reason);
    }
}
