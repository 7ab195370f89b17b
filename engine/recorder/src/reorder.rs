//! Packets of sound of one source, put in order. What comes in order is not held back.

use crate::stats::DropReason;
use motet_rtp::{Time, WireSeq, WireTimestamp};
use std::time::Duration;

/// Packets that wait at most.
const WAITING_MAX: usize = 128;
/// How far ahead a number may be and still continue the stream.
const AHEAD_MAX: i16 = 1000;
/// So many packets in sequence that are all too late come from a sender that began anew not far back.
const BEHIND_MAX: u32 = 10;

#[derive(Clone, Debug)]
pub(crate) struct Reorder {
    wait: Duration,
    /// None: nothing has come.
    next: Option<WireSeq>,
    /// By number.
    held: Vec<Held>,
    /// What would continue the packet that did not continue the stream.
    suspect: Option<WireSeq>,
    /// What would continue packets that are all too late, and how many they are.
    behind: Option<(WireSeq, u32)>,
    lost: u64,
    flushed: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    sequence: WireSeq,
    at: Time,
    pub(crate) timestamp: WireTimestamp,
    pub(crate) payload: Vec<u8>,
}

impl Reorder {
    pub(crate) fn new(wait: Duration) -> Reorder {
        Reorder { wait, next: None, held: Vec::new(), suspect: None, behind: None, lost: 0, flushed: 0 }
    }

    /// Takes a packet in.
    pub(crate) fn push(
        &mut self,
        now: Time,
        sequence: WireSeq,
        timestamp: WireTimestamp,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.distance(next);
        if !(-AHEAD_MAX..AHEAD_MAX).contains(&ahead) {
            // RFC 3550 appendix A.1: two in sequence are believed.
            if self.suspect != Some(sequence) {
                self.suspect = Some(sequence.next());
                return Err(DropReason::Jump);
            }
            self.begin(sequence);
        } else if ahead < 0 {
            let before = self.behind.filter(|(next, _)| *next == sequence).map_or(0, |(_, count)| count);
            if before + 1 < BEHIND_MAX {
                self.behind = Some((sequence.next(), before + 1));
                return Err(DropReason::Late);
            }
            self.begin(sequence);
        }
        (self.suspect, self.behind) = (None, None);
        let next = self.next.unwrap_or(sequence);
        let place = self.held.partition_point(|held| held.sequence.distance(next) < sequence.distance(next));
        if self.held.get(place).is_some_and(|held| held.sequence == sequence) {
            return Err(DropReason::Duplicate);
        }
        self.held.insert(place, Held { sequence, at: now, timestamp, payload: payload.to_vec() });
        Ok(())
    }

    /// The next packet, if it is its time.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Held> {
        let next = self.next?;
        let first = self.held.first()?;
        let ahead = first.sequence.distance(next).unsigned_abs();
        if ahead > 0 && self.held.len() < WAITING_MAX && now < first.at + self.wait {
            return None;
        }
        self.lost += u64::from(ahead);
        self.next = Some(first.sequence.next());
        Some(self.held.remove(0))
    }

    /// When a packet that is missing is given up.
    pub(crate) fn timeout(&self) -> Option<Time> {
        Some(self.held.first()?.at + self.wait)
    }

    /// Packets that were not waited for any longer.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Packets that waited when the sender began anew.
    pub(crate) fn flushed(&self) -> u64 {
        self.flushed
    }

    fn begin(&mut self, sequence: WireSeq) {
        self.flushed += self.held.len() as u64;
        self.held.clear();
        self.next = Some(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sequences: &[u16]) -> (Vec<u16>, Reorder) {
        let mut reorder = Reorder::new(Duration::from_millis(50));
        let mut out = Vec::new();
        for sequence in sequences {
            // Refused packets are what the callers look for.
            let _ = reorder.push(Time::ZERO, WireSeq(*sequence), WireTimestamp(0), &[1]);
            out.extend(std::iter::from_fn(|| reorder.pop(Time::ZERO)).map(|held| held.sequence.0));
        }
        (out, reorder)
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        let (out, _) = run(&[65_534, 0, 65_535, 0, 2, 2, 1, 65_535]);
        assert_eq!(out, [65_534, 65_535, 0, 1, 2]);
    }

    #[test]
    fn a_missing_packet_is_waited_for_and_then_given_up() {
        let (out, mut reorder) = run(&[5, 7]);
        assert_eq!(out, [5]);
        assert_eq!(reorder.timeout(), Some(Time::from_millis(50)));
        assert!(reorder.pop(Time::from_millis(49)).is_none());
        assert_eq!(reorder.pop(Time::from_millis(50)).map(|held| held.sequence.0), Some(7));
        assert_eq!(reorder.lost(), 1);
        assert_eq!(
            reorder.push(Time::from_millis(60), WireSeq(6), WireTimestamp(0), &[1]),
            Err(DropReason::Late)
        );
    }

    #[test]
    fn a_sender_that_begins_anew_is_believed() {
        assert_eq!(run(&[5, 30_000, 30_001, 30_002]).0, [5, 30_001, 30_002]);
        assert_eq!(run(&[5, 30_000, 6]).0, [5, 6], "one stray packet is not");
        let (out, reorder) = run(&[5, 7, 30_000, 30_001]);
        assert_eq!((out, reorder.flushed()), (vec![5, 30_001], 1), "7 waited for 6");
        let back: Vec<u16> = [500].into_iter().chain(100..=112).collect();
        assert_eq!(run(&back).0, [500, 109, 110, 111, 112]);
    }
}
