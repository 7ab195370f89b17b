//! Writes the packets that are due, and puts them through the impaired network.

use crate::account::latency_histogram;
use crate::audio::impair::{Impairment, Network};
use crate::audio::stage::Stage;
use crate::audio::track::Tracks;
use crate::audio::{FRAME_MS, LEVEL_EXTENSION_ID, LoadCodec};
use crate::schedule::{Beat, Schedule, Tick, spread};
use hdrhistogram::Histogram;
use motet_net::SocketId;
use motet_rtp::ext::{Extension, Form};
use motet_rtp::rtcp::SenderInfo;
use motet_rtp::{Ntp, RtpBuilder, Time, WireSeq, WireTimestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Packets written per call, so that receiving is never put off for long.
const CALL_PACKETS_MAX: u64 = 256;
/// Levels below this are not speech: RFC 6464's V bit, in dB below full scale.
const VOICE_LEVEL_MAX: u8 = 50;

/// Somebody who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MouthPlan {
    /// Number in the room.
    pub participant: u32,
    /// What it sends in.
    pub codec: LoadCodec,
    /// Socket to send from.
    pub socket: SocketId,
    /// Where to.
    pub destination: SocketAddr,
    /// Synchronization source.
    pub ssrc: u32,
}

/// How all of them send.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Who talks when, in each room.
    pub stage: Stage,
    /// Tell how loud each packet is (RFC 6464).
    pub level_extension: bool,
    /// The network towards the relay.
    pub impairment: Impairment,
}

/// The sending half.
#[derive(Debug)]
pub struct Mouths {
    start: Time,
    mouths: Vec<Mouth>,
    schedule: Schedule,
    tracks: Arc<Tracks>,
    style: Style,
    /// Packets on their way through the impaired network.
    late: BinaryHeap<Reverse<Late>>,
    packet: Vec<u8>,
    lateness: Histogram<u64>,
    packets: u64,
}

/// When a packet comes, its number, which keeps the order of equals, its mouth and its bytes.
type Late = (Time, u64, usize, Vec<u8>);

#[derive(Debug)]
struct Mouth {
    plan: MouthPlan,
    network: Network,
    talked: bool,
    /// What left, what the network loses included.
    sent: u32,
    octets: u32,
}

/// When the first sample of a mouth's frame 0 is captured, counted from the start of the run.
pub fn phase(mouths: usize, index: usize) -> Duration {
    spread(Duration::from_millis(FRAME_MS.into()), mouths, index)
}

impl Mouths {
    /// Mouths that begin to capture at `start`, spread over a frame's time, and do so for `duration`.
    pub fn new(
        start: Time,
        duration: Duration,
        plans: &[MouthPlan],
        tracks: Arc<Tracks>,
        style: Style,
    ) -> Mouths {
        let frame = Duration::from_millis(FRAME_MS.into());
        // A frame leaves when its last sample is captured.
        let beat = |index| Beat { interval: frame, phase: phase(plans.len(), index) + frame };
        let beats = (0..plans.len()).map(beat).collect();
        let mouth = |(index, plan): (usize, &MouthPlan)| Mouth {
            plan: *plan,
            network: Network::new(style.impairment, 2 * index as u64),
            talked: false,
            sent: 0,
            octets: 0,
        };
        Mouths {
            start,
            mouths: plans.iter().enumerate().map(mouth).collect(),
            schedule: Schedule::new(start, duration + frame, beats),
            tracks,
            style,
            late: BinaryHeap::new(),
            packet: Vec::new(),
            lateness: latency_histogram(),
            packets: 0,
        }
    }

    /// Gives what is due at `now` to `queue`; true when more is due already.
    pub fn handle_due(&mut self, now: Time, mut queue: impl FnMut(SocketId, SocketAddr, &[u8])) -> bool {
        let end = self.packets + CALL_PACKETS_MAX;
        while self.packets < end {
            if self.late.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
                let Some(Reverse((_, _, mouth, packet))) = self.late.pop() else { return false };
                let plan = &self.mouths[mouth].plan;
                queue(plan.socket, plan.destination, &packet);
                continue;
            }
            let Some(tick) = self.schedule.poll(now) else { return false };
            self.lateness.saturating_record((now.since(tick.intended).as_nanos() as u64).max(1));
            self.send(&tick, &mut queue);
        }
        true
    }

    fn send(&mut self, tick: &Tick, queue: &mut impl FnMut(SocketId, SocketAddr, &[u8])) {
        self.packets += 1;
        if !self.write(tick) {
            return;
        }
        let mouth = &mut self.mouths[tick.stream];
        let Some(comes) = mouth.network.carry(tick.intended) else { return };
        if comes <= tick.intended {
            queue(mouth.plan.socket, mouth.plan.destination, &self.packet);
        } else {
            self.late.push(Reverse((comes, self.packets, tick.stream, self.packet.clone())));
        }
    }

    /// False: there is nothing to send.
    fn write(&mut self, tick: &Tick) -> bool {
        let mouth = &mut self.mouths[tick.stream];
        let plan = &mouth.plan;
        let talks = self.style.stage.talks(plan.participant, tick.number);
        let found = if talks {
            self.tracks.voice(plan.codec, plan.participant).map(|track| track.frame(tick.number))
        } else {
            // Quiet rooms are not quiet in the same way.
            let offset = u64::from(plan.participant) * 13;
            self.tracks.quiet(plan.codec).map(|track| track.frame(tick.number + offset))
        };
        let Some((payload, level)) = found else { return false };
        let voice = u8::from(level <= VOICE_LEVEL_MAX) << 7;
        let element = [LEVEL_EXTENSION_ID << 4, voice | level, 0, 0];
        let mut builder = RtpBuilder::new(plan.ssrc)
            // RFC 3551 section 4.1: the first packet of a talkspurt.
            .marker(talks && !mouth.talked)
            .payload_type(plan.codec.payload_type())
            .sequence(WireSeq(tick.number as u16))
            .timestamp(WireTimestamp((tick.number as u32).wrapping_mul(plan.codec.frame_ticks())))
            .payload(payload);
        if self.style.level_extension {
            builder = builder.extension(Extension { profile: Form::OneByte.profile(), data: &element });
        }
        mouth.talked = talks;
        self.packet.clear();
        builder.write(&mut self.packet);
        (mouth.sent, mouth.octets) = (mouth.sent + 1, mouth.octets.wrapping_add(payload.len() as u32));
        true
    }

    /// What a mouth says of itself in a report at `now` (RFC 3550 section 6.4.1), which is `ntp` by the wall's clock;
    /// none: it has sent nothing yet.
    pub fn sender_info(&self, mouth: usize, now: Time, ntp: Ntp) -> Option<SenderInfo> {
        let (begun, mouth) = (self.start + phase(self.mouths.len(), mouth), &self.mouths[mouth]);
        let clock_hz = u128::from(mouth.plan.codec.clock_hz());
        let ticks = now.since(begun).as_nanos() * clock_hz / 1_000_000_000;
        let rtp_timestamp = WireTimestamp(ticks as u32);
        (mouth.sent > 0).then_some(SenderInfo {
            ntp,
            rtp_timestamp,
            packets: mouth.sent,
            octets: mouth.octets,
        })
    }

    /// When something is due next; none at the end.
    pub fn next_due(&self) -> Option<Time> {
        let late = self.late.peek().map(|Reverse((at, ..))| *at);
        self.schedule.next_due().into_iter().chain(late).min()
    }

    /// Frames captured, whatever became of their packets.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Nanoseconds by which frames left late through the generator's own fault.
    pub fn lateness(&self) -> &Histogram<u64> {
        &self.lateness
    }
}
