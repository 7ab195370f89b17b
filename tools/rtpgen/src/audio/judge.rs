//! Listens to one mix: who is heard in it, how loud, how late and with what gaps.

use crate::audio::decode::Line;
use crate::audio::measure::{GAP_TALKERS_MAX, LINE_RATE_HZ, find_marker, gap_ms, level_db, marker_samples};
use crate::audio::sound::{MARKER_MS, Voice};
use crate::audio::stage::Stage;
use motet_rtp::Time;
use serde::Serialize;
use std::time::Duration;

/// Somebody else is heard when at most so much softer than spoken, in decibels.
pub const HEARD_DB_MIN: f64 = -6.0;
/// One's own voice is absent when at least so much softer than spoken, in decibels.
pub const ABSENT_DB_MAX: f64 = -25.0;
/// The beginning of each turn that is not listened to: mixers may take a while to take a voice in, and jitter
/// buffers to settle.
const SETTLE: Duration = Duration::from_secs(1);
/// How much earlier and later than spoken a marker is looked for, in seconds.
const MARKER_SEARCH_S: (f64, f64) = (0.05, 0.65);

/// When things happened, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// When the run began to capture.
    pub start: Time,
    /// Turns that began within this time are not listened to.
    pub warm_up: Duration,
    /// For how long.
    pub duration: Duration,
    /// Who talked when.
    pub stage: Stage,
}

/// One voice in one mix during one turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heard {
    /// Number of the turn.
    pub turn: u64,
    /// Who talked.
    pub talker: u32,
    /// It is the receiver's own voice, which must not be there.
    pub own: bool,
    /// How loud, in decibels against what was spoken.
    pub level_db: f64,
    /// Longest gap in milliseconds; none: too many talk at once to tell, or the voice is not there.
    pub gap_ms: Option<f64>,
    /// Mouth to ear of each marker, in milliseconds.
    pub delay_ms: Vec<f64>,
}

impl Heard {
    /// Somebody else was heard, or one's own voice was not.
    pub fn is_right(&self) -> bool {
        if self.own { self.level_db <= ABSENT_DB_MAX } else { self.level_db >= HEARD_DB_MIN }
    }
}

/// Listens to the mix of participant `own`, all through the run. `phase` says when others captured their
/// samples, counted from the scene's start.
pub fn listen(line: &Line, own: u32, scene: &Scene, phase: impl Fn(u32) -> Duration) -> Vec<Heard> {
    let narrow = line.narrow();
    let mut all = Vec::new();
    let turns = (scene.duration.as_secs_f64() / scene.stage.turn_s()).floor() as u64;
    let first = (scene.warm_up.as_secs_f64() / scene.stage.turn_s()).ceil() as u64;
    for turn in first..turns {
        let group = scene.stage.group(turn);
        for talker in group.clone() {
            let began =
                scene.start + Duration::from_secs_f64(turn as f64 * scene.stage.turn_s()) + phase(talker);
            let ended = began + Duration::from_secs_f64(scene.stage.turn_s());
            let stretch = stretch(line, &narrow, began + SETTLE, ended);
            let voice = Voice::of(talker);
            let Some(level_db) = level_db(stretch, voice) else { continue };
            let mut heard =
                Heard { turn, talker, own: talker == own, level_db, gap_ms: None, delay_ms: Vec::new() };
            if !heard.own && heard.is_right() {
                if group.len() <= GAP_TALKERS_MAX as usize {
                    heard.gap_ms = gap_ms(stretch, voice);
                }
                heard.delay_ms = delays_ms(line, &narrow, voice, (began, ended));
            }
            all.push(heard);
        }
    }
    all
}

/// The narrow line between two moments; nothing where the line has not begun or has ended.
fn stretch<'a>(line: &Line, narrow: &'a [f32], from: Time, to: Time) -> &'a [f32] {
    let place = |at| line.place(at).map(|place| narrow_place(line, place).max(0.0) as usize);
    let (Some(from), Some(to)) = (place(from), place(to)) else { return &[] };
    narrow.get(from..to).unwrap_or(&[])
}

fn narrow_place(line: &Line, place: f64) -> f64 {
    place * f64::from(LINE_RATE_HZ) / f64::from(line.rate_hz)
}

/// Mouth to ear of a voice's markers that were spoken between two moments of capture.
fn delays_ms(line: &Line, narrow: &[f32], voice: Voice, (began, ended): (Time, Time)) -> Vec<f64> {
    let marker = voice.marker(LINE_RATE_HZ);
    let (before, after) = MARKER_SEARCH_S;
    let first = Duration::from_millis(voice.marker_at_ms().into());
    let marker_ends = first + Duration::from_millis(MARKER_MS.into());
    // The first second settles; the last marker is wholly within the turn.
    let seconds = (1..).map(Duration::from_secs).take_while(|second| began + *second + marker_ends <= ended);
    let spoken = seconds.map(|second| began + second + first);
    let delay = |spoken: Time| -> Option<f64> {
        let place = narrow_place(line, line.place(spoken)?);
        let from = (place - before * f64::from(LINE_RATE_HZ)).max(0.0) as usize;
        let to = (place + after * f64::from(LINE_RATE_HZ)).max(0.0) as usize + marker_samples();
        let found = from as f64 + find_marker(narrow.get(from..to.min(narrow.len()))?, &marker)?;
        let heard_at = line.heard_at(found * f64::from(line.rate_hz) / f64::from(LINE_RATE_HZ))?;
        Some((heard_at.as_nanos() as f64 - spoken.as_nanos() as f64) / 1e6)
    };
    spoken.filter_map(delay).collect()
}
