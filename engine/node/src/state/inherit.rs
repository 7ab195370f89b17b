//! The node's state, written down for the process that takes over, and taken up there.

use super::kept::KeptSpec;
use super::{Conference, State, sockets};
use crate::handover::form::{ConferenceForm, MixForm, NodeForm, PoolForm, RecordingForm, message};
use crate::handover::{MIXES_SINCE, RECORDINGS_SINCE};
use crate::ids::IdPool;
use crate::model::{Id, RouteKey, Spec};
use crate::plan::{Holdings, RecordStep, TrunkEnd};
use crate::resources::WorkerIds;
use crate::worker::Apply;
use motet_net::SocketId;
use motet_proto::node as wire;
use motet_rtp::Ntp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl State {
    /// Why another process cannot take all this over now by this version of the form; none: it can.
    pub(crate) fn check_movable(&self, version: u32) -> Result<(), String> {
        for Conference { spec, held, .. } in self.conferences.values() {
            let why = match (&held.mix, held.trunks.is_empty()) {
                _ if !spec.stills.is_empty() => "has a snapshot taken of it, which is over in seconds",
                _ if held.canvas.is_some() => "has a canvas, which cannot be handed over yet",
                (_, false) => "is spread over workers, and what is between them cannot be handed over yet",
                (Some(_), true) if version < MIXES_SINCE => {
                    "is mixed, and the new process is of a version that cannot take a mix over"
                }
                (_, true) if held.recording.is_some() && version < RECORDINGS_SINCE => {
                    "is recorded, and the new process is of a version that cannot take a recording over"
                }
                (_, true) => continue,
            };
            let id = &spec.id;
            return Err(format!("conference '{id}' {why}; drain the node instead (docs/upgrade.md)"));
        }
        Ok(())
    }

    /// Joins paused workers, mixing threads and the recorder as they were in the process before, and begins its mixes and
    /// recordings.
    pub(crate) async fn begin_inherited_mixes(&self) -> Result<(), String> {
        let mixes = || {
            let conferences = self.conferences.values();
            conferences.filter_map(|running| Some((&running.spec.id, running.held.mix.as_ref()?)))
        };
        let mut ends: BTreeMap<usize, Apply> = BTreeMap::new();
        for (_, mix) in mixes() {
            for (worker, trunk) in &mix.trunks {
                let end = TrunkEnd { port: trunk.near, worker: mix.station, peer: trunk.far };
                ends.entry(*worker).or_default().open_trunks.push(end);
            }
        }
        for conference in self.conferences.values() {
            let Some(recording) = &conference.held.recording else { continue };
            let Some(station) = recording.station else { continue };
            // The recorder is told first: it comes by itself, and drops what is for no end that it knows.
            let form = Some(Arc::clone(&recording.form));
            self.tell_recorder(&conference.spec.id, &RecordStep { station: Some(station), form });
            for (worker, trunk) in &recording.trunks {
                let end = TrunkEnd { port: trunk.near, worker: station, peer: trunk.far };
                ends.entry(*worker).or_default().open_trunks.push(end);
            }
        }
        self.apply(ends).await.map_err(|error| error.to_string())?;
        for (id, mix) in mixes() {
            let told = self.tell_mixer(mix.station, id, Some(Arc::clone(&mix.form))).await;
            told.map_err(|error| format!("conference '{id}': {error}"))?;
        }
        Ok(())
    }

    /// Writes down what the node holds; the rest of the form is the caller's.
    pub(crate) fn form(&self, node_id: &str, boot_id: &str, ntp_origin: Ntp) -> NodeForm {
        let pools = self.pools.iter().map(|pool| PoolForm { ip: pool.ip(), free: pool.free().collect() });
        let conferences = self.conferences.values().map(|conference| {
            // Who is heard is known to the relays.
            let Conference { wire, spec, epoch, revision, held, .. } = conference;
            let mix = held.mix.as_ref().map(|mix| MixForm::new(spec, mix, self.workers.len()));
            let recording = held.recording.as_ref().map(|recording| RecordingForm::new(spec, recording));
            ConferenceForm { mix, recording, ..ConferenceForm::new(&wire.spec(), (*epoch, *revision), held) }
        });
        let ended = self.ended_order.iter().filter_map(|id| {
            let (epoch, revision) = self.ended.get(id)?;
            Some((id.clone(), *epoch, *revision))
        });
        NodeForm {
            node_id: node_id.to_owned(),
            boot_id: boot_id.to_owned(),
            workers: self.workers.len(),
            draining: self.ending.is_draining(),
            ntp_origin: ntp_origin.0,
            metrics: None,
            pools: pools.collect(),
            conferences: conferences.collect(),
            ended: ended.collect(),
        }
    }

    /// Sockets of each worker.
    pub(crate) fn sockets_by_worker(&self) -> Vec<Vec<SocketId>> {
        let mut all = vec![Vec::new(); self.workers.len()];
        for conference in self.conferences.values() {
            for leg in conference.held.legs.values() {
                all[leg.worker].extend(leg.ports.iter().flat_map(sockets));
            }
        }
        all
    }

    /// Takes up what another process held. Only for a state in which nothing runs.
    ///
    /// Errors: it does not fit this process; the text names the option or the conference. The state is of no
    /// use then.
    pub(crate) fn inherit(&mut self, form: NodeForm) -> Result<(), String> {
        assert!(self.conferences.is_empty(), "only an empty node inherits");
        if form.workers > self.workers.len() {
            return Err(format!(
                "--workers: the running node has {}, this one {}; there must be as many",
                form.workers,
                self.workers.len()
            ));
        }
        let pool_of = self.pools_for(&form.pools)?;
        for conference in form.conferences {
            self.inherit_conference(conference, &pool_of)?;
        }
        for (from, to) in form.pools.iter().zip(&pool_of) {
            let legs = self.conferences.values().flat_map(|conference| conference.held.legs.values());
            let ports = legs.flat_map(|leg| &leg.ports).filter(|ports| ports.pool == *to);
            let held: Vec<u16> = ports.map(|ports| ports.base).collect();
            self.pools[*to].go_on_for(&held, &from.free);
        }
        self.ids = (0..self.ids.len()).map(|station| self.ids_in_use(station)).collect();
        if form.draining {
            // Whoever gave it a deadline gives the new process another one.
            self.ending.begin(None);
        }
        for (id, epoch, revision) in form.ended {
            self.remember_ended(&id, epoch, revision);
        }
        Ok(())
    }

    /// Which of our pools each of the writer's is.
    fn pools_for(&self, theirs: &[PoolForm]) -> Result<Vec<usize>, String> {
        let find = |form: &PoolForm| {
            let found = self.pools.iter().position(|pool| pool.ip() == form.ip);
            found.ok_or_else(|| format!("--media-ip: the running node carries media at {} too", form.ip))
        };
        theirs.iter().map(find).collect()
    }

    fn inherit_conference(&mut self, mut form: ConferenceForm, pool_of: &[usize]) -> Result<(), String> {
        let wire: wire::ConferenceSpec = message("the specification of a conference", &form.spec)?;
        let named = |why: String| format!("conference '{}': {why}", wire.id);
        let spec = Spec::from_wire(&wire, self.pools[0].ip().is_ipv6());
        let mut spec = spec.map_err(|error| named(error.to_string()))?;
        let (epoch, revision, mix) = (form.epoch, form.revision, form.mix.take());
        let recording = form.recording.take();
        spec.failed_recordings = recording.as_ref().map(RecordingForm::failed).unwrap_or_default();
        spec.loudest = mix.iter().flat_map(|mix| &mix.loudest).map(Id::from).collect();
        let mut held = form.holdings(pool_of).map_err(named)?;
        if let Some(leg) = held.legs.values().find(|leg| leg.worker >= self.workers.len()) {
            return Err(named(format!("runs on worker {}, which does not exist", leg.worker)));
        }
        check_holdings(&spec, &held).map_err(|why| named(why.to_owned()))?;
        let stations = (self.workers.len(), self.mixing.threads());
        held.mix = mix.map(|mix| mix.held(&spec, &held, stations)).transpose().map_err(named)?;
        if spec.listening().is_some() != held.mix.is_some() {
            return Err(named("is mixed by its specification only".to_owned()));
        }
        let stations = (self.workers.len(), self.recorder_station());
        held.recording =
            recording.map(|form| form.held(&spec, &held, stations)).transpose().map_err(named)?;
        if spec.recordings.is_empty() != held.recording.is_none() {
            return Err(named("is recorded by its specification only".to_owned()));
        }
        let (wire, alive, speaker) = (KeptSpec::new(&wire), BTreeSet::new(), None);
        let changed = self.change();
        let conference = Conference { wire, spec, epoch, revision, held, alive, speaker, changed };
        self.remember_names(&conference);
        self.account(&Holdings::default(), &conference.held);
        self.conferences.insert(conference.spec.id.clone(), conference);
        Ok(())
    }

    /// Numbers of a worker, or of a mixing thread, which has ports only.
    fn ids_in_use(&self, station: usize) -> WorkerIds {
        let (mut legs, mut streams) = (BTreeSet::new(), BTreeSet::new());
        let (mut routes, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for held in self.conferences.values().map(|conference| &conference.held) {
            let is_here = |leg: &Id| held.legs[leg].worker == station;
            let legs_here = || held.legs.values().filter(|leg| leg.worker == station);
            legs.extend(legs_here().map(|leg| leg.id.0));
            ports.extend(legs_here().flat_map(|leg| &leg.ports).flat_map(sockets).map(|socket| socket.0));
            let streams_here = held.streams.iter().filter(|((leg, _), _)| is_here(leg));
            streams.extend(streams_here.map(|(_, id)| id.0));
            let routes_here = held.routes.iter().filter(|(key, _)| is_here(&key.to_leg));
            routes.extend(routes_here.map(|(_, route)| route.id.0));
            if let Some(recording) = &held.recording {
                if recording.station == Some(station) {
                    ports.extend(recording.trunks.values().map(|trunk| trunk.far.0));
                }
                if let Some(trunk) = recording.trunks.get(&station) {
                    legs.insert(trunk.leg.0);
                    ports.insert(trunk.near.0);
                }
                let tracks_here = recording.tracks.iter().filter(|((leg, _), _)| is_here(leg));
                routes.extend(tracks_here.map(|(_, track)| track.route.0));
            }
            let Some(mix) = &held.mix else { continue };
            if mix.station == station {
                ports.extend(mix.trunks.values().map(|trunk| trunk.far.0));
            }
            if let Some(trunk) = mix.trunks.get(&station) {
                legs.insert(trunk.leg.0);
                ports.insert(trunk.near.0);
            }
            for (_, source) in mix.sources.iter().filter(|(leg, _)| is_here(leg)) {
                routes.insert(source.route.0);
            }
            for (_, output) in mix.outputs.iter().filter(|(leg, _)| is_here(leg)) {
                streams.insert(output.stream.0);
                routes.insert(output.route.0);
            }
        }
        WorkerIds {
            shared: Vec::new(),
            legs: IdPool::with_taken(&legs),
            streams: IdPool::with_taken(&streams),
            routes: IdPool::with_taken(&routes),
            ports: IdPool::with_taken(&ports),
        }
    }
}

/// What is held must be of what is specified, or planning the next change would fail.
fn check_holdings(spec: &Spec, held: &Holdings) -> Result<(), &'static str> {
    let same_legs = spec.legs.keys().eq(held.legs.keys());
    let ports_fit = held.legs.iter().all(|(id, leg)| {
        spec.legs.get(id).is_some_and(|spec| {
            let mut pairs = spec.transports.iter().zip(&leg.ports);
            spec.transports.len() == leg.ports.len()
                && pairs.all(|(transport, ports)| transport.ipv6 == ports.rtp.1.is_ipv6())
        })
    });
    let medium = |leg: &str, id: &str| {
        spec.legs.get(leg).is_some_and(|leg| leg.media.iter().any(|medium| medium.id == *id))
    };
    let streams_fit = held.streams.keys().all(|(leg, id)| medium(leg, id));
    let routes_fit = held
        .routes
        .keys()
        .chain(held.refused.keys())
        .all(|key| medium(&key.from_leg, &key.from_medium) && medium(&key.to_leg, &key.to_medium));
    // Streams cross by trunks, which are not handed over.
    let on_one_worker = |key: &RouteKey| {
        let worker = |leg: &Id| held.legs.get(leg).map(|leg| leg.worker);
        worker(&key.from_leg) == worker(&key.to_leg)
    };
    let none_crosses = held.routes.keys().all(on_one_worker);
    if same_legs && ports_fit && streams_fit && routes_fit && none_crosses {
        Ok(())
    } else {
        Err("what it holds is not what its specification says")
    }
}
