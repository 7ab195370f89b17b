//! Pictures to another size, in integers.
//!
//! Half the size: a filter of six values ([`Halver`]). Smaller otherwise: each new pixel is the mean of the area that
//! it covers, to the 256th. Larger: bilinear. Lines are summed up first, into 16 bits, which compilers turn into vector
//! code; then pixels within the line.

use super::PixelRect;
use motet_codecs::video::{Frame, Halver, Picture, PictureSize, Plane};

/// Brings a part of pictures of one size to another size. Keeps what it worked out, and its memory.
#[derive(Clone, Debug)]
pub struct Scaler {
    from: PictureSize,
    crop: PixelRect,
    to: PictureSize,
    /// For Y, and for U and V: columns and lines.
    luma: [Kernel; 2],
    chroma: [Kernel; 2],
    sums: Sums,
}

/// Memory for one line.
#[derive(Clone, Debug)]
struct Sums {
    any: Vec<u16>,
    half: Halver,
}

/// Which old values make up each new one.
#[derive(Clone, Debug)]
struct Kernel {
    taps: usize,
    starts: Vec<u32>,
    /// `taps` for each new value, 256 together.
    weights: Vec<u16>,
    shape: Shape,
}

/// Kernels that need no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Same,
    Half,
    Any,
}

impl Scaler {
    /// From the part `crop` of pictures of size `from` to pictures of size `to`.
    ///
    /// # Panics
    /// When the part is not within the picture, or empty, or does not begin at even numbers.
    pub fn new(from: PictureSize, crop: PixelRect, to: PictureSize) -> Scaler {
        assert!(crop.left + crop.width <= from.width && crop.top + crop.height <= from.height);
        assert!(
            crop.width > 0 && crop.height > 0 && crop.left.is_multiple_of(2) && crop.top.is_multiple_of(2)
        );
        let kernels = |from: PictureSize, to: PictureSize| {
            [
                Kernel::new(from.width as usize, to.width as usize),
                Kernel::new(from.height as usize, to.height as usize),
            ]
        };
        let sums = Sums { any: vec![0; crop.width as usize], half: Halver::new() };
        let (luma, chroma) = (kernels(crop.size(), to), kernels(crop.size().chroma(), to.chroma()));
        Scaler { from, crop, to, luma, chroma, sums }
    }

    /// Whether it is made for this.
    pub fn fits(&self, from: PictureSize, crop: PixelRect, to: PictureSize) -> bool {
        self.from == from && self.crop == crop && self.to == to
    }

    /// Writes the scaled picture over all of `frame`.
    ///
    /// # Panics
    /// When one of them is of another size than the scaler is for.
    pub fn scale(&mut self, picture: &Picture<'_>, frame: &mut Frame) {
        assert_eq!((picture.size(), frame.size()), (self.from, self.to), "the scaler is for other sizes");
        let PixelRect { left, top, .. } = self.crop;
        for (index, plane) in picture.planes().iter().enumerate() {
            let (kernels, shift) = if index == 0 { (&self.luma, 0) } else { (&self.chroma, 1) };
            let corner = ((left >> shift) as usize, (top >> shift) as usize);
            let lines = frame.plane_mut(index).lines();
            scale_plane(plane, corner, kernels, &mut self.sums, lines);
        }
    }
}

fn scale_plane<'a>(
    plane: &Plane<'_>,
    (left, top): (usize, usize),
    [columns, rows]: &[Kernel; 2],
    sums: &mut Sums,
    lines: impl Iterator<Item = &'a mut [u8]>,
) {
    let width = columns.old_values(plane.width() - left);
    let Sums { any, half } = sums;
    if columns.shape == Shape::Half && rows.shape == Shape::Half {
        let corner = &plane.bytes()[top * plane.stride() + left..];
        let part = Plane::new(corner, plane.stride(), width, rows.old_values(plane.height() - top));
        return half.halve(&part.expect("a part of a plane is a plane"), lines);
    }
    let sums = &mut any[..width];
    let line = |at: usize| &plane.line(top + at)[left..left + width];
    for (number, to) in lines.enumerate() {
        if columns.shape == Shape::Same && rows.shape == Shape::Same {
            to.copy_from_slice(&line(number)[..to.len()]);
            continue;
        }
        let (start, weights) = rows.at(number);
        sum_lines(sums, weights.iter().enumerate().map(|(tap, weight)| (line(start + tap), *weight)));
        columns.apply(sums, to);
    }
}

/// Each value of `lines` by its line's weight, summed up: 255 by 256 at most. Operations that cannot overflow are
/// written as such, so that checks for it do not keep compilers from vector code.
fn sum_lines<'a>(sums: &mut [u16], mut lines: impl Iterator<Item = (&'a [u8], u16)>) {
    if let Some((line, weight)) = lines.next() {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum = u16::from(*value).wrapping_mul(weight);
        }
    }
    for (line, weight) in lines.filter(|(_, weight)| *weight > 0) {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(u16::from(*value).wrapping_mul(weight));
        }
    }
}

