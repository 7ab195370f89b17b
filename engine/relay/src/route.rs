//! A route: one stream to one leg, under an SSRC, sequence numbers and timestamps of its own.
//!
//! What the receiver sees never jumps. When the source changes (another stream, another SSRC, a restart),
//! the next packet gets the number after the highest sent and a timestamp later than the last by the time
//! that passed (RFC 3550 section 5.1 wants one timeline per SSRC).

use crate::stream::{Stream, ticks};
use crate::{LegId, PortId, RouteSpec, StreamId};
use motet_rtp::rtp::{FixedHeader, rewrite_header};
use motet_rtp::seq::SeqNo;
use motet_rtp::{Time, WireTimestamp};
use std::time::Duration;

/// No payload type towards the receiver.
const UNMAPPED: u8 = 0xff;

/// No stream: numbers are below `limits::STREAMS_MAX`.
pub(crate) const NO_STREAM: StreamId = StreamId(u32::MAX);

/// A route. What the packet path touches comes first.
#[derive(Debug)]
pub(crate) struct Route {
    /// Generation of the stream that the offsets are for; 0: none yet.
    generation: u32,
    pub(crate) active: bool,
    pub(crate) ssrc: u32,
    /// Extended number of the source plus this is the number sent.
    sequence_offset: u64,
    timestamp_offset: u32,
    /// First number of the source that belongs to this generation.
    floor: SeqNo,
    /// Highest number sent, and its timestamp.
    highest: SeqNo,
    last_timestamp: WireTimestamp,
    pub(crate) packets: u64,
    /// With headers.
    pub(crate) bytes: u64,
    /// Payload alone (RFC 3550 section 6.4.1).
    pub(crate) octets: u64,
    last_sent: Time,
    payload_map: Box<[u8; 128]>,
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

/// What became of one packet on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// To be sent with this header.
    Header([u8; 12]),
    /// The receiver does not know the payload type.
    NotRouted,
    /// Older than the point where the route took up the stream.
    BeforeSwitch,
}

impl Route {
    pub(crate) fn new(spec: &RouteSpec, port: PortId) -> Route {
        Route {
            generation: 0,
            active: spec.active,
            ssrc: spec.ssrc,
            sequence_offset: 0,
            timestamp_offset: 0,
            floor: SeqNo(0),
            // One before the first, two wraps up, so that numbers of late packets stay positive.
            highest: SeqNo((2 << 16) + u64::from(spec.first_sequence) - 1),
            last_timestamp: WireTimestamp(spec.first_timestamp),
            packets: 0,
            bytes: 0,
            octets: 0,
            last_sent: Time::ZERO,
            payload_map: payload_table(&spec.payload_map),
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
            self.generation = 0;
        }
        self.payload_map = payload_table(payload_map);
    }

    /// The stream is gone; the route stays silent until it is switched.
    pub(crate) fn detach(&mut self) {
        self.stream = NO_STREAM;
        self.generation = 0;
    }

    /// Stops or resumes. Resuming goes on without a gap in the numbers.
    pub(crate) fn set_active(&mut self, active: bool) {
        if active != self.active {
            self.active = active;
            self.generation = 0;
        }
    }

    /// The header under which a packet goes to the receiver.
    #[inline]
    pub(crate) fn rewrite(
        &mut self,
        now: Time,
        header: &FixedHeader,
        sequence: SeqNo,
        generation: u32,
        clock_hz: u32,
    ) -> Rewritten {
        let payload_type = self.payload_map[usize::from(header.payload_type & 0x7f)];
        if payload_type == UNMAPPED {
            return Rewritten::NotRouted;
        }
        if generation != self.generation {
            self.take_up(now, header, sequence, generation, clock_hz);
        }
        if sequence < self.floor {
            return Rewritten::BeforeSwitch;
        }
        let sent = SeqNo(sequence.0.wrapping_add(self.sequence_offset));
        let timestamp = header.timestamp.plus(self.timestamp_offset);
        if sent > self.highest {
            self.highest = sent;
            self.last_timestamp = timestamp;
        }
        let (first, marker) = (header.first_byte, header.marker);
        Rewritten::Header(rewrite_header(first, marker, payload_type, sent.wire(), timestamp, self.ssrc))
    }

    fn take_up(&mut self, now: Time, header: &FixedHeader, sequence: SeqNo, generation: u32, clock_hz: u32) {
        self.generation = generation;
        self.floor = sequence;
        self.sequence_offset = (self.highest.0 + 1).wrapping_sub(sequence.0);
        let next = match self.packets {
            0 => self.last_timestamp,
            _ => self.last_timestamp.plus(ticks(now.since(self.last_sent), clock_hz).max(1)),
        };
        self.timestamp_offset = next.0.wrapping_sub(header.timestamp.0);
    }

    /// Counts what one batch sent.
    #[inline]
    pub(crate) fn account(&mut self, now: Time, packets: u64, bytes: u64, octets: u64) {
        self.packets += packets;
        self.bytes += bytes;
        self.octets += octets;
        self.last_sent = now;
    }

    /// True when the route carries what the stream now sends, so that its clock can be told.
    pub(crate) fn in_step_with(&self, stream: &Stream) -> bool {
        self.generation == stream.generation && self.packets > 0
    }

    /// The publisher's time as the receiver knows it.
    pub(crate) fn translate(&self, timestamp: WireTimestamp) -> WireTimestamp {
        timestamp.plus(self.timestamp_offset)
    }
}

fn payload_table(map: &[(u8, u8)]) -> Box<[u8; 128]> {
    let mut table = Box::new([UNMAPPED; 128]);
    for (from, to) in map {
        table[usize::from(*from)] = *to;
    }
    table
}
