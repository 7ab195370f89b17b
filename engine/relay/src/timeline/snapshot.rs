//! A timeline, written down and taken up again.

use super::{Timeline, UNMAPPED, payload_table};
use crate::snapshot::TimelineSnapshot;

impl Timeline {
    pub(crate) fn snapshot(&self) -> TimelineSnapshot {
        let Timeline {
            generation,
            // The route, or what shares it, tells it.
            ssrc: _,
            sequence_offset,
            timestamp_offset,
            floor,
            highest,
            last_timestamp,
            last_sent,
            begun,
            shifted,
            awaits_until: _,
            payload_map,
        } = self;
        let mapped = payload_map.iter().zip(0..).filter(|(to, _)| **to != UNMAPPED);
        TimelineSnapshot {
            payload_map: mapped.map(|(to, from)| (from, *to)).collect(),
            generation: *generation,
            sequence_offset: *sequence_offset,
            timestamp_offset: *timestamp_offset,
            floor: *floor,
            highest: *highest,
            last_timestamp: *last_timestamp,
            last_sent: *last_sent,
            begun: *begun,
            // Once something was sent, it is of no interest any more.
            shifted: (*shifted && !*begun).then_some(true),
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The timeline under this SSRC. None: its payload types cannot be sent.
    pub(crate) fn restore(from: &TimelineSnapshot, ssrc: u32) -> Option<Timeline> {
        crate::change::check_payload_map(&from.payload_map).ok()?;
        Some(Timeline {
            generation: from.generation,
            ssrc,
            sequence_offset: from.sequence_offset,
            timestamp_offset: from.timestamp_offset,
            floor: from.floor,
            highest: from.highest,
            last_timestamp: from.last_timestamp,
            last_sent: from.last_sent,
            begun: from.begun,
            shifted: from.shifted.unwrap_or(false),
            awaits_until: None,
            payload_map: payload_table(&from.payload_map),
        })
    }
}
