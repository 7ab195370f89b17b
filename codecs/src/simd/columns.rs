//! Which values of a line make up those of another one.

/// Values made at once, in lanes of four.
const BLOCK: usize = 32;
const LANE: usize = 4;
/// Bytes that a lane picks its values of.
const WINDOW: usize = 16;

/// Which values of a line of one length make up each one of a line of another length, and how much of each.
///
/// For vector units the new line is cut into blocks of 32 values (the last one begins earlier than the others end), and
/// those into lanes of four neighbours. Of the old values of a lane, four for each new one in a step, 16 bytes are loaded
/// from the lane's base on, and those are picked that are wanted. In the next step it is the same four bytes farther.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    old: usize,
    taps: usize,
    starts: Vec<u32>,
    /// `taps` for each new value.
    weights: Vec<i8>,
    /// None where lines are too short, or too many old values lie between new ones.
    pub(super) blocks: Vec<Block>,
    /// For each block and step: two lanes of four by four weights, four times.
    pub(super) steps: Vec<[[i8; 2 * WINDOW]; 4]>,
}

/// Where vector units find the values for 32 new ones.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The first new value.
    pub(super) first: usize,
    /// The bases of its lanes: in no step do 16 bytes from there on lead beyond the old line.
    pub(super) bases: [usize; BLOCK / LANE],
    /// Which bytes of those 16 are wanted, for two lanes at a time.
    pub(super) picks: [[u8; 2 * WINDOW]; 4],
}

impl Columns {
    /// For lines of `old` values: of each new value the first old one and `taps` weights, which are 64 together; positive
    /// ones are 128 at most.
    ///
    /// # Panics
    /// When old values are beyond the line.
    pub(crate) fn new(old: usize, taps: usize, starts: Vec<u32>, weights: Vec<i8>) -> Columns {
        assert_eq!(weights.len(), starts.len() * taps);
        assert!(starts.iter().all(|start| *start as usize + taps <= old));
        let mut columns = Columns { old, taps, starts, weights, blocks: Vec::new(), steps: Vec::new() };
        if columns.starts.len() >= BLOCK && taps.is_multiple_of(LANE) && old >= taps + WINDOW - LANE {
            columns.make_blocks();
        }
        columns
    }

    /// Values in a line before and after.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.old, self.starts.len())
    }

    pub(super) fn has_blocks(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Steps of each block.
    pub(super) fn steps_each(&self) -> usize {
        self.taps / LANE
    }

    /// For each new value the first old one, and weights.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, &[i8])> {
        self.starts.iter().map(|start| *start as usize).zip(self.weights.chunks_exact(self.taps))
    }

    fn make_blocks(&mut self) {
        let new = self.starts.len();
        let blocks: Option<Vec<Block>> =
            (0..new.div_ceil(BLOCK)).map(|number| self.block((number * BLOCK).min(new - BLOCK))).collect();
        self.blocks = blocks.unwrap_or_default();
        let firsts = self.blocks.iter().map(|block| block.first);
        self.steps = firsts
            .flat_map(|first| (0..self.steps_each()).map(move |step| (first, step)))
            .map(|(first, step)| {
                std::array::from_fn(|quarter| {
                    std::array::from_fn(|byte| {
                        let value = first + quarter * 2 * LANE + byte / LANE;
                        self.weights[value * self.taps + step * LANE + byte % LANE]
                    })
                })
            })
            .collect();
    }

    /// None: a lane's values are farther apart than a window.
    fn block(&self, first: usize) -> Option<Block> {
        let start = |value: usize| self.starts[value] as usize;
        // In the last step, the window ends with the line at the latest.
        let base_max = self.old - WINDOW - (self.taps - LANE);
        let bases = std::array::from_fn(|lane| start(first + lane * LANE).min(base_max));
        let mut picks = [[0; 2 * WINDOW]; 4];
        for (quarter, picks) in picks.iter_mut().enumerate() {
            for (byte, pick) in picks.iter_mut().enumerate() {
                let value = quarter * 2 * LANE + byte / LANE;
                let offset = (start(first + value) + byte % LANE).checked_sub(bases[value / LANE])?;
                *pick = u8::try_from(offset).ok().filter(|offset| usize::from(*offset) < WINDOW)?;
            }
        }
        Some(Block { first, bases, picks })
    }
}
