//! Mixing threads: where conferences are mixed, each every 20 ms.
//!
//! A mixing thread is a station of the node's exchange, like a worker, with no sockets: what is to be mixed comes in
//! parcels, and what it makes leaves in parcels. It sleeps until the next quarter of its conferences is due, takes what
//! came until then, mixes them and hands over what that made. Everything between it and the rest of the node is
//! a bounded queue: of parcels, of jobs, of events.
//!
//! Ticks lie on an absolute timeline (`schedule.rs`). When there is too much to do, rules say what is left out
//! (`overload.rs`).

use crate::exchange::Exchange;
use crate::fence::Fence;
use crate::model::Id;
use crate::plan::MixForm;
use crate::worker::{Clock, thread_id};
use crossbeam_channel::{Sender, TrySendError, bounded};
use motet_mixer::audio::prompt::PromptSound;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

mod groups;
mod meter;
pub(crate) mod overload;
mod phase;
pub(crate) mod prompts;
mod room;
mod schedule;
mod tap;
mod thread;
mod translate;

use meter::MixingShown;
pub(crate) use meter::{MixingSnapshot, tick_bounds_seconds};
pub(crate) use room::RoomStatus;
use tap::TapEnd;
pub(crate) use tap::{Tap, TapFrame, TapOf};
pub(crate) use thread::on_cpu;

/// Jobs that may wait for a mixing thread.
const JOBS_WAITING_MAX: usize = 1024;

/// Something that happened in a mix, or on a canvas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MixingEvent {
    pub(crate) conference: Id,
    pub(crate) kind: MixingEventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum MixingEventKind {
    /// Somebody began or stopped to talk.
    Speaker { leg: Id, speaking: bool },
    /// Another one talks most; none: who did has left.
    Active { leg: Option<Id> },
    /// These are the loudest now, where that is all that the mix is for.
    Loudest { legs: Vec<Id> },
    /// A key was pressed.
    Key { leg: Id, key: char, duration_ms: u32 },
    /// A prompt is over.
    PromptFinished { prompt: Id, complete: bool },
    /// This one holds a lecture on a canvas; none: that is over.
    Lecture { leg: Option<Id> },
    /// The pictures of this one fit what is asked of a canvas, or no longer.
    Fits { leg: Id, fits: bool },
    /// A canvas is made at another rate, in pictures a second.
    CanvasRate { frames_per_s: f64, wanted: u32 },
}

/// A prompt to be played.
#[derive(Clone, Debug)]
pub(crate) struct PromptOrder {
    /// Its name.
    pub(crate) prompt: Id,
    pub(crate) sound: PromptSound,
    /// Legs that hear it; empty: all.
    pub(crate) to: Vec<Id>,
    pub(crate) gain_db: f32,
    pub(crate) repeat: bool,
    /// How loud the conference is meanwhile, in decibels; none: as it is.
    pub(crate) duck_db: Option<f32>,
}

/// What a mixing thread is asked to do.
enum Job {
    /// Make a mix what the form says; none: end it.
    Put(Id, Option<Arc<MixForm>>, oneshot::Sender<Result<(), String>>),
    /// Play a prompt. An error is the caller's.
    Play(Id, PromptOrder, oneshot::Sender<Result<(), String>>),
    /// Stop a prompt; false: it does not play.
    Stop(Id, String, oneshot::Sender<bool>),
    /// Hand over sound; false: the conference is not mixed, or the leg is not heard in it.
    Tap(Id, TapEnd, oneshot::Sender<bool>),
    /// Who is heard, and how.
    Look(Id, oneshot::Sender<Option<RoomStatus>>),
    End,
}

/// Settings of a mixing thread.
pub(crate) struct MixingOptions {
    /// Its place in the exchange.
    pub(crate) station: usize,
    /// Its number among mixing threads.
    pub(crate) index: usize,
    pub(crate) core: Option<usize>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) clock: Clock,
    pub(crate) fence: Fence,
    pub(crate) events: mpsc::Sender<MixingEvent>,
    /// Told its station when the thread ends without being asked to.
    pub(crate) died: mpsc::Sender<usize>,
}

/// What the rest of the node holds of a mixing thread.
pub(crate) struct MixingThread {
    jobs: Sender<Job>,
    shown: MixingShown,
    /// Kernel's id of the thread.
    pub(crate) thread_id: u32,
    thread: Option<JoinHandle<()>>,
}

/// What can be read of a mixing thread at any time, whatever it is doing.
pub(crate) struct MixingGauge {
    pub(crate) thread_id: u32,
    shown: MixingShown,
}

impl MixingGauge {
    pub(crate) fn snapshot(&self) -> MixingSnapshot {
        self.shown.read()
    }
}

impl MixingThread {
    /// Starts the thread.
    pub(crate) fn start(
        options: MixingOptions,
        prepare: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<MixingThread, String> {
        let (jobs, waiting) = bounded(JOBS_WAITING_MAX);
        let shown = MixingShown::default();
        let show = shown.clone();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let index = options.index;
        let body = move || {
            let ready = prepare().and_then(|()| thread::Loop::new(options, waiting, show));
            match ready {
                Ok(this) => {
                    let _ = started.send(Ok(thread_id()));
                    this.run();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("mixing-{index}")).spawn(body);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        let thread_id = start.recv().map_err(|_| format!("mixing thread {index} ended at start"))??;
        Ok(MixingThread { jobs, shown, thread_id, thread: Some(thread) })
    }

    /// Makes a mix what the form says, or ends it. None: the thread is gone.
    pub(crate) async fn put(&self, id: &str, form: Option<Arc<MixForm>>) -> Option<Result<(), String>> {
        self.ask(|done| Job::Put(id.into(), form, done)).await
    }

    /// Plays a prompt in a mix. None: the thread is gone.
    pub(crate) async fn play(&self, id: &str, order: PromptOrder) -> Option<Result<(), String>> {
        self.ask(|done| Job::Play(id.into(), order, done)).await
    }

    /// Stops a prompt; false: it does not play. None: the thread is gone.
    pub(crate) async fn stop_prompt(&self, id: &str, prompt: &str) -> Option<bool> {
        self.ask(|done| Job::Stop(id.into(), prompt.to_owned(), done)).await
    }

    /// Listens to a mix, or to one who is heard in it. None: the thread is gone; it is not mixed, or the leg not heard.
    pub(crate) async fn tap(&self, id: &str, of: TapOf) -> Option<Option<Tap>> {
        let (end, tap) = tap::tap(of);
        let open = self.ask(|done| Job::Tap(id.into(), end, done)).await?;
        Some(open.then_some(tap))
    }

    /// How a mix is doing. None: the thread is gone, or the conference is not mixed on it.
    pub(crate) async fn look(&self, id: &str) -> Option<RoomStatus> {
        self.ask(|done| Job::Look(id.into(), done)).await.flatten()
    }

    pub(crate) fn gauge(&self) -> MixingGauge {
        MixingGauge { thread_id: self.thread_id, shown: self.shown.clone() }
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        let _ = self.send(Job::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.send(job(done))?;
        answer.await.ok()
    }

    fn send(&self, job: Job) -> Option<()> {
        match self.jobs.try_send(job) {
            Ok(()) => {}
            // The thread is behind by a thousand changes; wait for it.
            Err(TrySendError::Full(job)) => self.jobs.send(job).ok()?,
            Err(TrySendError::Disconnected(_)) => return None,
        }
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        Some(())
    }
}

impl Drop for MixingThread {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
