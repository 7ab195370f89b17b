//! A timeline: sequence numbers, timestamps and payload types under one SSRC towards receivers.
//!
//! What a receiver sees never jumps. When the source changes (another stream, another SSRC, a restart), the
//! next packet gets the number after the highest sent and a timestamp later than the last by the time that
//! passed (RFC 3550 section 5.1 wants one timeline per SSRC). After a pause of the same source the numbers go on
//! without a gap, and the timestamps as the source has them.

mod snapshot;

use crate::Numbering;
use crate::stream::ticks;
use motet_rtp::rtp::{FixedHeader, rewrite_header};
use motet_rtp::seq::SeqNo;
use motet_rtp::{Time, WireTimestamp};

/// No payload type towards the receiver.
const UNMAPPED: u8 = 0xff;
/// In a generation: nothing of it was sent for a while. Streams do not restart two billion times.
const PAUSED: u32 = 1 << 31;
/// Two wraps up, so that numbers of late packets stay positive.
const WRAPS: u64 = 2 << 16;

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// To be sent with this header.
    Header([u8; 12]),
    /// The receiver does not know the payload type.
    NotRouted,
    /// Older than the point where the stream was taken up.
    BeforeSwitch,
}

/// Offsets from a source to what receivers see.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// Generation of the stream that the offsets are for, with [`PAUSED`] after a pause; 0: none yet.
    generation: u32,
    ssrc: u32,
    /// Extended number of the source plus this is the number sent.
    sequence_offset: u64,
    timestamp_offset: u32,
    /// First number of the source that belongs to this generation.
    floor: SeqNo,
    /// Highest number sent, and its timestamp.
    highest: SeqNo,
    last_timestamp: WireTimestamp,
    last_sent: Time,
    /// Something was sent.
    begun: bool,
    /// The offsets were given: the first source is not moved to the highest number.
    shifted: bool,
    /// What is taken up next begins with a key frame, unless none comes until then.
    awaits_until: Option<Time>,
    payload_map: [u8; 128],
}

impl Timeline {
    pub(crate) fn new(ssrc: u32, payload_map: &[(u8, u8)], numbering: Numbering) -> Timeline {
        let mut timeline = Timeline {
            generation: 0,
            ssrc,
            sequence_offset: 0,
            timestamp_offset: 0,
            floor: SeqNo(0),
            highest: SeqNo(0),
            last_timestamp: WireTimestamp(0),
            last_sent: Time::ZERO,
            begun: false,
            shifted: false,
            awaits_until: None,
            payload_map: payload_table(payload_map),
        };
        let (Numbering::Begin { sequence, timestamp } | Numbering::Shift { sequence, timestamp }) = numbering;
        if matches!(numbering, Numbering::Shift { .. }) {
            timeline.shifted = true;
            timeline.sequence_offset = WRAPS + u64::from(sequence);
            timeline.timestamp_offset = timestamp;
        }
        // One before the first.
        timeline.highest = SeqNo(WRAPS + u64::from(sequence) - 1);
        timeline.last_timestamp = WireTimestamp(timestamp);
        timeline
    }

    /// What comes next is of another source: it is taken up anew, without a gap.
    pub(crate) fn interrupt(&mut self) {
        self.generation = 0;
    }

    /// What comes next is of another source, and begins with a key frame, unless none comes until then.
    pub(crate) fn await_key_frame(&mut self, until: Time) {
        self.awaits_until = Some(until).filter(|_| self.generation == 0);
    }

    #[cold]
    fn is_awaiting(&mut self, now: Time, begins_key_frame: bool) -> bool {
        let awaits = !begins_key_frame && self.awaits_until.is_some_and(|until| now < until);
        if !awaits {
            self.awaits_until = None;
        }
        awaits
    }

    /// What comes next follows a pause: its numbers are taken up without a gap.
    pub(crate) fn pause(&mut self) {
        if self.generation != 0 {
            self.generation |= PAUSED;
        }
    }

    pub(crate) fn set_payload_map(&mut self, payload_map: &[(u8, u8)]) {
        self.payload_map = payload_table(payload_map);
    }

    /// Whether a route with this SSRC and these payload types would see the same.
    pub(crate) fn serves(&self, ssrc: u32, payload_map: &[(u8, u8)]) -> bool {
        self.ssrc == ssrc && self.payload_map == payload_table(payload_map)
    }

    /// The header under which a packet goes to the receiver.
    #[inline]
    pub(crate) fn rewrite(
        &mut self,
        now: Time,
        header: &FixedHeader,
        sequence: SeqNo,
        (generation, begins_key_frame): (u32, bool),
        clock_hz: u32,
    ) -> Rewritten {
        let payload_type = self.payload_map[usize::from(header.payload_type & 0x7f)];
        if payload_type == UNMAPPED {
            return Rewritten::NotRouted;
        }
        if generation != self.generation {
            if self.is_awaiting(now, begins_key_frame) {
                return Rewritten::BeforeSwitch;
            }
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

    #[cold]
    fn take_up(&mut self, now: Time, header: &FixedHeader, sequence: SeqNo, generation: u32, clock_hz: u32) {
        let resumes = self.generation == generation | PAUSED;
        self.generation = generation;
        self.floor = sequence;
        if self.shifted && !self.begun {
            self.highest = SeqNo(sequence.0.wrapping_add(self.sequence_offset) - 1);
            return;
        }
        self.sequence_offset = (self.highest.0 + 1).wrapping_sub(sequence.0);
        let as_before = self.translate(header.timestamp);
        if resumes && self.begun && as_before.distance(self.last_timestamp) > 0 {
            return;
        }
        let next = if self.begun {
            self.last_timestamp.plus(ticks(now.since(self.last_sent), clock_hz).max(1))
        } else {
            self.last_timestamp
        };
        self.timestamp_offset = next.0.wrapping_sub(header.timestamp.0);
    }

    /// Notes that packets of a batch were sent.
    #[inline]
    pub(crate) fn sent(&mut self, now: Time) {
        self.begun = true;
        self.last_sent = now;
    }

    /// True when it carries what a stream of this generation now sends, so that its clock can be told.
    pub(crate) fn is_in_step(&self, generation: u32) -> bool {
        self.begun && self.generation == generation
    }

    /// The publisher's time as the receiver knows it.
    pub(crate) fn translate(&self, timestamp: WireTimestamp) -> WireTimestamp {
        timestamp.plus(self.timestamp_offset)
    }
}

fn payload_table(map: &[(u8, u8)]) -> [u8; 128] {
    let mut table = [UNMAPPED; 128];
    for (from, to) in map {
        table[usize::from(*from)] = *to;
    }
    table
}
