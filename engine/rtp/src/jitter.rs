//! A jitter buffer: packets of one source in any order, pulled in order by the time at which they are due.
//!
//! What it knows is time, numbers and order; not what payloads mean, how they sound or what stands in for
//! what is lost: that is the puller's part. Packets are held in memory that is used again, at most
//! [`PACKETS_MAX`] of at most [`PAYLOAD_BYTES_MAX`] each.
//!
//! The delay is adaptive (`jitter/delay.rs`): [`JitterBuffer::early_us`] says whether a packet is due. A gap in
//! timestamps without a gap in numbers is silence, not loss (RFC 3551 section 4.1). A sender that starts anew,
//! jumps or has another SSRC begins a new timeline, which [`Taken::restart`] tells.

mod delay;
mod interface;
mod seen;
mod slots;

pub use interface::{Head, JitterConfig, JitterPacket, JitterStats, JitterVerdict, Taken};

use crate::{MediaTime, SeqNo, Time, WireSeq};
use delay::DelayEstimate;
use seen::{SEEN, Seen};
use slots::{Entry, SPAN, Slots};

/// Packets held at one time.
pub const PACKETS_MAX: usize = SPAN as usize;
/// Bytes of a payload; longer ones are refused.
pub const PAYLOAD_BYTES_MAX: usize = 2048;
/// How far ahead a number may be and still continue the stream (RFC 3550 appendix A.1).
const DROPOUT_MAX: i64 = 3000;
/// How far a packet's transit time may be from the base and the packet still continue the stream.
const TRANSIT_US_MAX: i64 = 3_000_000;
/// How much longer than the longest delay the fastest packet may wait before packets are dropped.
const OVERDUE_US: i64 = 40_000;
/// So many packets in sequence that are all too late or double come from a sender that began anew not far back.
const BEHIND_MAX: u32 = 10;
/// How many packets taken last say how early packets are taken.
const RECENT: usize = 4;

/// See the module.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    slots: Slots,
    estimate: DelayEstimate,
    timeline: Option<Timeline>,
    suspect: Option<Suspect>,
    behind: Option<Behind>,
    stats: JitterStats,
}

/// What the numbers and timestamps of one sender are held against.
#[derive(Clone, Debug)]
struct Timeline {
    ssrc: u32,
    clock_hz: u32,
    /// Media time 0 of microseconds.
    origin: MediaTime,
    first: SeqNo,
    seen: Seen,
    /// Of the packet with the highest number.
    newest: MediaTime,
    cursor: Option<Cursor>,
    /// How long after its media time each of the last packets was taken.
    recent_us: [i64; RECENT],
}

/// Up to where packets were taken.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    sequence: SeqNo,
    /// The end of the sound taken.
    media: MediaTime,
}

/// A packet that did not continue the stream.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    ssrc: u32,
    next: WireSeq,
}

/// Packets in sequence that came too late or again, with none in time between them.
#[derive(Clone, Copy, Debug)]
struct Behind {
    next: WireSeq,
    packets: u32,
}

impl JitterBuffer {
    /// An empty buffer. A `delay_us_max` below `delay_us_min` counts as equal to it.
    pub fn new(config: JitterConfig) -> JitterBuffer {
        JitterBuffer {
            config,
            slots: Slots::new(),
            estimate: DelayEstimate::new(),
            timeline: None,
            suspect: None,
            behind: None,
            stats: JitterStats::default(),
        }
    }

