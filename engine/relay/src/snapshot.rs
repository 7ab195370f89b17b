//! Legs, streams and routes written down, to go on elsewhere without a receiver noticing.
//!
//! Two uses: a new process takes over all of a worker ([`Relay::snapshot`], [`Relay::restore`]), and a set of
//! legs that only route to each other moves to another worker ([`Relay::take_part`], [`Part::renumbered`],
//! [`Relay::add_part`]).
//!
//! The form is made for serde with field names (such as MessagePack with named fields). Fields that are not
//! known are refused by name, since what they mean would be lost silently. Moments are those of the clock that
//! both relays run on: whoever hands a snapshot to another clock must refuse to.
//!
//! To change the form: raise the version that the node negotiates (`motet-node`, `handover`), add fields as
//! `Option` with `#[serde(default, skip_serializing_if = "Option::is_none")]`, and leave them out when writing
//! for the version before ([`RelaySnapshot::for_version`]). The compiler finds a field of the relay that is not written down: all are taken
//! apart by name.

mod import;
mod part;

use crate::drop::DropReason;
use crate::leg::{Leg, Transport};
use crate::relay::Relay;
use crate::{Kind, Latch, LegId, PayloadType, PortId, RouteId, StreamId};
use motet_rtp::{Ntp, ReceptionSnapshot, SeqNo, Time, WireSeq, WireTimestamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

pub use import::ImportError;
pub use part::{Numbers, PartError};

macro_rules! form {
    ($($(#[$doc:meta])* struct $name:ident { $($(#[$about:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $name {
                $($(#[$about])* pub $field: $kind,)*
            }
        )*
    };
}

form! {
    /// All of a relay.
    struct RelaySnapshot {
        /// Wall clock at [`Time::ZERO`].
        ntp_origin: Ntp,
        /// Datagrams given to the relay.
        packets_in: u64,
        /// RTP packets made.
        packets_out: u64,
        /// RTCP datagrams made.
        rtcp_out: u64,
        /// Packets dropped, by the reason's name. A reason that the reader does not have is left out.
        drops: Vec<(String, u64)>,
        /// What is held.
        part: Part,
    }

    /// Legs, what they publish, and the routes to them.
    struct Part {
        /// Legs by number.
        legs: Vec<LegSnapshot>,
        /// Streams by number.
        streams: Vec<StreamSnapshot>,
        /// Routes by number.
        routes: Vec<RouteSnapshot>,
    }

    /// A leg.
    struct LegSnapshot {
        /// Its number.
        id: LegId,
        /// Name towards the others.
        cname: String,
        /// SSRC of our own reports.
        report_ssrc: u32,
        /// Its ports.
        transports: Vec<TransportSnapshot>,
        /// When anything valid came last.
        heard: Time,
        /// It was reported silent.
        silent: bool,
        /// When its timer is due.
        tick_at: Time,
        /// Our clock less the publisher's, in NTP units.
        clock_offset: Option<i64>,
        /// Number of the last FIR.
        fir_command: u8,
    }

    /// One RTP port of a leg.
    struct TransportSnapshot {
        /// For RTP.
        rtp: PortId,
        /// For RTCP; none: multiplexed.
        rtcp: Option<PortId>,
        /// Whose packets are taken.
        latch: LatchSnapshot,
        /// Intervals until reports are due.
        report_wait: u32,
        /// What it was after the last ones; 0: there were none.
        report_waited: u32,
        /// Streams published here, in the order in which they are looked through.
        streams: Vec<StreamId>,
        /// Routes that end here, in the order of reports.
        routes: Vec<RouteId>,
    }

    /// Whose packets a transport takes.
    struct LatchSnapshot {
        /// The policy.
        policy: Latch,
        /// Signalled address.
        remote: Option<Address>,
        /// Signalled address for RTCP.
        remote_rtcp: Option<Address>,
        /// The locked source.
        locked: Option<LockedSnapshot>,
        /// The signalled address has spoken.
        remote_heard: bool,
        /// Where RTCP came from.
        rtcp_source: Option<Address>,
        /// Sources on probation.
        candidates: Vec<Option<CandidateSnapshot>>,
        /// Picks which of them is replaced next.
        dice: u32,
    }

    /// A locked source.
    struct LockedSnapshot {
        /// Where packets come from.
        source: Address,
        /// When the last one came.
        heard: Time,
        /// When RTCP came from its host at a port for RTCP alone.
        heard_beside: Time,
        /// RTP packets that were taken, as far as it matters.
        taken: u8,
        /// Nothing shows that it is the right one.
        guess: bool,
        /// Silent for so long that nothing is sent to it.
        lapsed: bool,
    }

    /// A source on probation.
    struct CandidateSnapshot {
        /// Where packets come from.
        source: Address,
        /// Under which SSRC.
        ssrc: u32,
        /// The number that continues it; none: RTCP.
        next: Option<WireSeq>,
        /// Packets so far.
        count: u8,
    }

    /// A stream.
    struct StreamSnapshot {
        /// Its number.
        id: StreamId,
        /// The publishing leg.
        leg: LegId,
        /// Index of its transport.
        transport: u8,
        /// What it carries.
        kind: Kind,
        /// SSRC that it was told to have.
        ssrc_fixed: Option<u32>,
        /// What it may carry.
        payload_types: Vec<PayloadType>,
        /// Routes that carry it, in their order.
        routes: Vec<RouteId>,
        /// SSRC that packets are taken of.
        ssrc: Option<u32>,
        /// Counts restarts.
        generation: u32,
        /// Statistics.
        reception: ReceptionSnapshot,
        /// Highest extended number.
        highest: Option<SeqNo>,
        /// Packets taken.
        packets: u64,
        /// Bytes taken.
        bytes: u64,
        /// Of the packet with the highest number.
        last_timestamp: WireTimestamp,
        /// When the last packet came.
        last_at: Option<Time>,
        /// It was reported silent.
        silent: bool,
        /// The publisher said BYE.
        ended: bool,
        /// The highest number when it did.
        ended_at: Option<SeqNo>,
        /// The publisher's last report.
        report: Option<ReportSnapshot>,
        /// When a key frame was asked for last.
        key_frame_asked: Option<Time>,
        /// A request waits: false for PLI, true for FIR.
        key_frame_waiting: Option<bool>,
        /// When it may go.
        key_frame_at: Option<Time>,
        /// Lost before the last restart.
        lost_before: i64,
        /// SSRC and number of a source that wants to take over.
        successor: Option<(u32, WireSeq)>,
        /// Packets of another clock: the number that continues them.
        aside_next: WireSeq,
        /// Their timestamp.
        aside_timestamp: WireTimestamp,
        /// How often it changed.
        aside_steps: u8,
        /// What routes follow that have no timeline of their own.
        shared: Option<SharedSnapshot>,
    }

    /// A timeline that routes of a stream share.
    struct SharedSnapshot {
        /// SSRC towards the receivers.
        ssrc: u32,
        /// Where they are.
        timeline: TimelineSnapshot,
    }

    /// A publisher's sender report.
    struct ReportSnapshot {
        /// Its wall clock.
        ntp: Ntp,
        /// Its RTP time then.
        timestamp: WireTimestamp,
        /// When it came.
        at: Time,
        /// Our clock less the publisher's, in NTP units.
        clock_offset: i64,
    }

    /// A route.
    struct RouteSnapshot {
        /// Its number.
        id: RouteId,
        /// Stream that it carries; none: its stream is gone.
        stream: Option<StreamId>,
        /// Receiving leg.
        leg: LegId,
        /// Index of its transport.
        transport: u8,
        /// Packets are forwarded.
        active: bool,
        /// SSRC towards the receiver.
        ssrc: u32,
        /// Numbers, timestamps and payload types; none: it follows those that the stream's routes share.
        timeline: Option<TimelineSnapshot>,
        /// Packets sent.
        packets: u64,
        /// Bytes sent, with headers.
        bytes: u64,
        /// Bytes of payload sent.
        octets: u64,
        /// Packets at the last sender report.
        packets_reported: u64,
        /// Fraction lost, as reported.
        heard_fraction_lost: Option<u8>,
        /// Packets lost, as reported.
        heard_lost: i32,
        /// Jitter, as reported.
        heard_jitter_ticks: u32,
        /// Round trip, from reports.
        heard_round_trip: Option<Duration>,
    }

    /// Offsets from a source to what receivers see.
    struct TimelineSnapshot {
        /// Payload types from publisher to receiver.
        payload_map: Vec<(u8, u8)>,
        /// Generation of the stream that the offsets are for; 0: none yet.
        generation: u32,
        /// Number sent less the source's extended number, modulo 2^64.
        sequence_offset: u64,
        /// Timestamp sent less the source's, modulo 2^32.
        timestamp_offset: u32,
        /// First number of the source that belongs to the generation.
        floor: SeqNo,
        /// Highest number sent.
        highest: SeqNo,
        /// Its timestamp.
        last_timestamp: WireTimestamp,
        /// When the last packet went.
        last_sent: Time,
        /// Something was sent.
        begun: bool,
        /// The offsets were given, and hold for the first source. Since version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shifted: Option<bool>,
    }

    /// A socket address with all that IPv6 has; serde's own form leaves out flow and scope.
    struct Address {
        /// Address.
        ip: IpAddr,
        /// Port.
        port: u16,
        /// Flow label.
        flow: u32,
        /// Zone of a link-local address.
        scope: u32,
    }
}

impl Relay {
    /// Writes everything down. Call it between batches, with the outbox sent.
    ///
    /// Panics when legs share a port: what they share is not written down.
    pub fn snapshot(&self) -> RelaySnapshot {
        let all: Vec<LegId> = (0..self.legs.len() as u32).map(LegId).collect();
        let held: Vec<LegId> = all.into_iter().filter(|id| self.leg(*id).is_some()).collect();
        RelaySnapshot {
            ntp_origin: self.config.ntp_origin,
            packets_in: self.counts.packets_in,
            packets_out: self.counts.packets_out,
            rtcp_out: self.counts.rtcp_out,
            drops: self.drops.iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            part: self.part(&held).expect("a relay's routes end at its legs, and none shares a port"),
        }
    }
}

impl RelaySnapshot {
    /// As a reader of this version of the form knows it, 1 or higher. What it does not know is left out: before
    /// version 2, a route that has sent nothing begins with numbers of its own.
    pub fn for_version(mut self, version: u32) -> RelaySnapshot {
        if version < 2 {
            let shared = self.part.streams.iter_mut().filter_map(|stream| stream.shared.as_mut());
            let own = self.part.routes.iter_mut().filter_map(|route| route.timeline.as_mut());
            shared.map(|shared| &mut shared.timeline).chain(own).for_each(|timeline| timeline.shifted = None);
        }
        self
    }
}

impl Leg {
    fn snapshot(&self, id: LegId) -> LegSnapshot {
        // What `route_by_ssrc` holds is told by the routes.
        let Leg {
            cname,
            report_ssrc,
            transports,
            route_by_ssrc: _,
            heard,
            silent,
            tick_at,
            clock_offset,
            fir_command,
            // Legs at shared ports are not written down.
            addresses: _,
        } = self;
        LegSnapshot {
            id,
            cname: cname.clone(),
            report_ssrc: *report_ssrc,
            transports: transports.iter().map(Transport::snapshot).collect(),
            heard: *heard,
            silent: *silent,
            tick_at: *tick_at,
            clock_offset: *clock_offset,
            fir_command: *fir_command,
        }
    }
}

impl Transport {
    fn snapshot(&self) -> TransportSnapshot {
        let Transport { rtp, rtcp, latch, sink: _, report_wait, report_waited, streams, turn: _, routes } =
            self;
        TransportSnapshot {
            rtp: *rtp,
            rtcp: *rtcp,
            latch: latch.snapshot(),
            report_wait: *report_wait,
            report_waited: *report_waited,
            streams: streams.clone(),
            routes: routes.clone(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let (flow, scope) = match address {
            SocketAddr::V4(_) => (0, 0),
            SocketAddr::V6(six) => (six.flowinfo(), six.scope_id()),
        };
        Address { ip: address.ip(), port: address.port(), flow, scope }
    }
}

impl From<&Address> for SocketAddr {
    fn from(address: &Address) -> SocketAddr {
        match address.ip {
            IpAddr::V4(four) => SocketAddr::new(four.into(), address.port),
            IpAddr::V6(six) => SocketAddrV6::new(six, address.port, address.flow, address.scope).into(),
        }
    }
}

/// The reason with this name.
fn reason(name: &str) -> Option<DropReason> {
    DropReason::ALL.iter().copied().find(|reason| reason.name() == name)
}
