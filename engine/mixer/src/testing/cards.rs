//! Senders of test cards and receivers of canvases, by real codecs.

use motet_codecs::video::{
    FramePool, Picture, PictureSize, VideoCodec, VideoCodecName, VideoDecoder, VideoEncoder,
    VideoEncoderSettings, VideoError,
};
use motet_rtp::payload::{Depacketizer, H264Mode, Packetizer, PayloadFormat, PicturePacket};
use motet_rtp::{RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use std::time::Duration;

const PAYLOAD_BYTES_MAX: usize = 1100;

/// A participant whose camera shows one colour, with a darker square moving over its middle line.
pub struct CardSender {
    /// The SSRC of its packets.
    pub ssrc: u32,
    /// The payload type of its packets.
    pub payload_type: u8,
    /// Y, U and V.
    pub colour: [u8; 3],
    /// The next packet's sequence number.
    pub sequence: u16,
    name: VideoCodecName,
    size: PictureSize,
    encoder: Box<dyn VideoEncoder>,
    pool: FramePool,
    pictures: u32,
}

impl CardSender {
    /// One that has sent nothing yet.
    ///
    /// # Errors
    /// When there is no such encoder.
    pub fn new(
        ssrc: u32,
        name: VideoCodecName,
        size: PictureSize,
        colour: [u8; 3],
    ) -> Result<CardSender, VideoError> {
        let settings = VideoEncoderSettings { bitrate_bps: 1_000_000, ..VideoEncoderSettings::default() };
        let encoder = codec(name).encoder(&settings)?;
        let pool = FramePool::new(1);
        let (payload_type, sequence, pictures) = (96, 65_530, 0);
        Ok(CardSender { ssrc, payload_type, colour, sequence, name, size, encoder, pool, pictures })
    }

    /// The packets of the next picture, 1/30 s after the one before.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn next_picture(&mut self, key_frame: bool) -> Result<Vec<Vec<u8>>, VideoError> {
        let mut frame = self.pool.take(self.size);
        frame.fill(self.colour);
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let left = (self.pictures as usize * 2) % (width - 8);
        let square = frame.plane_mut(0).area((left, height / 2 - 2), (8, 4));
        square.for_each(|line| line.fill(self.colour[0] / 2));
        let mut unit = Vec::new();
        self.encoder.encode(&frame.picture(), key_frame, &mut unit)?;
        let packetizer = match self.name {
            VideoCodecName::H264 => Packetizer::h264(&unit, H264Mode::NonInterleaved, PAYLOAD_BYTES_MAX),
            VideoCodecName::H265 => Packetizer::h265(&unit, PAYLOAD_BYTES_MAX),
            _ => Packetizer::vp8(&unit, self.pictures as u16, PAYLOAD_BYTES_MAX),
        };
        let timestamp = WireTimestamp(self.pictures.wrapping_mul(3000));
        self.pictures += 1;
        let (mut packets, mut room) = (Vec::new(), vec![0; PAYLOAD_BYTES_MAX]);
        // An encoder may leave a picture out.
        let Ok(mut packetizer) = packetizer else { return Ok(packets) };
        while let Some(payload) = packetizer.next_payload(&mut room) {
            let packet = RtpBuilder::new(self.ssrc)
                .payload_type(self.payload_type)
                .sequence(WireSeq(self.sequence))
                .timestamp(timestamp)
                .marker(payload.marker)
                .payload(&room[..payload.bytes]);
            self.sequence = self.sequence.wrapping_add(1);
            packets.push(packet.to_vec());
        }
        Ok(packets)
    }
}

/// A participant that gets one stream and decodes it.
pub struct CardReceiver {
    depacketizer: Depacketizer,
    decoder: Box<dyn VideoDecoder>,
    /// Pictures decoded.
    pub pictures: u64,
    /// Access units that were no picture, or an incomplete one.
    pub failures: u64,
    /// Key frames.
    pub key_frames: u64,
}

impl CardReceiver {
    /// One that has received nothing yet.
    ///
    /// # Errors
    /// When there is no such decoder.
    pub fn new(name: VideoCodecName) -> Result<CardReceiver, VideoError> {
        let format = match name {
            VideoCodecName::H264 => PayloadFormat::H264,
            VideoCodecName::H265 => PayloadFormat::H265,
            _ => PayloadFormat::Vp8,
        };
        let depacketizer = Depacketizer::new(format, Duration::ZERO, Vec::new());
        Ok(CardReceiver {
            depacketizer,
            decoder: codec(name).decoder()?,
            pictures: 0,
            failures: 0,
            key_frames: 0,
        })
    }

    /// Takes an RTP packet in. Others are ignored.
    pub fn handle_packet(&mut self, now: Time, datagram: &[u8]) {
        let Ok(packet) = RtpView::new(datagram) else { return };
        let packet = PicturePacket {
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            payload: packet.payload(),
        };
        self.depacketizer.handle_packet(now, &packet);
        while let Some(unit) = self.depacketizer.poll_unit(now) {
            self.key_frames += u64::from(unit.key_frame);
            let sound = !unit.damaged && unit.missing == 0;
            match self.decoder.decode(unit.bytes) {
                Ok(Some(decoded)) if sound && !decoded.concealed => self.pictures += 1,
                _ => self.failures += 1,
            }
        }
    }

    /// The last picture.
    pub fn picture(&self) -> Option<Picture<'_>> {
        self.decoder.picture()
    }

    /// Size of the last picture.
    pub fn size(&self) -> Option<PictureSize> {
        self.decoder.picture().map(|picture| picture.size())
    }

    /// Y, U and V of the last picture in the mean of 8 by 8 pixels that begin at `left` and `top`; none: there is no
    /// such place.
    pub fn colour_at(&self, left: u32, top: u32) -> Option<[u8; 3]> {
        mean_at(&self.decoder.picture()?, left, top)
    }
}

/// Y, U and V in the mean of 8 by 8 pixels that begin there; none: there is no such place.
pub(super) fn mean_at(picture: &Picture<'_>, left: u32, top: u32) -> Option<[u8; 3]> {
    let mut means = [0; 3];
    for (index, plane) in picture.planes().iter().enumerate() {
        let shift = u32::from(index > 0);
        let (side, left, top) = (8 >> shift, (left >> shift) as usize, (top >> shift) as usize);
        if left + side > plane.width() || top + side > plane.height() {
            return None;
        }
        let lines = (top..top + side).map(|line| &plane.line(line)[left..left + side]);
        let sum: u32 = lines.flatten().map(|value| u32::from(*value)).sum();
        means[index] = (sum / (side * side) as u32) as u8;
    }
    Some(means)
}

/// By name, with `packetization-mode=1`.
fn codec(name: VideoCodecName) -> VideoCodec {
    VideoCodec { name, fmtp: "packetization-mode=1".to_owned() }
}
