//! What comes to one receiver: counted for all, kept for those that will be decoded.

use crate::audio::impair::{Impairment, Network};
use crate::audio::reports::{Reported, Reporter};
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::{RtpView, SeqExtender, Time, TimestampExtender};

/// Bytes of payload that one ear keeps; an hour of Opus, ten minutes of G.711.
pub const KEPT_BYTES_MAX: usize = 6 << 20;

/// What came to an ear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// RTP packets of the mix.
    pub packets: u64,
    /// Bytes of them, headers included.
    pub bytes: u64,
    /// Sequence numbers between the first and the last that did not come.
    pub missing: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets whose timestamp has not gone on as their sequence number has. Once for each change of distance.
    pub timestamp_jumps: u64,
    /// Times that the mix came from another synchronization source than before.
    pub ssrc_changes: u64,
    /// Packets of another payload type than the one agreed on.
    pub wrong_payload_type: u64,
    /// RTCP packets.
    pub rtcp: u64,
    /// Anything else.
    pub foreign: u64,
    /// Longest time between two arrivals, in nanoseconds.
    pub gap_ns_max: u64,
    /// Packets that were to be kept and did not fit.
    pub not_kept: u64,
}

/// A packet that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When it came.
    pub at: Time,
    /// Its extended sequence number.
    pub sequence: u64,
    /// Its extended timestamp.
    pub ticks: i64,
    /// Where its payload begins in `Ear::bytes`.
    pub first: usize,
    /// Bytes of it.
    pub len: usize,
}

/// One receiver.
#[derive(Debug)]
pub struct Ear {
    payload_type: u8,
    frame_ticks: u32,
    keeps: bool,
    network: Network,
    reporter: Option<Reporter>,
    sequence: SeqExtender,
    ticks: TimestampExtender,
    first: Option<u64>,
    ssrc: Option<u32>,
    distance: Option<i64>,
    last_at: Option<Time>,
    counts: Counts,
    kept: Vec<Kept>,
    bytes: Vec<u8>,
}

impl Ear {
    /// An ear for a mix with this payload type, whose packets are `frame_ticks` long. One that `keeps` can be
    /// decoded afterwards. `number` tells its network from those of others.
    pub fn new(payload_type: u8, frame_ticks: u32, keeps: bool, impairment: Impairment, number: u64) -> Ear {
        Ear {
            payload_type,
            frame_ticks,
            keeps,
            network: Network::new(impairment, 2 * number + 1),
            reporter: None,
            sequence: SeqExtender::new(),
            ticks: TimestampExtender::new(),
            first: None,
            ssrc: None,
            distance: None,
            last_at: None,
            counts: Counts::default(),
            kept: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// The same, which tells the node what it gets.
    #[must_use]
    pub fn reporting(self, reporter: Reporter) -> Ear {
        Ear { reporter: Some(reporter), ..self }
    }

    /// Its reports, if it makes any.
    pub fn reporter(&mut self) -> Option<&mut Reporter> {
        self.reporter.as_mut()
    }

    /// What its reports said.
    pub fn reported(&self) -> Reported {
        self.reporter.as_ref().map(Reporter::reported).unwrap_or_default()
    }

    /// Takes one datagram; true when it is of the mix.
    pub fn handle_packet(&mut self, now: Time, packet: &[u8]) -> bool {
        if classify(packet) == PacketClass::Rtcp {
            self.counts.rtcp += 1;
            if let Some(reporter) = &mut self.reporter {
                reporter.handle_rtcp(now, packet);
            }
            return false;
        }
        let Ok(view) = RtpView::new(packet) else {
            self.counts.foreign += 1;
            return false;
        };
        if view.payload_type() != self.payload_type {
            self.counts.wrong_payload_type += 1;
            return false;
        }
        if self.ssrc.replace(view.ssrc()).is_some_and(|before| before != view.ssrc()) {
            // Numbers begin anew; what was kept stays before what comes.
            self.counts.ssrc_changes += 1;
        }
        self.counts.bytes += packet.len() as u64;
        if let Some(last) = self.last_at.replace(now) {
            self.counts.gap_ns_max = self.counts.gap_ns_max.max(now.since(last).as_nanos() as u64);
        }
        self.count(&view);
        if let Some(at) = self.network.carry(now) {
            if let Some(reporter) = &mut self.reporter {
                reporter.note(at, &view);
            }
            if self.keeps {
                self.keep(at, &view);
            }
        }
        true
    }

    fn count(&mut self, view: &RtpView<'_>) {
        self.counts.packets += 1;
        let before = self.sequence.highest().map(|highest| highest.0);
        let sequence = self.sequence.extend(view.sequence()).0;
        self.first = Some(self.first.map_or(sequence, |first| first.min(sequence)));
        match before {
            Some(before) if sequence == before => self.counts.duplicated += 1,
            Some(before) if sequence < before => self.counts.reordered += 1,
            _ => {}
        }
        let ticks = self.ticks.extend(view.timestamp()).0;
        let distance = ticks - sequence as i64 * i64::from(self.frame_ticks);
        if self.distance.replace(distance).is_some_and(|before| before != distance) {
            self.counts.timestamp_jumps += 1;
        }
    }

    fn keep(&mut self, at: Time, view: &RtpView<'_>) {
        let payload = view.payload();
        if self.bytes.len() + payload.len() > KEPT_BYTES_MAX {
            self.counts.not_kept += 1;
            return;
        }
        let (Some(sequence), Some(ticks)) = (self.sequence.highest(), self.ticks.last()) else { return };
        let sequence = sequence.nearest(view.sequence()).0;
        let kept = Kept { at, sequence, ticks: ticks.0, first: self.bytes.len(), len: payload.len() };
        self.bytes.extend_from_slice(payload);
        self.kept.push(kept);
    }

    /// What came so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        if let (Some(first), Some(highest)) = (self.first, self.sequence.highest()) {
            let span = highest.0 - first + 1;
            counts.missing = span.saturating_sub(counts.packets - counts.duplicated);
        }
        counts
    }

