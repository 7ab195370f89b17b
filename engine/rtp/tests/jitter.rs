//! Operation sequences on the jitter buffer against a naive model that knows the true numbers.

use motet_rtp::jitter::{JitterBuffer, JitterConfig, JitterPacket, JitterVerdict, Taken};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::collections::BTreeSet;

const TICKS: u64 = 160;

/// What a network does to one stream.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// The sender's next packet comes, after so many were lost.
    Next { lost: u64 },
    /// A packet from so far back comes, again or at last.
    Back { packets: u64 },
    /// The oldest that waits is taken.
    Take,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        6 => Just(Operation::Next { lost: 0 }),
        1 => (1..5_u64).prop_map(|lost| Operation::Next { lost }),
        3 => (0..20_u64).prop_map(|packets| Operation::Back { packets }),
        6 => Just(Operation::Take),
    ];
    prop::collection::vec(operation, 1..400)
}

/// Every number that came, those that wait, and the last that was taken.
#[derive(Default)]
struct Model {
    came: BTreeSet<u64>,
    waiting: BTreeSet<u64>,
    taken: Option<u64>,
    first_taken: Option<u64>,
    late: u64,
    duplicate: u64,
    reordered: u64,
}

impl Model {
    fn insert(&mut self, number: u64) -> JitterVerdict {
        if !self.came.insert(number) {
            self.duplicate += 1;
            return JitterVerdict::Duplicate;
        }
        if self.taken.is_some_and(|taken| number <= taken) {
            self.late += 1;
            return JitterVerdict::Late;
        }
        self.reordered += u64::from(self.came.last() != Some(&number));
        self.waiting.insert(number);
        JitterVerdict::Queued
    }

    fn take(&mut self) -> Option<u64> {
        let number = self.waiting.pop_first()?;
        self.taken = Some(number);
        self.first_taken.get_or_insert(number);
        Some(number)
    }

    /// Between the first taken and the last: those that never came.
    fn lost(&self) -> u64 {
        match (self.first_taken, self.taken) {
            (Some(first), Some(last)) => {
                (first..last).filter(|number| !self.came.contains(number)).count() as u64
            }
            _ => 0,
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_model(start in 65_000_u64..66_000, operations in operations()) {
        let config = JitterConfig { delay_us_min: 0, delay_us_max: 500_000 };
        let (mut buffer, mut model, mut taken) = (JitterBuffer::new(config), Model::default(), Taken::default());
        let mut newest = start;
        prop_assert_eq!(insert(&mut buffer, start, newest), model.insert(start));
        for operation in operations {
            match operation {
                Operation::Next { lost } => {
                    newest += 1 + lost;
                    prop_assert_eq!(insert(&mut buffer, newest, newest), model.insert(newest));
                }
                Operation::Back { packets } => {
                    let number = newest - packets;
                    prop_assert_eq!(insert(&mut buffer, number, newest), model.insert(number));
                }
                Operation::Take => {
                    let took = buffer.take(time(newest), &mut taken);
                    let number = took.then(|| u64::from_be_bytes(taken.payload[..8].try_into().unwrap_or_default()));
                    prop_assert_eq!(number, model.take());
                }
            }
            prop_assert_eq!(buffer.len(), model.waiting.len());
            let stats = buffer.stats();
            prop_assert_eq!((stats.late, stats.duplicate), (model.late, model.duplicate));
            prop_assert_eq!((stats.reordered, stats.lost), (model.reordered, model.lost()));
        }
    }
}

fn insert(buffer: &mut JitterBuffer, number: u64, newest: u64) -> JitterVerdict {
    let packet = JitterPacket {
        ssrc: 1,
        sequence: WireSeq(number as u16),
        timestamp: WireTimestamp((number * TICKS) as u32),
        clock_hz: 8000,
        duration_ticks: TICKS as u32,
        payload_type: 0,
        marker: false,
        level: None,
        payload: &number.to_be_bytes(),
    };
    buffer.insert(time(newest), &packet)
}

/// Time passes as the sender sends.
fn time(newest: u64) -> Time {
    Time::from_millis(newest * 20)
}
