//! RTCP in and out: reports, source descriptions, goodbyes (RFC 3550 section 6).
//!
//! The relay ends RTCP on each leg: a publisher hears from us how its packets arrive, a receiver hears from
//! us of each stream under the SSRC that we gave it. All streams of a participant keep its CNAME and its
//! wall clock, so that receivers can play them in step.

use crate::drop::DropReason;
use crate::feedback::Ask;
use crate::latch::{Judgement, RtcpClaim};
use crate::leg::learn_offset;
use crate::limits::{RTCP_BYTES_MAX, RTCP_COUNT_MAX};
use crate::port::PortUse;
use crate::relay::{Relay, Timer};
use crate::stream::HeardReport;
use crate::{Event, LegId, Outbox, RouteId, StreamId};
use motet_rtp::rtcp::{
    Compound, Packet, ReportBlock, SenderInfo, write_bye, write_receiver_report, write_sdes_cname,
    write_sender_report,
};
use motet_rtp::{Ntp, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a sender report without blocks.
const SENDER_REPORT_BYTES: usize = 28;
/// Bytes of a chunk with a CNAME, without the name.
const CHUNK_BYTES: usize = 12;
/// Octets of video for which a report is due: 360 s at a kilobit a second (RFC 3550 section 6.2).
const VIDEO_REPORT_OCTETS: u64 = 360 * 1000 / 8;
/// Batches in an interval from which on a socket of its own for one peer pays: to open it takes as long as ten sends.
/// A batch is one send, or few: all packets of a picture leave together.
const PEER_BATCHES_MIN: u32 = 10;

/// An empty receiver report and the sender's name: what every compound packet begins with.
pub(crate) fn write_preamble(bytes: &mut Vec<u8>, ssrc: u32, cname: &str) {
    write_receiver_report(bytes, ssrc, &[]);
    write_sdes_cname(bytes, &[(ssrc, cname)]);
}

impl Relay {
    /// Takes an RTCP datagram.
    pub(crate) fn handle_rtcp(
        &mut self,
        now: Time,
        used: PortUse,
        source: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        let Ok(compound) = Compound::reduced(datagram) else {
            return self.drops.add(DropReason::MalformedRtcp, 1);
        };
        let relatch_after = self.config.relatch_after;
        let transport = self.transport_mut(used.leg, used.transport).expect("a port in use has a transport");
        // All packets that may come first name their sender here (RFC 3550 section 6, RFC 4585 section 6.1).
        let sender = datagram.get(4..8).and_then(|ssrc| ssrc.try_into().ok());
        let claim =
            RtcpClaim { ssrc: sender.map(u32::from_be_bytes), publishes: !transport.streams.is_empty() };
        match transport.latch.judge_rtcp(now, source, claim, relatch_after) {
            Judgement::Accept => {
                let leg = self.legs[used.leg.0 as usize].as_mut().expect("a port in use belongs to a leg");
                if std::mem::take(&mut leg.silent) {
                    out.events.push(Event::LegAlive { leg: used.leg, transport: used.transport, source });
                }
                leg.heard = now;
                self.aim(used.leg, used.transport);
            }
            Judgement::Latched => self.latched(now, used, source, out),
            Judgement::Probation | Judgement::OffPath => return self.drops.add(DropReason::RtcpOffPath, 1),
        }
        for packet in compound.packets() {
            if let Err(reason) = self.handle_rtcp_packet(now, used, packet, out) {
                self.drops.add(reason, 1);
            }
        }
    }

    fn handle_rtcp_packet(
        &mut self,
        now: Time,
        used: PortUse,
        packet: Packet<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        match packet {
            Packet::SenderReport(report) => {
                self.sender_reported(now, used, report.ssrc, report.info);
                self.reception_reported(now, used.leg, report.blocks())
            }
            Packet::ReceiverReport(report) => self.reception_reported(now, used.leg, report.blocks()),
            Packet::Sdes(_) => Ok(()),
            Packet::Bye(bye) => {
                for ssrc in bye.ssrcs() {
                    if let Some(stream) = self.published(used, ssrc) {
                        self.stream_ended(stream, out);
                    }
                }
                Ok(())
            }
            Packet::Pli(pli) => self.key_frame_asked(now, used.leg, pli.media_ssrc, Ask::Pli, out),
            Packet::Fir(fir) => {
                let mut answer = Ok(());
                for entry in fir.entries() {
                    answer = answer.and(self.key_frame_asked(now, used.leg, entry.ssrc, Ask::Fir, out));
                }
                answer
            }
            _ => Err(DropReason::RtcpIgnored),
        }
    }

    /// The stream that a leg publishes under an SSRC. Each transport is an RTP session of its own, with its
    /// own SSRCs (RFC 3550 section 5.2).
    fn published(&self, used: PortUse, ssrc: u32) -> Option<StreamId> {
        let has_ssrc = |id: &&StreamId| {
            self.streams[id.0 as usize].as_ref().is_some_and(|stream| stream.ssrc == Some(ssrc))
        };
        self.transport(used.leg, used.transport)?.streams.iter().find(has_ssrc).copied()
    }

    fn sender_reported(&mut self, now: Time, used: PortUse, ssrc: u32, info: SenderInfo) {
        // A report may come before the first packet; the next one will do.
        let Some(stream) = self.published(used, ssrc) else { return };
        // No wall clock (RFC 3550 section 6.4.1): we know no more than when packets come.
        if info.ntp == Ntp(0) {
            return;
        }
        let leg = self.legs[used.leg.0 as usize].as_mut().expect("a port in use belongs to a leg");
        // Over a trunk both ends have one clock, and however long the report took tells nothing.
        let trunk = leg.transports[usize::from(used.transport)].latch.is_trunk();
        let ours = if trunk { info.ntp } else { self.config.ntp_origin.plus(now.since(Time::ZERO)) };
        leg.clock_offset = Some(learn_offset(leg.clock_offset, ours, info.ntp));
        let stream = self.streams[stream.0 as usize].as_mut().expect("it was found a moment ago");
        let clock_offset = learn_offset(stream.report.map(|report| report.clock_offset), ours, info.ntp);
        let (ntp, timestamp) = (info.ntp, info.rtp_timestamp);
        stream.report = Some(HeardReport { ntp, timestamp, at: now, clock_offset });
    }

    fn reception_reported(
        &mut self,
        now: Time,
        leg: LegId,
        blocks: impl Iterator<Item = ReportBlock>,
    ) -> Result<(), DropReason> {
        let middle = self.ntp(now).middle();
        let mut answer = Ok(());
        for block in blocks {
            let route = self.leg(leg).and_then(|leg| leg.route_by_ssrc.get(&block.ssrc)).copied();
            let Some(route) = route.and_then(|id| self.routes[id.0 as usize].as_mut()) else {
                answer = Err(DropReason::RtcpUnknownSsrc);
                continue;
            };
            route.heard.fraction_lost = Some(block.fraction_lost);
            route.heard.lost = block.cumulative_lost;
            route.heard.jitter_ticks = block.jitter;
            // RFC 3550 section 6.4.1: A - LSR - DLSR, all modulo 2^32; more than a minute is no round trip.
            let units = middle.wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
            if block.last_sr != 0 && units < 60 << 16 {
                let nanos = (u64::from(units) * 1_000_000_000) >> 16;
                route.heard.round_trip = Some(Duration::from_nanos(nanos));
            }
        }
        answer
    }

    fn key_frame_asked(
        &mut self,
        now: Time,
        leg: LegId,
        ssrc: u32,
        ask: Ask,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let route = self.leg(leg).and_then(|leg| leg.route_by_ssrc.get(&ssrc)).copied();
        let stream = route.and_then(|id| self.routes[id.0 as usize].as_ref()).map(|route| route.stream);
        match stream {
            Some(stream) if self.streams.get(stream.0 as usize).is_some_and(Option::is_some) => {
                self.want_key_frame(now, stream, ask, out);
                Ok(())
            }
            _ => Err(DropReason::RtcpUnknownSsrc),
        }
    }

    /// The publisher said BYE. Receivers are told when the media of this batch is out.
    fn stream_ended(&mut self, id: StreamId, out: &mut Outbox) {
        let stream = self.streams[id.0 as usize].as_mut().expect("it was found a moment ago");
        if std::mem::replace(&mut stream.ended, true) {
            return;
        }
        stream.ended_at = stream.extender.highest();
        out.events.push(Event::StreamEnded { stream: id });
        self.scratch.ended.push(id);
    }

    /// Passes on the BYEs of a batch, unless packets after it show that the stream goes on.
    pub(crate) fn say_bye_of_batch(&mut self, out: &mut Outbox) {
        let mut ended = std::mem::take(&mut self.scratch.ended);
        ended.sort_unstable();
        ended.dedup();
        let streams = ended.drain(..).filter_map(|id| self.streams[id.0 as usize].as_ref());
        let streams = streams.filter(|stream| stream.ended);
        let routes: Vec<RouteId> = streams.flat_map(|stream| &stream.routes).copied().collect();
        self.say_bye(&routes, out);
        self.scratch.ended = ended;
    }

    /// Tells the receivers of these routes that the sources leave; one datagram for each transport.
    pub(crate) fn say_bye(&mut self, routes: &[RouteId], out: &mut Outbox) {
        let mut by_transport: Vec<(LegId, u8, u32)> = routes
            .iter()
            .filter_map(|id| self.routes[id.0 as usize].as_ref())
            .filter(|route| route.packets > 0)
            .map(|route| (route.leg, route.transport, route.ssrc))
            .collect();
        by_transport.sort_unstable();
        for same in by_transport.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let leg = self.leg(same[0].0).expect("a route ends at an existing leg");
            let transport = &leg.transports[usize::from(same[0].1)];
            let Some(destination) = transport.latch.rtcp_destination() else { continue };
            let (port, report_ssrc) = (transport.rtcp_port(), leg.report_ssrc);
            for some in same.chunks(RTCP_COUNT_MAX) {
                let ssrcs: Vec<u32> = some.iter().map(|(_, _, ssrc)| *ssrc).collect();
                out.message(port, destination, |bytes| {
                    write_preamble(bytes, report_ssrc, &self.config.cname);
                    write_bye(bytes, &ssrcs, None);
                });
                self.counts.rtcp_out += 1;
            }
        }
    }

    /// A leg's turn: reports, silence, requests that wait for an address.
    pub(crate) fn tick_leg(&mut self, now: Time, id: LegId, out: &mut Outbox) {
        let Some(leg) = self.leg(id) else { return };
        let learnt_silence_max = self.config.learnt_silence_max;
        for transport in 0..leg.transports.len() {
            let leg = self.legs[id.0 as usize].as_mut().expect("it was there a moment ago");
            leg.transports[transport].latch.look(now, learnt_silence_max);
            self.aim(id, transport as u8);
            self.report_when_due(now, id, transport, out);
            self.look_at_streams(now, id, transport, out);
        }
        let leg = self.legs[id.0 as usize].as_mut().expect("it was there a moment ago");
        let silent = now.since(leg.heard);
        if !leg.silent && silent >= self.config.leg_silent_after {
            leg.silent = true;
            out.events.push(Event::LegSilent { leg: id, silent });
        }
        leg.tick_at = now + self.config.report_interval;
        self.timers.insert((leg.tick_at, Timer::Leg(id)));
    }

    fn look_at_streams(&mut self, now: Time, leg: LegId, transport: usize, out: &mut Outbox) {
        let count = self.transport(leg, transport as u8).map_or(0, |transport| transport.streams.len());
        for index in 0..count {
            let id = self.leg(leg).expect("the caller looked it up").transports[transport].streams[index];
            let stream = self.streams[id.0 as usize].as_mut().expect("a transport lists existing streams");
            let silent = stream.last_at.map_or(Duration::ZERO, |at| now.since(at));
            if !stream.silent && !stream.ended && silent >= self.config.stream_silent_after {
                stream.silent = true;
                out.events.push(Event::StreamSilent { stream: id, silent });
            }
            self.send_waiting_key_frame(now, id, out);
        }
    }

    /// The reports of a transport: the first at once, others when the time has come that follows from what is
    /// sent there.
    fn report_when_due(&mut self, now: Time, id: LegId, transport: usize, out: &mut Outbox) {
        let place = self.transport_mut(id, transport as u8).expect("the caller looked it up");
        place.report_wait = place.report_wait.saturating_sub(1);
        if place.report_wait > 0 {
            return;
        }
        let (before, sink) = (place.report_waited, place.sink);
        let intervals = before.max(1);
        if let Some(octets) = self.report(now, id, transport, out) {
            if std::mem::take(&mut self.sinks.at(sink).batches) >= PEER_BATCHES_MIN * intervals {
                self.name_peer(id, transport, out);
            }
            // The first report is of a part of an interval, which says little of those to come.
            let octets = if before == 0 { VIDEO_REPORT_OCTETS } else { octets / u64::from(intervals) };
            let wait = self.report_wait(id, transport, octets);
            let place = self.transport_mut(id, transport as u8).expect("it was there a moment ago");
            (place.report_wait, place.report_waited) = (wait, wait);
        }
    }

    /// Intervals until the next reports of a transport to which so many octets went in each of the last ones.
    ///
    /// RFC 3550 section 6.2 recommends 5 s at least, and for pictures, whose receivers need them sooner, 360
    /// divided by the kilobits a second. So reports stay a small share of what is sent, however many legs there
    /// are to send it to.
    fn report_wait(&self, id: LegId, transport: usize, octets_per_interval: u64) -> u32 {
        let place = self.transport(id, transport as u8).expect("the caller looked it up");
        let is_video = |id: StreamId| {
            self.streams.get(id.0 as usize).and_then(Option::as_ref).is_some_and(|stream| stream.is_video())
        };
        // Publishers of pictures adapt to what they hear. Over a trunk the clock goes on to receivers, whose
        // reports should not be staler than with one relay.
        if place.latch.is_trunk() || place.streams.iter().copied().any(is_video) {
            return 1;
        }
        let longest = self.config.report_intervals_max;
        let mut received = place.routes.iter().filter_map(|route| self.routes[route.0 as usize].as_ref());
        if !received.any(|route| is_video(route.stream)) {
            return longest;
        }
        // 360 s for a kilobit a second: 45,000 octets, whatever the length of an interval.
        let wait = VIDEO_REPORT_OCTETS.div_ceil(octets_per_interval.max(1));
        u32::try_from(wait).unwrap_or(u32::MAX).clamp(1, longest)
    }

    /// Tells the edge where a port's media goes. A socket that many share has no peer, and neither has a trunk.
    fn name_peer(&self, id: LegId, transport: usize, out: &mut Outbox) {
        let place = self.transport(id, transport as u8).expect("the caller looked it up");
        if let Some(destination) = place.latch.destination()
            && !place.latch.is_trunk()
            && !self.is_shared(place.rtp)
        {
            out.peers.push((place.rtp, destination));
        }
    }

    /// Sends the reports of one transport, as many datagrams as it takes. Gives the octets sent there since the last;
    /// none: there was nothing to report.
    fn report(&mut self, now: Time, id: LegId, transport: usize, out: &mut Outbox) -> Option<u64> {
        let leg = self.legs[id.0 as usize].as_ref().expect("the caller looked it up");
        let place = &leg.transports[transport];
        let destination = place.latch.rtcp_destination()?;
        let (port, report_ssrc) = (place.rtcp_port(), leg.report_ssrc);
        let mut blocks = Vec::new();
        for stream in &place.streams {
            let stream =
                self.streams[stream.0 as usize].as_mut().expect("a transport lists existing streams");
            if let Some(ssrc) = stream.ssrc
                && stream.reception.is_valid()
            {
                let heard = stream.report.map(|report| (report.ntp, report.at));
                blocks.push(stream.reception.report_block(ssrc, heard, now));
            }
        }
        let due = self.due_sender_reports(now, id, transport);
        if due.is_empty() && blocks.is_empty() {
            return None;
        }
        let mut blocks = blocks.as_slice();
        let mut senders = due.as_slice();
        while !senders.is_empty() || !blocks.is_empty() {
            let (some_blocks, more) = blocks.split_at(blocks.len().min(RTCP_COUNT_MAX));
            let some = fitting(senders, 8 + 24 * some_blocks.len() + CHUNK_BYTES + self.config.cname.len());
            out.message(port, destination, |bytes| {
                write_receiver_report(bytes, report_ssrc, some_blocks);
                for sender in &senders[..some] {
                    write_sender_report(bytes, sender.ssrc, &sender.info, &[]);
                }
                let mut names = vec![(report_ssrc, self.config.cname.as_str())];
                names.extend(senders[..some].iter().map(|sender| (sender.ssrc, sender.cname.as_str())));
                write_sdes_cname(bytes, &names);
            });
            self.counts.rtcp_out += 1;
            blocks = more;
            senders = &senders[some..];
        }
        Some(due.iter().map(|sender| sender.octets).sum())
    }

    /// Sender reports for the routes that sent since the last ones.
    fn due_sender_reports(&mut self, now: Time, id: LegId, transport: usize) -> Vec<DueReport> {
        let ntp = self.ntp(now);
        let mut due = Vec::new();
        let leg = self.legs[id.0 as usize].as_ref().expect("the caller looked it up");
        for route in &leg.transports[transport].routes {
            let route = self.routes[route.0 as usize].as_mut().expect("a transport lists existing routes");
            if route.packets == route.packets_reported {
                continue;
            }
            let Some(stream) = self.streams.get(route.stream.0 as usize).and_then(Option::as_ref) else {
                continue;
            };
            let Some(timeline) = route.timeline(stream).filter(|line| line.is_in_step(stream.generation))
            else {
                continue;
            };
            let publisher =
                self.legs[stream.spec.leg.0 as usize].as_ref().expect("a stream belongs to a leg");
            let timestamp = stream.timestamp_at(now, ntp, publisher.clock_offset);
            let packets = route.packets - route.packets_reported;
            due.push(DueReport {
                // Packets of one route are much alike.
                octets: packets * (route.octets / route.packets),
                ssrc: route.ssrc,
                cname: publisher.cname.clone(),
                info: SenderInfo {
                    ntp,
                    rtp_timestamp: timeline.translate(timestamp),
                    packets: route.packets as u32,
                    octets: route.octets as u32,
                },
            });
            route.packets_reported = route.packets;
        }
        due
    }
}

/// A sender report to be written.
struct DueReport {
    /// That went out since the last report, about.
    octets: u64,
    ssrc: u32,
    cname: String,
    info: SenderInfo,
}

/// How many reports, with their names, fit into a datagram that already holds `bytes`.
fn fitting(senders: &[DueReport], bytes: usize) -> usize {
    let mut total = bytes;
    let fits = |sender: &&DueReport| {
        total += SENDER_REPORT_BYTES + CHUNK_BYTES + sender.cname.len();
        total <= RTCP_BYTES_MAX
    };
    // One name less than a description holds: the first is ours.
    let count = senders.iter().take_while(fits).count().min(RTCP_COUNT_MAX - 1);
    count.max(usize::from(!senders.is_empty()))
}
