//! What the caller tells the mixer: who speaks, who listens, who hears whom.

use super::Gain;
use super::prompt::PromptSound;
use motet_codecs::audio::{AudioCodec, EncoderSettings};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty),)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub $inner);

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.0.fmt(f)
                }
            }
        )*
    };
}

ids! {
    /// A source of sound: one stream that a participant publishes. The number is the caller's.
    SourceId(u32),
    /// An output: one stream that a participant receives. The number is the caller's.
    OutputId(u32),
    /// A room: its sources and outputs hear each other. 0 is the main one, others are side conferences.
    GroupId(u32),
    /// A prompt that plays. The number is the caller's.
    PromptId(u32),
}

/// One conference's mix. Times are rounded to whole ticks of 20 ms, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct MixConfig {
    /// Samples a second at most: 8000, 16000, 32000 or 48000. Sources whose codecs have less are mixed at that, and
    /// outputs are mixed for at the rates of theirs; taps and prompts have this rate.
    pub rate_hz: u32,
    /// Voices mixed at a time in each group, 1 to 1024: the loudest. Voices that only chosen outputs hear come on
    /// top, as many again.
    pub speakers_max: u16,
    /// A voice stays mixed through pauses of so many milliseconds, 20 to 10,000.
    pub hold_ms: u16,
    /// A louder voice takes another's place once it has been louder for so many milliseconds.
    pub challenge_ms: u16,
    /// Who came in keeps the place for so many milliseconds while speaking.
    pub safe_ms: u16,
    /// Louder means by so many decibels.
    pub margin_db: f32,
    /// Sound below this level is never a voice, in dBov (RFC 6464), -127 to 0.
    pub voice_db_min: f32,
    /// A voice is above the background by so many decibels.
    pub voice_above_noise_db: f32,
    /// An output that has heard the same as others for so many milliseconds takes its packets from them again.
    pub share_after_ms: u16,
    /// Another speaker becomes the active one when louder for so many milliseconds.
    pub active_speaker_ms: u16,
    /// Delay on top of the fastest packet's that every source keeps, in milliseconds.
    pub delay_ms_min: u16,
    /// Delay that no source exceeds for long, in milliseconds.
    pub delay_ms_max: u16,
}

impl Default for MixConfig {
    fn default() -> Self {
        MixConfig {
            rate_hz: 48_000,
            speakers_max: 3,
            hold_ms: 600,
            challenge_ms: 60,
            safe_ms: 240,
            margin_db: 3.0,
            voice_db_min: -55.0,
            voice_above_noise_db: 9.0,
            share_after_ms: 400,
            active_speaker_ms: 300,
            delay_ms_min: 0,
            delay_ms_max: 400,
        }
    }
}

/// What one payload type of a source holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePayload {
    /// Sound.
    Sound(AudioCodec),
    /// Telephone events (RFC 4733) with this RTP clock.
    Events {
        /// Ticks a second.
        clock_hz: u32,
    },
    /// Comfort noise (RFC 3389).
    ComfortNoise {
        /// Ticks a second.
        clock_hz: u32,
    },
}

/// A source to be mixed.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// Its number.
    pub id: SourceId,
    /// The SSRC of its packets.
    pub ssrc: u32,
    /// The room in which it speaks.
    pub group: GroupId,
    /// What its payload types hold.
    pub payloads: Vec<(u8, SourcePayload)>,
    /// The identifier of the header extension that says its level (RFC 6464, `a=extmap`), if there is one. Then it
    /// is only decoded when it is mixed.
    pub level_extension: Option<u8>,
    /// How it is heard.
    pub settings: SourceSettings,
}

/// How a source is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Gain of the source, for everybody.
    pub gain: Gain,
    /// Nobody hears it.
    pub muted: bool,
    /// Gain at which an output hears it for which no pair gain is set. [`Gain::SILENT`] makes it private: a coach
    /// who whispers to one. Private voices are not recorded.
    pub heard: Gain,
    /// Automatic gain brings it to the level of the others.
    pub automatic_gain: bool,
    /// Noise is taken out of it, which delays it by 10 ms. For mixes at 48 kHz.
    pub noise_suppression: bool,
    /// What happens to its telephone events.
    pub events: EventHandling,
}

impl Default for SourceSettings {
    fn default() -> Self {
        SourceSettings {
            gain: Gain::UNITY,
            muted: false,
            heard: Gain::UNITY,
            automatic_gain: false,
            noise_suppression: false,
            events: EventHandling::Report,
        }
    }
}

/// What happens to telephone events (RFC 4733).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventHandling {
    /// They are reported as [`MixEvent::Dtmf`](super::MixEvent::Dtmf) and go no further.
    #[default]
    Report,
    /// They are reported, and passed on to the outputs of the room that take them.
    PassOn,
    /// They are neither reported nor passed on.
    Strip,
}

