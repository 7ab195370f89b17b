//! A stream, written down and taken up again.

use super::{Aside, HeardReport, NONE, Stream};
use crate::feedback::{Ask, KeyFrames};
use crate::shared::Shared;
use crate::snapshot::{ReportSnapshot, SharedSnapshot, StreamSnapshot};
use crate::timeline::Timeline;
use crate::{StreamId, StreamSpec};
use motet_rtp::reception::Reception;
use motet_rtp::seq::SeqExtender;

impl Stream {
    pub(crate) fn snapshot(&self, id: StreamId) -> StreamSnapshot {
        let Stream {
            spec,
            routes,
            ssrc,
            generation,
            reception,
            extender,
            packets,
            bytes,
            last_timestamp,
            last_at,
            silent,
            ended,
            ended_at,
            report,
            key_frames,
            lost_before,
            successor,
            aside,
            shared,
            // A moment's.
            watch: _,
            batch_first: _,
            batch_last: _,
        } = self;
        let StreamSpec { leg, transport, kind, ssrc: ssrc_fixed, payload_types } = spec.clone();
        let KeyFrames { last, waiting, timer } = *key_frames;
        let Aside { next, timestamp, steps } = *aside;
        let report = report.map(|HeardReport { ntp, timestamp, at, clock_offset }| ReportSnapshot {
            ntp,
            timestamp,
            at,
            clock_offset,
        });
        StreamSnapshot {
            id,
            leg,
            transport,
            kind,
            ssrc_fixed,
            payload_types,
            routes: routes.clone(),
            ssrc: *ssrc,
            generation: *generation,
            reception: reception.snapshot(),
            highest: extender.highest(),
            packets: *packets,
            bytes: *bytes,
            last_timestamp: *last_timestamp,
            last_at: *last_at,
            silent: *silent,
            ended: *ended,
            ended_at: *ended_at,
            report,
            key_frame_asked: last,
            key_frame_waiting: waiting.map(|ask| ask == Ask::Fir),
            key_frame_at: timer,
            lost_before: *lost_before,
            successor: *successor,
            aside_next: next,
            aside_timestamp: timestamp,
            aside_steps: steps,
            // One that nobody follows means nothing.
            shared: shared.as_ref().filter(|shared| shared.followers > 0).map(|shared| SharedSnapshot {
                ssrc: shared.timeline.ssrc(),
                timeline: shared.timeline.snapshot(),
            }),
        }
    }

    /// None: its statistics make no sense. `followers` is the number of routes without a timeline.
    pub(crate) fn restore(from: &StreamSnapshot, followers: u32) -> Option<Stream> {
        let spec = StreamSpec {
            leg: from.leg,
            transport: from.transport,
            kind: from.kind,
            ssrc: from.ssrc_fixed,
            payload_types: from.payload_types.clone(),
        };
        let report = from.report.as_ref().map(|report| HeardReport {
            ntp: report.ntp,
            timestamp: report.timestamp,
            at: report.at,
            clock_offset: report.clock_offset,
        });
        let waiting = from.key_frame_waiting.map(|full| if full { Ask::Fir } else { Ask::Pli });
        let (next, timestamp) = (from.aside_next, from.aside_timestamp);
        let shared = match &from.shared {
            Some(shared) => {
                let timeline = Timeline::restore(&shared.timeline, shared.ssrc)?;
                let mut shared = Shared::new(timeline);
                shared.followers = followers;
                Some(Box::new(shared))
            }
            None => None,
        };
        Some(Stream {
            spec,
            routes: from.routes.clone(),
            ssrc: from.ssrc,
            generation: from.generation,
            reception: Reception::restore(&from.reception)?,
            extender: SeqExtender::from_highest(from.highest),
            packets: from.packets,
            bytes: from.bytes,
            last_timestamp: from.last_timestamp,
            last_at: from.last_at,
            silent: from.silent,
            ended: from.ended,
            ended_at: from.ended_at,
            report,
            key_frames: KeyFrames { last: from.key_frame_asked, waiting, timer: from.key_frame_at },
            lost_before: from.lost_before,
            successor: from.successor,
            aside: Aside { next, timestamp, steps: from.aside_steps },
            shared,
            watch: None,
            batch_first: NONE,
            batch_last: NONE,
        })
    }
}
