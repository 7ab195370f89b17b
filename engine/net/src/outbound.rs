//! The send side that both back ends share: a [`Queue`] and the structures in which the kernel reads it.
//!
//! Messages are handed to the kernel in three steps: [`Outbound::prepare`] writes iovecs, addresses and
//! headers, the back end submits them, and [`Outbound::complete`] takes the kernel's answers. Between
//! [`Outbound::lend`] and [`Outbound::returned`] the kernel may read all of it; changing the queue then is
//! a bug and panics.

use crate::address::RawAddress;
use crate::cmsg::{SEGMENT_CONTROL_BYTES, SegmentControl};
use crate::queue::{CHUNK_MESSAGES, CHUNK_PARTS, Message, Part, Push, Queue};
use crate::socket::{Slot, Sockets};
use crate::{IoStats, Options, SocketId};
use std::io;
use std::net::SocketAddr;
use std::ptr::null_mut;

/// Flags of every send: a full socket answers EAGAIN at once, so that a send never waits (send(2)).
pub(crate) const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Smaller messages are cheaper to copy than to keep account of.
const ZERO_COPY_BYTES_MIN: u32 = 8 * 1024;
const ZERO_COPY_PIECES_MAX: usize = 17;

/// Queue, and the chunk as the kernel sees it.
pub(crate) struct Outbound {
    queue: Queue,
    iovecs: Vec<libc::iovec>,
    addresses: Vec<RawAddress>,
    controls: Vec<SegmentControl>,
    headers: Vec<libc::mmsghdr>,
    /// Messages that the kernel refused, to be sent one datagram at a time.
    refused: Vec<u32>,
    /// Messages that the kernel may still read.
    lent: usize,
}

// SAFETY: the pointers inside lead to heap memory that belongs to this value, or to receive buffers that
// belong to the same back end; none of it is tied to a thread.
unsafe impl Send for Outbound {}

