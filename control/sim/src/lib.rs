//! The simulated world that control is tested in: control processes, media nodes, a store, applications and
//! a network, in one thread and in virtual time. One seed makes one history, always the same.
//!
//! Control is the real core: each process is a `State` of `motet-control` that takes events by `step`, and
//! what it wants done is carried out here instead of by `control/src/runtime.rs`. Nodes and the store are
//! doubles that keep to the contracts of the real ones and fail in the ways that those can fail. Media are
//! left out: what is checked is who runs what, and who was told what.
//!
//! ```text
//! Plan (drawn from the seed) -> World: agenda of happenings -> Outcome: violations, counts, trace
//!          faults                 css*  node*  store  client*        checks, all the time and at the end
//! ```
//!
//! `docs/testing.md` says which conditions are checked and how to replay a failure.
#![forbid(unsafe_code)]

mod checks;
mod client;
mod css;
mod edge;
mod faults;
pub mod joins;
mod ledger;
mod message;
mod network;
mod node;
mod plan;
mod points;
mod random;
pub mod scenarios;
mod servers;
pub mod small;
mod store;
mod trace;
mod watch;
mod world;

pub use checks::{FENCE_MS, Mutation};
pub use ledger::{Belief, Entry, Ledger, Person};
pub use message::Who;
pub use network::{CALM, Manner};
pub use plan::{Fault, Order, Ordered, Plan, Planned};
pub use points::{Crash, EFFECTS, EVENTS, Label, Point, Points};
pub use random::Random;
pub use trace::Violation;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use trace::Trace;
use world::World;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// Rules that were broken; none is the aim.
    pub violations: Vec<Violation>,
    /// How often what happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Points of the core that were passed, if they were counted.
    pub points: Points,
    /// What happened, if it was kept.
    pub trace: Vec<String>,
    /// Virtual milliseconds.
    pub ended_ms: u64,
}

/// Runs a world to its end.
pub fn run(plan: Plan, trace: bool, points: Points) -> Outcome {
    let mut world = World::new(plan, Trace::new(trace), points);
    world.begin();
    while world.advance() {}
    world.outcome()
}

/// Runs the worlds of many seeds on all cores. Gives what failed, in the order of seeds, and the sum of all
/// counts.
pub fn run_all(
    seeds: std::ops::RangeInclusive<u64>,
    threads: usize,
    draw: impl Fn(u64) -> Plan + Sync,
) -> (Vec<Outcome>, BTreeMap<&'static str, u64>) {
    let next = AtomicU64::new(*seeds.start());
    let found = Mutex::new((Vec::new(), BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > *seeds.end() {
                        return;
                    }
                    let outcome = run(draw(seed), false, Points::default());
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    for (what, times) in &outcome.counts {
                        *found.1.entry(*what).or_default() += times;
                    }
                    if !outcome.violations.is_empty() {
                        found.0.push(outcome);
                    }
                }
            });
        }
    });
    let (mut failed, counts) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|outcome| outcome.plan.seed);
    (failed, counts)
}

impl World {
    fn outcome(mut self) -> Outcome {
        self.counts.insert("writes refused", self.watchman.refused_writes);
        Outcome {
            plan: self.plan,
            violations: self.watchman.violations,
            counts: self.counts,
            points: self.points,
            trace: self.trace.lines().to_vec(),
            ended_ms: self.now_ms,
        }
    }
}

impl Outcome {
    /// The plan, the last lines of the trace before the first violation, and the violations.
    pub fn report(&self, lines: usize) -> String {
        let mut text = format!("{}\n", self.plan);
        let first = self.trace.iter().position(|line| line.contains("VIOLATION"));
        let end = first.map_or(self.trace.len(), |first| first + 1);
        for line in &self.trace[end.saturating_sub(lines)..end] {
            text += &format!("{line}\n");
        }
        for violation in &self.violations {
            text += &format!("{violation}\n");
        }
        text
    }
}
