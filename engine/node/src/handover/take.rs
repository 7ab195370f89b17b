//! The successor's side. Until it is told to go it receives nothing, and giving up is always safe.

use super::channel::Channel;
use super::form::NodeForm;
use super::pages::SmallPages;
use super::{Giver, Hello, Successor, VERSIONS};
use crate::notify;
use crate::state::State;
use crate::worker::{Handles, Step, monotonic};
use motet_net::SocketId;
use motet_relay::LegId;
use rustix::fd::OwnedFd;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

/// What a running node gives at once.
pub(crate) struct Inheritance {
    /// Where gRPC calls come in.
    pub(crate) grpc: TcpListener,
    /// Where successors of this process will come in.
    pub(crate) successors: OwnedFd,
    /// What the node knows besides its relays.
    pub(crate) form: NodeForm,
}

/// The rest, on its way into this process.
pub(crate) struct Taking {
    from: Channel,
    /// How many relays come.
    workers: usize,
}

/// What is known once this process carries.
pub(crate) struct Carried {
    /// Number of the last event.
    pub(crate) event_sequence: u64,
    /// By worker: legs that are heard.
    pub(crate) heard: Vec<(usize, Vec<LegId>)>,
}

/// Asks the node that waits at `path`. Blocks.
///
/// Errors say why it cannot be taken over; it goes on.
pub(crate) fn ask(path: &Path) -> Result<(Inheritance, Taking), String> {
    let mut from = super::give::connect(path).map_err(|error| {
        format!("--take-over: no running node can be reached at {}: {error}", path.display())
    })?;
    let (versions, software) = (VERSIONS.to_vec(), env!("CARGO_PKG_VERSION").to_owned());
    from.say(&Hello { versions, software, clock: monotonic().as_nanos() }, &[])?;
    match hear(&mut from)?.0 {
        Giver::Welcome { version, software } if VERSIONS.contains(&version) => {
            tracing::info!(version, running = %software, "takes over");
        }
        Giver::Refused { why } => return Err(format!("the running node refuses: {why}")),
        other => return Err(unexpected(&other)),
    }
    let (form, given) = match hear(&mut from)? {
        (Giver::Node(form), given) => (*form, given),
        (other, _) => return Err(unexpected(&other)),
    };
    let [grpc, successors] = <[OwnedFd; 2]>::try_from(given).map_err(|_| "a listener did not come")?;
    let workers = form.workers;
    Ok((Inheritance { grpc: grpc.into(), successors, form }, Taking { from, workers }))
}

impl Taking {
    /// Takes sockets and relays for the paused workers of `state`, and carries. Blocks.
    ///
    /// Errors say why not; the running node goes on.
    pub(crate) fn carry(&mut self, state: &State) -> Result<Carried, String> {
        let carried = self.take_all(state);
        if let Err(why) = &carried {
            self.give_up(why);
        }
        carried
    }

    /// Tells the running node why it is not taken over.
    pub(crate) fn give_up(&mut self, why: &str) {
        let _ = self.from.say(&Successor::Failed { why: why.to_owned() }, &[]);
    }

    fn take_all(&mut self, state: &State) -> Result<Carried, String> {
        let from = &mut self.from;
        loop {
            match hear(from)? {
                (Giver::Sockets { worker, sockets }, given) => {
                    let handles = handles(sockets, given)?;
                    worker_of(state, worker)?.do_step(|done| Step::Adopt(handles, done))?;
                    from.say(&Successor::Taken, &[])?;
                }
                (Giver::AllSockets, _) => break,
                (other, _) => return Err(unexpected(&other)),
            }
        }
        let _until_it_carries = SmallPages::begin();
        from.say(&Successor::Ready, &[])?;
        let mut asked = Vec::new();
        for _ in 0..self.workers {
            match hear(from)?.0 {
                Giver::Relay { worker } => {
                    let (bytes, _) = from.receive()?;
                    let imported = worker_of(state, worker)?.step(|done| Step::Import(bytes, done));
                    asked.push((worker, imported));
                }
                other => return Err(unexpected(&other)),
            }
        }
        let mut heard = Vec::new();
        for (worker, imported) in asked {
            heard.push((worker, imported.blocking_recv().map_err(|_| "a worker has ended".to_owned())??));
        }
        from.say(&Successor::Imported, &[])?;
        let event_sequence = match hear(from)?.0 {
            Giver::Go { event_sequence } => event_sequence,
            other => return Err(unexpected(&other)),
        };
        let asked: Vec<_> = state.workers.iter().map(|worker| worker.step(Step::Resume)).collect();
        for answer in asked {
            let _ = answer.blocking_recv();
        }
        // The other process may end any moment after the next word, and a service manager must not take that
        // for the end of the service.
        notify::goes_on("took over the running node");
        // Whether or not the other side still hears it: from here on this process carries.
        let _ = from.say(&Successor::Carrying, &[]);
        Ok(Carried { event_sequence, heard })
    }
}

fn hear(from: &mut Channel) -> Result<(Giver, Vec<OwnedFd>), String> {
    from.hear("the running node's word")
}

fn worker_of(state: &State, worker: usize) -> Result<&crate::worker::Worker, String> {
    state.workers.get(worker).ok_or_else(|| format!("there is no worker {worker} here"))
}

/// Sockets as they came: one descriptor for each, and one for its twin where it has one.
fn handles(sockets: Vec<(u32, bool)>, given: Vec<OwnedFd>) -> Result<Vec<Handles>, String> {
    let mut given = given.into_iter().map(UdpSocket::from);
    let mut handles = Vec::new();
    for (id, has_twin) in sockets {
        let mut next = || given.next().ok_or("a socket did not come; is RLIMIT_NOFILE too low here?");
        let socket = next()?;
        let twin = if has_twin { Some(next()?) } else { None };
        handles.push((SocketId(id), socket, twin));
    }
    Ok(handles)
}

fn unexpected(word: &Giver) -> String {
    let shown: String = format!("{word:?}").chars().take(100).collect();
    format!("the running node said what was not to come: {shown}")
}
