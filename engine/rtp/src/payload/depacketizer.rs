//! Packets of one source, in any order and with losses, to access units.

use super::assembler::{Assembler, Finished};
use super::{AccessUnit, PACKETS_WAITING_MAX, PAYLOAD_BYTES_MAX, PayloadDrop, PayloadFormat};
use crate::{Time, WireSeq, WireTimestamp};
use std::time::Duration;

/// So many packets in sequence that are all too late come from a sender that began anew not far back.
const BEHIND_MAX: u32 = 10;

/// A packet of pictures.
#[derive(Clone, Copy, Debug)]
pub struct PicturePacket<'a> {
    /// The sequence number.
    pub sequence: WireSeq,
    /// The timestamp, in ticks of 90 kHz.
    pub timestamp: WireTimestamp,
    /// The marker bit: the access unit ends here.
    pub marker: bool,
    /// The payload.
    pub payload: &'a [u8],
}

/// What was counted since a depacketizer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DepacketizerStats {
    /// Packets passed in, whatever became of them.
    pub packets: u64,
    /// Packets that others overtook, and that came in time.
    pub reordered: u64,
    /// Packets that were not waited for any longer.
    pub lost: u64,
    /// Times that the stream began anew.
    pub restarts: u64,
    /// Access units, damaged ones included.
    pub units: u64,
    /// Access units with something missing.
    pub units_damaged: u64,
    drops: [u64; PayloadDrop::ALL.len()],
}

impl DepacketizerStats {
    /// How many packets were dropped for a reason.
    pub fn dropped(&self, reason: PayloadDrop) -> u64 {
        self.drops[reason as usize]
    }
}

/// Puts packets in order and joins them to access units.
///
/// A packet that is missing is waited for, while others wait behind it, for a time that the caller sets; what comes in
/// order is not held back. Holds at most [`PACKETS_WAITING_MAX`] packets and four access units, in memory that is used
/// again.
#[derive(Clone, Debug)]
pub struct Depacketizer {
    assembler: Assembler,
    wait: Duration,
    slots: Vec<Option<Held>>,
    held: usize,
    free: Vec<Vec<u8>>,
    /// None: nothing has come.
    next: Option<WireSeq>,
    /// What would continue the packet that did not continue the stream.
    suspect: Option<WireSeq>,
    /// What would continue packets that are all too late, and how many they are.
    behind: Option<(WireSeq, u32)>,
    stats: DepacketizerStats,
}

#[derive(Clone, Debug)]
struct Held {
    sequence: WireSeq,
    timestamp: WireTimestamp,
    marker: bool,
    at: Time,
    payload: Vec<u8>,
}

impl Depacketizer {
    /// For one source. `wait` is how long a missing packet is waited for. `sets` are parameter sets that are known
    /// beforehand ([`parameter_sets`](super::parameter_sets)): they are put before key frames until some come in band.
    pub fn new(format: PayloadFormat, wait: Duration, sets: Vec<u8>) -> Depacketizer {
        Depacketizer {
            assembler: Assembler::new(format, sets),
            wait,
            slots: vec![None; PACKETS_WAITING_MAX],
            held: 0,
            free: Vec::new(),
            next: None,
            suspect: None,
            behind: None,
            stats: DepacketizerStats::default(),
        }
    }

    /// Takes a packet in. What is wrong with it is counted.
    pub fn handle_packet(&mut self, now: Time, packet: &PicturePacket<'_>) {
        self.stats.packets += 1;
        if packet.payload.len() > PAYLOAD_BYTES_MAX {
            return self.drop_packet(PayloadDrop::TooLong);
        }
        let Some(next) = self.next else {
            self.next = Some(packet.sequence);
            return self.insert(now, packet);
        };
        let ahead = packet.sequence.distance(next);
        let near = -(PACKETS_WAITING_MAX as i16)..PACKETS_WAITING_MAX as i16;
        if !near.contains(&ahead) {
            // RFC 3550 appendix A.1: two in sequence are believed.
            if self.suspect == Some(packet.sequence) {
                return self.restart(now, packet);
            }
            self.suspect = Some(packet.sequence.next());
            return self.drop_packet(PayloadDrop::Jump);
        }
        self.suspect = None;
        if ahead >= 0 {
            self.behind = None;
            return self.insert(now, packet);
        }
        let before = self.behind.filter(|(next, _)| *next == packet.sequence).map_or(0, |(_, count)| count);
        if before + 1 >= BEHIND_MAX {
            return self.restart(now, packet);
        }
        self.behind = Some((packet.sequence.next(), before + 1));
        self.drop_packet(PayloadDrop::Late);
    }

