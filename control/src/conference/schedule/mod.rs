//! When conferences begin and end: what is kept of it, and how a request for it is checked.
//!
//! A reservation, a template or a virtual room is a record in phase `booked`: it has no node, and keeps the
//! number. Each conference of it is a record of its own whose id is that of the booking and a running number
//! or its start, so that the store takes each one once, whoever writes it. [`bookings`] makes them,
//! [`expiry`] ends them.

mod bookings;
mod expiry;
mod extend;
pub(crate) mod recurrence;

pub(super) use bookings::Watch;

use super::model::{Phase, Record};
use crate::refusal::Refusal;
use motet_proto::conference::{self as wire, ConferenceType};
use serde::{Deserialize, Serialize};

/// How long a virtual room may be empty, unless told otherwise.
const ROOM_EMPTY_MS: u64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// The longest conference.
const DURATION_MAX_MS: i64 = 366 * DAY_MS;
/// The latest start of a reservation, from now.
const AHEAD_MAX_MS: i64 = 10 * 366 * DAY_MS;

/// What was created: `EConfType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs at once.
    #[default]
    Instant,
    /// Runs when it is time.
    Reserve,
    /// Others are created from it.
    Templet,
    /// Runs when somebody comes.
    Virtual,
}

impl Kind {
    fn check(given: i32) -> Result<Kind, Refusal> {
        match ConferenceType::try_from(given) {
            Ok(ConferenceType::Unspecified | ConferenceType::Instant) => Ok(Kind::Instant),
            Ok(ConferenceType::Reserve) => Ok(Kind::Reserve),
            Ok(ConferenceType::Templet) => Ok(Kind::Templet),
            Ok(ConferenceType::Virtual) => Ok(Kind::Virtual),
            Err(_) => Err(Refusal::invalid("type", format!("{given} is not known"))),
        }
    }

    /// As on the wire.
    pub fn to_wire(self) -> ConferenceType {
        match self {
            Kind::Instant => ConferenceType::Instant,
            Kind::Reserve => ConferenceType::Reserve,
            Kind::Templet => ConferenceType::Templet,
            Kind::Virtual => ConferenceType::Virtual,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Instant => "conference",
            Kind::Reserve => "reservation",
            Kind::Templet => "template",
            Kind::Virtual => "virtual room",
        }
    }
}

/// When a conference begins and ends. Times in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schedule {
    /// What was created.
    pub kind: Kind,
    /// Id of the reservation or room that it is of.
    pub booking: String,
    /// When it was to begin; of a reservation: when the next one is to, 0 when none is left. 0: at once.
    pub starts_unix_ms: i64,
    /// When it ends, or the next one of a reservation; 0: no end.
    pub ends_unix_ms: i64,
    /// Its end is told so long before.
    pub notice_ms: u64,
    /// The end that was told.
    pub noticed_unix_ms: i64,
    /// It ends when nobody has been there for so long; 0: it does not.
    pub empty_ms: u64,
    /// How long each one of a booking lasts; 0: as long as it likes.
    pub duration_ms: i64,
    /// Start of the first one of a reservation.
    pub first_unix_ms: i64,
    /// RFC 5545 rule of a reservation; empty: once.
    pub rule: String,
    /// Whose clock the rule goes by.
    pub time_zone: String,
    /// Conferences that came of it.
    pub made: u32,
    /// Conferences that did not.
    pub missed: u32,
}

