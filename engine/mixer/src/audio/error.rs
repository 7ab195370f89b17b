//! Why a command was refused, and why packets were dropped.

use super::limits::{GROUPS_MAX, OUTPUTS_MAX, PAIRS_PER_OUTPUT_MAX, PROMPTS_MAX, RATES_MAX, SOURCES_MAX};
use super::{Gain, OutputId, PromptId, SourceId};
use crate::playout::PlayoutConfigError;
use motet_codecs::audio::CodecError;
use motet_rtp::RtpError;

/// Why a command was refused. Nothing is changed by a refused command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// The rate of the mix is none that there is.
    #[error("rate_hz is {0}: a mix runs at 8000, 16000, 32000 or 48000")]
    MixRate(u32),
    /// A value of the configuration is out of its range.
    #[error("{field} is out of range: it may be {takes}")]
    Config {
        /// Its name in [`MixConfig`](super::MixConfig).
        field: &'static str,
        /// What it may be.
        takes: &'static str,
    },
    /// A gain is out of range.
    #[error("a gain of {db} dB: it may be {} to {}, or silent", Gain::DB_MIN, Gain::DB_MAX)]
    GainOutOfRange {
        /// As it came.
        db: f32,
    },
    /// There is no such source.
    #[error("source {0} is not there: it was removed, or never added")]
    UnknownSource(SourceId),
    /// There is no such output.
    #[error("output {0} is not there: it was removed, or never added")]
    UnknownOutput(OutputId),
    /// There is no such prompt.
    #[error("prompt {0} is not there: it is over, or never began")]
    UnknownPrompt(PromptId),
    /// The source is there already.
    #[error("source {0} is there already: remove it first, or choose another number")]
    SourceExists(SourceId),
    /// The output is there already.
    #[error("output {0} is there already: remove it first, or choose another number")]
    OutputExists(OutputId),
    /// The prompt plays already.
    #[error("prompt {0} plays already: stop it first, or choose another number")]
    PromptExists(PromptId),
    /// Another source has the SSRC.
    #[error("ssrc {ssrc:#010x} is that of source {source_id}: every source needs its own")]
    SsrcTaken {
        /// The SSRC.
        ssrc: u32,
        /// Who has it.
        source_id: SourceId,
    },
    /// There are as many as there may be.
    #[error("there are {max} {what}, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        max: usize,
    },
    /// A payload type is more than 7 bits, or serves two purposes.
    #[error("payload_type {0} is above 127, or named twice")]
    PayloadType(u8),
    /// An identifier of a header extension that there cannot be.
    #[error("level_extension is {0}: identifiers are 1 to 255, without 15 (RFC 8285)")]
    LevelExtension(u8),
    /// Noise suppression was asked for in a mix of another rate than 48,000 Hz.
    #[error("noise_suppression takes a mix at 48000 Hz, and this one has {rate_hz}")]
    NoiseSuppression {
        /// The mix's rate.
        rate_hz: u32,
    },
    /// The codec is not to be had.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The codec's frames do not fit the ticks of 20 ms.
    #[error(
        "{rate_hz} Hz with {channels} channels: a tick is no whole number of samples, or more than a frame"
    )]
    OutputFormat {
        /// The codec's rate.
        rate_hz: u32,
        /// The codec's channels.
        channels: u8,
    },
    /// The source cannot be played.
    #[error("the source cannot be played: {0}")]
    Playout(PlayoutConfigError),
    /// The pair is a participant and its own voice.
    #[error("output {output}: source {source_id} is its own voice, which it never hears")]
    OwnVoice {
        /// The output.
        output: OutputId,
        /// Its own voice.
        source_id: SourceId,
    },
    /// The prompt has another rate than the mix.
    #[error("the prompt has {prompt_hz} Hz and the mix {mix_hz}: load it with the rate of the mix")]
    PromptRate {
        /// The prompt's.
        prompt_hz: u32,
        /// The mix's.
        mix_hz: u32,
    },
    /// The prompt holds no sample.
    #[error("the prompt holds no sample")]
    PromptEmpty,
}

impl MixError {
    pub(crate) fn too_many_sources() -> Self {
        MixError::TooMany { what: "sources", max: SOURCES_MAX }
    }

    pub(crate) fn too_many_outputs() -> Self {
        MixError::TooMany { what: "outputs", max: OUTPUTS_MAX }
    }

    pub(crate) fn too_many_groups() -> Self {
        MixError::TooMany { what: "rooms with somebody in them", max: GROUPS_MAX }
    }

    pub(crate) fn too_many_prompts() -> Self {
        MixError::TooMany { what: "prompts", max: PROMPTS_MAX }
    }

    pub(crate) fn too_many_pairs() -> Self {
        MixError::TooMany { what: "pair gains of an output", max: PAIRS_PER_OUTPUT_MAX }
    }

    pub(crate) fn too_many_rates() -> Self {
        MixError::TooMany { what: "sampling rates of outputs", max: RATES_MAX }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a packet to the mixer was dropped. Counted, never logged.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum MixDrop {
            $($(#[$doc])* $name,)*
        }

        impl MixDrop {
            /// Every reason.
            pub const ALL: &'static [MixDrop] = &[$(MixDrop::$name,)*];

            /// A stable name for metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(MixDrop::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Not an RTP packet.
    Malformed = "malformed",
    /// Its SSRC is no source's.
    UnknownSsrc = "unknown_ssrc",
    /// Its payload type is none that the source has.
    UnknownPayloadType = "unknown_payload_type",
    /// Its payload is not what its type says.
    BadPayload = "bad_payload",
    /// It came after its moment.
    Late = "late",
    /// It came twice.
    Duplicate = "duplicate",
    /// It does not continue the stream; the next one decides.
    Jump = "jump",
    /// It was dropped since its sender was ahead of its clock: the delay would have exceeded its limit.
    Overflow = "overflow",
    /// Its decoder refused it, though its length is one that its type may have.
    Undecodable = "undecodable",
    /// A telephone event that is too short for one (RFC 4733 section 2.3).
    BadEvent = "bad_event",
    /// A telephone event that was not passed on since another one is on its way in the same room.
    EventBusy = "event_busy",
}

impl From<RtpError> for MixDrop {
    fn from(_: RtpError) -> Self {
        MixDrop::Malformed
    }
}

/// A count for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MixDrops {
    counts: [u64; MixDrop::ALL.len()],
}

impl MixDrops {
    pub(crate) fn add(&mut self, reason: MixDrop) {
        self.add_many(reason, 1);
    }

    pub(crate) fn add_many(&mut self, reason: MixDrop, count: u64) {
        self.counts[reason as usize] += count;
    }

    /// How many packets were dropped for a reason.
    pub fn count(&self, reason: MixDrop) -> u64 {
        self.counts[reason as usize]
    }

    /// Name and count of every reason.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        MixDrop::ALL.iter().map(|reason| (reason.name(), self.count(*reason)))
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
