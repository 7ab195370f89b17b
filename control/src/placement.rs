//! Which node takes a new conference, and whether one more participant fits. Pure.
//!
//! Work is counted in [`units`]. A node's load is what its conferences are promised, whether or not all
//! have come, or what it says it carries if that is more. A new conference goes where the share of the
//! capacity in use is lowest afterwards, and only where it stays below the limit; the rest is kept for
//! those who join later. A node that has not measured itself is never full, and compares as if each of its
//! workers had a usual capacity. The same input gives the same answer.

use crate::conference::{Node, Record};
use crate::refusal::Refusal;
use motet_proto::registry::NodeState;
use std::collections::BTreeMap;
use tonic::Code;

pub mod units;

/// Capacity of a worker that was not measured, for comparing only.
const WORKER_UNITS_ASSUMED: u64 = 100_000;
/// Percent of a node's capacity that new conferences may fill, unless control is told otherwise.
pub const FILL_PERCENT: u32 = 70;

/// Work and seats that nodes have promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    /// In [`units`].
    pub units: u64,
    /// Participants who are there or expected.
    pub legs: u64,
    /// Conferences.
    pub conferences: u64,
}

/// Control processes that place side by side see what the others have placed a moment later. Were each to fill
/// the gaps that it sees, all would fill the same ones. So each spreads its own evenly over the nodes that are
/// about alike, beginning with another node than the others do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// What nodes have promised to conferences of this control process.
    pub own: BTreeMap<String, Promised>,
    /// Its place among those that live, from 0.
    pub rank: usize,
}

/// What a conference asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Others place at the same time; none: nobody does.
    pub beside: Option<Beside>,
    /// Its id: of nodes that are alike, different ids take different ones.
    pub conference: String,
    /// In [`units`].
    pub units: u64,
    /// Participants expected.
    pub legs: u64,
    /// Percent of a node's capacity that may be in use afterwards.
    pub fill_percent_max: u32,
    /// Node that is preferred to all others; empty: none is.
    pub node: String,
    /// Machine room that is preferred; empty: none is.
    pub room: String,
    /// Rooms that take its place when it has no node that fits, the first before the second.
    pub backup_rooms: Vec<String>,
    /// Labels that the node must have.
    pub labels: BTreeMap<String, String>,
    /// It is mixed.
    pub mixes: bool,
    /// Its pictures are composed.
    pub composes: bool,
    /// It is recorded: nodes that can are preferred. Where none fits it goes on unrecorded.
    pub records: bool,
    /// The time, on the clock that never jumps.
    pub now_ms: u64,
}

impl Wanted {
    /// What this conference asks for, when so much of a node may be in use.
    pub fn of(record: &Record, fill_percent_max: u32, now_ms: u64) -> Wanted {
        Wanted {
            beside: None,
            conference: record.id.clone(),
            units: record.units(),
            legs: u64::from(record.seats()),
            fill_percent_max,
            node: String::new(),
            room: record.placing.room.clone(),
            backup_rooms: Vec::new(),
            labels: record.placing.labels.clone(),
            mixes: record.audio.is_mixed(),
            composes: record.video.is_encoded(),
            records: !record.recordings.is_empty(),
            now_ms,
        }
    }
}

impl Wanted {
    /// How far from what is preferred a room is: 0 is it, then its backup rooms in turn, then all others.
    fn distance(&self, room: &str) -> usize {
        if self.room.is_empty() || self.room == room {
            return 0;
        }
        let backup = self.backup_rooms.iter().position(|backup| backup == room);
        backup.unwrap_or(self.backup_rooms.len()) + 1
    }
}

/// Where a conference goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Node id.
    pub node: String,
    /// Its machine room.
    pub room: String,
    /// Why it was chosen, for people.
    pub why: String,
}

impl Promised {
    /// One more conference.
    pub fn add(&mut self, record: &Record) {
        self.units += record.units();
        self.legs += u64::from(record.seats());
        self.conferences += 1;
    }

    pub(crate) fn plus(&mut self, other: Promised) {
        self.units += other.units;
        self.legs += other.legs;
        self.conferences += other.conferences;
    }

    /// What was added before is gone.
    pub(crate) fn minus(&mut self, other: Promised) {
        self.units -= other.units;
        self.legs -= other.legs;
        self.conferences -= other.conferences;
    }
}

/// Nodes are about alike whose shares differ by no more than that of so many conferences like the one that is placed,
/// which others may have placed and are not seen yet.
const UNSEEN_CONFERENCES: u64 = 10;
/// Millionths of the capacity by which they differ at most.
const UNSEEN_MAX: u64 = 100_000;

