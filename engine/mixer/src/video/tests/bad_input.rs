//! Hostile and strange pictures of one participant: the others' cells are as ever, and the next good key frame is seen.

use super::world::*;
use crate::testing::CardSender;
use crate::video::{Layout, SourceId};
use motet_codecs::video::VideoCodecName::{H264, Vp8};
use motet_codecs::video::{PictureSize, VideoCodecName, VideoEncoderSettings};
use motet_rtp::payload::{H264Mode, Packetizer};
use motet_rtp::{RtpBuilder, WireSeq, WireTimestamp};
use std::process::Command;

const PAYLOAD_BYTES_MAX: usize = 1_100;
/// The left half, and the right one.
const LEFT: [(u32, u32, [u8; 3]); 2] = [(20, 120, RED), (290, 250, RED)];
const RIGHT: [(u32, u32, [u8; 3]); 2] = [(340, 120, GREEN), (620, 250, GREEN)];

/// Red to the left in H.264, green to the right in this codec.
fn two(name: VideoCodecName) -> World {
    let mut world = World::new();
    world.join(0, H264, CAMERA, RED);
    world.join(1, name, CAMERA, GREEN);
    world.watch(output(0, Layout::Auto));
    world.run(4);
    world.check(0, &[LEFT, RIGHT].concat());
    world
}

/// Red is seen as ever, and green once there is a good key frame.
#[track_caller]
fn check_mended(world: &mut World, what: &str) {
    world.check(0, &LEFT);
    world.run(30);
    world.check(0, &[LEFT, RIGHT].concat());
    assert_eq!(world.receivers[&0].failures, 0, "{what}");
}

/// The second participant sends this access unit.
fn send(world: &mut World, name: VideoCodecName, unit: &[u8]) {
    let sender = world.senders.get_mut(&1).expect("it is there");
    let packetizer = match name {
        H264 => Packetizer::h264(unit, H264Mode::NonInterleaved, PAYLOAD_BYTES_MAX),
        VideoCodecName::H265 => Packetizer::h265(unit, PAYLOAD_BYTES_MAX),
        _ => Packetizer::vp8(unit, 7, PAYLOAD_BYTES_MAX),
    };
    let (mut packetizer, mut room) = (packetizer.expect("a unit"), vec![0; PAYLOAD_BYTES_MAX]);
    let timestamp = WireTimestamp(0x4000_0000 + u32::from(sender.sequence) * 3_000);
    while let Some(payload) = packetizer.next_payload(&mut room) {
        let packet = RtpBuilder::new(sender.ssrc).payload_type(96).sequence(WireSeq(sender.sequence));
        let packet = packet.timestamp(timestamp).marker(payload.marker).payload(&room[..payload.bytes]);
        sender.sequence = sender.sequence.wrapping_add(1);
        world.mixer.handle_packet(world.now, &packet.to_vec());
    }
}

