//! Another end. Requests about one conference are taken one after another, so of two that move the end by
//! so much, both count; who gives the end that he knows is told when it is another one by now.

use super::recurrence::written;
use super::{DURATION_MAX_MS, Kind as What};
use crate::conference::model::{Phase, Record, RequestId};
use crate::conference::requests::Response;
use crate::conference::step::Step;
use crate::refusal::Refusal;
use motet_proto::conference::{ConferenceEventKind as Kind, ExtendRequest, extend_request::To};
use tonic::Code;

impl Step<'_> {
    /// Moves the end of a conference, or of all that a reservation still leads to.
    pub(in crate::conference) fn extend(
        &mut self,
        request: RequestId,
        moid: &str,
        extend: &ExtendRequest,
    ) -> Result<Option<Response>, Refusal> {
        let record = self.living(moid)?.record.clone();
        let ends = record.schedule.ends_unix_ms;
        if let Some(known) = extend.known_end_unix_ms.filter(|known| *known != ends) {
            let why = format!("{known} is not the end any more; it is {ends}");
            return Err(Refusal::at(Code::Aborted, "known_end_unix_ms", why));
        }
        let (field, end) = match extend.to {
            None => return Err(Refusal::invalid("by_ms", "or end_unix_ms is needed")),
            Some(To::ByMs(0)) => return Err(Refusal::invalid("by_ms", "0 changes nothing")),
            Some(To::ByMs(_)) if ends == 0 => {
                let why = format!("{} has no end; give end_unix_ms", record.label());
                return Err(Refusal::at(Code::FailedPrecondition, "by_ms", why));
            }
            Some(To::ByMs(by_ms)) => ("by_ms", ends.saturating_add(by_ms)),
            Some(To::EndUnixMs(end)) => ("end_unix_ms", end),
        };
        let mut next = record.clone();
        let told = match record.phase {
            Phase::Booked => {
                self.extend_booking(&mut next, field, end)?;
                let (what, number) = (record.schedule.kind.name(), &record.number);
                format!("conferences of {what} {number} last {} s now", next.schedule.duration_ms / 1000)
            }
            _ => {
                self.check_end(&record, field, end)?;
                next.schedule.ends_unix_ms = end;
                match end {
                    0 => format!("conference {} ends no more by time", record.number),
                    end => format!("conference {} ends at {} now", record.number, written(end)),
                }
            }
        };
        self.save(request, moid, next, vec![(Kind::EndChanged, told)])
    }

    fn extend_booking(&self, next: &mut Record, field: &str, end: i64) -> Result<(), Refusal> {
        let schedule = &mut next.schedule;
        if schedule.kind != What::Reserve || schedule.starts_unix_ms == 0 {
            let why = format!("{} {} has no end", schedule.kind.name(), next.number);
            return Err(Refusal::at(Code::FailedPrecondition, "conference", why));
        }
        let duration_ms = end.saturating_sub(schedule.starts_unix_ms);
        if !(1..=DURATION_MAX_MS).contains(&duration_ms) {
            let why =
                format!("must be after the start, {}, and within 366 days", written(schedule.starts_unix_ms));
            return Err(Refusal::invalid(field, why));
        }
        (schedule.duration_ms, schedule.ends_unix_ms) = (duration_ms, end);
        schedule.check_gaps(field)
    }

    /// Whether a conference that runs may end then.
    fn check_end(&self, record: &Record, field: &str, end: i64) -> Result<(), Refusal> {
        let reserved = record.schedule.kind == What::Reserve;
        if end == 0 && !reserved {
            return Ok(());
        }
        if end <= self.now.unix_ms {
            let why = format!("{} is over already; end the conference instead", written(end));
            return Err(Refusal::invalid(field, why));
        }
        if end - self.now.unix_ms > DURATION_MAX_MS {
            return Err(Refusal::invalid(field, format!("{} is more than 366 days ahead", written(end))));
        }
        let booking = self.state.conferences.get(&record.schedule.booking).filter(|_| reserved);
        let next = booking.map_or(0, |booking| {
            let starts = booking.record.schedule.starts();
            starts.into_iter().find(|start| *start > record.schedule.starts_unix_ms).unwrap_or_default()
        });
        if next != 0 && booking.is_some_and(|b| b.record.schedule.starts_unix_ms != 0) && end > next {
            let why = format!("the next conference of {} begins at {}", record.number, written(next));
            return Err(Refusal::at(Code::FailedPrecondition, field, why));
        }
        Ok(())
    }
}
