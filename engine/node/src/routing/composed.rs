//! Who is seen on a canvas and who gets it, and in which form. Pure.

use super::{Participation, Relayed, names, packetization_mode};
use crate::model::{CanvasSettings, Codec, Id, LegView, MediaKind, Medium, Shows, Spec};
use motet_codecs::video::{VideoCodec, VideoCodecName};
use motet_mixer::video::Layout;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a canvas takes and gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// Legs that can be seen, and how.
    pub sources: BTreeMap<Id, Participation>,
    /// Legs that see, and how.
    pub outputs: BTreeMap<Id, View>,
    /// The leg whose content is seen, where cells show any.
    pub content: Option<(Id, Participation)>,
    /// Besides, by leg and medium: smaller copies of who can be seen, or what is transcoded for who lacks its codecs and
    /// is to get it now.
    pub streams: BTreeMap<(Id, Id), Participation>,
    /// Legs that cannot be seen, with the medium and the reason for people.
    pub unseen: BTreeMap<Id, (Id, String)>,
    /// Legs that cannot see, with the medium and the reason for people.
    pub unserved: BTreeMap<Id, (Id, String)>,
}

/// How a leg sees a canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The leg's medium.
    pub medium: Id,
    /// What it gets, of its own list.
    pub codec: Arc<Codec>,
    /// The same for all who may get the same packets.
    pub format: Format,
    /// What of it.
    pub sees: Sees,
    /// It gets no canvas, but another one's stream as it is.
    pub relayed: Option<Relayed>,
}

/// What is seen of a canvas; what is none is as for all. Who sees the same gets the same packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sees {
    /// How it is divided.
    pub layout: Option<Layout>,
    /// Who is to be seen in cells.
    pub cells: Option<BTreeMap<u8, Shows>>,
    /// Who is seen in the first cell, whoever speaks.
    pub pinned: Option<Id>,
    /// Who is not seen: the receiver, though others see it.
    pub without: Option<Id>,
    /// The others in turn: it holds a lecture.
    pub lectures: bool,
    /// No canvas, but the pictures of one medium of a leg.
    pub alone: Option<(Id, Id)>,
}

impl Sees {
    /// Whether nothing was chosen for it.
    pub(crate) fn is_plain(&self) -> bool {
        self.layout.is_none() && self.cells.is_none() && self.pinned.is_none()
    }

    /// What a leg has chosen, as far as it is not what all see anyway.
    fn of(leg: &Id, view: &LegView, settings: &CanvasSettings) -> Sees {
        let hides = view.hide_self.unwrap_or(settings.hide_self);
        let without = hides.then(|| leg.clone());
        if settings.for_all {
            return Sees { without, ..Sees::default() };
        }
        let LegView { layout, cells, pinned, .. } = view.clone();
        // A layout that differs has cells of its own.
        let layout = layout.filter(|layout| *layout != settings.layout);
        let cells = cells.filter(|cells| layout.is_some() || *cells != settings.cells);
        let pinned = pinned.filter(|pinned| settings.pinned.as_ref() != Some(pinned));
        Sees { layout, cells, pinned, without, lectures: false, alone: None }
    }

    /// The pictures of one medium of a leg.
    pub(crate) fn alone(leg: &Id, medium: &Id) -> Sees {
        Sees { alone: Some((leg.clone(), medium.clone())), ..Sees::default() }
    }
}

/// What packets of a canvas hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Format {
    /// The codec.
    pub name: VideoCodecName,
    /// H.264 with `packetization-mode=0` (RFC 6184 section 6.2).
    pub single_nal: bool,
}

impl Format {
    /// What every file can hold.
    pub const RECORDED: Format = Format { name: VideoCodecName::H264, single_nal: false };

    /// What a receiver gets: the codec that is wanted if it has it, else the first of its list that is encoded here.
    pub(super) fn first(
        codecs: &[Arc<Codec>],
        wanted: Option<VideoCodecName>,
    ) -> Option<(&Arc<Codec>, Format)> {
        let known = || codecs.iter().filter_map(|codec| Some((codec, Format::of(codec)?)));
        known().find(|(_, format)| Some(format.name) == wanted).or_else(|| known().next())
    }

    fn of(codec: &Codec) -> Option<Format> {
        let name = codec.picture()?.name;
        let single_nal = name == VideoCodecName::H264 && packetization_mode(codec) == 0;
        Some(Format { name, single_nal })
    }

    /// Between the canvas and the workers.
    pub fn payload_type(self) -> u8 {
        match (self.name, self.single_nal) {
            (VideoCodecName::H264, false) => 96,
            (VideoCodecName::H264, true) => 97,
            (VideoCodecName::H265, _) => 98,
            _ => 99,
        }
    }

