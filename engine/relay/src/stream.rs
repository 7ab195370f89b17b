//! A stream: what a leg publishes.

mod snapshot;

use crate::feedback::KeyFrames;
use crate::leg::same_clock;
use crate::shared::Shared;
use crate::timeline::Timeline;
use crate::{Kind, RouteId, RouteSpec, StreamSpec};
use motet_rtp::payload::PayloadFormat;
use motet_rtp::reception::{Reception, Verdict};
use motet_rtp::rtp::FixedHeader;
use motet_rtp::seq::{SeqExtender, SeqNo, WireSeq};
use motet_rtp::{Ntp, RtpView, Time, WireTimestamp};
use std::time::Duration;

/// End of a list of scratch entries.
pub(crate) const NONE: u32 = u32::MAX;

/// The sender report of a publisher (RFC 3550 section 6.4.1), and when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeardReport {
    pub(crate) ntp: Ntp,
    pub(crate) timestamp: WireTimestamp,
    pub(crate) at: Time,
    /// Our clock less the one of this stream's reports, in NTP units.
    pub(crate) clock_offset: i64,
}

/// Packets of another clock than the stream's, one after another.
#[derive(Clone, Copy, Debug, Default)]
struct Aside {
    /// The packet that would continue them.
    next: WireSeq,
    timestamp: WireTimestamp,
    /// Changes of the timestamp, with the first.
    steps: u8,
}

/// So many changes of the timestamp in another clock are no interlude: the publisher changed its codec.
const ASIDE_STEPS_MAX: u8 = 8;
/// A timestamp further from where time should have brought it begins another timeline.
const TIMESTAMP_STEP_MAX_SECONDS: u32 = 10;

/// A stream and what is known of its source.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) spec: StreamSpec,
    pub(crate) routes: Vec<RouteId>,
    /// SSRC that packets are taken of; fixed, or learnt.
    pub(crate) ssrc: Option<u32>,
    /// Counts restarts: a route that carries another generation takes the stream up anew.
    pub(crate) generation: u32,
    pub(crate) reception: Reception,
    pub(crate) extender: SeqExtender,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Of the packet with the highest sequence number.
    pub(crate) last_timestamp: WireTimestamp,
    pub(crate) last_at: Option<Time>,
    pub(crate) silent: bool,
    /// The publisher said BYE.
    pub(crate) ended: bool,
    /// The highest number when it did.
    pub(crate) ended_at: Option<SeqNo>,
    pub(crate) report: Option<HeardReport>,
    pub(crate) key_frames: KeyFrames,
    /// Lost before the last restart.
    lost_before: i64,
    /// An SSRC that wants to take the place of the present one, and the number that would prove it.
    successor: Option<(u32, WireSeq)>,
    aside: Aside,
    /// The timeline that routes may follow.
    pub(crate) shared: Option<Box<Shared>>,
    /// While routes wait for a key frame.
    pub(crate) watch: Option<Box<Watch>>,
    /// This batch's packets: first and last entry of the relay's scratch list.
    pub(crate) batch_first: u32,
    pub(crate) batch_last: u32,
}

/// Which packets begin a key frame.
#[derive(Debug)]
pub(crate) struct Watch {
    /// By payload type.
    pub(crate) formats: Vec<(u8, PayloadFormat)>,
    /// Nobody waits any longer.
    pub(crate) until: Time,
}

/// What a packet is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// To be forwarded under this number.
    Packet(SeqNo),
    /// To be forwarded; the stream starts, or starts anew.
    Started(SeqNo),
    /// Has yet to prove itself.
    Probation,
    /// The sequence number jumped.
    Jump,
}

impl Stream {
    pub(crate) fn new(spec: StreamSpec) -> Stream {
        let clock_hz = spec.payload_types.first().map_or(1, |first| first.clock_hz);
        Stream {
            ssrc: spec.ssrc,
            spec,
            routes: Vec::new(),
            generation: 0,
            reception: Reception::with_probation(clock_hz, 1),
            extender: SeqExtender::new(),
            packets: 0,
            bytes: 0,
            last_timestamp: WireTimestamp(0),
            last_at: None,
            silent: false,
            ended: false,
            ended_at: None,
            report: None,
            key_frames: KeyFrames::default(),
            lost_before: 0,
            successor: None,
            aside: Aside::default(),
            shared: None,
            watch: None,
            batch_first: NONE,
            batch_last: NONE,
        }
    }

