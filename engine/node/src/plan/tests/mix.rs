//! Mixes: what begins, stays and ends.

use super::*;
use crate::testing::{codec, leg, medium, opus};
use motet_proto::media::{AudioMode, AudioSettings, MediaKind, PairGain, ParticipantAudio};

fn mixed(legs: Vec<wire::Leg>) -> wire::ConferenceSpec {
    let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
    wire::ConferenceSpec { audio: Some(audio), ..conference(legs) }
}

fn telephone(id: &str) -> wire::Leg {
    let codecs = vec![
        codec(18, "G729", 8_000, ""),
        codec(0, "PCMU", 8_000, ""),
        codec(101, "telephone-event", 8_000, ""),
    ];
    leg(id, vec![medium("audio", MediaKind::Audio, codecs)])
}

/// The mix, which there must be.
fn mix(world: &World) -> &HeldMix {
    world.held.mix.as_ref().expect("it is mixed")
}

#[test]
fn everybody_is_heard_by_the_mixer_and_gets_one_stream_of_its_own_codec() {
    let mut world = World::new();
    let plan = world.go(&mixed(vec![caller("a"), caller("b"), telephone("t")]));
    let mix = mix(&world);
    assert_eq!((mix.trunks.len(), mix.sources.len(), mix.outputs.len()), (1, 3, 3));
    assert!(
        world.held.routes.keys().all(|key| key.from_medium == "video"),
        "nothing but pictures is relayed"
    );
    let types = |leg: &str| mix.outputs[leg].part.codecs.iter().map(|c| c.payload_type).collect::<Vec<_>>();
    assert_eq!((types("a"), types("t")), (vec![111], vec![0, 101]), "the first that the mixer has");
    assert_eq!(mix.sources["t"].part.codecs.len(), 3, "it may send what it likes");
    // The mixer knows who comes before the first packet does.
    let last = &plan.steps[&0].last;
    assert!(
        last.len() == 3 && last.iter().all(|command| matches!(command, Command::AddRoute(..))),
        "{last:?}"
    );
    let again = world.go(&mixed(vec![caller("a"), caller("b"), telephone("t")]));
    assert_eq!((commands(&again), again.mix), (vec![], None));
}

#[test]
fn who_leaves_gets_nothing_more_before_the_worker_hears_of_it() {
    let mut world = World::new();
    world.go(&mixed(vec![caller("a"), caller("b"), caller("c")]));
    let before = world.held.clone();
    let plan = world.go(&mixed(vec![caller("a"), caller("b")]));
    let step = plan.mix.clone().expect("the mixing thread is told");
    let first = step.first.expect("at first");
    assert!(!first.outputs.contains_key("c") && first.sources.contains_key("c"));
    assert!(!step.last.expect("it goes on").sources.contains_key("c"));
    let stream = before.mix.as_ref().expect("mixed").outputs["c"].stream;
    assert!(commands(&plan).contains(&Command::RemoveStream(stream)));
    assert!(mix(&world).outputs["a"] == before.mix.expect("mixed").outputs["a"], "who stays keeps all");
}

#[test]
fn a_running_conference_is_switched_to_a_mix_and_back() {
    let mut world = World::new();
    let legs = || vec![caller("a"), caller("b"), caller("c")];
    world.go(&conference(legs()));
    let relayed = world.held.clone();
    let plan = world.go(&mixed(legs()));
    let removed = commands(&plan).iter().filter(|c| matches!(c, Command::RemoveRoute(_))).count();
    assert_eq!(removed, 6, "the others' sound");
    assert_eq!(world.held.streams, relayed.streams, "publishers do not notice");
    let plan = world.go(&conference(legs()));
    assert!(world.held.mix.is_none());
    let step = plan.mix.expect("the mixing thread is told");
    assert!(step.first.expect("at first").outputs.is_empty() && step.last.is_none());
    assert_eq!((plan.released.trunk_ports.len(), plan.released.streams.len()), (2, 3));
    assert_eq!(plan.released.trunk_ports[1].0, MIXING_THREAD);
    assert_eq!(world.held.routes.len(), relayed.routes.len());
}

