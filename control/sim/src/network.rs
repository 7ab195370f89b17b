//! Links between processes: how long messages take, and which of them never arrive.

use crate::message::Who;
use crate::random::Random;
use std::collections::BTreeMap;

/// How links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Messages lost, of a thousand.
    pub lost_permille: u64,
    /// Commands to nodes that arrive twice, of a thousand.
    pub twice_permille: u64,
    /// Shortest time that a message takes.
    pub delay_ms_min: u64,
    /// Longest; messages overtake each other.
    pub delay_ms_max: u64,
}

/// A network without faults.
pub const CALM: Manner = Manner { lost_permille: 0, twice_permille: 0, delay_ms_min: 1, delay_ms_max: 3 };

/// All links.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) manner: Manner,
    /// Cut links and when each heals. A link has a direction.
    cuts: BTreeMap<(Who, Who), u64>,
    random: Random,
}

/// What becomes of a message that meets a cut: as with TCP, it may still come when the link heals.
const HELD_MS_MAX: u64 = 5_000;

impl Network {
    pub(crate) fn new(manner: Manner, random: Random) -> Network {
        Network { manner, cuts: BTreeMap::new(), random }
    }

    pub(crate) fn cut(&mut self, from: Who, to: Who, until_ms: u64) {
        let until = self.cuts.entry((from, to)).or_default();
        *until = until_ms.max(*until);
    }

    pub(crate) fn is_cut(&self, from: Who, to: Who, now_ms: u64) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|until| *until > now_ms)
    }

    /// Whether both directions work.
    pub(crate) fn joined(&self, a: Who, b: Who, now_ms: u64) -> bool {
        !self.is_cut(a, b, now_ms) && !self.is_cut(b, a, now_ms)
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.manner = CALM;
    }

    pub(crate) fn delay(&mut self) -> u64 {
        let Manner { delay_ms_min, delay_ms_max, .. } = self.manner;
        // Most are quick; a few take as long as can be.
        let max = if self.random.permille(900) { (delay_ms_min * 3).min(delay_ms_max) } else { delay_ms_max };
        self.random.between(delay_ms_min, max)
    }

    /// When a message arrives; never, if it is lost.
    pub(crate) fn arrival(&mut self, from: Who, to: Who, now_ms: u64) -> Option<u64> {
        let delay = self.delay();
        if let Some(until) = self.cuts.get(&(from, to)).filter(|until| **until > now_ms) {
            let held = *until <= now_ms + HELD_MS_MAX && self.random.permille(500);
            return held.then_some(until + delay);
        }
        (!self.random.permille(self.manner.lost_permille)).then_some(now_ms + delay)
    }

    /// Whether a command arrives a second time.
    pub(crate) fn twice(&mut self) -> bool {
        self.random.permille(self.manner.twice_permille)
    }
}
