//! The steps of a write.

use super::layout::{self, CLAIM, FORMAT, PUT, RELEASE, TAKE_OVER, TELL, conf, confex, word};
use super::server::Server;
use super::{CLAIM_GRACE_MS, RedisStore};
use crate::conference::{Phase, Record};
use crate::store::{Base, Store, StoreError};
use redis::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Times that a claim is tried, while others take and leave it.
const CLAIMS_MAX: usize = 4;

/// Why a write does not stand.
#[derive(Debug)]
pub(super) enum WriteError {
    /// It was not done, or may not have been.
    Store(StoreError),
    /// It was done where another server has taken over since.
    Replaced(String),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> WriteError {
        WriteError::Store(error)
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> StoreError {
        match error {
            WriteError::Store(error) => error,
            WriteError::Replaced(why) => StoreError::Unavailable(why),
        }
    }
}

impl RedisStore {
    /// Writes a record with all that belongs to it.
    pub(super) async fn put_at_primary(&self, record: &Record, base: Option<Base>) -> Result<(), WriteError> {
        if base.is_some_and(|base| Base::of(record) <= base) {
            return Err(StoreError::Conflict.into());
        }
        let mut servers = Vec::new();
        if base.is_none() {
            servers = self.claim_all(record, true).await?;
            self.tell(&TELL, &record.id).await?;
        }
        let (mut answer, mut server) = self.write(record, base, base.is_none()).await?;
        if word(&answer) == "claim" {
            // It gets another number, and gives back the one before.
            let before = self.get(&record.id).await?;
            servers = self.claim_all(record, false).await?;
            (answer, server) = self.write(record, base, true).await?;
            if let (Some(before), "ok") = (before, word(&answer)) {
                self.release_number(&before).await?;
            }
        }
        if word(&answer) != "ok" {
            return Err(StoreError::Conflict.into());
        }
        servers.push(server);
        if base.is_none() {
            // The claims are looked at again; they may have been lost while this process was stopped.
            if let Err(error) = self.claim_all(record, true).await {
                self.remove(&record.id).await?;
                return Err(error.into());
            }
        }
        if record.phase == Phase::Ended {
            self.release_number(record).await?;
        }
        self.tell(&TELL, &record.id).await?;
        self.confirm(servers).await
    }

    /// Makes a number or a request id that of `owner`, for this record; gives who has it where that cannot be.
    async fn claim(
        &self,
        key: &str,
        owner: &str,
        record: &Record,
        is_number: bool,
    ) -> Result<Result<Arc<Server>, String>, StoreError> {
        let mut known = String::new();
        for _ in 0..CLAIMS_MAX {
            let (answer, server) = self.run(&CLAIM, &[key.to_owned()], &[owner, &record.id]).await?;
            if word(&answer) == "ok" {
                return Ok(Ok(server));
            }
            let mut answer = redis::from_redis_value::<Vec<String>>(answer)
                .map_err(|error| StoreError::Foreign(format!("{key} in Redis: {error}")))?
                .into_iter();
            known = answer.next().unwrap_or_default();
            let age_ms = answer.next().and_then(|age| age.parse::<u64>().ok()).unwrap_or_default();
            let mut stands = false;
            for holder in answer {
                stands |= match self.get(&holder).await {
                    Ok(None) => age_ms < CLAIM_GRACE_MS,
                    Ok(Some(other)) if is_number => lives(&other) && other.number == record.number,
                    Ok(Some(other)) => other.request_id == record.request_id,
                    // Whatever it is, it is left what it has.
                    Err(StoreError::Foreign(_)) => true,
                    Err(error) => return Err(error),
                };
            }
            if stands {
                break;
            }
            self.run(&TAKE_OVER, &[key.to_owned()], &[owner, &record.id, &known]).await?;
        }
        Ok(Err(known))
    }

    /// Claims what a conference needs for itself; gives the servers that must keep it.
    pub(super) async fn claim_all(&self, record: &Record, new: bool) -> Result<Vec<Arc<Server>>, StoreError> {
        let mut servers = Vec::new();
        if new && !record.request_id.is_empty() {
            let claimed = self.claim(&layout::request(&record.request_id), &record.id, record, false).await?;
            servers.push(claimed.map_err(|conference| StoreError::RequestTaken { conference })?);
        }
        if lives(record) {
            match self.claim(&layout::number(&record.number), record.number_owner(), record, true).await? {
                Ok(server) => servers.push(server),
                Err(_) => {
                    if new {
                        self.release_request(record).await?;
                    }
                    return Err(StoreError::NumberTaken);
                }
            }
        }
        Ok(servers)
    }

    pub(super) async fn release_request(&self, record: &Record) -> Result<(), StoreError> {
        if record.request_id.is_empty() {
            return Ok(());
        }
        self.run(&RELEASE, &[layout::request(&record.request_id)], &[&record.id, &record.id]).await.map(drop)
    }

    pub(super) async fn release_number(&self, record: &Record) -> Result<(), StoreError> {
        if record.number.is_empty() {
            return Ok(());
        }
        let args = [record.number_owner(), record.id.as_str()];
        self.run(&RELEASE, &[layout::number(&record.number)], &args).await.map(drop)
    }

    pub(super) async fn write(
        &self,
        record: &Record,
        base: Option<Base>,
        claimed: bool,
    ) -> Result<(Value, Arc<Server>), StoreError> {
        let text = serde_json::to_string(record).expect("a record is plain data");
        let number = |value: u64| value.to_string();
        let (base_epoch, base_version) =
            base.map(|base| (number(base.epoch), number(base.version))).unwrap_or_default();
        let keys = [conf(&record.id), confex(&record.id)];
        let args = [
            &*base_epoch,
            &base_version,
            &number(record.epoch),
            &number(record.version),
            &text,
            &record.name,
            record.phase.name(),
            &record.node_id,
            &record.number,
            &record.user_domain,
            &record.room,
            &record.platform,
            &record.maintainer,
            if claimed { "claimed" } else { "" },
            FORMAT,
        ];
        self.run(&PUT, &keys, &args).await
    }

    /// Waits until the replicas have what was written, and counts it.
    pub(super) async fn confirm(&self, servers: Vec<Arc<Server>>) -> Result<(), WriteError> {
        let mut confirmed = true;
        let mut seen = BTreeSet::new();
        for server in servers {
            if seen.insert(server.number) {
                let stands = self.servers.confirmed(&server).await;
                confirmed &= stands.map_err(|error| WriteError::Replaced(error.to_string()))?;
            }
        }
        let count = if confirmed { &self.confirmed } else { &self.unconfirmed };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn lives(record: &Record) -> bool {
    record.phase != Phase::Ended && !record.number.is_empty()
}
