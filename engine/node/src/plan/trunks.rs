//! Trunks: how streams reach receivers on other workers.
//!
//! For each publisher and each other worker with receivers of it there is one trunk. Its near end, on the
//! publisher's worker, is a leg that each wanted stream has one route to. Its far end, on the receivers'
//! worker, is a leg that publishes them again, under the publisher's name.

use super::compare::stream_spec;
use super::{Plan, Planner};
use crate::error::NodeError;
use crate::model::{Id, Medium};
use crate::routing::Routes;
use motet_relay::{
    Command, Latch, LegId, LegSpec, Numbering, PortId, RouteId, RouteSpec, StreamId, StreamSpec,
    TransportSpec,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The relays' name for the other end of a trunk. No packet comes from there or goes there.
pub(crate) const OTHER_END: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// SSRC of both ends' own reports, which nobody else sees.
pub(super) const REPORT_SSRC: u32 = 1;

/// A publisher, and the worker that its streams are brought to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrunkKey {
    /// The publishing leg.
    pub leg: Id,
    /// Worker of the far end.
    pub to: usize,
}

/// A trunk as it is held.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldTrunk {
    /// Worker of the near end.
    pub from: usize,
    /// Leg and port of the near end.
    pub near: (LegId, PortId),
    /// Leg and port of the far end.
    pub far: (LegId, PortId),
    /// What crosses, by medium.
    pub crossings: BTreeMap<Id, Crossing>,
}

/// A stream on its way over a trunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// The publisher's stream, on its worker.
    pub leaves: StreamId,
    /// The route to the near end.
    pub route: RouteId,
    /// SSRC on the trunk.
    pub ssrc: u32,
    /// The stream that the far end publishes.
    pub arrives: StreamId,
    /// False while nobody is to get it.
    pub active: bool,
}

/// An end of a trunk, as a worker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkEnd {
    /// Port here.
    pub port: PortId,
    /// Worker of the other end.
    pub worker: usize,
    /// Port there.
    pub peer: PortId,
}

/// Which media of which publishers are wanted on other workers, and whether any route of them is active.
type Needs = BTreeMap<TrunkKey, BTreeMap<Id, bool>>;

