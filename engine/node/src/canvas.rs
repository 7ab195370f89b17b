//! Canvas threads: where conferences' pictures are composed.
//!
//! A canvas thread is a station of the node's exchange, like a mixing thread (`mixing.rs`) and apart from those: sound
//! never waits for pictures. It takes what came every few milliseconds, decodes it as it comes, and composes and
//! encodes each canvas when it is due. All between it and the rest of the node is bounded: parcels, jobs, events.
//! `docs/video.md` says why decoders run here.
//!
//! Without `--canvas-in-node` the work is done in a process of its own, which begins with the first canvas, and the
//! thread only carries to and fro (`process.rs`).
//!
//! When there is too much to do, all canvases of the thread are made less often (`rate.rs`).

use crate::exchange::Exchange;
use crate::fence::Fence;
use crate::mixing::MixingEvent;
use crate::model::Id;
use crate::plan::CanvasForm;
use crate::worker::Clock;
use crossbeam_channel::{Sender, TrySendError, bounded};
use motet_codecs::video::Frame;
use motet_mixer::video::Font;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

mod fit;
mod mark;
mod meter;
mod process;
mod rate;
mod scene;
mod stills;
mod thread;
mod voice;

pub(crate) use mark::Mark;
use meter::CanvasShown;
pub(crate) use meter::CanvasSnapshot;
pub use process::run_canvas_process;
pub(crate) use process::{Film, ProcessOptions, decode_apart};
pub(crate) use scene::SceneStatus;
pub(crate) use stills::{StillFolder, StillsByName};
pub use voice::VoiceSettings;

/// Jobs that may wait for a canvas thread.
const JOBS_WAITING_MAX: usize = 1024;

/// What a canvas thread is asked to do.
enum Job {
    /// Whether a canvas can be put: what is started with the first one is started.
    Ready(oneshot::Sender<Result<(), String>>),
    /// Make a canvas what the form says; none: end it.
    Put(Id, Option<Arc<CanvasForm>>, oneshot::Sender<Result<(), String>>),
    /// This one talks most; none: who did has left.
    Speaker(Id, Option<Id>),
    /// What it shows now; none: it shows nothing.
    Picture(Id, oneshot::Sender<Option<Frame>>),
    /// This one begins to talk, or stops.
    Talks(Id, Id, bool),
    /// How it is doing.
    Look(Id, oneshot::Sender<Option<SceneStatus>>),
    End,
}

/// Settings of a canvas thread.
pub(crate) struct CanvasOptions {
    /// Its place in the exchange.
    pub(crate) station: usize,
    /// Its number among canvas threads.
    pub(crate) index: usize,
    pub(crate) core: Option<usize>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) clock: Clock,
    pub(crate) fence: Fence,
    /// For names.
    pub(crate) font: Option<Arc<Font>>,
    pub(crate) events: mpsc::Sender<MixingEvent>,
    /// Told its station when the thread ends without being asked to.
    pub(crate) died: mpsc::Sender<usize>,
    /// Where it is marked whom the thread works for; none: nowhere.
    pub(crate) mark: Option<Mark>,
    /// The work is done in a process of its own; none: by the thread.
    pub(crate) process: Option<ProcessOptions>,
}

/// What the rest of the node holds of a canvas thread.
pub(crate) struct CanvasThread {
    jobs: Sender<Job>,
    shown: CanvasShown,
    thread: Option<JoinHandle<()>>,
}

/// What can be read of a canvas thread at any time, whatever it is doing.
pub(crate) struct CanvasGauge {
    shown: CanvasShown,
}

impl CanvasGauge {
    pub(crate) fn snapshot(&self) -> CanvasSnapshot {
        self.shown.read()
    }
}

impl CanvasThread {
    /// Starts the thread.
    pub(crate) fn start(
        mut options: CanvasOptions,
        prepare: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<CanvasThread, String> {
        let (jobs, waiting) = bounded(JOBS_WAITING_MAX);
        let shown = CanvasShown::default();
        let show = shown.clone();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let index = options.index;
        let open = move || -> Result<Box<dyn FnOnce()>, String> {
            prepare()?;
            Ok(match options.process.take() {
                None => {
                    let this = thread::Loop::new(options, waiting, show)?;
                    Box::new(move || this.run())
                }
                Some(process) => {
                    let this = process::Proxy::new(options, process, waiting, show)?;
                    Box::new(move || this.run())
                }
            })
        };
        let body = move || match open() {
            Ok(run) => {
                let _ = started.send(Ok(()));
                run();
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name(format!("canvas-{index}")).spawn(body);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        start.recv().map_err(|_| format!("canvas thread {index} ended at start"))??;
        Ok(CanvasThread { jobs, shown, thread: Some(thread) })
    }

    /// Sees to it that a canvas can be put. None: the thread is gone. An error: it cannot, and why.
    pub(crate) async fn ready(&self) -> Option<Result<(), String>> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Ready(done))?;
        answer.await.ok()
    }

    /// Makes a canvas what the form says, or ends it. None: the thread is gone.
    pub(crate) async fn put(&self, id: &str, form: Option<Arc<CanvasForm>>) -> Option<Result<(), String>> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Put(id.into(), form, done))?;
        answer.await.ok()
    }

    /// Tells who talks most in a conference; none: who did has left.
    pub(crate) fn tell_speaker(&self, id: &str, leg: Option<Id>) {
        // A thread that is gone ends the node.
        let _ = self.send(Job::Speaker(id.into(), leg));
    }

    /// Tells who begins to talk in a conference, or stops.
    pub(crate) fn tell_talks(&self, id: &str, leg: Id, talks: bool) {
        let _ = self.send(Job::Talks(id.into(), leg, talks));
    }

    /// How a canvas is doing. None: the thread is gone, or the conference has no canvas on it.
    pub(crate) async fn look(&self, id: &str) -> Option<SceneStatus> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Look(id.into(), done))?;
        answer.await.ok().flatten()
    }

    /// What a canvas shows now. None: the thread is gone, or nobody gets it.
    pub(crate) async fn picture(&self, id: &str) -> Option<Frame> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Picture(id.into(), done))?;
        answer.await.ok().flatten()
    }

    pub(crate) fn gauge(&self) -> CanvasGauge {
        CanvasGauge { shown: self.shown.clone() }
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        let _ = self.send(Job::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn send(&self, job: Job) -> Option<()> {
        match self.jobs.try_send(job) {
            Ok(()) => {}
            // The thread is behind by a thousand changes; wait for it.
            Err(TrySendError::Full(job)) => self.jobs.send(job).ok()?,
            Err(TrySendError::Disconnected(_)) => return None,
        }
        self.wake();
        Some(())
    }

    /// Has it look at what came now, and not only in a few milliseconds.
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for CanvasThread {
    fn drop(&mut self) {
        self.stop();
    }
}
