//! Video codecs against FFmpeg's command, and against themselves: what is decoded looks like what was encoded.

mod support;

use motet_codecs::video::{
    Frame, FramePool, H264Library, PictureSize, VideoCodec, VideoCodecName, VideoDecoder, VideoEncoder,
    VideoEncoderSettings, VideoError,
};
use support::pictures::{card, decoded, noise, raw_pictures, reference, units};

const SIZE: PictureSize = PictureSize::new(320, 192);

/// Every encoder.
const ENCODERS: [(VideoCodecName, H264Library); 4] = [
    (VideoCodecName::H264, H264Library::X264),
    (VideoCodecName::H264, H264Library::OpenH264),
    (VideoCodecName::H265, H264Library::X264),
    (VideoCodecName::Vp8, H264Library::X264),
];

fn codec(name: VideoCodecName) -> VideoCodec {
    VideoCodec::parse(name.encoding_name(), 90_000, "").expect("a codec of this crate")
}

fn decoder(name: VideoCodecName) -> Box<dyn VideoDecoder> {
    codec(name).decoder().expect("FFmpeg has it")
}

fn encoder(name: VideoCodecName, settings: VideoEncoderSettings) -> Box<dyn VideoEncoder> {
    codec(name).encoder(&settings).expect("it is there")
}

fn settings(h264: H264Library, bitrate_bps: u32) -> VideoEncoderSettings {
    VideoEncoderSettings { bitrate_bps, frames_per_s: 25, h264, ..VideoEncoderSettings::default() }
}

/// Encodes a picture and gives its bytes and whether it is a key frame.
fn encode(encoder: &mut dyn VideoEncoder, frame: &Frame, key: bool) -> (Vec<u8>, bool) {
    let mut unit = vec![1, 2, 3];
    let encoded = encoder.encode(&frame.picture(), key, &mut unit).expect("a picture");
    assert!(!encoded.skipped && !unit.is_empty());
    (unit, encoded.key_frame)
}

#[test]
fn names_are_those_of_sdp() {
    for name in VideoCodecName::ALL {
        let lower = name.encoding_name().to_ascii_lowercase();
        assert_eq!(VideoCodec::parse(&lower, 90_000, "").expect("known").name, name);
    }
    assert_eq!(VideoCodec::parse("H264", 8000, ""), None);
    assert_eq!(VideoCodec::parse("opus", 90_000, ""), None);
}

#[test]
fn each_picture_comes_out_at_once_and_looks_as_it_went_in() {
    let pool = FramePool::new(4);
    for (name, library) in ENCODERS {
        let mut encoder = encoder(name, settings(library, 2_000_000));
        let mut decoder = decoder(name);
        for number in 0..12 {
            let frame = card(&pool, SIZE, number);
            // A key frame comes first, when asked for, and at no other time.
            let (unit, key) = encode(&mut *encoder, &frame, number == 5);
            assert_eq!(key, number == 0 || number == 5, "{name} {library:?} {number}");
            let found = decoder.decode(&unit).expect("a unit").expect("a picture without delay");
            assert!(!found.concealed);
            let psnr_db = found.picture.psnr_db(&frame.picture());
            assert!(psnr_db > 30.0, "{name} {library:?} {number}: {psnr_db} dB");
        }
        let shown = decoder.picture().expect("it is kept");
        assert!(shown.psnr_db(&card(&pool, SIZE, 11).picture()) > 30.0);
    }
}

#[test]
fn a_decoder_begins_with_a_forced_key_frame() {
    let pool = FramePool::new(4);
    for (name, library) in ENCODERS {
        let mut encoder = encoder(name, settings(library, 2_000_000));
        for number in 0..4 {
            encode(&mut *encoder, &card(&pool, SIZE, number), false);
        }
        let frame = card(&pool, SIZE, 4);
        let (unit, key) = encode(&mut *encoder, &frame, true);
        assert!(key);
        let mut decoder = decoder(name);
        let found = decoder.decode(&unit).expect("a key frame").expect("a picture");
        assert!(found.picture.psnr_db(&frame.picture()) > 30.0, "{name} {library:?}");
    }
}

