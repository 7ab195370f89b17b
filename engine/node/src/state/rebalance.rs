//! Conferences are weighed, and one is moved, when a worker is too busy.

use super::{Conference, State};
use crate::placement::WorkerLoad;
use crate::placement::rebalance::{Rebalancer, Workers};
use crate::plan::only_worker;
use crate::worker::Worker;
use motet_proto::node as wire;
use motet_rtp::Time;
use std::collections::BTreeMap;

/// Routes and streams asked about at once: the worker carries packets between two questions.
const ASKED_AT_ONCE: usize = 1_024;

impl State {
    /// Moves conferences away from workers that are busier than this from now on; none: from no worker.
    pub(crate) fn rebalance_above(&mut self, busy: Option<f64>) {
        self.rebalancer = busy.map(Rebalancer::new);
    }

    /// To be called after each measurement: moves one conference if that helps.
    pub(crate) async fn rebalance(&mut self, now: Time) {
        let Some(rebalancer) = &mut self.rebalancer else { return };
        if self.taken_over || self.claims.is_some() || self.ending.is_draining() {
            return;
        }
        let busy: Vec<f64> = self.loads.iter().map(WorkerLoad::busy).collect();
        let Some(from) = rebalancer.look(now, &busy) else { return };
        let Some(packets) = weigh(&self.workers, &self.conferences, from).await else { return };
        let workers = Workers { busy: &busy, packets_per_second: self.loads[from].packets_per_second() };
        let Some(choice) = rebalancer.choose(now, workers, packets) else { return };
        let (id, to) = (choice.conference, choice.to as u32);
        let busy_percent = (100.0 * busy[from]).round();
        tracing::info!(worker = from, busy_percent, conference = %id, to, "a worker is busy; a conference goes");
        let epoch = self.conferences.get(&id).map_or(0, |conference| conference.epoch);
        let request = wire::MoveConferenceRequest { id, epoch, worker: to };
        if let Err(error) = self.move_conference(request).await {
            tracing::warn!(%error, "the conference stays");
        }
    }
}

/// Packets so far of each conference that is on this worker alone. None: the worker is gone.
async fn weigh(
    workers: &[Worker],
    conferences: &BTreeMap<String, Conference>,
    worker: usize,
) -> Option<BTreeMap<String, u64>> {
    let mut packets = BTreeMap::new();
    let (mut streams, mut routes) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for (id, conference) in conferences {
        if only_worker(&conference.held) != Some(worker) {
            continue;
        }
        packets.insert(id.clone(), 0);
        streams.0.extend(conference.held.streams.values().copied());
        streams.1.resize(streams.0.len(), id);
        routes.0.extend(conference.held.routes.values().map(|route| route.id));
        routes.1.resize(routes.0.len(), id);
    }
    let mut add = |id: &str, more: u64| {
        *packets.get_mut(id).expect("it was put there") += more;
    };
    for (ids, owners) in streams.0.chunks(ASKED_AT_ONCE).zip(streams.1.chunks(ASKED_AT_ONCE)) {
        let stats = workers[worker].stats(ids.to_vec(), Vec::new()).await?.streams;
        owners.iter().zip(stats).for_each(|(id, stats)| add(id, stats.map_or(0, |stats| stats.packets)));
    }
    for (ids, owners) in routes.0.chunks(ASKED_AT_ONCE).zip(routes.1.chunks(ASKED_AT_ONCE)) {
        let stats = workers[worker].stats(Vec::new(), ids.to_vec()).await?.routes;
        owners.iter().zip(stats).for_each(|(id, stats)| add(id, stats.map_or(0, |stats| stats.packets)));
    }
    Some(packets)
}
