//! A conference goes to another worker of the node: by an operator's call, or to ease a busy worker.

use super::{State, sockets, stale_epoch};
use crate::error::NodeError;
use crate::plan::{Relocation, only_worker, relocate};
use crate::resources::{Taker, ThreadLoads, give_back};
use crate::worker::{Worker, monotonic};
use motet_net::SocketId;
use motet_proto::node as wire;
use motet_relay::LegId;
use motet_relay::snapshot::Numbers;
use std::time::Duration;

/// What became of moves since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Conferences that went.
    pub(crate) moved: u64,
    /// That stayed, since the request made no sense or something was used up.
    pub(crate) refused: u64,
    /// That were on the way and went back.
    pub(crate) put_back: u64,
}

impl State {
    /// Moves a conference as a call asks for.
    pub(crate) async fn move_conference(
        &mut self,
        request: wire::MoveConferenceRequest,
    ) -> Result<wire::MoveConferenceResponse, NodeError> {
        self.check_ours()?;
        let wire::MoveConferenceRequest { id, epoch, worker } = request;
        let to = worker as usize;
        let checked = self.check_move(&id, epoch, to);
        let moved = match checked {
            Ok(from) => {
                if let Some(rebalancer) = &mut self.rebalancer {
                    rebalancer.on_move(monotonic(), &id);
                }
                self.relocate(&id, (from, to)).await.map(|pause| (from, pause))
            }
            Err(error) => Err(error),
        };
        let count = match &moved {
            Ok(_) => &mut self.moves.moved,
            Err(NodeError::MoveFailed(_) | NodeError::WorkerGone(_)) => &mut self.moves.put_back,
            Err(_) => &mut self.moves.refused,
        };
        *count += 1;
        let (from, pause) = moved?;
        let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(conference = %id, from, to, pause_us, "conference moved to another worker");
        Ok(wire::MoveConferenceResponse { from_worker: from as u32, pause_us })
    }

    /// The worker that the conference is to leave.
    fn check_move(&self, id: &str, epoch: u64, to: usize) -> Result<usize, NodeError> {
        let running = self.conferences.get(id).ok_or_else(|| NodeError::NotFound(id.to_owned()))?;
        if epoch < running.epoch {
            return Err(stale_epoch(id, epoch, running.epoch, "runs"));
        }
        if epoch > running.epoch {
            let why = format!("{epoch} is not known here; conference '{id}' runs under {}", running.epoch);
            return Err(NodeError::invalid("epoch", why));
        }
        if to >= self.workers.len() {
            let why = format!("{to} does not exist; this node has workers 0 to {}", self.workers.len() - 1);
            return Err(NodeError::invalid("worker", why));
        }
        let immovable = |why| Err(NodeError::Immovable { id: id.to_owned(), why });
        if self.claims.is_some() {
            return immovable("its legs share their worker's port (--shared-port)");
        }
        if self.ending.is_draining() {
            return immovable("the node drains");
        }
        match only_worker(&running.held) {
            Some(from) if from == to => {
                Err(NodeError::invalid("worker", format!("conference '{id}' is on worker {to} already")))
            }
            Some(from) => Ok(from),
            None if running.held.mix.is_some() => immovable("its sound is mixed"),
            None if running.held.canvas.is_some() => immovable("its pictures are composed"),
            None if running.held.recording.is_some() => immovable("it is recorded"),
            None if running.held.legs.is_empty() => immovable("it has no legs, so that it is on no worker"),
            None => immovable("it is spread over workers"),
        }
    }

    async fn relocate(&mut self, id: &str, (from, to): (usize, usize)) -> Result<Duration, NodeError> {
        let held = &self.conferences[id].held;
        let mut taker =
            Taker::new(&mut self.ids, &mut self.pools, &self.loads, self.limits, ThreadLoads::default());
        let relocation = match relocate(held, (from, to), &mut taker) {
            Ok(relocation) => relocation,
            Err(error) => {
                taker.undo();
                return Err(about_worker(error));
            }
        };
        let legs = held.legs.values().map(|leg| leg.id).collect();
        let ports = held.legs.values().flat_map(|leg| &leg.ports).flat_map(sockets).collect();
        let Relocation { next, numbers, released } = relocation;
        let pause = match bring_over(&self.workers, (from, to), (legs, ports), &numbers).await {
            Ok(pause) => pause,
            Err(error) => {
                taker.undo();
                return Err(error);
            }
        };
        give_back(&mut self.ids, &mut self.pools, released);
        let mut conference = self.conferences.remove(id).expect("only this call holds the state");
        self.account(&conference.held, &next);
        // The names on the worker before stay until their numbers are used again: events that it told may
        // still be on the way.
        (conference.held, conference.changed) = (next, self.change());
        self.remember_names(&conference);
        self.conferences.insert(id.to_owned(), conference);
        Ok(pause)
    }
}

/// Takes legs and sockets from one worker to another; says how long nothing was received. On an error they
/// are where they were.
async fn bring_over(
    workers: &[Worker],
    (from, to): (usize, usize),
    (legs, ports): (Vec<LegId>, Vec<SocketId>),
    numbers: &Numbers,
) -> Result<Duration, NodeError> {
    let given = workers[from].give(legs, ports).await.ok_or(NodeError::WorkerGone(from))?;
    let mut luggage = given.map_err(NodeError::MoveFailed)?;
    let (why, luggage) = match luggage.renumber(numbers) {
        Err(error) => (error.to_string(), luggage),
        Ok(()) => {
            let taken = workers[to].take(luggage).await.ok_or(NodeError::WorkerGone(to))?;
            let (why, mut luggage) = match taken {
                Ok(pause) => return Ok(pause),
                Err(not_taken) => not_taken,
            };
            luggage.renumber(&numbers.reversed()).expect("it came by these numbers");
            (why, luggage)
        }
    };
    let back = workers[from].take(luggage).await.ok_or(NodeError::WorkerGone(from))?;
    back.map_err(|lost| NodeError::Relay(format!("{why}; and the worker before: {}", lost.0)))?;
    Err(NodeError::MoveFailed(why))
}

/// A limit of the other worker, as an error of a move.
fn about_worker(error: NodeError) -> NodeError {
    match error {
        NodeError::Exhausted { why, .. } => NodeError::Exhausted { field: "worker".to_owned(), why },
        error => error,
    }
}
