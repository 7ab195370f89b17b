//! The receive side: messages that completions brought, handed out turn by turn.

use super::buffers::{Buffers, Held};
use crate::layout::{Lengths, PAYLOAD_OFFSET, Received};
use crate::lent::LentBuffers;
use crate::socket::{Slot, Sockets};
use crate::{Datagrams, DatagramsIndex, IoStats, Options, Slice};
use std::collections::VecDeque;
use std::io;

/// A received message.
struct Run {
    slot: Slot,
    generation: u32,
    received: Received,
    buffer: Held,
}

/// Buffers, messages of the current turn, and messages waiting for a later one.
pub(super) struct Inbound {
    buffers: Buffers,
    current: Vec<Run>,
    /// In order of arrival. Never longer than there are buffers.
    backlog: VecDeque<Run>,
    messages_max: usize,
    datagrams_max: u32,
    pub(super) lent: LentBuffers,
}

impl Inbound {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let count = u16::try_from(options.receive_buffers).expect("checked options");
        Ok(Self {
            buffers: Buffers::new(count)?,
            current: Vec::with_capacity(options.turn_messages_max as usize),
            backlog: VecDeque::with_capacity(count.into()),
            messages_max: options.turn_messages_max as usize,
            datagrams_max: options.turn_datagrams_max,
            lent: LentBuffers::default(),
        })
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Gives the kernel its first buffers.
    pub(super) fn lend(&mut self) {
        self.buffers.lend();
    }

    pub(super) fn ran_out(&mut self) {
        self.buffers.ran_out();
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Messages of such a slot wait for a later turn.
    pub(super) fn has_backlog_of(&self, is_wanted: impl Fn(Slot) -> bool) -> bool {
        self.backlog.iter().any(|run| is_wanted(run.slot))
    }

    /// Takes the message in a buffer of `result` bytes. `socket`: its slot and generation; `None` when it is gone.
    /// Gives [`Received::kernel_drops`].
    pub(super) fn take(
        &mut self,
        buffer: u16,
        result: i32,
        socket: Option<(Slot, u32)>,
        stats: &mut IoStats,
    ) -> u32 {
        let buffer = self.buffers.take(buffer);
        let Some((slot, generation)) = socket else {
            self.buffers.give_back(buffer);
            return 0;
        };
        let front = self.buffers.bytes(&buffer, PAYLOAD_OFFSET);
        let received = match usize::try_from(result) {
            Ok(bytes) if bytes >= PAYLOAD_OFFSET => Received::parse(front, Lengths::parse(front)),
            _ => None,
        };
        let Some(received) = received else {
            stats.receive_errors += 1;
            self.buffers.give_back(buffer);
            return 0;
        };
        stats.messages_received += 1;
        stats.datagrams_received += u64::from(received.datagrams());
        stats.bytes_received += received.payload_bytes as u64;
        self.backlog.push_back(Run { slot, generation, received, buffer });
        received.kernel_drops
    }

    /// Gives back the buffers of the current turn, which no send refers to any more, and starts the next
    /// one; returns the number of its messages.
    pub(super) fn next_turn(&mut self, sockets: &Sockets) -> usize {
        for run in self.current.drain(..) {
            self.buffers.give_back(run.buffer);
        }
        self.lent.end_turn();
        let mut datagrams = 0;
        while self.current.len() < self.messages_max && datagrams < self.datagrams_max {
            let Some(run) = self.backlog.pop_front() else { break };
            if !sockets.is_current(run.slot, run.generation) {
                self.buffers.give_back(run.buffer);
                continue;
            }
            datagrams += run.received.datagrams();
            self.current.push(run);
        }
        self.buffers.lend();
        self.current.len()
    }

    /// When the messages of the current turn came, and how many datagrams each holds.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = (u64, u32)> {
        self.current.iter().map(|run| (run.received.arrived_ns, run.received.datagrams()))
    }

    #[inline]
    pub(super) fn datagrams(&self, index: DatagramsIndex) -> Datagrams<'_> {
        let run = &self.current[index.0 as usize];
        Datagrams {
            socket: run.slot.id(),
            source: run.received.source,
            bytes: self.buffers.payload(&run.buffer, run.received.payload_bytes),
            segment_bytes: run.received.segment_bytes,
        }
    }

    /// The slot of a run, and when it came.
    pub(super) fn arrival(&self, index: DatagramsIndex) -> (Slot, Option<u64>) {
        let Run { slot, received, .. } = &self.current[index.0 as usize];
        (*slot, Some(received.arrived_ns).filter(|ns| *ns > 0))
    }

    /// A slice of the current turn; panics when it is not within its datagrams.
    #[inline]
    pub(super) fn payload(&self, slice: Slice) -> &[u8] {
        if slice.datagrams.is_lent() {
            return self.lent.slice(slice);
        }
        &self.datagrams(slice.datagrams).bytes[slice.offset as usize..][..slice.len as usize]
    }

    /// Writes over a run of the current turn; panics when the bytes are not within it.
    ///
    /// # Safety
    ///
    /// No send is with the kernel.
    pub(super) unsafe fn overwrite(&mut self, index: DatagramsIndex, offset: u32, bytes: &[u8]) {
        if index.is_lent() {
            return self.lent.write(index, offset, bytes);
        }
        let run = &self.current[index.0 as usize];
        let end = offset as usize + bytes.len();
        assert!(end <= run.received.payload_bytes, "{end} is outside of run {}", index.0);
        // SAFETY: passed on to the caller.
        unsafe { self.buffers.write(&run.buffer, offset as usize, bytes) }
    }

    /// Address of a slice of the current turn; panics when it is not within its datagrams.
    #[inline]
    pub(super) fn payload_pointer(&self, slice: Slice) -> *const u8 {
        if slice.datagrams.is_lent() {
            return self.lent.slice(slice).as_ptr();
        }
        let run = &self.current[slice.datagrams.0 as usize];
        let end = u64::from(slice.offset) + u64::from(slice.len);
        assert!(end <= run.received.payload_bytes as u64, "{slice:?} is outside of its datagrams");
        self.buffers.payload_pointer(&run.buffer, slice.offset as usize)
    }
}
