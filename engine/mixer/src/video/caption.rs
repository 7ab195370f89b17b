//! Lines of text on a canvas: a banner that stands still, a caption that moves.

use super::Font;
use super::label::Label;
use motet_codecs::video::Frame;
use motet_rtp::Time;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Lines that are kept as they were drawn.
const KEPT_MAX: usize = 64;
/// A line is so high, in pixels, whatever part of the canvas that is.
const HEIGHT: std::ops::RangeInclusive<u32> = 16..=128;
/// Pixels of a line that moves at most; what does not fit ends in dots.
const WIDTH_MAX: u32 = 65_536;
/// How bright the picture below is where there is no ground, in 256ths.
const DIMMED: u32 = 90;

/// A line of text on a canvas. It lies over cells, from one side to the other; lines at the same place lie beside each
/// other, the first one at the edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CanvasText {
    /// What is written.
    pub text: String,
    /// At the lower edge, not at the upper one.
    pub bottom: bool,
    /// Height in percent of the canvas; 16 to 128 pixels whatever it says.
    pub height_percent: u8,
    /// Moves to the left by so many percent of the canvas's width in a second, again and again. 0: it stands still in
    /// the middle, and what does not fit ends in dots.
    pub speed_percent: u8,
    /// Of the letters: Y, Cb and Cr.
    pub colour: [u8; 3],
    /// Behind the letters; none: the picture, dimmed.
    pub ground: Option<[u8; 3]>,
}

/// Writes lines.
pub(super) struct Captions {
    font: Option<Arc<Font>>,
    /// By text, height and room.
    lines: HashMap<(String, u32, u32), Line>,
}

struct Line {
    label: Label,
    /// When it was seen first: all canvases that have it show it at the same place.
    began: Time,
}

impl Captions {
    pub(super) fn new(font: Option<Arc<Font>>) -> Captions {
        Captions { font, lines: HashMap::new() }
    }

    /// Writes lines over a canvas.
    pub(super) fn draw(&mut self, frame: &mut Frame, texts: &[CanvasText], now: Time) {
        let Some(font) = &self.font else { return };
        let size = frame.size();
        let (mut top, mut bottom) = (0, size.height & !1);
        for text in texts {
            let height = size.height * u32::from(text.height_percent) / 100;
            let height = height.clamp(*HEIGHT.start(), *HEIGHT.end()) & !1;
            if bottom < top + height {
                return;
            }
            let at = if text.bottom { bottom - height } else { top };
            if text.bottom {
                bottom -= height
            } else {
                top += height
            }
            let room = if text.speed_percent == 0 { size.width } else { WIDTH_MAX };
            if self.lines.len() >= KEPT_MAX {
                self.lines.clear();
            }
            let line = self
                .lines
                .entry((text.text.clone(), height, room))
                .or_insert_with(|| Line { label: Label::new(font, &text.text, (room, height)), began: now });
            let left = line.left(size.width, text.speed_percent, now);
            lay(frame, at, &line.label, left, text);
        }
    }
}

impl Line {
    /// Where it begins, from the left side of a canvas of this width.
    fn left(&self, width: u32, speed_percent: u8, now: Time) -> i64 {
        if speed_percent == 0 {
            return i64::from(width.saturating_sub(self.label.width) / 2);
        }
        let millis = u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX / 65_536 / 255);
        let way = u64::from(width + self.label.width);
        let gone = millis * u64::from(width) * u64::from(speed_percent) / 100_000 % way;
        i64::from(width) - gone as i64
    }
}

/// Writes a line over the lines of pixels from `top` on.
fn lay(frame: &mut Frame, top: u32, label: &Label, left: i64, text: &CanvasText) {
    let (wide, width) = (label.width as usize, frame.size().width as usize);
    let covered = |x: usize, y: usize| {
        let column = x as i64 - left;
        let within = (0..wide as i64).contains(&column);
        if within { u32::from(label.text[y * wide + column as usize]) } else { 0 }
    };
    let blend = |plane: usize, below: u8, covered: u32| {
        let dark = if plane == 0 { 16 } else { 128 };
        let dimmed = || (u32::from(below) * DIMMED + dark * (256 - DIMMED)) / 256;
        let ground = text.ground.map_or_else(dimmed, |ground| u32::from(ground[plane]));
        ((ground * (255 - covered) + u32::from(text.colour[plane]) * covered) / 255) as u8
    };
    let (top, height) = (top as usize, label.height as usize);
    for (y, line) in frame.plane_mut(0).area((0, top), (width, height)).enumerate() {
        for (x, pixel) in line.iter_mut().enumerate() {
            *pixel = blend(0, *pixel, covered(x, y));
        }
    }
    for plane in 1..3 {
        for (y, line) in frame.plane_mut(plane).area((0, top / 2), (width / 2, height / 2)).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| covered(2 * x + dx, 2 * y + dy));
                *pixel = blend(plane, *pixel, four.iter().sum::<u32>() / 4);
            }
        }
    }
}
