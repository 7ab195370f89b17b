//! Pictures to encode, and streams that ffmpeg makes and decodes.

use super::ffmpeg;
use motet_codecs::video::{Frame, FramePool, Picture, PictureSize, Plane, VideoCodecName};

/// Something with edges, colours and movement: it differs in each picture.
pub fn card(pool: &FramePool, size: PictureSize, number: usize) -> Frame {
    let mut frame = pool.take(size);
    for plane in 0..3 {
        let scale = if plane == 0 { 1 } else { 2 };
        for (y, line) in frame.plane_mut(plane).lines().enumerate() {
            for (x, value) in line.iter_mut().enumerate() {
                let (x, y) = (x * scale, y * scale);
                let inside = (x + 25_600 - number * 4) % 256 < 48 && y % 96 < 48;
                *value = match (plane, inside) {
                    (0, true) => 220,
                    (0, false) => (40 + (x / 3 + y / 2 + number) % 128) as u8,
                    (1, true) => 60,
                    (_, true) => 190,
                    _ => (100 + (x / 16 + y / 16) % 56) as u8,
                };
            }
        }
    }
    frame
}

/// Something that no encoder makes small: it takes whatever rate it gets.
pub fn noise(pool: &FramePool, size: PictureSize, number: usize) -> Frame {
    let mut frame = card(pool, size, number);
    let mut random = (number as u32).wrapping_mul(2_654_435_761) + 1;
    for line in frame.plane_mut(0).lines() {
        for value in line {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = value.wrapping_add((random >> 26) as u8);
        }
    }
    frame
}

/// What ffmpeg's raw format yuv420p holds.
pub fn raw_pictures(bytes: &[u8], size: PictureSize) -> impl Iterator<Item = Picture<'_>> {
    let (width, height) = (size.width as usize, size.height as usize);
    let (half, lines) = (width.div_ceil(2), height.div_ceil(2));
    bytes.chunks_exact(width * height + 2 * half * lines).map(move |bytes| {
        let (luma, colour) = bytes.split_at(width * height);
        let (u, v) = colour.split_at(half * lines);
        let plane = |bytes, width, height| Plane::new(bytes, width, width, height).expect("a plane");
        Picture::new([plane(luma, width, height), plane(u, half, lines), plane(v, half, lines)])
            .expect("a picture")
    })
}

/// Access units, of one slice each, of a byte stream; frames of an IVF file.
pub fn units(codec: VideoCodecName, file: &[u8]) -> Vec<Vec<u8>> {
    if codec == VideoCodecName::Vp8 {
        let mut rest = &file[32..];
        return std::iter::from_fn(|| {
            let length = u32::from_le_bytes(rest.get(..4)?.try_into().expect("four bytes")) as usize;
            let frame = rest[12..12 + length].to_vec();
            rest = &rest[12 + length..];
            Some(frame)
        })
        .collect();
    }
    let starts: Vec<usize> =
        file.windows(3).enumerate().filter(|(_, bytes)| bytes == &[0, 0, 1]).map(|(at, _)| at).collect();
    let mut units = vec![Vec::new()];
    for (index, start) in starts.iter().enumerate() {
        let nal = &file[start + 3..starts.get(index + 1).copied().unwrap_or(file.len())];
        let last = units.last_mut().expect("one");
        last.extend_from_slice(&[0, 0, 1]);
        last.extend_from_slice(nal);
        let slice = match codec {
            VideoCodecName::H264 => matches!(nal[0] & 0x1f, 1 | 5),
            _ => (nal[0] >> 1) & 0x3f < 32,
        };
        if slice {
            units.push(Vec::new());
        }
    }
    units.retain(|unit| !unit.is_empty());
    units
}

/// A stream that ffmpeg encodes of its own test picture.
pub fn reference(codec: &[&str], size: PictureSize, frames: u32) -> Vec<u8> {
    let source = format!("testsrc2=size={}x{}:rate=25", size.width, size.height);
    let frames = frames.to_string();
    let output = [&["-frames:v", &frames], codec].concat();
    ffmpeg(&["-f", "lavfi", "-i", &source, "-f", "u8", "-ar", "8000", "-ac", "1"], &output, &[])
}

/// What ffmpeg decodes of a stream.
pub fn decoded(format: &str, stream: &[u8]) -> Vec<u8> {
    ffmpeg(&["-f", format], &["-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo"], stream)
}
