//! The spine: what happens to a batch, in order.

use crate::drop::{DropCounters, DropReason};
use crate::leg::{Leg, Transport};
use crate::port::{Port, SharedPort};
use crate::route::Route;
use crate::shared::{Span, Sums};
use crate::sink::{SinkId, Sinks};
use crate::stats::{Counts, RouteStats, StreamStats};
use crate::stream::{NONE, Stream};
use crate::timeline::Timeline;
use crate::{LegId, Outbox, Payload, PortId, RouteId, StreamId};
use motet_rtp::rtp::FixedHeader;
use motet_rtp::seq::SeqNo;
use motet_rtp::{Ntp, Time};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a relay.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Wall clock at [`Time::ZERO`].
    pub ntp_origin: Ntp,
    /// CNAME of the relay's own reports.
    pub cname: String,
    /// A leg that nothing came from for this long is reported silent.
    pub leg_silent_after: Duration,
    /// A stream without packets for this long is reported silent.
    pub stream_silent_after: Duration,
    /// A silent source may be replaced after this long.
    pub relatch_after: Duration,
    /// To an address that was learnt from packets and is silent for this long, RTP and RTCP alike, nothing
    /// is sent until it is heard again. Twenty-five seconds, if it has sent fewer than fifty packets.
    pub learnt_silence_max: Duration,
    /// Least time between two key-frame requests to one publisher.
    pub key_frame_interval_min: Duration,
    /// Time between reports to a leg, and between looks for silence.
    pub report_interval: Duration,
    /// Most intervals between the reports of one transport: with sound alone always so many, with pictures fewer
    /// the more is sent (RFC 3550 section 6.2). The first report does not wait.
    pub report_intervals_max: u32,
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig {
            ntp_origin: Ntp(0),
            cname: "motet".to_owned(),
            leg_silent_after: Duration::from_secs(5),
            stream_silent_after: Duration::from_secs(2),
            relatch_after: Duration::from_secs(2),
            learnt_silence_max: Duration::from_secs(60),
            key_frame_interval_min: Duration::from_millis(500),
            report_interval: Duration::from_secs(1),
            report_intervals_max: 5,
        }
    }
}

/// One or more datagrams of one source that came in together, all but the last of one size.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// Port that they came in at.
    pub port: PortId,
    /// Where they came from.
    pub source: SocketAddr,
    /// All datagrams, one after another.
    pub bytes: &'a [u8],
    /// Size of each but the last, which may be shorter.
    pub segment_bytes: usize,
}

/// When something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Reports to a leg, and a look for silence.
    Leg(LegId),
    /// A key-frame request that had to wait.
    KeyFrame(StreamId),
}

/// A packet of this batch that is to be forwarded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sorted {
    pub(crate) payload: Payload,
    pub(crate) header: FixedHeader,
    pub(crate) sequence: SeqNo,
    pub(crate) generation: u32,
    pub(crate) clock_hz: u32,
    /// A route that waits for a key frame can begin with it.
    pub(crate) begins_key_frame: bool,
    /// Bytes of payload alone, as sender reports count them.
    pub(crate) octets: u32,
    /// Next packet of the same stream.
    pub(crate) next: u32,
}

impl Sorted {
    /// What a timeline takes up.
    #[inline]
    pub(crate) fn source(&self) -> (u32, bool) {
        (self.generation, self.begins_key_frame)
    }
}

/// One stream's packets to one destination.
#[derive(Clone, Copy, Debug)]
struct Job {
    route: RouteId,
    next: u32,
}

/// Lists of one batch, kept for their memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) packets: Vec<Sorted>,
    pub(crate) streams: Vec<StreamId>,
    /// Streams that a BYE came for.
    pub(crate) ended: Vec<StreamId>,
    spans: Vec<Span>,
    jobs: Vec<Job>,
    /// Where jobs lead to, in the order they came up.
    sinks: Vec<SinkId>,
}

impl Scratch {
    /// Puts a packet at the end of its stream's list.
    #[inline]
    pub(crate) fn enlist(&mut self, id: StreamId, stream: &mut Stream, packet: Sorted) {
        let entry = self.packets.len() as u32;
        if stream.batch_first == NONE {
            stream.batch_first = entry;
            self.streams.push(id);
        } else {
            self.packets[stream.batch_last as usize].next = entry;
        }
        stream.batch_last = entry;
        self.packets.push(packet);
    }
}

