//! Names on pictures: text in a font, drawn once for each size and laid over a cell.
//!
//! Glyphs stand side by side as the font spaces them: enough for names in Latin, Greek, Cyrillic, Chinese, Japanese and
//! Korean, and not for writing that joins letters or goes from right to left. What the font lacks is an empty box.

use super::PixelRect;
use super::canvas::{area, border_thickness};
use ab_glyph::{Font as _, FontVec, Glyph, GlyphId, PxScale, ScaleFont, point};
use motet_codecs::video::Frame;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Drawn names that are kept.
const KEPT_MAX: usize = 512;
/// Characters of a name that are looked at.
const CHARS_MAX: usize = 64;
/// A label is so high: this part of its cell, within these bounds, in pixels.
const PART_OF_CELL: u32 = 9;
const HEIGHT: std::ops::RangeInclusive<u32> = 14..=48;
/// Cells that are less high have no label.
const CELL_HEIGHT_MIN: u32 = 40;
/// How bright the picture below is, in 256ths, and the text on it, as luma.
const DIMMED: u32 = 90;
const WHITE: u32 = 235;

/// A font for names.
pub struct Font(FontVec);

/// Why a font cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no TrueType or OpenType font: {0}")]
pub struct FontError(String);

impl Font {
    /// Reads a font (TrueType, OpenType, or the first one of a collection).
    ///
    /// # Errors
    /// When it is none.
    pub fn read(bytes: Vec<u8>) -> Result<Font, FontError> {
        let font = FontVec::try_from_vec_and_index(bytes, 0).map_err(|error| FontError(error.to_string()))?;
        Ok(Font(font))
    }

    /// Whether it can write this.
    pub fn has(&self, text: &str) -> bool {
        text.chars().all(|char| self.0.glyph_id(char) != GlyphId(0))
    }
}

impl fmt::Debug for Font {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a font of {} glyphs", self.0.glyph_count())
    }
}

/// A source's name. Equal numbers are equal names.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: Arc<str>,
    number: u64,
}

impl Name {
    pub(super) fn new(text: &str) -> Name {
        static NAMES: AtomicU64 = AtomicU64::new(1);
        let text: String = text.chars().filter(|char| !char.is_control()).take(CHARS_MAX).collect();
        let number = if text.is_empty() { 0 } else { NAMES.fetch_add(1, Ordering::Relaxed) };
        Name { text: text.into(), number }
    }

    /// 0: there is none.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// Writes names.
pub(super) struct Labels {
    font: Option<Arc<Font>>,
    /// By text, height and width.
    drawn: HashMap<(Arc<str>, u32, u32), Label>,
}

/// A name as it lies over a picture: how much of each pixel is text, 0 to 255.
pub(super) struct Label {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Line by line.
    pub(super) text: Vec<u8>,
}

impl Labels {
    pub(super) fn new(font: Option<Arc<Font>>) -> Labels {
        Labels { font, drawn: HashMap::new() }
    }

