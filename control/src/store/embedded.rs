//! The store of a single process: memory. After a restart the nodes tell what runs.

use super::{Place, Store, StoreError};
use crate::conference::{Domain, Phase, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records in memory.
#[derive(Debug, Default)]
pub struct EmbeddedStore {
    records: Mutex<BTreeMap<String, Record>>,
    domains: Mutex<BTreeMap<String, Domain>>,
    /// Conferences in each place. Leases do not matter: who takes places is in this process.
    places: Mutex<BTreeMap<Place, BTreeSet<String>>>,
}

impl EmbeddedStore {
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Store for EmbeddedStore {
    async fn load(&self) -> Result<Vec<Record>, StoreError> {
        Ok(self.records().values().cloned().collect())
    }

    async fn put(&self, record: &Record, new: bool) -> Result<(), StoreError> {
        let mut records = self.records();
        if let Some(known) = records.get(&record.id)
            && (new || (known.epoch, known.version) >= (record.epoch, record.version))
        {
            return Err(StoreError::Conflict);
        }
        let lives =
            |known: &Record| known.phase != Phase::Ended && known.number_owner() != record.number_owner();
        let same = |known: &Record| !record.number.is_empty() && known.number == record.number;
        if record.phase != Phase::Ended && records.values().any(|known| lives(known) && same(known)) {
            return Err(StoreError::NumberTaken);
        }
        records.insert(record.id.clone(), record.clone());
        Ok(())
    }

    async fn remove(&self, conference: &str) -> Result<(), StoreError> {
        self.records().remove(conference);
        Ok(())
    }

    async fn occupy(
        &self,
        place: &Place,
        conference: &str,
        limit: u64,
        _lease_ms: u64,
    ) -> Result<(), StoreError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let there = places.entry(place.clone()).or_default();
        let occupied = there.len() as u64;
        if !there.contains(conference) && occupied >= limit {
            return Err(StoreError::Full { occupied });
        }
        there.insert(conference.to_owned());
        Ok(())
    }

    async fn vacate(&self, place: &Place, conference: &str) -> Result<(), StoreError> {
        if let Some(there) = self.places.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
            there.remove(conference);
        }
        Ok(())
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        Ok(self.domains.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect())
    }

    async fn put_domain(&self, domain: &Domain) -> Result<(), StoreError> {
        let mut domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        if domains.get(&domain.moid).is_some_and(|known| known.version >= domain.version) {
            return Err(StoreError::Conflict);
        }
        domains.insert(domain.moid.clone(), domain.clone());
        Ok(())
    }

    async fn remove_domain(&self, moid: &str) -> Result<(), StoreError> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner).remove(moid);
        Ok(())
    }

    fn name(&self) -> String {
        "embedded".to_owned()
    }
}
