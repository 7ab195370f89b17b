//! Which entries of Source speak for their nodes: only the resource may say what it is (source document 000, section
//! 7.2).
//!
//! Whoever may register can write any name into an entry of its own, and ZooKeeper shows nobody who made an entry.
//! What can be told is who may *write* into an entry that is there: the ACL is ZooKeeper's part. So the oldest entry
//! of a name speaks for it, and another one counts only when the oldest names the same start. A node that was started
//! again writes its new start into what its last session left behind ([`mod@crate::register`]); nobody else can.

use crate::content::{ContentError, Resource};
use crate::tree::number;
use std::collections::BTreeMap;
use zookeeper_client::{Client, Error, Stat};

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    /// When it was made, by ZooKeeper's count of all changes.
    pub(crate) made: i64,
    /// When it was written last, likewise.
    pub(crate) written: i64,
}

impl Entry {
    pub(crate) fn read(content: &[u8], stat: &Stat) -> Result<Entry, ContentError> {
        let resource = Resource::parse(content)?;
        // It would hold the name for ever.
        if stat.ephemeral_owner == 0 {
            return Err(ContentError::Lasting);
        }
        Ok(Entry { resource, made: stat.czxid, written: stat.mzxid })
    }
}

/// Whether the oldest entry of the same name says that this start is the node's.
pub(crate) fn speaks<'a>(entry: &Entry, all: impl Iterator<Item = &'a Entry>) -> bool {
    let named = all.filter(|other| other.resource.node_id == entry.resource.node_id);
    let oldest = named.min_by_key(|other| other.made);
    oldest.is_none_or(|oldest| oldest.resource.boot_id == entry.resource.boot_id)
}

/// What each node says of itself, in the order in which their entries were made.
pub(crate) fn spoken(entries: &[Entry]) -> Vec<Resource> {
    let mut latest: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| speaks(entry, entries.iter())) {
        let known = latest.entry(&entry.resource.node_id).or_insert(entry);
        if entry.written > known.written {
            *known = entry;
        }
    }
    let mut latest: Vec<&Entry> = latest.into_values().collect();
    latest.sort_by_key(|entry| entry.made);
    latest.into_iter().map(|entry| entry.resource.clone()).collect()
}

/// Paths, contents and states of what is in a folder, in the order of their numbers.
pub(crate) async fn contents(client: &Client, folder: &str) -> Result<Vec<(String, Vec<u8>, Stat)>, Error> {
    let mut contents = Vec::new();
    for path in paths(client, folder).await? {
        match client.get_data(&path).await {
            Ok((content, stat)) => contents.push((path, content, stat)),
            // Gone meanwhile.
            Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(contents)
}

/// Paths of what is in a folder, in the order of their numbers.
pub(crate) async fn paths(client: &Client, folder: &str) -> Result<Vec<String>, Error> {
    let mut names = client.list_children(folder).await?;
    names.sort_by_key(|name| number(name));
    Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(node: &str, boot: &str, made: i64, written: i64) -> Entry {
        let resource = Resource { node_id: node.into(), boot_id: boot.into(), ..Resource::default() };
        Entry { resource, made, written }
    }

    fn boots(entries: &[Entry]) -> Vec<String> {
        spoken(entries).into_iter().map(|resource| resource.boot_id).collect()
    }

    #[test]
    fn the_oldest_entry_speaks_and_names_who_else_does() {
        // Somebody else uses the name of a node that is there.
        assert_eq!(boots(&[entry("n1", "own", 1, 9), entry("n1", "false", 2, 10)]), ["own"]);
        // It was started again, and has said so where only it can.
        let again = [entry("n1", "second", 1, 8), entry("n1", "second", 5, 11), entry("n2", "b", 3, 4)];
        assert_eq!(boots(&again), ["b", "second"]);
        // What was left behind is gone.
        assert_eq!(boots(&[entry("n1", "third", 7, 7)]), ["third"]);
    }
}
