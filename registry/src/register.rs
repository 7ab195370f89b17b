//! A resource's part: entries of its own in the tree, one for each function.

use crate::content::Resource;
use crate::entries::contents;
use crate::function::Function;
use crate::tree::{AGAIN, Part, ZooKeeperOptions, over};
use std::collections::BTreeMap;
use std::time::Duration;
use zookeeper_client::{Client, Error};

/// How long an entry that says that its resource leaves can be read.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long ZooKeeper has to take note of the end of the session.
const CLOSED: Duration = Duration::from_millis(300);

/// An entry of another function than the relay, which stands for the node, is written again without a change only with
/// every so many refreshes.
const REWRITE: u32 = 8;

/// Keeps a node registered, with an entry for each of its functions, and its relay's refreshed every `interval`, until
/// `ended`; then says that it leaves, and goes. `describe` gives what is true at the moment of the whole node; nothing
/// is written while it gives none. Whatever ZooKeeper does, this waits and tries again.
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
    let Some(Session { client, entries }) = own.session else { return };
    if let (false, Some(resource)) = (entries.is_empty(), describe().await) {
        // Followers tell an orderly end from a loss by this.
        let leaving = Resource { leaving: true, ..resource };
        for (function, entry) in &entries {
            let _ = client.set_data(&entry.path, &leaving.part(*function).to_json(), None).await;
        }
        // They hear that it changed, and must still find it.
        tokio::time::sleep(FAREWELL).await;
        for entry in entries.into_values() {
            // Where resources have identities nobody may delete; entries go with the session, which ends here.
            let _ = client.delete(&entry.path, None).await;
        }
    }
    let mut state = client.state_watcher();
    drop(client);
    let closed = async { while !state.changed().await.is_terminated() {} };
    let _ = tokio::time::timeout(CLOSED, closed).await;
}

struct Session {
    client: Client,
    entries: BTreeMap<Function, Entry>,
}

/// Where an entry is, what was written there last, and how many refreshes ago.
struct Entry {
    path: String,
    content: Vec<u8>,
    age: u32,
}

struct Own<'a> {
    options: &'a ZooKeeperOptions,
    session: Option<Session>,
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
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let client = self.options.open().await?;
                none.insert(Session { client, entries: BTreeMap::new() })
            }
        };
        let functions = resource.functions();
        for function in Function::ALL {
            if functions.contains(&function) {
                session.write(self.options, function, resource.part(function)).await?;
            } else if session.entries.contains_key(&function) {
                // Its place goes with the session.
                let gone = Resource { leaving: true, ..resource.part(function) };
                session.write(self.options, function, gone).await?;
            }
        }
        Ok(())
    }
}

impl Session {
    async fn write(
        &mut self,
        options: &ZooKeeperOptions,
        function: Function,
        part: Resource,
    ) -> Result<(), Error> {
        let content = part.to_json();
        if !self.entries.contains_key(&function) {
            // An earlier attempt may have been answered by a broken connection and done all the same.
            let folder = options.part(function, Part::Source);
            if let Some(path) = recover(&folder, &self.client, &part, &content).await? {
                self.entries.insert(function, Entry { path, content: Vec::new(), age: 0 });
            }
        }
        if let Some(entry) = self.entries.get_mut(&function) {
            entry.age += 1;
            if function != Function::Relay && entry.content == content && entry.age < REWRITE {
                return Ok(());
            }
            match self.client.set_data(&entry.path, &content, None).await {
                Err(Error::NoNode) => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    (entry.content, entry.age) = (content, 0);
                    return Ok(());
                }
            }
            self.entries.remove(&function);
        }
        let folder = options.part(function, Part::Source);
        let path = options.make(&self.client, &folder, options.kinds.of(function), &content).await?;
        self.entries.insert(function, Entry { path, content, age: 0 });
        Ok(())
    }
}

/// Finds what this session made for the resource, and writes this start into what earlier ones left behind, which
/// counts until it goes with its session.
async fn recover(
    folder: &str,
    client: &Client,
    resource: &Resource,
    content: &[u8],
) -> Result<Option<String>, Error> {
    let mut own = None;
    for (path, found, stat) in contents(client, folder).await? {
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
