//! Commands: checked first, then applied. A refused command has changed nothing.

use crate::leg::Leg;
use crate::limits::{
    CLOCK_HZ_END, KEY_FRAME_WAIT_MAX, LEGS_MAX, PAYLOAD_TYPES_MAX, ROUTES_MAX, STREAMS_MAX,
    TRANSPORTS_PER_LEG_MAX,
};
use crate::relay::{Relay, Timer};
use crate::route::{NO_STREAM, Route};
use crate::stream::{Stream, Watch};
use crate::{
    Command, CommandError, Latch, LegId, LegSpec, Outbox, PayloadType, RouteId, RouteSpec, StreamId,
    StreamSpec,
};
use motet_rtp::Time;
use motet_rtp::payload::PayloadFormat;
use std::collections::BTreeSet;
use std::net::SocketAddr;

type Changed = Result<(), CommandError>;

impl Relay {
    /// Applies a command, between batches. What it makes (BYE, key-frame requests) is appended to `out`.
    pub fn handle_command(&mut self, now: Time, command: Command, out: &mut Outbox) -> Changed {
        match command {
            Command::SharePort(id) => self.share_port(id),
            Command::AddLeg(id, spec) => self.add_leg(now, id, spec),
            Command::RemoveLeg(id) => self.remove_leg(id, out),
            Command::SetRemote { leg, transport, remote, remote_rtcp, latch, relatch } => {
                check_remote(latch, remote)?;
                self.leg(leg).ok_or(CommandError::UnknownLeg(leg))?;
                let unknown = CommandError::UnknownTransport(leg, transport);
                let port = self.transport(leg, transport).ok_or(unknown)?.rtp;
                self.check_shared_remote(leg, port, remote, remote_rtcp)?;
                self.check_can_be_found(leg, transport, remote)?;
                let place = self.transport_mut(leg, transport).expect("it was there a moment ago");
                place.latch.set(latch, remote, remote_rtcp, relatch);
                self.settle(leg, transport);
                Ok(())
            }
            Command::AddStream(id, spec) => self.add_stream(id, spec),
            Command::RemoveStream(id) => self.remove_stream(id),
            Command::AddRoute(id, spec) => self.add_route(now, id, spec, out),
            Command::RemoveRoute(id) => self.remove_route(id, out),
            Command::SwitchRoute { route, stream, payload_map } => {
                self.switch_route(now, route, stream, &payload_map, out)
            }
            Command::AwaitKeyFrame { route, formats } => self.await_key_frame(now, route, formats),
            Command::DetachRoute(id) => self.detach_route(id),
            Command::SetRouteActive(id, active) => {
                let route = slot_mut(&mut self.routes, id.0).ok_or(CommandError::UnknownRoute(id))?;
                let (stream, changes) = (route.stream, route.active != active);
                // What a route that pauses misses would look like a loss; one that never sent misses nothing.
                if changes && route.packets > 0 {
                    self.leave_shared(id);
                }
                let route = slot_mut(&mut self.routes, id.0).expect("checked above");
                route.active = active;
                if changes {
                    route.pause();
                }
                let (leg, transport, sent) = (route.leg, route.transport, route.packets > 0);
                // Receivers behind a trunk that has carried packets ask for themselves.
                let trunk = self.transport(leg, transport).is_some_and(|place| place.latch.is_trunk());
                if active && !(trunk && sent) {
                    self.want_first_key_frame(now, stream, out);
                }
                Ok(())
            }
            Command::RequestKeyFrame(id) => {
                slot(&self.streams, id.0).ok_or(CommandError::UnknownStream(id))?;
                self.want_key_frame(now, id, crate::feedback::Ask::Pli, out);
                Ok(())
            }
        }
    }

    fn add_leg(&mut self, now: Time, id: LegId, spec: LegSpec) -> Changed {
        free(&self.legs, id.0, LEGS_MAX, "leg")?;
        if spec.transports.is_empty() || spec.transports.len() > TRANSPORTS_PER_LEG_MAX {
            return Err(CommandError::OutOfRange { field: "transports", why: "a leg has 1 to 64" });
        }
        if spec.cname.is_empty() || spec.cname.len() > 255 {
            return Err(CommandError::OutOfRange { field: "cname", why: "has 1 to 255 bytes" });
        }
        let mut taken = Vec::new();
        for transport in &spec.transports {
            check_remote(transport.latch, transport.remote)?;
            self.check_ports(id, transport, &mut taken)?;
        }
        self.take_ports(id, &spec);
        let transports = spec.transports.len() as u8;
        let leg = Leg::new(spec, now, &mut self.sinks);
        put(&mut self.legs, id.0, leg);
        (0..transports).for_each(|transport| self.settle(id, transport));
        self.counts.legs += 1;
        // Spread over the interval by number, so that legs made together do not all report together.
        let phase = id.0.wrapping_mul(0x9e37_79b9) >> 26;
        let tick_at = now + self.config.report_interval * (phase + 1) / 64;
        slot_mut(&mut self.legs, id.0).expect("put there above").tick_at = tick_at;
        self.timers.insert((tick_at, Timer::Leg(id)));
        Ok(())
    }

