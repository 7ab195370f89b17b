//! From the timestamps of a track to moments of the recording's own clock.
//!
//! A track begins where its first packet came. Sender reports (RFC 3550 section 6.4.1) then say how tracks of one
//! sender lie to each other, and move them: the first one that reports stays, others come to it. Where a sender's
//! clock runs faster or slower than ours, all its tracks follow together, slowly.

use motet_rtp::rtcp::SenderInfo;
use motet_rtp::{Ntp, Time, WireTimestamp};
use std::time::Duration;

/// A packet that lies further than this from when it came begins a new timeline.
const AWAY_NS_MAX: i64 = 2 * SECOND_NS;
/// A report that would move a track by more than this is not believed.
const MOVE_NS_MAX: i64 = SECOND_NS;
/// How often a sender's clock is held against ours.
const WINDOW_NS: i64 = 10 * SECOND_NS;
/// How far the fastest packet of a window may be from its place.
const DRIFT_NS_MAX: i64 = 30_000_000;
/// How far tracks follow in one window.
const STEP_NS_MAX: i64 = 10_000_000;
/// So many ticks away an anchor is set anew, long before timestamps wrap.
const ANCHOR_TICKS_MAX: u32 = 1 << 27;

pub(crate) const SECOND_NS: i64 = 1_000_000_000;

/// A moment on the recording's clock, in nanoseconds. Media may lie before the clock's origin.
pub(crate) fn nanos(time: Time) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// A duration in nanoseconds.
pub(crate) fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The clocks of every track.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    tracks: Vec<TrackClock>,
    senders: Vec<Sender>,
    window_end_ns: Option<i64>,
}

#[derive(Clone, Debug)]
struct TrackClock {
    hz: u32,
    /// Index of its sender.
    sender: usize,
    anchor: Option<Anchor>,
    /// A report has put it in step with its sender.
    synced: bool,
    /// What is added to the reports' time, since they jumped.
    bias_ns: i128,
    /// Of the packet that came soonest after its time, in this window.
    late_ns_min: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    timestamp: WireTimestamp,
    at_ns: i64,
}

#[derive(Clone, Debug)]
struct Sender {
    id: u32,
    /// Our clock less the sender's.
    offset_ns: Option<i128>,
}

/// What a packet's timestamp said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Steady,
    /// It does not lie where it came: a new timeline begins.
    Jumped,
}

impl Clocks {
    pub(crate) fn new() -> Clocks {
        Clocks { tracks: Vec::new(), senders: Vec::new(), window_end_ns: None }
    }

    /// Adds a track; tracks of one `sender` have one clock in their reports.
    pub(crate) fn add(&mut self, hz: u32, sender: u32) {
        let index = self.senders.iter().position(|known| known.id == sender).unwrap_or_else(|| {
            self.senders.push(Sender { id: sender, offset_ns: None });
            self.senders.len() - 1
        });
        self.tracks.push(TrackClock {
            hz,
            sender: index,
            anchor: None,
            synced: false,
            bias_ns: 0,
            late_ns_min: None,
        });
    }

    /// Notes a packet that came now.
    pub(crate) fn observe(&mut self, now: Time, track: usize, timestamp: WireTimestamp) -> Seen {
        let now_ns = nanos(now);
        self.follow(now_ns);
        let clock = &mut self.tracks[track];
        let Some(at_ns) = clock.at_ns(timestamp) else {
            clock.begin(now_ns, timestamp);
            return Seen::Steady;
        };
        let late_ns = now_ns - at_ns;
        if late_ns.abs() > AWAY_NS_MAX {
            clock.begin(now_ns, timestamp);
            return Seen::Jumped;
        }
        clock.late_ns_min = Some(clock.late_ns_min.map_or(late_ns, |least| least.min(late_ns)));
        if let Some(anchor) = &mut clock.anchor
            && timestamp.distance(anchor.timestamp).unsigned_abs() > ANCHOR_TICKS_MAX
        {
            *anchor = Anchor { timestamp, at_ns };
        }
        Seen::Steady
    }

