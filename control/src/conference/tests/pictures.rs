//! Video modes and canvases.

use super::*;
use motet_proto::media::{CanvasSettings, CellShows, CellSubject, VideoMode, VideoSettings};

fn composed(canvas: CanvasSettings) -> VideoSettings {
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(canvas) }
}

fn set_video(world: &mut World, video: VideoSettings) -> u64 {
    let set = wire::SetVideoRequest { conference: "700".into(), video: Some(video), ..Default::default() };
    world.request(Request::SetVideo(set))
}

fn shows(cell: u32, shows: CellShows) -> CellSubject {
    CellSubject { cell, shows: shows.into(), participant: String::new() }
}

#[test]
fn a_canvas_is_kept_then_told_then_answered() {
    let mut world = running();
    let canvas = CanvasSettings {
        layout: "1+5".into(),
        crop: true,
        cells: vec![shows(2, CellShows::Speaker)],
        names: true,
        ..CanvasSettings::default()
    };
    let request = set_video(&mut world, composed(canvas.clone()));
    assert!(world.answer(true), "the store comes first");
    let put = world.pending.iter().find_map(|effect| match effect {
        Effect::NodePut { put, .. } => put.spec.clone(),
        _ => None,
    });
    assert_eq!(put.expect("the node is told").video, Some(composed(canvas.clone())));
    world.settle();
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    assert_eq!((&info.video, world.emitted(Kind::VideoChanged)), (&Some(composed(canvas.clone())), 1));
    assert!(world.stored["c1"].video.is_composed());
    let again = set_video(&mut world, composed(canvas));
    assert!(world.replies[&again].is_ok() && world.pending.is_empty(), "the same again is no change");
    set_video(&mut world, VideoSettings { mode: VideoMode::Relay.into(), canvas: None });
    world.settle();
    assert!(!world.stored["c1"].video.is_composed());
}

#[test]
fn a_layout_that_the_node_refuses_leaves_everything_as_it_was() {
    let mut world = running();
    let request =
        set_video(&mut world, composed(CanvasSettings { layout: "9+9".into(), ..Default::default() }));
    world.answer(true);
    world.answer(false);
    assert!(world.replies[&request].is_err());
    assert!(!world.state.conferences["c1"].record.video.is_composed());
}

#[test]
fn what_makes_no_sense_is_refused_by_its_field() {
    let mut world = running();
    let cases = [
        (VideoSettings { mode: 9, canvas: None }, "video.mode"),
        (VideoSettings { mode: 1, canvas: Some(CanvasSettings::default()) }, "video.canvas"),
        (composed(CanvasSettings { width: 641, height: 360, ..Default::default() }), "video.canvas.width"),
        (composed(CanvasSettings { width: 640, ..Default::default() }), "video.canvas.height"),
        (composed(CanvasSettings { frames_per_second: 61, ..Default::default() }), "frames_per_second"),
        (composed(CanvasSettings { bitrate_bps: 9_999, ..Default::default() }), "bitrate_bps"),
        (
            composed(CanvasSettings { cells: vec![shows(25, CellShows::Nobody)], ..Default::default() }),
            "[0].cell",
        ),
        (
            composed(CanvasSettings { cells: vec![shows(1, CellShows::Unspecified)], ..Default::default() }),
            "shows",
        ),
        (
            composed(CanvasSettings { cells: vec![shows(1, CellShows::Participant)], ..Default::default() }),
            "participant",
        ),
        (composed(CanvasSettings { codec: "av1".into(), ..Default::default() }), "video.canvas.codec"),
        (composed(CanvasSettings { layout: "x".repeat(1025), ..Default::default() }), "video.canvas.layout"),
    ];
    for (video, field) in cases {
        let request = set_video(&mut world, video);
        assert!(world.refusal(request).message.contains(field), "{field}: {:?}", world.refusal(request));
    }
    assert!(world.pending.is_empty());
}
