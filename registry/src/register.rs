//! A resource's part: one node of its own in the tree.

use crate::content::Resource;
use crate::entries::contents;
use crate::tree::{AGAIN, Part, ZooKeeperOptions, over};
use std::time::Duration;
use zookeeper_client::{Client, Error};

/// How long an entry that says that its resource leaves can be read.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long ZooKeeper has to take note of the end of the session.
const CLOSED: Duration = Duration::from_millis(300);

/// Keeps a resource registered and refreshed every `interval`, until `ended`; then says that it leaves, and goes.
/// `describe` gives what is true at the moment; nothing is written while it gives none. Whatever ZooKeeper does,
/// this waits and tries again.
pub async fn keep_registered<D, F>(
    options: &ZooKeeperOptions,
    interval: Duration,
    mut describe: D,
    ended: impl Future<Output = ()>,
) where
    D: FnMut() -> F,
    F: Future<Output = Option<Resource>>,
{
    let mut own = Own { options, session: None, told: None };
    tokio::pin!(ended);
    loop {
        if let Some(resource) = describe().await {
            own.refresh(&resource).await;
        }
        tokio::select! {
            () = &mut ended => break,
            () = tokio::time::sleep(interval) => {}
        }
    }
    if let (Some((client, Some(path))), Some(resource)) = (own.session, describe().await) {
        // Followers tell an orderly end from a loss by this.
        let leaving = Resource { leaving: true, ..resource };
        let _ = client.set_data(&path, &leaving.to_json(), None).await;
        // They hear that it changed, and must still find it.
        tokio::time::sleep(FAREWELL).await;
        // Where resources have identities nobody may delete; the entry goes with the session, which ends here.
        let _ = client.delete(&path, None).await;
        let mut state = client.state_watcher();
        drop(client);
        let closed = async { while !state.changed().await.is_terminated() {} };
        let _ = tokio::time::timeout(CLOSED, closed).await;
    }
}

struct Own<'a> {
    options: &'a ZooKeeperOptions,
    /// And the path of the resource in it.
    session: Option<(Client, Option<String>)>,
    /// Whether it was written last time, for the log.
    told: Option<bool>,
}

impl Own<'_> {
    async fn refresh(&mut self, resource: &Resource) {
        let written = self.write(resource).await;
        let servers = &self.options.servers;
        match &written {
            Ok(()) if self.told != Some(true) => tracing::info!(%servers, "registered in ZooKeeper"),
            Err(error) if self.told != Some(false) => {
                tracing::warn!(%servers, %error, "ZooKeeper cannot be told of this node; media goes on");
            }
            _ => {}
        }
        self.told = Some(written.is_ok());
        if let Err(error) = written {
            if over(&error) {
                self.session = None;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn write(&mut self, resource: &Resource) -> Result<(), Error> {
        if self.session.is_none() {
            self.session = Some((self.options.open().await?, None));
        }
        let (client, path) = self.session.as_mut().expect("it was opened");
        let content = resource.to_json();
        if path.is_none() {
            // An earlier attempt may have been answered by a broken connection and done all the same.
            *path = recover(self.options, client, resource, &content).await?;
        }
        if let Some(known) = path {
            match client.set_data(known, &content, None).await {
                Err(Error::NoNode) => *path = None,
                result => return result.map(|_| ()),
            }
        }
        *path = Some(self.options.make(client, Part::Source, &self.options.kind, &content).await?);
        Ok(())
    }
}

/// Finds what this session made for the resource, and writes this start into what earlier ones left behind, which
/// counts until it goes with its session.
async fn recover(
    options: &ZooKeeperOptions,
    client: &Client,
    resource: &Resource,
    content: &[u8],
) -> Result<Option<String>, Error> {
    let mut own = None;
    for (path, found, stat) in contents(client, &options.part(Part::Source)).await? {
        let Ok(found) = Resource::parse(&found) else { continue };
        if found.node_id != resource.node_id {
            continue;
        }
        if stat.ephemeral_owner == client.session_id().0 && found.boot_id == resource.boot_id {
            own = Some(path);
        } else if found.boot_id != resource.boot_id {
            match client.set_data(&path, content, None).await {
                Ok(_) | Err(Error::NoNode) => {}
                Err(Error::NoAuth) => tracing::warn!(
                    node_id = %resource.node_id, %path,
                    "another identity has an entry of this name in ZooKeeper; nobody believes this node until that is gone"
                ),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(own)
}
