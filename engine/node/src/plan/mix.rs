//! Mixes: how sound reaches a mixing thread, and comes back as one stream for each receiver.
//!
//! To a relay the mixer is the far end of a trunk (`trunks.rs`): one for each worker with somebody who is heard or
//! hears. Who is heard has a route to the trunk, under an SSRC that tells the mixer who it is. For who hears,
//! the trunk publishes a stream, under an SSRC that tells the relay whose it is, with one route to the leg. So
//! SSRC, numbers and timestamps towards a participant go on whatever the mixer does.
//!
//! What a mixing thread is to do is told as a whole, a [`MixForm`]; it finds the difference by itself.

use super::compare::payload_types;
use super::trunks::{OTHER_END, REPORT_SSRC, identity};
use super::{Holdings, Plan, Planner, Ssrcs, TrunkEnd};
use crate::error::NodeError;
use crate::model::{Id, Medium};
use crate::routing::{Mixed, Participation, Routes};
use motet_relay::{Command, Kind, Latch, LegSpec, RouteSpec, StreamSpec, TransportSpec};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod form;
mod loss;

pub use form::{HeldMix, HeldOutput, HeldSource, MixForm, MixStep, MixTrunk, OutputForm, SourceForm};
pub use loss::LossWatch;

impl Planner<'_> {
    /// Begins, changes or ends the mix.
    pub(super) fn change_mix(&mut self, routes: &Routes, ssrcs: &mut Ssrcs) -> Result<(), NodeError> {
        let held = self.held.mix.as_ref();
        let Some(mixed) = &routes.mixed else {
            if let Some(held) = held {
                self.plan.end_mix(self.held, held);
            }
            return Ok(());
        };
        let station = held.map_or_else(|| self.resources.mixer(), |held| Ok(held.station))?;
        let legs = mixed.sources.keys().chain(mixed.outputs.keys());
        let needed = legs.map(|leg| self.plan.next.legs[leg].worker).collect();
        let none = BTreeMap::new();
        let before = held.map_or(&none, |held| &held.trunks);
        let mut mix = HeldMix {
            station,
            trunks: self.change_mix_trunks(needed, before, (station, "mix"))?,
            sources: BTreeMap::new(),
            outputs: BTreeMap::new(),
            unheard: mixed.unheard.clone(),
            unserved: mixed.unserved.clone(),
            form: Arc::new(MixForm::empty(self.new.listening().expect("it is mixed"))),
        };
        self.leave_mix(mixed, &mix);
        let mut crossing: BTreeSet<u32> = held.iter().flat_map(|held| held.crossing()).collect();
        for (leg, part) in &mixed.sources {
            let before = held.and_then(|held| held.sources.get(leg));
            let source = self.change_source((&mix.trunks, &mut crossing), leg, part, before)?;
            mix.sources.insert(leg.clone(), source);
        }
        for (leg, part) in &mixed.outputs {
            let output = self.change_output((&mix, &mut crossing), leg, part, ssrcs)?;
            mix.outputs.insert(leg.clone(), output);
        }
        let form = Arc::new(MixForm::new(self.new, &self.plan.next, &mix));
        if held.is_none_or(|held| held.form != form) {
            // Who is to hear something else goes on in its stream; only another stream is another output.
            let goes = |leg: &str, output: &OutputForm| {
                !form.outputs.get(leg).is_some_and(|new| new.same_stream(output))
            };
            let first = held.and_then(|held| held.form.without(goes));
            self.plan.mix =
                Some(MixStep { station, first: first.map(Arc::new), last: Some(Arc::clone(&form)) });
        }
        self.plan.next.mix = Some(HeldMix { form, ..mix });
        Ok(())
    }

    /// One trunk between a station and each worker with somebody who takes part.
    pub(super) fn change_mix_trunks(
        &mut self,
        needed: BTreeSet<usize>,
        held: &BTreeMap<usize, MixTrunk>,
        (station, name): (usize, &str),
    ) -> Result<BTreeMap<usize, MixTrunk>, NodeError> {
        let (stay, go): (Vec<_>, Vec<_>) = held
            .iter()
            .map(|(worker, trunk)| (*worker, *trunk))
            .partition(|(worker, _)| needed.contains(worker));
        go.into_iter().for_each(|(worker, trunk)| self.plan.close_mix_trunk(station, worker, &trunk));
        let mut trunks: BTreeMap<usize, MixTrunk> = stay.into_iter().collect();
        for worker in needed {
            if let Entry::Vacant(entry) = trunks.entry(worker) {
                entry.insert(self.open_mix_trunk((station, name), worker)?);
            }
        }
        Ok(trunks)
    }

    fn open_mix_trunk(
        &mut self,
        (station, name): (usize, &str),
        worker: usize,
    ) -> Result<MixTrunk, NodeError> {
        let leg = self.resources.leg(worker)?;
        let (near, far) = (self.resources.trunk_port(worker), self.resources.trunk_port(station));
        let transport = TransportSpec {
            rtp: near,
            rtcp: None,
            remote: Some(OTHER_END),
            remote_rtcp: None,
            latch: Latch::Trunk,
        };
        let cname = format!("{name}@{}", self.new.id);
        let spec = LegSpec { cname, report_ssrc: REPORT_SSRC, transports: vec![transport] };
        let step = self.plan.steps.entry(worker).or_default();
        step.open.push(TrunkEnd { port: near, worker: station, peer: far });
        step.commands.push(Command::AddLeg(leg, spec));
        Ok(MixTrunk { leg, near, far })
    }

    /// Ends what no longer takes part, or takes part in another way. What ends with its leg or its trunk needs no
    /// command of its own.
    fn leave_mix(&mut self, mixed: &Mixed, mix: &HeldMix) {
        let Some(held) = &self.held.mix else { return };
        self.leave_sources(&held.sources, &mixed.sources, &mix.trunks);
        for (leg, output) in &held.outputs {
            if self.output_stays(leg, output, mixed.outputs.get(leg)) {
                continue;
            }
            let worker = self.held.legs[leg].worker;
            if mix.trunks.contains_key(&worker) {
                if self.kept.contains(leg.as_str()) {
                    self.plan.command(worker, Command::RemoveRoute(output.route));
                }
                self.plan.command(worker, Command::RemoveStream(output.stream));
            }
            self.plan.released.routes.push((worker, output.route));
            self.plan.released.streams.push((worker, output.stream));
        }
    }

    /// Ends the routes of those who are no longer heard or seen. Those of a closed trunk end with it.
    pub(super) fn leave_sources(
        &mut self,
        held: &BTreeMap<Id, HeldSource>,
        wanted: &BTreeMap<Id, Participation>,
        trunks: &BTreeMap<usize, MixTrunk>,
    ) {
        for (leg, source) in held {
            self.leave_source((leg, source), wanted.contains_key(leg), trunks);
        }
    }

    /// Ends the route of one that a leg had, unless it is still wanted and the leg stays.
    pub(super) fn leave_source(
        &mut self,
        (leg, source): (&Id, &HeldSource),
        wanted: bool,
        trunks: &BTreeMap<usize, MixTrunk>,
    ) {
        let kept = self.kept.contains(leg.as_str());
        if kept && wanted {
            return;
        }
        let worker = self.held.legs[leg].worker;
        if kept && trunks.contains_key(&worker) {
            self.plan.command(worker, Command::RemoveRoute(source.route));
        }
        self.plan.released.routes.push((worker, source.route));
    }

    /// Whether what a leg gets goes on, at the same port.
    fn output_stays(&self, leg: &Id, output: &HeldOutput, part: Option<&Participation>) -> bool {
        part.is_some_and(|part| self.stays_at_port(leg, &output.part.medium, &part.medium))
    }

    /// Whether a leg that stays has both media, the one before and the one now, at one port.
    pub(super) fn stays_at_port(&self, leg: &Id, before: &Id, now: &Id) -> bool {
        let old = self.old_leg(leg).and_then(|leg| leg.media.iter().find(|medium| medium.id == *before));
        let same = old.is_some_and(|old| old.transport == self.medium_of(leg, now).transport);
        same && self.kept.contains(leg.as_str())
    }

    pub(super) fn medium_of(&self, leg: &Id, medium: &Id) -> &Medium {
        let media = &self.new.legs[leg].media;
        media.iter().find(|known| known.id == *medium).expect("who takes part has the medium")
    }

    /// The route from a leg to the trunk of its worker; `crossing` are the SSRCs that are used on trunks.
    pub(super) fn change_source(
        &mut self,
        (trunks, crossing): (&BTreeMap<usize, MixTrunk>, &mut BTreeSet<u32>),
        leg: &Id,
        part: &Participation,
        held: Option<&HeldSource>,
    ) -> Result<HeldSource, NodeError> {
        let worker = self.plan.next.legs[leg].worker;
        let stream = self.plan.next.streams[&(leg.clone(), part.medium.clone())];
        let active = !self.new.legs[leg].muted;
        let payload_map = identity(self.medium_of(leg, &part.medium));
        if let Some(held) = held.filter(|_| self.kept.contains(leg.as_str())) {
            if held.stream != stream {
                self.plan.command(worker, Command::SwitchRoute { route: held.route, stream, payload_map });
            }
            if held.active != active {
                self.plan.command(worker, Command::SetRouteActive(held.route, active));
            }
            return Ok(HeldSource { part: part.clone(), stream, active, ..*held });
        }
        let route = self.resources.route(worker)?;
        let ssrc = match held {
            Some(held) => held.ssrc,
            None => self.crossing_ssrc(crossing),
        };
        let spec = RouteSpec {
            stream,
            leg: trunks[&worker].leg,
            transport: 0,
            ssrc,
            payload_map,
            numbering: self.random_numbering(),
            active,
            shared: false,
        };
        self.plan.steps.entry(worker).or_default().last.push(Command::AddRoute(route, spec));
        Ok(HeldSource { part: part.clone(), stream, route, ssrc, active })
    }

    fn change_output(
        &mut self,
        (mix, crossing): (&HeldMix, &mut BTreeSet<u32>),
        leg: &Id,
        part: &Participation,
        ssrcs: &mut Ssrcs,
    ) -> Result<HeldOutput, NodeError> {
        let worker = self.plan.next.legs[leg].worker;
        let held = self.held.mix.as_ref().and_then(|held| held.outputs.get(leg));
        let stays = held.filter(|held| self.output_stays(leg, held, Some(part)));
        if let Some(held) =
            stays.filter(|held| payload_types(&held.part.codecs) == payload_types(&part.codecs))
        {
            return Ok(HeldOutput { part: part.clone(), ..held.clone() });
        }
        let crossing = self.crossing_ssrc(crossing);
        let stream = self.resources.stream(worker)?;
        let spec = StreamSpec {
            leg: mix.trunks[&worker].leg,
            transport: 0,
            kind: Kind::Audio,
            ssrc: Some(crossing),
            payload_types: payload_types(&part.codecs),
        };
        let payload_map: Vec<(u8, u8)> =
            part.codecs.iter().map(|codec| (codec.payload_type, codec.payload_type)).collect();
        if let Some(held) = stays {
            // Another codec: what the participant receives goes on where it was.
            self.plan.command(worker, Command::AddStream(stream, spec));
            self.plan.command(worker, Command::SwitchRoute { route: held.route, stream, payload_map });
            self.plan.command(worker, Command::RemoveStream(held.stream));
            self.plan.released.streams.push((worker, held.stream));
            return Ok(HeldOutput { part: part.clone(), stream, crossing, ..held.clone() });
        }
        let ssrc = match held {
            Some(held) => held.ssrc,
            None => self.mix_ssrc(leg, ssrcs.entry(leg.clone()).or_default()),
        };
        let route = self.resources.route(worker)?;
        let route_spec = RouteSpec {
            stream,
            leg: self.plan.next.legs[leg].id,
            transport: self.medium_of(leg, &part.medium).transport as u8,
            ssrc,
            payload_map,
            numbering: self.mix_numbering(leg),
            active: true,
            shared: false,
        };
        self.plan.command(worker, Command::AddStream(stream, spec));
        self.plan.command(worker, Command::AddRoute(route, route_spec));
        Ok(HeldOutput { part: part.clone(), stream, crossing, route, ssrc, loss: LossWatch::default() })
    }

    /// An SSRC that nobody uses between a station and the workers.
    pub(super) fn crossing_ssrc(&mut self, used: &mut BTreeSet<u32>) -> u32 {
        std::iter::repeat_with(|| self.resources.random())
            .find(|ssrc| *ssrc > REPORT_SSRC && used.insert(*ssrc))
            .expect("random numbers do not end")
    }
}

impl Plan {
    /// Removes all of a mix.
    pub(super) fn end_mix(&mut self, holdings: &Holdings, held: &HeldMix) {
        for (worker, trunk) in &held.trunks {
            self.close_mix_trunk(held.station, *worker, trunk);
        }
        for (leg, source) in &held.sources {
            self.released.routes.push((holdings.legs[leg].worker, source.route));
        }
        for (leg, output) in &held.outputs {
            let worker = holdings.legs[leg].worker;
            self.released.routes.push((worker, output.route));
            self.released.streams.push((worker, output.stream));
        }
        let first = held.form.without(|_, _| true).map(Arc::new);
        self.mix = Some(MixStep { station: held.station, first, last: None });
    }

    pub(super) fn close_mix_trunk(&mut self, station: usize, worker: usize, trunk: &MixTrunk) {
        let step = self.steps.entry(worker).or_default();
        step.commands.push(Command::RemoveLeg(trunk.leg));
        step.close.push(trunk.near);
        self.released.legs.push((worker, trunk.leg));
        self.released.trunk_ports.push((worker, trunk.near));
        self.released.trunk_ports.push((station, trunk.far));
    }
}
