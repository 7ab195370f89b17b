//! What runs on this node, and the only place where it changes.
//!
//! Every call is checked and planned first, with everything it needs taken; only then is the worker told.
//! A call that fails gives back what it took and has changed nothing.

use crate::claims::Claims;
use crate::ending::Ending;
use crate::error::NodeError;
use crate::events::Events;
use crate::model::{Id, Spec};
use crate::placement::rebalance::Rebalancer;
use crate::placement::{Limits, WorkerLoad};
use crate::plan::{HeldPorts, Holdings, Plan, Step, plan, plan_end};
use crate::ports::PortPool;
use crate::recording::RecorderThread;
use crate::resources::{Taker, WorkerIds, give_back};
use crate::worker::{Apply, Worker};
use motet_net::SocketId;
use motet_proto::node as wire;
use motet_relay::{LegId, StreamId};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

mod alive;
mod canvases;
mod inherit;
mod kept;
mod losses;
mod mixing;
mod moving;
mod patch;
mod playing;
mod rebalance;
mod recording;
mod shared;
mod view;

pub(crate) use canvases::Canvases;
use kept::KeptSpec;
pub(crate) use mixing::{Mixing, publish};
pub(crate) use moving::Moves;
pub(crate) use playing::{Players, publish_playing};

/// A conference that runs here.
pub(crate) struct Conference {
    pub(crate) wire: KeptSpec,
    pub(crate) spec: Spec,
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) held: Holdings,
    /// Legs that packets come from.
    pub(crate) alive: BTreeSet<Id>,
    /// Who talks most, where the node listens; none: nobody has, or who did has left.
    pub(crate) speaker: Option<Id>,
    /// The change that made it what it is, apart from who is alive; see [`State::change`].
    pub(crate) changed: u64,
}

/// Names of what a worker reports about: conference, leg and medium.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) legs: HashMap<LegId, (Id, Id)>,
    pub(crate) streams: HashMap<StreamId, (Id, Id, Id)>,
}

/// All that the node knows.
pub(crate) struct State {
    pub(crate) workers: Vec<Worker>,
    pub(crate) names: Vec<Names>,
    pub(crate) conferences: BTreeMap<String, Conference>,
    /// Counts changes of conferences in this process.
    pub(crate) changes: u64,
    /// Tells this process from those before, one that it has taken over from among them.
    pub(crate) process: String,
    /// Another process runs all this now.
    pub(crate) taken_over: bool,
    pub(crate) pools: Vec<PortPool>,
    ids: Vec<WorkerIds>,
    loads: Vec<WorkerLoad>,
    limits: Limits,
    /// Who is who at shared ports; none: every leg has ports of its own.
    claims: Option<Claims>,
    /// Epoch and revision of conferences that ended lately, so that a late copy of an old request does
    /// not bring one back.
    ended: HashMap<String, (u64, u64)>,
    ended_order: VecDeque<String>,
    events: Events,
    pub(crate) moves: Moves,
    /// Moves conferences by itself; none: it is switched off.
    rebalancer: Option<Rebalancer>,
    /// Whether new conferences are taken.
    ending: Arc<Ending>,
    pub(crate) mixing: Mixing,
    pub(crate) canvases: Canvases,
    /// None: nothing is recorded here.
    pub(crate) recorder: Option<RecorderThread>,
    players: Players,
}

/// Ended conferences remembered at most.
const ENDED_MAX: usize = 16_384;

impl State {
    pub(crate) fn new(
        (workers, mixing, canvases): (Vec<Worker>, Mixing, Canvases),
        pools: Vec<PortPool>,
        limits: Limits,
        events: Events,
        ending: Arc<Ending>,
    ) -> State {
        let stations = workers.len() + mixing.threads() + canvases.threads();
        State {
            names: workers.iter().map(|_| Names::default()).collect(),
            ids: std::iter::repeat_with(WorkerIds::default).take(stations).collect(),
            mixing,
            canvases,
            loads: vec![WorkerLoad::default(); workers.len()],
            limits,
            workers,
            conferences: BTreeMap::new(),
            changes: 0,
            process: uuid::Uuid::new_v4().to_string(),
            claims: None,
            taken_over: false,
            ending,
            pools,
            ended: HashMap::new(),
            ended_order: VecDeque::new(),
            events,
            moves: Moves::default(),
            rebalancer: None,
            recorder: None,
            players: Players::default(),
        }
    }

