//! Canvases: what begins, stays and ends.

use super::*;
use crate::routing::Sees;
use crate::testing::{codec, leg, medium};
use motet_proto::media::{
    CanvasSettings, CanvasView, CellShows, CellSubject, Direction, MediaKind, ParticipantVideo,
    TranscodeSettings, VideoMode, VideoSettings,
};

fn composed(legs: Vec<wire::Leg>, canvas: CanvasSettings) -> wire::ConferenceSpec {
    let video = VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(canvas), transcode: None };
    wire::ConferenceSpec { video: Some(video), ..conference(legs) }
}

fn viewer(id: &str, codecs: &[(u32, &str, &str)]) -> wire::Leg {
    let codecs = codecs.iter().map(|(number, name, fmtp)| codec(*number, name, 90_000, fmtp)).collect();
    leg(id, vec![medium("video", MediaKind::Video, codecs)])
}

/// The canvas, which there must be.
fn canvas(world: &World) -> &HeldCanvas {
    world.held.canvas.as_ref().expect("it is composed")
}

#[test]
fn who_has_a_codec_in_common_gets_one_stream_under_one_ssrc() {
    let mut world = World::new();
    let legs = || {
        let old = viewer("old", &[(34, "H263", ""), (97, "H264", "")]);
        vec![caller("a"), caller("b"), caller("c"), viewer("web", &[(120, "VP8", "")]), old]
    };
    world.go(&composed(legs(), CanvasSettings::default()));
    let canvas = canvas(&world);
    assert_eq!((canvas.trunks.len(), canvas.sources.len(), canvas.views.len()), (1, 5, 5));
    assert!(world.held.routes.keys().all(|key| key.from_medium == "audio"), "no picture is relayed");
    let feeds: Vec<u8> = canvas.feeds.keys().map(|key| key.format.payload_type()).collect();
    assert_eq!(feeds, [96, 97, 99], "H.264 in both packetization modes, and VP8");
    let common: BTreeSet<u32> = ["a", "b", "c"].iter().map(|leg| canvas.views[*leg].ssrc).collect();
    assert_eq!(common.len(), 1, "the relay can send them the same packets");
    assert_eq!(canvas.views["web"].view.codec.payload_type, 120);
    let again = world.go(&composed(legs(), CanvasSettings::default()));
    assert_eq!((commands(&again), again.canvas), (vec![], None));
}

#[test]
fn layout_and_codec_change_without_another_ssrc() {
    let mut world = World::new();
    let legs = || vec![caller("a"), viewer("v", &[(96, "H264", "packetization-mode=1"), (120, "VP8", "")])];
    world.go(&composed(legs(), CanvasSettings::default()));
    let before = canvas(&world).views["v"].clone();
    let plan = world.go(&composed(legs(), CanvasSettings { layout: "pip".into(), ..Default::default() }));
    assert_eq!(commands(&plan), [], "only the canvas thread has to know");
    let step = plan.canvas.expect("it is told");
    assert!(step.first.is_none() && step.last.is_some());

    let plan = world.go(&composed(legs(), CanvasSettings { codec: "vp8".into(), ..Default::default() }));
    let after = &canvas(&world).views["v"];
    assert_eq!((after.route, after.ssrc), (before.route, before.ssrc));
    let stream = canvas(&world).feeds[&after.feed].stream;
    let switch = Command::SwitchRoute { route: after.route, stream, payload_map: vec![(99, 120)] };
    assert!(commands(&plan).contains(&switch), "{:?}", commands(&plan));
    assert_eq!(canvas(&world).feeds.len(), 2, "who does not have it goes on with another");
}

#[test]
fn without_oneself_everybody_who_is_seen_has_a_picture_of_their_own() {
    let mut world = World::new();
    let mut listener = viewer("v", &[(96, "H264", "packetization-mode=1")]);
    listener.media[0].direction = motet_proto::media::Direction::ReceiveOnly.into();
    let legs = || vec![caller("a"), caller("b"), listener.clone()];
    world.go(&composed(legs(), CanvasSettings { hide_self: true, ..Default::default() }));
    let without: Vec<Option<&str>> =
        canvas(&world).feeds.keys().map(|key| key.sees.without.as_deref()).collect();
    assert_eq!(without, [None, Some("a"), Some("b")]);
    let plan = world.go(&composed(legs(), CanvasSettings::default()));
    assert_eq!(canvas(&world).feeds.len(), 1);
    let removed = commands(&plan).iter().filter(|c| matches!(c, Command::RemoveStream(_))).count();
    assert_eq!((removed, plan.released.streams.len()), (2, 2));
}

