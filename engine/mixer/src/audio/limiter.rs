//! Keeps a mix below full scale without clipping and without delay.
//!
//! A tick's samples are all there, so the gain can go down before the peak that needs it, within the tick: it is
//! at what a millisecond needs when that millisecond begins. Only the first millisecond of a tick can find the
//! gain too high; a soft knee holds it below full scale. The gain comes back by 6 dB in about 150 ms.

use super::kernel;

/// Peaks are brought down to this: -0.5 dB, room for the codec's own overshoot.
const CEILING: f32 = 0.944;
/// Milliseconds, and so gains, of a tick.
const SPANS: usize = super::limits::TICK_MS as usize;
/// The gain rises so much in a millisecond.
const RELEASE_STEP: f32 = 0.5 / 150.0;

/// The state of one mix's limiter: nothing but the gain, so that a copy goes on where the original is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limiter {
    gain: f32,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Limiter { gain: 1.0 }
    }

    /// Limits one tick; whether anything was changed.
    pub(crate) fn process(&mut self, samples: &mut [f32]) -> bool {
        if self.gain >= 1.0 && kernel::peak(samples) <= CEILING {
            return false;
        }
        let mut needed = [1.0_f32; SPANS + 1];
        for (span, needed) in needed.iter_mut().take(SPANS).enumerate() {
            let peak = kernel::peak(&samples[bounds(span, samples.len())]);
            *needed = if peak > CEILING { CEILING / peak } else { 1.0 };
        }
        for span in 0..SPANS {
            let from = self.gain;
            // What the next millisecond needs is there when it begins.
            let to = needed[span].min(needed[span + 1]).min(from + RELEASE_STEP).min(1.0);
            let part = bounds(span, samples.len());
            let part = &mut samples[part];
            let step = (to - from) / part.len().max(1) as f32;
            for (n, sample) in part.iter_mut().enumerate() {
                *sample = knee(*sample * (from + step * n as f32));
            }
            self.gain = to;
        }
        true
    }
}

/// The samples of one millisecond; at rates of no whole samples a millisecond, as near as can be.
fn bounds(span: usize, samples: usize) -> std::ops::Range<usize> {
    span * samples / SPANS..(span + 1) * samples / SPANS
}

/// Straight up to the ceiling, bent above, never beyond full scale.
fn knee(sample: f32) -> f32 {
    let over = sample.abs() - CEILING;
    if over <= 0.0 {
        return sample;
    }
    let room = 1.0 - CEILING;
    (CEILING + room * (over / room).tanh()).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::{CEILING, Limiter};

    fn tone(hz: f32, amplitude: f32, start: usize) -> Vec<f32> {
        (start..start + 960)
            .map(|n| amplitude * (n as f32 * hz * std::f32::consts::TAU / 48_000.0).sin())
            .collect()
    }

    #[test]
    fn what_fits_is_not_touched() {
        let mut limiter = Limiter::new();
        let mut samples = tone(440.0, 0.9, 0);
        let before = samples.clone();
        assert!(!limiter.process(&mut samples));
        assert_eq!(samples, before);
    }

    #[test]
    fn a_thousand_voices_at_full_scale_stay_inside_and_keep_their_shape() {
        let mut limiter = Limiter::new();
        for tick in 0..50 {
            let mut samples = tone(440.0, 1_000.0, tick * 960);
            limiter.process(&mut samples);
            assert!(samples.iter().all(|x| x.abs() <= 1.0));
            if tick > 0 {
                // Only scaled: no sample differs from the tone by more than the ripple of the gain.
                let shape = tone(440.0, CEILING, tick * 960);
                let error = samples.iter().zip(&shape).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(error < 0.1, "tick {tick}: {error}");
            }
        }
    }

    #[test]
    fn the_gain_comes_back_slowly() {
        let mut limiter = Limiter::new();
        limiter.process(&mut tone(440.0, 4.0, 0));
        let mut ticks = 0;
        while limiter.gain < 1.0 {
            let mut samples = tone(440.0, 0.1, 0);
            limiter.process(&mut samples);
            ticks += 1;
            assert!(samples.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.01));
        }
        assert!((5..20).contains(&ticks), "{ticks} ticks");
    }
}
