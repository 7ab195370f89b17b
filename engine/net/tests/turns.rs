//! Waiting, waking, bounds and sockets that come and go: the same tests for both back ends.

mod common;

use common::{Open, PATIENCE, add, is_empty, packets, peer, read, receive, turn, wait};
use motet_net::{DatagramsIndex, Io, Options, Slice, SocketId};
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

on_both!(
    the_timeout_is_honoured,
    the_waker_ends_the_wait,
    a_wake_up_before_the_turn_is_not_lost,
    a_rest_is_ended_by_the_waker_and_the_timeout_and_loses_nothing,
    a_packet_ends_the_wait_after_a_send,
    a_flood_is_bounded_per_turn,
    a_flood_does_not_starve_another_socket,
    datagrams_bound_a_turn_too,
    a_removed_sockets_id_can_be_used_again,
    a_removed_sockets_port_is_free_at_once,
    packets_of_a_removed_socket_stay_readable_and_its_queue_is_dropped,
    an_id_in_use_is_refused,
    an_unreachable_destination_kills_nothing,
    a_slice_outside_of_its_datagrams_panics,
    it_can_be_moved_to_another_thread_before_the_first_turn,
);

fn the_timeout_is_honoured(open: Open<'_>) {
    let mut io = open(Options::default());
    add(&mut io, 0);
    turn(&mut io, Duration::ZERO);
    // A turn may end early, for example when the kernel has tidied up a ring that was closed.
    let waits = (0..5).map(|_| {
        let start = Instant::now();
        let quiet = turn(&mut io, Duration::from_millis(30));
        assert_eq!((quiet.received, quiet.woken), (0, false));
        start.elapsed()
    });
    let waits: Vec<Duration> = waits.collect();
    assert!(waits.iter().filter(|wait| **wait >= Duration::from_millis(29)).count() >= 3, "{waits:?}");
    let start = Instant::now();
    turn(&mut io, Duration::ZERO);
    assert!(start.elapsed() < Duration::from_millis(25), "{:?}", start.elapsed());
}

fn the_waker_ends_the_wait(open: Open<'_>) {
    let mut io = open(Options::default());
    add(&mut io, 0);
    turn(&mut io, Duration::ZERO);
    for _ in 0..3 {
        let waker = io.waker().expect("a waker");
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
            waker.clone().wake();
        });
        let start = Instant::now();
        while !io.turn(None).expect("a turn works").woken {}
        assert!(start.elapsed() < PATIENCE);
        other.join().expect("no panic");
        turn(&mut io, Duration::ZERO);
        assert!(!turn(&mut io, Duration::from_millis(10)).woken, "waking is over");
    }
}

fn a_wake_up_before_the_turn_is_not_lost(open: Open<'_>) {
    let mut io = open(Options::default());
    io.waker().expect("a waker").wake();
    assert!(io.turn(None).expect("a turn works").woken);
    add(&mut io, 0);
    io.waker().expect("a waker").wake();
    io.remove_socket(SocketId(0));
    assert!(io.turn(None).expect("a turn works").woken, "not even when a socket goes meanwhile");
}

fn a_rest_is_ended_by_the_waker_and_the_timeout_and_loses_nothing(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    let to = peer.local_addr().expect("bound");
    turn(&mut io, Duration::ZERO);
    for n in 0..3u8 {
        // What is queued leaves before the rest, which would be longer than the peer's patience.
        io.queue(SocketId(0), to, &[n; 100], None);
        io.rest(Some(Instant::now() + PATIENCE * 2));
        let waker = io.waker().expect("a waker");
        let other = std::thread::spawn({
            let peer = peer.try_clone().expect("a second handle");
            move || {
                assert_eq!(read(&peer).0, [n; 100]);
                (0..100u8).for_each(|n| assert_eq!(peer.send_to(&[n; 50], at).expect("loopback"), 50));
                waker.wake();
            }
        });
        let mut woken = false;
        let mut came = Vec::new();
        let start = Instant::now();
        while !woken || came.len() < 100 {
            let turn = io.turn(Some(PATIENCE * 2)).expect("a turn works");
            woken |= turn.woken;
            (0..turn.received)
                .for_each(|run| came.extend(packets(&io.datagrams(DatagramsIndex(run as u32)))));
        }
        assert!(start.elapsed() < PATIENCE * 2, "{:?}", start.elapsed());
        other.join().expect("no panic");
        assert!(came.iter().map(|packet| packet.bytes[0]).eq(0..100), "all, in order");
        // It holds for one turn, and one that was woken is not woken for ever.
        assert!(!turn(&mut io, Duration::from_millis(10)).woken);
    }
    io.rest(Some(Instant::now() + PATIENCE * 2));
    let start = Instant::now();
    turn(&mut io, Duration::from_millis(5));
    assert!(start.elapsed() < PATIENCE, "the timeout is honoured");
    // A wake-up from before the rest counts.
    io.waker().expect("a waker").wake();
    io.rest(Some(Instant::now() + PATIENCE * 2));
    assert!(io.turn(Some(PATIENCE * 2)).expect("a turn works").woken);
    assert!(start.elapsed() < PATIENCE);
}

