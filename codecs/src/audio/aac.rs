//! AAC by FFmpeg's libavcodec, in the payload of RFC 3640 (`MPEG4-GENERIC`): AAC-LC both ways; AAC-LD and
//! AAC-ELD, which older terminals of meeting rooms speak, are decoded only, as FFmpeg has no encoder of them.
//!
//! A frame has a length of its own (1024 samples for AAC-LC), which is no whole number of milliseconds at most
//! rates: the encoder collects samples until it has a frame. libavcodec allocates for each frame; nothing else
//! here does. Not here: HE-AAC, interleaved and fragmented units, concealment.

mod config;
mod payload;

use super::{AudioDecoder, AudioEncoder, AudioError, AudioFormat, CodecError, EncoderSettings};
use crate::ffi::avcodec;
pub use config::{AacConfig, AacKind};
use payload::{HEADER_BYTES, HIGH_RATE, UnitHeaders, write_header};

/// SDP's name.
const NAME: &str = "MPEG4-GENERIC";

/// With no bit rate set, for each channel.
const BITRATE_BPS_DEFAULT: u32 = 64_000;

/// Frames of which a fork hears again what was encoded: enough for the window and the rate control.
const FRAMES_KEPT: usize = 8;

/// Reads the parameters of `a=fmtp` that say what AAC this is.
///
/// # Errors
/// [`CodecError::Fmtp`] for what is wrong, lacks or is not supported.
pub fn parse_fmtp(fmtp: &str) -> Result<AacConfig, CodecError> {
    headers(fmtp)?;
    let digits = super::fmtp::value(fmtp, "config").unwrap_or_default();
    let wrong =
        |reason| CodecError::Fmtp { codec: NAME, parameter: "config", value: digits.to_owned(), reason };
    AacConfig::from_hex(digits).map_err(wrong)
}

fn headers(fmtp: &str) -> Result<UnitHeaders, CodecError> {
    let wrong = |(parameter, reason)| CodecError::Fmtp {
        codec: NAME,
        parameter,
        value: super::fmtp::value(fmtp, parameter).unwrap_or_default().to_owned(),
        reason,
    };
    UnitHeaders::parse(fmtp).map_err(wrong)
}

/// Turns AAC of any kind into samples.
pub struct AacDecoder {
    decoder: avcodec::Decoder,
    headers: UnitHeaders,
    config: AacConfig,
}

impl AacDecoder {
    /// A decoder of payloads that SDP describes with these parameters.
    ///
    /// # Errors
    /// [`CodecError::Fmtp`] for what is wrong, lacks or is not supported.
    pub fn new(fmtp: &str) -> Result<Self, CodecError> {
        let (config, headers) = (parse_fmtp(fmtp)?, headers(fmtp)?);
        let decoder = avcodec::Decoder::new("aac", &config.bytes).map_err(|error| CodecError::Fmtp {
            codec: NAME,
            parameter: "config",
            value: super::fmtp::value(fmtp, "config").unwrap_or_default().to_owned(),
            reason: error.reason(),
        })?;
        Ok(AacDecoder { decoder, headers, config })
    }
}

