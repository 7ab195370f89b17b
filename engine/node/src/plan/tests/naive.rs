//! Specifications for the model, and what of them is to reach whom.

use super::*;
use crate::model::Id;
use motet_proto::media::{
    AudioMode, AudioSettings, CanvasSettings, Direction, MediaKind, PictureLayer, TranscodeSettings,
    VideoMode, VideoSettings,
};

/// Participants.
pub(super) const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A leg and its medium.
pub(super) type Source = (Id, Id);

pub(super) fn any_spec() -> impl Strategy<Value = wire::ConferenceSpec> {
    let leg = (
        0..5_usize,
        any::<bool>(),
        any::<bool>(),
        97..100_u32,
        0..3_u32,
        (0..4_u32, any::<bool>(), any::<bool>()),
    );
    let modes = (any::<bool>(), 0..3_u32, any::<bool>(), proptest::option::of(0..5_usize));
    (modes, proptest::collection::vec(leg, 0..5)).prop_map(|((mixed, pictures, hide_self, only), legs)| {
        let mut by_id = BTreeMap::new();
        for (id, muted, more_ports, payload_type, generation, (codec, vp8, layered)) in legs {
            let mut leg = caller(NAMES[id]);
            leg.muted = muted;
            leg.media[0].codecs[0].payload_type = payload_type;
            match codec {
                0 => leg.media[0].codecs[0].name = "exotic".into(),
                1 => leg.media[0].direction = Direction::SendOnly.into(),
                2 => leg.media[0].transport = "video".into(),
                _ => {}
            }
            if vp8 {
                leg.media[1].codecs = vec![crate::testing::codec(96, "VP8", 90_000, "")];
            }
            if layered {
                let layer = PictureLayer { of: "video".into(), width: 320, height: 180 };
                let mut small =
                    wire::Medium { id: "small".into(), layer: Some(layer), ..leg.media[1].clone() };
                small.codecs[0].payload_type = 110;
                leg.media.push(wire::Medium { direction: Direction::SendOnly.into(), ..small });
            }
            leg.transports[1].latch_generation = generation;
            if more_ports {
                leg.transports.push(wire::Transport { id: "more".into(), ..Default::default() });
            }
            by_id.insert(leg.id.clone(), leg);
        }
        let mut spec = conference(by_id.into_values().collect());
        if mixed {
            spec.audio = Some(AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() });
        }
        let (layout, pinned) = match only {
            Some(id) => ("equal:1".to_owned(), NAMES[id].to_owned()),
            None => ("equal:9".to_owned(), String::new()),
        };
        let canvas =
            Some(CanvasSettings { hide_self, layout, pinned, direct: true, ..CanvasSettings::default() });
        let transcode = Some(TranscodeSettings::default());
        spec.video = match pictures {
            0 => None,
            1 => Some(VideoSettings { mode: VideoMode::Canvas.into(), canvas, transcode: None }),
            _ => Some(VideoSettings { mode: VideoMode::Relay.into(), canvas: None, transcode }),
        };
        spec
    })
}

/// Who is relayed to a leg instead of a canvas, of those whose pictures fit it.
pub(super) fn naive_relayed(spec: &wire::ConferenceSpec, to: &str, fits: &BTreeSet<Id>) -> Option<Id> {
    let canvas = spec.video.as_ref().and_then(|video| video.canvas.as_ref()).filter(|_| is_composed(spec))?;
    let leg = |id: &str| spec.legs.iter().find(|leg| leg.id == id);
    let people: Vec<&wire::Leg> =
        spec.legs.iter().filter(|leg| !(leg.muted || canvas.hide_self && leg.id == to)).collect();
    let is_here = |id: &str| people.iter().any(|leg| leg.id == id);
    let only = match &people[..] {
        _ if canvas.layout != "equal:1" => return None,
        _ if is_here(&canvas.pinned) => leg(&canvas.pinned)?,
        [only] => *only,
        _ => return None,
    };
    let codec = |leg: &wire::Leg| leg.media[1].codecs[0].name.clone();
    let relayed = only.id != to && codec(only) == codec(leg(to)?) && fits.contains(only.id.as_str());
    relayed.then(|| Id::from(&only.id))
}

pub(super) fn is_composed(spec: &wire::ConferenceSpec) -> bool {
    spec.video.as_ref().is_some_and(|video| video.mode() == VideoMode::Canvas)
}

/// Smaller copies of who is seen on a canvas.
pub(super) fn naive_layers(spec: &wire::ConferenceSpec) -> BTreeSet<Source> {
    let legs = spec.legs.iter().filter(|leg| !leg.muted);
    let media = legs.flat_map(|leg| leg.media.iter().map(move |medium| (leg, medium)));
    let layers = media.filter(|(_, medium)| medium.layer.is_some());
    layers.map(|(leg, medium)| (Id::from(&leg.id), Id::from(&medium.id))).collect()
}

/// Streams of others that a leg is to get from the relay alone, and those that are to be transcoded: leg and medium.
pub(super) fn naive(spec: &wire::ConferenceSpec, to: &str) -> (Vec<Source>, BTreeSet<Source>) {
    let (mut streams, mut transcoded) = (Vec::new(), BTreeSet::new());
    let receiver = spec.legs.iter().find(|leg| leg.id == to).expect("a leg");
    for from in spec.legs.iter().filter(|from| from.id != to) {
        for (sent, received) in from.media.iter().zip(&receiver.media[..2]) {
            let is_audio = sent.kind() == MediaKind::Audio;
            let takes = received.direction() != Direction::SendOnly;
            let made_here = if is_audio { spec.audio.is_some() } else { is_composed(spec) };
            let key = (Id::from(&from.id), Id::from(&sent.id));
            if !takes || made_here {
                continue;
            }
            if sent.codecs[0].name == received.codecs[0].name {
                streams.push(key);
            } else if !is_audio && spec.video.is_some() {
                transcoded.insert(key);
            }
        }
    }
    (streams, transcoded)
}
