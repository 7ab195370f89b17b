//! Where sound repeats itself.

/// A place that sounds like another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Similar {
    /// Where it begins.
    pub(super) at: usize,
    /// How alike the two are: 1 for the same, 0 for unrelated, below for opposite. Unequal loudness counts as
    /// unlike.
    pub(super) likeness: f32,
}

/// Samples that become one for the first look, and how many there must be for it to be worth while.
const COARSE: usize = 4;
const COARSE_FROM: usize = 160;
/// Room for both at 48 kHz.
const COARSE_MAX: usize = 512;

/// The place in `region` that is most like `pattern`; of several that are about as much alike, the last. A long pattern
/// is looked for among means of four samples first, and then around the place that was found.
///
/// # Panics
/// When `region` is shorter than `pattern`.
pub(super) fn most_similar(pattern: &[f32], region: &[f32]) -> Similar {
    if pattern.len() < COARSE_FROM || region.len() > COARSE * COARSE_MAX {
        return search(pattern, region);
    }
    let (mut short, mut shorter) = ([0.0; COARSE_MAX], [0.0; COARSE_MAX]);
    let found = search(means(pattern, &mut short), means(region, &mut shorter));
    let from = (found.at * COARSE).saturating_sub(COARSE);
    let to = (found.at * COARSE + COARSE + pattern.len()).min(region.len());
    let near = search(pattern, &region[from..to]);
    Similar { at: from + near.at, ..near }
}

/// The means of four samples each, as many as there are whole ones.
fn means<'a>(samples: &[f32], out: &'a mut [f32; COARSE_MAX]) -> &'a [f32] {
    let (chunks, _) = samples.as_chunks::<COARSE>();
    for (chunk, out) in chunks.iter().zip(&mut *out) {
        *out = chunk.iter().sum::<f32>() / COARSE as f32;
    }
    &out[..chunks.len()]
}

fn search(pattern: &[f32], region: &[f32]) -> Similar {
    let length = pattern.len();
    let pattern_energy = dot(pattern, pattern);
    let mut energy = dot(&region[..length], &region[..length]);
    let mut best = Similar { at: 0, likeness: f32::MIN };
    let mut last_peak = best;
    let mut before = [f32::MIN; 2];
    for at in 0..=region.len() - length {
        let likeness = dot(pattern, &region[at..at + length]) / pattern_energy.max(energy).max(SILENCE);
        if likeness > best.likeness {
            best = Similar { at, likeness };
        }
        if before[1] >= before[0] && before[1] > likeness && before[1] >= best.likeness * ABOUT {
            last_peak = Similar { at: at - 1, likeness: before[1] };
        }
        before = [before[1], likeness];
        if let Some(next) = region.get(at + length) {
            energy += next * next - region[at] * region[at];
        }
    }
    if last_peak.likeness >= best.likeness * ABOUT {
        best = last_peak;
    }
    // Silence is like silence.
    if pattern_energy.max(energy) < SILENCE * length as f32 {
        best.likeness = 1.0;
    }
    best
}

/// What is about as much alike.
const ABOUT: f32 = 0.995;
/// Mean square of what nobody hears: 66 dB below full scale.
const SILENCE: f32 = 2.5e-7;

/// Eight sums side by side, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_period_of_a_tone() {
        let tone: Vec<f32> = (0..2000).map(|n| (n as f32 * std::f32::consts::TAU / 100.0).sin()).collect();
        let found = most_similar(&tone[..240], &tone[120..720 + 240]);
        assert_eq!((found.at + 120) % 100, 0);
        assert!(found.likeness > 0.999, "{found:?}");
    }

    #[test]
    fn a_long_pattern_is_found_to_the_sample() {
        // A voice at 48 kHz: harmonics of 137 Hz, the higher the weaker.
        let voice = |n: usize| {
            let turn = n as f32 * 137.0 / 48_000.0 * std::f32::consts::TAU;
            (1..20).map(|k| (turn * k as f32).sin() / k as f32).sum::<f32>()
        };
        let samples: Vec<f32> = (0..2000).map(voice).collect();
        for begin in 0..8 {
            let (pattern, region) = (&samples[begin..begin + 240], &samples[begin + 120..begin + 960]);
            let (fast, slow) = (most_similar(pattern, region), search(pattern, region));
            assert_eq!(fast.at, slow.at, "from {begin}");
            assert!((fast.likeness - slow.likeness).abs() < 1e-3);
        }
    }

    #[test]
    fn louder_is_not_alike_and_silence_is() {
        let tone: Vec<f32> = (0..400).map(|n| (n as f32 * 0.1).sin() * n as f32 / 400.0).collect();
        assert!(most_similar(&tone[..63], &tone[251..]).likeness < 0.3);
        assert_eq!(most_similar(&[0.0; 40], &[0.0; 100]).likeness, 1.0);
    }
}
