//! Who is mixed: the loudest of a group, with hold times, so that nobody flaps in and out.
//!
//! A voice takes a free seat at once. When all seats are taken, it takes that of the quietest who was silent for a
//! moment or sits long enough, once it was clearly louder for some ticks. A seat is kept through pauses in speech.

/// The times and margins of the choice, in ticks and decibels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Seats for the public; as many again for private voices.
    pub seats: usize,
    /// A seat outlasts the voice by so long.
    pub hold_ticks: u32,
    /// So long a challenger must be louder.
    pub challenge_ticks: u32,
    /// So long a seat is safe from challengers while its owner speaks.
    pub safe_ticks: u32,
    /// A challenger is louder by so much.
    pub margin_db: f32,
}

/// What a source is in this tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub source: u32,
    /// Heard only by chosen outputs: does not take a seat from the public.
    pub private: bool,
    pub voice: bool,
    pub loudness_db: f32,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    who: Candidate,
    /// Ticks since the voice was heard last.
    quiet_ticks: u32,
    seated_ticks: u32,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It is mixed.
    pub seated: bool,
    /// It took this source's seat.
    pub displaced: Option<u32>,
}

/// The seats of one group.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    seats: Vec<Seat>,
}

impl Stage {
    /// Takes one source's state of this tick; every source asks once a tick. `challenge` counts, for the source,
    /// the ticks in which it was louder than who sits.
    pub(crate) fn consider(&mut self, rules: &Rules, who: Candidate, challenge: &mut u32) -> Verdict {
        if let Some(at) = self.seats.iter().position(|seat| seat.who.source == who.source) {
            *challenge = 0;
            return self.keep(rules, who, at);
        }
        if !who.voice {
            *challenge = 0;
            return Verdict::default();
        }
        if self.taken(who.private) < rules.seats {
            self.sit(who);
            return Verdict { seated: true, displaced: None };
        }
        let Some(at) = self.weakest(rules, who.private) else { return Verdict::default() };
        if who.loudness_db < rank(&self.seats[at].who) + rules.margin_db {
            *challenge = 0;
            return Verdict::default();
        }
        *challenge += 1;
        if *challenge < rules.challenge_ticks {
            return Verdict::default();
        }
        *challenge = 0;
        let displaced = self.seats.swap_remove(at).who.source;
        self.sit(who);
        Verdict { seated: true, displaced: Some(displaced) }
    }

    fn keep(&mut self, rules: &Rules, who: Candidate, at: usize) -> Verdict {
        let seat = &mut self.seats[at];
        seat.who = who;
        seat.seated_ticks += 1;
        seat.quiet_ticks = if who.voice { 0 } else { seat.quiet_ticks + 1 };
        if seat.quiet_ticks > rules.hold_ticks {
            self.seats.swap_remove(at);
            return Verdict::default();
        }
        Verdict { seated: true, displaced: None }
    }

    fn sit(&mut self, who: Candidate) {
        self.seats.push(Seat { who, quiet_ticks: 0, seated_ticks: 0 });
    }

    fn taken(&self, private: bool) -> usize {
        self.seats.iter().filter(|seat| seat.who.private == private).count()
    }

    /// The quietest of those who can lose their seat.
    fn weakest(&self, rules: &Rules, private: bool) -> Option<usize> {
        let open = |seat: &Seat| {
            seat.who.private == private && (!seat.who.voice || seat.seated_ticks >= rules.safe_ticks)
        };
        let seats = self.seats.iter().enumerate().filter(|(_, seat)| open(seat));
        seats.min_by(|(_, a), (_, b)| rank(&a.who).total_cmp(&rank(&b.who))).map(|(at, _)| at)
    }

    /// A source is gone, or may not speak; whether it had a seat.
    pub(crate) fn remove(&mut self, source: u32) -> bool {
        let at = self.seats.iter().position(|seat| seat.who.source == source);
        at.map(|at| self.seats.swap_remove(at)).is_some()
    }

    /// Takes a seat back while more are taken than there are: the quietest one's.
    pub(crate) fn pop_excess(&mut self, rules: &Rules) -> Option<u32> {
        let at_once = Rules { safe_ticks: 0, ..*rules };
        let private = [false, true].into_iter().find(|private| self.taken(*private) > rules.seats)?;
        let at = self.weakest(&at_once, private)?;
        Some(self.seats.swap_remove(at).who.source)
    }
}

