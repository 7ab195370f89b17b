//! Where conferences are kept: an edge behind one trait, [`Store`].
//!
//! | implementation | kept | shared by several control processes |
//! | --- | --- | --- |
//! | [`EmbeddedStore`] | in memory | no |
//! | [`DiskStore`] | in a file, through `kill -9` and power loss | no; the file is locked |
//! | [`RedisStore`] | in Redis: one server, Sentinel or Cluster | yes |
//!
//! All obey the same rules, which [`Tables`] holds in plain code: the embedded stores are made of it, and
//! `control/tests/store.rs` holds the others to it. The rules of [`Store::put`] are what keeps two control
//! processes from changing one conference: a write names the version that it replaces.

mod disk;
mod embedded;
pub(crate) mod places;
mod reader;
mod redis;
mod tables;

pub use self::redis::RedisStore;
pub use disk::DiskStore;
pub use embedded::EmbeddedStore;
pub use reader::{News, Reader};
pub use tables::Tables;

use crate::conference::{Claim, Domain, NodeNote, Record};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another version is there than the write was made from.
    #[error("another control process wrote it")]
    Conflict,
    /// The number belongs to another living conference.
    #[error("the number belongs to another conference")]
    NumberTaken,
    /// The request id belongs to another conference.
    #[error("conference {conference} was made by the same request")]
    RequestTaken {
        /// MOID of that conference.
        conference: String,
    },
    /// The place has no room for one more; nothing was taken.
    #[error("{occupied} are there already")]
    Full {
        /// How many are there.
        occupied: u64,
    },
    /// A domain has no place left for the conference: this claim of the record found none.
    #[error("domain {} has no place left", .0.domain)]
    NoPlace(Claim),
    /// Something that control did not write, or cannot read, is in the way. It was left as it is.
    #[error("{0}")]
    Foreign(String),
    /// The node was promised to others; see `--zookeeper`.
    #[error("{0}")]
    Promised(String),
    /// Others were before, and for longer than a creation waits.
    #[error("the turn in ZooKeeper's ApplyQueue did not come within {0:?}")]
    NotInTurn(Duration),
    /// No answer; it may or may not have been done.
    #[error("{0}")]
    Unavailable(String),
}

/// A version of a record: its epoch, then its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    /// [`Record::epoch`].
    pub epoch: u64,
    /// [`Record::version`].
    pub version: u64,
}

impl Base {
    /// The version of this record.
    pub fn of(record: &Record) -> Base {
        Base { epoch: record.epoch, version: record.version }
    }
}

/// How far a reader has come in the feed of changes; the default is its begin. Means something to the
/// store that gave it, while its process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Another one after whatever may have made the feed begin anew. 0: nothing was read.
    pub generation: u64,
    /// Place in the feed.
    pub sequence: u64,
}

/// What has changed since a cursor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Records as they are now, each once, in no order.
    pub records: Vec<Record>,
    /// MOIDs of conferences that were forgotten.
    pub removed: Vec<String>,
    /// These are all records that there are, since the store cannot tell what has changed: what is not
    /// among them is not in the store now, and `removed` is empty.
    pub complete: bool,
    /// Where to go on.
    pub cursor: Cursor,
}

/// A control process, as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// `--css-id`.
    pub id: String,
    /// Where its gRPC services listen, such as `http://192.0.2.1:7400`.
    pub address: String,
}

/// A set of conferences that a limit is put on: those of a domain, of one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// MOID of the user domain or platform domain.
    pub domain: String,
    /// Such as `small` or `large`; A-Z a-z 0-9 and `-`.
    pub class: String,
}

/// What the store did, for metrics. Counts since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Writes that were acknowledged although fewer replicas than asked for had confirmed them in time: the
    /// loss window.
    pub unconfirmed: u64,
    /// Writes that the replicas asked for have confirmed.
    pub confirmed: u64,
    /// Values that could not be read, each counted once while it stays as it is.
    pub foreign: u64,
    /// Connections made, the first ones included.
    pub connections: u64,
}

/// A store of conferences, of the control processes on it, of places and of domains.
///
/// A call that gives [`StoreError::Unavailable`] was done or was not; every other error has changed
/// nothing. Calls may be made side by side. Calls about one conference are to be made one after another:
/// the store does not promise in which order it takes those that overlap.
#[tonic::async_trait]
pub trait Store: Send + Sync {
    /// What has changed since `since`; all, from [`Cursor::default`]. After a put was answered, the next
    /// call gives that version or a later one, unless the process that wrote ended between the steps of a
    /// write: such a change is seen by the next complete reading at the latest. May be answered by a
    /// replica and then be late, but does not skip: what it gives, with the cursor, is a state that was.
    async fn changes(&self, since: Cursor) -> Result<Changes, StoreError>;

    /// One record as it is now, from where it is decided: what a later `put` is compared with.
    async fn get(&self, conference: &str) -> Result<Option<Record>, StoreError>;

    /// Writes a record that was made from the version `base`; with none, nothing may be there yet.
    ///
    /// Compare-and-set: refused with [`StoreError::Conflict`] unless exactly `base` is there, and
    /// `(epoch, version)` of the record is above it. Writing again what is there already succeeds, so that a
    /// write whose answer was lost may be repeated. While a conference has not ended its number is that of
    /// its [`Record::number_owner`] alone ([`StoreError::NumberTaken`]): a reservation and its conferences
    /// share it. Its request id is its own until it is removed ([`StoreError::RequestTaken`]; looked at when
    /// it is new).
    async fn put(&self, record: &Record, base: Option<Base>) -> Result<(), StoreError>;

