//! Where conferences are kept: an edge behind one trait.
//!
//! A write is taken when it is newer (epoch, then version) than what is there, so that a late or repeated
//! write changes nothing. Numbers of living conferences are unique in the whole store.

mod embedded;
pub(crate) mod places;
mod redis;

pub use self::redis::RedisStore;
pub use embedded::EmbeddedStore;

use crate::conference::{Claim, Domain, Record};

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
    /// The place has no room for one more; nothing was taken.
    #[error("{occupied} are there already")]
    Full {
        /// How many are there.
        occupied: u64,
    },
    /// A domain has no place left for the conference: this claim of the record found none.
    #[error("domain {} has no place left", .0.domain)]
    NoPlace(Claim),
    /// No answer; it may or may not have been done.
    #[error("{0}")]
    Unavailable(String),
}

/// A set of conferences that a limit is put on: those of a domain, of one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// MOID of the user domain or platform domain.
    pub domain: String,
    /// Such as `small` or `large`; A-Z a-z 0-9 and `-`.
    pub class: String,
}

/// A store of conference records.
#[tonic::async_trait]
pub trait Store: Send + Sync {
    /// All records, ended ones included.
    async fn load(&self) -> Result<Vec<Record>, StoreError>;

    /// Writes a record. With `new`, nothing may be there yet.
    ///
    /// A number belongs to [`Record::number_owner`]: a reservation and its conferences share it.
    async fn put(&self, record: &Record, new: bool) -> Result<(), StoreError>;

    /// Forgets a conference; forgetting what is not there succeeds.
    async fn remove(&self, conference: &str) -> Result<(), StoreError>;

    /// Puts a conference into a place, or renews its lease there; in one step with the check that no more
    /// than `limit` are there afterwards ([`StoreError::Full`]). Renewing succeeds whatever the limit is now.
    /// Who is not renewed falls out after `lease_ms`: so the places of conferences whose control process ended
    /// in the middle become free.
    async fn occupy(
        &self,
        place: &Place,
        _conference: &str,
        _limit: u64,
        _lease_ms: u64,
    ) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(format!("{} keeps no places of domain {}", self.name(), place.domain)))
    }

    /// Takes a conference out of a place; taking out what is not there succeeds.
    async fn vacate(&self, _place: &Place, _conference: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// All domains, by MOID.
    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        Ok(Vec::new())
    }

    /// Writes a domain, if its version is above the one that is there.
    async fn put_domain(&self, domain: &Domain) -> Result<(), StoreError> {
        Err(StoreError::Unavailable(format!("{} keeps no domain such as {}", self.name(), domain.moid)))
    }

    /// Forgets a domain; forgetting what is not there succeeds.
    async fn remove_domain(&self, _moid: &str) -> Result<(), StoreError> {
        Ok(())
    }

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
