//! Who is seen on a canvas and who gets it, and in which form. Pure.

use super::{Participation, names, packetization_mode};
use crate::model::{CanvasSettings, Codec, Id, MediaKind, Medium, Spec};
use motet_codecs::video::{VideoCodec, VideoCodecName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a canvas takes and gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// Legs that can be seen, and how.
    pub sources: BTreeMap<Id, Participation>,
    /// Legs that see, and how.
    pub outputs: BTreeMap<Id, View>,
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
    /// It does not see itself, though others see it.
    pub without_self: bool,
}

/// What packets of a canvas hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Format {
    /// The codec.
    pub name: VideoCodecName,
    /// H.264 with `packetization-mode=0` (RFC 6184 section 6.2).
    pub single_nal: bool,
}

impl Format {
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

impl Composed {
    /// None: pictures are relayed.
    pub(super) fn of(spec: &Spec) -> Option<Composed> {
        let settings = spec.video.canvas()?;
        let mut composed = Composed::default();
        for leg in spec.legs.values() {
            for medium in leg.media.iter().filter(|medium| medium.kind == MediaKind::Video) {
                if medium.sends {
                    composed.add_source(&leg.id, medium);
                }
                if medium.receives && medium.receive_from.is_none() {
                    composed.add_output(&leg.id, medium, settings);
                }
            }
        }
        // Who is not seen has the same canvas as others.
        let Composed { sources, outputs, .. } = &mut composed;
        outputs.iter_mut().for_each(|(leg, view)| view.without_self &= sources.contains_key(leg));
        Some(composed)
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

    /// The receiver gets the canvas's codec if it has it, else the first of its list that is encoded here.
    fn add_output(&mut self, leg: &Id, medium: &Medium, settings: &CanvasSettings) {
        let known = || medium.codecs.iter().filter_map(|codec| Some((codec, Format::of(codec)?)));
        let wanted = known().find(|(_, format)| Some(format.name) == settings.codec);
        let name = medium.id.clone();
        let Some((codec, format)) = wanted.or_else(|| known().next()) else {
            let why =
                format!("the canvas is encoded as none of the codecs of {leg}: {}", names(&medium.codecs));
            self.unserved.insert(leg.clone(), (name, why));
            return;
        };
        let codec = Arc::clone(codec);
        let view = View { medium: name, codec, format, without_self: settings.hide_self };
        self.outputs.insert(leg.clone(), view);
    }
}
