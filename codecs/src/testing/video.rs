//! What fuzzing runs of the decoders of pictures.

use crate::video::{
    FramePool, PIXELS_MAX, Picture, PictureSize, VideoCodec, VideoCodecName, VideoDecoder,
    VideoEncoderSettings, VideoError,
};

/// Units that one input may hold: each may be a picture of the largest size, and more only takes time.
const UNITS_MAX: usize = 32;

/// Access units of H.264 from any peer.
///
/// # Panics
/// When the decoder breaks its promises.
pub fn fuzz_video_h264(bytes: &[u8]) {
    fuzz_video(VideoCodecName::H264, bytes);
}

/// Access units of H.265 from any peer.
///
/// # Panics
/// When the decoder breaks its promises.
pub fn fuzz_video_h265(bytes: &[u8]) {
    fuzz_video(VideoCodecName::H265, bytes);
}

/// Frames of VP8 from any peer.
///
/// # Panics
/// When the decoder breaks its promises.
pub fn fuzz_video_vp8(bytes: &[u8]) {
    fuzz_video(VideoCodecName::Vp8, bytes);
}

/// An operation is a byte, the length of a unit in two more, and the unit.
fn fuzz_video(name: VideoCodecName, mut bytes: &[u8]) {
    let mut decoder = codec(name).decoder().expect("a codec of this crate");
    for _ in 0..UNITS_MAX {
        let Some(([operation, high, low], rest)) = bytes.split_first_chunk() else { return };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (unit, rest) = rest.split_at(length);
        bytes = rest;
        if *operation == u8::MAX {
            decoder.reset();
        } else {
            check_decoded(&mut *decoder, unit);
        }
    }
}

/// What is given is a picture, and what is refused leaves the one before.
fn check_decoded(decoder: &mut dyn VideoDecoder, unit: &[u8]) {
    let before = decoder.picture().map(|picture| sum(&picture));
    let shown = match decoder.decode(unit) {
        Ok(Some(decoded)) => Some(sum(&decoded.picture)),
        Ok(None) => before,
        Err(VideoError::BadUnit { bytes, .. }) => {
            assert_eq!(bytes, unit.len());
            before
        }
        Err(VideoError::TooLarge { width, height }) => {
            assert!(PictureSize::new(width, height).pixels() > u64::from(PIXELS_MAX));
            before
        }
        Err(VideoError::Unsupported { .. }) => before,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(decoder.picture().map(|picture| sum(&picture)), shown);
}

/// Size of a picture and the sum of all that it shows.
fn sum(picture: &Picture<'_>) -> (PictureSize, u64) {
    let size = picture.size();
    assert!((1..=u64::from(PIXELS_MAX)).contains(&size.pixels()), "{size}");
    let mut sum = 0_u64;
    for (plane, size) in picture.planes().iter().zip([size, size.chroma(), size.chroma()]) {
        assert_eq!((plane.width() as u32, plane.height() as u32), (size.width, size.height));
        for line in plane.lines() {
            sum = sum.wrapping_mul(31).wrapping_add(line.iter().map(|value| u64::from(*value)).sum());
        }
    }
    (size, sum)
}

/// Inputs for the fuzz target of a codec: small pictures in several sizes, by this crate's encoders.
///
/// # Panics
/// When an encoder fails.
pub fn video_seeds(name: VideoCodecName) -> Vec<Vec<u8>> {
    let sizes =
        [(16, 16), (32, 18), (50, 34), (64, 48)].map(|(width, height)| PictureSize::new(width, height));
    let mut seeds: Vec<Vec<u8>> = sizes.iter().map(|size| operations(&units(name, *size, 5))).collect();
    // The size changes, and what was before is forgotten.
    let reset = [u8::MAX, 0, 0];
    let changes = [operations(&units(name, sizes[0], 2)), operations(&units(name, sizes[1], 2))];
    seeds.push(changes.concat());
    seeds.push(changes.join(&reset[..]));
    seeds
}

fn operations(units: &[Vec<u8>]) -> Vec<u8> {
    let operation = |unit: &Vec<u8>| [&[0], &(unit.len() as u16).to_be_bytes()[..], unit].concat();
    units.iter().flat_map(operation).collect()
}

/// Pictures in which something moves; the last but one is a key frame, too.
fn units(name: VideoCodecName, size: PictureSize, pictures: usize) -> Vec<Vec<u8>> {
    let settings = VideoEncoderSettings { bitrate_bps: 60_000, ..VideoEncoderSettings::default() };
    let mut encoder = codec(name).encoder(&settings).expect("an encoder");
    let pool = FramePool::new(1);
    let unit = |number: usize| {
        let mut frame = pool.take(size);
        frame.fill([60 + 20 * number as u8, 90, 180]);
        let square = frame.plane_mut(0).area((number, number), (8, 8));
        square.for_each(|line| line.fill(200));
        let mut unit = Vec::new();
        encoder.encode(&frame.picture(), number + 2 == pictures, &mut unit).expect("a picture");
        without_notes(name, &unit)
    };
    (0..pictures).map(unit).collect()
}

/// An access unit without what encoders write of themselves (SEI), which is long and says nothing.
pub fn without_notes(name: VideoCodecName, unit: &[u8]) -> Vec<u8> {
    // H.264 table 7-1, H.265 table 7-1.
    let is_note = |nal: &[u8]| match name {
        VideoCodecName::H264 => nal[3] & 0x1f == 6,
        VideoCodecName::H265 => matches!(nal[3] >> 1 & 0x3f, 39 | 40),
        VideoCodecName::Vp8 => false,
    };
    let starts = (0..unit.len().saturating_sub(3)).filter(|at| unit[*at..].starts_with(&[0, 0, 1]));
    let mut bounds: Vec<usize> = starts.collect();
    if name == VideoCodecName::Vp8 || bounds.is_empty() {
        return unit.to_vec();
    }
    bounds.push(unit.len());
    let nals = bounds.windows(2).map(|bounds| &unit[bounds[0]..bounds[1]]);
    nals.filter(|nal| !is_note(nal)).collect::<Vec<_>>().concat()
}

fn codec(name: VideoCodecName) -> VideoCodec {
    VideoCodec { name, fmtp: String::new() }
}
