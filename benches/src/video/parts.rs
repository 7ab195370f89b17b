//! What the parts of composing cost, each by itself.

use super::ffmpeg::{CANVAS, Stream, last_picture};
use super::motet::on_cpu;
use crate::{Figure, table};
use anyhow::Context;
use motet_codecs::video::{
    Frame, FramePool, H264Library, PictureSize, VideoCodec, VideoCodecName, VideoEncoderSettings,
};
use motet_mixer::video::{PixelRect, Scaler};

/// Measures decoding, scaling and encoding of single pictures.
///
/// # Errors
/// When a codec is missing.
pub fn measure(stream: &Stream) -> anyhow::Result<(String, Vec<Figure>)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    let mut decoder = VideoCodec::parse("H264", 90_000, "").context("H.264")?.decoder()?;
    let mut result = Ok(());
    found.push((
        "decode 720p H.264".to_owned(),
        ms_each(stream.units.len(), |index| {
            if let Err(error) = decoder.decode(&stream.units[index]) {
                result = Err(error);
            }
        }),
    ));
    result?;
    let picture = last_picture(&stream.units)?;
    let pool = FramePool::new(2);
    let whole = |size: PictureSize| PixelRect { left: 0, top: 0, width: size.width, height: size.height };
    for (width, height) in [(640, 360), (480, 270), (384, 216), (1280, 720), (1920, 1080)] {
        let to = PictureSize::new(width, height);
        let mut frame = pool.take(to);
        let mut scaler = Scaler::new(picture.size(), whole(picture.size()), to);
        let cost = ms_each(60, |_| scaler.scale(&picture.picture(), &mut frame));
        found.push((format!("scale 720p to {width}x{height}"), cost));
    }
    // Pictures that move, of the canvas's size.
    let mut frames = Vec::new();
    let mut decoder = VideoCodec::parse("H264", 90_000, "").context("H.264")?.decoder()?;
    let mut scaler = Scaler::new(picture.size(), whole(picture.size()), CANVAS);
    for unit in stream.units.iter().take(60) {
        if let Some(decoded) = decoder.decode(unit)? {
            let mut frame = pool.take(CANVAS);
            scaler.scale(&decoded.picture, &mut frame);
            frames.push(frame);
        }
    }
    for (name, h264, label) in [
        (VideoCodecName::H264, H264Library::X264, "x264"),
        (VideoCodecName::H264, H264Library::OpenH264, "openh264"),
        (VideoCodecName::Vp8, H264Library::X264, "libvpx (VP8)"),
        (VideoCodecName::H265, H264Library::X264, "x265"),
    ] {
        found.push(encode(name, h264, label, &frames)?);
    }
    let figure = |(row, value): &(String, f64)| {
        let row = row.split(':').next().unwrap_or(row).to_owned();
        Figure { row, metric: "cpu", value: *value, unit: "ms", goal: None }
    };
    let lines: Vec<Vec<String>> =
        found.iter().map(|(what, cost)| vec![what.clone(), format!("{cost:.2}")]).collect();
    Ok((table::render(&["one picture, one thread", "CPU ms"], &lines), found.iter().map(figure).collect()))
}

/// What it costs to encode these frames with one library, and how they look then.
fn encode(
    name: VideoCodecName,
    h264: H264Library,
    label: &str,
    frames: &[Frame],
) -> anyhow::Result<(String, f64)> {
    let settings = VideoEncoderSettings { bitrate_bps: 3_000_000, h264, ..VideoEncoderSettings::default() };
    let codec = VideoCodec { name, fmtp: String::new() };
    let (mut encoder, mut decoder) = (codec.encoder(&settings)?, codec.decoder()?);
    let (mut units, mut failed) = (Vec::new(), None);
    let cost = ms_each(frames.len(), |index| {
        let mut unit = Vec::new();
        if let Err(error) = encoder.encode(&frames[index].picture(), false, &mut unit) {
            failed = Some(error);
        }
        units.push(unit);
    });
    failed.map_or(Ok(()), Err)?;
    let bytes: usize = units.iter().map(Vec::len).sum();
    let mut decibels = 0.0;
    for (frame, unit) in frames.iter().zip(&units).filter(|(_, unit)| !unit.is_empty()) {
        let decoded = decoder.decode(unit)?.context("a picture")?;
        decibels += decoded.picture.psnr_db(&frame.picture());
    }
    let made = units.iter().filter(|unit| !unit.is_empty()).count();
    let (psnr_db, kbps) = (decibels / made.max(1) as f64, bytes * 8 * 30 / frames.len().max(1) / 1000);
    let left_out = units.len() - made;
    Ok((format!("encode 1080p by {label}: {psnr_db:.1} dB at {kbps} kbit/s, {left_out} left out"), cost))
}

/// Milliseconds on the processor for each of so many calls.
fn ms_each(times: usize, mut work: impl FnMut(usize)) -> f64 {
    let begun = on_cpu();
    (0..times).for_each(&mut work);
    on_cpu().saturating_sub(begun).as_secs_f64() * 1000.0 / times.max(1) as f64
}
