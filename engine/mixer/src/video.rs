//! Pictures: many sources composed to one canvas, encoded once for all who get the same.
//!
//! [`VideoMixer`] is one conference's. Packets of sources go in; each access unit is decoded once, if the source is
//! seen at all, and scaled once for each size in which it is seen ([`Scaler`]). A canvas is a size, a rate, a layout
//! ([`Layout`]) and who is left out; outputs that ask for equal canvases share the composing, and outputs that ask for
//! equal encoding besides share the encoder. Who is to see one source and nothing else needs no canvas: what is decoded is
//! encoded, smaller if it must be. Of who sends several sizes at once ([`Layer`]), the one that a cell needs is decoded. What a tick makes is in a [`VideoOutbox`].
//!
//! Pure as the rest of the crate: packets, commands and the time in. Codecs allocate as they like.

mod canvas;
mod caption;
mod command;
mod error;
mod feed;
mod label;
mod layers;
mod layout;
mod measure;
mod mixer;
mod outbox;
mod pace;
mod place;
mod scale;
mod source;
mod still;
mod turns;

pub use caption::CanvasText;
pub use command::{Fit, OutputConfig, SourceConfig, SourceLook, Subject, VideoCommand};
pub use error::{VideoMixError, VideoStats};
pub use label::{Font, FontError};
pub use layers::Layer;
pub use layout::{CELLS_MAX, Layout, LayoutError, Part, PixelRect};
pub use measure::SourceShape;
pub use mixer::VideoMixer;
pub use outbox::{VideoOutbox, VideoPacket};
pub use scale::Scaler;
pub use still::{Still, StillError, colour_of_rgb};
pub use turns::Sequence;

pub use crate::audio::{OutputId, SourceId};

/// Sources of a conference at most.
pub const SOURCES_MAX: usize = 256;
/// Smaller copies of a source at most, on the average of all.
pub const LAYERS_MAX: usize = 3;
/// Outputs of a conference at most.
pub const OUTPUTS_MAX: usize = 4096;
/// Between and behind pictures, unless told: dark grey, as Y, Cb and Cr.
pub const BACKGROUND: [u8; 3] = [32, 128, 128];
/// Different canvases of a conference at most.
pub const CANVASES_MAX: usize = 64;

#[cfg(test)]
mod tests;
