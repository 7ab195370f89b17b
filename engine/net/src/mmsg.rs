//! The back end that works everywhere: epoll(7), recvmmsg(2) and sendmmsg(2).
//!
//! A turn is: send the queue, one `epoll_pwait2`, one `recvmmsg` for each ready socket. Legs have sockets
//! of their own, so most sends are a call each; the gain over plain sockets comes from GSO and GRO.

mod buffers;
mod sockets;

use crate::layout::Received;
use crate::lent::LentBuffers;
use crate::outbound::{Outbound, SEND_FLAGS};
use crate::pair::Registry;
use crate::queue::{CHUNK_MESSAGES, COPIED_BYTES_MAX, Push};
use crate::socket::{Slot, Sockets, Twin, descriptors_max, shares};
use crate::{
    Datagrams, DatagramsIndex, Io, IoStats, OpenError, Options, Slice, SocketId, SocketPair, Turn, Waker,
};
use buffers::ReceiveBuffers;
use sockets::watch;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;
use std::time::Duration;

/// Messages taken from one socket per turn, so that one socket cannot use up the turn of the others.
const SOCKET_MESSAGES_MAX: usize = 32;
/// Sockets reported by one wait.
const EVENTS_MAX: usize = 256;
/// What epoll reports for the waker; no socket id is this large.
const WAKER_EVENT: u64 = u64::MAX;

/// recvmmsg and sendmmsg with epoll.
pub struct MmsgIo {
    epoll: OwnedFd,
    waker: Waker,
    sockets: Sockets,
    outbound: Outbound,
    buffers: ReceiveBuffers,
    runs: Vec<Run>,
    lent: LentBuffers,
    events: Vec<libc::epoll_event>,
    /// Where in the list of ready sockets to start, so that all get their turn.
    rotation: usize,
    /// Sockets whose peer does not listen.
    refused: Vec<SocketId>,
    /// Nothing is received.
    paused: bool,
    stats: IoStats,
    options: Options,
}

/// A message of the current turn.
struct Run {
    socket: SocketId,
    buffer: usize,
    received: Received,
}

impl MmsgIo {
    /// Errors: an option is out of range, or the machine is out of descriptors or memory.
    pub fn new(options: &Options) -> Result<Self, OpenError> {
        let options = options.checked()?;
        // SAFETY: no pointers are passed.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(OpenError::kernel("epoll_create1")(io::Error::last_os_error()));
        }
        // SAFETY: epoll_create1(2) has just returned this descriptor and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let waker = Waker::new().map_err(OpenError::kernel("eventfd"))?;
        watch(&epoll, waker.descriptor(), WAKER_EVENT).map_err(OpenError::kernel("epoll_ctl"))?;
        let (sockets_max, twins_max) = shares(descriptors_max(), options.sockets_max);
        let buffers = ReceiveBuffers::new(options.turn_messages_max as usize);
        Ok(Self {
            epoll,
            waker,
            sockets: Sockets::new(sockets_max, twins_max),
            outbound: Outbound::new(&options),
            buffers: buffers.map_err(OpenError::kernel("mmap"))?,
            runs: Vec::with_capacity(options.turn_messages_max as usize),
            lent: LentBuffers::default(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            rotation: 0,
            refused: Vec::with_capacity(CHUNK_MESSAGES),
            paused: false,
            stats: IoStats::default(),
            options,
        })
    }

    /// Sends the chunk and empties it.
    fn send_chunk(&mut self) {
        if self.outbound.messages().is_empty() {
            return;
        }
        self.outbound.prepare(&self.sockets);
        let count = self.outbound.messages().len();
        let mut first = 0;
        while first < count {
            let message = &self.outbound.messages()[first];
            let (slot, dropped) = (message.slot(), message.dropped);
            let alike = self.outbound.messages()[first..]
                .iter()
                .take_while(|next| next.slot() == slot && next.dropped == dropped)
                .count();
            if !dropped {
                self.send_messages(slot, first, alike);
            }
            first += alike;
        }
        self.outbound.send_refused(&self.sockets, &mut self.stats);
        self.outbound.clear_chunk();
        self.give_up_peers();
    }

    /// Lets those send by the socket itself whose peer does not listen.
    fn give_up_peers(&mut self) {
        for socket in self.refused.drain(..) {
            self.stats.peers_refused += u64::from(self.sockets.give_up_peer(socket));
        }
    }

