//! Pictures that are hostile, or only strange: a clear error or concealment, and the next key frame mends it.

mod support;

use motet_codecs::video::{
    FramePool, PIXELS_MAX, PictureSize, VideoCodec, VideoCodecName, VideoDecoder, VideoEncoderSettings,
    VideoError,
};
use support::pictures::{card, reference};

const SIZE: PictureSize = PictureSize::new(320, 192);
const WITH_SETS: [VideoCodecName; 2] = [VideoCodecName::H264, VideoCodecName::H265];

fn codec(name: VideoCodecName) -> VideoCodec {
    VideoCodec::parse(name.encoding_name(), 90_000, "").expect("a codec of this crate")
}

fn decoder(name: VideoCodecName) -> Box<dyn VideoDecoder> {
    codec(name).decoder().expect("FFmpeg has it")
}

/// Two pictures; the first is a key frame.
fn pictures(name: VideoCodecName, size: PictureSize) -> [Vec<u8>; 2] {
    let pool = FramePool::new(2);
    let settings = VideoEncoderSettings { bitrate_bps: 1_000_000, ..VideoEncoderSettings::default() };
    let mut encoder = codec(name).encoder(&settings).expect("it is there");
    [0, 1].map(|number| {
        let mut unit = Vec::new();
        encoder.encode(&card(&pool, size, number).picture(), false, &mut unit).expect("a picture");
        unit
    })
}

/// NAL units with their start codes.
fn nals(unit: &[u8]) -> Vec<&[u8]> {
    let starts = unit.windows(3).enumerate().filter(|(_, bytes)| bytes == &[0, 0, 1]).map(|(at, _)| at);
    let mut bounds: Vec<usize> = starts.collect();
    bounds.push(unit.len());
    bounds.windows(2).map(|bounds| &unit[bounds[0]..bounds[1]]).collect()
}

/// Parameter sets, and no slice.
fn is_set(name: VideoCodecName, nal: &[u8]) -> bool {
    match name {
        VideoCodecName::H264 => matches!(nal[3] & 0x1f, 7 | 8),
        _ => (32..=34).contains(&((nal[3] >> 1) & 0x3f)),
    }
}

/// A key frame is decoded as if nothing had been before it.
#[track_caller]
fn assert_mended(decoder: &mut dyn VideoDecoder, key_frame: &[u8], what: &str) {
    let pool = FramePool::new(1);
    let found = decoder.decode(key_frame).expect("a key frame").expect("a picture");
    let psnr_db = found.picture.psnr_db(&card(&pool, SIZE, 0).picture());
    assert!(psnr_db > 27.0 && !found.concealed, "{what}: {psnr_db} dB");
}

#[test]
fn a_thousand_slices_are_a_picture_and_a_tenth_less_is_concealed() {
    let size = PictureSize::new(640, 400);
    let slices =
        ["-c:v", "libx264", "-threads", "1", "-x264-params", "slice-max-mbs=1", "-preset", "ultrafast"];
    let unit = reference(&[&slices[..], &["-pix_fmt", "yuv420p", "-f", "h264"]].concat(), size, 1);
    let nals = nals(&unit);
    let is_slice = |nal: &[u8]| matches!(nal[3] & 0x1f, 1 | 5);
    assert!(nals.iter().filter(|nal| is_slice(nal)).count() >= 1_000, "one for each macroblock");
    let mut decoder = decoder(VideoCodecName::H264);
    let found = decoder.decode(&unit).expect("a unit").expect("a picture");
    assert!(found.picture.size() == size && !found.concealed);
    let slice = |(index, nal): (usize, &&[u8])| (!is_slice(nal) || index % 10 != 5).then_some(nal.to_vec());
    let less: Vec<u8> = nals.iter().enumerate().filter_map(slice).flatten().collect();
    let found = decoder.decode(&less).expect("a unit").expect("a picture");
    assert!(found.picture.size() == size && found.concealed, "what is missing is made up");
    assert_mended(&mut *decoder, &pictures(VideoCodecName::H264, SIZE)[0], "after all of these slices");
}

