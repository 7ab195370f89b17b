//! Who is seen in decoded pictures: the colour of the frame says whose they are, change that they move.

use crate::cast::{CAST, FRAME, HEIGHT, WIDTH};

/// Bytes of one decoded picture, red, green, blue.
pub const PICTURE_BYTES: usize = WIDTH * HEIGHT * 3;
/// Largest difference of a colour channel that counts as the same colour after coding.
const TOLERANCE: u32 = 40;

/// What came out of one decoder.
#[derive(Debug, Default)]
pub struct Seen {
    /// Pictures decoded.
    pub pictures: usize,
    /// Pictures with the frame of each of [`CAST`].
    pub whose: [usize; CAST.len()],
    /// Pictures that differ from the one before.
    pub moved: usize,
    /// Pictures kept for the contact sheet.
    pub kept: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Seen {
    /// Looks at the next picture and keeps it if `keep`.
    pub fn look(&mut self, picture: &[u8], keep: bool) {
        self.pictures += 1;
        if let Some(person) = owner(picture) {
            self.whose[person] += 1;
        }
        self.moved += usize::from(self.last != picture);
        self.last.clear();
        self.last.extend_from_slice(picture);
        if keep {
            self.kept.push(picture.to_vec());
        }
    }
}

/// Index in [`CAST`] of the one whose frame the picture has.
fn owner(picture: &[u8]) -> Option<usize> {
    let mean = frame_colour(picture);
    CAST.iter().position(|person| {
        mean.iter().zip(person.colour).all(|(mean, wanted)| mean.abs_diff(u32::from(wanted)) <= TOLERANCE)
    })
}

/// Mean colour of the left and right bars, away from their blurred edges.
fn frame_colour(picture: &[u8]) -> [u32; 3] {
    let mut sum = [0_u32; 3];
    let mut count = 0;
    for row in (HEIGHT / 4..HEIGHT * 3 / 4).step_by(4) {
        for column in (3..FRAME - 3).chain(WIDTH - FRAME + 3..WIDTH - 3) {
            let at = (row * WIDTH + column) * 3;
            for (sum, value) in sum.iter_mut().zip(&picture[at..at + 3]) {
                *sum += u32::from(*value);
            }
            count += 1;
        }
    }
    sum.map(|sum| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(colour: [u8; 3], inside: u8) -> Vec<u8> {
        let mut picture = vec![inside; PICTURE_BYTES];
        for (index, pixel) in picture.chunks_exact_mut(3).enumerate() {
            let column = index % WIDTH;
            if !(FRAME..WIDTH - FRAME).contains(&column) {
                pixel.copy_from_slice(&colour);
            }
        }
        picture
    }

    #[test]
    fn the_frame_says_whose_picture_it_is() {
        for (index, person) in CAST.iter().enumerate() {
            assert_eq!(owner(&framed(person.colour, 9)), Some(index));
            assert_eq!(owner(&framed(person.colour.map(|c| c.saturating_add(30)), 250)), Some(index));
        }
        assert_eq!(owner(&framed([128; 3], 128)), None);
    }

    #[test]
    fn only_change_counts_as_movement() {
        let mut seen = Seen::default();
        for inside in [1, 1, 2] {
            seen.look(&framed(CAST[1].colour, inside), inside == 2);
        }
        assert_eq!((seen.pictures, seen.moved, seen.kept.len(), seen.whose), (3, 2, 1, [0, 3, 0]));
    }
}
