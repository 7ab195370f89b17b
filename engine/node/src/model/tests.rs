use super::*;
use crate::error::NodeError;
use crate::testing::{caller, conference, leg, medium, opus};

fn refused(change: impl FnOnce(&mut wire::ConferenceSpec)) -> (String, String) {
    let mut spec = conference(vec![caller("alice"), caller("bob")]);
    change(&mut spec);
    match Spec::from_wire(&spec, false) {
        Err(NodeError::Invalid { field, why }) => (field, why),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_good_specification_is_taken() {
    let spec = conference(vec![caller("alice"), caller("bob")]);
    let spec = Spec::from_wire(&spec, false).expect("nothing is wrong with it");
    assert_eq!(spec.policy, Policy::All);
    let alice = &spec.legs["alice"];
    assert_eq!(alice.cname, "alice@c1");
    assert_eq!(alice.transports[1].latch, Latch::Symmetric);
    assert_eq!((alice.media[1].transport, alice.media[1].codecs[0].name.as_str()), (1, "h264"));
}

type Change = Box<dyn FnOnce(&mut wire::ConferenceSpec)>;

/// A mix as it usually is.
fn mix() -> wire_media::AudioSettings {
    let mix = Some(wire_media::MixSettings::default());
    wire_media::AudioSettings { mode: wire_media::AudioMode::Mix.into(), loudest: 0, mix }
}

fn audio(change: fn(&mut wire_media::AudioSettings)) -> Change {
    Box::new(move |spec| change(spec.audio.insert(mix())))
}

fn with_mix(change: fn(&mut wire_media::MixSettings)) -> Change {
    Box::new(move |spec| change(spec.audio.insert(mix()).mix.get_or_insert_default()))
}

fn louder(gain_db: f64) -> wire_media::ParticipantAudio {
    wire_media::ParticipantAudio { gain_db, ..wire_media::ParticipantAudio::default() }
}

fn voice(change: fn(&mut wire_media::ParticipantAudio)) -> Change {
    Box::new(move |spec| change(spec.legs[1].audio.get_or_insert_default()))
}

fn suppressed_at_16_khz(spec: &mut wire::ConferenceSpec) {
    spec.audio.insert(mix()).mix.get_or_insert_default().rate_hz = 16_000;
    spec.legs[1].audio.get_or_insert_default().noise_suppression = true;
}

fn pair(from: &str, to: &str) -> wire_media::PairGain {
    wire_media::PairGain { from: from.into(), to: to.into(), ..wire_media::PairGain::default() }
}

#[test]
fn what_is_left_open_of_a_mix_is_usual() {
    let mut spec = conference(vec![caller("alice")]);
    assert_eq!(Spec::from_wire(&spec, false).expect("good").audio, AudioMode::Relay);
    spec.audio = Some(wire_media::AudioSettings { mix: None, ..mix() });
    let usual =
        MixSettings { rate_hz: 48_000, speakers_max: 3, hold_ms: 500, strip_dtmf: false, floor: false };
    assert_eq!(Spec::from_wire(&spec, false).expect("good").audio, AudioMode::Mix(usual));
}

#[test]
fn every_refusal_about_sound_names_its_field() {
    refuses(vec![
        ("spec.audio.mode", audio(|audio| audio.mode = 9)),
        ("spec.audio.mode", Box::new(|s| (s.audio, s.route_policy) = (Some(mix()), 2))),
        ("spec.audio.mix", audio(|audio| audio.mode = 1)),
        ("spec.audio.loudest", audio(|audio| audio.loudest = 2)),
        ("spec.audio.loudest", audio(|audio| (audio.mode, audio.mix, audio.loudest) = (2, None, 0))),
        ("spec.audio.loudest", audio(|audio| (audio.mode, audio.mix, audio.loudest) = (2, None, 33))),
        ("spec.audio.mix.rate_hz", with_mix(|mix| mix.rate_hz = 44_100)),
        ("spec.audio.mix.speakers_max", with_mix(|mix| mix.speakers_max = 33)),
        ("spec.audio.mix.hold_ms", with_mix(|mix| mix.hold_ms = 10_001)),
        (
            "spec.legs[0].media",
            Box::new(|s| {
                s.audio = Some(mix());
                s.legs[0].media[1] = medium("audio2", wire_media::MediaKind::Audio, vec![opus(96)]);
                s.legs[0].media[1].transport = "video".into();
            }),
        ),
        ("spec.legs[1].audio.gain_db", Box::new(|s| s.legs[1].audio = Some(louder(20.5)))),
        ("spec.legs[1].audio.gain_db", Box::new(|s| s.legs[1].audio = Some(louder(f64::NAN)))),
        ("spec.legs[1].audio.room", voice(|audio| audio.room = "a room".into())),
        ("spec.legs[1].audio.main_room_db", voice(|audio| audio.main_room_db = Some(-6.0))),
        (
            "spec.legs[1].audio.main_room_db",
            voice(|audio| (audio.room, audio.main_room_db) = ("side".into(), Some(0.5))),
        ),
        ("spec.legs[1].audio.noise_suppression", Box::new(suppressed_at_16_khz)),
        ("spec.legs[0].media[0].audio_level_id", Box::new(|s| s.legs[0].media[0].audio_level_id = 15)),
        ("spec.legs[0].media[1].audio_level_id", Box::new(|s| s.legs[0].media[1].audio_level_id = 1)),
        ("spec.pair_gains[0].from", Box::new(|s| s.pair_gains = vec![pair("x", "bob")])),
        ("spec.pair_gains[0].to", Box::new(|s| s.pair_gains = vec![pair("bob", "x")])),
        ("spec.pair_gains[0].to", Box::new(|s| s.pair_gains = vec![pair("bob", "bob")])),
        ("spec.pair_gains[1]", Box::new(|s| s.pair_gains = vec![pair("alice", "bob"), pair("alice", "bob")])),
    ]);
}

/// A leg's third medium as a smaller copy.
fn layered(change: fn(&mut wire::Medium)) -> Change {
    Box::new(move |spec| {
        let leg = &mut spec.legs[0];
        let mut layer = wire::Medium { id: "small".into(), ..leg.media[1].clone() };
        (layer.direction, layer.ssrc, leg.media[1].ssrc) = (2, 2, 1);
        layer.layer = Some(wire_media::PictureLayer { of: "video".into(), width: 640, height: 360 });
        change(&mut layer);
        leg.media.push(layer);
    })
}

fn layer_of(medium: &mut wire::Medium) -> &mut wire_media::PictureLayer {
    medium.layer.as_mut().expect("it is a layer")
}

#[test]
fn every_refusal_about_layers_names_its_field() {
    let mut spec = conference(vec![caller("alice"), caller("bob")]);
    layered(|_| {})(&mut spec);
    let model = Spec::from_wire(&spec, false).expect("good");
    let layer = model.legs["alice"].media[2].layer.as_ref().expect("a layer");
    assert_eq!((&*layer.of, layer.size.width, layer.size.height), ("video", 640, 360));
    refuses(vec![
        ("spec.legs[0].media[2].layer.width", layered(|medium| layer_of(medium).width = 15)),
        ("spec.legs[0].media[2].layer.height", layered(|medium| layer_of(medium).height = 8193)),
        ("spec.legs[0].media[2].layer.of", layered(|medium| layer_of(medium).of = "camera".into())),
        ("spec.legs[0].media[2].layer.of", layered(|medium| layer_of(medium).of = "audio".into())),
        ("spec.legs[0].media[2].layer.of", layered(|medium| layer_of(medium).of = "small".into())),
        ("spec.legs[0].media[2].direction", layered(|medium| medium.direction = 1)),
        (
            "spec.legs[0].media[2].layer",
            layered(|medium| medium.kind = wire_media::MediaKind::Content.into()),
        ),
    ]);
}

#[test]
fn every_other_refusal_names_its_field() {
    refuses(vec![
        ("spec.id", Box::new(|s| s.id = "a b".into())),
        ("spec.id", Box::new(|s| s.id.clear())),
        ("spec.legs[1].id", Box::new(|s| s.legs[1].id = "alice".into())),
        ("spec.legs[0].transports", Box::new(|s| s.legs[0].transports.clear())),
        ("spec.legs[0].transports[1].id", Box::new(|s| s.legs[0].transports[1].id = "audio".into())),
        ("spec.legs[0].transports[0].remote", Box::new(|s| s.legs[0].transports[0].remote = "alice".into())),
        (
            "spec.legs[0].transports[0].remote",
            Box::new(|s| s.legs[0].transports[0].remote = "1.2.3.4:0".into()),
        ),
        ("spec.legs[0].transports[0].remote", Box::new(|s| s.legs[0].transports[0].latch = 2)),
        ("spec.legs[0].transports[0].latch", Box::new(|s| s.legs[0].transports[0].latch = 9)),
        ("spec.legs[0].transports[0].ip_version", Box::new(|s| s.legs[0].transports[0].ip_version = 5)),
        ("spec.legs[0].media[0].kind", Box::new(|s| s.legs[0].media[0].kind = 0)),
        ("spec.legs[0].media[0].direction", Box::new(|s| s.legs[0].media[0].direction = 7)),
        ("spec.legs[0].media[0].transport", Box::new(|s| s.legs[0].media[0].transport = "other".into())),
        ("spec.legs[0].media[0].codecs", Box::new(|s| s.legs[0].media[0].codecs.clear())),
        (
            "spec.legs[1].media[0].codecs[1].payload_type",
            Box::new(|s| s.legs[1].media[0].codecs.push(opus(111))),
        ),
        (
            "spec.legs[0].media[0].codecs[0].payload_type",
            Box::new(|s| s.legs[0].media[0].codecs[0].payload_type = 72),
        ),
        (
            "spec.legs[0].media[0].codecs[0].clock_rate_hz",
            Box::new(|s| s.legs[0].media[0].codecs[0].clock_rate_hz = 0),
        ),
        (
            "spec.legs[0].media[0].receive_from",
            Box::new(|s| s.legs[0].media[0].receive_from = "alice".into()),
        ),
        ("spec.route_policy", Box::new(|s| s.route_policy = 77)),
        ("spec.routes[0].from_leg", Box::new(|s| s.routes.push(wire::Route::default()))),
        ("spec.metadata", Box::new(|s| s.metadata = vec![0; METADATA_BYTES_MAX + 1])),
    ]);
}

#[track_caller]
fn refuses(cases: Vec<(&str, Change)>) {
    for (expected, change) in cases {
        let (field, why) = refused(change);
        assert_eq!(field, expected, "{why}");
        assert!(!why.is_empty());
    }
}

#[test]
fn payload_types_are_told_apart_by_ssrc_on_one_transport() {
    let bundled = |first_ssrc, second_ssrc| {
        let mut camera = medium("camera", wire_media::MediaKind::Video, vec![opus(96)]);
        let mut screen = medium("screen", wire_media::MediaKind::Content, vec![opus(96)]);
        camera.ssrc = first_ssrc;
        screen.ssrc = second_ssrc;
        let mut leg = leg("a", vec![camera, screen]);
        leg.transports.truncate(1);
        leg.media[1].transport = leg.transports[0].id.clone();
        Spec::from_wire(&conference(vec![leg]), false)
    };
    assert!(bundled(1, 2).is_ok());
    assert!(bundled(1, 1).is_err());
    assert!(bundled(1, 0).is_err());
}

#[test]
fn a_given_address_makes_the_destination_fixed() {
    let mut spec = conference(vec![caller("alice")]);
    spec.legs[0].transports[0].remote = "[2001:db8::1]:5004".into();
    let spec = Spec::from_wire(&spec, false).expect("nothing is wrong with it");
    let transport = &spec.legs["alice"].transports[0];
    assert_eq!((transport.latch, transport.ipv6), (Latch::Fixed, true));
}
