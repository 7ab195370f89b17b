//! G.722: 8 bits for each two samples at 16 kHz, one channel, in mode 1 (64 kbit/s; ITU-T G.722 sections 3 to
//! 6; payload type 9 of RFC 3551 section 4.5.2, whose clock is 8 kHz by an old mistake).
//!
//! The sound is split into two bands of half the rate. Of the lower one, six bits tell how far each sample is
//! from what is predicted, of the upper one two. Both ends adapt step and prediction alike, and forget: after
//! a lost packet a decoder finds back within some milliseconds. Names of blocks in comments are the
//! standard's. Not here: modes 2 and 3 (data in the lowest bits), concealment (appendices III and IV).

mod band;

use super::{AudioDecoder, AudioEncoder, AudioError, AudioFormat, prefix};
use band::{Band, HIGH, LOW, quantize_high, quantize_low};

const FORMAT: AudioFormat = AudioFormat { sample_rate_hz: 16_000, channels: 1 };

/// Every other coefficient of the filter that splits and joins the bands (table 11); the others are the same
/// ones backwards.
const FILTER: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Turns samples at 16 kHz into G.722.
#[derive(Clone, Debug)]
pub struct G722Encoder {
    low: Band,
    high: Band,
    /// The even and the odd samples of the last 24, oldest first.
    even: [i32; 12],
    odd: [i32; 12],
}

impl G722Encoder {
    /// An encoder at rest.
    pub fn new() -> Self {
        G722Encoder { low: Band::new(&LOW), high: Band::new(&HIGH), even: [0; 12], odd: [0; 12] }
    }

    /// The code of two samples.
    fn code(&mut self, first: i16, second: i16) -> u8 {
        push(&mut self.even, i32::from(first));
        push(&mut self.odd, i32::from(second));
        let even = filter(&self.even, FILTER.iter());
        let odd = filter(&self.odd, FILTER.iter().rev());
        let low = quantize_low(((even + odd) >> 14) - self.low.predicted(), self.low.step());
        let high = quantize_high(((odd - even) >> 14) - self.high.predicted(), self.high.step());
        self.low.adapt(low >> 2);
        self.high.adapt(high);
        high << 6 | low
    }
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl AudioEncoder for G722Encoder {
    fn format(&self) -> AudioFormat {
        FORMAT
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError> {
        let (pairs, []) = samples.as_chunks() else {
            let takes = "G.722 takes samples in pairs";
            return Err(AudioError::FrameSize { samples: samples.len(), takes });
        };
        let payload = prefix(payload, pairs.len())?;
        for (code, [first, second]) in payload.iter_mut().zip(pairs) {
            *code = self.code(*first, *second);
        }
        Ok(payload.len())
    }

    fn fork(&self) -> Box<dyn AudioEncoder> {
        Box::new(self.clone())
    }
}

/// Turns G.722 into samples at 16 kHz.
#[derive(Clone, Debug)]
pub struct G722Decoder {
    low: Band,
    high: Band,
    /// Sums and differences of the last 12 samples of both bands, oldest first.
    sums: [i32; 12],
    differences: [i32; 12],
}

impl G722Decoder {
    /// A decoder at rest.
    pub fn new() -> Self {
        G722Decoder { low: Band::new(&LOW), high: Band::new(&HIGH), sums: [0; 12], differences: [0; 12] }
    }

    /// Both samples of a code.
    fn samples(&mut self, code: u8) -> [i16; 2] {
        let low = self.low.reconstruct_low(code & 0x3f);
        let high = self.high.reconstruct_high(code >> 6);
        self.low.adapt(code >> 2 & 0x0f);
        self.high.adapt(code >> 6);
        push(&mut self.sums, low + high);
        push(&mut self.differences, low - high);
        let first = filter(&self.differences, FILTER.iter().rev()) >> 11;
        let second = filter(&self.sums, FILTER.iter()) >> 11;
        [first, second].map(|sample| sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16)
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl AudioDecoder for G722Decoder {
    fn format(&self) -> AudioFormat {
        FORMAT
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError> {
        let samples = prefix(samples, payload.len() * 2)?;
        for (pair, code) in samples.as_chunks_mut().0.iter_mut().zip(payload) {
            *pair = self.samples(*code);
        }
        Ok(samples.len())
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, AudioError> {
        Ok(payload.len() * 2)
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

/// Forgets the oldest sample and takes a new one.
fn push(delayed: &mut [i32; 12], sample: i32) {
    delayed.copy_within(1.., 0);
    delayed[11] = sample;
}

fn filter<'a>(delayed: &[i32; 12], coefficients: impl Iterator<Item = &'a i32>) -> i32 {
    delayed.iter().zip(coefficients).map(|(sample, coefficient)| sample * coefficient).sum()
}
