//! What the state asks of canvas threads.

use super::{Conference, State};
use crate::canvas::{CanvasGauge, CanvasThread, StillFolder, StillsByName};
use crate::error::NodeError;
use crate::model::{Id, Spec};
use crate::plan::{CanvasForm, Holdings, Plan};
use crate::resources::ThreadLoads;
use crate::routing::Sees;
use motet_codecs::video::Frame;
use motet_mixer::video::CanvasText;
use motet_proto::node as wire;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The canvas threads, and what they have to do.
#[derive(Default)]
pub(crate) struct Canvases {
    threads: Vec<CanvasThread>,
    /// Who takes part in canvases of each thread, and how many it has.
    loads: Vec<(usize, usize)>,
    /// How pictures come to receivers where there is something to choose.
    pub(crate) ways: Ways,
    /// There is a font for names.
    has_font: bool,
    stills: StillFolder,
}

/// Receivers by the way on which pictures come to them: who sees a canvas, or the stream or the pictures of another one
/// instead, and who lacks a codec.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    pub(crate) relayed: usize,
    pub(crate) transcoded: usize,
    pub(crate) composed: usize,
}

impl Ways {
    fn of(held: &Holdings) -> Ways {
        let transcoded = held.routes.values().filter(|route| route.wanted.transcoded.is_some()).count();
        let mut ways = Ways { transcoded, ..Ways::default() };
        for held in held.canvas.iter().flat_map(|canvas| canvas.views.values()) {
            let way = match (&held.view.relayed, &held.view.sees.alone) {
                (Some(_), _) => &mut ways.relayed,
                (None, Some(_)) => &mut ways.transcoded,
                (None, None) => &mut ways.composed,
            };
            *way += 1;
        }
        ways
    }
}

impl Canvases {
    pub(crate) fn new(threads: Vec<CanvasThread>, has_font: bool, stills: StillFolder) -> Canvases {
        let (loads, ways) = (vec![(0, 0); threads.len()], Ways::default());
        Canvases { loads, threads, ways, has_font, stills }
    }

    /// Whether the canvas of a conference can be made here.
    pub(super) fn check(&self, spec: &Spec) -> Result<(), NodeError> {
        if self.has_font || self.threads.is_empty() {
            return Ok(());
        }
        let Some(canvas) = spec.video.canvas() else { return Ok(()) };
        let of_text = |text: &CanvasText| if text.speed_percent == 0 { "banner" } else { "caption" };
        let field = canvas.names.then_some("names").or_else(|| canvas.texts.first().map(of_text));
        let Some(field) = field else { return Ok(()) };
        let field = format!("spec.video.canvas.{field}");
        Err(NodeError::Exhausted { field, why: "this node has no font (--font)".to_owned() })
    }

    /// The stills that a conference names. What cannot be had is refused where somebody is there to be told: a
    /// conference that comes from another node goes on without.
    pub(super) async fn stills(&self, spec: &Spec, is_new: bool) -> Result<StillsByName, NodeError> {
        if spec.named_stills().next().is_none() {
            return Ok(StillsByName::new());
        }
        let (folder, spec) = (self.stills.clone(), spec.clone());
        let read = tokio::task::spawn_blocking(move || folder.of(&spec, is_new)).await;
        read.map_err(|error| NodeError::Mixer(format!("stills cannot be read: {error}")))?
    }

    /// What was planned, once its canvas can be put; `first` is the first canvas thread's station.
    pub(super) async fn ready_for(
        &self,
        planned: Result<Plan, NodeError>,
        first: usize,
    ) -> Result<Plan, NodeError> {
        let planned = planned?;
        let step = planned.canvas.as_ref().filter(|step| step.first.is_some() || step.last.is_some());
        let Some(index) = step.map(|step| step.station - first) else { return Ok(planned) };
        let why = match self.threads[index].ready().await {
            None => return Err(NodeError::CanvasGone(index)),
            Some(Ok(())) => return Ok(planned),
            Some(Err(why)) => why,
        };
        tracing::error!(thread = index, why, "no process for canvases can be started");
        let why = format!(
            "no process can be started to compose its pictures: {why}; see what the node's machine and unit allow"
        );
        Err(NodeError::Exhausted { field: "spec.video".to_owned(), why })
    }

    /// For whoever watches the threads without holding them.
    pub(crate) fn gauges(&self) -> Vec<CanvasGauge> {
        self.threads.iter().map(CanvasThread::gauge).collect()
    }

    /// Number of threads.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    pub(crate) fn stop(&mut self) {
        self.threads.iter_mut().for_each(CanvasThread::stop);
    }

    /// Keeps the loads in step with a conference that changed; `first` is the first canvas thread's station.
    pub(super) fn account(&mut self, before: &Holdings, after: &Holdings, first: usize) {
        let (gone, come, ways) = (Ways::of(before), Ways::of(after), self.ways);
        self.ways = Ways {
            relayed: ways.relayed + come.relayed - gone.relayed,
            transcoded: ways.transcoded + come.transcoded - gone.transcoded,
            composed: ways.composed + come.composed - gone.composed,
        };
        for (held, joins) in [(before, false), (after, true)] {
            let Some(canvas) = &held.canvas else { continue };
            let (members, canvases) = &mut self.loads[canvas.station - first];
            // What is decoded and what is encoded; to be sent to many costs little here.
            let count = canvas.taken().count() + canvas.outputs();
            (*members, *canvases) =
                if joins { (*members + count, *canvases + 1) } else { (*members - count, *canvases - 1) };
        }
    }
}

