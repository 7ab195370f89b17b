//! A canvas: who is seen where, drawn over and over.

use super::caption::Captions;
use super::label::Labels;
use super::layers::Layers;
use super::layout::Cell;
use super::pace::Pace;
use super::place::place;
use super::source::Source;
use super::still::Stills;
use super::turns::{Sequence, Turns};
use super::{
    BACKGROUND, CanvasText, Fit, Layout, OutputConfig, PixelRect, SourceId, Still, Subject, VideoStats,
};
use motet_codecs::video::{Frame, FramePool, PictureSize, PlaneMut};
use motet_rtp::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Around the speaker: green.
const BORDER: [u8; 3] = [150, 44, 21];

/// What makes canvases one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CanvasKey {
    pub(super) size: PictureSize,
    pub(super) frames_per_s: u32,
    pub(super) layout: Layout,
    pub(super) fit: Fit,
    pub(super) subjects: Vec<Subject>,
    pub(super) pinned: Option<SourceId>,
    pub(super) without: Option<SourceId>,
    pub(super) names: bool,
    pub(super) still: Option<Arc<Still>>,
    pub(super) background: [u8; 3],
    pub(super) texts: Vec<CanvasText>,
    /// No canvas, but this one's picture.
    pub(super) alone: Option<SourceId>,
}

/// What canvases are drawn with.
pub(super) struct Tools<'a> {
    pub(super) pool: &'a FramePool,
    pub(super) labels: &'a mut Labels,
    pub(super) captions: &'a mut Captions,
    pub(super) stills: &'a mut Stills,
}

impl CanvasKey {
    pub(super) fn of(output: &OutputConfig) -> CanvasKey {
        if let Some(source) = output.alone {
            return CanvasKey::alone(output, source);
        }
        CanvasKey {
            size: output.size,
            frames_per_s: output.frames_per_s,
            layout: output.layout.clone(),
            fit: output.fit,
            subjects: output.subjects.clone(),
            pinned: output.pinned,
            without: output.without,
            names: output.names,
            still: output.still.clone(),
            background: output.background,
            texts: output.texts.clone(),
            alone: None,
        }
    }

    /// Only what counts for one source's picture.
    fn alone(output: &OutputConfig, source: SourceId) -> CanvasKey {
        CanvasKey {
            size: output.size,
            frames_per_s: output.frames_per_s,
            layout: Layout::Equal(1),
            fit: Fit::Letterbox,
            subjects: Vec::new(),
            pinned: None,
            without: None,
            names: false,
            still: None,
            background: BACKGROUND,
            texts: Vec::new(),
            alone: Some(source),
        }
    }
}

/// One cell as it is to be seen, or is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    rect: PixelRect,
    source: Option<SourceId>,
    /// The source itself, or a copy of it.
    copy: Option<SourceId>,
    /// Which of the copy's pictures; 0: there is none.
    version: u64,
    /// What is seen instead; 0: nothing.
    still: u64,
    border: bool,
    /// Which name is written on it; 0: none.
    name: u64,
}

pub(super) struct Canvas {
    pub(super) key: CanvasKey,
    /// When the next picture is due.
    pub(super) due: Time,
    placed: Vec<Option<SourceId>>,
    cells: Vec<Cell>,
    shown: Vec<Shown>,
    drawn: Vec<Shown>,
    frame: Frame,
    /// The same with text over it, if there is any.
    written: Option<Frame>,
    pub(super) pace: Pace,
}

impl Canvas {
    pub(super) fn new(key: CanvasKey, now: Time, pool: &FramePool) -> Canvas {
        // Nothing is drawn of one source's picture.
        let mut frame = pool.take(if key.alone.is_some() { PictureSize::new(2, 2) } else { key.size });
        frame.fill(key.background);
        let (placed, cells) = (Vec::new(), Vec::new());
        let written = (!key.texts.is_empty()).then(|| pool.take(key.size));
        let (shown, drawn, pace) = (Vec::new(), Vec::new(), Pace::new(now));
        Canvas { key, due: now, placed, cells, shown, drawn, frame, written, pace }
    }

    pub(super) fn interval(&self, divisor: u32) -> Duration {
        Duration::from_secs(1) * divisor / self.key.frames_per_s
    }

    /// What it shows.
    pub(super) fn frame(&self) -> &Frame {
        self.written.as_ref().unwrap_or(&self.frame)
    }