/// The lower, the better: did not answer lately, is not the preferred one, cannot record what is recorded, distance of
/// its room, share in use, conferences, tie.
type Rank = (bool, bool, bool, usize, u64, u64, u64);

/// The node for a conference. Those that cannot take it are left out first: what was tried and failed, what is
/// not ready, lacks a label or threads that mix, or is full. Of the others, one that answered its last command
/// comes first, then the preferred one, then for what is recorded one that records, then one in the preferred room, then
/// one in each of its backup rooms in turn, then the one with the lowest share of its capacity in use afterwards, then
/// with the fewest conferences; of those that are alike, each conference id takes one of its own.
/// A refusal says why for each candidate.
pub fn place(
    nodes: &BTreeMap<String, Node>,
    promised: &BTreeMap<String, Promised>,
    wanted: &Wanted,
    tried: &BTreeMap<String, String>,
) -> Result<Placed, Refusal> {
    let mut reasons = Vec::new();
    let mut fitting = Vec::new();
    for (id, node) in nodes {
        let load = Load::of(node, promised.get(id.as_str()).copied().unwrap_or_default());
        let unfit = tried.get(id).cloned().or_else(|| unfit(node)).or_else(|| unable(node, wanted));
        if let Some(why) = unfit.or_else(|| load.full(wanted)) {
            reasons.push(format!("{id}: {why}"));
            continue;
        }
        let distance = wanted.distance(&node.description.room);
        let share = load.share_after(wanted);
        let rank = (
            node.avoided(wanted.now_ms),
            !wanted.node.is_empty() && *id != wanted.node,
            wanted.records && !records(node),
            distance,
            share,
            load.promised.conferences,
            tie(&wanted.conference, id),
        );
        fitting.push((rank, id, node));
    }
    let best = fitting.iter().min_by_key(|(rank, ..)| *rank).map(|best| match &wanted.beside {
        None => best,
        Some(beside) => beside.choose(&fitting, best, wanted),
    });
    match best {
        Some(((_, _, unrecorded, distance, share, ..), id, node)) => {
            let fitting = fitting.len();
            let mut why =
                format!("{:.1} % of it in use afterwards, of {fitting} that fit", *share as f64 / 1e4);
            if *distance > 0 {
                why.push_str(&format!("; none in room {} does", wanted.room));
            }
            if *unrecorded {
                why.push_str("; it does not record (--recordings), and none that fits does");
            }
            Ok(Placed { node: (*id).clone(), room: node.description.room.clone(), why })
        }
        None => {
            let why = if reasons.is_empty() {
                "no node has announced itself".to_owned()
            } else {
                reasons.join("; ")
            };
            Err(Refusal::plain(Code::ResourceExhausted, format!("no node takes the conference: {why}")))
        }
    }
}

/// A node that can take a conference.
type Fit<'a> = (Rank, &'a String, &'a Node);

impl Beside {
    /// Of those about as good as the best, the one that has the least of this process's own.
    fn choose<'a>(&self, fitting: &'a [Fit<'a>], best: &'a Fit<'a>, wanted: &Wanted) -> &'a Fit<'a> {
        let ((avoided, other, unrecorded, distance, lowest, ..), _, node) = best;
        let share_of = |node: &Node, units| Load::of(node, Promised::default()).share_of(units);
        let unseen = share_of(node, wanted.units).saturating_mul(UNSEEN_CONFERENCES).min(UNSEEN_MAX);
        let alike = |(_, (rank, ..)): &(usize, &Fit<'_>)| {
            (rank.0, rank.1, rank.2, rank.3) == (*avoided, *other, *unrecorded, *distance)
                && rank.4 <= lowest + unseen
        };
        let own = |(turn, (_, id, node)): &(usize, &Fit<'_>)| {
            let own = self.own.get(id.as_str()).copied().unwrap_or_default();
            let turn = (turn + fitting.len() - self.rank % fitting.len()) % fitting.len();
            (share_of(node, own.units), own.conferences, turn)
        };
        fitting.iter().enumerate().filter(alike).min_by_key(own).map_or(best, |(_, fit)| fit)
    }
}

