//! What talkers say: a second of sound each, which repeats without a seam.
//!
//! A voice is a tone of its own, louder and softer four times a second as syllables are, so that nobody takes
//! it for a fan; and a marker, a short burst that is different in each voice. Both are sums of sines, so that
//! the same voice can be had at any rate. Tones lie below markers, and all below 3.4 kHz, so that every codec
//! passes them.

use std::f64::consts::TAU;

/// Different voices. Talkers further apart than this have the same one.
pub const VOICES: u32 = 25;
/// Level of a voice's tone in dB of full scale (RFC 6464's dBov): a loud talker.
pub const TONE_DBOV: f64 = -20.0;
/// Length of a marker in milliseconds.
pub const MARKER_MS: u32 = 80;

/// Root mean square of a marker.
const MARKER_RMS: f64 = 0.05;
const TONE_HZ_MIN: u32 = 400;
/// Windows of 50 ms tell tones apart that are this far from each other.
const TONE_STEP_HZ: u32 = 60;
/// Neighbours in number are to be far apart in pitch; has no divisor in common with [`VOICES`].
const TONE_STRIDE: u32 = 7;
const MARKER_HZ_MIN: f64 = 2050.0;
const MARKER_HZ_MAX: f64 = 3300.0;
/// Syllables a second, and how much softer they end.
const SYLLABLES_HZ: f64 = 4.0;
const SYLLABLE_DEPTH: f64 = 0.5;

/// One of the voices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    number: u32,
}

impl Voice {
    /// The voice of the talker with this number.
    pub const fn of(talker: u32) -> Voice {
        Voice { number: talker % VOICES }
    }

    /// Its number, below [`VOICES`].
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Frequency of its tone in Hz, a whole number, so that a second of it has no seam.
    pub const fn tone_hz(self) -> u32 {
        TONE_HZ_MIN + TONE_STEP_HZ * (self.number * TONE_STRIDE % VOICES)
    }

    /// Where its marker begins, in milliseconds from the beginning of its second. Neighbours have it at
    /// different times.
    pub const fn marker_at_ms(self) -> u32 {
        60 + 110 * (self.number % 8)
    }

    /// Its second at `rate_hz`, in -1 to 1.
    pub fn samples(self, rate_hz: u32) -> Vec<f32> {
        let mut samples: Vec<f32> =
            (0..rate_hz).map(|index| self.tone(f64::from(index) / f64::from(rate_hz)) as f32).collect();
        let first = (self.marker_at_ms() * rate_hz / 1000) as usize;
        for (sample, marker) in samples[first..].iter_mut().zip(self.marker(rate_hz)) {
            *sample += marker;
        }
        samples
    }

    fn tone(self, seconds: f64) -> f64 {
        let amplitude = 10_f64.powf(TONE_DBOV / 20.0) * std::f64::consts::SQRT_2;
        let syllable = 1.0 + SYLLABLE_DEPTH * (TAU * (SYLLABLES_HZ * seconds + self.share(1))).sin();
        amplitude * syllable * (TAU * f64::from(self.tone_hz()) * seconds).sin()
    }

    /// Its marker at `rate_hz`: all frequencies of a band, their phases different in each voice.
    pub fn marker(self, rate_hz: u32) -> Vec<f32> {
        let count = MARKER_MS * rate_hz / 1000;
        // Frequencies that fit the marker's length, so that none of them is favoured.
        let step_hz = 1000.0 / f64::from(MARKER_MS);
        let lines = ((MARKER_HZ_MAX - MARKER_HZ_MIN) / step_hz) as u32;
        // A sine has half of its amplitude's square, the window below three eighths of the whole.
        let amplitude = MARKER_RMS / (f64::from(lines) * 0.5 * 0.375).sqrt();
        let sample = |index: u32| {
            let share = (f64::from(index) + 0.5) / f64::from(count);
            let window = 0.5 - 0.5 * (TAU * share).cos();
            let seconds = f64::from(index) / f64::from(rate_hz);
            let sum: f64 = (0..lines)
                .map(|line| {
                    (TAU * ((MARKER_HZ_MIN + step_hz * f64::from(line)) * seconds + self.share(line + 2)))
                        .sin()
                })
                .sum();
            (amplitude * window * sum) as f32
        };
        (0..count).map(sample).collect()
    }

    /// A number from 0 to 1 that depends on voice and `salt` only.
    fn share(self, salt: u32) -> f64 {
        share(u64::from(self.number) << 32 | u64::from(salt))
    }
}

/// Two seconds of noise below 3.4 kHz at `rate_hz`, without a seam: a quiet room.
pub fn room_noise(rate_hz: u32, dbov: f64) -> Vec<f32> {
    const LINES: u32 = 100;
    const HZ_MIN: f64 = 100.0;
    const HZ_MAX: f64 = 3300.0;
    let amplitude = 10_f64.powf(dbov / 20.0) * (2.0 / f64::from(LINES)).sqrt();
    let lines: Vec<(f64, f64)> = (0..LINES)
        .map(|line| {
            let hz = HZ_MIN + (HZ_MAX - HZ_MIN) * f64::from(line) / f64::from(LINES);
            // Whole numbers of waves in two seconds.
            ((hz * 2.0).round() / 2.0, share(u64::from(line)))
        })
        .collect();
    let sample = |index: u32| {
        let seconds = f64::from(index) / f64::from(rate_hz);
        let sum: f64 = lines.iter().map(|(hz, phase)| (TAU * (hz * seconds + phase)).sin()).sum();
        (amplitude * sum) as f32
    };
    (0..2 * rate_hz).map(sample).collect()
}

/// 16-bit samples; what is out of range is clipped.
pub fn to_i16(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|sample| (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

/// The level of samples in dB below full scale, 0 to 127, as RFC 6464 section 3 counts it.
pub fn level(samples: &[i16]) -> u8 {
    let square = |sample: &i16| (f64::from(*sample) / 32_768.0).powi(2);
    let mean = samples.iter().map(square).sum::<f64>() / samples.len().max(1) as f64;
    if mean == 0.0 { 127 } else { (-10.0 * mean.log10()).round().clamp(0.0, 127.0) as u8 }
}

/// SplitMix64's output function, as a share of 1.
fn share(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_that_talk_at_once_are_far_apart() {
        for first in 0..3 * VOICES {
            for second in first + 1..first + 5 {
                let apart = Voice::of(first).tone_hz().abs_diff(Voice::of(second).tone_hz());
                assert!(apart >= 180, "{first} and {second}: {apart} Hz");
            }
        }
    }

    #[test]
    fn levels_are_as_said() {
        assert_eq!(level(&to_i16(&room_noise(8000, -60.0))), 60);
        let voice = level(&to_i16(&Voice::of(3).samples(16_000)));
        assert!((18..=20).contains(&voice), "{voice}");
        assert_eq!(level(&[0; 160]), 127);
        assert_eq!(level(&[-32_768; 160]), 0);
    }

    #[test]
    fn rates_differ_in_nothing_else() {
        let (low, high) = (Voice::of(4).samples(8000), Voice::of(4).samples(48_000));
        for (low, high) in low.iter().zip(high.iter().step_by(6)) {
            assert!((low - high).abs() < 0.01, "{low} and {high}");
        }
    }
}
