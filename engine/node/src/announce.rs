//! Makes the node known to control, again and again: registering, renewing and correcting in one.
//!
//! Each control has a task of its own: it says how often it wants to hear from the node, and how long it waits for
//! it; one that does not answer delays none of the others.

use crate::run::Shared;
use crate::worker::monotonic;
use motet_proto::registry::node_registry_client::NodeRegistryClient;
use motet_proto::registry::{AnnounceRequest, AnnounceResponse, HeldConference};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Used until control says how often it wants to hear from the node.
const INTERVAL: Duration = Duration::from_secs(1);
/// Used until control says how long it waits for the node.
const TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT_MIN: Duration = Duration::from_millis(250);
/// Threads hold media back until control answers.
const INTERVAL_STOPPED: Duration = Duration::from_millis(50);

/// How often to announce, and how long to wait for an answer.
#[derive(Clone, Copy)]
struct Pace {
    interval: Duration,
    timeout: Duration,
}

impl Pace {
    /// As control wants it. An answer that takes half of the lease comes too late for the next announcement.
    fn of(answer: &AnnounceResponse) -> Pace {
        let interval = match answer.interval_ms {
            0 => INTERVAL,
            wanted => Duration::from_millis(u64::from(wanted).clamp(50, 60_000)),
        };
        let timeout = match answer.lease_ms {
            0 => TIMEOUT,
            lease => Duration::from_millis(u64::from(lease) / 2).clamp(TIMEOUT_MIN, TIMEOUT),
        };
        Pace { interval, timeout }
    }
}

/// Announces until the task is dropped. `index` is the control's among all.
pub(crate) async fn announce(shared: Arc<Shared>, (index, control): (usize, String), address: String) {
    let endpoint = match Endpoint::from_shared(control.clone()) {
        Ok(endpoint) => endpoint.connect_timeout(TIMEOUT),
        Err(error) => {
            tracing::error!(%control, %error, "cannot be used as an address of control");
            return;
        }
    };
    let mut client = NodeRegistryClient::new(endpoint.connect_lazy());
    let (mut reached, mut pace) = (None, Pace { interval: INTERVAL, timeout: TIMEOUT });
    let (mut drain, mut stops) = (shared.ending.watch(), shared.word.watch());
    // The last stop that control has not answered for.
    let mut stopped = false;
    loop {
        stopped |= stops.has_changed().unwrap_or(false);
        stops.mark_unchanged();
        let begun = monotonic();
        let request = announcement(&shared, &address, stopped).await;
        let answer = tokio::time::timeout(pace.timeout, client.announce(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        match answer {
            Ok(answer) => {
                let answer = answer.into_inner();
                pace = Pace::of(&answer);
                give_up(&shared, answer.give_up).await;
                shared.word.answered(index, begun);
                stopped = false;
                if reached.replace(true) != Some(true) {
                    tracing::info!(%control, "announced to control");
                }
            }
            Err(status) => {
                if reached.replace(false) != Some(false) {
                    tracing::warn!(%control, error = status.message(), "control does not answer; media goes on");
                }
            }
        }
        // That the node drains, or was stopped, is told at once.
        let rest = if stopped { INTERVAL_STOPPED } else { pace.interval };
        tokio::select! {
            _ = drain.changed() => {}
            _ = stops.changed() => stopped = true,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Says that the node ends. Best effort, within a second.
pub(crate) async fn leave(shared: &Shared, control: &str, address: &str) {
    let Ok(endpoint) = Endpoint::from_shared(control.to_owned()) else { return };
    let timeout = Duration::from_secs(1);
    let channel: Channel = endpoint.connect_timeout(timeout).timeout(timeout).connect_lazy();
    let request = AnnounceRequest { leaving: true, ..announcement(shared, address, false).await };
    let _ = NodeRegistryClient::new(channel).announce(request).await;
}

async fn announcement(shared: &Shared, address: &str, stopped: bool) -> AnnounceRequest {
    let node = Some(shared.describe().await);
    let mut held = Vec::new();
    if stopped {
        let state = shared.state.lock().await;
        let conferences = state.conferences.values();
        held.extend(
            conferences
                .map(|conference| HeldConference { id: conference.spec.id.clone(), epoch: conference.epoch }),
        );
    }
    AnnounceRequest { address: address.to_owned(), node, leaving: false, stopped, held }
}

/// Ends what other nodes run by now.
async fn give_up(shared: &Shared, conferences: Vec<HeldConference>) {
    for HeldConference { id, epoch } in conferences {
        match shared.state.lock().await.delete(&id, epoch, true).await {
            Ok(true) => tracing::warn!(conference = %id, epoch, "given up: another node runs it"),
            Ok(false) => {}
            // It was put here again meanwhile.
            Err(error) => tracing::info!(conference = %id, %error, "not given up"),
        }
    }
}
