//! Time as the cores see it: nanoseconds handed in by the edge, never read from a clock.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment on the node's monotonic clock, in nanoseconds since an origin that the edge chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// Later than every other moment: "never".
    pub const MAX: Time = Time(u64::MAX);

    /// A moment from nanoseconds since the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Time(nanos)
    }

    /// A moment from milliseconds since the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time that passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, rhs: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A 64-bit NTP timestamp: seconds since 1900 in the upper half, fraction in the lower
/// (RFC 3550 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ntp(pub u64);

impl Ntp {
    /// Seconds from 1900 to 1970.
    const UNIX_OFFSET_S: u64 = 2_208_988_800;

    /// From time since 1970.
    pub fn from_unix(since_1970: Duration) -> Self {
        let seconds = since_1970.as_secs().wrapping_add(Self::UNIX_OFFSET_S);
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        Ntp((seconds << 32) | fraction)
    }

    /// Time since 1970; zero for what was before.
    pub fn to_unix(self) -> Duration {
        let seconds = (self.0 >> 32).saturating_sub(Self::UNIX_OFFSET_S);
        let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::new(seconds, nanos as u32)
    }

    /// The middle 32 bits, as used by LSR and DLSR (RFC 3550 section 6.4.1).
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Adds a duration.
    pub fn plus(self, duration: Duration) -> Self {
        Ntp(self.0.wrapping_add(Self::units(duration)))
    }

    /// Subtracts a duration.
    pub fn minus(self, duration: Duration) -> Self {
        Ntp(self.0.wrapping_sub(Self::units(duration)))
    }

    fn units(duration: Duration) -> u64 {
        (duration.as_secs() << 32) | ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_goes_to_and_fro() {
        for nanos in [0, 1_700_000_000_123_456_789, 2_000_000_000_999_999_999] {
            let since = Duration::from_nanos(nanos);
            let back = Ntp::from_unix(since).to_unix();
            assert!(since.abs_diff(back) < Duration::from_nanos(2), "{since:?} {back:?}");
        }
        assert_eq!(Ntp(0).to_unix(), Duration::ZERO, "before 1970");
    }
}
