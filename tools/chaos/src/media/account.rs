//! What one receiver hears of one sender: exact, by the numbers in the packets.

use motet_rtp::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// A packet of the sender that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Which packet of the sender, counted from 0.
    pub number: u64,
    /// The node that sent it here.
    pub node: u8,
    /// SSRC on the wire.
    pub ssrc: u32,
    /// Sequence number on the wire.
    pub sequence: u16,
    /// When it came.
    pub now: Time,
}

/// What was heard since a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Different packets, of those that were sent since the mark.
    pub packets: u64,
    /// Packets that were sent since the mark and did not come.
    pub lost: u64,
    /// The longest run of them.
    pub lost_run: u64,
    /// The longest time without a packet, the one that goes on now included.
    pub silence: Duration,
    /// The time since the last packet; none: there never was one.
    pub silent: Option<Duration>,
    /// Packets that had come before.
    pub doubled: u64,
    /// Packets of a node that came after another node had begun to send.
    pub stale: u64,
    /// From the first packet of the new node to the last one of the old.
    pub overlap: Duration,
    /// How often the SSRC became another one.
    pub ssrc_changes: u64,
    /// How often the sequence number went back by more than reordering explains.
    pub sequence_jumps_back: u64,
}

/// One sender at one receiver.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    mark: Mark,
    /// One past the highest packet that came.
    next: u64,
    /// Runs of missing packets below `next`: first, one past the last.
    gaps: BTreeMap<u64, u64>,
    last: Option<Time>,
    /// SSRC and sequence number of the packet with the highest number.
    wire: Option<(u32, u16)>,
    /// Who sends, and since when.
    node: Option<(u8, Time)>,
}

/// Sums since the mark.
#[derive(Clone, Debug, Default)]
struct Mark {
    first: u64,
    at: Time,
    packets: u64,
    heard: Heard,
}

/// Steps back on the wire that reordering explains.
const REORDERING_MAX: u16 = 100;

impl Flow {
    /// Begins to count anew, with the sender's packet `first`.
    pub fn mark(&mut self, first: u64, now: Time) {
        self.mark = Mark { first, at: now, packets: 0, heard: Heard::default() };
        // What came before is of no interest any more.
        self.gaps.retain(|_, end| *end > first);
    }

    /// Takes a packet into account.
    pub fn on_arrival(&mut self, arrival: &Arrival) {
        let since = self.last.unwrap_or(self.mark.at).max(self.mark.at);
        self.mark.heard.silence = self.mark.heard.silence.max(arrival.now.since(since));
        self.last = Some(arrival.now);
        self.follow_node(arrival);
        let newest = arrival.number >= self.next;
        if newest {
            self.follow_wire(arrival);
        }
        if !self.place(arrival.number) {
            self.mark.heard.doubled += 1;
        } else if arrival.number >= self.mark.first {
            self.mark.packets += 1;
        }
    }

    /// A node that was heard before the present one is an old one.
    fn follow_node(&mut self, arrival: &Arrival) {
        match self.node {
            Some((node, _)) if node == arrival.node => {}
            // Each time it is another one, the one with the newer packets is the new one.
            Some((_, since)) if arrival.number < self.next => {
                self.mark.heard.stale += 1;
                let overlap = arrival.now.since(since.max(self.mark.at));
                self.mark.heard.overlap = self.mark.heard.overlap.max(overlap);
            }
            _ => self.node = Some((arrival.node, arrival.now)),
        }
    }

    fn follow_wire(&mut self, arrival: &Arrival) {
        if let Some((ssrc, sequence)) = self.wire {
            let back = sequence.wrapping_sub(arrival.sequence);
            if ssrc != arrival.ssrc {
                self.mark.heard.ssrc_changes += 1;
            } else if back < u16::MAX / 2 && back > REORDERING_MAX {
                self.mark.heard.sequence_jumps_back += 1;
            }
        }
        self.wire = Some((arrival.ssrc, arrival.sequence));
    }

