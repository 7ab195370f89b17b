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