    /// The timeline for another route; none: it follows the shared one.
    pub(crate) fn timeline_for(&mut self, route: &RouteSpec) -> Option<Box<Timeline>> {
        let timeline = Timeline::new(route.ssrc, &route.payload_map, route.numbering);
        if !route.shared {
            return Some(Box::new(timeline));
        }
        if self.shared.as_ref().is_none_or(|shared| shared.followers == 0) {
            self.shared = Some(Box::new(Shared::new(timeline)));
        } else if !self.shares(route.ssrc, &route.payload_map) {
            return Some(Box::new(timeline));
        }
        self.shared.as_mut().expect("it was looked at above").followers += 1;
        None
    }

    /// Whether a route with this SSRC and these payload types may follow the shared timeline.
    pub(crate) fn shares(&self, ssrc: u32, payload_map: &[(u8, u8)]) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.timeline.serves(ssrc, payload_map))
    }

    pub(crate) fn is_video(&self) -> bool {
        self.spec.kind == Kind::Video
    }

    /// True for what was sent before the publisher said BYE, and came after it. It is still for receivers,
    /// who keep a source for a while for such (RFC 3550 section 6.2.1), but does not bring the stream back.
    pub(crate) fn is_straggler(&self, sequence: SeqNo) -> bool {
        self.ended && Some(sequence) <= self.ended_at
    }

    pub(crate) fn started(&self) -> bool {
        self.generation > 0
    }

    /// Clock of a payload type; none: the stream does not carry it.
    #[inline]
    pub(crate) fn clock_hz(&self, payload_type: u8) -> Option<u32> {
        self.spec.payload_types.iter().find(|known| known.number == payload_type).map(|known| known.clock_hz)
    }

    /// Takes note of a packet whose payload type the stream carries.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Time, header: &FixedHeader, clock_hz: u32) -> Arrival {
        if self.ssrc != Some(header.ssrc) || !self.started() {
            return self.arrive_new(now, header, clock_hz);
        }
        // A second clock in one SSRC, as with telephone events, does not measure the network.
        if clock_hz != self.reception.clock_hz() {
            return self.arrive_aside(now, header, clock_hz);
        }
        let lost = self.reception.lost();
        match self.reception.on_packet(now, header.sequence, header.timestamp) {
            Verdict::Probation => Arrival::Probation,
            Verdict::Jump => Arrival::Jump,
            Verdict::Restarted => {
                self.lost_before += lost;
                self.restart(header)
            }
            Verdict::InOrder { .. } => {
                let step = header.timestamp.distance(self.last_timestamp).unsigned_abs();
                if step > clock_hz.saturating_mul(TIMESTAMP_STEP_MAX_SECONDS) {
                    self.step_far(now, header.timestamp);
                }
                self.last_timestamp = header.timestamp;
                Arrival::Packet(self.extender.extend(header.sequence))
            }
            Verdict::Late | Verdict::Duplicate => Arrival::Packet(self.extender.extend(header.sequence)),
        }
    }

    /// A packet of another clock: counted for its place in the sequence, not for jitter, until the stream
    /// has plainly changed to that clock.
    fn arrive_aside(&mut self, now: Time, header: &FixedHeader, clock_hz: u32) -> Arrival {
        // Stands for a packet of the main clock that came exactly when it should.
        let punctual = self.punctual(now);
        let lost = self.reception.lost();
        match self.reception.on_packet(now, header.sequence, punctual) {
            Verdict::Probation => return Arrival::Probation,
            Verdict::Jump => return Arrival::Jump,
            Verdict::Restarted => {
                self.lost_before += lost;
                self.reception.set_clock_hz(clock_hz);
                return self.restart(header);
            }
            Verdict::InOrder { .. } => {
                self.last_timestamp = punctual;
                if self.aside.count(header) >= ASIDE_STEPS_MAX {
                    self.aside = Aside::default();
                    self.reception.set_clock_hz(clock_hz);
                    self.last_timestamp = header.timestamp;
                    // What the publisher told was about the other clock.
                    self.report = None;
                }
            }
            Verdict::Late | Verdict::Duplicate => {}
        }
        Arrival::Packet(self.extender.extend(header.sequence))
    }

    /// A step of the timestamp that is too large to be taken as it is. Without a pause that explains it, the
    /// publisher began another timeline; receivers must not see that.
    #[cold]
    fn step_far(&mut self, now: Time, timestamp: WireTimestamp) {
        let off = timestamp.distance(self.punctual(now)).unsigned_abs();
        if off > self.reception.clock_hz().saturating_mul(TIMESTAMP_STEP_MAX_SECONDS) {
            self.generation += 1;
            self.report = None;
        }
    }

    /// What the timestamp should be by now.
    fn punctual(&self, now: Time) -> WireTimestamp {
        let elapsed = self.last_at.map_or(Duration::ZERO, |at| now.since(at));
        self.last_timestamp.plus(ticks(elapsed, self.reception.clock_hz()))
    }

    /// The first packet at all, or one of another SSRC. A single stray packet does not cut the stream.
    fn arrive_new(&mut self, now: Time, header: &FixedHeader, clock_hz: u32) -> Arrival {
        let first = !self.started();
        let proven = self.successor == Some((header.ssrc, header.sequence));
        if !first && !proven {
            self.successor = Some((header.ssrc, header.sequence.plus(1)));
            return Arrival::Probation;
        }
        self.lost_before += self.reception.lost();
        self.ssrc = Some(header.ssrc);
        self.reception = Reception::with_probation(clock_hz, 1);
        let _ = self.reception.on_packet(now, header.sequence, header.timestamp);
        self.restart(header)
    }

    fn restart(&mut self, header: &FixedHeader) -> Arrival {
        self.generation += 1;
        self.successor = None;
        self.aside = Aside::default();
        // It says where the timestamps were, not where they are.
        self.report = None;
        self.last_timestamp = header.timestamp;
        self.extender = SeqExtender::new();
        Arrival::Started(self.extender.extend(header.sequence))
    }

    /// Whether a route that waits for a key frame can begin with this packet.
    #[cold]
    pub(crate) fn begins_key_frame(&mut self, now: Time, datagram: &[u8]) -> bool {
        let Some(watch) = self.watch.take_if(|watch| now < watch.until) else {
            self.watch = None;
            return true;
        };
        let begins = RtpView::new(datagram).is_ok_and(|packet| {
            let format = watch.formats.iter().find(|(number, _)| *number == packet.payload_type());
            format.is_none_or(|(_, format)| format.begins_key_frame(packet.payload()))
        });
        self.watch = Some(watch);
        begins
    }

    /// Packets lost since the stream was made.
    pub(crate) fn lost(&self) -> i64 {
        self.lost_before + self.reception.lost()
    }

    /// The publisher's RTP time now, which is `ours` by our wall clock: by its reports and the clock that its
    /// streams share, or from its last packet when it sends no reports.
    pub(crate) fn timestamp_at(&self, now: Time, ours: Ntp, shared: Option<i64>) -> WireTimestamp {
        if let Some(report) = self.report {
            let shared = shared.filter(|shared| same_clock(*shared, report.clock_offset));
            let theirs = ours.0.wrapping_sub(shared.unwrap_or(report.clock_offset) as u64);
            let units = theirs.wrapping_sub(report.ntp.0) as i64;
            let ticks = (i128::from(units) * i128::from(self.reception.clock_hz())) >> 32;
            return report.timestamp.plus(ticks as u32);
        }
        self.punctual(now)
    }
}

impl Aside {
    /// Takes note of a packet; gives how often the timestamp changed in packets that follow each other. All
    /// packets of a telephone event have one timestamp (RFC 4733 section 2.5.1.2), so that however long it
    /// is, it counts once.
    fn count(&mut self, header: &FixedHeader) -> u8 {
        if self.next != header.sequence {
            self.steps = 0;
        }
        if self.steps == 0 || header.timestamp != self.timestamp {
            self.steps = self.steps.saturating_add(1);
        }
        (self.next, self.timestamp) = (header.sequence.next(), header.timestamp);
        self.steps
    }
}

/// A duration in ticks of a clock, modulo 2^32.
pub(crate) fn ticks(duration: Duration, clock_hz: u32) -> u32 {
    (duration.as_nanos() * u128::from(clock_hz) / 1_000_000_000) as u32
}
