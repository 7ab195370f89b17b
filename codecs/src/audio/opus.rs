//! Opus by libopus (RFC 6716; payload of RFC 7587): 6 to 510 kbit/s, one or two channels, frames of 2.5 to
//! 120 ms, for speech and music.
//!
//! The RTP clock is 48 kHz whatever the samples' rate. A decoder gives what its caller asks for, mono or
//! stereo, 8 to 48 kHz, whatever the sender encodes. In-band FEC, DTX and libopus's concealment are here; DRED
//! and the neural concealment of libopus 1.5 are not, as they cost several times a decoder's work.

use super::{AudioDecoder, AudioEncoder, AudioError, AudioFormat, CodecError, EncoderSettings};
use crate::ffi::opus::{Decoder, Encoder, EncoderOption, OpusError};

/// The rates at which libopus takes and gives samples, in Hz.
pub const SAMPLE_RATES_HZ: [u32; 5] = [8000, 12_000, 16_000, 24_000, 48_000];

/// The shortest frame, 2.5 ms, is this part of a second; every frame is a multiple of it.
const SHORTEST_FRAMES_A_SECOND: usize = 400;

/// Durations that a frame may have, in shortest frames: 2.5, 5, 10, 20, 40, 60, 80, 100 and 120 ms.
const FRAME_DURATIONS: [usize; 9] = [1, 2, 4, 8, 16, 24, 32, 40, 48];

/// With no bit rate set: enough for speech of full bandwidth, for each channel.
const BITRATE_BPS_DEFAULT: u32 = 32_000;

/// More than a frame's share of the bit rate, as libopus spends more on what is hard to encode.
const PAYLOAD_BYTES_MIN: usize = 16;

/// OPUS_APPLICATION_VOIP and OPUS_APPLICATION_AUDIO. For speech libopus takes its SILK layer, which costs about three
/// times as much as the other at these bit rates. Only it has in-band FEC, and DTX at low complexity.
const FOR_SPEECH: i32 = 2048;
const FOR_ALL_SOUND: i32 = 2049;
/// OPUS_APPLICATION_RESTRICTED_LOWDELAY: the other layer only, which then looks ahead by 2.5 ms instead of 6.5.
const FOR_LOW_DELAY: i32 = 2051;
/// Above this rate for each channel, in bits a second, libopus takes that layer for all sound anyhow
/// (`mode_thresholds` in its opus_encoder.c).
const LOW_DELAY_BPS_MIN: u32 = 20_000;

/// OPUS_AUTO and OPUS_SIGNAL_VOICE: with the latter libopus turns to its SILK layer at any loss, to send FEC.
const SIGNAL_UNKNOWN: i32 = -1000;
const SIGNAL_VOICE: i32 = 3001;

/// With less, libopus leaves FEC rather than bandwidth (`decide_fec` in its opus_encoder.c): at 32 kbit/s packets would
/// be SILK's and yet hold no copy.
const FEC_LOSS_PERCENT_MIN: u8 = 6;

/// What the receiver asked for (RFC 7587 section 6.1), as far as it bears on an encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpusLimits {
    /// `maxaveragebitrate`, in bits a second.
    pub bitrate_bps_max: Option<u32>,
    /// `maxplaybackrate`: the receiver plays nothing above half of it, in Hz.
    pub playback_rate_hz_max: Option<u32>,
    /// `cbr=1`: every packet of the same size.
    pub constant_rate: bool,
    /// `useinbandfec=0`: the receiver makes nothing of FEC.
    pub no_fec: bool,
    /// `usedtx=0`: the receiver wants packets in silence too.
    pub no_dtx: bool,
}

/// Turns samples into Opus packets.
pub struct OpusEncoder {
    encoder: Encoder,
    format: AudioFormat,
    bitrate_bps: u32,
    dtx: bool,
    fec: bool,
    resyncing: bool,
}

