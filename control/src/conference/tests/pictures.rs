//! Video modes and canvases.

use super::*;
use motet_proto::media::{
    CanvasPresentation, CanvasSettings, CanvasText, CanvasView, CellShows, CellSubject, TranscodeSettings,
    VideoMode, VideoSettings,
};

fn composed(canvas: CanvasSettings) -> VideoSettings {
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(canvas), transcode: None }
}

fn set_video(world: &mut World, video: VideoSettings) -> u64 {
    let set = wire::SetVideoRequest { conference: "700".into(), video: Some(video), ..Default::default() };
    world.request(Request::SetVideo(set))
}

fn shows(cell: u32, shows: CellShows) -> CellSubject {
    CellSubject { cell, shows: shows.into(), ..CellSubject::default() }
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
    set_video(&mut world, VideoSettings { mode: VideoMode::Relay.into(), canvas: None, transcode: None });
    world.settle();
    assert!(!world.stored["c1"].video.is_composed());
}

#[test]
fn pictures_are_relayed_and_transcoded_for_who_lacks_a_codec() {
    let mut world = running();
    let transcode = TranscodeSettings { width: 640, height: 360, codec: "VP8".into(), ..Default::default() };
    let mode = VideoMode::Relay.into();
    let video = VideoSettings { mode, canvas: None, transcode: Some(transcode.clone()) };
    let request = set_video(&mut world, video.clone());
    world.settle();
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    assert_eq!(info.video, Some(video.clone()));
    assert!(world.stored["c1"].video.is_encoded() && !world.stored["c1"].video.is_composed());
    let bad = TranscodeSettings { bitrate_bps: 1, ..transcode };
    let request = set_video(&mut world, VideoSettings { transcode: Some(bad), ..video });
    let error = world.replies[&request].as_ref().expect_err("refused").to_string();
    assert!(error.contains("video.transcode.bitrate_bps"), "{error}");
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
        (VideoSettings { mode: 9, canvas: None, transcode: None }, "video.mode"),
        (VideoSettings { mode: 1, canvas: Some(CanvasSettings::default()), transcode: None }, "video.canvas"),
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

#[test]
fn polling_switching_and_presentations_are_kept_and_told() {
    let mut world = running();
    let polled = CellSubject {
        participants: vec!["alice".into(), "bob".into()],
        interval_seconds: 5,
        ..shows(0, CellShows::Sequence)
    };
    let presentation = CanvasPresentation { after_seconds: 20, interval_seconds: 4 };
    let canvas = CanvasSettings {
        cells: vec![polled.clone()],
        switch_after_ms: 500,
        hold_ms: 3_000,
        presentation: Some(presentation),
        ..CanvasSettings::default()
    };
    let request = set_video(&mut world, composed(canvas.clone()));
    world.settle();
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    assert_eq!(info.video, Some(composed(canvas)));
    let with = |presentation| CanvasSettings { presentation: Some(presentation), ..Default::default() };
    let polls = |cell| CanvasSettings { cells: vec![cell], ..Default::default() };
    let cases = [
        (CanvasSettings { switch_after_ms: 10_001, ..Default::default() }, "switch_after_ms"),
        (CanvasSettings { hold_ms: 60_001, ..Default::default() }, "hold_ms"),
        (with(CanvasPresentation { after_seconds: 2, ..presentation }), "presentation.after_seconds"),
        (
            with(CanvasPresentation { interval_seconds: 3_601, ..presentation }),
            "presentation.interval_seconds",
        ),
        (polls(CellSubject { interval_seconds: 3_601, ..polled.clone() }), "interval_seconds"),
        (polls(CellSubject { participants: vec!["a b".into()], ..polled }), "participants"),
    ];
    for (canvas, field) in cases {
        let request = set_video(&mut world, composed(canvas));
        assert!(world.refusal(request).field.ends_with(field), "{:?}", world.refusal(request));
    }
}

#[test]
fn stills_and_texts_are_kept_and_told() {
    let mut world = running();
    let text = |text: &str| CanvasText { text: text.into(), height_percent: 9, ..Default::default() };
    let canvas = CanvasSettings {
        still: "logo.png".into(),
        background_rgb: Some(0),
        banner: Some(CanvasText { ground_rgb: Some(0xff), ..text("季度") }),
        caption: Some(CanvasText { speed_percent: 20, place: 1, ..text("Welcome") }),
        ..CanvasSettings::default()
    };
    let request = set_video(&mut world, composed(canvas.clone()));
    world.settle();
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    assert_eq!(info.video, Some(composed(canvas)));
    let set = wire::SetParticipantVideoRequest {
        conference: "700".into(),
        participant: "alice".into(),
        off: Some(true),
        still: Some("alice.png".into()),
        ..Default::default()
    };
    let request = world.request(Request::SetParticipantVideo(set));
    world.settle();
    let Ok(Response::Participant(info)) = &world.replies[&request] else { panic!("a participant") };
    let video = info.video.clone().expect("not as usual");
    assert_eq!((video.off, video.still.as_str(), video.view), (true, "alice.png", None));
    let cases = [
        (CanvasSettings { still: "../x.png".into(), ..Default::default() }, "still"),
        (CanvasSettings { background_rgb: Some(1 << 24), ..Default::default() }, "background_rgb"),
        (CanvasSettings { banner: Some(text("a\u{7}")), ..Default::default() }, "banner.text"),
        (CanvasSettings { caption: Some(text(&"x".repeat(513))), ..Default::default() }, "caption.text"),
    ];
    for (canvas, field) in cases {
        let request = set_video(&mut world, composed(canvas));
        assert!(world.refusal(request).field.ends_with(field), "{:?}", world.refusal(request));
    }
}

fn set_view(world: &mut World, view: CanvasView, by: &str) -> u64 {
    let set = wire::SetParticipantVideoRequest {
        conference: "700".into(),
        participant: "alice".into(),
        view: Some(view),
        by: by.into(),
        ..Default::default()
    };
    world.request(Request::SetParticipantVideo(set))
}

#[test]
fn what_a_participant_has_chosen_to_see_is_kept_told_and_restored() {
    let mut world = running();
    let view = CanvasView {
        layout: "pip".into(),
        pinned: "bob".into(),
        cells: vec![shows(1, CellShows::Nobody)],
        hide_self: Some(true),
    };
    let request = set_view(&mut world, view.clone(), "alice");
    assert!(world.answer(true), "the store comes first");
    let told = |world: &World| {
        let put = world.pending.iter().find_map(|effect| match effect {
            Effect::NodePut { put, .. } => put.spec.clone(),
            _ => None,
        });
        put.expect("the node is told").legs[0].video.clone().and_then(|video| video.view)
    };
    assert_eq!(told(&world), Some(view.clone()));
    world.settle();
    let Ok(Response::Participant(info)) = &world.replies[&request] else { panic!("a participant") };
    assert_eq!(info.video.clone().and_then(|video| video.view), Some(view.clone()));
    assert_eq!(world.emitted(Kind::VideoChanged), 1);
    // What is kept as text is the same again.
    let kept = serde_json::to_string(&world.stored["c1"]).expect("plain data");
    let kept: Record = serde_json::from_str(&kept).expect("its own text");
    assert_eq!(kept, world.stored["c1"]);
    assert_eq!(kept.participants["alice"].video.view.pinned, "bob");
    let again = set_view(&mut world, view, "");
    assert!(world.replies[&again].is_ok() && world.pending.is_empty(), "the same again is no change");
    set_view(&mut world, CanvasView::default(), "");
    world.answer(true);
    assert_eq!(told(&world), None);
}

#[test]
fn what_nobody_can_see_is_refused() {
    let mut world = running();
    let cases = [
        (CanvasView { layout: "x".repeat(1025), ..Default::default() }, "view.layout"),
        (CanvasView { pinned: "no one".into(), ..Default::default() }, "view.pinned"),
        (
            CanvasView { cells: vec![shows(25, CellShows::Nobody)], ..Default::default() },
            "view.cells[0].cell",
        ),
    ];
    for (view, field) in cases {
        let request = set_view(&mut world, view, "");
        assert!(world.refusal(request).message.contains(field), "{:?}", world.refusal(request));
    }
    let set = wire::SetParticipantVideoRequest {
        conference: "700".into(),
        participant: "erin".into(),
        ..Default::default()
    };
    let request = world.request(Request::SetParticipantVideo(set));
    assert_eq!(world.refusal(request).code, Code::NotFound);
    assert!(world.pending.is_empty());
}
