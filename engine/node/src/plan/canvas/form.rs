//! What is held of a canvas, and what a canvas thread is told of it.

use crate::model::{CanvasSettings, Id, Spec};
use crate::plan::{HeldSource, Holdings, MixTrunk, TrunkEnd};
use crate::routing::{Format, Sees, View};
use motet_codecs::video::{PictureSize, VideoCodec};
use motet_mixer::video::{SourceLook, Still};
use motet_relay::{PortId, RouteId, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A canvas as it is held.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldCanvas {
    /// The canvas thread, by its place in the exchange: workers and mixing threads come first.
    pub station: usize,
    /// By worker.
    pub trunks: BTreeMap<usize, MixTrunk>,
    /// Who can be seen, by leg.
    pub sources: BTreeMap<Id, HeldSource>,
    /// Whose content is seen.
    pub content: Option<(Id, HeldSource)>,
    /// Smaller copies, or what is transcoded, by leg and medium.
    pub streams: BTreeMap<(Id, Id), HeldSource>,
    /// What is made.
    pub feeds: BTreeMap<FeedKey, HeldFeed>,
    /// Who sees, by leg.
    pub views: BTreeMap<Id, HeldView>,
    /// The way to the recorder; none: the canvas is not recorded.
    pub tap: Option<HeldTap>,
    /// As in [`Composed::unseen`](crate::routing::Composed::unseen).
    pub unseen: BTreeMap<Id, (Id, String)>,
    /// As in [`Composed::unserved`](crate::routing::Composed::unserved).
    pub unserved: BTreeMap<Id, (Id, String)>,
    /// What the canvas thread was told.
    pub form: Arc<CanvasForm>,
}

impl HeldCanvas {
    /// SSRCs that are used on the trunks.
    pub(crate) fn crossing(&self) -> impl Iterator<Item = u32> {
        let feeds = self.feeds.values().map(|feed| feed.crossing).chain(self.tap.map(|tap| tap.ssrc));
        self.taken().map(|(_, source)| source.ssrc).chain(feeds)
    }

    /// Everything that comes to it, with the leg that sends it.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (&Id, &HeldSource)> {
        let content = self.content.iter().map(|(leg, source)| (leg, source));
        let streams = self.streams.iter().map(|((leg, _), source)| (leg, source));
        self.sources.iter().chain(content).chain(streams)
    }

    /// What is encoded, each for all who get it on one worker, and for the recorder.
    pub(crate) fn outputs(&self) -> usize {
        self.feeds.len() + usize::from(self.tap.is_some())
    }
}

/// The way of the composed picture to the recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldTap {
    /// The recorder, by its place in the exchange.
    pub station: usize,
    /// The canvas thread's port.
    pub near: PortId,
    /// The recorder's port.
    pub far: PortId,
    /// SSRC between them.
    pub ssrc: u32,
}

/// What makes a feed one: all on a worker who get the same packets have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FeedKey {
    /// The worker that it comes to.
    pub worker: usize,
    /// What its packets hold.
    pub format: Format,
    /// What is seen.
    pub sees: Sees,
}

impl FeedKey {
    /// What those know it by who get the same, on any worker and node.
    pub(super) fn name(&self) -> String {
        // What somebody has chosen may change, and the name stays: everybody gets one canvas.
        let without = self.sees.without.as_deref().unwrap_or_default();
        format!("{} {without}", self.format.payload_type())
    }
}

/// A feed as it is held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldFeed {
    /// The stream that the trunk publishes.
    pub stream: StreamId,
    /// SSRC on the trunk.
    pub crossing: u32,
}

/// Somebody who sees.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldView {
    /// With which medium, and what.
    pub view: View,
    /// What it gets, or would get if it were not relayed.
    pub feed: FeedKey,
    /// The stream that it gets.
    pub stream: StreamId,
    /// Payload types of that, and towards it.
    pub payload_map: Vec<(u8, u8)>,
    /// The route to the leg.
    pub route: RouteId,
    /// SSRC towards the participant.
    pub ssrc: u32,
}

