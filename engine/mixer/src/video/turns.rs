//! People who are seen in turn.

use super::SourceId;
use motet_rtp::Time;
use std::time::Duration;

/// People who are seen in a cell in turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Who, in their order, while they are here and not off; empty: everybody.
    pub members: Vec<SourceId>,
    /// How long each is seen, above 0.
    pub interval: Duration,
}

/// Whose turn it is: the same one on all canvases.
#[derive(Default)]
pub(super) struct Turns(Vec<Turn>);

struct Turn {
    sequence: Sequence,
    /// Whose turn it is; none: nobody was here yet.
    current: Option<SourceId>,
    until: Time,
}

impl Turns {
    /// Begins sequences that are new, and forgets those that nobody sees any more.
    pub(super) fn keep<'a>(&mut self, now: Time, wanted: impl Iterator<Item = &'a Sequence> + Clone) {
        self.0.retain(|turn| wanted.clone().any(|wanted| *wanted == turn.sequence));
        for sequence in wanted {
            if !self.0.iter().any(|turn| turn.sequence == *sequence) {
                let until = now + sequence.interval;
                self.0.push(Turn { sequence: sequence.clone(), current: None, until });
            }
        }
    }

    /// Goes on where it is time. True: somebody else has the turn.
    pub(super) fn step(&mut self, now: Time, people: &[SourceId]) -> bool {
        let mut stepped = false;
        for turn in &mut self.0 {
            if now < turn.until {
                continue;
            }
            let order = turn.order(people);
            let before = order.first().copied();
            turn.current = order.get(1).copied().or(before);
            stepped |= turn.current != before;
            turn.until += turn.sequence.interval;
            if turn.until <= now {
                // Nobody has looked for a while.
                turn.until = now + turn.sequence.interval;
            }
        }
        stepped
    }

    /// Those who are here, from the one on who has the turn.
    pub(super) fn order(&self, sequence: &Sequence, people: &[SourceId]) -> Vec<SourceId> {
        let turn = self.0.iter().find(|turn| turn.sequence == *sequence);
        turn.map(|turn| turn.order(people)).unwrap_or_default()
    }
}

impl Turn {
    fn order(&self, people: &[SourceId]) -> Vec<SourceId> {
        let all = if self.sequence.members.is_empty() { people } else { &self.sequence.members };
        // Who has the turn may have left: then it is the next one's.
        let begin = self.current.and_then(|current| {
            let named = all.iter().position(|id| *id == current);
            named.or_else(|| all.iter().position(|id| *id > current))
        });
        let (done, to_come) = all.split_at(begin.unwrap_or(0));
        let order = to_come.iter().chain(done).copied();
        order.filter(|id| people.contains(id)).collect()
    }
}
