//! What the state asks of mixing threads.

use super::{Conference, Opened, State};
use crate::error::NodeError;
use crate::events::Events;
use crate::mixing::prompts::PromptFolder;
use crate::mixing::{MixingEvent, MixingEventKind, MixingGauge, MixingThread, PromptOrder, Tap, TapOf};
use crate::model::check::{Path, identifier};
use crate::model::{AudioMode, Id, Spec, below_all, gain};
use crate::plan::{Holdings, MixForm, plan};
use crate::resources::Taker;
use motet_mixer::audio::prompt::PromptSound;
use motet_mixer::audio::{MixDrop, MixDrops, SourceStatus};
use motet_proto::node as wire;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use wire::event::Kind;

/// The mixing threads, and what they have to do.
#[derive(Default)]
pub(crate) struct Mixing {
    threads: Vec<MixingThread>,
    /// Who takes part in mixes of each thread, and how many mixes it has.
    loads: Vec<(usize, usize)>,
    pub(super) prompts: PromptFolder,
}

impl Mixing {
    pub(crate) fn new(threads: Vec<MixingThread>, prompts: PromptFolder) -> Mixing {
        Mixing { loads: vec![(0, 0); threads.len()], threads, prompts }
    }

    /// For whoever watches the threads without holding them.
    pub(crate) fn gauges(&self) -> Vec<MixingGauge> {
        self.threads.iter().map(MixingThread::gauge).collect()
    }

    /// Number of threads.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// What planning looks at.
    pub(super) fn loads(&self) -> Vec<(usize, usize)> {
        self.loads.clone()
    }

    pub(crate) fn stop(&mut self) {
        self.threads.iter_mut().for_each(MixingThread::stop);
    }

    /// Keeps the loads in step with a conference that changed; `first` is the first mixing thread's station.
    pub(super) fn account(&mut self, before: &Holdings, after: &Holdings, first: usize) {
        for (held, joins) in [(before, false), (after, true)] {
            let Some(mix) = &held.mix else { continue };
            let (members, mixes) = &mut self.loads[mix.station - first];
            let count = mix.sources.len() + mix.outputs.len();
            (*members, *mixes) =
                if joins { (*members + count, *mixes + 1) } else { (*members - count, *mixes - 1) };
        }
    }
}

impl State {
    /// Tells the mixing thread at a station what a mix is to be; none: it ends.
    pub(super) async fn tell_mixer(
        &self,
        station: usize,
        id: &str,
        form: Option<Arc<MixForm>>,
    ) -> Result<(), NodeError> {
        let thread = self.mixer(station);
        match thread.put(id, form).await {
            None => Err(NodeError::MixerGone(station - self.workers.len())),
            Some(Err(error)) => {
                tracing::error!(conference = id, %error, "the mixer refused what the node had checked");
                Err(NodeError::Mixer(error))
            }
            Some(Ok(())) => Ok(()),
        }
    }

    /// Forwards the sound of these legs, and of no others, where the loudest are.
    pub(crate) async fn set_loudest(&mut self, id: &str, legs: Vec<Id>) -> Result<(), NodeError> {
        self.check_ours()?;
        let Some(conference) = self.conferences.get(id) else { return Ok(()) };
        if !matches!(conference.spec.audio, AudioMode::Loudest(_)) {
            // It was about the mode before.
            return Ok(());
        }
        let spec = Spec { loudest: legs.into_iter().collect(), ..conference.spec.clone() };
        self.follow(id, spec).await
    }

    /// All see a lecturer alone, or nobody does any more.
    pub(crate) async fn set_lecturer(&mut self, id: &str, lecturer: Option<Id>) -> Result<(), NodeError> {
        self.check_ours()?;
        let Some(conference) = self.conferences.get(id) else { return Ok(()) };
        let spec = Spec { lecturer, ..conference.spec.clone() };
        self.follow(id, spec).await
    }

    /// The pictures of a leg fit what is asked of the canvas, or no longer.
    pub(crate) async fn set_fits(&mut self, id: &str, leg: Id, fits: bool) -> Result<(), NodeError> {
        self.check_ours()?;
        let Some(conference) = self.conferences.get(id) else { return Ok(()) };
        let known = conference.spec.legs.contains_key(&leg);
        if conference.spec.video.canvas().is_none() || !known || conference.spec.fits.contains(&leg) == fits {
            return Ok(());
        }
        let mut spec = conference.spec.clone();
        if fits {
            spec.fits.insert(leg);
        } else {
            spec.fits.remove(&leg);
        }
        self.follow(id, spec).await
    }

