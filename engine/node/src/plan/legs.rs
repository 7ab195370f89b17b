//! Legs that come, move and change places.

use super::{HeldLeg, Planner, same_port};
use crate::error::NodeError;
use crate::model::{Leg, Transport};
use motet_relay::{Command, LegSpec, TransportSpec};
use std::collections::BTreeMap;

impl Planner<'_> {
    /// At a shared port: the leg loses its address, or takes one that another leg has so far. The relay does
    /// not let two legs have one address for a while, so that the leg has to go first and come back.
    pub(super) fn changes_places(&self, id: &str, leg: &Leg) -> bool {
        let (Some(old), Some(held)) = (self.old, self.held.legs.get(id)) else { return false };
        let others = || old.legs.values().filter(|other| other.id != *id).flat_map(|other| &other.transports);
        let before = old.legs[id].transports.iter().zip(&leg.transports).zip(&held.ports);
        let mut changed = before.filter(|((old, new), ports)| ports.shared && old.remote != new.remote);
        changed.any(|((_, new), _)| new.remote.is_none() || others().any(|other| other.remote == new.remote))
    }

    pub(super) fn add_legs(&mut self) -> Result<(), NodeError> {
        // Who stays leaves its old address before others come to it.
        let new = self.new;
        for (id, leg) in &new.legs {
            if self.kept.contains(id.as_str()) {
                self.move_remotes(id, leg);
            }
        }
        // Legs that were here before stay where their ports are; new ones come after them.
        let mut legs: BTreeMap<usize, u32> = BTreeMap::new();
        for held in self.held.legs.iter().filter_map(|(id, held)| self.new.legs.get(id).map(|_| held)) {
            *legs.entry(held.worker).or_default() += 1;
        }
        for (id, leg) in &self.new.legs {
            let held = if self.kept.contains(id.as_str()) {
                self.held.legs[id].clone()
            } else {
                self.add_leg(id, leg, &mut legs)?
            };
            self.plan.next.legs.insert(id.clone(), held);
        }
        Ok(())
    }

    fn move_remotes(&mut self, id: &str, leg: &Leg) {
        let old = self.old_leg(id).expect("a kept leg was there before");
        for (index, (before, after)) in old.transports.iter().zip(&leg.transports).enumerate() {
            let wanted = Transport { port_wanted: before.port_wanted, ..after.clone() };
            if *before == wanted {
                continue;
            }
            let held = &self.held.legs[id];
            let command = Command::SetRemote {
                leg: held.id,
                transport: index as u8,
                remote: after.remote,
                remote_rtcp: after.remote_rtcp,
                latch: after.latch,
                relatch: before.latch_generation != after.latch_generation,
            };
            self.plan.command(held.worker, command);
        }
    }

    fn add_leg(
        &mut self,
        id: &str,
        leg: &Leg,
        legs: &mut BTreeMap<usize, u32>,
    ) -> Result<HeldLeg, NodeError> {
        let before = self.old_leg(id).zip(self.held.legs.get(id));
        let worker = match before {
            Some((_, held)) => held.worker,
            None => {
                let worker = self.resources.worker(legs);
                *legs.entry(worker).or_default() += 1;
                worker
            }
        };
        let mut ports = Vec::new();
        let mut transports = Vec::new();
        for transport in &leg.transports {
            let known = before.and_then(|(old, held)| {
                let index = old.transports.iter().position(|old| same_port(old, transport))?;
                Some(held.ports[index].clone())
            });
            let held = match known {
                Some(held) => held,
                None => self.resources.ports(worker, transport)?,
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
            worker,
            id: self.resources.leg(worker)?,
            report_ssrc: before.map_or_else(|| self.report_ssrc(leg), |(_, held)| held.report_ssrc),
            ports,
        };
        let spec = LegSpec { cname: leg.cname.clone(), report_ssrc: held.report_ssrc, transports };
        self.plan.command(worker, Command::AddLeg(held.id, spec));
        Ok(held)
    }
}
