//! Who sees one participant in full, and gets that one's stream, or its picture alone. Pure.

use super::{Composed, Mapping, Participation, Sees, pairs};
use crate::model::{CanvasSettings, Id, Shows, Spec};
use motet_mixer::video::{Layout, PixelRect};
use std::collections::BTreeMap;

/// A stream that goes to a receiver as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Relayed {
    /// Leg and medium that send it.
    pub source: (Id, Id),
    /// What the receiver gets, and as what.
    pub mapping: Mapping,
}

impl Composed {
    /// Who sees one participant and nothing else gets no canvas, but the cheapest that serves: its stream as it is, if
    /// the receiver has its codecs and it fits what is asked of a canvas, else its picture alone, encoded for all who
    /// see it so.
    pub(super) fn find_alone(&mut self, spec: &Spec, settings: &CanvasSettings) {
        // What is written is drawn over the picture.
        if !settings.direct || settings.names || !settings.texts.is_empty() {
            return;
        }
        let Composed { sources, outputs, .. } = self;
        for (leg, view) in outputs {
            let Some((source, part)) = only_one(spec, settings, sources, &view.sees) else { continue };
            let from = (source.clone(), part.medium.clone());
            // Under which SSRC it is known goes by who is left out.
            let without = view.sees.without.take();
            view.sees = Sees { without, ..Sees::alone(&from.0, &from.1) };
            let media = &spec.legs[leg].media;
            let received = media.iter().filter(|medium| medium.id == view.medium);
            let pairs = received.flat_map(|medium| pairs(&part.codecs, &medium.codecs)).collect::<Vec<_>>();
            // Whatever it sends of what it may send.
            let fits = spec.fits.contains(source) && pairs.len() == part.codecs.len();
            if fits && source != leg {
                view.relayed = Some(Relayed { source: from, mapping: Mapping::of(&pairs) });
            }
        }
    }
}

/// The only one who is seen, by whatever leads to it; none: there may be others, or something else.
fn only_one<'a>(
    spec: &Spec,
    settings: &CanvasSettings,
    sources: &'a BTreeMap<Id, Participation>,
    sees: &Sees,
) -> Option<(&'a Id, &'a Participation)> {
    if sees.lectures {
        return None;
    }
    let is_here = |leg: &&Id| !spec.legs[*leg].muted && sees.without.as_ref() != Some(*leg);
    let people: Vec<&Id> = sources.keys().filter(is_here).collect();
    let lecturer = spec.lecture().filter(|_| sees.is_plain());
    let layout = match lecturer {
        Some(_) => &Layout::Equal(1),
        None => sees.layout.as_ref().unwrap_or(&settings.layout),
    };
    let whole = PixelRect { left: 0, top: 0, width: settings.size.width, height: settings.size.height };
    if layout.rects(settings.size, people.len()) != [whole] {
        return None;
    }
    let cells = sees.cells.as_ref().unwrap_or(&settings.cells);
    let pinned = lecturer.or(sees.pinned.as_ref()).or(settings.pinned.as_ref());
    let here = |leg: &Id| people.iter().copied().find(|known| *known == leg);
    let source = match (pinned.and_then(here), cells.get(&0).filter(|_| lecturer.is_none())) {
        (Some(pinned), _) => pinned,
        (None, Some(Shows::Leg(leg))) => here(leg)?,
        (None, None | Some(Shows::Speaker)) if people.len() == 1 => people[0],
        _ => return None,
    };
    let video = &spec.legs[source].video;
    if video.off || video.still.is_some() || settings.still.is_some() {
        return None;
    }
    sources.get_key_value(source)
}
