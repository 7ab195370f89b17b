//! One recording: its core, and the task that writes its files.

use super::begin::{FileNames, RecordingSpec};
use super::events::EventQueue;
use super::live::{Live, LiveSpec};
use super::storage::Storage;
use super::{EventKind, Failure};
use crate::{Output, Recording, SegmentSummary};
use motet_rtp::Time;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// Our monotonic clock.
pub(super) type Clock = Rc<dyn Fn() -> Time>;

/// A recording that runs.
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) recording: Recording,
    pub(super) writes: Rc<Writes>,
    pub(super) stopping: bool,
    folder: PathBuf,
    name: String,
}

/// What is between a recording and its writer. Both are on one thread.
pub(super) struct Writes {
    operations: RefCell<VecDeque<Operation>>,
    /// Bytes in them, and in the one under way.
    bytes: Cell<usize>,
    wake: Notify,
    /// Since when one operation has been under way.
    busy_since: Cell<Option<Time>>,
    state: Cell<WriterState>,
    error: RefCell<Option<io::Error>>,
    /// None: files that are whole in the end.
    live: Option<LiveSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterState {
    Running,
    /// All is written, and nothing will come.
    Done,
    Failed,
    /// Nobody waits for it any longer.
    Abandoned,
}

pub(super) enum Operation {
    Begin(FileNames),
    Append(Vec<u8>),
    /// Of live output: what was appended is a piece of so long.
    Piece(Duration),
    End(SegmentSummary),
    /// Nothing will come.
    Close,
}

/// What became of a job.
pub(super) enum Outcome {
    Runs,
    Stopped,
    Failed(Failure, String),
}

impl Job {
    pub(super) fn new(id: u64, spec: &RecordingSpec, recording: Recording) -> Job {
        let writes = Rc::new(Writes {
            operations: RefCell::default(),
            bytes: Cell::new(0),
            wake: Notify::new(),
            busy_since: Cell::new(None),
            state: Cell::new(WriterState::Running),
            error: RefCell::new(None),
            live: LiveSpec::of(spec),
        });
        let (folder, name) = (spec.folder.clone(), spec.name.clone());
        Job { id, recording, writes, stopping: false, folder, name }
    }

    /// Passes on what the recording wants done.
    pub(super) fn pass_on(&mut self, events: &EventQueue) {
        while let Some(output) = self.recording.poll_output() {
            let operation = match output {
                Output::Begin { segment } => {
                    let container = self.recording.container();
                    Operation::Begin(FileNames::new(&self.folder, &self.name, segment, container))
                }
                Output::Append { bytes, .. } => Operation::Append(bytes),
                Output::Piece { duration, .. } => Operation::Piece(duration),
                Output::End(summary) => Operation::End(summary),
                Output::KeyFrameWanted { track } => {
                    events.send(self.id, EventKind::KeyFrameWanted { track });
                    continue;
                }
            };
            self.writes.push(operation);
        }
    }

    /// Ends the recording; its last file is written still.
    pub(super) fn stop(&mut self, now: Time, events: &EventQueue) {
        if !self.stopping {
            self.stopping = true;
            self.recording.stop(now);
            self.pass_on(events);
            self.writes.push(Operation::Close);
        }
    }

    /// Looks after the writer. `bytes_max` may wait for it, and one operation may last `stall_max`.
    pub(super) fn look(&self, now: Time, bytes_max: usize, stall_max: Duration) -> Outcome {
        let writes = &self.writes;
        if writes.state.get() == WriterState::Done {
            return Outcome::Stopped;
        }
        if let Some(error) = writes.error.take() {
            let full = matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            );
            let reason = if full { Failure::DiskFull } else { Failure::File };
            let advice = if full { ": make room in" } else { ": look at" };
            let message = format!("{error}{advice} {}", self.folder.display());
            return Outcome::Failed(reason, message);
        }
        let waiting = writes.bytes.get();
        if waiting > bytes_max {
            let message = format!("{waiting} bytes wait to be written to {}", self.folder.display());
            return Outcome::Failed(Failure::SlowDisk, message);
        }
        if let Some(since) = writes.busy_since.get()
            && now.since(since) > stall_max
        {
            let message = format!("{} has answered nothing for {stall_max:?}", self.folder.display());
            return Outcome::Failed(Failure::SlowDisk, message);
        }
        Outcome::Runs
    }

