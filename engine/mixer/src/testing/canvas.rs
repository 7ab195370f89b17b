//! Any packets to a canvas from one sender, beside a good one: whatever comes, the good one is seen as ever.

use super::cards::mean_at;
use crate::video::*;
use motet_codecs::testing::without_notes;
use motet_codecs::video::{
    FramePool, H264Library, PictureSize, VideoCodec, VideoCodecName, VideoEncoder, VideoEncoderSettings,
};
use motet_rtp::payload::{H264Mode, Packetizer};
use motet_rtp::{RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use std::sync::OnceLock;
use std::time::Duration;

const CANVAS: PictureSize = PictureSize::new(128, 72);
const CAMERA: PictureSize = PictureSize::new(64, 36);
const GOOD: (SourceId, u32) = (SourceId(0), 1);
const OTHER: (SourceId, u32) = (SourceId(1), 2);
const OUTPUT: OutputId = OutputId(0);
const COLOUR: [u8; 3] = [145, 54, 34];
/// Where the good one is seen, alone on the canvas or in its left half; 8 by 8 pixels.
const PLACES: [(u32, u32); 2] = [(8, 22), (44, 44)];
/// Pictures that one input may ask for: more only takes time.
const TICKS_MAX: u32 = 60;
/// The same of operations, each of which may be a picture of the largest size.
const OPERATIONS_MAX: usize = 200;
const TICK: Duration = Duration::from_millis(40);
const PAYLOAD_BYTES_MAX: usize = 1_100;
/// Pictures from one key frame of the good sender to the next.
const GROUP: usize = 5;

/// Reads operations from `bytes`, does them, and looks at each canvas.
///
/// The first byte chooses the layout. An operation is two bytes (which, and how) and, of packets, the length of a
/// payload in two more and the payload.
///
/// # Panics
/// When the mixer is wrong.
pub fn fuzz_canvas(bytes: &[u8]) {
    let Some((first, mut bytes)) = bytes.split_first() else { return };
    let mut run = Run::new(*first);
    run.tick();
    for _ in 0..OPERATIONS_MAX {
        let Some(([operation, how], rest)) = bytes.split_first_chunk() else { break };
        bytes = match operation {
            0..=15 => {
                run.change(*operation, *how);
                rest
            }
            _ => {
                let Some((length, rest)) = rest.split_first_chunk() else { break };
                let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
                let (payload, rest) = rest.split_at(length);
                run.send(*operation, *how, payload);
                rest
            }
        };
        if run.ticks >= TICKS_MAX {
            break;
        }
    }
    run.tick();
}

struct Run {
    mixer: VideoMixer,
    out: VideoOutbox,
    now: Time,
    ticks: u32,
    /// Of the good sender.
    sequence: u16,
    /// What the other one sends next; it is here.
    next: (u16, u32),
    is_here: bool,
    measured: bool,
    asked: Option<Time>,
    expected: u16,
}

impl Run {
    fn new(first: u8) -> Run {
        let layout = if first & 1 == 0 { Layout::Auto } else { Layout::Equal(2) };
        let mut run = Run {
            mixer: VideoMixer::new(),
            out: VideoOutbox::new(),
            now: Time::from_millis(5_000),
            ticks: 0,
            sequence: 65_530,
            next: (65_530, u32::MAX - 9_000),
            is_here: true,
            measured: false,
            asked: None,
            expected: 65_534,
        };
        run.command(VideoCommand::AddSource(source(GOOD)));
        run.command(VideoCommand::AddSource(source(OTHER)));
        run.command(VideoCommand::AddOutput(output(
            layout,
            if first & 2 == 0 { Fit::Letterbox } else { Fit::Crop },
        )));
        run
    }

    fn command(&mut self, command: VideoCommand) {
        self.mixer.handle_command(self.now, command).expect("a good command");
    }

    fn change(&mut self, operation: u8, how: u8) {
        match operation {
            0..=9 => {
                self.now += Duration::from_millis(u64::from(how % 64));
                self.tick();
            }
            10 | 11 => {
                let speaker = [None, Some(GOOD.0), Some(OTHER.0)][usize::from(how % 3)];
                let speaker = speaker.filter(|id| self.is_here || *id == GOOD.0);
                self.command(VideoCommand::SetSpeaker(speaker));
            }
            12 if self.is_here => {
                let look = SourceLook { off: how & 1 != 0, still: None };
                self.command(VideoCommand::SetLook { id: OTHER.0, look });
            }
            13 if self.is_here => {
                self.measured = !self.measured;
                self.command(VideoCommand::Measure { id: OTHER.0, measured: self.measured });
            }
            14 => self.command(VideoCommand::RequestKeyFrame(OUTPUT)),
            15 => {
                self.is_here = !self.is_here;
                (self.measured, self.asked) = (false, None);
                self.command(match self.is_here {
                    true => VideoCommand::AddSource(source(OTHER)),
                    false => VideoCommand::RemoveSource(OTHER.0),
                });
            }
            _ => {}
        }
    }

    /// A datagram of the other sender's, or a packet with this payload.
    fn send(&mut self, operation: u8, how: u8, payload: &[u8]) {
        if operation < 24 {
            // A relay lets nobody send what is another one's.
            if !RtpView::new(payload).is_ok_and(|packet| packet.ssrc() == GOOD.1) {
                self.mixer.handle_packet(self.now, payload);
            }
            return;
        }
        let (sequence, timestamp) = self.next;
        let step = if operation >= 250 { 3 } else { 1 };
        let packet = RtpBuilder::new(OTHER.1)
            .payload_type(96 + (how & 3))
            .marker(how & 4 != 0)
            .sequence(WireSeq(sequence))
            .timestamp(WireTimestamp(timestamp))
            .payload(payload)
            .to_vec();
        let ticks = if how & 4 != 0 { 3_600 } else { 0 };
        self.next = (sequence.wrapping_add(step), timestamp.wrapping_add(ticks));
        self.mixer.handle_packet(self.now, &packet);
    }

    /// The good one's next picture, and the canvas's.
    fn tick(&mut self) {
        let picture = &camera()[self.ticks as usize % GROUP];
        for (marker, payload) in picture {
            let packet = RtpBuilder::new(GOOD.1)
                .payload_type(96)
                .marker(*marker)
                .sequence(WireSeq(self.sequence))
                .timestamp(WireTimestamp(self.ticks * 3_600))
                .payload(payload);
            self.sequence = self.sequence.wrapping_add(1);
            self.mixer.handle_packet(self.now, &packet.to_vec());
        }
        self.ticks += 1;
        self.mixer.handle_timeout(self.now, &mut self.out);
        self.check();
        self.now += TICK;
    }

    fn check(&mut self) {
        let picture = self.mixer.picture(self.now, OUTPUT).expect("there is a canvas");
        assert_eq!(picture.size(), CANVAS);
        for (left, top) in PLACES {
            let found = mean_at(&picture, left, top).expect("within the canvas");
            let near = found.iter().zip(COLOUR).all(|(found, good)| found.abs_diff(good) <= 10);
            assert!(near, "the good sender at {left}, {top}: {found:?}");
        }
        for wanted in self.out.key_frames_wanted() {
            assert_eq!(*wanted, OTHER.0, "nothing is missing of the good sender");
            let since = self.asked.map(|asked| self.now.since(asked));
            assert!(
                since.is_none_or(|since| since >= Duration::from_millis(500)),
                "asked again after {since:?}"
            );
            self.asked = Some(self.now);
        }
        for packet in self.out.packets() {
            assert!(packet.output == OUTPUT && (1..=1_500).contains(&packet.payload.len()));
            assert_eq!(packet.header[2..4], self.expected.to_be_bytes());
            self.expected = self.expected.wrapping_add(1);
        }
    }
}

fn codec(name: VideoCodecName) -> VideoCodec {
    VideoCodec { name, fmtp: "packetization-mode=1".to_owned() }
}

fn source((id, ssrc): (SourceId, u32)) -> SourceConfig {
    let codecs = (96..).zip(VideoCodecName::ALL.map(codec)).collect();
    SourceConfig {
        id,
        ssrc,
        codecs,
        name: String::new(),
        look: SourceLook::default(),
        content: false,
        layer: None,
    }
}

fn output(layout: Layout, fit: Fit) -> OutputConfig {
    OutputConfig {
        id: OUTPUT,
        ssrc: 0x1000,
        payload_type: 97,
        codec: codec(VideoCodecName::H264),
        h264: H264Library::X264,
        bitrate_bps: 200_000,
        frames_per_s: 25,
        size: CANVAS,
        layout,
        fit,
        subjects: Vec::new(),
        pinned: None,
        without: None,
        names: false,
        still: None,
        background: BACKGROUND,
        texts: Vec::new(),
        alone: None,
        sequence: 65_534,
        timestamp: 0,
    }
}

/// A payload, and its marker.
type Marked = (bool, Vec<u8>);

/// Payloads of some pictures, the first of which is a key frame.
fn camera() -> &'static [Vec<Marked>] {
    static CAMERA_PAYLOADS: OnceLock<Vec<Vec<Marked>>> = OnceLock::new();
    CAMERA_PAYLOADS.get_or_init(|| {
        let mut encoder = encoder(VideoCodecName::H264);
        (0..GROUP)
            .map(|number| payloads(VideoCodecName::H264, &mut *encoder, (CAMERA, COLOUR), number))
            .collect()
    })
}

