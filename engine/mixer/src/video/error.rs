//! Why a command was refused, and what was counted.

use super::{CANVASES_MAX, OUTPUTS_MAX, OutputId, SOURCES_MAX, SourceId};
use motet_codecs::video::{PictureSize, VideoError};
use serde::{Deserialize, Serialize};

/// Why a command was refused. Nothing is changed by a refused command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoMixError {
    /// There is no such source.
    #[error("source {0} is not there: it was removed, or never added")]
    UnknownSource(SourceId),
    /// There is no such output.
    #[error("output {0} is not there: it was removed, or never added")]
    UnknownOutput(OutputId),
    /// The source is there already.
    #[error("source {0} is there already: remove it first, or choose another number")]
    SourceExists(SourceId),
    /// The output is there already.
    #[error("output {0} is there already: remove it first, or choose another number")]
    OutputExists(OutputId),
    /// Another source has the SSRC.
    #[error("ssrc {0:#010x} is another source's: every source needs its own")]
    SsrcTaken(u32),
    /// There are as many as there may be.
    #[error("there are {max} {what}, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        max: usize,
    },
    /// The canvas has a size that there is not.
    #[error("a canvas of {0}: both sides must be even, and 64 to 4096")]
    CanvasSize(PictureSize),
    /// A value is out of its range.
    #[error("{field} is out of range: it may be {takes}")]
    Range {
        /// Its name in [`OutputConfig`](super::OutputConfig).
        field: &'static str,
        /// What it may be.
        takes: &'static str,
    },
    /// There is no codec among the payload types.
    #[error("a source needs at least one payload type with a codec")]
    NoCodec,
    /// The codec cannot be opened.
    #[error("the codec cannot be opened: {0}")]
    Codec(VideoError),
}

impl VideoMixError {
    pub(super) fn too_many_sources() -> Self {
        VideoMixError::TooMany { what: "sources", max: SOURCES_MAX }
    }

    pub(super) fn too_many_outputs() -> Self {
        VideoMixError::TooMany { what: "outputs", max: OUTPUTS_MAX }
    }

    pub(super) fn too_many_canvases() -> Self {
        VideoMixError::TooMany { what: "canvases", max: CANVASES_MAX }
    }
}

/// What was done since the mixer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoStats {
    /// Access units decoded.
    pub decoded: u64,
    /// Of those, access units of smaller copies ([`Layer`](super::Layer)).
    pub decoded_layers: u64,
    /// Access units that were not decoded, since nobody sees the source, or another copy of it.
    pub decodes_spared: u64,
    /// Access units that gave no picture: damaged, refused, or before the first key frame.
    pub undecoded: u64,
    /// Pictures with something made up.
    pub concealed: u64,
    /// Pictures brought to the size of a cell.
    pub scaled: u64,
    /// Cells that had their picture in that size already.
    pub scales_shared: u64,
    /// Canvases composed.
    pub composed: u64,
    /// Canvases that were as another one, and were not composed again.
    pub composes_shared: u64,
    /// Pictures of one source that were encoded alone: nothing was composed.
    pub transcoded: u64,
    /// Pictures encoded.
    pub encoded: u64,
    /// Outputs that got what was encoded for another one.
    pub encodes_shared: u64,
    /// Pictures that an encoder left out to keep its rate, or failed to encode.
    pub skipped: u64,
    /// Canvases for which it was too late.
    pub missed: u64,
    /// Packets of nobody, of unknown payload types, or that are no RTP.
    pub packets_refused: u64,
}

impl std::ops::AddAssign for VideoStats {
    fn add_assign(&mut self, other: VideoStats) {
        self.decoded += other.decoded;
        self.decoded_layers += other.decoded_layers;
        self.decodes_spared += other.decodes_spared;
        self.undecoded += other.undecoded;
        self.concealed += other.concealed;
        self.scaled += other.scaled;
        self.scales_shared += other.scales_shared;
        self.composed += other.composed;
        self.composes_shared += other.composes_shared;
        self.transcoded += other.transcoded;
        self.encoded += other.encoded;
        self.encodes_shared += other.encodes_shared;
        self.skipped += other.skipped;
        self.missed += other.missed;
        self.packets_refused += other.packets_refused;
    }
}
