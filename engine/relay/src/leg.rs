//! A leg: one participant's connection.

use crate::latch::Latching;
use crate::limits::CLOCK_STEP_MIN;
use crate::sink::{SinkId, Sinks};
use crate::{LegSpec, PortId, RouteId, StreamId, TransportSpec};
use motet_rtp::{Ntp, Time};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;

/// A leg and its transports.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) cname: String,
    pub(crate) report_ssrc: u32,
    pub(crate) transports: Vec<Transport>,
    /// Routes to this leg by their SSRC.
    pub(crate) route_by_ssrc: HashMap<u32, RouteId>,
    /// When anything valid came last; at first, when the leg was made.
    pub(crate) heard: Time,
    pub(crate) silent: bool,
    /// When its timer is due.
    pub(crate) tick_at: Time,
    /// Our clock less the publisher's, in NTP units; one for all its streams, so that they stay in step. A
    /// stream whose reports tell of another clock goes by its own ([`same_clock`]).
    pub(crate) clock_offset: Option<i64>,
    /// Number of the last FIR sent to this leg (RFC 5104 section 4.3.1.1).
    pub(crate) fir_command: u8,
    /// What is the leg's at shared ports, by their place in the relay's table.
    pub(crate) addresses: Vec<(u32, SocketAddr)>,
}

/// One RTP port of a leg and its RTCP port.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) rtp: PortId,
    pub(crate) rtcp: Option<PortId>,
    pub(crate) latch: Latching,
    /// Its place in the table of sinks, which knows where the latch sends.
    pub(crate) sink: SinkId,
    /// Intervals until reports are due.
    pub(crate) report_wait: u32,
    /// What it was after the last ones.
    pub(crate) report_waited: u32,
    /// What the leg publishes here.
    pub(crate) streams: Vec<StreamId>,
    /// Place of the stream that is likely to come next, where there are many: a mixer sends them in turn.
    pub(crate) turn: Cell<usize>,
    /// What the leg receives here.
    pub(crate) routes: Vec<RouteId>,
}

impl Leg {
    pub(crate) fn new(spec: LegSpec, now: Time, sinks: &mut Sinks) -> Leg {
        let transports = spec.transports.iter().map(|transport| {
            let TransportSpec { rtp, rtcp, remote, remote_rtcp, latch } = *transport;
            let latch = Latching::new(latch, remote, remote_rtcp, rtcp.is_none());
            let sink = sinks.add(rtp, latch.destination());
            let (streams, routes) = (Vec::new(), Vec::new());
            let (report_wait, report_waited, turn) = (0, 0, Cell::new(0));
            Transport { rtp, rtcp, latch, sink, report_wait, report_waited, streams, turn, routes }
        });
        Leg {
            transports: transports.collect(),
            cname: spec.cname,
            report_ssrc: spec.report_ssrc,
            route_by_ssrc: HashMap::new(),
            heard: now,
            silent: false,
            tick_at: now,
            clock_offset: None,
            fir_command: 0,
            addresses: Vec::new(),
        }
    }
}

/// Our clock less a publisher's, in NTP units, with another report of it. The one that was fastest on its way
/// tells best; a slow drift back follows a clock that drifts.
pub(crate) fn learn_offset(known: Option<i64>, ours: Ntp, publishers: Ntp) -> i64 {
    let offset = ours.0.wrapping_sub(publishers.0) as i64;
    match known {
        Some(known) if same_clock(known, offset) && offset > known => known + (offset - known) / 16,
        _ => offset,
    }
}

/// False for offsets so far apart that they are of two clocks, or of one that was set anew.
pub(crate) fn same_clock(one: i64, other: i64) -> bool {
    let step = CLOCK_STEP_MIN.as_secs() << 32;
    one.wrapping_sub(other).unsigned_abs() < step
}

impl Transport {
    /// Where RTCP is sent from.
    pub(crate) fn rtcp_port(&self) -> PortId {
        self.rtcp.unwrap_or(self.rtp)
    }
}