impl Kernel {
    /// From `old` values to `new` ones.
    fn new(old: usize, new: usize) -> Kernel {
        let shape = match () {
            () if old == new => Shape::Same,
            () if old == 2 * new => Shape::Half,
            () => Shape::Any,
        };
        let all: Vec<(usize, Vec<u16>)> = (0..new)
            .map(|index| if old >= new { area(index, old, new) } else { between(index, old, new) })
            .collect();
        let taps = all.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let (mut starts, mut weights) = (Vec::with_capacity(new), Vec::with_capacity(new * taps));
        for (start, own) in all {
            // The last ones begin earlier, so that all have as many weights.
            let shift = (start + taps).saturating_sub(old);
            starts.push((start - shift) as u32);
            weights.extend(std::iter::repeat_n(0, shift));
            weights.extend_from_slice(&own);
            weights.extend(std::iter::repeat_n(0, taps - shift - own.len()));
        }
        Kernel { taps, starts, weights, shape }
    }

    /// How many old values there are; `room` for other kernels than this says.
    fn old_values(&self, room: usize) -> usize {
        let last = self.starts.last().map_or(0, |start| *start as usize);
        (last + self.taps).min(room)
    }

    fn at(&self, index: usize) -> (usize, &[u16]) {
        (self.starts[index] as usize, &self.weights[index * self.taps..][..self.taps])
    }

    /// New values of sums that are 256 times too large.
    fn apply(&self, sums: &[u16], to: &mut [u8]) {
        match self.shape {
            Shape::Same => {
                for (to, sum) in to.iter_mut().zip(sums) {
                    *to = (sum.wrapping_add(128) >> 8) as u8;
                }
            }
            Shape::Half => {
                let (pairs, _) = sums.as_chunks::<2>();
                for (to, [left, right]) in to.iter_mut().zip(pairs) {
                    *to = (u32::from(*left).wrapping_add(u32::from(*right)).wrapping_add(256) >> 9) as u8;
                }
            }
            Shape::Any => match self.taps {
                2 => self.apply_taps::<2>(sums, to),
                3 => self.apply_taps::<3>(sums, to),
                4 => self.apply_taps::<4>(sums, to),
                _ => {
                    for (index, to) in to.iter_mut().enumerate() {
                        let (start, weights) = self.at(index);
                        *to = weighted(&sums[start..start + self.taps], weights);
                    }
                }
            },
        }
    }

    fn apply_taps<const TAPS: usize>(&self, sums: &[u16], to: &mut [u8]) {
        let (weights, _) = self.weights.as_chunks::<TAPS>();
        for ((to, start), weights) in to.iter_mut().zip(&self.starts).zip(weights) {
            // Kernels never lead beyond the old values; said like this, slices need no check of their own.
            let start = (*start as usize).min(sums.len() - TAPS);
            *to = weighted(&sums[start..start + TAPS], weights);
        }
    }
}

fn weighted(sums: &[u16], weights: &[u16]) -> u8 {
    let mut all = 1_u32 << 15;
    for (sum, weight) in sums.iter().zip(weights) {
        all = all.wrapping_add(u32::from(*sum).wrapping_mul(u32::from(*weight)));
    }
    (all >> 16) as u8
}

/// What a new value covers of old ones: the first of them, and their weights.
fn area(index: usize, old: usize, new: usize) -> (usize, Vec<u16>) {
    // In units of which an old value has `new` and a new value `old`.
    let (begin, end) = (index * old, (index + 1) * old);
    let (first, last) = (begin / new, (end - 1) / new);
    let covered = |at: usize| ((at + 1) * new).min(end) - (at * new).max(begin);
    let parts: Vec<usize> = (first..=last).map(covered).collect();
    (first, weights(&parts, old))
}

/// The two old values between which the middle of a new one lies.
fn between(index: usize, old: usize, new: usize) -> (usize, Vec<u16>) {
    // The middle of the new value, in units of which an old value has 2 * new, from the middle of the first one.
    let middle = ((2 * index + 1) * old).saturating_sub(new);
    let (first, rest) = (middle / (2 * new), middle % (2 * new));
    if first + 1 >= old || rest == 0 {
        return (first.min(old - 1), vec![256]);
    }
    (first, weights(&[2 * new - rest, rest], 2 * new))
}

/// `parts` of `whole`, as weights that are exactly 256 together.
fn weights(parts: &[usize], whole: usize) -> Vec<u16> {
    let mut done = (0, 0);
    let weight = |part: &usize| {
        done.0 += part;
        let until = (done.0 * 256 + whole / 2) / whole;
        let weight = until - done.1;
        done.1 = until;
        weight as u16
    };
    parts.iter().map(weight).collect()
}
