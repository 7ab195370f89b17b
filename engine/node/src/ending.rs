//! The node's way to its end: [`Drain`] with the node's clock, for all tasks to see.

use crate::drain::{Drain, End};
use crate::run::Shared;
use motet_rtp::Time;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How often a draining node looks whether it is empty.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What the node was told, and since when its clock runs.
#[derive(Debug)]
pub(crate) struct Ending {
    drain: watch::Sender<Drain>,
    origin: Instant,
}

impl Ending {
    pub(crate) fn new() -> Ending {
        Ending { drain: watch::Sender::new(Drain::default()), origin: Instant::now() }
    }

    /// See [`Drain::begin`].
    pub(crate) fn begin(&self, deadline: Option<Duration>) {
        let now = self.now();
        self.drain.send_modify(|drain| drain.begin(now, deadline));
        match deadline {
            None => tracing::info!("drains: takes no new conferences"),
            Some(deadline) => tracing::info!("drains: ends when it is empty, in {deadline:?} at the latest"),
        }
    }

    /// See [`Drain::cancel`].
    pub(crate) fn cancel(&self) {
        self.drain.send_modify(Drain::cancel);
        tracing::info!("takes new conferences again");
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.borrow().is_draining()
    }

    /// Milliseconds until the node ends whatever runs on it, at least 1; 0: it does not.
    pub(crate) fn left_ms(&self) -> u64 {
        let left = self.drain.borrow().left(self.now());
        left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1))
    }

    /// Told of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Drain> {
        self.drain.subscribe()
    }

    fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Waits until the node is to end, by a drain or by signals. `deadline`: of the drain that a signal begins.
pub(crate) async fn ended(shared: &Shared, mut signals: mpsc::Receiver<()>, deadline: Duration) -> End {
    let ending = &shared.ending;
    let mut changes = ending.watch();
    loop {
        tokio::select! {
            Some(()) = signals.recv() => {
                let now = ending.now();
                ending.drain.send_modify(|drain| drain.on_signal(now, deadline));
                tracing::info!("drains by a signal for up to {deadline:?}; another one ends the node at once");
            }
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_INTERVAL), if ending.is_draining() => {}
        }
        // A change in progress holds the state; it is not empty then.
        let conferences = shared.state.try_lock().ok().map(|state| state.conferences.len());
        let drain = *ending.drain.borrow();
        if let Some(end) = drain.end(ending.now(), conferences) {
            match end {
                End::Empty => tracing::info!("has drained and ends"),
                End::Deadline => tracing::warn!(?conferences, "ends at the deadline of its drain"),
                End::Forced => tracing::warn!(?conferences, "ends at once"),
            }
            return end;
        }
    }
}
