//! Who talks when: groups of talkers take turns.

use crate::audio::FRAME_MS;

/// The talkers of one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Participants who ever talk: those numbered below this.
    pub speakers: u32,
    /// How many talk at once; the last group may be smaller.
    pub talkers: u32,
    /// Frames of a turn.
    pub turn_frames: u64,
}

impl Stage {
    /// The turn that a frame is in.
    pub const fn turn_of(&self, frame: u64) -> u64 {
        frame / self.turn_frames
    }

    /// First and last number of those who talk in a turn, the last excluded.
    pub fn group(&self, turn: u64) -> std::ops::Range<u32> {
        let talkers = self.talkers.max(1);
        let groups = u64::from(self.speakers.div_ceil(talkers).max(1));
        let first = (turn % groups) as u32 * talkers;
        first..(first + talkers).min(self.speakers)
    }

    /// Whether a participant talks in a frame.
    pub fn talks(&self, participant: u32, frame: u64) -> bool {
        self.group(self.turn_of(frame)).contains(&participant)
    }

    /// Length of a turn in seconds.
    pub fn turn_s(&self) -> f64 {
        self.turn_frames as f64 * f64::from(FRAME_MS) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_take_turns_and_begin_anew() {
        let stage = Stage { speakers: 5, talkers: 2, turn_frames: 100 };
        assert_eq!([0, 1, 2, 3].map(|turn| stage.group(turn)), [0..2, 2..4, 4..5, 0..2]);
        assert!(stage.talks(1, 99) && !stage.talks(1, 100) && stage.talks(2, 100));
        assert!(stage.talks(0, 300));
    }

    #[test]
    fn where_nobody_speaks_nobody_talks() {
        let stage = Stage { speakers: 0, talkers: 3, turn_frames: 1 };
        assert!((0..10).all(|frame| !stage.talks(0, frame)));
    }
}
