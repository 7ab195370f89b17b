use super::*;
use crate::model::Id;
use crate::testing::{caller, codec, conference, leg, medium, opus};
use motet_proto::media::{
    AudioMode, AudioSettings, Direction, MediaKind, PairGain, ParticipantAudio, PictureLayer, VideoSettings,
};
use motet_proto::node as wire;

fn routes(spec: &wire::ConferenceSpec) -> Routes {
    Routes::of(&Spec::from_wire(spec, false).expect("a good specification"))
}

fn ends(routes: &Routes) -> Vec<String> {
    let end =
        |key: &RouteKey| format!("{}/{}>{}/{}", key.from_leg, key.from_medium, key.to_leg, key.to_medium);
    routes.wanted.keys().map(end).collect()
}

#[test]
fn everything_goes_to_everybody_else_and_kinds_do_not_mix() {
    let routes = routes(&conference(vec![caller("a"), caller("b"), caller("c")]));
    assert_eq!(routes.wanted.len(), 3 * 2 * 2);
    assert!(routes.wanted.keys().all(|key| key.from_leg != key.to_leg && key.from_medium == key.to_medium));
    assert!(routes.refused.is_empty());
}

#[test]
fn payload_types_are_those_of_each_side() {
    let a = leg(
        "a",
        vec![medium("audio", MediaKind::Audio, vec![opus(111), codec(101, "telephone-event", 48_000, "")])],
    );
    let b = leg(
        "b",
        vec![medium(
            "audio",
            MediaKind::Audio,
            vec![
                codec(0, "PCMU", 8000, ""),
                codec(97, "OPUS", 48_000, ""),
                codec(100, "telephone-event", 48_000, ""),
            ],
        )],
    );
    let routes = routes(&conference(vec![a, b]));
    let map = |from: &str| {
        &routes.wanted.iter().find(|(key, _)| key.from_leg == from).expect("a route").1.mapping.payload_types
    };
    assert_eq!(map("a"), &[(111, 97), (101, 100)]);
    assert_eq!(map("b"), &[(97, 111), (100, 101)]);
}

#[test]
fn without_a_common_codec_the_reason_is_given() {
    let a = leg(
        "a",
        vec![medium("audio", MediaKind::Audio, vec![opus(111), codec(101, "telephone-event", 8000, "")])],
    );
    let pcmu = vec![codec(0, "PCMU", 8000, ""), codec(101, "telephone-event", 8000, "")];
    let b = leg("b", vec![medium("audio", MediaKind::Audio, pcmu)]);
    let routes = routes(&conference(vec![a, b]));
    assert!(routes.wanted.is_empty(), "telephone events alone are no route");
    let reason = &routes.refused.values().next().expect("two refusals");
    assert!(reason.contains("opus/48000") && reason.contains("pcmu/8000"), "{reason}");
}

#[test]
fn h264_goes_from_single_nal_mode_to_any_but_not_back() {
    let video =
        |id, fmtp| leg(id, vec![medium("v", MediaKind::Video, vec![codec(96, "H264", 90_000, fmtp)])]);
    let routes = routes(&conference(vec![video("single", ""), video("fragments", "packetization-mode=1")]));
    assert_eq!(ends(&routes), ["single/v>fragments/v"]);
    assert_eq!(routes.refused.len(), 1);
}

/// Who gets streams gets the whole one, as before; a canvas takes the smaller one, too; files hold the whole one.
#[test]
fn layers_are_for_canvases() {
    let mut a = caller("a");
    let layer = PictureLayer { of: "video".into(), width: 320, height: 180 };
    a.media[1].ssrc = 1;
    let small = wire::Medium { id: "small".into(), ssrc: 2, layer: Some(layer), ..a.media[1].clone() };
    a.media.push(wire::Medium { direction: Direction::SendOnly.into(), ..small });
    let mut spec = conference(vec![a, caller("b")]);
    assert_eq!(
        ends(&routes(&spec)),
        ["a/audio>b/audio", "a/video>b/video", "b/audio>a/audio", "b/video>a/video"]
    );
    assert_eq!(routes(&spec).composed, None);
    let mode = motet_proto::media::VideoMode::Canvas.into();
    spec.video = Some(VideoSettings { mode, ..VideoSettings::default() });
    let composed = routes(&spec).composed.expect("there is a canvas");
    assert_eq!(composed.sources.keys().map(|leg| &**leg).collect::<Vec<_>>(), ["a", "b"]);
    let streams = composed.streams.keys().map(|(leg, medium)| format!("{leg}/{medium}"));
    assert_eq!(streams.collect::<Vec<_>>(), ["a/small"]);
}

