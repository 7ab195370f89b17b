//! The loops over samples, written so that the compiler makes vector instructions of them.

const LANES: usize = 8;

/// The sum of the squares.
pub(crate) fn energy(samples: &[f32]) -> f32 {
    let (chunks, rest) = samples.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane] * chunk[lane];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

/// The largest magnitude; 0 without samples.
pub(crate) fn peak(samples: &[f32]) -> f32 {
    let (chunks, rest) = samples.as_chunks::<LANES>();
    let mut peaks = [0.0_f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            peaks[lane] = peaks[lane].max(chunk[lane].abs());
        }
    }
    peaks.iter().chain(rest).fold(0.0, |peak, x| peak.max(x.abs()))
}

/// The sum of the products of two slices of equal length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
}

/// Adds `samples` times `gain` to `mix`.
pub(crate) fn add_scaled(mix: &mut [f32], samples: &[f32], gain: f32) {
    for (sum, sample) in mix.iter_mut().zip(samples) {
        *sum += sample * gain;
    }
}

/// A factor that goes from one value to another within a tick, and stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ramp {
    pub from: f32,
    pub to: f32,
}

impl Ramp {
    pub(crate) const fn at(value: f32) -> Self {
        Ramp { from: value, to: value }
    }

    /// Both at once.
    pub(crate) fn times(self, other: Ramp) -> Ramp {
        Ramp { from: self.from * other.from, to: self.to * other.to }
    }

    /// The tick is over.
    pub(crate) fn settle(&mut self) {
        self.from = self.to;
    }

    /// Multiplies `samples`: the way is made in the first half of them, linearly.
    pub(crate) fn apply(self, samples: &mut [f32]) {
        if self.from == self.to {
            if self.to == 1.0 {
                return;
            }
            return samples.iter_mut().for_each(|sample| *sample *= self.to);
        }
        let (way, rest) = samples.split_at_mut(samples.len() / 2);
        let step = (self.to - self.from) / way.len().max(1) as f32;
        for (n, sample) in way.iter_mut().enumerate() {
            *sample *= self.from + step * n as f32;
        }
        rest.iter_mut().for_each(|sample| *sample *= self.to);
    }

    /// Adds `samples` times the factor to `mix`.
    pub(crate) fn add(self, mix: &mut [f32], samples: &[f32]) {
        if self.from == self.to {
            if self.to != 0.0 {
                add_scaled(mix, samples, self.to);
            }
            return;
        }
        let half = samples.len() / 2;
        let step = (self.to - self.from) / half.max(1) as f32;
        for (n, (sum, sample)) in mix.iter_mut().zip(samples).take(half).enumerate() {
            *sum += sample * (self.from + step * n as f32);
        }
        add_scaled(&mut mix[half..], &samples[half..], self.to);
    }
}

/// To 16 bits, rounded. What lies outside of -1.0 to 1.0 is held at the end of the scale; it never wraps.
pub(crate) fn to_i16(samples: &[f32], out: &mut [i16]) {
    for (sample, out) in samples.iter().zip(out) {
        // Rounded by cutting off what is above zero: that is no call of a library, and many at once.
        let up = sample.clamp(-1.0, 1.0) * 32_768.0 + 32_768.5;
        *out = (up as i32 - 32_768).min(32_767) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::{Ramp, dot, energy, peak, to_i16};

    #[test]
    fn sums_take_every_sample() {
        let samples: Vec<f32> = (1..=19).map(|n| n as f32).collect();
        assert_eq!(energy(&samples), (1..=19).map(|n| n * n).sum::<i32>() as f32);
        assert_eq!(dot(&samples, &samples), energy(&samples));
        assert_eq!(peak(&samples), 19.0);
        assert_eq!(peak(&[0.5, -2.0]), 2.0);
        assert_eq!(peak(&[]), 0.0);
    }

    #[test]
    fn a_ramp_has_no_step() {
        let mut samples = [1.0_f32; 160];
        Ramp { from: 0.2, to: 1.0 }.apply(&mut samples);
        assert!((samples[0] - 0.2).abs() < 1e-6);
        assert!(samples.windows(2).all(|pair| pair[1] >= pair[0] && pair[1] - pair[0] < 0.011));
        assert_eq!(samples[80], 1.0);
        let mut added = [0.0_f32; 160];
        Ramp { from: 0.2, to: 1.0 }.add(&mut added, &[1.0; 160]);
        assert_eq!(samples, added);
    }

    #[test]
    fn conversion_saturates() {
        let mut out = [0; 4];
        to_i16(&[0.5, -1.0, 7.0, -7.0], &mut out);
        assert_eq!(out, [16_384, -32_768, 32_767, -32_768]);
        to_i16(&[-1.4 / 32_768.0, -1.6 / 32_768.0, 0.0, 1.0], &mut out);
        assert_eq!(out, [-1, -2, 0, 32_767]);
    }
}
