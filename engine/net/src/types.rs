//! The batch interface that a worker sees.

use crate::{Residence, SocketPair, Waker};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Names a socket of one [`Io`]. Chosen by the caller, who keeps the numbers small and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

/// Names a [`Datagrams`] of the current turn, or a buffer lent in it ([`Io::lend`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramsIndex(pub u32);

/// One or more datagrams of one source that the kernel delivered together (UDP_GRO).
#[derive(Clone, Copy, Debug)]
pub struct Datagrams<'a> {
    /// The socket that they came in at.
    pub socket: SocketId,
    /// Where they came from.
    pub source: SocketAddr,
    /// All datagrams, one after another.
    pub bytes: &'a [u8],
    /// Size of each datagram but the last, which may be shorter. At least 1, even when `bytes` is empty.
    pub segment_bytes: usize,
}

/// Part of a received datagram, to be sent on without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which run of datagrams of the current turn.
    pub datagrams: DatagramsIndex,
    /// First byte, counted from the start of the run.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

/// What one turn brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Runs of datagrams now readable by [`Io::datagrams`].
    pub received: usize,
    /// The [`Waker`] was used since the last turn.
    pub woken: bool,
    /// The kernel may hold more packets already; do not sleep for long.
    pub more: bool,
}

/// Counters since start. Monotonic; cheap to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoStats {
    /// Datagrams received (GRO segments counted one by one).
    pub datagrams_received: u64,
    /// Bytes of payload received.
    pub bytes_received: u64,
    /// Messages received from the kernel (one may hold many datagrams).
    pub messages_received: u64,
    /// Messages that came truncated or unreadable and were dropped, and errors reported by the kernel
    /// instead of a message, such as ICMP "port unreachable".
    pub receive_errors: u64,
    /// Datagrams that the kernel dropped since a socket's receive buffer was full. Known when the socket's next
    /// datagram is received.
    pub kernel_drops: u64,
    /// Datagrams that the kernel accepted for sending.
    pub datagrams_sent: u64,
    /// Bytes of payload sent.
    pub bytes_sent: u64,
    /// Messages sent (one may hold many datagrams).
    pub messages_sent: u64,
    /// Datagrams sent in messages of two or more (GSO).
    pub datagrams_in_gso: u64,
    /// Messages that were sent without a copy ([`Options::zero_copy`](crate::Options::zero_copy)).
    pub messages_zero_copy: u64,
    /// Datagrams sent through a socket connected to their destination (see [`Io::set_peer`]).
    pub datagrams_connected: u64,
    /// Times that a connected socket's peer turned out not to listen, so that the socket was disconnected.
    pub peers_refused: u64,
    /// Times that a socket could not be connected: no descriptor was left, or the socket is bound to a
    /// wildcard address.
    pub peers_failed: u64,
    /// Datagrams dropped because the socket's send buffer was full.
    pub send_dropped_full: u64,
    /// Datagrams dropped because of any other error, such as an unreachable destination.
    pub send_dropped_error: u64,
    /// Datagrams dropped because the send queue of the turn was full, or their socket is unknown.
    pub queue_dropped: u64,
    /// GSO messages that the kernel refused (a segment larger than the path's MTU, a device without
    /// checksum offload) and that were sent again one datagram at a time.
    pub gso_fallbacks: u64,
    /// Times that receiving stopped for want of receive buffers; packets wait in the socket meanwhile.
    pub receive_stalls: u64,
    /// System calls made for packets.
    pub system_calls: u64,
    /// Time from the kernel's receive stamp to the end of the sends, of a sample of turns.
    pub residence: Residence,
}

/// Sockets, a ring and its buffers, owned by one worker thread.
pub trait Io {
    /// Registers a bound socket under an id that is not in use; makes it non-blocking and asks for
    /// UDP_GRO. Errors: the id is in use (`AlreadyExists`), the table is full, the kernel refuses.
    fn add_socket(&mut self, id: SocketId, socket: UdpSocket) -> io::Result<()>;

    /// Closes a socket. Packets of it that are already received stay readable for this turn, packets
    /// queued for it are dropped. Unknown ids are ignored.
    fn remove_socket(&mut self, id: SocketId);

    /// Says to whom most of what is queued for a socket goes, so that it can go through a connected socket,
    /// which costs less; `None`: to nobody in particular. It changes nothing else: every source is still
    /// heard, every destination can be sent to. A system call or two when the peer is new, none when it is
    /// the same. Where it cannot be done, and for unknown ids, nothing happens
    /// ([`IoStats::peers_failed`]). A peer that does not listen is given up; to say it again tries again.
    /// True: system calls were made.
    fn set_peer(&mut self, id: SocketId, peer: Option<SocketAddr>) -> bool;

    /// Whether a socket has this id.
    fn has_socket(&self, id: SocketId) -> bool;

    /// Other handles of a socket and of its connected twin, if it has one, to be given to another process.
    /// Both receive, so that both must be given. `NotFound`: no socket has this id.
    fn duplicate(&self, id: SocketId) -> io::Result<(UdpSocket, Option<UdpSocket>)>;

    /// Takes the twin of a socket that was added before, as [`Io::duplicate`] gave it to another process.
    /// Errors: the socket is unknown or has a twin (`InvalidInput`), there are as many twins as may be.
    fn add_twin(&mut self, id: SocketId, twin: UdpSocket) -> io::Result<()>;

    /// Stops receiving, until [`Io::resume`]. When it returns the kernel holds no buffer of this back end:
    /// what arrives from now on waits in the sockets, for whoever receives from them next. What had arrived
    /// before is handed out by the following turns, which do not wait; when one brings nothing and says that
    /// there is no more, all is handed out and sent. Pausing twice is pausing once.
    ///
    /// Errors are the machine's; the back end may be used on after [`Io::resume`].
    fn pause(&mut self) -> io::Result<()>;

