//! What the processor's vector unit makes is what the plain loops make.

use super::{halve_columns, halve_rows, plain};
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
