//! Pictures that stand still: shown of who sends none.

use super::source::fitted;
use super::{Fit, Scaler};
use motet_codecs::video::{Frame, FramePool, Picture, PictureSize};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sides of a still at most.
const SIDE_MAX: u32 = 4096;
/// Sizes in which stills are kept.
const KEPT_MAX: usize = 64;
/// What is seen through a picture: as much light as between pictures.
const BELOW: u32 = 19;

/// A picture that stands still: a logo, or a photograph of somebody whose camera is off.
pub struct Still {
    frame: Frame,
    /// Another one for each still that is made; never 0.
    number: u64,
}

/// Why there is no such still.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StillError {
    /// It has no pixels, or too many.
    #[error("a picture of {0}: both sides must be 1 to {SIDE_MAX}")]
    Size(PictureSize),
    /// The pixels are not as many as the size says.
    #[error("{found} bytes; {wanted} were expected, four for each pixel")]
    Bytes {
        /// As many as came.
        found: usize,
        /// As many as the size says.
        wanted: usize,
    },
}

impl Still {
    /// Makes a still of red, green, blue and opacity for each pixel, line by line.
    ///
    /// # Errors
    /// When the size is none that is shown, or the bytes are not of that size.
    pub fn from_rgba(size: PictureSize, rgba: &[u8]) -> Result<Still, StillError> {
        let sides = 1..=SIDE_MAX;
        if !sides.contains(&size.width) || !sides.contains(&size.height) {
            return Err(StillError::Size(size));
        }
        let wanted = size.pixels() as usize * 4;
        if rgba.len() != wanted {
            return Err(StillError::Bytes { found: rgba.len(), wanted });
        }
        let mut frame = FramePool::new(1).take(size);
        let (width, height) = (size.width as usize, size.height as usize);
        let pixel = |x: usize, y: usize| {
            let at = 4 * (y.min(height - 1) * width + x.min(width - 1));
            let opacity = u32::from(rgba[at + 3]);
            [0, 1, 2].map(|part| (u32::from(rgba[at + part]) * opacity + BELOW * (255 - opacity)) / 255)
        };
        for (y, line) in frame.plane_mut(0).lines().enumerate() {
            for (x, luma) in line.iter_mut().take(width).enumerate() {
                *luma = ycbcr(pixel(x, y))[0];
            }
        }
        for plane in 1..3 {
            let columns = size.chroma().width as usize;
            for (y, line) in frame.plane_mut(plane).lines().enumerate() {
                for (x, colour) in line.iter_mut().take(columns).enumerate() {
                    let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| pixel(2 * x + dx, 2 * y + dy));
                    let mean = [0, 1, 2].map(|part| four.iter().map(|pixel| pixel[part]).sum::<u32>() / 4);
                    *colour = ycbcr(mean)[plane];
                }
            }
        }
        Ok(Still::of(frame))
    }

    /// The same picture in another process.
    pub fn from_picture(picture: &Picture<'_>) -> Still {
        let mut frame = FramePool::new(1).take(picture.size());
        frame.copy_from(picture);
        Still::of(frame)
    }

    /// What it shows.
    pub fn picture(&self) -> Picture<'_> {
        self.frame.picture()
    }

    /// Another one for each still of this process; never 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn of(frame: Frame) -> Still {
        static STILLS: AtomicU64 = AtomicU64::new(1);
        Still { frame, number: STILLS.fetch_add(1, Ordering::Relaxed) }
    }
}

impl PartialEq for Still {
    fn eq(&self, other: &Still) -> bool {
        self.number == other.number
    }
}

impl Eq for Still {}

impl std::hash::Hash for Still {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for Still {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "still {} of {}", self.number, self.frame.size())
    }
}

/// A colour of 0xRRGGBB as Y, Cb and Cr (ITU-R BT.601, 16 to 235).
pub const fn colour_of_rgb(rgb: u32) -> [u8; 3] {
    ycbcr([(rgb >> 16) & 255, (rgb >> 8) & 255, rgb & 255])
}

const fn ycbcr([red, green, blue]: [u32; 3]) -> [u8; 3] {
    let (red, green, blue) = (red as i32, green as i32, blue as i32);
    let luma = ((66 * red + 129 * green + 25 * blue + 128) >> 8) + 16;
    let cb = ((-38 * red - 74 * green + 112 * blue + 128) >> 8) + 128;
    let cr = ((112 * red - 94 * green - 18 * blue + 128) >> 8) + 128;
    [luma as u8, cb as u8, cr as u8]
}

/// Stills in the sizes in which they are seen.
#[derive(Default)]
pub(super) struct Stills {
    tiles: HashMap<(u64, PictureSize), Frame>,
}

impl Stills {
    /// All of a still, as large as it fits into a cell.
    pub(super) fn tile(&mut self, still: &Still, cell: PictureSize, pool: &FramePool) -> &Frame {
        if self.tiles.len() >= KEPT_MAX {
            self.tiles.clear();
        }
        self.tiles.entry((still.number, cell)).or_insert_with(|| {
            let from = still.frame.size();
            let (crop, to) = fitted(from, cell, Fit::Letterbox);
            let mut frame = pool.take(to);
            Scaler::new(from, crop, to).scale(&still.frame.picture(), &mut frame);
            frame
        })
    }
}
