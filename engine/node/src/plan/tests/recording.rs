//! Recordings: what is brought to the recorder, and when it ends.

use super::*;
use crate::testing::{codec, leg, medium, opus};
use motet_proto::media::{self, CanvasSettings, MediaKind, ParticipantAudio, VideoMode, VideoSettings};
use motet_relay::Numbering;

fn all(id: &str) -> media::Recording {
    media::Recording { id: id.into(), participants: true, ..media::Recording::default() }
}

fn recorded(legs: Vec<wire::Leg>, recordings: Vec<media::Recording>) -> wire::ConferenceSpec {
    wire::ConferenceSpec { recordings, ..conference(legs) }
}

fn held(world: &World) -> &HeldRecording {
    world.held.recording.as_ref().expect("it is recorded")
}

fn key(leg: &str, medium: &str) -> (Id, Id) {
    (Id::from(leg), Id::from(medium))
}

#[test]
fn each_medium_goes_to_the_recorder_once_however_many_recordings_take_it() {
    let mut world = World::new();
    let only_sound = media::Recording { kinds: vec![MediaKind::Audio.into()], ..all("r2") };
    let spec = recorded(vec![caller("a"), caller("b")], vec![all("r1"), only_sound]);
    let plan = world.go(&spec);
    assert_eq!(
        (held(&world).station, held(&world).trunks.len(), held(&world).tracks.len()),
        (Some(RECORDER), 1, 4)
    );
    let form = plan.recording.clone().expect("the recorder is told").form.expect("it goes on");
    let takers = |medium: &str| form.tracks[&key("a", medium)].recordings.iter().map(|id| id.to_string());
    assert_eq!(takers("audio").collect::<Vec<_>>(), ["r1", "r2"]);
    assert_eq!(takers("video").collect::<Vec<_>>(), ["r1"]);
    assert_eq!((form.ends.len(), form.mix_rate_hz), (1, None));
    // The recorder knows what comes before the first packet does.
    let to_recorder = |command: &&Command| match command {
        Command::AddRoute(_, route) => {
            assert_eq!(route.numbering, Numbering::Shift { sequence: 0, timestamp: 0 });
            route.leg == held(&world).trunks[&0].leg
        }
        _ => false,
    };
    assert_eq!(plan.steps[&0].last.iter().filter(to_recorder).count(), 4);
    let again = world.go(&spec);
    assert_eq!((commands(&again), again.recording), (vec![], None));
}

#[test]
fn what_ends_gives_back_all_that_it_had() {
    let mut world = World::new();
    world.go(&recorded(vec![caller("a"), caller("b")], vec![all("r1")]));
    let trunk = held(&world).trunks[&0];
    let plan = world.go(&conference(vec![caller("a"), caller("b")]));
    assert!(world.held.recording.is_none());
    assert_eq!(plan.recording.map(|step| step.form), Some(None));
    assert!(plan.steps[&0].commands.contains(&Command::RemoveLeg(trunk.leg)));
    assert_eq!(plan.steps[&0].close, [trunk.near]);
    assert_eq!((plan.released.routes.len(), plan.released.legs.len()), (4, 1));
    assert_eq!(plan.released.trunk_ports, [(0, trunk.near), (RECORDER, trunk.far)]);

    world.go(&recorded(vec![caller("a")], vec![all("r1")]));
    let end = plan_end(&world.held);
    assert_eq!(end.recording.map(|step| step.form), Some(None));
    assert_eq!((end.released.routes.len(), end.released.trunk_ports.len()), (2, 2));
}

#[test]
fn who_leaves_mutes_or_sends_something_else_leaves_the_others_as_they_are() {
    let mut world = World::new();
    world.go(&recorded(vec![caller("a"), caller("b")], vec![all("r1")]));
    let before = held(&world).clone();
    let mut muted = caller("b");
    muted.audio = Some(ParticipantAudio { muted: true, ..ParticipantAudio::default() });
    let plan = world.go(&recorded(vec![caller("a"), muted.clone()], vec![all("r1")]));
    let route = before.tracks[&key("b", "audio")].route;
    assert!(commands(&plan).contains(&Command::SetRouteActive(route, false)));
    assert_eq!(held(&world).tracks[&key("a", "audio")], before.tracks[&key("a", "audio")]);

    // Sound that only some are to hear is not recorded at all.
    muted.audio = Some(ParticipantAudio { private: true, ..ParticipantAudio::default() });
    let plan = world.go(&recorded(vec![caller("a"), muted], vec![all("r1")]));
    assert!(commands(&plan).contains(&Command::RemoveRoute(route)));
    assert!(!held(&world).tracks.contains_key(&key("b", "audio")));

    let sound = leg("b", vec![medium("audio", MediaKind::Audio, vec![codec(0, "PCMU", 8_000, "")])]);
    world.go(&recorded(vec![caller("a"), sound], vec![all("r1")]));
    assert_eq!(held(&world).tracks[&key("b", "audio")].payload_types, [0]);
    world.go(&recorded(vec![caller("a")], vec![all("r1")]));
    assert_eq!(held(&world).tracks.len(), 2);
    assert_eq!(held(&world).tracks[&key("a", "video")], before.tracks[&key("a", "video")]);
}

