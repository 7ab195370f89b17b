use super::*;
use proptest::prelude::*;

/// Workers and the packets per second of the conferences on them, in virtual time.
struct World {
    rebalancer: Rebalancer,
    /// Worker and packets per second, by conference.
    conferences: BTreeMap<String, (usize, f64)>,
    packets: BTreeMap<String, u64>,
    workers: usize,
    second: u64,
}

/// Packets per second that keep a worker fully busy.
const FULL: f64 = 100_000.0;

impl World {
    fn new(above: f64, workers: usize, conferences: &[(&str, usize, f64)]) -> World {
        let conferences = conferences.iter().map(|(id, worker, rate)| ((*id).to_owned(), (*worker, *rate)));
        let (rebalancer, packets) = (Rebalancer::new(above), BTreeMap::new());
        World { rebalancer, conferences: conferences.collect(), packets, workers, second: 0 }
    }

    fn now(&self) -> Time {
        Time::from_millis(self.second * 1_000)
    }

    fn rate(&self, worker: usize) -> f64 {
        self.conferences.values().filter(|(on, _)| *on == worker).map(|(_, rate)| rate).sum()
    }

    fn busy(&self) -> Vec<f64> {
        (0..self.workers).map(|worker| (self.rate(worker) / FULL).min(1.0)).collect()
    }

    /// A second passes; what is chosen is done.
    fn tick(&mut self) -> Option<Choice> {
        self.second += 1;
        for (id, (_, rate)) in &self.conferences {
            *self.packets.entry(id.clone()).or_default() += *rate as u64;
        }
        let (now, busy) = (self.now(), self.busy());
        let from = self.rebalancer.look(now, &busy)?;
        let here = |id: &String| self.conferences[id].0 == from;
        let packets = self.packets.iter().filter(|(id, _)| here(id)).map(|(id, n)| (id.clone(), *n));
        let workers = Workers { busy: &busy, packets_per_second: self.rate(from) };
        let choice = self.rebalancer.choose(now, workers, packets.collect())?;
        self.rebalancer.on_move(now, &choice.conference);
        self.conferences.get_mut(&choice.conference).expect("it is there").0 = choice.to;
        Some(choice)
    }

    /// All choices of so many seconds, with the second of each.
    fn run(&mut self, seconds: u64) -> Vec<(u64, String, usize)> {
        let tick = |_| {
            let choice = self.tick()?;
            Some((self.second, choice.conference, choice.to))
        };
        (0..seconds).filter_map(tick).collect()
    }
}

#[test]
fn a_busy_worker_gives_away_what_evens_the_load_best() {
    let conferences = [("large", 0, 55e3), ("small", 0, 5e3), ("middle", 0, 25e3), ("there", 1, 30e3)];
    let mut world = World::new(0.7, 3, &conferences);
    // 85 against 30 against 0: without "large", 30 remain and 55 are there.
    assert_eq!(world.run(300), [(3, "large".to_owned(), 2)]);
    assert_eq!(world.busy(), [0.3, 0.3, 0.55]);
}

#[test]
fn nothing_moves_below_the_mark_or_without_a_clear_gain() {
    let halves = [("a", 0, 35e3), ("b", 0, 35e3)];
    assert_eq!(World::new(0.7, 2, &halves).run(300), [], "not above the mark");
    assert_eq!(World::new(0.69, 2, &halves).run(300).len(), 1);
    // All that is on the worker would only be on the other one.
    assert_eq!(World::new(0.7, 2, &[("a", 0, 90e3)]).run(300), []);
    // 80 and 70: whatever goes, the other one has as much to do.
    let full = [("a", 0, 60e3), ("b", 0, 20e3), ("c", 1, 70e3)];
    assert_eq!(World::new(0.7, 2, &full).run(300), []);
    // 90 and 50: to give 35 brings 55 and 85, to give 0.5 as good as nothing; 10 are worth it.
    for (given, moves) in [(35e3, 0), (500.0, 0), (10e3, 1)] {
        let conferences = [("a", 0, 90e3 - given), ("b", 0, given), ("c", 1, 50e3)];
        assert_eq!(World::new(0.7, 2, &conferences).run(300).len(), moves, "{given}");
    }
    assert_eq!(World::new(0.0, 1, &[("a", 0, 90e3)]).run(300), [], "there is no other worker");
}

