//! Comfort noise: bytes as in RFC 3389, and noise like what FFmpeg describes.

mod support;

use motet_codecs::AudioError;
use motet_codecs::audio::comfort_noise::{ComfortNoise, NoiseGenerator, ORDER_MAX};
use proptest::prelude::*;
use support::{ffmpeg, level_db, to_bytes, tone_db};

const RATE_HZ: u32 = 8000;

/// Noise through a filter of one pole, at -40 dB or so: dark for a pole near 1, bright for one near -1.
fn noise(pole: f64, samples: usize) -> Vec<i16> {
    let (mut state, mut last) = (1_u32, 0.0);
    let sample = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        last = last * pole + f64::from(state >> 16) - 32_767.5;
        (last / 60.0).round() as i16
    };
    (0..samples).map(sample).collect()
}

fn generate(noise: &ComfortNoise, samples: usize) -> Vec<i16> {
    let mut generator = NoiseGenerator::new(7);
    generator.set_noise(noise);
    let mut out = vec![0; samples + 800];
    out.chunks_mut(160).for_each(|tick| generator.fill(tick));
    out.split_off(800)
}

/// Power around a frequency: of 40 tones within 400 Hz.
fn band_db(samples: &[i16], middle_hz: f64) -> f64 {
    let powers = (0..40)
        .map(|n| 10_f64.powf(tone_db(samples, RATE_HZ, middle_hz - 200.0 + 10.0 * f64::from(n)) / 10.0));
    10.0 * powers.sum::<f64>().log10()
}

fn assert_alike(reference: &[i16], found: &[i16], tolerance_db: f64) {
    let (expected, level) = (level_db(reference), level_db(found));
    assert!((expected - level).abs() < tolerance_db, "{expected:.1} dB became {level:.1} dB");
    for hz in [500.0, 1000.0, 2000.0, 3000.0, 3600.0] {
        let (expected, power) = (band_db(reference, hz), band_db(found, hz));
        assert!((expected - power).abs() < 3.0, "at {hz} Hz {expected:.1} dB became {power:.1} dB");
    }
}

#[test]
fn noise_is_like_what_ffmpeg_says_of_it() {
    for pole in [0.9, 0.0, -0.7] {
        let reference = noise(pole, 16_000);
        let input = ["-f", "s16le", "-ar", "8000", "-ac", "1"];
        let payloads =
            ffmpeg(&input, &["-map", "0:a", "-c:a", "comfortnoise", "-f", "data"], &to_bytes(&reference));
        // A payload of FFmpeg's speaks of 80 ms by ten coefficients, and its level is rounded up.
        let mut generator = NoiseGenerator::new(7);
        let mut samples = vec![0; 640 * (payloads.len() / 11)];
        for (payload, samples) in payloads.chunks_exact(11).zip(samples.chunks_exact_mut(640)) {
            let noise = ComfortNoise::parse(payload).expect("a payload");
            assert_eq!(noise.coefficients().len(), 10);
            generator.set_noise(&noise);
            generator.fill(samples);
        }
        assert!(samples.len() >= 15_360);
        assert_alike(&reference, &samples[800..], 1.5);
    }
}

#[test]
fn noise_is_like_what_was_measured() {
    for pole in [0.9, 0.0, -0.7] {
        let reference = noise(pole, 16_000);
        let mut payload = [0; 11];
        let written = ComfortNoise::measure(&reference, 10).write(&mut payload);
        assert_eq!(written, Ok(11));
        let noise = ComfortNoise::parse(&payload).expect("a payload");
        assert_alike(&reference, &generate(&noise, 16_000), 1.0);
    }
}

#[test]
fn bytes_are_as_in_the_rfc() {
    // A level of -40 dBov, whose upper bit is ignored; k = 258 (N - 127) / 32768.
    let noise = ComfortNoise::parse(&[0x80 | 40, 127, 0, 254, 255]).expect("a payload");
    assert_eq!(noise.level(), 40);
    let edge = 258.0 * 127.0 / 32_768.0;
    assert_eq!(noise.coefficients(), [0.0, -edge, edge, edge]);
    let mut payload = [9; 6];
    assert_eq!(noise.write(&mut payload), Ok(5));
    assert_eq!(payload, [40, 127, 0, 254, 254, 9]);
    assert_eq!(noise.write(&mut [0; 4]), Err(AudioError::BufferTooShort { needed: 5, available: 4 }));
    let reason = "comfort noise has at least its level";
    assert_eq!(ComfortNoise::parse(&[]), Err(AudioError::BadPayload { bytes: 0, reason }));
    assert_eq!(ComfortNoise::parse(&[50; 1500]).map(|noise| noise.coefficients().len()), Ok(ORDER_MAX));
}

#[test]
fn levels_are_kept_and_silence_is_silent() {
    for level in [20, 50, 70] {
        let found = level_db(&generate(&ComfortNoise::white(level), 16_000));
        assert!((found + f64::from(level)).abs() < 1.0, "-{level} dBov became {found:.1} dB");
    }
    assert_eq!(generate(&ComfortNoise::white(127), 800), vec![0; 800]);
    assert_eq!(ComfortNoise::measure(&[0; 800], 10).level(), 127);
    assert_eq!(ComfortNoise::measure(&[], 10).level(), 127);
    let mut silent = [1; 160];
    NoiseGenerator::new(1).fill(&mut silent);
    assert_eq!(silent, [0; 160]);
}

proptest! {
    #[test]
    fn any_payload_makes_noise_of_its_level(payload in prop::collection::vec(0_u8.., 1..20)) {
        let noise = ComfortNoise::parse(&payload).expect("a payload");
        let mut written = [0; ORDER_MAX + 1];
        let bytes = noise.write(&mut written).expect("it fits");
        prop_assert_eq!(ComfortNoise::parse(&written[..bytes]), Ok(noise));
        let samples = generate(&noise, 1600);
        prop_assert!(level_db(&samples) < 20.0 - f64::from(noise.level().min(19)));
    }

    #[test]
    fn any_sound_can_be_measured(samples: Vec<i16>, order in 0_usize..20) {
        let noise = ComfortNoise::measure(&samples, order);
        prop_assert!(noise.coefficients().iter().all(|coefficient| coefficient.abs() < 1.0));
        generate(&noise, 320);
    }
}
