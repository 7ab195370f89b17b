//! A conference is mixed when everybody's packets are there, not long after.

use super::*;
use crate::mixing::phase::Phase;
use crate::mixing::schedule::Schedule;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A conference in the schedule of its thread, and when in each 20 ms everybody's packets come.
struct Timed {
    world: World,
    schedule: Schedule,
    phase: Phase,
    slot: usize,
    /// In milliseconds, by leg.
    comes: BTreeMap<&'static str, u64>,
    /// Milliseconds by which each packet is late, in turn.
    late: &'static [u64],
    at_ms: u64,
}

impl Timed {
    fn new(comes: [(&'static str, u64); 3], late: &'static [u64]) -> Timed {
        let world = World::new();
        let mut schedule = Schedule::new(world.now);
        let slot = schedule.place(world.now);
        Timed { world, schedule, phase: Phase::default(), slot, comes: BTreeMap::from(comes), late, at_ms: 0 }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 1_000 {
            self.at_ms += 1;
            self.world.now += MILLISECOND;
            for (leg, talker) in &mut self.world.talkers {
                let late = self.late[(self.at_ms / 20) as usize % self.late.len()];
                if self.at_ms % 20 == self.comes[leg] + late {
                    self.world.room.mixer.handle_packet(self.world.now, &talker.talk(ssrcs(leg).0));
                }
            }
            while let Some(due) = self.schedule.due(self.world.now) {
                if due.slot == self.slot {
                    self.world.tick();
                    self.phase.follow(&mut self.slot, &mut self.schedule);
                }
            }
            if self.at_ms.is_multiple_of(100) {
                self.phase.look(self.world.room.mixer.take_spare_us());
            }
        }
    }

    /// How long everybody's packets wait, in milliseconds; in the order of legs.
    fn waits(&self) -> Vec<u32> {
        let status = self.world.room.status(self.world.now).sources;
        assert!(status.iter().all(|(_, source)| {
            let playout = &source.playout;
            (playout.late, playout.lost, playout.stretched) == (0, 0, 0)
        }));
        self.world.talkers.keys().map(|leg| delay_of(&status, leg)).collect()
    }
}

fn delay_of(status: &[(Id, motet_mixer::audio::SourceStatus)], leg: &str) -> u32 {
    let (_, source) = status.iter().find(|(id, _)| **id == *leg).expect("a source");
    source.playout.delay_ms
}

#[test]
fn all_are_heard_sooner_by_what_the_last_packet_waits() {
    // The first tick is after 5 ms.
    let mut timed = Timed::new([("a", 9), ("b", 14), ("c", 19)], &[0]);
    timed.pass(1);
    assert_eq!(timed.waits(), [16, 11, 6]);
    timed.pass(4);
    let after = timed.waits();
    assert!(after[2] <= 2 && after == [after[2] + 10, after[2] + 5, after[2]], "{after:?}");
    timed.pass(5);
    assert_eq!(timed.waits(), after, "that is where it stays");
    assert_eq!(timed.world.heard(), ALL);
}

#[test]
fn packets_that_come_unevenly_keep_what_they_wait() {
    let mut timed = Timed::new([("a", 9), ("b", 10), ("c", 11)], &[0, 4, 1, 5, 2, 0, 5]);
    timed.pass(1);
    let before = timed.waits();
    timed.pass(9);
    assert_eq!(timed.waits(), before);
}

#[test]
fn a_clock_that_is_fast_does_not_pull_the_others_along() {
    let mut timed = Timed::new([("a", 9), ("b", 14), ("c", 19)], &[0]);
    timed.pass(3);
    let (before, at) = (timed.world.talkers["a"].numbers.len(), timed.at_ms);
    for _ in 0..60 {
        // Everybody is a millisecond sooner each two seconds, for two minutes.
        timed.comes.values_mut().for_each(|comes| *comes = (*comes + 19) % 20);
        timed.pass(2);
    }
    let sent = timed.world.talkers["a"].numbers.len() - before;
    let ticks = ((timed.at_ms - at) / 20) as usize;
    assert!((ticks..=ticks + 1).contains(&sent), "{sent} of {ticks}");
}
