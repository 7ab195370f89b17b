//! One room: who sits on its stage, and the sum of what they say.

use super::GroupId;
use super::dtmf::Relay;
use super::kernel::Ramp;
use super::limiter::Limiter;
use super::stage::Stage;
use super::strip::{RateMask, Strips};

pub(crate) struct Group {
    pub id: GroupId,
    /// Sources, outputs, prompts, and outputs that hear it as a background; a room without may be forgotten.
    pub members: u32,
    pub stage: Stage,
    /// Sources that are mixed, fading ones included: their strips.
    pub strips: Vec<u32>,
    /// Prompts for all: their strips.
    pub prompts: Vec<u32>,
    /// Of the sources, while a prompt plays.
    pub duck: Ramp,
    /// Only these may speak, by number, when the floor is not open.
    pub floor: Option<Vec<super::SourceId>>,
    /// Rates of the outputs, those included that hear it as a background.
    pub rates: RateMask,
    /// The last tick in which somebody who has left crosses over from its sound.
    pub needed_tick: u64,
    pub tap: bool,
    pub tap_limiter: Limiter,
    pub relay: Option<Relay>,
    /// The active speaker, and the one that has been louder for some ticks.
    pub active: Option<u32>,
    pub rival: Option<(u32, u32)>,
    /// Of this tick: the most prominent of those who speak, and by how much.
    pub best: Option<(u32, f32)>,
    /// By rate: the sum of the sources, and that of the prompts.
    sums: Vec<Vec<f32>>,
    prompt_sums: Vec<Vec<f32>>,
}

impl Group {
    pub(crate) fn new(id: GroupId) -> Self {
        Group {
            id,
            members: 0,
            stage: Stage::default(),
            strips: Vec::new(),
            prompts: Vec::new(),
            duck: Ramp::at(1.0),
            floor: None,
            rates: 0,
            needed_tick: 0,
            tap: false,
            tap_limiter: Limiter::new(),
            relay: None,
            active: None,
            rival: None,
            best: None,
            sums: Vec::new(),
            prompt_sums: Vec::new(),
        }
    }

    /// Whether nothing would be lost with it after `tick`.
    pub(crate) fn is_empty(&self, tick: u64) -> bool {
        let needed = self.needed_tick > tick || self.floor.is_some() || self.tap;
        self.members == 0 && self.strips.is_empty() && !needed
    }

    /// The rates at which its sound is needed.
    pub(crate) fn mask(&self) -> RateMask {
        self.rates | RateMask::from(self.tap)
    }

    /// Sums up at every rate that is needed.
    pub(crate) fn sum(&mut self, strips: &Strips) {
        let mask = self.mask();
        for rate in (0..strips.rates()).filter(|rate| mask & (1 << rate) != 0) {
            let sum = cleared(&mut self.sums, rate, strips);
            for place in &self.strips {
                let strip = strips.at(*place);
                strip.heard.add(sum, strip.at(rate));
            }
            let sum = cleared(&mut self.prompt_sums, rate, strips);
            for place in &self.prompts {
                Ramp::at(1.0).add(sum, strips.at(*place).at(rate));
            }
        }
    }

    /// What the sources say, for whom nothing else is set.
    pub(crate) fn sources_at(&self, rate: usize) -> &[f32] {
        &self.sums[rate]
    }

    /// What prompts for all say.
    pub(crate) fn prompts_at(&self, rate: usize) -> &[f32] {
        &self.prompt_sums[rate]
    }
}

/// The sum at a rate, zero so far.
fn cleared<'a>(sums: &'a mut Vec<Vec<f32>>, rate: usize, strips: &Strips) -> &'a mut [f32] {
    while sums.len() < strips.rates() {
        sums.push(Vec::new());
    }
    let sum = &mut sums[rate];
    sum.clear();
    sum.resize(strips.frame(rate), 0.0);
    sum
}
