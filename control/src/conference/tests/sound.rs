//! Audio modes, mute and gains, prompts, and what happens in mixes.

use super::*;
use motet_proto::media::playback_order::Order as PlaybackStep;
use motet_proto::media::{AudioMode, AudioSettings, MixSettings, PairGain, PlaybackOrder, PlaybackState};
use node::event::Kind as Media;

fn mix() -> AudioSettings {
    AudioSettings { mode: AudioMode::Mix.into(), loudest: 0, mix: Some(MixSettings::default()) }
}

fn set_audio(world: &mut World, audio: AudioSettings) -> u64 {
    let set = wire::SetAudioRequest { conference: "700".into(), audio: Some(audio), ..Default::default() };
    world.request(Request::SetAudio(set))
}

fn set(world: &mut World, participant: &str, muted: Option<bool>, gain_db: Option<f64>) -> u64 {
    let (conference, participant) = ("700".to_owned(), participant.to_owned());
    let set =
        wire::SetParticipantAudioRequest { conference, participant, muted, gain_db, ..Default::default() };
    world.request(Request::SetParticipantAudio(set))
}

/// Changes alice.
fn change(world: &mut World, change: impl FnOnce(&mut wire::SetParticipantAudioRequest)) -> u64 {
    let (conference, participant) = ("700".to_owned(), "alice".to_owned());
    let mut set = wire::SetParticipantAudioRequest { conference, participant, ..Default::default() };
    change(&mut set);
    world.request(Request::SetParticipantAudio(set))
}

fn side_room_louder(set: &mut wire::SetParticipantAudioRequest) {
    (set.room, set.main_room_db) = (Some("side".into()), Some(1.0));
}

fn pair(world: &mut World, from: &str, to: &str, gain_db: f64) -> u64 {
    let pair_gain = Some(PairGain { from: from.into(), to: to.into(), gain_db, ..PairGain::default() });
    let set = wire::SetPairGainRequest { conference: "700".into(), pair_gain, ..Default::default() };
    world.request(Request::SetPairGain(set))
}

/// The specification that waits to be told to a node.
fn told(world: &World) -> node::ConferenceSpec {
    let put = world.pending.iter().find_map(|effect| match effect {
        Effect::NodePut { put, .. } => put.spec.clone(),
        _ => None,
    });
    put.expect("the node is told")
}

#[test]
fn the_mode_is_kept_then_told_then_answered() {
    let mut world = running();
    let request = set_audio(&mut world, mix());
    assert!(world.answer(true), "the store comes first");
    assert_eq!(told(&world).audio, Some(mix()));
    assert!(!world.replies.contains_key(&request));
    world.settle();
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    assert_eq!((info.audio, world.emitted(Kind::AudioChanged)), (Some(mix()), 1));
    assert!(world.stored["c1"].audio.is_mixed());
    // The same again is no change.
    let again = set_audio(&mut world, mix());
    assert!(world.replies[&again].is_ok() && world.pending.is_empty());
}

#[test]
fn a_node_that_refuses_leaves_everything_as_it_was() {
    let mut world = running();
    let request = set_audio(&mut world, mix());
    world.answer(true);
    world.answer(false);
    assert!(world.replies[&request].is_err());
    assert!(!world.state.conferences["c1"].record.audio.is_mixed());
}

#[test]
fn participants_are_muted_and_heard_by_pairs_until_they_leave() {
    let mut world = running();
    world.join("700", "bob");
    world.settle();
    let request = set(&mut world, "alice", Some(true), Some(-6.0));
    world.answer(true);
    let leg = told(&world).legs[0].audio.clone().expect("other than usual");
    assert_eq!((leg.muted, leg.gain_db, leg.deaf), (true, -6.0, false));
    world.settle();
    assert!(matches!(&world.replies[&request], Ok(Response::Participant(info)) if info.id == "alice"));
    set(&mut world, "alice", Some(false), None);
    world.settle();
    let audio = world.state.conferences["c1"].record.participants["alice"].audio.clone();
    assert_eq!((audio.muted, audio.gain_db), (false, -6.0), "what is not given stays");

    pair(&mut world, "alice", "bob", -20.0);
    pair(&mut world, "bob", "alice", 3.0);
    world.settle();
    assert_eq!(world.state.conferences["c1"].record.pair_gains.len(), 2);
    pair(&mut world, "alice", "bob", 0.0);
    world.settle();
    assert_eq!(world.state.conferences["c1"].record.pair_gains.len(), 1, "0 dB is as all others do");
    let (conference, participant) = ("700".to_owned(), "bob".to_owned());
    world.request(Request::Remove(wire::RemoveParticipantRequest {
        conference,
        participant,
        ..Default::default()
    }));
    world.settle();
    assert_eq!(world.state.conferences["c1"].record.pair_gains, []);
}

