//! What is booked, and the conferences that come of it.

use super::recurrence::written;
use super::{Kind as What, Schedule};
use crate::conference::model::{Conference, Phase, Record, RequestId, Work};
use crate::conference::requests::{Request, Response};
use crate::conference::step::{About, RETRY_MS, Step};
use crate::refusal::Refusal;
use motet_proto::conference::ConferenceEventKind as Kind;
use sha2::{Digest, Sha256};
use tonic::Code;

/// A conference that begins later than this is said to be late.
const LATE_MS: i64 = 5_000;
/// Conferences that are told one by one when many were missed.
const MISSED_TOLD: usize = 10;

/// What is on control's mind about a conference or a booking, and is not worth being kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::conference) struct Watch {
    /// Nobody has been there since then.
    pub(in crate::conference) empty_since_ms: Option<u64>,
    /// When a reserved conference that could not begin is tried again.
    retry_at_ms: u64,
    /// Why it could not; empty: it did not fail.
    failed: String,
}

/// Numbers of its own for each conference of a booking, the same whoever makes it.
fn seed(booking: u64, id: &str) -> u64 {
    let digest = Sha256::new().chain_update(booking.to_be_bytes()).chain_update(id).finalize();
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte)).max(1)
}

impl Step<'_> {
    /// Puts a booking into the store.
    pub(in crate::conference) fn book(&mut self, request: RequestId, record: Record, number_chosen: bool) {
        let moid = record.id.clone();
        self.state.conferences.insert(moid.clone(), Conference::new(record.clone()));
        self.start(&moid, record, Work::Book { request, number_chosen });
    }

    /// The living conference of a booking.
    pub(in crate::conference) fn conference_of(&self, booking: &str) -> Option<&Conference> {
        // Their ids begin with that of the booking.
        let mut of = self.state.conferences.range(format!("{booking}."), format!("{booking}/"));
        of.find(|conference| {
            conference.record.schedule.booking == booking && conference.record.phase != Phase::Ended
        })
    }

    /// A conference of a booking, not placed yet.
    fn conference_from(&self, booking: &Record, id: String) -> Record {
        let schedule = &booking.schedule;
        let reserved = schedule.kind == What::Reserve;
        let ends_unix_ms = match (reserved, schedule.duration_ms) {
            (true, _) => schedule.ends_unix_ms,
            (false, 0) => 0,
            (false, duration_ms) => self.now.unix_ms + duration_ms,
        };
        Record {
            seed: seed(booking.seed, &id),
            id,
            created_unix_ms: self.now.unix_ms,
            phase: Phase::Creating,
            request_id: String::new(),
            reason: String::new(),
            epoch: 1,
            revision: 1,
            version: 1,
            applied: Vec::new(),
            schedule: Schedule {
                kind: schedule.kind,
                booking: booking.id.clone(),
                starts_unix_ms: if reserved { schedule.starts_unix_ms } else { 0 },
                ends_unix_ms,
                notice_ms: schedule.notice_ms,
                empty_ms: schedule.empty_ms,
                ..Schedule::default()
            },
            ..booking.clone()
        }
    }

    /// Whether a conference begins when somebody joins: of a virtual room, or of a reservation that may be opened
    /// by now.
    pub(in crate::conference) fn opens_by_joining(&self, moid: &str) -> bool {
        let record = &self.state.conferences[moid].record;
        let early_ms = i64::try_from(self.state.options.early_ms).unwrap_or(i64::MAX);
        let starts = record.schedule.starts_unix_ms;
        let reserved = record.phase == Phase::Booked && record.schedule.kind == What::Reserve;
        let soon = starts > self.now.unix_ms && starts.saturating_sub(early_ms) <= self.now.unix_ms;
        record.is_room() || reserved && soon
    }

    /// Somebody joins a virtual room that nobody is in: the conference begins, and then takes the join.
    pub(in crate::conference) fn open_room(&mut self, moid: &str, id: RequestId, request: Request) {
        let opened = self.open(moid, &request);
        match opened {
            Ok(conference) => {
                let conference = self.conference(&conference).expect("it has just begun");
                conference.queue.push_back((id, request));
            }
            Err(refusal) => self.reply(id, Err(refusal)),
        }
    }

    fn open(&mut self, moid: &str, request: &Request) -> Result<String, Refusal> {
        if let Request::Add { add, .. } = request {
            self.check_entry(moid, &add.participant, &add.role, &add.password)?;
        }
        let booking = self.found(moid)?.record.clone();
        let known = |id: &String| self.state.conferences.contains_key(id);
        let record = if booking.schedule.kind == What::Reserve {
            let id = format!("{moid}.{}", booking.schedule.starts_unix_ms / 1000);
            if known(&id) {
                // It was opened early, and has ended.
                return Err(self.only_booked(&booking));
            }
            self.admit(self.conference_from(&booking, id), &[])?
        } else {
            let mut ids = (booking.schedule.made + 1..).map(|n| format!("{moid}.{n}"));
            let id = ids.find(|id| !known(id)).unwrap_or_else(|| format!("{moid}.{}", u32::MAX));
            self.conference_from(&booking, id)
        };
        let id = record.id.clone();
        self.begin(RequestId::NOBODY, record, false)?;
        Ok(id)
    }

    /// Looks after a booking: what is due begins, what is over is said, and an old booking ends.
    pub(in crate::conference) fn tick_booking(&mut self, moid: &str) {
        let Some(booking) = self.conference(moid).filter(|booking| booking.operation.is_none()) else {
            return;
        };
        let record = booking.record.clone();
        match record.schedule.kind {
            What::Reserve if record.schedule.starts_unix_ms == 0 => self.finish(&record),
            What::Reserve if self.now.unix_ms >= record.schedule.starts_unix_ms => self.due(record),
            What::Virtual => self.count_rooms(record),
            _ => {}
        }
    }

    /// A reserved conference is to begin, has begun, or was missed.
    fn due(&mut self, booking: Record) {
        let schedule = &booking.schedule;
        let id = format!("{}.{}", booking.id, schedule.starts_unix_ms / 1000);
        if let Some(known) = self.state.conferences.get(&id) {
            // It began; the reservation goes on to the next one when a node runs it.
            if known.record.phase != Phase::Creating {
                let (mut next, done) = (booking.clone(), schedule.starts_unix_ms);
                next.schedule.made += 1;
                next.schedule.advance(done);
                self.advance(next, Vec::new());
            }
            return;
        }
        if self.now.unix_ms >= schedule.ends_unix_ms {
            return self.gone_by(booking);
        }
        let retry_at_ms = self.state.conferences[&booking.id].watch.retry_at_ms;
        if self.now.steady_ms < retry_at_ms || self.store_ready().is_err() {
            return;
        }
        // The one before goes on for a moment: its end is being written.
        if self.conference_of(&booking.id).is_some() {
            return;
        }
        let record = self.conference_from(&booking, id.clone());
        let admitted =
            self.admit(record, &[]).and_then(|record| self.begin(RequestId::NOBODY, record, false));
        if let Err(refusal) = admitted {
            return self.booking_failed(&booking.id, &refusal);
        }
        let late_ms = self.now.unix_ms - schedule.starts_unix_ms;
        let failed = std::mem::take(
            &mut self.state.conferences.get_mut(&booking.id).expect("it is booked").watch.failed,
        );
        if late_ms > LATE_MS && failed.is_empty() {
            let message = format!(
                "conference {} of {} begins {} s late: control or its store was away",
                booking.number,
                written(schedule.starts_unix_ms),
                late_ms / 1000
            );
            self.emit(Kind::Late, About { conference: &booking.id, ..About::default() }, message);
        }
    }

    /// A conference of a booking could not begin: it is tried again as long as it is its time.
    pub(in crate::conference) fn booking_failed(&mut self, booking: &str, refusal: &Refusal) {
        let (steady_ms, why) = (self.now.steady_ms, refusal.message.clone());
        let Some(known) = self.conference(booking) else { return };
        if known.record.schedule.kind != What::Reserve {
            return;
        }
        known.watch.retry_at_ms = steady_ms + RETRY_MS;
        let said = std::mem::replace(&mut known.watch.failed, why.clone());
        if said.is_empty() {
            let (number, starts) = (known.record.number.clone(), known.record.schedule.starts_unix_ms);
            let message =
                format!("conference {number} of {} cannot begin, and is tried again: {why}", written(starts));
            self.emit(Kind::Late, About { conference: booking, ..About::default() }, message);
        }
    }

    /// The time of one or more conferences has gone by.
    fn gone_by(&mut self, booking: Record) {
        let failed = self.state.conferences[&booking.id].watch.failed.clone();
        let why = if failed.is_empty() { "control or its store was away" } else { &failed };
        let mut next = booking.clone();
        let mut missed = Vec::new();
        while next.schedule.starts_unix_ms != 0 && next.schedule.ends_unix_ms <= self.now.unix_ms {
            let starts = next.schedule.starts_unix_ms;
            missed.push(starts);
            next.schedule.missed += 1;
            next.schedule.advance(starts);
        }
        let mut told: Vec<(Kind, String)> = missed
            .iter()
            .take(MISSED_TOLD)
            .map(|starts| {
                let message = format!(
                    "conference {} of {} did not take place: {why}",
                    booking.number,
                    written(*starts)
                );
                (Kind::Missed, message)
            })
            .collect();
        if let Some(more) = missed.len().checked_sub(MISSED_TOLD).filter(|more| *more > 0) {
            told.push((Kind::Missed, format!("and {more} more of conference {}: {why}", booking.number)));
        }
        self.advance(next, told);
    }

    /// A room counts its conferences, so that each gets an id of its own.
    fn count_rooms(&mut self, mut booking: Record) {
        let of = |n: u32| self.state.conferences.get(&format!("{}.{n}", booking.id));
        let began = |n: u32| of(n).is_some_and(|known| known.record.phase != Phase::Creating);
        let made = (booking.schedule.made + 1..).take_while(|n| began(*n)).last();
        if let Some(made) = made {
            booking.schedule.made = made;
            self.advance(booking, Vec::new());
        }
    }

    /// Writes what a booking has come to.
    fn advance(&mut self, next: Record, told: Vec<(Kind, String)>) {
        if self.store_ready().is_err() {
            return;
        }
        let moid = next.id.clone();
        self.conference(&moid).expect("it is booked").watch = Watch::default();
        self.start(&moid, next, Work::Save { request: RequestId::NOBODY, told });
    }

    /// Nothing comes of a reservation any more: it ends with its last conference.
    fn finish(&mut self, booking: &Record) {
        if self.conference_of(&booking.id).is_some() || self.store_ready().is_err() {
            return;
        }
        let reason = match booking.reason.as_str() {
            "" => format!("{} took place, {} did not", booking.schedule.made, booking.schedule.missed),
            said => said.to_owned(),
        };
        let _ = self.end(RequestId::NOBODY, &booking.id, reason);
    }

    /// Ends a booking. One that a conference runs of stays until that is over, since it has the number.
    pub(in crate::conference) fn cancel(
        &mut self,
        request: RequestId,
        booking: &str,
        reason: String,
    ) -> Result<Option<Response>, Refusal> {
        let record = self.found(booking)?.record.clone();
        if self.conference_of(booking).is_none() {
            return self.end(request, booking, reason);
        }
        let told = format!("no more conferences come of {} {}", record.schedule.kind.name(), record.label());
        let mut next = record;
        next.reason = if reason.is_empty() { "cancelled".to_owned() } else { reason };
        // As a reservation that nothing is left of, it ends with its conference.
        (next.schedule.kind, next.schedule.starts_unix_ms, next.schedule.ends_unix_ms) =
            (What::Reserve, 0, 0);
        self.start(booking, next, Work::Save { request, told: vec![(Kind::EndChanged, told)] });
        Ok(None)
    }

    /// Why nobody can join what is booked.
    pub(in crate::conference) fn only_booked(&self, record: &Record) -> Refusal {
        let schedule = &record.schedule;
        let why = match schedule.kind {
            What::Reserve if schedule.starts_unix_ms != 0 => {
                format!("{} begins at {}", record.number, written(schedule.starts_unix_ms))
            }
            What::Reserve => format!("{} takes place no more", record.number),
            What::Virtual => format!("nobody is in the room {}; join it", record.number),
            What::Templet | What::Instant => {
                format!("'{}' is a template; create a conference from it", record.label())
            }
        };
        Refusal::at(Code::FailedPrecondition, "conference", why)
    }

    /// A booking could not be written, or not as it was.
    pub(in crate::conference) fn not_booked(
        &mut self,
        request: RequestId,
        next: Record,
        number_chosen: bool,
        refusal: Refusal,
    ) {
        let other = (number_chosen && refusal.code == Code::AlreadyExists)
            .then(|| self.free_number(Some(&next.number), &next.user_domain).ok())
            .flatten();
        let moid = next.id.clone();
        if let Some(number) = other {
            let next = Record { number, ..next };
            self.conference(&moid).expect("it is being booked").record = next.clone();
            return self.start(&moid, next, Work::Book { request, number_chosen });
        }
        self.state.conferences.remove(&moid);
        // An answer that was lost may still have been a write; what it wrote must not stay.
        self.store_remove(&moid);
        self.reply(request, Err(refusal));
    }
}