    /// Sends prepared messages of one socket.
    fn send_messages(&mut self, slot: Slot, first: usize, count: usize) {
        let descriptor = self.sockets.descriptor(slot).expect("messages of removed sockets are dropped");
        let mut sent = 0;
        while sent < count {
            let headers = self.outbound.header(first + sent);
            let result =
                if let Some((bytes, len)) = self.outbound.flat(first + sent).filter(|_| count - sent == 1) {
                    // SAFETY: the bytes are alive and unmoved until the chunk is cleared; the call only reads
                    // them and keeps nothing (send(2)).
                    let sent = unsafe { libc::send(descriptor, bytes.cast(), len as usize, SEND_FLAGS) };
                    if sent < 0 { -1 } else { 1 }
                } else if count - sent == 1 {
                    // A call for one message is cheaper than a call for a list of one.
                    // SAFETY: the mmsghdr starts with the prepared msghdr; it, what it points to and the receive
                    // buffers stay alive and unmoved during the call, which keeps nothing (sendmsg(2)).
                    let sent = unsafe { libc::sendmsg(descriptor, headers.cast(), SEND_FLAGS) };
                    if sent < 0 { -1 } else { 1 }
                } else {
                    // SAFETY: as above, for the `count - sent` prepared headers that follow (sendmmsg(2)).
                    unsafe { libc::sendmmsg(descriptor, headers, (count - sent) as u32, SEND_FLAGS as _) }
                };
            self.stats.system_calls += 1;
            let (accepted, errno) = match usize::try_from(result) {
                Ok(accepted) => (accepted, 0),
                Err(_) => (1, io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
            };
            // After an error within the batch the call reports success for those before; the next call
            // starts with the one that failed and reports why.
            for index in sent..sent + accepted {
                if let Some(socket) = self.outbound.complete(first + index, errno, &mut self.stats)
                    && self.refused.len() < self.refused.capacity()
                {
                    self.refused.push(socket);
                }
            }
            sent += accepted;
        }
    }

    /// False: what is to be sent is dropped and counted.
    #[inline]
    fn takes(&mut self, socket: SocketId, datagrams: u32) -> bool {
        let takes = self.sockets.contains(socket);
        if !takes {
            self.stats.queue_dropped += u64::from(datagrams);
        }
        takes
    }

    /// Sends the chunk if that helps. False: the datagrams are dropped, and counted.
    #[cold]
    fn make_room(&mut self, refusal: Push, datagrams: u32) -> bool {
        match refusal {
            Push::Queued => return true,
            Push::ChunkFull => {
                self.send_chunk();
                return true;
            }
            Push::TurnFull => self.stats.queue_dropped += u64::from(datagrams),
            Push::TooLong => self.stats.send_dropped_error += u64::from(datagrams),
        }
        false
    }

    /// Waits for events; returns how many there are.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(timespec);
        let pointer = timeout.as_ref().map_or(null(), std::ptr::from_ref);
        self.stats.system_calls += 1;
        // SAFETY: `events` has EVENTS_MAX writable entries, `pointer` is null or a live timespec, and no
        // signal mask is given (epoll_pwait2(2)).
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                pointer,
                null::<libc::sigset_t>(),
                0usize,
            )
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(0),
            // Kernels before 5.11.
            Some(libc::ENOSYS) => self.wait_coarsely(timeout),
            _ => Err(error),
        }
    }

    /// [`MmsgIo::wait`] in milliseconds, rounded up.
    fn wait_coarsely(&mut self, timeout: Option<libc::timespec>) -> io::Result<usize> {
        let millis = timeout.map_or(-1, |time| {
            let millis = i128::from(time.tv_sec) * 1000 + i128::from(time.tv_nsec).div_euclid(1_000_000) + 1;
            if time.tv_sec == 0 && time.tv_nsec == 0 { 0 } else { millis.min(i32::MAX.into()) as i32 }
        });
        self.stats.system_calls += 1;
        let events = self.events.as_mut_ptr();
        // SAFETY: `events` has EVENTS_MAX writable entries (epoll_wait(2)).
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, EVENTS_MAX as i32, millis) };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
    }

    /// Receives from the sockets that are ready, as far as the turn's bounds allow.
    fn receive(&mut self, ready: usize) -> Turn {
        let mut turn = Turn { more: ready == EVENTS_MAX, ..Turn::default() };
        let mut datagrams = 0;
        let (mut used, mut served) = (0, 0);
        for step in 0..ready {
            let event = self.events[(self.rotation + step) % ready];
            if event.u64 == WAKER_EVENT {
                self.waker.reset();
                turn.woken = true;
                continue;
            }
            if used == self.buffers.len() || datagrams >= self.options.turn_datagrams_max {
                turn.more = true;
                continue;
            }
            let count = SOCKET_MESSAGES_MAX.min(self.buffers.len() - used);
            let taken = self.receive_socket(Slot(event.u64 as u32), used, count, &mut datagrams);
            turn.more |= taken == count;
            used += taken;
            served += 1;
        }
        self.rotation = self.rotation.wrapping_add(served);
        turn.received = self.runs.len();
        turn
    }

    /// Receives up to `count` messages of a socket into the buffers from `first` on.
    fn receive_socket(&mut self, slot: Slot, first: usize, count: usize, datagrams: &mut u32) -> usize {
        let Some(descriptor) = self.sockets.descriptor(slot) else { return 0 };
        self.stats.system_calls += 1;
        let taken = match self.buffers.receive(descriptor, first, count) {
            Ok(taken) => taken,
            Err(error) => {
                let nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                if slot.is_twin() && error.kind() == io::ErrorKind::ConnectionRefused {
                    self.stats.peers_refused += u64::from(self.sockets.give_up_peer(slot.id()));
                } else {
                    self.stats.receive_errors += u64::from(!nothing);
                }
                return 0;
            }
        };
        for buffer in first..first + taken {
            let Some(received) = self.buffers.parse(buffer) else {
                self.stats.receive_errors += 1;
                continue;
            };
            if received.kernel_drops > 0 {
                self.stats.kernel_drops += self.sockets.count_drops(slot, received.kernel_drops);
            }
            *datagrams += received.datagrams();
            self.stats.messages_received += 1;
            self.stats.datagrams_received += u64::from(received.datagrams());
            self.stats.bytes_received += received.payload_bytes as u64;
            self.runs.push(Run { socket: slot.id(), buffer, received });
        }
        taken
    }
}

