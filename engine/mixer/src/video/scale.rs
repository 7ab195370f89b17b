//! Pictures to another size, in integers.
//!
//! Half the size: a filter of six values ([`Halver`]). Otherwise a bicubic one ([`Resizer`]), after halving as long as a
//! picture becomes a quarter of its size or less: that is cheaper than a filter so wide, and its weights would be coarse.

use super::PixelRect;
use motet_codecs::video::{Frame, FramePool, Halver, Picture, PictureSize, Plane, Resizer};

/// A picture is halved first where both sides become so many times smaller.
const HALVED_FROM: u32 = 4;

/// Brings a part of pictures of one size to another size. Keeps what it worked out, and its memory.
#[derive(Debug)]
pub struct Scaler {
    from: PictureSize,
    crop: PixelRect,
    to: PictureSize,
    /// Halves the part, and the picture that it makes; what is below is for that then.
    first: Option<Box<(Scaler, Frame)>>,
    /// For Y, and for U and V.
    luma: Step,
    chroma: Step,
}

/// What becomes of a plane.
#[derive(Debug)]
enum Step {
    Same,
    Half(Halver),
    Any(Resizer),
}

impl Scaler {
    /// From the part `crop` of pictures of size `from` to pictures of size `to`.
    ///
    /// # Panics
    /// When the part is not within the picture, or empty, or does not begin at even numbers.
    pub fn new(from: PictureSize, crop: PixelRect, to: PictureSize) -> Scaler {
        assert!(crop.left + crop.width <= from.width && crop.top + crop.height <= from.height);
        assert!(
            crop.width > 0 && crop.height > 0 && crop.left.is_multiple_of(2) && crop.top.is_multiple_of(2)
        );
        let smaller = |old: u32, new: u32| old >= HALVED_FROM.saturating_mul(new);
        let first = (smaller(crop.width, to.width) && smaller(crop.height, to.height)).then(|| {
            let half = PictureSize::new(crop.width / 2, crop.height / 2);
            // An odd line or column at the edge is left out.
            let even = PixelRect { width: 2 * half.width, height: 2 * half.height, ..crop };
            Box::new((Scaler::new(from, even, half), FramePool::new(1).take(half)))
        });
        let part = first.as_ref().map_or(crop.size(), |first| first.1.size());
        let step = |from: PictureSize, to: PictureSize| {
            let [from, to] = [from, to].map(|size| (size.width as usize, size.height as usize));
            match () {
                () if from == to => Step::Same,
                () if from == (2 * to.0, 2 * to.1) => Step::Half(Halver::new()),
                () => Step::Any(Resizer::new(from, to)),
            }
        };
        let (luma, chroma) = (step(part, to), step(part.chroma(), to.chroma()));
        Scaler { from, crop, to, first, luma, chroma }
    }

    /// Whether it is made for this.
    pub fn fits(&self, from: PictureSize, crop: PixelRect, to: PictureSize) -> bool {
        self.from == from && self.crop == crop && self.to == to
    }

    /// The size of what it makes.
    pub fn to(&self) -> PictureSize {
        self.to
    }

    /// Writes the scaled picture over all of `frame`.
    ///
    /// # Panics
    /// When one of them is of another size than the scaler is for.
    pub fn scale(&mut self, picture: &Picture<'_>, frame: &mut Frame) {
        assert_eq!(frame.size(), self.to, "the scaler is for other sizes");
        self.scale_at(picture, frame, (0, 0));
    }

    /// Writes the scaled picture to a part of `frame`, which begins at this column and line; both are even.
    ///
    /// # Panics
    /// When `picture` is of another size than the scaler is for, or the part is not within `frame`.
    pub fn scale_at(&mut self, picture: &Picture<'_>, frame: &mut Frame, (left, top): (u32, u32)) {
        assert_eq!(picture.size(), self.from, "the scaler is for other sizes");
        let mut corner = (self.crop.left as usize, self.crop.top as usize);
        let mut part = self.crop.size();
        let mut picture = *picture;
        if let Some(first) = &mut self.first {
            let (scaler, half) = &mut **first;
            scaler.scale(&picture, half);
            (corner, part, picture) = ((0, 0), half.size(), half.picture());
        }
        for (index, plane) in picture.planes().iter().enumerate() {
            let (step, sizes, shift) = match index {
                0 => (&mut self.luma, (part, self.to), 0),
                _ => (&mut self.chroma, (part.chroma(), self.to.chroma()), 1),
            };
            let plane = within(plane, (corner.0 >> shift, corner.1 >> shift), sizes.0);
            let place = ((left >> shift) as usize, (top >> shift) as usize);
            let lines = frame.plane_mut(index).area(place, (sizes.1.width as usize, sizes.1.height as usize));
            match step {
                Step::Same => lines.zip(plane.lines()).for_each(|(to, from)| to.copy_from_slice(from)),
                Step::Half(halver) => halver.halve(&plane, lines),
                Step::Any(resizer) => resizer.resize(&plane, lines),
            }
        }
    }
}

/// A part of a plane.
fn within<'a>(plane: &Plane<'a>, (left, top): (usize, usize), size: PictureSize) -> Plane<'a> {
    let corner = &plane.bytes()[top * plane.stride() + left..];
    let part = Plane::new(corner, plane.stride(), size.width as usize, size.height as usize);
    part.expect("a part of a plane is a plane")
}