    /// The number of a change that a conference is going through.
    pub(crate) fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// Makes a conference what the specification says.
    pub(crate) async fn put(
        &mut self,
        request: wire::PutConferenceRequest,
    ) -> Result<wire::ConferenceAllocation, NodeError> {
        self.check_ours()?;
        let spec = request.spec.ok_or_else(|| NodeError::invalid("spec", "is missing"))?;
        let (epoch, revision) = (request.epoch, request.revision);
        for (field, value) in [("epoch", epoch), ("revision", revision)] {
            if value == 0 {
                return Err(NodeError::invalid(field, "must be at least 1"));
            }
        }
        let checked = Spec::from_wire(&spec, self.pools[0].ip().is_ipv6())?;
        let id = checked.id.clone();
        if let Some(running) = self.conferences.get(&id) {
            if epoch < running.epoch {
                return Err(stale_epoch(&id, epoch, running.epoch, "runs"));
            }
            if epoch == running.epoch && revision < running.revision {
                return Err(stale_revision(&id, revision, running.revision, "is older than what runs"));
            }
            if epoch == running.epoch && revision == running.revision {
                if running.wire.is(&spec) {
                    return Ok(running.allocation());
                }
                let why = "runs with another specification; raise the revision";
                return Err(stale_revision(&id, revision, running.revision, why));
            }
        } else {
            self.check_ended(&id, epoch, revision)?;
            if self.ending.is_draining() {
                return Err(NodeError::Draining(id));
            }
        }
        self.install(spec, checked, epoch, revision).await
    }

    /// Applies changes on top of the running revision.
    pub(crate) async fn patch(
        &mut self,
        request: wire::PatchConferenceRequest,
    ) -> Result<wire::ConferenceAllocation, NodeError> {
        self.check_ours()?;
        let running =
            self.conferences.get(&request.id).ok_or_else(|| NodeError::NotFound(request.id.clone()))?;
        if request.epoch < running.epoch {
            return Err(stale_epoch(&request.id, request.epoch, running.epoch, "runs"));
        }
        if request.epoch > running.epoch {
            let why = format!("{} is not known here; put the whole specification first", request.epoch);
            return Err(NodeError::invalid("epoch", why));
        }
        if request.base_revision != running.revision {
            let (given, known) = (request.base_revision, running.revision);
            return Err(NodeError::Conflict { id: request.id, given, known });
        }
        let spec = patch::apply(&running.wire.spec(), &request.changes)?;
        let checked = Spec::from_wire(&spec, self.pools[0].ip().is_ipv6())?;
        self.install(spec, checked, request.epoch, request.base_revision + 1).await
    }

    /// Ends a conference here. False: it did not run. If another node runs it (`elsewhere`, or a higher epoch),
    /// receivers are told no goodbye: they hear that node under the same SSRCs.
    pub(crate) async fn delete(&mut self, id: &str, epoch: u64, elsewhere: bool) -> Result<bool, NodeError> {
        self.check_ours()?;
        let Some(running) = self.conferences.get(id) else { return Ok(false) };
        if epoch < running.epoch {
            return Err(stale_epoch(id, epoch, running.epoch, "runs"));
        }
        let silent = elsewhere || epoch > running.epoch;
        let plan = Plan { silent, ..plan_end(&running.held) };
        let revision = running.revision;
        self.carry_out(id, Opened::new(), plan).await?;
        let running = self.conferences.remove(id).expect("it was there, and only this call holds the state");
        if let Some(claims) = &mut self.claims {
            claims.remove(&running.spec);
        }
        self.keep_players(id);
        self.forget_names(&running);
        self.account(&running.held, &Holdings::default());
        self.remember_ended(id, epoch, revision);
        for leg in running.held.legs.keys() {
            self.events.leg_gone(id, running.epoch, leg);
        }
        self.events.changed(id, running.epoch, revision, true);
        Ok(true)
    }

    /// Takes note of how busy each worker was since the last call, `since` ago.
    pub(crate) fn measure(&mut self, busy: impl Iterator<Item = f64>, since: Duration) {
        for ((load, worker), busy) in self.loads.iter_mut().zip(&self.workers).zip(busy) {
            let counts = worker.snapshot().counts;
            load.measure(counts.packets_in + counts.packets_out, busy, since);
        }
    }

