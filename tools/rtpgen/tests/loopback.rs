//! A whole run over loopback, through a forwarder that does known damage: the report must say exactly that.

use motet_net::IoChoice;
use motet_rtp::rtp::RtpView;
use motet_rtpgen::options::{Expect, Shape};
use motet_rtpgen::payload::{Pattern, Reading};
use motet_rtpgen::raw::RawLoad;
use motet_rtpgen::report::{FlowReport, Report};
use motet_rtpgen::run::{Control, Wait, execute};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Packets of each stream in a run: 500 ms of one every 5 ms.
const PACKETS: u64 = 100;

static RUN: AtomicU32 = AtomicU32::new(1);

/// What happens to one packet at one receiver.
#[derive(Clone, Copy)]
enum Fate {
    Deliver,
    Drop,
    Twice,
    Damage,
    Relabel,
    /// Delivered after the next packet of the same stream and receiver.
    Late,
}

/// Forwards every packet to every sink, as `fate(receiver, stream, sequence)` has it, until `stop`.
fn forward(
    socket: &UdpSocket,
    sinks: &[SocketAddr],
    run: u32,
    fate: impl Fn(usize, u32, u64) -> Fate,
    stop: &AtomicBool,
) {
    let pattern = Pattern::new(run);
    let mut held: HashMap<(usize, u32), Vec<u8>> = HashMap::new();
    let mut buffer = [0; 2048];
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    while !stop.load(Relaxed) {
        let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
        let view = RtpView::new(&buffer[..len]).expect("the generator sends RTP");
        let Reading::Intact(stamp) = pattern.read(view.payload()) else { continue };
        for (receiver, sink) in sinks.iter().enumerate() {
            let mut packet = buffer[..len].to_vec();
            let send = |packet: &[u8]| {
                socket.send_to(packet, sink).expect("loopback");
            };
            let before = held.remove(&(receiver, stamp.stream));
            match fate(receiver, stamp.stream, stamp.sequence) {
                Fate::Drop => {}
                Fate::Deliver => send(&packet),
                Fate::Twice => (0..2).for_each(|_| send(&packet)),
                Fate::Late => drop(held.insert((receiver, stamp.stream), packet)),
                Fate::Damage => {
                    packet[len - 1] ^= 0x10;
                    send(&packet);
                }
                Fate::Relabel => {
                    packet[2] ^= 0x40;
                    send(&packet);
                }
            }
            if let Some(packet) = before {
                send(&packet);
            }
        }
    }
}

fn load(send: SocketAddr, receive: SocketAddr, streams: u32, receivers: u32) -> RawLoad {
    RawLoad {
        run: RUN.fetch_add(1, Relaxed),
        send: vec![send],
        send_from: None,
        one_source: false,
        symmetric: false,
        receive,
        receivers,
        stride: 1,
        expect: Expect::All,
        streams,
        shape: Shape { packet_bytes: 172, burst: 1, interval: Duration::from_millis(5) },
        payload_type: 96,
        clock_hz: 90_000,
        preamble: 0,
        duration: Duration::from_millis(5 * PACKETS),
        drain: Duration::from_millis(300),
        loss_percent_max: 0.0,
        io: IoChoice::Mmsg,
        wait: Wait::Block,
        threads: 1,
        cores: vec![],
    }
}

/// Ports that were free a moment ago, one after another.
fn free_ports(count: u16) -> SocketAddr {
    for _ in 0..100 {
        let first = UdpSocket::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let Some(last) = first.port().checked_add(count) else { continue };
        let rest = (first.port() + 1..last).map(|port| UdpSocket::bind(("127.0.0.1", port)));
        if rest.collect::<Result<Vec<_>, _>>().is_ok() {
            return first;
        }
    }
    panic!("no free ports");
}

fn run(
    load: impl Fn(SocketAddr, SocketAddr) -> RawLoad,
    fate: impl Fn(usize, u32, u64) -> Fate + Sync,
) -> Report {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    // Another test may take a port between the search and the bind.
    for _ in 0..10 {
        let load = load(socket.local_addr().expect("bound"), free_ports(4));
        let Ok(plan) = load.plan() else { continue };
        let sinks: Vec<_> = (0..load.receivers as u16)
            .map(|n| SocketAddr::new(load.receive.ip(), load.receive.port() + n * load.stride))
            .collect();
        let stop = AtomicBool::new(false);
        return std::thread::scope(|scope| {
            scope.spawn(|| forward(&socket, &sinks, load.run, &fate, &stop));
            let report = execute(plan, &Control::default());
            stop.store(true, Relaxed);
            report.expect("the plan can be run")
        });
    }
    panic!("no free ports");
}

fn flow(report: &Report, receiver: u32, stream: u32) -> &FlowReport {
    let found = report.flows.iter().find(|flow| (flow.receiver, flow.stream) == (receiver, stream));
    found.expect("few flows are all listed")
}