    /// Forgets a conference; forgetting what is not there succeeds.
    async fn remove(&self, conference: &str) -> Result<(), StoreError>;

    /// Says that `me` lives for `lease_ms` from now, by the store's clock, and gives all that live, by id.
    async fn renew(&self, me: &Peer, lease_ms: u64) -> Result<Vec<Peer>, StoreError>;

    /// Ends the lease of a control process that ends in good order.
    async fn leave(&self, id: &str) -> Result<(), StoreError>;

    /// Puts a conference into a place, or renews its lease there; in one step with the check that no more
    /// than `limit` are there afterwards ([`StoreError::Full`]). Renewing succeeds whatever the limit is
    /// now. Who is not renewed falls out after `lease_ms`: that is how the places of conferences whose
    /// control process ended in the middle become free.
    async fn occupy(
        &self,
        place: &Place,
        conference: &str,
        limit: u64,
        lease_ms: u64,
    ) -> Result<(), StoreError>;

    /// Takes a conference out of a place; taking out what is not there succeeds.
    async fn vacate(&self, place: &Place, conference: &str) -> Result<(), StoreError>;

    /// Conferences in a place whose lease lasts, by id.
    async fn occupants(&self, place: &Place) -> Result<Vec<String>, StoreError>;

    /// All domains, by id. Those that another program wrote and that cannot be read are left out.
    async fn domains(&self) -> Result<Vec<Domain>, StoreError>;

    /// Writes a domain; refused with [`StoreError::Conflict`] when one with a version as high or higher is
    /// there, unless it is the same.
    async fn put_domain(&self, domain: &Domain) -> Result<(), StoreError>;

    /// Forgets a domain; forgetting what is not there succeeds.
    async fn remove_domain(&self, moid: &str) -> Result<(), StoreError>;

    /// What operators have said about nodes, by node id. What cannot be read is left out.
    async fn notes(&self) -> Result<Vec<NodeNote>, StoreError>;

    /// Writes a note in the place of the one about the same node; an empty one removes it. The last one wins.
    async fn put_note(&self, note: &NodeNote) -> Result<(), StoreError>;

    /// How it is called in messages, without passwords.
    fn name(&self) -> String;

    /// Other control processes may use it: leases and the feed of changes matter.
    fn shared(&self) -> bool {
        false
    }

    /// For metrics.
    fn counts(&self) -> StoreCounts {
        StoreCounts::default()
    }
}

/// File in the state directory of a service that `--store auto` keeps conferences in.
pub const STATE_FILE: &str = "conferences.redb";

/// Opens the store of this address, as `--store` has it:
///
/// - `auto`: `embedded:$STATE_DIRECTORY/conferences.redb` where the service manager has given a state
///   directory (systemd's `StateDirectory=`), else `embedded`;
/// - `embedded`: memory;
/// - `embedded:PATH`: a file;
/// - `redis://…`, `redis+sentinel://…`, `redis+cluster://…`: see [`RedisStore::open`].
///
/// # Errors
///
/// An address of no known kind; a file that cannot be opened, is damaged or is used by another process.
/// Redis is not asked yet.
pub fn open(address: &str, options: RedisOptions) -> Result<Box<dyn Store>> {
    let address =
        if address == "auto" { automatic(std::env::var_os("STATE_DIRECTORY")) } else { address.into() };
    if address == "embedded" {
        return Ok(Box::new(EmbeddedStore::default()));
    }
    if let Some(path) = address.strip_prefix("embedded:") {
        anyhow::ensure!(!path.is_empty(), "--store: embedded: needs the path of a file behind the colon");
        return Ok(Box::new(DiskStore::open(path.as_ref()).context("--store")?));
    }
    if address.starts_with("redis") && address.contains("://") {
        return Ok(Box::new(RedisStore::open(&address, options)?));
    }
    anyhow::bail!(
        "--store: '{address}' is neither auto, embedded, embedded:PATH nor an address such as \
         redis://127.0.0.1:6379"
    )
}

fn automatic(state_directory: Option<std::ffi::OsString>) -> String {
    // There may be several, with colons between them (systemd.exec(5)).
    let first = state_directory.map(PathBuf::from).and_then(|all| {
        let text = all.into_os_string().into_string().ok()?;
        text.split(':').next().filter(|first| !first.is_empty()).map(str::to_owned)
    });
    match first {
        Some(directory) => format!("embedded:{directory}/{STATE_FILE}"),
        None => "embedded".to_owned(),
    }
}

/// How Redis is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisOptions {
    /// Replicas that are to confirm a write before it is acknowledged (`WAIT`); 0: none is asked.
    pub wait_replicas: u32,
    /// How long to wait for them, in milliseconds.
    pub wait_ms: u64,
    /// How long the first writes that they do not confirm are held back until they do, or until the Sentinels name
    /// another primary, in milliseconds. With Sentinel only.
    pub hold_ms: u64,
    /// Lists and the feed of changes may be read from a replica, and then be late. With one server and with
    /// Sentinel; a cluster's primaries answer all.
    pub read_replicas: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_used_where_there_is_one() {
        assert_eq!(automatic(None), "embedded");
        assert_eq!(automatic(Some("".into())), "embedded");
        assert_eq!(automatic(Some("/var/lib/a:/var/lib/b".into())), "embedded:/var/lib/a/conferences.redb");
    }

    #[test]
    fn an_unknown_address_says_what_is_known() {
        for address in ["", "memory", "embedded:", "mysql://h"] {
            let error = open(address, RedisOptions::default()).err().expect("an error").to_string();
            assert!(error.contains("--store"), "{address}: {error}");
        }
    }
}
