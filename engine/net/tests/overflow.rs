//! What the kernel drops since a receive buffer is full is counted, once, wherever the socket goes.

mod common;

use common::{Open, add, peer, receive, turn};
use motet_net::{AnyIo, Io, Options, SocketId};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

on_both!(
    every_datagram_is_received_or_counted,
    drops_are_counted_on_where_the_socket_goes,
    drops_before_a_socket_was_added_are_not_counted,
);

const SENT: u64 = 300;

fn small() -> Options {
    Options { socket_receive_bytes: 8 * 1024, ..Options::default() }
}

/// Sends more than a small buffer holds.
fn flood(from: &UdpSocket, to: SocketAddr) {
    (0..SENT).for_each(|_| assert_eq!(from.send_to(&[7; 500], to).expect("loopback"), 500));
}

/// Takes what waits, and one datagram more, which tells how many were dropped before it.
fn settle(io: &mut AnyIo, from: &UdpSocket, to: SocketAddr) {
    loop {
        let turn = turn(io, Duration::ZERO);
        if turn.received == 0 && !turn.more {
            break;
        }
    }
    from.send_to(&[7; 500], to).expect("loopback");
    receive(io, 1);
}

fn every_datagram_is_received_or_counted(open: Open<'_>) {
    let mut io = open(small());
    let (at, from) = (add(&mut io, 0), peer());
    settle(&mut io, &from, at);
    assert_eq!(io.stats().kernel_drops, 0);
    for round in 1..=2 {
        flood(&from, at);
        settle(&mut io, &from, at);
        let stats = io.stats();
        assert!(stats.kernel_drops >= 100 * round, "the buffer is small: {}", stats.kernel_drops);
        assert_eq!(stats.datagrams_received + stats.kernel_drops, 1 + round * (SENT + 1));
    }
}

fn drops_are_counted_on_where_the_socket_goes(open: Open<'_>) {
    let (mut first, mut second) = (open(small()), open(small()));
    let (at, from) = (add(&mut first, 0), peer());
    flood(&from, at);
    settle(&mut first, &from, at);
    let before = first.stats().kernel_drops;
    assert!(before > 0);
    first.hold(&[SocketId(0)]).expect("it is there");
    turn(&mut first, Duration::ZERO);
    flood(&from, at);
    let pair = first.take_pair(SocketId(0)).expect("it is held");
    second.add_pair(SocketId(1), pair).expect("there is room");
    settle(&mut second, &from, at);
    let (one, other) = (first.stats(), second.stats());
    assert_eq!(one.kernel_drops, before);
    assert!(other.kernel_drops > 0);
    let received = one.datagrams_received + other.datagrams_received;
    assert_eq!(received + one.kernel_drops + other.kernel_drops, 2 * (SENT + 1));
}

fn drops_before_a_socket_was_added_are_not_counted(open: Open<'_>) {
    let mut first = open(small());
    let (at, from) = (add(&mut first, 0), peer());
    let (handle, _) = first.duplicate(SocketId(0)).expect("it is there");
    // What waits then tells of the drops of the first flood.
    flood(&from, at);
    settle(&mut first, &from, at);
    flood(&from, at);
    drop(first);
    let mut io = open(small());
    io.add_socket(SocketId(0), handle).expect("there is room");
    settle(&mut io, &from, at);
    assert_eq!(io.stats().kernel_drops, 0, "another one has counted them");
}