    /// Takes a packet in. `now` is when it came.
    pub fn insert(&mut self, now: Time, packet: &JitterPacket<'_>) -> JitterVerdict {
        self.stats.received += 1;
        if packet.payload.len() > PAYLOAD_BYTES_MAX {
            self.stats.too_long += 1;
            return JitterVerdict::TooLong;
        }
        if self.timeline.is_none() {
            return self.begin(now, packet);
        }
        match self.relation(now, packet) {
            Relation::Continues => self.suspect = None,
            Relation::Restarts => {
                self.stats.flushed += self.slots.len() as u64;
                self.stats.restarts += 1;
                self.begin(now, packet);
                return JitterVerdict::Restarted;
            }
            Relation::Jumps => {
                self.suspect = Some(Suspect { ssrc: packet.ssrc, next: packet.sequence.next() });
                self.stats.jumps += 1;
                return JitterVerdict::Jump;
            }
        }
        let verdict = self.queue(now, packet);
        let before = self.behind.filter(|behind| behind.next == packet.sequence);
        let packets = before.map_or(0, |behind| behind.packets) + 1;
        let late = matches!(verdict, JitterVerdict::Late | JitterVerdict::Duplicate);
        self.behind = late.then_some(Behind { next: packet.sequence.next(), packets });
        verdict
    }

    /// Notes the number of a packet that goes another way, such as a telephone event: it is not lost.
    pub fn note(&mut self, ssrc: u32, sequence: WireSeq) {
        let Some(timeline) = self.timeline.as_mut().filter(|timeline| timeline.ssrc == ssrc) else { return };
        let number = timeline.seen.highest().nearest(sequence);
        if is_near(number.distance(timeline.seen.highest())) {
            self.make_room(number);
            self.mark(number);
        }
    }

