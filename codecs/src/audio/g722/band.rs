//! One of G.722's two bands: the step of the quantizer and the prediction, as both ends follow them.

/// What tells the two bands apart.
#[derive(Debug)]
pub(super) struct Kind {
    /// What a code stands for, in steps, when step and prediction adapt (tables 17 and 19: QM4, QM2).
    values: &'static [i32],
    /// How a code changes the logarithm of the step (tables 18 and 20: WL by RL42, WH by RH2).
    growth: &'static [i32],
    /// Limit of that logarithm.
    logarithm_max: i32,
    /// The logarithm's whole part that leaves a step as it is in the table.
    shift: i32,
    /// The step at rest.
    step: i32,
}

pub(super) static LOW: Kind = Kind {
    values: &[
        0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
    ],
    growth: &[-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60],
    logarithm_max: 18_432,
    shift: 8,
    step: 32,
};

pub(super) static HIGH: Kind = Kind {
    values: &[-7408, -1616, 7408, 1616],
    growth: &[798, -214, 798, -214],
    logarithm_max: 22_528,
    shift: 10,
    step: 8,
};

/// What a code of six bits stands for, in steps (table 17: QM6).
static VALUES_OF_6_BITS: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];

/// Where the lower band's intervals end, in steps (table 14: Q6).
static ENDS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Powers of two with steps of a 32nd, from 2^11 (table 15: ILB).
static POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The code of six bits of a difference (QUANTL).
pub(super) fn quantize_low(difference: i32, step: i32) -> u8 {
    let difference = saturate(difference);
    let interval = ENDS.partition_point(|end| magnitude(difference) >= (end * step) >> 12) as u8;
    match (difference < 0, interval) {
        (false, _) => 61 - interval,
        (true, 0 | 1) => 63 - interval,
        (true, _) => 33 - interval,
    }
}

/// The code of two bits of a difference (QUANTH).
pub(super) fn quantize_high(difference: i32, step: i32) -> u8 {
    let difference = saturate(difference);
    let outer = magnitude(difference) >= (564 * step) >> 12;
    match (difference < 0, outer) {
        (false, false) => 3,
        (false, true) => 2,
        (true, false) => 1,
        (true, true) => 0,
    }
}

/// State of one band.
#[derive(Clone, Debug)]
pub(super) struct Band {
    kind: &'static Kind,
    step: i32,
    /// Of the step.
    logarithm: i32,
    /// The next sample as predicted, and the part of that which comes from differences (PREDIC, FILTEZ).
    predicted: i32,
    predicted_by_zeros: i32,
    /// The last differences, newest first, and how each counts.
    differences: [i32; 6],
    zeros: [i32; 6],
    /// The last two samples, newest first, and how each counts.
    samples: [i32; 2],
    poles: [i32; 2],
    /// Whether the last two sums of difference and prediction by zeros were negative, newest first.
    negative: [bool; 2],
}

impl Band {
    pub(super) fn new(kind: &'static Kind) -> Self {
        Band {
            kind,
            step: kind.step,
            logarithm: 0,
            predicted: 0,
            predicted_by_zeros: 0,
            differences: [0; 6],
            zeros: [0; 6],
            samples: [0; 2],
            poles: [0; 2],
            negative: [false; 2],
        }
    }

    pub(super) fn step(&self) -> i32 {
        self.step
    }

    pub(super) fn predicted(&self) -> i32 {
        self.predicted
    }

    /// The sample of a code of six bits, before the band adapts (INVQBL, RECONS, LIMIT).
    pub(super) fn reconstruct_low(&self, code: u8) -> i32 {
        limit(self.predicted + ((self.step * VALUES_OF_6_BITS[usize::from(code)]) >> 15))
    }

    /// The sample of a code of two bits, before the band adapts (INVQAH, RECONS, LIMIT).
    pub(super) fn reconstruct_high(&self, code: u8) -> i32 {
        limit(self.predicted + ((self.step * self.kind.values[usize::from(code)]) >> 15))
    }

    /// Follows a code: of the lower band its upper four bits.
    pub(super) fn adapt(&mut self, code: u8) {
        let difference = (self.step * self.kind.values[usize::from(code)]) >> 15;
        self.adapt_step(code);
        let sample = saturate(self.predicted + difference);
        self.adapt_poles(saturate(difference + self.predicted_by_zeros) < 0);
        self.adapt_zeros(difference);
        self.samples = [sample, self.samples[0]];
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.predict();
    }

    /// LOGSCL and SCALEL, LOGSCH and SCALEH.
    fn adapt_step(&mut self, code: u8) {
        let logarithm = ((self.logarithm * 127) >> 7) + self.kind.growth[usize::from(code)];
        self.logarithm = logarithm.clamp(0, self.kind.logarithm_max);
        let power = POWERS[(self.logarithm >> 6 & 31) as usize];
        let down = self.kind.shift - (self.logarithm >> 11);
        self.step = if down < 0 { power << -down } else { power >> down } << 2;
    }

    /// UPPOL2 and UPPOL1. `negative`: of the newest sum of difference and prediction by zeros.
    fn adapt_poles(&mut self, negative: bool) {
        let [first, second] = self.poles;
        let same = negative == self.negative[0];
        let by_first = saturate(if same { -saturate(first << 2) } else { saturate(first << 2) }) >> 7;
        let by_second = if negative == self.negative[1] { 128 } else { -128 };
        let second = (by_first + by_second + ((second * 32_512) >> 15)).clamp(-12_288, 12_288);
        // Keeps the predictor stable.
        let bound = 15_360 - second;
        let first = (((first * 32_640) >> 15) + if same { 192 } else { -192 }).clamp(-bound, bound);
        self.poles = [first, second];
        self.negative = [negative, self.negative[0]];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let change = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(self.differences) {
            let change = if (past < 0) == (difference < 0) { change } else { -change };
            *zero = saturate(change + ((*zero * 32_640) >> 15));
        }
    }

    /// FILTEZ, FILTEP and PREDIC.
    fn predict(&mut self) {
        let weighted = |(weight, value): (&i32, &i32)| (weight * saturate(value + value)) >> 15;
        let by_zeros: i32 = self.zeros.iter().zip(&self.differences).map(weighted).sum();
        let by_poles: i32 = self.poles.iter().zip(&self.samples).map(weighted).sum();
        self.predicted_by_zeros = saturate(by_zeros);
        self.predicted = saturate(saturate(by_poles) + self.predicted_by_zeros);
    }
}

/// Negative differences count from -1 (QUANTL, QUANTH).
fn magnitude(difference: i32) -> i32 {
    if difference < 0 { !difference } else { difference }
}

/// To 16 bits, as all sums of the standard are.
fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// To the 15 bits of a band.
fn limit(sample: i32) -> i32 {
    sample.clamp(-16_384, 16_383)
}
