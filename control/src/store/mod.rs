//! Where conferences are kept: an edge behind one trait.
//!
//! A write is taken when it is newer (epoch, then version) than what is there, so that a late or repeated
//! write changes nothing. Numbers of living conferences are unique in the whole store.

mod embedded;
mod redis;

pub use self::redis::RedisStore;
pub use embedded::EmbeddedStore;

use crate::conference::Record;

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something as new or newer is there.
    #[error("another control process wrote it")]
    Conflict,
    /// The number belongs to another living conference.
    #[error("the number belongs to another conference")]
    NumberTaken,
    /// No answer; it may or may not have been done.
    #[error("{0}")]
    Unavailable(String),
}

/// A store of conference records.
#[tonic::async_trait]
pub trait Store: Send + Sync {
    /// All records, ended ones included.
    async fn load(&self) -> Result<Vec<Record>, StoreError>;

    /// Writes a record. With `new`, nothing may be there yet.
    async fn put(&self, record: &Record, new: bool) -> Result<(), StoreError>;

    /// Forgets a conference; forgetting what is not there succeeds.
    async fn remove(&self, conference: &str) -> Result<(), StoreError>;

    /// How it is called in messages, without passwords.
    fn name(&self) -> String;
}

/// Opens the store of this address: `embedded` or `redis://HOST:PORT[/DB]`.
pub fn open(address: &str) -> anyhow::Result<Box<dyn Store>> {
    match address {
        "embedded" => Ok(Box::new(EmbeddedStore::default())),
        redis if redis.starts_with("redis://") => Ok(Box::new(RedisStore::open(redis)?)),
        other => anyhow::bail!(
            "--store: '{other}' is neither embedded nor an address such as redis://127.0.0.1:6379"
        ),
    }
}