#[test]
fn a_running_conference_gets_a_canvas_and_loses_it() {
    let mut world = World::new();
    let legs = || vec![caller("a"), caller("b"), caller("c")];
    world.go(&conference(legs()));
    let relayed = world.held.clone();
    world.go(&composed(legs(), CanvasSettings::default()));
    assert_eq!(world.held.streams, relayed.streams, "publishers do not notice");
    assert_eq!(only_worker(&world.held), None, "it stays on its worker");
    let plan = world.go(&conference(legs()));
    let step = plan.canvas.expect("the canvas thread is told");
    assert!(step.first.expect("at first").outputs.is_empty() && step.last.is_none());
    assert!(plan.released.trunk_ports.iter().any(|(station, _)| *station == CANVAS_THREAD));
    assert_eq!((world.held.canvas, world.held.mix), (None, None));
    assert_eq!(world.held.routes.len(), relayed.routes.len());
}

#[test]
fn who_is_muted_is_not_seen_and_who_has_no_codec_is_named() {
    let mut world = World::new();
    let exotic = viewer("x", &[(100, "AV1", "")]);
    let mut spec = composed(vec![caller("a"), caller("b"), exotic], CanvasSettings::default());
    spec.legs[1].muted = true;
    world.go(&spec);
    let canvas = canvas(&world);
    assert!(canvas.unseen["x"].1.contains("av1") && canvas.unserved["x"].1.contains("av1"), "{canvas:?}");
    assert_eq!(canvas.form.sources.keys().map(Id::as_str).collect::<Vec<_>>(), ["a"]);
    spec.legs[1].muted = false;
    let plan = world.go(&spec);
    let route = self::canvas(&world).sources["b"].route;
    assert!(commands(&plan).contains(&Command::SetRouteActive(route, true)));
    assert_eq!(self::canvas(&world).form.sources.len(), 2);
}

/// What one sees besides what all see.
fn sees(leg: &mut wire::Leg, view: CanvasView) {
    leg.video = Some(ParticipantVideo { view: Some(view), ..Default::default() });
}

#[test]
fn who_has_chosen_the_same_gets_one_stream_and_all_others_another() {
    let mut world = World::new();
    let mut spec = composed(vec![caller("a"), caller("b"), caller("c")], CanvasSettings::default());
    world.go(&spec);
    let before = canvas(&world).views["a"].clone();
    let view = CanvasView { layout: "pip".into(), pinned: "c".into(), ..CanvasView::default() };
    sees(&mut spec.legs[0], view.clone());
    sees(&mut spec.legs[1], view);
    let plan = world.go(&spec);
    let after = canvas(&world).views["a"].clone();
    assert_eq!((after.route, after.ssrc), (before.route, before.ssrc), "it goes on in its stream");
    let canvas = canvas(&world);
    assert_eq!(canvas.feeds.len(), 2);
    assert_eq!(canvas.views["b"].feed, after.feed);
    let stream = canvas.feeds[&after.feed].stream;
    let switch = Command::SwitchRoute { route: after.route, stream, payload_map: vec![(96, 96)] };
    assert!(commands(&plan).contains(&switch), "{:?}", commands(&plan));
}