    /// Forgets the writer: what it has not begun is not written.
    pub(super) fn abandon(&self) {
        self.writes.operations.borrow_mut().clear();
        self.writes.state.set(WriterState::Abandoned);
        self.writes.wake.notify_one();
    }
}

impl Writes {
    /// All is written.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.get() == 0 && self.operations.borrow().is_empty() && self.busy_since.get().is_none()
    }

    fn push(&self, operation: Operation) {
        if let Operation::Append(bytes) = &operation {
            self.bytes.set(self.bytes.get() + bytes.len());
        }
        self.operations.borrow_mut().push_back(operation);
        self.wake.notify_one();
    }

    async fn next(&self) -> Option<Operation> {
        loop {
            if self.state.get() != WriterState::Running {
                return None;
            }
            // Nothing holds the queue while it waits.
            let next = self.operations.borrow_mut().pop_front();
            if next.is_some() {
                return next;
            }
            self.wake.notified().await;
        }
    }
}

/// What a recording is written to.
enum Files<F> {
    Whole(Option<Open<F>>),
    Live(Box<Live<F>>),
}

/// A file that is written.
struct Open<F> {
    file: F,
    names: FileNames,
    bytes: u64,
    synced: Time,
}

/// The task that writes one recording's files. `sync_every`: none is never.
pub(super) async fn write<S: Storage>(
    storage: S,
    writes: Rc<Writes>,
    id: u64,
    events: Rc<EventQueue>,
    clock: Clock,
    sync_every: Option<Duration>,
) {
    let mut files: Files<S::File> = match &writes.live {
        Some(spec) => Files::Live(Box::new(Live::new(spec.clone()))),
        None => Files::Whole(None),
    };
    while let Some(operation) = writes.next().await {
        let now = clock();
        writes.busy_since.set(Some(now));
        let bytes = if let Operation::Append(bytes) = &operation { bytes.len() } else { 0 };
        let closes = matches!(operation, Operation::Close);
        let done = match &mut files {
            Files::Whole(open) => perform(&storage, open, operation, now, sync_every).await,
            Files::Live(live) => live.perform(&storage, operation).await,
        };
        writes.busy_since.set(None);
        writes.bytes.set(writes.bytes.get() - bytes);
        match done {
            // Who has given it up has said so.
            _ if writes.state.get() == WriterState::Abandoned => return,
            Ok(Some(event)) => events.send(id, event),
            Ok(None) if closes => writes.state.set(WriterState::Done),
            Ok(None) => {}
            Err(error) => {
                writes.error.replace(Some(error));
                return writes.state.set(WriterState::Failed);
            }
        }
    }
}

async fn perform<S: Storage>(
    storage: &S,
    open: &mut Option<Open<S::File>>,
    operation: Operation,
    now: Time,
    sync_every: Option<Duration>,
) -> io::Result<Option<EventKind>> {
    match operation {
        Operation::Begin(names) => {
            let file = storage.create(&names.part).await?;
            let path = names.part.clone();
            *open = Some(Open { file, names, bytes: 0, synced: now });
            return Ok(Some(EventKind::SegmentBegan { path }));
        }
        Operation::Append(bytes) => {
            let Some(open) = open else { return Ok(None) };
            let length = bytes.len() as u64;
            storage.write(&mut open.file, open.bytes, bytes).await?;
            open.bytes += length;
            if sync_every.is_some_and(|every| now.since(open.synced) >= every) {
                storage.sync(&mut open.file).await?;
                open.synced = now;
            }
        }
        Operation::End(summary) => {
            let Some(Open { mut file, names, .. }) = open.take() else { return Ok(None) };
            storage.sync(&mut file).await?;
            storage.finish(file, &names.part, &names.whole).await?;
            return Ok(Some(EventKind::SegmentEnded { path: names.whole, summary }));
        }
        Operation::Piece(_) | Operation::Close => {}
    }
    Ok(None)
}
