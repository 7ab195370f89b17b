//! The scaler against a plain model in floating point.

use crate::video::{PixelRect, Scaler};
use motet_codecs::video::{Frame, FramePool, Picture, PictureSize};
use proptest::prelude::*;

fn whole(size: PictureSize) -> PixelRect {
    PixelRect { left: 0, top: 0, width: size.width, height: size.height }
}

fn scaled(frame: &Frame, crop: PixelRect, to: PictureSize) -> Frame {
    let mut result = FramePool::new(1).take(to);
    result.fill([0; 3]);
    Scaler::new(frame.size(), crop, to).scale(&frame.picture(), &mut result);
    result
}

/// Keys's cubic filter, as wide as new values lie apart where they are fewer.
fn model(values: &[f64], new: usize) -> Vec<f64> {
    let ratio = values.len() as f64 / new as f64;
    let value = |at: isize| values[at.clamp(0, values.len() as isize - 1) as usize];
    let seen = |distance: f64| match distance.abs() {
        x if x < 1.0 => 1.4 * x.powi(3) - 2.4 * x.powi(2) + 1.0,
        x if x < 2.0 => -0.6 * x.powi(3) + 3.0 * x.powi(2) - 4.8 * x + 2.4,
        _ => 0.0,
    };
    let at = |index: usize| {
        let (middle, wide) = ((index as f64 + 0.5) * ratio - 0.5, ratio.max(1.0));
        let reached = (middle - 2.0 * wide).ceil() as isize..=(middle + 2.0 * wide).floor() as isize;
        let parts = reached.map(|at| (value(at), seen((at as f64 - middle) / wide)));
        let (sum, whole) =
            parts.fold((0.0, 0.0), |(sum, whole), (value, part)| (sum + value * part, whole + part));
        sum / whole
    };
    if values.len() == new { values.to_vec() } else { (0..new).map(at).collect() }
}

/// Six values to one where a picture is halved in both directions.
fn halved(values: &[f64]) -> Vec<f64> {
    const WEIGHTS: [f64; 6] = [-1.0, 2.0, 7.0, 7.0, 2.0, -1.0];
    let value = |at: isize| values[at.clamp(0, values.len() as isize - 1) as usize];
    let around =
        |new: usize| WEIGHTS.iter().zip(2 * new as isize - 2..).map(|(weight, at)| weight * value(at));
    (0..values.len() / 2).map(|new| around(new).sum::<f64>() / 16.0).collect()
}

type Values = Vec<Vec<f64>>;

/// Columns as lines.
fn turned(values: &Values) -> Values {
    (0..values[0].len()).map(|column| values.iter().map(|line| line[column]).collect()).collect()
}

fn each_line(values: &Values, how: impl Fn(&[f64]) -> Vec<f64>) -> Values {
    values.iter().map(|line| how(line)).collect()
}

fn clamped(values: Values) -> Values {
    each_line(&values, |line| line.iter().map(|value| value.clamp(0.0, 255.0)).collect())
}

/// A plane in another size.
fn plane(values: &Values, (width, height): (usize, usize)) -> Values {
    if (values[0].len(), values.len()) == (2 * width, 2 * height) {
        return clamped(turned(&each_line(&turned(&each_line(values, halved)), halved)));
    }
    let lines = clamped(turned(&each_line(&turned(values), |column| model(column, height))));
    clamped(each_line(&lines, |line| model(line, width)))
}

/// A picture in another size: halved first where that is a quarter or less.
fn picture(planes: &[Values; 3], to: PictureSize) -> [Values; 3] {
    let (width, height) = (planes[0][0].len(), planes[0].len());
    let (new_width, new_height) = (to.width as usize, to.height as usize);
    let into = |planes: &[Values; 3], size: PictureSize| {
        let chroma = size.chroma();
        let sides = |size: PictureSize| (size.width as usize, size.height as usize);
        [plane(&planes[0], sides(size)), plane(&planes[1], sides(chroma)), plane(&planes[2], sides(chroma))]
    };
    if width < 4 * new_width || height < 4 * new_height {
        return into(planes, to);
    }
    let half = PictureSize::new((width / 2) as u32, (height / 2) as u32);
    let cut = |values: &Values, (width, height): (usize, usize)| {
        values[..height].iter().map(|line| line[..width].to_vec()).collect::<Values>()
    };
    let (even, colour) = ((width & !1, height & !1), (width / 2, height / 2));
    let even = [cut(&planes[0], even), cut(&planes[1], colour), cut(&planes[2], colour)];
    picture(&into(&even, half), to)
}

