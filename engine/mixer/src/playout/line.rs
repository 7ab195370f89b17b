//! Sound on its way to the mix: what was played lately, and what is decoded but not played yet.

use super::similar::most_similar;

/// How much of the past is kept, in milliseconds: two of the longest pitch periods and a pattern.
const PAST_MS: usize = 45;
/// Sound that can wait, in milliseconds: a longest packet on top of a tick, twice.
const WAITING_MS: usize = 300;
/// Shortest and longest pitch period: 400 and 67 Hz.
const PERIOD_US: (usize, usize) = (2500, 15_000);
/// How long one sound fades into another.
pub(super) const FADE_US: usize = 5000;

/// See the module.
pub(super) struct Line {
    rate_hz: usize,
    samples: Vec<f32>,
    /// Everything before is past.
    read: usize,
    /// Where one sound fades into another.
    blend: Vec<f32>,
}

impl Line {
    pub(super) fn new(rate_hz: u32) -> Line {
        let rate_hz = rate_hz as usize;
        let mut samples = Vec::with_capacity(rate_hz * (PAST_MS + WAITING_MS) * 2 / 1000);
        samples.resize(rate_hz * PAST_MS / 1000, 0.0);
        let read = samples.len();
        Line { rate_hz, samples, read, blend: Vec::with_capacity(rate_hz * FADE_US / 1_000_000) }
    }

    /// Samples that wait.
    pub(super) fn waiting(&self) -> usize {
        self.samples.len() - self.read
    }

    /// Appends sound.
    pub(super) fn push(&mut self, sound: &[f32]) {
        if self.samples.len() + sound.len() > self.samples.capacity() {
            self.forget();
        }
        self.samples.extend_from_slice(sound);
    }

    /// Appends the last sample again and again.
    pub(super) fn hold(&mut self, samples: usize) {
        if self.samples.len() + samples > self.samples.capacity() {
            self.forget();
        }
        let last = self.samples.last().copied().unwrap_or(0.0);
        self.samples.resize(self.samples.len() + samples, last);
    }

    /// Plays as much as `out` takes; the rest of it becomes silence.
    pub(super) fn read(&mut self, out: &mut [f32]) {
        let count = out.len().min(self.waiting());
        out[..count].copy_from_slice(&self.samples[self.read..self.read + count]);
        out[count..].fill(0.0);
        self.read += count;
    }

    /// Everything was silence, and nothing waits.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
        self.samples.resize(self.rate_hz * PAST_MS / 1000, 0.0);
        self.read = self.samples.len();
    }

    /// The latest sound, up to what waits last: [`PAST_MS`] or more.
    pub(super) fn past(&self) -> &[f32] {
        &self.samples
    }

    /// Takes out a pitch period of at most `samples_max` from what waits, if sound goes on much like before:
    /// with a likeness of `likeness_min`. How many samples are gone.
    pub(super) fn shorten(&mut self, samples_max: usize, likeness_min: f32) -> usize {
        let Some(period) = self.period(samples_max, likeness_min) else { return 0 };
        let fade = self.samples(FADE_US);
        let read = self.read;
        for at in 0..fade {
            let share = (at as f32 + 0.5) / fade as f32;
            self.samples[read + at] =
                self.samples[read + at] * (1.0 - share) + self.samples[read + period + at] * share;
        }
        self.samples.copy_within(read + period + fade.., read + fade);
        self.samples.truncate(self.samples.len() - period);
        period
    }

    /// Plays a pitch period twice, under the same condition. How many samples more there are.
    pub(super) fn stretch(&mut self, likeness_min: f32) -> usize {
        let Some(period) = self.period(usize::MAX, likeness_min) else { return 0 };
        let fade = self.samples(FADE_US);
        if self.samples.len() + period > self.samples.capacity() {
            self.forget();
        }
        let (read, end) = (self.read, self.samples.len());
        self.blend.clear();
        for at in 0..fade {
            let share = (at as f32 + 0.5) / fade as f32;
            let (again, on) = (self.samples[read + at], self.samples[read + period + at]);
            self.blend.push(on * (1.0 - share) + again * share);
        }
        self.samples.resize(end + period, 0.0);
        self.samples.copy_within(read + fade..end, read + period + fade);
        self.samples[read + period..read + period + fade].copy_from_slice(&self.blend);
        period
    }

    /// The length after which what waits repeats itself best.
    fn period(&self, samples_max: usize, likeness_min: f32) -> Option<usize> {
        let (shortest, fade) = (self.samples(PERIOD_US.0), self.samples(FADE_US));
        let waiting = &self.samples[self.read..];
        let longest = self.samples(PERIOD_US.1).min(samples_max).min(waiting.len().checked_sub(fade)?);
        if longest < shortest {
            return None;
        }
        let found = most_similar(&waiting[..fade], &waiting[shortest..longest + fade]);
        (found.likeness >= likeness_min).then_some(shortest + found.at)
    }

    fn samples(&self, us: usize) -> usize {
        self.rate_hz * us / 1_000_000
    }

    /// Makes room by forgetting what is long past.
    fn forget(&mut self) {
        let keep = self.rate_hz * PAST_MS / 1000;
        let gone = self.read - keep.min(self.read);
        self.samples.copy_within(gone.., 0);
        self.samples.truncate(self.samples.len() - gone);
        self.read -= gone;
    }
}
