//! What is seen of who sends no picture, and text over all.

use super::names::font;
use super::world::*;
use crate::video::*;
use motet_codecs::video::PictureSize;
use std::sync::Arc;

const WHITE: [u8; 3] = [235, 128, 128];
/// Of 0x0000ff and 0x000080.
const PURE_BLUE: [u8; 3] = [41, 240, 110];
const NAVY: [u8; 3] = [28, 184, 119];

/// All of one colour, 40 by 30.
fn still(rgba: [u8; 4]) -> Arc<Still> {
    let size = PictureSize::new(40, 30);
    Arc::new(Still::from_rgba(size, &rgba.repeat(1200)).expect("a still"))
}

#[test]
fn who_is_off_or_sends_nothing_is_shown_by_a_still() {
    let mut world = World::with(&[RED, GREEN]);
    let logo = Some(still([255, 255, 255, 255]));
    world.watch(OutputConfig { still: logo, ..output(0, Layout::Auto) });
    world.watch(output(1, Layout::Auto));
    world.run(3);
    world.check(0, &[(20, 120, RED), (340, 120, GREEN)]);
    let decoded = world.mixer.stats().decoded;
    world.command(VideoCommand::SetLook { id: SourceId(0), look: SourceLook { off: true, still: None } });
    world.run(3);
    // 4 by 3 in a cell of 16 by 9: in the middle, between bars.
    let still_seen = [(160, 180, WHITE), (20, 120, BACKGROUND), (340, 120, GREEN)];
    world.check(0, &still_seen);
    world.check(1, &[(160, 180, BACKGROUND), (340, 120, GREEN)]);
    assert_eq!(world.mixer.stats().decoded - decoded, 3, "who is off is not decoded");
    let look = SourceLook { off: true, still: Some(still([0, 0, 255, 255])) };
    world.command(VideoCommand::SetLook { id: SourceId(0), look });
    world.run(2);
    for receiver in [0, 1] {
        world.check(receiver, &[(160, 180, PURE_BLUE), (20, 120, BACKGROUND)]);
    }
    world.command(VideoCommand::SetLook { id: SourceId(0), look: SourceLook::default() });
    world.run(3);
    world.check(0, &[(20, 120, RED), (160, 180, RED)]);
    // Three seconds without a packet, and then it sends again.
    let sender = world.senders.remove(&0).expect("it sends");
    world.run(60);
    world.check(0, &[(160, 180, RED)]);
    world.run(40);
    world.check(0, &still_seen);
    world.senders.insert(0, sender);
    world.run(5);
    world.check(0, &[(160, 180, RED)]);
}

#[test]
fn what_is_transparent_and_what_is_no_still() {
    let mut world = World::with(&[RED]);
    let still = Some(still([255, 255, 255, 0]));
    let look = SourceLook { off: true, still };
    world.command(VideoCommand::SetLook { id: SourceId(0), look });
    world.watch(OutputConfig { background: colour_of_rgb(0x000080), ..output(0, Layout::Auto) });
    world.run(3);
    world.check(0, &[(320, 180, BACKGROUND), (20, 20, NAVY)]);
    let size = PictureSize::new(2, 2);
    assert_eq!(Still::from_rgba(size, &[0; 15]), Err(StillError::Bytes { found: 15, wanted: 16 }));
    for size in [PictureSize::new(0, 2), PictureSize::new(2, 4097)] {
        assert_eq!(Still::from_rgba(size, &[]), Err(StillError::Size(size)));
    }
}

fn line(text: &str, bottom: bool, speed_percent: u8) -> CanvasText {
    let (colour, ground) = (WHITE, Some(NAVY));
    CanvasText { text: text.to_owned(), bottom, height_percent: 10, speed_percent, colour, ground }
}

/// Bright pixels of the left and the right half of these lines.
fn bright(world: &World, receiver: u32, lines: std::ops::Range<usize>) -> [usize; 2] {
    let picture = world.receivers[&receiver].picture().expect("a picture");
    let luma = picture.planes()[0];
    let count = |from: usize, to: usize| {
        lines.clone().map(|y| luma.line(y)[from..to].iter().filter(|value| **value > 150).count()).sum()
    };
    [count(0, 320), count(320, 640)]
}

#[test]
fn a_banner_stands_and_a_caption_moves_over_all() {
    let mut world = World::with(&[RED]);
    world.mixer = VideoMixer::with_font(Some(font()));
    world.senders.clear();
    world.join(0, motet_codecs::video::VideoCodecName::H264, CAMERA, RED);
    let texts = vec![line("季度会议", false, 0), line("Welcome to all of you", true, 50)];
    for id in 0..2 {
        world.watch(OutputConfig {
            texts: texts.clone(),
            bitrate_bps: 8_000_000,
            ..output(id, Layout::Auto)
        });
    }
    world.run(3);
    // A tenth of 360 lines each, on their ground; between them all is as it was.
    world.check(0, &[(20, 16, NAVY), (20, 340, NAVY), (20, 60, RED), (20, 300, RED)]);
    let banner = bright(&world, 0, 0..36);
    assert!(banner[0] > 100 && banner[1] > 100, "in the middle: {banner:?}");
    assert_eq!(bright(&world, 0, 324..360)[0], 0, "it comes from the right");
    world.run(30);
    let caption = bright(&world, 0, 324..360);
    assert!(caption[1] > 100, "half of it is there: {caption:?}");
    world.run(25);
    let caption = bright(&world, 0, 324..360);
    assert!(caption[0] > 100, "it has gone on: {caption:?}");
    assert!(bright(&world, 0, 0..36).iter().zip(banner).all(|(now, then)| now.abs_diff(then) < then / 5));
    let stats = world.mixer.stats();
    assert_eq!((stats.composed, stats.encoded, stats.encodes_shared), (58, 58, 58), "once for both");
    // Another text in the same stream, and none.
    let texts = vec![line("", false, 0)];
    world.command(VideoCommand::SetOutput(OutputConfig { texts, ..output(0, Layout::Auto) }));
    world.run(3);
    world.check(0, &[(320, 16, NAVY), (20, 340, RED)]);
    world.command(VideoCommand::SetOutput(output(0, Layout::Auto)));
    world.run(3);
    world.check(0, &[(320, 16, RED), (20, 340, RED)]);
    assert_eq!(world.receivers[&0].failures, 0);
}