impl OpusEncoder {
    /// An encoder of samples of `format`: one of [`SAMPLE_RATES_HZ`], one or two channels.
    ///
    /// # Errors
    /// [`CodecError::Format`] when libopus does not take samples of that format, and
    /// [`CodecError::Setting`] for a bit rate outside 500 to 512,000 for each channel.
    pub fn new(
        format: AudioFormat,
        settings: &EncoderSettings,
        limits: &OpusLimits,
    ) -> Result<Self, CodecError> {
        let unsupported = CodecError::Format { codec: "opus", format, takes: TAKES };
        let dtx = settings.dtx && !limits.no_dtx;
        let fec = settings.fec && !limits.no_fec;
        let channels = u32::from(format.channels);
        let wanted = settings.bitrate_bps.unwrap_or(BITRATE_BPS_DEFAULT * channels);
        if !(500..=512_000 * channels).contains(&wanted) {
            let takes = "500 to 512000 for each channel";
            return Err(CodecError::Setting { setting: "bitrate_bps", value: wanted, takes });
        }
        let bitrate_bps = wanted.min(limits.bitrate_bps_max.unwrap_or(wanted)).max(500);
        let low_delay = !fec && bitrate_bps >= LOW_DELAY_BPS_MIN * channels;
        let application = if dtx {
            FOR_SPEECH
        } else if low_delay {
            FOR_LOW_DELAY
        } else {
            FOR_ALL_SOUND
        };
        let encoder =
            Encoder::new(format.sample_rate_hz, format.channels, application).map_err(|_| unsupported)?;
        let mut opus = OpusEncoder { encoder, format, bitrate_bps, dtx, fec, resyncing: false };
        opus.set(EncoderOption::BitrateBps, bitrate_bps as i32);
        opus.set(EncoderOption::InbandFec, i32::from(fec));
        opus.set(EncoderOption::Dtx, i32::from(dtx));
        opus.set(EncoderOption::VariableRate, i32::from(!limits.constant_rate));
        if let Some(rate_hz) = limits.playback_rate_hz_max {
            opus.set(EncoderOption::BandwidthMax, bandwidth(rate_hz));
        }
        opus.set_loss_percent(settings.loss_percent);
        opus.set_complexity(settings.complexity);
        Ok(opus)
    }

    /// The values are in range, and options that exist do not fail.
    fn set(&mut self, option: EncoderOption, value: i32) {
        let set = self.encoder.set(option, value);
        assert!(set.is_ok(), "libopus has {option:?} and takes {value}: {set:?}");
    }

    /// Bytes that a frame of `samples` samples of all channels may need.
    fn payload_bytes(&self, samples: usize) -> usize {
        let samples_a_second = self.format.samples_in_ms(1000);
        (self.bitrate_bps as usize * samples).div_ceil(8 * samples_a_second) + PAYLOAD_BYTES_MIN
    }
}

const TAKES: &str = "8000, 12000, 16000, 24000 or 48000 Hz, one or two channels";

impl AudioEncoder for OpusEncoder {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError> {
        let shortest = self.format.samples_in_ms(1000) / SHORTEST_FRAMES_A_SECOND;
        if !FRAME_DURATIONS.iter().any(|duration| duration * shortest == samples.len()) {
            let takes = "Opus takes frames of 2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms of all channels";
            return Err(AudioError::FrameSize { samples: samples.len(), takes });
        }
        let (needed, available) = (self.payload_bytes(samples.len()), payload.len());
        if available < needed {
            return Err(AudioError::BufferTooShort { needed, available });
        }
        if self.resyncing {
            self.set(EncoderOption::PredictionDisabled, 1);
        }
        let encoded = self.encoder.encode(samples, payload);
        if std::mem::take(&mut self.resyncing) {
            self.set(EncoderOption::PredictionDisabled, 0);
        }
        let bytes = encoded.map_err(|error| AudioError::Library { code: error.0, reason: error.reason() })?;
        // opus.h: a packet of two bytes or less need not be sent (DTX).
        Ok(if self.dtx && bytes <= 2 { 0 } else { bytes })
    }

    fn fork(&self) -> Box<dyn AudioEncoder> {
        Box::new(OpusEncoder { encoder: self.encoder.clone(), ..*self })
    }

    fn resync(&mut self) {
        self.resyncing = true;
    }

    fn corrects_loss(&self) -> bool {
        self.fec
    }

    fn set_loss_percent(&mut self, percent: u8) {
        let fec_wanted = self.fec && percent > 0;
        let percent = if fec_wanted { percent.max(FEC_LOSS_PERCENT_MIN) } else { percent };
        self.set(EncoderOption::LossPercent, i32::from(percent.min(100)));
        self.set(EncoderOption::Signal, if fec_wanted { SIGNAL_VOICE } else { SIGNAL_UNKNOWN });
    }

