//! What is booked, and domains.

use super::{short, state, table};
use crate::times::written;
use motet_proto::conference::*;
use motet_proto::domains::{Domain, Feature, Level, ResolveResponse};
use serde_json::{Value, json};

/// "instant", "reserve", "templet" or "virtual".
pub(super) fn kind(info: &ConferenceInfo) -> String {
    short(info.r#type().as_str_name(), "CONFERENCE_TYPE_")
}

/// "chair", "speaker", "listener" or "viewer".
pub(crate) fn role(info: &ParticipantInfo) -> String {
    short(info.role().as_str_name(), "PARTICIPANT_ROLE_")
}

pub(super) fn booking(booked: &BookingInfo) -> Value {
    json!({
        "rule": booked.recurrence.as_ref().map(|recurrence| &recurrence.rule),
        "time_zone": booked.recurrence.as_ref().map(|recurrence| &recurrence.time_zone),
        "duration_ms": booked.duration_ms,
        "made": booked.made,
        "missed": booked.missed,
        "running": booked.running,
    })
}

/// When a conference ends, who may join, whether it is restored; empty: there is nothing to say.
pub(super) fn terms(info: &ConferenceInfo) -> String {
    let mut page = String::new();
    if info.end_unix_ms != 0 {
        page.push_str(&format!("  ends      {}\n", written(info.end_unix_ms)));
    }
    let mut entry = Vec::new();
    entry.extend(info.locked.then_some("locked"));
    entry.extend(info.has_password.then_some("password"));
    entry.extend(info.has_chair_password.then_some("password for chairs"));
    if !entry.is_empty() {
        page.push_str(&format!("  entry     {}\n", entry.join(", ")));
    }
    if info.no_restore {
        page.push_str("  restored  never: it ends when its node is lost\n");
    }
    page
}

pub(crate) fn booking_table(all: &[ConferenceInfo]) -> String {
    let rows = all.iter().map(|info| {
        let booked = info.booked.clone().unwrap_or_default();
        vec![
            info.number.clone(),
            info.name.clone(),
            if booked.running.is_empty() { state(info) } else { "running".to_owned() },
            written(info.start_unix_ms),
            booked.recurrence.unwrap_or_default().rule,
            booked.made.to_string(),
            booked.missed.to_string(),
            info.id.clone(),
        ]
    });
    table(&["NUMBER", "NAME", "STATE", "NEXT", "REPEATS", "MADE", "MISSED", "ID"], rows.collect())
}

pub(crate) fn booking_page(info: &ConferenceInfo) -> String {
    let booked = info.booked.clone().unwrap_or_default();
    let why = if info.reason.is_empty() { String::new() } else { format!(": {}", info.reason) };
    let mut page = format!(
        "{} {}  {}\n  id        {}\n  state     {}{why}\n",
        kind(info),
        info.number,
        info.name,
        info.id,
        state(info)
    );
    if info.start_unix_ms != 0 {
        page.push_str(&format!(
            "  next      {} to {}\n",
            written(info.start_unix_ms),
            written(info.end_unix_ms)
        ));
    }
    if let Some(Recurrence { rule, time_zone }) = booked.recurrence {
        let zone = if time_zone.is_empty() { "UTC" } else { &time_zone };
        page.push_str(&format!("  repeats   {rule} ({zone})\n"));
    }
    let running = if booked.running.is_empty() { "none" } else { &booked.running };
    page.push_str(&format!(
        "  running   {running}\n  so far    {} made, {} missed\n",
        booked.made, booked.missed
    ));
    page.push_str(&terms(&ConferenceInfo { end_unix_ms: 0, ..info.clone() }));
    page
}

fn level(domain: &Domain) -> String {
    short(domain.level().as_str_name(), "LEVEL_")
}

fn feature(number: &i32) -> String {
    let name = Feature::try_from(*number).unwrap_or_default().as_str_name();
    short(name, "FEATURE_")
}

fn numbers(domain: &Domain) -> Vec<String> {
    domain.numbers.iter().map(|range| format!("{}-{}", range.first, range.last)).collect()
}

pub(crate) fn domain(domain: &Domain) -> Value {
    json!({
        "moid": domain.moid,
        "level": level(domain),
        "parent": domain.parent,
        "name": domain.name,
        "used": !domain.disabled,
        "small_max": domain.small_max,
        "large_max": domain.large_max,
        "forbid": domain.forbidden.iter().map(feature).collect::<Vec<_>>(),
        "numbers": numbers(domain),
        "home": domain.home_platform,
        "version": domain.version,
    })
}

pub(crate) fn domain_table(domains: &[Domain]) -> String {
    let limit = |limit: Option<u32>| limit.map_or("-".to_owned(), |limit| limit.to_string());
    let rows = domains.iter().map(|domain| {
        vec![
            domain.moid.clone(),
            level(domain),
            domain.parent.clone(),
            domain.name.clone(),
            if domain.disabled { "no" } else { "yes" }.to_owned(),
            limit(domain.small_max),
            limit(domain.large_max),
            domain.forbidden.iter().map(feature).collect::<Vec<_>>().join(","),
            if domain.level() == Level::User {
                domain.home_platform.clone()
            } else {
                numbers(domain).join(",")
            },
        ]
    });
    let head = ["MOID", "LEVEL", "PARENT", "NAME", "USED", "SMALL", "LARGE", "FORBIDDEN", "NUMBERS OR HOME"];
    table(&head, rows.collect())
}

pub(crate) fn resolved(resolved: &ResolveResponse) -> Value {
    let usage = resolved.usage.iter().map(|usage| {
        json!({
            "domain": usage.domain,
            "small": usage.small,
            "small_max": usage.small_max,
            "large": usage.large,
            "large_max": usage.large_max,
        })
    });
    json!({
        "platforms": resolved.platforms,
        "features": resolved.features.iter().map(feature).collect::<Vec<_>>(),
        "usage": usage.collect::<Vec<_>>(),
    })
}

pub(crate) fn resolved_page(resolved: &ResolveResponse) -> String {
    let features: Vec<String> = resolved.features.iter().map(feature).collect();
    let mut page =
        format!("platforms  {}\nmay        {}\n", resolved.platforms.join(", "), features.join(", "));
    let of = |held: u32, max: Option<u32>| {
        format!("{held} of {}", max.map_or("any".into(), |max| max.to_string()))
    };
    for usage in &resolved.usage {
        let (small, large) = (of(usage.small, usage.small_max), of(usage.large, usage.large_max));
        page.push_str(&format!("{}: small {small}, large {large}\n", usage.domain));
    }
    page
}