impl Schedule {
    /// Checks when a conference is to begin and end; refusals name the field of `CreateRequest`.
    pub(super) fn check(
        create: &wire::CreateRequest,
        now_unix_ms: i64,
        notice_ms: u64,
    ) -> Result<Schedule, Refusal> {
        let kind = Kind::check(create.r#type)?;
        let notice_ms = create.notice_ms.map_or(notice_ms, u64::from);
        if notice_ms > DAY_MS as u64 {
            return Err(Refusal::invalid("notice_ms", format!("{notice_ms} ms is more than a day")));
        }
        let empty_ms = match (create.empty_ms, kind) {
            (0, Kind::Virtual) => ROOM_EMPTY_MS,
            (given @ (0 | 1_000..=86_400_000), _) => u64::from(given),
            (given, _) => {
                let why = format!("{given} ms; must be 1000 to 86400000, or 0");
                return Err(Refusal::invalid("empty_ms", why));
            }
        };
        if create.recurrence.is_some() && kind != Kind::Reserve {
            return Err(Refusal::invalid("recurrence", "needs the type RESERVE"));
        }
        let starts_unix_ms = start(kind, create.start_unix_ms, now_unix_ms)?;
        let from = if starts_unix_ms == 0 { now_unix_ms } else { starts_unix_ms };
        let duration_ms = duration(kind, create, from)?;
        let recurrence = create.recurrence.clone().unwrap_or_default();
        let mut schedule = Schedule {
            kind,
            starts_unix_ms,
            notice_ms,
            empty_ms,
            duration_ms,
            first_unix_ms: starts_unix_ms,
            rule: recurrence.rule,
            time_zone: recurrence.time_zone,
            ..Schedule::default()
        };
        match kind {
            Kind::Instant if duration_ms > 0 => schedule.ends_unix_ms = now_unix_ms + duration_ms,
            Kind::Reserve => {
                schedule.ends_unix_ms = starts_unix_ms + duration_ms;
                schedule.check_gaps("end_unix_ms")?;
            }
            _ => {}
        }
        Ok(schedule)
    }

    /// All starts of a reservation. The rule was checked when it was made.
    fn starts(&self) -> Vec<i64> {
        recurrence::occurrences(&self.rule, &self.time_zone, self.first_unix_ms).unwrap_or_default()
    }

    /// Each conference must be over before the next begins: they have one number.
    fn check_gaps(&self, field: &str) -> Result<(), Refusal> {
        let starts = recurrence::occurrences(&self.rule, &self.time_zone, self.first_unix_ms)?;
        let gap = starts.windows(2).map(|pair| pair[1] - pair[0]).min();
        match gap {
            Some(gap) if gap < self.duration_ms => {
                let why = format!(
                    "it lasts {} s, and the next one begins after {} s",
                    self.duration_ms / 1000,
                    gap / 1000
                );
                Err(Refusal::invalid(field, why))
            }
            _ => Ok(()),
        }
    }

    /// Goes on to the first start after `done_unix_ms`. False: none is left.
    fn advance(&mut self, done_unix_ms: i64) -> bool {
        let next = self.starts().into_iter().find(|start| *start > done_unix_ms);
        self.starts_unix_ms = next.unwrap_or_default();
        self.ends_unix_ms = next.map(|start| start + self.duration_ms).unwrap_or_default();
        next.is_some()
    }
}

/// When it is to begin; 0: at once, or when somebody comes.
fn start(kind: Kind, given: i64, now_unix_ms: i64) -> Result<i64, Refusal> {
    let bad = |why: String| Err(Refusal::invalid("start_unix_ms", why));
    match (kind, given) {
        (Kind::Reserve, 0) => bad("a reservation needs one".to_owned()),
        (Kind::Reserve, given) if given <= now_unix_ms => {
            bad(format!("{} is over already", recurrence::written(given)))
        }
        (Kind::Reserve, given) if given - now_unix_ms > AHEAD_MAX_MS => {
            bad(format!("{} is more than ten years ahead", recurrence::written(given)))
        }
        (Kind::Reserve, given) => Ok(given),
        (_, 0) => Ok(0),
        _ => bad(format!("a {} has none; the type RESERVE has", kind.name())),
    }
}

/// How long each conference lasts, in milliseconds; 0: no end is set.
fn duration(kind: Kind, create: &wire::CreateRequest, from_unix_ms: i64) -> Result<i64, Refusal> {
    let (end, given) = (create.end_unix_ms, create.duration_ms);
    match (end, given) {
        (0, 0) if kind == Kind::Reserve => {
            Err(Refusal::invalid("end_unix_ms", "or duration_ms is needed: a reservation has an end"))
        }
        (0, 0) => Ok(0),
        (0, given) if given <= DURATION_MAX_MS as u64 => Ok(given as i64),
        (0, given) => Err(Refusal::invalid("duration_ms", format!("{given} ms is more than 366 days"))),
        (_, 1..) => Err(Refusal::invalid("duration_ms", "and end_unix_ms do not go together")),
        (_, 0) if matches!(kind, Kind::Templet | Kind::Virtual) => {
            Err(Refusal::invalid("end_unix_ms", format!("a {} has none; give duration_ms", kind.name())))
        }
        (end, 0) => match end.saturating_sub(from_unix_ms) {
            ..=0 => {
                let why = format!("{} is not after the start", recurrence::written(end));
                Err(Refusal::invalid("end_unix_ms", why))
            }
            long if long > DURATION_MAX_MS => {
                Err(Refusal::invalid("end_unix_ms", "is more than 366 days after the start"))
            }
            long => Ok(long),
        },
    }
}

impl Record {
    /// As applications see what is booked. None: it is a conference.
    pub(super) fn booking_info(&self) -> Option<wire::BookingInfo> {
        let schedule = &self.schedule;
        let booked =
            self.phase == Phase::Booked || (schedule.booking.is_empty() && schedule.kind != Kind::Instant);
        let rule = (!schedule.rule.is_empty())
            .then(|| wire::Recurrence { rule: schedule.rule.clone(), time_zone: schedule.time_zone.clone() });
        booked.then(|| wire::BookingInfo {
            recurrence: rule,
            duration_ms: schedule.duration_ms.unsigned_abs(),
            made: schedule.made,
            missed: schedule.missed,
            running: String::new(),
        })
    }

    /// What people call it: its number, or its name where it has none.
    pub(super) fn label(&self) -> &str {
        if self.number.is_empty() { &self.name } else { &self.number }
    }
}
