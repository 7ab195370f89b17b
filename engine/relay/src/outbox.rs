//! What the relay wants sent, in the order to send it, and what it reports.

use crate::shared::Span;
use crate::{Event, PortId};
use motet_rtp::rtp::FIXED_HEADER_BYTES;
use std::net::SocketAddr;

/// Part of a datagram of the current batch, to be sent without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which `Inbound` of the batch, counted from 0.
    pub inbound: u32,
    /// First byte, counted from the start of `Inbound::bytes`.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

/// Datagrams to send: one, `header` followed by `payload`, or several that lie one after another in
/// `payload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Port to send from.
    pub port: PortId,
    /// Where to.
    pub destination: SocketAddr,
    /// Rewritten header, or the whole of an RTCP packet.
    pub header: &'a [u8],
    /// The rest, still in the receive buffer.
    pub payload: Option<Payload>,
    /// Size of each datagram but the last, which may be shorter.
    pub segment_bytes: u32,
}

/// A header to be written over the one that a datagram came with, before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Which `Inbound` of the batch, counted from 0.
    pub inbound: u32,
    /// First byte, counted from the start of `Inbound::bytes`.
    pub offset: u32,
    /// What is to be there.
    pub header: [u8; FIXED_HEADER_BYTES],
}

/// Collects one turn's messages and events; reused from turn to turn, so that it stops allocating.
///
/// Messages to one destination lie next to each other (leg-major), so that the edge can send equal-sized
/// neighbours as one GSO message.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) bytes: Vec<u8>,
    pub(crate) runs: Vec<Run>,
    pub(crate) parts: Vec<Part>,
    pub(crate) events: Vec<Event>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) peers: Vec<(PortId, SocketAddr)>,
}

/// Messages from one port to one destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) port: PortId,
    pub(crate) destination: SocketAddr,
    pub(crate) first_part: u32,
    pub(crate) parts: u32,
}

/// One message of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) header_offset: u32,
    pub(crate) header_len: u32,
    pub(crate) payload: Option<Payload>,
    segment_bytes: u32,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Headers to be written into the receive buffers of this batch before the messages are sent.
    pub fn patches(&self) -> &[Patch] {
        &self.patches
    }

    /// Messages in the order to send them.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.runs.iter().flat_map(move |run| {
            let parts = &self.parts[run.first_part as usize..][..run.parts as usize];
            parts.iter().map(move |part| Message {
                port: run.port,
                destination: run.destination,
                header: &self.bytes[part.header_offset as usize..][..part.header_len as usize],
                payload: part.payload,
                segment_bytes: part.segment_bytes,
            })
        })
    }

    /// Events in the order they happened.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Ports that sent media lately, and where it goes: a hint for an edge that connects sockets. Said again
    /// with every report to the leg, as long as media goes there.
    pub fn peers(&self) -> &[(PortId, SocketAddr)] {
        &self.peers
    }

    /// Forgets everything, keeps the memory. Call when all is sent and reported.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.parts.clear();
        self.events.clear();
        self.patches.clear();
        self.peers.clear();
    }
}

impl Outbox {
    /// The messages pushed from now on go from `port` to `destination`.
    pub(crate) fn begin_run(&mut self, port: PortId, destination: SocketAddr) {
        let first_part = self.parts.len() as u32;
        self.runs.push(Run { port, destination, first_part, parts: 0 });
    }

    /// One message of the run that was begun last.
    #[inline]
    pub(crate) fn push(&mut self, header: &[u8], payload: Option<Payload>) {
        let header_offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(header);
        let header_len = header.len() as u32;
        let segment_bytes = header_len + payload.map_or(0, |payload| payload.len);
        self.parts.push(Part { header_offset, header_len, payload, segment_bytes });
    }

    /// Datagrams of the run that was begun last, as they lie in the receive buffer.
    #[inline]
    pub(crate) fn push_span(&mut self, span: &Span) {
        let (payload, segment_bytes) = (Some(span.payload), span.segment_bytes);
        self.parts.push(Part { header_offset: 0, header_len: 0, payload, segment_bytes });
    }

    /// The datagram is to have another header.
    #[inline]
    pub(crate) fn patch(&mut self, datagram: Payload, header: [u8; FIXED_HEADER_BYTES]) {
        self.patches.push(Patch { inbound: datagram.inbound, offset: datagram.offset, header });
    }

    /// Closes the run that was begun last, if it is open.
    pub(crate) fn end_run(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run.parts = self.parts.len() as u32 - run.first_part;
        }
    }

    /// A message of its own, written in place by `write`.
    pub(crate) fn message(
        &mut self,
        port: PortId,
        destination: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.begin_run(port, destination);
        let header_offset = self.bytes.len() as u32;
        write(&mut self.bytes);
        let header_len = self.bytes.len() as u32 - header_offset;
        self.parts.push(Part { header_offset, header_len, payload: None, segment_bytes: header_len });
        self.end_run();
    }
}
