//! Nodes that are found in ZooKeeper: an edge that announces them to the core, as they would themselves.

use crate::conference::NodeAnnouncement;
use crate::nodes::Nodes;
use crate::runtime::Control;
use motet_registry::{Heard, Joiner, Resource, ZooKeeperOptions, follow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// News that may wait for the core.
const NEWS_WAITING_MAX: usize = 1024;

/// Announces the nodes of the tree for as long as it is polled. While ZooKeeper is away, the nodes that it named
/// are asked by themselves every `interval`: no node is lost because the place where it is listed is.
pub(crate) async fn announce(
    options: ZooKeeperOptions,
    control: Control,
    nodes: Arc<dyn Nodes>,
    interval: Duration,
) {
    let (heard, mut news) = mpsc::channel(NEWS_WAITING_MAX);
    let mut known: BTreeMap<String, Resource> = BTreeMap::new();
    // Each function of a node has an entry of its own.
    let mut joiner = Joiner::default();
    let mut connected = false;
    let following = follow(&options, heard);
    tokio::pin!(following);
    loop {
        tokio::select! {
            () = &mut following => return,
            Some(heard) = news.recv() => match heard {
                Heard::Resource(part) => {
                    let Some(resource) = joiner.hear(*part) else { continue };
                    tell(&control, &resource).await;
                    if resource.leaving {
                        known.remove(&resource.node_id);
                    } else {
                        known.insert(resource.node_id.clone(), resource);
                    }
                }
                Heard::Refused { path, why } => {
                    tracing::warn!(%path, %why, "a resource in ZooKeeper is passed over");
                }
                Heard::Connected => {
                    connected = true;
                    tracing::info!(servers = %options.servers, nodes = known.len(), "follows ZooKeeper");
                }
                Heard::Disconnected(_) => connected = false,
                _ => {}
            },
            () = tokio::time::sleep(interval), if !connected && !known.is_empty() => {
                for resource in known.values() {
                    tokio::spawn(ask(control.clone(), Arc::clone(&nodes), resource.address.clone()));
                }
            }
        }
    }
}

async fn tell(control: &Control, resource: &Resource) {
    let announcement = NodeAnnouncement {
        held: Vec::new(),
        address: resource.address.clone(),
        description: resource.description(),
        leaving: resource.leaving,
    };
    if let Err(refusal) = control.announce(announcement).await {
        tracing::warn!(node = %resource.node_id, %refusal, "a node in ZooKeeper is not taken");
    }
}

/// Asks a node who it is, and announces it if it answers.
async fn ask(control: Control, nodes: Arc<dyn Nodes>, address: String) {
    if let Ok(description) = nodes.describe(&address).await {
        let (held, leaving) = (Vec::new(), false);
        let _ = control.announce(NodeAnnouncement { held, address, description, leaving }).await;
    }
}
