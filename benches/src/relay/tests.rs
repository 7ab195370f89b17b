use super::*;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn turn(processor_ns: f64) -> Turn {
    Turn { processor_ns, packets_per_second: 1000.0, report: Report::default() }
}

fn results(subject: &'static str, processor_ns: &[f64]) -> Results {
    let turns = processor_ns.iter().map(|ns| turn(*ns)).collect();
    Results { row: ROWS[2], subject, turns }
}

fn value(figures: &[Figure], metric: &str) -> Option<(f64, Option<f64>)> {
    figures.iter().find(|figure| figure.metric == metric).map(|figure| (figure.value, figure.goal))
}

#[test]
fn ratios_are_those_of_the_same_round_and_back_end() {
    let row = [
        results("motet-mmsg", &[300.0, 600.0, 330.0]),
        results("floor-uring", &[1.0, 1.0, 1.0]),
        results("floor-mmsg", &[200.0, 400.0, 300.0]),
        results("rtpengine", &[1000.0, 2000.0, 1000.0]),
    ];
    let figures = row[0].figures(&row);
    assert_eq!(value(&figures, "cpu_per_packet"), Some((330.0, None)));
    assert_eq!(value(&figures, "ratio_to_floor"), Some((1.5, Some(1.6))));
    assert_eq!(value(&figures, "ratio_to_rtpengine"), Some((0.3, Some(0.333))));
    assert_eq!(value(&figures, "loss"), Some((0.0, Some(0.0))));
    assert_eq!(figures[0].row, "video fan-out 20 / motet-mmsg");
    assert_eq!(value(&row[3].figures(&row), "ratio_to_rtpengine"), None, "not to itself");
    assert!(row_table(&ROWS[2], &row).contains("floor ≤ 1.6 ok, rtpengine ≤ 0.333 ok, loss ≤ 0 ok"));
}

#[test]
fn without_rtpengine_there_is_no_ratio_to_it() {
    let row = [results("motet-uring", &[900.0]), results("floor-uring", &[500.0])];
    let figures = row[0].figures(&row);
    assert_eq!(value(&figures, "ratio_to_rtpengine"), None);
    assert!(row_table(&ROWS[2], &row).contains("floor ≤ 1.6 MISSED"));
}

#[test]
fn a_generator_that_was_too_slow_is_named_below_the_table() {
    let mut row = [results("motet-uring", &[900.0])];
    row[0].turns[0].report.lost = 7;
    row[0].turns[0].report.bottlenecks.push("receiving: 7 packets dropped".to_owned());
    let table = row_table(&ROWS[2], &row);
    assert!(table.contains("motet-uring: GENERATOR receiving: 7 packets dropped"), "{table}");
    assert!(table.contains("loss ≤ 0 MISSED"), "{table}");
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

    fn prepare(&mut self, _: &Row, sinks: &Sinks) -> anyhow::Result<SocketAddr> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (address, sinks, stop) = (socket.local_addr()?, *sinks, self.stop.clone());
        std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while !stop.load(Relaxed) {
                let Ok(len) = socket.recv(&mut packet) else { continue };
                (0..sinks.count).for_each(|index| {
                    socket.send_to(&packet[..len], sinks.address(index)).expect("loopback");
                });
            }
        });
        Ok(address)
    }

    fn finish_row(&mut self) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        Ok(())
    }
}

#[test]
fn a_row_can_be_measured() {
    let row = Row { shape: Shape::Audio, fan_out: 2, interval: Duration::from_millis(5), has_goals: false };
    let settings = Settings {
        rounds: 1,
        time: Duration::from_millis(200),
        core: 0,
        wait: Wait::Poll(Duration::from_micros(200)),
    };
    // Another test may take one of the ports first.
    for _ in 0..20 {
        let source = UdpSocket::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let first = SocketAddr::new(source.ip(), source.port().wrapping_add(2).max(1024));
        let sinks = Sinks { source, first, count: 0, stride: 2 };
        let stop = Arc::new(AtomicBool::new(false));
        let mut subjects: [Box<dyn Subject>; 1] = [Box::new(Thread { stop })];
        let Ok(results) = measure_row(&row, &mut subjects, &sinks, &settings) else { continue };
        let figures = results[0].figures(&results);
        let of = |metric| value(&figures, metric).expect("it is always there").0;
        assert!(of("cpu_per_packet") > 0.0);
        // 700 ms of one packet every 5 ms to two sinks.
        assert_eq!((results[0].turns[0].report.expected, of("loss")), (280, 0.0));
        return;
    }
    panic!("no free ports");
}
