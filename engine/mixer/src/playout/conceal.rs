//! Sound made up where a codec has nothing of its own: the last pitch period again and again, fading (in idea,
//! ITU-T G.711 appendix I), and what joins it to the sound that comes after.

use super::line::FADE_US;
use super::similar::most_similar;
use crate::kernel::energy;

/// How long made-up sound is as loud as what it follows, and when it is silent.
const FULL_US: usize = 10_000;
pub(super) const SILENT_US: usize = 60_000;
/// Bounds of the pitch period, and how much of the end is compared with the past.
const PERIOD_US: (usize, usize) = (2500, 15_000);
const PATTERN_US: usize = 10_000;
/// Below this likeness there is no pitch: a short period would make noise buzz.
const VOICED: f32 = 0.4;
/// From this likeness on sound repeats itself so well that codecs do no better.
const STEADY: f32 = 0.8;
/// A decoder that has made sound up may take a while to find the real one again. Real sound with less than this part
/// of the energy fades in more slowly.
const FAINT: f32 = 0.25;
const FAINT_FADE_US: usize = 20_000;

/// Goes on where sound ends.
pub(super) struct Concealment {
    rate_hz: usize,
    /// One period, whose end leads to its beginning.
    period: Vec<f32>,
    /// Samples made up.
    made: usize,
    active: bool,
    steady: bool,
    /// From this sample on it gets no softer.
    held: usize,
}

impl Concealment {
    pub(super) fn new(rate_hz: u32) -> Concealment {
        let rate_hz = rate_hz as usize;
        let period = Vec::with_capacity(rate_hz * PERIOD_US.1 / 1_000_000);
        Concealment { rate_hz, period, made: 0, active: false, steady: false, held: usize::MAX }
    }

    /// Begins after `past`, unless it has begun. `past` is at least 25 ms long.
    pub(super) fn begin(&mut self, past: &[f32]) {
        if self.active {
            return;
        }
        let (shortest, longest) = (self.samples(PERIOD_US.0), self.samples(PERIOD_US.1));
        let (end, pattern) = (past.len(), self.samples(PATTERN_US));
        let region = &past[end - pattern - longest..end - shortest];
        let found = most_similar(&past[end - pattern..], region);
        let length = if found.likeness < VOICED { longest } else { longest - found.at };
        self.period.clear();
        self.period.extend_from_slice(&past[end - length..]);
        // The last quarter fades into what was before the period, so that it can be followed by itself.
        let quarter = length / 4;
        for at in 0..quarter {
            let share = (at + 1) as f32 / quarter as f32;
            let before = past[end - length - quarter + at];
            let sample = &mut self.period[length - quarter + at];
            *sample = *sample * (1.0 - share) + before * share;
        }
        self.made = 0;
        self.active = true;
        self.steady = found.likeness >= STEADY;
        self.held = usize::MAX;
    }

    /// What is real comes after this piece: it need not get softer until then.
    pub(super) fn hold(&mut self) {
        self.held = self.held.min(self.made);
    }

    /// What is made up has begun.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// What it follows repeats itself: a tone, or a vowel that is held.
    pub(super) fn is_steady(&self) -> bool {
        self.steady
    }

    /// Appends `samples` more.
    pub(super) fn extend(&mut self, samples: usize, sound: &mut Vec<f32>) {
        sound.extend((0..samples).map(|_| {
            let sample = self.period[self.made % self.period.len()] * self.gain(self.made);
            self.made += 1;
            sample
        }));
    }

    /// What comes now is real: it fades in over what would have been made up. `past` as for [`Self::begin`].
    pub(super) fn blend_into(&mut self, past: &[f32], sound: &mut [f32]) {
        self.begin(past);
        let mut fade = self.samples(FADE_US).min(sound.len());
        if energy(&sound[..fade]) < FAINT * self.energy_of_next(fade) {
            fade = self.samples(FAINT_FADE_US).min(sound.len());
        }
        for (at, sample) in sound[..fade].iter_mut().enumerate() {
            let share = (at as f32 + 0.5) / fade as f32;
            let made_up = self.period[self.made % self.period.len()] * self.gain(self.made);
            *sample = *sample * share + made_up * (1.0 - share);
            self.made += 1;
        }
        self.active = false;
    }

    /// Nothing is to be joined.
    pub(super) fn end(&mut self) {
        self.active = false;
    }

    /// Of so many samples that would have been made up next.
    fn energy_of_next(&self, samples: usize) -> f32 {
        let next = (self.made..self.made + samples)
            .map(|made| self.period[made % self.period.len()] * self.gain(made));
        next.map(|sample| sample * sample).sum()
    }

    fn gain(&self, made: usize) -> f32 {
        let (full, silent) = (self.samples(FULL_US), self.samples(SILENT_US));
        let made = made.min(self.held);
        (silent.saturating_sub(made) as f32 / (silent - full) as f32).min(1.0)
    }

    fn samples(&self, us: usize) -> usize {
        self.rate_hz * us / 1_000_000
    }
}
