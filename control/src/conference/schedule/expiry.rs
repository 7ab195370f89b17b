//! Conferences that end by themselves: their time is over, or nobody is there.
//!
//! Neither the node nor the participants are asked: a conference whose node is away ends all the same, and
//! the node is told when it is there again.

use super::recurrence::written;
use crate::conference::model::{Phase, RequestId};
use crate::conference::step::{About, Step};
use motet_proto::conference::ConferenceEventKind as Kind;

impl Step<'_> {
    /// Tells that a conference ends soon, and ends it.
    pub(in crate::conference) fn tick_expiry(&mut self, moid: &str) {
        if self.store_ready().is_err() {
            return;
        }
        let (now_ms, unix_ms) = (self.now.steady_ms, self.now.unix_ms);
        let Some(conference) = self.conference(moid).filter(|conference| conference.operation.is_none())
        else {
            return;
        };
        let record = &mut conference.record;
        let empty = record.phase == Phase::Running && record.participants.is_empty();
        let since_ms = *conference.watch.empty_since_ms.get_or_insert(now_ms);
        if !empty {
            conference.watch.empty_since_ms = None;
        }
        let schedule = &mut record.schedule;
        let ends = schedule.ends_unix_ms;
        if ends != 0 && unix_ms >= ends {
            let reason = format!("its time was over at {}", written(ends));
            let _ = self.end(RequestId::NOBODY, moid, reason);
        } else if empty && schedule.empty_ms > 0 && now_ms - since_ms >= schedule.empty_ms {
            let reason = format!("nobody was there for {} s", schedule.empty_ms / 1000);
            let _ = self.end(RequestId::NOBODY, moid, reason);
        } else if ends != 0 && schedule.noticed_unix_ms != ends && unix_ms >= ends - schedule.notice_ms as i64
        {
            // Kept, so that it is not told again by who starts anew; a crash at this point tells it twice.
            schedule.noticed_unix_ms = ends;
            let (number, node) = (record.number.clone(), record.node_id.clone());
            let left_s = (ends - unix_ms).div_euclid(1000);
            let message = format!("conference {number} ends at {}, in {left_s} s", written(ends));
            self.emit(Kind::EndsSoon, About { conference: moid, node: &node, ..About::default() }, message);
            self.flush(moid);
        }
    }
}
