use super::*;
use crate::figures::Figure;
use crate::relay::turns::Turn;
use motet_rtpgen::report::Report;
use motet_rtpgen::run::Wait;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

fn turn(processor_ns: f64) -> Turn {
    Turn { processor_ns, packets_per_second: 1000.0, residence: None, report: Report::default() }
}

fn row(name: &str) -> Row {
    *ROWS.iter().chain(&SHARED_PORT).find(|row| row.name == name).expect("a row's name")
}

fn results(row: Row, subject: &'static str, processor_ns: &[f64]) -> Results {
    let turns = processor_ns.iter().map(|ns| turn(*ns)).collect();
    Results { row, subject, turns }
}

fn value(figures: &[Figure], metric: &str) -> Option<(f64, Option<f64>)> {
    figures.iter().find(|figure| figure.metric == metric).map(|figure| (figure.value, figure.goal))
}

#[test]
fn ratios_are_those_of_the_same_round_and_back_end() {
    let video = row("video fan-out 20");
    let all = [
        results(video, "motet-mmsg", &[300.0, 600.0, 330.0]),
        results(video, "floor-uring", &[1.0, 1.0, 1.0]),
        results(video, "floor-mmsg", &[200.0, 400.0, 300.0]),
        results(video, "rtpengine", &[1500.0, 3000.0, 1500.0]),
        results(video, "mediasoup", &[3000.0, 3000.0, 3000.0]),
    ];
    let figures = all[0].figures(&all);
    assert_eq!(value(&figures, "cpu_per_packet"), Some((330.0, None)));
    assert_eq!(value(&figures, "ratio_to_floor"), Some((1.5, Some(1.25))));
    assert_eq!(value(&figures, "ratio_to_rtpengine"), Some((0.2, Some(0.25))));
    assert_eq!(value(&figures, "ratio_to_mediasoup"), Some((0.11, None)));
    assert_eq!(value(&figures, "loss"), Some((0.0, Some(0.0))));
    assert_eq!(figures[0].row, "video fan-out 20 / motet-mmsg");
    assert_eq!(value(&all[3].figures(&all), "ratio_to_rtpengine"), None, "not to itself");
    assert!(row_table(&video, &all).contains("floor ≤ 1.25 MISSED, rtpengine ≤ 0.25 ok, loss ≤ 0 ok"));
}

#[test]
fn without_a_peer_there_is_no_ratio_to_it() {
    let calls = row("500 calls");
    let all = [results(calls, "motet-uring", &[900.0])];
    let figures = all[0].figures(&all);
    assert_eq!(value(&figures, "ratio_to_rtpengine"), None);
    assert_eq!(value(&figures, "ratio_to_floor"), None);
}

#[test]
fn a_generator_that_was_too_slow_is_named_below_the_table() {
    let video = row("video fan-out 20");
    let mut all = [results(video, "motet-uring", &[900.0])];
    all[0].turns[0].report.lost = 7;
    all[0].turns[0].report.bottlenecks.push("receiving: 7 packets dropped".to_owned());
    let table = row_table(&video, &all);
    assert!(table.contains("motet-uring: GENERATOR receiving: 7 packets dropped"), "{table}");
    assert!(table.contains("loss ≤ 0 MISSED"), "{table}");
}

#[test]
fn cost_is_flat_when_the_dearest_size_is_near_the_cheapest() {
    let all = [
        results(row("video legs 10"), "motet-uring", &[400.0]),
        results(row("video legs 1000"), "motet-uring", &[300.0]),
        results(row("video legs 10000"), "motet-uring", &[600.0]),
        results(row("audio legs 10"), "motet-uring", &[1.0]),
        results(row("one stream to 10000 legs"), "motet-uring", &[9000.0]),
    ];
    let (table, figures) = flatness(&all);
    let [figure] = &figures[..] else { panic!("one shape has several sizes: {figures:?}") };
    assert_eq!(
        (figure.row.as_str(), figure.value, figure.goal),
        ("video legs / motet-uring", 2.0, Some(1.5))
    );
    assert!(table.contains("10: 400, 1000: 300, 10000: 600") && table.contains("MISSED"), "{table}");
    assert_eq!(flatness(&all[3..]), (String::new(), Vec::new()));
}

#[test]
fn legs_that_share_a_port_are_another_line_than_those_with_their_own() {
    let all = [
        results(row("video legs 10"), "motet-uring", &[400.0]),
        results(row("video legs 10000"), "motet-uring", &[1200.0]),
        results(row("video legs 10, shared port"), "motet-uring", &[500.0]),
        results(row("video legs 10000, shared port"), "motet-uring", &[600.0]),
    ];
    let (table, figures) = flatness(&all);
    let figures = figures.iter().map(|figure| (figure.row.as_str(), figure.value, figure.goal));
    assert_eq!(
        figures.collect::<Vec<_>>(),
        [
            ("video legs / motet-uring", 3.0, Some(1.5)),
            ("video legs, shared port / motet-uring", 1.2, Some(1.5))
        ]
    );
    assert!(table.contains("video, motet-uring, shared port"), "{table}");
}

