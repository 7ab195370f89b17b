//! WAV files: the mixes to listen to, and speech for talkers to say.

use crate::audio::track::SPEECH_RATE_HZ;
use anyhow::{Context, ensure};
use std::path::Path;

/// Writes mono samples.
pub fn write(path: &Path, samples: &[i16], rate_hz: u32) -> anyhow::Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write = || -> Result<(), hound::Error> {
        let mut writer = hound::WavWriter::create(path, spec)?;
        samples.iter().try_for_each(|sample| writer.write_sample(*sample))?;
        writer.finalize()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Reads speech: mono, 16 bits, at [`SPEECH_RATE_HZ`].
pub fn read_speech(path: &Path) -> anyhow::Result<Vec<i16>> {
    let named = || format!("--speech {}", path.display());
    let reader = hound::WavReader::open(path).with_context(named)?;
    let spec = reader.spec();
    let fits = spec.channels == 1 && spec.bits_per_sample == 16 && spec.sample_rate == SPEECH_RATE_HZ;
    ensure!(
        fits && spec.sample_format == hound::SampleFormat::Int,
        "{}: {} channels of {} bits at {} Hz; it must be 1 of 16 at {SPEECH_RATE_HZ} (ffmpeg -ac 1 -ar {SPEECH_RATE_HZ})",
        named(),
        spec.channels,
        spec.bits_per_sample,
        spec.sample_rate,
    );
    reader.into_samples().collect::<Result<_, _>>().with_context(named)
}
