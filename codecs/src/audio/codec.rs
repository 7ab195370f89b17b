//! What a payload type carries, in SDP's words, and what encodes and decodes it.

use super::aac::{self, AacDecoder, AacEncoder, AacKind};
use super::g711::{G711, Law};
use super::g722::{G722Decoder, G722Encoder};
use super::l16::L16;
use super::opus::{OpusDecoder, OpusEncoder, OpusLimits, SAMPLE_RATES_HZ};
use super::{AudioDecoder, AudioEncoder, AudioFormat, fmtp};

/// A codec, or what goes beside one under a payload type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodecName {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722.
    G722,
    /// Opus.
    Opus,
    /// Samples as they are.
    L16,
    /// AAC of low complexity.
    AacLc,
    /// AAC of low delay; decoded only.
    AacLd,
    /// AAC of enhanced low delay; decoded only.
    AacEld,
    /// Comfort noise beside a codec; see [`comfort_noise`](super::comfort_noise).
    ComfortNoise,
    /// Telephone events beside a codec; see [`events`](super::events).
    TelephoneEvent,
}

impl AudioCodecName {
    /// Whether it is sound, and not what goes beside it: comfort noise and telephone events.
    pub const fn is_sound(self) -> bool {
        !matches!(self, AudioCodecName::ComfortNoise | AudioCodecName::TelephoneEvent)
    }

    /// The name in SDP's `a=rtpmap`.
    pub const fn encoding_name(self) -> &'static str {
        match self {
            AudioCodecName::Pcmu => "PCMU",
            AudioCodecName::Pcma => "PCMA",
            AudioCodecName::G722 => "G722",
            AudioCodecName::Opus => "opus",
            AudioCodecName::L16 => "L16",
            AudioCodecName::AacLc | AudioCodecName::AacLd | AudioCodecName::AacEld => "MPEG4-GENERIC",
            AudioCodecName::ComfortNoise => "CN",
            AudioCodecName::TelephoneEvent => "telephone-event",
        }
    }
}

impl std::fmt::Display for AudioCodecName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.encoding_name())
    }
}

/// What a payload type carries, as in SDP. Equal ones are encoded and decoded alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AudioCodec {
    /// The codec.
    pub name: AudioCodecName,
    /// Ticks of the RTP timestamp in a second. 8000 for G.722 and 48,000 for Opus, whatever their samples.
    pub clock_hz: u32,
    /// Channels of the samples, 1 or more. Opus: of those wanted from its decoder or given to its encoder,
    /// not the 2 that SDP always says.
    pub channels: u8,
    /// The parameters of `a=fmtp`, without the payload type.
    pub fmtp: String,
}

/// How to encode. What a codec has no choice in, it ignores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncoderSettings {
    /// Bits a second, of all channels. None: what suits the codec.
    pub bitrate_bps: Option<u32>,
    /// Work to spend, 0 to 10.
    pub complexity: u8,
    /// In-band forward error correction.
    pub fec: bool,
    /// Discontinuous transmission: send nothing in silence.
    pub dtx: bool,
    /// What the network loses, 0 to 100: how much `fec` spends.
    pub loss_percent: u8,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        EncoderSettings { bitrate_bps: None, complexity: 5, fec: false, dtx: false, loss_percent: 0 }
    }
}

