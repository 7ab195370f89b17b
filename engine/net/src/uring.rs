//! The fast back end: one io_uring with a multishot receive per socket.
//!
//! A turn is normally one `io_uring_enter`: it submits the sends of the last turn, waits for packets, and
//! runs the receives. Sends are non-blocking, so they complete while they are submitted; the wait asks for
//! one completion more than there are sends. Buffers go back to the kernel only after the completions of
//! all sends that may refer to them were seen; giving back is a store to shared memory. The receives of a
//! turn therefore use other buffers than its sends.
//!
//! Read io_uring_enter(2), io_uring_setup(2), io_uring_prep_recvmsg_multishot(3) and
//! io_uring_register_buf_ring(3).

mod buffers;
mod enter;
mod inbound;
mod measure;
mod rest;
mod send;
mod setup;
mod sockets;
mod token;
mod wait;

use crate::outbound::Outbound;
use crate::pair::Registry;
use crate::queue::CHUNK_MESSAGES;
use crate::socket::{Slot, Sockets, Twin, shares};
use crate::{
    Datagrams, DatagramsIndex, Io, IoStats, OpenError, Options, Slice, SocketId, SocketPair, Turn, Waker,
};
use inbound::Inbound;
use io_uring::{IoUring, cqueue, opcode, types};
use setup::{BUFFER_GROUP, SUBMISSIONS};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use token::Token;

/// io_uring with multishot receive.
pub struct UringIo {
    // Declared before all memory that requests may refer to: dropped first, which ends them.
    ring: IoUring,
    state: State,
    options: Options,
    /// The thread that takes the first turn owns the ring from then on.
    enabled: bool,
    /// Microseconds that a wait lasts at least.
    gather_us: u32,
    /// Until when the next turn sleeps unless it is woken.
    rest: Option<Instant>,
    /// After the last rest there was more than could be looked at.
    behind: bool,
    /// What came last was gathered.
    gathered: bool,
    /// Why an early send of a chunk failed; reported by the next turn.
    failure: Option<io::Error>,
}

/// Everything that completions change.
struct State {
    inbound: Inbound,
    outbound: Outbound,
    sockets: Sockets,
    waker: Waker,
    /// The poll of the waker is with the kernel.
    waker_polled: bool,
    woken: bool,
    /// Sockets whose receive is to be started.
    to_arm: VecDeque<Slot>,
    /// No receive is started.
    paused: bool,
    /// Sockets whose peer does not listen.
    refused: Vec<SocketId>,
    /// A receive ended for want of buffers in this turn.
    stalled: bool,
    receive_header: Box<libc::msghdr>,
    stats: IoStats,
}

// SAFETY: the pointers in the message header are null and stay so; everything else is Send. A ring used by
// two threads is refused by the kernel (IORING_SETUP_SINGLE_ISSUER), or harmless without that flag.
unsafe impl Send for UringIo {}

impl UringIo {
    /// Errors: an option is out of range, io_uring is missing, forbidden or too old; the text names the
    /// likely cause.
    pub fn new(options: &Options) -> Result<Self, OpenError> {
        let mut options = options.checked()?;
        let ring = setup::ring()?;
        options.zero_copy &= setup::can_send_without_copy(&ring);
        setup::probe()?;
        let inbound = Inbound::new(&options).map_err(OpenError::kernel("mmap"))?;
        let files = setup::register(&ring, inbound.buffers(), 2 * options.sockets_max)?;
        let (sockets_max, twins_max) = shares(files, options.sockets_max);
        let state = State {
            inbound,
            outbound: Outbound::new(&options),
            sockets: Sockets::new(sockets_max, twins_max),
            waker: Waker::new().map_err(OpenError::kernel("eventfd"))?,
            waker_polled: false,
            woken: false,
            to_arm: VecDeque::new(),
            paused: false,
            refused: Vec::with_capacity(CHUNK_MESSAGES),
            stalled: false,
            receive_header: setup::receive_header(),
            stats: IoStats::default(),
        };
        Ok(Self {
            ring,
            state,
            options,
            enabled: false,
            gather_us: 0,
            rest: None,
            behind: false,
            gathered: false,
            failure: None,
        })
    }

