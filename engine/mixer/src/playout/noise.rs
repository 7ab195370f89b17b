//! Comfort noise, while the sender says so (RFC 3389).

use super::Pulled;

/// White noise of the level that the sender gave; its spectrum is not followed.
pub(super) struct Noise {
    /// Amplitude, of full scale; none without noise.
    amplitude: Option<f32>,
    state: u32,
}

impl Noise {
    pub(super) fn new() -> Noise {
        Noise { amplitude: None, state: 1 }
    }

    /// Takes a payload in: its first byte is the level, in dB below full scale (RFC 3389 section 3).
    pub(super) fn begin(&mut self, payload: &[u8]) {
        let level = payload.first().map_or(127, |byte| byte & 0x7f);
        self.amplitude = Some(10_f32.powf(-f32::from(level) / 20.0));
    }

    /// Sound comes.
    pub(super) fn end(&mut self) {
        self.amplitude = None;
    }

    /// Fills a tick with noise, if there is to be any.
    pub(super) fn fill(&mut self, out: &mut [f32]) -> Pulled {
        let Some(amplitude) = self.amplitude else { return Pulled::Silence };
        // Evenly distributed numbers from -1 to 1 have a root mean square of 1/√3.
        let scale = amplitude * 3_f32.sqrt() / 2_147_483_648.0;
        for sample in out {
            // Marsaglia's xorshift.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            *sample = self.state.cast_signed() as f32 * scale;
        }
        Pulled::Concealed
    }
}