/// A stream to one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputConfig {
    /// Its number.
    pub id: OutputId,
    /// The room that it hears.
    pub group: GroupId,
    /// The receiver's own voice, which it does not hear. It may be added later.
    pub own: Option<SourceId>,
    /// The SSRC of its packets.
    pub ssrc: u32,
    /// The payload type of its packets, 0 to 127.
    pub payload_type: u8,
    /// Sequence number of the first packet; random (RFC 3550 section 5.1).
    pub first_sequence: u16,
    /// Timestamp of the first tick; random.
    pub first_timestamp: u32,
    /// What its payloads are.
    pub codec: AudioCodec,
    /// How they are encoded. Outputs with equal codec and settings share what they hear alike.
    pub encoder: EncoderSettings,
    /// Payload type of telephone events, with the codec's RTP clock; none: events are not passed on to it.
    pub events_payload_type: Option<u8>,
    /// What it hears.
    pub settings: OutputSettings,
}

/// What an output hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputSettings {
    /// Gain of all that it hears.
    pub gain: Gain,
    /// It hears prompts only.
    pub deaf: bool,
    /// Another room that it hears as well, and how loud: for a side conference, the main one. Without that one's prompts.
    pub background: Option<(GroupId, Gain)>,
}

/// Who hears a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptTarget {
    /// All outputs of a room, those that come later included. The recorder's tap has it, too.
    Group(GroupId),
    /// These outputs.
    Outputs(Vec<OutputId>),
}

/// How often a prompt plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptRepeat {
    /// So many times; 0 counts as 1.
    Times(u32),
    /// Until it is stopped.
    Forever,
}

/// A prompt to be played, from the next tick on.
#[derive(Clone, Debug)]
pub struct PromptConfig {
    /// Its number.
    pub id: PromptId,
    /// What is heard, at the rate of the mix.
    pub sound: PromptSound,
    /// By whom.
    pub to: PromptTarget,
    /// How loud.
    pub gain: Gain,
    /// How often.
    pub repeat: PromptRepeat,
    /// Gain of the conference meanwhile; `None` leaves it as it is.
    pub duck: Option<Gain>,
}

/// How much work the mixer may do: what overload takes away. Nobody is ever silenced: at least one voice is mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Voices mixed at a time, when less than [`MixConfig::speakers_max`]; 0 counts as 1.
    pub speakers_max: Option<u16>,
    /// Complexity of all encoders, 0 to 10, when less than their settings say.
    pub complexity_max: Option<u8>,
    /// Outputs that hear nobody get no packets, as of senders with silence suppression (RFC 3551 section 4.1).
    pub skip_silence: bool,
    /// A source that does not say its level, is not mixed and was silent is listened to in one of so many ticks; 0
    /// counts as 1. It is heard so much later when it begins.
    pub listen_every: u8,
}

impl Default for Effort {
    fn default() -> Self {
        Effort { speakers_max: None, complexity_max: None, skip_silence: false, listen_every: 1 }
    }
}

/// A change, made between two ticks and heard from the next one on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MixCommand {
    /// Adds a source.
    AddSource(SourceConfig),
    /// Changes how a source is heard.
    SetSource {
        /// Which.
        id: SourceId,
        /// How.
        settings: SourceSettings,
    },
    /// Brings a source to another room.
    MoveSource {
        /// Which.
        id: SourceId,
        /// Where to.
        group: GroupId,
    },
    /// Takes a source away; what it says fades out within a tick.
    RemoveSource(SourceId),
    /// Adds an output.
    AddOutput(OutputConfig),
    /// Changes what an output hears.
    SetOutput {
        /// Which.
        id: OutputId,
        /// What.
        settings: OutputSettings,
    },
    /// What an output's receiver loses, for in-band error correction. Codecs without it, and outputs whose encoder
    /// settings do not ask for it, go on as they were. Until it is said, it is the encoder settings' loss.
    SetOutputLoss {
        /// Which.
        id: OutputId,
        /// In percent; brought up to the next of [`LOSS_STEPS_PERCENT`](super::limits::LOSS_STEPS_PERCENT), or down
        /// to the last.
        percent: u8,
    },
    /// Brings an output to another room.
    MoveOutput {
        /// Which.
        id: OutputId,
        /// Where to.
        group: GroupId,
    },
    /// Takes an output away. Nothing more is sent to it.
    RemoveOutput(OutputId),
    /// The gain at which one output hears one source.
    SetPair {
        /// Who is heard.
        source: SourceId,
        /// By whom.
        output: OutputId,
        /// How loud; `None`: as by everybody.
        gain: Option<Gain>,
    },
    /// Who may speak in a room.
    SetFloor {
        /// The room.
        group: GroupId,
        /// Only these; `None`: everybody.
        holders: Option<Vec<SourceId>>,
    },
    /// Plays a prompt.
    PlayPrompt(PromptConfig),
    /// Stops a prompt; it fades out within a tick.
    StopPrompt(PromptId),
    /// Turns the recorder's tap of a room on or off: what all hear who only listen.
    SetTap {
        /// The room.
        group: GroupId,
        /// Whether [`MixOutbox::taps`](super::MixOutbox::taps) has it.
        on: bool,
    },
    /// Turns the tap of a single source on or off: its sound as it came, decoded even when it is not mixed; silence while it
    /// is muted, private or without the floor.
    SetSourceTap {
        /// The source.
        id: SourceId,
        /// Whether [`MixOutbox::source_taps`](super::MixOutbox::source_taps) has it.
        on: bool,
    },
    /// What overload takes away.
    SetEffort(Effort),
}
