//! Audio codecs: 16-bit samples, channels interleaved, to and from the payload of one packet.
//!
//! [`AudioCodec`] says in SDP's words what a payload type carries, and makes its encoder and decoder.

pub mod aac;
mod bits;
mod codec;
pub mod comfort_noise;
pub mod events;
pub mod fmtp;
pub mod g711;
pub mod g722;
pub mod l16;
pub mod opus;

pub use codec::{AudioCodec, AudioCodecName, CodecError, EncoderSettings};

/// What a codec's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AudioFormat {
    /// Samples a second, for each channel.
    pub sample_rate_hz: u32,
    /// Channels, interleaved.
    pub channels: u8,
}

impl AudioFormat {
    /// Samples of all channels in `duration_ms` milliseconds.
    pub const fn samples_in_ms(&self, duration_ms: u32) -> usize {
        (self.sample_rate_hz as u64 * duration_ms as u64 / 1000) as usize * self.channels as usize
    }
}

/// Turns samples into payloads.
pub trait AudioEncoder: Send {
    /// What [`encode`](Self::encode) takes.
    fn format(&self) -> AudioFormat;

    /// None: each payload holds the samples of its [`encode`](Self::encode). Otherwise every payload holds this
    /// many samples, all channels together, whatever is passed: the encoder collects them, and the RTP
    /// timestamp of each payload is by this much later than the one before.
    fn frame_samples(&self) -> Option<usize> {
        None
    }

    /// Encodes `samples` (all channels) as one payload at the start of `payload`, and returns its bytes. 0
    /// bytes: there is nothing to send (discontinuous transmission), though the time of `samples` has passed.
    ///
    /// # Errors
    /// [`FrameSize`](AudioError::FrameSize) when the codec has no frame of so many samples,
    /// [`BufferTooShort`](AudioError::BufferTooShort) when the payload may not fit. The encoder and `payload`
    /// are then as they were. [`Library`](AudioError::Library) when the codec's library fails.
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError>;

    /// Another encoder in this state: fed the same samples, both give the same payloads (AAC: but for some
    /// bits). A receiver can be switched from one to the other between two payloads without a click.
    fn fork(&self) -> Box<dyn AudioEncoder>;

    /// The next payload shall decode well with a decoder that has followed another encoder of much the same
    /// sound. Costs some bits in that payload; codecs whose decoders follow anyway do nothing.
    fn resync(&mut self) {}

    /// Whether [`set_loss_percent`](Self::set_loss_percent) makes a difference.
    fn corrects_loss(&self) -> bool {
        false
    }

    /// What the network loses, in percent (more than 100 counts as 100), for in-band error correction.
    fn set_loss_percent(&mut self, _percent: u8) {}

    /// How much work to spend, from 0 to 10 (more counts as 10), where the codec has a choice.
    fn set_complexity(&mut self, _complexity: u8) {}
}

/// Turns payloads into samples.
pub trait AudioDecoder: Send {
    /// What [`decode`](Self::decode) gives.
    fn format(&self) -> AudioFormat;

    /// Decodes one payload to the start of `samples`, and returns how many there are, all channels
    /// together.
    ///
    /// # Errors
    /// [`BufferTooShort`](AudioError::BufferTooShort) when the samples do not fit: the decoder and `samples`
    /// are then as they were. [`BadPayload`](AudioError::BadPayload) when this is not a payload of the codec:
    /// `samples` may be overwritten, and the decoder goes on with the next payload.
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError>;

    /// How many samples, all channels together, `payload` holds, without decoding it.
    ///
    /// # Errors
    /// [`BadPayload`](AudioError::BadPayload) when that cannot be told. A payload that passes may still be
    /// refused by [`decode`](Self::decode).
    fn samples_in(&self, payload: &[u8]) -> Result<usize, AudioError>;

    /// Stands in for lost sound: fills the start of `samples`, which is as long as the gap, and returns how
    /// many samples are filled. `next` is the payload right after the gap if it is there; Opus finds an echo
    /// of the lost sound in it. It must still be decoded afterwards.
    ///
    /// 0 for codecs that have nothing of their own: `samples` is then as it was, and a concealment that fits
    /// any codec has to do.
    fn conceal(&mut self, _next: Option<&[u8]>, _samples: &mut [i16]) -> usize {
        0
    }

    /// Whether `next`, the payload right after a gap, holds a copy of the sound that is lost, so that
    /// [`conceal`](Self::conceal) gives that and not what the codec makes up. False of codecs without copies.
    fn holds_copy(&self, _next: &[u8]) -> bool {
        false
    }

    /// Forgets what came before: the sender has started anew.
    fn reset(&mut self);
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
    /// The codec has no frame of so many samples.
    #[error("{samples} samples are no frame: {takes}")]
    FrameSize {
        /// The samples passed, of all channels.
        samples: usize,
        /// What the codec takes.
        takes: &'static str,
    },
    /// The payload is not one of this codec: the sender or the payload type lies, or it was damaged.
    #[error("{bytes} bytes are no payload of this codec: {reason}")]
    BadPayload {
        /// Bytes of the payload.
        bytes: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The codec's library failed at something that it should be able to do.
    #[error("the codec's library failed with its error {code}: {reason}")]
    Library {
        /// The library's own number.
        code: i32,
        /// The library's own words.
        reason: &'static str,
    },
}

impl AudioError {
    /// Of a payload that is not one of the codec.
    fn bad_payload(payload: &[u8], reason: &'static str) -> Self {
        AudioError::BadPayload { bytes: payload.len(), reason }
    }
}

/// The part of `buffer` that the result takes.
fn prefix<T>(buffer: &mut [T], needed: usize) -> Result<&mut [T], AudioError> {
    let available = buffer.len();
    buffer.get_mut(..needed).ok_or(AudioError::BufferTooShort { needed, available })
}