#[test]
fn another_codec_changes_what_a_receiver_gets_without_another_ssrc() {
    let mut world = World::new();
    world.go(&mixed(vec![caller("a"), telephone("t")]));
    let held = world.held.mix.as_mut().expect("it is mixed").outputs.get_mut("t").expect("t hears");
    for lost in [5, 10] {
        held.loss.look(motet_rtp::Time::from_millis(1_000), 0.05, lost);
    }
    let before = mix(&world).outputs["t"].clone();
    let mut spec = mixed(vec![caller("a"), telephone("t")]);
    spec.legs[1].media[0].codecs[1] = codec(9, "G722", 8_000, "");
    let plan = world.go(&spec);
    let after = &mix(&world).outputs["t"];
    assert_eq!((after.route, after.ssrc), (before.route, before.ssrc));
    assert_ne!((after.stream, after.crossing), (before.stream, before.crossing));
    let form = plan.mix.clone().and_then(|step| step.last).expect("the mixing thread is told");
    assert_eq!(
        (form.outputs["t"].loss_percent, form.outputs["a"].loss_percent),
        (5, 0),
        "it loses as before"
    );
    assert!(commands(&plan).iter().any(
        |command| matches!(command, Command::SwitchRoute { route, stream, .. } if (*route, *stream) == (after.route, after.stream))
    ));
}

#[test]
fn who_has_no_codec_of_the_mixers_is_named_with_the_reason() {
    let mut world = World::new();
    let exotic = leg("x", vec![medium("audio", MediaKind::Audio, vec![codec(18, "G729", 8_000, "")])]);
    world.go(&mixed(vec![caller("a"), exotic]));
    let mix = mix(&world);
    assert!(mix.unheard["x"].1.contains("g729") && mix.unserved["x"].1.contains("g729"), "{mix:?}");
    assert_eq!((mix.sources.len(), mix.outputs.len()), (1, 1));
}

#[test]
fn what_only_the_mixer_needs_to_know_is_no_command() {
    let mut world = World::new();
    let mut spec = mixed(vec![caller("a"), caller("b")]);
    world.go(&spec);
    spec.legs[0].audio = Some(ParticipantAudio { muted: true, gain_db: -6.0, ..ParticipantAudio::default() });
    spec.legs[1].audio = Some(ParticipantAudio { deaf: true, ..ParticipantAudio::default() });
    spec.pair_gains.push(PairGain { from: "a".into(), to: "b".into(), silent: true, ..PairGain::default() });
    let plan = world.go(&spec);
    assert_eq!(commands(&plan), []);
    let step = plan.mix.expect("the mixing thread is told");
    let (first, form) = (step.first, step.last.expect("it goes on"));
    assert!(form.sources["a"].muted && form.outputs["b"].deaf);
    assert!(first.is_none(), "who hears something else goes on in its stream");
    assert_eq!(form.pair_gains[&("a".into(), "b".into())], None);
}

#[test]
fn who_wants_one_leg_only_gets_it_relayed() {
    let mut world = World::new();
    let mut spec = mixed(vec![caller("a"), caller("b"), caller("c")]);
    spec.legs[2].media[0].receive_from = "a".into();
    spec.legs[2].media[0].codecs = vec![opus(111)];
    world.go(&spec);
    let audio: Vec<_> = world.held.routes.keys().filter(|key| key.from_medium == "audio").collect();
    assert!(
        audio.len() == 1 && (audio[0].from_leg.as_str(), audio[0].to_leg.as_str()) == ("a", "c"),
        "{audio:?}"
    );
    assert!(!mix(&world).outputs.contains_key("c") && mix(&world).sources.contains_key("c"));
}

#[test]
fn each_worker_has_a_trunk_to_the_mixing_thread() {
    let mut world = World::new();
    world.resources.legs_max = Some(2);
    world.go(&mixed(vec![caller("a"), caller("b"), caller("c")]));
    assert_eq!(mix(&world).trunks.keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert!(
        world.held.trunks.values().all(|trunk| trunk.crossings.keys().eq(["video"])),
        "sound does not cross"
    );
    let plan = world.go(&mixed(vec![caller("a"), caller("b")]));
    assert_eq!(mix(&world).trunks.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(plan.mix.expect("told").last.expect("goes on").ends.len(), 1);
}