    /// The next access unit, if one is finished. Ask until there is none after each packet, and at
    /// [`poll_timeout`](Self::poll_timeout).
    pub fn poll_unit(&mut self, now: Time) -> Option<AccessUnit<'_>> {
        while !self.assembler.is_ready() && self.advance(now) {}
        self.assembler.take()
    }

    /// When what waits is given up for what waits behind it; none: nothing waits.
    pub fn poll_timeout(&self) -> Option<Time> {
        Some(self.first_held()?.1.at + self.wait)
    }

    /// What was counted so far.
    pub fn stats(&self) -> &DepacketizerStats {
        &self.stats
    }

    fn insert(&mut self, now: Time, packet: &PicturePacket<'_>) {
        let PicturePacket { sequence, timestamp, marker, payload } = *packet;
        if self.next == Some(sequence) && !self.assembler.is_ready() {
            self.stats.reordered += u64::from(self.held > 0);
            return self.push(sequence, timestamp, marker, payload);
        }
        let slot = &mut self.slots[usize::from(sequence.0) % PACKETS_WAITING_MAX];
        if slot.is_some() {
            return self.drop_packet(PayloadDrop::Duplicate);
        }
        let mut memory = self.free.pop().unwrap_or_default();
        memory.clear();
        memory.extend_from_slice(payload);
        *slot = Some(Held { sequence, timestamp, marker, at: now, payload: memory });
        self.held += 1;
    }

    fn push(&mut self, sequence: WireSeq, timestamp: WireTimestamp, marker: bool, payload: &[u8]) {
        self.next = Some(sequence.next());
        // Padding and nothing else (RFC 3550 section 5.1): no picture lacks it.
        if payload.is_empty() {
            return self.drop_packet(PayloadDrop::Empty);
        }
        let mut finished = Finished::default();
        let pushed = self.assembler.push(timestamp, marker, payload, &mut finished);
        self.count(finished);
        if let Err(reason) = pushed {
            self.drop_packet(reason);
        }
    }

    /// Goes on by what waits; false: there is nothing, or it is not its time.
    fn advance(&mut self, now: Time) -> bool {
        let Some((distance, held)) = self.first_held() else { return false };
        if distance > 0 {
            if now < held.at + self.wait {
                return false;
            }
            let sequence = held.sequence;
            self.stats.lost += u64::from(distance);
            self.assembler.lose(u32::from(distance));
            self.next = Some(sequence);
            return true;
        }
        let sequence = held.sequence;
        if let Some(held) = self.take_slot(sequence) {
            self.push(sequence, held.timestamp, held.marker, &held.payload);
            self.free.push(held.payload);
        }
        true
    }

    /// What waits and comes first, with how far ahead it is.
    fn first_held(&self) -> Option<(u16, &Held)> {
        let next = self.next.filter(|_| self.held > 0)?;
        (0..PACKETS_WAITING_MAX as u16).find_map(|ahead| {
            let slot = &self.slots[usize::from(next.plus(ahead).0) % PACKETS_WAITING_MAX];
            slot.as_ref().map(|held| (ahead, held))
        })
    }

    fn take_slot(&mut self, sequence: WireSeq) -> Option<Held> {
        let held = self.slots[usize::from(sequence.0) % PACKETS_WAITING_MAX].take()?;
        self.held -= 1;
        Some(held)
    }

    #[cold]
    fn restart(&mut self, now: Time, packet: &PicturePacket<'_>) {
        self.stats.restarts += 1;
        for slot in &mut self.slots {
            if let Some(held) = slot.take() {
                self.stats.drops[PayloadDrop::Flushed as usize] += 1;
                self.free.push(held.payload);
            }
        }
        self.held = 0;
        (self.suspect, self.behind) = (None, None);
        let mut finished = Finished::default();
        self.assembler.restart(&mut finished);
        self.count(finished);
        self.next = Some(packet.sequence);
        self.insert(now, packet);
    }

    fn count(&mut self, finished: Finished) {
        self.stats.units += finished.units;
        self.stats.units_damaged += finished.damaged;
    }

    fn drop_packet(&mut self, reason: PayloadDrop) {
        self.stats.drops[reason as usize] += 1;
    }
}
