//! What goes into a playout and what comes out.

use motet_codecs::AudioDecoder;
use motet_codecs::audio::{AudioCodec, CodecError};
use motet_rtp::{WireSeq, WireTimestamp};
use std::fmt;

/// How one source is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Samples a second of the mix: 8000, 16000, 32000 or 48000.
    pub mix_rate_hz: u32,
    /// Delay on top of the fastest packet's that is always kept, in milliseconds.
    pub delay_ms_min: u16,
    /// Delay on top of the fastest packet's that is never exceeded for long, in milliseconds. What would
    /// come later is dropped and counted.
    pub delay_ms_max: u16,
}

impl Default for PlayoutConfig {
    fn default() -> Self {
        PlayoutConfig { mix_rate_hz: 48_000, delay_ms_min: 0, delay_ms_max: 400 }
    }
}

/// What one payload type of a source is.
pub struct PayloadSetting {
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// Ticks a second of its timestamps, which differ from the sample rate for G.722 (RFC 3551 section
    /// 4.5.2).
    pub clock_hz: u32,
    /// What its payloads hold.
    pub carries: Carries,
}

impl PayloadSetting {
    /// A payload type that carries sound of `codec`. A codec that can, decodes at the rate of the mix.
    ///
    /// # Errors
    /// When the codec is not to be had like that.
    pub fn sound(payload_type: u8, codec: &AudioCodec, mix_rate_hz: u32) -> Result<Self, CodecError> {
        let decoder = codec.decoder_at(mix_rate_hz)?;
        Ok(PayloadSetting { payload_type, clock_hz: codec.clock_hz, carries: Carries::Sound(decoder) })
    }
}

/// What payloads hold.
pub enum Carries {
    /// Sound for this decoder.
    Sound(Box<dyn AudioDecoder>),
    /// Telephone events (RFC 4733). [`Inserted::Event`] hands them back at once.
    Events,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
}

impl fmt::Debug for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carries::Sound(decoder) => write!(f, "Sound({:?})", decoder.format()),
            Carries::Events => f.write_str("Events"),
            Carries::ComfortNoise => f.write_str("ComfortNoise"),
        }
    }
}

impl fmt::Debug for PayloadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PayloadSetting { payload_type, clock_hz, carries } = self;
        write!(f, "{payload_type}: {carries:?}, clock {clock_hz} Hz")
    }
}

/// Why a playout cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlayoutConfigError {
    /// `mix_rate_hz` is none of 8000, 16000, 32000 and 48000.
    MixRate(u32),
    /// `delay_ms_max` is below `delay_ms_min`, below 20 or above 2000.
    Delays,
    /// A payload type is above 127 or named twice.
    PayloadType(u8),
    /// `clock_hz` of this payload type is not 1000 to 192,000.
    Clock(u8),
    /// The decoder of this payload type gives a rate below 8000 or above 48,000 Hz, or other than one or two
    /// channels.
    Format(u8),
}

impl fmt::Display for PlayoutConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlayoutConfigError::MixRate(rate) => {
                write!(f, "mix_rate_hz is {rate}: a mix runs at 8000, 16000, 32000 or 48000")
            }
            PlayoutConfigError::Delays => {
                f.write_str("delay_ms_max is below delay_ms_min, or not within 20 and 2000")
            }
            PlayoutConfigError::PayloadType(number) => {
                write!(f, "payload_type {number} is named twice, or above 127")
            }
            PlayoutConfigError::Clock(number) => {
                write!(f, "clock_hz of payload type {number} is not within 1000 and 192000")
            }
            PlayoutConfigError::Format(number) => {
                write!(f, "payload type {number}: a decoder gives 8000 to 48000 Hz and one or two channels")
            }
        }
    }
}

impl std::error::Error for PlayoutConfigError {}

/// One packet of the source.
#[derive(Clone, Copy, Debug)]
pub struct SourcePacket<'a> {
    /// Whose packet: another SSRC is another sender and begins afresh.
    pub ssrc: u32,
    /// The sequence number.
    pub sequence: WireSeq,
    /// The timestamp, in ticks of the payload type's clock.
    pub timestamp: WireTimestamp,
    /// The marker bit: the first packet after a silence (RFC 3551 section 4.1).
    pub marker: bool,
    /// The payload type.
    pub payload_type: u8,
    /// The level in its header extension, in dB below full scale, 0 to 127 (RFC 6464).
    pub level: Option<u8>,
    /// The payload, without padding.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inserted {
    /// It waits for its moment, or is noted as comfort noise.
    Queued,
    /// It holds a telephone event: the payload is the caller's to read (RFC 4733).
    Event,
    /// Its payload type is none of the configured ones.
    UnknownPayloadType,
    /// It holds no sound: empty, of a length that its codec does not have, or longer than 120 ms.
    BadPayload,
    /// It came after its moment.
    Late,
    /// It was here before.
    Duplicate,
    /// It does not continue the stream. A second one that continues it begins the stream afresh.
    Jump,
}

/// What a tick's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pulled {
    /// Sound that the sender sent, wholly or in part; what was recovered from the next packet counts as sent.
    Sound,
    /// A guess at what was lost, or comfort noise.
    Concealed,
    /// Nothing to play; the samples were not written.
    Silence,
}

/// What a playout has done since it was made. Milliseconds are of sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Packets taken in, late ones and duplicates included.
    pub received: u64,
    /// Packets that came after their moment.
    pub late: u64,
    /// Packets that never came, as far as is known.
    pub lost: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets that came after one with a higher number, and in time.
    pub reordered: u64,
    /// Packets dropped since the sender was ahead of its clock: the delay would exceed its limit.
    pub overflow: u64,
    /// Packets that did not continue the stream.
    pub jumps: u64,
    /// Packets whose payload was not what its type says.
    pub bad_payload: u64,
    /// Packets of payload types that are not configured.
    pub unknown_payload_type: u64,
    /// Sound made up for what was lost and not recovered.
    pub concealed_ms: u64,
    /// Lost packets recovered from the one after them (in-band FEC).
    pub fec_recovered: u64,
    /// Times that the sender began afresh: another SSRC, a restart or a jump of its timestamps.
    pub resets: u64,
    /// Steps that made the delay longer and shorter.
    pub stretched: u64,
    /// See `stretched`.
    pub shortened: u64,
    /// How much later sound is played than the fastest packet would allow, in milliseconds.
    pub delay_ms: u32,
    /// The delay that is aimed at, in milliseconds.
    pub target_delay_ms: u32,
    /// Interarrival jitter (RFC 3550 section 6.4.1), in milliseconds.
    pub jitter_ms: u32,
}
