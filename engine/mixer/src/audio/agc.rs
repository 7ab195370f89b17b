//! Automatic gain: brings each voice to the same level, slowly, and only while it speaks.

/// The level that a voice is brought to, in dBov; RFC 6464 levels, so speech at a comfortable loudness.
const TARGET_DB: f32 = -23.0;
const GAIN_DB_MIN: f32 = -12.0;
const GAIN_DB_MAX: f32 = 18.0;
/// Decibels in a tick: 5 dB a second up, 15 down.
const UP_DB: f32 = 0.1;
const DOWN_DB: f32 = 0.3;
/// How quickly the voice's level is learnt: over a second of speech.
const LEARN: f32 = 0.02;
/// Differences below this are left alone.
const TOLERANCE_DB: f32 = 1.0;

/// One source's gain.
#[derive(Clone, Debug)]
pub(crate) struct Agc {
    speech_db: f32,
    gain_db: f32,
}

impl Agc {
    pub(crate) fn new() -> Self {
        Agc { speech_db: TARGET_DB, gain_db: 0.0 }
    }

    /// Takes the level of a tick that is a voice; the gain from now on, as a factor.
    pub(crate) fn update(&mut self, level_db: f32) -> f32 {
        self.speech_db += LEARN * (level_db - self.speech_db);
        let wanted = (TARGET_DB - self.speech_db).clamp(GAIN_DB_MIN, GAIN_DB_MAX);
        if (wanted - self.gain_db).abs() > TOLERANCE_DB {
            self.gain_db += (wanted - self.gain_db).clamp(-DOWN_DB, UP_DB);
        }
        self.factor()
    }

    /// The gain as a factor.
    pub(crate) fn factor(&self) -> f32 {
        10.0_f32.powf(self.gain_db / 20.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Agc;

    #[test]
    fn quiet_and_loud_voices_meet() {
        for level_db in [-35.0, -30.0, -23.0, -15.0] {
            let mut agc = Agc::new();
            let factor = (0..1_000).map(|_| agc.update(level_db)).last().unwrap_or(0.0);
            let out_db = level_db + 20.0 * factor.log10();
            assert!((out_db + 23.0).abs() < 1.6, "{level_db} becomes {out_db}");
        }
    }

    #[test]
    fn a_whisper_is_not_blown_up_without_end() {
        let mut agc = Agc::new();
        let factor = (0..5_000).map(|_| agc.update(-70.0)).last().unwrap_or(0.0);
        assert!(20.0 * factor.log10() <= 18.0);
    }
}
