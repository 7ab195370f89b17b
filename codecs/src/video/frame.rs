//! Pictures that we own, in memory that is used again.

use super::{Picture, PictureSize, Plane};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// Lines begin at multiples of so many bytes, which suits every vector unit.
const ALIGN: usize = 64;

/// Memory of frames that are gone, for those to come. Clones share it; any thread may take and give back.
#[derive(Clone, Debug)]
pub struct FramePool {
    free: Arc<ArrayQueue<Vec<u8>>>,
}

impl FramePool {
    /// Keeps the memory of at most `frames_max` frames that are gone (0 counts as 1).
    pub fn new(frames_max: usize) -> FramePool {
        FramePool { free: Arc::new(ArrayQueue::new(frames_max.max(1))) }
    }

    /// A frame of this size. What it shows is left from before.
    ///
    /// # Panics
    /// When a side is 0 or above 16,384 pixels.
    pub fn take(&self, size: PictureSize) -> Frame {
        let sides = 1..=16_384;
        assert!(sides.contains(&size.width) && sides.contains(&size.height), "no frame is of {size}");
        let chroma = size.chroma();
        let stride = |width: u32| (width as usize).next_multiple_of(ALIGN);
        let strides = [stride(size.width), stride(chroma.width), stride(chroma.width)];
        let luma = strides[0] * size.height as usize;
        let colour = strides[1] * chroma.height as usize;
        let mut memory = self.free.pop().unwrap_or_default();
        memory.resize(luma + 2 * colour, 0);
        Frame { memory, size, strides, offsets: [0, luma, luma + colour], pool: self.clone() }
    }

    /// Frames whose memory waits to be used again.
    pub fn waiting(&self) -> usize {
        self.free.len()
    }
}

/// A picture of our own. Its memory goes back to its pool.
#[derive(Debug)]
pub struct Frame {
    memory: Vec<u8>,
    size: PictureSize,
    strides: [usize; 3],
    offsets: [usize; 3],
    pool: FramePool,
}

impl Frame {
    /// Its size.
    pub const fn size(&self) -> PictureSize {
        self.size
    }

    /// What it shows.
    pub fn picture(&self) -> Picture<'_> {
        let plane = |index: usize| {
            let (bytes, size) = (&self.memory[self.offsets[index]..], self.plane_size(index));
            Plane::new(bytes, self.strides[index], size.width as usize, size.height as usize)
        };
        let planes = [plane(0), plane(1), plane(2)].map(|plane| plane.expect("frames hold their planes"));
        Picture::new(planes).expect("planes of one frame fit each other")
    }

    /// The lines of Y (0), U (1) or V (2), each from the beginning of one line to that of the next; only the first
    /// [`Plane::width`] bytes are seen.
    ///
    /// # Panics
    /// When `plane` is above 2.
    pub fn plane_mut(&mut self, plane: usize) -> PlaneMut<'_> {
        let size = self.plane_size(plane);
        let (stride, height) = (self.strides[plane], size.height as usize);
        let bytes = &mut self.memory[self.offsets[plane]..][..stride * height];
        PlaneMut { bytes, stride, width: size.width as usize }
    }

    /// Makes all of it one colour.
    pub fn fill(&mut self, colour: [u8; 3]) {
        for (plane, value) in colour.into_iter().enumerate() {
            self.plane_mut(plane).bytes.fill(value);
        }
    }

    /// Shows what `picture` shows.
    ///
    /// # Panics
    /// When it is of another size.
    pub fn copy_from(&mut self, picture: &Picture<'_>) {
        assert_eq!(self.size, picture.size(), "a frame holds pictures of its own size");
        for (index, plane) in picture.planes().iter().enumerate() {
            for (to, from) in self.plane_mut(index).lines().zip(plane.lines()) {
                to.copy_from_slice(from);
            }
        }
    }

    fn plane_size(&self, plane: usize) -> PictureSize {
        if plane == 0 { self.size } else { self.size.chroma() }
    }
}

/// A plane to be written.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    bytes: &'a mut [u8],
    stride: usize,
    width: usize,
}

impl<'a> PlaneMut<'a> {
    /// All lines from the top.
    pub fn lines(self) -> impl ExactSizeIterator<Item = &'a mut [u8]> {
        let width = self.width;
        self.bytes.chunks_exact_mut(self.stride).map(move |line| &mut line[..width])
    }

    /// `lines` of them from line `top` on, from column `left` on, `width` bytes of each.
    ///
    /// # Panics
    /// When that is not within the plane.
    pub fn area(
        self,
        (left, top): (usize, usize),
        (width, lines): (usize, usize),
    ) -> impl ExactSizeIterator<Item = &'a mut [u8]> {
        assert!(left + width <= self.width, "columns {left} and {width} more of {}", self.width);
        let all = self.bytes.chunks_exact_mut(self.stride);
        assert!(top + lines <= all.len(), "lines {top} and {lines} more of {}", all.len());
        all.skip(top).take(lines).map(move |line| &mut line[left..left + width])
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // A full pool lets the memory go.
        drop(self.pool.free.push(std::mem::take(&mut self.memory)));
    }
}
