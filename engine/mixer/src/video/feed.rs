//! One encoder and all who get what it makes.

use super::canvas::CanvasKey;
use super::{OutputConfig, OutputId, VideoMixError, VideoOutbox, VideoStats};
use motet_codecs::video::{
    H264Library, Picture, VideoCodec, VideoCodecName, VideoEncoder, VideoEncoderSettings,
};
use motet_rtp::payload::{H264Mode, Packetizer};
use motet_rtp::{Time, WireSeq, WireTimestamp, rewrite_header};
use std::time::Duration;

/// Bytes of a payload: with RTP, UDP and IPv6 headers, SRTP and tunnels it stays below 1,280.
const PAYLOAD_BYTES_MAX: usize = 1180;
/// A key frame is made so often at most, whoever asks.
const KEY_INTERVAL: Duration = Duration::from_millis(500);

/// What makes feeds one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FeedKey {
    pub(super) canvas: CanvasKey,
    codec: VideoCodec,
    h264: H264Library,
    bitrate_bps: u32,
}

impl FeedKey {
    pub(super) fn of(output: &OutputConfig) -> FeedKey {
        FeedKey {
            canvas: CanvasKey::of(output),
            codec: output.codec.clone(),
            h264: output.h264,
            bitrate_bps: output.bitrate_bps,
        }
    }
}

pub(super) struct Feed {
    pub(super) key: FeedKey,
    encoder: Box<dyn VideoEncoder>,
    mode: H264Mode,
    unit: Vec<u8>,
    room: Vec<u8>,
    picture_id: u16,
    wants_key: bool,
    key_at: Option<Time>,
    pub(super) outputs: Vec<Receiver>,
}

/// An output as its feed knows it.
pub(super) struct Receiver {
    pub(super) id: OutputId,
    ssrc: u32,
    payload_type: u8,
    pub(super) sequence: WireSeq,
    timestamp: u32,
}

impl Receiver {
    pub(super) fn new(config: &OutputConfig) -> Receiver {
        Receiver {
            id: config.id,
            ssrc: config.ssrc,
            payload_type: config.payload_type,
            sequence: WireSeq(config.sequence),
            timestamp: config.timestamp,
        }
    }
}

impl Feed {
    pub(super) fn new(key: FeedKey) -> Result<Feed, VideoMixError> {
        // RFC 6184 section 8.1: without the parameter, the mode is 0.
        let value =
            key.codec.fmtp.split(';').find_map(|part| part.trim().strip_prefix("packetization-mode="));
        let single = key.codec.name == VideoCodecName::H264 && value.is_none_or(|value| value.trim() == "0");
        let settings = VideoEncoderSettings {
            bitrate_bps: key.bitrate_bps,
            frames_per_s: key.canvas.frames_per_s,
            key_frame_interval: 0,
            // Encoders count start codes, or not, and may go a little beyond.
            slice_bytes_max: single.then_some(PAYLOAD_BYTES_MAX as u32 - 100),
            h264: key.h264,
        };
        let encoder = key.codec.encoder(&settings).map_err(VideoMixError::Codec)?;
        Ok(Feed {
            key,
            encoder,
            mode: if single { H264Mode::SingleNal } else { H264Mode::NonInterleaved },
            unit: Vec::new(),
            room: vec![0; PAYLOAD_BYTES_MAX],
            picture_id: 0,
            wants_key: true,
            key_at: None,
            outputs: Vec::new(),
        })
    }

    pub(super) fn request_key_frame(&mut self) {
        self.wants_key = true;
    }

    /// Whether the next picture is to be a key frame.
    pub(super) fn wants_key_frame(&self, now: Time) -> bool {
        self.wants_key && self.key_at.is_none_or(|at| now.since(at) >= KEY_INTERVAL)
    }

    /// Encodes a picture for all, unless nobody is there.
    pub(super) fn encode(
        &mut self,
        now: Time,
        picture: &Picture<'_>,
        out: &mut VideoOutbox,
        stats: &mut VideoStats,
    ) {
        if self.outputs.is_empty() {
            return;
        }
        let key = self.wants_key_frame(now);
        let encoded = match self.encoder.encode(picture, key, &mut self.unit) {
            Ok(encoded) if !encoded.skipped => encoded,
            _ => {
                stats.skipped += 1;
                return;
            }
        };
        if encoded.key_frame {
            (self.wants_key, self.key_at) = (false, Some(now));
        }
        stats.encoded += 1;
        stats.encodes_shared += self.outputs.len() as u64 - 1;
        self.send(now, out, stats);
    }

    fn send(&mut self, now: Time, out: &mut VideoOutbox, stats: &mut VideoStats) {
        let packetizer = match self.key.codec.name {
            VideoCodecName::H264 => Packetizer::h264(&self.unit, self.mode, PAYLOAD_BYTES_MAX),
            VideoCodecName::H265 => Packetizer::h265(&self.unit, PAYLOAD_BYTES_MAX),
            _ => Packetizer::vp8(&self.unit, self.picture_id, PAYLOAD_BYTES_MAX),
        };
        self.picture_id = self.picture_id.wrapping_add(1);
        let Ok(mut packetizer) = packetizer else {
            // An encoder that does not keep to its slices: the receiver lacks this picture.
            stats.skipped += 1;
            self.wants_key = true;
            return;
        };
        let mut payloads = Vec::new();
        while let Some(payload) = packetizer.next_payload(&mut self.room) {
            payloads.push((out.payloads.len(), payload));
            out.payloads.extend_from_slice(&self.room[..payload.bytes]);
        }
        // 90 kHz; wraps as timestamps do.
        let ticks = (u128::from(now.as_nanos()) * 9 / 100_000) as u32;
        for receiver in &mut self.outputs {
            let timestamp = WireTimestamp(receiver.timestamp.wrapping_add(ticks));
            for (start, payload) in &payloads {
                let (sequence, ssrc) = (receiver.sequence, receiver.ssrc);
                let header =
                    rewrite_header(0x80, payload.marker, receiver.payload_type, sequence, timestamp, ssrc);
                receiver.sequence = sequence.next();
                out.packets.push((receiver.id, header, *start, payload.bytes));
            }
        }
    }
}