impl Io for MmsgIo {
    fn add_socket(&mut self, id: SocketId, socket: UdpSocket) -> io::Result<()> {
        self.sockets.check_free(id)?;
        self.register(Slot::main(id), socket, None).map_err(|(error, _)| error)
    }

    fn remove_socket(&mut self, id: SocketId) {
        drop(self.take_pair(id));
    }

    fn set_peer(&mut self, id: SocketId, peer: Option<SocketAddr>) -> bool {
        let done = match self.sockets.set_peer(id, peer) {
            Ok(Twin::Settled) => return false,
            Ok(Twin::Changed) => Ok(()),
            Ok(Twin::Opened(twin)) => self.register(Slot::twin(id), twin, peer).map_err(|(error, _)| error),
            Err(error) => Err(error),
        };
        self.stats.peers_failed += u64::from(done.is_err());
        true
    }

    fn has_socket(&self, id: SocketId) -> bool {
        self.sockets.contains(id)
    }

    fn duplicate(&self, id: SocketId) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
        self.sockets.duplicate(id)
    }

    fn add_twin(&mut self, id: SocketId, twin: UdpSocket) -> io::Result<()> {
        let peer = self.sockets.check_twin(id, &twin)?;
        self.register(Slot::twin(id), twin, peer).map_err(|(error, _)| error)
    }

    fn pause(&mut self) -> io::Result<()> {
        // Between two calls the kernel has no buffer of ours, so that there is nothing to end.
        self.paused = true;
        Ok(())
    }

    fn resume(&mut self) {
        self.sockets.look_at_twins();
        self.paused = false;
    }

    fn hold(&mut self, ids: &[SocketId]) -> io::Result<()> {
        self.hold_sockets(ids)
    }

    fn has_backlog_of_held(&self) -> bool {
        // What a turn takes from the kernel it hands out.
        false
    }

    fn let_go(&mut self, ids: &[SocketId]) {
        self.let_go_of(ids);
    }

    fn take_pair(&mut self, id: SocketId) -> Option<SocketPair> {
        self.stats.queue_dropped += u64::from(self.outbound.drop_socket(id));
        self.detach_pair(id)
    }

    fn add_pair(&mut self, id: SocketId, pair: SocketPair) -> Result<(), (io::Error, SocketPair)> {
        self.register_pair(id, pair)
    }

    #[inline]
    fn queue(&mut self, socket: SocketId, destination: SocketAddr, header: &[u8], payload: Option<Slice>) {
        if !self.takes(socket, 1) {
            return;
        }
        loop {
            let Self { runs, buffers, lent, outbound, .. } = self;
            let (copied, shared) = match payload {
                Some(part) => pieces(slice(buffers, runs, lent, part)),
                None => (&[][..], (null(), 0)),
            };
            match outbound.push(socket, destination, (header, copied), shared) {
                Push::Queued => return,
                refusal if !self.make_room(refusal, 1) => return,
                _ => {}
            }
        }
    }

    #[inline]
    fn queue_run(&mut self, socket: SocketId, destination: SocketAddr, run: Slice, segment_bytes: u32) {
        if !self.takes(socket, run.len.div_ceil(segment_bytes)) {
            return;
        }
        let mut left = run.len;
        loop {
            let start = slice(&self.buffers, &self.runs, &self.lent, run).as_ptr();
            let start = start.wrapping_add((run.len - left) as usize);
            match self.outbound.push_run(socket, destination, (start, left), segment_bytes) {
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

    #[inline]
    fn overwrite(&mut self, datagrams: DatagramsIndex, offset: u32, bytes: &[u8]) {
        if datagrams.is_lent() {
            return self.lent.write(datagrams, offset, bytes);
        }
        let run = &self.runs[datagrams.0 as usize];
        let end = offset as usize + bytes.len();
        assert!(end <= run.received.payload_bytes, "{end} is outside of run {}", datagrams.0);
        self.buffers.write(run.buffer, offset as usize, bytes);
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        let measured =
            !self.outbound.messages().is_empty() && self.stats.residence.begins(self.options.residence_turns);
        self.send_chunk();
        if measured {
            let runs = self.runs.iter().map(|run| (run.received.arrived_ns, run.received.datagrams()));
            self.stats.residence.record(runs);
        }
        self.outbound.begin_turn();
        self.runs.clear();
        self.lent.end_turn();
        if self.paused {
            return Ok(Turn::default());
        }
        self.watch_newcomers();
        let ready = self.wait(timeout)?;
        Ok(self.receive(ready))
    }

    #[inline]
    fn datagrams(&self, index: DatagramsIndex) -> Datagrams<'_> {
        let run = &self.runs[index.0 as usize];
        Datagrams {
            socket: run.socket,
            source: run.received.source,
            bytes: self.buffers.payload(run.buffer, run.received.payload_bytes),
            segment_bytes: run.received.segment_bytes,
        }
    }

    fn lend(&mut self, bytes: Vec<u8>) -> DatagramsIndex {
        self.lent.lend(bytes)
    }

    #[inline]
    fn lent(&self, index: DatagramsIndex) -> &[u8] {
        self.lent.bytes(index)
    }

    fn returned(&mut self) -> Option<Vec<u8>> {
        self.lent.take_back()
    }

    fn waker(&self) -> io::Result<Waker> {
        Ok(self.waker.clone())
    }

    fn stats(&self) -> &IoStats {
        &self.stats
    }

    fn name(&self) -> &'static str {
        "mmsg"
    }
}

/// A slice of the current turn; panics when it is not within its datagrams.
#[inline]
fn slice<'a>(buffers: &'a ReceiveBuffers, runs: &[Run], lent: &'a LentBuffers, slice: Slice) -> &'a [u8] {
    if slice.datagrams.is_lent() {
        return lent.slice(slice);
    }
    let run = &runs[slice.datagrams.0 as usize];
    let payload = buffers.payload(run.buffer, run.received.payload_bytes);
    let (offset, len) = (slice.offset as usize, slice.len as usize);
    assert!(offset + len <= payload.len(), "{slice:?} is outside of its datagrams");
    &payload[offset..][..len]
}

/// What is copied of a payload and what is only pointed to.
#[inline]
fn pieces(payload: &[u8]) -> (&[u8], (*const u8, u32)) {
    let len = payload.len() as u32;
    if len <= COPIED_BYTES_MAX { (payload, (null(), 0)) } else { (&[], (payload.as_ptr(), len)) }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: duration.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: duration.subsec_nanos() as libc::c_long,
    }
}