#[test]
fn what_makes_no_sense_is_refused_by_its_field() {
    let mut world = running();
    let bad_rate = MixSettings { rate_hz: 44_100, ..MixSettings::default() };
    let cases = [
        (set_audio(&mut world, AudioSettings { mode: 9, ..mix() }), "audio.mode"),
        (set_audio(&mut world, AudioSettings { mode: 1, ..mix() }), "audio.mix"),
        (set_audio(&mut world, AudioSettings { mode: 2, loudest: 33, mix: None }), "audio.loudest"),
        (set_audio(&mut world, AudioSettings { mix: Some(bad_rate), ..mix() }), "audio.mix.rate_hz"),
        (set(&mut world, "eve", Some(true), None), "participant"),
        (set(&mut world, "alice", None, Some(20.5)), "gain_db"),
        (set(&mut world, "alice", None, Some(f64::NAN)), "gain_db"),
        (pair(&mut world, "alice", "eve", 1.0), "pair_gain.to"),
        (pair(&mut world, "alice", "alice", 1.0), "pair_gain.to"),
        (change(&mut world, |set| set.room = Some("a room".into())), "room"),
        (change(&mut world, |set| set.main_room_db = Some(-6.0)), "main_room_db"),
        (change(&mut world, side_room_louder), "main_room_db"),
    ];
    for (request, field) in cases {
        assert!(world.refusal(request).message.contains(field), "{field}: {:?}", world.refusal(request));
    }
    assert!(world.pending.is_empty());
}

#[test]
fn prompts_go_to_the_node_of_a_mixed_conference() {
    let mut world = running();
    let play = |to: &[&str]| wire::PlayPromptRequest {
        conference: "700".into(),
        file: "gong.wav".into(),
        to: to.iter().map(|who| (*who).to_owned()).collect(),
        ..Default::default()
    };
    let refused = world.request(Request::Play { id: "p1".into(), play: play(&[]) });
    assert_eq!(world.refusal(refused).code, Code::FailedPrecondition, "it is not mixed");
    set_audio(&mut world, mix());
    world.settle();
    let stranger = world.request(Request::Play { id: "p1".into(), play: play(&["eve"]) });
    assert_eq!(world.refusal(stranger).code, Code::NotFound);
    let request = world.request(Request::Play { id: "p1".into(), play: play(&["alice"]) });
    let Some(Effect::NodeOrder { order, address, .. }) = world.pending.pop() else { panic!("an order") };
    let NodeOrder::Play(order) = *order else { panic!("to play") };
    assert_eq!((address.as_str(), order.prompt.as_str(), order.conference.as_str()), ("n1", "p1", "c1"));
    let playing = wire::PlayPromptResponse { prompt: order.prompt, duration_ms: 5 };
    let result = Ok(OrderAnswer::Playing(playing));
    world.event(Event::NodeOrdered { request: RequestId(request), result });
    assert!(matches!(&world.replies[&request], Ok(Response::Order(OrderAnswer::Playing(_)))));
}

#[test]
fn snapshots_are_taken_by_the_conferences_node() {
    let mut world = running();
    let of = |participant: &str| {
        let (conference, participant) = ("700".to_owned(), participant.to_owned());
        Request::Snapshot(wire::SnapshotRequest { conference, participant })
    };
    let stranger = world.request(of("eve"));
    assert_eq!(world.refusal(stranger).code, Code::NotFound);
    let request = world.request(of("alice"));
    let Some(Effect::NodeOrder { order, address, .. }) = world.pending.pop() else { panic!("an order") };
    let NodeOrder::Snapshot(order) = *order else { panic!("a snapshot") };
    assert_eq!((address.as_str(), order.leg.as_str(), order.conference.as_str()), ("n1", "alice", "c1"));
    let taken = wire::SnapshotResponse { png: vec![1], width: 2, height: 3 };
    let result = Ok(OrderAnswer::Snapshot(taken.clone()));
    world.event(Event::NodeOrdered { request: RequestId(request), result });
    assert_eq!(world.replies[&request], Ok(Response::Order(OrderAnswer::Snapshot(taken))));
}

