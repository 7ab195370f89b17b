//! Which queued datagrams leave as one message.
//!
//! Datagrams queued one after another for the same socket and destination join into one UDP_SEGMENT
//! message as long as they are equally long; a shorter one may end the run, since the kernel cuts the
//! message into segments of one size and only the last may be shorter (udp(7)).
//!
//! The queue is a *chunk*: small enough to stay in the processor's cache, emptied by sending it. How many
//! datagrams one turn may send in all is bounded apart from that.

#[cfg(test)]
mod tests;

use crate::SocketId;
use crate::socket::Slot;
use std::net::SocketAddr;
use std::ptr::null;

/// Largest number of datagrams of one message: UDP_MAX_SEGMENTS of kernels before 6.9
/// (include/linux/udp.h; 128 since).
pub(crate) const SEGMENTS_MAX: u32 = 64;
/// Largest message: what IPv4 and IPv6 both carry, 65,535 bytes less the headers of IPv6 and UDP.
pub(crate) const MESSAGE_BYTES_MAX: u32 = 65_535 - 40 - 8;
/// Longest datagram that any socket can send: the UDP length field less the UDP header, over IPv6.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_535 - 8;
/// Datagrams of a chunk.
pub(crate) const CHUNK_PARTS: usize = 2_048;
/// Messages of a chunk.
pub(crate) const CHUNK_MESSAGES: usize = 512;
/// Bytes of headers and copied payloads of a chunk; one datagram of any size fits.
const CHUNK_HEADER_BYTES: usize = 128 * 1024;
/// Payloads up to this many bytes are copied behind their header: for the kernel one piece of memory is
/// cheaper than two by more than so small a copy costs.
pub(crate) const COPIED_BYTES_MAX: u32 = 256;

/// One datagram: bytes of the header arena, which may be all of it, followed by bytes of a receive buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) payload: *const u8,
    pub(crate) payload_len: u32,
    pub(crate) header_offset: u32,
    pub(crate) header_len: u32,
}

impl Part {
    fn len(&self) -> u32 {
        self.header_len + self.payload_len
    }
}

/// One or more datagrams that leave by one send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) destination: SocketAddr,
    pub(crate) socket: SocketId,
    pub(crate) first_part: u32,
    pub(crate) parts: u32,
    /// Size of every datagram but the last.
    pub(crate) segment_bytes: u32,
    pub(crate) bytes: u32,
    /// A shorter datagram has ended the run.
    closed: bool,
    /// Its socket is gone; do not send.
    pub(crate) dropped: bool,
    /// It leaves by the socket's connected twin.
    pub(crate) connected: bool,
}

impl Message {
    /// The socket that it leaves by.
    pub(crate) fn slot(&self) -> Slot {
        if self.connected { Slot::twin(self.socket) } else { Slot::main(self.socket) }
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    Queued,
    /// Send the chunk and push again.
    ChunkFull,
    /// The turn has sent as much as it may.
    TurnFull,
    /// No datagram is that long.
    TooLong,
}

/// The chunk being filled.
pub(crate) struct Queue {
    headers: Vec<u8>,
    parts: Vec<Part>,
    messages: Vec<Message>,
    gso: bool,
    turn_parts: u32,
    turn_parts_max: u32,
}

// SAFETY: the payload pointers are only passed on; whoever dereferences them answers for them.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) fn new(gso: bool, turn_parts_max: u32) -> Self {
        Self {
            headers: Vec::with_capacity(CHUNK_HEADER_BYTES),
            parts: Vec::with_capacity(CHUNK_PARTS),
            messages: Vec::with_capacity(CHUNK_MESSAGES),
            gso,
            turn_parts: 0,
            turn_parts_max,
        }
    }

    /// Queues a datagram: `header` and `copied`, of which a copy is made, and a payload, of which only the
    /// address and the length are kept.
    pub(crate) fn push(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        (header, copied): (&[u8], &[u8]),
        payload: (*const u8, u32),
    ) -> Push {
        let header_len = header.len() + copied.len();
        let len = header_len + payload.1 as usize;
        if len > DATAGRAM_BYTES_MAX {
            return Push::TooLong;
        }
        if self.turn_parts == self.turn_parts_max {
            return Push::TurnFull;
        }
        if self.parts.len() == CHUNK_PARTS || self.headers.len() + header_len > CHUNK_HEADER_BYTES {
            return Push::ChunkFull;
        }
        let part = Part {
            payload: if payload.1 == 0 { null() } else { payload.0 },
            payload_len: payload.1,
            header_offset: self.headers.len() as u32,
            header_len: header_len as u32,
        };
        if !self.join(socket, destination, part.len()) {
            if self.messages.len() == CHUNK_MESSAGES {
                return Push::ChunkFull;
            }
            self.messages.push(Message {
                destination,
                socket,
                first_part: self.parts.len() as u32,
                parts: 1,
                segment_bytes: part.len(),
                bytes: part.len(),
                closed: !self.gso || part.len() == 0,
                dropped: false,
                connected: false,
            });
        }
        self.headers.extend_from_slice(header);
        self.headers.extend_from_slice(copied);
        self.parts.push(part);
        self.turn_parts += 1;
        Push::Queued
    }

    /// Adds a datagram of `len` bytes to the last message, if it fits there.
    fn join(&mut self, socket: SocketId, destination: SocketAddr, len: u32) -> bool {
        let Some(last) = self.messages.last_mut() else { return false };
        let fits = !last.closed
            && !last.dropped
            && len <= last.segment_bytes
            && len > 0
            && last.parts < SEGMENTS_MAX
            && last.bytes + len <= MESSAGE_BYTES_MAX
            && last.socket == socket
            && last.destination == destination;
        if fits {
            last.parts += 1;
            last.bytes += len;
            last.closed = len < last.segment_bytes;
        }
        fits
    }

    /// Drops what is queued for a socket; returns the number of datagrams.
    pub(crate) fn drop_socket(&mut self, socket: SocketId) -> u32 {
        let mut datagrams = 0;
        for message in self.messages.iter_mut().filter(|message| message.socket == socket && !message.dropped)
        {
            message.dropped = true;
            datagrams += message.parts;
        }
        datagrams
    }

    /// Marks the messages that leave by a connected twin.
    pub(crate) fn mark_connected(&mut self, reaches: impl Fn(SocketId, SocketAddr) -> bool) {
        for message in &mut self.messages {
            message.connected = reaches(message.socket, message.destination);
        }
    }

    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(crate) fn parts(&self, message: &Message) -> &[Part] {
        &self.parts[message.first_part as usize..][..message.parts as usize]
    }

    /// First byte of the header arena. Valid until the next push or clear.
    pub(crate) fn header_base(&self) -> *const u8 {
        self.headers.as_ptr()
    }

    /// Forgets the chunk, after it was sent.
    pub(crate) fn clear_chunk(&mut self) {
        self.headers.clear();
        self.parts.clear();
        self.messages.clear();
    }

    /// Starts the next turn's count.
    pub(crate) fn begin_turn(&mut self) {
        self.turn_parts = 0;
    }
}