    /// Receives again, from the next turn on. To whom twins are connected is looked up again, since another
    /// process that has handles of them may have changed it.
    fn resume(&mut self);

    /// Stops receiving from these sockets, until [`Io::let_go`] or until they are taken out. What arrives from
    /// now on waits in them. What had arrived before is handed out by the following turns, as long as
    /// [`Io::has_backlog_of_held`] says so; what is queued for them is sent by the next turn, as ever. To whom
    /// they are connected stays as it is.
    ///
    /// Errors: `NotFound`, no socket has one of the ids, and nothing has changed; others are the machine's,
    /// and [`Io::let_go`] makes good.
    fn hold(&mut self, ids: &[SocketId]) -> io::Result<()>;

    /// Packets of sockets that are held are yet to be handed out.
    fn has_backlog_of_held(&self) -> bool;

    /// Receives from sockets again that were held. Unknown ids are ignored.
    fn let_go(&mut self, ids: &[SocketId]);

    /// Takes out a socket, with its twin, that is held, or that no turn was taken since it was added; packets
    /// queued for it are dropped. None: no socket has this id.
    ///
    /// Panics when the socket is received from: that is the caller's mistake.
    fn take_pair(&mut self, id: SocketId) -> Option<SocketPair>;

    /// Adds what [`Io::take_pair`] gave, here or in another back end of this process. What waits in the sockets
    /// comes with the next turn.
    ///
    /// Errors: as of [`Io::add_socket`], or there are as many twins as may be. Nothing has changed, and the
    /// sockets are given back.
    fn add_pair(&mut self, id: SocketId, pair: SocketPair) -> Result<(), (io::Error, SocketPair)>;

    /// Queues one datagram, `header` followed by `payload`, for the next turn. The header is copied, and so
    /// is a payload of up to 256 bytes, which is cheaper than to pass on two pieces; a longer payload is not.
    /// Datagrams queued one after another for the same socket and destination leave as
    /// one GSO message where sizes allow. A full queue drops and counts, as does an unknown socket.
    /// A long queue is sent in chunks, the first of them before the next turn.
    ///
    /// Panics when `payload` is not within the current turn's datagrams: that is the caller's mistake.
    fn queue(&mut self, socket: SocketId, destination: SocketAddr, header: &[u8], payload: Option<Slice>);

    /// Queues datagrams that lie one after another in a run of the current turn, all of `segment_bytes` but
    /// the last, which may be shorter. Otherwise as [`Io::queue`]; nothing is copied.
    ///
    /// Panics when `run` is not within the current turn's datagrams, or `segment_bytes` is 0.
    fn queue_run(&mut self, socket: SocketId, destination: SocketAddr, run: Slice, segment_bytes: u32);

    /// Writes over part of a run of the current turn. What is queued afterwards has the new bytes; what was
    /// queued before and refers to them may have either.
    ///
    /// Panics when the bytes are not within the run.
    fn overwrite(&mut self, datagrams: DatagramsIndex, offset: u32, bytes: &[u8]);

    /// Sends what is queued, gives the current datagrams back to the kernel, waits until packets, the
    /// waker or the timeout, and receives. `None` waits without end; zero does not wait. May return early
    /// with nothing received, for example after a signal. Always called by the same thread.
    ///
    /// Errors are the machine's (out of memory, a ring used by two threads); no peer can cause one.
    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn>;

    /// From the next turn on, a wait that has begun lasts at least so long, unless many packets come: few large
    /// batches for who is in no hurry. Zero: a wait ends with the first packet. Where the kernel has no such
    /// waits (Linux before 6.12), and without io_uring, nothing changes.
    fn gather(&mut self, _time: Duration) {}

    /// The next turn sends and then sleeps until then, or until the [`Waker`] is used, however many packets come: they
    /// wait in their sockets, of which each has to hold what comes to it meanwhile. Its timeout ends the sleep, too. Where
    /// the last one had more than a turn can look at, and without io_uring, nothing changes.
    fn rest(&mut self, _until: Option<Instant>) {}

    /// A run of datagrams of the current turn; `index < Turn::received`.
    fn datagrams(&self, index: DatagramsIndex) -> Datagrams<'_>;

    /// When a run of the current turn came to this machine, in nanoseconds since 1970 by the kernel's clock. None: its
    /// socket is not stamped, or nothing is gathered here, so that a turn is soon after the arrival.
    fn arrived_ns(&self, _index: DatagramsIndex) -> Option<u64> {
        None
    }

    /// Has the kernel stamp what comes to the socket of this run from now on: it costs some 50 ns a message.
    ///
    /// Errors are the machine's.
    fn stamp(&mut self, _index: DatagramsIndex) -> io::Result<()> {
        Ok(())
    }

    /// Takes a buffer whose bytes may be sent in this turn, as those of received datagrams are: a [`Slice`] may
    /// name it, and so may [`Io::overwrite`]. After the next turn it can be taken back.
    fn lend(&mut self, bytes: Vec<u8>) -> DatagramsIndex;

    /// Bytes of a buffer that was lent in the current turn. Panics for others.
    fn lent(&self, index: DatagramsIndex) -> &[u8];

    /// The next buffer that was lent in an earlier turn, in the order in which they were lent. Its bytes have
    /// been sent.
    fn returned(&mut self) -> Option<Vec<u8>>;

    /// A handle that ends the wait of [`Io::turn`] from another thread.
    fn waker(&self) -> io::Result<Waker>;

    /// Counters since start.
    fn stats(&self) -> &IoStats;

    /// "uring" or "mmsg".
    fn name(&self) -> &'static str;
}
