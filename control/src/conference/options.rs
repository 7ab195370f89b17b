//! What control is told to hold to.

use super::detect::Detection;
use super::restore::Restoration;
use crate::placement::FILL_PERCENT;
use std::collections::BTreeMap;

/// Everything that control was told to hold to.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A node is lost when it has not announced for so long.
    pub lease_ms: u64,
    /// How often a node shall announce.
    pub announce_ms: u64,
    /// How often a ready node is asked what it runs.
    pub list_ms: u64,
    /// Conferences that it tells at a time, at least 1: what both do for one answer takes no longer, however many it
    /// runs. With each tick nodes that are ready are asked for four pages, whichever nodes these are of.
    pub list_page: u32,
    /// How long an ended conference is remembered.
    pub tombstone_ms: i64,
    /// `confex.platformmoid`.
    pub platform: String,
    /// A conference that could not be restored for so long ends.
    pub pending_ms_max: u64,
    /// Numbers to choose from when none is asked for, both inclusive.
    pub numbers: (u64, u64),
    /// Percent of a node's measured capacity that new conferences may fill.
    pub fill_percent_max: u32,
    /// The end of a conference is told so long before, unless it was created otherwise.
    pub notice_ms: u64,
    /// Conferences with more participants expected are large ones; see [`Class`](super::Class).
    pub small: u32,
    /// How the store is called in messages.
    pub store: String,
    /// Preferred machine rooms of user domains, by MOID.
    pub rooms: BTreeMap<String, String>,
    /// Rooms that take the place of a room without a node that fits, in turn.
    pub backup_rooms: BTreeMap<String, Vec<String>>,
    /// A reserved conference begins when somebody joins, at most so long before its time.
    pub early_ms: u64,
    /// When a node counts as lost.
    pub detection: Detection,
    /// How conferences of lost nodes are restored.
    pub restoration: Restoration,
    /// Other control processes may use the store.
    pub shared: bool,
    /// Id of this control process: [`Record::maintainer`](super::Record::maintainer).
    pub css: String,
    /// Where others reach its services, such as `http://192.0.2.1:7400`.
    pub css_address: String,
    /// A control process that has not renewed its lease for so long is dead; others maintain what it did.
    pub css_lease_ms: u64,
    /// How often the lease is renewed.
    pub css_renew_ms: u64,
    /// How often what others have written is asked for.
    pub follow_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            lease_ms: 1_000,
            announce_ms: 250,
            list_ms: 5_000,
            list_page: 32,
            tombstone_ms: 600_000,
            platform: "platform".into(),
            pending_ms_max: 86_400_000,
            numbers: (800_000, 899_999),
            fill_percent_max: FILL_PERCENT,
            notice_ms: 600_000,
            small: 8,
            store: "embedded".into(),
            rooms: BTreeMap::new(),
            backup_rooms: BTreeMap::new(),
            early_ms: 0,
            detection: Detection::default(),
            restoration: Restoration::default(),
            shared: false,
            css: "css".into(),
            css_address: "http://127.0.0.1:7400".into(),
            css_lease_ms: 3_000,
            css_renew_ms: 1_000,
            follow_ms: 200,
        }
    }
}
