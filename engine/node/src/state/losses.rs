//! What receivers of mixes lose, from the relays' routes to the mixing threads.

use super::State;
use crate::model::Id;
use crate::worker::Stats;
use motet_relay::RouteId;
use motet_rtp::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Routes asked about at once: the worker carries packets between two questions.
const ASKED_AT_ONCE: usize = 1_024;

/// Routes of one worker, and whose they are: conference and leg.
type Asked = Vec<(RouteId, (Id, Id))>;

impl State {
    /// Looks at what receivers report, and tells the mixing threads of those for whom error correction begins, ends
    /// or changes. To be called every few seconds.
    pub(crate) async fn watch_losses(&mut self, now: Time) {
        if self.taken_over {
            return;
        }
        let mut changed = BTreeSet::new();
        for (worker, asked) in self.lossy_routes() {
            for asked in asked.chunks(ASKED_AT_ONCE) {
                let routes = asked.iter().map(|(route, _)| *route).collect();
                // A worker that is gone ends the node.
                let Some(stats) = self.workers[worker].stats(Vec::new(), routes).await else { return };
                self.look_at_losses(now, asked, &stats, &mut changed);
            }
        }
        for id in changed {
            self.tell_losses(&id).await;
        }
    }

    /// Routes from a mix to those who make use of error correction, by worker.
    fn lossy_routes(&self) -> BTreeMap<usize, Asked> {
        let mut asked: BTreeMap<usize, Asked> = BTreeMap::new();
        for (id, conference) in &self.conferences {
            let outputs = conference.held.mix.iter().flat_map(|mix| &mix.outputs);
            for (leg, output) in outputs.filter(|(_, output)| output.asks_for_fec()) {
                let worker = conference.held.legs[leg].worker;
                let whose = (Id::from(id), leg.clone());
                asked.entry(worker).or_default().push((output.route, whose));
            }
        }
        asked
    }

    fn look_at_losses(
        &mut self,
        now: Time,
        asked: &[(RouteId, (Id, Id))],
        stats: &Stats,
        changed: &mut BTreeSet<Id>,
    ) {
        for ((_, (id, leg)), stats) in asked.iter().zip(&stats.routes) {
            let Some((stats, fraction_lost)) = stats.and_then(|stats| Some((stats, stats.fraction_lost?)))
            else {
                continue;
            };
            let conference = self.conferences.get_mut(id.as_str()).expect("only this call holds the state");
            let mix = conference.held.mix.as_mut().expect("it was mixed a moment ago");
            let output = mix.outputs.get_mut(leg).expect("it heard a moment ago");
            if output.loss.look(now, fraction_lost, stats.lost) {
                let percent = output.loss.percent();
                tracing::debug!(conference = %id, %leg, percent, "the mix is guarded against another loss");
                changed.insert(id.clone());
            }
        }
    }

    async fn tell_losses(&mut self, id: &Id) {
        let conference = self.conferences.get_mut(id.as_str()).expect("only this call holds the state");
        let mix = conference.held.mix.as_mut().expect("it was mixed a moment ago");
        let form = Arc::make_mut(&mut mix.form);
        for (leg, output) in &mut form.outputs {
            output.loss_percent = mix.outputs[leg].loss.percent();
        }
        let (station, form) = (mix.station, Arc::clone(&mix.form));
        if let Err(error) = self.tell_mixer(station, id, Some(form)).await {
            tracing::warn!(conference = %id, %error, "losses are known and cannot be told to the mixer");
        }
    }
}
