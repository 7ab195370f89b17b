//! One line of sound out of the packets that an ear kept.
//!
//! This is a receiver that waits for every packet: what came is played where its timestamp says, however
//! late. What did not come is concealed by the codec (Opus: also by the echo of it in the next packet), and
//! silence where the codec has nothing of its own.

use crate::audio::LoadCodec;
use crate::audio::ear::{Ear, Kept};
use crate::audio::measure::LINE_RATE_HZ;
use anyhow::Context;
use motet_codecs::AudioDecoder;
use motet_rtp::Time;
use std::time::Duration;

/// Longest gap that is concealed; after it there is silence.
const CONCEAL_MS_MAX: u32 = 200;
/// Gaps in the timestamps beyond this are a new beginning, not silence.
const GAP_MS_MAX: u32 = 10_000;
/// Samples of the longest Opus packet: 120 ms at 48 kHz.
const PACKET_SAMPLES_MAX: usize = 5760;

/// A mix as it was heard.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Samples at the codec's rate.
    pub samples: Vec<i16>,
    /// Samples a second of them.
    pub rate_hz: u32,
    /// Where each packet's sound begins in `samples`, and when it came.
    pub arrivals: Vec<(usize, Time)>,
    /// Milliseconds that were concealed.
    pub concealed_ms: f64,
    /// Packets that the codec refused.
    pub refused: u64,
}

impl Line {
    /// Decodes what an ear kept.
    ///
    /// # Errors
    /// The codec is not to be had.
    pub fn decode(codec: LoadCodec, ear: &Ear) -> anyhow::Result<Line> {
        let mut decoder = codec.codec()?.decoder().with_context(|| codec.name())?;
        let rate_hz = decoder.format().sample_rate_hz;
        let mut line = Line { rate_hz, ..Line::default() };
        let mut expected: Option<(u64, i64)> = None;
        for kept in ear.kept() {
            let payload = ear.payload(&kept);
            if let Some((sequence, ticks)) = expected {
                let gap = line.gap(codec, &kept, ticks);
                // Where no number lacks, the sender had nothing to send.
                let lost = kept.sequence > sequence;
                line.bridge(decoder.as_mut(), gap, lost.then_some(payload));
            }
            let samples = line.append(decoder.as_mut(), payload, kept.at);
            let ticks = samples as i64 * i64::from(codec.clock_hz()) / i64::from(rate_hz);
            expected = Some((kept.sequence + 1, kept.ticks + ticks));
        }
        Ok(line)
    }

    /// Samples that lack between what is there and a packet.
    fn gap(&self, codec: LoadCodec, kept: &Kept, expected_ticks: i64) -> usize {
        let ticks = kept.ticks - expected_ticks;
        let samples = ticks * i64::from(self.rate_hz) / i64::from(codec.clock_hz());
        let longest = i64::from(GAP_MS_MAX) * i64::from(self.rate_hz) / 1000;
        if (1..=longest).contains(&samples) { samples as usize } else { 0 }
    }

    fn bridge(&mut self, decoder: &mut dyn AudioDecoder, gap: usize, next: Option<&[u8]>) {
        let end = self.samples.len() + gap;
        let longest = decoder.format().samples_in_ms(CONCEAL_MS_MAX);
        if let Some(next) = next
            && gap <= longest
        {
            let mut samples = vec![0; gap];
            let concealed = decoder.conceal(Some(next), &mut samples).min(gap);
            self.samples.extend_from_slice(&samples[..concealed]);
            self.concealed_ms += concealed as f64 * 1000.0 / f64::from(self.rate_hz);
        }
        self.samples.resize(end, 0);
    }

    fn append(&mut self, decoder: &mut dyn AudioDecoder, payload: &[u8], at: Time) -> usize {
        let mut samples = [0; PACKET_SAMPLES_MAX];
        match decoder.decode(payload, &mut samples) {
            Ok(count) => {
                self.arrivals.push((self.samples.len(), at));
                self.samples.extend_from_slice(&samples[..count]);
                count
            }
            Err(_) => {
                self.refused += 1;
                0
            }
        }
    }

    /// When the sample at `index` is heard: its packet's arrival, and its place in the packet.
    pub fn heard_at(&self, index: f64) -> Option<Time> {
        let packet = self.arrivals.partition_point(|(first, _)| *first as f64 <= index).checked_sub(1)?;
        let (first, at) = self.arrivals[packet];
        Some(at + Duration::from_secs_f64((index - first as f64) / f64::from(self.rate_hz)))
    }

    /// Where a moment is in the line, by the median of all packets; before its beginning: below zero.
    pub fn place(&self, at: Time) -> Option<f64> {
        let origin_s = |(first, at): &(usize, Time)| {
            at.as_nanos() as f64 / 1e9 - *first as f64 / f64::from(self.rate_hz)
        };
        let mut origins: Vec<f64> = self.arrivals.iter().map(origin_s).collect();
        if origins.is_empty() {
            return None;
        }
        let middle = origins.len() / 2;
        let (_, origin, _) = origins.select_nth_unstable_by(middle, f64::total_cmp);
        Some((at.as_nanos() as f64 / 1e9 - *origin) * f64::from(self.rate_hz))
    }

    /// The line at [`LINE_RATE_HZ`], with nothing above 3.4 kHz, in -1 to 1, not delayed.
    pub fn narrow(&self) -> Vec<f32> {
        narrow(&self.samples, self.rate_hz)
    }
}

/// Samples at [`LINE_RATE_HZ`], of a whole multiple of that rate.
pub fn narrow(samples: &[i16], rate_hz: u32) -> Vec<f32> {
    let factor = (rate_hz / LINE_RATE_HZ).max(1) as usize;
    let scaled: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
    if factor == 1 {
        return scaled;
    }
    let taps = low_pass(factor);
    let half = taps.len() / 2;
    let sample = |place: usize| -> f32 {
        let first = place.saturating_sub(half);
        let skipped = (first + half) - place;
        scaled[first..].iter().zip(&taps[skipped..]).map(|(sample, tap)| sample * tap).sum()
    };
    (0..scaled.len() / factor).map(|index| sample(index * factor)).collect()
}

/// A windowed sinc that passes 3.4 kHz and stops 4.6 kHz, which folds back above 3.4 kHz.
fn low_pass(factor: usize) -> Vec<f32> {
    use std::f64::consts::PI;
    let half = 12 * factor as i64;
    let cutoff = 0.5 / factor as f64;
    let tap = |index: i64| {
        let x = index as f64;
        let sinc = if index == 0 { 2.0 * cutoff } else { (2.0 * PI * cutoff * x).sin() / (PI * x) };
        sinc * (0.5 + 0.5 * (PI * x / (half + 1) as f64).cos())
    };
    (-half..=half).map(|index| tap(index) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::sound::{Voice, to_i16};

    #[test]
    fn a_narrow_line_is_the_same_sound_at_the_same_time() {
        let voice = Voice::of(9);
        let expected = voice.samples(LINE_RATE_HZ);
        for rate_hz in [16_000, 48_000] {
            let narrowed = narrow(&to_i16(&voice.samples(rate_hz)), rate_hz);
            let worst = expected[100..7900]
                .iter()
                .zip(&narrowed[100..])
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.01, "{rate_hz}: {worst}");
        }
    }
}
