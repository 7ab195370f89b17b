//! For processors with AVX2. The last block of a line begins earlier than others end, so that there is no rest.
//!
//! Closures here are called by these functions themselves: within functions of the standard library they would not be
//! compiled for AVX2.

use super::plain;
use std::arch::x86_64::*;

/// Values made at once.
const COLUMNS: usize = 16;
const ROWS: usize = 32;

#[target_feature(enable = "avx2")]
pub(super) fn halve_columns(line: &[u8], to: &mut [i16]) {
    let count = to.len();
    assert_eq!(line.len(), 2 * count);
    if count < COLUMNS + 2 {
        return plain::halve_columns(line, to);
    }
    plain::halve_ends(line, to);
    // Weights of two neighbours each, the first in the lower byte.
    let pair = |first: i8, second: i8| _mm256_set1_epi16(i16::from_le_bytes([first as u8, second as u8]));
    let (before, middle, after) = (pair(-1, 2), pair(7, 7), pair(2, -1));
    let half = _mm256_set1_epi16(2);
    // SAFETY: called with columns up to `count - 1 - COLUMNS`: the last byte read is 2 * COLUMNS + 1 beyond twice that,
    // 2 * count - 1, the last of `line` (the assertion). Any address will do.
    let load = |at: usize| unsafe { _mm256_loadu_si256(line.as_ptr().add(at).cast()) };
    let last = count - 1 - COLUMNS;
    let mut at = 1;
    loop {
        let before = _mm256_maddubs_epi16(load(2 * at - 2), before);
        let middle = _mm256_maddubs_epi16(load(2 * at), middle);
        let after = _mm256_maddubs_epi16(load(2 * at + 2), after);
        let sum = _mm256_add_epi16(_mm256_add_epi16(before, half), _mm256_add_epi16(middle, after));
        let mean = _mm256_srai_epi16::<2>(sum);
        // SAFETY: there is room for COLUMNS values from `at` on, which is `count - 1 - COLUMNS` at most.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), mean) };
        if at == last {
            return;
        }
        at = (at + COLUMNS).min(last);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn halve_rows(lines: [&[i16]; 6], to: &mut [u8]) {
    let count = to.len();
    assert!(lines.iter().all(|line| line.len() >= count));
    if count < ROWS {
        return plain::halve_rows(lines, to);
    }
    let [a, b, c, d, e, f] = lines;
    let half = _mm256_set1_epi16(32);
    // SAFETY: called with rows up to `count - 16`, and every line holds `count` values (the assertion). Any address will do.
    let load = |line: &[i16], at: usize| unsafe { _mm256_loadu_si256(line.as_ptr().add(at).cast()) };
    let sixteen = |at: usize| {
        let near = _mm256_add_epi16(load(c, at), load(d, at));
        let next = _mm256_add_epi16(load(b, at), load(e, at));
        let far = _mm256_add_epi16(load(a, at), load(f, at));
        let near = _mm256_sub_epi16(_mm256_slli_epi16::<3>(near), near);
        let around = _mm256_sub_epi16(_mm256_slli_epi16::<1>(next), far);
        _mm256_srai_epi16::<6>(_mm256_add_epi16(_mm256_add_epi16(near, around), half))
    };
    let last = count - ROWS;
    let mut at = 0;
    loop {
        let (low, high) = (sixteen(at), sixteen(at + 16));
        // Packing works within halves of the register: the order of quarters is put right.
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(low, high));
        // SAFETY: there is room for ROWS bytes from `at` on, which is `count - ROWS` at most.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), packed) };
        if at == last {
            return;
        }
        at = (at + ROWS).min(last);
    }
}
