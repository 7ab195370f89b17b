//! What was counted, and why media is not in the file.

use motet_rtp::RtpError;
use motet_rtp::payload::{DepacketizerStats, PayloadDrop};

/// Why something that came for a track is not in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// It is not RTP.
    NotRtp,
    /// Another payload type than the track's.
    PayloadType,
    /// One packet of another source, which nothing followed yet.
    Stray,
    /// The recording is paused or has ended.
    Paused,
    /// It came after it was given up.
    Late,
    /// It is there already.
    Duplicate,
    /// Its number does not continue the stream.
    Jump,
    /// A payload of sound that is not of its codec.
    BadSound,
    /// Sound of a time that is recorded already.
    Overlap,
    /// A picture of which parts are missing.
    Damaged,
    /// A picture that no decoder can begin with, at the beginning of a segment.
    WaitingKeyFrame,
    /// A key frame without parameter sets, or with such that cannot be.
    ParameterSets,
    /// Longer than a sample may be.
    TooLong,
    /// Padding and nothing else, which no picture lacks.
    Empty,
    /// A payload of pictures that is not of its format, or does not continue what came before.
    BadPayload,
    /// It waited for one before it when the sender began anew.
    Flushed,
}

impl DropReason {
    /// Every reason, for counters.
    pub const ALL: [DropReason; 16] = [
        DropReason::NotRtp,
        DropReason::PayloadType,
        DropReason::Stray,
        DropReason::Paused,
        DropReason::Late,
        DropReason::Duplicate,
        DropReason::Jump,
        DropReason::BadSound,
        DropReason::Overlap,
        DropReason::Damaged,
        DropReason::WaitingKeyFrame,
        DropReason::ParameterSets,
        DropReason::TooLong,
        DropReason::Empty,
        DropReason::BadPayload,
        DropReason::Flushed,
    ];

    /// A stable word for counters.
    pub const fn reason(self) -> &'static str {
        match self {
            DropReason::NotRtp => "not_rtp",
            DropReason::PayloadType => "payload_type",
            DropReason::Stray => "stray",
            DropReason::Paused => "paused",
            DropReason::Late => "late",
            DropReason::Duplicate => "duplicate",
            DropReason::Jump => "jump",
            DropReason::BadSound => "bad_sound",
            DropReason::Overlap => "overlap",
            DropReason::Damaged => "damaged",
            DropReason::WaitingKeyFrame => "waiting_key_frame",
            DropReason::ParameterSets => "parameter_sets",
            DropReason::TooLong => "too_long",
            DropReason::Empty => "empty",
            DropReason::BadPayload => "bad_payload",
            DropReason::Flushed => "flushed",
        }
    }
}

impl From<RtpError> for DropReason {
    fn from(_: RtpError) -> DropReason {
        DropReason::NotRtp
    }
}

impl From<PayloadDrop> for DropReason {
    fn from(reason: PayloadDrop) -> DropReason {
        match reason {
            PayloadDrop::Empty => DropReason::Empty,
            PayloadDrop::TooLong | PayloadDrop::UnitTooLong => DropReason::TooLong,
            PayloadDrop::Late => DropReason::Late,
            PayloadDrop::Duplicate => DropReason::Duplicate,
            PayloadDrop::Jump => DropReason::Jump,
            PayloadDrop::Flushed => DropReason::Flushed,
            _ => DropReason::BadPayload,
        }
    }
}

/// What was counted of a track since the recording began.
#[derive(Clone, Debug, Default)]
pub struct TrackStats {
    /// Packets and frames that came.
    pub packets: u64,
    /// Pictures, or packets of sound, that went into files; silence that was put in is not counted.
    pub samples: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Pictures among them that a decoder can begin with.
    pub key_frames: u64,
    /// Packets that never came, as far as it shows by now.
    pub lost: u64,
    /// Silence that stands where no sound came, in milliseconds.
    pub silence_ms: u64,
    /// Times that another source took the track over.
    pub sources: u64,
    /// Times that timestamps jumped.
    pub timestamp_jumps: u64,
    /// Sender reports that were not believed.
    pub reports_refused: u64,
    pub(crate) drops: [u64; DropReason::ALL.len()],
    pub(crate) packets_to_pictures: Option<DepacketizerStats>,
}

impl TrackStats {
    /// How many packets, pictures or packets of sound were dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// What the present source's depacketizer counted; none for sound.
    pub fn depacketizer(&self) -> Option<&DepacketizerStats> {
        self.packets_to_pictures.as_ref()
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drop_all(reason, 1);
    }

    pub(crate) fn drop_all(&mut self, reason: DropReason, count: u64) {
        self.drops[reason as usize] += count;
    }
}
