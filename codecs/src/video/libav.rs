//! FFmpeg's decoders of all codecs, and through it the encoders x264, x265 and libvpx.

use super::{
    Decoded, Encoded, PIXELS_MAX, Picture, PictureSize, VideoCodecName, VideoDecoder, VideoEncoder,
    VideoEncoderSettings, VideoError,
};
use crate::ffi::avcodec::AvError;
use crate::ffi::avvideo;

/// See [`VideoDecoder`].
pub(super) struct LibavDecoder {
    decoder: avvideo::Decoder,
}

impl LibavDecoder {
    pub(super) fn new(name: VideoCodecName) -> Result<Self, VideoError> {
        let codec = match name {
            VideoCodecName::H264 => "h264",
            VideoCodecName::H265 => "hevc",
            VideoCodecName::Vp8 => "vp8",
        };
        let decoder = avvideo::Decoder::new(codec, PIXELS_MAX).map_err(library)?;
        Ok(LibavDecoder { decoder })
    }
}

impl VideoDecoder for LibavDecoder {
    fn decode(&mut self, unit: &[u8]) -> Result<Option<Decoded<'_>>, VideoError> {
        let refused = |error| match error {
            avvideo::DecodeError::Av(error) => {
                VideoError::BadUnit { bytes: unit.len(), reason: error.reason() }
            }
            avvideo::DecodeError::Format(format) => VideoError::Unsupported { format },
            avvideo::DecodeError::TooLarge(size) => {
                VideoError::TooLarge { width: size.width, height: size.height }
            }
        };
        let Some(concealed) = self.decoder.decode(unit).map_err(refused)? else { return Ok(None) };
        Ok(self.decoder.picture().map(|picture| Decoded { picture, concealed }))
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.decoder.picture()
    }

    fn reset(&mut self) {
        self.decoder.reset();
    }
}

/// See [`VideoEncoder`].
pub(super) struct LibavEncoder {
    name: VideoCodecName,
    settings: VideoEncoderSettings,
    /// With the size of its pictures; none before the first one.
    encoder: Option<(PictureSize, avvideo::Encoder)>,
}

impl LibavEncoder {
    pub(super) fn new(name: VideoCodecName, settings: VideoEncoderSettings) -> Result<Self, VideoError> {
        // Whether the library is there is known now, and not at the first picture.
        drop(open(name, &settings, PictureSize::new(64, 64))?);
        Ok(LibavEncoder { name, settings, encoder: None })
    }
}

impl VideoEncoder for LibavEncoder {
    fn encode(
        &mut self,
        picture: &Picture<'_>,
        key_frame: bool,
        unit: &mut Vec<u8>,
    ) -> Result<Encoded, VideoError> {
        let size = picture.size();
        check_size(size)?;
        if self.encoder.as_ref().is_none_or(|(held, _)| *held != size) {
            self.encoder = Some((size, open(self.name, &self.settings, size)?));
        }
        let (_, encoder) = self.encoder.as_mut().expect("it was opened");
        unit.clear();
        match encoder.encode(picture, key_frame, unit) {
            Ok(key_frame) => Ok(Encoded { key_frame, skipped: unit.is_empty() }),
            Err(error) => {
                unit.clear();
                Err(library(error))
            }
        }
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.settings = VideoEncoderSettings { bitrate_bps, ..self.settings }.in_range();
        match (&mut self.encoder, self.name) {
            // FFmpeg hands a changed rate on to x264, and to no other.
            (Some((_, encoder)), VideoCodecName::H264) => encoder.set_bitrate(self.settings.bitrate_bps),
            (encoder, _) => *encoder = None,
        }
    }
}

/// What no encoder takes: 4:2:0 has a value of colour for each two pixels.
pub(super) fn check_size(size: PictureSize) -> Result<(), VideoError> {
    let PictureSize { width, height } = size;
    let refused = |reason| Err(VideoError::Size { width, height, reason });
    if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        return refused("both sides must be even");
    }
    if width < 16 || height < 16 {
        return refused("both sides must be at least 16");
    }
    if size.pixels() > u64::from(PIXELS_MAX) {
        return refused("it has more pixels than level 5.1 allows");
    }
    Ok(())
}

fn open(
    name: VideoCodecName,
    settings: &VideoEncoderSettings,
    size: PictureSize,
) -> Result<avvideo::Encoder, VideoError> {
    let interval = match settings.key_frame_interval {
        0 => i32::MAX as u32 / 2,
        interval => interval,
    };
    let mut options: Vec<(&str, String)> = Vec::new();
    let codec = match name {
        VideoCodecName::H264 => {
            let mut private = "scenecut=0:repeat-headers=1:annexb=1".to_owned();
            if let Some(bytes) = settings.slice_bytes_max {
                private.push_str(&format!(":slice-max-size={bytes}"));
            }
            options.push(("preset", "ultrafast".into()));
            options.push(("tune", "zerolatency".into()));
            options.push(("profile", "baseline".into()));
            options.push(("forced-idr", "1".into()));
            options.push(("x264-params", private));
            "libx264"
        }
        VideoCodecName::H265 => {
            let interval = interval.min(1 << 20);
            let private = format!(
                "log-level=none:pools=none:frame-threads=1:wpp=0:repeat-headers=1:annexb=1:scenecut=0:\
                 open-gop=0:keyint={interval}:min-keyint={interval}"
            );
            options.push(("preset", "ultrafast".into()));
            options.push(("tune", "zerolatency".into()));
            options.push(("forced-idr", "1".into()));
            options.push(("x265-params", private));
            "libx265"
        }
        VideoCodecName::Vp8 => {
            options.push(("deadline", "realtime".into()));
            options.push(("cpu-used", "8".into()));
            options.push(("lag-in-frames", "0".into()));
            "libvpx"
        }
    };
    let (bitrate_bps, frames_per_s) = (settings.bitrate_bps, settings.frames_per_s);
    let constant = name == VideoCodecName::Vp8;
    let settings =
        avvideo::EncoderSettings { codec, size, bitrate_bps, frames_per_s, interval, constant, options };
    avvideo::Encoder::new(&settings).map_err(library)
}

fn library(error: AvError) -> VideoError {
    VideoError::Library { code: error.code(), reason: error.reason() }
}
