//! Recordings: begun, changed, told to nodes, and what nodes tell of them.

use super::*;
use motet_proto::media::Recording;
use node::event::Kind as Media;

fn all(id: &str) -> Recording {
    Recording { id: id.into(), participants: true, ..Recording::default() }
}

fn set(world: &mut World, recording: Recording) -> u64 {
    let (conference, recording) = ("700".to_owned(), Some(recording));
    let set = wire::SetRecordingRequest { conference, recording, ..Default::default() };
    world.request(Request::SetRecording(set))
}

fn remove(world: &mut World, recording: &str) -> u64 {
    let (conference, recording) = ("700".to_owned(), recording.to_owned());
    let remove = wire::RemoveRecordingRequest { conference, recording, ..Default::default() };
    world.request(Request::RemoveRecording(remove))
}

/// What waits to be told to a node.
fn told(world: &World) -> Vec<Recording> {
    let put = world.pending.iter().find_map(|effect| match effect {
        Effect::NodePut { put, .. } => put.spec.clone(),
        _ => None,
    });
    put.expect("the node is told").recordings
}

#[test]
fn a_recording_is_kept_then_told_then_answered() {
    let mut world = running();
    let request = set(&mut world, all("r1"));
    assert!(world.answer(true), "the store comes first");
    assert_eq!(told(&world), [all("r1")]);
    world.settle();
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    assert_eq!((info.recordings.as_slice(), world.emitted(Kind::RecordingChanged)), (&[all("r1")][..], 1));
    assert_eq!(world.stored["c1"].recordings.len(), 1);
    // The same again is no change.
    let again = set(&mut world, all("r1"));
    assert!(world.replies[&again].is_ok() && world.pending.is_empty());

    let paused = Recording { paused: true, ..all("r1") };
    set(&mut world, paused.clone());
    world.answer(true);
    assert_eq!(told(&world), [paused]);
    world.settle();
    remove(&mut world, "r1");
    world.answer(true);
    assert!(told(&world).is_empty());
    world.settle();
    // Ending what is not there succeeds.
    let again = remove(&mut world, "r1");
    assert!(world.replies[&again].is_ok() && world.pending.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let mut world = running();
    set(&mut world, Recording { folder: "monday".into(), ..all("r1") });
    world.settle();
    for (recording, field) in [
        (all(""), "recording.id"),
        (all("a/b"), "recording.id"),
        (Recording { participants: false, ..all("r") }, "recording.participants"),
        (Recording { folder: "..".into(), ..all("r") }, "recording.folder"),
        (Recording { folder: "a/b".into(), ..all("r") }, "recording.folder"),
        (Recording { folder: "monday".into(), ..all("r") }, "recording.folder"),
        (Recording { kinds: vec![0], ..all("r") }, "recording.kinds"),
        (Recording { format: 9, ..all("r") }, "recording.format"),
        (Recording { format: 3, ..all("r") }, "recording.format"),
        (
            Recording { format: 3, participants: false, mix: true, segment_seconds: 61, ..all("r") },
            "recording.segment_seconds",
        ),
        (Recording { only: vec![String::new()], ..all("r") }, "recording.only[0]"),
        (Recording { segment_seconds: 86_401, ..all("r") }, "recording.segment_seconds"),
        (Recording { segment_bytes: 65_535, ..all("r") }, "recording.segment_bytes"),
    ] {
        let request = set(&mut world, recording);
        let refusal = world.replies[&request].clone().expect_err(field);
        assert_eq!((refusal.code, refusal.field.as_str()), (Code::InvalidArgument, field), "{refusal:?}");
    }
    for more in 2..=16 {
        set(&mut world, all(&format!("r{more}")));
        world.settle();
    }
    let request = set(&mut world, all("r17"));
    assert_eq!(world.replies[&request].clone().expect_err("too many").code, Code::ResourceExhausted);
}

#[test]
fn what_nodes_tell_of_recordings_is_passed_on() {
    let mut world = running();
    let told = |kind| {
        let (node_id, conference) = ("n1".to_owned(), "c1".to_owned());
        let event = node::Event { node_id, conference, epoch: 1, kind: Some(kind), ..Default::default() };
        Event::Media(Box::new(event))
    };
    world.event(told(Media::SegmentClosed(node::SegmentClosed {
        recording: "r1".into(),
        leg: "alice".into(),
        path: "/r/c1+r1/alice-00001.mp4".into(),
        duration_ms: 1_500,
        ..Default::default()
    })));
    world.event(told(Media::RecordingFailed(node::RecordingFailed {
        recording: "r1".into(),
        message: "no room: make room in /r".into(),
        ..Default::default()
    })));
    world.event(told(Media::RecordingStopped(node::RecordingStopped::default())));
    let message =
        |kind| world.events.iter().find(|(known, _)| *known == kind).map(|(_, message)| message.clone());
    let segment = message(Kind::RecordingSegment).expect("told");
    assert!(segment.contains("1.5 s of alice") && segment.contains("alice-00001.mp4"), "{segment}");
    assert!(message(Kind::RecordingFailed).expect("told").contains("make room"));
}
