//! The running node's side: waits for a successor, and goes on unless one carries.
//!
//! All of it is on a thread of its own, which may block. It holds the node's state from the first word about
//! it to the end, so that what is given does not change meanwhile; calls that would change it wait.

use super::channel::{Channel, DESCRIPTORS_MAX};
use super::pages::SmallPages;
use super::{Giver, Hello, Successor, VERSIONS, decode, negotiate};
use crate::run::Shared;
use crate::state::State;
use crate::worker::{Step, monotonic};
use motet_net::SocketId;
use motet_rtp::Time;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, Signal};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a successor may take for its next word while media goes on: it starts workers meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take when nobody receives. Packets wait in the sockets; a longer wait would lose some.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Sockets of one message: each may bring its twin.
const SOCKETS_PER_MESSAGE: usize = DESCRIPTORS_MAX / 2;
/// A clock that is further off is another clock.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(60);

/// What is given besides what the state holds.
pub(crate) struct Gifts {
    pub(crate) shared: Arc<Shared>,
    /// Where gRPC calls come in, and where successors do.
    pub(crate) listeners: [OwnedFd; 2],
    /// Where metrics are served.
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// Number of the last event.
    pub(crate) event_sequence: Box<dyn Fn() -> u64 + Send>,
}

/// Waits for successors until one carries, and says so; or until the listener is shut down.
pub(crate) fn wait(listener: UnixListener, gifts: Gifts, given: mpsc::Sender<()>) {
    while let Ok((stream, _)) = listener.accept() {
        match gifts.give(Channel::new(stream)) {
            Ok(()) => {
                let _ = given.blocking_send(());
                return;
            }
            Err(Left::Nobody) => {}
            Err(Left::Because(why)) => {
                tracing::warn!(%why, "the take-over failed; this process goes on");
            }
        }
    }
}

/// Why a successor did not take over.
enum Left {
    /// It only looked whether somebody is here.
    Nobody,
    Because(String),
}

impl From<String> for Left {
    fn from(why: String) -> Left {
        Left::Because(why)
    }
}

impl Gifts {
    fn give(&self, mut to: Channel) -> Result<(), Left> {
        to.set_patience(PATIENCE).map_err(|error| format!("the socket fails: {error}"))?;
        let peer = to.peer().map_err(|error| format!("its user cannot be told: {error}"))?;
        if peer.uid != rustix::process::getuid() && !peer.uid.is_root() {
            let why = format!("user {} is not the one of this node", peer.uid.as_raw());
            return Err(refuse(&mut to, why));
        }
        let Ok((hello, _)) = to.receive() else { return Err(Left::Nobody) };
        let hello: Hello = decode("the successor's greeting", &hello)?;
        let now = monotonic();
        let off = now.since(Time::from_nanos(hello.clock)).max(Time::from_nanos(hello.clock).since(now));
        if off > CLOCK_DIFFERENCE_MAX {
            let why = "its monotonic clock is another one (another time namespace?)".to_owned();
            return Err(refuse(&mut to, why));
        }
        let version = match negotiate(VERSIONS, &hello.versions) {
            Ok(version) => version,
            Err(why) => return Err(refuse(&mut to, why)),
        };
        tracing::info!(successor = %hello.software, pid = peer.pid.as_raw_nonzero(), version, "is to be taken over");
        let mut state = self.shared.state.blocking_lock();
        if let Err(why) = state.check_movable(version) {
            return Err(refuse(&mut to, why));
        }
        let done = self.give_all(&mut to, &state, version, peer.pid);
        match done {
            Ok(()) => {
                state.taken_over = true;
                state.end_players();
            }
            Err(_) => resume(&state),
        }
        Ok(done?)
    }

    fn give_all(&self, to: &mut Channel, state: &State, version: u32, pid: Pid) -> Result<(), String> {
        let software = env!("CARGO_PKG_VERSION").to_owned();
        to.say(&Giver::Welcome { version, software }, &[])?;
        let mut form = state.form(&self.shared.node_id, &self.shared.boot_id, self.shared.clock.ntp_origin);
        form.speak(version)?;
        form.metrics = self.metrics;
        let listeners = self.listeners.each_ref().map(|listener| listener.as_fd());
        to.say(&Giver::Node(Box::new(form)), &listeners)?;
        for (worker, sockets) in state.sockets_by_worker().into_iter().enumerate() {
            for some in sockets.chunks(SOCKETS_PER_MESSAGE) {
                share(to, state, worker, some)?;
            }
        }
        to.say(&Giver::AllSockets, &[])?;
        let _until_it_carries = SmallPages::begin();
        expect(to, &Successor::Ready)?;

        to.set_patience(PAUSE_MAX).map_err(|error| format!("the socket fails: {error}"))?;
        let paused = monotonic();
        let asked: Vec<_> =
            state.workers.iter().map(|worker| worker.step(|done| Step::Pause(version, done))).collect();
        for (worker, written) in asked.into_iter().enumerate() {
            let bytes = written.blocking_recv().map_err(|_| "a worker has ended".to_owned())??;
            to.say(&Giver::Relay { worker }, &[])?;
            to.send(&bytes, &[])?;
        }
        expect(to, &Successor::Imported)?;
        to.say(&Giver::Go { event_sequence: (self.event_sequence)() }, &[])?;
        if let Err(why) = expect(to, &Successor::Carrying) {
            // It may receive already: it must be gone before this process does.
            if pid != rustix::process::getpid() {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            to.wait_for_end();
            return Err(why);
        }
        let gap_us = monotonic().since(paused).as_micros() as u64;
        tracing::info!(gap_us, "another process carries everything now; this one ends");
        Ok(())
    }
}

/// Gives some sockets of a worker, each with its twin.
fn share(to: &mut Channel, state: &State, worker: usize, ids: &[SocketId]) -> Result<(), String> {
    let handles = state.workers[worker].do_step(|done| Step::Share(ids.to_vec(), done))?;
    let sockets = handles.iter().map(|(id, _, twin)| (id.0, twin.is_some())).collect();
    let given: Vec<BorrowedFd<'_>> = handles
        .iter()
        .flat_map(|(_, socket, twin)| {
            std::iter::once(socket.as_fd()).chain(twin.as_ref().map(|twin| twin.as_fd()))
        })
        .collect();
    to.say(&Giver::Sockets { worker, sockets }, &given)?;
    // Descriptors on their way count towards a limit (ETOOMANYREFS in unix(7)).
    expect(to, &Successor::Taken)
}

fn expect(to: &mut Channel, what: &Successor) -> Result<(), String> {
    match to.hear::<Successor>("the successor's word")?.0 {
        Successor::Failed { why } => Err(format!("the successor says: {why}")),
        word if word == *what => Ok(()),
        other => Err(format!("the successor says {other:?} where {what:?} was to come")),
    }
}

fn refuse(to: &mut Channel, why: String) -> Left {
    let _ = to.say(&Giver::Refused { why: why.clone() }, &[]);
    Left::Because(why)
}

/// Lets all workers go on, as far as they had stopped.
fn resume(state: &State) {
    let asked: Vec<_> = state.workers.iter().map(|worker| worker.step(Step::Resume)).collect();
    for answer in asked {
        let _ = answer.blocking_recv();
    }
}

/// Connects to a running node.
pub(crate) fn connect(path: &std::path::Path) -> std::io::Result<Channel> {
    let channel = Channel::new(UnixStream::connect(path)?);
    channel.set_patience(PATIENCE)?;
    Ok(channel)
}
