//! Packets over real loopback sockets: the same tests for both back ends.

mod common;

use common::{Open, add, add_at, is_empty, packets, peer, peer_at, read, receive, send_gso, turn, wait};
use motet_net::{AnyIo, DatagramsIndex, Io, Options, Slice, SocketId};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

on_both!(
    bursts_arrive_whole_without_a_copy,
    a_run_leaves_in_one_piece_with_new_headers,
    a_run_longer_than_a_message_is_split,
    a_run_leaves_as_datagrams_where_gso_does_not_work,
    a_datagram_comes_and_its_answer_goes,
    a_burst_is_received_as_one_run,
    runs_leave_as_single_datagrams_for_those_without_gro,
    unequal_lengths_and_destinations_keep_order_and_content,
    headers_are_replaced_and_payloads_passed_on,
    without_gso_each_datagram_is_a_message,
    without_gro_each_datagram_is_a_run,
    empty_datagrams_pass,
    large_datagrams_pass_and_larger_ones_are_counted,
    ipv6_works,
    a_dual_stack_socket_reports_mapped_addresses,
    a_refused_run_is_sent_one_by_one,
    more_than_a_chunk_arrives_complete,
    a_queue_beyond_its_bound_drops_and_counts,
    two_thousand_sockets_work,
    what_is_lent_is_sent_and_comes_back,
);

fn a_datagram_comes_and_its_answer_goes(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 3), peer());
    peer.send_to(b"ping", at).expect("loopback");
    let received = receive(&mut io, 1);
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].socket, &received[0].bytes[..]), (SocketId(3), &b"ping"[..]));
    assert_eq!(received[0].source, peer.local_addr().expect("bound"));
    io.queue(SocketId(3), received[0].source, b"pong", None);
    turn(&mut io, Duration::ZERO);
    assert_eq!(read(&peer), (b"pong".to_vec(), at));
    let stats = io.stats();
    assert_eq!((stats.datagrams_received, stats.messages_received, stats.bytes_received), (1, 1, 4));
    assert_eq!((stats.datagrams_sent, stats.messages_sent, stats.bytes_sent), (1, 1, 4));
}

fn a_burst_is_received_as_one_run(open: Open<'_>) {
    let mut io = open(Options::default());
    let at = add(&mut io, 0);
    let burst: Vec<u8> = (0..10_500).map(|n| (n / 1000) as u8).collect();
    send_gso(&peer(), at, &burst, 1000);
    assert_eq!(wait(&mut io).received, 1);
    let run = io.datagrams(DatagramsIndex(0));
    assert_eq!((run.segment_bytes, run.bytes), (1000, &burst[..]));
    assert_eq!(packets(&run).last().map(|packet| packet.bytes.len()), Some(500));
    assert_eq!((io.stats().datagrams_received, io.stats().messages_received), (11, 1));
}

fn runs_leave_as_single_datagrams_for_those_without_gro(open: Open<'_>) {
    let mut io = open(Options::default());
    let peer = peer();
    let (at, to) = (add(&mut io, 0), peer.local_addr().expect("bound"));
    // Two runs: 64 datagrams are one message, and a shorter one ends the second.
    let sizes: Vec<usize> = (0..70).map(|n| if n == 69 { 100 } else { 900 }).collect();
    for (n, size) in sizes.iter().enumerate() {
        io.queue(SocketId(0), to, &vec![n as u8; *size], None);
    }
    turn(&mut io, Duration::ZERO);
    for (n, size) in sizes.iter().enumerate() {
        assert_eq!(read(&peer), (vec![n as u8; *size], at), "datagram {n}");
    }
    assert!(is_empty(&peer));
    let stats = io.stats();
    assert_eq!((stats.datagrams_sent, stats.messages_sent, stats.datagrams_in_gso), (70, 2, 70));
    assert_eq!(stats.gso_fallbacks, 0);
}

fn unequal_lengths_and_destinations_keep_order_and_content(open: Open<'_>) {
    let mut io = open(Options::default());
    let peers = [peer(), peer()];
    let at = add(&mut io, 0);
    let sizes = [100, 100, 50, 50, 60, 1, 1200, 1200, 3, 3, 3, 40];
    for (n, size) in sizes.iter().enumerate() {
        // Two in a row for each destination.
        let to = peers[n / 2 % 2].local_addr().expect("bound");
        io.queue(SocketId(0), to, &vec![n as u8; *size], None);
    }
    turn(&mut io, Duration::ZERO);
    for (n, size) in sizes.iter().enumerate() {
        assert_eq!(read(&peers[n / 2 % 2]), (vec![n as u8; *size], at), "datagram {n}");
    }
    assert!(peers.iter().all(is_empty));
}

