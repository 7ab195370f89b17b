//! Half the size, the step that is asked for most: 720p in the cells of three by three on 1080p, 1080p in those of two
//! by two.

use super::Plane;
use crate::simd;

/// A line is fetched so many lines before it is read.
pub(super) const LINES_AHEAD: usize = 4;

/// Brings planes to half their size. Keeps its memory.
///
/// Each new value is made of six old ones in a line, and of six lines: weights of -1, 2, 7, 7, 2 and -1 sixteenths, found
/// by trial to come nearest to Lanczos's filter, which is wider and whose weights are not so small. At the edges the last
/// value stands for those beyond it. What comes out is the same on every processor.
#[derive(Clone, Debug, Default)]
pub struct Halver {
    /// The last six old lines, of half their length: the one of number n is at the remainder of n by 6.
    lines: [Vec<i16>; 6],
}

impl Halver {
    /// Nothing is kept yet.
    pub fn new() -> Halver {
        Halver::default()
    }

    /// Writes `plane` in half its size to as many lines as there are, from the top.
    ///
    /// # Panics
    /// When the lines of `plane` are not twice as long as those of `to`.
    pub fn halve<'a>(&mut self, plane: &Plane<'_>, to: impl Iterator<Item = &'a mut [u8]>) {
        let (mut read, height) = (0, plane.height());
        for (number, to) in to.enumerate() {
            while read < (2 * number + 4).min(height) {
                let line = &mut self.lines[read % 6];
                line.resize(to.len(), 0);
                if read + LINES_AHEAD < height {
                    simd::prefetch(plane.line(read + LINES_AHEAD));
                }
                simd::halve_columns(plane.line(read), line);
                read += 1;
            }
            let around = |tap: usize| (2 * number + tap).saturating_sub(2).min(height - 1);
            simd::halve_rows(std::array::from_fn(|tap| &*self.lines[around(tap) % 6]), to);
        }
    }
}
