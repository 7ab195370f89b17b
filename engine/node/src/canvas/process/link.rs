//! A process for canvases, as the node has it: to start it, to write to it, to hear it, to end it.

use super::frame::Came;
use super::word::{Errand, Hello, Word};
use crate::canvas::mark;
use crate::model::Id;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// Frames that were read and wait.
const FRAMES_WAITING_MAX: usize = 256;
/// To open a font takes a while on a slow machine.
const START_MAX: Duration = Duration::from_secs(20);
/// A process that takes nothing for so long hangs.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// A process that runs. Dropped, it ends.
pub(super) struct Link {
    process: Child,
    socket: UnixStream,
    frames: Receiver<Came>,
    reader: Option<JoinHandle<()>>,
    mark: File,
}

impl Link {
    /// Starts one, and waits until it runs. `wakes` is woken when something came.
    ///
    /// Errors say why it does not run.
    pub(super) fn start(hello: &Hello, wakes: Thread) -> Result<Link, String> {
        let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let (socket, other) = UnixStream::pair().map_err(|error| failed("no socket", error))?;
        socket.set_write_timeout(Some(WRITE_MAX)).map_err(|error| failed("no socket", error))?;
        let mark = memfd_create("canvas-mark", MemfdFlags::CLOEXEC);
        let mark = File::from(mark.map_err(|error| failed("no memory", error.into()))?);
        let theirs = mark.try_clone().map_err(|error| failed("no descriptor", error))?;
        let process = spawn(other, Stdio::from(theirs));
        let process = process.map_err(|error| failed("cannot start the process", error))?;
        let (came, frames) = bounded(FRAMES_WAITING_MAX);
        let mut link = Link { process, socket, frames, reader: None, mark };
        let from = link.socket.try_clone().map_err(|error| failed("no descriptor", error))?;
        let read = move || {
            let mut from = BufReader::new(from);
            // The end, or rubbish, which is its end.
            while let Ok(frame) = Came::read(&mut from) {
                if came.send(frame).is_err() {
                    return;
                }
                wakes.unpark();
            }
            drop(came);
            wakes.unpark();
        };
        let reader = std::thread::Builder::new().name(format!("canvas-{}-in", hello.index)).spawn(read);
        link.reader = Some(reader.map_err(|error| failed("cannot start a thread", error))?);
        let mut frame = Vec::new();
        super::frame::put_word(&mut frame, &Errand::Compose(hello.clone()))?;
        link.write(&frame)?;
        link.wait_for_start()?;
        Ok(link)
    }

    fn wait_for_start(&mut self) -> Result<(), String> {
        match self.frames.recv_timeout(START_MAX).map(|came| came.word()) {
            Ok(Ok(Word::Started(started))) => started,
            Ok(Ok(_)) => Err("it speaks of something else".to_owned()),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Err(format!("it does not run within {START_MAX:?}")),
            Err(RecvTimeoutError::Disconnected) => Err(self.end().0),
        }
    }

    /// Writes a frame. Blocks while the process takes nothing.
    ///
    /// Errors: it is gone, or takes nothing for too long; it is to be ended.
    pub(super) fn write(&mut self, frame: &[u8]) -> Result<(), String> {
        (&self.socket).write_all(frame).map_err(|error| format!("it takes nothing: {error}"))
    }

    /// The next frame; none: there is none now. An error: it has ended.
    pub(super) fn next(&mut self) -> Result<Option<Came>, ()> {
        match self.frames.try_recv() {
            Ok(came) => Ok(Some(came)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(()),
        }
    }

    /// Something came.
    pub(super) fn has_mail(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Kernel's id of the process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it, if it has not ended by itself. Says how it ended, and whom it worked for then.
    pub(super) fn end(&mut self) -> (String, Option<Id>) {
        let _ = self.process.kill();
        let how = match self.process.wait() {
            Ok(status) => told(status),
            Err(error) => format!("nobody knows how it ended: {error}"),
        };
        (how, mark::read(&self.mark))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.end();
        // The reader may wait for room.
        while self.frames.recv().is_ok() {}
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Starts this program, as it runs here, also when its file was replaced meanwhile. It reads from its standard input.
pub(super) fn spawn(input: UnixStream, output: Stdio) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("motet").arg("canvas-process").stdin(Stdio::from(OwnedFd::from(input))).stdout(output);
    // What a service manager is told is the node's to say.
    command.env_remove("NOTIFY_SOCKET").spawn()
}

/// How a process ended, in words.
pub(super) fn told(status: ExitStatus) -> String {
    let core = if status.core_dumped() { ", with a core dump" } else { "" };
    match status.signal() {
        Some(signal) => format!("it was ended by signal {signal}{core}"),
        None => format!("it ended with {}", status.code().unwrap_or_default()),
    }
}
