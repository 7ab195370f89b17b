//! A mix, written down: the numbers that join workers and a mixing thread. Who takes part follows from the
//! specification; what a decoder or an automatic gain knew begins anew.

use crate::model::{Id, Spec};
use crate::plan::{HeldMix, HeldOutput, HeldSource, Holdings, LossWatch, MixTrunk};
use crate::routing::{Mixed, Participation, Routes};
use motet_relay::{LegId, PortId, RouteId, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

form! {
    /// A mix. `thread` counts mixing threads; `loudest` are the legs that are forwarded where only the loudest are.
    struct MixForm {
        thread: usize,
        trunks: Vec<MixTrunkForm>,
        sources: Vec<MixSourceForm>,
        outputs: Vec<MixOutputForm>,
        loudest: Vec<String>,
    }

    /// What joins a worker and the mixing thread.
    struct MixTrunkForm {
        worker: usize,
        leg: LegId,
        near: PortId,
        far: PortId,
    }

    /// Somebody who is heard.
    struct MixSourceForm {
        leg: String,
        stream: StreamId,
        route: RouteId,
        ssrc: u32,
        active: bool,
    }

    /// Somebody who hears.
    struct MixOutputForm {
        leg: String,
        stream: StreamId,
        crossing: u32,
        route: RouteId,
        ssrc: u32,
    }
}

impl MixForm {
    /// `first` is the station of the first mixing thread.
    pub(crate) fn new(spec: &Spec, held: &HeldMix, first: usize) -> MixForm {
        let trunks = held.trunks.iter().map(|(worker, trunk)| {
            let MixTrunk { leg, near, far } = *trunk;
            MixTrunkForm { worker: *worker, leg, near, far }
        });
        let sources = held.sources.iter().map(|(leg, source)| {
            let HeldSource { part: _, stream, route, ssrc, active } = *source;
            MixSourceForm { leg: leg.to_string(), stream, route, ssrc, active }
        });
        let outputs = held.outputs.iter().map(|(leg, output)| {
            // What it loses, its next reports tell.
            let HeldOutput { part: _, stream, crossing, route, ssrc, loss: _ } = *output;
            MixOutputForm { leg: leg.to_string(), stream, crossing, route, ssrc }
        });
        MixForm {
            thread: held.station - first,
            trunks: trunks.collect(),
            sources: sources.collect(),
            outputs: outputs.collect(),
            loudest: spec.loudest.iter().map(Id::to_string).collect(),
        }
    }

    /// What is held of it by a node with so many workers and mixing threads. `held` is the rest, and `spec` says who
    /// the loudest are already.
    pub(crate) fn held(
        self,
        spec: &Spec,
        held: &Holdings,
        (workers, threads): (usize, usize),
    ) -> Result<HeldMix, String> {
        if self.thread >= threads {
            return Err(format!(
                "--mixing-threads: it is mixed on thread {} of the running node (they count from 0); this one has {threads}",
                self.thread
            ));
        }
        let wrong = || "what its mix holds is not what its specification says".to_owned();
        let Mixed { sources, outputs, unheard, unserved } = Routes::of(spec).mixed.ok_or_else(wrong)?;
        let trunk = |form: MixTrunkForm| {
            let MixTrunkForm { worker, leg, near, far } = form;
            (worker, MixTrunk { leg, near, far })
        };
        let trunks: BTreeMap<usize, MixTrunk> = self.trunks.into_iter().map(trunk).collect();
        let source = |form: MixSourceForm| {
            let (leg, part) = part(form.leg, &sources)?;
            let MixSourceForm { stream, route, ssrc, active, .. } = form;
            Some((leg, HeldSource { part, stream, route, ssrc, active }))
        };
        let output = |form: MixOutputForm| {
            let (leg, part) = part(form.leg, &outputs)?;
            let MixOutputForm { stream, crossing, route, ssrc, .. } = form;
            Some((leg, HeldOutput { part, stream, crossing, route, ssrc, loss: LossWatch::default() }))
        };
        let held_sources: Option<BTreeMap<_, _>> = self.sources.into_iter().map(source).collect();
        let held_outputs: Option<BTreeMap<_, _>> = self.outputs.into_iter().map(output).collect();
        let (held_sources, held_outputs) = held_sources.zip(held_outputs).ok_or_else(wrong)?;
        let joined = |leg: &Id| held.legs.get(leg).is_some_and(|leg| trunks.contains_key(&leg.worker));
        if !held_sources.keys().eq(sources.keys())
            || !held_outputs.keys().eq(outputs.keys())
            || !sources.keys().chain(outputs.keys()).all(joined)
            || trunks.keys().any(|worker| *worker >= workers)
        {
            return Err(wrong());
        }
        let settings = spec.listening().ok_or_else(wrong)?;
        let mut mix = HeldMix {
            station: workers + self.thread,
            trunks,
            sources: held_sources,
            outputs: held_outputs,
            unheard,
            unserved,
            form: Arc::new(crate::plan::MixForm::empty(settings)),
        };
        mix.form = Arc::new(crate::plan::MixForm::new(spec, held, &mix));
        Ok(mix)
    }
}

fn part(leg: String, parts: &BTreeMap<Id, Participation>) -> Option<(Id, Participation)> {
    let leg = Id::from(leg);
    let part = parts.get(&leg)?.clone();
    Some((leg, part))
}
