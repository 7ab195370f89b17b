//! Which worker takes a leg. Pure.
//!
//! Load is what a worker is expected to carry: the packets per second that it was measured at, and those of
//! routes placed on it so lately that no measurement can show them. Differences that do not matter are not
//! looked at, so that idle workers fill evenly, by legs.

pub mod rebalance;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// Packets per second that a new route is taken to bring, until it is measured: sound in frames of 20 ms.
const ROUTE_PACKETS_PER_SECOND: f64 = 50.0;
/// Loads are compared in steps of so many packets per second: less than a hundredth of what a worker carries.
const STEP_PACKETS_PER_SECOND: f64 = 5_000.0;
/// Measurements after which a route's packets are part of what is measured.
const PLACED_MEASUREMENTS: usize = 3;

/// A worker as placement sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerLoad {
    legs: u32,
    busy: f64,
    packets_before: u64,
    packets_per_second: f64,
    /// Routes placed since each of the last measurements, the latest first.
    placed: [u32; PLACED_MEASUREMENTS],
}

impl WorkerLoad {
    /// Takes note of a measurement: packets in and out since start, and the share of the time since the last
    /// measurement that the worker was busy, 0 to 1.
    pub fn measure(&mut self, packets: u64, busy: f64, since: Duration) {
        let seconds = since.as_secs_f64().max(1e-3);
        let rate = packets.saturating_sub(self.packets_before) as f64 / seconds;
        // Half of what was known before, so that one odd second does not decide.
        self.packets_per_second =
            if self.packets_before == 0 { rate } else { (self.packets_per_second + rate) / 2.0 };
        self.packets_before = packets;
        self.busy = busy;
        self.placed.rotate_right(1);
        self.placed[0] = 0;
    }

    /// Takes note of what is placed on the worker.
    pub fn place(&mut self, legs: u32, routes: u32) {
        self.legs += legs;
        self.placed[0] = self.placed[0].saturating_add(routes);
    }

    /// Takes note of legs that left.
    pub fn leave(&mut self, legs: u32) {
        self.legs = self.legs.saturating_sub(legs);
    }

    /// Legs held.
    pub fn legs(&self) -> u32 {
        self.legs
    }

    /// Share of the time that the worker is busy, 0 to 1.
    pub fn busy(&self) -> f64 {
        self.busy
    }

    /// Packets per second, in and out, that the worker was measured at.
    pub fn packets_per_second(&self) -> f64 {
        self.packets_per_second
    }

    /// Packets per second, in and out, that the worker is expected to carry.
    pub fn expected(&self) -> f64 {
        let placed: f64 = self.placed.iter().map(|routes| f64::from(*routes)).sum();
        self.packets_per_second + placed * ROUTE_PACKETS_PER_SECOND
    }

    /// What is compared: load in steps, then legs.
    fn rank(&self) -> (u64, u32) {
        ((self.expected() / STEP_PACKETS_PER_SECOND) as u64, self.legs)
    }
}

/// When a conference no longer has room on a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Legs of one conference on one worker, at least 1.
    pub legs_max: u32,
    /// Share of the time that a worker may be busy and still take legs of a conference that it has, 0 to 1.
    pub busy_max: f64,
}

/// The worker for another leg of a conference that has `legs` legs on some workers.
///
/// A conference stays together while its worker has room for it. Then it goes on on the one that carries
/// least of those that have none of it, unless they are all busy, and when all have their share, on the one
/// with the fewest of its legs.
///
/// Panics without workers: a node has at least one.
pub fn choose(loads: &[WorkerLoad], legs: &BTreeMap<usize, u32>, limits: &Limits) -> usize {
    let here = |worker: usize| legs.get(&worker).copied().unwrap_or(0);
    if legs.is_empty() {
        return least_loaded(loads);
    }
    let calm = |worker: &usize| loads[*worker].busy <= limits.busy_max;
    let known = || (0..loads.len()).filter(|worker| (1..limits.legs_max).contains(&here(*worker)));
    let new = || (0..loads.len()).filter(|worker| here(*worker) == 0);
    let most = |worker: &usize| (here(*worker), Reverse(*worker));
    known()
        .filter(calm)
        .max_by_key(most)
        .or_else(|| new().filter(calm).min_by_key(|worker| loads[*worker].rank()))
        .or_else(|| known().max_by_key(most))
        .or_else(|| (0..loads.len()).min_by_key(|worker| (here(*worker), loads[*worker].rank())))
        .expect("a node has at least one worker")
}

/// The worker that is expected to carry least; the first of equals.
///
/// Panics without workers: a node has at least one.
pub fn least_loaded(loads: &[WorkerLoad]) -> usize {
    (0..loads.len()).min_by_key(|worker| loads[*worker].rank()).expect("a node has at least one worker")
}

#[cfg(test)]
mod tests;
