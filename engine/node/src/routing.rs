//! Which routes a specification wants, and with which payload types. Pure.

use crate::model::{AudioMode, Codec, Id, Leg, MediaKind, Medium, Policy, RouteKey, Spec};
use std::collections::BTreeMap;
use std::sync::Arc;

mod alone;
mod composed;
mod mixed;

pub use alone::Relayed;
pub use composed::{Composed, Format, Sees, View};
pub use mixed::{Mixed, Participation};

/// A route that the specification wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What of the publisher's the receiver gets, and as what; many routes share one.
    pub mapping: Arc<Mapping>,
    /// SSRC that the specification asks for.
    pub ssrc: Option<u32>,
    /// False while the publisher is muted.
    pub active: bool,
    /// What its pictures are transcoded to, since the receiver has none of its codecs; none: they are relayed.
    pub transcoded: Option<Format>,
}

/// Payload types that a route carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// From publisher to receiver.
    pub payload_types: Vec<(u8, u8)>,
    /// What the receiver gets, in the publisher's order.
    pub codecs: Vec<Arc<Codec>>,
}

impl Mapping {
    fn of(pairs: &[(&Arc<Codec>, &Arc<Codec>)]) -> Mapping {
        Mapping {
            payload_types: pairs.iter().map(|(from, to)| (from.payload_type, to.payload_type)).collect(),
            codecs: pairs.iter().map(|(_, to)| Arc::clone(to)).collect(),
        }
    }
}

/// The routes of a specification: those that can be made, and why others cannot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// To be made.
    pub wanted: BTreeMap<RouteKey, Wanted>,
    /// Cannot be made, with the reason for people.
    pub refused: BTreeMap<RouteKey, String>,
    /// What is mixed; none: nothing is.
    pub mixed: Option<Mixed>,
    /// What is composed or transcoded; none: nothing is.
    pub composed: Option<Composed>,
    /// What is transcoded, by leg and medium, and whether anybody is to get it now.
    transcoded: BTreeMap<(Id, Id), bool>,
    mappings: Vec<Arc<Mapping>>,
}

/// Different mappings that are looked through before another copy is made. Participants of a conference mostly
/// have the same codecs.
const MAPPINGS_MAX: usize = 16;
/// Media of a conference that are transcoded at most.
const TRANSCODED_MAX: usize = 32;

/// The mapping, from among those that are there if one is the same.
pub(crate) fn shared(mappings: &mut Vec<Arc<Mapping>>, mapping: Mapping) -> Arc<Mapping> {
    if let Some(known) = mappings.iter().find(|known| ***known == mapping) {
        return Arc::clone(known);
    }
    let mapping = Arc::new(mapping);
    if mappings.len() < MAPPINGS_MAX {
        mappings.push(Arc::clone(&mapping));
    }
    mapping
}

impl Routes {
    /// Named routes first, then those of the policy that are not named.
    pub fn of(spec: &Spec) -> Routes {
        let (mixed, composed) = (Mixed::of(spec), Composed::of(spec));
        let mut routes = Routes { mixed, composed, ..Routes::default() };
        for (key, ssrc) in &spec.routes {
            let source = medium(&spec.legs[&key.from_leg], &key.from_medium);
            let sink = medium(&spec.legs[&key.to_leg], &key.to_medium);
            routes.add(spec, key.clone(), source, sink, *ssrc);
        }
        if spec.policy == Policy::All {
            for from in spec.legs.values() {
                for source in from.media.iter().filter(|medium| medium.sends && medium.layer.is_none()) {
                    for to in spec.legs.values().filter(|to| to.id != from.id) {
                        routes.add_by_policy(spec, from, source, to);
                    }
                }
            }
        }
        routes.gather_transcoded(spec);
        routes
    }

    /// Smaller copies are for canvases. A receiver that names this publisher comes before one that takes all.
    fn add_by_policy(&mut self, spec: &Spec, from: &Leg, source: &Medium, to: &Leg) {
        let takes = |medium: &&Medium| medium.receives && medium.kind == source.kind;
        let named = |medium: &&Medium| medium.receive_from.as_ref() == Some(&from.id);
        let mixed = match source.kind {
            MediaKind::Audio => spec.audio.mix().is_some(),
            MediaKind::Video => spec.video.canvas().is_some(),
            MediaKind::Content => false,
        };
        let open = |medium: &&Medium| medium.receive_from.is_none() && !mixed;
        let sinks = || to.media.iter().filter(takes);
        let Some(sink) = sinks().find(named).or_else(|| sinks().find(open)) else {
            return;
        };
        let key = RouteKey {
            from_leg: from.id.clone(),
            from_medium: source.id.clone(),
            to_leg: to.id.clone(),
            to_medium: sink.id.clone(),
        };
        if !self.wanted.contains_key(&key) && !self.refused.contains_key(&key) {
            self.add(spec, key, source, sink, None);
        }
    }

