//! The send side: from queued datagrams to submissions.

use super::token::Token;
use super::{State, UringIo};
use crate::outbound::SEND_FLAGS;
use crate::queue::{COPIED_BYTES_MAX, Push};
use crate::{Slice, SocketId};
use io_uring::{opcode, types};
use std::io;
use std::net::SocketAddr;
use std::ptr::null;
use std::time::Duration;

impl UringIo {
    /// See [`crate::Io::queue`].
    #[inline]
    pub(super) fn push(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        header: &[u8],
        payload: Option<Slice>,
    ) {
        if !self.takes(socket, 1) {
            return;
        }
        loop {
            let State { inbound, outbound, .. } = &mut self.state;
            let (copied, shared) = match payload {
                Some(slice) if slice.len <= COPIED_BYTES_MAX => (inbound.payload(slice), (null(), 0)),
                Some(slice) => (&[][..], (inbound.payload_pointer(slice), slice.len)),
                None => (&[][..], (null(), 0)),
            };
            match outbound.push(socket, destination, (header, copied), shared) {
                Push::Queued => return,
                refusal if !self.make_room(refusal, 1) => return,
                _ => {}
            }
        }
    }

    /// See [`crate::Io::queue_run`].
    #[inline]
    pub(super) fn push_run(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        run: Slice,
        segment_bytes: u32,
    ) {
        let datagrams = run.len.div_ceil(segment_bytes);
        if !self.takes(socket, datagrams) {
            return;
        }
        let end = self.state.inbound.payload_pointer(run).wrapping_add(run.len as usize);
        let mut left = run.len;
        loop {
            let start = end.wrapping_sub(left as usize);
            match self.state.outbound.push_run(socket, destination, (start, left), segment_bytes) {
                Ok(()) => return,
                Err((refusal, rest)) => {
                    left = rest;
                    if !self.make_room(refusal, rest.div_ceil(segment_bytes)) {
                        return;
                    }
                }
            }
        }
    }

    /// False: what is to be sent is dropped and counted.
    #[inline]
    fn takes(&mut self, socket: SocketId, datagrams: u32) -> bool {
        let takes = self.state.sockets.contains(socket) && self.state.outbound.lent() == 0;
        if !takes {
            self.state.stats.queue_dropped += u64::from(datagrams);
        }
        takes
    }

    /// Sends the chunk if that helps. False: the datagrams are dropped, and counted.
    #[cold]
    fn make_room(&mut self, refusal: Push, datagrams: u32) -> bool {
        let stats = &mut self.state.stats;
        match refusal {
            Push::Queued => return true,
            Push::ChunkFull => match self.send_early() {
                Ok(()) => return true,
                Err(error) => {
                    self.failure = Some(error);
                    self.state.stats.queue_dropped += u64::from(datagrams);
                }
            },
            Push::TurnFull => stats.queue_dropped += u64::from(datagrams),
            Push::TooLong => stats.send_dropped_error += u64::from(datagrams),
        }
        false
    }

    /// Puts the chunk into the submission queue.
    pub(super) fn load_sends(&mut self) {
        let State { outbound, sockets, .. } = &mut self.state;
        outbound.prepare(sockets);
        let zero_copy = self.options.zero_copy;
        let mut submission = self.ring.submission();
        for index in 0..outbound.messages().len() {
            let message = &outbound.messages()[index];
            if message.dropped {
                continue;
            }
            let slot = message.slot();
            let place =
                types::Fixed(sockets.get(slot).expect("messages of removed sockets are dropped").place);
            let entry = match outbound.flat(index) {
                Some((bytes, len)) => opcode::Send::new(place, bytes, len).flags(SEND_FLAGS).build(),
                None => {
                    let without_copy = zero_copy && outbound.suits_zero_copy(index);
                    let header = outbound.header(index).cast::<libc::msghdr>();
                    if without_copy {
                        opcode::SendMsgZc::new(place, header).flags(SEND_FLAGS as u32).build()
                    } else {
                        opcode::SendMsg::new(place, header).flags(SEND_FLAGS as u32).build()
                    }
                }
            };
            let entry = entry.user_data(Token::Send { index: index as u32 }.pack());
            // SAFETY: `header` (the first field of the mmsghdr) and all that it leads to, or `bytes`, stay
            // alive and unmoved until `Outbound::clear_chunk`, which asserts that every send has completed;
            // receive buffers are given back after that, too.
            unsafe { submission.push(&entry) }.expect("the queue is empty and longer than a chunk");
            outbound.lend();
        }
    }

    /// Sends the chunk before the turn ends, since it is full. Hands out no messages.
    #[cold]
    fn send_early(&mut self) -> io::Result<()> {
        self.enable()?;
        self.settle()?;
        self.load_sends();
        self.transfer(0, Some(Duration::ZERO))
    }
}
