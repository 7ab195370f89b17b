//! Sounds to encode, ffmpeg to encode and decode them a second time, and what to compare.
#![allow(dead_code)] // Each test uses a part of it.

pub mod ogg;
pub mod pictures;

use std::f64::consts::TAU;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// Tones of (Hz, peak) together, for so many samples.
pub fn tones(rate_hz: u32, samples: usize, tones: &[(f64, f64)]) -> Vec<i16> {
    let at = |n: usize| {
        let phase = |hz: f64| TAU * hz * n as f64 / f64::from(rate_hz);
        tones.iter().map(|(hz, peak)| peak * phase(*hz).sin()).sum::<f64>().round() as i16
    };
    (0..samples).map(at).collect()
}

/// Something like a voice: harmonics of a gliding pitch under a wandering loudness, with pauses.
pub fn voice(rate_hz: u32, samples: usize) -> Vec<i16> {
    let mut phase = 0.0;
    let sample = |n: usize| {
        let seconds = n as f64 / f64::from(rate_hz);
        phase += (130.0 + 40.0 * (TAU * 0.7 * seconds).sin()) / f64::from(rate_hz);
        let loudness = (TAU * 1.3 * seconds).sin().max(0.0) * 7000.0;
        let partials = (1..20).map(|k| (TAU * phase * f64::from(k)).sin() / f64::from(k));
        (loudness * partials.sum::<f64>()).round() as i16
    };
    (0..samples).map(sample).collect()
}

/// Runs ffmpeg over `input` and returns what it writes. Panics with its messages when it fails.
pub fn ffmpeg(before_input: &[&str], after_input: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error"])
        .args(before_input)
        .args(["-i", "pipe:0"])
        .args(after_input)
        .arg("pipe:1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg starts (scripts/setup.sh installs it)");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // ffmpeg may close its input before the end; what it then writes is judged all the same.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let mut output = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut output).expect("ffmpeg's output");
    let mut messages = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut messages).expect("ffmpeg's messages");
    writer.join().expect("writer");
    assert!(child.wait().expect("ffmpeg ends").success(), "ffmpeg {after_input:?}: {messages}");
    output
}

/// Samples as ffmpeg's format s16le.
pub fn to_bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// ffmpeg's format s16le as samples.
pub fn to_samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Root mean square in dB below full scale.
pub fn level_db(samples: &[i16]) -> f64 {
    let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    10.0 * (squares / samples.len() as f64 / 32_768.0_f64.powi(2)).max(1e-20).log10()
}

/// Peak of one tone, by Goertzel's algorithm, in dB below full scale.
pub fn tone_db(samples: &[i16], rate_hz: u32, hz: f64) -> f64 {
    let omega = TAU * hz / f64::from(rate_hz);
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + 2.0 * omega.cos() * last - before, last);
    }
    let power = last * last + before * before - 2.0 * omega.cos() * last * before;
    20.0 * (2.0 * power.max(0.0).sqrt() / samples.len() as f64 / 32_768.0).max(1e-10).log10()
}

/// Signal to noise in dB, where the delay of `decoded` (0 to `delay_max` samples) makes it best; and the delay.
pub fn snr_db(reference: &[i16], decoded: &[i16], delay_max: usize) -> (f64, usize) {
    let at = |delay: usize| {
        let pairs = reference.iter().zip(&decoded[delay.min(decoded.len())..]);
        let (mut signal, mut noise) = (1e-9, 1e-9);
        for (expected, found) in pairs {
            signal += f64::from(*expected).powi(2);
            noise += (f64::from(*expected) - f64::from(*found)).powi(2);
        }
        (10.0 * (signal / noise).log10(), delay)
    };
    (0..=delay_max).map(at).max_by(|a, b| a.0.total_cmp(&b.0)).expect("a delay")
}
