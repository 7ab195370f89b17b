//! Position, size and colour of cells.

use super::world::*;
use crate::video::{Fit, Layout, OutputConfig, SourceId, VideoCommand};
use motet_codecs::video::{H264Library, PictureSize, VideoCodec, VideoCodecName};

#[test]
fn cameras_of_every_codec_come_out_in_every_codec() {
    let mut world = World::new();
    let names = [VideoCodecName::H264, VideoCodecName::H265, VideoCodecName::Vp8];
    for (id, (name, colour)) in (0..).zip(names.into_iter().zip([RED, GREEN, BLUE])) {
        world.join(id, name, CAMERA, colour);
        world.watch(OutputConfig { codec: codec(name), ..output(id, Layout::Auto) });
    }
    let openh264 = OutputConfig { h264: H264Library::OpenH264, ..output(3, Layout::Auto) };
    world.watch(openh264);
    world.run(12);
    for id in 0..4 {
        let receiver = &world.receivers[&id];
        assert!(receiver.pictures >= 10 && receiver.failures == 0, "{id}: {}", receiver.pictures);
        assert_eq!(receiver.size(), Some(CANVAS));
        // Two above, one in the middle below.
        let cells = [(40, 40, RED), (600, 20, GREEN), (200, 340, BLUE), (440, 200, BLUE)];
        world.check(id, &cells);
        world.check(id, &[(20, 200, BACKGROUND), (620, 340, BACKGROUND)]);
    }
}

#[test]
fn a_picture_of_another_shape_gets_bars_or_is_cut() {
    let mut world = World::new();
    world.join(0, VideoCodecName::H264, PictureSize::new(240, 180), RED);
    world.watch(output(0, Layout::Auto));
    world.watch(OutputConfig { fit: Fit::Crop, ..output(1, Layout::Auto) });
    world.run(4);
    // 480 of 640 columns.
    world.check(0, &[(2, 100, BACKGROUND), (66, 100, BACKGROUND), (90, 100, RED), (540, 100, RED)]);
    world.check(0, &[(568, 100, BACKGROUND), (300, 4, RED), (300, 350, RED)]);
    world.check(1, &[(2, 100, RED), (630, 2, RED), (2, 350, RED), (630, 350, RED)]);
    let mut world = World::new();
    world.join(0, VideoCodecName::Vp8, PictureSize::new(640, 160), BLUE);
    world.watch(output(0, Layout::Auto));
    world.run(4);
    world.check(0, &[(300, 40, BACKGROUND), (300, 310, BACKGROUND), (4, 120, BLUE), (620, 240, BLUE)]);
}

#[test]
fn a_source_may_change_its_size() {
    let mut world = World::with(&[RED, GREEN]);
    world.watch(output(0, Layout::Auto));
    world.run(4);
    let places = [(20, 120, RED), (290, 250, RED), (340, 120, GREEN), (620, 250, GREEN)];
    world.check(0, &places);
    let sequence = world.senders[&0].sequence;
    let larger = PictureSize::new(1280, 720);
    let mut other =
        crate::testing::CardSender::new(1, VideoCodecName::H264, larger, YELLOW).expect("an encoder");
    other.sequence = sequence;
    world.senders.insert(0, other);
    world.run(4);
    world.check(0, &[(20, 120, YELLOW), (290, 250, YELLOW), (340, 120, GREEN)]);
}

#[test]
fn layouts_put_the_speaker_into_the_large_cell() {
    for (text, large, small) in [
        ("1+5", [200, 100], [500, 40]),
        ("1+7", [200, 100], [540, 20]),
        ("1+12", [300, 150], [30, 30]),
        ("pip", [100, 100], [540, 280]),
        ("custom:0,0,50,50;50,50,50,50", [100, 60], [500, 300]),
    ] {
        let layout: Layout = text.parse().expect("a layout");
        let mut world = World::with(&[RED, BLUE]);
        world.watch(output(0, layout));
        world.run(3);
        let at = |place: [u32; 2], colour| (place[0], place[1], colour);
        world.check(0, &[at(large, RED), at(small, BLUE)]);
        world.command(VideoCommand::SetSpeaker(Some(SourceId(1))));
        world.run(3);
        world.check(0, &[at(large, BLUE), at(small, RED)]);
        assert_eq!(world.receivers[&0].failures, 0, "{text}");
    }
}

#[test]
fn a_border_moves_with_the_speaker() {
    let mut world = World::new();
    for (id, colour) in [(0, RED), (1, BLUE)] {
        world.join(id, VideoCodecName::H264, PictureSize::new(640, 360), colour);
    }
    let size = PictureSize::new(1920, 1080);
    world.watch(OutputConfig { size, ..output(0, Layout::Equal(4)) });
    world.command(VideoCommand::SetSpeaker(Some(SourceId(0))));
    world.run(4);
    // Eight lines thick.
    world.check(0, &[(400, 0, BORDER), (400, 532, BORDER), (0, 300, BORDER), (952, 300, BORDER)]);
    world.check(0, &[(1400, 0, BLUE), (400, 100, RED), (1400, 100, BLUE)]);
    world.command(VideoCommand::SetSpeaker(Some(SourceId(1))));
    world.run(4);
    world.check(0, &[(400, 0, RED), (0, 300, RED), (1400, 0, BORDER), (1912, 300, BORDER)]);
}

#[test]
fn single_nal_mode_is_kept_to() {
    let mut world = World::with(&[RED, GREEN]);
    let codec = VideoCodec { name: VideoCodecName::H264, fmtp: "profile-level-id=42e01f".to_owned() };
    world.watch(OutputConfig { codec: codec.clone(), ..output(0, Layout::Auto) });
    world.watch(OutputConfig { codec, h264: H264Library::OpenH264, ..output(1, Layout::Auto) });
    world.run(6);
    for id in 0..2 {
        assert!(world.receivers[&id].pictures >= 5 && world.receivers[&id].failures == 0);
        world.check(id, &[(20, 120, RED), (620, 250, GREEN)]);
    }
    assert_eq!(world.mixer.stats().skipped, 0);
}