/// Weights are of 64ths, and lines are rounded before they are made shorter. Where more values make up one, and only in one
/// direction, so that nothing is halved first, what is lost by that adds up.
fn check_against_model(old: &Picture<'_>, crop: PixelRect, new: &Picture<'_>) {
    let values = |index: usize| {
        let shift = u32::from(index > 0);
        let part = if index == 0 { crop.size() } else { crop.size().chroma() };
        let (left, top) = ((crop.left >> shift) as usize, (crop.top >> shift) as usize);
        let line = |line: usize| &old.planes()[index].line(top + line)[left..left + part.width as usize];
        (0..part.height as usize).map(|at| line(at).iter().map(|value| f64::from(*value)).collect()).collect()
    };
    let expected = picture(&[values(0), values(1), values(2)], new.size());
    let (old, to) = (crop.size(), new.size());
    let ratio = f64::from((old.width / to.width).max(old.height / to.height).max(1));
    let (once, usually) = (1.5 + 6.0 * ratio.sqrt(), 1.5 + 1.5 * ratio.sqrt());
    for (index, (expected, new)) in expected.iter().zip(new.planes()).enumerate() {
        let mut squares = 0.0;
        for (number, (expected, found)) in expected.iter().zip(new.lines()).enumerate() {
            for (column, (expected, found)) in expected.iter().zip(found).enumerate() {
                let off = (f64::from(*found) - expected).abs();
                squares += off * off / (new.width() * new.height()) as f64;
                assert!(off <= once, "{index}: {column}, {number}: {found}, {expected}");
            }
        }
        let many = new.width() * new.height() >= 100;
        assert!(!many || squares.sqrt() <= usually, "{index}: {squares}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_size_to_any_size(
        (width, height) in (2_u32..90, 2_u32..90),
        (new_width, new_height) in (1_u32..60, 1_u32..60),
        (left, top) in (0_u32..20, 0_u32..20),
        halve: bool,
        seed: u8,
    ) {
        let pool = FramePool::new(1);
        let mut frame = pool.take(PictureSize::new(width, height));
        for plane in 0..3 {
            for (y, line) in frame.plane_mut(plane).lines().enumerate() {
                for (x, value) in line.iter_mut().enumerate() {
                    *value = (x * 37 + y * 101 + (x * y) % 29 + usize::from(seed) * 7 + plane * 50) as u8;
                }
            }
        }
        let (left, top) = ((left * 2).min(width - 2) & !1, (top * 2).min(height - 2) & !1);
        let crop = PixelRect { left, top, width: width - left, height: height - top };
        let half = |old: u32, other: u32| if halve { old.div_ceil(2) } else { other };
        let (new_width, new_height) = (half(crop.width, new_width), half(crop.height, new_height));
        let result = scaled(&frame, crop, PictureSize::new(new_width, new_height));
        check_against_model(&frame.picture(), crop, &result.picture());
    }
}

#[test]
fn a_colour_stays_exactly_what_it_is() {
    let pool = FramePool::new(1);
    for (from, to) in
        [((1280, 720), (640, 360)), ((1280, 720), (426, 240)), ((176, 144), (640, 360)), ((2, 2), (64, 64))]
    {
        let mut frame = pool.take(PictureSize::new(from.0, from.1));
        frame.fill([255, 0, 173]);
        let result = scaled(&frame, whole(frame.size()), PictureSize::new(to.0, to.1));
        for (plane, value) in result.picture().planes().iter().zip([255, 0, 173]) {
            assert!(plane.lines().all(|line| line.iter().all(|found| *found == value)), "{from:?} {to:?}");
        }
    }
}

#[test]
fn the_same_size_is_a_copy() {
    let pool = FramePool::new(1);
    let mut frame = pool.take(PictureSize::new(66, 34));
    for (y, line) in frame.plane_mut(0).lines().enumerate() {
        line.iter_mut().enumerate().for_each(|(x, value)| *value = (x * y) as u8);
    }
    let result = scaled(&frame, whole(frame.size()), frame.size());
    assert_eq!(result.picture().psnr_db(&frame.picture()), 100.0);
    let crop = PixelRect { left: 32, top: 2, width: 34, height: 32 };
    let part = scaled(&frame, crop, crop.size());
    assert_eq!(part.picture().planes()[0].line(5), &frame.picture().planes()[0].line(7)[32..]);
}
