//! Sockets go from one back end to another while both carry packets: none is lost, doubled or out of order.

mod common;

use common::{Open, PATIENCE, Packet, add, packets, peer, read, receive, turn};
use motet_net::{AnyIo, DatagramsIndex, Io, Options, Slice, SocketId};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both!(
    nothing_is_lost_or_reordered_when_sockets_move,
    what_is_queued_for_held_sockets_is_sent,
    held_sockets_go_on_when_let_go,
    what_cannot_be_held_or_added_changes_nothing,
    a_socket_that_is_added_and_taken_out_at_once_is_whole,
);

/// One turn's packets.
fn one_turn(io: &mut AnyIo, timeout: Duration) -> Vec<Packet> {
    let received = turn(io, timeout).received;
    (0..received).flat_map(|index| packets(&io.datagrams(DatagramsIndex(index as u32)))).collect()
}

/// Holds sockets, and hands out what had come.
fn hold(io: &mut AnyIo, ids: &[SocketId]) -> Vec<Packet> {
    let mut all = Vec::new();
    io.hold(ids).expect("they are there");
    loop {
        let waits = io.has_backlog_of_held();
        all.extend(one_turn(io, Duration::ZERO));
        if !waits {
            return all;
        }
    }
}

fn number(packet: &Packet) -> u64 {
    u64::from_be_bytes(packet.bytes.as_slice().try_into().expect("eight bytes"))
}

/// Sockets 0 to 3 move to and fro as 10 to 13; 4 to 7 stay.
fn nothing_is_lost_or_reordered_when_sockets_move(open: Open<'_>) {
    let (mut home, mut away) = (open(Options::default()), open(Options::default()));
    let targets: Vec<SocketAddr> = (0..8).map(|id| add(&mut home, id)).collect();
    let socket = peer();
    let from = socket.local_addr().expect("bound");
    // Some have a twin that hears the sender, one of them a deaf one.
    [0, 1, 2, 5].iter().for_each(|id| assert!(home.set_peer(SocketId(*id), Some(from))));
    home.set_peer(SocketId(2), None);
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let sender = std::thread::spawn(move || {
        let mut sent = 0u64;
        while !ended.load(Ordering::Relaxed) {
            socket.send_to(&sent.to_be_bytes(), targets[(sent % 8) as usize]).expect("loopback");
            sent += 1;
            if sent.is_multiple_of(64) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        sent
    });
    let mut got: Vec<Packet> = Vec::new();
    let end = Instant::now() + PATIENCE;
    for round in 1..=30 {
        let enough = got.len() + 200 * (round % 4);
        while got.len() < enough {
            assert!(Instant::now() < end, "packets stopped coming in round {round}");
            got.extend(one_turn(&mut home, Duration::from_millis(1)));
            got.extend(one_turn(&mut away, Duration::from_millis(1)));
        }
        let there = round % 2 == 0;
        let (giver, taker) = if there { (&mut away, &mut home) } else { (&mut home, &mut away) };
        let ids: Vec<SocketId> = (0..4).map(|id| SocketId(if there { id + 10 } else { id })).collect();
        got.extend(hold(giver, &ids));
        for SocketId(id) in ids {
            let pair = giver.take_pair(SocketId(id)).expect("it is held");
            assert!(!giver.has_socket(SocketId(id)));
            taker.add_pair(SocketId((id + 10) % 20), pair).expect("there is room");
        }
    }
    assert!(!home.set_peer(SocketId(0), Some(from)), "it knows to whom the twin is connected");
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("no panic");
    while (got.len() as u64) < sent {
        assert!(Instant::now() < end, "{} of {sent} came", got.len());
        got.extend(one_turn(&mut home, Duration::from_millis(10)));
    }
    for id in 0..8 {
        let here = got.iter().filter(|packet| packet.socket.0 % 10 == id);
        let numbers: Vec<u64> = here.map(number).collect();
        let expected: Vec<u64> = (0..sent).filter(|n| n % 8 == u64::from(id)).collect();
        assert!(numbers == expected, "socket {id}: {} of {}", numbers.len(), expected.len());
    }
}

fn what_is_queued_for_held_sockets_is_sent(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add(&mut io, 0);
    let other = peer();
    other.send_to(b"to and fro", at).expect("loopback");
    receive(&mut io, 1);
    let slice = Slice { datagrams: DatagramsIndex(0), offset: 0, len: 10 };
    io.queue(SocketId(0), other.local_addr().expect("bound"), b"> ", Some(slice));
    assert_eq!(hold(&mut io, &[SocketId(0)]), []);
    assert_eq!(read(&other).0, b"> to and fro");
}

fn held_sockets_go_on_when_let_go(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, also) = (add(&mut io, 0), add(&mut io, 1));
    turn(&mut io, Duration::ZERO);
    assert_eq!(hold(&mut io, &[SocketId(0)]), []);
    let other = peer();
    assert!(!io.set_peer(SocketId(0), other.local_addr().ok()), "a held socket gets no twin");
    other.send_to(b"wait", at).expect("loopback");
    other.send_to(b"goes on", also).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"goes on");
    assert_eq!(hold(&mut io, &[SocketId(0)]), [], "holding twice is holding once");
    io.let_go(&[SocketId(0), SocketId(7)]);
    io.let_go(&[SocketId(0)]);
    assert_eq!(receive(&mut io, 1)[0].bytes, b"wait");
    other.send_to(b"more", at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"more");
}

fn what_cannot_be_held_or_added_changes_nothing(open: Open<'_>) {
    let (mut first, mut second) = (open(Options::default()), open(Options::default()));
    let (at, beside) = (add(&mut first, 0), add(&mut second, 3));
    turn(&mut first, Duration::ZERO);
    let unknown = first.hold(&[SocketId(0), SocketId(9)]).expect_err("there is no socket 9");
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert!(first.take_pair(SocketId(9)).is_none());
    let other = peer();
    other.send_to(b"still heard", at).expect("loopback");
    receive(&mut first, 1);

    hold(&mut first, &[SocketId(0)]);
    let pair = first.take_pair(SocketId(0)).expect("it is held");
    other.send_to(b"meanwhile", at).expect("loopback");
    let (error, pair) = second.add_pair(SocketId(3), pair).expect_err("3 is in use");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let (error, pair) = second.add_pair(SocketId(u32::MAX / 4), pair).expect_err("so many are not held");
    assert!(error.to_string().contains("sockets_max"), "{error}");
    first.add_pair(SocketId(0), pair).expect("back it goes");
    assert_eq!(receive(&mut first, 1)[0].bytes, b"meanwhile");
    other.send_to(b"beside", beside).expect("loopback");
    assert_eq!(receive(&mut second, 1)[0].bytes, b"beside");
}

fn a_socket_that_is_added_and_taken_out_at_once_is_whole(open: Open<'_>) {
    let (mut first, mut second) = (open(Options::default()), open(Options::default()));
    turn(&mut first, Duration::ZERO);
    let at = add(&mut first, 0);
    peer().send_to(b"early", at).expect("loopback");
    let pair = first.take_pair(SocketId(0)).expect("it was added a moment ago");
    turn(&mut first, Duration::ZERO);
    second.add_pair(SocketId(5), pair).expect("there is room");
    assert_eq!(receive(&mut second, 1)[0].socket, SocketId(5));
}