    /// Makes the calling thread the ring's owner.
    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
            self.state.inbound.lend();
        }
        Ok(())
    }

    /// Puts receives and the poll of the waker into the submission queue, as far as there is room.
    fn load_receives(&mut self) {
        let state = &mut self.state;
        let mut submission = self.ring.submission();
        if !state.waker_polled {
            let descriptor = types::Fd(state.waker.descriptor());
            let poll = opcode::PollAdd::new(descriptor, libc::POLLIN as u32).multi(true).build();
            // SAFETY: the request refers to no memory; the kernel holds on to the file.
            let pushed = unsafe { submission.push(&poll.user_data(Token::Wake.pack())) };
            state.waker_polled = pushed.is_ok();
        }
        if !state.paused && state.sockets.has_newcomers() {
            state.stats.system_calls += 1;
            state.sockets.look_at_newcomers();
            while let Some(twin) = state.sockets.next_ripe() {
                state.to_arm.push_back(twin);
            }
        }
        while !state.paused && submission.len() < SUBMISSIONS.min(submission.capacity() as u32) as usize {
            let Some(slot) = state.to_arm.pop_front() else { break };
            let Some(entry) = state.sockets.get_mut(slot) else { continue };
            (entry.fed, entry.receiving) = (false, true);
            let token = Token::Receive { slot, generation: entry.generation };
            let header = &raw const *state.receive_header;
            let receive = opcode::RecvMsgMulti::new(types::Fixed(entry.place), header, BUFFER_GROUP).build();
            // SAFETY: the header and the buffers live until after the ring is closed.
            unsafe { submission.push(&receive.user_data(token.pack())) }.expect("there is room");
        }
    }
}

impl State {
    fn on_completion(&mut self, completion: &cqueue::Entry) {
        let (result, flags) = (completion.result(), completion.flags());
        match Token::unpack(completion.user_data()) {
            Some(Token::Receive { slot, generation }) => {
                self.on_received(slot, generation, result, flags);
            }
            // The second completion of a send without a copy: the card has read it all.
            Some(Token::Send { .. }) if cqueue::notif(flags) => self.outbound.returned(),
            Some(Token::Send { index }) => {
                if cqueue::more(flags) {
                    self.stats.messages_zero_copy += 1;
                } else {
                    self.outbound.returned();
                }
                let errno = (-result).max(0);
                if let Some(socket) = self.outbound.complete(index as usize, errno, &mut self.stats) {
                    self.peer_refused(socket);
                }
            }
            Some(Token::Wake) => {
                self.woken = true;
                self.waker.reset();
                self.waker_polled = cqueue::more(flags);
            }
            Some(Token::Cancel) => {}
            None => unreachable!("a completion of no request of ours: {completion:?}"),
        }
    }

