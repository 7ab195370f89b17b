//! What a worker does when the node is handed to another process, on either side.

use super::{Job, Loop, Worker};
use crate::handover::{decode, encode};
use motet_net::{Io, SocketId, Turn};
use motet_relay::{LegId, PortId, Relay, RelayConfig};
use motet_rtp::Time;
use std::net::UdpSocket;
use std::time::Duration;
use tokio::sync::oneshot;

/// A socket and its connected twin.
pub(crate) type Handles = (SocketId, UdpSocket, Option<UdpSocket>);

/// Takes what was written down.
pub(crate) type Written = oneshot::Sender<Result<Vec<u8>, String>>;

/// A step of the handover. Only [`Step::Resume`] follows [`Step::Pause`].
pub(crate) enum Step {
    /// Give handles of these sockets, and connect no more of them.
    Share(Vec<SocketId>, oneshot::Sender<Result<Vec<Handles>, String>>),
    /// Stop receiving, finish what was received, and write the relay down in this version of the form.
    Pause(u32, Written),
    /// Take these sockets.
    Adopt(Vec<Handles>, oneshot::Sender<Result<(), String>>),
    /// Go on with this relay, whose ports are these sockets, and say which legs are heard.
    Import(Vec<u8>, oneshot::Sender<Result<Vec<LegId>, String>>),
    /// Receive.
    Resume(oneshot::Sender<()>),
}

impl Worker {
    /// Asks for a step; the answer comes by the channel that it holds. Blocks while the queue is full.
    pub(crate) fn step<T>(&self, step: impl FnOnce(oneshot::Sender<T>) -> Step) -> oneshot::Receiver<T> {
        let (done, answer) = oneshot::channel();
        // A worker that is gone drops the sender, which the receiver tells.
        let _ = self.send(Job::Handover(step(done)));
        answer
    }

    /// [`Worker::step`], with the wait for its answer. For threads outside of the runtime.
    pub(crate) fn do_step<T>(
        &self,
        step: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Step,
    ) -> Result<T, String> {
        self.step(step).blocking_recv().map_err(|_| "a worker has ended".to_owned())?
    }
}

impl Loop {
    pub(super) fn handle_step(&mut self, step: Step) {
        match step {
            Step::Share(ids, done) => {
                self.peers_fixed = true;
                let _ = done.send(ids.into_iter().map(|id| self.share(id)).collect());
            }
            // What this turn made is still to be queued.
            Step::Pause(version, done) => self.pausing = Some((version, done)),
            Step::Adopt(handles, done) => {
                let adopted = handles.into_iter().try_for_each(|handles| self.adopt(handles));
                let _ = done.send(adopted);
            }
            Step::Import(bytes, done) => {
                let _ = done.send(self.import(&bytes));
            }
            Step::Resume(done) => {
                self.io.resume();
                (self.paused, self.peers_fixed) = (false, false);
                let _ = done.send(());
            }
        }
    }

    fn share(&self, id: SocketId) -> Result<Handles, String> {
        let (socket, twin) =
            self.io.duplicate(id).map_err(|error| format!("cannot share socket {}: {error}", id.0))?;
        Ok((id, socket, twin))
    }

    fn adopt(&mut self, (id, socket, twin): Handles) -> Result<(), String> {
        let failed = |error| format!("cannot take socket {}: {error}", id.0);
        self.io.add_socket(id, socket).map_err(failed)?;
        twin.map_or(Ok(()), |twin| self.io.add_twin(id, twin)).map_err(failed)
    }

    fn import(&mut self, bytes: &[u8]) -> Result<Vec<LegId>, String> {
        let snapshot = decode("the state of a relay", bytes)?;
        let relay = Relay::restore(RelayConfig::default(), &snapshot)
            .map_err(|error| format!("the state of a relay makes no sense: {error}"))?;
        let ports = snapshot.part.legs.iter().flat_map(|leg| &leg.transports);
        let ports = ports.flat_map(|transport| [Some(transport.rtp), transport.rtcp]).flatten();
        for PortId(port) in ports {
            if !self.io.has_socket(SocketId(port)) && self.desk.end(PortId(port)).is_none() {
                return Err(format!("the socket of port {port} did not come"));
            }
        }
        self.relay = relay;
        // What was mixed until now the process before has sent itself.
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            self.desk.give_back(parcel);
        }
        Ok(self.relay.legs_heard().collect())
    }

    /// Stops receiving and gives the relay's state, if that was asked for. On failure all goes on.
    pub(super) fn pause(&mut self) {
        let Some((version, done)) = self.pausing.take() else { return };
        let written = self.finish().and_then(|()| encode(&self.relay.snapshot().for_version(version)));
        self.paused = written.is_ok();
        if !self.paused {
            self.io.resume();
        }
        if done.send(written).is_err() && self.paused {
            // Nobody waits for it any more.
            self.io.resume();
            self.paused = false;
        }
    }

    /// Ends receiving, and sends on all that was received.
    fn finish(&mut self) -> Result<(), String> {
        let failed = |error| format!("cannot stop receiving: {error}");
        self.io.pause().map_err(failed)?;
        loop {
            let turn = self.turn_at_once()?;
            if turn.received == 0 && !turn.more {
                return Ok(());
            }
        }
    }

    /// A turn that does not wait, without timers and jobs.
    pub(super) fn turn_at_once(&mut self) -> Result<Turn, String> {
        let turn = self.io.turn(Some(Duration::ZERO));
        let turn = turn.map_err(|error| format!("packet input and output failed: {error}"))?;
        let now = self.clock.now();
        self.close_sockets();
        self.bring_in();
        if self.carry(now, turn) {
            self.queue_messages(now);
        }
        self.report(now);
        Ok(turn)
    }

    /// Does what is asked while nothing is received. False: stop.
    pub(super) fn wait_while_paused(&mut self) -> bool {
        while self.paused {
            self.fence.rest();
            let Ok(job) = self.jobs.recv() else { return false };
            let now: Time = self.clock.now();
            if !self.handle_job(now, job) {
                return false;
            }
        }
        true
    }
}
