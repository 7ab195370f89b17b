//! H.264 by Cisco's openh264, built from source.

use super::libav::check_size;
use super::{Encoded, Picture, PictureSize, VideoEncoder, VideoEncoderSettings, VideoError};
use crate::ffi::openh264::{self as ffi, Encoder};
use openh264::encoder::{
    BitRate, Complexity, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, RateControlMode,
    UsageType,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

/// See [`VideoEncoder`].
pub(super) struct OpenH264Encoder {
    settings: VideoEncoderSettings,
    /// With the size of its pictures; none before the first one.
    encoder: Option<(PictureSize, Encoder)>,
    /// Pictures so far: the rate is kept by their time.
    pictures: u64,
}

impl OpenH264Encoder {
    pub(super) fn new(settings: VideoEncoderSettings) -> Result<Self, VideoError> {
        drop(open(&settings)?);
        Ok(OpenH264Encoder { settings, encoder: None, pictures: 0 })
    }
}

impl VideoEncoder for OpenH264Encoder {
    fn encode(
        &mut self,
        picture: &Picture<'_>,
        key_frame: bool,
        unit: &mut Vec<u8>,
    ) -> Result<Encoded, VideoError> {
        let size = picture.size();
        check_size(size)?;
        if size.width.max(size.height) > 3840 || size.width.min(size.height) > 2160 {
            let reason = "openh264 has at most 3840×2160";
            return Err(VideoError::Size { width: size.width, height: size.height, reason });
        }
        if self.encoder.as_ref().is_none_or(|(held, _)| *held != size) {
            self.encoder = Some((size, open(&self.settings)?));
        } else if key_frame && let Some((_, encoder)) = &mut self.encoder {
            encoder.force_intra_frame();
        }
        let (_, encoder) = self.encoder.as_mut().expect("it was opened");
        unit.clear();
        let at_ms = self.pictures * 1000 / u64::from(self.settings.frames_per_s);
        self.pictures += 1;
        let encoded = encoder.encode_at(&Source(picture), Timestamp::from_millis(at_ms)).map_err(library)?;
        let kind = encoded.frame_type();
        encoded.write_vec(unit);
        let skipped = unit.is_empty() || kind == FrameType::Skip;
        if skipped {
            unit.clear();
        }
        Ok(Encoded { key_frame: kind == FrameType::IDR, skipped })
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.settings = VideoEncoderSettings { bitrate_bps, ..self.settings }.in_range();
        if let Some((_, encoder)) = &mut self.encoder
            && !ffi::set_bitrate(encoder, self.settings.bitrate_bps)
        {
            // It begins anew, then.
            self.encoder = None;
        }
    }
}

fn open(settings: &VideoEncoderSettings) -> Result<Encoder, VideoError> {
    let mut config = EncoderConfig::new()
        .bitrate(BitRate::from_bps(settings.bitrate_bps))
        .max_frame_rate(FrameRate::from_hz(settings.frames_per_s as f32))
        .rate_control_mode(RateControlMode::Bitrate)
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .profile(Profile::Baseline)
        .intra_frame_period(IntraFramePeriod::from_num_frames(settings.key_frame_interval))
        .scene_change_detect(false)
        .skip_frames(true)
        .num_threads(1);
    if let Some(bytes) = settings.slice_bytes_max {
        config = config.max_slice_len(bytes);
    }
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(library)?;
    ffi::silence(&mut encoder);
    Ok(encoder)
}

fn library(_: openh264::Error) -> VideoError {
    VideoError::Library { code: 0, reason: "openh264 refuses it" }
}

/// A picture as openh264 reads it.
struct Source<'a>(&'a Picture<'a>);

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        let [luma, ..] = self.0.planes();
        (luma.width(), luma.height())
    }

    fn strides(&self) -> (usize, usize, usize) {
        let [y, u, v] = self.0.planes();
        (y.stride(), u.stride(), v.stride())
    }

    fn y(&self) -> &[u8] {
        self.0.planes()[0].bytes()
    }

    fn u(&self) -> &[u8] {
        self.0.planes()[1].bytes()
    }

    fn v(&self) -> &[u8] {
        self.0.planes()[2].bytes()
    }
}
