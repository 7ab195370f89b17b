//! What happened, numbered and handed to all watchers.

use crate::state::State;
use motet_proto::node as wire;
use motet_relay::Event;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::broadcast;
use wire::event::Kind;

/// Events that a slow watcher may be behind before it loses some.
const WATCHER_BACKLOG: usize = 4096;

/// Numbers events and sends them to all watchers.
#[derive(Clone)]
pub(crate) struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    node_id: String,
    boot_id: String,
    /// None: no more will come from this process.
    sender: broadcast::Sender<Option<wire::Event>>,
    /// Held while sending, so that numbers and order agree.
    sequence: Mutex<u64>,
}

impl Events {
    pub(crate) fn new(node_id: String, boot_id: String) -> Events {
        let (sender, _) = broadcast::channel(WATCHER_BACKLOG);
        Events { inner: Arc::new(Inner { node_id, boot_id, sender, sequence: Mutex::new(0) }) }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Option<wire::Event>> {
        self.inner.sender.subscribe()
    }

    pub(crate) fn send(&self, conference: &str, epoch: u64, kind: Kind) {
        let mut sequence = self.inner.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        *sequence += 1;
        let _ = self.inner.sender.send(Some(self.event(*sequence, conference, epoch, kind)));
    }

    /// Number of the last event sent to all.
    pub(crate) fn sequence(&self) -> u64 {
        *self.inner.sequence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from the numbers of the process before.
    pub(crate) fn go_on_from(&self, sequence: u64) {
        *self.inner.sequence.lock().unwrap_or_else(PoisonError::into_inner) = sequence;
    }

    /// Ends all watches, once they have had what was sent before.
    pub(crate) fn end(&self) {
        let _ = self.inner.sender.send(None);
    }

    /// An event for one watcher only; repeats the number of the last one sent to all.
    pub(crate) fn aside(&self, kind: Kind) -> wire::Event {
        self.event(self.sequence(), "", 0, kind)
    }

    fn event(&self, sequence: u64, conference: &str, epoch: u64, kind: Kind) -> wire::Event {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        wire::Event {
            sequence,
            node_id: self.inner.node_id.clone(),
            boot_id: self.inner.boot_id.clone(),
            unix_ms: unix.as_millis() as i64,
            conference: conference.to_owned(),
            epoch,
            kind: Some(kind),
        }
    }

    pub(crate) fn leg_gone(&self, conference: &str, epoch: u64, leg: &str) {
        self.send(conference, epoch, Kind::LegGone(wire::LegGone { leg: leg.to_owned() }));
    }

    pub(crate) fn changed(&self, conference: &str, epoch: u64, revision: u64, ended: bool) {
        self.send(conference, epoch, Kind::ConferenceChanged(wire::ConferenceChanged { ended, revision }));
    }
}

/// A worker's event by the names that control knows. None: what it is about has just ended.
pub(crate) fn by_name(state: &State, worker: usize, event: &Event) -> Option<(String, u64, Kind)> {
    let names = &state.names[worker];
    let leg = |id| names.legs.get(&id).map(|(conference, leg)| (conference.to_string(), leg.to_string()));
    let stream = |id| {
        let (conference, leg, medium) = names.streams.get(&id)?;
        Some((conference.to_string(), leg.to_string(), medium.to_string()))
    };
    let (conference, kind) = match *event {
        Event::LegAlive { leg: id, transport, source } => {
            let (conference, leg) = leg(id)?;
            let spec = &state.conferences.get(&conference)?.spec;
            let transport = spec.legs.get(leg.as_str())?.transports.get(usize::from(transport))?.id.clone();
            (conference, Kind::LegAlive(wire::LegAlive { leg, transport, source: source.to_string() }))
        }
        Event::LegSilent { leg: id, silent } => {
            let (conference, leg) = leg(id)?;
            (conference, Kind::LegSilent(wire::LegSilent { leg, silent_ms: silent.as_millis() as u64 }))
        }
        Event::StreamStarted { stream: id, ssrc } => {
            let (conference, leg, medium) = stream(id)?;
            (conference, Kind::StreamStarted(wire::StreamStarted { leg, medium, ssrc }))
        }
        Event::StreamSilent { stream: id, silent } => {
            let (conference, leg, medium) = stream(id)?;
            let silent_ms = silent.as_millis() as u64;
            (conference, Kind::StreamSilent(wire::StreamSilent { leg, medium, silent_ms }))
        }
        Event::StreamResumed { stream: id } => {
            let (conference, leg, medium) = stream(id)?;
            (conference, Kind::StreamResumed(wire::StreamResumed { leg, medium }))
        }
        Event::StreamEnded { stream: id } => {
            let (conference, leg, medium) = stream(id)?;
            (conference, Kind::StreamEnded(wire::StreamEnded { leg, medium }))
        }
        Event::KeyFrameWanted { stream: id } => {
            let (conference, leg, medium) = stream(id)?;
            (conference, Kind::KeyFrameWanted(wire::KeyFrameWanted { leg, medium }))
        }
    };
    let epoch = state.conferences.get(&conference)?.epoch;
    Some((conference, epoch, kind))
}