#[test]
fn a_choice_that_makes_no_difference_costs_nothing() {
    let mut world = World::new();
    let all = CanvasSettings { layout: "1+5".into(), pinned: "c".into(), ..Default::default() };
    let mut spec = composed(vec![caller("a"), caller("b"), caller("c")], all.clone());
    // What all see, somebody who is not there, and oneself though one is not seen.
    sees(&mut spec.legs[0], CanvasView { layout: "1+5".into(), pinned: "c".into(), ..Default::default() });
    sees(&mut spec.legs[1], CanvasView { pinned: "nobody".into(), ..Default::default() });
    world.go(&spec);
    assert_eq!(canvas(&world).feeds.len(), 1);
    let view = CanvasView { pinned: "c".into(), hide_self: Some(true), ..Default::default() };
    sees(&mut spec.legs[2], view);
    world.go(&spec);
    let sees_c: Vec<_> = canvas(&world).feeds.keys().map(|key| key.sees.clone()).collect();
    assert_eq!(sees_c, [Sees::default(), Sees { without: Some("c".into()), ..Sees::default() }]);
    // The chair's choice is all that counts, but that one still does not see oneself.
    sees(&mut spec.legs[0], CanvasView { layout: "pip".into(), ..Default::default() });
    world.go(&spec);
    assert_eq!(canvas(&world).feeds.len(), 3);
    let canvas_for_all = Some(CanvasSettings { for_all: true, ..all });
    spec.video =
        Some(VideoSettings { mode: VideoMode::Canvas.into(), canvas: canvas_for_all, transcode: None });
    world.go(&spec);
    assert_eq!(canvas(&world).feeds.len(), 2);
}

#[test]
fn there_are_at_most_32_different_pictures() {
    let legs: Vec<wire::Leg> = (0..33)
        .map(|number| {
            let mut leg = caller(&format!("p{number}"));
            sees(
                &mut leg,
                CanvasView { layout: format!("custom:0,0,{},50", 20 + number), ..Default::default() },
            );
            leg
        })
        .collect();
    let spec = composed(legs, CanvasSettings::default());
    let error = Spec::from_wire(&spec, false).expect_err("refused").to_string();
    assert!(error.contains("spec.video.canvas") && error.contains("33"), "{error}");
}

#[test]
fn only_who_has_the_floor_shares_content() {
    let mut world = World::new();
    let presenter = |id: &str| {
        let h264 = vec![codec(98, "H264", 90_000, "packetization-mode=1")];
        let mut leg = caller(id);
        let content = medium("content", MediaKind::Content, h264);
        leg.transports.push(wire::Transport { id: "content".into(), ..Default::default() });
        leg.media.push(content);
        leg
    };
    let mut spec = conference(vec![presenter("a"), presenter("b"), presenter("c")]);
    let shares = |world: &World| -> Vec<String> {
        let routes =
            world.held.routes.iter().filter(|(key, held)| key.from_medium == "content" && held.wanted.active);
        let legs: BTreeSet<String> = routes.map(|(key, _)| key.from_leg.to_string()).collect();
        legs.into_iter().collect()
    };
    world.go(&spec);
    assert_eq!(shares(&world), ["a", "b", "c"], "without a floor all share");
    spec.content = Some(wire::ContentHolder { leg: "b".into() });
    world.go(&spec);
    assert_eq!(shares(&world), ["b"]);
    spec.content = Some(wire::ContentHolder::default());
    world.go(&spec);
    assert_eq!(shares(&world), [""; 0]);
}

#[test]
fn content_is_on_a_canvas_where_a_cell_shows_it() {
    let mut world = World::new();
    let mut presenter = caller("a");
    presenter.transports.push(wire::Transport { id: "content".into(), ..Default::default() });
    presenter.media.push(medium("content", MediaKind::Content, vec![codec(98, "VP8", 90_000, "")]));
    let cell = CellSubject { shows: CellShows::Content.into(), ..Default::default() };
    let mut spec = composed(vec![presenter, caller("b")], CanvasSettings::default());
    world.go(&spec);
    assert!(canvas(&world).content.is_none(), "nobody sees it");
    spec.video = composed(Vec::new(), CanvasSettings { cells: vec![cell], ..Default::default() }).video;
    world.go(&spec);
    let (leg, source) = canvas(&world).content.clone().expect("a cell shows it");
    assert_eq!((leg.as_str(), &*source.part.medium), ("a", "content"));
    assert!(canvas(&world).form.content.is_some());
    spec.content = Some(wire::ContentHolder { leg: "b".into() });
    let plan = world.go(&spec);
    assert!(canvas(&world).content.is_none(), "who has the floor sends none");
    assert!(commands(&plan).contains(&Command::RemoveRoute(source.route)));
}

fn transcoded(legs: Vec<wire::Leg>) -> wire::ConferenceSpec {
    let (mode, transcode) = (VideoMode::Relay.into(), Some(TranscodeSettings::default()));
    wire::ConferenceSpec { video: Some(VideoSettings { mode, canvas: None, transcode }), ..conference(legs) }
}

