//! Video codecs: pictures of 8 bits, 4:2:0, to and from access units.
//!
//! [`VideoCodec`] says in SDP's words what a payload type carries, and makes its encoder and decoder. Access units of
//! H.264 and H.265 are byte streams (Annex B), those of VP8 frames, as `motet-rtp` cuts and joins them.
//!
//! Everything is single-threaded and without delay: what goes in comes out at once.

mod codec;
mod frame;
mod halve;
mod libav;
mod openh264;
mod picture;
mod resize;

pub use codec::{H264Library, VideoCodec, VideoCodecName, VideoEncoderSettings};
pub use frame::{Frame, FramePool, PlaneMut};
pub use halve::Halver;
pub use picture::{Picture, PictureSize, Plane};
pub use resize::Resizer;

/// Pixels of a picture that is decoded at most: those of H.264's level 5.1 (table A-1), which holds 4096×2304.
pub const PIXELS_MAX: u32 = 36_864 * 256;

/// Turns access units into pictures.
pub trait VideoDecoder: Send {
    /// Decodes one access unit; none: there is no picture yet, or the unit held none.
    ///
    /// # Errors
    /// [`BadUnit`](VideoError::BadUnit), [`TooLarge`](VideoError::TooLarge) and
    /// [`Unsupported`](VideoError::Unsupported): this unit gives no picture, the last one is as it was, and the decoder
    /// goes on with the next. Until a key frame comes, what follows may be wrong: ask for one.
    fn decode(&mut self, unit: &[u8]) -> Result<Option<Decoded<'_>>, VideoError>;

    /// The picture that was decoded last.
    fn picture(&self) -> Option<Picture<'_>>;

    /// Forgets what came before: the sender has started anew.
    fn reset(&mut self);
}

/// A picture that was decoded.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// What it shows.
    pub picture: Picture<'a>,
    /// Parts of it are made up, since something was missing or wrong: ask for a key frame.
    pub concealed: bool,
}

/// Turns pictures into access units.
pub trait VideoEncoder: Send {
    /// Encodes a picture and puts its access unit in place of what `unit` holds. A picture of another size than the one
    /// before begins anew with a key frame.
    ///
    /// # Errors
    /// [`Size`](VideoError::Size): the encoder and `unit` are as they were. [`Library`](VideoError::Library) when the
    /// codec's library fails; `unit` is then empty.
    fn encode(
        &mut self,
        picture: &Picture<'_>,
        key_frame: bool,
        unit: &mut Vec<u8>,
    ) -> Result<Encoded, VideoError>;

    /// Other bits a second from the next picture on. VP8 and H.265 begin anew with a key frame.
    fn set_bitrate(&mut self, bitrate_bps: u32);
}

/// What became of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// A decoder can begin with it.
    pub key_frame: bool,
    /// The encoder left the picture out to keep its rate: there is nothing to send.
    pub skipped: bool,
}

/// Why nothing was encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The access unit is not one of this codec, or refers to what is not there.
    #[error("{bytes} bytes cannot be decoded: {reason}")]
    BadUnit {
        /// Bytes of the access unit.
        bytes: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The picture is larger than any that is decoded.
    #[error("a picture of {width}×{height} is too large: at most {PIXELS_MAX} pixels are decoded")]
    TooLarge {
        /// Pixels in a line.
        width: u32,
        /// Lines.
        height: u32,
    },
    /// The picture is of a kind that is not decoded, such as 10 bits or 4:2:2.
    #[error("the picture is not of 8 bits and 4:2:0, but of FFmpeg's format {format}")]
    Unsupported {
        /// FFmpeg's number of the format.
        format: i32,
    },
    /// Pictures of this size cannot be encoded.
    #[error("a picture of {width}×{height} cannot be encoded: {reason}")]
    Size {
        /// Pixels in a line.
        width: u32,
        /// Lines.
        height: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The codec's library failed at something that it should be able to do.
    #[error("the codec's library failed with its error {code}: {reason}")]
    Library {
        /// The library's own number.
        code: i32,
        /// The library's own words.
        reason: &'static str,
    },
}
