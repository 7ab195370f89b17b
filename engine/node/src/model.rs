//! A conference as the node understands it: the wire's specification, checked once.
//!
//! Everything that could be wrong with a specification by itself is found here, and the error names the
//! field. What depends on the node (ports, address families) is found when planning.

use crate::canvas::StillsByName;
use motet_codecs::audio::AudioCodec;
use motet_codecs::video::VideoCodec;
use motet_proto::{media as wire_media, node as wire};
use motet_relay::Latch;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

mod audio;
pub(crate) mod check;
mod id;
mod layer;
mod recording;
mod video;
mod wire_form;

pub use audio::{AudioMode, LegAudio, MixSettings};
pub(crate) use audio::{below_all, gain};
pub use id::Id;
pub use layer::Layer;
pub use recording::Recording;
pub use video::{CanvasSettings, LegVideo, LegView, Shows, VideoMode};

/// A checked conference specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Conference id.
    pub id: String,
    /// Legs by id.
    pub legs: BTreeMap<Id, Leg>,
    /// Which routes exist without being named.
    pub policy: Policy,
    /// Named routes and their wanted SSRC.
    pub routes: BTreeMap<RouteKey, Option<u32>>,
    /// Kept for control.
    pub metadata: Vec<u8>,
    /// What becomes of sound.
    pub audio: AudioMode,
    /// What becomes of pictures.
    pub video: VideoMode,
    /// How the first leg of a pair is heard by the second, in decibels; none: not at all.
    pub pair_gains: BTreeMap<(Id, Id), Option<f32>>,
    /// What SSRCs and numbers towards receivers are made of; none: they are random.
    pub seed: Option<NonZeroU64>,
    /// With [`AudioMode::Loudest`], who is among the loudest: the node's own finding.
    pub loudest: BTreeSet<Id>,
    /// What is written to files, by id.
    pub recordings: BTreeMap<Id, Recording>,
    /// Whose content is forwarded; none: everybody's.
    pub content: Option<ContentHolder>,
    /// Who holds a lecture: the node's own finding.
    pub lecturer: Option<Id>,
    /// Whose pictures are no larger than the canvas, come no more often and in no more bits: the node's own finding.
    pub fits: BTreeSet<Id>,
    /// Stills that are named, as far as the node has them: the node's own finding.
    pub still_files: StillsByName,
    /// Recordings that have ended by themselves, with the reason for people: the node's own finding.
    pub failed_recordings: BTreeMap<Id, String>,
    /// Media, by leg, of which a single picture is waited for, and by how many.
    pub stills: BTreeMap<(Id, Id), u32>,
}

impl Spec {
    /// Files that stand for pictures, with the field that names each.
    pub(crate) fn named_stills(&self) -> impl Iterator<Item = (String, &str)> {
        let canvas = self.video.canvas();
        let all = canvas.and_then(|canvas| canvas.still.as_deref());
        let all = all.map(|name| ("spec.video.canvas.still".to_owned(), name));
        let legs = self.legs.values().filter(move |_| canvas.is_some());
        let of_legs = legs.filter_map(|leg| {
            let name = leg.video.still.as_deref()?;
            Some((format!("spec.legs[{}].video.still", leg.id), name))
        });
        all.into_iter().chain(of_legs)
    }

    /// Whether a leg may share content.
    pub(crate) fn shares(&self, leg: &Id) -> bool {
        self.content.as_ref().is_none_or(|content| content.0.as_ref() == Some(leg))
    }

    /// Who holds a lecture on the canvas.
    pub(crate) fn lecture(&self) -> Option<&Id> {
        self.video.canvas().filter(|canvas| canvas.voice.lecture_after.is_some())?;
        self.lecturer.as_ref().filter(|leg| self.legs.contains_key(*leg))
    }

    /// How the mixer listens: to mix, to find the loudest, or only to show on a canvas who speaks; none: it does not.
    pub fn listening(&self) -> Option<MixSettings> {
        let shows = || self.video.canvas().map(|_| MixSettings::to_find(SHOWN_SPEAKERS));
        self.audio.listening().or_else(shows)
    }
}

/// Who has the floor of content; none: nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentHolder(pub Option<Id>);

/// Voices that are told apart where only who speaks is to be shown.
const SHOWN_SPEAKERS: u32 = 3;

/// Route policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everything to everybody else.
    All,
    /// Named routes only.
    None,
}

