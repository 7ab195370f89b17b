//! Audio codecs: 16-bit samples, channels interleaved, to and from the payload of one packet.

pub mod g711;

/// What a codec's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AudioFormat {
    /// Samples a second, for each channel.
    pub sample_rate_hz: u32,
    /// Channels, interleaved.
    pub channels: u8,
}

/// Turns samples into payloads.
pub trait AudioEncoder {
    /// What [`encode`](Self::encode) takes.
    fn format(&self) -> AudioFormat;

    /// Encodes `samples` as one payload at the start of `payload`, and returns its bytes.
    ///
    /// # Errors
    /// When the payload does not fit. The encoder and `payload` are then as they were.
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError>;
}

/// Turns payloads into samples.
pub trait AudioDecoder {
    /// What [`decode`](Self::decode) gives.
    fn format(&self) -> AudioFormat;

    /// Decodes one payload to the start of `samples`, and returns how many there are, all channels
    /// together.
    ///
    /// # Errors
    /// When the samples do not fit. The decoder and `samples` are then as they were.
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError>;
}

/// Why nothing was encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The caller's buffer is too short, in bytes when encoding and in samples when decoding.
    #[error("the result takes {needed} and the buffer has {available}: pass a longer buffer")]
    BufferTooShort {
        /// What the result takes.
        needed: usize,
        /// What the buffer has.
        available: usize,
    },
}