#[test]
fn directions_and_wanted_publishers_are_respected() {
    let mut listener = caller("listener");
    listener.media.iter_mut().for_each(|medium| medium.direction = Direction::ReceiveOnly.into());
    let mut only_bob = medium("audio-bob", MediaKind::Audio, vec![opus(111)]);
    only_bob.receive_from = "bob".into();
    only_bob.direction = Direction::ReceiveOnly.into();
    listener.transports.push(wire::Transport { id: "audio-bob".into(), ..Default::default() });
    listener.media.push(only_bob);
    let mut alice = caller("alice");
    alice.media.iter_mut().for_each(|medium| medium.direction = Direction::SendOnly.into());
    let mut bob = caller("bob");
    bob.media.iter_mut().for_each(|medium| medium.direction = Direction::SendOnly.into());
    let routes = routes(&conference(vec![listener, alice, bob]));
    assert_eq!(
        ends(&routes),
        [
            "alice/audio>listener/audio",
            "alice/video>listener/video",
            "bob/audio>listener/audio-bob",
            "bob/video>listener/video"
        ]
    );
}

#[test]
fn policy_none_makes_named_routes_only_and_muting_keeps_them_silent() {
    let mut spec = conference(vec![caller("a"), caller("b")]);
    spec.route_policy = wire::RoutePolicy::None.into();
    spec.routes.push(wire::Route {
        from_leg: "a".into(),
        from_medium: "audio".into(),
        to_leg: "a".into(),
        to_medium: "audio".into(),
        ssrc: 99,
    });
    spec.legs[0].muted = true;
    let routes = routes(&spec);
    assert_eq!(ends(&routes), ["a/audio>a/audio"]);
    let wanted = routes.wanted.values().next().expect("one route");
    assert_eq!((wanted.ssrc, wanted.active), (Some(99), false));
}

#[test]
fn of_the_loudest_only_their_sound_is_forwarded() {
    let mut spec = conference(vec![caller("a"), caller("b"), caller("c")]);
    let audio = AudioSettings { mode: AudioMode::Loudest.into(), loudest: 1, mix: None };
    spec.audio = Some(audio);
    let mut spec = Spec::from_wire(&spec, false).expect("a good specification");
    spec.loudest.insert(Id::from("b"));
    let routes = Routes::of(&spec);
    assert_eq!(routes.wanted.len(), 12, "all are there, to be switched at once");
    for (key, wanted) in &routes.wanted {
        let heard = *key.from_medium == *"video" || *key.from_leg == *"b";
        assert_eq!(wanted.active, heard, "{key:?}");
    }
    let mixed = routes.mixed.expect("the mixer listens");
    assert_eq!((mixed.sources.len(), mixed.outputs.len()), (3, 0));
}

#[test]
fn who_is_mute_or_deaf_is_so_for_sound_alone() {
    let mut spec = conference(vec![caller("a"), caller("b"), caller("c")]);
    spec.legs[0].audio = Some(ParticipantAudio { muted: true, ..ParticipantAudio::default() });
    spec.legs[1].audio = Some(ParticipantAudio { deaf: true, ..ParticipantAudio::default() });
    spec.pair_gains.push(PairGain { from: "b".into(), to: "c".into(), silent: true, ..PairGain::default() });
    let routes = routes(&spec);
    let mut silent: Vec<String> = Vec::new();
    for (key, wanted) in routes.wanted.iter().filter(|(_, wanted)| !wanted.active) {
        assert_eq!(key.from_medium, "audio", "{wanted:?}");
        silent.push(format!("{}>{}", key.from_leg, key.to_leg));
    }
    assert_eq!(silent, ["a>b", "a>c", "b>c", "c>b"]);
}

#[test]
fn who_is_private_or_in_another_room_is_so_where_sound_is_relayed() {
    let mut spec = conference(vec![caller("a"), caller("b"), caller("c"), caller("d")]);
    spec.legs[0].audio = Some(ParticipantAudio { private: true, ..ParticipantAudio::default() });
    spec.legs[3].audio = Some(ParticipantAudio { room: "side".into(), ..ParticipantAudio::default() });
    spec.pair_gains.push(PairGain { from: "a".into(), to: "b".into(), heard: true, ..PairGain::default() });
    let routes = routes(&spec);
    let sound = routes.wanted.iter().filter(|(key, wanted)| wanted.active && *key.from_medium == *"audio");
    let heard: Vec<String> = sound.map(|(key, _)| format!("{}>{}", key.from_leg, key.to_leg)).collect();
    assert_eq!(heard, ["a>b", "b>a", "b>c", "c>a", "c>b"]);
}
