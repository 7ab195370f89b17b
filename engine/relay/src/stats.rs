//! What can be read of the relay.

use std::net::SocketAddr;
use std::time::Duration;

/// What is held and what went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Legs held.
    pub legs: usize,
    /// Streams held.
    pub streams: usize,
    /// Routes held.
    pub routes: usize,
    /// Datagrams given to the relay.
    pub packets_in: u64,
    /// RTP packets made for receivers.
    pub packets_out: u64,
    /// RTCP datagrams made.
    pub rtcp_out: u64,
}

/// A stream as it arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamStats {
    /// The publisher's SSRC, once known.
    pub ssrc: Option<u32>,
    /// Packets taken.
    pub packets: u64,
    /// Bytes taken, headers included.
    pub bytes: u64,
    /// Packets lost on the way here; negative with duplicates.
    pub lost: i64,
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// Since the last packet; none: nothing came yet.
    pub silent: Option<Duration>,
    /// Where packets come from.
    pub source: Option<SocketAddr>,
}

/// A route as it leaves, and as the receiver reports it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouteStats {
    /// Packets made for the receiver.
    pub packets: u64,
    /// Bytes made for the receiver, headers included.
    pub bytes: u64,
    /// Loss in the receiver's last report, 0 to 1; none: it has not reported.
    pub fraction_lost: Option<f32>,
    /// Loss since the beginning, as reported.
    pub lost: i64,
    /// Jitter, as reported.
    pub jitter: Duration,
    /// Round trip, from the receiver's reports.
    pub round_trip: Option<Duration>,
}