    /// The packet that comes next, if one waits.
    pub fn head(&self) -> Option<Head<'_>> {
        let timeline = self.timeline.as_ref()?;
        let (entry, payload) = self.slots.find(self.head_sequence()?)?;
        let (gap_ticks, missing) = match timeline.cursor {
            Some(cursor) => (
                entry.media.distance(cursor.media),
                timeline.seen.missing_between(cursor.sequence, entry.sequence),
            ),
            None => (0, 0),
        };
        let Entry { media, duration_ticks, payload_type, level, .. } = *entry;
        Some(Head { media, gap_ticks, missing, duration_ticks, payload_type, level, payload })
    }

    /// Of the packet that comes next, where its sound begins and its length in ticks. What [`head`](Self::head) has to
    /// find out is left out: most packets of a conference pass by without being decoded.
    #[inline]
    pub fn next_up(&self) -> Option<(MediaTime, u32)> {
        let (entry, _) = self.slots.find(self.head_sequence()?)?;
        Some((entry.media, entry.duration_ticks))
    }

    /// Takes the packet that comes next; false when none waits.
    pub fn take(&mut self, now: Time, taken: &mut Taken) -> bool {
        let Some(sequence) = self.head_sequence() else { return false };
        let Some(entry) = self.slots.take(sequence, &mut taken.payload) else { return false };
        let now_us = micros(now);
        if let Some(timeline) = &mut self.timeline {
            taken.restart = timeline.cursor.is_none();
            let waited_us = now_us - timeline.micros(entry.media);
            timeline.recent_us.rotate_left(1);
            timeline.recent_us[RECENT - 1] = waited_us;
        }
        self.pass(&entry);
        taken.payload_type = entry.payload_type;
        taken.marker = entry.marker;
        taken.level = entry.level;
        taken.media = entry.media;
        taken.duration_ticks = entry.duration_ticks;
        true
    }

    /// How much longer than it must sound from `media` on has waited at `now`, in microseconds: 0 and more, it is
    /// due; below 0, packets like it may still come too late.
    pub fn early_us(&self, now: Time, media: MediaTime) -> i64 {
        self.delay_us(now, media) - self.target_us(now)
    }

    /// How much later than the fastest packet would allow sound from `media` on is played when it is played at
    /// `now`, in microseconds.
    pub fn delay_us(&self, now: Time, media: MediaTime) -> i64 {
        let Some(timeline) = &self.timeline else { return 0 };
        micros(now) - timeline.micros(media) - self.estimate.base_us()
    }

    /// What packets shall wait, in microseconds on top of the fastest packet's transit time.
    pub fn target_us(&self, now: Time) -> i64 {
        let (min, max) = (i64::from(self.config.delay_us_min), i64::from(self.config.delay_us_max));
        self.estimate.aim_us(micros(now)).min(max).max(min)
    }

    /// Drops packets when sound would be played later than the longest delay: all that are overdue for the
    /// delay aimed at, but for the last one. How many were dropped.
    pub fn trim(&mut self, now: Time) -> u64 {
        let limit_us = i64::from(self.config.delay_us_max.max(self.config.delay_us_min)) + OVERDUE_US;
        let Some((media, _)) = self.next_up() else { return 0 };
        if self.delay_us(now, media) <= limit_us {
            return 0;
        }
        let mut dropped = 0;
        let is_early =
            |buffer: &Self| buffer.next_up().is_some_and(|(media, _)| buffer.early_us(now, media) > 0);
        while self.slots.len() > 1 && is_early(self) {
            dropped += u64::from(self.drop_head());
        }
        dropped
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// Payload bytes that wait.
    pub fn payload_bytes(&self) -> usize {
        self.slots.bytes()
    }

    /// Ticks a second of the stream's timestamps; `None` before the first packet.
    pub fn clock_hz(&self) -> Option<u32> {
        self.timeline.as_ref().map(|timeline| timeline.clock_hz)
    }

    /// Interarrival jitter (RFC 3550 section 6.4.1), in microseconds.
    pub fn jitter_us(&self) -> i64 {
        self.estimate.jitter_us()
    }

    /// What was counted.
    pub const fn stats(&self) -> JitterStats {
        self.stats
    }

    /// Begins a timeline with this packet.
    fn begin(&mut self, now: Time, packet: &JitterPacket<'_>) -> JitterVerdict {
        // In the second cycle, so that numbers before the first one are above zero.
        let sequence = SeqNo(0x1_0000 + u64::from(packet.sequence.0));
        let media = MediaTime(i64::from(packet.timestamp.0));
        self.slots.clear();
        self.estimate.restart();
        (self.suspect, self.behind) = (None, None);
        self.timeline = Some(Timeline {
            ssrc: packet.ssrc,
            clock_hz: packet.clock_hz.max(1),
            origin: media,
            first: sequence,
            seen: Seen::new(sequence),
            newest: media,
            cursor: None,
            recent_us: [i64::MAX; RECENT],
        });
        self.estimate.on_packet(micros(now), micros(now), false);
        self.slots.insert(entry(packet, sequence, media), packet.payload);
        JitterVerdict::Queued
    }

    fn relation(&self, now: Time, packet: &JitterPacket<'_>) -> Relation {
        let Some(timeline) = &self.timeline else { return Relation::Restarts };
        let same = timeline.ssrc == packet.ssrc;
        let goes_on = |behind: Behind| behind.next == packet.sequence && behind.packets >= BEHIND_MAX;
        if same && self.behind.is_some_and(goes_on) {
            return Relation::Restarts;
        }
        let highest = timeline.seen.highest();
        let ahead = highest.nearest(packet.sequence).distance(highest);
        let media = timeline.newest.nearest(packet.timestamp);
        let late_us = micros(now) - timeline.micros(media) - self.estimate.base_us();
        let same_clock = timeline.clock_hz == packet.clock_hz;
        if same && ahead == 1 {
            // The very next packet, with a timestamp that makes no sense: the sender's clock jumped, or stood
            // still while the sender was silent.
            let late_us_max = i64::from(self.config.delay_us_max) + 100_000;
            let continues = same_clock && (-TRANSIT_US_MAX..=late_us_max).contains(&late_us);
            return if continues { Relation::Continues } else { Relation::Restarts };
        }
        if same && same_clock && is_near(ahead) && late_us.abs() <= TRANSIT_US_MAX {
            return Relation::Continues;
        }
        match self.suspect {
            Some(suspect) if suspect.ssrc == packet.ssrc && suspect.next == packet.sequence => {
                Relation::Restarts
            }
            _ => Relation::Jumps,
        }
    }

    /// Takes in a packet that continues the stream.
    fn queue(&mut self, now: Time, packet: &JitterPacket<'_>) -> JitterVerdict {
        let Some(timeline) = &mut self.timeline else { return JitterVerdict::Jump };
        let highest = timeline.seen.highest();
        let sequence = highest.nearest(packet.sequence);
        if timeline.seen.has(sequence) {
            self.stats.duplicate += 1;
            return JitterVerdict::Duplicate;
        }
        let media = timeline.newest.nearest(packet.timestamp);
        let transit_us = micros(now) - timeline.micros(media);
        // Without sound taken there is no moment to be late for: the least of none is the greatest number.
        let latest_us = timeline.recent_us.iter().copied().min().unwrap_or(i64::MAX);
        self.estimate.on_packet(micros(now), transit_us, transit_us > latest_us);
        let taken = timeline.cursor.is_some_and(|cursor| sequence <= cursor.sequence);
        if taken || highest.distance(sequence) >= SPAN as i64 {
            self.stats.late += 1;
            // It was counted as lost when a later one was taken.
            self.stats.lost -= u64::from(taken && sequence > timeline.first && self.stats.lost > 0);
            self.mark(sequence);
            return JitterVerdict::Late;
        }
        if sequence > highest {
            timeline.newest = media;
            self.make_room(sequence);
        } else {
            self.stats.reordered += 1;
        }
        self.mark(sequence);
        self.slots.insert(entry(packet, sequence, media), packet.payload);
        JitterVerdict::Queued
    }

    fn mark(&mut self, sequence: SeqNo) {
        if let Some(timeline) = &mut self.timeline {
            timeline.seen.mark(sequence);
        }
    }

    /// Drops what is too old to be held beside the number `highest`.
    fn make_room(&mut self, highest: SeqNo) {
        while self.head_sequence().is_some_and(|head| highest.distance(head) >= SPAN as i64) {
            self.drop_head();
        }
    }

    fn drop_head(&mut self) -> bool {
        let Some(entry) = self.head_sequence().and_then(|sequence| self.slots.discard(sequence)) else {
            return false;
        };
        self.stats.overflow += 1;
        self.pass(&entry);
        true
    }

    /// Moves the cursor behind a packet.
    fn pass(&mut self, entry: &Entry) {
        let Some(timeline) = &mut self.timeline else { return };
        if let Some(cursor) = timeline.cursor {
            self.stats.lost += timeline.seen.missing_between(cursor.sequence, entry.sequence);
        } else {
            timeline.first = timeline.first.min(entry.sequence);
        }
        let media = MediaTime(entry.media.0 + i64::from(entry.duration_ticks));
        timeline.cursor = Some(Cursor { sequence: entry.sequence, media });
    }

    fn head_sequence(&self) -> Option<SeqNo> {
        if self.slots.len() == 0 {
            return None;
        }
        let timeline = self.timeline.as_ref()?;
        let highest = timeline.seen.highest().0;
        let oldest = (highest + 1).saturating_sub(SPAN);
        let first = timeline.cursor.map_or(oldest, |cursor| (cursor.sequence.0 + 1).max(oldest));
        (first..=highest).map(SeqNo).find(|sequence| self.slots.find(*sequence).is_some())
    }
}

/// How a packet relates to the stream so far.
enum Relation {
    Continues,
    Restarts,
    Jumps,
}

impl Timeline {
    fn micros(&self, media: MediaTime) -> i64 {
        // 64 bits are enough for three years of the fastest clock; a wider division takes much longer.
        let ticks = media.distance(self.origin);
        match ticks.checked_mul(1_000_000) {
            Some(scaled) => scaled / i64::from(self.clock_hz),
            None => (i128::from(ticks) * 1_000_000 / i128::from(self.clock_hz)) as i64,
        }
    }
}

fn entry(packet: &JitterPacket<'_>, sequence: SeqNo, media: MediaTime) -> Entry {
    let JitterPacket { duration_ticks, payload_type, marker, level, .. } = *packet;
    Entry { sequence, media, duration_ticks, payload_type, marker, level }
}

fn is_near(ahead: i64) -> bool {
    (1 - SEEN as i64..DROPOUT_MAX).contains(&ahead)
}

fn micros(now: Time) -> i64 {
    (now.as_nanos() / 1000) as i64
}

#[cfg(test)]
mod tests;
