//! A file's pictures, as access units of the leg's codec.

use super::Target;
use super::socket::Way;
use motet_codecs::video::{
    Frame, FramePool, Picture, PictureSize, VideoCodec, VideoCodecName, VideoEncoder, VideoEncoderSettings,
};
use motet_mixer::video::{PixelRect, Scaler};
use motet_rtp::payload::{H264Mode, Packetizer};
use std::collections::VecDeque;
use std::time::Duration;

/// Larger pictures are made smaller, to so many pixels in a line and lines.
const SIDES_MAX: (u32, u32) = (1920, 1080);
/// Pictures that may wait.
const WAITING_MAX: usize = 16;
/// Bytes of a payload: with RTP, UDP and IPv6 headers, SRTP and tunnels it stays below 1,280.
const PAYLOAD_BYTES_MAX: usize = 1180;
/// A key frame is made so often at most, whoever asks.
const KEY_INTERVAL_NS: u64 = 500_000_000;
/// Bits a second for each pixel of a picture, 30 pictures a second: 2.3 Mbit/s for 1280 by 720.
const BITS_PER_PIXEL: f64 = 2.5;

pub(super) struct PictureLine {
    pub(super) way: Way,
    codec: VideoCodec,
    mode: H264Mode,
    /// With the size that it is for.
    encoder: Option<(PictureSize, Box<dyn VideoEncoder>)>,
    scaler: Option<Scaler>,
    pool: FramePool,
    waiting: VecDeque<(Duration, Frame)>,
    /// What was sent last.
    shown: Option<Frame>,
    /// Pictures before this place are left out.
    from: Duration,
    end: Duration,
    wants_key: bool,
    key_at_ns: Option<u64>,
    picture_id: u16,
    unit: Vec<u8>,
    room: Vec<u8>,
}

impl PictureLine {
    pub(super) fn new(target: &Target) -> Result<PictureLine, String> {
        let codec = target.codec.picture().ok_or_else(|| format!("no encoder for {}", target.codec.name))?;
        // RFC 6184 section 8.1: without the parameter, the mode is 0.
        let mode = codec.fmtp.split(';').find_map(|part| part.trim().strip_prefix("packetization-mode="));
        let single = mode.is_none_or(|mode| mode.trim() == "0");
        // Whether the library is there is known now, and not at the first picture.
        codec.encoder(&VideoEncoderSettings::default()).map_err(|error| error.to_string())?;
        Ok(PictureLine {
            way: Way::open(target)?,
            codec,
            mode: if single { H264Mode::SingleNal } else { H264Mode::NonInterleaved },
            encoder: None,
            scaler: None,
            pool: FramePool::new(WAITING_MAX + 2),
            waiting: VecDeque::new(),
            shown: None,
            from: Duration::ZERO,
            end: Duration::ZERO,
            wants_key: true,
            key_at_ns: None,
            picture_id: 0,
            unit: Vec::new(),
            room: vec![0; PAYLOAD_BYTES_MAX],
        })
    }

