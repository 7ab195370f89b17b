//! One source's picture alone: in another codec or size, and nothing is composed.

use super::world::*;
use crate::video::{Layout, OutputConfig, OutputId, SourceId, VideoCommand};
use motet_codecs::video::{PictureSize, VideoCodecName};

fn alone(id: u32, source: u32) -> OutputConfig {
    OutputConfig { alone: Some(SourceId(source)), ..output(id, Layout::Auto) }
}

#[test]
fn one_source_is_encoded_in_every_codec_in_its_own_size() {
    let mut world = World::with(&[RED, GREEN]);
    for (id, name) in (0..).zip([VideoCodecName::H264, VideoCodecName::H265, VideoCodecName::Vp8]) {
        world.watch(OutputConfig { codec: codec(name), ..alone(id, 1) });
    }
    // Who gets the same shares the encoder.
    world.watch(alone(3, 1));
    world.run(10);
    for id in 0..4 {
        let receiver = &world.receivers[&id];
        assert_eq!((receiver.size(), receiver.pictures, receiver.failures), (Some(CAMERA), 10, 0));
        world.check(id, &[(0, 0, GREEN), (CAMERA.width - 8, CAMERA.height - 8, GREEN)]);
    }
    let stats = world.mixer.stats();
    assert_eq!((stats.transcoded, stats.encoded, stats.encodes_shared), (10, 30, 10));
    assert_eq!((stats.composed, stats.scaled), (0, 0), "what was decoded is encoded");
    assert_eq!((stats.decoded, stats.decodes_spared), (10, 10));
}

#[test]
fn what_is_too_large_gets_smaller_and_keeps_its_shape() {
    let mut world = World::with(&[RED]);
    let size = PictureSize::new(160, 160);
    world.watch(OutputConfig { size, ..alone(0, 0) });
    world.run(5);
    let found = world.receivers[&0].size().expect("a picture");
    assert_eq!((found.width, found.height), (160, (160 * CAMERA.height / CAMERA.width).next_multiple_of(2)));
    world.check(0, &[(0, 0, RED), (152, found.height - 8, RED)]);
    assert_eq!((world.mixer.stats().scaled, world.mixer.stats().composed), (5, 0));
}

#[test]
fn a_source_that_comes_too_often_is_encoded_as_often_as_asked_for() {
    let mut world = World::with(&[RED]);
    world.watch(OutputConfig { frames_per_s: 10, ..alone(0, 0) });
    world.run(30);
    assert!((10..=11).contains(&world.receivers[&0].pictures), "{}", world.receivers[&0].pictures);
}

#[test]
fn a_picture_that_stands_is_sent_again_to_who_asks_for_a_key_frame() {
    let mut world = World::with(&[RED]);
    world.watch(alone(0, 0));
    world.run(5);
    world.senders.clear();
    world.run(20);
    assert_eq!((world.receivers[&0].pictures, world.receivers[&0].key_frames), (5, 1));
    world.command(VideoCommand::RequestKeyFrame(OutputId(0)));
    world.run(20);
    assert_eq!((world.receivers[&0].pictures, world.receivers[&0].key_frames), (6, 2));
    assert_eq!(world.receivers[&0].failures, 0);
}

#[test]
fn a_stream_goes_on_from_a_canvas_to_one_source_and_back() {
    let mut world = World::with(&[RED, GREEN]);
    world.watch(output(0, Layout::Auto));
    world.run(5);
    world.command(VideoCommand::SetOutput(alone(0, 1)));
    world.run(5);
    assert_eq!(world.receivers[&0].size(), Some(CAMERA));
    world.check(0, &[(0, 0, GREEN)]);
    world.command(VideoCommand::SetOutput(output(0, Layout::Auto)));
    world.run(5);
    world.check(0, &[(20, 120, RED), (620, 250, GREEN)]);
    let receiver = &world.receivers[&0];
    assert_eq!((receiver.pictures, receiver.failures, receiver.key_frames), (15, 0, 3));
}

#[test]
fn who_is_gone_is_waited_for() {
    let mut world = World::with(&[RED]);
    world.watch(alone(0, 7));
    world.run(5);
    assert_eq!(world.receivers[&0].pictures, 0);
    world.join(7, VideoCodecName::Vp8, CAMERA, BLUE);
    world.run(5);
    world.check(0, &[(0, 0, BLUE)]);
    world.leave(7);
    world.run(3);
    assert_eq!(world.receivers[&0].failures, 0);
}

#[test]
fn what_a_source_sends_is_measured_and_next_to_nothing_is_decoded_for_it() {
    let mut world = World::with(&[RED]);
    let id = SourceId(0);
    world.run(45);
    assert_eq!((world.mixer.shape(id), world.mixer.stats().decoded), (None, 0), "nobody asks");
    world.command(VideoCommand::Measure { id, measured: true });
    world.asked = vec![id];
    world.run(75);
    let shape = world.mixer.shape(id).expect("it is measured");
    assert_eq!(shape.size, CAMERA);
    assert!((28.0..=32.0).contains(&shape.frames_per_s), "{shape:?}");
    assert!(shape.bitrate_bps > 1_000.0, "{shape:?}");
    assert_eq!(world.mixer.stats().decoded, 1, "the key frame");
    // Who is seen from then on begins with another one.
    world.watch(alone(0, 0));
    world.run(10);
    world.check(0, &[(0, 0, RED)]);
    world.command(VideoCommand::Measure { id, measured: false });
    assert_eq!(world.mixer.shape(id), None);
}
