//! What is read from Redis, by whomever it was written: whole, or left alone.

use super::layout::FORMAT;
use crate::conference::{Domain, Feature, Level, Record};
use redis::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// Fields of a conference that are read.
pub(super) const CONF_FIELDS: [&str; 4] = ["EPOCH", "VERSION", "FORMAT", "RECORD"];

/// A record from [`CONF_FIELDS`]; none: there is none.
///
/// # Errors
///
/// What is wrong with it, for people.
pub(super) fn record(moid: &str, value: Value) -> Result<Option<Record>, String> {
    let fields: [Option<String>; 4] = redis::from_redis_value::<Vec<Option<String>>>(value)
        .ok()
        .and_then(|fields| fields.try_into().ok())
        .ok_or("its fields are not text")?;
    let [epoch, version, format, text] = fields;
    let Some(text) = text else {
        return if epoch.is_some() || version.is_some() { Err("it has no RECORD".into()) } else { Ok(None) };
    };
    if let Some(format) = format.filter(|format| format != FORMAT) {
        return Err(format!("it is of format {format}, and this program writes {FORMAT}"));
    }
    let record: Record = serde_json::from_str(&text).map_err(|error| format!("RECORD: {error}"))?;
    if record.id != moid {
        return Err(format!("RECORD is of conference {}", record.id));
    }
    let same = |field: &Option<String>, value: u64| field.as_deref() == Some(value.to_string().as_str());
    if !same(&epoch, record.epoch) || !same(&version, record.version) {
        return Err("EPOCH and VERSION are not those of RECORD".into());
    }
    Ok(Some(record))
}

/// Fields that permit something, and what.
const FEATURES: [(&str, Feature); 4] = [
    ("enableh265", Feature::H265),
    ("enablehdmeeting", Feature::FullHd),
    ("enablemixing", Feature::Mixing),
    ("enablerecording", Feature::Recording),
];

/// Fields and values of a domain, in the layout of `domain/MOID/info`. Empty: not there.
pub(super) fn domain_fields(domain: &Domain) -> Vec<(&'static str, String)> {
    let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
    let number = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let numbers = domain.numbers.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>();
    let mut fields = vec![
        ("moid", domain.moid.clone()),
        ("level", domain.level.to_string()),
        ("uplevelmoid", domain.parent.clone()),
        ("name", domain.name.clone()),
        ("used", flag(!domain.disabled)),
        ("smallconfnum", number(domain.small_max)),
        ("largeconfnum", number(domain.large_max)),
        ("numbers", numbers.join(",")),
        ("homeplatform", domain.home_platform.clone()),
        ("version", domain.version.to_string()),
    ];
    let permits = |feature: Feature| flag(!domain.forbidden.contains(&(feature as i32)));
    fields.extend(FEATURES.map(|(field, feature)| (field, permits(feature))));
    fields
}

/// A domain from its hash; none: there is none.
///
/// # Errors
///
/// What is wrong with it, for people.
pub(super) fn domain(moid: &str, value: Value) -> Result<Option<Domain>, String> {
    let fields: HashMap<String, String> =
        redis::from_redis_value(value).map_err(|_| "its fields are not text".to_owned())?;
    if fields.is_empty() {
        return Ok(None);
    }
    let text = |name: &str| fields.get(name).cloned().ok_or_else(|| format!("it has no {name}"));
    let flag = |name: &str| match text(name)?.as_str() {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("{name} is '{other}', neither 0 nor 1")),
    };
    let limit = |name: &str, old: &str| match fields.get(name).or_else(|| fields.get(old)) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("{name} is '{text}', not a number")),
    };
    if text("moid")? != moid {
        return Err(format!("moid is '{}'", text("moid")?));
    }
    let level = text("level")?;
    let known = level.parse().ok().filter(|level| Level::try_from(*level).is_ok());
    let mut forbidden = BTreeSet::new();
    for (at, (name, feature)) in FEATURES.into_iter().enumerate() {
        // The last two are of this program: what others do not speak of is permitted.
        if (at < 2 || fields.contains_key(name)) && !flag(name)? {
            forbidden.insert(feature as i32);
        }
    }
    let version = fields.get("version").map_or("0", String::as_str);
    Ok(Some(Domain {
        moid: moid.to_owned(),
        level: known.ok_or_else(|| format!("level is '{level}', not 0, 1 or 2"))?,
        parent: text("uplevelmoid")?,
        name: text("name")?,
        disabled: !flag("used")?,
        small_max: limit("smallconfnum", "smallconfnumlimit")?,
        large_max: limit("largeconfnum", "largeconfnumlimit")?,
        forbidden,
        numbers: ranges(fields.get("numbers").map_or("", String::as_str))?,
        home_platform: fields.get("homeplatform").cloned().unwrap_or_default(),
        version: version.parse().map_err(|_| format!("version is '{version}', not a number"))?,
    }))
}

/// `FIRST-LAST,FIRST-LAST`.
fn ranges(text: &str) -> Result<Vec<(u64, u64)>, String> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    let ranges = text.split(',').filter(|range| !range.is_empty()).map(range).collect::<Option<Vec<_>>>();
    ranges.ok_or_else(|| format!("numbers is '{text}', not FIRST-LAST,FIRST-LAST"))
}

/// Values that could not be read, so that each is said and counted once.
#[derive(Default)]
pub(super) struct Foreign {
    /// Why, by key.
    known: Mutex<HashMap<String, String>>,
    counted: std::sync::atomic::AtomicU64,
}

impl Foreign {
    /// Says it, unless it has been said. The value is left alone.
    pub(super) fn found(&self, key: &str, why: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(key).is_some_and(|before| before == why) {
            return;
        }
        known.insert(key.to_owned(), why.to_owned());
        self.counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::warn!(%key, %why, "a value in Redis cannot be read; it is left alone");
    }

    /// It can be read now; if it breaks again, that is said again.
    pub(super) fn gone(&self, key: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub(super) fn counted(&self) -> u64 {
        self.counted.load(std::sync::atomic::Ordering::Relaxed)
    }
}
