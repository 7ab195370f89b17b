//! What the tests of both back ends share.

#![allow(dead_code)] // Each test binary uses a part.

use motet_net::{AnyIo, Datagrams, DatagramsIndex, Io, IoChoice, Options, SocketId, Turn, select};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; tests end as soon as they have what they wait for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the back end under test.
pub type Open<'a> = &'a dyn Fn(Options) -> AnyIo;

/// Runs a test on a back end. Where io_uring is not to be had the test says so and does nothing.
pub fn run(choice: IoChoice, test: fn(Open<'_>)) {
    if choice == IoChoice::Uring
        && let Err(error) = select(choice, &Options::default())
    {
        eprintln!("\n*** SKIPPED: io_uring does not work on this machine: {error} ***\n");
        return;
    }
    test(&|options| select(choice, &options).expect("the back end opens").0);
}

/// A received datagram, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub socket: SocketId,
    pub source: SocketAddr,
    pub bytes: Vec<u8>,
}

/// Cuts a run into its datagrams.
pub fn packets(run: &Datagrams<'_>) -> Vec<Packet> {
    let packet = |bytes: &[u8]| Packet { socket: run.socket, source: run.source, bytes: bytes.to_vec() };
    if run.bytes.is_empty() {
        return vec![packet(&[])];
    }
    run.bytes.chunks(run.segment_bytes).map(packet).collect()
}

pub fn turn(io: &mut AnyIo, timeout: Duration) -> Turn {
    io.turn(Some(timeout)).expect("a turn works")
}

/// Turns until `count` datagrams came.
pub fn receive(io: &mut AnyIo, count: usize) -> Vec<Packet> {
    let end = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while all.len() < count {
        assert!(Instant::now() < end, "{} of {count} datagrams came", all.len());
        let turn = turn(io, Duration::from_millis(100));
        for index in 0..turn.received {
            all.extend(packets(&io.datagrams(DatagramsIndex(index as u32))));
        }
    }
    all
}

/// Turns until something came; returns the number of runs.
pub fn wait(io: &mut AnyIo) -> Turn {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "nothing came");
        let turn = turn(io, Duration::from_millis(100));
        if turn.received > 0 {
            return turn;
        }
    }
}

/// A socket outside of the back end.
pub fn peer() -> UdpSocket {
    peer_at("127.0.0.1:0")
}

pub fn peer_at(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Adds a socket to the back end; returns its address.
pub fn add(io: &mut AnyIo, id: u32) -> SocketAddr {
    add_at(io, id, "127.0.0.1:0")
}

pub fn add_at(io: &mut AnyIo, id: u32, address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).expect("loopback");
    let address = socket.local_addr().expect("bound");
    io.add_socket(SocketId(id), socket).expect("the socket is taken");
    address
}

/// Receives one datagram at a peer.
pub fn read(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (len, source) = peer.recv_from(&mut bytes).expect("a datagram in time");
    bytes.truncate(len);
    (bytes, source)
}

/// Whether nothing waits at a peer.
pub fn is_empty(peer: &UdpSocket) -> bool {
    peer.set_nonblocking(true).expect("non-blocking");
    let empty = peer.recv_from(&mut [0; 16]).is_err();
    peer.set_nonblocking(false).expect("blocking");
    empty
}

/// Sends a run of equal segments as one message.
pub fn send_gso(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], segment: u16) {
    use std::os::fd::AsRawFd;
    socket.connect(to).expect("loopback");
    let value = i32::from(segment);
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is live and `len` bytes long; setsockopt(2) only reads it.
    let set = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, len)
    };
    assert_eq!(set, 0, "UDP_SEGMENT");
    socket.send(bytes).expect("loopback takes it");
}

/// Runs every named test on both back ends.
#[macro_export]
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod uring {
            $(#[test] fn $test() { $crate::common::run(motet_net::IoChoice::Uring, super::$test); })*
        }
        mod mmsg {
            $(#[test] fn $test() { $crate::common::run(motet_net::IoChoice::Mmsg, super::$test); })*
        }
    };
}
