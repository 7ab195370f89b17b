//! Who sends several sizes at once is seen in the one that a cell needs, and only that is decoded.

use super::world::*;
use crate::video::{Layout, OutputConfig, SourceId, SourceLook, Subject, VideoCommand, VideoStats};
use motet_codecs::video::PictureSize;

/// 640 by 360, 320 by 180 and 160 by 90, each of another colour; and somebody else, who sends one size.
fn world() -> World {
    let mut world = World::new();
    world.join(0, VIDEO, CANVAS, RED);
    world.join_layer(10, 0, CAMERA, GREEN);
    world.join_layer(11, 0, SMALL, BLUE);
    world.join(1, VIDEO, CAMERA, YELLOW);
    world
}

const VIDEO: motet_codecs::video::VideoCodecName = motet_codecs::video::VideoCodecName::H264;
const SMALL: PictureSize = PictureSize::new(160, 90);

/// Pictures decoded in all, of smaller layers, and not decoded.
fn counted(stats: &VideoStats) -> (u64, u64, u64) {
    (stats.decoded, stats.decoded_layers, stats.decodes_spared)
}

#[test]
fn a_cell_shows_the_smallest_layer_that_fills_it_and_no_other_is_decoded() {
    for (layout, place, colour, layers) in [
        (Layout::Equal(4), (20, 20), GREEN, 10),
        (Layout::Equal(16), (20, 20), BLUE, 10),
        // A cell of 214 by 120.
        (Layout::Equal(9), (20, 20), GREEN, 10),
        (Layout::Equal(1), (20, 20), RED, 0),
    ] {
        let mut world = world();
        world.watch(OutputConfig { pinned: None, ..output(0, layout.clone()) });
        world.run(10);
        world.check(0, &[(place.0, place.1, colour)]);
        let others = if layout == Layout::Equal(1) { 0 } else { 10 };
        let spared = 40 - 10 - others;
        assert_eq!(counted(world.mixer.stats()), (10 + others, layers, spared), "{layout}");
    }
}

#[test]
fn another_layout_shows_another_layer_from_its_key_frame_on() {
    let mut world = world();
    world.watch(output(0, Layout::Equal(4)));
    world.run(10);
    world.check(0, &[(20, 20, GREEN), (340, 20, YELLOW)]);
    let to = |layout| VideoCommand::SetLayout { id: super::super::OutputId(0), layout };
    world.command(to(Layout::Equal(1)));
    world.answers = false;
    world.run(5);
    // Until the large one begins anew, what was seen goes on.
    world.check(0, &[(20, 20, GREEN)]);
    world.answers = true;
    world.run(20);
    world.check(0, &[(20, 20, RED)]);
    let before = *world.mixer.stats();
    world.run(10);
    let after = *world.mixer.stats();
    assert_eq!(after.decoded_layers, before.decoded_layers, "smaller ones are not decoded any more");
    assert_eq!(after.decoded - before.decoded, 10);
    world.command(to(Layout::Equal(16)));
    world.run(20);
    world.check(0, &[(20, 20, BLUE), (180, 20, YELLOW)]);
    assert_eq!(world.receivers[&0].failures, 0);
}

/// Two canvases need two sizes: both are decoded, each is seen in its own.
#[test]
fn canvases_have_layers_of_their_own() {
    let mut world = world();
    world.watch(output(0, Layout::Equal(1)));
    world.watch(output(1, Layout::Equal(16)));
    world.run(10);
    world.check(0, &[(20, 20, RED)]);
    world.check(1, &[(20, 20, BLUE)]);
    assert_eq!(counted(world.mixer.stats()), (30, 10, 10));
}

/// Senders leave layers out that their network cannot carry.
#[test]
fn a_layer_that_does_not_come_is_not_waited_for() {
    let mut world = world();
    world.watch(output(0, Layout::Equal(4)));
    world.run(10);
    world.check(0, &[(20, 20, GREEN)]);
    world.senders.remove(&10);
    world.run(100);
    world.check(0, &[(20, 20, RED)]);
    world.senders.remove(&0);
    world.run(100);
    world.check(0, &[(20, 20, BLUE)]);
    world.senders.remove(&11);
    world.run(100);
    world.check(0, &[(20, 20, BACKGROUND), (340, 20, YELLOW)]);
}

#[test]
fn layers_are_nobody_by_themselves() {
    let mut world = world();
    let own = |id| Subject::Source(SourceId(id));
    world.watch(OutputConfig { subjects: vec![own(1), own(10)], ..output(0, Layout::Auto) });
    world.run(10);
    // Two people, and no cell shows a layer as if it were somebody.
    world.check(0, &[(20, 120, YELLOW), (340, 120, BACKGROUND)]);
    let look = SourceLook { off: true, ..SourceLook::default() };
    world.command(VideoCommand::SetLook { id: SourceId(0), look });
    let before = *world.mixer.stats();
    world.run(10);
    let after = *world.mixer.stats();
    assert_eq!(after.decoded - before.decoded, 10, "who is off is not decoded in any size");
}

#[test]
fn who_is_seen_alone_is_seen_in_the_layer_that_the_output_needs() {
    let mut world = world();
    world.watch(OutputConfig { size: CAMERA, alone: Some(SourceId(0)), ..output(0, Layout::Auto) });
    world.run(10);
    world.check(0, &[(20, 20, GREEN)]);
    assert_eq!(world.receivers[&0].size(), Some(CAMERA));
    world.leave(10);
    world.run(30);
    world.check(0, &[(20, 20, RED)]);
    assert_eq!((world.receivers[&0].size(), world.receivers[&0].failures), (Some(CAMERA), 0));
}
