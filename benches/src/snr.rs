//! How far speech is from the original after it was mixed, where PESQ cannot be had: segmental signal-to-noise ratio.
//!
//! The original repeats in the mix. Envelopes say where the mix begins in it; then each 32 ms of the mix are held
//! against the original at the place within 12 ms that is most alike, since playout stretches and shortens sound.
//! Segments in which nothing is said do not count; each of the others counts from -10 to 35 dB, as is usual, so that
//! what is lost costs but does not decide alone. A codec that keeps the sound rather than the waveform has a low
//! ratio however good it sounds: only ratios of the same codec may be compared.

use anyhow::{Context, ensure};
use std::path::Path;

/// Compared at this rate, in Hz.
const RATE_HZ: usize = 16_000;
/// What is read has this one.
const READ_HZ: usize = 48_000;
/// One value of the envelope: 4 ms.
const FRAME: usize = RATE_HZ / 250;
/// What is compared at once: 32 ms.
const SEGMENT: usize = RATE_HZ * 32 / 1000;
/// How far the place may be from where the envelope has it: 12 ms.
const REACH: usize = RATE_HZ * 12 / 1000;
/// A segment is silent below this share of the mean amplitude of all.
const SILENT: f64 = 0.1;
const DB_MIN: f64 = -10.0;
const DB_MAX: f64 = 35.0;

/// Mean ratio, in dB, of the mixes in a folder against the speech that the first participant said, without its own.
/// None: they hold no speech.
///
/// # Errors
/// When a file cannot be read.
pub fn score(speech: &Path, mixes: &Path) -> anyhow::Result<Option<f64>> {
    let original = read(speech)?;
    let mut ratios = Vec::new();
    for entry in std::fs::read_dir(mixes).with_context(|| format!("{}", mixes.display()))? {
        let path = entry?.path();
        if !path.ends_with("room0-p0.wav") {
            ratios.extend(segmental_db(&original, &read(&path)?));
        }
    }
    Ok((!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64))
}

/// Mono of 16 bits at 48 kHz, as samples of 16 kHz.
fn read(path: &Path) -> anyhow::Result<Vec<f64>> {
    let named = || format!("{}", path.display());
    let reader = hound::WavReader::open(path).with_context(named)?;
    let spec = reader.spec();
    ensure!(
        (spec.channels, spec.sample_rate as usize) == (1, READ_HZ),
        "{} is not mono at {READ_HZ} Hz",
        named()
    );
    let samples: Vec<i16> = reader.into_samples().collect::<Result<_, _>>().with_context(named)?;
    let samples: Vec<f64> = samples.into_iter().map(f64::from).collect();
    Ok(third(&samples))
}

/// Every third sample of what is below a third of the rate.
fn third(samples: &[f64]) -> Vec<f64> {
    const HALF: isize = 48;
    let tap = |at: isize| {
        let (turn, window) =
            (at as f64 / 3.0 * 0.95, 0.5 + 0.5 * (at as f64 / 49.0 * std::f64::consts::PI).cos());
        let sinc =
            if at == 0 { 1.0 } else { (turn * std::f64::consts::PI).sin() / (turn * std::f64::consts::PI) };
        sinc * window
    };
    let taps: Vec<f64> = (-HALF..=HALF).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    let at = |middle: usize| {
        let value = |(index, tap): (usize, &f64)| {
            let place = middle as isize + index as isize - HALF;
            usize::try_from(place)
                .ok()
                .and_then(|place| samples.get(place))
                .map_or(0.0, |sample| sample * tap)
        };
        taps.iter().enumerate().map(value).sum::<f64>() / sum
    };
    (0..samples.len()).step_by(3).map(at).collect()
}

/// The ratio in dB of what was heard against an original that repeats in it, both at 16 kHz.
/// None: too short, or silent.
fn segmental_db(original: &[f64], heard: &[f64]) -> Option<f64> {
    if original.len() < 4 * SEGMENT || heard.len() < 4 * SEGMENT {
        return None;
    }
    let begin = begin_of(original, heard);
    let spoken = |at: usize| original[at % original.len()];
    let level = (energy(heard.iter().copied()) / heard.len() as f64).sqrt();
    let said: Vec<f64> = (0..heard.len()).map(|at| spoken(begin + at)).collect();
    let spoken_level = (energy(said.iter().copied()) / said.len() as f64).sqrt();
    if level == 0.0 || spoken_level == 0.0 {
        return None;
    }
    let gain = spoken_level / level;
    let mut ratios = Vec::new();
    for at in (REACH..heard.len().saturating_sub(SEGMENT + REACH)).step_by(SEGMENT) {
        let signal = energy(said[at..at + SEGMENT].iter().copied());
        if signal < (SILENT * spoken_level).powi(2) * SEGMENT as f64 {
            continue;
        }
        let segment = &heard[at..at + SEGMENT];
        let from = most_alike(segment, &said[at - REACH..at + SEGMENT + REACH]) + at - REACH;
        let place = &said[from..from + SEGMENT];
        let noise = energy(segment.iter().zip(place).map(|(heard, said)| heard * gain - said));
        let ratio = 10.0 * (energy(place.iter().copied()) / noise.max(1e-9)).log10();
        ratios.push(ratio.clamp(DB_MIN, DB_MAX));
    }
    (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64)
}

