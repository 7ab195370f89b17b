//! Inner loops in vector instructions, where the processor has them, and the plain loops that they are equal to.
//!
//! Which of them runs is asked of the processor at run time. All unsafe code here is loads, stores and that choice.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod columns;
mod plain;
#[cfg(test)]
mod tests;

pub(crate) use columns::Columns;

/// Weights of [`filter_rows`] and of [`Columns`] are so much together.
pub(crate) const WHOLE: i8 = 64;

/// Has the processor fetch bytes that are read soon. Pictures that other decoders have pushed out of its nearer memory
/// come line by line, at strides that it does not foresee at the ends of pages.
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every processor of this kind has it, and it changes nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// A line of half as many values, each four times the mean of six around it (weights of -1, 2, 7, 7, 2 and -1; the
/// first and the last stand for those beyond): -127 to 1148.
///
/// # Panics
/// When `line` does not hold twice as many values as `to`.
pub(crate) fn halve_columns(line: &[u8], to: &mut [i16]) {
    assert_eq!(line.len(), 2 * to.len());
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2: it has just said so.
        return unsafe { avx2::halve_columns(line, to) };
    }
    plain::halve_columns(line, to);
}

/// The mean of six lines that [`halve_columns`] made, with the same weights.
///
/// # Panics
/// When one of them is shorter than `to`.
pub(crate) fn halve_rows(lines: [&[i16]; 6], to: &mut [u8]) {
    let lines = lines.map(|line| &line[..to.len()]);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2: it has just said so.
        return unsafe { avx2::halve_rows(lines, to) };
    }
    plain::halve_rows(lines, to);
}

/// The sum of lines, the first at the beginning of `lines` and each `stride` bytes after the one before, each by its
/// weight, 64 of which are the whole.
///
/// # Panics
/// When there is no weight, or `lines` does not hold a line as long as `to` for each.
pub(crate) fn filter_rows(lines: &[u8], stride: usize, weights: &[i8], to: &mut [u8]) {
    let last = weights.len().checked_sub(1).expect("a weight");
    assert!(last * stride + to.len() <= lines.len(), "{} lines of {stride} and {}", last + 1, to.len());
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2: it has just said so.
        return unsafe { avx2::filter_rows(lines, stride, weights, to) };
    }
    plain::filter_rows(lines, stride, weights, to);
}

/// A line of other values, each made of those that `columns` says.
///
/// # Panics
/// When `columns` is for lines of other lengths.
pub(crate) fn filter_columns(line: &[u8], columns: &Columns, to: &mut [u8]) {
    assert_eq!((line.len(), to.len()), columns.lengths());
    #[cfg(target_arch = "x86_64")]
    if columns.has_blocks() && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2: it has just said so.
        return unsafe { avx2::filter_columns(line, columns, to) };
    }
    plain::filter_columns(line, columns, to);
}
