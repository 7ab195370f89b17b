//! The time of packets, and the time of day.

use motet_rtp::{Ntp, Time};
use std::time::{Duration, Instant, SystemTime};

/// The node's clock, read once per turn: the kernel's monotonic one, which all processes of a machine share,
/// so that moments mean the same to a process that takes over.
///
/// All workers of a node have one: what a relay tells another, or takes over from it, is in its terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When the monotonic clock began.
    pub(super) origin: Instant,
    /// Wall clock at the origin.
    pub(crate) ntp_origin: Ntp,
}

impl Clock {
    /// For a node that starts afresh, or one that goes on with the wall clock of another process.
    pub(crate) fn new(inherited: Option<Ntp>) -> Clock {
        let since_origin = Duration::from_nanos(monotonic().as_nanos());
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ntp_origin = inherited.unwrap_or_else(|| Ntp::from_unix(unix.saturating_sub(since_origin)));
        Clock { origin: Instant::now() - since_origin, ntp_origin }
    }

    pub(crate) fn now(&self) -> Time {
        monotonic()
    }

    /// A moment as the standard library has it.
    pub(super) fn instant(&self, at: Time) -> Instant {
        self.origin + at.since(Time::ZERO)
    }

    /// Time of day at a moment.
    pub(crate) fn wall(&self, now: Time) -> Ntp {
        self.ntp_origin.plus(now.since(Time::ZERO))
    }
}

/// Time on the machine's monotonic clock.
pub(crate) fn monotonic() -> Time {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Time::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
