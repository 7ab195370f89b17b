//! A strip is one sound that is being mixed, source or prompt, at every rate that outputs need.
//!
//! Only what is heard has one. Gains and fades are applied here, so that no change is a step.

use super::kernel::Ramp;
use super::limits::{RATES_MAX, TICKS_PER_SECOND};
use super::rate::{Converter, Filter};
use std::sync::Arc;

/// Rates of outputs as a set of bits; bit 0 is the mix's own.
pub(crate) type RateMask = u16;

const _: () = assert!(RATES_MAX <= RateMask::BITS as usize);

/// Ticks after the fade for which a strip is kept, so that the filters' ends are heard.
const FLUSH_TICKS: u8 = 1;

#[derive(Debug)]
struct Track {
    converter: Converter,
    samples: Vec<f32>,
}

/// One sound.
#[derive(Debug)]
pub(crate) struct Strip {
    /// This tick's sound at the rate of the mix.
    pub samples: Vec<f32>,
    /// In and out.
    pub fade: Ramp,
    /// The sound's own gain.
    pub gain: Ramp,
    /// The gain at which those hear it for whom nothing else is set.
    pub heard: Ramp,
    silent_ticks: u8,
    tracks: Vec<Track>,
}

impl Strip {
    /// The sound at a rate; what [`finish`](Self::finish) was not asked for is old.
    pub(crate) fn at(&self, rate: usize) -> &[f32] {
        match rate.checked_sub(1) {
            None => &self.samples,
            Some(track) => &self.tracks[track].samples,
        }
    }

    /// Whether it is (still) to be filled with sound in this tick.
    pub(crate) fn is_audible(&self) -> bool {
        self.fade.from != 0.0 || self.fade.to != 0.0
    }

    /// Begins a tick: whether the strip is over, faded out and its filters empty.
    pub(crate) fn is_over(&mut self) -> bool {
        if self.is_audible() {
            self.silent_ticks = 0;
            return false;
        }
        self.silent_ticks += 1;
        self.silent_ticks > FLUSH_TICKS
    }

    /// Applies the gains and converts to the rates of `mask`.
    fn finish(&mut self, mask: RateMask) {
        self.fade.times(self.gain).apply(&mut self.samples);
        for (index, track) in self.tracks.iter_mut().enumerate() {
            if mask & (2 << index) != 0 {
                track.converter.convert(&self.samples, &mut track.samples);
            }
        }
    }
}

/// All strips, and the rates they have.
#[derive(Debug)]
pub(crate) struct Strips {
    items: Vec<Strip>,
    free: Vec<u32>,
    /// Rates that outputs have; the first one is the mix's.
    rates_hz: Vec<u32>,
    filters: Vec<Arc<Filter>>,
}

impl Strips {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Strips { items: Vec::new(), free: Vec::new(), rates_hz: vec![rate_hz], filters: Vec::new() }
    }

    /// Samples of a tick at a rate.
    pub(crate) fn frame(&self, rate: usize) -> usize {
        (self.rates_hz[rate] / TICKS_PER_SECOND) as usize
    }

    /// How many rates there are.
    pub(crate) fn rates(&self) -> usize {
        self.rates_hz.len()
    }

    /// The index of a rate, if it is there or there is room for it. Nothing changes.
    pub(crate) fn has_room_for(&self, rate_hz: u32) -> bool {
        self.rates_hz.contains(&rate_hz) || self.rates_hz.len() < RATES_MAX
    }

    /// The index of a rate, which is added when it is new.
    pub(crate) fn rate(&mut self, rate_hz: u32) -> usize {
        if let Some(index) = self.rates_hz.iter().position(|hz| *hz == rate_hz) {
            return index;
        }
        let filter = Arc::new(Filter::new(self.rates_hz[0], rate_hz));
        self.rates_hz.push(rate_hz);
        self.filters.push(filter.clone());
        for strip in &mut self.items {
            strip.tracks.push(track(&filter));
        }
        self.rates_hz.len() - 1
    }

    /// A strip that is silent so far.
    pub(crate) fn acquire(&mut self, gain: f32, heard: f32) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(Strip {
                samples: vec![0.0; self.frame(0)],
                fade: Ramp::at(0.0),
                gain: Ramp::at(0.0),
                heard: Ramp::at(0.0),
                silent_ticks: 0,
                tracks: self.filters.iter().map(track).collect(),
            });
            self.items.len() as u32 - 1
        });
        let strip = &mut self.items[place as usize];
        strip.fade = Ramp { from: 0.0, to: 1.0 };
        strip.gain = Ramp::at(gain);
        strip.heard = Ramp::at(heard);
        strip.silent_ticks = 0;
        strip.tracks.iter_mut().for_each(|track| track.converter.reset());
        place
    }

    /// Gives a strip back.
    pub(crate) fn release(&mut self, place: u32) {
        debug_assert!(!self.free.contains(&place));
        self.free.push(place);
    }

    pub(crate) fn at(&self, place: u32) -> &Strip {
        &self.items[place as usize]
    }

    pub(crate) fn at_mut(&mut self, place: u32) -> &mut Strip {
        &mut self.items[place as usize]
    }

    /// Applies a strip's gains and converts it.
    pub(crate) fn finish(&mut self, place: u32, mask: RateMask) {
        self.items[place as usize].finish(mask);
    }

    /// The tick is over.
    pub(crate) fn settle(&mut self, place: u32) {
        let strip = &mut self.items[place as usize];
        strip.fade.settle();
        strip.gain.settle();
        strip.heard.settle();
    }
}

fn track(filter: &Arc<Filter>) -> Track {
    let converter = Converter::new(filter.clone());
    Track { samples: vec![0.0; converter.samples_out()], converter }
}
