//! What a worker does when a conference leaves for another worker, or comes from one.
//!
//! The one that gives stops receiving from the conference's sockets, relays and sends what had come, and takes
//! sockets and legs out. What arrives from then on waits in the kernel until the one that takes receives. All
//! others of both workers go on; only for the turns that this takes do they wait.

use super::{Job, Loop, Worker, monotonic};
use motet_net::{Io, SocketId, SocketPair};
use motet_relay::snapshot::{Numbers, Part, PartError};
use motet_relay::{LegId, PortId};
use motet_rtp::Time;
use std::time::Duration;
use tokio::sync::oneshot;

/// Turns that hand out what sockets had brought before they were held: more than all receive buffers need.
const TURNS_MAX: usize = 1_000;

/// Legs that stand alone, and their sockets, on their way from worker to worker.
pub(crate) struct Luggage {
    pub(crate) part: Part,
    pub(crate) sockets: Vec<(SocketId, SocketPair)>,
    /// Since when nothing is received.
    since: Time,
}

impl Luggage {
    /// Gives everything other numbers. Errors: one is missing, and nothing has changed.
    pub(crate) fn renumber(&mut self, numbers: &Numbers) -> Result<(), PartError> {
        let ports = self.sockets.iter().map(|(id, _)| numbers.port(PortId(id.0)));
        let ports = ports.collect::<Result<Vec<PortId>, PartError>>()?;
        self.part = self.part.renumbered(numbers)?;
        self.sockets.iter_mut().zip(ports).for_each(|((id, _), port)| *id = SocketId(port.0));
        Ok(())
    }
}

/// Given back with the reason.
pub(crate) type NotTaken = (String, Box<Luggage>);

/// A job of the worker that gives, or of the one that takes.
pub(crate) enum Move {
    /// Give these legs and sockets. On an error they stay.
    Give(Leaving),
    /// Take them. The answer says how long nothing was received.
    Take(Box<Luggage>, oneshot::Sender<Result<Duration, NotTaken>>),
}

/// Legs that are to leave at the end of the turn.
pub(crate) struct Leaving {
    legs: Vec<LegId>,
    sockets: Vec<SocketId>,
    done: oneshot::Sender<Result<Box<Luggage>, String>>,
}

impl Worker {
    /// Takes legs out with their sockets. None: the worker is gone.
    pub(crate) async fn give(
        &self,
        legs: Vec<LegId>,
        sockets: Vec<SocketId>,
    ) -> Option<Result<Box<Luggage>, String>> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Move(Move::Give(Leaving { legs, sockets, done })))?;
        answer.await.ok()
    }

    /// Puts legs in with their sockets; says how long nothing was received. None: the worker is gone, and
    /// what it was given with it.
    pub(crate) async fn take(&self, luggage: Box<Luggage>) -> Option<Result<Duration, NotTaken>> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Move(Move::Take(luggage, done)))?;
        answer.await.ok()
    }
}

impl Loop {
    pub(super) fn handle_move(&mut self, job: Move) {
        match job {
            // What this turn made is still to be queued.
            Move::Give(leaving) => self.leaving.push(leaving),
            Move::Take(luggage, done) => {
                let _ = done.send(self.take_in(*luggage));
            }
        }
    }

    /// Gives what is to leave, at the end of a turn.
    pub(super) fn give(&mut self) {
        while let Some(Leaving { legs, sockets, done }) = self.leaving.pop() {
            let given = self.take_out(&legs, &sockets);
            if given.is_err() {
                self.io.let_go(&sockets);
            }
            // Nobody waits for it any more: it stays.
            if let Err(Ok(luggage)) = done.send(given.map(Box::new))
                && let Err((why, _)) = self.take_in(*luggage)
            {
                tracing::error!(worker = self.index, %why, "legs that were to move are lost");
            }
        }
    }

    fn take_out(&mut self, legs: &[LegId], sockets: &[SocketId]) -> Result<Luggage, String> {
        let since = monotonic();
        self.io.hold(sockets).map_err(|error| format!("cannot stop receiving: {error}"))?;
        for turn in 0.. {
            // A turn sends what the one before it queued, so that one more is needed than hand something out.
            let waits = self.io.has_backlog_of_held();
            self.turn_at_once()?;
            if !waits {
                break;
            }
            if turn == TURNS_MAX {
                return Err("what was received does not end".to_owned());
            }
        }
        let part = self.relay.take_part(legs).map_err(|error| error.to_string())?;
        let taken = sockets.iter().map(|id| (*id, self.io.take_pair(*id).expect("it is held")));
        Ok(Luggage { part, sockets: taken.collect(), since })
    }

    /// Errors: what cannot be taken is given back, and nothing has changed.
    fn take_in(&mut self, luggage: Luggage) -> Result<Duration, NotTaken> {
        let Luggage { part, mut sockets, since } = luggage;
        let mut added = Vec::with_capacity(sockets.len());
        let mut refusal = None;
        while let Some((id, pair)) = sockets.pop() {
            match self.io.add_pair(id, pair) {
                Ok(()) => added.push(id),
                Err((error, pair)) => {
                    sockets.push((id, pair));
                    refusal = Some(format!("cannot take a socket: {error}"));
                    break;
                }
            }
        }
        let refusal = refusal.or_else(|| self.relay.add_part(&part).err().map(|error| error.to_string()));
        let Some(why) = refusal else { return Ok(monotonic().since(since)) };
        for id in added {
            sockets.push((id, self.io.take_pair(id).expect("it was added a moment ago")));
        }
        Err((why, Luggage { part, sockets, since }.into()))
    }
}