    /// Packets that were kept, in the order of their numbers, each once.
    pub fn kept(&self) -> Vec<Kept> {
        let mut kept = self.kept.clone();
        kept.sort_by_key(|packet| (packet.sequence, packet.at));
        kept.dedup_by_key(|packet| packet.sequence);
        kept
    }

    /// The payload of a packet that was kept.
    pub fn payload(&self, kept: &Kept) -> &[u8] {
        &self.bytes[kept.first..kept.first + kept.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_rtp::{RtpBuilder, WireSeq, WireTimestamp};

    fn packet(sequence: u16, timestamp: u32, payload_type: u8) -> Vec<u8> {
        let builder = RtpBuilder::new(9).payload_type(payload_type).sequence(WireSeq(sequence));
        builder.timestamp(WireTimestamp(timestamp)).payload(&[1, 2, sequence as u8]).to_vec()
    }

    #[test]
    fn what_comes_is_counted_and_kept_in_order() {
        let mut ear = Ear::new(0, 160, true, Impairment::default(), 0);
        let numbers = [65_534_u16, 65_535, 1, 0, 4, 4];
        for (index, sequence) in numbers.into_iter().enumerate() {
            let ticks = u32::from(sequence.wrapping_sub(65_534)) * 160;
            assert!(ear.handle_packet(Time::from_millis(20 * index as u64), &packet(sequence, ticks, 0)));
        }
        assert!(!ear.handle_packet(Time::from_millis(200), &packet(5, 7, 8)));
        let counts = ear.counts();
        assert_eq!((counts.packets, counts.missing, counts.duplicated, counts.reordered), (6, 2, 1, 1));
        assert_eq!(
            (counts.timestamp_jumps, counts.wrong_payload_type, counts.gap_ns_max),
            (0, 1, 20_000_000)
        );
        let payloads: Vec<u8> = ear.kept().iter().map(|kept| ear.payload(kept)[2]).collect();
        assert_eq!(payloads, [254, 255, 0, 1, 4]);
    }

    #[test]
    fn a_timestamp_that_jumps_shows() {
        let mut ear = Ear::new(0, 160, false, Impairment::default(), 0);
        for (sequence, timestamp) in [(0, 0), (1, 160), (2, 400), (3, 560)] {
            ear.handle_packet(Time::ZERO, &packet(sequence, timestamp, 0));
        }
        assert_eq!(ear.counts().timestamp_jumps, 1);
    }
}