/// All that a canvas is to a canvas thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanvasForm {
    /// How it is composed.
    pub settings: CanvasSettings,
    /// What is seen of who sends no picture. It is not written down, as [`SourceLook::still`] is not.
    #[serde(skip)]
    pub still: Option<Arc<Still>>,
    /// Who holds a lecture.
    pub lecturer: Option<Id>,
    /// The canvas thread's ends of the trunks.
    pub ends: Vec<TrunkEnd>,
    /// Who is seen, by leg.
    pub sources: BTreeMap<Id, SeenForm>,
    /// Content that is seen.
    pub content: Option<SeenForm>,
    /// Smaller copies, or what is transcoded, by leg and medium.
    pub streams: BTreeMap<(Id, Id), SeenForm>,
    /// Who is seen alone, and whether it fits the canvas's limits as far as the node knows: to be told when it does not.
    pub watched: BTreeMap<Id, bool>,
    /// What is made.
    pub outputs: BTreeMap<FeedKey, FeedForm>,
    /// Sequence numbers with which streams go on that somebody else made before, by SSRC.
    pub goes_on: BTreeMap<u32, u16>,
}

/// Somebody who is seen, as a canvas thread knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenForm {
    /// The canvas thread's port that packets come to.
    pub port: PortId,
    /// SSRC that they come under.
    pub ssrc: u32,
    /// Payload types and what they hold.
    pub codecs: Vec<(u8, VideoCodec)>,
    /// As people know it.
    pub name: String,
    /// What is seen of it.
    pub look: SourceLook,
    /// The leg whose smaller copy it is, and its size; none: it is seen itself.
    pub layer: Option<(Id, PictureSize)>,
}

impl SeenForm {
    /// Whether it is seen as before, or only has another name or look.
    pub(crate) fn same_stream(&self, other: &SeenForm) -> bool {
        let SeenForm { port, ssrc, codecs, layer, .. } = self;
        (*port, *ssrc, codecs, layer) == (other.port, other.ssrc, &other.codecs, &other.layer)
    }
}

/// A feed, as a canvas thread knows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedForm {
    /// The canvas thread's port that packets leave from.
    pub port: PortId,
    /// SSRC that they leave under.
    pub ssrc: u32,
    /// They go to the recorder, which is told when each picture was to be seen.
    pub recorded: bool,
}

/// What a canvas thread is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct CanvasStep {
    /// The canvas thread, by its place in the exchange.
    pub station: usize,
    /// To be told before the workers change: what nobody gets any more is not made any more. None: as it is.
    pub first: Option<Arc<CanvasForm>>,
    /// To be told when the workers have changed. None: the canvas ends.
    pub last: Option<Arc<CanvasForm>>,
}

/// What content goes by among legs, whose names have no such sign.
pub(crate) const CONTENT: &str = "/content";

/// What a smaller copy, or a medium that is transcoded, goes by among them.
pub(crate) fn stream_name((leg, medium): &(Id, Id)) -> Id {
    Id::from(&format!("/{leg}/{medium}"))
}

/// Payload types and the pictures in them.
fn pictures(source: &HeldSource) -> Vec<(u8, VideoCodec)> {
    let codecs = source.part.codecs.iter();
    codecs.filter_map(|codec| Some((codec.payload_type, codec.picture()?))).collect()
}

impl CanvasForm {
    pub(crate) fn empty(settings: CanvasSettings) -> CanvasForm {
        let (sources, outputs) = (BTreeMap::new(), BTreeMap::new());
        CanvasForm {
            settings,
            still: None,
            lecturer: None,
            ends: Vec::new(),
            sources,
            content: None,
            streams: BTreeMap::new(),
            watched: BTreeMap::new(),
            outputs,
            goes_on: BTreeMap::new(),
        }
    }