fn encoder(name: VideoCodecName) -> Box<dyn VideoEncoder> {
    let settings = VideoEncoderSettings { bitrate_bps: 100_000, ..VideoEncoderSettings::default() };
    codec(name).encoder(&settings).expect("an encoder")
}

/// A picture of one colour in which something small moves.
fn payloads(
    name: VideoCodecName,
    encoder: &mut dyn VideoEncoder,
    (size, colour): (PictureSize, [u8; 3]),
    number: usize,
) -> Vec<Marked> {
    let mut frame = FramePool::new(1).take(size);
    frame.fill(colour);
    frame.plane_mut(0).area((2 * number, size.height as usize / 2), (2, 2)).for_each(|line| line.fill(60));
    let mut unit = Vec::new();
    encoder.encode(&frame.picture(), number == 0, &mut unit).expect("a picture");
    let unit = without_notes(name, &unit);
    let packetizer = match name {
        VideoCodecName::H264 => Packetizer::h264(&unit, H264Mode::NonInterleaved, PAYLOAD_BYTES_MAX),
        VideoCodecName::H265 => Packetizer::h265(&unit, PAYLOAD_BYTES_MAX),
        _ => Packetizer::vp8(&unit, number as u16, PAYLOAD_BYTES_MAX),
    };
    // An encoder may leave a picture out.
    let Ok(mut packetizer) = packetizer else { return Vec::new() };
    let (mut payloads, mut room) = (Vec::new(), vec![0; PAYLOAD_BYTES_MAX]);
    while let Some(payload) = packetizer.next_payload(&mut room) {
        payloads.push((payload.marker, room[..payload.bytes].to_vec()));
    }
    payloads
}

/// Inputs for the fuzz target: the other one sends good pictures of every codec and several sizes, comes and goes.
///
/// # Panics
/// When an encoder fails.
pub fn canvas_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let sizes =
        [(64, 36), (32, 32), (16, 48), (320, 180)].map(|(width, height)| PictureSize::new(width, height));
    for (payload_type, name) in (0_u8..).zip(VideoCodecName::ALL) {
        for (index, size) in sizes.into_iter().enumerate() {
            let (mut encoder, mut seed) = (encoder(name), vec![index as u8]);
            for number in 0..3 {
                for (marker, payload) in payloads(name, &mut *encoder, (size, [41, 240, 110]), number) {
                    let length = (payload.len() as u16).to_be_bytes();
                    seed.extend([100, payload_type | if marker { 4 } else { 0 }, length[0], length[1]]);
                    seed.extend(payload);
                }
                // A picture, and each time something else.
                seed.extend([0, 0, 10 + index as u8 + number as u8, number as u8]);
            }
            seeds.push(seed);
        }
    }
    seeds.push([vec![0], [15, 0, 0, 0].repeat(6)].concat());
    seeds
}
