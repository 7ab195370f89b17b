//! Comfort noise (RFC 3389): what silence sounds like at the far end, in a few bytes, and noise that is like it.
//!
//! A level, and reflection coefficients of the filter that gives white noise its spectrum. The filter is of the
//! rate of the codec that the noise stands in for.

use super::{AudioError, prefix};

/// Most coefficients that are used; those above are left out when reading.
pub const ORDER_MAX: usize = 12;

/// What silence sounds like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComfortNoise {
    level: u8,
    order: usize,
    /// Reflection coefficients, each between -1 and 1.
    coefficients: [f32; ORDER_MAX],
}

impl ComfortNoise {
    /// White noise of a level: dBov without its sign, so that 0 is as loud as can be. At most 127.
    pub fn white(level: u8) -> Self {
        ComfortNoise { level: level.min(127), order: 0, coefficients: [0.0; ORDER_MAX] }
    }

    /// Reads a payload (RFC 3389 section 3).
    ///
    /// # Errors
    /// [`AudioError::BadPayload`] when it has no byte.
    pub fn parse(payload: &[u8]) -> Result<Self, AudioError> {
        let Some((level, codes)) = payload.split_first() else {
            return Err(AudioError::bad_payload(payload, "comfort noise has at least its level"));
        };
        let mut noise = Self::white(level & 0x7f);
        noise.order = codes.len().min(ORDER_MAX);
        for (coefficient, code) in noise.coefficients.iter_mut().zip(codes) {
            // 255 is reserved, and would leave the filter unstable.
            *coefficient = 258.0 * (f32::from((*code).min(254)) - 127.0) / 32_768.0;
        }
        Ok(noise)
    }

    /// Writes the payload, and returns its bytes.
    ///
    /// # Errors
    /// [`AudioError::BufferTooShort`] when it does not fit; `payload` is then as it was.
    pub fn write(&self, payload: &mut [u8]) -> Result<usize, AudioError> {
        let payload = prefix(payload, 1 + self.order)?;
        payload[0] = self.level;
        for (code, coefficient) in payload[1..].iter_mut().zip(&self.coefficients) {
            *code = (coefficient * 32_768.0 / 258.0 + 127.0).round().clamp(0.0, 254.0) as u8;
        }
        Ok(payload.len())
    }

    /// Measures samples that are thought to be silence, at least some hundred, by `order` coefficients (at most
    /// [`ORDER_MAX`]).
    pub fn measure(samples: &[i16], order: usize) -> Self {
        let order = order.min(ORDER_MAX);
        let mut correlation = [0.0_f64; ORDER_MAX + 1];
        for (lag, sum) in correlation.iter_mut().enumerate().take(order + 1) {
            let pairs = samples.iter().zip(samples.iter().skip(lag));
            *sum = pairs.map(|(now, later)| f64::from(*now) * f64::from(*later)).sum();
        }
        let power = correlation[0] / samples.len().max(1) as f64;
        let level = -10.0 * (power / FULL_SCALE.powi(2)).max(1e-13).log10();
        let mut noise = Self::white(level.round().clamp(0.0, 127.0) as u8);
        // A little white noise keeps the recursion away from filters on the edge of stability.
        correlation[0] = correlation[0] * 1.0001 + 1.0;
        noise.order = order;
        reflect(&correlation[..=order], &mut noise.coefficients[..order]);
        noise
    }

    /// dBov without its sign, 0 to 127.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Reflection coefficients, each between -1 and 1; at most [`ORDER_MAX`].
    pub fn coefficients(&self) -> &[f32] {
        &self.coefficients[..self.order]
    }
}

/// The root mean square that 0 dBov means (RFC 3389 section 3: the loudest square wave).
const FULL_SCALE: f64 = 32_768.0;

/// The recursion of Levinson and Durbin: reflection coefficients of an autocorrelation.
fn reflect(correlation: &[f64], coefficients: &mut [f32]) {
    let mut filter = [0.0_f64; ORDER_MAX];
    let mut error = correlation[0];
    for m in 0..coefficients.len() {
        let past: f64 = (0..m).map(|i| filter[i] * correlation[m - i]).sum();
        let reflection = (-(correlation[m + 1] + past) / error).clamp(-0.999, 0.999);
        let before = filter;
        for i in 0..m {
            filter[i] += reflection * before[m - 1 - i];
        }
        filter[m] = reflection;
        error *= 1.0 - reflection * reflection;
        coefficients[m] = reflection as f32;
    }
}

/// Makes noise, the same one from the same seed.
#[derive(Clone, Debug)]
pub struct NoiseGenerator {
    noise: ComfortNoise,
    /// What white noise is multiplied by: now, and where [`set_noise`](Self::set_noise) wants it.
    gain: f32,
    gain_wanted: f32,
    /// The filter's memory.
    backward: [f32; ORDER_MAX + 1],
    random: u32,
}

/// How much nearer each sample brings the gain to what is wanted: some 5 ms at 8 kHz.
const GAIN_STEP: f32 = 0.02;

impl NoiseGenerator {
    /// A generator that is silent until it is told the noise.
    pub fn new(seed: u32) -> Self {
        NoiseGenerator {
            noise: ComfortNoise::white(127),
            gain: 0.0,
            gain_wanted: 0.0,
            backward: [0.0; ORDER_MAX + 1],
            random: seed,
        }
    }

    /// From now on like this; the level goes there within some milliseconds.
    pub fn set_noise(&mut self, noise: &ComfortNoise) {
        self.noise = *noise;
        // The filter makes noise louder by as much as it has of a spectrum.
        let lost: f32 =
            noise.coefficients().iter().map(|coefficient| 1.0 - coefficient * coefficient).product();
        let level = 10.0_f32.powf(-f32::from(noise.level) / 20.0);
        self.gain_wanted = if noise.level == 127 { 0.0 } else { FULL_SCALE as f32 * level * lost.sqrt() };
    }

    /// Fills `samples`, of one channel, with what follows.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            self.gain += (self.gain_wanted - self.gain) * GAIN_STEP;
            *sample = self.next_sample().round() as i16;
        }
    }

    /// A lattice of all poles.
    fn next_sample(&mut self) -> f32 {
        let mut forward = self.white() * self.gain;
        for i in (0..self.noise.order).rev() {
            let coefficient = self.noise.coefficients[i];
            forward -= coefficient * self.backward[i];
            self.backward[i + 1] = self.backward[i] + coefficient * forward;
        }
        self.backward[0] = forward;
        forward
    }

    /// White noise of variance 1: the sum of two numbers that are random in -1 to 1.
    fn white(&mut self) -> f32 {
        // Knuth's generator modulo 2^32; its upper bits are used.
        let mut random = || {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.random >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (random() + random()) * 1.5_f32.sqrt()
    }
}
