//! Comfort noise, while the sender says so (RFC 3389).

use super::Pulled;
use super::resample::Resampler;
use motet_codecs::audio::comfort_noise::{ComfortNoise, NoiseGenerator};

/// Noise at the rate of the sender's payload type, brought to the rate of the line.
pub(super) struct Noise {
    generator: NoiseGenerator,
    resampler: Resampler,
    active: bool,
    /// 20 ms as generated.
    pcm: Vec<i16>,
    samples: Vec<f32>,
    /// At the rate of the line, not played yet.
    waiting: Vec<f32>,
}

impl Noise {
    /// Noise of payloads with this clock, or `None` when the rates do not go together.
    pub(super) fn new(clock_hz: u32, line_hz: u32) -> Option<Noise> {
        let samples = clock_hz as usize / 50;
        Some(Noise {
            generator: NoiseGenerator::new(1),
            resampler: Resampler::new(clock_hz, line_hz)?,
            active: false,
            pcm: vec![0; samples],
            samples: Vec::with_capacity(samples),
            waiting: Vec::with_capacity(line_hz as usize / 10),
        })
    }

    /// Takes a payload in: from now on it sounds like this.
    pub(super) fn begin(&mut self, payload: &[u8]) {
        if let Ok(noise) = ComfortNoise::parse(payload) {
            self.generator.set_noise(&noise);
            self.active = true;
        }
    }

    /// Sound comes.
    pub(super) fn end(&mut self) {
        self.active = false;
    }

    /// Fills a tick with noise, if there is to be any.
    pub(super) fn fill(&mut self, out: &mut [f32]) -> Pulled {
        if !self.active {
            return Pulled::Silence;
        }
        while self.waiting.len() < out.len() {
            self.generator.fill(&mut self.pcm);
            self.samples.clear();
            self.samples.extend(self.pcm.iter().map(|sample| f32::from(*sample) / 32_768.0));
            self.resampler.process(&self.samples, &mut self.waiting);
        }
        out.copy_from_slice(&self.waiting[..out.len()]);
        self.waiting.drain(..out.len());
        Pulled::Concealed
    }
}
