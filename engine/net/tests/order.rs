//! A peer's packets come in the order in which they were sent, though its socket gets a twin in between.

mod common;

use common::{Open, PATIENCE, add, packets, peer, receive, turn};
use motet_net::{AnyIo, DatagramsIndex, Io, Options, SocketId};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

on_both!(
    what_came_before_the_twin_comes_first,
    it_does_for_whoever_takes_the_sockets_over,
    it_does_when_the_sockets_are_held_and_moved,
    a_flood_from_strangers_does_not_silence_the_peer,
);

/// Sockets; many more than there are buffers.
const SOCKETS: u32 = 200;
/// Packets to each before and after it gets its twin.
const PACKETS: u8 = 5;

/// So few buffers that most receives find none.
fn short() -> Options {
    Options { receive_buffers: 8, gro: false, ..Options::default() }
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("bound")
}

/// Some sockets and their only peer.
fn sockets(io: &mut AnyIo) -> (Vec<SocketAddr>, UdpSocket) {
    ((0..SOCKETS).map(|id| add(io, id)).collect(), peer())
}

/// Packets before and after each socket gets its twin.
fn send_and_connect(io: &mut AnyIo, targets: &[SocketAddr], friend: &UdpSocket) {
    let send = |numbers: std::ops::Range<u8>| {
        for number in numbers {
            for to in targets {
                friend.send_to(&[number], to).expect("loopback");
            }
        }
    };
    send(0..PACKETS);
    (0..SOCKETS).for_each(|id| assert!(io.set_peer(SocketId(id), Some(address(friend)))));
    send(PACKETS..2 * PACKETS);
}

/// Receives everything; it is in order.
fn check(io: &mut AnyIo) {
    let all = receive(io, SOCKETS as usize * 2 * usize::from(PACKETS));
    for id in 0..SOCKETS {
        let of_it = all.iter().filter(|packet| packet.socket == SocketId(id));
        let numbers: Vec<u8> = of_it.map(|packet| packet.bytes[0]).collect();
        assert_eq!(numbers, (0..2 * PACKETS).collect::<Vec<_>>(), "socket {id}");
    }
}

fn what_came_before_the_twin_comes_first(open: Open<'_>) {
    let mut io = open(short());
    let (targets, friend) = sockets(&mut io);
    turn(&mut io, Duration::ZERO);
    send_and_connect(&mut io, &targets, &friend);
    check(&mut io);
    // The twins are received from as any socket is.
    friend.send_to(b"later", targets[0]).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"later");
}

fn it_does_for_whoever_takes_the_sockets_over(open: Open<'_>) {
    let (mut first, mut second) = (open(short()), open(short()));
    second.pause().expect("it pauses");
    let (targets, friend) = sockets(&mut first);
    turn(&mut first, Duration::ZERO);
    first.pause().expect("it pauses");
    send_and_connect(&mut first, &targets, &friend);
    for id in 0..SOCKETS {
        let (socket, twin) = first.duplicate(SocketId(id)).expect("it is there");
        second.add_socket(SocketId(id), socket).expect("the socket is taken");
        second.add_twin(SocketId(id), twin.expect("it has one")).expect("the twin is taken");
    }
    assert!(!turn(&mut second, Duration::ZERO).more, "one that pauses has nothing to do");
    second.resume();
    check(&mut second);
}

fn it_does_when_the_sockets_are_held_and_moved(open: Open<'_>) {
    let (mut first, mut second) = (open(short()), open(short()));
    let (targets, friend) = sockets(&mut first);
    send_and_connect(&mut first, &targets, &friend);
    let ids: Vec<SocketId> = (0..SOCKETS).map(SocketId).collect();
    first.hold(&ids).expect("they are held");
    assert_eq!(turn(&mut first, Duration::ZERO).received, 0);
    first.let_go(&ids);
    first.hold(&ids).expect("they are held again");
    let (stay, go) = ids.split_at(ids.len() / 2);
    first.let_go(stay);
    for id in go {
        let pair = first.take_pair(*id).expect("it is there");
        second.add_pair(*id, pair).map_err(|(error, _)| error).expect("it is taken");
    }
    for (io, ids) in [(&mut first, stay), (&mut second, go)] {
        let all = receive(io, ids.len() * 2 * usize::from(PACKETS));
        for id in ids {
            let of_it = all.iter().filter(|packet| packet.socket == *id);
            assert!(of_it.map(|packet| packet.bytes[0]).eq(0..2 * PACKETS), "{id:?}");
        }
    }
}

fn a_flood_from_strangers_does_not_silence_the_peer(open: Open<'_>) {
    let mut io = open(Options { gro: false, ..Options::default() });
    let (at, friend, stranger) = (add(&mut io, 0), peer(), peer());
    io.set_peer(SocketId(0), Some(address(&friend)));
    friend.send_to(b"friend", at).expect("loopback");
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "the peer is not heard");
        // More than a turn takes from one socket.
        for _ in 0..100 {
            stranger.send_to(b"stranger", at).expect("loopback");
        }
        let turn = turn(&mut io, Duration::ZERO);
        let mut runs = (0..turn.received).map(|index| io.datagrams(DatagramsIndex(index as u32)));
        if runs.any(|run| packets(&run).iter().any(|packet| packet.bytes == b"friend")) {
            return;
        }
    }
}