/// Where in the original the first sample heard is.
fn begin_of(original: &[f64], heard: &[f64]) -> usize {
    let envelope = |samples: &[f64]| -> Vec<f64> {
        let frames = samples.chunks_exact(FRAME);
        let loud: Vec<f64> = frames.map(|frame| energy(frame.iter().copied()).sqrt()).collect();
        let mean = loud.iter().sum::<f64>() / loud.len() as f64;
        loud.into_iter().map(|value| value - mean).collect()
    };
    let (original, heard) = (envelope(original), envelope(heard));
    let alike = |begin: &usize| -> f64 {
        let pairs = heard.iter().enumerate();
        pairs.map(|(at, value)| value * original[(begin + at) % original.len()]).sum()
    };
    let best = (0..original.len()).max_by(|a, b| alike(a).total_cmp(&alike(b)));
    best.unwrap_or(0) * FRAME
}

/// Where in the region the segment fits best.
fn most_alike(segment: &[f64], region: &[f64]) -> usize {
    let product = |begin: usize| -> f64 {
        let place = &region[begin..begin + segment.len()];
        let product: f64 = segment.iter().zip(place).map(|(a, b)| a * b).sum();
        product / energy(place.iter().copied()).max(1e-9).sqrt()
    };
    let products: Vec<f64> = (0..=region.len() - segment.len()).map(product).collect();
    (0..products.len()).max_by(|a, b| products[*a].total_cmp(&products[*b])).unwrap_or(0)
}

fn energy(samples: impl Iterator<Item = f64>) -> f64 {
    samples.map(|sample| sample * sample).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two seconds of syllables whose pitch never repeats; `seed` makes noise.
    fn speech() -> Vec<f64> {
        let sample = |at: usize| {
            let t = at as f64 / RATE_HZ as f64;
            let syllable = (t * 3.1 * std::f64::consts::PI).sin().max(0.0) * (1.0 + (t * 1.7).sin());
            let pitch = 140.0 * t + 30.0 * (t * 2.3).sin();
            let harmonics =
                (1..12).map(|k| (pitch * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k));
            4000.0 * syllable * harmonics.sum::<f64>()
        };
        (0..2 * RATE_HZ).map(sample).collect()
    }

    fn noise(amplitude: f64) -> impl FnMut() -> f64 {
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f64 / f64::from(1_u32 << 31) * 2.0 - 1.0) * amplitude
        }
    }

    /// The speech again and again, from somewhere within, quieter.
    fn repeated(speech: &[f64], begin: usize) -> Vec<f64> {
        (0..5 * RATE_HZ).map(|at| speech[(begin + at) % speech.len()] * 0.4).collect()
    }

    #[test]
    fn what_is_the_same_but_later_and_quieter_has_no_noise() {
        let speech = speech();
        for begin in [0, 77, 12_345] {
            let ratio = segmental_db(&speech, &repeated(&speech, begin)).expect("speech");
            assert!(ratio > 34.0, "{begin}: {ratio}");
        }
    }

    #[test]
    fn noise_and_holes_cost_what_they_should() {
        let speech = speech();
        let clean = repeated(&speech, 4000);
        let level = (energy(clean.iter().copied()) / clean.len() as f64).sqrt();
        let noisy = |share: f64| -> f64 {
            let mut noise = noise(level * share * 3_f64.sqrt());
            let heard: Vec<f64> = clean.iter().map(|sample| sample + noise()).collect();
            segmental_db(&speech, &heard).expect("speech")
        };
        let (weak, strong) = (noisy(0.01), noisy(0.1));
        assert!((15.0..25.0).contains(&strong), "20 dB below: {strong}");
        assert!(weak > strong + 8.0, "{weak} {strong}");
        let mut holes = clean.clone();
        holes.chunks_exact_mut(2 * SEGMENT).for_each(|pair| pair[..SEGMENT].fill(0.0));
        let ratio = segmental_db(&speech, &holes).expect("speech");
        assert!(ratio < 20.0, "half of it is gone: {ratio}");
    }

    #[test]
    fn silence_has_no_ratio() {
        let speech = speech();
        assert_eq!(segmental_db(&speech, &vec![0.0; RATE_HZ]), None);
        assert_eq!(segmental_db(&speech, &[]), None);
    }
}
