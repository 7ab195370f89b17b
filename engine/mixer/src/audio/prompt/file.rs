//! Sound of prompts, from WAV files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Seconds of sound that a prompt may have: half an hour of music is 170 MB at 48 kHz.
pub const PROMPT_SECONDS_MAX: u32 = 1800;
/// Sampling rates of files that are taken.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;
/// Half the length of the interpolating filter, in samples of the lower rate.
const HALF_TAPS: f64 = 24.0;
/// The edge of the filter, as a part of the lower rate's band.
const CUTOFF: f64 = 0.93;

/// What a prompt sounds like: one channel, shared and never copied.
#[derive(Clone)]
pub struct PromptSound {
    rate_hz: u32,
    samples: Arc<[i16]>,
}

/// Why a file cannot be a prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// It cannot be opened.
    #[error("{} cannot be opened: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: std::io::Error,
    },
    /// It is no WAV file, or one of a kind that is not read.
    #[error("{} cannot be read as WAV: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It ends before the length that its header says.
    #[error("{} is cut off: {found} of {expected} samples are there", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Samples that are there, of all channels.
        found: u64,
        /// Samples that the header says.
        expected: u64,
    },
    /// It holds no sound.
    #[error("{} holds no sample", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Its rate is out of the range.
    #[error("{} has {rate_hz} Hz: prompts have 8000 to 192000", path.display())]
    Rate {
        /// The file.
        path: PathBuf,
        /// As it came.
        rate_hz: u32,
    },
    /// It is too long.
    #[error("{} is {seconds} s long: prompts have at most {PROMPT_SECONDS_MAX}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        seconds: u64,
    },
}

impl std::fmt::Debug for PromptSound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PromptSound({} samples at {} Hz)", self.samples.len(), self.rate_hz)
    }
}

impl PromptSound {
    /// A prompt from samples of one channel.
    pub fn new(rate_hz: u32, samples: Arc<[i16]>) -> Self {
        PromptSound { rate_hz, samples }
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// The samples.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// How long it plays once, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.samples.len() as u64 * 1000 / u64::from(self.rate_hz.max(1))
    }

    /// The same sound at another rate.
    ///
    /// # Panics
    /// When `rate_hz` or the sound's own is 0.
    pub fn at_rate(&self, rate_hz: u32) -> PromptSound {
        assert!(rate_hz > 0 && self.rate_hz > 0, "sound has a sampling rate");
        if rate_hz == self.rate_hz {
            return self.clone();
        }
        let (from, to) = (f64::from(self.rate_hz), f64::from(rate_hz));
        let length = (self.samples.len() as f64 * to / from).round() as usize;
        // The band ends at the lower rate; distances are told in its samples.
        let scale = (to / from).min(1.0);
        let reach = HALF_TAPS / scale;
        let at = |n: usize| {
            let centre = n as f64 * from / to;
            let first = (centre - reach).ceil().max(0.0) as usize;
            let last = ((centre + reach).floor() as usize).min(self.samples.len().saturating_sub(1));
            let (mut sum, mut weights) = (0.0, 0.0);
            for index in first..=last {
                let weight = weight((index as f64 - centre) * scale);
                sum += weight * f64::from(self.samples[index]);
                weights += weight;
            }
            if weights.abs() < 0.1 { 0 } else { (sum / weights).round() as i16 }
        };
        PromptSound { rate_hz, samples: (0..length).map(at).collect() }
    }
}

/// A sinc under a raised cosine, at a distance in samples of the lower rate.
fn weight(distance: f64) -> f64 {
    let x = distance * std::f64::consts::PI;
    let sinc = if x.abs() < 1e-9 { 1.0 } else { (x * CUTOFF).sin() / (x * CUTOFF) };
    sinc * (0.5 + 0.5 * (x / HALF_TAPS).cos())
}

/// Loads a WAV file (integers of 8 to 32 bits, or floats; channels are brought together) at `rate_hz`, the rate of
/// the mix that is to play it.
///
/// # Errors
/// What [`PromptError`] says, with the file's name.
pub fn load_wav(path: impl AsRef<Path>, rate_hz: u32) -> Result<PromptSound, PromptError> {
    let path = path.as_ref();
    let file =
        std::fs::File::open(path).map_err(|reason| PromptError::Open { path: path.to_owned(), reason })?;
    let format = |reason: hound::Error| PromptError::Format { path: path.to_owned(), reason: words(reason) };
    let mut reader = hound::WavReader::new(std::io::BufReader::new(file)).map_err(format)?;
    let spec = reader.spec();
    if !RATES_HZ.contains(&spec.sample_rate) {
        return Err(PromptError::Rate { path: path.to_owned(), rate_hz: spec.sample_rate });
    }
    let seconds = u64::from(reader.duration()) / u64::from(spec.sample_rate);
    if seconds >= u64::from(PROMPT_SECONDS_MAX) {
        return Err(PromptError::TooLong { path: path.to_owned(), seconds });
    }
    let expected = u64::from(reader.len());
    let mut samples: Vec<f32> = Vec::with_capacity(expected as usize);
    let ended = match spec.sample_format {
        hound::SampleFormat::Float => collect(reader.samples::<f32>(), 1.0, &mut samples),
        hound::SampleFormat::Int => {
            let full_scale = (1_u64 << (spec.bits_per_sample - 1)) as f32;
            collect(reader.samples::<i32>(), 1.0 / full_scale, &mut samples)
        }
    };
    let found = samples.len() as u64;
    match ended {
        Err(hound::Error::IoError(_)) => {
            return Err(PromptError::Truncated { path: path.to_owned(), found, expected });
        }
        Err(other) => return Err(format(other)),
        Ok(()) if found < expected => {
            return Err(PromptError::Truncated { path: path.to_owned(), found, expected });
        }
        Ok(()) if found == 0 => return Err(PromptError::Empty { path: path.to_owned() }),
        Ok(()) => {}
    }
    let channels = usize::from(spec.channels.max(1));
    let mono = samples.chunks(channels).map(|frame| {
        let sum: f32 = frame.iter().sum();
        (sum / channels as f32 * 32_768.0).round_ties_even() as i16
    });
    Ok(PromptSound { rate_hz: spec.sample_rate, samples: mono.collect() }.at_rate(rate_hz))
}