#[test]
fn a_moment_of_load_moves_nothing() {
    let mut world = World::new(0.7, 2, &[("a", 0, 45e3), ("b", 0, 45e3)]);
    for _ in 0..20 {
        assert_eq!(world.run(2), []);
        world.conferences.get_mut("a").expect("it is there").1 = 20e3;
        assert_eq!(world.run(1), [], "below the mark again");
        world.conferences.get_mut("a").expect("it is there").1 = 45e3;
    }
    assert_eq!(world.run(3).len(), 1);
}

#[test]
fn a_conference_is_left_alone_after_a_move() {
    let mut world = World::new(0.5, 2, &[("a", 0, 30e3), ("b", 0, 30e3)]);
    assert_eq!(world.run(10), [(3, "a".to_owned(), 1)]);
    // Its load grows, so that it should not have company there.
    world.conferences.insert("c".to_owned(), (1, 30e3));
    world.conferences.get_mut("a").expect("it is there").1 = 60e3;
    world.conferences.get_mut("b").expect("it is there").1 = 1e3;
    let moves = world.run(200);
    assert_eq!(moves.len(), 1, "{moves:?}");
    assert_eq!((moves[0].1.as_str(), moves[0].2), ("c", 0), "the one that has rested");

    let mut world = World::new(0.5, 2, &[("a", 0, 30e3), ("b", 0, 30e3)]);
    world.rebalancer.on_move(Time::from_millis(0), "a");
    world.rebalancer.on_move(Time::from_millis(0), "b");
    let first = world.run(200)[0].0;
    assert_eq!(first, 60, "a minute's rest");
}

#[test]
fn moves_of_a_minute_are_bounded() {
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let conferences: Vec<(&str, usize, f64)> = names.iter().map(|id| (id.as_str(), 0, 2_400.0)).collect();
    let mut world = World::new(0.1, 40, &conferences);
    let seconds: Vec<u64> = world.run(600).into_iter().map(|(second, ..)| second).collect();
    assert_eq!(seconds.len(), 36, "until 4 of 40 are left there: {seconds:?}");
    let most =
        seconds.iter().map(|from| seconds.iter().filter(|at| (*from..from + 60).contains(*at)).count());
    assert_eq!(most.max(), Some(MOVES_PER_MINUTE));
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] >= u64::from(LOOKS)), "{seconds:?}");
}

#[test]
fn what_is_new_is_not_weighed_and_counters_that_begin_again_count_as_none() {
    let mut world = World::new(0.5, 2, &[("a", 0, 30e3), ("b", 0, 30e3)]);
    assert_eq!(world.run(2), []);
    world.conferences.remove("a");
    world.packets.remove("a");
    world.conferences.insert("new".to_owned(), (0, 30e3));
    assert_eq!(world.run(1), [(3, "b".to_owned(), 1)]);

    let mut world = World::new(0.5, 2, &[("a", 0, 30e3), ("b", 0, 30e3)]);
    assert_eq!(world.run(2), []);
    world.packets.clear();
    assert_eq!(world.run(1), []);
}

proptest! {
    #[test]
    fn under_the_same_load_conferences_come_to_rest(
        rates in proptest::collection::vec((0..3usize, 0..40_000u32), 1..15),
        above in 0..80u32,
    ) {
        let names: Vec<String> = (0..rates.len()).map(|n| format!("{n:02}")).collect();
        let conferences = names.iter().zip(&rates).map(|(id, (worker, rate))| {
            (id.as_str(), *worker, f64::from(*rate))
        });
        let conferences: Vec<(&str, usize, f64)> = conferences.collect();
        let mut world = World::new(f64::from(above) / 100.0, 3, &conferences);
        let highest = |world: &World| (0..3).map(|worker| world.rate(worker)).fold(0.0, f64::max);
        let mut before = highest(&world);
        for _ in 0..900 {
            if world.tick().is_some() {
                // Beyond what a worker can do, its share of the time says nothing of how much there is to do.
                prop_assert!(highest(&world) <= before || before > FULL, "{} after {}", highest(&world), before);
                before = highest(&world);
            }
        }
        prop_assert_eq!(world.run(300), []);
    }
}
