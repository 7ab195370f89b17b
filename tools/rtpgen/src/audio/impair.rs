//! A bad network between generator and relay: seeded, so that a run can be repeated.

use motet_rtp::Time;
use std::time::Duration;

/// What the network does to packets, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Packets lost, 0 to 1, each by itself.
    pub loss: f64,
    /// Packets are late by anything from nothing to this, each by itself, so that they overtake each other.
    pub jitter: Duration,
    /// Another seed, another network.
    pub seed: u64,
}

/// One direction of it.
#[derive(Clone, Debug)]
pub struct Network {
    impairment: Impairment,
    state: u64,
}

impl Network {
    /// Directions differ by `number`.
    pub const fn new(impairment: Impairment, number: u64) -> Network {
        let state = impairment
            .seed
            .wrapping_mul(0x2545_f491_4f6c_dd1d)
            .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Network { impairment, state }
    }

    /// When a packet comes that was sent at `now`; none: it is lost.
    pub fn carry(&mut self, now: Time) -> Option<Time> {
        // Both are drawn for each packet, so that more loss does not change what becomes of the others.
        let (lost, late) = (self.draw() < self.impairment.loss, self.draw());
        (!lost).then(|| now + self.impairment.jitter.mul_f64(late))
    }

    /// From 0 to 1, 1 excluded: SplitMix64.
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_jitter_are_as_asked_and_repeat() {
        let impairment = Impairment { loss: 0.05, jitter: Duration::from_millis(40), seed: 1 };
        let run = |number| -> Vec<_> {
            let mut network = Network::new(impairment, number);
            (0..20_000).map(|_| network.carry(Time::ZERO)).collect()
        };
        let first = run(1);
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
        let came: Vec<Time> = first.into_iter().flatten().collect();
        assert!((18_900..19_100).contains(&came.len()), "{}", came.len());
        let mean_ms = came.iter().map(|at| at.as_nanos()).sum::<u64>() as f64 / came.len() as f64 / 1e6;
        assert!((19.0..21.0).contains(&mean_ms), "{mean_ms}");
        assert!(came.iter().all(|at| *at < Time::from_millis(40)));
    }
}
