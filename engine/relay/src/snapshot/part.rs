//! Legs that stand alone, taken out of a relay to go on in another one.

use super::Part;
use crate::relay::Relay;
use crate::{LegId, PortId, RouteId, StreamId};
use std::collections::{BTreeSet, HashMap};

/// Why legs cannot be taken apart from the others. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// No such leg.
    #[error("leg {0:?} does not exist")]
    UnknownLeg(LegId),
    /// A route leads out of or into the legs.
    #[error("{0:?} leads from or to a leg that is not in the part")]
    Crossing(RouteId),
    /// Others are at its port, too.
    #[error("leg {0:?} is at a port that legs share")]
    SharedPort(LegId),
    /// It has no number where it goes.
    #[error("no new number for {0} {1}")]
    Unnumbered(&'static str, u32),
}

/// Numbers in another relay of what is in a part, by its numbers here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Of legs.
    pub legs: HashMap<LegId, LegId>,
    /// Of streams.
    pub streams: HashMap<StreamId, StreamId>,
    /// Of routes.
    pub routes: HashMap<RouteId, RouteId>,
    /// Of ports.
    pub ports: HashMap<PortId, PortId>,
}

impl Relay {
    /// Writes some legs down, with what they publish and the routes between them.
    pub fn part(&self, legs: &[LegId]) -> Result<Part, PartError> {
        assert!(self.scratch.packets.is_empty(), "a part is taken between batches");
        let mut part = Part { legs: Vec::new(), streams: Vec::new(), routes: Vec::new() };
        let inside: BTreeSet<LegId> = legs.iter().copied().collect();
        for id in &inside {
            let leg = self.leg(*id).ok_or(PartError::UnknownLeg(*id))?;
            if leg.transports.iter().any(|transport| self.is_shared(transport.rtp)) {
                return Err(PartError::SharedPort(*id));
            }
            part.legs.push(leg.snapshot(*id));
            for transport in &leg.transports {
                part.streams.extend(transport.streams.iter().map(|id| {
                    let stream = self.streams[id.0 as usize].as_ref();
                    stream.expect("a transport lists existing streams").snapshot(*id)
                }));
                part.routes.extend(transport.routes.iter().map(|id| {
                    let route = self.routes[id.0 as usize].as_ref();
                    route.expect("a transport lists existing routes").snapshot(*id)
                }));
            }
        }
        part.sort();
        self.check_closed(&part, &inside)?;
        Ok(part)
    }

    /// [`Relay::part`], and forgets what it wrote down. Nobody is told: the legs go on elsewhere. Call it
    /// between batches, with the outbox sent.
    pub fn take_part(&mut self, legs: &[LegId]) -> Result<Part, PartError> {
        let part = self.part(legs)?;
        for route in &part.routes {
            self.routes[route.id.0 as usize] = None;
            self.counts.routes -= 1;
        }
        part.streams.iter().for_each(|stream| self.forget_stream(stream.id));
        part.legs.iter().for_each(|leg| self.forget_leg(leg.id));
        Ok(part)
    }

    fn check_closed(&self, part: &Part, inside: &BTreeSet<LegId>) -> Result<(), PartError> {
        let stream = |id: StreamId| self.streams[id.0 as usize].as_ref().expect("routes carry streams");
        let from_outside = part
            .routes
            .iter()
            .find(|route| route.stream.is_some_and(|id| !inside.contains(&stream(id).spec.leg)));
        let to_outside = part.streams.iter().flat_map(|stream| &stream.routes).find(|id| {
            let route = self.routes[id.0 as usize].as_ref().expect("a stream lists existing routes");
            !inside.contains(&route.leg)
        });
        match from_outside.map(|route| route.id).or(to_outside.copied()) {
            Some(route) => Err(PartError::Crossing(route)),
            None => Ok(()),
        }
    }
}

impl Part {
    /// The same under other numbers.
    ///
    /// Errors: [`PartError::Unnumbered`].
    pub fn renumbered(&self, numbers: &Numbers) -> Result<Part, PartError> {
        let mut part = self.clone();
        for leg in &mut part.legs {
            leg.id = numbers.leg(leg.id)?;
            for transport in &mut leg.transports {
                transport.rtp = numbers.port(transport.rtp)?;
                transport.rtcp = transport.rtcp.map(|rtcp| numbers.port(rtcp)).transpose()?;
                numbers.streams(&mut transport.streams)?;
                numbers.routes(&mut transport.routes)?;
            }
        }
        for stream in &mut part.streams {
            stream.id = numbers.stream(stream.id)?;
            stream.leg = numbers.leg(stream.leg)?;
            numbers.routes(&mut stream.routes)?;
        }
        for route in &mut part.routes {
            route.id = numbers.route(route.id)?;
            route.leg = numbers.leg(route.leg)?;
            route.stream = route.stream.map(|stream| numbers.stream(stream)).transpose()?;
        }
        part.sort();
        Ok(part)
    }

    fn sort(&mut self) {
        self.legs.sort_unstable_by_key(|leg| leg.id);
        self.streams.sort_unstable_by_key(|stream| stream.id);
        self.routes.sort_unstable_by_key(|route| route.id);
    }
}

impl Numbers {
    /// The way back.
    pub fn reversed(&self) -> Numbers {
        Numbers {
            legs: self.legs.iter().map(|(here, there)| (*there, *here)).collect(),
            streams: self.streams.iter().map(|(here, there)| (*there, *here)).collect(),
            routes: self.routes.iter().map(|(here, there)| (*there, *here)).collect(),
            ports: self.ports.iter().map(|(here, there)| (*there, *here)).collect(),
        }
    }

    fn leg(&self, id: LegId) -> Result<LegId, PartError> {
        self.legs.get(&id).copied().ok_or(PartError::Unnumbered("leg", id.0))
    }

    fn stream(&self, id: StreamId) -> Result<StreamId, PartError> {
        self.streams.get(&id).copied().ok_or(PartError::Unnumbered("stream", id.0))
    }

    fn route(&self, id: RouteId) -> Result<RouteId, PartError> {
        self.routes.get(&id).copied().ok_or(PartError::Unnumbered("route", id.0))
    }

    /// A port's number there.
    pub fn port(&self, id: PortId) -> Result<PortId, PartError> {
        self.ports.get(&id).copied().ok_or(PartError::Unnumbered("port", id.0))
    }

    fn streams(&self, ids: &mut [StreamId]) -> Result<(), PartError> {
        ids.iter_mut().try_for_each(|id| self.stream(*id).map(|new| *id = new))
    }

    fn routes(&self, ids: &mut [RouteId]) -> Result<(), PartError> {
        ids.iter_mut().try_for_each(|id| self.route(*id).map(|new| *id = new))
    }
}
