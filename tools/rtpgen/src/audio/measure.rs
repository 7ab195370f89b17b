//! Measures sound: whose tone is in it and how loud, where it breaks off, and where markers are.
//!
//! Everything here is at 8 kHz: voices have nothing above 3.4 kHz.

use crate::audio::sound::{MARKER_MS, Voice};
use std::f64::consts::TAU;

/// Rate of what is measured.
pub const LINE_RATE_HZ: u32 = 8000;
/// Windows in which loudness is measured, as long as tones need to be told apart.
const LEVEL_WINDOW_MS: u32 = 50;
/// Windows in which gaps are looked for. Talkers at the same time are at least 240 Hz apart when there are at
/// most [`GAP_TALKERS_MAX`] of them.
const GAP_WINDOW_MS: u32 = 10;
/// More talkers at once are too near to each other in pitch for gaps to be told.
pub const GAP_TALKERS_MAX: u32 = 4;
/// A tone that is so much softer than usual has a gap, in decibels.
pub const GAP_DB: f64 = 20.0;
/// Share of a window that a gap's beginning and end take from it: where a tenth (-20 dB) of the window's weight
/// is still in the sound.
const GAP_WINDOW_SHARE: f64 = 0.48;
/// A marker is there when its likeness stands out of everything around by this factor.
const MARKER_PEAK_MIN: f64 = 6.0;

/// Amplitude of a tone around each millisecond of a stretch of sound.
fn envelope(sound: &[f32], hz: f64, window_ms: u32) -> Vec<f64> {
    let step = (LINE_RATE_HZ / 1000) as usize;
    let window = (LINE_RATE_HZ * window_ms / 1000) as usize;
    if sound.len() < window {
        return Vec::new();
    }
    let weights: Vec<f64> =
        (0..window).map(|index| 0.5 - 0.5 * (TAU * (index as f64 + 0.5) / window as f64).cos()).collect();
    let turn = TAU * hz / f64::from(LINE_RATE_HZ);
    let (cosine, sine): (Vec<f64>, Vec<f64>) = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| {
            let (sine, cosine) = (turn * index as f64).sin_cos();
            (weight * cosine, weight * sine)
        })
        .unzip();
    let scale = 2.0 / weights.iter().sum::<f64>();
    let amplitude = |first: usize| {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for ((sample, cosine), sine) in sound[first..first + window].iter().zip(&cosine).zip(&sine) {
            real += f64::from(*sample) * cosine;
            imaginary += f64::from(*sample) * sine;
        }
        scale * real.hypot(imaginary)
    };
    (0..=sound.len() - window).step_by(step).map(amplitude).collect()
}

/// How loud a voice's tone usually is in a stretch of sound, in decibels against the voice as it was spoken.
/// None: the stretch is too short.
pub fn level_db(sound: &[f32], voice: Voice) -> Option<f64> {
    let usual = |sound: &[f32]| -> Option<f64> {
        let mut amplitudes = envelope(sound, f64::from(voice.tone_hz()), LEVEL_WINDOW_MS);
        let middle = amplitudes.len() / 2;
        (!amplitudes.is_empty()).then(|| *amplitudes.select_nth_unstable_by(middle, f64::total_cmp).1)
    };
    let spoken = usual(&voice.samples(LINE_RATE_HZ))?;
    Some(20.0 * (usual(sound)?.max(1e-9) / spoken).log10())
}

/// The longest stretch, in milliseconds, in which a voice's tone is more than [`GAP_DB`] softer than usual.
pub fn gap_ms(sound: &[f32], voice: Voice) -> Option<f64> {
    let amplitudes = envelope(sound, f64::from(voice.tone_hz()), GAP_WINDOW_MS);
    let mut sorted = amplitudes.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let usual = *sorted.get(sorted.len() / 2)?;
    let soft = usual * 10_f64.powf(-GAP_DB / 20.0);
    let longest = amplitudes
        .chunk_by(|a, b| (*a < soft) == (*b < soft))
        .filter(|run| run[0] < soft)
        .map(<[f64]>::len)
        .max();
    Some(longest.map_or(0.0, |steps| steps as f64 + GAP_WINDOW_SHARE * f64::from(GAP_WINDOW_MS)))
}

