use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn worker(legs: u32, packets_per_second: u64) -> WorkerLoad {
    let mut load = WorkerLoad::default();
    load.place(legs, 0);
    load.measure(packets_per_second, 0.0, SECOND);
    load
}

#[test]
fn packets_count_before_legs() {
    assert_eq!(least_loaded(&[worker(1, 200_000), worker(100, 20_000), worker(200, 90_000)]), 1);
}

#[test]
fn small_differences_leave_it_to_the_legs_and_then_to_the_order() {
    assert_eq!(least_loaded(&[worker(3, 100), worker(2, 900), worker(2, 4_000)]), 1);
    assert_eq!(least_loaded(&[worker(0, 0), worker(0, 0)]), 0);
}

#[test]
fn what_was_placed_counts_until_it_is_measured() {
    let mut loads = [worker(0, 0), worker(0, 30_000)];
    loads[0].place(20, 1_000);
    assert_eq!((loads[0].expected(), least_loaded(&loads)), (50_000.0, 1));
    // Its packets come, and the guess gives way to them.
    for second in 1..=3 {
        loads[0].measure(second * 20_000, 0.1, SECOND);
        loads[1].measure((second + 1) * 30_000, 0.1, SECOND);
    }
    assert!((20_000.0..25_000.0).contains(&loads[0].expected()), "{}", loads[0].expected());
    assert_eq!(least_loaded(&loads), 0);
}

#[test]
fn a_measurement_counts_the_time_since_the_last() {
    let mut load = WorkerLoad::default();
    load.measure(10_000, 0.0, 2 * SECOND);
    assert_eq!(load.expected(), 5_000.0);
    load.measure(10_000, 0.0, SECOND);
    assert_eq!(load.expected(), 2_500.0, "half of what it was");
    // A counter that starts again is no load.
    load.measure(0, 0.0, SECOND);
    assert_eq!(load.expected(), 1_250.0);
}

#[test]
fn legs_that_leave_make_room() {
    let mut loads = [worker(5, 0), worker(4, 0)];
    loads[0].leave(2);
    assert_eq!((loads[0].legs(), least_loaded(&loads)), (3, 0));
}

const LIMITS: Limits = Limits { legs_max: 10, busy_max: 0.8 };

fn busy(share: f64) -> WorkerLoad {
    let mut load = WorkerLoad::default();
    load.measure(1, share, SECOND);
    load
}

fn chosen(loads: &[WorkerLoad], legs: &[(usize, u32)]) -> usize {
    choose(loads, &legs.iter().copied().collect(), &LIMITS)
}

#[test]
fn a_conference_stays_together_until_its_worker_has_no_room() {
    let loads = [busy(0.1), busy(0.5), busy(0.0)];
    assert_eq!(chosen(&loads, &[(1, 9)]), 1, "though it is the busiest");
    assert_eq!(chosen(&loads, &[(1, 10)]), 0);
    assert_eq!(chosen(&loads, &[(0, 3), (1, 10)]), 0);
    assert_eq!(chosen(&loads, &[(0, 10), (1, 10)]), 2);
    // Where legs left, the conference draws together again.
    assert_eq!(chosen(&loads, &[(0, 3), (1, 7)]), 1);
}

#[test]
fn a_busy_worker_passes_new_legs_on() {
    assert_eq!(chosen(&[busy(0.9), busy(0.2)], &[(0, 2)]), 1);
    assert_eq!(chosen(&[busy(0.9), busy(0.95)], &[(0, 2)]), 0, "nobody is better off");
    assert_eq!(chosen(&[busy(0.9)], &[(0, 2)]), 0);
}

#[test]
fn a_conference_that_fills_all_workers_grows_evenly() {
    let loads = [busy(0.1), busy(0.1)];
    assert_eq!(chosen(&loads, &[(0, 12), (1, 11)]), 1);
    assert_eq!(chosen(&loads, &[(0, 12), (1, 12)]), 0);
}