    fn on_received(&mut self, slot: Slot, generation: u32, result: i32, flags: u32) {
        let entry = self.sockets.get_mut(slot).filter(|entry| entry.generation == generation);
        let current = entry.is_some();
        let fed = entry.is_some_and(|entry| std::mem::replace(&mut entry.fed, true));
        if let Some(buffer) = cqueue::buffer_select(flags) {
            let socket = current.then_some((slot, generation));
            let kernel_drops = self.inbound.take(buffer, result, socket, &mut self.stats);
            if kernel_drops > 0 {
                self.stats.kernel_drops += self.sockets.count_drops(slot, kernel_drops);
            }
        }
        if cqueue::more(flags) {
            return;
        }
        // The receive has ended; io_uring_prep_recvmsg_multishot(3) leaves starting it again to us.
        let lasting = match -result {
            libc::ENOBUFS => {
                self.stats.receive_stalls += 1;
                self.stalled = true;
                self.inbound.ran_out();
                false
            }
            libc::ECANCELED => false,
            libc::ECONNREFUSED if slot.is_twin() => {
                self.peer_refused(slot.id());
                false
            }
            errno if errno > 0 => {
                self.stats.receive_errors += 1;
                // Not the network's doing: the same would happen again at once and for ever.
                matches!(errno, libc::EBADF | libc::ENOTSOCK | libc::EINVAL | libc::EFAULT | libc::EOPNOTSUPP)
            }
            _ => false,
        };
        let Some(entry) = self.sockets.get_mut(slot).filter(|_| current) else { return };
        entry.receiving = false;
        if lasting || entry.held {
            return;
        }
        // When buffers are short, those that got nothing go first, so that a flood cannot starve them.
        if fed { self.to_arm.push_back(slot) } else { self.to_arm.push_front(slot) }
    }

    /// The peer of a socket does not listen; to be given up at the end of the chunk or of the turn.
    #[cold]
    fn peer_refused(&mut self, socket: SocketId) {
        // A longer list only means that some are given up a little later.
        if self.refused.len() < self.refused.capacity() {
            self.refused.push(socket);
        }
    }

    /// Lets those send by the socket itself whose peer does not listen.
    fn give_up_peers(&mut self) {
        for socket in self.refused.drain(..) {
            self.stats.peers_refused += u64::from(self.sockets.give_up_peer(socket));
        }
    }

    /// After all sends of a chunk have completed.
    fn finish_chunk(&mut self) {
        let Self { outbound, sockets, stats, .. } = self;
        outbound.send_refused(sockets, stats);
        outbound.clear_chunk();
        self.give_up_peers();
    }
}

impl Io for UringIo {
    fn add_socket(&mut self, id: SocketId, socket: UdpSocket) -> io::Result<()> {
        self.state.sockets.check_free(id)?;
        self.register(Slot::main(id), socket, None).map_err(|(error, _)| error)
    }

    fn remove_socket(&mut self, id: SocketId) {
        let dropped = self.state.outbound.drop_socket(id);
        self.state.stats.queue_dropped += u64::from(dropped);
        for slot in [Slot::twin(id), Slot::main(id)] {
            self.unregister(slot);
        }
    }

    fn set_peer(&mut self, id: SocketId, peer: Option<SocketAddr>) -> bool {
        let done = match self.state.sockets.set_peer(id, peer) {
            Ok(Twin::Settled) => return false,
            Ok(Twin::Changed) => Ok(()),
            Ok(Twin::Opened(twin)) => self.register(Slot::twin(id), twin, peer).map_err(|(error, _)| error),
            Err(error) => Err(error),
        };
        self.state.stats.peers_failed += u64::from(done.is_err());
        true
    }

    fn has_socket(&self, id: SocketId) -> bool {
        self.state.sockets.contains(id)
    }