fn a_packet_ends_the_wait_after_a_send(open: Open<'_>) {
    let mut io = open(Options { residence_turns: 0, ..Options::default() });
    let at = add(&mut io, 0);
    let other = peer();
    let to = other.local_addr().expect("bound");
    let echo = std::thread::spawn(move || {
        for _ in 0..20 {
            let (bytes, source) = read(&other);
            other.send_to(&bytes, source).expect("loopback");
        }
    });
    turn(&mut io, Duration::ZERO);
    let calls = io.stats().system_calls;
    for n in 0..20u8 {
        io.queue(SocketId(0), to, &[n; 100], None);
        // The turn sends, and then waits for the answer.
        let turn = io.turn(Some(PATIENCE)).expect("a turn works");
        assert_eq!(turn.received, 1);
        assert_eq!(io.datagrams(DatagramsIndex(0)).bytes, [n; 100]);
    }
    echo.join().expect("no panic");
    let calls = io.stats().system_calls - calls;
    assert_eq!(calls, if io.name() == "uring" { 20 } else { 60 }, "system calls for 20 turns at {at}");
}

fn a_flood_is_bounded_per_turn(open: Open<'_>) {
    let mut io = open(Options { turn_messages_max: 20, ..Options::default() });
    let (at, peer) = (add(&mut io, 0), peer());
    turn(&mut io, Duration::ZERO);
    for n in 0..1000u32 {
        peer.send_to(&n.to_be_bytes(), at).expect("loopback");
    }
    let (mut came, mut turns) = (Vec::new(), 0);
    while came.len() < 1000 {
        // Without end, if `more` or the readiness were lost.
        let turn = turn(&mut io, PATIENCE);
        assert!(turn.received > 0 && turn.received <= 20, "{} messages", turn.received);
        for index in 0..turn.received {
            came.extend(packets(&io.datagrams(DatagramsIndex(index as u32))));
        }
        turns += 1;
        assert!(turn.more || came.len() == 1000, "{} came, the rest waits", came.len());
    }
    assert!(turns >= 50);
    let numbers: Vec<Vec<u8>> = (0..1000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert!(came.iter().map(|packet| &packet.bytes).eq(&numbers), "all, and in order");
}

fn a_flood_does_not_starve_another_socket(open: Open<'_>) {
    let mut io = open(Options { turn_messages_max: 32, receive_buffers: 64, ..Options::default() });
    let (flooded, quiet, peer) = (add(&mut io, 0), add(&mut io, 1), peer());
    turn(&mut io, Duration::ZERO);
    for _ in 0..1500 {
        peer.send_to(b"flood", flooded).expect("loopback");
    }
    peer.send_to(b"quiet", quiet).expect("loopback");
    let mut before = 0;
    loop {
        let turn = turn(&mut io, PATIENCE);
        let sockets: Vec<SocketId> =
            (0..turn.received).map(|index| io.datagrams(DatagramsIndex(index as u32)).socket).collect();
        if let Some(at) = sockets.iter().position(|socket| *socket == SocketId(1)) {
            before += at;
            break;
        }
        before += sockets.len();
    }
    assert!(before < 500, "{before} packets of the flood came first");
}

fn datagrams_bound_a_turn_too(open: Open<'_>) {
    let mut io = open(Options { turn_datagrams_max: 100, ..Options::default() });
    let (at, peer) = (add(&mut io, 0), peer());
    turn(&mut io, Duration::ZERO);
    for _ in 0..64 {
        common::send_gso(&peer, at, &[1; 4000], 100);
    }
    let mut came = 0;
    while came < 64 * 40 {
        let turn = turn(&mut io, PATIENCE);
        let runs = (0..turn.received).map(|index| packets(&io.datagrams(DatagramsIndex(index as u32))).len());
        let datagrams: usize = runs.sum();
        // recvmmsg takes up to 32 messages of a socket in one go.
        let bound = if io.name() == "uring" { 100 + 40 } else { 32 * 40 };
        assert!(datagrams > 0 && datagrams <= bound, "{datagrams} datagrams");
        came += datagrams;
    }
}

fn a_removed_sockets_id_can_be_used_again(open: Open<'_>) {
    let mut io = open(Options::default());
    let peer = peer();
    for round in 0..50u8 {
        let at = add(&mut io, 5);
        if round % 3 > 0 {
            turn(&mut io, Duration::ZERO);
        }
        peer.send_to(&[round], at).expect("loopback");
        if round % 2 == 0 {
            // Packets of the removed socket may be on their way; they must not come from the new one.
            let received = receive(&mut io, 1);
            assert_eq!((received[0].socket, &received[0].bytes[..]), (SocketId(5), &[round][..]));
        }
        io.remove_socket(SocketId(5));
        io.remove_socket(SocketId(5));
    }
    let at = add(&mut io, 5);
    peer.send_to(b"last", at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"last");
}

fn a_removed_sockets_port_is_free_at_once(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add(&mut io, 0);
    turn(&mut io, Duration::ZERO);
    io.remove_socket(SocketId(0));
    let socket = UdpSocket::bind(at).expect("nobody has the port");
    io.add_socket(SocketId(0), socket).expect("the id is free");
    peer().send_to(b"again", at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"again");
}

fn packets_of_a_removed_socket_stay_readable_and_its_queue_is_dropped(open: Open<'_>) {
    let mut io = open(Options::default());
    let peer = peer();
    let to = peer.local_addr().expect("bound");
    let at = add(&mut io, 0);
    add(&mut io, 1);
    peer.send_to(b"payload", at).expect("loopback");
    wait(&mut io);
    let slice = Slice { datagrams: DatagramsIndex(0), offset: 0, len: 7 };
    io.queue(SocketId(0), to, b"gone ", Some(slice));
    io.queue(SocketId(1), to, b"kept ", Some(slice));
    io.remove_socket(SocketId(0));
    assert_eq!(io.datagrams(DatagramsIndex(0)).bytes, b"payload");
    io.queue(SocketId(1), to, b"late ", Some(slice));
    turn(&mut io, Duration::ZERO);
    assert_eq!(read(&peer).0, b"kept payload");
    assert_eq!(read(&peer).0, b"late payload");
    assert!(is_empty(&peer));
    assert_eq!(io.stats().queue_dropped, 1);
}

fn an_id_in_use_is_refused(open: Open<'_>) {
    let mut io = open(Options { sockets_max: 10, ..Options::default() });
    let at = add(&mut io, 9);
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let in_use = io.add_socket(SocketId(9), socket()).expect_err("in use");
    assert_eq!(in_use.kind(), std::io::ErrorKind::AlreadyExists);
    assert!(io.add_socket(SocketId(10), socket()).is_err(), "beyond the table");
    peer().send_to(b"still there", at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, b"still there");
}

fn an_unreachable_destination_kills_nothing(open: Open<'_>) {
    let mut io = open(Options::default());
    let (peer, closed) = (common::peer(), common::peer());
    let closed_at = closed.local_addr().expect("bound");
    drop(closed);
    // Only connected sockets hear of ICMP errors (udp(7)).
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let at = socket.local_addr().expect("bound");
    socket.connect(closed_at).expect("loopback");
    io.add_socket(SocketId(0), socket).expect("the socket is taken");
    let plain = add(&mut io, 1);
    for _ in 0..5 {
        for socket in [0, 1] {
            io.queue(SocketId(socket), closed_at, b"anyone?", None);
        }
        io.queue(SocketId(1), "[::1]:9".parse().expect("a literal"), b"wrong family", None);
        turn(&mut io, Duration::from_millis(1));
    }
    let stats = *io.stats();
    assert!(stats.receive_errors + stats.send_dropped_error > 5, "{stats:?}");
    assert!(stats.send_dropped_error >= 5, "{stats:?}");
    // Both sockets still receive: the connected one from its peer, which now lives.
    let revived = UdpSocket::bind(closed_at).expect("the port is free");
    revived.send_to(b"here", at).expect("loopback");
    peer.send_to(b"plain", plain).expect("loopback");
    let mut received: Vec<Vec<u8>> = receive(&mut io, 2).into_iter().map(|packet| packet.bytes).collect();
    received.sort();
    assert_eq!(received, [&b"here"[..], b"plain"]);
}

fn a_slice_outside_of_its_datagrams_panics(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    peer.send_to(b"12345", at).expect("loopback");
    wait(&mut io);
    let mut queue = |index, offset, len| {
        let slice = Slice { datagrams: DatagramsIndex(index), offset, len };
        catch_unwind(AssertUnwindSafe(|| io.queue(SocketId(0), at, b"", Some(slice)))).is_err()
    };
    assert!(queue(0, 0, 6) && queue(0, 5, 1) && queue(0, u32::MAX, u32::MAX) && queue(1, 0, 1));
    assert!(!queue(0, 0, 5) && !queue(0, 5, 0));
}

fn it_can_be_moved_to_another_thread_before_the_first_turn(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add(&mut io, 0);
    let worker = std::thread::spawn(move || receive(&mut io, 1)[0].bytes.clone());
    peer().send_to(b"moved", at).expect("loopback");
    assert_eq!(worker.join().expect("no panic"), b"moved");
}
