//! Noise suppression of one source, by nnnoiseless (RNNoise in Rust): what is not a voice is taken out.
//!
//! It works at 48 kHz only, on frames of 10 ms, and delays the source by one of them. Sound of a lower rate is brought
//! back to that when the noise is out.

use super::limits::TICKS_PER_SECOND;
use super::rate::{self, Converter};
use crate::playout::Pulled;
use nnnoiseless::DenoiseState;

/// The only rate that the network was trained for.
pub(crate) const RATE_HZ: u32 = 48_000;
const FRAME: usize = DenoiseState::FRAME_SIZE;
const TICK: usize = (RATE_HZ / TICKS_PER_SECOND) as usize;
/// The network's samples are those of 16 bits.
const SCALE: f32 = 32_768.0;

pub(crate) struct Suppressor {
    state: Box<DenoiseState<'static>>,
    frame: [f32; FRAME],
    /// The tick.
    pub samples: Vec<f32>,
    /// Back to the source's own rate; none: that is the same.
    back: Option<Converter>,
    /// The end of what was said is still in the state.
    sounding: bool,
}

impl Suppressor {
    /// For a source of so many samples a second.
    pub(crate) fn new(rate_hz: u32) -> Self {
        let filter = rate::for_sources(RATE_HZ, rate_hz).filter(|_| rate_hz != RATE_HZ);
        Suppressor {
            state: DenoiseState::new(),
            frame: [0.0; FRAME],
            samples: vec![0.0; TICK],
            back: filter.map(Converter::new),
            sounding: false,
        }
    }

    /// Takes the noise out of the tick. `pulled` says what it is; the answer, what it is then.
    pub(crate) fn process(&mut self, pulled: Pulled) -> Pulled {
        if pulled == Pulled::Silence {
            if !self.sounding {
                self.back.iter_mut().for_each(Converter::reset);
                return pulled;
            }
            self.samples.fill(0.0);
        }
        self.sounding = pulled != Pulled::Silence;
        for out in self.samples.chunks_exact_mut(FRAME) {
            for (scaled, sample) in self.frame.iter_mut().zip(&*out) {
                *scaled = sample * SCALE;
            }
            self.state.process_frame(out, &self.frame);
            out.iter_mut().for_each(|sample| *sample /= SCALE);
        }
        self.back.iter_mut().for_each(|back| back.feed(&self.samples));
        if pulled == Pulled::Silence { Pulled::Concealed } else { pulled }
    }

    /// The tick at the source's own rate.
    pub(crate) fn fill(&self, samples: &mut [f32]) {
        match &self.back {
            Some(back) => back.render(samples),
            None => samples.copy_from_slice(&self.samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RATE_HZ, Suppressor};
    use crate::audio::level::level_db;
    use crate::playout::Pulled;

    /// What is left of a sound after two seconds, in dB.
    fn left(mut sound: impl FnMut(usize) -> f32) -> f32 {
        let mut suppressor = Suppressor::new(RATE_HZ);
        let (mut before, mut after) = (0.0, 0.0);
        for tick in 0..150 {
            suppressor.samples = (tick * 960..(tick + 1) * 960).map(&mut sound).collect();
            let level = level_db(&suppressor.samples);
            suppressor.process(Pulled::Sound);
            if tick >= 100 {
                before += level / 50.0;
                after += level_db(&suppressor.samples) / 50.0;
            }
        }
        after - before
    }

    #[test]
    fn noise_goes_and_a_voice_stays() {
        // The noise of a fan: a random step for each sample, most of it in the low tones.
        let (mut random, mut fan) = (0x1234_5678_9abc_def1_u64, 0.0_f32);
        let noise = left(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            fan += 0.2 * ((random >> 40) as f32 / (1 << 23) as f32 - 1.0 - fan);
            fan * 0.05
        });
        assert!(noise < -20.0, "{noise} dB");
        // Harmonics of a gliding pitch that swell four times a second.
        let voice = left(|n| {
            let at = n as f64 / 48_000.0;
            let phase = std::f64::consts::TAU * (130.0 * at + 4.0 * (3.0 * at).sin());
            let swell = 0.55 + 0.45 * (at * 25.0).sin();
            let sum: f64 = (1..25).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
            (sum * swell * 0.15) as f32
        });
        assert!(voice > -3.0, "{voice} dB");
    }

    #[test]
    fn the_end_of_a_sound_comes_out_and_then_nothing_is_done() {
        let mut suppressor = Suppressor::new(RATE_HZ);
        suppressor.samples.fill(0.1);
        assert_eq!(suppressor.process(Pulled::Sound), Pulled::Sound);
        assert_eq!(suppressor.process(Pulled::Silence), Pulled::Concealed);
        assert_eq!(suppressor.process(Pulled::Silence), Pulled::Silence);
    }
}
