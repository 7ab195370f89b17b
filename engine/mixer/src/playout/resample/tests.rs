//! By tone: what comes out, what must not, and when.

use super::*;
use std::f64::consts::TAU;

const SOURCES_HZ: [u32; 6] = [8000, 16_000, 24_000, 32_000, 44_100, 48_000];
const MIXES_HZ: [u32; 4] = [8000, 16_000, 32_000, 48_000];

/// A second of a tone of amplitude 1, converted in packets of 20 ms.
fn convert_tone(from_hz: u32, to_hz: u32, tone_hz: f64) -> Vec<f32> {
    let mut resampler = Resampler::new(from_hz, to_hz).expect("the ratio is small");
    let tone = |n: u32| (TAU * tone_hz * f64::from(n) / f64::from(from_hz)).sin() as f32;
    let input: Vec<f32> = (0..from_hz).map(tone).collect();
    let mut output = Vec::new();
    for packet in input.chunks(from_hz as usize / 50) {
        resampler.process(packet, &mut output);
    }
    output
}

/// Amplitude and phase of a tone in the middle of the sound.
fn measure(sound: &[f32], rate_hz: u32, tone_hz: f64) -> (f64, f64) {
    let middle = &sound[sound.len() / 4..sound.len() * 3 / 4];
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (at, sample) in middle.iter().enumerate() {
        let weight = 0.5 - 0.5 * (TAU * at as f64 / middle.len() as f64).cos();
        let angle = TAU * tone_hz * (at + sound.len() / 4) as f64 / f64::from(rate_hz);
        re += weight * f64::from(*sample) * angle.sin();
        im += weight * f64::from(*sample) * angle.cos();
        weights += weight;
    }
    (2.0 * re.hypot(im) / weights, im.atan2(re))
}

/// Root mean square of what is left when the tone is taken away.
fn rest(sound: &[f32], rate_hz: u32, tone_hz: f64, (level, phase): (f64, f64)) -> f64 {
    let middle = sound.len() / 4..sound.len() * 3 / 4;
    let (samples, mut sum) = (middle.len() as f64, 0.0);
    for at in middle {
        let tone = level * (TAU * tone_hz * at as f64 / f64::from(rate_hz) + phase).sin();
        sum += (f64::from(sound[at]) - tone).powi(2);
    }
    (sum / samples).sqrt()
}

fn pairs() -> impl Iterator<Item = (u32, u32)> {
    SOURCES_HZ.into_iter().flat_map(|from| MIXES_HZ.map(|to| (from, to))).filter(|(from, to)| from != to)
}

#[test]
fn tones_in_the_band_keep_their_level_and_bring_no_others() {
    for (from_hz, to_hz) in pairs() {
        let band_hz = f64::from(from_hz.min(to_hz)) / 2.0;
        for share in [0.05, 0.21, 0.4, 0.63, 0.78] {
            let tone_hz = (band_hz * share).round();
            let sound = convert_tone(from_hz, to_hz, tone_hz);
            let (level, phase) = measure(&sound, to_hz, tone_hz);
            assert!((20.0 * level.log10()).abs() < 0.1, "{from_hz} to {to_hz}: {tone_hz} Hz at {level}");
            // All that is not the tone: images above the source's band, aliases below the mix's.
            let others = 20.0 * (rest(&sound, to_hz, tone_hz, (level, phase)) * 2_f64.sqrt()).log10();
            assert!(others < -60.0, "{from_hz} to {to_hz}: {tone_hz} Hz brings {others} dB");
        }
    }
}

#[test]
fn tones_beyond_the_band_of_the_mix_are_gone() {
    for (from_hz, to_hz) in pairs().filter(|(from, to)| from > to) {
        let band_hz = f64::from(to_hz) / 2.0;
        for over in [1.01, 1.1, 1.4] {
            let tone_hz = (band_hz * over).round();
            if tone_hz * 2.0 >= f64::from(from_hz) {
                continue;
            }
            let sound = convert_tone(from_hz, to_hz, tone_hz);
            let left = 20.0 * (rest(&sound, to_hz, tone_hz, (0.0, 0.0)) * 2_f64.sqrt()).log10();
            assert!(left < -60.0, "{from_hz} to {to_hz}: {tone_hz} Hz is left at {left} dB");
        }
    }
}

#[test]
fn the_filter_delays_by_less_than_5_ms_and_loses_no_time() {
    for (from_hz, to_hz) in pairs() {
        // A period of 20 ms, so that the delay is the phase.
        let sound = convert_tone(from_hz, to_hz, 50.0);
        let (_, phase) = measure(&sound, to_hz, 50.0);
        let short = Resampler::new(from_hz, to_hz).expect("the ratio is small").short();
        let delay_ms = -phase / TAU * 20.0 + short as f64 * 1000.0 / f64::from(to_hz);
        assert!((0.3..5.0).contains(&delay_ms), "{from_hz} to {to_hz}: {delay_ms} ms");
        let lacking = to_hz as usize - sound.len();
        assert!(lacking <= short, "{from_hz} to {to_hz}: {lacking} samples lacking, {short} allowed");
    }
}

#[test]
fn packets_of_any_length_give_the_same_sound() {
    let mut input: Vec<f32> = (0..9600).map(|n| (n as f32 * 0.05).sin()).collect();
    input.iter_mut().step_by(97).for_each(|sample| *sample *= 0.5);
    let mut whole = (Resampler::new(8000, 48_000).expect("a small ratio"), Vec::new());
    let mut parts = (Resampler::new(8000, 48_000).expect("a small ratio"), Vec::new());
    whole.0.process(&input, &mut whole.1);
    for (index, packet) in input.chunks(480).enumerate() {
        let (first, second) = packet.split_at(1 + index * 17 % 470);
        parts.0.process(first, &mut parts.1);
        parts.0.process(second, &mut parts.1);
    }
    let length = whole.1.len().min(parts.1.len());
    assert!(whole.1.len().abs_diff(parts.1.len()) <= 1);
    for (at, (a, b)) in whole.1[..length].iter().zip(&parts.1).enumerate() {
        assert!((a - b).abs() < 1e-4, "sample {at}: {a} and {b}");
    }
}
