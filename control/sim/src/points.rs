//! Steps at which a control process can die: before or after each effect of each kind of event. The list
//! comes from runs of the core, so that it grows with it.

use motet_control::conference::{Effect, Event};
use std::collections::BTreeMap;
use std::fmt;

/// A kind of event or effect, and which one.
pub type Label = (&'static str, &'static str);

/// A place in the core's work: this effect of this event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// What the core took.
    pub event: Label,
    /// What it wanted done.
    pub effect: Label,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |label: Label| match label {
            (kind, "") => kind.to_owned(),
            (kind, which) => format!("{kind}:{which}"),
        };
        write!(f, "{} -> {}", name(self.event), name(self.effect))
    }
}

/// A control process dies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Where.
    pub point: Point,
    /// At which time that the point is passed, from 1.
    pub time: u64,
    /// Before the effect is carried out, or just after.
    pub before: bool,
}

/// Points that a run passed, and the one where it crashes.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// Points are counted.
    pub on: bool,
    /// How often each was passed.
    pub passed: BTreeMap<Point, u64>,
    /// Where to crash.
    pub crash: Option<Crash>,
}

impl Points {
    /// The process is about to carry out an effect: shall it die before (`true`) or after it?
    pub(crate) fn pass(&mut self, event: Label, effect: Label) -> Option<bool> {
        let point = Point { event, effect };
        let times = self.passed.entry(point).or_default();
        *times += 1;
        let crash = self.crash.filter(|crash| crash.point == point && crash.time == *times)?;
        Some(crash.before)
    }
}

/// Labels of all events.
pub const EVENTS: [&str; 22] = [
    "announced",
    "domains",
    "forward-done",
    "forwarded",
    "media",
    "node-described",
    "node-drained",
    "node-listed",
    "node-ordered",
    "node-probed",
    "node-put",
    "node-unreachable",
    "notes",
    "peers-seen",
    "request",
    "store-changed",
    "store-got",
    "store-load-failed",
    "store-loaded",
    "store-put",
    "store-removed",
    "tick",
];

/// Labels of all effects.
pub const EFFECTS: [&str; 21] = [
    "domains",
    "emit",
    "forward",
    "lease-renew",
    "node-delete",
    "node-describe",
    "node-drain",
    "node-list",
    "node-order",
    "node-probe",
    "node-put",
    "node-unwatch",
    "node-watch",
    "notes",
    "places-renew",
    "reply",
    "store-follow",
    "store-get",
    "store-load",
    "store-put",
    "store-remove",
];

pub(crate) fn event_label(event: &Event) -> Label {
    let well = |ok: bool| if ok { "done" } else { "failed" };
    match event {
        Event::Request(_, request) => ("request", request.name()),
        Event::StoreGot { .. } => ("store-got", ""),
        Event::StoreChanged { result, .. } => ("store-changed", well(result.is_ok())),
        Event::StoreRemoved { result, .. } => ("store-removed", well(result.is_ok())),
        Event::PeersSeen(result) => ("peers-seen", well(result.is_ok())),
        Event::Forwarded(_, request) => ("forwarded", request.name()),
        Event::ForwardDone { result, .. } => ("forward-done", well(result.is_ok())),
        Event::StoreLoaded(_) => ("store-loaded", ""),
        Event::StoreLoadFailed(_) => ("store-load-failed", ""),
        Event::StorePutDone { result, .. } => ("store-put", well(result.is_ok())),
        Event::Announced(..) => ("announced", ""),
        Event::NodePutDone { result, .. } => ("node-put", well(result.is_ok())),
        Event::NodeListed { result, .. } => ("node-listed", well(result.is_ok())),
        Event::NodeDrained { result, .. } => ("node-drained", well(result.is_ok())),
        Event::NodeOrdered { result, .. } => ("node-ordered", well(result.is_ok())),
        Event::Media(_) => ("media", ""),
        Event::NodeDescribed { result, .. } => ("node-described", well(result.is_ok())),
        Event::NodeProbed { result, .. } => ("node-probed", well(result.is_ok())),
        Event::Notes(_) => ("notes", ""),
        Event::Domains(_) => ("domains", ""),
        Event::NodeUnreachable { .. } => ("node-unreachable", ""),
        Event::Tick => ("tick", ""),
    }
}

pub(crate) fn effect_label(effect: &Effect) -> Label {
    match effect {
        Effect::StoreLoad => ("store-load", ""),
        Effect::StoreGet { .. } => ("store-get", ""),
        Effect::StorePut { record, .. } => ("store-put", record.phase.name()),
        Effect::StoreFollow { .. } => ("store-follow", ""),
        Effect::LeaseRenew => ("lease-renew", ""),
        Effect::Forward { request, .. } => ("forward", request.name()),
        Effect::PlacesRenew(_) => ("places-renew", ""),
        Effect::StoreRemove { .. } => ("store-remove", ""),
        Effect::NodePut { .. } => ("node-put", ""),
        Effect::NodeDelete { .. } => ("node-delete", ""),
        Effect::NodeList { .. } => ("node-list", ""),
        Effect::NodeDescribe { .. } => ("node-describe", ""),
        Effect::NodeProbe { .. } => ("node-probe", ""),
        Effect::Notes(_) => ("notes", ""),
        Effect::Domains(_) => ("domains", ""),
        Effect::NodeDrain { .. } => ("node-drain", ""),
        Effect::NodeOrder { .. } => ("node-order", ""),
        Effect::NodeWatch { .. } => ("node-watch", ""),
        Effect::NodeUnwatch { .. } => ("node-unwatch", ""),
        Effect::Reply(_, answer) => ("reply", if answer.is_ok() { "ok" } else { "refusal" }),
        Effect::Emit(_) => ("emit", ""),
    }
}
