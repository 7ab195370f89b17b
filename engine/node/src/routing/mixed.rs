//! Who takes part in a mix, and with which codecs. Pure.

use super::{is_auxiliary, names};
use crate::model::{Codec, Id, MediaKind, Medium, Spec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a mix takes and gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mixed {
    /// Legs that are heard, and how.
    pub sources: BTreeMap<Id, Participation>,
    /// Legs that hear, and how.
    pub outputs: BTreeMap<Id, Participation>,
    /// Legs that cannot be heard, with the medium and the reason for people.
    pub unheard: BTreeMap<Id, (Id, String)>,
    /// Legs that cannot hear, with the medium and the reason for people.
    pub unserved: BTreeMap<Id, (Id, String)>,
}

/// A leg's part in a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Participation {
    /// The leg's medium.
    pub medium: Id,
    /// Of a source all that it may send; of an output the one that it gets, and what goes with it.
    pub codecs: Vec<Arc<Codec>>,
}

impl Mixed {
    /// None: the mixer has nothing to do with it. To find who speaks it listens, and nobody hears it.
    pub(super) fn of(spec: &Spec) -> Option<Mixed> {
        spec.listening()?;
        let hears = spec.audio.mix().is_some();
        let mut mixed = Mixed::default();
        for leg in spec.legs.values() {
            for medium in leg.media.iter().filter(|medium| medium.kind == MediaKind::Audio) {
                if medium.sends {
                    mixed.add_source(&leg.id, medium);
                }
                if hears && medium.receives && medium.receive_from.is_none() {
                    mixed.add_output(&leg.id, medium);
                }
            }
        }
        Some(mixed)
    }

    fn add_source(&mut self, leg: &Id, medium: &Medium) {
        let name = medium.id.clone();
        if medium.codecs.iter().any(|codec| !is_auxiliary(codec) && codec.sound().is_some()) {
            let part = Participation { medium: name, codecs: medium.codecs.clone() };
            self.sources.insert(leg.clone(), part);
        } else {
            let why = format!("the mixer decodes none of the codecs of {leg}: {}", names(&medium.codecs));
            self.unheard.insert(leg.clone(), (name, why));
        }
    }

    /// The receiver gets the first codec of its list that the mixer has.
    fn add_output(&mut self, leg: &Id, medium: &Medium) {
        let name = medium.id.clone();
        let Some(codec) = medium.codecs.iter().find(|codec| !is_auxiliary(codec) && is_encoded(codec)) else {
            let why = format!("the mixer encodes none of the codecs of {leg}: {}", names(&medium.codecs));
            self.unserved.insert(leg.clone(), (name, why));
            return;
        };
        let beside = medium.codecs.iter().filter(|other| is_auxiliary(other));
        let codecs = std::iter::once(codec).chain(beside).cloned().collect();
        self.outputs.insert(leg.clone(), Participation { medium: name, codecs });
    }
}

/// Whether the mixer encodes it: a tick of 20 ms must be a whole number of samples, and AAC's low-delay kinds are only
/// decoded.
fn is_encoded(codec: &Codec) -> bool {
    use motet_codecs::audio::AudioCodecName::{AacEld, AacLd};
    codec.sound().is_some_and(|sound| {
        let fits = sound.format().sample_rate_hz.is_multiple_of(50);
        fits && !matches!(sound.name, AacLd | AacEld)
    })
}
