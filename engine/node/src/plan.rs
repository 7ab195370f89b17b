//! The difference between what runs and what should run, as commands for the relay. Pure.
//!
//! What can stay, stays: a leg whose ports do not change keeps its relay state, a route whose ends stay
//! keeps its SSRC, sequence and timestamps even when its source is replaced. Only a leg whose set of
//! ports changes is made anew, on the ports that it still has.

use crate::error::NodeError;
use crate::model::{Leg, MediaKind, Medium, RouteKey, Spec};
use crate::routing::{Routes, Wanted};
use motet_relay::{
    Command, Kind, LegId, LegSpec, PayloadType, PortId, RouteId, RouteSpec, StreamId, StreamSpec,
    TransportSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What a conference holds on its worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings {
    /// Legs by id.
    pub legs: BTreeMap<String, HeldLeg>,
    /// Streams by leg and medium.
    pub streams: BTreeMap<(String, String), StreamId>,
    /// Routes by their ends.
    pub routes: BTreeMap<RouteKey, HeldRoute>,
    /// Routes that could not be made.
    pub refused: BTreeMap<RouteKey, String>,
}

/// A leg on its worker.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldLeg {
    /// Number in the relay.
    pub id: LegId,
    /// SSRC of the relay's own reports.
    pub report_ssrc: u32,
    /// One for each transport, in the specification's order.
    pub ports: Vec<HeldPorts>,
}

/// The ports of one transport.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldPorts {
    /// Which pool they came from.
    pub pool: usize,
    /// Even number that the pool knows them by.
    pub base: u16,
    /// For RTP.
    pub rtp: (PortId, SocketAddr),
    /// For RTCP; none when multiplexed.
    pub rtcp: Option<(PortId, SocketAddr)>,
}

/// A route on its worker.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRoute {
    /// Number in the relay.
    pub id: RouteId,
    /// SSRC towards the receiver.
    pub ssrc: u32,
    /// Stream that it carries.
    pub stream: StreamId,
    /// What was asked for.
    pub wanted: Wanted,
}

/// Where numbers, ports and randomness come from.
pub trait Resources {
    /// A free leg number of the worker.
    fn leg(&mut self) -> Result<LegId, NodeError>;
    /// A free stream number of the worker.
    fn stream(&mut self) -> Result<StreamId, NodeError>;
    /// A free route number of the worker.
    fn route(&mut self) -> Result<RouteId, NodeError>;
    /// Ports for a transport, of the family of IPv6 or of IPv4.
    fn ports(&mut self, ipv6: bool, rtcp_mux: bool) -> Result<HeldPorts, NodeError>;
    /// A random number.
    fn random(&mut self) -> u32;
}

/// What to do, and what is held afterwards.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Commands for the relay, in order.
    pub commands: Vec<Command>,
    /// Held when all commands are done.
    pub next: Holdings,
    /// No longer used when all commands are done.
    pub released: Released,
}

/// What goes back to where it came from.
#[derive(Debug, Default, PartialEq)]
pub struct Released {
    /// Leg numbers.
    pub legs: Vec<LegId>,
    /// Stream numbers.
    pub streams: Vec<StreamId>,
    /// Route numbers.
    pub routes: Vec<RouteId>,
    /// Ports, to be closed.
    pub ports: Vec<HeldPorts>,
}

/// Plans the way from what is held under `old` to `new`. `old` is none when nothing runs.
///
/// Errors leave `held` as it was; what was taken from `resources` is the caller's to take back.
pub fn plan(
    old: Option<&Spec>,
    held: &Holdings,
    new: &Spec,
    resources: &mut dyn Resources,
) -> Result<Plan, NodeError> {
    let mut planner = Planner { old, held, new, resources, plan: Plan::default(), kept: BTreeSet::new() };
    let routes = Routes::of(new);
    planner.find_kept_legs();
    planner.remove_routes(&routes);
    planner.remove_streams();
    planner.remove_legs();
    planner.add_legs()?;
    planner.add_streams()?;
    planner.add_routes(&routes)?;
    planner.plan.next.refused = routes.refused;
    Ok(planner.plan)
}

