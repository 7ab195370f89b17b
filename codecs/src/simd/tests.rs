//! What the processor's vector unit makes is what the plain loops make.

use super::{Columns, filter_columns, filter_rows, halve_columns, halve_rows, plain};
use proptest::prelude::*;

proptest! {
    #[test]
    fn columns_are_halved_alike(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        let line = &line[..line.len() & !1];
        let (mut vector, mut expected) = (vec![0; line.len() / 2], vec![0; line.len() / 2]);
        halve_columns(line, &mut vector);
        plain::halve_columns(line, &mut expected);
        prop_assert_eq!(&vector, &expected);
        let value = |at: usize| i32::from(line[at.saturating_sub(2).min(line.len() - 1)]);
        for (index, found) in expected.into_iter().enumerate() {
            let weighted = (0..).zip([-1, 2, 7, 7, 2, -1]).map(|(tap, weight)| weight * value(2 * index + tap));
            prop_assert_eq!(i32::from(found), (weighted.sum::<i32>() + 2) >> 2);
        }
    }

    #[test]
    fn rows_are_halved_alike(
        values in proptest::collection::vec(-127_i16..=1148, 6 * 100),
        count in 0_usize..=100,
    ) {
        let lines: [&[i16]; 6] = std::array::from_fn(|line| &values[line * 100..][..100]);
        let (mut vector, mut expected) = (vec![0; count], vec![0; count]);
        halve_rows(lines, &mut vector);
        plain::halve_rows(lines.map(|line| &line[..count]), &mut expected);
        prop_assert_eq!(vector, expected);
    }
}

/// Weights that are 64 together, and lead to neither more nor less than 16 bits hold.
fn weights(taps: usize) -> impl Strategy<Value = Vec<i8>> {
    proptest::collection::vec(-12_i8..=24, taps).prop_map(|mut weights| {
        for at in (0..weights.len()).cycle() {
            let missing = 64 - weights.iter().map(|weight| i32::from(*weight)).sum::<i32>();
            let part = missing.clamp(-12 - i32::from(weights[at]), 70 - i32::from(weights[at]));
            weights[at] += part as i8;
            if part == missing {
                return weights;
            }
        }
        weights
    })
}

/// Lines of these values, of which a third is black and another one white.
fn lines(count: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], count)
}

proptest! {
    #[test]
    fn rows_are_filtered_alike(
        (weights, values) in (1_usize..=9).prop_flat_map(|taps| (weights(taps), lines(taps * 120))),
        count in 0_usize..=120,
    ) {
        let (mut vector, mut expected) = (vec![0; count], vec![0; count]);
        filter_rows(&values, 120, &weights, &mut vector);
        plain::filter_rows(&values, 120, &weights, &mut expected);
        prop_assert_eq!(&vector, &expected);
        for (column, found) in expected.into_iter().enumerate() {
            let values = values[column..].iter().step_by(120);
            let sum: i32 = values.zip(&weights).map(|(value, weight)| i32::from(*value) * i32::from(*weight)).sum();
            prop_assert_eq!(i32::from(found), ((sum + 32) >> 6).clamp(0, 255));
        }
    }

    #[test]
    fn columns_are_filtered_alike(
        (weights, count) in (1_usize..=13, 1_usize..=100)
            .prop_flat_map(|(taps, count)| (proptest::collection::vec(weights(taps), count), Just(count))),
        // Up to beyond what lanes can pick, in 32nds of an old value.
        (apart, offset) in (0_usize..=140, 0_usize..3),
        line in lines(500),
    ) {
        let taps = weights[0].len();
        let starts: Vec<u32> = (0..count).map(|index| (offset + index * apart / 32) as u32).collect();
        let line = &line[..starts[count - 1] as usize + taps + offset];
        let columns = Columns::new(line.len(), taps, starts.clone(), weights.concat());
        let (mut vector, mut expected) = (vec![0; count], vec![0; count]);
        filter_columns(line, &columns, &mut vector);
        plain::filter_columns(line, &columns, &mut expected);
        prop_assert_eq!(&vector, &expected);
        for ((found, start), weights) in expected.into_iter().zip(starts).zip(weights) {
            let values = line[start as usize..].iter().zip(&weights);
            let sum: i32 = values.map(|(value, weight)| i32::from(*value) * i32::from(*weight)).sum();
            prop_assert_eq!(i32::from(found), ((sum + 32) >> 6).clamp(0, 255));
        }
    }
}

/// Those that are asked for most are made by vector units.
#[test]
fn columns_of_usual_sizes_are_made_in_blocks() {
    let starts =
        |old: u32, new: u32| (0..new).map(|index| index * (old - 12) / (new - 1)).collect::<Vec<_>>();
    for (old, new, in_blocks) in [(1280, 480, true), (1280, 384, true), (640, 192, true), (1280, 200, false)]
    {
        let weights = [16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0].repeat(new as usize);
        let columns = Columns::new(old as usize, 12, starts(old, new), weights);
        assert_eq!(columns.has_blocks(), in_blocks, "{old} to {new}");
    }
}

#[test]
fn the_blackest_and_the_whitest_fit() {
    let edge =
        |value: u8| (0..100).map(|at| if at / 2 % 2 == 0 { value } else { 255 - value }).collect::<Vec<_>>();
    for line in [edge(0), edge(255), vec![0; 100], vec![255; 100]] {
        let (mut vector, mut expected) = (vec![0; 50], vec![0; 50]);
        halve_columns(&line, &mut vector);
        plain::halve_columns(&line, &mut expected);
        assert_eq!(vector, expected);
        assert!(vector.iter().all(|value| (-127..=1148).contains(value)));
    }
}