    /// When something with this timestamp was taken. What lies far from now is of now.
    pub(crate) fn at_ns(&self, now: Time, track: usize, timestamp: WireTimestamp) -> i64 {
        let now_ns = nanos(now);
        let at_ns = self.tracks[track].at_ns(timestamp).unwrap_or(now_ns);
        if (now_ns - at_ns).abs() > 2 * AWAY_NS_MAX { now_ns } else { at_ns }
    }

    /// Another source: its timestamps have nothing to do with those before.
    pub(crate) fn restart(&mut self, track: usize) {
        let clock = &mut self.tracks[track];
        (clock.anchor, clock.synced, clock.bias_ns, clock.late_ns_min) = (None, false, 0, None);
    }

    /// Takes a report in; false: it was not believed.
    pub(crate) fn report(&mut self, now: Time, track: usize, info: &SenderInfo) -> bool {
        let clock = &mut self.tracks[track];
        let Some(at_ns) = clock.at_ns(info.rtp_timestamp) else { return false };
        // A report names a moment close to its own.
        if (nanos(now) - at_ns).abs() > 5 * AWAY_NS_MAX {
            return false;
        }
        let sender_ns = ntp_ns(info.ntp) + clock.bias_ns;
        let sender = &mut self.senders[clock.sender];
        let Some(offset_ns) = sender.offset_ns else {
            sender.offset_ns = Some(i128::from(at_ns) - sender_ns);
            clock.synced = true;
            return true;
        };
        let move_ns = sender_ns + offset_ns - i128::from(at_ns);
        clock.synced = true;
        if move_ns.unsigned_abs() > MOVE_NS_MAX.unsigned_abs().into() {
            clock.bias_ns -= move_ns;
            return false;
        }
        clock.anchor = Some(Anchor { timestamp: info.rtp_timestamp, at_ns: at_ns + move_ns as i64 });
        true
    }

    /// At the end of a window, moves what has drifted.
    fn follow(&mut self, now_ns: i64) {
        let end_ns = *self.window_end_ns.get_or_insert(now_ns + WINDOW_NS);
        if now_ns < end_ns {
            return;
        }
        self.window_end_ns = Some(now_ns + WINDOW_NS);
        for (index, sender) in self.senders.iter_mut().enumerate() {
            let synced = self.tracks.iter().filter(|track| track.synced && track.sender == index);
            let step_ns = step_ns(synced.filter_map(|track| track.late_ns_min).min());
            sender.offset_ns = sender.offset_ns.map(|offset_ns| offset_ns + i128::from(step_ns));
            for track in self.tracks.iter_mut().filter(|track| track.sender == index) {
                let step_ns = if track.synced { step_ns } else { self::step_ns(track.late_ns_min) };
                if let Some(anchor) = &mut track.anchor {
                    anchor.at_ns += step_ns;
                }
                track.late_ns_min = None;
            }
        }
    }
}

impl TrackClock {
    fn begin(&mut self, now_ns: i64, timestamp: WireTimestamp) {
        self.anchor = Some(Anchor { timestamp, at_ns: now_ns });
        (self.synced, self.bias_ns, self.late_ns_min) = (false, 0, None);
    }

    fn at_ns(&self, timestamp: WireTimestamp) -> Option<i64> {
        let anchor = self.anchor?;
        let ticks = i64::from(timestamp.distance(anchor.timestamp));
        Some(anchor.at_ns + ticks * SECOND_NS / i64::from(self.hz))
    }
}

/// How far tracks go whose fastest packet came so late.
fn step_ns(late_ns: Option<i64>) -> i64 {
    let late_ns = late_ns.unwrap_or(0);
    let beyond_ns = late_ns - late_ns.clamp(-DRIFT_NS_MAX, DRIFT_NS_MAX);
    beyond_ns.clamp(-STEP_NS_MAX, STEP_NS_MAX)
}