fn picture_route(world: &World, from: &str, to: &str) -> HeldRoute {
    let ends = |key: &RouteKey| (key.from_leg == *from, key.to_leg == *to, key.from_medium == "video");
    let found = world.held.routes.iter().find(|(key, _)| ends(key) == (true, true, true));
    found.expect("a route").1.clone()
}

#[test]
fn who_lacks_a_codec_gets_what_is_encoded_once_for_all() {
    let mut world = World::new();
    let watcher = |id: &str, codec: (u32, &str, &str)| {
        let mut leg = viewer(id, &[codec]);
        leg.media[0].direction = Direction::ReceiveOnly.into();
        leg
    };
    let web = |id| watcher(id, (120, "VP8", ""));
    let mut spec = transcoded(vec![caller("a"), caller("b"), web("v"), web("w")]);
    let plan = world.go(&spec);
    assert!(plan.canvas.is_some());
    let held = canvas(&world);
    let counts = (held.streams.len(), held.feeds.len(), held.sources.len(), held.views.len());
    assert_eq!(counts, (2, 2, 0, 0), "a and b, each once");
    assert!(world.held.refused.keys().all(|key| key.from_medium == "audio"), "{:?}", world.held.refused);
    let (relayed, before) = (picture_route(&world, "a", "b"), picture_route(&world, "a", "v"));
    assert_eq!(relayed.stream, world.held.streams[&("a".into(), "video".into())]);
    assert_eq!(before.stream, picture_route(&world, "a", "w").stream);
    assert!(before.stream != relayed.stream && before.ssrc == relayed.ssrc);
    let again = world.go(&spec);
    assert_eq!((commands(&again), again.canvas), (vec![], None));

    // Muted: nobody is to get it, and it is not decoded.
    spec.legs[0].muted = true;
    world.go(&spec);
    let streams: Vec<_> = canvas(&world).form.streams.keys().map(|(leg, _)| leg.as_str()).collect();
    assert_eq!((streams, canvas(&world).feeds.len()), (vec!["b"], 2));
    spec.legs[0].muted = false;
    world.go(&spec);

    // Who has the codec is relayed in the same stream, and the last one ends it all.
    let h264 = |id| watcher(id, (98, "H264", "packetization-mode=1"));
    spec.legs[2..].clone_from_slice(&[h264("v"), h264("w")]);
    let plan = world.go(&spec);
    let after = picture_route(&world, "a", "v");
    assert_eq!((after.id, after.ssrc, after.stream), (before.id, before.ssrc, relayed.stream));
    let (route, stream) = (after.id, after.stream);
    let switch = Command::SwitchRoute { route, stream, payload_map: vec![(96, 98)] };
    let place = |wanted: &dyn Fn(&Command) -> bool| commands(&plan).iter().position(wanted);
    let ends = place(&|command| matches!(command, Command::RemoveLeg(_))).expect("the trunk goes");
    assert!(place(&|command| *command == switch).expect("it goes on") < ends, "{plan:?}");
    assert_eq!((world.held.canvas.as_ref(), plan.canvas.map(|step| step.last)), (None, Some(None)));
}

#[test]
fn what_cannot_be_transcoded_is_refused_with_the_reason() {
    let refused = |legs| {
        let spec = Spec::from_wire(&transcoded(legs), false).expect("good");
        let routes = Routes::of(&spec);
        routes
            .refused
            .into_iter()
            .map(|(key, why)| (key.from_leg.to_string(), why))
            .collect::<BTreeMap<_, _>>()
    };
    let why = refused(vec![viewer("a", &[(96, "AV1", "")]), viewer("b", &[(97, "VP8", "")])]);
    assert!(why["a"].contains("none of the first is decoded here"), "{why:?}");
    assert!(why["b"].contains("none of the last is encoded here"), "{why:?}");
    let mut many: Vec<wire::Leg> = (0..40).map(|number| caller(&format!("p{number:02}"))).collect();
    many.push(viewer("w", &[(120, "VP8", "")]));
    let why = refused(many);
    let late: Vec<&String> =
        why.iter().filter(|(_, why)| why.contains("the most")).map(|(leg, _)| leg).collect();
    assert_eq!((late.len(), late[0].as_str()), (9, "p32"), "32 are transcoded, of 41");
}
