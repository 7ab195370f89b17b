//! Words to the service manager: sd_notify(3). Where there is none, they go nowhere.
//!
//! The watchdog is fed from the workers' own turns: a worker that hangs in a packet, or in the kernel,
//! starves it, and the manager ends the process and starts it again.

use crate::run::Shared;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;

/// How often the manager gets a new status line, and the watchdog is fed where it has more patience.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Twice as long as a worker may sleep, so that one that is well has moved.
const INTERVAL_MIN: Duration = Duration::from_millis(500);

/// The process is ready to serve.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The process ends, in good order.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// This process goes on in place of the manager's main process, which is about to end. The unit needs
/// `NotifyAccess=all`, since this process is not the one that the manager started.
pub fn goes_on(status: &str) {
    let me = NotifyState::MainPid(std::process::id());
    tell(&[me, NotifyState::Ready, NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how this process is (NOTIFY_SOCKET)");
    }
}

/// Feeds the manager's watchdog for as long as this runs: for processes that only look after others.
pub async fn feed_watchdog_always() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(interval(Some(patience)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Feeds the manager's watchdog while every worker moves, and tells what runs. Ends at once where there is
/// no manager.
pub(crate) async fn keep_informed(shared: Arc<Shared>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(interval(sd_notify::watchdog_enabled()));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut liveness = Liveness::default();
    loop {
        ticks.tick().await;
        let turns: Vec<u64> = shared.gauges.iter().map(|gauge| gauge.snapshot().turns).collect();
        match liveness.stuck(&turns) {
            None => tell(&[NotifyState::Watchdog]),
            Some(worker) => tracing::error!(worker, "does not move; the watchdog is not fed"),
        }
        let load = shared.status().await.load.unwrap_or_default();
        let status = format!("{} conferences, {} legs, {} routes", load.conferences, load.legs, load.routes);
        tell(&[NotifyState::Status(&status)]);
    }
}

/// Three times within the manager's patience.
fn interval(patience: Option<Duration>) -> Duration {
    patience.map_or(INTERVAL_MAX, |patience| (patience / 3).clamp(INTERVAL_MIN, INTERVAL_MAX))
}

/// Which workers have moved since the last look.
#[derive(Debug, Default)]
struct Liveness {
    turns: Vec<u64>,
}

impl Liveness {
    /// The first worker that has not moved since the last look. None: all have.
    fn stuck(&mut self, turns: &[u64]) -> Option<usize> {
        let stuck = self.turns.iter().zip(turns).position(|(before, now)| before == now);
        self.turns.clear();
        self.turns.extend(turns);
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_does_not_move_is_named() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.stuck(&[0, 7, 3]), None, "the first look knows nothing yet");
        assert_eq!(liveness.stuck(&[1, 8, 4]), None);
        assert_eq!(liveness.stuck(&[2, 8, 5]), Some(1));
        assert_eq!(liveness.stuck(&[3, 9, 6]), None, "it moves again");
    }

    #[test]
    fn the_watchdog_is_fed_well_within_its_patience() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(interval(seconds(9)), Duration::from_secs(3));
        assert_eq!(interval(seconds(600)), INTERVAL_MAX);
        assert_eq!(interval(seconds(1)), INTERVAL_MIN, "a worker may sleep for a quarter of a second");
        assert_eq!(interval(None), INTERVAL_MAX);
    }
}
