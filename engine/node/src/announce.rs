//! Makes the node known to control, again and again: registering, renewing and correcting in one.

use crate::run::Shared;
use motet_proto::registry::AnnounceRequest;
use motet_proto::registry::node_registry_client::NodeRegistryClient;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Used until control says how often it wants to hear from the node.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Announces until the task is dropped.
pub(crate) async fn announce(shared: Arc<Shared>, control: String, address: String) {
    let endpoint = match Endpoint::from_shared(control.clone()) {
        Ok(endpoint) => endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT),
        Err(error) => {
            tracing::error!(%control, %error, "cannot be used as an address of control");
            return;
        }
    };
    let mut client = NodeRegistryClient::new(endpoint.connect_lazy());
    let mut reached = None;
    let mut drain = shared.ending.watch();
    loop {
        let interval = match announce_once(&mut client, &shared, &address, false).await {
            Ok(interval) => {
                if reached.replace(true) != Some(true) {
                    tracing::info!(%control, "announced to control");
                }
                interval
            }
            Err(status) => {
                if reached.replace(false) != Some(false) {
                    tracing::warn!(%control, error = status.message(), "control does not answer; media goes on");
                }
                INTERVAL
            }
        };
        // That the node drains is told at once, so that control places nothing here any more.
        let _ = tokio::time::timeout(interval, drain.changed()).await;
    }
}

/// Says that the node ends. Best effort, within a second.
pub(crate) async fn leave(shared: &Shared, control: &str, address: &str) {
    let Ok(endpoint) = Endpoint::from_shared(control.to_owned()) else { return };
    let timeout = Duration::from_secs(1);
    let channel = endpoint.connect_timeout(timeout).timeout(timeout).connect_lazy();
    let _ = announce_once(&mut NodeRegistryClient::new(channel), shared, address, true).await;
}

async fn announce_once(
    client: &mut NodeRegistryClient<Channel>,
    shared: &Shared,
    address: &str,
    leaving: bool,
) -> Result<Duration, tonic::Status> {
    let node = Some(shared.describe().await);
    let request = AnnounceRequest { address: address.to_owned(), node, leaving };
    let answer = client.announce(request).await?.into_inner();
    Ok(match answer.interval_ms {
        0 => INTERVAL,
        wanted => Duration::from_millis(u64::from(wanted).clamp(50, 60_000)),
    })
}
