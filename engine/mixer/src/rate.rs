//! Conversion between sampling rates, tick by tick: of sources that are mixed, and of the mix for its outputs.
//!
//! Polyphase filters of windowed sincs. Not rubato, which converts what comes in other pieces than ticks: here the
//! delay counts (half a filter: 2.5 ms at 8 kHz, 0.4 ms at 48) and ticks are whole numbers of samples in and out, so
//! that the state is no more than the last samples, and a tick that nobody hears costs no more than to keep it.

use crate::kernel::dot;
use crate::playout::TICKS_PER_SECOND;
use std::sync::{Arc, OnceLock};

/// Length of the filter in samples of the lower rate.
const TAPS: usize = 40;
/// The middle of the transition, as a part of the lower rate; at a half the band ends.
const CUTOFF: f64 = 0.465;
/// Kaiser's window: what is folded into the band is 70 dB down.
const KAISER_BETA: f64 = 7.0;

/// The coefficients from one rate to another.
#[derive(Debug)]
pub(crate) struct Filter {
    up: usize,
    down: usize,
    /// Coefficients of each phase, and samples that each output sample is made from.
    taps: usize,
    /// Phase after phase, each in the order of the samples.
    coefficients: Vec<f32>,
    from_samples: usize,
    to_samples: usize,
}

impl Filter {
    /// Both rates are whole numbers of samples in a tick.
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Self {
        assert!(from_hz.is_multiple_of(TICKS_PER_SECOND) && to_hz.is_multiple_of(TICKS_PER_SECOND));
        let divisor = greatest_common_divisor(from_hz, to_hz);
        let (up, down) = ((to_hz / divisor) as usize, (from_hz / divisor) as usize);
        let low_hz = f64::from(from_hz.min(to_hz));
        // In samples of the incoming rate, a multiple of what a vector instruction takes.
        let taps = (TAPS as f64 * f64::from(from_hz) / low_hz).ceil() as usize;
        let taps = taps.next_multiple_of(8);
        let high_hz = f64::from(from_hz) * up as f64;
        let length = taps * up;
        let centre = (length - 1) as f64 / 2.0;
        let prototype: Vec<f64> = (0..length)
            .map(|n| {
                let x = n as f64 - centre;
                sinc(2.0 * CUTOFF * low_hz / high_hz * x) * kaiser(x / (centre + 0.5))
            })
            .collect();
        let mut coefficients = Vec::with_capacity(length);
        for phase in 0..up {
            let of_phase = || prototype.iter().skip(phase).step_by(up);
            // Each phase by itself lets a constant through as it is.
            let sum: f64 = of_phase().sum();
            let at = coefficients.len();
            coefficients.extend(of_phase().map(|c| (c / sum) as f32));
            // The newest sample meets the first coefficient, and lies last.
            coefficients[at..].reverse();
        }
        let per_tick = |hz: u32| (hz / TICKS_PER_SECOND) as usize;
        Filter { up, down, taps, coefficients, from_samples: per_tick(from_hz), to_samples: per_tick(to_hz) }
    }
}

/// Rates between which sources are converted.
const SOURCE_RATES_HZ: [u32; 6] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000];
const RATE_COUNT: usize = SOURCE_RATES_HZ.len();

/// The filter for sources of one of some usual rates, made when the first one comes.
pub(crate) fn for_sources(from_hz: u32, to_hz: u32) -> Option<Arc<Filter>> {
    static FILTERS: [OnceLock<Arc<Filter>>; RATE_COUNT * RATE_COUNT] =
        [const { OnceLock::new() }; RATE_COUNT * RATE_COUNT];
    let index = |rate_hz| SOURCE_RATES_HZ.iter().position(|hz| *hz == rate_hz);
    let place = &FILTERS[index(from_hz)? * RATE_COUNT + index(to_hz)?];
    Some(Arc::clone(place.get_or_init(|| Arc::new(Filter::new(from_hz, to_hz)))))
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x.abs() < 1e-9 { 1.0 } else { x.sin() / x }
}

