//! When packets came that go to mixing threads. Turns gather them, so that the turn's time says little.

use super::monotonic;
use motet_net::{AnyIo, DatagramsIndex, Io};
use motet_rtp::Time;
use std::time::{Duration, SystemTime};

/// Nothing waits for longer: the wall clock was set meanwhile.
const AGE_MAX: Duration = Duration::from_millis(100);

/// Reads the kernel's stamps, and asks for them where there are none.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// Now, by the kernel's wall clock in nanoseconds since 1970 and by ours; none: it was not read in this turn.
    now: Option<(u64, Time)>,
    /// The kernel does not stamp.
    refused: bool,
}

impl Stamps {
    /// Begins a turn.
    pub(super) fn begin(&mut self) {
        self.now = None;
    }

    /// When a run of the current turn came. None: nobody knows.
    pub(super) fn came(&mut self, io: &mut AnyIo, run: DatagramsIndex) -> Option<Time> {
        if run.is_lent() {
            return None;
        }
        let Some(arrived_ns) = io.arrived_ns(run) else {
            self.refused = self.refused || io.stamp(run).is_err();
            return None;
        };
        let (unix_ns, now) = *self.now.get_or_insert_with(|| (unix_ns(), monotonic()));
        let age = Duration::from_nanos(unix_ns.checked_sub(arrived_ns)?);
        (age <= AGE_MAX).then(|| Time::from_nanos(now.as_nanos().saturating_sub(age.as_nanos() as u64)))
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
