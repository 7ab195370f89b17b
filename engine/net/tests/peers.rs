//! Sockets connected to one peer: cheaper, and otherwise as if they were not.

mod common;

use common::{Open, PATIENCE, add, add_at, is_empty, peer, peer_at, read, receive, turn, wait};
use motet_net::{AnyIo, DatagramsIndex, Io, Options, Slice, SocketId};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

on_both!(
    what_goes_to_the_peer_goes_connected_and_all_else_as_before,
    the_peer_and_strangers_are_both_heard,
    a_peer_can_be_changed_and_taken_away,
    nothing_is_lost_while_peers_change,
    a_peer_that_does_not_listen_is_given_up_and_tried_again,
    a_removed_sockets_port_is_free_though_it_had_a_peer,
    a_socket_at_a_wildcard_address_goes_without,
    ipv6_works,
    payloads_small_and_large_arrive_whole,
);

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("bound")
}

fn flush(io: &mut AnyIo) {
    turn(io, Duration::ZERO);
}

/// What a peer received so far: `count` datagrams, from one address.
fn texts(peer: &UdpSocket, count: usize, from: SocketAddr) -> Vec<Vec<u8>> {
    let datagram = |_| {
        let (bytes, source) = read(peer);
        assert_eq!(source, from);
        bytes
    };
    (0..count).map(datagram).collect()
}

fn what_goes_to_the_peer_goes_connected_and_all_else_as_before(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, friend, other) = (add(&mut io, 0), peer(), peer());
    io.set_peer(SocketId(0), Some(address(&friend)));
    for _ in 0..3 {
        io.queue(SocketId(0), address(&friend), b"to the friend", None);
    }
    io.queue(SocketId(0), address(&other), b"to the other", None);
    flush(&mut io);
    assert_eq!(texts(&friend, 3, at), vec![b"to the friend"; 3]);
    assert_eq!(texts(&other, 1, at), [b"to the other"]);
    let stats = io.stats();
    assert_eq!((stats.datagrams_sent, stats.datagrams_connected, stats.datagrams_in_gso), (4, 3, 3));
    assert_eq!((stats.peers_refused, stats.peers_failed), (0, 0));
}

fn the_peer_and_strangers_are_both_heard(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, friend, stranger) = (add(&mut io, 7), peer(), peer());
    friend.send_to(b"before", at).expect("loopback");
    io.set_peer(SocketId(7), Some(address(&friend)));
    friend.send_to(b"after", at).expect("loopback");
    stranger.send_to(b"stranger", at).expect("loopback");
    let mut received = receive(&mut io, 3);
    received.sort_by(|a, b| a.bytes.cmp(&b.bytes));
    let seen: Vec<_> =
        received.iter().map(|packet| (packet.socket.0, packet.source, &packet.bytes[..])).collect();
    let friend = address(&friend);
    assert_eq!(
        seen,
        [(7, friend, &b"after"[..]), (7, friend, b"before"), (7, address(&stranger), b"stranger")]
    );
}

fn a_peer_can_be_changed_and_taken_away(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, one, two) = (add(&mut io, 0), peer(), peer());
    let mut connected = 0;
    for (peer, expected) in [(Some(&one), [1, 0]), (Some(&two), [0, 1]), (None, [0, 0]), (Some(&one), [1, 0])]
    {
        io.set_peer(SocketId(0), peer.map(address));
        for to in [&one, &two] {
            io.queue(SocketId(0), address(to), b"text", None);
            flush(&mut io);
            connected += 1;
            assert_eq!(texts(to, 1, at), [b"text"]);
            to.send_to(b"back", at).expect("loopback");
            assert_eq!(receive(&mut io, 1)[0].source, address(to));
        }
        connected -= 2;
        connected += expected.iter().sum::<u64>();
        assert_eq!(io.stats().datagrams_connected, connected);
    }
}

fn nothing_is_lost_while_peers_change(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, one, two) = (add(&mut io, 0), peer(), peer());
    let mut expected = 0;
    for round in 0..40 {
        for sender in [&one, &two] {
            for _ in 0..5 {
                sender.send_to(b"packet", at).expect("loopback");
                expected += 1;
            }
        }
        // With what was sent above still in the sockets.
        io.set_peer(SocketId(0), [Some(&one), Some(&two), None][round % 3].map(address));
    }
    assert_eq!(receive(&mut io, expected).len(), expected);
    assert_eq!(io.stats().receive_errors, 0);
}

