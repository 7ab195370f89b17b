//! When the delay is to change while sound is played, and which way.
//!
//! A packet has its moment at the tick that needs it. How long after the fastest packet's arrival that is, is
//! watched at each packet; the least of some ticks is held against what the jitter buffer aims at. Too little:
//! sound is stretched by pitch periods until packets are wanted a tick later. More than enough for packets to
//! be wanted a tick earlier, or sound that waits for nothing: it is shortened, slowly. So a clock that drifts
//! by 200 ppm costs a few steps in a hundred seconds, and no work in between.

/// Ticks between steps that make the delay longer, and shorter.
const LONGER_TICKS: u32 = 2;
const SHORTER_TICKS: u32 = 15;
/// What is so much above the aim is brought down faster.
const FAR_US: i64 = 40_000;
const FAR_TICKS: u32 = 5;
/// Packets that a judgement needs.
const PACKETS_MIN: u32 = 3;
/// What must be left above the aim when packets are wanted earlier, in microseconds.
const SPARE_US: i64 = 3000;
/// Steps shorter than this leave no choice of pitch periods.
const STEP_US_MIN: i64 = 7500;
/// Waiting sound that is worth a step.
const IDLE_US_MIN: i64 = 4000;
/// Likeness that a step wants at first, and how much less with each tick in vain.
const LIKENESS: f32 = 0.9;
const LIKENESS_LESS: f32 = 0.04;

/// A step wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Sound shall last longer.
    Stretch {
        /// Condition for the place.
        likeness_min: f32,
    },
    /// Sound shall end earlier, by at most so much.
    Shorten {
        /// In microseconds.
        us_max: i64,
        /// Condition for the place.
        likeness_min: f32,
    },
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    seen: Option<Seen>,
    ticks: u32,
    growing: bool,
    in_vain: u32,
}

/// The least values since the last step.
#[derive(Clone, Copy, Debug)]
struct Seen {
    packets: u32,
    delay_us: i64,
    waiting_us: i64,
}

impl Pace {
    /// A packet was taken `delay_us` after the fastest one would have come, when `waiting_us` of sound still
    /// waited.
    pub(super) fn on_packet(&mut self, delay_us: i64, waiting_us: i64) {
        let seen = self.seen.get_or_insert(Seen { packets: 0, delay_us, waiting_us });
        seen.packets += 1;
        seen.delay_us = seen.delay_us.min(delay_us);
        seen.waiting_us = seen.waiting_us.min(waiting_us);
    }

    /// At the end of a tick: the step wanted. `aim_us` is the delay aimed at, `grain_us` the steps in which the
    /// moments of packets move (the part that ticks and packets have in common).
    pub(super) fn wanted(&mut self, aim_us: i64, grain_us: i64) -> Option<Step> {
        self.ticks += 1;
        let seen = self.seen?;
        if seen.delay_us < aim_us {
            self.growing = true;
        } else if self.growing {
            // Reached. What is judged next begins here.
            *self = Pace::default();
            return None;
        }
        let likeness_min = LIKENESS - LIKENESS_LESS * self.in_vain as f32;
        let step = if self.growing {
            (self.ticks >= LONGER_TICKS).then_some(Step::Stretch { likeness_min })
        } else if self.ticks < (if seen.delay_us > aim_us + FAR_US { FAR_TICKS } else { SHORTER_TICKS })
            || seen.packets < PACKETS_MIN
        {
            None
        } else if seen.waiting_us >= IDLE_US_MIN {
            Some(Step::Shorten { us_max: seen.waiting_us, likeness_min })
        } else if seen.delay_us - aim_us - SPARE_US >= grain_us.max(STEP_US_MIN) {
            // Each grain, once begun, moves packets by a whole one.
            let grains = (seen.delay_us - aim_us - SPARE_US) / grain_us;
            Some(Step::Shorten { us_max: grains * grain_us, likeness_min })
        } else {
            // Judged: all is well. The next judgement looks at other packets.
            self.seen = None;
            self.ticks = 0;
            None
        };
        self.in_vain += u32::from(step.is_some());
        step
    }

    /// A step was made.
    pub(super) fn stepped(&mut self) {
        *self = Pace { growing: self.growing, ..Pace::default() };
    }

    /// Sound begins or begins anew.
    pub(super) fn reset(&mut self) {
        *self = Pace::default();
    }
}