    /// Does what the node has found out by itself about a conference that runs.
    async fn follow(&mut self, id: &str, spec: Spec) -> Result<(), NodeError> {
        let conference = &self.conferences[id];
        let (old, held) = (&conference.spec, &conference.held);
        let (threads, recorder) = (self.thread_loads(), self.recorder_station());
        let taker = Taker::new(&mut self.ids, &mut self.pools, &self.loads, self.limits, threads);
        let mut taker = taker.recording(recorder);
        let planned = match plan(Some(old), held, &spec, &mut taker) {
            Ok(planned) => planned,
            Err(error) => {
                taker.undo();
                return Err(error);
            }
        };
        let (before, next) = (held.clone(), planned.next.clone());
        self.carry_out(id, Opened::new(), planned).await?;
        self.account(&before, &next);
        let changed = self.change();
        let conference = self.conferences.get_mut(id).expect("only this call holds the state");
        (conference.spec, conference.held, conference.changed) = (spec, next, changed);
        Ok(())
    }

    /// Listens to a mix, or to one leg that is heard in it.
    pub(crate) async fn tap(&self, id: &str, leg: &str) -> Result<Tap, NodeError> {
        self.check_ours()?;
        let conference = self.conferences.get(id).ok_or_else(|| NodeError::NotFound(id.to_owned()))?;
        let mix = conference.held.mix.as_ref().filter(|_| conference.spec.audio.mix().is_some());
        let mix = mix.ok_or_else(|| {
            NodeError::invalid("conference", format!("'{id}' is not mixed (its audio mode)"))
        })?;
        let of = if leg.is_empty() { TapOf::Mix } else { TapOf::Leg(Id::from(leg)) };
        let tap = self.mixer(mix.station).tap(id, of).await;
        let tap = tap.ok_or(NodeError::MixerGone(mix.station - self.workers.len()))?;
        tap.ok_or_else(|| NodeError::invalid("leg", format!("no leg '{leg}' is heard in the mix")))
    }

    /// How the mix of a conference is doing; none: nothing listens to its sound.
    pub(super) async fn mix_stats(
        &self,
        conference: &Conference,
    ) -> Result<Option<wire::MixStats>, NodeError> {
        let Some(mix) = &conference.held.mix else { return Ok(None) };
        let index = mix.station - self.workers.len();
        let look = self.mixer(mix.station).look(&conference.spec.id).await;
        let look = look.ok_or(NodeError::MixerGone(index))?;
        let outputs = mix.outputs.iter().map(|(leg, output)| wire::MixOutputStats {
            leg: leg.to_string(),
            codec: output.part.codecs[0].wire.name.clone(),
            guarded_loss_percent: output.loss.percent().into(),
        });
        Ok(Some(wire::MixStats {
            mixing_thread: index as u32,
            sources: look.sources.iter().map(|(leg, status)| source_stats(leg, status)).collect(),
            outputs: outputs.collect(),
            drops: counted(&look.drops),
            rates_hz: look.rates_hz,
        }))
    }

    fn mixer(&self, station: usize) -> &MixingThread {
        &self.mixing.threads[station - self.workers.len()]
    }

    /// Where a conference is mixed, and at how many samples a second.
    fn mixed(&self, id: &str, epoch: u64) -> Result<(usize, u32), NodeError> {
        self.check_ours()?;
        let conference = self.conferences.get(id).ok_or_else(|| NodeError::NotFound(id.to_owned()))?;
        if epoch < conference.epoch {
            return Err(super::stale_epoch(id, epoch, conference.epoch, "runs"));
        }
        match (&conference.held.mix, conference.spec.audio.mix()) {
            (Some(mix), Some(settings)) => Ok((mix.station, settings.rate_hz)),
            _ => Err(NodeError::invalid("conference", format!("'{id}' is not mixed (its audio mode)"))),
        }
    }

    /// Checks an order to play a file, before that is loaded: gives where files are, and the mix's samples a second.
    pub(crate) fn check_prompt(
        &self,
        request: &wire::PlayPromptRequest,
    ) -> Result<(PromptFolder, u32), NodeError> {
        let (_, rate_hz) = self.mixed(&request.conference, request.epoch)?;
        identifier(&Path::root("prompt"), &request.prompt)?;
        gain(&Path::root("gain_db"), request.gain_db)?;
        duck(request)?;
        let hears = &self.conferences[&request.conference].held.mix.as_ref().expect("it is mixed").outputs;
        for (index, leg) in request.to.iter().enumerate() {
            if !hears.contains_key(leg.as_str()) {
                let why = format!("no leg '{leg}' hears the mix");
                return Err(NodeError::invalid(format!("to[{index}]"), why));
            }
        }
        Ok((self.mixing.prompts.clone(), rate_hz))
    }