/// Plans the end of a conference.
pub fn plan_end(held: &Holdings) -> Plan {
    let mut plan = Plan::default();
    for leg in held.legs.values() {
        plan.commands.push(Command::RemoveLeg(leg.id));
        plan.released.legs.push(leg.id);
        plan.released.ports.extend(leg.ports.iter().cloned());
    }
    plan.released.streams.extend(held.streams.values().copied());
    plan.released.routes.extend(held.routes.values().map(|route| route.id));
    plan
}

struct Planner<'a> {
    old: Option<&'a Spec>,
    held: &'a Holdings,
    new: &'a Spec,
    resources: &'a mut dyn Resources,
    plan: Plan,
    /// Legs that stay as they are in the relay.
    kept: BTreeSet<&'a str>,
}

impl<'a> Planner<'a> {
    fn old_leg(&self, id: &str) -> Option<&'a Leg> {
        self.old?.legs.get(id)
    }

    fn find_kept_legs(&mut self) {
        for (id, leg) in &self.new.legs {
            if self.held.legs.contains_key(id) && self.old_leg(id).is_some_and(|old| same_ports(old, leg)) {
                self.kept.insert(id);
            }
        }
    }

    /// Routes between legs that stay, and that are no longer wanted or now end at another port.
    fn remove_routes(&mut self, routes: &Routes) {
        for (key, held) in &self.held.routes {
            let ends_stay =
                self.kept.contains(key.from_leg.as_str()) && self.kept.contains(key.to_leg.as_str());
            if ends_stay && !self.stays(key, held, routes) {
                self.plan.commands.push(Command::RemoveRoute(held.id));
            }
            if !self.stays(key, held, routes) {
                self.plan.released.routes.push(held.id);
            }
        }
    }

    fn stays(&self, key: &RouteKey, held: &HeldRoute, routes: &Routes) -> bool {
        let Some(wanted) = routes.wanted.get(key) else { return false };
        let same_port = || {
            let port = |leg: Option<&Leg>| {
                leg.and_then(|leg| leg.media.iter().find(|medium| medium.id == key.to_medium))
                    .map(|m| m.transport)
            };
            port(self.old_leg(&key.to_leg)) == port(self.new.legs.get(&key.to_leg))
        };
        self.kept.contains(key.from_leg.as_str())
            && self.kept.contains(key.to_leg.as_str())
            && wanted.ssrc.is_none_or(|ssrc| ssrc == held.ssrc)
            && same_port()
    }

    /// Streams of legs that stay, and that ended or changed.
    fn remove_streams(&mut self) {
        for ((leg, medium), stream) in &self.held.streams {
            if self.stream_stays(leg, medium) {
                continue;
            }
            if self.kept.contains(leg.as_str()) {
                self.plan.commands.push(Command::RemoveStream(*stream));
            }
            self.plan.released.streams.push(*stream);
        }
    }

    fn stream_stays(&self, leg: &str, medium: &str) -> bool {
        let published =
            |leg: Option<&'a Leg>| leg.and_then(|leg| leg.media.iter().find(|m| m.id == medium && m.sends));
        let (old, new) = (published(self.old_leg(leg)), published(self.new.legs.get(leg)));
        self.kept.contains(leg) && matches!((old, new), (Some(old), Some(new)) if same_stream(old, new))
    }

    fn remove_legs(&mut self) {
        for (id, held) in &self.held.legs {
            if self.kept.contains(id.as_str()) {
                continue;
            }
            self.plan.commands.push(Command::RemoveLeg(held.id));
            self.plan.released.legs.push(held.id);
            let reused = |index: usize| {
                let old = self.old_leg(id).and_then(|leg| leg.transports.get(index));
                old.is_some_and(|old| {
                    self.new
                        .legs
                        .get(id)
                        .is_some_and(|leg| leg.transports.iter().any(|new| same_port(old, new)))
                })
            };
            let unused = held.ports.iter().enumerate().filter(|(index, _)| !reused(*index));
            let unused: Vec<HeldPorts> = unused.map(|(_, ports)| ports.clone()).collect();
            self.plan.released.ports.extend(unused);
        }
    }

    fn add_legs(&mut self) -> Result<(), NodeError> {
        for (id, leg) in &self.new.legs {
            let held = if self.kept.contains(id.as_str()) {
                self.move_remotes(id, leg);
                self.held.legs[id].clone()
            } else {
                self.add_leg(id, leg)?
            };
            self.plan.next.legs.insert(id.clone(), held);
        }
        Ok(())
    }

    fn move_remotes(&mut self, id: &str, leg: &Leg) {
        let old = self.old_leg(id).expect("a kept leg was there before");
        for (index, (before, after)) in old.transports.iter().zip(&leg.transports).enumerate() {
            if before == after {
                continue;
            }
            self.plan.commands.push(Command::SetRemote {
                leg: self.held.legs[id].id,
                transport: index as u8,
                remote: after.remote,
                remote_rtcp: after.remote_rtcp,
                latch: after.latch,
                relatch: before.latch_generation != after.latch_generation,
            });
        }
    }

    fn add_leg(&mut self, id: &str, leg: &Leg) -> Result<HeldLeg, NodeError> {
        let before = self.old_leg(id).zip(self.held.legs.get(id));
        let mut ports = Vec::new();
        let mut transports = Vec::new();
        for transport in &leg.transports {
            let known = before.and_then(|(old, held)| {
                let index = old.transports.iter().position(|old| same_port(old, transport))?;
                Some(held.ports[index].clone())
            });
            let held = match known {
                Some(held) => held,
                None => self.resources.ports(transport.ipv6, transport.rtcp_mux)?,
            };
            transports.push(TransportSpec {
                rtp: held.rtp.0,
                rtcp: held.rtcp.map(|(port, _)| port),
                remote: transport.remote,
                remote_rtcp: transport.remote_rtcp,
                latch: transport.latch,
            });
            ports.push(held);
        }
        let held = HeldLeg {
            id: self.resources.leg()?,
            report_ssrc: before.map_or_else(|| self.resources.random(), |(_, held)| held.report_ssrc),
            ports,
        };
        let spec = LegSpec { cname: leg.cname.clone(), report_ssrc: held.report_ssrc, transports };
        self.plan.commands.push(Command::AddLeg(held.id, spec));
        Ok(held)
    }

    fn add_streams(&mut self) -> Result<(), NodeError> {
        for (id, leg) in &self.new.legs {
            for medium in leg.media.iter().filter(|medium| medium.sends) {
                let key = (id.clone(), medium.id.clone());
                let stream = if self.stream_stays(id, &medium.id) {
                    self.held.streams[&key]
                } else {
                    let stream = self.resources.stream()?;
                    let spec = stream_spec(self.plan.next.legs[id].id, medium);
                    self.plan.commands.push(Command::AddStream(stream, spec));
                    stream
                };
                self.plan.next.streams.insert(key, stream);
            }
        }
        Ok(())
    }

    fn add_routes(&mut self, routes: &Routes) -> Result<(), NodeError> {
        let mut ssrcs = self.ssrcs_in_use(routes)?;
        let mut common = self.common_ssrcs();
        for (key, wanted) in &routes.wanted {
            let stream = self.plan.next.streams[&(key.from_leg.clone(), key.from_medium.clone())];
            let held = match self.held.routes.get(key) {
                Some(held) if self.stays(key, held, routes) => self.change_route(held, stream, wanted),
                before => {
                    let ssrc = wanted.ssrc.or(before.map(|held| held.ssrc));
                    let used = ssrcs.entry(key.to_leg.clone()).or_default();
                    let ssrc = ssrc.unwrap_or_else(|| self.fresh_ssrc(common.get(&stream), used));
                    self.add_route(key, ssrc, stream, wanted)?
                }
            };
            if wanted.ssrc.is_none() {
                common.entry(stream).or_insert(held.ssrc);
            }
            self.plan.next.routes.insert(key.clone(), held);
        }
        Ok(())
    }

    /// The SSRC under which a stream is known already. Those who know it under one SSRC get the same packets,
    /// which the relay then rewrites only once.
    fn common_ssrcs(&self) -> BTreeMap<StreamId, u32> {
        let chosen = self.held.routes.values().filter(|held| held.wanted.ssrc.is_none());
        chosen.rev().map(|held| (held.stream, held.ssrc)).collect()
    }

    /// The stream's common SSRC, unless the leg uses it for something else.
    fn fresh_ssrc(&mut self, common: Option<&u32>, used: &mut BTreeSet<u32>) -> u32 {
        if let Some(common) = common.filter(|common| used.insert(**common)) {
            return *common;
        }
        std::iter::repeat_with(|| self.resources.random())
            .find(|ssrc| *ssrc != 0 && used.insert(*ssrc))
            .expect("random numbers do not end")
    }

    /// SSRCs by receiving leg: those of the participant itself, of our reports, and of routes that have one.
    fn ssrcs_in_use(&self, routes: &Routes) -> Result<BTreeMap<String, BTreeSet<u32>>, NodeError> {
        let mut used: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (id, leg) in &self.new.legs {
            let own = leg.media.iter().filter_map(|medium| medium.ssrc);
            let ours = [self.plan.next.legs[id].report_ssrc];
            used.insert(id.clone(), own.chain(ours).collect());
        }
        for (key, wanted) in &routes.wanted {
            let before = self.held.routes.get(key).map(|held| held.ssrc);
            let fresh = |ssrc| used.get_mut(&key.to_leg).is_some_and(|used| used.insert(ssrc));
            if wanted.ssrc.or(before).is_none_or(fresh) {
                continue;
            }
            let why = format!("the SSRC is used twice in leg '{}', or by the participant itself", key.to_leg);
            return Err(NodeError::invalid("spec.routes.ssrc", why));
        }
        Ok(used)
    }

    fn change_route(&mut self, held: &HeldRoute, stream: StreamId, wanted: &Wanted) -> HeldRoute {
        let payload_map = wanted.payload_map.clone();
        if held.stream != stream || held.wanted.payload_map != payload_map {
            self.plan.commands.push(Command::SwitchRoute { route: held.id, stream, payload_map });
        }
        if held.wanted.active != wanted.active {
            self.plan.commands.push(Command::SetRouteActive(held.id, wanted.active));
        }
        HeldRoute { stream, wanted: wanted.clone(), ..*held }
    }

    fn add_route(
        &mut self,
        key: &RouteKey,
        ssrc: u32,
        stream: StreamId,
        wanted: &Wanted,
    ) -> Result<HeldRoute, NodeError> {
        let to = &self.new.legs[&key.to_leg];
        let sink =
            to.media.iter().find(|medium| medium.id == key.to_medium).expect("routes name existing media");
        let id = self.resources.route()?;
        let spec = RouteSpec {
            stream,
            leg: self.plan.next.legs[&key.to_leg].id,
            transport: sink.transport as u8,
            ssrc,
            payload_map: wanted.payload_map.clone(),
            first_sequence: self.resources.random() as u16,
            first_timestamp: self.resources.random(),
            active: wanted.active,
            shared: wanted.ssrc.is_none(),
        };
        self.plan.commands.push(Command::AddRoute(id, spec));
        Ok(HeldRoute { id, ssrc, stream, wanted: wanted.clone() })
    }
}

