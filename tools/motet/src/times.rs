//! Times as people type them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

/// Shown by `--help`.
pub(crate) const HELP: &str = "\
A TIME is one of
  +90m, +2h30m                     from now
  2026-12-01T09:00                 on the clock of --time-zone, UTC unless told
  2026-12-01T09:00:00Z, 2026-12-01T09:00+01:00
                                   as it says";

/// Reads a time, in milliseconds since 1970.
pub(crate) fn parse(text: &str, zone: &str) -> Result<i64, String> {
    if let Some(from_now) = text.strip_prefix('+') {
        let from_now = humantime::parse_duration(from_now).map_err(|error| format!("'{text}': {error}"))?;
        let from_now = i64::try_from(from_now.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::now().as_millisecond().saturating_add(from_now));
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_millisecond());
    }
    let wrong = || format!("'{text}' must be like 2026-12-01T09:00, 2026-12-01T09:00:00Z or +90m");
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let zone = match zone {
        "" => TimeZone::UTC,
        name => TimeZone::get(name).map_err(|_| format!("'{name}' is no time zone such as Europe/Berlin"))?,
    };
    let moment = zone.to_ambiguous_timestamp(civil).compatible().map_err(|_| wrong())?;
    Ok(moment.as_millisecond())
}

/// A moment for people, in UTC; 0: a dash.
pub(crate) fn written(unix_ms: i64) -> String {
    let moment = Timestamp::from_millisecond(unix_ms).and_then(|moment| moment.round(Unit::Second));
    match moment {
        Ok(_) if unix_ms == 0 => "-".to_owned(),
        Ok(moment) => moment.to_string(),
        Err(_) => format!("{unix_ms} ms"),
    }
}

/// A rule from what people say: daily, weekly, monthly, or a rule of RFC 5545.
pub(crate) fn rule(repeat: &str, count: Option<u32>, until: Option<&str>) -> String {
    let mut rule = match repeat {
        "daily" | "weekly" | "monthly" => format!("FREQ={}", repeat.to_ascii_uppercase()),
        rule => rule.to_owned(),
    };
    if let Some(count) = count {
        rule.push_str(&format!(";COUNT={count}"));
    }
    if let Some(until) = until {
        rule.push_str(&format!(";UNTIL={}", until.replace(['-', ':'], "")));
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let berlin = "Europe/Berlin";
        assert_eq!(parse("2026-12-01T09:00", ""), parse("2026-12-01T09:00:00Z", berlin));
        assert_eq!(parse("2026-12-01T09:00", berlin), parse("2026-12-01T08:00:00Z", ""));
        assert_eq!(parse("2026-12-01 09:00", berlin), parse("2026-12-01T09:00+01:00", ""));
        assert_eq!(written(parse("2026-12-01T09:00", "").expect("a time")), "2026-12-01T09:00:00Z");
        let soon = parse("+1h", "").expect("a time") - Timestamp::now().as_millisecond();
        assert!((3_590_000..=3_600_000).contains(&soon), "{soon}");
        for wrong in ["tomorrow", "+", "+5", "2026-13-01T09:00", ""] {
            assert!(parse(wrong, "").is_err(), "{wrong}");
        }
        assert!(parse("2026-12-01T09:00", "Mars/Olympus").is_err());
    }

    #[test]
    fn rules_are_put_together() {
        assert_eq!(rule("weekly", Some(3), None), "FREQ=WEEKLY;COUNT=3");
        assert_eq!(rule("daily", None, Some("2026-12-24")), "FREQ=DAILY;UNTIL=20261224");
        assert_eq!(rule("FREQ=MONTHLY;BYDAY=-1FR;COUNT=2", None, None), "FREQ=MONTHLY;BYDAY=-1FR;COUNT=2");
    }
}