    /// Plays a file that was loaded into a mix.
    pub(crate) async fn play_prompt(
        &self,
        request: wire::PlayPromptRequest,
        sound: PromptSound,
    ) -> Result<wire::PlayPromptResponse, NodeError> {
        // All may have changed while it was loaded.
        let (_, rate_hz) = self.check_prompt(&request)?;
        let duck_db = duck(&request)?;
        let wire::PlayPromptRequest { conference: id, epoch, prompt, to, gain_db, repeat, .. } = request;
        let (station, _) = self.mixed(&id, epoch)?;
        let sound = if sound.rate_hz() == rate_hz { sound } else { sound.at_rate(rate_hz) };
        let gain_db = gain(&Path::root("gain_db"), gain_db)?;
        let (duration_ms, to) = (sound.duration_ms(), to.iter().map(Id::from).collect());
        let order = PromptOrder { prompt: Id::from(&prompt), sound, to, gain_db, repeat, duck_db };
        match self.mixer(station).play(&id, order).await {
            None => Err(NodeError::MixerGone(station - self.workers.len())),
            Some(Err(error)) => Err(NodeError::invalid("prompt", error)),
            Some(Ok(())) => Ok(wire::PlayPromptResponse { duration_ms }),
        }
    }

    /// Ends a prompt.
    pub(crate) async fn stop_prompt(
        &self,
        request: wire::StopPromptRequest,
    ) -> Result<wire::StopPromptResponse, NodeError> {
        let (station, _) = self.mixed(&request.conference, request.epoch)?;
        let stopped = self.mixer(station).stop_prompt(&request.conference, &request.prompt).await;
        let existed = stopped.ok_or(NodeError::MixerGone(station - self.workers.len()))?;
        Ok(wire::StopPromptResponse { existed })
    }
}

fn source_stats(leg: &str, status: &SourceStatus) -> wire::MixSourceStats {
    let SourceStatus { mixed, speaking, level_db, playout, drops } = status;
    wire::MixSourceStats {
        leg: leg.to_owned(),
        mixed: *mixed,
        speaking: *speaking,
        level_dbov: f64::from(level_db.clamp(-127.0, 0.0)),
        // What is refused as it comes does not reach the jitter buffer.
        packets: playout.received
            + drops.count(MixDrop::UnknownPayloadType)
            + drops.count(MixDrop::BadPayload),
        lost: playout.lost,
        drops: counted(drops),
        recovered: playout.fec_recovered,
        concealed_ms: playout.concealed_ms,
        delay_ms: playout.delay_ms,
    }
}

/// Reasons for which something was dropped.
fn counted(drops: &MixDrops) -> HashMap<String, u64> {
    drops.iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
}

/// How loud the conference is while a prompt plays.
fn duck(request: &wire::PlayPromptRequest) -> Result<Option<f32>, NodeError> {
    request.duck_db.map(|duck_db| below_all(&Path::root("duck_db"), duck_db)).transpose()
}

/// Tells the watchers what happened in a mix.
pub(crate) fn publish(
    conferences: &BTreeMap<String, super::Conference>,
    events: &Events,
    event: MixingEvent,
) {
    let Some(conference) = conferences.get(event.conference.as_str()) else { return };
    let kind = match event.kind {
        // It changes what is forwarded, and is no news of its own.
        MixingEventKind::Loudest { .. } | MixingEventKind::Fits { .. } => return,
        MixingEventKind::Lecture { leg } => {
            let leg = leg.map(|leg| leg.to_string()).unwrap_or_default();
            Kind::LectureChanged(wire::LectureChanged { leg })
        }
        MixingEventKind::CanvasRate { frames_per_s, wanted } => {
            let frames_per_second = frames_per_s;
            Kind::CanvasRateChanged(wire::CanvasRateChanged { frames_per_second, wanted })
        }
        MixingEventKind::Speaker { leg, speaking } => {
            Kind::SpeakerChanged(wire::SpeakerChanged { leg: leg.to_string(), speaking })
        }
        MixingEventKind::Active { leg } => {
            let leg = leg.map(|leg| leg.to_string()).unwrap_or_default();
            Kind::ActiveSpeakerChanged(wire::ActiveSpeakerChanged { leg })
        }
        MixingEventKind::Key { leg, key, duration_ms } => Kind::KeyPressed(wire::KeyPressed {
            leg: leg.to_string(),
            key: key.to_string(),
            duration_ms: u64::from(duration_ms),
        }),
        MixingEventKind::PromptFinished { prompt, complete } => {
            Kind::PromptFinished(wire::PromptFinished { prompt: prompt.to_string(), complete })
        }
    };
    events.send(&event.conference, conference.epoch, kind);
}