/// Where a voice's marker begins in a stretch of sound, in samples; none: it is not there.
pub fn find_marker(sound: &[f32], marker: &[f32]) -> Option<f64> {
    let places = (sound.len() + 1).checked_sub(marker.len()).filter(|places| *places > 2)?;
    let likeness = |place: usize| -> f64 {
        let products = sound[place..].iter().zip(marker).map(|(sound, marker)| sound * marker);
        f64::from(products.sum::<f32>())
    };
    let all: Vec<f64> = (0..places).map(likeness).collect();
    let (best, peak) = all.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let around = (all.iter().map(|value| value * value).sum::<f64>() / places as f64).sqrt();
    if peak < MARKER_PEAK_MIN * around || best == 0 || best + 1 == places {
        return None;
    }
    // The top of the parabola through the three highest points.
    let (before, after) = (all[best - 1], all[best + 1]);
    Some(best as f64 + 0.5 * (before - after) / (before - 2.0 * peak + after))
}

/// A voice's marker as [`find_marker`] wants it.
pub fn marker_of(voice: Voice) -> Vec<f32> {
    voice.marker(LINE_RATE_HZ)
}

/// Samples of a marker.
pub const fn marker_samples() -> usize {
    (MARKER_MS * LINE_RATE_HZ / 1000) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two seconds of some voices at once, with factors.
    fn mix(voices: &[(u32, f32)]) -> Vec<f32> {
        let mut mix = vec![0.0; 2 * LINE_RATE_HZ as usize];
        for (talker, factor) in voices {
            let voice = Voice::of(*talker).samples(LINE_RATE_HZ);
            mix.iter_mut().zip(voice.iter().cycle()).for_each(|(sum, sample)| *sum += sample * factor);
        }
        mix
    }

    #[test]
    fn levels_are_exact_and_absence_is_deep() {
        let mix = mix(&[(4, 1.0), (5, 0.5), (6, 1.0), (7, 1.0)]);
        let level = |talker| level_db(&mix, Voice::of(talker)).expect("long enough");
        assert!(level(4).abs() < 0.2, "{}", level(4));
        assert!((level(5) + 6.02).abs() < 0.2, "{}", level(5));
        assert!(level(3) < -40.0 && level(8) < -40.0, "{} {}", level(3), level(8));
        assert_eq!(level_db(&mix[..100], Voice::of(4)), None);
    }

    #[test]
    fn gaps_are_as_long_as_they_are() {
        let whole = mix(&[(1, 1.0), (2, 1.0), (3, 1.0)]);
        let voice = Voice::of(2);
        let calm = gap_ms(&whole, voice).expect("long enough");
        assert!(calm < 6.0, "{calm}");
        for gap in [10, 40, 100] {
            let mut broken = whole.clone();
            broken[8100..8100 + 8 * gap].fill(0.0);
            let found = gap_ms(&broken, voice).expect("long enough");
            assert!((found - gap as f64).abs() < 4.0, "{gap}: {found}");
        }
    }

    #[test]
    fn markers_are_found_to_a_tenth_of_a_millisecond() {
        let mix = mix(&[(1, 1.0), (2, 1.0), (3, 1.0)]);
        for talker in [1, 2, 3] {
            let voice = Voice::of(talker);
            let spoken = (voice.marker_at_ms() * 8) as usize;
            let found =
                find_marker(&mix[spoken - 400..spoken + 5000], &marker_of(voice)).expect("it is there");
            assert!((found - 400.0).abs() < 0.8, "{found}");
        }
        let absent = Voice::of(9);
        assert_eq!(find_marker(&mix[..5400], &marker_of(absent)), None);
        assert_eq!(find_marker(&mix[..100], &marker_of(absent)), None);
    }
}
