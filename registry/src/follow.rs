//! What others see of the resources.

use crate::content::{ContentError, Resource};
use crate::entries::{Entry, paths, speaks};
use crate::function::Function;
use crate::tree::{AGAIN, Part, ZooKeeperOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, Stat, WatchedEvent,
};

/// Everything is read again so often, whatever was or was not notified.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// News of the resources.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Heard {
    /// A resource registered, or was refreshed: one function of a node.
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
    let mut seen = Function::ALL.map(|_| Seen::default());
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

/// What was told already of one function.
#[derive(Default)]
struct Seen {
    /// By path.
    paths: BTreeMap<String, Known>,
    /// Last change of each resource: what an older session of it left behind is no news.
    nodes: BTreeMap<String, i64>,
}

impl Seen {
    /// What is to be told of what a path holds now, if anything.
    fn news(&mut self, path: &str, content: &[u8], stat: &Stat) -> Option<Heard> {
        let refused = |why| Some(Heard::Refused { path: path.to_owned(), why });
        let written = stat.mzxid;
        let entry = match Entry::read(content, stat) {
            Ok(entry) => entry,
            Err(why) => {
                self.paths.insert(path.to_owned(), Known { written, entry: None, foreign: false });
                return refused(why);
            }
        };
        let before = self.paths.get(path).is_some_and(|known| known.foreign);
        let resource = entry.resource.clone();
        let others = self.paths.iter().filter(|(other, _)| *other != path);
        let others = others.filter_map(|(_, known)| known.entry.as_ref());
        let foreign = !speaks(&entry, others.chain([&entry]));
        self.paths.insert(path.to_owned(), Known { written, entry: Some(entry), foreign });
        if foreign {
            let why = ContentError::Foreign(resource.node_id);
            return if before { None } else { refused(why) };
        }
        let last = self.nodes.entry(resource.node_id.clone()).or_default();
        if *last >= written {
            return None;
        }
        *last = written;
        Some(Heard::Resource(Box::new(resource)))
    }
}

/// What was read at a path.
struct Known {
    /// When it was written last, by ZooKeeper's count of all changes.
    written: i64,
    /// None: it made no sense.
    entry: Option<Entry>,
    /// That somebody else uses its name was said.
    foreign: bool,
}

/// Follows within one session. Gives `Ok` when nobody listens any more.
async fn session(
    options: &ZooKeeperOptions,
    heard: &mpsc::Sender<Heard>,
    seen: &mut [Seen; 3],
) -> Result<(), Error> {
    let client = options.open().await?;
    let folders = Function::ALL.map(|function| options.part(function, Part::Source));
    // Watched before they are read, so that no change falls between.
    let mut watchers = Vec::new();
    for folder in &folders {
        watchers.push(client.watch(folder, AddWatchMode::PersistentRecursive).await?);
    }
    for (folder, seen) in folders.iter().zip(seen.iter_mut()) {
        if !read_all(&client, folder, heard, seen).await? {
            return Ok(());
        }
    }
    if heard.send(Heard::Connected).await.is_err() {
        return Ok(());
    }
    loop {
        let Ok((index, event)) = tokio::time::timeout(READ_AGAIN, changed(&mut watchers)).await else {
            for (folder, seen) in folders.iter().zip(seen.iter_mut()) {
                if !read_all(&client, folder, heard, seen).await? {
                    return Ok(());
                }
            }
            continue;
        };
        let (folder, seen) = (&folders[index], &mut seen[index]);
        let listening = match event.event_type {
            EventType::Session if event.session_state.is_terminated() => {
                return Err(Error::SessionExpired);
            }
            EventType::Session if event.session_state == SessionState::SyncConnected => {
                read_all(&client, folder, heard, seen).await?
            }
            EventType::NodeCreated | EventType::NodeDataChanged if event.path != *folder => {
                read(&client, &event.path, heard, seen).await?
            }
            EventType::NodeDeleted => {
                seen.paths.remove(&event.path);
                !heard.is_closed()
            }
            _ => !heard.is_closed(),
        };
        if !listening {
            return Ok(());
        }
    }
}

/// The next event, and of which folder.
async fn changed(watchers: &mut [PersistentWatcher]) -> (usize, WatchedEvent) {
    let [first, second, third] = watchers else { unreachable!("one for each function") };
    tokio::select! {
        event = first.changed() => (0, event),
        event = second.changed() => (1, event),
        event = third.changed() => (2, event),
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
    for path in paths(client, folder).await? {
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
    if seen.paths.get(path).is_some_and(|known| known.written == stat.mzxid) {
        return Ok(true);
    }
    Ok(match seen.news(path, &content, &stat) {
        Some(news) => heard.send(news).await.is_ok(),
        None => true,
    })
}
