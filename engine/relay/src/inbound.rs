//! From datagrams to packets of streams: demultiplexing, latching, checking.

use crate::drop::DropReason;
use crate::latch::{Claim, Heard, Judgement};
use crate::leg::Transport;
use crate::limits::ROAMING_DISTANCE_MAX;
use crate::port::{Port, PortUse};
use crate::relay::{Inbound, Relay, Sorted};
use crate::stream::{Arrival, NONE};
use crate::{Event, Outbox, Payload, StreamId};
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::rtp::{FIXED_HEADER_BYTES, FixedHeader, RtpError};

/// Streams of one transport from which on they are looked for in turn: a participant has fewer.
const STREAMS_MANY: usize = 8;

impl Relay {
    /// Puts each datagram of a run to its stream's list, or handles it as RTCP.
    pub(crate) fn sort(&mut self, now: Time, index: u32, run: Inbound<'_>, out: &mut Outbox) {
        let port = self.port(run.port);
        // An empty datagram is a datagram, too.
        if run.bytes.is_empty() {
            self.counts.packets_in += 1;
            let unknown = matches!(port, Port::Free);
            self.drops.add(if unknown { DropReason::UnknownPort } else { DropReason::TooShort }, 1);
            return;
        }
        match port {
            Port::Own(used) => {
                self.each_datagram(index, run, |relay, at, _| relay.take(now, used, &run, at, out));
            }
            Port::Shared(shared) => self.sort_shared(now, index, shared, run, out),
            Port::Free => {
                let datagrams = run.bytes.len().div_ceil(run.segment_bytes.max(1)) as u64;
                self.counts.packets_in += datagrams;
                self.drops.add(DropReason::UnknownPort, datagrams);
            }
        }
    }