    fn duplicate(&self, id: SocketId) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
        self.state.sockets.duplicate(id)
    }

    fn add_twin(&mut self, id: SocketId, twin: UdpSocket) -> io::Result<()> {
        let peer = self.state.sockets.check_twin(id, &twin)?;
        self.register(Slot::twin(id), twin, peer).map_err(|(error, _)| error)
    }

    fn pause(&mut self) -> io::Result<()> {
        self.end_receives()
    }

    fn resume(&mut self) {
        self.state.sockets.look_at_twins();
        self.state.paused = false;
    }

    fn hold(&mut self, ids: &[SocketId]) -> io::Result<()> {
        self.hold_sockets(ids)
    }

    fn has_backlog_of_held(&self) -> bool {
        self.state.inbound.has_backlog_of(|slot| self.state.sockets.is_held(slot))
    }

    fn let_go(&mut self, ids: &[SocketId]) {
        self.let_go_of(ids);
    }

    fn take_pair(&mut self, id: SocketId) -> Option<SocketPair> {
        self.state.stats.queue_dropped += u64::from(self.state.outbound.drop_socket(id));
        self.detach_pair(id)
    }

    fn add_pair(&mut self, id: SocketId, pair: SocketPair) -> Result<(), (io::Error, SocketPair)> {
        self.register_pair(id, pair)
    }

    #[inline]
    fn queue(&mut self, socket: SocketId, destination: SocketAddr, header: &[u8], payload: Option<Slice>) {
        self.push(socket, destination, header, payload);
    }

    #[inline]
    fn queue_run(&mut self, socket: SocketId, destination: SocketAddr, run: Slice, segment_bytes: u32) {
        self.push_run(socket, destination, run, segment_bytes);
    }

    #[inline]
    fn overwrite(&mut self, datagrams: DatagramsIndex, offset: u32, bytes: &[u8]) {
        assert!(self.state.outbound.lent() == 0, "the kernel may still read what was received");
        // SAFETY: no send is with the kernel, as just checked.
        unsafe { self.state.inbound.overwrite(datagrams, offset, bytes) }
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.enable()?;
        self.settle()?;
        self.load_sends();
        self.measure()?;
        self.load_receives();
        let at_once = self.state.paused || self.state.must_not_wait();
        let timeout = if at_once { Some(Duration::ZERO) } else { timeout };
        self.state.stalled = false;
        if self.rest_now(timeout)? {
            self.look()?;
            self.gathered = true;
        } else {
            self.transfer(wait::completions(timeout, self.gather_us), timeout)?;
            self.gathered = self.gather_us > 0;
        }
        let state = &mut self.state;
        state.outbound.begin_turn();
        let received = state.inbound.next_turn(&state.sockets);
        let pending = self.ring.submission().taskrun() || !self.ring.completion().is_empty();
        let state = &mut self.state;
        let woken = std::mem::take(&mut state.woken);
        let more = pending || state.stalled || state.must_not_wait();
        Ok(Turn { received, woken, more })
    }

    #[inline]
    fn gather(&mut self, time: Duration) {
        if self.ring.params().is_feature_min_timeout() {
            self.gather_us = time.as_micros() as u32;
        }
    }

    #[inline]
    fn rest(&mut self, until: Option<Instant>) {
        self.rest = until;
    }

    #[inline]
    fn datagrams(&self, index: DatagramsIndex) -> Datagrams<'_> {
        self.state.inbound.datagrams(index)
    }

    fn arrived_ns(&self, index: DatagramsIndex) -> Option<u64> {
        self.state.inbound.arrival(index).1
    }

    fn stamp(&mut self, index: DatagramsIndex) -> io::Result<()> {
        self.state.sockets.stamp(self.state.inbound.arrival(index).0)
    }

    fn lend(&mut self, bytes: Vec<u8>) -> DatagramsIndex {
        self.state.inbound.lent.lend(bytes)
    }

    #[inline]
    fn lent(&self, index: DatagramsIndex) -> &[u8] {
        self.state.inbound.lent.bytes(index)
    }

    fn returned(&mut self) -> Option<Vec<u8>> {
        self.state.inbound.lent.take_back()
    }

    fn waker(&self) -> io::Result<Waker> {
        Ok(self.state.waker.clone())
    }

    fn stats(&self) -> &IoStats {
        &self.state.stats
    }

    fn name(&self) -> &'static str {
        "uring"
    }
}

impl State {
    /// Something is at hand already: messages beyond the last turn's bound, a wake-up seen while a socket
    /// was removed, more receives to start than fitted into one submission, or a twin that waits for its socket.
    fn must_not_wait(&self) -> bool {
        let to_start = !self.paused && (!self.to_arm.is_empty() || self.sockets.has_newcomers());
        self.inbound.has_backlog() || self.woken || to_start
    }
}

impl Drop for UringIo {
    fn drop(&mut self) {
        self.end_requests();
    }
}
