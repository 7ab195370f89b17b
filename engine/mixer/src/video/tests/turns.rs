//! People who are seen in turn.

use super::world::*;
use crate::video::*;
use std::sync::Arc;
use std::time::Duration;

fn sequence(members: &[u32], seconds: u64) -> Subject {
    let members = members.iter().map(|id| SourceId(*id)).collect();
    Subject::Sequence(Arc::new(Sequence { members, interval: Duration::from_secs(seconds) }))
}

#[test]
fn a_cell_shows_one_after_another() {
    let mut world = World::with(&[RED, GREEN, BLUE, YELLOW]);
    let subjects = vec![sequence(&[3, 0, 9, 2], 1)];
    world.watch(OutputConfig { subjects: subjects.clone(), ..output(0, Layout::Equal(1)) });
    // The same picture without somebody: the next one is seen instead.
    let without = Some(SourceId(0));
    world.watch(OutputConfig { subjects, without, ..output(1, Layout::Equal(1)) });
    for (second, [all, one]) in
        [[YELLOW, YELLOW], [RED, BLUE], [BLUE, BLUE], [YELLOW, YELLOW], [BLUE, BLUE]].into_iter().enumerate()
    {
        world.run(15);
        for (receiver, colour) in [(0, all), (1, one)] {
            // From one person to the next there is no key frame, so that colours are not exact.
            let seen = world.receivers[&receiver].colour_at(300, 180).expect("a picture");
            let near = seen.iter().zip(colour).all(|(seen, wanted)| seen.abs_diff(wanted) <= 24);
            assert!(near, "{receiver} in second {second}: {seen:?}, and {colour:?} was expected");
        }
        if second == 3 {
            // Nobody waits for who leaves.
            world.leave(3);
        }
        world.run(15);
    }
    // Only who is seen is decoded.
    let stats = world.mixer.stats();
    assert!(stats.decodes_spared > 300, "{stats:?}");
}

#[test]
fn cells_of_one_sequence_show_different_people_and_those_who_are_off_are_passed_over() {
    let mut world = World::with(&[RED, GREEN, BLUE, YELLOW]);
    let look = SourceLook { off: true, still: None };
    world.command(VideoCommand::SetLook { id: SourceId(1), look });
    let all = || sequence(&[], 1);
    let subjects = vec![Subject::Source(SourceId(3)), all(), all()];
    world.watch(OutputConfig { subjects, ..output(0, Layout::Equal(4)) });
    world.run(15);
    let fixed = (20, 20, YELLOW);
    world.check(0, &[fixed, (340, 20, RED), (20, 200, BLUE)]);
    world.run(30);
    world.check(0, &[fixed, (340, 20, BLUE), (20, 200, RED)]);
    // The fourth cell is anybody's who is left.
    let look = SourceLook::default();
    world.command(VideoCommand::SetLook { id: SourceId(1), look });
    world.run(3);
    world.check(0, &[fixed, (340, 20, BLUE), (20, 200, RED), (340, 200, GREEN)]);
}

#[test]
fn content_is_seen_in_its_cell_alone_and_all_of_it() {
    let mut world = World::with(&[RED, GREEN]);
    let codecs = vec![(96, codec(motet_codecs::video::VideoCodecName::H264))];
    let (name, look) = (String::new(), SourceLook::default());
    let slides = SourceConfig { id: SourceId(7), ssrc: 8, codecs, name, look, content: true, layer: None };
    let size = motet_codecs::video::PictureSize::new(160, 160);
    let h264 = motet_codecs::video::VideoCodecName::H264;
    world.senders.insert(7, crate::testing::CardSender::new(8, h264, size, BLUE).expect("an encoder"));
    world.command(VideoCommand::AddSource(slides));
    world.watch(OutputConfig { fit: Fit::Crop, ..output(0, Layout::Auto) });
    let subjects = vec![Subject::Source(SourceId(7))];
    world.watch(OutputConfig { subjects, fit: Fit::Crop, ..output(1, Layout::OneLarge(5)) });
    world.run(5);
    // It is nobody: two are seen where cells are for people.
    world.check(0, &[(20, 120, RED), (340, 120, GREEN)]);
    // A square in a cell of 16 by 9: bars beside it, though others fill theirs.
    world.check(1, &[(210, 120, BLUE), (10, 120, BACKGROUND), (450, 30, RED), (450, 150, GREEN)]);
    // A page may stand for long.
    world.senders.remove(&7);
    world.run(120);
    world.check(1, &[(210, 120, BLUE)]);
    world.leave(7);
    world.run(3);
    world.check(1, &[(210, 120, BACKGROUND)]);
}