#[test]
fn without_parameter_sets_there_is_no_picture() {
    for name in WITH_SETS {
        let [key_frame, next] = pictures(name, SIZE);
        let bare = nals(&key_frame).into_iter().filter(|nal| !is_set(name, nal)).collect::<Vec<_>>().concat();
        assert!(bare.len() < key_frame.len(), "{name}: sets are in band");
        let mut decoder = decoder(name);
        for unit in [&bare, &next] {
            let refused = decoder.decode(unit).map(|found| found.is_some());
            assert!(!matches!(refused, Ok(true)), "{name}: {refused:?}");
        }
        assert!(decoder.picture().is_none());
        assert_mended(&mut *decoder, &key_frame, "after pictures without sets");
        // One kind alone is not enough either.
        let kind = if name == VideoCodecName::H264 { 8 } else { 34 };
        let of = |nal: &[u8]| if name == VideoCodecName::H264 { nal[3] & 0x1f } else { (nal[3] >> 1) & 0x3f };
        let half = nals(&key_frame).into_iter().filter(|nal| of(nal) != kind).collect::<Vec<_>>().concat();
        let refused = self::decoder(name).decode(&half).map(|found| found.is_some());
        assert!(!matches!(refused, Ok(true)), "{name} without PPS: {refused:?}");
    }
}

#[test]
fn parameter_sets_of_another_size_lie_and_do_no_harm() {
    for name in WITH_SETS {
        let [key_frame, _] = pictures(name, SIZE);
        let others = [(1280, 704), (64, 64), (4096, 2304)].map(|(width, height)| {
            let other = pictures(name, PictureSize::new(width, height));
            nals(&other[0]).into_iter().filter(|nal| is_set(name, nal)).collect::<Vec<_>>().concat()
        });
        let slices =
            nals(&key_frame).into_iter().filter(|nal| !is_set(name, nal)).collect::<Vec<_>>().concat();
        let mut decoder = decoder(name);
        for sets in &others {
            let lying = [sets.as_slice(), &slices].concat();
            if let Ok(Some(found)) = decoder.decode(&lying) {
                assert!(found.picture.size().pixels() <= u64::from(PIXELS_MAX), "{name}");
            }
            assert_mended(&mut *decoder, &key_frame, &format!("{name} after a size that is not true"));
        }
    }
}

/// Each bit of what says how large pictures are and how they refer to each other.
#[test]
fn no_bit_of_a_header_can_be_wrong_and_do_harm() {
    for name in VideoCodecName::ALL {
        let [key_frame, next] = pictures(name, SIZE);
        let header = match name {
            VideoCodecName::Vp8 => 24,
            _ => nals(&key_frame).into_iter().filter(|nal| is_set(name, nal)).map(<[u8]>::len).sum(),
        };
        let (mut refused, mut shown) = (0, 0);
        for bit in 0..header * 8 {
            let mut lying = key_frame.clone();
            lying[bit / 8] ^= 0x80 >> (bit % 8);
            let mut decoder = decoder(name);
            for unit in [&lying, &next] {
                match decoder.decode(unit) {
                    Ok(found) => shown += usize::from(found.is_some()),
                    Err(VideoError::TooLarge { width, height }) => {
                        let pixels = u64::from(width) * u64::from(height);
                        assert!(pixels > u64::from(PIXELS_MAX), "{name} bit {bit}");
                        refused += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            // As a sender does who is asked for a key frame.
            let mended = (0..3).any(|_| {
                let found = decoder.decode(&key_frame);
                matches!(found, Ok(Some(found)) if !found.concealed && found.picture.size() == SIZE)
            });
            assert!(mended, "{name} bit {bit} of {header} bytes");
        }
        assert!(refused > 0 && shown > 0, "{name}: {refused} refused, {shown} shown");
    }
}

#[test]
fn pictures_that_are_too_large_are_refused_in_every_codec() {
    let large = PictureSize::new(8192, 8192);
    // A decoder of H.265 or VP8 needs no more than the header to know.
    let vp8 = |size: PictureSize| {
        let [mut key_frame, _] = pictures(VideoCodecName::Vp8, SIZE);
        key_frame[6..8].copy_from_slice(&(size.width as u16).to_le_bytes());
        key_frame[8..10].copy_from_slice(&(size.height as u16).to_le_bytes());
        key_frame
    };
    let mut decoder = decoder(VideoCodecName::Vp8);
    let [key_frame, _] = pictures(VideoCodecName::Vp8, SIZE);
    assert_mended(&mut *decoder, &key_frame, "at first");
    for size in [large, PictureSize::new(16_383, 16_383), PictureSize::new(0, 0), PictureSize::new(1, 16_383)]
    {
        let found = decoder.decode(&vp8(size)).map(|found| found.map(|found| found.picture.size()));
        assert!(!matches!(found, Ok(Some(shown)) if shown.pixels() > u64::from(PIXELS_MAX)), "{found:?}");
        if size == large {
            assert!(found.is_err(), "{found:?}");
        }
        assert!(decoder.picture().is_some_and(|picture| picture.size().pixels() <= u64::from(PIXELS_MAX)));
        assert_mended(&mut *decoder, &key_frame, &format!("after {size}"));
    }
}