/// Why a codec is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// No codec of that name is here.
    #[error("there is no audio codec {name:?} here; there are {}", known())]
    UnknownName {
        /// As it came.
        name: String,
    },
    /// The codec does not have that RTP clock.
    #[error("{codec} has an RTP clock of {takes} Hz, not {clock_hz}")]
    Clock {
        /// The codec.
        codec: &'static str,
        /// As it came.
        clock_hz: u32,
        /// What it may be.
        takes: &'static str,
    },
    /// The codec does not have so many channels.
    #[error("{codec} has {takes} in SDP, not {channels}")]
    Channels {
        /// The codec.
        codec: &'static str,
        /// As they came.
        channels: u8,
        /// What there may be.
        takes: &'static str,
    },
    /// A parameter of `a=fmtp` is wrong, or one that is needed lacks.
    #[error("{codec}: parameter {parameter} of fmtp is {value:?}: {reason}")]
    Fmtp {
        /// The codec.
        codec: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// As it came; empty when it lacks.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The codec does not take or give samples of that format.
    #[error("{codec} takes {takes}, not {} Hz with {} channels", format.sample_rate_hz, format.channels)]
    Format {
        /// The codec.
        codec: &'static str,
        /// As it was asked for.
        format: AudioFormat,
        /// What it may be.
        takes: &'static str,
    },
    /// What goes beside a codec has neither encoder nor decoder.
    #[error("{codec} goes beside a codec and is none itself")]
    NoSound {
        /// Its name.
        codec: &'static str,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}: it may be {takes}")]
    Setting {
        /// Its name in [`EncoderSettings`].
        setting: &'static str,
        /// As it came.
        value: u32,
        /// What it may be.
        takes: &'static str,
    },
}

/// One for each name of SDP.
const NAMES: [AudioCodecName; 8] = [
    AudioCodecName::Pcmu,
    AudioCodecName::Pcma,
    AudioCodecName::G722,
    AudioCodecName::Opus,
    AudioCodecName::L16,
    AudioCodecName::AacLc,
    AudioCodecName::ComfortNoise,
    AudioCodecName::TelephoneEvent,
];

fn known() -> String {
    NAMES.map(AudioCodecName::encoding_name).join(", ")
}

impl AudioCodec {
    /// Reads what SDP says of a payload type: `a=rtpmap:PT NAME/CLOCK[/CHANNELS]`, `a=fmtp:PT FMTP`. Without
    /// channels pass 1; 0 is taken for 1. Names are compared without case.
    ///
    /// # Errors
    /// What [`CodecError`] says, naming what is wrong.
    pub fn parse(name: &str, clock_hz: u32, channels: u8, fmtp: &str) -> Result<Self, CodecError> {
        let known = NAMES.into_iter().find(|known| known.encoding_name().eq_ignore_ascii_case(name));
        let name = known.ok_or_else(|| CodecError::UnknownName { name: name.to_owned() })?;
        let channels = channels.max(1);
        let mut codec = AudioCodec { name, clock_hz, channels, fmtp: fmtp.trim().to_owned() };
        match name {
            AudioCodecName::Pcmu | AudioCodecName::Pcma | AudioCodecName::G722 => {
                codec.check_clock(clock_hz == 8000, "8000")?;
                codec.check_channels(channels == 1, "1 channel")?;
            }
            AudioCodecName::Opus => {
                codec.check_clock(clock_hz == 48_000, "48000")?;
                // RFC 7587 section 7 says 2; senders of 1 mean the same.
                codec.check_channels(channels <= 2, "2 channels")?;
                codec.opus_limits()?;
                let stereo = ["stereo", "sprop-stereo"].iter().any(|name| codec.flag(name) == Some(true));
                codec.channels = if stereo { 2 } else { 1 };
            }
            AudioCodecName::L16 => {
                codec.check_clock((8000..=192_000).contains(&clock_hz), "8000 to 192000")?;
                codec.check_channels(channels <= 8, "1 to 8 channels")?;
            }
            AudioCodecName::AacLc | AudioCodecName::AacLd | AudioCodecName::AacEld => {
                codec.check_clock((1000..=192_000).contains(&clock_hz), "1000 to 192000")?;
                let config = aac::parse_fmtp(fmtp)?;
                codec.name = match config.kind {
                    AacKind::Lc => AudioCodecName::AacLc,
                    AacKind::Ld => AudioCodecName::AacLd,
                    AacKind::Eld => AudioCodecName::AacEld,
                };
                // What the codec itself says goes before what SDP says of it.
                codec.channels = config.format.channels;
            }
            AudioCodecName::ComfortNoise | AudioCodecName::TelephoneEvent => {
                codec.check_clock((8000..=192_000).contains(&clock_hz), "8000 to 192000")?;
                codec.check_channels(channels == 1, "1 channel")?;
            }
        }
        Ok(codec)
    }

    fn check_clock(&self, right: bool, takes: &'static str) -> Result<(), CodecError> {
        let wrong = CodecError::Clock { codec: self.name.encoding_name(), clock_hz: self.clock_hz, takes };
        if right { Ok(()) } else { Err(wrong) }
    }

    fn check_channels(&self, right: bool, takes: &'static str) -> Result<(), CodecError> {
        let wrong = CodecError::Channels { codec: self.name.encoding_name(), channels: self.channels, takes };
        if right { Ok(()) } else { Err(wrong) }
    }

    /// A parameter that is 0 or 1.
    fn flag(&self, name: &str) -> Option<bool> {
        fmtp::value(&self.fmtp, name).map(|value| value == "1")
    }

    fn opus_limits(&self) -> Result<OpusLimits, CodecError> {
        let number = |parameter| {
            let wrong = |value: &str| CodecError::Fmtp {
                codec: "opus",
                parameter,
                value: value.to_owned(),
                reason: "it is a whole number",
            };
            fmtp::number(&self.fmtp, parameter).map_err(wrong)
        };
        Ok(OpusLimits {
            bitrate_bps_max: number("maxaveragebitrate")?,
            playback_rate_hz_max: number("maxplaybackrate")?,
            constant_rate: self.flag("cbr") == Some(true),
            no_fec: self.flag("useinbandfec") == Some(false),
            no_dtx: self.flag("usedtx") == Some(false),
        })
    }

    /// The format of the samples.
    pub fn format(&self) -> AudioFormat {
        let sample_rate_hz = match self.name {
            AudioCodecName::G722 => 16_000,
            AudioCodecName::AacLc | AudioCodecName::AacLd | AudioCodecName::AacEld => {
                aac::parse_fmtp(&self.fmtp).map_or(self.clock_hz, |config| config.format.sample_rate_hz)
            }
            _ => self.clock_hz,
        };
        AudioFormat { sample_rate_hz, channels: self.channels }
    }

    /// The same codec's format when samples of `rate_hz` are wanted: Opus has 8, 12, 16, 24 and 48 kHz to
    /// choose from, the others have one rate only.
    pub fn format_at(&self, rate_hz: u32) -> AudioFormat {
        let mut format = self.format();
        if self.name == AudioCodecName::Opus && SAMPLE_RATES_HZ.contains(&rate_hz) {
            format.sample_rate_hz = rate_hz;
        }
        format
    }

    /// A decoder to samples of [`format`](Self::format).
    ///
    /// # Errors
    /// What [`CodecError`] says.
    pub fn decoder(&self) -> Result<Box<dyn AudioDecoder>, CodecError> {
        self.decoder_at(self.format().sample_rate_hz)
    }

    /// A decoder to samples of [`format_at`](Self::format_at) `rate_hz`, which may spare a resampler.
    ///
    /// # Errors
    /// What [`CodecError`] says.
    pub fn decoder_at(&self, rate_hz: u32) -> Result<Box<dyn AudioDecoder>, CodecError> {
        let format = self.format_at(rate_hz);
        Ok(match self.name {
            AudioCodecName::Pcmu => Box::new(G711::new(Law::Mu)),
            AudioCodecName::Pcma => Box::new(G711::new(Law::A)),
            AudioCodecName::G722 => Box::new(G722Decoder::new()),
            AudioCodecName::Opus => Box::new(OpusDecoder::new(format)?),
            AudioCodecName::L16 => Box::new(L16::new(format)),
            AudioCodecName::AacLc | AudioCodecName::AacLd | AudioCodecName::AacEld => {
                Box::new(AacDecoder::new(&self.fmtp)?)
            }
            AudioCodecName::ComfortNoise | AudioCodecName::TelephoneEvent => {
                return Err(CodecError::NoSound { codec: self.name.encoding_name() });
            }
        })
    }

    /// An encoder of samples of [`format`](Self::format).
    ///
    /// # Errors
    /// What [`CodecError`] says.
    pub fn encoder(&self, settings: &EncoderSettings) -> Result<Box<dyn AudioEncoder>, CodecError> {
        self.encoder_at(self.format().sample_rate_hz, settings)
    }

    /// An encoder of samples of [`format_at`](Self::format_at) `rate_hz`, which may spare a resampler.
    ///
    /// # Errors
    /// What [`CodecError`] says.
    pub fn encoder_at(
        &self,
        rate_hz: u32,
        settings: &EncoderSettings,
    ) -> Result<Box<dyn AudioEncoder>, CodecError> {
        let format = self.format_at(rate_hz);
        Ok(match self.name {
            AudioCodecName::Pcmu => Box::new(G711::new(Law::Mu)),
            AudioCodecName::Pcma => Box::new(G711::new(Law::A)),
            AudioCodecName::G722 => Box::new(G722Encoder::new()),
            AudioCodecName::Opus => Box::new(OpusEncoder::new(format, settings, &self.opus_limits()?)?),
            AudioCodecName::L16 => Box::new(L16::new(format)),
            AudioCodecName::AacLc | AudioCodecName::AacLd | AudioCodecName::AacEld => {
                Box::new(AacEncoder::new(&self.fmtp, settings)?)
            }
            AudioCodecName::ComfortNoise | AudioCodecName::TelephoneEvent => {
                return Err(CodecError::NoSound { codec: self.name.encoding_name() });
            }
        })
    }

    /// RTP timestamp ticks that `samples` (of all channels) of `format` last.
    pub fn rtp_ticks(&self, format: AudioFormat, samples: usize) -> u32 {
        let samples_a_second = u64::from(format.sample_rate_hz) * u64::from(format.channels.max(1));
        (samples as u64 * u64::from(self.clock_hz) / samples_a_second.max(1)) as u32
    }
}
