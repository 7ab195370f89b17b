//! Composing pictures: motet's mixer in this process, and ffmpeg's command on the same streams with the same encoder.
//!
//! Both get files of H.264 (720p, 30 a second) and make one canvas of 1080p with x264 at the preset `ultrafast`, each on
//! one thread, as fast as they can. What is compared is time on the processor for each picture made, and how near the
//! result is to a canvas that ffmpeg scales with its best filter and does not encode. Transcoding is measured in the same
//! way: one stream, no canvas. One row has cameras that send a smaller size as well: motet decodes that where it fits a
//! cell, and ffmpeg has to decode the large one. How long a picture takes from a camera to a receiver is measured of a real node.

pub mod counter;
pub mod ffmpeg;
pub mod latency;
pub mod live;
pub mod motet;
pub mod parts;

use crate::figures::median;
use crate::{Figure, table};
use anyhow::ensure;
use motet_codecs::video::PictureSize;
use std::path::Path;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Turns of each.
    pub rounds: u32,
    /// Pictures of each source in a turn; at least 30.
    pub pictures: u32,
}

/// What one turn gave.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Milliseconds on the processor for each moment of which pictures are made.
    pub cpu_ms: f64,
    /// How near the picture is to the reference, in dB; none: it was not looked at.
    pub psnr_db: Option<f64>,
    /// Pictures encoded in all.
    pub encoded: u64,
    /// What part of the pictures that were decoded was of smaller layers.
    pub of_layers: f64,
}

/// One row: so many sources on one canvas, or on a canvas for each.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Sources.
    pub sources: usize,
    /// Each also sends a copy in [the size of cells](LAYER).
    pub layers: bool,
    /// Everybody sees a canvas without themselves.
    pub personal: bool,
    /// Measured with ffmpeg, too.
    pub compared: bool,
}

/// A row without layers and without ffmpeg.
const PLAIN: Row = Row { name: "", sources: 9, layers: false, personal: false, compared: false };

/// What is measured.
pub const ROWS: [Row; 5] = [
    Row { name: "9 x 720p30 to 1080p30", compared: true, ..PLAIN },
    Row { name: "9 x 720p30 with a layer of 360p to 1080p30", layers: true, compared: true, ..PLAIN },
    Row { name: "9 personal canvases of 1080p30", personal: true, ..PLAIN },
    Row { name: "16 x 720p30 to 1080p30", sources: 16, compared: true, ..PLAIN },
    Row { name: "25 x 720p30 to 1080p30", sources: 25, compared: true, ..PLAIN },
];

/// The copy that cameras with layers send: its size, and kilobits a second.
pub const LAYER: (PictureSize, u32) = (PictureSize::new(640, 360), 500);

/// ffmpeg's processor time that motet may take of it.
const RATIO_GOAL: f64 = 0.6;
/// How much farther from the reference than ffmpeg's picture, in dB.
const PSNR_GOAL_DB: f64 = 1.0;