#[test]
fn size_and_rate_change_while_running() {
    let pool = FramePool::new(4);
    for (name, library) in ENCODERS {
        let mut encoder = encoder(name, settings(library, 300_000));
        let mut decoder = decoder(name);
        let mut bytes = |encoder: &mut dyn VideoEncoder, size: PictureSize, key_expected: bool| {
            let units = (0..50).map(|number| {
                let frame = noise(&pool, size, number * 7);
                let mut unit = Vec::new();
                let encoded = encoder.encode(&frame.picture(), false, &mut unit).expect("a picture");
                assert_eq!(encoded.skipped, unit.is_empty());
                if encoded.skipped {
                    return 0;
                }
                let key = encoded.key_frame;
                assert!(!key || number == 0, "{name} {library:?} {number}");
                assert!(key || number > 0 || !key_expected, "{name} {library:?}: another size begins anew");
                let found = decoder.decode(&unit).expect("a unit").expect("a picture");
                assert_eq!(found.picture.size(), size);
                unit.len()
            });
            // The first ones pay for the beginning.
            units.skip(10).sum::<usize>()
        };
        let low = bytes(&mut *encoder, SIZE, true);
        encoder.set_bitrate(3_000_000);
        let high = bytes(&mut *encoder, SIZE, false);
        assert!(high > low * 2, "{name} {library:?}: {low} bytes, then {high}");
        bytes(&mut *encoder, PictureSize::new(640, 352), true);
        bytes(&mut *encoder, SIZE, true);
    }
}

#[test]
fn slices_are_as_short_as_asked_for() {
    let pool = FramePool::new(1);
    for library in [H264Library::X264, H264Library::OpenH264] {
        let settings = VideoEncoderSettings { slice_bytes_max: Some(600), ..settings(library, 3_000_000) };
        let mut encoder = encoder(VideoCodecName::H264, settings);
        let mut decoder = decoder(VideoCodecName::H264);
        let mut slices = 0;
        for number in 0..5 {
            let (unit, _) = encode(&mut *encoder, &card(&pool, SIZE, number), false);
            for nal in units(VideoCodecName::H264, &unit) {
                slices += 1;
                // Parameter sets come before the first one.
                let start = nal.windows(3).rposition(|bytes| bytes == [0, 0, 1]).expect("a start code");
                assert!(nal.len() - start <= 600 + 4, "{library:?}: {} bytes", nal.len() - start);
            }
            assert!(decoder.decode(&unit).expect("a unit").is_some_and(|found| !found.concealed));
        }
        assert!(slices > 5, "{library:?}: {slices} in five pictures");
    }
}

#[test]
fn what_ffmpeg_encodes_is_decoded_as_ffmpeg_does() {
    let size = PictureSize::new(176, 144);
    let x265 = "log-level=none:bframes=0:pools=none:frame-threads=1:keyint=10";
    let cases: [(VideoCodecName, &str, &[&str]); 4] = [
        // Constrained baseline, and what room terminals send: high profile, with arithmetic coding.
        (
            VideoCodecName::H264,
            "h264",
            &["-c:v", "libx264", "-profile:v", "baseline", "-tune", "zerolatency"],
        ),
        (VideoCodecName::H264, "h264", &["-c:v", "libx264", "-profile:v", "high", "-tune", "zerolatency"]),
        (VideoCodecName::H265, "hevc", &["-c:v", "libx265", "-x265-params", x265]),
        (VideoCodecName::Vp8, "ivf", &["-c:v", "libvpx", "-deadline", "realtime", "-auto-alt-ref", "0"]),
    ];
    for (name, format, encoder) in cases {
        let one_slice = ["-threads", "1", "-pix_fmt", "yuv420p", "-f", format];
        let stream = reference(&[encoder, &one_slice].concat(), size, 15);
        let expected = decoded(format, &stream);
        let mut decoder = decoder(name);
        let mut pictures = raw_pictures(&expected, size);
        for unit in units(name, &stream) {
            let found = decoder.decode(&unit).expect("a unit").expect("without delay");
            let same = found.picture.psnr_db(&pictures.next().expect("ffmpeg has it, too"));
            assert!(same == 100.0 && !found.concealed, "{encoder:?}: {same} dB");
        }
        assert!(pictures.next().is_none());
    }
}

#[test]
fn damage_is_told_and_does_no_harm() {
    let pool = FramePool::new(4);
    for (name, library) in ENCODERS {
        let mut encoder = encoder(name, settings(library, 1_000_000));
        let units: Vec<Vec<u8>> =
            (0..8).map(|number| encode(&mut *encoder, &card(&pool, SIZE, number), number == 6).0).collect();
        // Without its beginning, a stream has no parameter sets, or nothing to refer to.
        let mut without = decoder(name);
        let begun = without.decode(&units[1]);
        assert!(!matches!(begun, Ok(Some(found)) if !found.concealed), "{name} {library:?}");
        // Cut and changed anywhere: whatever it says, the decoder goes on, and a key frame mends it.
        for seed in 1..60_usize {
            let mut decoder = decoder(name);
            for (index, unit) in units.iter().enumerate() {
                let mut unit = unit.clone();
                if index < 6 && seed % 3 != 0 {
                    let at = seed * 7919 % unit.len();
                    unit[at] ^= 1 << (seed % 8);
                }
                if index < 6 && seed % 3 != 1 {
                    unit.truncate(unit.len() * (seed % 10 + 1) / 11);
                }
                let found = decoder.decode(&unit);
                if index >= 6 {
                    let found = found.expect("a key frame").expect("a picture");
                    assert!(found.picture.psnr_db(&card(&pool, SIZE, index).picture()) > 27.0);
                }
            }
        }
        let mut decoder = decoder(name);
        for garbage in
            [vec![], vec![0], vec![0; 5000], vec![0xff; 5000], vec![0, 0, 0, 1], vec![0, 0, 1, 0x67]]
        {
            assert!(!matches!(decoder.decode(&garbage), Ok(Some(_))), "{name}: {garbage:?}");
        }
        decoder.reset();
        assert!(decoder.decode(&units[0]).expect("a key frame").is_some());
    }
}