/// Numbers that a file's samples are.
trait Sample {
    fn scaled(self, factor: f32) -> f32;
}

impl Sample for f32 {
    fn scaled(self, factor: f32) -> f32 {
        // A file may hold anything; what is no number is silence.
        if self.is_finite() { self * factor } else { 0.0 }
    }
}

impl Sample for i32 {
    fn scaled(self, factor: f32) -> f32 {
        self as f32 * factor
    }
}

fn collect<S: Sample>(
    from: impl Iterator<Item = hound::Result<S>>,
    factor: f32,
    to: &mut Vec<f32>,
) -> hound::Result<()> {
    for sample in from {
        to.push(sample?.scaled(factor));
    }
    Ok(())
}

fn words(error: hound::Error) -> String {
    match error {
        hound::Error::IoError(error) => format!("it ends within its header ({error})"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{PromptError, PromptSound, load_wav};
    use std::path::PathBuf;

    fn file(name: &str, spec: hound::WavSpec, seconds: f64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        let mut writer = hound::WavWriter::create(&path, spec).expect("a file");
        let full_scale = f64::from(1_u32 << (spec.bits_per_sample - 1)) - 1.0;
        for n in 0..(f64::from(spec.sample_rate) * seconds) as u32 {
            let phase = f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(spec.sample_rate);
            for _ in 0..spec.channels {
                match spec.sample_format {
                    hound::SampleFormat::Int => writer.write_sample((phase.sin() * 0.5 * full_scale) as i32),
                    hound::SampleFormat::Float => writer.write_sample((phase.sin() * 0.5) as f32),
                }
                .expect("written");
            }
        }
        writer.finalize().expect("finished");
        (folder, path)
    }

    fn spec(sample_rate: u32, channels: u16, bits: u16) -> hound::WavSpec {
        let sample_format = if bits == 32 { hound::SampleFormat::Float } else { hound::SampleFormat::Int };
        hound::WavSpec { channels, sample_rate, bits_per_sample: bits, sample_format }
    }

    /// How far the sound is from the tone that it should be.
    fn error(sound: &PromptSound) -> f64 {
        let step = 440.0 * std::f64::consts::TAU / f64::from(sound.rate_hz());
        let middle = sound.samples().len() / 10..sound.samples().len() * 9 / 10;
        middle
            .map(|n| ((step * n as f64).sin() * 0.5 - f64::from(sound.samples()[n]) / 32_768.0).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn files_of_every_kind_become_the_mixs_rate() {
        for (rate, channels, bits) in [
            (8_000, 1, 16),
            (11_025, 1, 8),
            (22_050, 2, 16),
            (44_100, 2, 24),
            (48_000, 1, 32),
            (37_800, 1, 16),
        ] {
            let (_folder, path) = file("tone.wav", spec(rate, channels, bits), 0.5);
            for mix_hz in [8_000, 16_000, 48_000] {
                let sound = load_wav(&path, mix_hz).expect("loads");
                assert_eq!(sound.rate_hz(), mix_hz);
                assert!((sound.duration_ms() as i64 - 500).abs() <= 1, "{} ms", sound.duration_ms());
                // Eight bits have steps of 0.008.
                let bound = if bits == 8 { 0.02 } else { 0.01 };
                assert!(error(&sound) < bound, "{rate} Hz {bits} bits to {mix_hz}: {}", error(&sound));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let missing = load_wav("/nowhere/at/all.wav", 48_000);
        assert!(matches!(missing, Err(PromptError::Open { .. })), "{missing:?}");
        let (folder, path) = file("cut.wav", spec(16_000, 1, 16), 1.0);
        let bytes = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &bytes[..bytes.len() - 1_001]).expect("writes");
        let cut = load_wav(&path, 48_000);
        let right = matches!(cut, Err(PromptError::Truncated { expected: 16_000, found: 15_499, .. }));
        assert!(right, "{cut:?}");
        std::fs::write(&path, &bytes[..20]).expect("writes");
        assert!(matches!(load_wav(&path, 48_000), Err(PromptError::Format { .. })));
        std::fs::write(&path, b"I am a poem, and long enough to be a header of a file of sound.")
            .expect("writes");
        assert!(matches!(load_wav(&path, 48_000), Err(PromptError::Format { .. })));
        let (_slow, path) = file("slow.wav", spec(4_000, 1, 16), 0.1);
        assert!(matches!(load_wav(&path, 48_000), Err(PromptError::Rate { rate_hz: 4_000, .. })));
        let (_empty, path) = file("empty.wav", spec(8_000, 1, 16), 0.0);
        assert!(matches!(load_wav(&path, 48_000), Err(PromptError::Empty { .. })));
        assert!(load_wav(folder.path(), 48_000).is_err());
    }
}
