//! The store of a single process: memory. After a restart the nodes tell what runs.

use super::{Store, StoreError};
use crate::conference::{Phase, Record};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records in memory.
#[derive(Debug, Default)]
pub struct EmbeddedStore {
    records: Mutex<BTreeMap<String, Record>>,
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
        let lives = |known: &Record| known.phase != Phase::Ended && known.id != record.id;
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

    fn name(&self) -> String {
        "embedded".to_owned()
    }
}
