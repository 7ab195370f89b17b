//! Cameras and a receiver in time: sockets, and the clock of this machine.

use super::counter;
use super::motet::payloads;
use anyhow::Context;
use motet_codecs::video::{
    FramePool, PictureSize, VideoCodec, VideoCodecName, VideoEncoder, VideoEncoderSettings,
};
use motet_mixer::testing::CardReceiver;
use motet_mixer::video::PixelRect;
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::{RtpBuilder, Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Between two pictures: 30 a second.
pub const PERIOD: Duration = Duration::from_nanos(33_333_333);
/// Pictures after which a camera waits a little, and for which part of a period.
const SLIP: (u32, u32) = (30, 10);
/// Payload type of all pictures.
pub const PAYLOAD_TYPE: u8 = 96;
/// How long a receiver waits for a packet before it looks at the clock.
const LOOK: Duration = Duration::from_millis(50);
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Where a camera's pictures come from.
pub enum Film<'a> {
    /// Drawn with a number each, and encoded, when they are due.
    Live(Lens),
    /// Access units, the first a key frame, again and again.
    Recorded(&'a [Vec<u8>], usize),
}

/// Draws and encodes.
pub struct Lens {
    encoder: Box<dyn VideoEncoder>,
    pool: FramePool,
    size: PictureSize,
    unit: Vec<u8>,
}

impl Lens {
    /// One of this size and so many bits a second.
    ///
    /// # Errors
    /// When there is no encoder.
    pub fn new(size: PictureSize, bitrate_bps: u32) -> anyhow::Result<Lens> {
        let codec = VideoCodec { name: VideoCodecName::H264, fmtp: "packetization-mode=1".to_owned() };
        let settings = VideoEncoderSettings { bitrate_bps, ..VideoEncoderSettings::default() };
        let encoder = codec.encoder(&settings)?;
        Ok(Lens { encoder, pool: FramePool::new(1), size, unit: Vec::new() })
    }
}

/// Sends pictures to a node.
pub struct Camera<'a> {
    film: Film<'a>,
    socket: UdpSocket,
    ssrc: u32,
    sequence: WireSeq,
    /// After the beginning of all.
    offset: Duration,
}

impl<'a> Camera<'a> {
    /// One that sends there, and begins so much later than others.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn new(film: Film<'a>, ssrc: u32, to: SocketAddr, offset: Duration) -> anyhow::Result<Camera<'a>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        Ok(Camera { film, socket, ssrc, sequence: WireSeq(0), offset })
    }

    /// Sends so many pictures, in time; when each was captured.
    ///
    /// # Errors
    /// When they cannot be encoded or sent.
    pub fn play(mut self, begin: Instant, pictures: u16) -> anyhow::Result<Vec<Instant>> {
        let mut captured = Vec::new();
        for number in 0..pictures {
            let after = due(u32::from(number)) + self.offset;
            std::thread::sleep((begin + after).saturating_duration_since(Instant::now()));
            captured.push(Instant::now());
            let wanted = self.is_asked();
            self.send(number, wanted, WireTimestamp((after.as_nanos() * 9 / 100_000) as u32))?;
        }
        Ok(captured)
    }

    /// Whether a key frame was asked for: the only feedback about one stream that loses nothing.
    fn is_asked(&self) -> bool {
        let (mut room, mut asked) = ([0; DATAGRAM_BYTES_MAX], false);
        while let Ok(bytes) = self.socket.recv(&mut room) {
            // PT 206, payload-specific feedback: RFC 4585 section 6.3.
            asked |= classify(&room[..bytes]) == PacketClass::Rtcp
                && packet_types(&room[..bytes]).any(|pt| pt == 206);
        }
        asked
    }

    fn send(&mut self, number: u16, key_frame: bool, timestamp: WireTimestamp) -> anyhow::Result<()> {
        let unit = match &mut self.film {
            Film::Live(lens) => {
                let mut frame = lens.pool.take(lens.size);
                counter::draw(&mut frame, number);
                lens.encoder.encode(&frame.picture(), key_frame, &mut lens.unit)?;
                &lens.unit[..]
            }
            Film::Recorded(units, at) => {
                *at = if key_frame { 0 } else { *at % units.len() };
                *at += 1;
                &units[*at - 1][..]
            }
        };
        // The encoder may leave a picture out.
        if unit.is_empty() {
            return Ok(());
        }
        for (payload, marker) in payloads(unit)? {
            let packet = RtpBuilder::new(self.ssrc)
                .payload_type(PAYLOAD_TYPE)
                .marker(marker)
                .sequence(self.sequence)
                .timestamp(timestamp)
                .payload(&payload);
            self.sequence = self.sequence.next();
            self.socket.send(&packet.to_vec())?;
        }
        Ok(())
    }
}

/// When a picture is due. The camera waits a little each second, so that its pictures come at every moment of the
/// canvas's period, and the result does not hang on how the two happen to lie to each other.
fn due(number: u32) -> Duration {
    PERIOD * number + PERIOD * (number / SLIP.0) / SLIP.1
}

/// Types of the packets of a compound (RFC 3550 section 6.4.1).
fn packet_types(mut compound: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let &[_, packet_type, high, low, ..] = compound else { return None };
        let bytes = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        compound = compound.get(bytes..).unwrap_or_default();
        Some(packet_type)
    })
}

/// Receives until then; when each number was first seen in the cell, decoded.
///
/// # Errors
/// When there is no decoder, or the socket fails.
pub fn watch(socket: &UdpSocket, cell: PixelRect, until: Instant) -> anyhow::Result<BTreeMap<u16, Instant>> {
    let mut receiver = CardReceiver::new(VideoCodecName::H264)?;
    socket.set_read_timeout(Some(LOOK))?;
    let (mut seen, mut room, begun) = (BTreeMap::new(), [0; DATAGRAM_BYTES_MAX], Instant::now());
    while Instant::now() < until {
        let bytes = match socket.recv(&mut room) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error).context("cannot receive"),
        };
        let before = receiver.pictures;
        let now = Time::from_millis(1000) + begun.elapsed();
        if classify(&room[..bytes]) == PacketClass::Rtp {
            receiver.handle_packet(now, &room[..bytes]);
        }
        if receiver.pictures > before {
            let decoded = Instant::now();
            let number = receiver.picture().and_then(|picture| counter::read(&picture, cell));
            number.map(|number| seen.entry(number).or_insert(decoded));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_at_every_moment_of_a_period() {
        assert_eq!(due(29), PERIOD * 29);
        assert_eq!(due(30), PERIOD * 30 + PERIOD / 10);
        assert_eq!(due(300), PERIOD * 301);
    }

    #[test]
    fn all_packets_of_a_compound_are_looked_at() {
        let compound = [[0x80, 201, 0, 1], [0; 4], [0x81, 206, 0, 2], [0; 4], [0; 4]].concat();
        assert_eq!(packet_types(&compound).collect::<Vec<_>>(), [201, 206]);
        assert_eq!(packet_types(&compound[..11]).collect::<Vec<_>>(), [201]);
    }
}
