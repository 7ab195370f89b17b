//! What runs as long as the node does, without being part of it.

use super::{RunningNode, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long it may take to come to an orderly end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who a node is, for registries that it is not told of.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
    advertised: String,
}

impl Identity {
    pub(super) fn of(node: &RunningNode) -> Identity {
        Identity { shared: Arc::clone(&node.shared), advertised: node.advertised.clone() }
    }

    /// Address of its `MediaNode` service, as others reach it.
    pub fn address(&self) -> &str {
        &self.advertised
    }

    /// What it says of itself at the moment.
    pub async fn describe(&self) -> motet_proto::node::NodeDescription {
        self.shared.describe().await
    }
}

/// Ended at once when dropped.
pub(super) struct Beside {
    task: JoinHandle<()>,
    end: Option<oneshot::Sender<()>>,
}

impl Beside {
    pub(super) fn start<F>(
        identity: Identity,
        what: impl FnOnce(Identity, oneshot::Receiver<()>) -> F,
    ) -> Beside
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (end, ended) = oneshot::channel();
        Beside { task: tokio::spawn(what(identity, ended)), end: Some(end) }
    }

    /// Lets it come to an orderly end.
    pub(super) async fn end(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        let _ = tokio::time::timeout(PATIENCE, &mut self.task).await;
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until standard input ends. On a thread of its own: a blocked read must not hold up the end.
pub(super) async fn stdin_closed() {
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = closed.send(());
    });
    let _ = wait.await;
}