    /// Decides who is seen where.
    pub(super) fn arrange(
        &mut self,
        sources: &BTreeMap<SourceId, Source>,
        speakers: [Option<SourceId>; 2],
        turns: &Turns,
    ) {
        if let Some(id) = self.key.alone {
            self.placed = vec![sources.contains_key(&id).then_some(id)];
            return;
        }
        let is_seen = |source: &&Source| Some(source.id) != self.key.without;
        let people = sources.values().filter(|source| source.is_person()).filter(is_seen);
        let people: Vec<SourceId> = people.map(|source| source.id).collect();
        let pinned = self.key.pinned.filter(|id| people.contains(id));
        let mut cells = match pinned {
            Some(_) => self.key.layout.cells_around_one(people.len()),
            None => self.key.layout.cells(people.len()),
        };
        cells.iter_mut().zip(&self.key.subjects).for_each(|(cell, subject)| cell.set_subject(subject));
        if let (Some(id), Some(first)) = (pinned, cells.first_mut()) {
            first.set_subject(&Subject::Source(id));
        }
        let seen: Vec<SourceId> = people.iter().copied().filter(|id| !sources[id].look.off).collect();
        let mut taken: Vec<SourceId> = cells.iter().filter_map(Cell::fixed).collect();
        for (cell, subject) in cells.iter_mut().zip(&self.key.subjects) {
            let Subject::Sequence(sequence) = subject else { continue };
            let next = turns.order(sequence, &seen).into_iter().find(|id| !taken.contains(id));
            if let Some(id) = next.filter(|_| cell.fixed().is_none()) {
                cell.set_subject(&Subject::Source(id));
                taken.push(id);
            }
        }
        self.placed.resize(cells.len(), None);
        self.cells = cells;
        self.placed = place(&self.cells, &people, speakers, &self.placed);
        for (placed, cell) in self.placed.iter_mut().zip(&self.cells) {
            *placed = placed.or_else(|| cell.fixed().filter(|id| sources.get(id).is_some_and(|s| s.content)));
        }
    }

    /// People who are seen in turn.
    pub(super) fn sequences(&self) -> impl Iterator<Item = &Sequence> + Clone {
        self.key.subjects.iter().filter_map(|subject| match subject {
            Subject::Sequence(sequence) => Some(&**sequence),
            _ => None,
        })
    }

    /// Those who are seen, each with its cell, and how it gets into that.
    pub(super) fn seen(&self) -> impl Iterator<Item = (SourceId, (PictureSize, Fit))> {
        let CanvasKey { size, fit, alone, .. } = &self.key;
        let alone = alone.and(self.placed.first().copied().flatten()).map(|id| (id, (*size, *fit)));
        let cells = self.placed.iter().zip(&self.cells);
        alone
            .into_iter()
            .chain(cells.filter_map(|(id, cell)| Some(((*id)?, (cell.pixels(*size).size(), *fit)))))
    }

    /// What is to be seen now.
    pub(super) fn look(
        &mut self,
        (sources, layers): (&BTreeMap<SourceId, Source>, &Layers),
        speaker: Option<SourceId>,
    ) {
        let CanvasKey { size, fit, names, still, .. } = &self.key;
        let instead = |source: &Source| {
            let still = source.look.still.as_ref().or(still.as_ref());
            still.map_or(0, |still| still.number())
        };
        self.shown.clear();
        self.shown.extend(self.cells.iter().zip(&self.placed).map(|(cell, source)| {
            let rect = cell.pixels(*size);
            let copy = source.map(|id| layers.choose(sources, id, (rect.size(), *fit)).shown);
            let off = source.is_some_and(|id| sources[&id].look.off);
            let version = copy.filter(|_| !off).map_or(0, |id| sources[&id].shown());
            Shown {
                rect,
                source: *source,
                copy,
                version,
                still: source.filter(|_| version == 0).map_or(0, |id| instead(&sources[&id])),
                name: source.filter(|_| *names).map_or(0, |id| sources[&id].name.number()),
                // Where only one is seen, everybody knows who it is.
                border: source.is_some() && *source == speaker && self.cells.len() > 1,
            }
        }));
    }

    /// Whether another canvas is to show the same.
    pub(super) fn is_as(&self, other: &Canvas) -> bool {
        let plain = |key: &CanvasKey| (key.size, key.fit, key.background);
        plain(&self.key) == plain(&other.key)
            && self.shown == other.shown
            && self.key.texts == other.key.texts
    }