fn a_peer_that_does_not_listen_is_given_up_and_tried_again(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    let to = address(&peer);
    drop(peer);
    io.set_peer(SocketId(0), Some(to));
    let end = Instant::now() + PATIENCE;
    while io.stats().peers_refused == 0 {
        assert!(Instant::now() < end, "{:?}", io.stats());
        io.queue(SocketId(0), to, b"anyone?", None);
        turn(&mut io, Duration::from_millis(1));
    }
    // It listens now, and gets everything from now on, though nobody said so.
    let peer = UdpSocket::bind(to).expect("the port is free");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let before = io.stats().datagrams_connected;
    for _ in 0..3 {
        io.queue(SocketId(0), to, b"again", None);
        flush(&mut io);
    }
    assert_eq!(texts(&peer, 3, at), vec![b"again"; 3]);
    assert_eq!(io.stats().datagrams_connected, before);
    assert_eq!((io.stats().send_dropped_error, io.stats().peers_refused), (0, 1), "{:?}", io.stats());
    io.set_peer(SocketId(0), Some(to));
    io.queue(SocketId(0), to, b"connected", None);
    flush(&mut io);
    assert_eq!(texts(&peer, 1, at), [b"connected"]);
    assert_eq!(io.stats().datagrams_connected, before + 1);
}

fn a_removed_sockets_port_is_free_though_it_had_a_peer(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    io.set_peer(SocketId(0), Some(address(&peer)));
    flush(&mut io);
    assert!(UdpSocket::bind(at).is_err(), "nobody else may bind the address meanwhile");
    io.remove_socket(SocketId(0));
    flush(&mut io);
    let end = Instant::now() + PATIENCE;
    let again = loop {
        assert!(Instant::now() < end, "the port is still in use");
        if let Ok(socket) = UdpSocket::bind(at) {
            break socket;
        }
    };
    io.add_socket(SocketId(0), again).expect("the id is free, too");
    peer.send_to(b"to the new one", at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"to the new one");
}

fn a_socket_at_a_wildcard_address_goes_without(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add_at(&mut io, 0, "0.0.0.0:0");
    let peer = peer();
    io.set_peer(SocketId(0), Some(address(&peer)));
    io.set_peer(SocketId(99), Some(address(&peer)));
    io.queue(SocketId(0), address(&peer), b"text", None);
    flush(&mut io);
    assert_eq!(texts(&peer, 1, SocketAddr::from(([127, 0, 0, 1], at.port()))), [b"text"]);
    assert_eq!((io.stats().datagrams_connected, io.stats().peers_failed), (0, 1));
}

fn ipv6_works(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add_at(&mut io, 0, "[::1]:0"), peer_at("[::1]:0"));
    io.set_peer(SocketId(0), Some(address(&peer)));
    io.queue(SocketId(0), address(&peer), b"six", None);
    flush(&mut io);
    assert_eq!(texts(&peer, 1, at), [b"six"]);
    peer.send_to(b"back", at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].source, address(&peer));
    assert_eq!(io.stats().datagrams_connected, 1);
}

/// Around the size up to which payloads are copied, to a peer and to another.
fn payloads_small_and_large_arrive_whole(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, friend, other) = (add(&mut io, 0), peer(), peer());
    io.set_peer(SocketId(0), Some(address(&friend)));
    let sink = add(&mut io, 1);
    for size in [1, 12, 172, 255, 256, 257, 1200, 1460] {
        let payload: Vec<u8> = (0..size).map(|byte| byte as u8).collect();
        other.send_to(&payload, sink).expect("loopback");
        wait(&mut io);
        let slice = Slice { datagrams: DatagramsIndex(0), offset: 0, len: size };
        for to in [&friend, &other] {
            io.queue(SocketId(0), address(to), b"header", Some(slice));
        }
        flush(&mut io);
        for to in [&friend, &other] {
            assert_eq!(texts(to, 1, at), [[&b"header"[..], &payload].concat()], "{size} bytes");
            assert!(is_empty(to));
        }
    }
}