    fn remove_leg(&mut self, id: LegId, out: &mut Outbox) -> Changed {
        let leg = self.leg(id).ok_or(CommandError::UnknownLeg(id))?;
        let streams: Vec<StreamId> = leg.transports.iter().flat_map(|t| t.streams.iter().copied()).collect();
        let mut routes: Vec<RouteId> = leg.transports.iter().flat_map(|t| t.routes.iter().copied()).collect();
        for stream in &streams {
            let stream = slot(&self.streams, stream.0).expect("a transport lists existing streams");
            routes.extend(stream.routes.iter().filter(|route| {
                // A leg may receive itself.
                slot(&self.routes, route.0).is_some_and(|route| route.leg != id)
            }));
        }
        self.say_bye(&routes, out);
        routes.into_iter().for_each(|route| self.drop_route(route));
        for stream in streams {
            self.forget_stream(stream);
        }
        self.forget_leg(id);
        Ok(())
    }

    /// Removes a leg that publishes and receives nothing any more, and its timer.
    pub(crate) fn forget_leg(&mut self, id: LegId) {
        self.give_back_ports(id);
        let leg = self.legs[id.0 as usize].take().expect("the caller looked it up");
        leg.transports.iter().for_each(|transport| self.sinks.remove(transport.sink));
        self.timers.remove(&(leg.tick_at, Timer::Leg(id)));
        self.counts.legs -= 1;
    }

    fn add_stream(&mut self, id: StreamId, spec: StreamSpec) -> Changed {
        free(&self.streams, id.0, STREAMS_MAX, "stream")?;
        self.leg(spec.leg).ok_or(CommandError::UnknownLeg(spec.leg))?;
        let unknown = CommandError::UnknownTransport(spec.leg, spec.transport);
        let transport = self.transport(spec.leg, spec.transport).ok_or(unknown)?;
        if let Some(ssrc) = spec.ssrc
            && self.leg(spec.leg).is_some_and(|leg| leg.route_by_ssrc.contains_key(&ssrc))
        {
            return Err(CommandError::DuplicateSsrc(ssrc));
        }
        let numbers = check_payload_types(&spec.payload_types)?;
        self.check_shared_stream(&spec)?;
        // Only a shared port has several transports of one leg.
        let here = self.leg(spec.leg).into_iter().flat_map(|leg| &leg.transports);
        for other in here.filter(|other| other.rtp == transport.rtp).flat_map(|place| &place.streams) {
            let other = &slot(&self.streams, other.0).expect("a transport lists existing streams").spec;
            match (other.ssrc, spec.ssrc) {
                (Some(first), Some(second)) if first == second => {
                    return Err(CommandError::DuplicateSsrc(first));
                }
                (Some(_), Some(_)) => {}
                _ => {
                    let shared = other.payload_types.iter().find(|known| numbers.contains(&known.number));
                    if let Some(shared) = shared {
                        return Err(CommandError::AmbiguousPayloadType(shared.number));
                    }
                }
            }
        }
        self.transport_mut(spec.leg, spec.transport).expect("it was there a moment ago").streams.push(id);
        self.declare_ssrc(&spec, true);
        put(&mut self.streams, id.0, Stream::new(spec));
        self.counts.streams += 1;
        Ok(())
    }

    fn remove_stream(&mut self, id: StreamId) -> Changed {
        let stream = slot(&self.streams, id.0).ok_or(CommandError::UnknownStream(id))?;
        let (leg, transport) = (stream.spec.leg, stream.spec.transport);
        for route in stream.routes.clone() {
            self.leave_shared(route);
            let route = slot_mut(&mut self.routes, route.0).expect("a stream lists existing routes");
            route.stream = NO_STREAM;
            route.interrupt();
        }
        self.forget_stream(id);
        let transport = self.transport_mut(leg, transport).expect("a stream belongs to a transport");
        transport.streams.retain(|stream| *stream != id);
        Ok(())
    }

