//! Time from the kernel's receive stamp to the end of the sends: the same tests for both back ends.

mod common;

use common::{Open, add, packets, peer, send_gso, turn, wait};
use motet_net::{AnyIo, DatagramsIndex, Io, Options, Slice, SocketId};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

on_both!(
    every_forwarded_datagram_is_counted_once,
    a_part_of_the_turns_is_measured,
    it_can_be_switched_off,
    an_arrival_is_told_where_it_was_asked_for
);

/// Waits for datagrams and forwards each to `to`; returns how many there were.
fn forward(io: &mut AnyIo, to: SocketAddr) -> u64 {
    let received = wait(io).received;
    let mut datagrams = 0;
    for index in (0..received as u32).map(DatagramsIndex) {
        let run = io.datagrams(index);
        datagrams += packets(&run).len() as u64;
        let slice = Slice { datagrams: index, offset: 0, len: run.bytes.len().min(1_000) as u32 };
        io.queue(SocketId(0), to, b"header", Some(slice));
    }
    datagrams
}

fn measured(io: &AnyIo) -> u64 {
    io.stats().residence.counts().iter().sum()
}

fn every_forwarded_datagram_is_counted_once(open: Open<'_>) {
    let mut io = open(Options { residence_turns: 1, ..Options::default() });
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    let to = sink.local_addr().expect("bound");
    turn(&mut io, Duration::ZERO);
    let (start, mut datagrams) = (Instant::now(), 0);
    for _ in 0..10 {
        send_gso(&source, at, &[7; 3_000], 1_000);
        source.send_to(b"single", at).expect("loopback");
        datagrams += forward(&mut io, to);
        turn(&mut io, Duration::ZERO);
    }
    while datagrams < 40 {
        datagrams += forward(&mut io, to);
        turn(&mut io, Duration::ZERO);
    }
    assert_eq!(measured(&io), 40);
    let residence = io.stats().residence;
    assert!(residence.sum_seconds() > 0.0, "{residence:?}");
    assert!(residence.sum_seconds() < 40.0 * start.elapsed().as_secs_f64(), "{residence:?}");
    turn(&mut io, Duration::ZERO);
    assert_eq!(measured(&io), 40, "a turn that sends nothing is not measured");
}

fn a_part_of_the_turns_is_measured(open: Open<'_>) {
    let mut io = open(Options { residence_turns: 4, ..Options::default() });
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    for _ in 0..8 {
        source.send_to(b"single", at).expect("loopback");
        assert_eq!(forward(&mut io, sink.local_addr().expect("bound")), 1);
        turn(&mut io, Duration::ZERO);
    }
    assert_eq!(measured(&io), 2);
}

fn it_can_be_switched_off(open: Open<'_>) {
    let mut io = open(Options { residence_turns: 0, ..Options::default() });
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    for _ in 0..4 {
        source.send_to(b"single", at).expect("loopback");
        assert_eq!(forward(&mut io, sink.local_addr().expect("bound")), 1);
        turn(&mut io, Duration::ZERO);
    }
    assert_eq!(measured(&io), 0);
}

fn an_arrival_is_told_where_it_was_asked_for(open: Open<'_>) {
    let mut io = open(Options { residence_turns: 0, ..Options::default() });
    let (at, source) = (add(&mut io, 0), peer());
    let unix =
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    source.send_to(b"first", at).expect("loopback");
    assert_eq!(wait(&mut io).received, 1);
    assert_eq!(io.arrived_ns(DatagramsIndex(0)), None);
    io.stamp(DatagramsIndex(0)).expect("a socket can be stamped");
    let before = unix();
    source.send_to(b"second", at).expect("loopback");
    assert_eq!(wait(&mut io).received, 1);
    // sendmmsg gathers nothing, and asks for no stamps.
    let gathers = io.name() == "uring";
    let arrived = io.arrived_ns(DatagramsIndex(0));
    assert_eq!(arrived.is_some_and(|ns| (before..=unix()).contains(&ns)), gathers, "{arrived:?}");
}
