//! What a leg costs that carries nothing: memory in the node and in the kernel, and the time to make it.

use crate::figures::Figure;
use crate::node::Node;
use crate::relay::results::verdict;
use crate::relay::{Leg, Room, Shape};
use crate::table;
use anyhow::Context;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Legs that are created.
const LEGS: usize = 10_000;
/// Legs of a room where there are many.
const ROOM_LEGS: usize = 10;
/// Most bytes of a node's memory for one leg.
const LEG_BYTES_MAX: f64 = 8192.0;
/// Most seconds that creating all legs may take: "a few".
const CREATE_SECONDS_MAX: f64 = 5.0;
/// Time in which a node gives back what it needed only for creating.
const SETTLE: Duration = Duration::from_secs(3);

/// How the legs are spread over conferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One conference: one publishes to all others.
    Lecture,
    /// Rooms of ten in which everybody talks to everybody: nine routes for each leg.
    Rooms,
}

/// Every spread.
pub const SPREADS: [Spread; 2] = [Spread::Lecture, Spread::Rooms];

impl Spread {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Spread::Lecture => "memory of 10000 legs, one conference",
            Spread::Rooms => "memory of 10000 legs, rooms of ten",
        }
    }

    fn rooms(self, ip: IpAddr) -> Vec<Room> {
        let remote = |index: usize| SocketAddr::new(ip, 10_000 + index as u16);
        let legs: Vec<Leg> = (0..LEGS)
            .map(|index| match self {
                Spread::Lecture => Leg { remote: remote(index), sends: index == 0, receives: index > 0 },
                Spread::Rooms => Leg { remote: remote(index), sends: true, receives: true },
            })
            .collect();
        match self {
            Spread::Lecture => vec![Room { legs }],
            Spread::Rooms => legs.chunks(ROOM_LEGS).map(|legs| Room { legs: legs.to_vec() }).collect(),
        }
    }
}

/// What the legs came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// How they were spread.
    pub spread: Spread,
    /// The node's name.
    pub subject: &'static str,
    /// Growth of the node's resident memory, for each leg.
    pub node_bytes: f64,
    /// Growth of the kernel's slabs, for each leg: sockets, files, and what io_uring keeps of them.
    pub kernel_bytes: f64,
    /// Seconds until all were made, over gRPC.
    pub create_seconds: f64,
}

/// Creates the legs on a node that was just started.
pub fn measure(
    spread: Spread,
    name: &'static str,
    node: &mut Node,
    pid: u32,
    ip: IpAddr,
) -> anyhow::Result<Footprint> {
    let rooms = spread.rooms(ip);
    let (node_before, kernel_before) = (resident_bytes(pid)?, slab_bytes()?);
    let began = Instant::now();
    node.create(Shape::Audio, &rooms).with_context(|| format!("{}: {name}", spread.name()))?;
    let create_seconds = began.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let per_leg = |after: u64, before: u64| after.saturating_sub(before) as f64 / LEGS as f64;
    let footprint = Footprint {
        spread,
        subject: name,
        node_bytes: per_leg(resident_bytes(pid)?, node_before),
        kernel_bytes: per_leg(slab_bytes()?, kernel_before),
        create_seconds,
    };
    node.end()?;
    Ok(footprint)
}

impl Footprint {
    /// The figures, with their goals.
    pub fn figures(&self) -> Vec<Figure> {
        let row = format!("{} / {}", self.spread.name(), self.subject);
        let figure = |metric, value, unit, goal| Figure { row: row.clone(), metric, value, unit, goal };
        vec![
            figure("node_memory_per_leg", self.node_bytes, "bytes", Some(LEG_BYTES_MAX)),
            figure("kernel_memory_per_leg", self.kernel_bytes, "bytes", None),
            figure("create_time", self.create_seconds, "s", Some(CREATE_SECONDS_MAX)),
        ]
    }
}

/// The table of all footprints; empty when there are none.
pub fn footprint_table(footprints: &[Footprint]) -> String {
    let lines: Vec<Vec<String>> = footprints
        .iter()
        .map(|footprint| {
            let goals: Vec<String> = footprint.figures().iter().filter_map(verdict).collect();
            vec![
                format!("{}, {}", footprint.spread.name(), footprint.subject),
                format!("{:.0}", footprint.node_bytes),
                format!("{:.0}", footprint.kernel_bytes),
                format!("{:.2}", footprint.create_seconds),
                goals.join(", "),
            ]
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let header = ["legs", "node B/leg", "kernel B/leg", "created in s", "goals"];
    format!("### memory and creation\n\n{}", table::render(&header, &lines))
}

/// Resident memory of a process (proc(5), smaps_rollup).
fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    kib_of(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// Memory of all slabs of the kernel (proc(5), meminfo).
fn slab_bytes() -> anyhow::Result<u64> {
    kib_of("/proc/meminfo", "Slab:")
}

fn kib_of(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    let kib: u64 = line.with_context(|| format!("{path} has no {name}"))?.parse()?;
    Ok(kib * 1024)
}