/// A number that depends on both, and on nothing else: FNV-1a, then the finalizer of MurmurHash3, since names
/// that differ in their last letter shall differ in all bits.
fn tie(conference: &str, node: &str) -> u64 {
    let bytes = conference.bytes().chain([0]).chain(node.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Whether a node writes recordings; one that does not say may.
fn records(node: &Node) -> bool {
    node.description.capacity.as_ref().is_none_or(|capacity| capacity.records)
}

/// What a node lacks for this conference, however empty it is.
fn unable(node: &Node, wanted: &Wanted) -> Option<String> {
    for (label, value) in &wanted.labels {
        if node.description.labels.get(label) != Some(value) {
            return Some(format!("has no label {label}={value}"));
        }
    }
    let capacity = node.description.capacity.as_ref();
    if wanted.mixes && capacity.is_some_and(|capacity| capacity.mixing_threads == 0) {
        return Some("has no threads that mix (--mixing-threads)".to_owned());
    }
    let composes = capacity.is_none_or(|capacity| capacity.canvas_threads > 0);
    (wanted.composes && !composes).then(|| "has no threads for canvases (--canvas-threads)".to_owned())
}

/// Whether a conference on this node may grow by so many units beyond what it was promised. What is kept
/// free of new conferences is there for this.
pub fn check_growth(id: &str, node: &Node, promised: Promised, units: u64) -> Result<(), Refusal> {
    let load = Load::of(node, promised);
    if load.capacity == 0 || load.units + units <= load.capacity {
        return Ok(());
    }
    let left = load.capacity.saturating_sub(load.units);
    let why = format!(
        "node {id} has {left} of {} units left and the participant needs {units}, more than the conference \
         was created for; create it with more expected participants, or on another node",
        load.capacity
    );
    Err(Refusal::plain(Code::ResourceExhausted, why))
}

/// Units that a node has, and those in use; 0 of 0 when it was not measured and runs nothing.
pub fn units_of_node(node: &Node, promised: Promised) -> (u64, u64) {
    let load = Load::of(node, promised);
    (load.capacity, load.units)
}

/// A node's load against its capacity.
struct Load {
    /// Measured; 0: not.
    capacity: u64,
    /// In use.
    units: u64,
    legs: u64,
    legs_max: u64,
    workers: u64,
    ports_left: bool,
    promised: Promised,
}

impl Load {
    fn of(node: &Node, promised: Promised) -> Load {
        let capacity = node.description.capacity.clone().unwrap_or_default();
        let reported = node.description.load.clone().unwrap_or_default();
        Load {
            capacity: capacity.units,
            // What others made it carry counts too; a float beyond all packets is no load.
            units: promised.units.max(reported.packets_per_second.clamp(0.0, 1e12) as u64),
            legs: promised.legs.max(u64::from(reported.legs)),
            legs_max: u64::from(capacity.legs_max),
            workers: u64::from(capacity.workers.max(1)),
            ports_left: capacity.ports_max == 0 || reported.ports_used < capacity.ports_max,
            promised,
        }
    }

    /// Why a conference does not fit. None: it does, as far as is known.
    fn full(&self, wanted: &Wanted) -> Option<String> {
        let limit = self.capacity * u64::from(wanted.fill_percent_max) / 100;
        if self.capacity > 0 && self.units + wanted.units > limit {
            return Some(format!(
                "has {} of {limit} units left ({} % of {} measured), {} are needed",
                limit.saturating_sub(self.units),
                wanted.fill_percent_max,
                self.capacity,
                wanted.units
            ));
        }
        if self.legs_max > 0 && self.legs + wanted.legs > self.legs_max {
            return Some(format!("has {} of {} legs", self.legs, self.legs_max));
        }
        (!self.ports_left).then(|| "has no media ports left".to_owned())
    }

    /// Millionths of the capacity in use with the conference.
    fn share_after(&self, wanted: &Wanted) -> u64 {
        self.share_of(self.units + wanted.units)
    }

    /// So much as millionths of the capacity.
    fn share_of(&self, units: u64) -> u64 {
        let capacity = if self.capacity > 0 { self.capacity } else { self.workers * WORKER_UNITS_ASSUMED };
        units.saturating_mul(1_000_000) / capacity
    }
}

/// Why a node cannot take a conference, however empty it is.
fn unfit(node: &Node) -> Option<String> {
    match node.state {
        NodeState::Ready if node.description.draining => Some("drains".to_owned()),
        NodeState::Ready => None,
        NodeState::Draining => Some("drains".to_owned()),
        NodeState::Cordoned => Some("is cordoned".to_owned()),
        NodeState::Lost => Some("does not answer".to_owned()),
        NodeState::Suspect => Some("has not been heard of for its lease".to_owned()),
        NodeState::Isolated => Some("lives, but does not answer control".to_owned()),
        NodeState::Joining | NodeState::Unspecified => Some("has not said yet what it runs".to_owned()),
    }
}

/// Whether a node can be told something.
pub fn reachable(node: &Node) -> bool {
    matches!(node.state, NodeState::Ready | NodeState::Draining)
}

#[cfg(test)]
mod tests;