/// One picture that ffmpeg encodes.
fn ffmpeg(source: &str, codec: &[&str], format: &str) -> Vec<u8> {
    let input = ["-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "1"];
    let output = ["-pix_fmt", "yuv420p", "-f", format, "-"];
    let made = Command::new("ffmpeg").args(input).args(codec).args(output).output().expect("ffmpeg is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

/// A key frame of another size.
fn key_frame(name: VideoCodecName, size: PictureSize) -> Vec<u8> {
    let pool = motet_codecs::video::FramePool::new(1);
    let mut frame = pool.take(size);
    frame.fill(BLUE);
    let mut encoder = codec(name).encoder(&VideoEncoderSettings::default()).expect("an encoder");
    let mut unit = Vec::new();
    encoder.encode(&frame.picture(), true, &mut unit).expect("a picture");
    unit
}

/// NAL units with their start codes, of these types of H.264.
fn nals(unit: &[u8], types: &[u8]) -> Vec<u8> {
    let starts = unit.windows(3).enumerate().filter(|(_, bytes)| bytes == &[0, 0, 1]).map(|(at, _)| at);
    let mut bounds: Vec<usize> = starts.collect();
    bounds.push(unit.len());
    let nals = bounds.windows(2).map(|bounds| &unit[bounds[0]..bounds[1]]);
    nals.filter(|nal| types.contains(&(nal[3] & 0x1f))).collect::<Vec<_>>().concat()
}

#[test]
fn damaged_and_truncated_pictures_of_every_codec() {
    let harms: [Harm; 3] = [
        // Bits are wrong.
        |number, packet| {
            let at = 12 + (number as usize * 7_919) % (packet.len() - 12);
            packet[at] ^= 1 << (number % 8);
        },
        // Ends are missing.
        |number, packet| packet.truncate(13 + (packet.len() - 13) * (number as usize % 10) / 10),
        // Anything behind a good beginning.
        |number, packet| {
            packet[15..]
                .iter_mut()
                .enumerate()
                .for_each(|(at, byte)| *byte = (at as u32 * 31 + number) as u8);
        },
    ];
    for name in VideoCodecName::ALL {
        for (index, harm) in harms.into_iter().enumerate() {
            let mut world = two(name);
            world.harm = Some((1, harm));
            world.run(30);
            world.harm = None;
            world.asked.push(SourceId(1));
            check_mended(&mut world, &format!("{name} harm {index}"));
        }
    }
}

#[test]
fn sizes_that_change_in_mid_stream_in_every_codec() {
    for name in VideoCodecName::ALL {
        let mut world = two(name);
        for (width, height) in [(1280, 720), (64, 64), (90, 160), (320, 180)] {
            let sequence = world.senders[&1].sequence;
            let size = PictureSize::new(width, height);
            let mut other = CardSender::new(2, name, size, YELLOW).expect("an encoder");
            other.sequence = sequence;
            world.senders.insert(1, other);
            world.run(4);
            // In the middle of the right half, above the card's square.
            world.check(0, &LEFT);
            world.check(0, &[(470, 120, YELLOW), (490, 120, YELLOW)]);
        }
        assert_eq!(world.receivers[&0].failures, 0, "{name}");
    }
}

#[test]
fn pictures_of_one_pixel_and_of_too_many() {
    let ivf_header = 44;
    let tiny = &ffmpeg("color=c=blue:size=2x2,scale=1:1", &["-c:v", "libvpx"], "ivf")[ivf_header..];
    let mut world = two(Vp8);
    send(&mut world, Vp8, tiny);
    let camera = world.senders.remove(&1).expect("it is there");
    world.run(2);
    // One pixel is a picture, and fills what it can of its cell.
    world.check(0, &LEFT);
    world.check(0, &[(470, 180, BLUE), (480, 150, BLUE)]);
    world.senders.insert(1, camera);
    world.asked.push(SourceId(1));
    check_mended(&mut world, "after one pixel");

    let huge = ffmpeg("color=c=blue:size=8192x8192", &["-c:v", "libx264", "-preset", "ultrafast"], "h264");
    let mut world = two(H264);
    send(&mut world, H264, &huge);
    world.run(2);
    assert!(world.mixer.stats().undecoded > 0, "it is refused");
    world.check(0, &LEFT);
    world.asked.push(SourceId(1));
    check_mended(&mut world, "after too many pixels");
}

#[test]
fn parameter_sets_that_lie_or_are_missing() {
    let (own, other) = (key_frame(H264, CAMERA), key_frame(H264, PictureSize::new(1280, 720)));
    let lying = [nals(&other, &[7, 8]), nals(&own, &[5])].concat();
    let bare = nals(&own, &[5]);
    let half = nals(&own, &[7, 5]);
    for (what, unit) in [("a lying SPS", &lying), ("no parameter sets", &bare), ("no PPS", &half)] {
        // Once to somebody who knows sets of before, once to one who has just come.
        let mut world = two(H264);
        send(&mut world, H264, unit);
        world.run(2);
        world.asked.push(SourceId(1));
        check_mended(&mut world, what);
        world.leave(1);
        world.join(1, H264, CAMERA, GREEN);
        world.answers = false;
        for _ in 0..4 {
            send(&mut world, H264, unit);
        }
        let camera = world.senders.remove(&1).expect("it is there");
        let mut asked = false;
        for _ in 0..20 {
            world.run(1);
            asked |= world.asked.contains(&SourceId(1));
        }
        world.check(0, &LEFT[..1]);
        assert!(asked || what == "a lying SPS", "{what}: a key frame is asked for");
        world.senders.insert(1, camera);
        world.answers = true;
        world.asked.push(SourceId(1));
        check_mended(&mut world, what);
    }
}