#[test]
fn another_stream_of_a_medium_goes_on_under_its_ssrc() {
    let mut world = World::new();
    let with = |codecs| leg("a", vec![medium("audio", MediaKind::Audio, codecs)]);
    world.go(&recorded(vec![with(vec![opus(111)])], vec![all("r1")]));
    let before = held(&world).tracks[&key("a", "audio")].clone();
    let plan = world.go(&recorded(vec![with(vec![codec(8, "PCMA", 8_000, ""), opus(111)])], vec![all("r1")]));
    let after = &held(&world).tracks[&key("a", "audio")];
    assert_eq!(
        (after.route, after.ssrc, &after.payload_types[..]),
        (before.route, before.ssrc, &[8, 111][..])
    );
    let switched =
        |command: &Command| matches!(command, Command::SwitchRoute { route, .. } if *route == after.route);
    assert!(commands(&plan).iter().any(switched), "{:?}", commands(&plan));
}

#[test]
fn what_files_cannot_hold_is_refused_with_the_reason() {
    let mut world = World::new();
    let telephone = leg("t", vec![medium("audio", MediaKind::Audio, vec![codec(9, "G722", 8_000, "")])]);
    world.go(&recorded(vec![telephone], vec![all("r1")]));
    assert!(held(&world).tracks.is_empty() && held(&world).trunks.is_empty());
    assert!(held(&world).form.refused[&key("t", "audio")].contains("g722"));
}

#[test]
fn those_who_are_on_several_workers_have_a_trunk_each_and_a_failed_recording_gets_nothing() {
    let mut world = World::new();
    world.resources.legs_max = Some(1);
    let spec = recorded(vec![caller("a"), caller("b")], vec![all("r1")]);
    world.go(&spec);
    assert_eq!((held(&world).trunks.len(), held(&world).form.ends.len()), (2, 2));
    let mut failed = Spec::from_wire(&spec, false).expect("a good specification");
    failed.failed_recordings.insert("r1".into(), "the disk is full".to_owned());
    let plan = plan(world.spec.as_ref(), &world.held, &failed, &mut world.resources).expect("planned");
    let next = plan.next.recording.expect("it is remembered");
    assert!(next.trunks.is_empty() && next.form.recordings.is_empty());
    assert_eq!(plan.released.legs.len(), 2);
}

#[test]
fn the_canvas_goes_to_the_recorder_while_a_recording_takes_it() {
    let mut world = World::new();
    let video = || VideoSettings {
        mode: VideoMode::Canvas.into(),
        canvas: Some(CanvasSettings::default()),
        transcode: None,
    };
    let spec =
        |recordings| wire::ConferenceSpec { video: Some(video()), ..recorded(vec![caller("a")], recordings) };
    let taken = || media::Recording { id: "r1".into(), canvas: true, ..media::Recording::default() };
    let tap = |world: &World| world.held.canvas.as_ref().expect("it is composed").tap;
    world.go(&spec(vec![all("r0")]));
    assert_eq!(tap(&world), None);
    let plan = world.go(&spec(vec![taken()]));
    let HeldTap { station, near, far, ssrc } = tap(&world).expect("it is recorded");
    let form = plan.recording.and_then(|step| step.form).expect("the recorder is told");
    let track = form.canvas.as_ref().expect("the canvas comes");
    assert_eq!((track.port, track.ssrc, track.recordings.len()), (far, ssrc, 1));
    assert_eq!(form.ends, [TrunkEnd { port: far, worker: CANVAS_THREAD, peer: near }]);
    let canvas = plan.canvas.and_then(|step| step.last).expect("the canvas thread is told");
    assert!(canvas.ends.contains(&TrunkEnd { port: near, worker: RECORDER, peer: far }));
    assert_eq!((station, canvas.outputs.values().filter(|output| output.recorded).count()), (RECORDER, 1));
    let again = world.go(&spec(vec![taken()]));
    assert_eq!((commands(&again), again.canvas, again.recording), (vec![], None, None));

    let plan = world.go(&spec(vec![]));
    assert_eq!(
        (tap(&world), plan.released.trunk_ports),
        (None, vec![(CANVAS_THREAD, near), (RECORDER, far)])
    );
    world.go(&spec(vec![taken()]));
    let HeldTap { near, far, .. } = tap(&world).expect("it is recorded again");
    let released = plan_end(&world.held).released.trunk_ports;
    assert!([(CANVAS_THREAD, near), (RECORDER, far)].iter().all(|port| released.contains(port)));
}
