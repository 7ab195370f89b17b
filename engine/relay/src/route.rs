//! A route: one stream to one leg, on the stream's shared [`Timeline`] or on one of its own.

mod snapshot;

use crate::shared::Sums;
use crate::sink::SinkId;
use crate::stream::Stream;
use crate::timeline::Timeline;
use crate::{LegId, RouteSpec, StreamId};
use motet_rtp::rtp::FIXED_HEADER_BYTES;
use std::time::Duration;

/// No stream: numbers are below `limits::STREAMS_MAX`.
pub(crate) const NO_STREAM: StreamId = StreamId(u32::MAX);

/// A route. What the packet path touches comes first.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) active: bool,
    pub(crate) ssrc: u32,
    /// None: it follows the timeline that the stream's routes share.
    pub(crate) timeline: Option<Box<Timeline>>,
    pub(crate) packets: u64,
    /// With headers.
    pub(crate) bytes: u64,
    /// Payload alone (RFC 3550 section 6.4.1).
    pub(crate) octets: u64,
    pub(crate) sink: SinkId,
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
    pub(crate) fn new(spec: &RouteSpec, sink: SinkId, timeline: Option<Box<Timeline>>) -> Route {
        Route {
            active: spec.active,
            ssrc: spec.ssrc,
            timeline,
            packets: 0,
            bytes: 0,
            octets: 0,
            sink,
            stream: spec.stream,
            leg: spec.leg,
            transport: spec.transport,
            packets_reported: 0,
            heard: HeardLoss::default(),
        }
    }

    /// Where it is between its source and the receiver; none: nowhere yet.
    pub(crate) fn timeline<'a>(&'a self, stream: &'a Stream) -> Option<&'a Timeline> {
        self.timeline.as_deref().or(stream.shared.as_ref().map(|shared| &shared.timeline))
    }

    /// What comes next is of another source.
    pub(crate) fn interrupt(&mut self) {
        if let Some(timeline) = &mut self.timeline {
            timeline.interrupt();
        }
    }

    /// What comes next follows a pause.
    pub(crate) fn pause(&mut self) {
        if let Some(timeline) = &mut self.timeline {
            timeline.pause();
        }
    }

    /// Counts what one batch sent.
    #[inline]
    pub(crate) fn account(&mut self, sums: &Sums) {
        self.packets += sums.packets;
        self.bytes += sums.bytes + sums.packets * FIXED_HEADER_BYTES as u64;
        self.octets += sums.octets;
    }
}