fn headers_are_replaced_and_payloads_passed_on(open: Open<'_>) {
    let mut io = open(Options::default());
    let sinks = [peer(), peer(), peer()];
    let at = add(&mut io, 0);
    let out: Vec<SocketAddr> = (1..=3).map(|id| add(&mut io, id)).collect();
    for round in 0..20u8 {
        let burst: Vec<u8> = (0..10 * 1200u32).map(|n| (n % 251) as u8 ^ round).collect();
        send_gso(&peer(), at, &burst, 1200);
        let turn_ = wait(&mut io);
        for index in 0..turn_.received as u32 {
            let len = io.datagrams(DatagramsIndex(index)).bytes.len() as u32;
            for (sink, socket) in sinks.iter().zip(1u32..) {
                let to = sink.local_addr().expect("bound");
                for offset in (0..len).step_by(1200) {
                    let header = [socket as u8 ^ round; 12];
                    let payload = Slice { datagrams: DatagramsIndex(index), offset: offset + 12, len: 1188 };
                    io.queue(SocketId(socket), to, &header, Some(payload));
                }
            }
        }
        turn(&mut io, Duration::ZERO);
        for ((sink, socket), from) in sinks.iter().zip(1u8..).zip(&out) {
            for segment in burst.chunks(1200) {
                let expected = [&[socket ^ round; 12], &segment[12..]].concat();
                assert_eq!(read(sink), (expected, *from));
            }
        }
    }
    assert_eq!(io.stats().messages_sent, 20 * 3);
}

fn without_gso_each_datagram_is_a_message(open: Open<'_>) {
    let mut io = open(Options { gso: false, ..Options::default() });
    let peer = peer();
    let at = add(&mut io, 0);
    for n in 0..5 {
        io.queue(SocketId(0), peer.local_addr().expect("bound"), &[n; 200], None);
    }
    turn(&mut io, Duration::ZERO);
    for n in 0..5 {
        assert_eq!(read(&peer), (vec![n; 200], at));
    }
    assert_eq!((io.stats().messages_sent, io.stats().datagrams_in_gso), (5, 0));
}

fn without_gro_each_datagram_is_a_run(open: Open<'_>) {
    let mut io = open(Options { gro: false, ..Options::default() });
    let at = add(&mut io, 0);
    send_gso(&peer(), at, &[7; 5000], 1000);
    assert_eq!(receive(&mut io, 5).len(), 5);
    assert_eq!(io.stats().messages_received, 5);
}

fn empty_datagrams_pass(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    peer.send_to(&[], at).expect("loopback");
    wait(&mut io);
    let run = io.datagrams(DatagramsIndex(0));
    assert_eq!((run.bytes, run.segment_bytes), (&[][..], 1));
    let empty = Slice { datagrams: DatagramsIndex(0), offset: 0, len: 0 };
    for header in [&b"a"[..], b"", b"", b"b"] {
        io.queue(SocketId(0), peer.local_addr().expect("bound"), header, Some(empty));
    }
    turn(&mut io, Duration::ZERO);
    for expected in [&b"a"[..], b"", b"", b"b"] {
        assert_eq!(read(&peer).0, expected);
    }
}

fn large_datagrams_pass_and_larger_ones_are_counted(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    let to = peer.local_addr().expect("bound");
    let largest = vec![9; 65_507];
    peer.send_to(&largest, at).expect("loopback");
    assert_eq!(receive(&mut io, 1)[0].bytes, largest);
    io.queue(SocketId(0), to, &largest, None);
    // Too long for IPv4, and too long for anything.
    io.queue(SocketId(0), to, &vec![9; 65_520], None);
    io.queue(SocketId(0), to, &vec![9; 100_000], None);
    io.queue(SocketId(0), to, b"after", None);
    turn(&mut io, Duration::ZERO);
    assert_eq!(read(&peer).0, largest);
    assert_eq!(read(&peer).0, b"after");
    assert_eq!(io.stats().send_dropped_error, 2);
}