    /// Drops what was received in one turn, and counts it.
    pub fn hold_back<'a>(&mut self, inbound: impl Iterator<Item = Inbound<'a>>) {
        for run in inbound {
            let datagrams = run.bytes.len().div_ceil(run.segment_bytes.max(1)).max(1) as u64;
            self.counts.packets_in += datagrams;
            self.drops.add(DropReason::Fenced, datagrams);
        }
    }

    /// Counts and visits the datagrams of a run.
    #[inline]
    pub(crate) fn each_datagram(
        &mut self,
        index: u32,
        run: Inbound<'_>,
        mut visit: impl FnMut(&mut Relay, Payload, &[u8]),
    ) {
        let mut offset = 0;
        for datagram in run.bytes.chunks(run.segment_bytes.max(1)) {
            self.counts.packets_in += 1;
            visit(self, Payload { inbound: index, offset, len: datagram.len() as u32 }, datagram);
            offset += datagram.len() as u32;
        }
    }

    /// Takes a datagram of a transport.
    #[inline]
    pub(crate) fn take(
        &mut self,
        now: Time,
        used: PortUse,
        run: &Inbound<'_>,
        at: Payload,
        out: &mut Outbox,
    ) {
        let datagram = &run.bytes[at.offset as usize..][..at.len as usize];
        match classify(datagram) {
            PacketClass::Rtp if used.rtcp_only => self.drops.add(DropReason::RtpAtRtcpPort, 1),
            PacketClass::Rtp => {
                if let Err(reason) = self.sort_rtp(now, used, run, at, out) {
                    self.drops.add(reason, 1);
                }
            }
            PacketClass::Rtcp => self.handle_rtcp(now, used, run.source, datagram, out),
            PacketClass::Stun => self.drops.add(DropReason::Stun, 1),
            PacketClass::Dtls => self.drops.add(DropReason::Dtls, 1),
            PacketClass::TooShort => self.drops.add(DropReason::TooShort, 1),
            // Version 1 and 3 of RTP begin with 64 to 127 and 192 to 255.
            PacketClass::Other if datagram[0] >= 64 => self.drops.add(DropReason::BadVersion, 1),
            PacketClass::Other => self.drops.add(DropReason::NotRtp, 1),
        }
    }

    fn sort_rtp(
        &mut self,
        now: Time,
        used: PortUse,
        run: &Inbound<'_>,
        at: Payload,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let datagram = &run.bytes[at.offset as usize..][..at.len as usize];
        let header = FixedHeader::read(datagram).map_err(|error| match error {
            RtpError::TooShort => DropReason::TooShort,
            RtpError::BadVersion => DropReason::BadVersion,
            _ => DropReason::Malformed,
        })?;
        let leg = self.legs[used.leg.0 as usize].as_mut().expect("a port in use belongs to a leg");
        let transport = &mut leg.transports[usize::from(used.transport)];
        match transport.latch.hear(now, run.source) {
            Heard::Other => self.judge_source(now, used, run, &header, out)?,
            Heard::Locked if !leg.silent => leg.heard = now,
            Heard::Locked => self.leg_heard(now, used, run.source, out),
            Heard::Revived => {
                self.aim(used.leg, used.transport);
                self.leg_heard(now, used, run.source, out);
            }
        }
        let (id, clock_hz) = self.find_stream(used, &header)?;
        let stream = self.streams[id.0 as usize].as_mut().expect("a transport lists existing streams");
        let sequence = match stream.arrive(now, &header, clock_hz) {
            Arrival::Packet(sequence) => sequence,
            Arrival::Started(sequence) => {
                (stream.silent, stream.ended) = (false, false);
                out.events.push(Event::StreamStarted { stream: id, ssrc: header.ssrc });
                self.transport_mut(used.leg, used.transport).expect("as above").latch.prove();
                self.stream_started(now, id, out);
                sequence
            }
            Arrival::Probation => return Err(DropReason::Probation),
            Arrival::Jump => return Err(DropReason::SequenceJump),
        };
        let stream = self.streams[id.0 as usize].as_mut().expect("it was there a moment ago");
        if (stream.silent || stream.ended) && !stream.is_straggler(sequence) {
            (stream.silent, stream.ended) = (false, false);
            out.events.push(Event::StreamResumed { stream: id });
        }
        stream.packets += 1;
        stream.bytes += datagram.len() as u64;
        stream.last_at = Some(now);
        let payload = Payload {
            offset: at.offset + FIXED_HEADER_BYTES as u32,
            len: at.len - FIXED_HEADER_BYTES as u32,
            ..at
        };
        let begins_key_frame = stream.watch.is_none() || stream.begins_key_frame(now, datagram);
        let generation = stream.generation;
        let octets = header.payload_bytes(datagram.len()) as u32;
        let packet =
            Sorted { payload, header, sequence, generation, clock_hz, begins_key_frame, octets, next: NONE };
        self.scratch.enlist(id, stream, packet);
        Ok(())
    }

    /// A packet from a source that is not locked.
    #[cold]
    fn judge_source(
        &mut self,
        now: Time,
        used: PortUse,
        run: &Inbound<'_>,
        header: &FixedHeader,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let transport =
            self.transport(used.leg, used.transport).expect("a port in use belongs to a transport");
        // What the leg would not publish proves nothing; a leg that publishes nothing may send anything.
        let mut first_of_all = false;
        if !transport.streams.is_empty() {
            let (id, _) = self.find_stream(used, header)?;
            let stream = self.streams[id.0 as usize].as_ref().expect("a transport lists existing streams");
            first_of_all = transport.latch.source().is_none() && !stream.started();
        }
        let continues = transport.streams.iter().any(|stream| {
            let stream =
                self.streams[stream.0 as usize].as_ref().expect("a transport lists existing streams");
            let ahead = header.sequence.distance(stream.reception.highest().wire());
            stream.started()
                && stream.ssrc == Some(header.ssrc)
                && (1..=ROAMING_DISTANCE_MAX).contains(&ahead)
        });
        let publishes = !transport.streams.is_empty();
        let claim = Claim { ssrc: header.ssrc, sequence: header.sequence, continues, publishes };
        let relatch_after = self.config.relatch_after;
        let transport = self.transport_mut(used.leg, used.transport).expect("it was there a moment ago");
        match transport.latch.judge(now, run.source, claim, relatch_after) {
            Judgement::Accept => Ok(()),
            Judgement::Latched => {
                self.latched(now, used, run.source, out);
                Ok(())
            }
            // It may hold what decoders need, and cannot redirect anything: the lock waits for the next.
            Judgement::Probation if first_of_all => Ok(()),
            Judgement::Probation => Err(DropReason::Probation),
            Judgement::OffPath => Err(DropReason::OffPath),
        }
    }

    /// A source was locked: the leg lives, and what waited for an address can go.
    pub(crate) fn latched(
        &mut self,
        now: Time,
        used: PortUse,
        source: std::net::SocketAddr,
        out: &mut Outbox,
    ) {
        self.settle(used.leg, used.transport);
        self.leg_heard(now, used, source, out);
        let transport =
            self.transport(used.leg, used.transport).expect("a port in use belongs to a transport");
        for index in 0..transport.streams.len() {
            let stream = self.transport(used.leg, used.transport).expect("as above").streams[index];
            self.send_waiting_key_frame(now, stream, out);
        }
    }

    /// The leg came to life, or back to it.
    pub(crate) fn leg_heard(
        &mut self,
        now: Time,
        used: PortUse,
        source: std::net::SocketAddr,
        out: &mut Outbox,
    ) {
        let leg = self.legs[used.leg.0 as usize].as_mut().expect("a port in use belongs to a leg");
        (leg.silent, leg.heard) = (false, now);
        out.events.push(Event::LegAlive { leg: used.leg, transport: used.transport, source });
    }

    /// As [`Relay::find_stream`], by SSRC alone and beginning at the stream that is likely to come next.
    fn find_in_turn(&self, transport: &Transport, header: &FixedHeader) -> Option<(StreamId, u32)> {
        let clock_of = |id: StreamId| {
            let stream = self.streams[id.0 as usize].as_ref().expect("a transport lists existing streams");
            stream.clock_hz(header.payload_type).filter(|_| stream.ssrc == Some(header.ssrc))
        };
        let streams = &transport.streams;
        let first = transport.turn.get().checked_rem(streams.len())?;
        let (before, after) = streams.split_at(first);
        let in_turn = after.iter().chain(before).enumerate();
        let (passed, (id, clock_hz)) = in_turn
            .map(|(passed, id)| (passed, *id))
            .find_map(|(passed, id)| Some((passed, (id, clock_of(id)?))))?;
        transport.turn.set((first + passed + 1) % streams.len());
        Some((id, clock_hz))
    }

    /// The stream that a packet belongs to, and the clock of its payload type.
    fn find_stream(&self, used: PortUse, header: &FixedHeader) -> Result<(StreamId, u32), DropReason> {
        let transport =
            self.transport(used.leg, used.transport).expect("a port in use belongs to a transport");
        if transport.streams.len() >= STREAMS_MANY
            && let Some(found) = self.find_in_turn(transport, header)
        {
            return Ok(found);
        }
        let mut by_type = None;
        let mut other_ssrc = false;
        for id in &transport.streams {
            let stream = self.streams[id.0 as usize].as_ref().expect("a transport lists existing streams");
            let clock_hz = stream.clock_hz(header.payload_type);
            match clock_hz {
                Some(clock_hz) if stream.ssrc == Some(header.ssrc) => return Ok((*id, clock_hz)),
                Some(clock_hz) if stream.spec.ssrc.is_none() => by_type = by_type.or(Some((*id, clock_hz))),
                Some(_) => other_ssrc = true,
                None => {}
            }
        }
        // What we sent under that SSRC comes back (RFC 3550 section 8.2): forwarded, it would never end.
        if by_type.is_some()
            && self.leg(used.leg).is_some_and(|leg| leg.route_by_ssrc.contains_key(&header.ssrc))
        {
            return Err(DropReason::Looped);
        }
        by_type.ok_or(if other_ssrc { DropReason::UnknownSsrc } else { DropReason::UnknownPayloadType })
    }
}
