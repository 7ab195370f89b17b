//! From a decoder's rate to the rate of the line.
//!
//! All rates are in small ratios, so the filter needs exactly as many phases as the ratio has, and rubato's
//! "nearest" phase is the true one: one dot product for each sample, nothing interpolated. The filter is as long
//! as 64 samples of the lower rate, so it delays by 35 of them (4.4 ms at 8 kHz, 0.8 ms at 44.1 kHz); it is flat
//! up to 0.8 of the lower rate's band and rejects what is beyond the band by more than 60 dB.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction,
    calculate_cutoff,
};

/// Samples of the lower rate that the filter spans.
const FILTER_SAMPLES: u32 = 64;

/// Converts one source's sound; remembers the filter's past.
pub struct Resampler {
    /// None: both rates are the same.
    filter: Option<Async<f32>>,
    chunk_max: usize,
    output: Vec<f32>,
    /// Output samples that the first input is short of.
    short: usize,
}

impl Resampler {
    /// From 8000–48,000 Hz to 8000–48,000 Hz, or `None` for rates whose ratio has too many phases.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Resampler> {
        if from_hz == to_hz {
            return Some(Resampler { filter: None, chunk_max: usize::MAX, output: Vec::new(), short: 0 });
        }
        let phases = to_hz / gcd(from_hz, to_hz);
        if phases > PHASES_MAX {
            return None;
        }
        let samples = FILTER_SAMPLES * from_hz.max(to_hz).div_ceil(to_hz);
        let parameters = SincInterpolationParameters::new(samples as usize, WindowFunction::Blackman)
            .f_cutoff(calculate_cutoff::<f32>(FILTER_SAMPLES as usize, WindowFunction::Blackman))
            .oversampling_factor(phases as usize)
            .interpolation(SincInterpolationType::Nearest);
        let chunk_max = from_hz as usize / 50;
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let filter = Async::new_sinc(ratio, 1.0, &parameters, chunk_max, 1, FixedAsync::Input).ok()?;
        let output = vec![0.0; filter.output_frames_max()];
        // The filter keeps two samples back, and rounding may keep one more of the output.
        Some(Resampler { filter: Some(filter), chunk_max, output, short: (2.0 * ratio) as usize + 2 })
    }

    /// How many samples less than its due the first input gives. Later ones give one more or less at most.
    pub(super) const fn short(&self) -> usize {
        self.short
    }

    /// Appends what `input` becomes to `output`.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        let Some(filter) = &mut self.filter else {
            output.extend_from_slice(input);
            return;
        };
        for chunk in input.chunks(self.chunk_max) {
            let samples = convert(filter, chunk, &mut self.output);
            output.extend_from_slice(&self.output[..samples]);
        }
    }

    /// Forgets the past.
    pub fn reset(&mut self) {
        if let Some(filter) = &mut self.filter {
            filter.reset();
        }
    }
}

/// One chunk, which may have any length up to the one that the filter was made for.
fn convert(filter: &mut Async<f32>, chunk: &[f32], output: &mut [f32]) -> usize {
    let resized = filter.as_resizable().is_some_and(|filter| filter.set_chunk_size(chunk.len()).is_ok());
    assert!(resized, "a filter takes every chunk up to the longest");
    let room = output.len();
    let (Ok(input), Ok(mut sink)) =
        (InterleavedSlice::new(chunk, 1, chunk.len()), InterleavedSlice::new_mut(output, 1, room))
    else {
        return 0;
    };
    match filter.process_into_buffer(&input, &mut sink, None) {
        Ok((_, samples)) => samples,
        Err(error) => unreachable!("the buffers are as long as the filter asked for: {error}"),
    }
}

/// 44.1 kHz to 32 kHz has 320.
const PHASES_MAX: u32 = 640;

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
