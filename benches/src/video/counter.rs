//! A number in a picture that is read again after encoding, scaling and encoding once more.
//!
//! Sixteen columns over the middle of the picture, each with a block for a bit and, below it, one for its opposite: who
//! reads sees by the difference of the two whether it looks at a number at all.

use motet_codecs::video::{Frame, Picture};
use motet_mixer::video::PixelRect;

/// Values of Y.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// Bits of a number.
const BITS: u32 = u16::BITS;
/// Of the picture's height: the top of the bits, and each of both rows.
const ROW: u32 = 8;
/// A bit and its opposite are at least so far apart.
const APART_MIN: i32 = 64;

/// Fills a picture with something that moves, and writes the number into it.
///
/// # Panics
/// When the picture has fewer than 32 by 16 pixels.
pub fn draw(frame: &mut Frame, number: u16) {
    let size = frame.size();
    assert!(size.width >= 2 * BITS && size.height >= 2 * ROW, "no room for a number in {size}");
    frame.fill([128, 110, 140]);
    let moved = usize::from(number).wrapping_mul(3);
    for (top, line) in frame.plane_mut(0).lines().enumerate() {
        for (left, value) in line.iter_mut().enumerate() {
            *value = 64 + ((left + top + moved) % 128) as u8;
        }
    }
    let (width, height) = (size.width / BITS, size.height / ROW);
    for bit in 0..BITS {
        let set = number >> bit & 1 == 1;
        for (row, white) in [(3, set), (4, !set)] {
            let (at, block) = ((bit * width, row * height), (width as usize, height as usize));
            let lines = frame.plane_mut(0).area((at.0 as usize, at.1 as usize), block);
            lines.for_each(|line| line.fill(if white { WHITE } else { BLACK }));
        }
    }
}

/// Reads the number of a picture that fills this part of another one; none: there is none, or it cannot be read.
pub fn read(picture: &Picture<'_>, cell: PixelRect) -> Option<u16> {
    let size = picture.size();
    if cell.left + cell.width > size.width || cell.top + cell.height > size.height {
        return None;
    }
    let (width, height) = (cell.width / BITS, cell.height / ROW);
    let block = |bit: u32, row: u32| {
        // Edges are blurred.
        let (left, top) = (cell.left + bit * width + width / 4, cell.top + row * height + height / 4);
        mean(picture, (left, top), (width / 2, height / 2))
    };
    (0..BITS).try_fold(0, |number, bit| {
        let difference = block(bit, 3)? - block(bit, 4)?;
        let set = u16::from(difference > 0) << bit;
        (difference.abs() >= APART_MIN).then_some(number | set)
    })
}

/// Brightness of a part that is in the picture; none: the part is empty.
fn mean(picture: &Picture<'_>, (left, top): (u32, u32), (width, height): (u32, u32)) -> Option<i32> {
    let luma = &picture.planes()[0];
    let columns = left as usize..(left + width) as usize;
    let lines = (top..top + height).map(|line| &luma.line(line as usize)[columns.clone()]);
    let sum: u32 = lines.flatten().map(|value| u32::from(*value)).sum();
    Some(sum.checked_div(width * height)? as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_codecs::video::{FramePool, PictureSize, VideoCodec, VideoEncoderSettings};
    use motet_mixer::video::Scaler;

    /// Encoded at few bits, and decoded.
    fn sent(frame: &Frame) -> Frame {
        let codec = VideoCodec::parse("H264", 90_000, "").expect("H.264");
        let settings = VideoEncoderSettings { bitrate_bps: 600_000, ..VideoEncoderSettings::default() };
        let mut encoder = codec.encoder(&settings).expect("an encoder");
        let mut decoder = codec.decoder().expect("a decoder");
        let mut unit = Vec::new();
        encoder.encode(&frame.picture(), true, &mut unit).expect("encoded");
        decoder.decode(&unit).expect("decoded");
        let mut copy = FramePool::new(1).take(frame.size());
        copy.copy_from(&decoder.picture().expect("a picture"));
        copy
    }

    fn rect((left, top): (u32, u32), size: PictureSize) -> PixelRect {
        PixelRect { left, top, width: size.width, height: size.height }
    }

    #[test]
    fn numbers_are_read_after_encoding_scaling_and_encoding_again() {
        let (camera, cell) = (PictureSize::new(640, 360), PictureSize::new(320, 180));
        let pool = FramePool::new(4);
        let mut scaler = Scaler::new(camera, rect((0, 0), camera), cell);
        for number in [0, 1, 2, 0x5555, 0xaaaa, 0x8001, 0xfffe, 0xffff] {
            let mut frame = pool.take(camera);
            draw(&mut frame, number);
            let received = sent(&frame);
            assert_eq!(read(&received.picture(), rect((0, 0), camera)), Some(number));
            let mut small = pool.take(cell);
            scaler.scale(&received.picture(), &mut small);
            let mut canvas = pool.take(camera);
            canvas.fill([32, 128, 128]);
            let lines = canvas.plane_mut(0).area((320, 180), (320, 180));
            lines.zip(small.picture().planes()[0].lines()).for_each(|(to, from)| to.copy_from_slice(from));
            let seen = sent(&canvas);
            assert_eq!(read(&seen.picture(), rect((320, 180), cell)), Some(number));
            assert_eq!(read(&seen.picture(), rect((0, 0), cell)), None, "an empty cell");
        }
    }

    #[test]
    fn there_is_no_number_in_other_pictures_and_beyond_the_edge() {
        let size = PictureSize::new(320, 180);
        let mut frame = FramePool::new(1).take(size);
        frame.fill([235, 128, 128]);
        assert_eq!(read(&frame.picture(), rect((0, 0), size)), None);
        assert_eq!(read(&frame.picture(), rect((2, 0), size)), None);
        assert_eq!(read(&frame.picture(), rect((0, 0), PictureSize::new(8, 4))), None, "too small");
    }
}