    fn add(&mut self, spec: &Spec, key: RouteKey, source: &Medium, sink: &Medium, ssrc: Option<u32>) {
        let pairs = pairs(&source.codecs, &sink.codecs);
        let active = is_heard(spec, &key, source.kind);
        if !pairs.iter().any(|(codec, _)| !is_auxiliary(codec)) {
            match self.transcode(spec, &key, (source, sink), active) {
                Ok((mapping, format)) => {
                    let transcoded = Some(format);
                    self.wanted.insert(key, Wanted { mapping, ssrc, active, transcoded });
                }
                Err(why) => {
                    self.refused.insert(key, why);
                }
            }
            return;
        }
        let mapping = shared(&mut self.mappings, Mapping::of(&pairs));
        self.wanted.insert(key, Wanted { mapping, ssrc, active, transcoded: None });
    }

    /// What a receiver gets that has none of the publisher's codecs, or why it gets nothing.
    fn transcode(
        &mut self,
        spec: &Spec,
        key: &RouteKey,
        (source, sink): (&Medium, &Medium),
        active: bool,
    ) -> Result<(Arc<Mapping>, Format), String> {
        let (sent, received) = (names(&source.codecs), names(&sink.codecs));
        let RouteKey { from_leg, from_medium, to_leg, to_medium } = key;
        let why = |rest: &str| {
            format!(
                "no common codec: {from_leg}/{from_medium} sends {sent}, {to_leg}/{to_medium} receives {received}{rest}"
            )
        };
        let settings = spec.video.transcode().filter(|_| source.kind != MediaKind::Audio);
        let settings = settings.ok_or_else(|| why(""))?;
        if !source.codecs.iter().any(|codec| codec.picture().is_some()) {
            return Err(why("; none of the first is decoded here"));
        }
        let (codec, format) = Format::first(&sink.codecs, settings.codec)
            .ok_or_else(|| why("; none of the last is encoded here"))?;
        let full = self.transcoded.len() >= TRANSCODED_MAX && !self.transcoded.contains_key(&key.source());
        if full {
            return Err(why(&format!("; {TRANSCODED_MAX} others are transcoded, which is the most")));
        }
        *self.transcoded.entry(key.source()).or_default() |= active;
        let payload_types = vec![(format.payload_type(), codec.payload_type)];
        let mapping = Mapping { payload_types, codecs: vec![Arc::clone(codec)] };
        Ok((shared(&mut self.mappings, mapping), format))
    }

    /// What nobody is to get now is not decoded.
    fn gather_transcoded(&mut self, spec: &Spec) {
        if self.transcoded.is_empty() {
            return;
        }
        let composed = self.composed.get_or_insert_default();
        for ((leg, medium), _) in self.transcoded.iter().filter(|(_, active)| **active) {
            let codecs = self::medium(&spec.legs[leg], medium).codecs.clone();
            let part = Participation { medium: medium.clone(), codecs };
            composed.streams.insert((leg.clone(), medium.clone()), part);
        }
    }
}

/// Whether the receiver is to get what the publisher sends.
fn is_heard(spec: &Spec, key: &RouteKey, kind: MediaKind) -> bool {
    let (from, to) = (&spec.legs[&key.from_leg], &spec.legs[&key.to_leg]);
    let silent = || {
        let pair = (from.id.clone(), to.id.clone());
        let gain = spec.pair_gains.get(&pair);
        let kept_from = gain == Some(&None) || (from.audio.private && gain.is_none());
        from.audio.muted || to.audio.deaf || kept_from || from.audio.room != to.audio.room
    };
    let is_loud = || !matches!(spec.audio, AudioMode::Loudest(_)) || spec.loudest.contains(&from.id);
    let shares = kind != MediaKind::Content || spec.shares(&from.id);
    !from.muted && shares && (kind != MediaKind::Audio || (!silent() && is_loud()))
}

fn medium<'a>(leg: &'a Leg, id: &str) -> &'a Medium {
    leg.media
        .iter()
        .find(|medium| medium.id == *id)
        .expect("the specification was checked: routes name existing media")
}

/// What a publisher may send that the receiver understands, and as what.
fn pairs<'a>(sent: &'a [Arc<Codec>], received: &'a [Arc<Codec>]) -> Vec<(&'a Arc<Codec>, &'a Arc<Codec>)> {
    let pair = |codec: &'a Arc<Codec>| {
        let other = received.iter().find(|other| compatible(codec, other))?;
        Some((codec, other))
    };
    sent.iter().filter_map(pair).collect()
}

/// Whether a receiver of `to` understands a sender of `from`.
fn compatible(from: &Codec, to: &Codec) -> bool {
    from.name == to.name
        && from.clock_hz == to.clock_hz
        && (from.channels == to.channels || from.name == "opus")
        && (from.name != "h264" || packetization_mode(from) <= packetization_mode(to))
}

/// RFC 6184 section 8.1: a receiver of mode 1 takes what a sender of mode 0 sends, not the other way round.
fn packetization_mode(codec: &Codec) -> u32 {
    codec
        .fmtp
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("packetization-mode"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Codecs that carry no medium of their own: RFC 4733 and RFC 3389.
fn is_auxiliary(codec: &Codec) -> bool {
    matches!(codec.name.as_str(), "telephone-event" | "cn")
}

fn names(codecs: &[Arc<Codec>]) -> String {
    codecs.iter().map(|codec| format!("{}/{}", codec.name, codec.clock_hz)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
