//! For processors with AVX2. The last block of a line begins earlier than others end, so that there is no rest.
//!
//! Closures here are called by these functions themselves: within functions of the standard library they would not be
//! compiled for AVX2.

use super::{Columns, plain};
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

#[target_feature(enable = "avx2")]
pub(super) fn filter_rows(lines: &[u8], stride: usize, weights: &[i8], to: &mut [u8]) {
    let count = to.len();
    let (pairs, odd) = weights.as_chunks::<2>();
    assert!(!weights.is_empty() && (weights.len() - 1) * stride + count <= lines.len());
    if count < ROWS {
        return plain::filter_rows(lines, stride, weights, to);
    }
    let zero = _mm256_setzero_si256();
    let last = count - ROWS;
    let mut at = 0;
    loop {
        // SAFETY: called with numbers of weights and columns up to `count - ROWS`: the last byte read is within that
        // line's `count` values (the assertion). Any address will do.
        let load =
            |number: usize| unsafe { _mm256_loadu_si256(lines.as_ptr().add(number * stride + at).cast()) };
        let (mut low, mut high) = (_mm256_set1_epi16(32), _mm256_set1_epi16(32));
        let mut add = |first: __m256i, second: __m256i, [one, other]: [i8; 2]| {
            let weights = _mm256_set1_epi16(i16::from_le_bytes([one as u8, other as u8]));
            let (lows, highs) = (_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second));
            low = _mm256_add_epi16(low, _mm256_maddubs_epi16(lows, weights));
            high = _mm256_add_epi16(high, _mm256_maddubs_epi16(highs, weights));
        };
        for (number, pair) in pairs.iter().enumerate() {
            add(load(2 * number), load(2 * number + 1), *pair);
        }
        if let [weight] = odd {
            add(load(weights.len() - 1), zero, [*weight, 0]);
        }
        // Packing within halves of the register puts values where they were before they were unpacked.
        let packed = _mm256_packus_epi16(_mm256_srai_epi16::<6>(low), _mm256_srai_epi16::<6>(high));
        // SAFETY: there is room for ROWS bytes from `at` on, which is `count - ROWS` at most.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), packed) };
        if at == last {
            return;
        }
        at = (at + ROWS).min(last);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn filter_columns(line: &[u8], columns: &Columns, to: &mut [u8]) {
    assert_eq!((line.len(), to.len()), columns.lengths());
    let (ones, half) = (_mm256_set1_epi16(1), _mm256_set1_epi32(32));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    // SAFETY: called with addresses of arrays of 32 bytes, which need not be aligned.
    let load = |bytes: *const u8| unsafe { _mm256_loadu_si256(bytes.cast()) };
    // SAFETY: called with bases of a block and steps: from there on there are 16 bytes (`Block::bases`, and `line` is of
    // the length that they are for). Any address will do.
    let window = |at: usize| unsafe { _mm_loadu_si128(line.as_ptr().add(at).cast()) };
    for (block, steps) in columns.blocks.iter().zip(columns.steps.chunks_exact(columns.steps_each())) {
        let eight = |quarter: usize| {
            let (low, high) = (block.bases[2 * quarter], block.bases[2 * quarter + 1]);
            let picks = load(block.picks[quarter].as_ptr());
            let mut sum = _mm256_setzero_si256();
            for (step, weights) in steps.iter().enumerate() {
                let values = _mm256_set_m128i(window(high + 4 * step), window(low + 4 * step));
                let values = _mm256_shuffle_epi8(values, picks);
                let weights = load(weights[quarter].as_ptr().cast());
                sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(values, weights));
            }
            _mm256_srai_epi32::<6>(_mm256_add_epi32(_mm256_madd_epi16(sum, ones), half))
        };
        let (first, second) =
            (_mm256_packs_epi32(eight(0), eight(1)), _mm256_packs_epi32(eight(2), eight(3)));
        // Packing works within halves of the register: the order of fours is put right.
        let packed = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
        let to = &mut to[block.first..][..ROWS];
        // SAFETY: `to` has room for ROWS bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), packed) };
    }
}