    /// Writes a name at the lower left of a cell.
    pub(super) fn draw(&mut self, frame: &mut Frame, cell: PixelRect, name: &Name) {
        let Some(font) = &self.font else { return };
        let gap = border_thickness(cell).next_multiple_of(2);
        let room = cell.width.saturating_sub(2 * gap) & !1;
        if cell.height < CELL_HEIGHT_MIN || room < CELL_HEIGHT_MIN || name.number == 0 {
            return;
        }
        let height = (cell.height / PART_OF_CELL).clamp(*HEIGHT.start(), *HEIGHT.end()) & !1;
        if self.drawn.len() >= KEPT_MAX {
            self.drawn.clear();
        }
        let key = (Arc::clone(&name.text), height, room);
        let label = self.drawn.entry(key).or_insert_with(|| Label::new(font, &name.text, (room, height)));
        let top = cell.top + cell.height - height - gap;
        label.lay_over(frame, PixelRect { left: cell.left + gap, top, width: label.width, height });
    }
}

impl Label {
    /// Text of this height, as wide as it is, and no wider than there is room; what does not fit ends in dots.
    pub(super) fn new(font: &Font, text: &str, (room, height): (u32, u32)) -> Label {
        let font = font.0.as_scaled(PxScale::from(height as f32 * 0.8));
        let pad = height as f32 * 0.3;
        // The font's own sign for what it lacks may be nothing at all.
        let advance = |id| if id == GlyphId(0) { height as f32 * 0.5 } else { font.h_advance(id) };
        let wide = |text: &str| text.chars().map(|char| advance(font.glyph_id(char))).sum::<f32>();
        let fits = |text: &str| wide(text) + 2.0 * pad <= room as f32;
        let mut shown = text.to_owned();
        while !fits(&shown) && !shown.is_empty() {
            let kept = shown.trim_end_matches('…').chars().count().saturating_sub(1);
            shown = text.chars().take(kept).chain(['…']).collect();
            if kept == 0 {
                shown.clear();
            }
        }
        let width = ((wide(&shown) + 2.0 * pad).ceil() as u32).next_multiple_of(2).min(room);
        let mut label = Label { width, height, text: vec![0; (width * height) as usize] };
        let baseline = (height as f32 + font.ascent() + font.descent()) / 2.0;
        let mut left = pad;
        for id in shown.chars().map(|char| font.glyph_id(char)) {
            let glyph = Glyph { id, scale: font.scale(), position: point(left, baseline) };
            if id == GlyphId(0) {
                label.draw_box(left, advance(id));
            } else if let Some(outline) = font.outline_glyph(glyph) {
                let bounds = outline.px_bounds();
                let (x, y) = (bounds.min.x as i64, bounds.min.y as i64);
                outline.draw(|column, line, covered| {
                    label.set((x + i64::from(column), y + i64::from(line)), covered);
                });
            }
            left += advance(id);
        }
        label
    }

    fn set(&mut self, (x, y): (i64, i64), covered: f32) {
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let pixel = &mut self.text[(y * width + x) as usize];
            *pixel = (*pixel).max((covered.clamp(0.0, 1.0) * 255.0) as u8);
        }
    }

    fn draw_box(&mut self, left: f32, wide: f32) {
        let (x0, x1) = (left as i64 + 1, (left + wide) as i64 - 2);
        let (y0, y1) = (i64::from(self.height) / 5, i64::from(self.height) * 4 / 5);
        for x in x0..=x1 {
            self.set((x, y0), 1.0);
            self.set((x, y1), 1.0);
        }
        for y in y0..=y1 {
            self.set((x0, y), 1.0);
            self.set((x1, y), 1.0);
        }
    }

    /// Dims the picture and writes on it.
    fn lay_over(&self, frame: &mut Frame, rect: PixelRect) {
        let width = self.width as usize;
        let blend = |below: u8, dark: u32, bright: u32, text: u32| {
            let dimmed = (u32::from(below) * DIMMED + dark * (256 - DIMMED)) / 256;
            ((dimmed * (255 - text) + bright * text) / 255) as u8
        };
        for (line, text) in area(frame.plane_mut(0), 0, rect).zip(self.text.chunks_exact(width)) {
            for (pixel, text) in line.iter_mut().zip(text) {
                *pixel = blend(*pixel, 16, WHITE, u32::from(*text));
            }
        }
        for plane in 1..3 {
            let pairs = self.text.chunks_exact(2 * width);
            for (line, two) in area(frame.plane_mut(plane), plane, rect).zip(pairs) {
                for (column, pixel) in line.iter_mut().enumerate() {
                    let at = |x: usize, y: usize| u32::from(two[y * width + 2 * column + x]);
                    let text = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4;
                    *pixel = blend(*pixel, 128, 128, text);
                }
            }
        }
    }
}