fn ntp_ns(ntp: Ntp) -> i128 {
    ((u128::from(ntp.0) * SECOND_NS as u128) >> 32) as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn report(ntp_ms: u64, timestamp: u32) -> SenderInfo {
        let ntp = Ntp::from_unix(Duration::from_millis(1_700_000_000_000 + ntp_ms));
        SenderInfo { ntp, rtp_timestamp: WireTimestamp(timestamp), ..SenderInfo::default() }
    }

    /// Sound of 48 kHz and pictures of one sender; the first picture came 80 ms after the sound of its moment.
    fn two() -> Clocks {
        let mut clocks = Clocks::new();
        clocks.add(48_000, 7);
        clocks.add(90_000, 7);
        clocks.observe(Time::from_millis(1000), 0, WireTimestamp(u32::MAX - 10));
        clocks.observe(Time::from_millis(1080), 1, WireTimestamp(5));
        clocks
    }

    fn at_ms(clocks: &Clocks, now_ms: u64, track: usize, timestamp: u32) -> i64 {
        (clocks.at_ns(Time::from_millis(now_ms), track, WireTimestamp(timestamp)) + MS / 2) / MS
    }

    #[test]
    fn before_reports_tracks_lie_where_they_came() {
        let clocks = two();
        assert_eq!(at_ms(&clocks, 1000, 0, (u32::MAX - 10).wrapping_add(960)), 1020);
        assert_eq!(at_ms(&clocks, 1080, 1, 5 + 3000), 1113);
    }

    #[test]
    fn reports_put_tracks_of_one_sender_in_step() {
        let mut clocks = two();
        assert!(clocks.report(Time::from_millis(1100), 0, &report(500, u32::MAX - 10)));
        assert!(clocks.report(Time::from_millis(1100), 1, &report(500, 5)));
        assert_eq!(at_ms(&clocks, 1100, 0, u32::MAX - 10), 1000, "the first stays");
        assert_eq!(at_ms(&clocks, 1100, 1, 5), 1000, "the other one comes to it");
    }

    #[test]
    fn a_senders_clock_that_is_set_moves_nothing() {
        let mut clocks = two();
        assert!(clocks.report(Time::from_millis(1100), 0, &report(500, u32::MAX - 10)));
        assert!(clocks.report(Time::from_millis(1100), 1, &report(500, 5)));
        let hour = 3_600_000;
        for (track, timestamp) in [(0, u32::MAX - 10), (1, 5)] {
            assert!(!clocks.report(Time::from_millis(1200), track, &report(500 + hour, timestamp)));
            assert_eq!(at_ms(&clocks, 1200, track, timestamp), 1000);
        }
        // From there on, reports are believed again.
        assert!(clocks.report(Time::from_millis(1300), 1, &report(510 + hour, 5)));
        assert_eq!(at_ms(&clocks, 1300, 1, 5), 1010);
    }

    #[test]
    fn a_jump_of_timestamps_begins_a_new_timeline() {
        let mut clocks = two();
        let timestamp = WireTimestamp(900_000_000);
        assert_eq!(clocks.observe(Time::from_millis(1500), 1, timestamp), Seen::Jumped);
        assert_eq!(at_ms(&clocks, 1500, 1, 900_000_000), 1500);
        assert_eq!(clocks.observe(Time::from_millis(1540), 1, timestamp.plus(3600)), Seen::Steady);
    }

    #[test]
    fn clocks_that_drift_are_followed_together() {
        let mut clocks = two();
        assert!(clocks.report(Time::from_millis(1100), 0, &report(500, u32::MAX - 10)));
        assert!(clocks.report(Time::from_millis(1100), 1, &report(500, 5)));
        // A sender whose clock is slow by a thousandth: after 200 s it is late by 200 ms.
        for second in 1..=200_u32 {
            let now = Time::from_millis(1000 + u64::from(second) * 1001);
            clocks.observe(now, 0, WireTimestamp((u32::MAX - 10).wrapping_add(second * 48_000)));
            clocks.observe(now, 1, WireTimestamp(5 + second * 90_000));
        }
        let sound = at_ms(&clocks, 201_200, 0, (u32::MAX - 10).wrapping_add(200 * 48_000));
        let pictures = at_ms(&clocks, 201_200, 1, 5 + 200 * 90_000);
        assert!((201_160..=201_200).contains(&sound), "{sound}");
        assert!((sound - pictures).abs() <= 1, "{sound} {pictures}");
    }
}
