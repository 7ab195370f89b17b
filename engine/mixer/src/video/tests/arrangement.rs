//! Layouts, and who is where.

use super::world::*;
use crate::testing::fuzz_layout;
use crate::video::{Layout, LayoutError, OutputConfig, OutputId, Part, PixelRect, SourceId, VideoCommand};
use motet_codecs::video::{PictureSize, VideoCodecName};
use proptest::prelude::*;

fn rects(layout: &str, people: usize) -> Vec<[u32; 4]> {
    let layout: Layout = layout.parse().expect("a layout");
    let rect = |rect: PixelRect| [rect.left, rect.top, rect.width, rect.height];
    layout.rects(PictureSize::new(1200, 720), people).into_iter().map(rect).collect()
}

#[test]
fn cells_are_where_they_belong() {
    assert_eq!(rects("auto", 0), [[0, 0, 1200, 720]]);
    assert_eq!(rects("auto", 2), [[0, 180, 600, 360], [600, 180, 600, 360]]);
    assert_eq!(rects("auto", 3), [[0, 0, 600, 360], [600, 0, 600, 360], [300, 360, 600, 360]]);
    assert_eq!(rects("equal:25", 1)[24], [960, 576, 240, 144]);
    assert_eq!(rects("auto", 99).len(), 25);
    assert_eq!(rects("1+5", 6)[..2], [[0, 0, 800, 480], [800, 0, 400, 240]]);
    assert_eq!(rects("1+7", 8)[..2], [[0, 0, 900, 540], [900, 0, 300, 180]]);
    assert_eq!(rects("1+12", 13)[..2], [[300, 180, 600, 360], [0, 0, 300, 180]]);
    assert_eq!(rects("2+8", 10)[..3], [[0, 0, 600, 360], [600, 0, 600, 360], [0, 360, 300, 180]]);
    for (layout, cells) in [("1+5", 6), ("1+7", 8), ("1+12", 13), ("2+8", 10), ("pip", 2), ("equal:7", 7)] {
        assert_eq!(rects(layout, 1).len(), cells);
    }
    assert_eq!(rects("custom:0,0,33.33,100;50,12.5,50,50", 2), [[0, 0, 398, 720], [600, 90, 600, 360]]);
}

#[test]
fn what_is_no_layout_says_why() {
    let error = |text: &str| text.parse::<Layout>().expect_err("refused");
    let cell = |cell, text: &str| LayoutError::Cell { cell, text: text.to_owned() };
    assert_eq!(error("1+6"), LayoutError::Unknown("1+6".to_owned()));
    assert_eq!(error("equal:26"), LayoutError::EqualCount("26".to_owned()));
    assert_eq!(error("equal:0"), LayoutError::EqualCount("0".to_owned()));
    assert_eq!(error("custom:"), cell(1, ""));
    assert_eq!(error("custom:0,0,50,50;1,2,3"), cell(2, "1,2,3"));
    assert_eq!(error("custom:0,0,50,-1"), cell(1, "0,0,50,-1"));
    assert_eq!(error("custom:0,0,50,1.234"), cell(1, "0,0,50,1.234"));
    assert_eq!(error("custom:60,0,50,50"), LayoutError::OutOfPicture { cell: 1 });
    assert_eq!(error("custom:0,0,999,50"), LayoutError::OutOfPicture { cell: 1 });
    assert_eq!(error("custom:0,0,50,1.99"), LayoutError::TooSmall { cell: 1 });
    assert_eq!(error("custom:0,0,50,50;50,0,50,50;49,49,9,9"), LayoutError::Overlap { first: 1, second: 3 });
    assert_eq!(error(&format!("custom:{}", ";".repeat(26))), LayoutError::CellCount(27));
    assert_eq!(Layout::custom(Vec::new()), Err(LayoutError::CellCount(0)));
    assert!(error(&"x".repeat(1000)).to_string().len() < 200, "messages stay short");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(auto|equal:|1[+]|2[+]8|pip|custom:)?[0-9,.;: ]{0,60}") {
        fuzz_layout(text.as_bytes());
    }

    /// Overlap is found as a model of hundredths of the canvas finds it.
    #[test]
    fn overlap_is_found(sides in prop::collection::vec((0_u16..50, 0_u16..50, 2_u16..50, 2_u16..50), 1..5)) {
        let parts: Vec<Part> = sides
            .iter()
            .map(|(left, top, width, height)| Part {
                left: left * 100,
                top: top * 100,
                width: width * 100,
                height: height * 100,
            })
            .collect();
        let mut covered = vec![false; 100 * 100];
        let mut twice = false;
        for (left, top, width, height) in &sides {
            for y in *top..top + height {
                for x in *left..left + width {
                    let place = usize::from(y) * 100 + usize::from(x);
                    twice |= std::mem::replace(&mut covered[place], true);
                }
            }
        }
        let outcome = Layout::custom(parts);
        prop_assert_eq!(matches!(outcome, Err(LayoutError::Overlap { .. })), twice);
        if let Ok(layout) = outcome {
            fuzz_layout(layout.to_string().as_bytes());
        }
    }
}

