//! Any size to any other.

use super::Plane;
use super::halve::LINES_AHEAD;
use crate::simd::{self, Columns, WHOLE};

/// How far the filter reaches, in values of the longer line's measure.
const REACH: f64 = 2.0;
/// What a value lets through at its side, negative: the cubic's parameter, which is FFmpeg's.
const CUBIC: f64 = -0.6;

/// Brings planes of one size to another one. Keeps what it worked out, and its memory.
///
/// The filter is FFmpeg's bicubic one, as wide as new values lie apart where planes get smaller: each new value is made of
/// those within two such distances on either side, with weights of 64ths. At the edges the last value stands for those
/// beyond it. Lines are made first, then values within lines, both of 8 bits. What comes out is the same on every
/// processor. Weights get coarse where a side becomes less than an eighth: [`Halver`](super::Halver) comes first there.
#[derive(Clone, Debug)]
pub struct Resizer {
    from: (usize, usize),
    /// None: the side stays as it is.
    rows: Option<Kernel>,
    columns: Option<Columns>,
    line: Vec<u8>,
}

/// Which old values make up each new one.
#[derive(Clone, Debug)]
struct Kernel {
    taps: usize,
    starts: Vec<u32>,
    /// `taps` for each new value.
    weights: Vec<i8>,
}

impl Resizer {
    /// From planes of a width and height to those of another.
    ///
    /// # Panics
    /// When a side is 0.
    pub fn new(from: (usize, usize), to: (usize, usize)) -> Resizer {
        assert!(from.0 > 0 && from.1 > 0 && to.0 > 0 && to.1 > 0, "{from:?} to {to:?}");
        let rows = (from.1 != to.1).then(|| Kernel::new(from.1, to.1, 2));
        // Vector units take four at a time.
        let columns = (from.0 != to.0).then(|| Kernel::new(from.0, to.0, 4));
        let columns =
            columns.map(|Kernel { taps, starts, weights }| Columns::new(from.0, taps, starts, weights));
        Resizer { from, rows, columns, line: vec![0; from.0] }
    }

    /// Writes `plane` in the other size to `to`, from the top.
    ///
    /// # Panics
    /// When `plane` or `to` is of another size than the resizer is for.
    pub fn resize<'a>(&mut self, plane: &Plane<'_>, to: impl Iterator<Item = &'a mut [u8]>) {
        assert_eq!((plane.width(), plane.height()), self.from, "the resizer is for planes of another size");
        let stride = plane.stride();
        let mut fetched = 0;
        for (number, to) in to.enumerate() {
            let rows = self.rows.as_ref().map(|rows| rows.at(number));
            let read = rows.map_or(number + 1, |(start, weights)| start + weights.len());
            let soon = (read + LINES_AHEAD).min(plane.height());
            (fetched..soon).for_each(|line| simd::prefetch(plane.line(line)));
            fetched = soon.max(fetched);
            match (rows, &self.columns) {
                (None, None) => to.copy_from_slice(plane.line(number)),
                (None, Some(columns)) => simd::filter_columns(plane.line(number), columns, to),
                (Some((start, weights)), None) => {
                    simd::filter_rows(&plane.bytes()[start * stride..], stride, weights, to);
                }
                (Some((start, weights)), Some(columns)) => {
                    simd::filter_rows(&plane.bytes()[start * stride..], stride, weights, &mut self.line);
                    simd::filter_columns(&self.line, columns, to);
                }
            }
        }
    }
}

impl Kernel {
    /// From `old` values to `new` ones; for each of them a multiple of so many weights, if there are as many values.
    fn new(old: usize, new: usize, multiple: usize) -> Kernel {
        let all: Vec<(usize, Vec<i8>)> = (0..new).map(|index| around(index, old, new)).collect();
        let taps = all.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let taps = taps.next_multiple_of(multiple).min(old);
        let (mut starts, mut weights) = (Vec::with_capacity(new), Vec::with_capacity(new * taps));
        for (start, own) in all {
            // The last ones begin earlier, so that all have as many weights.
            let shift = (start + taps).saturating_sub(old);
            starts.push((start - shift) as u32);
            weights.extend(std::iter::repeat_n(0, shift));
            weights.extend_from_slice(&own);
            weights.extend(std::iter::repeat_n(0, taps - shift - own.len()));
        }
        Kernel { taps, starts, weights }
    }

    fn at(&self, index: usize) -> (usize, &[i8]) {
        (self.starts[index] as usize, &self.weights[index * self.taps..][..self.taps])
    }
}

/// What a new value is made of: the first old one, and weights that are 64 together.
fn around(index: usize, old: usize, new: usize) -> (usize, Vec<i8>) {
    let ratio = old as f64 / new as f64;
    let wide = ratio.max(1.0);
    let middle = (index as f64 + 0.5) * ratio - 0.5;
    let reached = (middle - REACH * wide).ceil() as isize..=(middle + REACH * wide).floor() as isize;
    let within = |at: isize| at.clamp(0, old as isize - 1) as usize;
    let start = within(*reached.start());
    let mut parts = vec![0.0; within(*reached.end()) - start + 1];
    reached.for_each(|at| parts[within(at) - start] += cubic((at as f64 - middle) / wide));
    let weights = weights(&parts);
    let skipped = weights.iter().take_while(|weight| **weight == 0).count();
    let last = weights.iter().rposition(|weight| *weight != 0).map_or(skipped, |last| last + 1);
    (start + skipped, weights[skipped..last].to_vec())
}

/// Parts of whatever sum, as 64ths of it; rounding of one is made good by the next.
fn weights(parts: &[f64]) -> Vec<i8> {
    let whole: f64 = parts.iter().sum();
    let mut done = (0.0, 0);
    let weight = |part: &f64| {
        done.0 += part;
        let until = (done.0 / whole * f64::from(WHOLE)).round() as i32;
        let weight = until - done.1;
        done.1 = until;
        weight as i8
    };
    parts.iter().map(weight).collect()
}

/// Keys's cubic: how much of a value is seen at this distance.
fn cubic(distance: f64) -> f64 {
    let x = distance.abs();
    if x < 1.0 {
        ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        CUBIC * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}
