//! Any text as a layout.

use crate::video::{Layout, PixelRect};
use motet_codecs::video::PictureSize;

/// What is read is written so that it reads the same, and its cells lie within the canvas; those of one's own do not
/// overlap.
///
/// # Panics
/// When the parser is wrong.
pub fn fuzz_layout(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(layout) = text.parse::<Layout>() else { return };
    let written = layout.to_string();
    assert_eq!(written.parse(), Ok(layout.clone()), "{written}");
    for (width, height) in [(64, 64), (1280, 720), (1918, 1078), (4096, 64)] {
        let size = PictureSize::new(width, height);
        let cells = layout.rects(size, bytes.len() % 30);
        assert!((1..=25).contains(&cells.len()));
        for (index, cell) in cells.iter().enumerate() {
            assert!(cell.left + cell.width <= width && cell.top + cell.height <= height);
            assert!([cell.left, cell.top, cell.width, cell.height].iter().all(|side| side % 2 == 0));
            let free = cells[..index].iter().all(|other| !overlap(cell, other));
            assert!(free || layout == Layout::PictureInPicture, "{written}: {cell:?}");
        }
    }
}

fn overlap(one: &PixelRect, other: &PixelRect) -> bool {
    one.left < other.left + other.width
        && other.left < one.left + one.width
        && one.top < other.top + other.height
        && other.top < one.top + one.height
}