#[test]
fn people_keep_their_cells() {
    let mut world = World::with(&[RED, GREEN, BLUE]);
    world.watch(output(0, Layout::Equal(4)));
    world.run(3);
    let (first, second, third, fourth) = ((20, 20), (340, 20), (20, 200), (340, 200));
    let at = |place: (u32, u32), colour| (place.0, place.1, colour);
    world.check(0, &[at(first, RED), at(second, GREEN), at(third, BLUE), at(fourth, BACKGROUND)]);
    world.leave(0);
    world.run(3);
    world.check(0, &[at(first, BACKGROUND), at(second, GREEN), at(third, BLUE)]);
    world.join(7, VideoCodecName::Vp8, CAMERA, YELLOW);
    world.run(3);
    world.check(0, &[at(first, YELLOW), at(second, GREEN), at(third, BLUE), at(fourth, BACKGROUND)]);
    assert_eq!(world.receivers[&0].failures, 0);
}

#[test]
fn a_layout_changes_while_it_runs() {
    let mut world = World::with(&[RED, GREEN, BLUE]);
    world.watch(output(0, Layout::Auto));
    world.watch(output(1, Layout::Auto));
    world.run(5);
    let layout: Layout = "custom:75,0,25,25;0,0,50,50;0,50,50,50".parse().expect("a layout");
    world.command(VideoCommand::SetLayout { id: OutputId(0), layout });
    world.run(5);
    world.check(0, &[(500, 30, RED), (20, 20, GREEN), (20, 200, BLUE), (500, 250, BACKGROUND)]);
    world.check(1, &[(20, 20, RED), (600, 20, GREEN), (200, 340, BLUE)]);
    // The stream went on: numbers without a gap, and a key frame.
    let receiver = &world.receivers[&0];
    assert_eq!((receiver.pictures, receiver.failures, receiver.key_frames), (10, 0, 2));
    assert_eq!(world.receivers[&1].key_frames, 1, "nothing has changed for the other");
}

#[test]
fn cells_without_pixels_are_left_out() {
    let mut world = World::with(&[RED, GREEN]);
    let layout = "custom:0,0,2,2;50,50,50,50".parse().expect("a layout");
    let size = PictureSize::new(64, 64);
    world.watch(crate::video::OutputConfig { size, ..output(0, layout) });
    world.run(3);
    world.check(0, &[(4, 4, BACKGROUND), (44, 44, GREEN)]);
}

#[test]
fn who_is_pinned_is_seen_large_whoever_speaks() {
    let mut world = World::with(&[RED, GREEN, BLUE]);
    let pinned = Some(SourceId(2));
    world.watch(OutputConfig { pinned, ..output(0, Layout::Auto) });
    world.watch(OutputConfig { pinned, ..output(1, Layout::PictureInPicture) });
    world.watch(OutputConfig { pinned, ..output(2, Layout::Equal(4)) });
    world.watch(OutputConfig { pinned, without: pinned, ..output(3, Layout::Auto) });
    world.command(VideoCommand::SetSpeaker(Some(SourceId(1))));
    world.run(3);
    // 1+5: a large one, and the others beside it in their order.
    world.check(0, &[(200, 120, BLUE), (450, 30, RED), (450, 150, GREEN), (20, 300, BACKGROUND)]);
    world.check(1, &[(200, 120, BLUE), (540, 320, GREEN)]);
    world.check(2, &[(20, 20, BLUE), (340, 20, RED), (20, 200, GREEN)]);
    world.check(3, &[(20, 120, RED), (500, 120, GREEN)]);
    // While that one is not there, all is as usual, and people stay where they are.
    world.leave(2);
    world.run(3);
    world.check(0, &[(20, 120, GREEN), (500, 120, RED)]);
    world.check(1, &[(200, 120, GREEN), (540, 320, RED)]);
}
