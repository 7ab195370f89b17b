//! Which of a camera's copies is decoded, and which one is seen.
//!
//! A participant may send the same picture in several sizes at once (simulcast). Each copy is a source of its own, with
//! its own decoder; nobody is placed by it. For a cell the smallest copy that fills it is *wanted*, else the largest.
//! While the wanted one has no picture yet, the one that was seen goes on being seen, and decoded.

use super::source::{Source, fitted};
use super::{Fit, SourceId};
use motet_codecs::video::PictureSize;
use std::collections::BTreeMap;

/// That a source is a smaller copy of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The one that it is a copy of: the largest, and who people know.
    pub of: SourceId,
    /// Of its pictures, as was declared.
    pub size: PictureSize,
}

/// Copies of sources.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// By what they are copies of, the smallest first.
    copies: BTreeMap<SourceId, Vec<(PictureSize, SourceId)>>,
}

/// What is to be done for a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// What is to be seen, and asked for.
    pub(super) wanted: SourceId,
    /// What is seen now.
    pub(super) shown: SourceId,
}

impl Layers {
    pub(super) fn add(&mut self, id: SourceId, Layer { of, size }: Layer) {
        let copies = self.copies.entry(of).or_default();
        copies.push((size, id));
        copies.sort_by_key(|(size, id)| (size.pixels(), *id));
    }

    pub(super) fn remove(&mut self, id: SourceId) {
        self.copies.values_mut().for_each(|copies| copies.retain(|(_, copy)| *copy != id));
        self.copies.retain(|_, copies| !copies.is_empty());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// For somebody in a cell.
    pub(super) fn choose(
        &self,
        sources: &BTreeMap<SourceId, Source>,
        id: SourceId,
        (cell, fit): (PictureSize, Fit),
    ) -> Choice {
        let Some(copies) = self.copies.get(&id) else { return Choice { wanted: id, shown: id } };
        let is = |id: SourceId, so: fn(&Source) -> bool| sources.get(&id).is_some_and(so);
        let largest_first = || std::iter::once(id).chain(copies.iter().rev().map(|(_, copy)| *copy));
        // What is declared is believed until something comes.
        let none_comes = !largest_first().any(|copy| is(copy, Source::comes));
        let offered = |copy: SourceId| none_comes || is(copy, Source::comes);
        let fills = copies.iter().find(|(size, copy)| fills(*size, cell, fit) && offered(*copy));
        let wanted = fills.map(|(_, copy)| *copy).or_else(|| largest_first().find(|copy| offered(*copy)));
        let wanted = wanted.unwrap_or(id);
        let shown = if is(wanted, Source::is_ready) {
            wanted
        } else {
            largest_first().find(|copy| is(*copy, Source::is_ready)).unwrap_or(wanted)
        };
        Choice { wanted, shown }
    }
}

/// Whether a picture of this size need not be made larger for a cell.
fn fills(size: PictureSize, cell: PictureSize, fit: Fit) -> bool {
    if cell.pixels() == 0 {
        return true;
    }
    let (part, to) = fitted(size, cell, fit);
    part.width >= to.width && part.height >= to.height
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fills_cells_of_its_size_and_smaller_ones() {
        let size = PictureSize::new;
        for (picture, cell, fit, expected) in [
            (size(640, 360), size(640, 360), Fit::Letterbox, true),
            (size(640, 360), size(642, 362), Fit::Letterbox, false),
            (size(640, 360), size(960, 360), Fit::Letterbox, true),
            (size(640, 360), size(960, 360), Fit::Crop, false),
            (size(640, 360), size(640, 480), Fit::Letterbox, true),
            (size(640, 360), size(320, 480), Fit::Crop, false),
            (size(640, 360), size(320, 360), Fit::Crop, true),
            (size(320, 180), size(384, 216), Fit::Letterbox, false),
            (size(320, 180), size(0, 216), Fit::Crop, true),
        ] {
            assert_eq!(fills(picture, cell, fit), expected, "{picture} in {cell}, {fit:?}");
        }
    }
}
