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

/// Mean of what a pixel covers, or between the two nearest.
fn model(values: &[f64], new: usize) -> Vec<f64> {
    let ratio = values.len() as f64 / new as f64;
    let at = |index: usize| {
        if ratio >= 1.0 {
            let (begin, end) = (index as f64 * ratio, (index + 1) as f64 * ratio);
            let covered = |old: usize| (end.min(old as f64 + 1.0) - begin.max(old as f64)).max(0.0);
            return values.iter().enumerate().map(|(old, value)| value * covered(old)).sum::<f64>() / ratio;
        }
        let middle = ((index as f64 + 0.5) * ratio - 0.5).clamp(0.0, values.len() as f64 - 1.0);
        let (first, part) = (middle as usize, middle.fract());
        let second = (first + 1).min(values.len() - 1);
        values[first] * (1.0 - part) + values[second] * part
    };
    (0..new).map(at).collect()
}

/// Six values to one where a picture is halved in both directions.
fn halved(values: &[f64]) -> Vec<f64> {
    const WEIGHTS: [f64; 6] = [-1.0, 2.0, 7.0, 7.0, 2.0, -1.0];
    let value = |at: isize| values[at.clamp(0, values.len() as isize - 1) as usize];
    let around =
        |new: usize| WEIGHTS.iter().zip(2 * new as isize - 2..).map(|(weight, at)| weight * value(at));
    (0..values.len() / 2).map(|new| around(new).sum::<f64>() / 16.0).collect()
}

fn check_against_model(old: &Picture<'_>, crop: PixelRect, new: &Picture<'_>) {
    for (index, (old, new)) in old.planes().iter().zip(new.planes()).enumerate() {
        let shift = u32::from(index > 0);
        let part = if index == 0 { crop.size() } else { crop.size().chroma() };
        let (left, top) = ((crop.left >> shift) as usize, (crop.top >> shift) as usize);
        let (width, height) = (part.width as usize, part.height as usize);
        let halves = (width, height) == (2 * new.width(), 2 * new.height());
        let model = |values: &[f64], new| if halves { halved(values) } else { model(values, new) };
        let lines = (0..part.height as usize).map(|line| {
            let line = &old.line(top + line)[left..left + part.width as usize];
            model(&line.iter().map(|value| f64::from(*value)).collect::<Vec<_>>(), new.width())
        });
        let lines: Vec<Vec<f64>> = lines.collect();
        for column in 0..new.width() {
            let values: Vec<f64> = lines.iter().map(|line| line[column]).collect();
            for (line, expected) in model(&values, new.height()).into_iter().enumerate() {
                let (found, expected) = (f64::from(new.line(line)[column]), expected.clamp(0.0, 255.0));
                assert!((found - expected).abs() <= 2.5, "{index}: {column}, {line}: {found}, {expected}");
            }
        }
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