#[test]
fn a_forwarder_that_does_no_harm_passes_on_both_back_ends() {
    for io in [IoChoice::Mmsg, IoChoice::Auto] {
        let report = run(
            |send, receive| RawLoad {
                io,
                shape: Shape { packet_bytes: 1200, burst: 10, interval: Duration::from_millis(10) },
                ..load(send, receive, 2, 3)
            },
            |_, _, _| Fate::Deliver,
        );
        assert!(report.passed, "{}", report.table());
        assert_eq!((report.sent, report.expected, report.received), (1000, 3000, 3000));
        assert_eq!((report.latency_us.count, report.lateness_us.count), (3000, 100));
        assert_eq!(report.generator.socket_overflow, 0);
    }
}

#[test]
fn the_report_says_exactly_what_the_forwarder_did() {
    let fate = |receiver, stream, sequence| match (receiver, stream, sequence % 10) {
        (0, 0, 3) => Fate::Drop,
        (0, 0, 4) => Fate::Twice,
        (1, 0, 5) => Fate::Late,
        (1, 1, 6) => Fate::Damage,
        (1, 1, 7) => Fate::Relabel,
        // Stream 1 is not for receiver 0.
        (0, 1, 8) => Fate::Deliver,
        (0, 1, _) => Fate::Drop,
        _ => Fate::Deliver,
    };
    let report = run(
        |send, receive| RawLoad { expect: "0=0;1=0,1".parse().expect("a map"), ..load(send, receive, 2, 2) },
        fate,
    );
    assert!(!report.passed);
    assert_eq!((report.sent, report.expected), (2 * PACKETS, 3 * PACKETS));
    let tenth = PACKETS / 10;
    let (first, second) = (flow(&report, 0, 0), flow(&report, 1, 0));
    assert_eq!((first.lost, first.duplicated, first.received), (tenth, tenth, PACKETS));
    assert_eq!((second.lost, second.reordered, second.received), (0, tenth, PACKETS));
    let third = flow(&report, 1, 1);
    assert_eq!((third.corrupt, third.mislabelled, third.lost), (tenth, tenth, 0));
    let stray = flow(&report, 0, 1);
    assert_eq!((stray.expected, stray.received), (false, tenth));
    let totals = (report.lost, report.reordered, report.duplicated, report.wrongly_routed, report.corrupt);
    assert_eq!(totals, (tenth, tenth, tenth, tenth, tenth));
}

#[test]
fn threads_and_shared_sockets_change_nothing() {
    for (threads, symmetric) in [(2, false), (3, false), (2, true)] {
        let report = run(
            |send, receive| RawLoad { threads, symmetric, ..load(send, receive, 3, 3) },
            |receiver, _, sequence| if receiver == 2 && sequence == 50 { Fate::Drop } else { Fate::Deliver },
        );
        assert_eq!((report.expected, report.lost), (9 * PACKETS, 3), "{threads} threads, {}", report.table());
    }
}

#[test]
fn packets_sent_ahead_lead_up_to_the_stream_and_are_not_accounted() {
    let (relay, receive) = (UdpSocket::bind("127.0.0.1:0").expect("loopback"), free_ports(1));
    let send = relay.local_addr().expect("bound");
    let plan = RawLoad { preamble: 3, ..load(send, receive, 1, 1) }.plan().expect("a free port");
    let report = execute(plan, &Control::default()).expect("the plan can be run");
    assert_eq!((report.sent, report.expected), (PACKETS, PACKETS));
    let mut buffer = [0; 2048];
    let sequences = (0..PACKETS + 3).map(|_| {
        let len = relay.recv(&mut buffer).expect("all of them wait in the socket");
        RtpView::new(&buffer[..len]).expect("the generator sends RTP").sequence().0
    });
    let expected = (0..PACKETS as u16 + 3).map(|n| n.wrapping_sub(3));
    assert_eq!(sequences.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn latency_counts_from_the_intended_time() {
    // The forwarder stalls once for 100 ms: all packets due meanwhile must show it, not the first alone.
    let report = run(
        |send, receive| load(send, receive, 1, 1),
        |_, _, sequence| {
            if sequence == 20 {
                std::thread::sleep(Duration::from_millis(100));
            }
            Fate::Deliver
        },
    );
    assert!(report.latency_us.max >= 100_000.0, "{}", report.table());
    // Packets due every 5 ms during the stall: 20 of 100 are late, with 10 of them over 50 ms.
    assert!(report.latency_us.p99 >= 90_000.0, "{}", report.table());
    assert_eq!(report.lost, 0);
}

#[test]
fn a_run_can_be_stopped_early_with_the_report_so_far() {
    let (sink, receive) = (UdpSocket::bind("127.0.0.1:0").expect("loopback"), free_ports(1));
    let send = sink.local_addr().expect("bound");
    let plan = RawLoad { duration: Duration::from_secs(600), ..load(send, receive, 1, 1) }.plan();
    let control = Control::default();
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(plan.expect("a free port"), &control));
        while control.sent.load(Relaxed) < 10 {
            std::thread::yield_now();
        }
        control.stop.store(true, Relaxed);
        running.join().expect("no panic").expect("the plan can be run")
    });
    assert!(report.interrupted && !report.passed);
    assert_eq!(report.lost, report.sent);
}
