//! Senders, a mixer and receivers in virtual time, 30 pictures a second.

use crate::testing::{CardReceiver, CardSender};
pub use crate::video::BACKGROUND;
use crate::video::*;
use motet_codecs::video::{H264Library, PictureSize, VideoCodec, VideoCodecName};
use motet_rtp::Time;
use std::collections::BTreeMap;
use std::time::Duration;

pub const RED: [u8; 3] = [81, 90, 240];
pub const GREEN: [u8; 3] = [145, 54, 34];
pub const BLUE: [u8; 3] = [41, 240, 110];
pub const YELLOW: [u8; 3] = [210, 16, 146];
pub const BORDER: [u8; 3] = [150, 44, 21];
pub const CANVAS: PictureSize = PictureSize::new(640, 360);
pub const CAMERA: PictureSize = PictureSize::new(320, 180);

/// Something that is done to a packet, which has a count.
pub type Harm = fn(u32, &mut Vec<u8>);

pub struct World {
    pub now: Time,
    pub mixer: VideoMixer,
    pub senders: BTreeMap<u32, CardSender>,
    pub receivers: BTreeMap<u32, CardReceiver>,
    pub asked: Vec<SourceId>,
    out: VideoOutbox,
    /// Packets that are lost, by their count.
    pub lose: fn(u32) -> bool,
    pub packets: u32,
    /// What is done to packets of a sender, by their count.
    pub harm: Option<(u32, Harm)>,
    /// Senders answer when asked for key frames.
    pub answers: bool,
}

pub fn codec(name: VideoCodecName) -> VideoCodec {
    VideoCodec { name, fmtp: "packetization-mode=1".to_owned() }
}

pub fn output(id: u32, layout: Layout) -> OutputConfig {
    OutputConfig {
        id: OutputId(id),
        ssrc: 0x1000 + id,
        payload_type: 97,
        codec: codec(VideoCodecName::H264),
        h264: H264Library::X264,
        bitrate_bps: 4_000_000,
        frames_per_s: 30,
        size: CANVAS,
        layout,
        fit: Fit::Letterbox,
        subjects: Vec::new(),
        pinned: None,
        without: None,
        names: false,
        still: None,
        background: crate::video::BACKGROUND,
        texts: Vec::new(),
        alone: None,
        sequence: 65_534,
        timestamp: 0,
    }
}

impl World {
    pub fn new() -> World {
        World {
            now: Time::from_millis(10_000),
            mixer: VideoMixer::new(),
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
            asked: Vec::new(),
            out: VideoOutbox::new(),
            lose: |_| false,
            packets: 0,
            harm: None,
            answers: true,
        }
    }

    /// Senders with these colours, numbered from 0, H.264.
    pub fn with(colours: &[[u8; 3]]) -> World {
        let mut world = World::new();
        for (id, colour) in (0..).zip(colours) {
            world.join(id, VideoCodecName::H264, CAMERA, *colour);
        }
        world
    }

    pub fn command(&mut self, command: VideoCommand) {
        self.mixer.handle_command(self.now, command).expect("a good command");
    }

    pub fn join(&mut self, id: u32, name: VideoCodecName, size: PictureSize, colour: [u8; 3]) {
        self.join_as(id, (name, size, colour), None);
    }

    /// Another one sends a smaller picture too, of another colour, so that it can be told apart.
    pub fn join_layer(&mut self, id: u32, of: u32, size: PictureSize, colour: [u8; 3]) {
        let layer = Layer { of: SourceId(of), size };
        self.join_as(id, (VideoCodecName::H264, size, colour), Some(layer));
    }

    fn join_as(
        &mut self,
        id: u32,
        (name, size, colour): (VideoCodecName, PictureSize, [u8; 3]),
        layer: Option<Layer>,
    ) {
        let sender = CardSender::new(id + 1, name, size, colour).expect("an encoder");
        self.senders.insert(id, sender);
        let codecs = vec![(96, codec(name))];
        self.command(VideoCommand::AddSource(SourceConfig {
            id: SourceId(id),
            ssrc: id + 1,
            codecs,
            name: String::new(),
            look: SourceLook::default(),
            content: false,
            layer,
        }));
    }

    pub fn leave(&mut self, id: u32) {
        self.senders.remove(&id);
        self.command(VideoCommand::RemoveSource(SourceId(id)));
    }

    pub fn watch(&mut self, config: OutputConfig) {
        let receiver = CardReceiver::new(config.codec.name).expect("a decoder");
        self.receivers.insert(config.id.0, receiver);
        self.command(VideoCommand::AddOutput(config));
    }

    /// So many pictures of everybody.
    pub fn run(&mut self, pictures: u32) {
        for _ in 0..pictures {
            let asked = std::mem::take(&mut self.asked);
            for (id, sender) in &mut self.senders {
                let key = self.answers && asked.contains(&SourceId(*id));
                for mut packet in sender.next_picture(key).expect("an encoder") {
                    self.packets += 1;
                    if let Some((_, harm)) = self.harm.filter(|(harmed, _)| harmed == id) {
                        harm(self.packets, &mut packet);
                    }
                    if !(self.lose)(self.packets) {
                        self.mixer.handle_packet(self.now, &packet);
                    }
                }
            }
            self.mixer.handle_timeout(self.now, &mut self.out);
            self.asked.extend_from_slice(self.out.key_frames_wanted());
            for packet in self.out.packets() {
                let datagram = [packet.header.as_slice(), packet.payload].concat();
                let receiver = self.receivers.get_mut(&packet.output.0).expect("it watches");
                receiver.handle_packet(self.now, &datagram);
            }
            self.now += Duration::from_nanos(33_333_334);
        }
    }

    /// The colours that a receiver sees in these places.
    pub fn check(&self, receiver: u32, places: &[(u32, u32, [u8; 3])]) {
        let receiver = &self.receivers[&receiver];
        for (left, top, expected) in places {
            let found = receiver.colour_at(*left, *top).expect("a picture");
            let near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(*expected) <= 10);
            assert!(near, "at {left}, {top}: {found:?}, and {expected:?} was expected");
        }
    }
}