fn ipv6_works(open: Open<'_>) {
    let mut io = open(Options::default());
    let peer = peer_at("[::1]:0");
    let at = add_at(&mut io, 0, "[::1]:0");
    send_gso(&peer, at, &[1; 3000], 1000);
    let received = receive(&mut io, 3);
    assert_eq!(received[0].source, peer.local_addr().expect("bound"));
    for n in 0..3 {
        io.queue(SocketId(0), received[0].source, &[n; 500], None);
    }
    turn(&mut io, Duration::ZERO);
    for n in 0..3 {
        assert_eq!(read(&peer), (vec![n; 500], at));
    }
    assert_eq!(io.stats().messages_sent, 1);
}

fn a_dual_stack_socket_reports_mapped_addresses(open: Open<'_>) {
    let mut io = open(Options::default());
    let peer = peer();
    let at = add_at(&mut io, 0, "[::]:0");
    peer.send_to(b"hello", SocketAddr::from(([127, 0, 0, 1], at.port()))).expect("loopback");
    let source = receive(&mut io, 1)[0].source;
    let SocketAddr::V6(mapped) = source else { panic!("{source} is not of the socket's family") };
    assert_eq!(mapped.ip().to_ipv4_mapped().map(Into::into), Some(peer.local_addr().expect("bound").ip()));
    // The answer may go to the mapped address or to the plain one.
    io.queue(SocketId(0), source, b"mapped", None);
    io.queue(SocketId(0), peer.local_addr().expect("bound"), b"plain", None);
    turn(&mut io, Duration::ZERO);
    assert_eq!(read(&peer).0, b"mapped");
    assert_eq!(read(&peer).0, b"plain");
}

fn a_refused_run_is_sent_one_by_one(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, peer) = (add(&mut io, 0), peer());
    // Without checksums the kernel refuses GSO (net/ipv4/udp.c, udp_send_skb: sk_no_check_tx).
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let from = socket.local_addr().expect("bound");
    no_checksums(&socket);
    io.add_socket(SocketId(1), socket).expect("the socket is taken");
    let to = peer.local_addr().expect("bound");
    for n in 0..4 {
        io.queue(SocketId(1), to, &[n; 300], None);
    }
    io.queue(SocketId(0), to, b"another socket", None);
    turn(&mut io, Duration::ZERO);
    let mut came: Vec<(Vec<u8>, SocketAddr)> = (0..5).map(|_| read(&peer)).collect();
    came.sort();
    let mut expected: Vec<(Vec<u8>, SocketAddr)> = (0..4).map(|n| (vec![n; 300], from)).collect();
    expected.push((b"another socket".to_vec(), at));
    assert_eq!(came, expected);
    let stats = io.stats();
    assert_eq!((stats.gso_fallbacks, stats.datagrams_sent, stats.datagrams_in_gso), (1, 5, 0));
    assert_eq!(stats.send_dropped_error, 0);
}

fn no_checksums(socket: &UdpSocket) {
    use std::os::fd::AsRawFd;
    let on = 1i32;
    // SAFETY: `on` is live and of the length given; setsockopt(2) only reads it.
    let set = unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, 4)
    };
    assert_eq!(set, 0, "SO_NO_CHECK");
}

fn more_than_a_chunk_arrives_complete(open: Open<'_>) {
    let mut io = open(Options::default());
    let sinks: Vec<UdpSocket> = (0..3).map(|_| peer()).collect();
    for sink in &sinks {
        socket2::SockRef::from(sink).set_recv_buffer_size(8 << 20).expect("a larger buffer");
    }
    let (at, source) = (add(&mut io, 0), peer());
    source.send_to(b"payload", at).expect("loopback");
    wait(&mut io);
    let payload = Slice { datagrams: DatagramsIndex(0), offset: 0, len: 7 };
    // Alternating, so that each datagram is a message; and then runs.
    let order: Vec<usize> = (0..900).map(|n| n % 3).chain((0..900).map(|n| n / 300)).collect();
    for (n, sink) in order.iter().enumerate() {
        let to = sinks[*sink].local_addr().expect("bound");
        io.queue(SocketId(0), to, &(n as u32).to_be_bytes(), Some(payload));
    }
    turn(&mut io, Duration::ZERO);
    assert_eq!(io.stats().datagrams_sent, 1800);
    for (n, sink) in order.iter().enumerate() {
        assert_eq!(read(&sinks[*sink]).0, [&(n as u32).to_be_bytes(), &b"payload"[..]].concat());
    }
}

