//! What a payload type carries, in SDP's words, and what encodes and decodes it.

use super::libav::{LibavDecoder, LibavEncoder};
use super::openh264::OpenH264Encoder;
use super::{VideoDecoder, VideoEncoder, VideoError};
use serde::{Deserialize, Serialize};

/// A codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum VideoCodecName {
    /// H.264, also called AVC. Encoded as constrained baseline.
    H264,
    /// H.265, also called HEVC. Main profile.
    H265,
    /// VP8.
    Vp8,
}

impl VideoCodecName {
    /// Every codec.
    pub const ALL: [VideoCodecName; 3] = [VideoCodecName::H264, VideoCodecName::H265, VideoCodecName::Vp8];

    /// The name in SDP's `a=rtpmap`.
    pub const fn encoding_name(self) -> &'static str {
        match self {
            VideoCodecName::H264 => "H264",
            VideoCodecName::H265 => "H265",
            VideoCodecName::Vp8 => "VP8",
        }
    }
}

impl std::fmt::Display for VideoCodecName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.encoding_name())
    }
}

/// What a payload type carries, as in SDP. Equal ones are encoded and decoded alike. Its clock is 90 kHz.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VideoCodec {
    /// The codec.
    pub name: VideoCodecName,
    /// The parameters of `a=fmtp`, without the payload type.
    pub fmtp: String,
}

/// Which library encodes H.264.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum H264Library {
    /// x264 through FFmpeg. Under the GPL.
    #[default]
    X264,
    /// Cisco's openh264, under the BSD licence.
    OpenH264,
}

/// How to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VideoEncoderSettings {
    /// Bits a second, at least 1,000 (less counts as that).
    pub bitrate_bps: u32,
    /// Pictures a second, 1 to 120 (others count as the nearest).
    pub frames_per_s: u32,
    /// A key frame comes at least each so many pictures; 0: only at the beginning and when asked for.
    pub key_frame_interval: u32,
    /// H.264's slices have at most so many bytes, for `packetization-mode=0`; none: a picture is one slice.
    pub slice_bytes_max: Option<u32>,
    /// Which library encodes H.264.
    pub h264: H264Library,
}

impl Default for VideoEncoderSettings {
    fn default() -> Self {
        VideoEncoderSettings {
            bitrate_bps: 1_500_000,
            frames_per_s: 30,
            key_frame_interval: 0,
            slice_bytes_max: None,
            h264: H264Library::default(),
        }
    }
}

impl VideoEncoderSettings {
    /// With every value in its range.
    pub(super) fn in_range(self) -> Self {
        let (bitrate_bps, frames_per_s) =
            (self.bitrate_bps.clamp(1000, 500_000_000), self.frames_per_s.clamp(1, 120));
        VideoEncoderSettings { bitrate_bps, frames_per_s, ..self }
    }
}

impl VideoCodec {
    /// By what SDP says; none: this crate does not have it. `clock_hz` other than 90,000 is another codec.
    pub fn parse(encoding_name: &str, clock_hz: u32, fmtp: &str) -> Option<VideoCodec> {
        let known = |name: &VideoCodecName| name.encoding_name().eq_ignore_ascii_case(encoding_name);
        let name = VideoCodecName::ALL.into_iter().find(known)?;
        (clock_hz == 90_000).then(|| VideoCodec { name, fmtp: fmtp.to_owned() })
    }

    /// A decoder.
    ///
    /// # Errors
    /// [`Library`](VideoError::Library) when this FFmpeg lacks the codec.
    pub fn decoder(&self) -> Result<Box<dyn VideoDecoder>, VideoError> {
        Ok(Box::new(LibavDecoder::new(self.name)?))
    }

    /// An encoder. Values of `settings` that the codec has no choice in are ignored.
    ///
    /// # Errors
    /// [`Library`](VideoError::Library) when the codec's library cannot be opened.
    pub fn encoder(&self, settings: &VideoEncoderSettings) -> Result<Box<dyn VideoEncoder>, VideoError> {
        let settings = settings.in_range();
        if self.name == VideoCodecName::H264 && settings.h264 == H264Library::OpenH264 {
            return Ok(Box::new(OpenH264Encoder::new(settings)?));
        }
        Ok(Box::new(LibavEncoder::new(self.name, settings)?))
    }
}
