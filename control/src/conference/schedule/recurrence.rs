//! When a reservation takes place: a part of RFC 5545 section 3.3.10, on the clock of a time zone.
//!
//! Of its own, since the crate for it, `rrule` 0.14, has had no release since the spring of 2025 and has a fork
//! for its mistakes. The calendar and the zones are those of `jiff`, with the time zone data of the build, so
//! that every control process computes the same.

use crate::refusal::Refusal;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Conferences that a reservation may lead to.
pub const OCCURRENCES_MAX: usize = 1_000;
/// A rule that has not come to its end after so many years is refused.
const YEARS_MAX: i32 = 20;

/// A checked rule.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    every: Every,
    interval: i32,
    /// Conferences in all; none: until then.
    count: Option<usize>,
    until: Option<Until>,
    /// Days of the week; with months also the how-manieth, from the end when negative, 0: each.
    by_day: Vec<(i8, Weekday)>,
    /// Days of the month, from the end when negative.
    by_month_day: Vec<i8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Every {
    Day,
    Week,
    Month,
}

/// Both inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    Moment(Timestamp),
    /// On the clock of the time zone.
    Day(Date),
}

/// All times at which a reservation takes place, in milliseconds since 1970, the first one included. An empty
/// rule: once. Refusals name `recurrence.rule`, `recurrence.time_zone` or `start_unix_ms`.
pub fn occurrences(rule: &str, time_zone: &str, start_unix_ms: i64) -> Result<Vec<i64>, Refusal> {
    let zone = zone(time_zone)?;
    let start = Timestamp::from_millisecond(start_unix_ms)
        .map_err(|_| Refusal::invalid("start_unix_ms", format!("{start_unix_ms} is beyond the calendar")))?;
    if rule.is_empty() {
        return Ok(vec![start_unix_ms]);
    }
    let rule = Rule::parse(rule).map_err(|why| Refusal::invalid("recurrence.rule", why))?;
    let first = zone.to_datetime(start);
    let starts = rule.expand(&zone, first, start)?;
    if starts.first() != Some(&start_unix_ms) {
        let why = format!("{first} ({:?}) is not a day of the rule", first.date().weekday());
        return Err(Refusal::invalid("start_unix_ms", why));
    }
    Ok(starts)
}

/// The time zone of this name; empty: UTC.
fn zone(name: &str) -> Result<TimeZone, Refusal> {
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| {
        let why = format!("'{name}' is no time zone; use a name such as Europe/Berlin");
        Refusal::invalid("recurrence.time_zone", why)
    })
}

/// A moment as people read it: in UTC, to the second.
pub(crate) fn written(unix_ms: i64) -> String {
    let whole = Timestamp::from_second(unix_ms.div_euclid(1000));
    whole.map_or_else(|_| format!("{unix_ms} ms"), |moment| moment.to_string())
}