    async fn install(
        &mut self,
        wire: wire::ConferenceSpec,
        mut spec: Spec,
        epoch: u64,
        revision: u64,
    ) -> Result<wire::ConferenceAllocation, NodeError> {
        if let Some(claims) = &self.claims {
            claims.check(&spec)?;
        }
        self.canvases.check(&spec)?;
        spec.still_files = self.canvases.stills(&spec, !self.conferences.contains_key(&spec.id)).await?;
        let id = spec.id.clone();
        let nothing = Holdings::default();
        let running = self.conferences.get(&id);
        if let Some(running) = running {
            spec.loudest.clone_from(&running.spec.loudest);
            spec.lecturer.clone_from(&running.spec.lecturer);
            if spec.video.is_as_large(&running.spec.video) {
                spec.fits.clone_from(&running.spec.fits);
                spec.fits.retain(|leg| spec.legs.contains_key(leg));
            }
        }
        let unrecorded = self.bring_failed(running.map(|running| &running.spec), &mut spec);
        let (old, held) = running.map_or((None, &nothing), |running| (Some(&running.spec), &running.held));
        let (threads, recorder) = (self.thread_loads(), self.recorder_station());
        let taker = Taker::new(&mut self.ids, &mut self.pools, &self.loads, self.limits, threads);
        let mut taker = taker.recording(recorder);
        let first_canvas = self.workers.len() + self.mixing.threads();
        let planned = plan(old, held, &spec, &mut taker);
        let planned = match self.canvases.ready_for(planned, first_canvas).await {
            Ok(planned) => planned,
            Err(error) => {
                taker.undo();
                return Err(error);
            }
        };
        let opened = std::mem::take(&mut taker.opened);
        let next = planned.next.clone();
        self.carry_out(&id, opened, planned).await?;

        let before = self.conferences.remove(&id);
        self.account(before.as_ref().map_or(&Holdings::default(), |before| &before.held), &next);
        if let Some(claims) = &mut self.claims {
            claims.put(before.as_ref().map(|before| &before.spec), &spec);
        }
        let (mut alive, mut speaker) = (BTreeSet::new(), None);
        if let Some(before) = &before {
            speaker.clone_from(&before.speaker);
            alive = before.still_alive(&next);
            self.forget_names(before);
            for leg in before.held.legs.keys().filter(|leg| !next.legs.contains_key(*leg)) {
                self.events.leg_gone(&id, epoch, leg);
            }
        }
        let (wire, held, changed) = (KeptSpec::new(&wire), next, self.change());
        let conference = Conference { wire, spec, epoch, revision, held, alive, speaker, changed };
        self.remember_names(&conference);
        let allocation = conference.allocation();
        self.conferences.insert(id.clone(), conference);
        self.events.changed(&id, epoch, revision, false);
        self.tell_unrecorded(&id, epoch, unrecorded);
        self.keep_players(&id);
        Ok(allocation)
    }

    /// Tells the workers, and gives back what is no longer used.
    async fn carry_out(&mut self, id: &str, mut open: Opened, plan: Plan) -> Result<(), NodeError> {
        let mut first: BTreeMap<usize, Apply> = BTreeMap::new();
        let mut last: BTreeMap<usize, Apply> = BTreeMap::new();
        for (worker, step) in plan.steps {
            if !step.last.is_empty() {
                last.insert(worker, Apply { commands: step.last, ..Apply::default() });
            }
            let open = open.remove(&worker).unwrap_or_default();
            let Step { open: open_trunks, commands, close: close_trunks, .. } = step;
            let (silent, close) = (plan.silent, Vec::new());
            first.insert(worker, Apply { open, open_trunks, commands, close, close_trunks, silent });
        }
        for (worker, ports) in &plan.released.ports {
            first.entry(*worker).or_default().close.extend(sockets(ports));
        }
        let (mix, canvas) = (plan.mix, plan.canvas);
        if let Some((station, form)) = mix.as_ref().and_then(|mix| Some((mix.station, mix.first.clone()?))) {
            self.tell_mixer(station, id, Some(form)).await?;
        }
        if let Some((station, form)) =
            canvas.as_ref().and_then(|step| Some((step.station, step.first.clone()?)))
        {
            self.tell_canvas(station, id, Some(form)).await?;
        }
        if let Some(step) = plan.recording.as_ref().filter(|step| step.form.is_some()) {
            self.tell_recorder(id, step);
        }
        self.apply(first).await?;
        if let Some(mix) = mix {
            self.tell_mixer(mix.station, id, mix.last).await?;
        }
        if let Some(canvas) = canvas {
            self.tell_canvas(canvas.station, id, canvas.last).await?;
        }
        if let Some(step) = plan.recording.as_ref().filter(|step| step.form.is_none()) {
            self.tell_recorder(id, step);
        }
        self.apply(last).await?;
        give_back(&mut self.ids, &mut self.pools, plan.released);
        Ok(())
    }

