//! Any operations on a jitter buffer, against what must hold whatever comes.

use crate::jitter::{JitterBuffer, JitterConfig, JitterPacket, JitterVerdict, PACKETS_MAX, Taken};
use crate::{Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads operations from `bytes`, does them, and holds the buffer against its accounts.
///
/// # Panics
/// When the buffer is wrong.
pub fn fuzz_jitter(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let Some(delays) = bytes.next() else { return };
    let mut run = Run::new(delays);
    while let Some(operation) = bytes.next() {
        let (a, b) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
        run.operate(operation, a, b);
        run.check();
    }
}

struct Run {
    buffer: JitterBuffer,
    now: Time,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    clock_hz: u32,
    duration_ticks: u32,
    taken: Taken,
    /// Packets inserted, by the number in their payload, that wait or were dropped.
    queued: BTreeMap<u32, u8>,
    inserted: u32,
    verdicts: [u64; 6],
    takes: u64,
    dropped_by_trim: u64,
}

impl Run {
    fn new(delays: u8) -> Run {
        let config = JitterConfig {
            delay_us_min: u32::from(delays & 0x0f) * 4000,
            delay_us_max: u32::from(delays >> 4) * 30_000,
        };
        Run {
            buffer: JitterBuffer::new(config),
            now: Time::from_millis(1000),
            ssrc: 1,
            sequence: 65_500,
            timestamp: u32::MAX - 4000,
            clock_hz: 8000,
            duration_ticks: 160,
            taken: Taken::default(),
            queued: BTreeMap::new(),
            inserted: 0,
            verdicts: [0; 6],
            takes: 0,
            dropped_by_trim: 0,
        }
    }

    fn operate(&mut self, operation: u8, a: u8, b: u8) {
        match operation % 12 {
            // The next packet, 20 ms later or sooner.
            0..=3 => {
                self.now += Duration::from_micros(u64::from(a) * 160);
                self.advance(1);
                self.insert(self.sequence, self.timestamp, b);
            }
            // One near it: reordered, late, double or ahead.
            4 | 5 => {
                let away = i16::from(a.cast_signed());
                let ticks = i32::from(away).wrapping_mul(self.duration_ticks.cast_signed());
                let timestamp = self.timestamp.wrapping_add_signed(ticks);
                self.insert(self.sequence.wrapping_add_signed(away), timestamp, b);
            }
            6 | 7 => (0..=a % 4).for_each(|_| self.take()),
            8 => {
                self.now += Duration::from_micros(u64::from(a) * u64::from(b) * 8);
                self.dropped_by_trim += self.buffer.trim(self.now);
            }
            // Silence, a jump, or loss.
            9 => match a % 3 {
                0 => self.timestamp = self.timestamp.wrapping_add(u32::from(b) << (a / 3 % 24)),
                1 => self.sequence = self.sequence.wrapping_add(u16::from(b) << (a / 3 % 9)),
                _ => self.advance(u16::from(b)),
            },
            10 => self.buffer.note(self.ssrc, WireSeq(self.sequence.wrapping_add(u16::from(a % 4)))),
            _ => match a % 4 {
                0 => self.ssrc = u32::from(b % 3),
                1 => self.clock_hz = [8000, 16_000, 48_000, 1][usize::from(b % 4)],
                2 => self.duration_ticks = u32::from(b) * 8,
                _ => self.sequence = u16::from(b) << 8,
            },
        }
    }

    fn advance(&mut self, packets: u16) {
        self.sequence = self.sequence.wrapping_add(packets);
        self.timestamp = self.timestamp.wrapping_add(self.duration_ticks.wrapping_mul(u32::from(packets)));
    }

    fn insert(&mut self, sequence: u16, timestamp: u32, filler: u8) {
        let mut payload = [filler; 300];
        payload[..4].copy_from_slice(&self.inserted.to_be_bytes());
        let packet = JitterPacket {
            ssrc: self.ssrc,
            sequence: WireSeq(sequence),
            timestamp: WireTimestamp(timestamp),
            clock_hz: self.clock_hz,
            duration_ticks: self.duration_ticks,
            payload_type: 96,
            marker: false,
            level: None,
            payload: &payload[..4 + usize::from(filler)],
        };
        let verdict = self.buffer.insert(self.now, &packet);
        self.verdicts[verdict as usize] += 1;
        if verdict == JitterVerdict::Restarted {
            self.queued.clear();
        }
        if matches!(verdict, JitterVerdict::Restarted | JitterVerdict::Queued) {
            self.queued.insert(self.inserted, filler);
        }
        self.inserted += 1;
    }

    fn take(&mut self) {
        let head = self.buffer.head().map(|head| (head.media, head.payload.to_vec()));
        if let Some((media, _)) = &head {
            self.buffer.early_us(self.now, *media);
        }
        let took = self.buffer.take(self.now, &mut self.taken);
        assert_eq!(took.then(|| (self.taken.media, self.taken.payload.clone())), head);
        if !took {
            return;
        }
        self.takes += 1;
        let (number, filler) = self.taken.payload.split_at(4);
        let number = u32::from_be_bytes([number[0], number[1], number[2], number[3]]);
        let queued = self.queued.remove(&number);
        assert_eq!(queued.map(usize::from), Some(filler.len()), "what is taken was inserted once");
        assert!(filler.iter().all(|byte| usize::from(*byte) == filler.len()), "and is as it was");
    }

    fn check(&self) {
        let stats = self.buffer.stats();
        let count = |verdict: JitterVerdict| self.verdicts[verdict as usize];
        assert!(self.buffer.len() <= PACKETS_MAX);
        assert!(self.buffer.payload_bytes() <= PACKETS_MAX * 259);
        assert_eq!(self.buffer.is_empty(), self.buffer.head().is_none(), "what waits is found");
        assert_eq!(stats.received, self.verdicts.iter().sum::<u64>());
        assert_eq!(stats.restarts, count(JitterVerdict::Restarted));
        assert_eq!(stats.late, count(JitterVerdict::Late));
        assert_eq!(stats.duplicate, count(JitterVerdict::Duplicate));
        assert_eq!(stats.jumps, count(JitterVerdict::Jump));
        assert!(stats.overflow >= self.dropped_by_trim);
        let went_in = count(JitterVerdict::Queued) + count(JitterVerdict::Restarted);
        let went_out = self.takes + stats.overflow + stats.flushed + self.buffer.len() as u64;
        assert_eq!(went_in, went_out, "no packet is lost or doubled within");
        let target_us = self.buffer.target_us(self.now);
        assert!((0..=450_000).contains(&target_us), "{target_us}");
    }
}