impl Rule {
    fn parse(text: &str) -> Result<Rule, String> {
        let mut every = None;
        let mut rule = Rule {
            every: Every::Day,
            interval: 1,
            count: None,
            until: None,
            by_day: Vec::new(),
            by_month_day: Vec::new(),
        };
        let mut seen = Vec::new();
        for part in text.strip_prefix("RRULE:").unwrap_or(text).split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("'{part}' is not NAME=VALUE"))?;
            if seen.contains(&name) {
                return Err(format!("{name} comes twice"));
            }
            seen.push(name);
            match name {
                "FREQ" => {
                    every = Some(match value {
                        "DAILY" => Every::Day,
                        "WEEKLY" => Every::Week,
                        "MONTHLY" => Every::Month,
                        _ => return Err(format!("FREQ={value} must be DAILY, WEEKLY or MONTHLY")),
                    });
                }
                "INTERVAL" => rule.interval = number(name, value, 1, 366)?,
                "COUNT" => rule.count = Some(number(name, value, 1, OCCURRENCES_MAX as i32)? as usize),
                "UNTIL" => rule.until = Some(until(value)?),
                "BYDAY" => rule.by_day = list(value, day)?,
                "BYMONTHDAY" => rule.by_month_day = list(value, month_day)?,
                _ => return Err(format!("{name} is not understood; see the comment of Recurrence")),
            }
        }
        rule.every = every.ok_or("FREQ is missing")?;
        rule.check()?;
        Ok(rule)
    }

    /// What does not go together.
    fn check(&self) -> Result<(), String> {
        let nth = self.by_day.iter().any(|(nth, _)| *nth != 0);
        match (self.count, self.until) {
            (None, None) => Err("COUNT or UNTIL is needed".to_owned()),
            (Some(_), Some(_)) => Err("COUNT and UNTIL do not go together".to_owned()),
            _ if nth && self.every != Every::Month => {
                Err("BYDAY with a number needs FREQ=MONTHLY".to_owned())
            }
            _ if !self.by_month_day.is_empty() && self.every != Every::Month => {
                Err("BYMONTHDAY needs FREQ=MONTHLY".to_owned())
            }
            _ if !self.by_month_day.is_empty() && !self.by_day.is_empty() => {
                Err("BYDAY and BYMONTHDAY do not go together".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Every time from `start` to the end of the rule.
    fn expand(&self, zone: &TimeZone, first: DateTime, start: Timestamp) -> Result<Vec<i64>, Refusal> {
        let beyond = || Refusal::invalid("start_unix_ms", "is beyond the calendar");
        let last_day = first.date().checked_add(YEARS_MAX.years()).map_err(|_| beyond())?;
        let endless = || {
            let why = format!("does not come to its end within {YEARS_MAX} years");
            Refusal::invalid("recurrence.rule", why)
        };
        let mut starts = Vec::new();
        for period in 0.. {
            let Some(days) = self.days(first.date(), period) else { break };
            for day in days {
                if day < first.date() {
                    continue;
                }
                // A time that a clock leaves out is read as if it had not been moved yet, and of one that comes
                // twice the first is meant: RFC 5545 section 3.3.5.
                let moment = zone.to_ambiguous_timestamp(day.to_datetime(first.time())).compatible();
                let moment = moment.map_err(|_| beyond())?;
                let over = match self.until {
                    Some(Until::Moment(until)) => moment > until,
                    Some(Until::Day(until)) => day > until,
                    None => false,
                };
                if over || self.count.is_some_and(|count| starts.len() >= count) {
                    return Ok(starts);
                }
                if day > last_day {
                    return Err(endless());
                }
                if starts.len() == OCCURRENCES_MAX {
                    let why = format!("leads to more than {OCCURRENCES_MAX} conferences");
                    return Err(Refusal::invalid("recurrence.rule", why));
                }
                if moment >= start {
                    starts.push(moment.as_millisecond());
                }
            }
            if self.count.is_some_and(|count| starts.len() >= count) {
                return Ok(starts);
            }
            if self.first_of(first.date(), period).is_none_or(|day| day > last_day) {
                break;
            }
        }
        Err(endless())
    }

    /// The first day of the how-manieth day, week or month of the rule.
    fn first_of(&self, first: Date, period: i32) -> Option<Date> {
        let many = period.checked_mul(self.interval)?;
        let (from, span): (Date, Span) = match self.every {
            Every::Day => (first, Span::new().try_days(many).ok()?),
            Every::Week => {
                let since_monday = first.weekday().to_monday_zero_offset();
                (first.checked_sub(since_monday.days()).ok()?, Span::new().try_weeks(many).ok()?)
            }
            Every::Month => (first.first_of_month(), Span::new().try_months(many).ok()?),
        };
        from.checked_add(span).ok()
    }

    /// The days of that day, week or month, in order. None: the calendar is over.
    fn days(&self, first: Date, period: i32) -> Option<Vec<Date>> {
        let from = self.first_of(first, period)?;
        let fits = |day: Date| self.by_day.iter().any(|(_, weekday)| *weekday == day.weekday());
        let mut days: Vec<Date> = match self.every {
            Every::Day => vec![from].into_iter().filter(|day| self.by_day.is_empty() || fits(*day)).collect(),
            Every::Week => {
                let week = (0..7).filter_map(|offset| from.checked_add(offset.days()).ok());
                let same = |day: &Date| day.weekday() == first.weekday();
                week.filter(|day| if self.by_day.is_empty() { same(day) } else { fits(*day) }).collect()
            }
            Every::Month if !self.by_day.is_empty() => {
                self.by_day.iter().flat_map(|(nth, weekday)| weekdays(from, *nth, *weekday)).collect()
            }
            Every::Month => {
                let usual = [first.day()];
                let wanted = if self.by_month_day.is_empty() { &usual[..] } else { &self.by_month_day };
                wanted.iter().filter_map(|day| month_date(from, *day)).collect()
            }
        };
        days.sort();
        days.dedup();
        Some(days)
    }
}

/// These weekdays of a month.
fn weekdays(month: Date, nth: i8, weekday: Weekday) -> Vec<Date> {
    match nth {
        0 => (1..=5).filter_map(|nth| month.nth_weekday_of_month(nth, weekday).ok()).collect(),
        nth => month.nth_weekday_of_month(nth, weekday).into_iter().collect(),
    }
}

/// A day of a month, from its end when negative. None: it has no such day.
fn month_date(month: Date, day: i8) -> Option<Date> {
    let day = if day < 0 { month.days_in_month() + 1 + day } else { day };
    (1..=month.days_in_month()).contains(&day).then(|| Date::new(month.year(), month.month(), day).ok())?
}

fn number(name: &str, value: &str, least: i32, most: i32) -> Result<i32, String> {
    let parsed = value.parse().ok().filter(|number| (least..=most).contains(number));
    parsed.ok_or_else(|| format!("{name}={value} must be {least} to {most}"))
}

fn until(value: &str) -> Result<Until, String> {
    let wrong = || format!("UNTIL={value} must be like 20271224T160000Z, or a day like 20271224");
    if value.len() == 8 && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().map(Until::Day).map_err(|_| wrong());
    }
    let utc = value.strip_suffix('Z').ok_or_else(wrong)?;
    let civil: DateTime = utc.parse().map_err(|_| wrong())?;
    civil.to_zoned(TimeZone::UTC).map(|zoned| Until::Moment(zoned.timestamp())).map_err(|_| wrong())
}

fn list<T: PartialEq>(value: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let items = value.split(',').map(one).collect::<Result<Vec<T>, String>>()?;
    if items.len() > 64 { Err(format!("{value} is too long")) } else { Ok(items) }
}

fn day(text: &str) -> Result<(i8, Weekday), String> {
    let wrong = || format!("BYDAY: '{text}' must be like MO, or with FREQ=MONTHLY like 1MO or -1FR");
    let name = text.get(text.len().wrapping_sub(2)..).ok_or_else(wrong)?;
    let weekday = match name {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return Err(wrong()),
    };
    match &text[..text.len() - 2] {
        "" => Ok((0, weekday)),
        nth => match nth.parse() {
            Ok(nth @ (1..=5 | -5..=-1)) => Ok((nth, weekday)),
            _ => Err(wrong()),
        },
    }
}

fn month_day(text: &str) -> Result<i8, String> {
    match text.parse() {
        Ok(day @ (1..=31 | -31..=-1)) => Ok(day),
        _ => Err(format!("BYMONTHDAY: '{text}' must be 1 to 31, or -1 to -31 from the end")),
    }
}

#[cfg(test)]
mod tests;