/// Writes a stream's packets as a route with a timeline of its own has them.
#[inline]
fn emit_own(
    now: Time,
    timeline: &mut Timeline,
    stream: &Stream,
    packets: &[Sorted],
    has_destination: bool,
    out: &mut Outbox,
) -> Sums {
    let mut sums = Sums::default();
    let mut at = stream.batch_first;
    while at != NONE {
        let packet = &packets[at as usize];
        at = packet.next;
        let (header, sequence) = (&packet.header, packet.sequence);
        let rewritten = timeline.rewrite(now, header, sequence, packet.source(), packet.clock_hz);
        if let Some(header) = sums.add(packet, rewritten)
            && has_destination
        {
            out.push(&header, Some(packet.payload));
        }
    }
    if has_destination && sums.packets > 0 {
        timeline.sent(now);
    }
    sums
}

/// Legs, streams and routes of one worker.
#[derive(Debug)]
pub struct Relay {
    pub(crate) config: RelayConfig,
    pub(crate) ports: Vec<Port>,
    pub(crate) shared_ports: Vec<SharedPort>,
    pub(crate) sinks: Sinks,
    pub(crate) legs: Vec<Option<Leg>>,
    pub(crate) streams: Vec<Option<Stream>>,
    pub(crate) routes: Vec<Option<Route>>,
    pub(crate) timers: BTreeSet<(Time, Timer)>,
    pub(crate) drops: DropCounters,
    pub(crate) counts: Counts,
    pub(crate) scratch: Scratch,
}

impl Relay {
    /// An empty relay.
    pub fn new(config: RelayConfig) -> Relay {
        Relay {
            config,
            ports: Vec::new(),
            shared_ports: Vec::new(),
            sinks: Sinks::default(),
            legs: Vec::new(),
            streams: Vec::new(),
            routes: Vec::new(),
            timers: BTreeSet::new(),
            drops: DropCounters::default(),
            counts: Counts::default(),
            scratch: Scratch::default(),
        }
    }