#[test]
fn participants_at_a_shared_port_have_addresses_that_lead_to_few_sockets() {
    let ports = Ports { ip: Ipv4Addr::UNSPECIFIED.into(), first: 1000 };
    let shared = row("video legs 10000, shared port");
    let rooms = shared.rooms(&ports);
    let legs = || rooms.iter().flat_map(|room| &room.legs);
    let addresses: BTreeSet<SocketAddr> = legs().map(|leg| leg.remote).collect();
    assert_eq!((legs().count(), addresses.len()), (10_000, 10_000));
    let turn = rows::Turn {
        run: 1,
        targets: &vec![SocketAddr::from(([127, 0, 0, 1], 9)); rooms.len()],
        payload_type: 96,
        duration: Duration::from_secs(1),
        wait: Wait::Block,
        core: 0,
    };
    let load = shared.load(&ports, &turn);
    assert_eq!((load.streams, load.receivers, load.one_source), (1000, 9, false));
    let listens: BTreeSet<u16> = (0..9).map(|index| load.receive.port() + index * load.stride).collect();
    let receivers: BTreeSet<u16> = legs().filter(|leg| leg.receives).map(|leg| leg.remote.port()).collect();
    assert_eq!(receivers, listens);
    let source = |room: u16| load.send_from.expect("it is known") + room * load.stride;
    let publishers = rooms.iter().map(|room| room.senders().next().expect("one publishes").1.remote.port());
    assert_eq!(publishers.collect::<Vec<_>>(), (0..1000).map(source).collect::<Vec<_>>());
    assert!(
        source(999) < ports.first + rows::PORTS_MAX && source(0) > *listens.last().expect("there are nine")
    );
}

#[test]
fn rows_that_grow_keep_packets_and_fan_out() {
    for (shape, ports) in
        [("video", ""), ("audio", ""), ("video", ", shared port"), ("audio", ", shared port")]
    {
        let sizes = [10, 100, 1000, 10_000].map(|legs| row(&format!("{shape} legs {legs}{ports}")));
        assert_eq!(sizes.map(|row| row.legs()), [10, 100, 1000, 10_000]);
        let rates = sizes.map(|row| row.packets_per_second().round());
        assert!(rates.iter().all(|rate| *rate == rates[0]), "{rates:?}");
    }
}

#[test]
fn callers_hear_each_other_and_nobody_else() {
    let ports = Ports { ip: [127, 0, 0, 1].into(), first: 1000 };
    let calls = Row { work: Work::Calls(2), ..row("500 calls") };
    let rooms = calls.rooms(&ports);
    assert_eq!(rooms.len(), 2);
    assert!(rooms.iter().all(|room| room.legs.iter().all(|leg| leg.sends && leg.receives)));
    let targets: Vec<SocketAddr> = (1..=4).map(|port| ports.address(5000 + port)).collect();
    let turn = rows::Turn {
        run: 1,
        targets: &targets,
        payload_type: 0,
        duration: Duration::from_secs(1),
        wait: Wait::Block,
        core: 0,
    };
    let load = calls.load(&ports, &turn);
    let expected = |receiver| (0..4).filter(|stream| load.expect.includes(receiver, *stream, 4)).collect();
    let heard: [Vec<u32>; 4] = [0, 1, 2, 3].map(expected);
    assert_eq!(heard, [[1], [0], [3], [2]]);
    assert_eq!((load.symmetric, load.receive), (true, rooms[0].legs[0].remote));
}

/// A relay within this process: what is measured is then the whole process.
struct Thread {
    stop: Arc<AtomicBool>,
}

impl Subject for Thread {
    fn name(&self) -> &'static str {
        "thread"
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn takes_part(&self, _: &Row) -> bool {
        true
    }

    fn prepare(&mut self, task: &Task<'_>) -> anyhow::Result<Vec<SocketAddr>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (address, legs, stop) = (socket.local_addr()?, task.rooms[0].legs.clone(), self.stop.clone());
        std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while !stop.load(Relaxed) {
                let Ok(len) = socket.recv(&mut packet) else { continue };
                for leg in legs.iter().filter(|leg| leg.receives) {
                    socket.send_to(&packet[..len], leg.remote).expect("loopback");
                }
            }
        });
        Ok(vec![address])
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        Ok(())
    }
}

#[test]
fn a_row_can_be_measured() {
    let row = Row { work: Work::FanOut(2), interval: Duration::from_millis(5), ..row("audio fan-out 200") };
    let settings = Settings {
        rounds: 1,
        time: Duration::from_millis(200),
        core: 0,
        wait: Wait::Poll(Duration::from_micros(200)),
    };
    // Another test may take one of the ports first.
    for _ in 0..20 {
        let source = UdpSocket::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let ports = Ports { ip: source.ip(), first: source.port().min(60_000) };
        let stop = Arc::new(AtomicBool::new(false));
        let mut subjects: [Box<dyn Subject>; 1] = [Box::new(Thread { stop })];
        let Ok(results) = measure_row(&row, &mut subjects, &ports, &settings) else { continue };
        let figures = results[0].figures(&results);
        let of = |metric| value(&figures, metric).expect("it is always there").0;
        assert!(of("cpu_per_packet") > 0.0);
        // 700 ms of one packet every 5 ms to two sinks.
        assert_eq!((results[0].turns[0].report.expected, of("loss")), (280, 0.0));
        return;
    }
    panic!("no free ports");
}