impl Planner<'_> {
    /// Opens, changes and closes trunks, so that all wanted routes find their streams.
    pub(super) fn change_trunks(&mut self, routes: &Routes) -> Result<(), NodeError> {
        let needs = self.needs(routes);
        for (key, trunk) in &self.held.trunks {
            if !needs.contains_key(key) || !self.kept.contains(key.leg.as_str()) {
                self.plan.close_trunk(key, trunk);
            }
        }
        for (key, media) in needs {
            let held = self.held.trunks.get(&key).filter(|_| self.kept.contains(key.leg.as_str()));
            let mut trunk = match held {
                Some(held) => HeldTrunk { crossings: BTreeMap::new(), ..held.clone() },
                None => self.open_trunk(&key)?,
            };
            for (medium, crossing) in held.iter().flat_map(|held| &held.crossings) {
                if !media.contains_key(medium) {
                    self.end_crossing(&key, &trunk, crossing);
                }
            }
            for (medium, active) in media {
                let before = held.and_then(|held| held.crossings.get(&medium)).copied();
                let crossing = self.change_crossing(&key, &trunk, &medium, active, before)?;
                trunk.crossings.insert(medium, crossing);
            }
            self.plan.next.trunks.insert(key, trunk);
        }
        Ok(())
    }

    fn needs(&self, routes: &Routes) -> Needs {
        let mut needs = Needs::new();
        for (key, wanted) in routes.wanted.iter().filter(|(_, wanted)| wanted.transcoded.is_none()) {
            let worker = |leg: &Id| self.plan.next.legs[leg].worker;
            let to = worker(&key.to_leg);
            if worker(&key.from_leg) != to {
                let media = needs.entry(TrunkKey { leg: key.from_leg.clone(), to }).or_default();
                *media.entry(key.from_medium.clone()).or_default() |= wanted.active;
            }
        }
        let views = routes.composed.iter().flat_map(|composed| &composed.outputs);
        for (to, view) in views {
            let Some((leg, medium)) = view.relayed.as_ref().map(|relayed| &relayed.source) else { continue };
            let to = self.plan.next.legs[to].worker;
            if self.plan.next.legs[leg].worker != to {
                let media = needs.entry(TrunkKey { leg: leg.clone(), to }).or_default();
                media.insert(medium.clone(), true);
            }
        }
        needs
    }

    fn open_trunk(&mut self, key: &TrunkKey) -> Result<HeldTrunk, NodeError> {
        let from = self.plan.next.legs[&key.leg].worker;
        let near = (self.resources.leg(from)?, self.resources.trunk_port(from));
        let far = (self.resources.leg(key.to)?, self.resources.trunk_port(key.to));
        for (worker, (leg, port), (other, peer)) in
            [(from, near, (key.to, far.1)), (key.to, far, (from, near.1))]
        {
            let transport = TransportSpec {
                rtp: port,
                rtcp: None,
                remote: Some(OTHER_END),
                remote_rtcp: None,
                latch: Latch::Trunk,
            };
            let spec = LegSpec {
                cname: self.new.legs[&key.leg].cname.clone(),
                report_ssrc: REPORT_SSRC,
                transports: vec![transport],
            };
            let step = self.plan.steps.entry(worker).or_default();
            step.open.push(TrunkEnd { port, worker: other, peer });
            step.commands.push(Command::AddLeg(leg, spec));
        }
        Ok(HeldTrunk { from, near, far, crossings: BTreeMap::new() })
    }

    fn change_crossing(
        &mut self,
        key: &TrunkKey,
        trunk: &HeldTrunk,
        medium: &Id,
        active: bool,
        before: Option<Crossing>,
    ) -> Result<Crossing, NodeError> {
        let leaves = self.plan.next.streams[&(key.leg.clone(), medium.clone())];
        let Some(before) = before else { return self.begin_crossing(key, trunk, medium, leaves, active) };
        let mut crossing = Crossing { leaves, active, ..before };
        if before.leaves != leaves {
            // Another stream of the publisher goes on where the old one was; the far end learns its types.
            let payload_map = identity(self.medium(key, medium));
            self.plan.command(
                trunk.from,
                Command::SwitchRoute { route: before.route, stream: leaves, payload_map },
            );
            self.plan.command(key.to, Command::RemoveStream(before.arrives));
            self.plan.released.streams.push((key.to, before.arrives));
            crossing.arrives = self.resources.stream(key.to)?;
            let spec = self.arriving(key, trunk, medium, before.ssrc);
            self.plan.command(key.to, Command::AddStream(crossing.arrives, spec));
        }
        if before.active != active {
            self.plan.command(trunk.from, Command::SetRouteActive(before.route, active));
        }
        Ok(crossing)
    }

    fn begin_crossing(
        &mut self,
        key: &TrunkKey,
        trunk: &HeldTrunk,
        medium: &Id,
        leaves: StreamId,
        active: bool,
    ) -> Result<Crossing, NodeError> {
        let route = self.resources.route(trunk.from)?;
        let arrives = self.resources.stream(key.to)?;
        let used =
            |ssrc: &u32| *ssrc <= REPORT_SSRC || trunk.crossings.values().any(|other| other.ssrc == *ssrc);
        let ssrc = std::iter::repeat_with(|| self.resources.random())
            .find(|ssrc| !used(ssrc))
            .expect("random numbers do not end");
        let spec = self.arriving(key, trunk, medium, ssrc);
        self.plan.command(key.to, Command::AddStream(arrives, spec));
        let spec = RouteSpec {
            stream: leaves,
            leg: trunk.near.0,
            transport: 0,
            ssrc,
            payload_map: identity(self.medium(key, medium)),
            // As they are: receivers here and there get the same numbers, on any node.
            numbering: Numbering::Shift { sequence: 0, timestamp: 0 },
            active,
            shared: false,
        };
        self.plan.steps.entry(trunk.from).or_default().last.push(Command::AddRoute(route, spec));
        Ok(Crossing { leaves, route, ssrc, arrives, active })
    }

    fn end_crossing(&mut self, key: &TrunkKey, trunk: &HeldTrunk, crossing: &Crossing) {
        self.plan.command(trunk.from, Command::RemoveRoute(crossing.route));
        self.plan.command(key.to, Command::RemoveStream(crossing.arrives));
        self.plan.released.routes.push((trunk.from, crossing.route));
        self.plan.released.streams.push((key.to, crossing.arrives));
    }

    fn arriving(&self, key: &TrunkKey, trunk: &HeldTrunk, medium: &str, ssrc: u32) -> StreamSpec {
        stream_spec(trunk.far.0, 0, Some(ssrc), self.medium(key, medium))
    }

    fn medium(&self, key: &TrunkKey, medium: &str) -> &Medium {
        let media = &self.new.legs[&key.leg].media;
        media.iter().find(|known| known.id == medium).expect("routes name existing media")
    }
}

impl Plan {
    /// Removes both ends of a trunk, with what crosses.
    pub(super) fn close_trunk(&mut self, key: &TrunkKey, trunk: &HeldTrunk) {
        for (worker, (leg, port)) in [(trunk.from, trunk.near), (key.to, trunk.far)] {
            let step = self.steps.entry(worker).or_default();
            step.commands.push(Command::RemoveLeg(leg));
            step.close.push(port);
            self.released.legs.push((worker, leg));
            self.released.trunk_ports.push((worker, port));
        }
        for crossing in trunk.crossings.values() {
            self.released.routes.push((trunk.from, crossing.route));
            self.released.streams.push((key.to, crossing.arrives));
        }
    }
}

/// All payload types of a medium, each as it is.
pub(super) fn identity(medium: &Medium) -> Vec<(u8, u8)> {
    medium.codecs.iter().map(|codec| (codec.payload_type, codec.payload_type)).collect()
}
