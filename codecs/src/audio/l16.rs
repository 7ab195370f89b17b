//! L16: samples as they are, 16 bits, most significant byte first, channels interleaved (RFC 3551 section
//! 4.5.11). No state.

use super::{AudioDecoder, AudioEncoder, AudioError, AudioFormat, prefix};

/// An encoder and a decoder at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L16 {
    format: AudioFormat,
}

impl L16 {
    /// A codec of samples of this format.
    pub const fn new(format: AudioFormat) -> Self {
        L16 { format }
    }
}

impl AudioEncoder for L16 {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError> {
        if !samples.len().is_multiple_of(usize::from(self.format.channels)) {
            let takes = "L16 takes a sample for each channel";
            return Err(AudioError::FrameSize { samples: samples.len(), takes });
        }
        let payload = prefix(payload, samples.len() * 2)?;
        for (bytes, sample) in payload.as_chunks_mut().0.iter_mut().zip(samples) {
            *bytes = sample.to_be_bytes();
        }
        Ok(payload.len())
    }

    fn fork(&self) -> Box<dyn AudioEncoder> {
        Box::new(*self)
    }
}

impl AudioDecoder for L16 {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError> {
        let samples = prefix(samples, self.samples_in(payload)?)?;
        for (sample, bytes) in samples.iter_mut().zip(payload.as_chunks().0) {
            *sample = i16::from_be_bytes(*bytes);
        }
        Ok(samples.len())
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, AudioError> {
        if !payload.len().is_multiple_of(2 * usize::from(self.format.channels)) {
            return Err(AudioError::bad_payload(payload, "L16 has two bytes for each channel"));
        }
        Ok(payload.len() / 2)
    }

    fn reset(&mut self) {}
}
