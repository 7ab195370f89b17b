//! When a conference goes to another worker because its own is too busy, and which. Pure.
//!
//! Moves cost little, but conferences that wander to and fro help nobody. So one goes only
//!
//! - when its worker was the busiest, and busier than a mark, in `LOOKS` looks in a row, a second apart, and the
//!   calmest has clearly less to do (`EVEN`);
//! - when the busier of the two is then less busy by half of what the conference takes, or more (`GAIN`);
//! - when it has not been moved for `REST`, and fewer than `MOVES_PER_MINUTE` were in the last minute.
//!
//! As the busier of the two always has less to do after a move, none leads back to where it was before while
//! the load is the same.
//!
//! How busy a conference keeps a worker is taken from its share of the worker's packets.

use motet_rtp::Time;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Looks in a row at which a worker is too busy.
const LOOKS: u32 = 3;
/// Two workers are even when their mean is more than this share of the busier one.
const EVEN: f64 = 0.85;
/// What the busier of the two gains, as a share of what the conference takes.
const GAIN: f64 = 0.5;
/// And as a share of all that it does: less is not worth a move.
const GAIN_OF_ALL: f64 = 0.01;
/// A conference is left alone for so long after a move.
const REST: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);
/// Moves in any minute.
const MOVES_PER_MINUTE: usize = 12;
const _: () =
    assert!(REST.as_secs() >= MINUTE.as_secs(), "what was moved in a minute is known from what rests");

/// What was seen, and what was moved.
#[derive(Debug)]
pub struct Rebalancer {
    above: f64,
    /// The worker that is too busy, and at how many looks in a row.
    busiest: Option<(usize, u32)>,
    /// When conferences were weighed last, and the packets of each until then.
    weighed: Option<(Time, BTreeMap<String, u64>)>,
    moved: HashMap<String, Time>,
}

/// Workers at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Workers<'a> {
    /// Share of the last second that each was busy, 0 to 1.
    pub busy: &'a [f64],
    /// Packets per second, in and out, of the worker that is too busy.
    pub packets_per_second: f64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The conference that is to go.
    pub conference: String,
    /// The worker that takes it.
    pub to: usize,
}

impl Rebalancer {
    /// Eases workers that are busy for more than the share `above` of the time, 0 to 1.
    pub fn new(above: f64) -> Rebalancer {
        Rebalancer { above, busiest: None, weighed: None, moved: HashMap::new() }
    }

    /// Once a second: how busy each worker was. Gives the worker whose conferences are to be weighed
    /// ([`Rebalancer::choose`]).
    pub fn look(&mut self, now: Time, busy: &[f64]) -> Option<usize> {
        self.moved.retain(|_, at| now.since(*at) < REST);
        let (from, to) = extremes(busy)?;
        let mean = f64::midpoint(busy[from], busy[to]);
        if busy[from] <= self.above || mean > EVEN * busy[from] {
            (self.busiest, self.weighed) = (None, None);
            return None;
        }
        let looks = match self.busiest {
            Some((worker, looks)) if worker == from => looks.saturating_add(1),
            _ => {
                self.weighed = None;
                1
            }
        };
        self.busiest = Some((from, looks));
        let lately = self.moved.values().filter(|at| now.since(**at) < MINUTE).count();
        // Weighed twice at least: what counts is what came in between.
        (looks + 1 >= LOOKS && lately < MOVES_PER_MINUTE).then_some(from)
    }

    /// After a look that asked for it: packets in and out so far of each conference that could leave the worker.
    pub fn choose(
        &mut self,
        now: Time,
        workers: Workers<'_>,
        packets: BTreeMap<String, u64>,
    ) -> Option<Choice> {
        let before = self.weighed.replace((now, packets));
        let (_, packets) = self.weighed.as_ref().expect("it was put there");
        let ((then, before), (from, looks)) = (before?, self.busiest?);
        let (_, to) = extremes(workers.busy)?;
        let seconds = now.since(then).as_secs_f64();
        if looks < LOOKS || seconds <= 0.0 {
            return None;
        }
        let rate = |id: &String| {
            let (now, then) = (packets.get(id)?, before.get(id)?);
            Some(now.saturating_sub(*then) as f64 / seconds)
        };
        let together: f64 = packets.keys().filter_map(rate).sum();
        let all = workers.packets_per_second.max(together);
        let (high, low) = (workers.busy[from], workers.busy[to]);
        // What it takes, and by how much less busy the busier of the two is without it here.
        let weight = |rate: f64| {
            let takes = high * rate / all;
            (takes, takes.min(high - low - takes))
        };
        let rested = packets.keys().rev().filter(|id| !self.moved.contains_key(*id));
        let weights = rested.filter_map(|id| Some((weight(rate(id)?), id)));
        let worthwhile = weights
            .filter(|((takes, gain), _)| *gain >= GAIN * takes && *gain >= GAIN_OF_ALL * high)
            .max_by(|((_, one), _), ((_, other), _)| one.total_cmp(other));
        worthwhile.map(|(_, id)| Choice { conference: id.clone(), to })
    }

    /// A conference was moved, or that was tried.
    pub fn on_move(&mut self, now: Time, conference: &str) {
        self.moved.insert(conference.to_owned(), now);
        // Workers are looked at anew.
        (self.busiest, self.weighed) = (None, None);
    }
}

/// The busiest and the calmest; none: there are not two.
fn extremes(busy: &[f64]) -> Option<(usize, usize)> {
    let workers = || 0..busy.len();
    let busiest = workers().rev().max_by(|a, b| busy[*a].total_cmp(&busy[*b]))?;
    let calmest = workers().min_by(|a, b| busy[*a].total_cmp(&busy[*b]))?;
    (busiest != calmest).then_some((busiest, calmest))
}

#[cfg(test)]
mod tests;