    fn set_complexity(&mut self, complexity: u8) {
        self.set(EncoderOption::Complexity, i32::from(complexity.min(10)));
    }
}

/// The widest of Opus's bandwidths that is of use at a playback rate (RFC 7587 section 3.1.1), in libopus's
/// numbers (OPUS_BANDWIDTH_NARROWBAND to OPUS_BANDWIDTH_FULLBAND).
fn bandwidth(playback_rate_hz: u32) -> i32 {
    match playback_rate_hz {
        0..=8000 => 1101,
        8001..=12_000 => 1102,
        12_001..=16_000 => 1103,
        16_001..=24_000 => 1104,
        _ => 1105,
    }
}

/// Turns Opus packets into samples.
pub struct OpusDecoder {
    decoder: Decoder,
    format: AudioFormat,
}

impl OpusDecoder {
    /// A decoder to samples of `format`: one of [`SAMPLE_RATES_HZ`], one or two channels.
    ///
    /// # Errors
    /// [`CodecError::Format`] when libopus does not give samples of that format.
    pub fn new(format: AudioFormat) -> Result<Self, CodecError> {
        let unsupported = CodecError::Format { codec: "opus", format, takes: TAKES };
        let decoder = Decoder::new(format.sample_rate_hz, format.channels).map_err(|_| unsupported)?;
        Ok(OpusDecoder { decoder, format })
    }
}

impl AudioDecoder for OpusDecoder {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError> {
        let (needed, available) = (self.samples_in(payload)?, samples.len());
        if available < needed {
            return Err(AudioError::BufferTooShort { needed, available });
        }
        let decoded = self.decoder.decode(Some(payload), samples, false);
        decoded.map_err(|error| AudioError::bad_payload(payload, error.reason()))
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, AudioError> {
        // To libopus a packet of no bytes is a lost one, and a lost one is not in a payload.
        if payload.is_empty() {
            return Err(AudioError::bad_payload(payload, "an Opus packet has at least one byte"));
        }
        let refused = |error: OpusError| AudioError::bad_payload(payload, error.reason());
        match self.decoder.samples_in(payload).map_err(refused)? {
            0 => Err(AudioError::bad_payload(payload, "an Opus packet has at least one frame")),
            samples => Ok(samples),
        }
    }

    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [i16]) -> usize {
        let shortest = self.format.samples_in_ms(1000) / SHORTEST_FRAMES_A_SECOND;
        let whole = samples.len() / shortest * shortest;
        if whole == 0 {
            return 0;
        }
        let samples = &mut samples[..whole];
        // libopus conceals what lies before the echo, and all when there is none in the packet.
        let next = next.filter(|next| self.samples_in(next).is_ok());
        let concealed = match next {
            Some(next) => self.decoder.decode(Some(next), samples, true),
            None => self.decoder.decode(None, samples, false),
        };
        match (concealed, next) {
            (Ok(concealed), _) => concealed,
            (Err(_), Some(_)) => self.decoder.decode(None, samples, false).unwrap_or(0),
            (Err(_), None) => 0,
        }
    }

    fn holds_copy(&self, next: &[u8]) -> bool {
        holds_copy(next)
    }

    fn reset(&mut self) {
        self.decoder.reset();
    }
}

/// Whether the SILK part of a packet begins with a copy of the frame before, by its flags (RFC 6716 sections 3.1, 3.2
/// and 4.2.3). Encoders copy what they take for speech. Of packets with frames of their own lengths, which are rare:
/// true.
fn holds_copy(packet: &[u8]) -> bool {
    let [toc, rest @ ..] = packet else { return false };
    let (configuration, stereo, code) = (toc >> 3, toc & 4 != 0, toc & 3);
    if configuration >= 16 {
        // CELT only.
        return false;
    }
    if code > 1 {
        return true;
    }
    let Some(flags) = rest.first() else { return false };
    // Of 20 ms, of which SILK's frames of 40 and 60 ms hold two and three. Hybrid ones are no longer than that.
    let frames = if configuration < 12 { (configuration & 3).max(1) } else { 1 };
    // A flag of voice for each, then that of the copy; all again for the other channel.
    let middle = flags >> (7 - frames) & 1 == 1;
    middle || (stereo && flags >> (6 - 2 * frames) & 1 == 1)
}
