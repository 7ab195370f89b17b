//! Work is done once, and what was lost is asked for.

use super::world::*;
use crate::video::{
    Layout, OutputConfig, OutputId, SourceConfig, SourceId, VideoCommand, VideoMixError, VideoOutbox,
};
use motet_codecs::video::{PictureSize, VideoCodecName};
use motet_rtp::Time;

#[test]
fn equal_outputs_share_everything() {
    let mut world = World::with(&[RED, GREEN, BLUE]);
    for id in 0..10 {
        world.watch(output(id, Layout::Auto));
    }
    world.run(20);
    let stats = world.mixer.stats();
    assert_eq!((stats.composed, stats.encoded, stats.encodes_shared), (20, 20, 180));
    assert_eq!((stats.decoded, stats.scaled), (60, 60));
    for id in 0..10 {
        assert_eq!((world.receivers[&id].pictures, world.receivers[&id].key_frames), (20, 1));
    }
}

/// Everybody sees everybody else: as many canvases as people, and each picture is scaled once.
#[test]
fn personal_canvases_share_tiles() {
    let mut world = World::with(&[RED, GREEN, BLUE, YELLOW]);
    for id in 0..4 {
        let without = Some(SourceId(id));
        world.watch(OutputConfig { without, ..output(id, Layout::Equal(4)) });
    }
    world.run(10);
    let stats = *world.mixer.stats();
    assert_eq!((stats.composed, stats.encoded, stats.scaled), (40, 40, 40));
    assert_eq!(stats.scales_shared, 80);
    world.check(0, &[(20, 20, GREEN), (340, 20, BLUE), (20, 200, YELLOW), (400, 250, BACKGROUND)]);
    world.check(3, &[(20, 20, RED), (340, 20, GREEN), (20, 200, BLUE), (400, 250, BACKGROUND)]);
}

/// A picture that only one cell needs is scaled where it is seen; from when another one needs it, it is kept for both.
#[test]
fn cells_share_pictures_from_when_there_are_two_of_them() {
    let mut world = World::with(&[RED, GREEN]);
    let other = |id, background| OutputConfig { background, ..output(id, Layout::Equal(4)) };
    let seen = [(20, 20, RED), (340, 20, GREEN)];
    world.watch(other(0, BACKGROUND));
    for (second, scaled, shared) in [(false, 10, 0), (true, 10, 10), (false, 10, 0)] {
        if second {
            world.watch(other(1, BLUE));
        }
        let before = *world.mixer.stats();
        world.run(5);
        let after = *world.mixer.stats();
        assert_eq!(
            (after.scaled - before.scaled, after.scales_shared - before.scales_shared),
            (scaled, shared)
        );
        world.check(0, &[seen[0], seen[1], (20, 200, BACKGROUND)]);
        if second {
            world.check(1, &[seen[0], seen[1], (20, 200, BLUE)]);
            world.command(VideoCommand::RemoveOutput(OutputId(1)));
        }
    }
}

/// Those who left somebody out who is not seen anyway see the same.
#[test]
fn equal_pictures_are_composed_once() {
    let mut world = World::with(&[RED, GREEN]);
    for id in 0..3 {
        // Nobody has the numbers 10 to 12.
        world.watch(OutputConfig { without: Some(SourceId(10 + id)), ..output(id, Layout::Auto) });
    }
    world.run(10);
    let stats = world.mixer.stats();
    assert_eq!((stats.composed, stats.composes_shared, stats.encoded), (10, 20, 30));
    world.check(2, &[(20, 120, RED), (620, 250, GREEN)]);
}

#[test]
fn who_is_not_seen_is_not_decoded() {
    let mut world = World::with(&[RED, GREEN, BLUE]);
    world.watch(output(0, Layout::PictureInPicture));
    world.run(10);
    let stats = *world.mixer.stats();
    assert_eq!((stats.decoded, stats.decodes_spared), (20, 10));
    world.command(VideoCommand::SetSpeaker(Some(SourceId(2))));
    world.run(3);
    // A key frame was asked for, and came.
    world.check(0, &[(100, 100, BLUE)]);
    world.command(VideoCommand::RemoveOutput(OutputId(0)));
    let before = world.mixer.stats().decoded;
    world.run(5);
    assert_eq!(world.mixer.stats().decoded, before, "nobody looks");
    assert_eq!(world.mixer.poll_timeout(), None);
}

#[test]
fn loss_is_mended_by_a_key_frame() {
    let mut world = World::with(&[RED, GREEN]);
    world.watch(output(0, Layout::Auto));
    world.run(5);
    let asked = |world: &World| !world.asked.is_empty();
    assert!(!asked(&world), "nothing was lost");
    world.lose = |packet| packet % 7 == 0;
    world.answers = false;
    let mut count = 0;
    for _ in 0..30 {
        world.run(1);
        count += usize::from(asked(&world));
    }
    assert!((2..=6).contains(&count), "asked for {count} times in a second");
    (world.lose, world.answers) = (|_| false, true);
    world.run(20);
    assert!(!asked(&world), "what came has mended it");
    world.check(0, &[(20, 120, RED), (620, 250, GREEN)]);
    assert_eq!(world.receivers[&0].failures, 0, "the canvas itself lost nothing");
}

