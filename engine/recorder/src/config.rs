//! What is to be recorded, and how it is cut into files.

use std::time::Duration;

/// Tracks of a recording at most.
pub const TRACKS_MAX: usize = 64;

/// How a track is encoded. All are recorded as they come; nothing is transcoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 in packets of RFC 6184.
    H264,
    /// H.265 in packets of RFC 7798.
    H265,
    /// VP8 in packets of RFC 7741.
    Vp8,
    /// Opus in packets of RFC 7587.
    Opus {
        /// Channels to be decoded: 1 or 2. Either plays any stream.
        channels: u8,
    },
    /// AAC-LC in packets of RFC 3640, mode `AAC-hbr`.
    Aac {
        /// The AudioSpecificConfig (`config` in SDP, once it is read as hexadecimal).
        config: Vec<u8>,
    },
    /// G.711 μ-law, 8 kHz, one channel.
    Pcmu,
    /// G.711 A-law, 8 kHz, one channel.
    Pcma,
    /// Linear PCM of 16 bits in network order (RFC 3551 section 4.5.11).
    L16 {
        /// Samples a second: 8,000 to 48,000.
        rate_hz: u32,
        /// 1 or 2.
        channels: u8,
    },
}

impl Codec {
    /// Whether it is of pictures.
    pub const fn is_video(&self) -> bool {
        matches!(self, Codec::H264 | Codec::H265 | Codec::Vp8)
    }
}

/// A track: one source of a participant, a mix or a canvas.
#[derive(Clone, Debug)]
pub struct TrackConfig {
    /// What players show; empty: nothing.
    pub name: String,
    /// How it is encoded.
    pub codec: Codec,
    /// The payload type of its packets, 0 to 127. Other packets are dropped.
    pub payload_type: u8,
    /// Whose it is: tracks with the same number share the clock of their sender reports, as those with one CNAME do.
    pub sender: u32,
    /// Parameter sets from SDP, a byte stream ([`motet_rtp::payload::parameter_sets`]); empty: they come in band.
    pub parameter_sets: Vec<u8>,
}

/// What is done when the parameter sets of H.264 or H.265 change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParameterChange {
    /// A new segment begins. Sets are in the file's header only (`avc1`, `hvc1`): every player takes that.
    #[default]
    NewSegment,
    /// It goes into the same segment. Sets are among the pictures too (`avc3`, `hev1`), which some players refuse.
    InBand,
}

/// What files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// Fragmented MP4.
    #[default]
    Mp4,
    /// Matroska.
    Matroska,
    /// Live output: pieces of fragmented MP4, of which the last ones are there, and a playlist of them (RFC 8216). A
    /// piece lasts as long as [`RecordingConfig::segment_duration_max`] says, 1 to 60 s; 4 s unless told. One that ends
    /// without a key frame lasts half as long again.
    Hls,
}

/// How long a piece of live output is, unless told.
const PIECE: Duration = Duration::from_secs(4);

impl Container {
    /// What files' names end with.
    pub const fn extension(self) -> &'static str {
        match self {
            Container::Mp4 => "mp4",
            Container::Matroska => "mkv",
            Container::Hls => "m4s",
        }
    }
}

/// How a recording is made.
#[derive(Clone, Debug)]
pub struct RecordingConfig {
    /// What files are. Both play up to the last fragment (a cluster of Matroska) after a crash.
    pub container: Container,
    /// How much a fragment holds at most: what a crash takes. 100 ms to 1 s.
    pub fragment: Duration,
    /// How long the tracks that have not come are waited for before the first file begins. Those that come later begin
    /// a new segment. At most 10 s.
    pub start_wait: Duration,
    /// How long a missing packet is waited for. At most 1 s.
    pub reorder_wait: Duration,
    /// After how much time a new segment begins, at the next key frame; none: never. At least 1 s.
    pub segment_duration_max: Option<Duration>,
    /// After how many bytes a new segment begins, at the next key frame; none: never. At least 64 KiB.
    pub segment_bytes_max: Option<u64>,
    /// When parameter sets change.
    pub parameter_change: ParameterChange,
    /// Number of the first segment, at least 1: where files of an earlier recording of this name are.
    pub first_segment: u32,
    /// When the recording is begun, since 1970: written into files.
    pub created: Duration,
}

impl Default for RecordingConfig {
    fn default() -> RecordingConfig {
        RecordingConfig {
            container: Container::default(),
            fragment: Duration::from_millis(500),
            start_wait: Duration::from_secs(1),
            reorder_wait: Duration::from_millis(200),
            segment_duration_max: None,
            segment_bytes_max: None,
            parameter_change: ParameterChange::default(),
            first_segment: 1,
            created: Duration::ZERO,
        }
    }
}

/// Why a recording cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `tracks`
    #[error("tracks: {0} of them; 1 to {TRACKS_MAX} can be recorded")]
    Tracks(usize),
    /// `payload_type` of a track.
    #[error("tracks[{track}].payload_type: {payload_type} has more than 7 bits")]
    PayloadType {
        /// Index of the track.
        track: usize,
        /// What was asked for.
        payload_type: u8,
    },
    /// `codec` of a track.
    #[error("tracks[{track}].codec: {reason}")]
    Codec {
        /// Index of the track.
        track: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A field of [`RecordingConfig`].
    #[error("{field}: not between {least} and {most}")]
    Range {
        /// Its name.
        field: &'static str,
        /// The least that will do.
        least: &'static str,
        /// The most that will do.
        most: &'static str,
    },
}

impl RecordingConfig {
    /// How long a piece of live output is, and how long at most, in whole seconds; none: it is written to files.
    pub(crate) fn pieces(&self) -> Option<(Duration, Duration)> {
        let piece = self.segment_duration_max.unwrap_or(PIECE);
        let longest = Duration::from_secs((piece * 3 / 2).as_secs_f64().ceil() as u64);
        (self.container == Container::Hls).then_some((piece, longest))
    }

    pub(crate) fn check(&self, tracks: &[TrackConfig]) -> Result<(), ConfigError> {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        if !(millis(100)..=seconds(1)).contains(&self.fragment) {
            return Err(ConfigError::Range { field: "fragment", least: "100 ms", most: "1 s" });
        }
        if self.start_wait > seconds(10) {
            return Err(ConfigError::Range { field: "start_wait", least: "0 s", most: "10 s" });
        }
        if self.reorder_wait > seconds(1) {
            return Err(ConfigError::Range { field: "reorder_wait", least: "0 s", most: "1 s" });
        }
        if self.segment_duration_max.is_some_and(|max| max < seconds(1)) {
            let field = "segment_duration_max";
            return Err(ConfigError::Range { field, least: "1 s", most: "any" });
        }
        if self.pieces().is_some_and(|(piece, _)| piece > seconds(60)) {
            let field = "segment_duration_max";
            return Err(ConfigError::Range { field, least: "1 s", most: "60 s" });
        }
        if self.segment_bytes_max.is_some_and(|max| max < 64 << 10) {
            return Err(ConfigError::Range { field: "segment_bytes_max", least: "64 KiB", most: "any" });
        }
        if self.first_segment == 0 {
            return Err(ConfigError::Range { field: "first_segment", least: "1", most: "any" });
        }
        if !(1..=TRACKS_MAX).contains(&tracks.len()) {
            return Err(ConfigError::Tracks(tracks.len()));
        }
        for (track, config) in tracks.iter().enumerate() {
            if config.payload_type > 127 {
                return Err(ConfigError::PayloadType { track, payload_type: config.payload_type });
            }
        }
        Ok(())
    }
}
