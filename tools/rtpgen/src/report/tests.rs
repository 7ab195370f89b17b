use super::*;
use crate::account::{Counts, latency_histogram};

fn flow(stream: u32, expected: bool, received: u64, unique: u64) -> FlowCounts {
    let counts = Counts { received, unique, duplicated: received - unique, ..Counts::default() };
    FlowCounts { receiver: 0, stream, expected, counts }
}

fn measured(flows: Vec<FlowCounts>) -> Measured {
    Measured {
        flows,
        sent: HashMap::from([(0, 100), (1, 100)]),
        receivers: 1,
        bytes_received: 100_000,
        strays: Strays::default(),
        elapsed: Duration::from_secs(2),
        latency: latency_histogram(),
        generator: Generator::default(),
        lateness: latency_histogram(),
        interrupted: false,
    }
}

#[test]
fn a_clean_run_passes_and_counts_what_came() {
    let report = Report::new(&measured(vec![flow(0, true, 100, 100), flow(1, true, 100, 100)]), 0.0);
    assert!(report.passed, "{:?}", report.failures);
    assert_eq!((report.sent, report.expected, report.received, report.lost), (200, 200, 200, 0));
    assert_eq!(report.packets_per_second, 100.0);
    assert!((report.megabits_per_second - 0.4).abs() < 1e-9);
}

#[test]
fn duplicates_do_not_make_up_for_losses() {
    let report = Report::new(&measured(vec![flow(0, true, 100, 90), flow(1, true, 100, 100)]), 0.0);
    assert_eq!((report.received, report.lost, report.duplicated), (200, 10, 10));
    assert!(!report.passed);
    assert!(Report::new(&measured(vec![flow(0, true, 90, 90), flow(1, true, 100, 100)]), 5.0).passed);
    assert!(!Report::new(&measured(vec![flow(0, true, 89, 89), flow(1, true, 100, 100)]), 5.0).passed);
}

#[test]
fn strays_fail_the_run_and_are_not_throughput() {
    let report = Report::new(&measured(vec![flow(0, true, 100, 100), flow(1, false, 3, 3)]), 0.0);
    assert_eq!((report.received, report.wrongly_routed, report.lost), (100, 3, 0));
    assert_eq!(report.packets_per_second, 50.0);
    assert!(!report.passed);
    assert!(report.table().contains("should not come here"), "{}", report.table());
}

#[test]
fn nothing_expected_is_a_failure() {
    assert!(!Report::new(&measured(vec![]), 0.0).passed);
}

#[test]
fn corrupt_and_mislabelled_packets_fail_whatever_loss_is_allowed() {
    let mut wrong = flow(0, true, 100, 100);
    wrong.counts.mislabelled = 1;
    assert!(!Report::new(&measured(vec![wrong]), 100.0).passed);
    let mut unreadable = measured(vec![flow(0, true, 100, 100)]);
    unreadable.strays.unreadable = 1;
    let report = Report::new(&unreadable, 100.0);
    assert_eq!((report.corrupt, report.passed), (1, false));
}

#[test]
fn the_generators_own_faults_are_named() {
    let mut slow = measured(vec![flow(0, true, 90, 90)]);
    slow.generator = Generator { socket_overflow: 10, busy_share: 0.99, send_dropped: 2, io: "mmsg".into() };
    slow.lateness.record(9_000_000).expect("in range");
    let report = Report::new(&slow, 0.0);
    assert_eq!(report.bottlenecks.len(), 4, "{:?}", report.bottlenecks);
    assert_eq!(report.table().matches("BOTTLENECK").count(), 4);
    assert!(Report::new(&measured(vec![]), 0.0).bottlenecks.is_empty());
}

#[test]
fn of_many_flows_only_the_wrong_ones_are_listed() {
    let mut flows: Vec<_> = (0..2000).map(|_| flow(0, true, 100, 100)).collect();
    flows[1500] = flow(0, true, 99, 99);
    let report = Report::new(&measured(flows), 0.0);
    assert_eq!(report.flows.len(), 1);
    assert_eq!(report.lost, 1);
}

#[test]
fn the_worst_flow_is_the_one_with_the_largest_mean() {
    let mut slow = flow(0, true, 4, 4);
    slow.counts.latency_ns_sum = 4 * 9_000;
    let mut slower_but_stray = flow(1, false, 1, 1);
    slower_but_stray.counts.latency_ns_sum = 50_000;
    let report = Report::new(&measured(vec![flow(1, true, 0, 0), slow, slower_but_stray]), 100.0);
    assert_eq!(report.latency_us_worst_flow, 9.0);
}

#[test]
fn the_longest_gap_is_that_of_an_expected_stream() {
    let mut flows = vec![flow(0, true, 100, 100), flow(1, true, 100, 100), flow(2, false, 1, 1)];
    for (flow, gap_ns_max) in flows.iter_mut().zip([7_000_000, 19_400_000, 99_000_000]) {
        flow.counts.gap_ns_max = gap_ns_max;
    }
    let report = Report::new(&measured(flows), 0.0);
    assert_eq!(report.gap_us_max, 19_400);
    assert!(report.table().contains("longest gap     19.4 ms"), "{}", report.table());
}
