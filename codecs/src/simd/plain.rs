//! For every processor. Sums fit 16 bits; operations that cannot overflow are written as such, so that checks for it do
//! not keep compilers from vector code.

use super::Columns;

pub(super) fn halve_columns(line: &[u8], to: &mut [i16]) {
    for (to, old) in to.iter_mut().skip(1).zip(line.windows(6).step_by(2)) {
        *to = mean([old[0], old[1], old[2], old[3], old[4], old[5]]);
    }
    halve_ends(line, to);
}

/// The first and the last of them.
pub(super) fn halve_ends(line: &[u8], to: &mut [i16]) {
    let last = to.len().saturating_sub(1);
    if let ([a, b, c, d, ..], [.., w, x, y, z]) = (line, line) {
        to[0] = mean([*a, *a, *a, *b, *c, *d]);
        to[last] = mean([*w, *x, *y, *z, *z, *z]);
    } else if let [a, b] = line {
        to[0] = mean([*a, *a, *a, *b, *b, *b]);
    }
}

/// Four times the mean.
fn mean(old: [u8; 6]) -> i16 {
    let value = |tap: usize| i16::from(old[tap]);
    // Said one by one, since this is in the innermost loop.
    weighted([value(0), value(1), value(2), value(3), value(4), value(5)]).wrapping_add(2) >> 2
}

pub(super) fn halve_rows([a, b, c, d, e, f]: [&[i16]; 6], to: &mut [u8]) {
    for (index, to) in to.iter_mut().enumerate() {
        let sum = weighted([a[index], b[index], c[index], d[index], e[index], f[index]]);
        *to = (sum.wrapping_add(32) >> 6).clamp(0, 255) as u8;
    }
}

/// Sixteen times the mean.
fn weighted([a, b, c, d, e, f]: [i16; 6]) -> i16 {
    let near = c.wrapping_add(d);
    let (next, far) = (b.wrapping_add(e), a.wrapping_add(f));
    near.wrapping_mul(7).wrapping_add(next.wrapping_mul(2)).wrapping_sub(far)
}

pub(super) fn filter_rows(lines: &[u8], stride: usize, weights: &[i8], to: &mut [u8]) {
    const PART: usize = 64;
    for (part, to) in to.chunks_mut(PART).enumerate() {
        let mut sums = [32_i16; PART];
        for (line, weight) in weights.iter().enumerate() {
            let line = &lines[line * stride + part * PART..][..to.len()];
            for (sum, value) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(i16::from(*value).wrapping_mul(i16::from(*weight)));
            }
        }
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to = (sum >> 6).clamp(0, 255) as u8);
    }
}

pub(super) fn filter_columns(line: &[u8], columns: &Columns, to: &mut [u8]) {
    for (to, (start, weights)) in to.iter_mut().zip(columns.each()) {
        let products = weights
            .iter()
            .zip(&line[start..])
            .map(|(weight, value)| i16::from(*value).wrapping_mul(i16::from(*weight)));
        *to = (products.fold(32, i16::wrapping_add) >> 6).clamp(0, 255) as u8;
    }
}