#[test]
fn a_receiver_gets_a_key_frame_when_it_asks() {
    let mut world = World::with(&[RED]);
    world.watch(output(0, Layout::Auto));
    world.watch(output(1, Layout::Auto));
    world.run(40);
    assert_eq!(world.receivers[&0].key_frames, 1);
    for _ in 0..15 {
        world.command(VideoCommand::RequestKeyFrame(OutputId(1)));
        world.run(1);
    }
    // One for all, and no more than two in half a second.
    assert!((2..=3).contains(&world.receivers[&0].key_frames));
    world.run(20);
    world.watch(output(2, Layout::Auto));
    world.run(20);
    assert!(world.receivers[&2].pictures >= 5 && world.receivers[&2].failures == 0, "one that came later");
}

#[test]
fn time_that_was_missed_is_counted() {
    let mut world = World::with(&[RED]);
    world.watch(output(0, Layout::Auto));
    world.run(10);
    world.now += std::time::Duration::from_millis(1000);
    world.run(10);
    let stats = world.mixer.stats();
    assert!((28..=31).contains(&stats.missed), "{}", stats.missed);
    assert_eq!(stats.composed, 20);
    world.command(VideoCommand::SetDivisor(2));
    world.run(20);
    assert_eq!(world.mixer.stats().composed, 30);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut world = World::with(&[RED]);
    world.watch(output(0, Layout::Auto));
    let mut refused = |command| world.mixer.handle_command(Time::ZERO, command).expect_err("refused");
    let source = |id, ssrc| {
        let codecs = vec![(96, codec(VideoCodecName::H264))];
        VideoCommand::AddSource(SourceConfig {
            id: SourceId(id),
            ssrc,
            codecs,
            name: String::new(),
            look: Default::default(),
            content: false,
            layer: None,
        })
    };
    assert_eq!(refused(source(0, 9)), VideoMixError::SourceExists(SourceId(0)));
    assert_eq!(refused(source(1, 1)), VideoMixError::SsrcTaken(1));
    let none = SourceConfig {
        id: SourceId(5),
        ssrc: 5,
        codecs: Vec::new(),
        name: String::new(),
        look: Default::default(),
        content: false,
        layer: None,
    };
    assert_eq!(refused(VideoCommand::AddSource(none)), VideoMixError::NoCodec);
    let unknown = VideoMixError::UnknownSource(SourceId(7));
    assert_eq!(refused(VideoCommand::RemoveSource(SourceId(7))), unknown);
    assert_eq!(refused(VideoCommand::SetSpeaker(Some(SourceId(7)))), unknown);
    let unknown = VideoMixError::UnknownOutput(OutputId(7));
    assert_eq!(refused(VideoCommand::RemoveOutput(OutputId(7))), unknown);
    assert_eq!(refused(VideoCommand::RequestKeyFrame(OutputId(7))), unknown);
    assert_eq!(refused(VideoCommand::SetLayout { id: OutputId(7), layout: Layout::Auto }), unknown);
    assert_eq!(
        refused(VideoCommand::AddOutput(output(0, Layout::Auto))),
        VideoMixError::OutputExists(OutputId(0))
    );
    let size = PictureSize::new(641, 360);
    let odd = OutputConfig { size, ..output(1, Layout::Auto) };
    assert_eq!(refused(VideoCommand::AddOutput(odd)), VideoMixError::CanvasSize(size));
    for (field, config) in [
        ("frames_per_s", OutputConfig { frames_per_s: 0, ..output(1, Layout::Auto) }),
        ("bitrate_bps", OutputConfig { bitrate_bps: 1, ..output(1, Layout::Auto) }),
        ("payload_type", OutputConfig { payload_type: 128, ..output(1, Layout::Auto) }),
    ] {
        let error = refused(VideoCommand::AddOutput(config));
        assert!(matches!(error, VideoMixError::Range { field: found, .. } if found == field), "{error}");
    }
    let many = |n: u32| OutputConfig { without: Some(SourceId(n)), ..output(100 + n, Layout::Auto) };
    (0..63).for_each(|n| world.command(VideoCommand::AddOutput(many(n))));
    let error = world.mixer.handle_command(Time::ZERO, VideoCommand::AddOutput(many(63)));
    assert!(matches!(error, Err(VideoMixError::TooMany { what: "canvases", max: 64 })), "{error:?}");
}

#[test]
fn any_datagram_is_taken_or_counted() {
    let mut world = World::with(&[RED]);
    world.watch(output(0, Layout::Auto));
    world.run(2);
    for datagram in [&[][..], &[0x80; 11], &[0xff; 40], &[0x80, 96, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9, 1]] {
        world.mixer.handle_packet(world.now, datagram);
    }
    // A known source with an unknown payload type.
    world.mixer.handle_packet(world.now, &[0x80, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(world.mixer.stats().packets_refused, 5);
    world.mixer.handle_timeout(world.now, &mut VideoOutbox::new());
}