impl AudioDecoder for AacDecoder {
    fn format(&self) -> AudioFormat {
        self.config.format
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError> {
        let bad = |reason| AudioError::bad_payload(payload, reason);
        let (units, count) = self.headers.units(payload).map_err(bad)?;
        let frame = self.config.samples();
        let samples = super::prefix(samples, count * frame)?;
        let channels = usize::from(self.config.format.channels);
        for (unit, samples) in units.zip(samples.chunks_exact_mut(frame)) {
            self.decoder.decode(unit, samples, channels).map_err(|error| bad(error.reason()))?;
        }
        Ok(samples.len())
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, AudioError> {
        let units = self.headers.units(payload);
        let (_, count) = units.map_err(|reason| AudioError::bad_payload(payload, reason))?;
        Ok(count * self.config.samples())
    }

    fn reset(&mut self) {
        self.decoder.reset();
    }
}

/// Turns samples into AAC-LC, one frame in a payload of mode AAC-hbr.
pub struct AacEncoder {
    encoder: avcodec::Encoder,
    settings: avcodec::EncoderSettings,
    format: AudioFormat,
    /// The frame that is being collected, interleaved, and the [`FRAMES_KEPT`] before it, oldest first.
    collected: Vec<i16>,
    kept: Vec<i16>,
}

impl AacEncoder {
    /// An encoder of what SDP describes with these parameters, for a receiver of it.
    ///
    /// # Errors
    /// [`CodecError::Fmtp`] for what is wrong, lacks or is not supported, such as AAC-LD, and
    /// [`CodecError::Setting`] when the bit rate does not fit the samples' rate.
    pub fn new(fmtp: &str, settings: &EncoderSettings) -> Result<Self, CodecError> {
        let (config, headers) = (parse_fmtp(fmtp)?, headers(fmtp)?);
        let wrong = |parameter, reason| {
            let value = super::fmtp::value(fmtp, parameter).unwrap_or_default().to_owned();
            CodecError::Fmtp { codec: NAME, parameter, value, reason }
        };
        if config.kind != AacKind::Lc || config.frame_samples != 1024 {
            return Err(wrong("config", "only AAC-LC with frames of 1024 samples can be encoded"));
        }
        if headers != HIGH_RATE {
            return Err(wrong("sizelength", "only mode AAC-hbr can be encoded: 13, 3, 3"));
        }
        let format = config.format;
        let bitrate_bps = settings.bitrate_bps.unwrap_or(BITRATE_BPS_DEFAULT * u32::from(format.channels));
        let takes = "8000 bits a second to 6 bits a sample";
        let refused = CodecError::Setting { setting: "bitrate_bps", value: bitrate_bps, takes };
        let samples_a_second = format.samples_in_ms(1000) as u32;
        // A frame has at most 6144 bits for each channel (ISO/IEC 14496-3 section 4.5.3.1). What is only the
        // default yields.
        let bitrate_bps = match settings.bitrate_bps {
            Some(bitrate_bps) if !(8000..=samples_a_second * 6).contains(&bitrate_bps) => {
                return Err(refused);
            }
            _ => bitrate_bps.min(samples_a_second * 6),
        };
        let settings = avcodec::EncoderSettings {
            codec: "aac",
            sample_rate_hz: format.sample_rate_hz,
            channels: format.channels,
            bitrate_bps,
        };
        let encoder = avcodec::Encoder::new(&settings).map_err(|_| refused)?;
        let frame = 1024 * usize::from(format.channels);
        let (collected, kept) = (Vec::with_capacity(frame), Vec::with_capacity(frame * FRAMES_KEPT));
        Ok(AacEncoder { encoder, settings, format, collected, kept })
    }

    /// Bytes that a payload has room for: the largest frame, or what fits into one packet.
    fn payload_bytes(&self) -> usize {
        (HEADER_BYTES + 768 * usize::from(self.format.channels)).min(1200)
    }

    fn frame(&self) -> usize {
        1024 * usize::from(self.format.channels)
    }

    /// Remembers the frame that was collected.
    fn keep(&mut self) {
        let frame = self.frame();
        if self.kept.len() == frame * FRAMES_KEPT {
            self.kept.copy_within(frame.., 0);
            self.kept.truncate(frame * (FRAMES_KEPT - 1));
        }
        self.kept.extend_from_slice(&self.collected);
        self.collected.clear();
    }
}

impl AudioEncoder for AacEncoder {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn frame_samples(&self) -> Option<usize> {
        Some(self.frame())
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError> {
        if samples.len() > self.frame() || !samples.len().is_multiple_of(self.format.channels.into()) {
            let takes = "AAC-LC takes at most 1024 for each channel at once";
            return Err(AudioError::FrameSize { samples: samples.len(), takes });
        }
        let (needed, available) = (self.payload_bytes(), payload.len());
        let Some((header, room)) =
            payload.split_first_chunk_mut::<HEADER_BYTES>().filter(|_| available >= needed)
        else {
            return Err(AudioError::BufferTooShort { needed, available });
        };
        let (now, later) = samples.split_at(samples.len().min(self.frame() - self.collected.len()));
        self.collected.extend_from_slice(now);
        if self.collected.len() < self.frame() {
            return Ok(0);
        }
        let encoded = self.encoder.encode(&self.collected, room);
        self.keep();
        self.collected.extend_from_slice(later);
        match encoded {
            // The first frame: the encoder looks one ahead.
            Ok(0) => Ok(0),
            Ok(bytes) => {
                write_header(bytes, header);
                Ok(HEADER_BYTES + bytes)
            }
            Err(error) => Err(AudioError::Library { code: error.code(), reason: error.reason() }),
        }
    }

    /// libavcodec's state cannot be copied: the fork hears the last frames again. Its payloads may differ in
    /// some bits and sound the same. Making one costs as much as encoding eight frames.
    fn fork(&self) -> Box<dyn AudioEncoder> {
        let encoder = avcodec::Encoder::new(&self.settings);
        let mut encoder = encoder.expect("there is an encoder with these settings already");
        let mut room = [0; 1536];
        for frame in self.kept.chunks_exact(self.frame()) {
            // What is encoded now was sent by the original.
            let _ = encoder.encode(frame, &mut room);
        }
        let mut kept = Vec::with_capacity(self.frame() * FRAMES_KEPT);
        kept.extend_from_slice(&self.kept);
        let mut collected = Vec::with_capacity(self.frame());
        collected.extend_from_slice(&self.collected);
        Box::new(AacEncoder { encoder, settings: self.settings, format: self.format, collected, kept })
    }
}