    fn await_key_frame(&mut self, now: Time, id: RouteId, formats: Vec<(u8, PayloadFormat)>) -> Changed {
        let route = slot_mut(&mut self.routes, id.0).ok_or(CommandError::UnknownRoute(id))?;
        let Some(stream) = slot_mut(&mut self.streams, route.stream.0) else { return Ok(()) };
        if let Some(timeline) = &mut route.timeline {
            let until = now + KEY_FRAME_WAIT_MAX;
            timeline.await_key_frame(until);
            stream.watch = Some(Box::new(Watch { formats, until }));
        }
        Ok(())
    }

    fn detach_route(&mut self, id: RouteId) -> Changed {
        let before = slot(&self.routes, id.0).ok_or(CommandError::UnknownRoute(id))?.stream;
        if before == NO_STREAM {
            return Ok(());
        }
        self.leave_shared(id);
        let stream = slot_mut(&mut self.streams, before.0).expect("a route carries an existing stream");
        stream.routes.retain(|route| *route != id);
        let route = slot_mut(&mut self.routes, id.0).expect("checked above");
        route.stream = NO_STREAM;
        route.interrupt();
        Ok(())
    }

    /// Removes a stream, which no route carries any more, and its timer.
    pub(crate) fn forget_stream(&mut self, id: StreamId) {
        let stream = self.streams[id.0 as usize].take().expect("the caller looked it up");
        self.declare_ssrc(&stream.spec, false);
        if let Some(due) = stream.key_frames.timer {
            self.timers.remove(&(due, Timer::KeyFrame(id)));
        }
        self.counts.streams -= 1;
    }

    fn add_route(&mut self, now: Time, id: RouteId, spec: RouteSpec, out: &mut Outbox) -> Changed {
        free(&self.routes, id.0, ROUTES_MAX, "route")?;
        slot(&self.streams, spec.stream.0).ok_or(CommandError::UnknownStream(spec.stream))?;
        let leg = self.leg(spec.leg).ok_or(CommandError::UnknownLeg(spec.leg))?;
        if leg.route_by_ssrc.contains_key(&spec.ssrc) || self.speaks_as(leg, spec.ssrc) {
            return Err(CommandError::DuplicateSsrc(spec.ssrc));
        }
        let unknown = CommandError::UnknownTransport(spec.leg, spec.transport);
        let sink = self.transport(spec.leg, spec.transport).ok_or(unknown)?.sink;
        check_payload_map(&spec.payload_map)?;
        let stream = slot_mut(&mut self.streams, spec.stream.0).expect("checked above");
        stream.routes.push(id);
        let timeline = stream.timeline_for(&spec);
        put(&mut self.routes, id.0, Route::new(&spec, sink, timeline));
        let leg = slot_mut(&mut self.legs, spec.leg.0).expect("checked above");
        leg.route_by_ssrc.insert(spec.ssrc, id);
        leg.transports[usize::from(spec.transport)].routes.push(id);
        self.counts.routes += 1;
        if spec.active {
            self.want_first_key_frame(now, spec.stream, out);
        }
        Ok(())
    }

    fn remove_route(&mut self, id: RouteId, out: &mut Outbox) -> Changed {
        slot(&self.routes, id.0).ok_or(CommandError::UnknownRoute(id))?;
        self.say_bye(&[id], out);
        self.drop_route(id);
        Ok(())
    }

    fn switch_route(
        &mut self,
        now: Time,
        id: RouteId,
        stream: StreamId,
        payload_map: &[(u8, u8)],
        out: &mut Outbox,
    ) -> Changed {
        let route = slot(&self.routes, id.0).ok_or(CommandError::UnknownRoute(id))?;
        slot(&self.streams, stream.0).ok_or(CommandError::UnknownStream(stream))?;
        check_payload_map(payload_map)?;
        let before = route.stream;
        let stays = before == stream
            && route.timeline.is_none()
            && slot(&self.streams, stream.0).is_some_and(|stream| stream.shares(route.ssrc, payload_map));
        if stays {
            return Ok(());
        }
        self.leave_shared(id);
        if before != stream {
            if let Some(before) = slot_mut(&mut self.streams, before.0) {
                before.routes.retain(|route| *route != id);
            }
            slot_mut(&mut self.streams, stream.0).expect("checked above").routes.push(id);
        }
        let route = slot_mut(&mut self.routes, id.0).expect("checked above");
        let timeline = route.timeline.as_mut().expect("it left the shared one");
        timeline.set_payload_map(payload_map);
        if before != stream {
            route.stream = stream;
            route.interrupt();
        }
        if before != stream && route.active {
            self.want_first_key_frame(now, stream, out);
        }
        Ok(())
    }

