//! One rewriting for many receivers.
//!
//! Receivers of a stream that know it under one SSRC and the same payload types see the same packets, bit
//! for bit. These are rewritten once, where they lie in the receive buffer, and a run of them that lies
//! there in one piece is sent as one piece: to the kernel it costs as much as passing on what came.

use crate::relay::Sorted;
use crate::stream::NONE;
use crate::timeline::{Rewritten, Timeline};
use crate::{Outbox, Payload};
use motet_rtp::Time;
use motet_rtp::rtp::FIXED_HEADER_BYTES;

/// The timeline that routes of a stream follow, until they go ways of their own.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) timeline: Timeline,
    /// Routes that follow it.
    pub(crate) followers: u32,
    /// What this batch has for each of them: its part of the relay's list of spans.
    first_span: u32,
    spans: u32,
    pub(crate) sums: Sums,
}

/// What a batch has of a stream for a route.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) packets: u64,
    /// Without the fixed headers.
    pub(crate) bytes: u64,
    /// Payload alone (RFC 3550 section 6.4.1).
    pub(crate) octets: u64,
    pub(crate) not_routed: u64,
    pub(crate) before_switch: u64,
}

impl Sums {
    /// Counts a packet; gives the header that it is to be sent with.
    #[inline]
    pub(crate) fn add(&mut self, packet: &Sorted, rewritten: Rewritten) -> Option<[u8; FIXED_HEADER_BYTES]> {
        match rewritten {
            Rewritten::Header(header) => {
                self.packets += 1;
                self.bytes += u64::from(packet.payload.len);
                self.octets += u64::from(packet.octets);
                return Some(header);
            }
            Rewritten::NotRouted => self.not_routed += 1,
            Rewritten::BeforeSwitch => self.before_switch += 1,
        }
        None
    }
}

/// Datagrams that lie one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) payload: Payload,
    /// Size of each but the last, which may be shorter.
    pub(crate) segment_bytes: u32,
    datagrams: u32,
}

impl Span {
    /// Takes up a datagram that follows at once and fits.
    fn extend(&mut self, datagram: Payload) -> bool {
        let end = self.payload.offset + self.payload.len;
        let follows = self.payload.inbound == datagram.inbound && end == datagram.offset;
        let all_whole = self.payload.len == self.datagrams * self.segment_bytes;
        let fits = follows && all_whole && datagram.len <= self.segment_bytes;
        if fits {
            self.payload.len += datagram.len;
            self.datagrams += 1;
        }
        fits
    }
}

impl Shared {
    pub(crate) fn new(timeline: Timeline) -> Shared {
        Shared { timeline, followers: 0, first_span: 0, spans: 0, sums: Sums::default() }
    }

    /// Rewrites the stream's packets of a batch, beginning with the one at `at`.
    pub(crate) fn rewrite(
        &mut self,
        now: Time,
        mut at: u32,
        packets: &[Sorted],
        spans: &mut Vec<Span>,
        out: &mut Outbox,
    ) {
        let first = spans.len();
        self.sums = Sums::default();
        while at != NONE {
            let packet = &packets[at as usize];
            at = packet.next;
            let (header, sequence) = (&packet.header, packet.sequence);
            let rewritten = self.timeline.rewrite(now, header, sequence, packet.source(), packet.clock_hz);
            let Some(header) = self.sums.add(packet, rewritten) else { continue };
            let whole = with_header(packet.payload);
            out.patch(whole, header);
            if !spans[first..].last_mut().is_some_and(|span| span.extend(whole)) {
                spans.push(Span { payload: whole, segment_bytes: whole.len, datagrams: 1 });
            }
        }
        (self.first_span, self.spans) = (first as u32, (spans.len() - first) as u32);
        if self.sums.packets > 0 {
            self.timeline.sent(now);
        }
    }

    /// Its part of the relay's list.
    pub(crate) fn batch<'a>(&self, spans: &'a [Span]) -> &'a [Span] {
        &spans[self.first_span as usize..][..self.spans as usize]
    }
}

/// The datagram that a payload is part of.
fn with_header(payload: Payload) -> Payload {
    let header = FIXED_HEADER_BYTES as u32;
    Payload { offset: payload.offset - header, len: payload.len + header, ..payload }
}
