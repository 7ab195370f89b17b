//! The contact sheet: a row for each participant with pictures of what it saw.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::cast::{CAST, HEIGHT, RATE, WIDTH};
use crate::report::Pair;

/// Pictures of each sender.
pub const SHOTS: usize = 2;

const MARGIN: usize = 24;
const HEADER: usize = 76;
/// Column with the receiver's name.
const NAMES: usize = 170;
/// Line of text above the pictures.
const CAPTION: usize = 30;
const GAP: usize = 6;
const GROUP: usize = SHOTS * (WIDTH + GAP) + 18;
const ROW: usize = CAPTION + HEIGHT + 22;
const SHEET_WIDTH: usize = MARGIN + NAMES + (CAST.len() - 1) * GROUP + MARGIN - GAP - 18;
const SHEET_HEIGHT: usize = HEADER + CAST.len() * ROW + MARGIN - 22;
const BACKGROUND: u8 = 0x1c;
const MISSING: u8 = 0x38;

/// Which pictures to keep: early and late in the time that is watched.
pub fn shots(seconds: usize) -> Vec<usize> {
    let pictures = seconds * RATE;
    vec![pictures / 4, pictures * 3 / 4]
}

/// Left and top of a pair's first picture.
fn place(pair: &Pair) -> (usize, usize) {
    let column = if pair.sender > pair.receiver { pair.sender - 1 } else { pair.sender };
    (MARGIN + NAMES + column * GROUP, HEADER + pair.receiver * ROW + CAPTION)
}

/// Writes the sheet as PNG.
pub async fn write(pairs: &[Pair], seconds: usize, path: &Path) -> Result<()> {
    let mut canvas = vec![BACKGROUND; SHEET_WIDTH * SHEET_HEIGHT * 3];
    for pair in pairs {
        let (left, top) = place(pair);
        for shot in 0..SHOTS {
            let picture = pair.seen.kept.get(shot);
            copy(&mut canvas, picture, left + shot * (WIDTH + GAP), top);
        }
    }
    encode(canvas, &labels(pairs, seconds), path).await
}

fn copy(canvas: &mut [u8], picture: Option<&Vec<u8>>, left: usize, top: usize) {
    for row in 0..HEIGHT {
        let at = ((top + row) * SHEET_WIDTH + left) * 3;
        let target = &mut canvas[at..at + WIDTH * 3];
        match picture {
            Some(picture) => target.copy_from_slice(&picture[row * WIDTH * 3..(row + 1) * WIDTH * 3]),
            None => target.fill(MISSING),
        }
    }
}

/// ffmpeg's filters that write the words. The words have nothing that a filter would take as its own.
fn labels(pairs: &[Pair], seconds: usize) -> String {
    let title = format!("motet - what each participant saw and heard in {seconds} seconds");
    let mut filters = vec![text(&title, MARGIN, 22, 30, "white")];
    for (index, person) in CAST.iter().enumerate() {
        let top = HEADER + index * ROW + CAPTION;
        let [red, green, blue] = person.colour.map(|channel| channel.saturating_add(0x20));
        let colour = format!("0x{red:02x}{green:02x}{blue:02x}");
        filters.push(text(person.name, MARGIN, top + HEIGHT / 2 - 40, 42, &colour));
        filters.push(text("saw and heard", MARGIN, top + HEIGHT / 2 + 12, 18, "0xb0b0b0"));
    }
    for pair in pairs {
        let (left, top) = place(pair);
        let (name, tone) = (CAST[pair.sender].name, CAST[pair.sender].tone_hz);
        let lost = pair.audio.1 + pair.video.1;
        let caption = format!(
            "{name} - {} pictures - {:.1} s of {tone} Hz - {lost} packets lost",
            pair.seen.pictures,
            pair.heard_seconds()
        );
        let good = pair.is_seen(seconds) && pair.is_heard(seconds);
        filters.push(text(&caption, left, top - CAPTION + 5, 18, if good { "0xe0e0e0" } else { "0xff6060" }));
    }
    filters.join(",")
}

fn text(words: &str, x: usize, y: usize, size: usize, colour: &str) -> String {
    format!("drawtext=expansion=none:font=Sans:text='{words}':x={x}:y={y}:fontsize={size}:fontcolor={colour}")
}

async fn encode(canvas: Vec<u8>, labels: &str, path: &Path) -> Result<()> {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"])
        .args(["-s", &format!("{SHEET_WIDTH}x{SHEET_HEIGHT}"), "-i", "pipe:0", "-vf", labels])
        .args(["-frames:v", "1", "-update", "1"])
        .arg(path)
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start ffmpeg")?;
    let mut input = child.stdin.take().context("ffmpeg's input is a pipe")?;
    input.write_all(&canvas).await.context("ffmpeg does not take the contact sheet")?;
    drop(input);
    let status = child.wait().await?;
    if !status.success() {
        bail!("ffmpeg cannot write {}: {status}", path.display());
    }
    Ok(())
}