    /// Draws what has changed.
    pub(super) fn draw(
        &mut self,
        sources: &mut BTreeMap<SourceId, Source>,
        (now, look): (Time, u64),
        tools: Tools<'_>,
        stats: &mut VideoStats,
    ) {
        let rects = |shown: &[Shown]| shown.iter().map(|shown| shown.rect).collect::<Vec<_>>();
        let mut all = rects(&self.shown) != rects(&self.drawn);
        let background = self.key.background;
        if all {
            self.frame.fill(background);
        }
        for (index, shown) in self.shown.iter().enumerate() {
            if !all && self.drawn[index] == *shown {
                continue;
            }
            // What lies over it is drawn again, too.
            all |= self.shown[index + 1..].iter().any(|above| overlap(above.rect, shown.rect));
            // A narrow cell of a small canvas has no pixels.
            if shown.rect.size().pixels() == 0 {
                continue;
            }
            let content = shown.source.is_some_and(|id| sources.get(&id).is_some_and(|s| s.content));
            let is_seen = if shown.version > 0 {
                let fit = if content { Fit::Letterbox } else { self.key.fit };
                let (cell, with) = ((shown.rect, fit, background), (look, tools.pool));
                let copy = shown.copy.and_then(|id| sources.get_mut(&id));
                copy.is_some_and(|copy| copy.draw(cell, &mut self.frame, with, stats))
            } else {
                let source = shown.source.filter(|_| shown.still > 0).and_then(|id| sources.get(&id));
                let still = source.and_then(|source| source.look.still.as_ref().or(self.key.still.as_ref()));
                let still = still.map(|still| tools.stills.tile(still, shown.rect.size(), tools.pool));
                draw_cell(&mut self.frame, shown.rect, still, background);
                still.is_some()
            };
            if shown.border && is_seen {
                draw_border(&mut self.frame, shown.rect);
            }
            // Who has no picture is at least named.
            if let Some(source) = shown.source.filter(|_| shown.name != 0).and_then(|id| sources.get(&id)) {
                tools.labels.draw(&mut self.frame, shown.rect, &source.name);
            }
        }
        self.drawn.clone_from(&self.shown);
        if let Some(written) = &mut self.written {
            written.copy_from(&self.frame.picture());
            tools.captions.draw(written, &self.key.texts, now);
        }
    }
}

fn overlap(one: PixelRect, other: PixelRect) -> bool {
    one.left < other.left + other.width
        && other.left < one.left + one.width
        && one.top < other.top + other.height
        && other.top < one.top + one.height
}

/// A picture in the middle of its cell, with bars around it where it does not fill it.
pub(super) fn draw_cell(frame: &mut Frame, cell: PixelRect, tile: Option<&Frame>, background: [u8; 3]) {
    let Some(tile) = tile else { return fill(frame, cell, background) };
    let rect = bars(frame, cell, tile.size(), background);
    for (index, plane) in tile.picture().planes().iter().enumerate() {
        for (to, from) in area(frame.plane_mut(index), index, rect).zip(plane.lines()) {
            to.copy_from_slice(from);
        }
    }
}

/// Where a picture of this size is in its cell: in the middle. What is around it becomes the background.
pub(super) fn bars(frame: &mut Frame, cell: PixelRect, size: PictureSize, background: [u8; 3]) -> PixelRect {
    if size != cell.size() {
        fill(frame, cell, background);
    }
    let PictureSize { width, height } = size;
    let left = cell.left + (((cell.width - width) / 2) & !1);
    let top = cell.top + (((cell.height - height) / 2) & !1);
    PixelRect { left, top, width, height }
}

/// How thick the speaker's border is.
pub(super) fn border_thickness(cell: PixelRect) -> u32 {
    ((cell.height / 60) & !1).clamp(2, 8).min(cell.width).min(cell.height)
}

fn draw_border(frame: &mut Frame, cell: PixelRect) {
    let thick = border_thickness(cell);
    let (right, bottom) = (cell.left + cell.width - thick, cell.top + cell.height - thick);
    for rect in [
        PixelRect { height: thick, ..cell },
        PixelRect { top: bottom, height: thick, ..cell },
        PixelRect { width: thick, ..cell },
        PixelRect { left: right, width: thick, ..cell },
    ] {
        fill(frame, rect, BORDER);
    }
}

fn fill(frame: &mut Frame, rect: PixelRect, colour: [u8; 3]) {
    for (index, value) in colour.into_iter().enumerate() {
        area(frame.plane_mut(index), index, rect).for_each(|line| line.fill(value));
    }
}

/// The lines of a rectangle in plane `index`.
pub(super) fn area(plane: PlaneMut<'_>, index: usize, rect: PixelRect) -> impl Iterator<Item = &mut [u8]> {
    let shift = u32::from(index > 0);
    let [left, top, width, height] =
        [rect.left, rect.top, rect.width, rect.height].map(|side| (side >> shift) as usize);
    plane.area((left, top), (width, height))
}
