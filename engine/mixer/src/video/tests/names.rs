//! Names on pictures, and who is chosen for a cell.

use super::world::*;
use crate::video::*;
use motet_codecs::video::PictureSize;
use std::sync::Arc;

/// As `scripts/setup.sh` installs it.
const FONT: &str = "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc";

pub fn font() -> Arc<Font> {
    let bytes = std::fs::read(FONT).expect("the font of Debian's fonts-wqy-zenhei: run scripts/setup.sh");
    Arc::new(Font::read(bytes).expect("a font"))
}

/// A world with a font, in which two are seen beside each other, 320 by 180 each, with these names.
fn named(names: [&str; 2]) -> World {
    let mut world = World::new();
    world.mixer = VideoMixer::with_font(Some(font()));
    for (id, colour) in (0..).zip([RED, GREEN]) {
        world.join(id, motet_codecs::video::VideoCodecName::H264, CAMERA, colour);
        let name = names[id as usize].to_owned();
        world.command(VideoCommand::SetName { id: SourceId(id), name });
    }
    world.watch(OutputConfig { names: true, bitrate_bps: 8_000_000, ..output(0, Layout::Auto) });
    world.run(6);
    world
}

/// Pixels of the lower left of the left cell that are bright, by column.
fn bright(world: &World) -> Vec<usize> {
    let picture = world.receivers[&0].picture().expect("a picture");
    let luma = picture.planes()[0];
    let lines = 250..268;
    (0..320).map(|x| lines.clone().filter(|y| luma.line(*y)[x] > 160).count()).collect()
}

#[test]
fn a_name_is_written_at_the_lower_left_of_a_cell() {
    let world = named(["Alice", ""]);
    let columns = bright(&world);
    assert!(columns[..80].iter().sum::<usize>() > 25, "{columns:?}");
    assert_eq!(columns[100..].iter().sum::<usize>(), 0, "and nothing beside it");
    // The rest of the picture, and who has no name, is as it was.
    world.check(0, &[(200, 120, RED), (200, 250, RED), (340, 250, GREEN)]);
    // Behind the letters it is darker.
    let behind = world.receivers[&0].picture().expect("a picture").planes()[0].line(258)[4];
    assert!(behind < RED[0] - 20, "{behind}");
}

#[test]
fn names_change_and_other_scripts_are_written() {
    let mut world = named(["Alice", "Bob"]);
    let first = bright(&world);
    world.command(VideoCommand::SetName { id: SourceId(0), name: "会议室一".to_owned() });
    world.run(6);
    let second = bright(&world);
    assert_ne!(first, second);
    let cjk = |columns: &[usize]| columns.iter().filter(|count| **count > 0).count();
    assert!(cjk(&second) > 30, "four square letters: {second:?}");
    world.command(VideoCommand::SetName { id: SourceId(0), name: String::new() });
    world.run(6);
    assert_eq!(bright(&world).iter().sum::<usize>(), 0, "no name, no label");
    assert_eq!(world.receivers[&0].failures, 0);
}

#[test]
fn what_the_font_lacks_is_a_box_and_what_is_too_long_ends_in_dots() {
    let lacking = "\u{10fffd}\u{10fffd}\u{10fffd}";
    assert!(!font().has(lacking) && font().has("Ångström 会议"));
    assert!(bright(&named([lacking, ""])).iter().sum::<usize>() > 20);
    let columns = bright(&named([&"W".repeat(64), ""]));
    assert!(columns[250..].iter().sum::<usize>() > 0 && columns[318..].iter().sum::<usize>() == 0);
    assert!(Font::read(b"no font at all".to_vec()).is_err());
}

#[test]
fn any_name_fits_any_cell() {
    let mut world = named(["会", "\u{202e}\n\t"]);
    for layout in ["equal:25", "pip", "custom:0,0,2,2;98,98,2,2", "1+12"] {
        let layout = layout.parse().expect("a layout");
        world.command(VideoCommand::SetLayout { id: OutputId(0), layout });
        world.run(2);
    }
    let small = OutputConfig { names: true, size: PictureSize::new(64, 64), ..output(1, Layout::Equal(9)) };
    world.watch(small);
    world.run(3);
    assert_eq!(world.receivers[&1].failures, 0);
}

#[test]
fn who_is_chosen_for_a_cell_is_seen_there_and_nowhere_else() {
    let mut world = World::with(&[RED, GREEN, BLUE]);
    let subjects = vec![Subject::Source(SourceId(2)), Subject::Nobody, Subject::Speaker];
    world.watch(OutputConfig { subjects, ..output(0, Layout::Equal(4)) });
    world.command(VideoCommand::SetSpeaker(Some(SourceId(1))));
    world.run(4);
    world.check(0, &[(20, 40, BLUE), (340, 40, BACKGROUND), (20, 220, GREEN), (340, 220, RED)]);
    // Somebody who speaks and is chosen already leaves the speaker's cell to who comes next.
    world.command(VideoCommand::SetSpeaker(Some(SourceId(2))));
    world.run(4);
    world.check(0, &[(20, 40, BLUE), (340, 40, BACKGROUND), (20, 220, GREEN), (340, 220, RED)]);
    world.leave(2);
    world.run(4);
    world.check(0, &[(20, 40, BACKGROUND), (20, 220, GREEN), (340, 220, RED)]);
}