/// Measures a row, in turns, and says it as a table and as figures.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn measure(row: &Row, settings: &Settings, folder: &Path) -> anyhow::Result<(String, Vec<Figure>)> {
    ensure!(settings.pictures >= 30, "at least 30 pictures");
    let streams = ffmpeg::make_sources(folder, row.sources, settings.pictures)?;
    let layers = if row.layers { row.sources } else { 0 };
    let layers = ffmpeg::make_layers(folder, layers, settings.pictures, LAYER)?;
    let cameras = motet::Cameras { streams: &streams, layers: &layers, layer_size: LAYER.0 };
    let reference = ffmpeg::reference(folder, &streams, settings.pictures)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        ours.push(motet::compose(cameras, row.personal, &reference)?);
        if row.compared {
            theirs.push(ffmpeg::compose(folder, &streams, &reference)?);
        }
    }
    let cpu_ms = |turns: &[Turn]| median(&turns.iter().map(|turn| turn.cpu_ms).collect::<Vec<_>>());
    let psnr_db = |turns: &[Turn]| turns.first().and_then(|turn| turn.psnr_db);
    let of = |who: &str| format!("{} / {who}", row.name);
    let figure = |row, metric, value, unit, goal| Figure { row, metric, value, unit, goal };
    let mut figures = vec![figure(of("motet"), "cpu_per_picture", cpu_ms(&ours), "ms", None)];
    let mut lines = vec![line("motet", &ours, cpu_ms(&ours))];
    if !theirs.is_empty() {
        lines.push(line("ffmpeg", &theirs, cpu_ms(&theirs)));
        let ratio = cpu_ms(&ours) / cpu_ms(&theirs);
        let goal = (row.sources == 9).then_some(RATIO_GOAL);
        figures.push(figure(of("ffmpeg"), "cpu_per_picture", cpu_ms(&theirs), "ms", None));
        figures.push(figure(of("motet to ffmpeg"), "cpu_per_picture", ratio, "ratio", goal));
        lines.push(vec!["motet to ffmpeg".to_owned(), format!("{ratio:.2}"), String::new(), String::new()]);
        if let (Some(ours), Some(theirs)) = (psnr_db(&ours), psnr_db(&theirs)) {
            let behind = theirs - ours;
            // A layer has a third of the bits of what ffmpeg decodes: it is told how near it is, and no goal is set.
            let goal = (!row.layers).then_some(PSNR_GOAL_DB);
            figures.push(figure(of("behind ffmpeg"), "psnr", behind, "dB", goal));
        }
    }
    if let Some(turn) = ours.first().filter(|_| row.layers) {
        figures.push(figure(of("motet"), "decoded_of_layers", turn.of_layers * 100.0, "%", None));
        let share = format!("{:.1} %", turn.of_layers * 100.0);
        lines.push(vec!["decoded of layers".to_owned(), share, String::new(), String::new()]);
    }
    let header = [row.name, "CPU ms a picture", "PSNR dB", "encoded a picture"];
    Ok((table::render(&header, &lines), figures))
}

/// What is measured of transcoding.
pub const TRANSCODED: &str = "transcode 720p30 to 360p30";
/// Its size, and kilobits a second.
const TO: (PictureSize, u32) = (PictureSize::new(640, 360), 600);

/// Measures bringing one stream to a smaller size and fewer bits, in turns.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn measure_transcoding(settings: &Settings, folder: &Path) -> anyhow::Result<(String, Vec<Figure>)> {
    ensure!(settings.pictures >= 30, "at least 30 pictures");
    let stream = &ffmpeg::make_sources(folder, 1, settings.pictures)?[0];
    let reference = ffmpeg::scaled(folder, stream, TO.0, settings.pictures)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        ours.push(motet::transcode(stream, TO, &reference)?);
        theirs.push(ffmpeg::transcode(folder, stream, TO, &reference)?);
    }
    let cpu_ms = |turns: &[Turn]| median(&turns.iter().map(|turn| turn.cpu_ms).collect::<Vec<_>>());
    let (our_ms, their_ms) = (cpu_ms(&ours), cpu_ms(&theirs));
    let figure = |who: &str, value, unit, goal| {
        let row = format!("{TRANSCODED} / {who}");
        Figure { row, metric: "cpu_per_picture", value, unit, goal }
    };
    let ratio = our_ms / their_ms;
    let figures = vec![
        figure("motet", our_ms, "ms", None),
        figure("ffmpeg", their_ms, "ms", None),
        figure("motet to ffmpeg", ratio, "ratio", Some(1.0)),
    ];
    let last = vec!["motet to ffmpeg".to_owned(), format!("{ratio:.2}"), String::new(), String::new()];
    let lines = vec![line("motet", &ours, our_ms), line("ffmpeg", &theirs, their_ms), last];
    let header = [TRANSCODED, "CPU ms a picture", "PSNR dB", "encoded a picture"];
    Ok((table::render(&header, &lines), figures))
}

fn line(who: &str, turns: &[Turn], cpu_ms: f64) -> Vec<String> {
    let psnr = turns.first().and_then(|turn| turn.psnr_db).map_or_else(String::new, |db| format!("{db:.1}"));
    let encoded = turns.first().map_or(0, |turn| turn.encoded);
    vec![who.to_owned(), format!("{cpu_ms:.2}"), psnr, encoded.to_string()]
}
