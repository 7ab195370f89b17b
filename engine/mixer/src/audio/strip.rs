//! A strip is one sound that is being mixed, source or prompt: as it came, and at every rate that outputs need.
//!
//! Only what is heard has one. Gains and fades are applied here, so that no change is a step. Each strip has a rate of
//! its own, its source's, and is converted from there to each output's at once: what two telephones say to each other
//! is not converted at all, whoever else is there.

use super::kernel::Ramp;
use super::limits::{RATES_MAX, TICKS_PER_SECOND};
use super::rate::{self, Converter, Filter};
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
    /// This tick's sound at the strip's own rate.
    pub samples: Vec<f32>,
    /// In and out.
    pub fade: Ramp,
    /// The sound's own gain.
    pub gain: Ramp,
    /// The gain at which those hear it for whom nothing else is set.
    pub heard: Ramp,
    silent_ticks: u8,
    rate_hz: u32,
    /// By rate; none: the strip's own.
    tracks: Vec<Option<Track>>,
}

impl Strip {
    /// The sound at a rate; what [`finish`](Self::finish) was not asked for is old.
    pub(crate) fn at(&self, rate: usize) -> &[f32] {
        self.tracks[rate].as_ref().map_or(&self.samples, |track| &track.samples)
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
            if let Some(track) = track.as_mut().filter(|_| mask & (1 << index) != 0) {
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
    /// Rates that strips have.
    own_rates_hz: Vec<u32>,
    /// From each of the latter to each of the former. Made by commands, so that ticks need not wait for them.
    filters: Vec<(u32, u32, Arc<Filter>)>,
}

impl Strips {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Strips {
            items: Vec::new(),
            free: Vec::new(),
            rates_hz: vec![rate_hz],
            own_rates_hz: vec![rate_hz],
            filters: Vec::new(),
        }
    }

    /// Samples of a tick at a rate.
    pub(crate) fn frame(&self, rate: usize) -> usize {
        samples(self.rates_hz[rate])
    }

    /// How many rates there are.
    pub(crate) fn rates(&self) -> usize {
        self.rates_hz.len()
    }

    /// The rates of a mask, in Hz.
    pub(crate) fn rates_of(&self, mask: RateMask) -> impl Iterator<Item = u32> {
        self.rates_hz.iter().enumerate().filter(move |(rate, _)| mask & (1 << rate) != 0).map(|(_, hz)| *hz)
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
        for own_hz in self.own_rates_hz.clone() {
            self.make_filter(own_hz, rate_hz);
        }
        self.rates_hz.push(rate_hz);
        for at in 0..self.items.len() {
            let track = self.track(self.items[at].rate_hz, rate_hz);
            self.items[at].tracks.push(track);
        }
        self.rates_hz.len() - 1
    }

    /// Strips may be of this rate from now on.
    pub(crate) fn prepare(&mut self, own_hz: u32) {
        if self.own_rates_hz.contains(&own_hz) {
            return;
        }
        self.own_rates_hz.push(own_hz);
        for rate_hz in self.rates_hz.clone() {
            self.make_filter(own_hz, rate_hz);
        }
    }

    fn make_filter(&mut self, own_hz: u32, rate_hz: u32) {
        if own_hz != rate_hz {
            let usual = rate::for_sources(own_hz, rate_hz);
            let filter = usual.unwrap_or_else(|| Arc::new(Filter::new(own_hz, rate_hz)));
            self.filters.push((own_hz, rate_hz, filter));
        }
    }

    /// What brings a strip to a rate; none: it has that one.
    fn track(&self, own_hz: u32, rate_hz: u32) -> Option<Track> {
        if own_hz == rate_hz {
            return None;
        }
        let filter = self.filters.iter().find(|(from, to, _)| (*from, *to) == (own_hz, rate_hz));
        let (_, _, filter) = filter.expect("filters of all rates were made");
        let converter = Converter::new(filter.clone());
        Some(Track { samples: vec![0.0; converter.samples_out()], converter })
    }

    /// A strip of a rate that was prepared, silent so far.
    pub(crate) fn acquire(&mut self, own_hz: u32, gain: f32, heard: f32) -> u32 {
        let free = self.free.iter().rposition(|place| self.items[*place as usize].rate_hz == own_hz);
        let place = free.map(|at| self.free.swap_remove(at)).unwrap_or_else(|| {
            self.items.push(Strip {
                samples: vec![0.0; samples(own_hz)],
                fade: Ramp::at(0.0),
                gain: Ramp::at(0.0),
                heard: Ramp::at(0.0),
                silent_ticks: 0,
                rate_hz: own_hz,
                tracks: self.rates_hz.iter().map(|rate_hz| self.track(own_hz, *rate_hz)).collect(),
            });
            self.items.len() as u32 - 1
        });
        let strip = &mut self.items[place as usize];
        strip.fade = Ramp { from: 0.0, to: 1.0 };
        strip.gain = Ramp::at(gain);
        strip.heard = Ramp::at(heard);
        strip.silent_ticks = 0;
        strip.tracks.iter_mut().flatten().for_each(|track| track.converter.reset());
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

/// Samples of a tick.
fn samples(rate_hz: u32) -> usize {
    (rate_hz / TICKS_PER_SECOND) as usize
}
