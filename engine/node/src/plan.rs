//! The difference between what runs and what should run, as commands for the workers' relays. Pure.
//!
//! A leg lives on one worker, with what it publishes and the routes to it. A stream that receivers on another
//! worker want crosses to it by a trunk (`trunks.rs`), once for all of them.
//!
//! What can stay, stays: a leg whose ports do not change keeps its relay state, a route whose ends stay
//! keeps its SSRC, sequence and timestamps even when its source is replaced. Only a leg whose set of
//! ports changes is made anew, on the ports that it still has.

use crate::error::NodeError;
use crate::model::{Id, Leg, Medium, RouteKey, Spec, Transport};
use crate::routing::{Routes, Wanted};
use compare::{same_port, same_ports, same_stream, stream_spec};
use motet_relay::{Command, LegId, PortId, RouteId, RouteSpec, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

mod canvas;
mod compare;
mod identity;
mod legs;
mod mix;
mod recording;
mod relocate;
mod trunks;

pub(crate) use canvas::{CONTENT, stream_name};
pub use canvas::{
    CanvasForm, CanvasStep, FeedForm, FeedKey, HeldCanvas, HeldFeed, HeldTap, HeldView, SeenForm,
};
pub(crate) use mix::LossWatch;
pub use mix::{HeldMix, HeldOutput, HeldSource, MixForm, MixStep, MixTrunk, OutputForm, SourceForm};
pub use recording::{HeldRecording, HeldTrack, RecordForm, RecordStep, TrackForm};
pub use relocate::{Relocation, only_worker, relocate};
pub(crate) use trunks::OTHER_END;
pub use trunks::{Crossing, HeldTrunk, TrunkEnd, TrunkKey};

/// What a conference holds on the workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings {
    /// Legs by id.
    pub legs: BTreeMap<Id, HeldLeg>,
    /// Streams by leg and medium.
    pub streams: BTreeMap<(Id, Id), StreamId>,
    /// Routes by their ends.
    pub routes: BTreeMap<RouteKey, HeldRoute>,
    /// What brings streams to other workers.
    pub trunks: BTreeMap<TrunkKey, HeldTrunk>,
    /// Routes that could not be made.
    pub refused: BTreeMap<RouteKey, String>,
    /// What is mixed; none: nothing is.
    pub mix: Option<HeldMix>,
    /// What is composed; none: nothing is.
    pub canvas: Option<HeldCanvas>,
    /// What is recorded; none: nothing is.
    pub recording: Option<HeldRecording>,
}

/// A leg on its worker.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldLeg {
    /// The worker, which also has its streams and the routes to it.
    pub worker: usize,
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
    /// All legs of the worker have it: it is neither taken nor closed with one of them.
    pub shared: bool,
}

/// A route on its worker.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRoute {
    /// Number in the relay.
    pub id: RouteId,
    /// SSRC towards the receiver.
    pub ssrc: u32,
    /// Stream that it carries: the publisher's, or on another worker the one that a trunk brings.
    pub stream: StreamId,
    /// What was asked for.
    pub wanted: Wanted,
}

/// Where workers, numbers, ports and randomness come from.
pub trait Resources {
    /// The worker for another leg of a conference that has `legs` legs on each worker.
    fn worker(&mut self, legs: &BTreeMap<usize, u32>) -> usize;
    /// A free leg number of a worker.
    fn leg(&mut self, worker: usize) -> Result<LegId, NodeError>;
    /// A free stream number of a worker.
    fn stream(&mut self, worker: usize) -> Result<StreamId, NodeError>;
    /// A free route number of a worker.
    fn route(&mut self, worker: usize) -> Result<RouteId, NodeError>;
    /// Ports of a worker for a transport.
    fn ports(&mut self, worker: usize, transport: &Transport) -> Result<HeldPorts, NodeError>;
    /// A port number of a worker, mixing or canvas thread without a socket: for the end of a trunk, or for a
    /// socket that comes from another worker.
    fn trunk_port(&mut self, worker: usize) -> PortId;
    /// The mixing thread for another mix, by its place in the exchange.
    fn mixer(&mut self) -> Result<usize, NodeError>;
    /// The canvas thread for another canvas, by its place in the exchange.
    fn canvas(&mut self) -> Result<usize, NodeError>;
    /// The recorder, by its place in the exchange; none: this node has no folder for recordings.
    fn recorder(&mut self) -> Option<usize> {
        None
    }
    /// A random number.
    fn random(&mut self) -> u32;
}