impl Outbound {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            queue: Queue::new(options.gso, options.queue_datagrams_max),
            iovecs: Vec::with_capacity(2 * CHUNK_PARTS),
            addresses: Vec::with_capacity(CHUNK_MESSAGES),
            controls: Vec::with_capacity(CHUNK_MESSAGES),
            headers: Vec::with_capacity(CHUNK_MESSAGES),
            refused: Vec::with_capacity(CHUNK_MESSAGES),
            lent: 0,
        }
    }

    /// See [`Queue::push`].
    #[inline]
    pub(crate) fn push(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        copied: (&[u8], &[u8]),
        payload: (*const u8, u32),
    ) -> Push {
        assert!(self.lent == 0, "the kernel may still read the queue");
        self.queue.push(socket, destination, copied, payload)
    }

    /// See [`Queue::push_run`]. `Ok`: all is queued; else what is left of the run, and why.
    #[inline]
    pub(crate) fn push_run(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        (address, len): (*const u8, u32),
        segment_bytes: u32,
    ) -> Result<(), (Push, u32)> {
        assert!(self.lent == 0, "the kernel may still read the queue");
        let piece = self.queue.run_max(segment_bytes) * segment_bytes;
        for offset in (0..len).step_by(piece as usize) {
            let payload = (address.wrapping_add(offset as usize), piece.min(len - offset));
            match self.queue.push_run(socket, destination, payload, segment_bytes) {
                Push::Queued => {}
                refusal => return Err((refusal, len - offset)),
            }
        }
        Ok(())
    }

    pub(crate) fn drop_socket(&mut self, socket: SocketId) -> u32 {
        self.queue.drop_socket(socket)
    }

    pub(crate) fn messages(&self) -> &[Message] {
        self.queue.messages()
    }

    /// Writes what the kernel reads. Nothing moves until [`Outbound::clear_chunk`].
    pub(crate) fn prepare(&mut self, sockets: &Sockets) {
        assert!(self.lent == 0, "the kernel may still read the last chunk");
        self.queue.mark_connected(|socket, destination| sockets.twin_reaches(socket, destination));
        let arena = self.queue.header_base();
        for message in self.queue.messages() {
            self.addresses.push(RawAddress::new(message.destination));
            self.controls.push(SegmentControl::new(message.segment_bytes as u16));
            for part in self.queue.parts(message) {
                if part.header_len > 0 {
                    let base = arena.wrapping_add(part.header_offset as usize).cast_mut().cast();
                    self.iovecs.push(libc::iovec { iov_base: base, iov_len: part.header_len as usize });
                }
                if part.payload_len > 0 {
                    let base = part.payload.cast_mut().cast();
                    self.iovecs.push(libc::iovec { iov_base: base, iov_len: part.payload_len as usize });
                }
            }
        }
        let (iovecs, addresses) = (self.iovecs.as_mut_ptr(), self.addresses.as_mut_ptr());
        let controls = self.controls.as_mut_ptr();
        let mut first_iovec = 0;
        for (index, message) in self.queue.messages().iter().enumerate() {
            let count = self.queue.parts(message).iter().map(iovecs_of).sum();
            // SAFETY: all zeroes is a valid mmsghdr: null pointers and lengths of 0.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            if !message.connected {
                header.msg_hdr.msg_name = addresses.wrapping_add(index).cast();
                header.msg_hdr.msg_namelen = self.addresses[index].len();
            }
            header.msg_hdr.msg_iov = iovecs.wrapping_add(first_iovec);
            header.msg_hdr.msg_iovlen = count;
            if message.datagrams > 1 {
                header.msg_hdr.msg_control = controls.wrapping_add(index).cast();
                header.msg_hdr.msg_controllen = SEGMENT_CONTROL_BYTES;
            }
            self.headers.push(header);
            first_iovec += count;
        }
    }

    /// The prepared header of a message; valid until the chunk is cleared.
    pub(crate) fn header(&mut self, index: usize) -> *mut libc::mmsghdr {
        assert!(index < self.headers.len(), "message {index} is not prepared");
        self.headers.as_mut_ptr().wrapping_add(index)
    }

    /// Whether the card may read a prepared message where it lies: it is large, and of no more pieces than a
    /// socket buffer can point to (MAX_SKB_FRAGS, include/linux/skbuff.h; more fail with EMSGSIZE).
    pub(crate) fn suits_zero_copy(&self, index: usize) -> bool {
        let pieces = self.headers[index].msg_hdr.msg_iovlen;
        self.queue.messages()[index].bytes >= ZERO_COPY_BYTES_MIN && pieces <= ZERO_COPY_PIECES_MAX
    }

    /// The bytes of a prepared message that needs no header: one datagram in one piece, by a connected
    /// socket. Valid until the chunk is cleared.
    pub(crate) fn flat(&self, index: usize) -> Option<(*const u8, u32)> {
        let message = &self.queue.messages()[index];
        let header = &self.headers[index].msg_hdr;
        if !message.connected || message.datagrams > 1 || header.msg_iovlen != 1 {
            return None;
        }
        let part = &self.queue.parts(message)[0];
        if part.payload_len > 0 {
            return Some((part.payload, part.payload_len));
        }
        Some((self.queue.header_base().wrapping_add(part.header_offset as usize), part.header_len))
    }

    /// Notes that the kernel has been handed one more message.
    pub(crate) fn lend(&mut self) {
        self.lent += 1;
    }

    /// Notes that the kernel is done with a message.
    pub(crate) fn returned(&mut self) {
        assert!(self.lent > 0, "more completions than sends");
        self.lent -= 1;
    }

    /// Messages that the kernel may still read.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }

    /// Counts a message's fate; `errno` is 0 when it was sent. Returns the socket when its peer was found
    /// not to listen.
    pub(crate) fn complete(&mut self, index: usize, errno: i32, stats: &mut IoStats) -> Option<SocketId> {
        let message = &self.queue.messages()[index];
        let datagrams = u64::from(message.datagrams);
        match errno {
            0 => {
                stats.messages_sent += 1;
                stats.datagrams_sent += datagrams;
                stats.bytes_sent += u64::from(message.bytes);
                if datagrams > 1 {
                    stats.datagrams_in_gso += datagrams;
                }
                if message.connected {
                    stats.datagrams_connected += datagrams;
                }
            }
            // The answer to an earlier message of the twin: nobody listens there. This one was not sent.
            libc::ECONNREFUSED if message.connected => {
                self.refused.push(index as u32);
                return Some(message.socket);
            }
            // net/ipv4/udp.c, udp_send_skb(): EMSGSIZE (EINVAL in older kernels) for segments above the path's
            // MTU, EIO without checksum offload or with IPsec.
            libc::EIO | libc::EINVAL | libc::EMSGSIZE if datagrams > 1 => {
                stats.gso_fallbacks += 1;
                self.refused.push(index as u32);
            }
            _ => count_dropped(errno, datagrams, stats),
        }
        None
    }

    /// Sends the datagrams of refused messages one at a time, by the socket itself.
    pub(crate) fn send_refused(&mut self, sockets: &Sockets, stats: &mut IoStats) {
        for index in self.refused.drain(..) {
            let message = &self.queue.messages()[index as usize];
            let Some(descriptor) = sockets.descriptor(Slot::main(message.socket)) else {
                stats.queue_dropped += u64::from(message.datagrams);
                continue;
            };
            let mut header = self.headers[index as usize].msg_hdr;
            header.msg_name = (&raw mut self.addresses[index as usize]).cast();
            header.msg_namelen = self.addresses[index as usize].len();
            (header.msg_control, header.msg_controllen) = (null_mut(), 0);
            let arena = self.queue.header_base();
            let parts = self.queue.parts(message).iter();
            for (part, number) in parts.flat_map(|part| (0..part.datagrams).map(move |number| (part, number)))
            {
                let mut iovecs = datagram(arena, part, number, message.segment_bytes);
                (header.msg_iov, header.msg_iovlen) = (iovecs.as_mut_ptr(), iovecs.len());
                // SAFETY: `header` points to the prepared address and to `iovecs`, which are alive and unmoved,
                // and these to the header arena and to receive buffers held by the same back end
                // (sendmsg(2)).
                let sent = unsafe { libc::sendmsg(descriptor, &raw const header, SEND_FLAGS) };
                stats.system_calls += 1;
                if sent >= 0 {
                    stats.messages_sent += 1;
                    stats.datagrams_sent += 1;
                    stats.bytes_sent += sent as u64;
                } else {
                    count_dropped(io::Error::last_os_error().raw_os_error().unwrap_or(0), 1, stats);
                }
            }
        }
    }

    /// Forgets the chunk.
    pub(crate) fn clear_chunk(&mut self) {
        assert!(self.lent == 0, "the kernel may still read the chunk");
        self.queue.clear_chunk();
        self.iovecs.clear();
        self.addresses.clear();
        self.controls.clear();
        self.headers.clear();
        self.refused.clear();
    }

    pub(crate) fn begin_turn(&mut self) {
        self.queue.begin_turn();
    }
}

fn iovecs_of(part: &Part) -> usize {
    usize::from(part.header_len > 0) + usize::from(part.payload_len > 0)
}

/// One datagram of a part.
fn datagram(arena: *const u8, part: &Part, number: u32, segment_bytes: u32) -> [libc::iovec; 2] {
    let (offset, len) = match part.datagrams {
        1 => (0, part.payload_len),
        _ => (number * segment_bytes, segment_bytes.min(part.payload_len - number * segment_bytes)),
    };
    let iovec = |base: *const u8, offset: u32, len: u32| libc::iovec {
        iov_base: base.wrapping_add(offset as usize).cast_mut().cast(),
        iov_len: len as usize,
    };
    [iovec(arena, part.header_offset, part.header_len), iovec(part.payload, offset, len)]
}

/// Counts datagrams that the kernel did not take.
fn count_dropped(errno: i32, datagrams: u64, stats: &mut IoStats) {
    match errno {
        libc::EAGAIN | libc::ENOBUFS => stats.send_dropped_full += datagrams,
        _ => stats.send_dropped_error += datagrams,
    }
}