fn a_queue_beyond_its_bound_drops_and_counts(open: Open<'_>) {
    let mut io = open(Options { queue_datagrams_max: 10, ..Options::default() });
    let peer = peer();
    let at = add(&mut io, 0);
    for round in 0..2u64 {
        for n in 0..15 {
            io.queue(SocketId(0), peer.local_addr().expect("bound"), &[n; 20], None);
        }
        io.queue(SocketId(77), peer.local_addr().expect("bound"), b"unknown socket", None);
        turn(&mut io, Duration::ZERO);
        for n in 0..10 {
            assert_eq!(read(&peer), (vec![n; 20], at));
        }
        assert!(is_empty(&peer));
        assert_eq!(io.stats().queue_dropped, (round + 1) * 6);
    }
}

fn two_thousand_sockets_work(open: Open<'_>) {
    let mut io = open(Options { socket_receive_bytes: 0, socket_send_bytes: 0, ..Options::default() });
    let at: Vec<SocketAddr> = (0..2000).map(|id| add(&mut io, id)).collect();
    turn(&mut io, Duration::ZERO);
    let peer = peer();
    for round in 0..2u8 {
        for (id, at) in at.iter().enumerate() {
            peer.send_to(&[&[round], &(id as u32).to_be_bytes()[..]].concat(), at).expect("loopback");
        }
        let mut received = receive(&mut io, 2000);
        received.sort_by_key(|packet| packet.socket);
        for (id, packet) in received.iter().enumerate() {
            assert_eq!(packet.socket, SocketId(id as u32));
            assert_eq!(packet.bytes, [&[round], &(id as u32).to_be_bytes()[..]].concat());
        }
    }
    for id in 0..2000u32 {
        io.queue(SocketId(id), peer.local_addr().expect("bound"), &id.to_be_bytes(), None);
        if id % 100 == 99 {
            turn(&mut io, Duration::ZERO);
            let sources: Vec<SocketAddr> = (0..100).map(|_| read(&peer).1).collect();
            assert_eq!(sources, at[id as usize - 99..=id as usize]);
        }
    }
}

/// Receives 12,000 bytes in datagrams of 1,200 that begin with "old header!!".
fn burst(io: &mut AnyIo, at: SocketAddr, source: &UdpSocket) -> Slice {
    let mut bytes = vec![7; 12_000];
    bytes.chunks_mut(1200).for_each(|datagram| datagram[..12].copy_from_slice(b"old header!!"));
    send_gso(source, at, &bytes, 1200);
    assert_eq!(wait(io).received, 1, "loopback keeps the burst together");
    Slice { datagrams: DatagramsIndex(0), offset: 0, len: 12_000 }
}

fn a_run_leaves_in_one_piece_with_new_headers(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    let run = burst(&mut io, at, &source);
    for index in 0..10 {
        io.overwrite(DatagramsIndex(0), index * 1200, &[b'a' + index as u8; 12]);
    }
    let to = sink.local_addr().expect("bound");
    // All but the first, with a single one after them, which does not fit behind a shorter one.
    let rest = Slice { offset: 1200, len: 10_000, ..run };
    io.queue_run(SocketId(0), to, rest, 1200);
    io.queue_run(SocketId(0), to, Slice { len: 1200, ..run }, 1200);
    turn(&mut io, Duration::ZERO);
    for index in (1..10).chain([0]) {
        let (bytes, _) = read(&sink);
        assert_eq!(bytes.len(), if index == 9 { 400 } else { 1200 });
        assert_eq!((&bytes[..12], bytes[12]), (&[b'a' + index; 12][..], 7), "datagram {index}");
    }
    let stats = io.stats();
    assert_eq!((stats.messages_sent, stats.datagrams_sent, stats.datagrams_in_gso), (2, 10, 9));
}

fn a_run_longer_than_a_message_is_split(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    let run = burst(&mut io, at, &source);
    io.queue_run(SocketId(0), sink.local_addr().expect("bound"), run, 100);
    turn(&mut io, Duration::ZERO);
    for _ in 0..120 {
        assert_eq!(read(&sink).0.len(), 100);
    }
    assert_eq!((io.stats().messages_sent, io.stats().datagrams_in_gso), (2, 120));
}