/// What to do, and what is held afterwards.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// What each worker is to do. The order of workers does not matter.
    pub steps: BTreeMap<usize, Step>,
    /// Held when all is done.
    pub next: Holdings,
    /// No longer used when all is done.
    pub released: Released,
    /// What a mixing thread is to do.
    pub mix: Option<MixStep>,
    /// What a canvas thread is to do.
    pub canvas: Option<CanvasStep>,
    /// What the recorder is to do.
    pub recording: Option<RecordStep>,
    /// Receivers are told nothing.
    pub silent: bool,
}

/// What one worker is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Ends of trunks to open, before the commands.
    pub open: Vec<TrunkEnd>,
    /// Commands for the relay, in order.
    pub commands: Vec<Command>,
    /// Ends of trunks to close, after the commands.
    pub close: Vec<PortId>,
    /// Commands for when all workers have done all else: what then begins to cross is expected there.
    pub last: Vec<Command>,
}

/// What goes back to where it came from, with the worker that had it.
#[derive(Debug, Default, PartialEq)]
pub struct Released {
    /// Leg numbers.
    pub legs: Vec<(usize, LegId)>,
    /// Stream numbers.
    pub streams: Vec<(usize, StreamId)>,
    /// Route numbers.
    pub routes: Vec<(usize, RouteId)>,
    /// Ports, to be closed.
    pub ports: Vec<(usize, HeldPorts)>,
    /// Ports without sockets.
    pub trunk_ports: Vec<(usize, PortId)>,
}

impl Plan {
    fn command(&mut self, worker: usize, command: Command) {
        self.steps.entry(worker).or_default().commands.push(command);
    }
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
    let (plan, kept, closing) = (Plan::default(), BTreeSet::new(), Vec::new());
    let mut planner = Planner { old, held, new, resources, plan, kept, closing };
    let routes = Routes::of(new);
    planner.find_kept_legs();
    planner.detach_views(&routes);
    planner.remove_routes(&routes);
    planner.remove_streams();
    planner.remove_legs();
    planner.add_legs()?;
    planner.add_streams()?;
    planner.change_trunks(&routes)?;
    let mut ssrcs = planner.ssrcs_in_use(&routes)?;
    planner.change_mix(&routes, &mut ssrcs)?;
    planner.change_canvas(&routes, &mut ssrcs)?;
    planner.change_recordings()?;
    planner.add_routes(&routes, ssrcs)?;
    planner.close_canvas_trunks();
    planner.plan.next.refused = routes.refused;
    Ok(planner.plan)
}

/// Plans the end of a conference.
pub fn plan_end(held: &Holdings) -> Plan {
    let mut plan = Plan::default();
    for leg in held.legs.values() {
        plan.command(leg.worker, Command::RemoveLeg(leg.id));
        plan.released.legs.push((leg.worker, leg.id));
        plan.released.ports.extend(leg.ports.iter().map(|ports| (leg.worker, ports.clone())));
    }
    for (key, trunk) in &held.trunks {
        plan.close_trunk(key, trunk);
    }
    if let Some(mix) = &held.mix {
        plan.end_mix(held, mix);
    }
    if let Some(canvas) = &held.canvas {
        for (worker, trunk) in &canvas.trunks {
            plan.close_mix_trunk(canvas.station, *worker, trunk);
        }
        plan.end_canvas(held, canvas);
    }
    if let Some(recording) = &held.recording {
        plan.end_recordings(held, recording);
    }
    let streams = held.streams.iter().map(|((leg, _), stream)| (held.legs[leg].worker, *stream));
    plan.released.streams.extend(streams);
    let routes = held.routes.iter().map(|(key, route)| (held.legs[&key.to_leg].worker, route.id));
    plan.released.routes.extend(routes);
    plan
}

/// SSRCs in use by receiving leg.
type Ssrcs = BTreeMap<Id, BTreeSet<u32>>;

