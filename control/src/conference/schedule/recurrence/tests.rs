//! Rules against examples of RFC 5545, and against a model that looks at every day of the calendar.

use super::*;
use jiff::civil::date;
use proptest::prelude::*;

fn unix_ms(zone: &str, at: DateTime) -> i64 {
    let zone = super::zone(zone).expect("a zone");
    at.to_zoned(zone).expect("in the calendar").timestamp().as_millisecond()
}

/// The starts of a rule, on the clock of the zone.
fn civil(rule: &str, zone: &str, first: DateTime) -> Vec<String> {
    let starts = occurrences(rule, zone, unix_ms(zone, first)).expect("a rule");
    let zone = super::zone(zone).expect("a zone");
    let local = |ms: &i64| zone.to_datetime(Timestamp::from_millisecond(*ms).expect("in the calendar"));
    starts.iter().map(|ms| local(ms).to_string()).collect()
}

#[test]
fn rules_lead_to_the_days_that_they_name() {
    let first = date(2026, 11, 30).at(9, 0, 0, 0);
    let days = |rule: &str| {
        let starts = civil(rule, "Europe/Berlin", first);
        starts.iter().map(|start| start[5..10].to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(days(""), "11-30");
    assert_eq!(days("FREQ=DAILY;COUNT=3"), "11-30 12-01 12-02");
    assert_eq!(days("FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;COUNT=6"), "11-30 12-01 12-02 12-03 12-04 12-07");
    assert_eq!(days("FREQ=WEEKLY;INTERVAL=2;COUNT=3"), "11-30 12-14 12-28");
    assert_eq!(days("FREQ=WEEKLY;BYDAY=TH,MO;UNTIL=20261210"), "11-30 12-03 12-07 12-10");
    assert_eq!(days("FREQ=WEEKLY;UNTIL=20261207T075959Z"), "11-30");
    assert_eq!(days("FREQ=WEEKLY;UNTIL=20261207T080000Z"), "11-30 12-07");
    assert_eq!(days("FREQ=MONTHLY;COUNT=4"), "11-30 12-30 01-30 03-30");
    assert_eq!(days("FREQ=MONTHLY;BYDAY=-1MO;COUNT=3"), "11-30 12-28 01-25");
    assert_eq!(days("FREQ=MONTHLY;BYMONTHDAY=-1,15;COUNT=4"), "11-30 12-15 12-31 01-15");
    assert_eq!(days("RRULE:FREQ=MONTHLY;BYDAY=5MO;COUNT=2"), "11-30 03-29");
}

#[test]
fn the_clock_of_the_zone_counts() {
    // In Berlin, clocks go from 2:00 to 3:00 on 2027-03-28 and from 3:00 to 2:00 on 2027-10-31.
    let spring = civil("FREQ=DAILY;COUNT=3", "Europe/Berlin", date(2027, 3, 27).at(2, 30, 0, 0));
    assert_eq!(spring, ["2027-03-27T02:30:00", "2027-03-28T03:30:00", "2027-03-29T02:30:00"]);
    let first = unix_ms("Europe/Berlin", date(2027, 10, 30).at(2, 30, 0, 0));
    let autumn = occurrences("FREQ=DAILY;COUNT=3", "Europe/Berlin", first).expect("a rule");
    assert_eq!([autumn[1] - autumn[0], autumn[2] - autumn[1]], [24 * 3_600_000, 25 * 3_600_000]);
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    let first = unix_ms("", date(2026, 11, 30).at(9, 0, 0, 0));
    for (rule, zone, field, why) in [
        ("FREQ=WEEKLY", "", "recurrence.rule", "COUNT or UNTIL"),
        ("FREQ=WEEKLY;COUNT=2;UNTIL=20270101", "", "recurrence.rule", "together"),
        ("FREQ=YEARLY;COUNT=2", "", "recurrence.rule", "DAILY"),
        ("COUNT=2", "", "recurrence.rule", "FREQ"),
        ("FREQ=DAILY;COUNT=0", "", "recurrence.rule", "1 to 1000"),
        ("FREQ=DAILY;COUNT=1001", "", "recurrence.rule", "1 to 1000"),
        ("FREQ=DAILY;COUNT=2;COUNT=3", "", "recurrence.rule", "twice"),
        ("FREQ=DAILY;INTERVAL=0;COUNT=2", "", "recurrence.rule", "INTERVAL=0"),
        ("FREQ=DAILY;UNTIL=2027", "", "recurrence.rule", "UNTIL=2027"),
        ("FREQ=DAILY;UNTIL=20370101", "", "recurrence.rule", "more than 1000"),
        ("FREQ=DAILY;BYDAY=1MO;COUNT=2", "", "recurrence.rule", "MONTHLY"),
        ("FREQ=DAILY;BYMONTHDAY=1;COUNT=2", "", "recurrence.rule", "MONTHLY"),
        ("FREQ=MONTHLY;BYMONTHDAY=0;COUNT=2", "", "recurrence.rule", "'0'"),
        ("FREQ=MONTHLY;BYDAY=6MO;COUNT=2", "", "recurrence.rule", "6MO"),
        ("FREQ=WEEKLY;BYDAY=É;COUNT=2", "", "recurrence.rule", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=X;COUNT=2", "", "recurrence.rule", "BYDAY"),
        ("FREQ=MONTHLY;INTERVAL=366;COUNT=9", "", "recurrence.rule", "20 years"),
        ("FREQ=WEEKLY;BYSETPOS=1;COUNT=2", "", "recurrence.rule", "BYSETPOS"),
        ("weekly", "", "recurrence.rule", "NAME=VALUE"),
        ("FREQ=DAILY;COUNT=2", "Mars/Olympus", "recurrence.time_zone", "Mars"),
        ("FREQ=WEEKLY;BYDAY=TU;COUNT=2", "", "start_unix_ms", "Monday"),
    ] {
        let refusal = occurrences(rule, zone, first).expect_err(rule);
        assert_eq!(refusal.field, field, "{rule}: {refusal}");
        assert!(refusal.message.contains(why), "{rule}: {refusal}");
    }
    assert_eq!(occurrences("", "", i64::MAX).expect_err("no day").field, "start_unix_ms");
}

#[derive(Clone, Debug)]
struct Asked {
    every: &'static str,
    interval: i32,
    days: Vec<usize>,
    month_days: Vec<i8>,
    count: usize,
}

const DAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

fn any_rule() -> impl Strategy<Value = Asked> {
    let days = proptest::collection::vec(0..7_usize, 0..4);
    let month_days = proptest::collection::vec(prop_oneof![1..=31_i8, -31..=-1_i8], 0..3);
    (0..3_usize, 1..5_i32, days, month_days, 1..40_usize).prop_map(|(kind, interval, days, months, count)| {
        let every = ["DAILY", "WEEKLY", "MONTHLY"][kind];
        let month_days = if every == "MONTHLY" { months } else { Vec::new() };
        let days = if month_days.is_empty() { days } else { Vec::new() };
        Asked { every, interval, days, month_days, count }
    })
}

/// Whether a day is one of the rule, told from the day alone.
fn model(asked: &Asked, first: Date, day: Date) -> bool {
    let weekday = |day: Date| day.weekday().to_monday_zero_offset();
    let since = first.until(day).expect("days").get_days();
    let named = asked.days.contains(&(weekday(day) as usize));
    match asked.every {
        "DAILY" => since % asked.interval == 0 && (asked.days.is_empty() || named),
        "WEEKLY" => {
            let weeks = (since + i32::from(weekday(first))) / 7;
            let wanted = if asked.days.is_empty() { weekday(day) == weekday(first) } else { named };
            weeks % asked.interval == 0 && wanted
        }
        _ => {
            let months = i32::from(day.year() - first.year()) * 12 + i32::from(day.month() - first.month());
            let from_end = day.day() - day.days_in_month() - 1;
            let wanted = match (asked.days.is_empty(), asked.month_days.is_empty()) {
                (false, _) => named,
                (true, true) => day.day() == first.day(),
                (true, false) => {
                    asked.month_days.contains(&day.day()) || asked.month_days.contains(&from_end)
                }
            };
            months % asked.interval == 0 && wanted
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rules_agree_with_a_model(asked in any_rule(), from in 0..800_i32, berlin in any::<bool>()) {
        let zone = if berlin { "Europe/Berlin" } else { "" };
        let mut first = date(2026, 1, 1).checked_add(from.days()).expect("a day");
        // The first day must be one of the rule.
        while !model(&asked, first, first) {
            first = first.tomorrow().expect("a day");
            prop_assume!(first < date(2029, 1, 1));
        }
        let mut expected = Vec::new();
        let mut day = first;
        while expected.len() < asked.count && day < first.checked_add(YEARS_MAX.years()).expect("a day") {
            if model(&asked, first, day) {
                expected.push(day.at(9, 30, 0, 0).to_string());
            }
            day = day.tomorrow().expect("a day");
        }
        prop_assume!(expected.len() == asked.count);
        let mut rule = format!("FREQ={};INTERVAL={};COUNT={}", asked.every, asked.interval, asked.count);
        if !asked.days.is_empty() {
            let days: Vec<_> = asked.days.iter().map(|day| DAYS[*day]).collect();
            rule.push_str(&format!(";BYDAY={}", days.join(",")));
        }
        if !asked.month_days.is_empty() {
            let days: Vec<_> = asked.month_days.iter().map(i8::to_string).collect();
            rule.push_str(&format!(";BYMONTHDAY={}", days.join(",")));
        }
        prop_assert_eq!(civil(&rule, zone, first.at(9, 30, 0, 0)), expected, "{}", rule);
    }

    #[test]
    fn any_text_is_answered(rule in "[A-Z0-9=;,:+-]{0,40}", zone in "[A-Za-z/]{0,12}", start in any::<i64>()) {
        let _ = occurrences(&rule, &zone, start);
        let _ = occurrences(&format!("FREQ=MONTHLY;COUNT=3;{rule}"), "", start % 1_000_000_000_000);
    }
}