    /// True for an SSRC that stands for something else in the leg's RTP sessions: our own reports, or a
    /// stream that the leg was told to publish. Reports about it could not be told apart.
    fn speaks_as(&self, leg: &Leg, ssrc: u32) -> bool {
        let mut streams = leg.transports.iter().flat_map(|transport| &transport.streams);
        let fixed = |id: &StreamId| slot(&self.streams, id.0).and_then(|stream| stream.spec.ssrc);
        leg.report_ssrc == ssrc || streams.any(|id| fixed(id) == Some(ssrc))
    }

    /// Lets a route go on by itself from where the shared timeline is.
    fn leave_shared(&mut self, id: RouteId) {
        let route = slot_mut(&mut self.routes, id.0).expect("the caller looked it up");
        if route.timeline.is_some() {
            return;
        }
        let stream = slot_mut(&mut self.streams, route.stream.0).expect("only routes of a stream share");
        let shared = stream.shared.as_mut().expect("the route follows it");
        shared.followers -= 1;
        route.timeline = Some(Box::new(shared.timeline.clone()));
    }

    /// Removes a route from all tables.
    fn drop_route(&mut self, id: RouteId) {
        if slot(&self.routes, id.0).is_some() {
            self.leave_shared(id);
        }
        let Some(route) = self.routes[id.0 as usize].take() else { return };
        if route.stream != NO_STREAM
            && let Some(stream) = slot_mut(&mut self.streams, route.stream.0)
        {
            stream.routes.retain(|route| *route != id);
        }
        let leg = slot_mut(&mut self.legs, route.leg.0).expect("a route ends at an existing leg");
        leg.route_by_ssrc.remove(&route.ssrc);
        leg.transports[usize::from(route.transport)].routes.retain(|route| *route != id);
        self.counts.routes -= 1;
    }
}

pub(crate) fn check_remote(latch: Latch, remote: Option<SocketAddr>) -> Changed {
    if latch != Latch::Symmetric && remote.is_none() {
        return Err(CommandError::OutOfRange { field: "remote", why: "is needed for this latch policy" });
    }
    Ok(())
}

pub(crate) fn check_payload_map(map: &[(u8, u8)]) -> Changed {
    // Types 64 to 95 look like RTCP on a shared port (RFC 5761 section 4).
    if map.iter().any(|(from, to)| *from > 127 || !matches!(*to, 0..=63 | 96..=127)) {
        let why = "leads from 0 to 127 to 0 to 63 or 96 to 127";
        return Err(CommandError::OutOfRange { field: "payload_map", why });
    }
    Ok(())
}

/// Gives the numbers.
pub(crate) fn check_payload_types(types: &[PayloadType]) -> Result<BTreeSet<u8>, CommandError> {
    if types.is_empty() || types.len() > PAYLOAD_TYPES_MAX {
        return Err(CommandError::OutOfRange { field: "payload_types", why: "a stream has 1 to 96" });
    }
    let mut numbers = BTreeSet::new();
    for payload_type in types {
        if !matches!(payload_type.number, 0..=63 | 96..=127) {
            return Err(CommandError::OutOfRange { field: "payload_type", why: "is 0 to 63 or 96 to 127" });
        }
        if !(1..CLOCK_HZ_END).contains(&payload_type.clock_hz) {
            return Err(CommandError::OutOfRange { field: "clock_hz", why: "is 1 to 999,999,999" });
        }
        if !numbers.insert(payload_type.number) {
            return Err(CommandError::AmbiguousPayloadType(payload_type.number));
        }
    }
    Ok(numbers)
}

fn slot<T>(table: &[Option<T>], id: u32) -> Option<&T> {
    table.get(id as usize)?.as_ref()
}

fn slot_mut<T>(table: &mut [Option<T>], id: u32) -> Option<&mut T> {
    table.get_mut(id as usize)?.as_mut()
}

pub(crate) fn free<T>(table: &[Option<T>], id: u32, max: usize, what: &'static str) -> Changed {
    if id as usize >= max {
        return Err(CommandError::Limit(what));
    }
    if slot(table, id).is_some() {
        return Err(CommandError::DuplicateId(what));
    }
    Ok(())
}

/// Numbers are dense, so that the table is about as long as what it holds.
pub(crate) fn put<T>(table: &mut Vec<Option<T>>, id: u32, value: T) {
    let index = id as usize;
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = Some(value);
}