    /// Up to which place of the file there are pictures.
    pub(super) fn end(&self) -> Duration {
        self.end
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Goes on at another place, with a key frame.
    pub(super) fn restart(&mut self, place: Duration) {
        self.waiting.clear();
        (self.from, self.end, self.wants_key) = (place, place, true);
    }

    /// Takes a picture of a place.
    pub(super) fn push(&mut self, at: Duration, picture: &Picture<'_>) {
        self.end = self.end.max(at);
        if at < self.from {
            return;
        }
        let from = picture.size();
        let to = fitted(from);
        let whole = PixelRect { left: 0, top: 0, width: from.width, height: from.height };
        let mut frame = self.pool.take(to);
        if from == to {
            frame.copy_from(picture);
        } else {
            let scaler = self.scaler.take().filter(|scaler| scaler.fits(from, whole, to));
            let mut scaler = scaler.unwrap_or_else(|| Scaler::new(from, whole, to));
            scaler.scale(picture, &mut frame);
            self.scaler = Some(scaler);
        }
        self.waiting.push_back((at, frame));
    }

    /// Sends what is due at a place of the file; of several pictures, the last.
    pub(super) fn send(&mut self, position: Duration, at_ns: impl Fn(Duration) -> u64) {
        let mut due = None;
        while self.waiting.front().is_some_and(|(at, _)| *at <= position) {
            due = self.waiting.pop_front();
        }
        if let Some((at, frame)) = due {
            self.encode(at_ns(at), &frame);
            self.shown = Some(frame);
        }
    }

    /// Sends what was sent last once more, if somebody has asked for a key frame meanwhile.
    pub(super) fn send_again(&mut self, now_ns: u64) {
        if self.may_key(now_ns)
            && let Some(frame) = self.shown.take()
        {
            self.encode(now_ns, &frame);
            self.shown = Some(frame);
        }
    }

    /// The next picture is to be a key frame.
    pub(super) fn request_key_frame(&mut self) {
        self.wants_key = true;
    }

    fn may_key(&self, now_ns: u64) -> bool {
        self.wants_key && self.key_at_ns.is_none_or(|at_ns| now_ns >= at_ns.saturating_add(KEY_INTERVAL_NS))
    }

    fn encode(&mut self, at_ns: u64, frame: &Frame) {
        let (size, key) = (frame.size(), self.may_key(at_ns));
        if self.encoder.as_ref().is_none_or(|(held, _)| *held != size) {
            let bitrate_bps = (size.pixels() as f64 * BITS_PER_PIXEL).max(150_000.0) as u32;
            let single = matches!(self.mode, H264Mode::SingleNal);
            let slice_bytes_max = single.then_some(PAYLOAD_BYTES_MAX as u32 - 100);
            let settings =
                VideoEncoderSettings { bitrate_bps, slice_bytes_max, ..VideoEncoderSettings::default() };
            // It was there when the player began.
            let Ok(encoder) = self.codec.encoder(&settings) else { return };
            self.encoder = Some((size, encoder));
        }
        let Some((_, encoder)) = &mut self.encoder else { return };
        let Ok(encoded) = encoder.encode(&frame.picture(), key, &mut self.unit) else { return };
        if encoded.skipped {
            return;
        }
        if encoded.key_frame {
            (self.wants_key, self.key_at_ns) = (false, Some(at_ns));
        }
        let packetizer = match self.codec.name {
            VideoCodecName::H264 => Packetizer::h264(&self.unit, self.mode, PAYLOAD_BYTES_MAX),
            VideoCodecName::H265 => Packetizer::h265(&self.unit, PAYLOAD_BYTES_MAX),
            _ => Packetizer::vp8(&self.unit, self.picture_id, PAYLOAD_BYTES_MAX),
        };
        self.picture_id = self.picture_id.wrapping_add(1);
        let Ok(mut packetizer) = packetizer else {
            // An encoder that does not keep to its slices: the receivers lack this picture.
            self.wants_key = true;
            return;
        };
        while let Some(payload) = packetizer.next_payload(&mut self.room) {
            self.way.send(at_ns, payload.marker, &self.room[..payload.bytes]);
        }
    }
}

/// The size in which a picture is sent: sides are even, at least 16, and within the limits.
fn fitted(size: PictureSize) -> PictureSize {
    let scale = (f64::from(SIDES_MAX.0) / f64::from(size.width))
        .min(f64::from(SIDES_MAX.1) / f64::from(size.height))
        .min(1.0);
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(16).next_multiple_of(2);
    PictureSize::new(side(size.width), side(size.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_any_size_can_be_sent() {
        for (from, to) in [
            ((1280, 720), (1280, 720)),
            ((162, 97), (162, 98)),
            ((1, 1), (16, 16)),
            ((3840, 2160), (1920, 1080)),
            ((1080, 1920), (608, 1080)),
        ] {
            assert_eq!(fitted(PictureSize::new(from.0, from.1)), PictureSize::new(to.0, to.1));
        }
    }
}
