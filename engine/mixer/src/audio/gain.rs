//! Gains as callers state them: whole tenths of a decibel, so that equal settings are equal keys.

use super::MixError;

/// A gain in tenths of a decibel, or silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gain(i16);

impl Gain {
    /// Nothing is heard.
    pub const SILENT: Gain = Gain(i16::MIN);
    /// As it is: 0 dB.
    pub const UNITY: Gain = Gain(0);
    /// The least gain that is not silence, in decibels.
    pub const DB_MIN: f32 = -60.0;
    /// The greatest gain, in decibels.
    pub const DB_MAX: f32 = 20.0;

    /// A gain from decibels, rounded to a tenth.
    ///
    /// # Errors
    /// Outside [`Gain::DB_MIN`] to [`Gain::DB_MAX`], or not a number.
    pub fn from_db(db: f32) -> Result<Gain, MixError> {
        if !(Self::DB_MIN..=Self::DB_MAX).contains(&db) {
            return Err(MixError::GainOutOfRange { db });
        }
        Ok(Gain((db * 10.0).round() as i16))
    }

    /// Decibels; minus infinity for silence.
    pub fn db(self) -> f32 {
        if self == Gain::SILENT { f32::NEG_INFINITY } else { f32::from(self.0) / 10.0 }
    }

    /// The factor for samples: 1.0 for unity, 0.0 for silence.
    pub fn linear(self) -> f32 {
        match self {
            Gain::SILENT => 0.0,
            Gain::UNITY => 1.0,
            Gain(tenths) => 10.0_f32.powf(f32::from(tenths) / 200.0),
        }
    }
}

impl Default for Gain {
    fn default() -> Self {
        Gain::UNITY
    }
}

#[cfg(test)]
mod tests {
    use super::Gain;

    #[test]
    fn decibels_and_factors_agree() {
        for (db, factor) in [(0.0, 1.0), (20.0, 10.0), (-20.0, 0.1), (6.0, 1.995), (-60.0, 0.001)] {
            let gain = Gain::from_db(db).expect("in range");
            assert!((gain.linear() - factor).abs() < 0.001 * factor, "{db} dB is {}", gain.linear());
            assert_eq!(gain.db(), db);
        }
        assert_eq!(Gain::SILENT.linear(), 0.0);
    }

    #[test]
    fn gains_out_of_range_are_refused() {
        for db in [20.1, -60.1, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Gain::from_db(db).is_err(), "{db} dB");
        }
    }
}
