//! Views of pictures, whoever owns them.

use serde::{Deserialize, Serialize};

/// Pixels of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PictureSize {
    /// Pixels in a line, at least 1.
    pub width: u32,
    /// Lines, at least 1.
    pub height: u32,
}

impl PictureSize {
    /// Of so many pixels.
    pub const fn new(width: u32, height: u32) -> PictureSize {
        PictureSize { width, height }
    }

    /// Of a plane of colour: half of each side, rounded up.
    pub const fn chroma(self) -> PictureSize {
        PictureSize { width: self.width.div_ceil(2), height: self.height.div_ceil(2) }
    }

    /// Pixels in all.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

impl std::fmt::Display for PictureSize {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}×{}", self.width, self.height)
    }
}

/// One of a picture's three planes.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    bytes: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
}

impl<'a> Plane<'a> {
    /// Lines of `width` bytes, each `stride` after the one before; none: `bytes` do not hold them, or there is nothing
    /// to hold.
    pub fn new(bytes: &'a [u8], stride: usize, width: usize, height: usize) -> Option<Plane<'a>> {
        let needed = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
        let fits = width > 0 && width <= stride && needed <= bytes.len();
        fits.then(|| Plane { bytes: &bytes[..needed], stride, width, height })
    }

    /// Bytes from the beginning of a line to that of the next.
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes in a line.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Lines.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// From the first byte of the first line to the last of the last.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A line.
    ///
    /// # Panics
    /// When there is no such line.
    pub fn line(&self, line: usize) -> &'a [u8] {
        &self.bytes[line * self.stride..][..self.width]
    }

    /// All lines from the top.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let width = self.width;
        self.bytes.chunks(self.stride).map(move |line| &line[..width])
    }
}

/// A picture: brightness (Y), and two planes of colour (U, V) of half its size, rounded up. Values are of limited range
/// (16 is black, 235 white; 128 is no colour) unless its source says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    planes: [Plane<'a>; 3],
}

impl<'a> Picture<'a> {
    /// Of three planes; none: their sizes do not fit each other.
    pub fn new(planes: [Plane<'a>; 3]) -> Option<Picture<'a>> {
        let [luma, u, v] = &planes;
        let fits = |plane: &Plane<'_>| {
            plane.width == luma.width.div_ceil(2) && plane.height == luma.height.div_ceil(2)
        };
        (fits(u) && fits(v)).then_some(Picture { planes })
    }

    /// Its size.
    pub const fn size(&self) -> PictureSize {
        // Planes have sizes of 32 bits: codecs and frames have no others.
        PictureSize { width: self.planes[0].width as u32, height: self.planes[0].height as u32 }
    }

    /// Y, U and V.
    pub const fn planes(&self) -> &[Plane<'a>; 3] {
        &self.planes
    }

    /// How alike two pictures of one size are: the peak signal to noise ratio of Y, U and V together, in dB. 100 for
    /// equal ones.
    ///
    /// # Panics
    /// When their sizes differ.
    pub fn psnr_db(&self, other: &Picture<'_>) -> f64 {
        assert_eq!(self.size(), other.size(), "only pictures of one size can be compared");
        let (mut squares, mut values) = (0_u64, 0_u64);
        for (mine, others) in self.planes.iter().zip(&other.planes) {
            for (mine, others) in mine.lines().zip(others.lines()) {
                let difference = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
                squares += mine.iter().zip(others).map(difference).sum::<u64>();
                values += mine.len() as u64;
            }
        }
        if squares == 0 {
            return 100.0;
        }
        10.0 * (255.0_f64.powi(2) * values as f64 / squares as f64).log10()
    }
}