    /// Takes what was received in one turn, and appends what is to be sent to `out`. Payloads in the outbox
    /// count inbound runs from 0 in the order given here.
    pub fn handle_batch<'a>(
        &mut self,
        now: Time,
        inbound: impl Iterator<Item = Inbound<'a>>,
        out: &mut Outbox,
    ) {
        for (index, run) in inbound.enumerate() {
            self.sort(now, index as u32, run, out);
        }
        if !self.scratch.packets.is_empty() {
            self.plan(now, out);
            self.emit(now, out);
        }
        if !self.scratch.ended.is_empty() {
            self.say_bye_of_batch(out);
        }
    }

    /// Gives each route of each stream with packets a job at its destination.
    fn plan(&mut self, now: Time, out: &mut Outbox) {
        let scratch = &mut self.scratch;
        for stream in &scratch.streams {
            let stream = self.streams[stream.0 as usize].as_mut().expect("a stream with packets exists");
            if let Some(shared) = stream.shared.as_mut().filter(|shared| shared.followers > 0) {
                shared.rewrite(now, stream.batch_first, &scratch.packets, &mut scratch.spans, out);
            }
            for route_id in &stream.routes {
                let route =
                    self.routes[route_id.0 as usize].as_ref().expect("a stream lists existing routes");
                if !route.active {
                    continue;
                }
                let index = scratch.jobs.len() as u32;
                scratch.jobs.push(Job { route: *route_id, next: NONE });
                let sink = self.sinks.at(route.sink);
                if sink.first_job == NONE {
                    sink.first_job = index;
                    sink.batches = sink.batches.wrapping_add(1);
                    scratch.sinks.push(route.sink);
                } else {
                    scratch.jobs[sink.last_job as usize].next = index;
                }
                sink.last_job = index;
            }
        }
    }

    /// Writes each destination's packets, all streams one after another.
    fn emit(&mut self, now: Time, out: &mut Outbox) {
        for index in 0..self.scratch.sinks.len() {
            let sink = self.sinks.at(self.scratch.sinks[index]);
            let mut job = std::mem::replace(&mut sink.first_job, NONE);
            let (port, destination) = (sink.port, sink.destination);
            if let Some(destination) = destination {
                out.begin_run(port, destination);
            }
            while job != NONE {
                let Job { route, next } = self.scratch.jobs[job as usize];
                self.emit_route(now, route, destination.is_some(), out);
                job = next;
            }
            out.end_run();
        }
        self.scratch.sinks.clear();
        self.scratch.jobs.clear();
        for stream in self.scratch.streams.drain(..) {
            if let Some(stream) = &mut self.streams[stream.0 as usize] {
                (stream.batch_first, stream.batch_last) = (NONE, NONE);
            }
        }
        self.scratch.packets.clear();
        self.scratch.spans.clear();
    }

    fn emit_route(&mut self, now: Time, id: RouteId, has_destination: bool, out: &mut Outbox) {
        let route = self.routes[id.0 as usize].as_mut().expect("jobs name existing routes");
        let stream = self.streams[route.stream.0 as usize].as_ref().expect("an active job has a stream");
        let sums = match &mut route.timeline {
            Some(timeline) => emit_own(now, timeline, stream, &self.scratch.packets, has_destination, out),
            None => {
                let shared = stream.shared.as_ref().expect("the route follows it");
                if has_destination {
                    shared.batch(&self.scratch.spans).iter().for_each(|span| out.push_span(span));
                }
                shared.sums
            }
        };
        if has_destination {
            route.account(&sums);
            self.counts.packets_out += sums.packets;
        } else {
            self.drops.add(DropReason::NoDestination, sums.packets);
        }
        if sums.not_routed + sums.before_switch > 0 {
            self.drops.add(DropReason::PayloadTypeNotRouted, sums.not_routed);
            self.drops.add(DropReason::BeforeSwitch, sums.before_switch);
        }
    }

    /// When [`Relay::handle_timeout`] is due; [`Time::MAX`]: never.
    pub fn poll_timeout(&self) -> Time {
        self.timers.first().map_or(Time::MAX, |(at, _)| *at)
    }

    /// Does what is due: reports, key-frame requests, the search for silence. Work is bounded; what is left
    /// stays due.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Outbox) {
        for _ in 0..crate::limits::TIMERS_PER_CALL_MAX {
            match self.timers.first() {
                Some(&(at, timer)) if at <= now => {
                    self.timers.pop_first();
                    match timer {
                        Timer::Leg(leg) => self.tick_leg(now, leg, out),
                        Timer::KeyFrame(stream) => self.key_frame_due(now, stream, out),
                    }
                }
                _ => return,
            }
        }
    }

    /// Wall clock at a moment.
    pub(crate) fn ntp(&self, now: Time) -> Ntp {
        self.config.ntp_origin.plus(now.since(Time::ZERO))
    }

    /// What was dropped, by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// What is held and what went through.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A stream as it arrives; none: it does not exist.
    pub fn stream_stats(&self, id: StreamId, now: Time) -> Option<StreamStats> {
        let stream = self.streams.get(id.0 as usize)?.as_ref()?;
        let clock_hz = u64::from(stream.reception.clock_hz()).max(1);
        let jitter = u64::from(stream.reception.jitter()) * 1_000_000_000 / clock_hz;
        let transport = self.transport(stream.spec.leg, stream.spec.transport)?;
        Some(StreamStats {
            ssrc: stream.ssrc,
            packets: stream.packets,
            bytes: stream.bytes,
            lost: stream.lost(),
            jitter: Duration::from_nanos(jitter),
            silent: stream.last_at.map(|at| now.since(at)),
            source: transport.latch.source(),
        })
    }

    /// A route as it leaves; none: it does not exist.
    pub fn route_stats(&self, id: RouteId) -> Option<RouteStats> {
        let route = self.routes.get(id.0 as usize)?.as_ref()?;
        let stream = self.streams.get(route.stream.0 as usize).and_then(Option::as_ref);
        let clock_hz = stream.map_or(1, |stream| u64::from(stream.reception.clock_hz()).max(1));
        Some(RouteStats {
            packets: route.packets,
            bytes: route.bytes,
            fraction_lost: route.heard.fraction_lost.map(|fraction| f32::from(fraction) / 256.0),
            lost: i64::from(route.heard.lost),
            jitter: Duration::from_nanos(u64::from(route.heard.jitter_ticks) * 1_000_000_000 / clock_hz),
            round_trip: route.heard.round_trip,
        })
    }

    /// Legs that were heard and have not been reported silent since: what [`Event::LegAlive`](crate::Event) and
    /// [`Event::LegSilent`](crate::Event) have said of them.
    pub fn legs_heard(&self) -> impl Iterator<Item = LegId> {
        let heard = |leg: &Leg| {
            !leg.silent && leg.transports.iter().any(|transport| transport.latch.source().is_some())
        };
        let legs = self.legs.iter().enumerate();
        legs.filter_map(move |(id, leg)| leg.as_ref().filter(|leg| heard(leg)).map(|_| LegId(id as u32)))
    }

    pub(crate) fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn transport(&self, leg: LegId, transport: u8) -> Option<&Transport> {
        self.leg(leg)?.transports.get(usize::from(transport))
    }

    pub(crate) fn transport_mut(&mut self, leg: LegId, transport: u8) -> Option<&mut Transport> {
        self.legs.get_mut(leg.0 as usize)?.as_mut()?.transports.get_mut(usize::from(transport))
    }
}