/// Kaiser's window at `x`, -1 to 1.
fn kaiser(x: f64) -> f64 {
    bessel(KAISER_BETA * (1.0 - x * x).max(0.0).sqrt()) / bessel(KAISER_BETA)
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

/// One sound on its way from one rate to another.
#[derive(Clone, Debug)]
pub(crate) struct Converter {
    filter: Arc<Filter>,
    /// The last samples of the ticks before, then this tick's.
    samples: Vec<f32>,
}

impl Converter {
    pub(crate) fn new(filter: Arc<Filter>) -> Self {
        let samples = vec![0.0; filter.taps - 1 + filter.from_samples];
        Converter { filter, samples }
    }

    /// Samples of a tick that come out.
    pub(crate) fn samples_out(&self) -> usize {
        self.filter.to_samples
    }

    /// Forgets the ticks before.
    pub(crate) fn reset(&mut self) {
        self.samples.fill(0.0);
    }

    /// Converts one tick.
    pub(crate) fn convert(&mut self, input: &[f32], output: &mut [f32]) {
        self.feed(input);
        self.render(output);
    }

    /// Takes a tick in.
    pub(crate) fn feed(&mut self, input: &[f32]) {
        let Filter { taps, from_samples, .. } = *self.filter;
        assert!(input.len() == from_samples, "a tick in");
        self.samples.copy_within(from_samples.., 0);
        self.samples[taps - 1..].copy_from_slice(input);
    }

    /// The tick that was taken in last, converted.
    pub(crate) fn render(&self, output: &mut [f32]) {
        let Filter { up, down, taps, ref coefficients, to_samples, .. } = *self.filter;
        assert!(output.len() == to_samples, "a tick out");
        let (mut at, mut phase) = (0, 0);
        for out in output {
            *out = dot(&coefficients[phase * taps..][..taps], &self.samples[at..][..taps]);
            phase += down;
            at += phase / up;
            phase %= up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Converter, Filter};
    use std::sync::Arc;

    const RATES: [u32; 6] = [8_000, 16_000, 24_000, 32_000, 44_100, 48_000];

    fn converted(from_hz: u32, to_hz: u32, hz: f64, ticks: usize) -> Vec<f32> {
        let mut converter = Converter::new(Arc::new(Filter::new(from_hz, to_hz)));
        let (from, to) = ((from_hz / 50) as usize, (to_hz / 50) as usize);
        let mut all = vec![0.0; ticks * to];
        for tick in 0..ticks {
            let input: Vec<f32> = (tick * from..(tick + 1) * from)
                .map(|n| (n as f64 * hz * std::f64::consts::TAU / f64::from(from_hz)).sin() as f32 * 0.5)
                .collect();
            converter.convert(&input, &mut all[tick * to..][..to]);
        }
        all
    }

    fn amplitude(samples: &[f32], hz: f64, rate_hz: u32) -> f64 {
        let step = hz * std::f64::consts::TAU / f64::from(rate_hz);
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            re += f64::from(*sample) * (step * n as f64).cos();
            im += f64::from(*sample) * (step * n as f64).sin();
        }
        2.0 * re.hypot(im) / samples.len() as f64
    }

    #[test]
    fn tones_keep_their_level_between_all_rates() {
        for from_hz in RATES {
            for to_hz in RATES.into_iter().filter(|to| *to != from_hz) {
                for hz in [300.0, 1_000.0, 3_100.0] {
                    let all = converted(from_hz, to_hz, hz, 15);
                    // Ten ticks hold whole periods of all three.
                    let steady = &all[all.len() / 3..];
                    let level = amplitude(steady, hz, to_hz);
                    assert!((level - 0.5).abs() < 0.02, "{from_hz} to {to_hz}: {hz} Hz is {level}");
                    let energy = steady.iter().map(|x| f64::from(x * x)).sum::<f64>() / steady.len() as f64;
                    let rest = (energy - level * level / 2.0).max(0.0).sqrt();
                    assert!(rest < 0.5e-3, "{from_hz} to {to_hz}: {hz} Hz leaves {rest} of other sound");
                }
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        for hz in [4_400.0, 5_000.0, 9_000.0, 20_000.0] {
            let all = converted(48_000, 8_000, hz, 15);
            let peak = all[400..].iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
            assert!(peak < 1e-3, "{hz} Hz leaves {peak}");
        }
    }
}