    /// Finds the packet's place; false when it is taken.
    fn place(&mut self, number: u64) -> bool {
        if number >= self.next {
            if number > self.next {
                self.gaps.insert(self.next, number);
            }
            self.next = number + 1;
            return true;
        }
        let Some((&first, &end)) = self.gaps.range(..=number).next_back() else { return false };
        if number >= end {
            return false;
        }
        self.gaps.remove(&first);
        if first < number {
            self.gaps.insert(first, number);
        }
        if number + 1 < end {
            self.gaps.insert(number + 1, end);
        }
        true
    }

    /// What was heard of the packets from the mark to just before `end`.
    pub fn heard(&self, end: u64, now: Time) -> Heard {
        let clip = |first: u64, last: u64| last.min(end).saturating_sub(first.max(self.mark.first));
        let runs = self.gaps.iter().map(|(first, last)| clip(*first, *last));
        let tail = clip(self.next, end);
        let (lost, run) = runs.fold((tail, tail), |(lost, most), run| (lost + run, most.max(run)));
        let since = self.last.unwrap_or(self.mark.at).max(self.mark.at);
        let silent = now.since(since);
        Heard {
            packets: self.mark.packets,
            lost,
            lost_run: run,
            silence: self.mark.heard.silence.max(silent),
            silent: self.last.map(|last| now.since(last)),
            ..self.mark.heard
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(number: u64, node: u8, at_ms: u64) -> Arrival {
        Arrival { number, node, ssrc: 7, sequence: number as u16, now: Time::from_millis(at_ms) }
    }

    fn flow(arrivals: &[(u64, u8, u64)]) -> Flow {
        let mut flow = Flow::default();
        flow.mark(0, Time::ZERO);
        arrivals.iter().for_each(|(number, node, at)| flow.on_arrival(&arrival(*number, *node, *at)));
        flow
    }

    #[test]
    fn a_whole_flow_has_lost_nothing() {
        let heard = flow(&[(0, 1, 5), (1, 1, 25), (2, 1, 45)]).heard(3, Time::from_millis(50));
        let silence = Duration::from_millis(20);
        let silent = Some(Duration::from_millis(5));
        assert_eq!(heard, Heard { packets: 3, silence, silent, ..Heard::default() });
    }

    #[test]
    fn losses_are_counted_to_the_end_and_from_the_mark() {
        let mut flow = flow(&[(0, 1, 0), (3, 1, 60), (2, 1, 61), (9, 1, 180), (9, 1, 181)]);
        let heard = flow.heard(12, Time::from_millis(250));
        assert_eq!((heard.packets, heard.lost, heard.lost_run, heard.doubled), (4, 8, 5, 1));
        assert_eq!(heard.silence, Duration::from_millis(119));
        flow.mark(9, Time::from_millis(200));
        let heard = flow.heard(12, Time::from_millis(260));
        assert_eq!((heard.lost, heard.lost_run, heard.silence.as_millis()), (2, 2, 60));
    }

    #[test]
    fn an_old_node_that_goes_on_is_told_from_a_new_one() {
        // Node 1 stops after packet 1; node 2 begins with packet 50; then node 1 delivers what it still had.
        let flow = flow(&[(0, 1, 0), (1, 1, 20), (50, 2, 1000), (2, 1, 1500), (51, 2, 1501), (3, 1, 1600)]);
        let heard = flow.heard(52, Time::from_millis(1600));
        assert_eq!((heard.stale, heard.overlap.as_millis(), heard.doubled), (2, 600, 0));
    }

    #[test]
    fn wire_numbers_that_go_on_are_told_from_those_that_do_not() {
        let mut flow = flow(&[(0, 1, 0), (1, 1, 20)]);
        let fine = Arrival { sequence: 40_000, ..arrival(2, 2, 40) };
        let back = Arrival { sequence: 30_000, ..arrival(3, 2, 60) };
        let other = Arrival { ssrc: 8, ..arrival(4, 2, 80) };
        // 40,000 after 1 is back by 25,537 as far as anyone can tell.
        [fine, back, other].iter().for_each(|arrival| flow.on_arrival(arrival));
        let heard = flow.heard(5, Time::from_millis(80));
        assert_eq!((heard.ssrc_changes, heard.sequence_jumps_back), (1, 2));
    }
}