    /// What another process runs now must not be changed here.
    pub(crate) fn check_ours(&self) -> Result<(), NodeError> {
        if self.taken_over { Err(NodeError::TakenOver) } else { Ok(()) }
    }

    /// Tells all these workers at once, and waits for all.
    async fn apply(&self, changes: BTreeMap<usize, Apply>) -> Result<(), NodeError> {
        let tell = |(worker, apply): (usize, Apply)| (worker, self.workers[worker].apply(apply));
        let told: Vec<_> = changes.into_iter().map(tell).collect();
        let mut result = Ok(());
        for (worker, answer) in told {
            match answer.await {
                None => result = Err(NodeError::WorkerGone(worker)),
                Some(Err(error)) => {
                    tracing::error!(worker, %error, "the relay refused what the node had checked");
                    result = Err(NodeError::Relay(error));
                }
                Some(Ok(())) => {}
            }
        }
        result
    }

    /// Keeps what placement knows of the workers in step with a conference that changed.
    fn account(&mut self, before: &Holdings, after: &Holdings) {
        for (worker, load) in self.loads.iter_mut().enumerate() {
            let legs = |held: &Holdings| held.legs.values().filter(|leg| leg.worker == worker).count() as u32;
            let to_here = |held: &Holdings| {
                held.routes.keys().filter(|key| held.legs[&key.to_leg].worker == worker).count() as u32
            };
            load.leave(legs(before));
            load.place(legs(after), to_here(after).saturating_sub(to_here(before)));
        }
        self.mixing.account(before, after, self.workers.len());
        self.canvases.account(before, after, self.workers.len() + self.mixing.threads());
    }

    fn check_ended(&self, id: &str, epoch: u64, revision: u64) -> Result<(), NodeError> {
        match self.ended.get(id) {
            Some((known, _)) if epoch < *known => Err(stale_epoch(id, epoch, *known, "ended")),
            Some((known, last)) if epoch == *known && revision <= *last => {
                let why = "ended here in this epoch; raise the epoch or the revision";
                Err(stale_revision(id, revision, *last, why))
            }
            _ => Ok(()),
        }
    }

    fn remember_ended(&mut self, id: &str, epoch: u64, revision: u64) {
        if self.ended.insert(id.to_owned(), (epoch, revision)).is_none() {
            self.ended_order.push_back(id.to_owned());
        }
        if self.ended_order.len() > ENDED_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    fn remember_names(&mut self, conference: &Conference) {
        let id = Id::from(&conference.spec.id);
        for (leg, held) in &conference.held.legs {
            self.names[held.worker].legs.insert(held.id, (id.clone(), leg.clone()));
        }
        for ((leg, medium), stream) in &conference.held.streams {
            let names = &mut self.names[conference.held.legs[leg].worker];
            names.streams.insert(*stream, (id.clone(), leg.clone(), medium.clone()));
        }
    }

    fn forget_names(&mut self, conference: &Conference) {
        for held in conference.held.legs.values() {
            self.names[held.worker].legs.remove(&held.id);
        }
        for ((leg, _), stream) in &conference.held.streams {
            self.names[conference.held.legs[leg].worker].streams.remove(stream);
        }
    }
}

/// Sockets of new ports, by worker.
type Opened = BTreeMap<usize, Vec<(SocketId, std::net::UdpSocket)>>;

fn sockets(ports: &HeldPorts) -> impl Iterator<Item = SocketId> {
    let own = [Some(ports.rtp), ports.rtcp].into_iter().filter(|_| !ports.shared);
    own.flatten().map(|(port, _)| SocketId(port.0))
}

fn stale_epoch(id: &str, given: u64, known: u64, what: &'static str) -> NodeError {
    NodeError::StaleEpoch { id: id.to_owned(), given, known, what }
}

fn stale_revision(id: &str, given: u64, known: u64, why: &'static str) -> NodeError {
    NodeError::StaleRevision { id: id.to_owned(), given, known, why }
}
