//! The store of a single process: memory. After a restart the nodes tell what runs.

use super::{Base, Changes, Cursor, Peer, Place, Store, StoreError, Tables};
use crate::conference::{Domain, NodeNote, Record};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Everything in memory.
#[derive(Debug, Default)]
pub struct EmbeddedStore {
    tables: Mutex<Tables>,
}

impl EmbeddedStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[tonic::async_trait]
impl Store for EmbeddedStore {
    async fn changes(&self, since: Cursor) -> Result<Changes, StoreError> {
        Ok(self.tables().changes(since))
    }

    async fn get(&self, conference: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.tables().get(conference))
    }

    async fn put(&self, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        self.tables().put(record, base)
    }

    async fn remove(&self, conference: &str) -> Result<(), StoreError> {
        self.tables().remove(conference);
        Ok(())
    }

    async fn renew(&self, me: &Peer, lease_ms: u64) -> Result<Vec<Peer>, StoreError> {
        Ok(self.tables().renew(me, lease_ms, unix_ms()))
    }

    async fn leave(&self, id: &str) -> Result<(), StoreError> {
        self.tables().leave(id);
        Ok(())
    }

    async fn occupy(
        &self,
        place: &Place,
        conference: &str,
        limit: u64,
        lease_ms: u64,
    ) -> Result<(), StoreError> {
        self.tables().occupy(place, conference, limit, lease_ms, unix_ms())
    }

    async fn vacate(&self, place: &Place, conference: &str) -> Result<(), StoreError> {
        self.tables().vacate(place, conference);
        Ok(())
    }

    async fn occupants(&self, place: &Place) -> Result<Vec<String>, StoreError> {
        Ok(self.tables().occupants(place, unix_ms()))
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        Ok(self.tables().domains())
    }

    async fn put_domain(&self, domain: &Domain) -> Result<(), StoreError> {
        self.tables().put_domain(domain)
    }

    async fn remove_domain(&self, domain: &str) -> Result<(), StoreError> {
        self.tables().remove_domain(domain);
        Ok(())
    }

    async fn notes(&self) -> Result<Vec<NodeNote>, StoreError> {
        Ok(self.tables().notes())
    }

    async fn put_note(&self, note: &NodeNote) -> Result<(), StoreError> {
        self.tables().put_note(note);
        Ok(())
    }

    fn name(&self) -> String {
        "embedded".to_owned()
    }
}
