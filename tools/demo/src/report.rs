//! What each one received of each other: the figures, the verdict, the table.

use serde_json::{Value, json};

use crate::cast::{CAST, RATE};
use crate::hearing::Heard;
use crate::sight::Seen;

/// One receiver and one sender, both indices in [`CAST`].
pub struct Pair {
    /// Who receives.
    pub receiver: usize,
    /// Who sends.
    pub sender: usize,
    /// Packets, lost packets and sender reports of the sound.
    pub audio: (u64, i64, u64),
    /// The same of the picture.
    pub video: (u64, i64, u64),
    /// What the decoder made of the picture.
    pub seen: Seen,
    /// What the decoder made of the sound.
    pub heard: Heard,
    /// Lines in the decoder's log.
    pub errors: usize,
}

impl Pair {
    /// Whether the sender's picture, and only it, was there and moved, for four fifths of the time.
    pub fn is_seen(&self, seconds: usize) -> bool {
        let pictures = self.seen.pictures;
        pictures * 5 >= RATE * seconds * 4
            && self.seen.whose[self.sender] * 100 >= pictures * 95
            && self.seen.moved * 2 >= pictures
    }

    /// Whether the sender's tone, and no other, not even the receiver's own, was there for as long.
    pub fn is_heard(&self, seconds: usize) -> bool {
        let others = self.heard.tones.iter().enumerate().filter(|(person, _)| *person != self.sender);
        self.heard.tones[self.sender] * 5 >= 10 * seconds * 4
            && others.map(|(_, windows)| windows).sum::<usize>() * 50 <= self.heard.windows
    }

    /// Seconds for which the sender was heard.
    pub fn heard_seconds(&self) -> f64 {
        self.heard.tones[self.sender] as f64 / 10.0
    }

    fn row(&self, seconds: usize) -> [String; 10] {
        let yes = |yes: bool, word: &str| if yes { word.to_owned() } else { format!("NOT {word}") };
        [
            CAST[self.receiver].name.into(),
            CAST[self.sender].name.into(),
            self.audio.0.to_string(),
            self.audio.1.to_string(),
            format!("{:.1} s of {} Hz", self.heard_seconds(), CAST[self.sender].tone_hz),
            self.video.0.to_string(),
            self.video.1.to_string(),
            self.seen.pictures.to_string(),
            self.errors.to_string(),
            format!("{}, {}", yes(self.is_heard(seconds), "heard"), yes(self.is_seen(seconds), "seen")),
        ]
    }

    fn json(&self, seconds: usize) -> Value {
        json!({
            "receiver": CAST[self.receiver].name,
            "sender": CAST[self.sender].name,
            "audio_packets": self.audio.0,
            "audio_lost": self.audio.1,
            "audio_sender_reports": self.audio.2,
            "video_packets": self.video.0,
            "video_lost": self.video.1,
            "video_sender_reports": self.video.2,
            "pictures": self.seen.pictures,
            "pictures_of_sender": self.seen.whose[self.sender],
            "pictures_moved": self.seen.moved,
            "decode_errors": self.errors,
            "heard_s": self.heard_seconds(),
            "recorded_s": self.heard.windows as f64 / 10.0,
            "heard": self.is_heard(seconds),
            "seen": self.is_seen(seconds),
        })
    }
}

/// The table for people.
pub fn table(pairs: &[Pair], seconds: usize) -> String {
    let head =
        ["RECEIVER", "SENDER", "AUDIO", "LOST", "TONE", "VIDEO", "LOST", "PICTURES", "ERRORS", "VERDICT"];
    let mut rows = vec![head.map(String::from)];
    rows.extend(pairs.iter().map(|pair| pair.row(seconds)));
    let widths: [usize; 10] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            2 | 3 | 5..=8 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// The same for programs.
pub fn json(pairs: &[Pair], strays: u64, seconds: usize) -> Value {
    json!({
        "seconds": seconds,
        "passed": passed(pairs, strays, seconds),
        "stray_packets": strays,
        "pairs": pairs.iter().map(|pair| pair.json(seconds)).collect::<Vec<_>>(),
    })
}

/// Everyone saw and heard everyone else, and nothing else came.
pub fn passed(pairs: &[Pair], strays: u64, seconds: usize) -> bool {
    let all = pairs.len() == CAST.len() * (CAST.len() - 1);
    all && strays == 0 && pairs.iter().all(|pair| pair.is_seen(seconds) && pair.is_heard(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: usize = 10;

    /// Bob at alice's, with this share of the pictures and of the tone, in percent.
    fn pair(percent: usize) -> Pair {
        let pictures = RATE * SECONDS * percent / 100;
        let mut seen = Seen::default();
        (seen.pictures, seen.whose, seen.moved) = (pictures, [0, pictures, 0], pictures);
        let heard = Heard { windows: 100, tones: [0, percent, 0] };
        Pair { receiver: 0, sender: 1, audio: (1, 0, 1), video: (1, 0, 1), seen, heard, errors: 0 }
    }

    #[test]
    fn four_fifths_are_enough_and_less_is_not() {
        assert!(pair(80).is_seen(SECONDS) && pair(80).is_heard(SECONDS));
        assert!(!pair(79).is_seen(SECONDS) && !pair(79).is_heard(SECONDS));
    }

    #[test]
    fn somebody_elses_picture_or_a_still_one_does_not_count() {
        let mut other = pair(100);
        other.seen.whose = [10, 140, 0];
        assert!(!other.is_seen(SECONDS));
        let mut still = pair(100);
        still.seen.moved = 1;
        assert!(!still.is_seen(SECONDS));
    }

    #[test]
    fn ones_own_tone_must_not_come_back() {
        let mut echo = pair(100);
        echo.heard.tones[0] = 3;
        assert!(!echo.is_heard(SECONDS));
        echo.heard.tones[0] = 2;
        assert!(echo.is_heard(SECONDS));
    }

    #[test]
    fn all_pairs_are_needed_and_no_strays() {
        let six = || (0..6).map(|_| pair(100)).collect::<Vec<_>>();
        assert!(passed(&six(), 0, SECONDS));
        assert!(!passed(&six(), 1, SECONDS));
        assert!(!passed(&six()[1..], 0, SECONDS));
        assert!(table(&six(), SECONDS).lines().skip(1).all(|line| line.ends_with("heard, seen")));
    }
}
