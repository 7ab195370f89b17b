//! Who is heard in a recording: the strength of each participant's tone, tenth of a second by tenth.

use crate::cast::CAST;

/// Samples per second of the recordings.
pub const SAMPLE_RATE: u32 = 16_000;
/// A tenth of a second holds whole periods of every tone, so that tones do not leak into each other.
const WINDOW: usize = SAMPLE_RATE as usize / 10;
/// Of full scale; the senders' tones have 0.125.
const AUDIBLE: f64 = 0.02;

/// How long each participant's tone was heard, in windows of a tenth of a second.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Heard {
    /// Windows in the recording.
    pub windows: usize,
    /// Windows in which the tone of each of [`CAST`] is audible.
    pub tones: [usize; CAST.len()],
}

/// Listens to mono samples of [`SAMPLE_RATE`].
pub fn listen(samples: &[i16]) -> Heard {
    let mut heard = Heard::default();
    for window in samples.chunks_exact(WINDOW) {
        heard.windows += 1;
        for (count, person) in heard.tones.iter_mut().zip(&CAST) {
            *count += usize::from(amplitude(window, person.tone_hz) > AUDIBLE);
        }
    }
    heard
}

/// Amplitude of one frequency by Goertzel's algorithm, 1.0 at full scale.
fn amplitude(window: &[i16], hz: u32) -> f64 {
    let turn = 2.0 * std::f64::consts::PI * f64::from(hz) / f64::from(SAMPLE_RATE);
    let factor = 2.0 * turn.cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in window {
        (last, before) = (f64::from(*sample) / 32_768.0 + factor * last - before, last);
    }
    let power = last * last + before * before - factor * last * before;
    power.max(0.0).sqrt() * 2.0 / window.len() as f64
}

/// Samples of a 16-bit mono WAV file, also of one whose writer could not finish its header.
pub fn wav_samples(wav: &[u8]) -> Vec<i16> {
    let start = wav.windows(4).position(|four| four == b"data").map_or(wav.len(), |at| at + 8);
    let samples = wav.get(start..).unwrap_or_default().chunks_exact(2);
    samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: u32, amplitude: f64, seconds: usize) -> Vec<i16> {
        let step = 2.0 * std::f64::consts::PI * f64::from(hz) / f64::from(SAMPLE_RATE);
        let samples = 0..seconds * SAMPLE_RATE as usize;
        samples.map(|n| ((n as f64 * step).sin() * amplitude * 32_767.0) as i16).collect()
    }

    #[test]
    fn each_tone_is_heard_as_itself_only() {
        for (index, person) in CAST.iter().enumerate() {
            let mut tones = [0; CAST.len()];
            tones[index] = 20;
            assert_eq!(listen(&tone(person.tone_hz, 0.125, 2)), Heard { windows: 20, tones });
        }
    }

    #[test]
    fn a_mix_is_heard_as_both_and_silence_as_none() {
        let both = tone(CAST[0].tone_hz, 0.1, 1).into_iter().zip(tone(CAST[1].tone_hz, 0.1, 1));
        let mixed: Vec<i16> = both.map(|(a, b)| a + b).collect();
        assert_eq!(listen(&mixed).tones, [10, 10, 0]);
        assert_eq!(listen(&vec![0; SAMPLE_RATE as usize]), Heard { windows: 10, tones: [0; 3] });
    }

    #[test]
    fn samples_follow_the_data_mark() {
        assert_eq!(wav_samples(b"RIFF....WAVEdata\xff\xff\xff\xff\x01\x00\xff\xff\x05"), [1, -1]);
        assert!(wav_samples(b"RIFF").is_empty());
    }
}
