//! `motet node`: a media node, which may measure itself first, and may be found in ZooKeeper.

use crate::calibrate;
use motet_node::{Identity, NodeOptions};
use motet_registry::{Resource, ZooKeeperArgs, ZooKeeperOptions, keep_registered};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often a node refreshes what it wrote into ZooKeeper; control's lease is four of these.
const REFRESH: Duration = Duration::from_millis(250);

/// Options of `motet node`.
#[derive(clap::Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) node: NodeOptions,

    #[command(flatten)]
    zookeeper: ZooKeeperArgs,
}

pub(crate) async fn run(args: NodeArgs, mut signals: mpsc::Receiver<()>) -> anyhow::Result<()> {
    let zookeeper = args.zookeeper.options().map_err(anyhow::Error::msg)?;
    let options = tokio::select! {
        options = calibrate::before_start(args.node) => options,
        _ = signals.recv() => return Ok(()),
    };
    motet_node::run_beside(options, signals, |identity, ended| register(zookeeper, identity, ended)).await
}

async fn register(zookeeper: Option<ZooKeeperOptions>, identity: Identity, ended: oneshot::Receiver<()>) {
    let Some(options) = zookeeper else { return };
    let describe =
        || async { Some(Resource::of_node(identity.address(), &identity.describe().await, false)) };
    let ended = async {
        let _ = ended.await;
    };
    keep_registered(&options, REFRESH, describe, ended).await;
}
