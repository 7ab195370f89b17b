//! How good speech sounds after it was mixed: PESQ (ITU-T P.862.2), and the speech itself.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is said: Harvard sentences (IEEE 269), by Flite's voice.
const TEXT: &str = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. \
                    It is easy to tell the depth of a well. These days a chicken leg is a rare dish.";
const SCRIPT: &str = include_str!("pesq.py");

/// Makes speech: mono, 48 kHz, 16 bits. None: there is no ffmpeg, or it has no Flite.
pub fn speak(folder: &Path) -> Option<PathBuf> {
    let file = folder.join("speech.wav");
    let said = format!("flite=voice=slt:text='{TEXT}'");
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        &said,
        "-ac",
        "1",
        "-ar",
        "48000",
        "-y",
    ]);
    let done = command.arg(&file).output().is_ok_and(|output| output.status.success());
    done.then_some(file)
}

/// The interpreter that has PESQ, as scripts/pesq.sh leaves it beside this program.
fn python() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let python = here.parent()?.join("../peers/pesq/bin/python");
    python.is_file().then_some(python)
}

/// Whether speech can be scored.
pub fn installed() -> bool {
    python().is_some()
}

/// Mean score of the mixes in a folder against the speech that the first participant said, without its own.
/// None: PESQ is not installed, or finds no speech in them.
pub fn score(speech: &Path, mixes: &Path) -> anyhow::Result<Option<f64>> {
    let Some(python) = python() else { return Ok(None) };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(mixes).with_context(|| format!("{}", mixes.display()))? {
        let path = entry?.path();
        if !path.ends_with("room0-p0.wav") {
            files.push(path);
        }
    }
    let output = Command::new(python).args(["-c", SCRIPT]).arg(speech).args(&files).output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        eprintln!("PESQ failed: {}", errors.lines().last().unwrap_or_default());
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let scores: Vec<f64> = text.lines().map(str::parse).collect::<Result<_, _>>().context("PESQ's answer")?;
    Ok((!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64))
}
