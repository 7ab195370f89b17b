//! Encoders and decoders: slices in, slices out, behind small traits.
//!
//! A leaf: no sockets, no clocks, no threads, and no allocation once a codec is made. A caller owns all
//! buffers. One codec per file; what needs a foreign library is opened in `ffi` and nowhere else, and
//! vector instructions are in `simd`.
#![deny(unsafe_code)]

pub mod audio;
#[allow(unsafe_code)]
mod ffi;
pub mod file;
#[allow(unsafe_code)]
mod simd;
pub mod testing;
pub mod video;

pub use audio::{
    AudioCodec, AudioCodecName, AudioDecoder, AudioEncoder, AudioError, AudioFormat, CodecError,
    EncoderSettings,
};
pub use video::{
    Decoded, Encoded, Picture, VideoCodec, VideoCodecName, VideoDecoder, VideoEncoder, VideoEncoderSettings,
    VideoError,
};
