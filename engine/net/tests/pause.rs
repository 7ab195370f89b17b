//! Pausing loses no packet: what had arrived is handed out, what arrives later waits for whoever is next.

mod common;

use common::{Open, PATIENCE, Packet, add, packets, peer, read, receive, turn};
use motet_net::{AnyIo, DatagramsIndex, Io, Options, SocketId};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both!(
    nothing_is_lost_or_reordered_between_two_that_share_sockets,
    what_is_queued_before_a_pause_is_sent,
    a_paused_back_end_leaves_packets_in_the_sockets,
    sockets_may_come_and_go_while_paused,
    the_waker_works_after_a_pause,
);

/// A turn's packets, and whether there may be more.
fn one_turn(io: &mut AnyIo) -> (Vec<Packet>, bool) {
    let turn = turn(io, Duration::from_millis(50));
    let runs = (0..turn.received).flat_map(|index| packets(&io.datagrams(DatagramsIndex(index as u32))));
    (runs.collect(), turn.more || turn.received > 0)
}

/// Turns of a paused back end until it has handed out everything.
fn drain(io: &mut AnyIo) -> Vec<Packet> {
    let mut all = Vec::new();
    loop {
        let (packets, more) = one_turn(io);
        all.extend(packets);
        if !more {
            return all;
        }
    }
}

fn share(from: &AnyIo, to: &mut AnyIo, id: u32) {
    let (socket, twin) = from.duplicate(SocketId(id)).expect("it is there");
    to.add_socket(SocketId(id), socket).expect("the socket is taken");
    if let Some(twin) = twin {
        to.add_twin(SocketId(id), twin).expect("the twin is taken");
    }
}

/// Two back ends take turns at the same sockets while a sender does not pause.
fn nothing_is_lost_or_reordered_between_two_that_share_sockets(open: Open<'_>) {
    let (mut first, mut second) = (open(Options::default()), open(Options::default()));
    let targets: Vec<SocketAddr> = (0..8).map(|id| add(&mut first, id)).collect();
    second.pause().expect("it pauses");
    // Half of the sockets have a twin that hears the sender, one has a deaf one.
    let socket = peer();
    let from = socket.local_addr().expect("bound");
    (0..4).for_each(|id| assert!(first.set_peer(SocketId(id), Some(from))));
    first.set_peer(SocketId(3), None);
    (0..8).for_each(|id| share(&first, &mut second, id));
    assert!(!second.set_peer(SocketId(0), Some(from)), "it knows to whom the twin is connected");
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let sender = std::thread::spawn(move || {
        let mut sent = 0u64;
        while !ended.load(Ordering::Relaxed) {
            let to = targets[(sent % 8) as usize];
            socket.send_to(&sent.to_be_bytes(), to).expect("loopback");
            sent += 1;
            if sent.is_multiple_of(64) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        sent
    });
    let mut got = Vec::new();
    let end = Instant::now() + PATIENCE;
    for round in 1..=30 {
        let enough = got.len() + 200 * (round % 5);
        while got.len() < enough {
            assert!(Instant::now() < end, "packets stopped coming in round {round}");
            got.extend(one_turn(&mut first).0);
        }
        first.pause().expect("it pauses");
        got.extend(drain(&mut first));
        second.resume();
        std::mem::swap(&mut first, &mut second);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("no panic") as usize;
    while got.len() < sent {
        assert!(Instant::now() < end, "{} of {sent} came", got.len());
        got.extend(one_turn(&mut first).0);
    }
    for id in 0..8 {
        let numbers: Vec<u64> =
            got.iter().filter(|packet| packet.socket == SocketId(id)).map(number).collect();
        let expected: Vec<u64> = (0..sent as u64).filter(|n| n % 8 == u64::from(id)).collect();
        assert!(numbers == expected, "socket {id}: {} of {}", numbers.len(), expected.len());
    }
}

fn number(packet: &Packet) -> u64 {
    u64::from_be_bytes(packet.bytes.as_slice().try_into().expect("eight bytes"))
}

fn what_is_queued_before_a_pause_is_sent(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add(&mut io, 0);
    let other = peer();
    other.send_to(b"to and fro", at).expect("loopback");
    receive(&mut io, 1);
    let slice = motet_net::Slice { datagrams: DatagramsIndex(0), offset: 0, len: 10 };
    io.queue(SocketId(0), other.local_addr().expect("bound"), b"> ", Some(slice));
    io.pause().expect("it pauses");
    assert_eq!(drain(&mut io), []);
    assert_eq!(read(&other).0, b"> to and fro");
}

fn a_paused_back_end_leaves_packets_in_the_sockets(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add(&mut io, 0);
    turn(&mut io, Duration::ZERO);
    io.pause().expect("it pauses");
    io.pause().expect("it is paused");
    let other = peer();
    other.send_to(b"wait", at).expect("loopback");
    assert_eq!(drain(&mut io), []);
    let (handle, _): (UdpSocket, _) = io.duplicate(SocketId(0)).expect("it is there");
    let mut bytes = [0; 16];
    assert_eq!(handle.peek(&mut bytes).expect("it waits"), 4);
    io.resume();
    assert_eq!(receive(&mut io, 1)[0].bytes, b"wait");
    assert_eq!(io.duplicate(SocketId(7)).expect_err("no such socket").kind(), ErrorKind::NotFound);
}

fn sockets_may_come_and_go_while_paused(open: Open<'_>) {
    let mut io = open(Options::default());
    add(&mut io, 0);
    turn(&mut io, Duration::ZERO);
    io.pause().expect("it pauses");
    let at = add(&mut io, 1);
    io.remove_socket(SocketId(0));
    peer().send_to(b"early", at).expect("loopback");
    assert_eq!(drain(&mut io), []);
    io.resume();
    assert_eq!(receive(&mut io, 1)[0].socket, SocketId(1));
}

fn the_waker_works_after_a_pause(open: Open<'_>) {
    let mut io = open(Options::default());
    add(&mut io, 0);
    turn(&mut io, Duration::ZERO);
    io.pause().expect("it pauses");
    drain(&mut io);
    io.resume();
    turn(&mut io, Duration::ZERO);
    turn(&mut io, Duration::ZERO);
    io.waker().expect("a waker").wake();
    let end = Instant::now() + PATIENCE;
    while !io.turn(Some(PATIENCE)).expect("a turn works").woken {
        assert!(Instant::now() < end, "nobody was woken");
    }
}