impl State {
    /// What planning looks at.
    pub(super) fn thread_loads(&self) -> ThreadLoads {
        ThreadLoads { mixing: self.mixing.loads(), canvas: self.canvases.loads.clone() }
    }

    fn canvas_index(&self, station: usize) -> usize {
        station - self.workers.len() - self.mixing.threads()
    }

    /// Tells the canvas thread at a station what a canvas is to be; none: it ends.
    pub(super) async fn tell_canvas(
        &self,
        station: usize,
        id: &str,
        form: Option<Arc<CanvasForm>>,
    ) -> Result<(), NodeError> {
        let index = self.canvas_index(station);
        let begins = form.is_some();
        match self.canvases.threads[index].put(id, form).await {
            None => return Err(NodeError::CanvasGone(index)),
            Some(Err(error)) => {
                tracing::error!(conference = id, %error, "the canvas refused what the node had checked");
                return Err(NodeError::Mixer(error));
            }
            Some(Ok(())) => {}
        }
        let speaker = self.conferences.get(id).and_then(|conference| conference.speaker.clone());
        if begins && speaker.is_some() {
            self.canvases.threads[index].tell_speaker(id, speaker);
        }
        Ok(())
    }

    /// Another one talks most in a conference, and is to be seen so; none: who did has left.
    pub(crate) fn show_speaker(&mut self, id: &str, leg: Option<Id>) {
        let Some(conference) = self.conferences.get_mut(id) else { return };
        conference.speaker.clone_from(&leg);
        if let Some(canvas) = &conference.held.canvas {
            let index = canvas.station - self.workers.len() - self.mixing.threads();
            self.canvases.threads[index].tell_speaker(id, leg);
        }
    }

    /// What the canvas of a conference at a station shows now; none: nobody gets it.
    pub(super) async fn canvas_frame(&self, station: usize, id: &str) -> Option<Frame> {
        self.canvases.threads[self.canvas_index(station)].picture(id).await
    }

    /// Somebody begins to talk in a conference, or stops.
    pub(crate) fn show_talks(&self, id: &str, leg: Id, talks: bool) {
        let canvas = self.conferences.get(id).and_then(|conference| conference.held.canvas.as_ref());
        if let Some(canvas) = canvas {
            self.canvases.threads[self.canvas_index(canvas.station)].tell_talks(id, leg, talks);
        }
    }

    /// How the canvas of a conference is doing; none: there is none.
    pub(super) async fn canvas_stats(
        &self,
        conference: &Conference,
    ) -> Result<Option<wire::CanvasStats>, NodeError> {
        let Some(canvas) = &conference.held.canvas else { return Ok(None) };
        let index = self.canvas_index(canvas.station);
        let look = self.canvases.threads[index].look(&conference.spec.id).await;
        let look = look.ok_or(NodeError::CanvasGone(index))?;
        // On several workers the same is encoded once.
        let mut outputs: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for (leg, held) in canvas.views.iter().filter(|(_, held)| held.view.relayed.is_none()) {
            let same = (held.feed.format, held.feed.sees.clone());
            outputs.entry(same).or_default().push(leg.to_string());
        }
        for (key, held) in &conference.held.routes {
            let Some(format) = held.wanted.transcoded else { continue };
            let same = (format, Sees::alone(&key.from_leg, &key.from_medium));
            outputs.entry(same).or_default().push(key.to_leg.to_string());
        }
        let settings = conference.spec.video.canvas();
        let outputs = outputs.into_iter().map(|((format, sees), legs)| {
            let codec = format.name.encoding_name().to_owned();
            if let Some((leg, medium)) = sees.alone {
                let (from_leg, from_medium) = (leg.to_string(), medium.to_string());
                return wire::CanvasOutputStats { codec, legs, from_leg, from_medium, ..Default::default() };
            }
            let layout = sees.layout.as_ref().or(settings.map(|settings| &settings.layout));
            let pinned = sees.pinned.as_ref().or(settings.and_then(|settings| settings.pinned.as_ref()));
            wire::CanvasOutputStats {
                codec,
                legs,
                layout: layout.map(ToString::to_string).unwrap_or_default(),
                pinned: pinned.map(Id::to_string).unwrap_or_default(),
                ..Default::default()
            }
        });
        let stats = look.stats;
        Ok(Some(wire::CanvasStats {
            canvas_thread: index as u32,
            frames_per_second: look.frames_per_s,
            sources: canvas
                .taken()
                .map(|(leg, _)| leg.to_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            outputs: outputs.collect(),
            decoded: stats.decoded,
            decodes_spared: stats.decodes_spared,
            decoded_layers: stats.decoded_layers,
            undecoded: stats.undecoded,
            concealed: stats.concealed,
            composed: stats.composed,
            composes_shared: stats.composes_shared,
            encoded: stats.encoded,
            encodes_shared: stats.encodes_shared,
            missed: stats.missed,
            packets_refused: stats.packets_refused,
            transcoded: stats.transcoded,
        }))
    }
}