/// The relay's state of the leg can stay: same name to others, same ports.
fn same_ports(old: &Leg, new: &Leg) -> bool {
    let pairs = || old.transports.iter().zip(&new.transports);
    old.cname == new.cname
        && old.transports.len() == new.transports.len()
        && pairs().all(|(old, new)| same_port(old, new))
}

fn same_port(old: &crate::model::Transport, new: &crate::model::Transport) -> bool {
    old.id == new.id && old.rtcp_mux == new.rtcp_mux && old.ipv6 == new.ipv6
}

/// The relay's state of the stream can stay.
fn same_stream(old: &Medium, new: &Medium) -> bool {
    let types =
        |medium: &Medium| medium.codecs.iter().map(|c| (c.payload_type, c.clock_hz)).collect::<Vec<_>>();
    old.kind == new.kind && old.transport == new.transport && old.ssrc == new.ssrc && types(old) == types(new)
}

fn stream_spec(leg: LegId, medium: &Medium) -> StreamSpec {
    StreamSpec {
        leg,
        transport: medium.transport as u8,
        kind: match medium.kind {
            MediaKind::Audio => Kind::Audio,
            MediaKind::Video | MediaKind::Content => Kind::Video,
        },
        ssrc: medium.ssrc,
        payload_types: medium
            .codecs
            .iter()
            .map(|codec| PayloadType { number: codec.payload_type, clock_hz: codec.clock_hz })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
