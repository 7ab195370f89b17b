//! What a mixer is told.

use super::{CanvasText, Layer, Layout, OutputId, Sequence, SourceId, Still};
use motet_codecs::video::{H264Library, PictureSize, VideoCodec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A source: packets under an SSRC.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// Its number.
    pub id: SourceId,
    /// SSRC of its packets.
    pub ssrc: u32,
    /// Payload types and what they carry.
    pub codecs: Vec<(u8, VideoCodec)>,
    /// What is written on its picture, for outputs that show names; empty: nothing.
    pub name: String,
    /// What is seen of it.
    pub look: SourceLook,
    /// It is shared content, and nobody: seen only in cells that are given to it, all of it, and as long as nothing else
    /// comes.
    pub content: bool,
    /// It is a smaller copy of another source, and nobody by itself: of its configuration, name, look and content count
    /// for nothing. The other one may come later. None: it is seen itself.
    pub layer: Option<Layer>,
}

/// What is seen of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLook {
    /// Its picture is not seen, whatever it sends.
    pub off: bool,
    /// What is seen while it sends no picture, or is off; none: what outputs have for it. It is not written down: it is
    /// large, and many have the same one.
    #[serde(skip)]
    pub still: Option<Arc<Still>>,
}

/// An output: a canvas, encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputConfig {
    /// Its number.
    pub id: OutputId,
    /// SSRC of its packets.
    pub ssrc: u32,
    /// Payload type of its packets.
    pub payload_type: u8,
    /// What it is encoded as; `packetization-mode` is in its parameters.
    pub codec: VideoCodec,
    /// Which library encodes H.264.
    pub h264: H264Library,
    /// Bits a second, 10,000 to 100,000,000.
    pub bitrate_bps: u32,
    /// Pictures a second, 1 to 60.
    pub frames_per_s: u32,
    /// The canvas: both sides even, 64 to 4096.
    pub size: PictureSize,
    /// How it is divided.
    pub layout: Layout,
    /// How pictures of another shape get into cells.
    pub fit: Fit,
    /// Who is to be seen in cells, in the layout's order; of those after the last it is the layout that says.
    pub subjects: Vec<Subject>,
    /// Who is seen in the first cell, whoever speaks, while it is there. Where the layout is [`Layout::Auto`], the first
    /// cell is a large one then.
    pub pinned: Option<SourceId>,
    /// Who is not seen: the receiver itself.
    pub without: Option<SourceId>,
    /// Names are written on pictures, if the mixer has a font.
    pub names: bool,
    /// What is seen of who sends no picture and has no still of its own; none: the background.
    pub still: Option<Arc<Still>>,
    /// Between and behind pictures: Y, Cb and Cr.
    pub background: [u8; 3],
    /// Lines of text over all, if the mixer has a font.
    pub texts: Vec<CanvasText>,
    /// No canvas, but this one's picture alone: as it comes, no larger than `size`, no more often than `frames_per_s`.
    /// It may be content. What is said of cells, names, bars and text counts for nothing.
    pub alone: Option<SourceId>,
    /// Sequence number of its first packet.
    pub sequence: u16,
    /// What is added to timestamps of the mixer's clock.
    pub timestamp: u32,
}

/// How a picture gets into a cell of another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fit {
    /// All of it is seen, between bars.
    #[default]
    Letterbox,
    /// The cell is full, and two sides are cut off.
    Crop,
}

/// Who is to be seen in a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Whom the layout says: the speaker in a large cell, anybody in others.
    #[default]
    Layout,
    /// Who speaks.
    Speaker,
    /// Who spoke before.
    PreviousSpeaker,
    /// This one, or nobody while it is not here.
    Source(SourceId),
    /// These in turn, those who are in an earlier cell left out. Cells with equal sequences show one after another of it.
    Sequence(Arc<Sequence>),
    /// Nobody.
    Nobody,
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub enum VideoCommand {
    /// Somebody is to be seen.
    AddSource(SourceConfig),
    /// And is no longer.
    RemoveSource(SourceId),
    /// Somebody has another name.
    SetName {
        /// Who.
        id: SourceId,
        /// Which; empty: none.
        name: String,
    },
    /// Something else is to be seen of somebody.
    SetLook {
        /// Of whom.
        id: SourceId,
        /// What.
        look: SourceLook,
    },
    /// What a source sends is measured, or no longer ([`VideoMixer::shape`](super::VideoMixer::shape)). Of who is not
    /// seen, key frames are decoded for it.
    Measure {
        /// What of.
        id: SourceId,
        /// Whether.
        measured: bool,
    },
    /// Somebody is to see.
    AddOutput(OutputConfig),
    /// And is no longer.
    RemoveOutput(OutputId),
    /// Another canvas, codec or rate for the output of this number. It goes on in its stream, with a key frame, and
    /// `sequence` counts for nothing.
    SetOutput(OutputConfig),
    /// Another layout for an output.
    SetLayout {
        /// Whose.
        id: OutputId,
        /// Which.
        layout: Layout,
    },
    /// Somebody speaks; none: nobody who is here.
    SetSpeaker(Option<SourceId>),
    /// An output's receiver needs a key frame. One comes at once, but at most every half second.
    RequestKeyFrame(OutputId),
    /// Only each so many pictures are made (1: all of them; 0 counts as 1), since there is too much to do.
    SetDivisor(u32),
}