/// One participant's connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// Id in the conference.
    pub id: Id,
    /// RTCP canonical name.
    pub cname: String,
    /// As people know the participant.
    pub name: String,
    /// At least one.
    pub transports: Vec<Transport>,
    /// What it sends and receives.
    pub media: Vec<Medium>,
    /// Nothing that it publishes is forwarded.
    pub muted: bool,
    /// What becomes of its sound.
    pub audio: LegAudio,
    /// What becomes of its pictures on a canvas.
    pub video: LegVideo,
}

/// One port of a leg.
#[derive(Clone, Debug, PartialEq)]
pub struct Transport {
    /// Id in the leg.
    pub id: String,
    /// Where to send, if known.
    pub remote: Option<SocketAddr>,
    /// Where to send RTCP, if given.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port.
    pub rtcp_mux: bool,
    /// Whose packets are taken.
    pub latch: Latch,
    /// Address family of the port.
    pub ipv6: bool,
    /// Raised to learn the source again.
    pub latch_generation: u32,
    /// RTP port to take, if it is free.
    pub port_wanted: Option<u16>,
}

/// What a leg sends and receives of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Medium {
    /// Id in the leg.
    pub id: Id,
    /// What it carries.
    pub kind: MediaKind,
    /// The participant sends it.
    pub sends: bool,
    /// The participant receives it.
    pub receives: bool,
    /// Index into the leg's transports.
    pub transport: usize,
    /// At least one; shared with the routes that carry them.
    pub codecs: Vec<Arc<Codec>>,
    /// Fixed SSRC of the participant.
    pub ssrc: Option<u32>,
    /// The only leg to receive from.
    pub receive_from: Option<Id>,
    /// Number of the header extension that tells how loud it is (RFC 6464).
    pub audio_level_id: Option<u8>,
    /// It is a smaller copy of another one.
    pub layer: Option<Layer>,
}

/// Kind of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Camera.
    Video,
    /// Screen or document.
    Content,
}

/// A payload type and its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Codec {
    /// RTP payload type.
    pub payload_type: u8,
    /// Encoding name in lower case.
    pub name: String,
    /// RTP clock in Hz.
    pub clock_hz: u32,
    /// Channels, at least 1.
    pub channels: u32,
    /// As in a=fmtp.
    pub fmtp: String,
    /// As given, to be given back.
    pub wire: wire_media::Codec,
}

impl Codec {
    /// What the mixer makes of it; none: it is not for the mixer. What goes beside a codec, such as telephone
    /// events, is no sound.
    pub(crate) fn sound(&self) -> Option<AudioCodec> {
        let channels = u8::try_from(self.channels).ok()?;
        let codec = AudioCodec::parse(&self.name, self.clock_hz, channels, &self.fmtp).ok()?;
        let format = codec.format();
        let fits = (8_000..=48_000).contains(&format.sample_rate_hz) && matches!(format.channels, 1 | 2);
        fits.then_some(codec)
    }

    /// What a canvas makes of it; none: its pictures are not decoded or encoded here.
    pub(crate) fn picture(&self) -> Option<VideoCodec> {
        VideoCodec::parse(&self.name, self.clock_hz, &self.fmtp)
    }
}

/// The ends of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Publishing leg.
    pub from_leg: Id,
    /// Its medium.
    pub from_medium: Id,
    /// Receiving leg.
    pub to_leg: Id,
    /// Its medium.
    pub to_medium: Id,
}

impl RouteKey {
    /// Leg and medium that it comes from.
    pub(crate) fn source(&self) -> (Id, Id) {
        (self.from_leg.clone(), self.from_medium.clone())
    }

    /// As on the wire.
    pub fn to_wire(&self, ssrc: u32) -> wire::Route {
        wire::Route {
            from_leg: self.from_leg.to_string(),
            from_medium: self.from_medium.to_string(),
            to_leg: self.to_leg.to_string(),
            to_medium: self.to_medium.to_string(),
            ssrc,
        }
    }
}

impl From<&wire::Route> for RouteKey {
    fn from(route: &wire::Route) -> Self {
        RouteKey {
            from_leg: route.from_leg.as_str().into(),
            from_medium: route.from_medium.as_str().into(),
            to_leg: route.to_leg.as_str().into(),
            to_medium: route.to_medium.as_str().into(),
        }
    }
}

/// Bytes of metadata kept per conference at most.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