struct Planner<'a> {
    old: Option<&'a Spec>,
    held: &'a Holdings,
    new: &'a Spec,
    resources: &'a mut dyn Resources,
    plan: Plan,
    /// Legs that stay as they are in the relay.
    kept: BTreeSet<&'a str>,
    /// Trunks of a canvas thread that nobody needs any more, with its station and their worker.
    closing: Vec<(usize, usize, MixTrunk)>,
}

impl<'a> Planner<'a> {
    fn old_leg(&self, id: &str) -> Option<&'a Leg> {
        self.old?.legs.get(id)
    }

    fn find_kept_legs(&mut self) {
        for (id, leg) in &self.new.legs {
            let stays = self.old_leg(id).is_some_and(|old| same_ports(old, leg));
            if self.held.legs.contains_key(id) && stays && !self.changes_places(id, leg) {
                self.kept.insert(id);
            }
        }
    }

    /// Routes between legs that stay, and that are no longer wanted or now end at another port.
    fn remove_routes(&mut self, routes: &Routes) {
        for (key, held) in &self.held.routes {
            let transcoded = held.wanted.transcoded;
            // A route ends with its receiver or its stream, which is a canvas thread's where it is transcoded.
            let there = self.kept.contains(key.to_leg.as_str())
                && (transcoded.is_some() || self.kept.contains(key.from_leg.as_str()));
            let worker = self.held.legs[&key.to_leg].worker;
            if !self.stays(key, held, routes) {
                if there {
                    self.plan.command(worker, Command::RemoveRoute(held.id));
                }
                self.plan.released.routes.push((worker, held.id));
            } else if routes.wanted[key].transcoded != transcoded {
                // Its stream, or the trunk that brings it, may end before it has another one.
                self.plan.command(worker, Command::DetachRoute(held.id));
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
            let worker = self.held.legs[leg].worker;
            if self.kept.contains(leg.as_str()) {
                self.plan.command(worker, Command::RemoveStream(*stream));
            }
            self.plan.released.streams.push((worker, *stream));
        }
    }

    fn stream_stays(&self, leg: &str, medium: &str) -> bool {
        let published =
            |leg: Option<&'a Leg>| leg.and_then(|leg| leg.media.iter().find(|m| m.id == *medium && m.sends));
        let (old, new) = (published(self.old_leg(leg)), published(self.new.legs.get(leg)));
        self.kept.contains(leg) && matches!((old, new), (Some(old), Some(new)) if same_stream(old, new))
    }

    fn remove_legs(&mut self) {
        for (id, held) in &self.held.legs {
            if self.kept.contains(id.as_str()) {
                continue;
            }
            self.plan.command(held.worker, Command::RemoveLeg(held.id));
            self.plan.released.legs.push((held.worker, held.id));
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
            let unused: Vec<_> = unused.map(|(_, ports)| (held.worker, ports.clone())).collect();
            self.plan.released.ports.extend(unused);
        }
    }

    fn add_streams(&mut self) -> Result<(), NodeError> {
        for (id, leg) in &self.new.legs {
            // At a shared port, what has an SSRC makes room for what has none.
            let mut sent: Vec<&Medium> = leg.media.iter().filter(|medium| medium.sends).collect();
            sent.sort_by_key(|medium| medium.ssrc.is_none());
            for medium in sent {
                let key = (id.clone(), medium.id.clone());
                let stream = if self.stream_stays(id, &medium.id) {
                    self.held.streams[&key]
                } else {
                    let HeldLeg { worker, id: publisher, .. } = self.plan.next.legs[id];
                    let stream = self.resources.stream(worker)?;
                    let spec = stream_spec(publisher, medium.transport as u8, medium.ssrc, medium);
                    self.plan.command(worker, Command::AddStream(stream, spec));
                    stream
                };
                self.plan.next.streams.insert(key, stream);
            }
        }
        Ok(())
    }

    fn add_routes(&mut self, routes: &Routes, mut ssrcs: Ssrcs) -> Result<(), NodeError> {
        let mut common = self.common_ssrcs();
        for (key, wanted) in &routes.wanted {
            let stream = self.transcoded_stream(key, wanted).unwrap_or_else(|| self.stream_for(key));
            let held = match self.held.routes.get(key) {
                Some(held) if self.stays(key, held, routes) => self.change_route(key, held, stream, wanted),
                before => {
                    let ssrc = wanted.ssrc.or(before.map(|held| held.ssrc));
                    let used = ssrcs.entry(key.to_leg.clone()).or_default();
                    let ssrc = ssrc.unwrap_or_else(|| self.route_ssrc(key, common.get(&key.source()), used));
                    self.add_route(key, ssrc, stream, wanted)?
                }
            };
            if wanted.ssrc.is_none() {
                common.entry(key.source()).or_insert(held.ssrc);
            }
            self.plan.next.routes.insert(key.clone(), held);
        }
        Ok(())
    }

    /// The SSRC under which a stream is known already. Those who know it under one SSRC get the same packets,
    /// which the relay then rewrites only once.
    fn common_ssrcs(&self) -> BTreeMap<(Id, Id), u32> {
        let chosen = self.held.routes.iter().filter(|(_, held)| held.wanted.ssrc.is_none());
        chosen.rev().map(|(key, held)| (key.source(), held.ssrc)).collect()
    }

    /// SSRCs by receiving leg: those of the participant itself, of our reports, of the mix and canvas that it has,
    /// and of routes that have one.
    fn ssrcs_in_use(&self, routes: &Routes) -> Result<Ssrcs, NodeError> {
        let mut used = Ssrcs::new();
        for (id, leg) in &self.new.legs {
            let own = leg.media.iter().filter_map(|medium| medium.ssrc);
            let ours = [self.plan.next.legs[id].report_ssrc];
            let mix = self.held.mix.as_ref().and_then(|mix| mix.outputs.get(id));
            let canvas = self.held.canvas.as_ref().and_then(|canvas| canvas.views.get(id));
            let made = mix.map(|output| output.ssrc).into_iter().chain(canvas.map(|view| view.ssrc));
            used.insert(id.clone(), own.chain(ours).chain(made).collect());
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

    /// The stream that a route carries, on the receiver's worker.
    fn stream_for(&self, key: &RouteKey) -> StreamId {
        self.stream_at(&key.source(), self.plan.next.legs[&key.to_leg].worker)
    }

    /// The stream of a leg's medium, as it is on a worker.
    fn stream_at(&self, source: &(Id, Id), worker: usize) -> StreamId {
        let next = &self.plan.next;
        if next.legs[&source.0].worker == worker {
            return next.streams[source];
        }
        let trunk = TrunkKey { leg: source.0.clone(), to: worker };
        next.trunks[&trunk].crossings[&source.1].arrives
    }

    fn change_route(
        &mut self,
        key: &RouteKey,
        held: &HeldRoute,
        stream: StreamId,
        wanted: &Wanted,
    ) -> HeldRoute {
        let worker = self.plan.next.legs[&key.to_leg].worker;
        let payload_map = wanted.mapping.payload_types.clone();
        let made_otherwise = held.wanted.transcoded != wanted.transcoded;
        if made_otherwise || held.stream != stream || held.wanted.mapping.payload_types != payload_map {
            self.plan.command(worker, Command::SwitchRoute { route: held.id, stream, payload_map });
            if made_otherwise {
                self.await_key_frame(worker, held.id, self.formats_of_route(key, wanted));
            }
        }
        if held.wanted.active != wanted.active {
            self.plan.command(worker, Command::SetRouteActive(held.id, wanted.active));
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
        let HeldLeg { worker, id: leg, .. } = self.plan.next.legs[&key.to_leg];
        let id = self.resources.route(worker)?;
        let spec = RouteSpec {
            stream,
            leg,
            transport: sink.transport as u8,
            ssrc,
            payload_map: wanted.mapping.payload_types.clone(),
            numbering: self.numbering(key),
            active: wanted.active,
            shared: wanted.ssrc.is_none(),
        };
        self.plan.command(worker, Command::AddRoute(id, spec));
        Ok(HeldRoute { id, ssrc, stream, wanted: wanted.clone() })
    }
}

#[cfg(test)]
mod tests;
