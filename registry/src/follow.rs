//! What others see of the resources.

use crate::content::{ContentError, Resource};
use crate::tree::{AGAIN, Part, ZooKeeperOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use zookeeper_client::{AddWatchMode, Client, Error, EventType, SessionState};

/// Everything is read again so often, whatever was or was not notified.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// News of the resources.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Heard {
    /// A resource registered, or was refreshed.
    Resource(Box<Resource>),
    /// A node of the tree makes no sense; said once for each change of it.
    Refused {
        /// Its path.
        path: String,
        /// Why.
        why: ContentError,
    },
    /// All that was there has been told.
    Connected,
    /// No news until it is connected again. Says nothing about the resources.
    Disconnected(String),
}

/// Tells of resources until the receiver is gone. Whatever ZooKeeper does, this waits and tries again.
pub async fn follow(options: &ZooKeeperOptions, heard: mpsc::Sender<Heard>) {
    let mut seen = Seen::default();
    let mut told = false;
    while !heard.is_closed() {
        let why = match session(options, &heard, &mut seen).await {
            Ok(()) => return,
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(servers = %options.servers, %why, "ZooKeeper does not answer; what runs goes on");
        }
        if heard.send(Heard::Disconnected(why)).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What was told already.
#[derive(Default)]
struct Seen {
    /// Last change of each path, by ZooKeeper's count of all changes.
    paths: BTreeMap<String, i64>,
    /// Last change of each resource: what an older session of it left behind is no news.
    nodes: BTreeMap<String, i64>,
}

/// Follows within one session. Gives `Ok` when nobody listens any more.
async fn session(
    options: &ZooKeeperOptions,
    heard: &mpsc::Sender<Heard>,
    seen: &mut Seen,
) -> Result<(), Error> {
    let client = options.open().await?;
    let folder = options.part(Part::Source);
    // Watched before it is read, so that no change falls between.
    let mut watcher = client.watch(&folder, AddWatchMode::PersistentRecursive).await?;
    if !read_all(&client, &folder, heard, seen).await? || heard.send(Heard::Connected).await.is_err() {
        return Ok(());
    }
    loop {
        let listening = match tokio::time::timeout(READ_AGAIN, watcher.changed()).await {
            Err(_) => read_all(&client, &folder, heard, seen).await?,
            Ok(event) => match event.event_type {
                EventType::Session if event.session_state.is_terminated() => {
                    return Err(Error::SessionExpired);
                }
                EventType::Session if event.session_state == SessionState::SyncConnected => {
                    read_all(&client, &folder, heard, seen).await?
                }
                EventType::NodeCreated | EventType::NodeDataChanged if event.path != folder => {
                    read(&client, &event.path, heard, seen).await?
                }
                _ => !heard.is_closed(),
            },
        };
        if !listening {
            return Ok(());
        }
    }
}

/// False: nobody listens.
async fn read_all(
    client: &Client,
    folder: &str,
    heard: &mpsc::Sender<Heard>,
    seen: &mut Seen,
) -> Result<bool, Error> {
    let mut there = BTreeSet::new();
    for name in client.list_children(folder).await? {
        let path = format!("{folder}/{name}");
        if !read(client, &path, heard, seen).await? {
            return Ok(false);
        }
        there.insert(path);
    }
    seen.paths.retain(|path, _| there.contains(path));
    Ok(!heard.is_closed())
}

/// Tells of one path if it changed. False: nobody listens.
async fn read(
    client: &Client,
    path: &str,
    heard: &mpsc::Sender<Heard>,
    seen: &mut Seen,
) -> Result<bool, Error> {
    let (content, stat) = match client.get_data(path).await {
        // Gone meanwhile: whoever follows counts from the last refresh.
        Err(Error::NoNode) => return Ok(true),
        read => read?,
    };
    if seen.paths.insert(path.to_owned(), stat.mzxid) == Some(stat.mzxid) {
        return Ok(true);
    }
    let news = match Resource::parse(&content) {
        Ok(resource) => {
            let last = seen.nodes.entry(resource.node_id.clone()).or_default();
            if *last >= stat.mzxid {
                return Ok(true);
            }
            *last = stat.mzxid;
            Heard::Resource(Box::new(resource))
        }
        Err(why) => Heard::Refused { path: path.to_owned(), why },
    };
    Ok(heard.send(news).await.is_ok())
}