    /// What a canvas thread has to know of a canvas that is held. `spec` is composed or transcoded.
    pub fn new(spec: &Spec, held: &Holdings, canvas: &HeldCanvas) -> CanvasForm {
        let settings = spec.video.encoded().expect("it is composed or transcoded");
        let still =
            |name: &Option<String>| name.as_ref().and_then(|name| spec.still_files.get(name)).cloned();
        let mut form = CanvasForm { still: still(&settings.still), ..CanvasForm::empty(settings.clone()) };
        form.lecturer = spec.lecture().cloned();
        for (worker, trunk) in &canvas.trunks {
            form.ends.push(TrunkEnd { port: trunk.far, worker: *worker, peer: trunk.near });
        }
        // Of who is muted nothing comes, and a picture that stands still is no picture of who is there.
        for (leg, source) in canvas.sources.iter().filter(|(_, source)| source.active) {
            let port = canvas.trunks[&held.legs[leg].worker].far;
            let codecs = pictures(source);
            let name = spec.legs[leg].name.clone();
            let video = &spec.legs[leg].video;
            let look = SourceLook { off: video.off, still: still(&video.still) };
            let seen = SeenForm { port, ssrc: source.ssrc, codecs, name, look, layer: None };
            form.sources.insert(leg.clone(), seen);
        }
        if let Some((leg, source)) = canvas.content.as_ref().filter(|(_, source)| source.active) {
            let port = canvas.trunks[&held.legs[leg].worker].far;
            let codecs = pictures(source);
            let (name, look) = (String::new(), SourceLook::default());
            form.content = Some(SeenForm { port, ssrc: source.ssrc, codecs, name, look, layer: None });
        }
        for (key, source) in canvas.streams.iter().filter(|(_, source)| source.active) {
            let port = canvas.trunks[&held.legs[&key.0].worker].far;
            let codecs = pictures(source);
            let (name, look) = (String::new(), SourceLook::default());
            let mut media = spec.legs[&key.0].media.iter();
            let layer = media.find(|medium| medium.id == key.1).and_then(|medium| medium.layer.as_ref());
            // A copy that is transcoded by itself is none of anybody who is seen.
            let layer = layer.filter(|_| form.sources.contains_key(&key.0));
            let layer = layer.map(|layer| (key.0.clone(), layer.size));
            form.streams.insert(key.clone(), SeenForm { port, ssrc: source.ssrc, codecs, name, look, layer });
        }
        for (leg, _) in canvas.views.values().filter_map(|held| held.view.sees.alone.as_ref()) {
            form.watched.insert(leg.clone(), spec.fits.contains(leg));
        }
        for (key, feed) in &canvas.feeds {
            let port = canvas.trunks[&key.worker].far;
            form.outputs.insert(key.clone(), FeedForm { port, ssrc: feed.crossing, recorded: false });
        }
        if let Some(HeldTap { station, near, far, ssrc }) = canvas.tap {
            form.ends.push(TrunkEnd { port: near, worker: station, peer: far });
            let key = FeedKey { worker: station, format: Format::RECORDED, sees: Sees::default() };
            form.outputs.insert(key, FeedForm { port: near, ssrc, recorded: true });
        }
        form
    }

    /// Everything that it sees, with the name that it goes by here: content has one that no leg has.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (Id, &SeenForm)> {
        let legs = self.sources.iter().map(|(leg, source)| (leg.clone(), source));
        let streams = self.streams.iter().map(|(key, source)| (stream_name(key), source));
        legs.chain(self.content.as_ref().map(|source| (CONTENT.into(), source))).chain(streams)
    }

    /// The form without some of its outputs; none: all stay.
    pub(super) fn without(&self, goes: impl Fn(&FeedKey, &FeedForm) -> bool) -> Option<CanvasForm> {
        if !self.outputs.iter().any(|(key, feed)| goes(key, feed)) {
            return None;
        }
        let mut form = self.clone();
        form.outputs.retain(|key, feed| !goes(key, feed));
        Some(form)
    }
}
