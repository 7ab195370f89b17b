//! Conferences that are looked at since they have changed, or since their time has come.
//!
//! What a conference waits for is a change of its own, or a time; [`Step::next_visit`] says which time. What it
//! waits for beyond that - a node that is lost comes back, the store can be used again - is looked for at short
//! intervals, and every conference is looked at once in a while in any case.

use super::model::{Conference, Phase};
use super::schedule::Kind;
use super::step::Step;
use crate::placement::reachable;

/// Conferences that have changed, and those whose time has come, that one step looks at.
const VISITS_MAX: usize = 256;
/// Each is looked at so often, whatever it waits for.
const IDLE_MS: u64 = 30_000;
/// What is overdue is tried again after so long.
const OVERDUE_MS: u64 = 200;
/// How long what happened may wait for the next write of its conference.
const NOTES_MS: u64 = 1_000;
/// When the machine's clock has moved by so much against the one that never jumps, times are worked out anew.
const CLOCK_MOVED_MS: i64 = 1_000;

impl Step<'_> {
    /// Looks at those that are due.
    pub(super) fn tick_conferences(&mut self) {
        let now_ms = self.now.steady_ms;
        let offset_ms = self.now.unix_ms.saturating_sub(now_ms as i64);
        let known_ms = self.state.agenda_clock_ms.get_or_insert(offset_ms);
        if known_ms.abs_diff(offset_ms) >= CLOCK_MOVED_MS.unsigned_abs() {
            *known_ms = offset_ms;
            self.state.conferences.look_at_all();
        }
        for id in self.state.conferences.take_due(now_ms, VISITS_MAX) {
            self.visit(&id);
            let due_ms = self.next_visit(&id);
            self.state.conferences.look_again(&id, due_ms);
        }
    }

    fn visit(&mut self, id: &str) {
        if !self.ours(id) {
            return;
        }
        self.end_waits(id);
        let (now_ms, tombstone_ms) = (self.now.steady_ms, self.state.options.tombstone_ms.unsigned_abs());
        let Some(conference) = self.conference(id) else { return };
        let idle = conference.operation.is_none();
        let ended = conference.record.phase == Phase::Ended;
        // The wall clock may jump, and a node that is lost may still run it.
        let since = if ended { *conference.ended_ms.get_or_insert(now_ms) } else { now_ms };
        if ended && idle && now_ms >= since + tombstone_ms && !self.on_lost_node(id) {
            self.state.conferences.remove(id);
            return self.store_remove(id);
        }
        if idle && self.state.store_fault.is_none() {
            self.end_again(id);
            self.confirm_again(id);
        }
        let Some(conference) = self.conference(id) else { return };
        if conference.operation.is_none() && conference.repair && now_ms >= conference.repair_at_ms {
            self.repair(id);
        }
        match self.conference(id).map(|conference| conference.record.phase) {
            Some(Phase::Booked) => self.tick_booking(id),
            Some(Phase::Ended) | None => {}
            Some(_) => self.tick_expiry(id),
        }
        let unwritten = |conference: &mut Conference| {
            conference.dirty || conference.noted_ms.is_some_and(|noted_ms| now_ms >= noted_ms + NOTES_MS)
        };
        if self.conference(id).is_some_and(unwritten) {
            self.flush(id);
        }
    }

    fn on_lost_node(&self, id: &str) -> bool {
        let node =
            self.state.conferences.get(id).and_then(|known| self.state.nodes.get(&known.record.node_id));
        node.is_some_and(|node| !reachable(node))
    }

    /// When a conference that was just looked at is to be looked at again, unless it changes before.
    fn next_visit(&self, id: &str) -> u64 {
        let now_ms = self.now.steady_ms;
        let Some(conference) = self.state.conferences.get(id).filter(|_| self.ours(id)) else {
            return now_ms + IDLE_MS;
        };
        let mut due_ms = now_ms + IDLE_MS;
        let mut at = |time_ms: u64| {
            let overdue = time_ms <= now_ms;
            due_ms = due_ms.min(if overdue { now_ms + OVERDUE_MS } else { time_ms });
        };
        let tombstone_ms = self.state.options.tombstone_ms.unsigned_abs();
        if let Some(ended_ms) = conference.ended_ms {
            at(ended_ms + tombstone_ms);
        }
        if let Some(noted_ms) = conference.noted_ms {
            at(noted_ms + NOTES_MS);
        }
        let unconfirmed = conference.record.phase == Phase::Creating && conference.operation.is_none();
        if conference.ending.is_some() || conference.dirty || unconfirmed {
            at(now_ms);
        }
        if conference.repair {
            at(conference.repair_at_ms);
        }
        if let Some(deadline_ms) = conference.deadline_ms(&self.state.options) {
            at(deadline_ms);
        }
        for unix_ms in conference.times() {
            // Times that are worked out long before are worked out again on the way.
            let left_ms = unix_ms.saturating_sub(self.now.unix_ms).max(0).unsigned_abs();
            at(now_ms.saturating_add(left_ms));
        }
        if let (Some(since_ms), empty_ms @ 1..) =
            (conference.watch.empty_since_ms, conference.record.schedule.empty_ms)
        {
            at(since_ms.saturating_add(empty_ms));
        }
        due_ms
    }
}

impl Conference {
    /// Times at which something is to be done, in milliseconds since 1970.
    fn times(&self) -> impl Iterator<Item = i64> {
        let schedule = &self.record.schedule;
        let ends = Some(schedule.ends_unix_ms).filter(|ends| *ends != 0);
        let (first, second) = match self.record.phase {
            Phase::Booked if schedule.kind == Kind::Reserve => (Some(schedule.starts_unix_ms), None),
            Phase::Booked | Phase::Ended => (None, None),
            _ => {
                let told = ends == Some(schedule.noticed_unix_ms);
                (ends.filter(|_| !told).map(|ends| ends - schedule.notice_ms as i64), ends)
            }
        };
        first.into_iter().chain(second)
    }
}
