//! A route, written down and taken up again.

use super::{HeardLoss, NO_STREAM, Route};
use crate::RouteId;
use crate::sink::SinkId;
use crate::snapshot::RouteSnapshot;
use crate::timeline::Timeline;

impl Route {
    pub(crate) fn snapshot(&self, id: RouteId) -> RouteSnapshot {
        let Route {
            active,
            ssrc,
            timeline,
            packets,
            bytes,
            octets,
            // The transport tells it.
            sink: _,
            stream,
            leg,
            transport,
            packets_reported,
            heard,
        } = self;
        let HeardLoss { fraction_lost, lost, jitter_ticks, round_trip } = *heard;
        RouteSnapshot {
            id,
            stream: Some(*stream).filter(|stream| *stream != NO_STREAM),
            leg: *leg,
            transport: *transport,
            active: *active,
            ssrc: *ssrc,
            timeline: timeline.as_ref().map(|timeline| timeline.snapshot()),
            packets: *packets,
            bytes: *bytes,
            octets: *octets,
            packets_reported: *packets_reported,
            heard_fraction_lost: fraction_lost,
            heard_lost: lost,
            heard_jitter_ticks: jitter_ticks,
            heard_round_trip: round_trip,
        }
    }

    /// The route; its sink is to be set. None: its payload types cannot be sent.
    pub(crate) fn restore(from: &RouteSnapshot) -> Option<Route> {
        let timeline = match &from.timeline {
            Some(timeline) => Some(Box::new(Timeline::restore(timeline, from.ssrc)?)),
            None => None,
        };
        Some(Route {
            active: from.active,
            ssrc: from.ssrc,
            timeline,
            packets: from.packets,
            bytes: from.bytes,
            octets: from.octets,
            sink: SinkId::UNSET,
            stream: from.stream.unwrap_or(NO_STREAM),
            leg: from.leg,
            transport: from.transport,
            packets_reported: from.packets_reported,
            heard: HeardLoss {
                fraction_lost: from.heard_fraction_lost,
                lost: from.heard_lost,
                jitter_ticks: from.heard_jitter_ticks,
                round_trip: from.heard_round_trip,
            },
        })
    }
}
