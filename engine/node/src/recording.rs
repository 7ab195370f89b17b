//! Recording: what conferences send and hear, in files.
//!
//! The recorder is a station of the node's exchange, like a mixing thread: workers pack what is recorded into parcels,
//! and drop and count what finds no room there. Its thread comes every 10 ms, takes the parcels and hands them to
//! [`motet_recorder`], which writes files on the same thread without waiting for a disk. A disk that is full or slow
//! ends a recording and nothing else.
//!
//! - `codec.rs`: what files can hold;
//! - `feed.rs`: what the thread does each time;
//! - `early.rs`: what comes before a folder is there;
//! - `room.rs`: a conference's recordings and their files;
//! - `folder.rs`: folders, and which numbers files in them have;
//! - `mix.rs`: the sound of a mix, encoded for its file;
//! - `still.rs`: single pictures;
//! - `shown.rs`: counters.

use crate::exchange::Exchange;
use crate::mixing::Tap;
use crate::model::Id;
use crate::plan::RecordForm;
use crate::worker::Clock;
use crossbeam_channel::{Sender, unbounded};
use feed::Feeder;
use folder::Folder;
use motet_proto::node as wire;
use motet_recorder::edge::{Backend, Failure, Recorder, RecorderConfig};
use motet_rtp::Time;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

pub(crate) mod codec;
mod early;
mod feed;
mod folder;
mod mix;
mod room;
mod shown;
mod still;

pub(crate) use shown::{RecordingShown, RecordingSnapshot, Unfiled};
pub(crate) use still::Still;

/// Of whom something is recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// Of all, mixed.
    Mix,
    /// Of all, composed to one picture, with the mix.
    Canvas,
    /// Of a leg.
    Leg(Id),
}

impl Whose {
    /// The leg; empty: the mix, or the canvas.
    pub(crate) fn leg(&self) -> String {
        match self {
            Whose::Mix | Whose::Canvas => String::new(),
            Whose::Leg(leg) => leg.to_string(),
        }
    }
}

/// Something that happened to a recording.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordingEvent {
    pub(crate) conference: Id,
    pub(crate) kind: RecordingEventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RecordingEventKind {
    /// A file begins.
    Began { recording: Id, whose: Whose, path: PathBuf },
    /// A file is whole.
    Closed { recording: Id, whose: Whose, segment: Box<Closed> },
    /// All files of it are whole.
    Stopped { recording: Id, whose: Whose },
    /// The recording has ended by itself.
    Failed { recording: Id, whose: Option<Whose>, reason: Reason, message: String },
    /// The sound of the mix is to be handed over.
    TapWanted,
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Closed {
    pub(crate) path: PathBuf,
    /// When its time 0 was, since 1970.
    pub(crate) begins: Duration,
    pub(crate) duration: Duration,
    pub(crate) bytes: u64,
    pub(crate) samples: u64,
}

/// Why a recording has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    DiskFull,
    SlowDisk,
    File,
    NoFolder,
}

impl Reason {
    /// All of them, for counters.
    pub(crate) const ALL: [Reason; 4] = [Reason::DiskFull, Reason::SlowDisk, Reason::File, Reason::NoFolder];

    /// A stable word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Reason::DiskFull => "disk_full",
            Reason::SlowDisk => "slow_disk",
            Reason::File => "file",
            Reason::NoFolder => "no_folder",
        }
    }

    pub(crate) fn to_wire(self) -> wire::RecordingFailure {
        match self {
            Reason::DiskFull => wire::RecordingFailure::DiskFull,
            Reason::SlowDisk => wire::RecordingFailure::SlowDisk,
            Reason::File => wire::RecordingFailure::File,
            Reason::NoFolder => wire::RecordingFailure::NoFolder,
        }
    }

    fn of_error(error: &io::Error) -> Reason {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
            _ => Reason::File,
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Reason {
        match failure {
            Failure::DiskFull => Reason::DiskFull,
            Failure::SlowDisk => Reason::SlowDisk,
            _ => Reason::File,
        }
    }
}

/// What the recorder's thread is asked to do.
enum Job {
    /// Make a conference's recordings what the form says; none: end them.
    Put(Id, Option<Arc<RecordForm>>),
    /// The folder of a recording is ready, or cannot be.
    Folder { conference: Id, recording: Id, name: String, found: io::Result<Folder> },
    /// The sound of a mix.
    Tap(Id, Tap),
    /// A picture of a leg's medium, as the form has it.
    Still(Id, (Id, Id), oneshot::Sender<Still>),
    /// How a conference's recordings are doing.
    Look(Id, oneshot::Sender<Vec<wire::RecordingStats>>),
}

/// Settings of the recorder.
pub(crate) struct RecordingOptions {
    /// Its place in the exchange.
    pub(crate) station: usize,
    /// Where its folders are.
    pub(crate) folder: PathBuf,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) clock: Clock,
    pub(crate) events: mpsc::Sender<RecordingEvent>,
}

/// What the rest of the node holds of the recorder.
pub(crate) struct RecorderThread {
    station: usize,
    jobs: Sender<Job>,
    shown: RecordingShown,
    /// None: it was stopped.
    recorder: Option<Recorder>,
}

impl RecorderThread {
    /// Starts the thread.
    pub(crate) fn start(options: RecordingOptions) -> io::Result<RecorderThread> {
        let (backend, why) = Backend::choose();
        if let Some(error) = why {
            tracing::info!(%error, "recordings are written by threads, since io_uring cannot be had");
        }
        let (jobs, waiting) = unbounded();
        let (station, shown, clock) = (options.station, RecordingShown::default(), options.clock);
        let feeder = Feeder::new(options, (jobs.clone(), waiting), shown.clone());
        let now = move || -> Time { clock.now() };
        let recorder = Recorder::start_fed(RecorderConfig::default(), backend, now, Box::new(feeder))?;
        Ok(RecorderThread { station, jobs, shown, recorder: Some(recorder) })
    }

    /// Its place in the exchange.
    pub(crate) fn station(&self) -> usize {
        self.station
    }

    /// Makes a conference's recordings what the form says, or ends them. What was sent to it before is recorded before.
    pub(crate) fn put(&self, conference: &str, form: Option<Arc<RecordForm>>) {
        self.send(Job::Put(conference.into(), form));
    }

    /// Hands over the sound of a mix, as [`RecordingEventKind::TapWanted`] asks for.
    pub(crate) fn tap(&self, conference: &str, tap: Tap) {
        self.send(Job::Tap(conference.into(), tap));
    }

    /// A picture of a leg's medium, of which packets come. It ends without one where that is not decoded.
    pub(crate) fn still(&self, conference: &str, medium: (Id, Id)) -> oneshot::Receiver<Still> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Still(conference.into(), medium, done));
        answer
    }

    /// How a conference's recordings are doing. None: the thread is gone.
    pub(crate) async fn look(&self, conference: &str) -> Option<Vec<wire::RecordingStats>> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Look(conference.into(), done));
        answer.await.ok()
    }

    /// For whoever watches the thread without holding it.
    pub(crate) fn gauge(&self) -> RecordingShown {
        self.shown.clone()
    }

    /// Ends all recordings and waits for whole files, up to 10 s.
    pub(crate) fn stop(&mut self) {
        drop(self.recorder.take());
    }

    fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            // Conferences go on without it.
            tracing::error!(
                "the recorder's thread has ended; nothing is recorded until the node is started again"
            );
        }
    }
}
