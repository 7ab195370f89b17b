//! A route: one stream to one leg, on a [`Timeline`] of its own.

use crate::timeline::Timeline;
use crate::{LegId, PortId, RouteSpec, StreamId};
use std::time::Duration;

/// No stream: numbers are below `limits::STREAMS_MAX`.
pub(crate) const NO_STREAM: StreamId = StreamId(u32::MAX);

/// A route. What the packet path touches comes first.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) active: bool,
    pub(crate) ssrc: u32,
    pub(crate) timeline: Box<Timeline>,
    pub(crate) packets: u64,
    /// With headers.
    pub(crate) bytes: u64,
    /// Payload alone (RFC 3550 section 6.4.1).
    pub(crate) octets: u64,
    pub(crate) port: PortId,
    pub(crate) stream: StreamId,
    pub(crate) leg: LegId,
    pub(crate) transport: u8,
    /// Packets at the time of the last sender report.
    pub(crate) packets_reported: u64,
    pub(crate) heard: HeardLoss,
}

/// What the receiver reports of the route.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeardLoss {
    pub(crate) fraction_lost: Option<u8>,
    pub(crate) lost: i32,
    pub(crate) jitter_ticks: u32,
    pub(crate) round_trip: Option<Duration>,
}

impl Route {
    pub(crate) fn new(spec: &RouteSpec, port: PortId) -> Route {
        let (sequence, timestamp) = (spec.first_sequence, spec.first_timestamp);
        Route {
            active: spec.active,
            ssrc: spec.ssrc,
            timeline: Box::new(Timeline::new(spec.ssrc, &spec.payload_map, sequence, timestamp)),
            packets: 0,
            bytes: 0,
            octets: 0,
            port,
            stream: spec.stream,
            leg: spec.leg,
            transport: spec.transport,
            packets_reported: 0,
            heard: HeardLoss::default(),
        }
    }

    /// Carries another stream from now on.
    pub(crate) fn switch(&mut self, stream: StreamId, payload_map: &[(u8, u8)]) {
        if stream != self.stream {
            self.stream = stream;
            self.timeline.interrupt();
        }
        self.timeline.set_payload_map(payload_map);
    }

    /// The stream is gone; the route stays silent until it is switched.
    pub(crate) fn detach(&mut self) {
        self.stream = NO_STREAM;
        self.timeline.interrupt();
    }

    /// Stops or resumes. Resuming goes on without a gap in the numbers.
    pub(crate) fn set_active(&mut self, active: bool) {
        if active != self.active {
            self.active = active;
            self.timeline.interrupt();
        }
    }

    /// Counts what one batch sent.
    #[inline]
    pub(crate) fn account(&mut self, packets: u64, bytes: u64, octets: u64) {
        self.packets += packets;
        self.bytes += bytes;
        self.octets += octets;
    }
}
