//! How loud a source is, and whether it is a voice.
//!
//! Levels are in dBov as in RFC 6464 section 3: 0 is a square wave at full scale, a full-scale sine is -3, and
//! digital silence is -127.

/// The level of digital silence.
pub(crate) const SILENCE_DB: f32 = -127.0;

/// Where the estimate of background noise starts, and what it stays between.
const FLOOR_DB_START: f32 = -70.0;
const FLOOR_DB_MIN: f32 = -90.0;
/// Above this nothing is taken for background, so that a steady tone stays a sound that somebody makes.
const FLOOR_DB_MAX: f32 = -48.0;
/// How quickly the floor follows: down by a part of the way, up by a decibel a second.
const FLOOR_DOWN: f32 = 0.3;
const FLOOR_UP_DB: f32 = 0.02;
/// Energy that follows the sound: up in 40 ms, down 35 dB a second, so that the gaps between syllables do not
/// change who is the louder.
const LOUDNESS_UP: f32 = 0.5;
const LOUDNESS_DOWN: f32 = 0.15;
/// The same over the length of a sentence, for who is the active speaker.
const PROMINENCE_UP: f32 = 0.08;
const PROMINENCE_DOWN: f32 = 0.03;

/// The level of `samples`, which are in -1.0 to 1.0.
pub(crate) fn level_db(samples: &[f32]) -> f32 {
    let energy = super::kernel::energy(samples) / samples.len().max(1) as f32;
    db_from_energy(energy)
}

/// From a mean square to dBov.
pub(crate) fn db_from_energy(energy: f32) -> f32 {
    (10.0 * energy.max(1e-20).log10()).clamp(SILENCE_DB, 20.0)
}

/// The level that a header extension of RFC 6464 (or one element of RFC 6465) says: 7 bits of -dBov; the top bit
/// is the sender's own detection of voice, which differs too much between senders to be used.
pub(crate) fn level_of_element(element: &[u8]) -> Option<u8> {
    element.first().map(|byte| byte & 0x7f)
}

/// Follows one source's level.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    floor_db: f32,
    /// Energies, linear.
    loudness: f32,
    prominence: f32,
    voice: bool,
}

/// What makes a level a voice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VoiceRule {
    /// Never a voice below.
    pub level_db_min: f32,
    /// Above the background by so much.
    pub above_floor_db: f32,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Activity { floor_db: FLOOR_DB_START, loudness: 0.0, prominence: 0.0, voice: false }
    }

    /// Takes one tick's level; whether it is a voice.
    pub(crate) fn update(&mut self, level_db: f32, rule: &VoiceRule) -> bool {
        self.voice = level_db > rule.level_db_min.max(self.floor_db + rule.above_floor_db);
        let step = if level_db < self.floor_db {
            FLOOR_DOWN * (level_db - self.floor_db)
        } else {
            FLOOR_UP_DB.min(level_db - self.floor_db)
        };
        self.floor_db = (self.floor_db + step).clamp(FLOOR_DB_MIN, FLOOR_DB_MAX);
        let energy = if level_db <= SILENCE_DB { 0.0 } else { 10.0_f32.powf(level_db / 10.0) };
        follow(&mut self.loudness, energy, LOUDNESS_UP, LOUDNESS_DOWN);
        follow(&mut self.prominence, energy, PROMINENCE_UP, PROMINENCE_DOWN);
        self.voice
    }

    /// Whether the last tick was a voice.
    pub(crate) fn is_voice(&self) -> bool {
        self.voice
    }

    /// The level of the moment, in dBov.
    pub(crate) fn loudness_db(&self) -> f32 {
        db_from_energy(self.loudness)
    }

    /// The level of the last seconds, in dBov.
    pub(crate) fn prominence_db(&self) -> f32 {
        db_from_energy(self.prominence)
    }
}

fn follow(value: &mut f32, target: f32, up: f32, down: f32) {
    let part = if target > *value { up } else { down };
    *value += part * (target - *value);
}

#[cfg(test)]
mod tests {
    use super::{Activity, SILENCE_DB, VoiceRule, level_db, level_of_element};

    const RULE: VoiceRule = VoiceRule { level_db_min: -55.0, above_floor_db: 9.0 };

    #[test]
    fn levels_are_dbov() {
        let sine: Vec<f32> = (0..960).map(|n| (n as f32 * 0.1309).sin()).collect();
        assert!((level_db(&sine) + 3.01).abs() < 0.1, "{}", level_db(&sine));
        assert_eq!(level_db(&[0.0; 160]), SILENCE_DB);
        assert!((level_db(&[1.0, -1.0]) - 0.0).abs() < 0.01);
        assert_eq!(level_of_element(&[0x80 | 30]), Some(30));
        assert_eq!(level_of_element(&[]), None);
    }

    #[test]
    fn noise_becomes_background_and_a_voice_above_it_is_found() {
        let mut activity = Activity::new();
        // A fan at -50 dBov is taken for a voice at first, and for background after some seconds.
        assert!(activity.update(-50.0, &RULE));
        let ticks = (0..5_000).take_while(|_| activity.update(-50.0, &RULE)).count();
        assert!(ticks > 100 && ticks < 3_000, "{ticks} ticks");
        assert!(activity.update(-35.0, &RULE), "a voice 15 dB above the fan");
        assert!(!activity.update(-50.0, &RULE));
    }

    #[test]
    fn a_steady_tone_never_becomes_background() {
        let mut activity = Activity::new();
        assert!((0..50_000).all(|_| activity.update(-30.0, &RULE)));
    }

    #[test]
    fn loudness_is_up_within_three_ticks_and_outlasts_gaps_of_syllables() {
        let mut activity = Activity::new();
        for _ in 0..3 {
            activity.update(-20.0, &RULE);
        }
        assert!(activity.loudness_db() > -21.0);
        for _ in 0..5 {
            activity.update(-70.0, &RULE);
        }
        assert!(activity.loudness_db() > -25.0, "{}", activity.loudness_db());
        for _ in 0..100 {
            activity.update(-70.0, &RULE);
        }
        assert!(activity.loudness_db() < -60.0);
    }
}