#[test]
fn pictures_of_every_kind_are_decoded_or_refused() {
    let encode = |size: &str, codec: &[&str], format: &str| {
        let source = format!("color=c=red:size={size}:rate=25");
        let output = [&["-frames:v", "1"], codec, &["-f", format]].concat();
        support::ffmpeg(&["-f", "lavfi", "-i", &source, "-f", "u8", "-ar", "8000", "-ac", "1"], &output, &[])
    };
    let h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt"];
    let mut decoder = decoder(VideoCodecName::H264);
    let tiny = encode("2x2", &[&h264[..], &["yuv420p"]].concat(), "h264");
    let found = decoder.decode(&tiny).expect("a unit").expect("a picture");
    assert_eq!(found.picture.size(), PictureSize::new(2, 2));
    let deep = encode("64x64", &[&h264[..], &["yuv420p10le"]].concat(), "h264");
    assert!(matches!(decoder.decode(&deep), Err(VideoError::Unsupported { .. })));
    let wide = encode("64x64", &[&h264[..], &["yuv422p"]].concat(), "h264");
    assert!(matches!(decoder.decode(&wide), Err(VideoError::Unsupported { .. })));
    let huge = encode("8192x8192", &[&h264[..], &["yuv420p"]].concat(), "h264");
    let refused = decoder.decode(&huge).map(|found| found.is_some());
    assert!(matches!(refused, Err(VideoError::TooLarge { .. } | VideoError::BadUnit { .. })), "{refused:?}");
    let one = encode("2x2", &["-vf", "scale=1:1", "-c:v", "libvpx"], "ivf");
    let mut vp8 = self::decoder(VideoCodecName::Vp8);
    let found = vp8.decode(&one[44..]).expect("a frame").expect("a picture");
    assert_eq!(found.picture.size(), PictureSize::new(1, 1));
    assert_eq!(found.picture.size().chroma(), PictureSize::new(1, 1));
}

#[test]
fn sizes_that_cannot_be_encoded_are_refused() {
    let pool = FramePool::new(1);
    for (name, library) in ENCODERS {
        let mut encoder = encoder(name, settings(library, 1_000_000));
        for (width, height) in [(321, 192), (320, 191), (8, 64), (8192, 8192)] {
            let frame = pool.take(PictureSize::new(width, height));
            let mut unit = vec![7];
            let refused = encoder.encode(&frame.picture(), false, &mut unit);
            assert!(matches!(refused, Err(VideoError::Size { .. })), "{name} {width}×{height}: {refused:?}");
            assert_eq!(unit, [7]);
        }
        encode(&mut *encoder, &card(&pool, SIZE, 0), false);
    }
}

#[test]
fn frames_give_their_memory_back() {
    let pool = FramePool::new(2);
    let frames: Vec<Frame> = (0..3).map(|_| pool.take(SIZE)).collect();
    assert_eq!(pool.waiting(), 0);
    drop(frames);
    assert_eq!(pool.waiting(), 2, "no more than were asked for");
    let mut frame = pool.take(PictureSize::new(33, 17));
    assert_eq!(pool.waiting(), 1);
    frame.fill([1, 2, 3]);
    let picture = frame.picture();
    assert_eq!(picture.planes().map(|plane| (plane.width(), plane.height())), [(33, 17), (17, 9), (17, 9)]);
    for (plane, value) in picture.planes().iter().zip(1..) {
        assert!(plane.lines().all(|line| line.iter().all(|byte| *byte == value)));
    }
    frame.plane_mut(0).area((1, 2), (3, 4)).for_each(|line| line.fill(9));
    let changed: usize =
        frame.picture().planes()[0].lines().map(|l| l.iter().filter(|b| **b == 9).count()).sum();
    assert_eq!(changed, 12);
    assert_eq!(frame.picture().planes()[0].line(5)[..5], [1, 9, 9, 9, 1]);
}