/// Who is silent ranks below everybody who speaks.
fn rank(who: &Candidate) -> f32 {
    if who.voice { who.loudness_db } else { who.loudness_db - 60.0 }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Rules, Stage, Verdict};

    const RULES: Rules =
        Rules { seats: 2, hold_ticks: 30, challenge_ticks: 3, safe_ticks: 10, margin_db: 3.0 };

    /// Sources with fixed levels; silent below -100.
    fn tick(stage: &mut Stage, levels: &[f32], challenges: &mut [u32]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (source, loudness_db) in levels.iter().enumerate() {
            let who = Candidate {
                source: source as u32,
                private: false,
                voice: *loudness_db > -100.0,
                loudness_db: *loudness_db,
            };
            verdicts.push(stage.consider(&RULES, who, &mut challenges[source]));
        }
        verdicts
    }

    #[test]
    fn a_louder_voice_gets_in_after_three_ticks() {
        let (mut stage, mut challenges) = (Stage::default(), [0; 3]);
        for _ in 0..20 {
            let verdicts = tick(&mut stage, &[-20.0, -30.0, -120.0], &mut challenges);
            assert!(verdicts[0].seated && verdicts[1].seated && !verdicts[2].seated);
        }
        let entered: Vec<bool> =
            (0..4).map(|_| tick(&mut stage, &[-20.0, -30.0, -25.0], &mut challenges)[2].seated).collect();
        assert_eq!(entered, [false, false, true, true]);
    }

    #[test]
    fn equal_voices_do_not_flap() {
        let (mut stage, mut challenges) = (Stage::default(), [0; 4]);
        for n in 0..500 {
            // Two sit, two want to; levels swing by 2 dB.
            let swing = if n % 7 < 3 { 1.0 } else { -1.0 };
            let verdicts = tick(&mut stage, &[-20.0 - swing, -20.0, -20.0 + swing, -20.0], &mut challenges);
            assert!(verdicts.iter().all(|verdict| verdict.displaced.is_none()), "tick {n}");
        }
    }

    #[test]
    fn who_just_sat_down_is_safe_while_speaking() {
        let (mut stage, mut challenges) = (Stage::default(), [0; 4]);
        for _ in 0..20 {
            tick(&mut stage, &[-20.0, -30.0, -120.0, -120.0], &mut challenges);
        }
        let mut changes = 0;
        // Two loud ones that outbid each other all the time.
        for n in 0..200 {
            let (a, b) = if n % 8 < 4 { (-5.0, -15.0) } else { (-15.0, -5.0) };
            let verdicts = tick(&mut stage, &[-20.0, -30.0, a, b], &mut challenges);
            changes += verdicts.iter().filter(|verdict| verdict.displaced.is_some()).count();
        }
        assert!(changes <= 3, "{changes} changes");
    }

    #[test]
    fn a_seat_is_held_through_a_pause_and_then_given_up() {
        let (mut stage, mut challenges) = (Stage::default(), [0; 1]);
        assert!(tick(&mut stage, &[-20.0], &mut challenges)[0].seated);
        let held = (0..100).take_while(|_| tick(&mut stage, &[-120.0], &mut challenges)[0].seated).count();
        assert_eq!(held as u32, RULES.hold_ticks);
    }

    #[test]
    fn fewer_seats_keep_the_loudest() {
        let (mut stage, mut challenges) = (Stage::default(), [0; 2]);
        tick(&mut stage, &[-20.0, -30.0], &mut challenges);
        let fewer = Rules { seats: 1, ..RULES };
        assert_eq!(stage.pop_excess(&fewer), Some(1));
        assert_eq!(stage.pop_excess(&fewer), None);
        assert!(stage.remove(0) && !stage.remove(0));
    }

    #[test]
    fn private_voices_have_seats_of_their_own() {
        let (mut stage, mut challenge) = (Stage::default(), 0);
        for source in 0..4 {
            let who = Candidate { source, private: source >= 2, voice: true, loudness_db: -20.0 };
            assert!(stage.consider(&RULES, who, &mut challenge).seated, "{source}");
        }
    }
}
