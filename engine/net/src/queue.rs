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
/// Or several that lie one after another in a receive buffer, without a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) payload: *const u8,
    pub(crate) payload_len: u32,
    pub(crate) header_offset: u32,
    pub(crate) header_len: u32,
    pub(crate) datagrams: u32,
}

/// One or more datagrams that leave by one send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) destination: SocketAddr,
    pub(crate) socket: SocketId,
    pub(crate) first_part: u32,
    pub(crate) parts: u32,
    pub(crate) datagrams: u32,
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
    turn_datagrams: u32,
    turn_datagrams_max: u32,
}

// SAFETY: the payload pointers are only passed on; whoever dereferences them answers for them.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) fn new(gso: bool, turn_datagrams_max: u32) -> Self {
        Self {
            headers: Vec::with_capacity(CHUNK_HEADER_BYTES),
            parts: Vec::with_capacity(CHUNK_PARTS),
            messages: Vec::with_capacity(CHUNK_MESSAGES),
            gso,
            turn_datagrams: 0,
            turn_datagrams_max,
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
        if self.turn_datagrams == self.turn_datagrams_max {
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
            datagrams: 1,
        };
        if !self.place(socket, destination, part, len as u32) {
            return Push::ChunkFull;
        }
        self.headers.extend_from_slice(header);
        self.headers.extend_from_slice(copied);
        Push::Queued
    }

    /// Queues `datagrams` datagrams that lie one after another at `payload`, all of `segment_bytes` but the
    /// last, which may be shorter. They are as many as [`Queue::run_max`] allows.
    pub(crate) fn push_run(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        payload: (*const u8, u32),
        segment_bytes: u32,
    ) -> Push {
        if segment_bytes as usize > DATAGRAM_BYTES_MAX {
            return Push::TooLong;
        }
        let datagrams = payload.1.div_ceil(segment_bytes);
        debug_assert!(datagrams <= self.run_max(segment_bytes));
        if self.turn_datagrams + datagrams > self.turn_datagrams_max {
            return Push::TurnFull;
        }
        if self.parts.len() == CHUNK_PARTS {
            return Push::ChunkFull;
        }
        let part =
            Part { payload: payload.0, payload_len: payload.1, header_offset: 0, header_len: 0, datagrams };
        if self.place(socket, destination, part, segment_bytes) { Push::Queued } else { Push::ChunkFull }
    }

    /// Datagrams of this size that one message may hold, at least 1.
    pub(crate) fn run_max(&self, segment_bytes: u32) -> u32 {
        if self.gso { (MESSAGE_BYTES_MAX / segment_bytes).clamp(1, SEGMENTS_MAX) } else { 1 }
    }

    /// Puts a part, whose datagrams but the last are of `segment_bytes`, into the last message, if it fits
    /// there, or into a new one. False: no message is left.
    fn place(&mut self, socket: SocketId, destination: SocketAddr, part: Part, segment_bytes: u32) -> bool {
        let bytes = part.header_len + part.payload_len;
        if !self.join(socket, destination, part.datagrams, segment_bytes, bytes) {
            if self.messages.len() == CHUNK_MESSAGES {
                return false;
            }
            self.messages.push(Message {
                destination,
                socket,
                first_part: self.parts.len() as u32,
                parts: 1,
                datagrams: part.datagrams,
                segment_bytes,
                bytes,
                closed: !self.gso || bytes == 0 || bytes < part.datagrams * segment_bytes,
                dropped: false,
                connected: false,
            });
        }
        self.parts.push(part);
        self.turn_datagrams += part.datagrams;
        true
    }

    /// Makes a part of the last message of what fits there.
    fn join(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        datagrams: u32,
        segment_bytes: u32,
        bytes: u32,
    ) -> bool {
        let Some(last) = self.messages.last_mut() else { return false };
        let alike = if datagrams == 1 {
            segment_bytes <= last.segment_bytes
        } else {
            segment_bytes == last.segment_bytes
        };
        let fits = !last.closed
            && !last.dropped
            && alike
            && bytes > 0
            && last.datagrams + datagrams <= SEGMENTS_MAX
            && last.bytes + bytes <= MESSAGE_BYTES_MAX
            && last.socket == socket
            && last.destination == destination;
        if fits {
            last.parts += 1;
            last.datagrams += datagrams;
            last.bytes += bytes;
            last.closed = bytes < datagrams * last.segment_bytes;
        }
        fits
    }

    /// Drops what is queued for a socket; returns the number of datagrams.
    pub(crate) fn drop_socket(&mut self, socket: SocketId) -> u32 {
        let mut datagrams = 0;
        for message in self.messages.iter_mut().filter(|message| message.socket == socket && !message.dropped)
        {
            message.dropped = true;
            datagrams += message.datagrams;
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
        self.turn_datagrams = 0;
    }
}