    /// In SDP's words.
    pub fn codec(self) -> VideoCodec {
        let cut = self.name == VideoCodecName::H264 && !self.single_nal;
        let fmtp = if cut { "packetization-mode=1" } else { "" };
        VideoCodec { name: self.name, fmtp: fmtp.to_owned() }
    }
}

/// Whose content is to be seen, if any cell shows it.
fn content(spec: &Spec) -> Option<(Id, Participation)> {
    let settings = spec.video.canvas()?;
    let chosen = spec.legs.values().filter_map(|leg| leg.video.view.cells.as_ref());
    if !std::iter::once(&settings.cells)
        .chain(chosen)
        .any(|cells| cells.values().any(|shows| *shows == Shows::Content))
    {
        return None;
    }
    spec.legs.values().filter(|leg| spec.shares(&leg.id) && !leg.muted).find_map(|leg| {
        let sent = leg.media.iter().filter(|medium| medium.kind == MediaKind::Content && medium.sends);
        let mut known = sent.filter(|medium| medium.codecs.iter().any(|codec| codec.picture().is_some()));
        let medium = known.next()?;
        let part = Participation { medium: medium.id.clone(), codecs: medium.codecs.clone() };
        Some((leg.id.clone(), part))
    })
}

impl Composed {
    /// None: pictures are relayed.
    pub(crate) fn of(spec: &Spec) -> Option<Composed> {
        let settings = spec.video.canvas()?;
        let mut composed = Composed::default();
        for leg in spec.legs.values() {
            for medium in leg.media.iter().filter(|medium| medium.kind == MediaKind::Video) {
                if medium.sends && medium.layer.is_none() {
                    composed.add_source(&leg.id, medium);
                }
                if medium.receives && medium.receive_from.is_none() {
                    composed.add_output(&leg.id, medium, (settings, &leg.video.view));
                }
            }
        }
        composed.content = content(spec);
        composed.add_layers(spec);
        // Who is not seen is neither left out nor seen large.
        let Composed { sources, outputs, .. } = &mut composed;
        let lecture = spec.lecture();
        for (leg, sees) in outputs.iter_mut().map(|(leg, view)| (leg, &mut view.sees)) {
            if lecture.is_some() && sees.is_plain() {
                // The others see one picture, in which they are not.
                let lectures = lecture == Some(leg);
                *sees = Sees { without: lectures.then(|| leg.clone()), lectures, ..Sees::default() };
            }
            sees.without.take_if(|leg| !sources.contains_key(leg));
            let without = &sees.without;
            sees.pinned.take_if(|leg| !sources.contains_key(leg) || Some(&*leg) == without.as_ref());
        }
        composed.find_alone(spec, settings);
        Some(composed)
    }

    /// The different pictures that are seen.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = &Sees> {
        self.outputs.values().map(|view| &view.sees)
    }

    fn add_source(&mut self, leg: &Id, medium: &Medium) {
        let name = medium.id.clone();
        if medium.codecs.iter().any(|codec| codec.picture().is_some()) {
            let part = Participation { medium: name, codecs: medium.codecs.clone() };
            self.sources.insert(leg.clone(), part);
        } else {
            let why = format!("the canvas decodes none of the codecs of {leg}: {}", names(&medium.codecs));
            self.unseen.insert(leg.clone(), (name, why));
        }
    }

    /// Copies of what is seen.
    fn add_layers(&mut self, spec: &Spec) {
        for (leg, medium) in
            spec.legs.values().flat_map(|leg| leg.media.iter().map(move |medium| (leg, medium)))
        {
            let whole = self.sources.get(&leg.id).map(|part| &part.medium);
            let of_it = whole.is_some() && medium.layer.as_ref().map(|layer| &layer.of) == whole;
            if of_it && medium.codecs.iter().any(|codec| codec.picture().is_some()) {
                let part = Participation { medium: medium.id.clone(), codecs: medium.codecs.clone() };
                self.streams.insert((leg.id.clone(), medium.id.clone()), part);
            }
        }
    }

    fn add_output(&mut self, leg: &Id, medium: &Medium, (settings, view): (&CanvasSettings, &LegView)) {
        let name = medium.id.clone();
        let Some((codec, format)) = Format::first(&medium.codecs, settings.codec) else {
            let why =
                format!("the canvas is encoded as none of the codecs of {leg}: {}", names(&medium.codecs));
            self.unserved.insert(leg.clone(), (name, why));
            return;
        };
        let codec = Arc::clone(codec);
        let view = View { medium: name, codec, format, sees: Sees::of(leg, view, settings), relayed: None };
        self.outputs.insert(leg.clone(), view);
    }
}