#[test]
fn what_participants_play_is_ordered_from_their_node() {
    let mut world = running();
    let order = |participant: &str, order: Option<PlaybackStep>| {
        let (conference, participant) = ("700".to_owned(), participant.to_owned());
        let order = Some(PlaybackOrder { order });
        Request::Playback(wire::PlaybackRequest { conference, participant, order })
    };
    let pause = Some(PlaybackStep::Pause(true));
    let stranger = world.request(order("eve", pause.clone()));
    assert_eq!(world.refusal(stranger).code, Code::NotFound);
    let nothing = world.request(order("alice", None));
    assert_eq!(world.refusal(nothing).field, "order");
    let request = world.request(order("alice", pause.clone()));
    let Some(Effect::NodeOrder { order, .. }) = world.pending.pop() else { panic!("an order") };
    let NodeOrder::Playback(order) = *order else { panic!("a playback") };
    assert_eq!((order.leg.as_str(), order.order.and_then(|order| order.order)), ("alice", pause));
    let state = PlaybackState { file: "film.mp4".into(), paused: true, ..Default::default() };
    let result = Ok(OrderAnswer::Playback(state.clone()));
    world.event(Event::NodeOrdered { request: RequestId(request), result });
    assert_eq!(world.replies[&request], Ok(Response::Order(OrderAnswer::Playback(state))));
}

#[test]
fn what_happens_in_a_mix_is_told() {
    let mut world = running();
    let leg = "alice".to_owned();
    let kinds = [
        (
            Media::SpeakerChanged(node::SpeakerChanged { leg: leg.clone(), speaking: true }),
            Kind::SpeakerStarted,
        ),
        (
            Media::SpeakerChanged(node::SpeakerChanged { leg: leg.clone(), speaking: false }),
            Kind::SpeakerStopped,
        ),
        (Media::ActiveSpeakerChanged(node::ActiveSpeakerChanged { leg: leg.clone() }), Kind::ActiveSpeaker),
        (Media::KeyPressed(node::KeyPressed { leg, key: "#".into(), duration_ms: 90 }), Kind::KeyPressed),
        (
            Media::PromptFinished(node::PromptFinished { prompt: "p1".into(), complete: true }),
            Kind::PromptFinished,
        ),
        (
            Media::PlaybackEnded(node::PlaybackEnded {
                leg: "alice".into(),
                file: "film.mp4".into(),
                complete: true,
                message: String::new(),
            }),
            Kind::PlaybackEnded,
        ),
        (
            Media::CanvasRateChanged(node::CanvasRateChanged { frames_per_second: 7.5, wanted: 30 }),
            Kind::CanvasRateChanged,
        ),
    ];
    for (media, kind) in kinds {
        let event = node::Event {
            node_id: "n1".into(),
            conference: "c1".into(),
            epoch: 1,
            kind: Some(media),
            ..Default::default()
        };
        world.event(Event::Media(Box::new(event)));
        assert_eq!(world.emitted(kind), 1, "{kind:?}");
    }
    let key = world.events.iter().find(|(kind, _)| *kind == Kind::KeyPressed).map(|(_, message)| message);
    assert_eq!(key.map(String::as_str), Some("alice pressed # for 90 ms"));
}

#[test]
fn side_rooms_whispers_and_the_floor_are_kept() {
    let mut world = running();
    world.join("700", "bob");
    world.settle();
    change(&mut world, |set| (set.room, set.main_room_db) = (Some("side".into()), Some(-12.0)));
    world.settle();
    change(&mut world, |set| (set.private, set.floor) = (Some(true), Some(true)));
    world.answer(true);
    let leg = told(&world).legs[0].audio.clone().expect("other than usual");
    assert_eq!(
        (leg.room.as_str(), leg.main_room_db, leg.private, leg.floor),
        ("side", Some(-12.0), true, true)
    );
    world.settle();
    change(&mut world, |set| set.room = Some(String::new()));
    world.settle();
    let audio = world.state.conferences["c1"].record.participants["alice"].audio.clone();
    assert_eq!((audio.room.as_str(), audio.main_room_db, audio.private), ("", None, true));
    let heard = PairGain { from: "alice".into(), to: "bob".into(), heard: true, ..PairGain::default() };
    let set = wire::SetPairGainRequest {
        conference: "700".into(),
        pair_gain: Some(heard.clone()),
        ..Default::default()
    };
    world.request(Request::SetPairGain(set));
    world.answer(true);
    assert_eq!(told(&world).pair_gains, [heard], "0 dB is a gain to who is private");
}

#[test]
fn noise_is_taken_out_at_one_rate_only() {
    let mut world = running();
    let narrow =
        || AudioSettings { mix: Some(MixSettings { rate_hz: 8_000, ..MixSettings::default() }), ..mix() };
    set_audio(&mut world, narrow());
    world.settle();
    let refused = change(&mut world, |set| set.noise_suppression = Some(true));
    assert!(world.refusal(refused).message.contains("48000"), "{:?}", world.refusal(refused));
    set_audio(&mut world, mix());
    world.settle();
    change(&mut world, |set| set.noise_suppression = Some(true));
    world.settle();
    let refused = set_audio(&mut world, narrow());
    assert!(world.refusal(refused).message.contains("alice"), "{:?}", world.refusal(refused));
}