fn a_run_leaves_as_datagrams_where_gso_does_not_work(open: Open<'_>) {
    let mut io = open(Options::default());
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    no_checksums(&socket);
    io.add_socket(SocketId(1), socket).expect("the socket is taken");
    let run = burst(&mut io, at, &source);
    io.queue_run(SocketId(1), sink.local_addr().expect("bound"), run, 1200);
    turn(&mut io, Duration::ZERO);
    for _ in 0..10 {
        assert_eq!(&read(&sink).0[..12], b"old header!!");
    }
    assert_eq!((io.stats().gso_fallbacks, io.stats().datagrams_sent), (1, 10));
    let mut plain = open(Options { gso: false, ..Options::default() });
    let at = add(&mut plain, 0);
    let run = burst(&mut plain, at, &source);
    plain.queue_run(SocketId(0), sink.local_addr().expect("bound"), run, 1200);
    turn(&mut plain, Duration::ZERO);
    for _ in 0..10 {
        assert_eq!(read(&sink).0.len(), 1200);
    }
    assert_eq!(plain.stats().messages_sent, 10);
}

/// Bursts in one piece, bursts of many pieces, and small ones, again and again from the same buffers.
fn bursts_arrive_whole_without_a_copy(open: Open<'_>) {
    let mut io = open(Options { zero_copy: true, ..Options::default() });
    let (at, source, sink) = (add(&mut io, 0), peer(), peer());
    let to = sink.local_addr().expect("bound");
    for round in 0..40 {
        let run = burst(&mut io, at, &source);
        for index in 0..10 {
            io.overwrite(DatagramsIndex(0), index * 1200, &[round; 12]);
        }
        io.queue_run(SocketId(0), to, run, 1200);
        io.queue(SocketId(0), to, b"small", None);
        for index in 0..10 {
            let slice = Slice { offset: index * 1200 + 12, len: 1188, ..run };
            io.queue(SocketId(0), to, &[round; 12], Some(slice));
        }
        turn(&mut io, Duration::ZERO);
        for number in 0..21 {
            let (bytes, _) = read(&sink);
            if number == 10 {
                assert_eq!(bytes, b"small");
                continue;
            }
            assert_eq!((bytes.len(), &bytes[..12], bytes[1199]), (1200, &[round; 12][..], 7));
        }
    }
    let stats = io.stats();
    assert_eq!((stats.datagrams_sent, stats.send_dropped_error), (40 * 21, 0), "{stats:?}");
    if io.name() == "uring" {
        assert_eq!(stats.messages_zero_copy, 40, "the bursts in one piece");
    }
}

fn what_is_lent_is_sent_and_comes_back(open: Open<'_>) {
    let mut io = open(Options::default());
    let (own, receiver) = (add(&mut io, 0), peer());
    let to = receiver.local_addr().expect("bound");
    turn(&mut io, Duration::ZERO);
    let size = 1_000;
    let buffers: Vec<Vec<u8>> = (0..3).map(|fill| vec![fill; 4 * size]).collect();
    let places: Vec<_> = buffers.iter().map(|bytes| io.lend(bytes.clone())).collect();
    assert!(places.iter().all(|place| place.is_lent()));
    assert_eq!(io.lent(places[1]), buffers[1]);
    for part in 0..4 {
        for place in &places {
            let slice = Slice { datagrams: *place, offset: part * size as u32, len: size as u32 };
            io.queue(SocketId(0), to, &[part as u8; 12], Some(slice));
        }
    }
    // Short enough to be copied.
    io.queue(SocketId(0), to, &[9; 12], Some(Slice { datagrams: places[2], offset: 5, len: 20 }));
    // As it is, but for four bytes.
    io.overwrite(places[0], size as u32 + 3, b"over");
    let run = Slice { datagrams: places[0], offset: size as u32, len: 2 * size as u32 };
    io.queue_run(SocketId(0), to, run, size as u32);
    assert!(io.returned().is_none(), "still needed");
    turn(&mut io, Duration::ZERO);
    let returned: Vec<Vec<u8>> = std::iter::from_fn(|| io.returned()).collect();
    let mut buffers = buffers;
    buffers[0][size + 3..][..4].copy_from_slice(b"over");
    assert_eq!(returned, buffers);
    for part in 0..4 {
        for buffer in &buffers {
            let (bytes, source) = read(&receiver);
            assert_eq!((bytes.len(), source), (12 + size, own));
            let start = usize::from(part) * size;
            assert_eq!((&bytes[..12], &bytes[12..]), (&[part; 12][..], &buffer[start..start + size]));
        }
    }
    assert_eq!(read(&receiver).0, [vec![9; 12], vec![2; 20]].concat());
    assert_eq!(read(&receiver).0, buffers[0][size..2 * size]);
    assert_eq!(read(&receiver).0, buffers[0][2 * size..3 * size]);
}
