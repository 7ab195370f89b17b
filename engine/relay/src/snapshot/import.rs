//! Taking up what was written down: everything is checked before anything is put in place.

use super::{LegSnapshot, Part, RelaySnapshot, RouteSnapshot, StreamSnapshot, reason};
use crate::change::{check_payload_types, free, put};
use crate::latch::Latching;
use crate::leg::{Leg, Transport};
use crate::limits::{LEGS_MAX, ROUTES_MAX, STREAMS_MAX, TRANSPORTS_PER_LEG_MAX};
use crate::port::{Port, PortUse};
use crate::relay::{Relay, RelayConfig, Timer};
use crate::route::Route;
use crate::sink::SinkId;
use crate::stream::Stream;
use crate::{LegId, PortId, RouteId, StreamId};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// Why a snapshot cannot be taken up. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A leg, or one of its transports.
    #[error("{0:?}: {1}")]
    Leg(LegId, &'static str),
    /// A stream.
    #[error("{0:?}: {1}")]
    Stream(StreamId, &'static str),
    /// A route.
    #[error("{0:?}: {1}")]
    Route(RouteId, &'static str),
}

impl Relay {
    /// A relay that goes on where another one was written down. The settings are those of `config`, except
    /// for `ntp_origin`, which is the snapshot's.
    pub fn restore(config: RelayConfig, from: &RelaySnapshot) -> Result<Relay, ImportError> {
        let mut relay = Relay::new(RelayConfig { ntp_origin: from.ntp_origin, ..config });
        relay.add_part(&from.part)?;
        relay.counts.packets_in = from.packets_in;
        relay.counts.packets_out = from.packets_out;
        relay.counts.rtcp_out = from.rtcp_out;
        for (name, count) in &from.drops {
            if let Some(reason) = reason(name) {
                relay.drops.add(reason, *count);
            }
        }
        Ok(relay)
    }

    /// Takes up legs with what they publish and the routes between them, under their numbers. Call it
    /// between batches.
    pub fn add_part(&mut self, part: &Part) -> Result<(), ImportError> {
        let ready = Import::new(self, part).check()?;
        for (id, mut leg) in ready.legs {
            for transport in &mut leg.transports {
                transport.sink = self.sinks.add(transport.rtp, transport.latch.destination());
            }
            for (index, transport) in leg.transports.iter().enumerate() {
                let used = |rtcp_only| Port::Own(PortUse { leg: id, transport: index as u8, rtcp_only });
                self.set_port(transport.rtp, used(false));
                transport.rtcp.into_iter().for_each(|rtcp| self.set_port(rtcp, used(true)));
            }
            self.timers.insert((leg.tick_at, Timer::Leg(id)));
            put(&mut self.legs, id.0, leg);
            self.counts.legs += 1;
        }
        for (id, stream) in ready.streams {
            if let Some(due) = stream.key_frames.timer {
                self.timers.insert((due, Timer::KeyFrame(id)));
            }
            put(&mut self.streams, id.0, stream);
            self.counts.streams += 1;
        }
        for (id, mut route) in ready.routes {
            let leg = self.legs[route.leg.0 as usize].as_mut().expect("checked: its leg is in the part");
            route.sink = leg.transports[usize::from(route.transport)].sink;
            leg.route_by_ssrc.insert(route.ssrc, id);
            put(&mut self.routes, id.0, route);
            self.counts.routes += 1;
        }
        Ok(())
    }
}

/// A part on its way in.
struct Import<'a> {
    relay: &'a Relay,
    part: &'a Part,
    streams: HashMap<StreamId, &'a StreamSnapshot>,
    routes: HashMap<RouteId, &'a RouteSnapshot>,
    /// What transports and streams list, to find what is listed twice or nowhere.
    streams_listed: HashSet<StreamId>,
    routes_listed: HashSet<RouteId>,
    routes_carried: HashSet<RouteId>,
    ports_taken: HashSet<PortId>,
}

/// What is to be put in place.
#[derive(Default)]
struct Ready {
    legs: Vec<(LegId, Leg)>,
    streams: Vec<(StreamId, Stream)>,
    routes: Vec<(RouteId, Route)>,
}

impl<'a> Import<'a> {
    fn new(relay: &'a Relay, part: &'a Part) -> Import<'a> {
        Import {
            relay,
            part,
            streams: part.streams.iter().map(|stream| (stream.id, stream)).collect(),
            routes: part.routes.iter().map(|route| (route.id, route)).collect(),
            streams_listed: HashSet::new(),
            routes_listed: HashSet::new(),
            routes_carried: HashSet::new(),
            ports_taken: HashSet::new(),
        }
    }

    fn check(mut self) -> Result<Ready, ImportError> {
        let mut ready = Ready::default();
        let mut legs = HashSet::new();
        for leg in &self.part.legs {
            let wrong = |why| ImportError::Leg(leg.id, why);
            free(&self.relay.legs, leg.id.0, LEGS_MAX, "leg")
                .map_err(|_| wrong("its number is in use or too high"))?;
            if !legs.insert(leg.id) {
                return Err(wrong("is there twice"));
            }
            ready.legs.push((leg.id, self.leg(leg)?));
        }
        for stream in &self.part.streams {
            ready.streams.push((stream.id, self.stream(stream)?));
        }
        let mut ssrcs = HashSet::new();
        for route in &self.part.routes {
            if !ssrcs.insert((route.leg, route.ssrc)) {
                return Err(ImportError::Route(route.id, "its SSRC is used by another route of the leg"));
            }
            ready.routes.push((route.id, self.route(route)?));
        }
        // A number that is there twice is listed once, and so is missed here.
        let (streams, routes) = (ready.streams.len(), ready.routes.len());
        if streams != self.streams_listed.len() || routes != self.routes_listed.len() {
            let leg = self.part.legs.first().map_or(LegId(0), |leg| leg.id);
            return Err(ImportError::Leg(leg, "streams or routes of the part are there twice"));
        }
        Ok(ready)
    }

    fn leg(&mut self, from: &LegSnapshot) -> Result<Leg, ImportError> {
        let wrong = |why| ImportError::Leg(from.id, why);
        if from.transports.is_empty() || from.transports.len() > TRANSPORTS_PER_LEG_MAX {
            return Err(wrong("has no transport or too many"));
        }
        if from.cname.is_empty() || from.cname.len() > 255 {
            return Err(wrong("its cname has 1 to 255 bytes"));
        }
        let mut transports = Vec::new();
        for (place, index) in from.transports.iter().zip(0u8..) {
            for port in [Some(place.rtp), place.rtcp].into_iter().flatten() {
                let free = self.relay.check_port_is_free(port).is_ok();
                if !free || !self.ports_taken.insert(port) {
                    return Err(wrong("its port is in use or its number too high"));
                }
            }
            for id in &place.streams {
                let here = |stream: &&StreamSnapshot| (stream.leg, stream.transport) == (from.id, index);
                if self.streams.get(id).is_none_or(|s| !here(s)) || !self.streams_listed.insert(*id) {
                    return Err(ImportError::Stream(*id, "is listed where it is not, or twice"));
                }
            }
            for id in &place.routes {
                let here = |route: &&RouteSnapshot| (route.leg, route.transport) == (from.id, index);
                if self.routes.get(id).is_none_or(|r| !here(r)) || !self.routes_listed.insert(*id) {
                    return Err(ImportError::Route(*id, "is listed where it is not, or twice"));
                }
            }
            transports.push(Transport {
                rtp: place.rtp,
                rtcp: place.rtcp,
                latch: Latching::restore(&place.latch, place.rtcp.is_none())
                    .ok_or_else(|| wrong("its latch makes no sense"))?,
                sink: SinkId::UNSET,
                report_wait: place.report_wait,
                report_waited: place.report_waited,
                streams: place.streams.clone(),
                turn: Cell::new(0),
                routes: place.routes.clone(),
            });
        }
        Ok(Leg {
            cname: from.cname.clone(),
            report_ssrc: from.report_ssrc,
            transports,
            route_by_ssrc: HashMap::new(),
            heard: from.heard,
            silent: from.silent,
            tick_at: from.tick_at,
            clock_offset: from.clock_offset,
            fir_command: from.fir_command,
            addresses: Vec::new(),
        })
    }

    fn stream(&mut self, from: &StreamSnapshot) -> Result<Stream, ImportError> {
        let wrong = |why| ImportError::Stream(from.id, why);
        free(&self.relay.streams, from.id.0, STREAMS_MAX, "stream")
            .map_err(|_| wrong("its number is in use or too high"))?;
        if !self.streams_listed.contains(&from.id) {
            return Err(wrong("no leg of the part publishes it"));
        }
        check_payload_types(&from.payload_types).map_err(|_| wrong("its payload types make no sense"))?;
        let mut followers = 0;
        for id in &from.routes {
            let carries = self.routes.get(id).is_some_and(|route| route.stream == Some(from.id));
            if !carries || !self.routes_carried.insert(*id) {
                return Err(ImportError::Route(
                    *id,
                    "is listed by a stream that it does not carry, or twice",
                ));
            }
            let route = self.routes[id];
            if route.timeline.is_none() {
                followers += 1;
                if from.shared.as_ref().is_none_or(|shared| shared.ssrc != route.ssrc) {
                    return Err(ImportError::Route(*id, "follows a timeline that its stream does not share"));
                }
            }
        }
        Stream::restore(from, followers).ok_or_else(|| wrong("its statistics make no sense"))
    }

    fn route(&self, from: &RouteSnapshot) -> Result<Route, ImportError> {
        let wrong = |why| ImportError::Route(from.id, why);
        free(&self.relay.routes, from.id.0, ROUTES_MAX, "route")
            .map_err(|_| wrong("its number is in use or too high"))?;
        if !self.routes_listed.contains(&from.id) {
            return Err(wrong("no leg of the part receives it"));
        }
        if from.stream.is_some() != self.routes_carried.contains(&from.id) {
            return Err(wrong("its stream does not list it"));
        }
        if from.stream.is_none() && from.timeline.is_none() {
            return Err(wrong("has neither a stream nor a timeline"));
        }
        Route::restore(from).ok_or_else(|| wrong("its payload types cannot be sent"))
    }
}
