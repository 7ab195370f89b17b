//! Reading: records, the feed, keys of domains.

use super::layout::{CHANGES, REMOVED, REMOVED_MAX, SEQUENCE, UNLIST, conf};
use super::server::Server;
use super::topology::{command, store_error};
use super::{RedisStore, values};
use crate::conference::Record;
use crate::store::{Cursor, StoreError};
use redis::{Cmd, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

/// Records that are asked for at once.
const READ_TOGETHER: usize = 256;
/// Keys that one SCAN looks at: some 0.1 ms, for which everything else that is asked of the server waits.
const SCANNED_AT_ONCE: usize = 100;

impl RedisStore {
    /// Reads records; what cannot be read is left out, and said.
    pub(super) async fn records(
        &self,
        moids: &[String],
        primary: bool,
    ) -> Result<BTreeMap<String, Option<Record>>, StoreError> {
        let mut by_server: BTreeMap<u64, (Arc<Server>, Vec<&String>)> = BTreeMap::new();
        for moid in moids {
            let key = conf(moid);
            let server = if primary { self.servers.of(&key).await } else { self.servers.reader(&key).await };
            let server = server.map_err(|error| store_error(&key, &error))?;
            by_server.entry(server.number).or_insert_with(|| (server, Vec::new())).1.push(moid);
        }
        let mut records = BTreeMap::new();
        for (server, moids) in by_server.into_values() {
            for some in moids.chunks(READ_TOGETHER) {
                let commands: Vec<Cmd> = some
                    .iter()
                    .map(|moid| {
                        let mut command = command("HMGET", &conf(moid));
                        command.arg(&values::CONF_FIELDS);
                        command
                    })
                    .collect();
                let answers = self.ask_all(&server, &commands).await?;
                for (moid, answer) in some.iter().zip(answers) {
                    let key = conf(moid);
                    let read = match answer {
                        Ok(value) => values::record(moid, value),
                        Err(error) if matches!(store_error(&key, &error), StoreError::Foreign(_)) => {
                            Err("it is not a hash".to_owned())
                        }
                        Err(error) => {
                            self.servers.failed(&server, &error, false).await;
                            return Err(store_error(&key, &error));
                        }
                    };
                    match read {
                        Ok(record) => {
                            self.foreign.gone(&key);
                            records.insert((*moid).clone(), record);
                        }
                        Err(why) => self.foreign.found(&key, &why),
                    }
                }
            }
        }
        Ok(records)
    }

    pub(super) async fn ask_all(
        &self,
        server: &Arc<Server>,
        commands: &[Cmd],
    ) -> Result<Vec<redis::RedisResult<Value>>, StoreError> {
        match server.ask_all(commands).await {
            Ok(answers) => Ok(answers),
            Err(error) => {
                self.servers.failed(server, &error, false).await;
                Err(StoreError::Unavailable(error.to_string()))
            }
        }
    }

    /// Where the feed is, and what it says beyond a place: changes, removals.
    pub(super) async fn feed(&self, since: Cursor) -> Result<Feed, StoreError> {
        let primary = self.servers.of(CHANGES).await.map_err(|error| store_error(CHANGES, &error))?;
        let generation = primary.number;
        let known = since.generation == generation;
        let server = if known { self.servers.reader(CHANGES).await } else { Ok(primary) };
        let server = server.map_err(|error| store_error(CHANGES, &error))?;
        let from = if known { format!("({}", since.sequence) } else { "-inf".to_owned() };
        let range = |key: &str| {
            let mut command = command("ZRANGEBYSCORE", key);
            command.arg(&from).arg("+inf");
            command
        };
        let mut oldest = command("ZRANGE", REMOVED);
        oldest.arg(0).arg(0).arg("WITHSCORES");
        // The place is read first: what comes after it is read again the next time.
        let commands =
            [command("GET", SEQUENCE), range(CHANGES), range(REMOVED), oldest, command("ZCARD", REMOVED)];
        let mut answers = Vec::new();
        for answer in self.ask_all(&server, &commands).await? {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    self.servers.failed(&server, &error, false).await;
                    return Err(store_error(CHANGES, &error));
                }
            }
        }
        let parse = |error: redis::ParsingError| StoreError::Foreign(format!("{CHANGES} in Redis: {error}"));
        let [sequence, changed, removed, oldest, kept] = answers.try_into().expect("an answer for each");
        let sequence = redis::from_redis_value::<Option<u64>>(sequence).map_err(parse)?.unwrap_or_default();
        let oldest: Vec<(String, u64)> = redis::from_redis_value(oldest).map_err(parse)?;
        let full = redis::from_redis_value::<usize>(kept).map_err(parse)?.to_string() == REMOVED_MAX;
        let skipped = full && oldest.first().is_some_and(|(_, place)| *place > since.sequence + 1);
        Ok(Feed {
            cursor: Cursor { generation, sequence: sequence.max(if known { since.sequence } else { 0 }) },
            changed: redis::from_redis_value(changed).map_err(parse)?,
            removed: redis::from_redis_value(removed).map_err(parse)?,
            complete: !known,
            skipped: known && skipped,
        })
    }

    /// Conferences that are listed twice in a row without a record are no longer listed.
    pub(super) async fn sweep(&self, missing: BTreeSet<String>) -> Result<(), StoreError> {
        let before = std::mem::replace(
            &mut *self.missing.lock().unwrap_or_else(PoisonError::into_inner),
            missing.clone(),
        );
        for moid in missing.intersection(&before) {
            self.tell(&UNLIST, moid).await?;
        }
        Ok(())
    }

    /// Keys of domains on one server. Others write them too, and tell nobody.
    pub(super) async fn domain_keys(&self, server: &Arc<Server>) -> Result<BTreeSet<String>, StoreError> {
        let mut keys = BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg("domain/*/info").arg("COUNT").arg(SCANNED_AT_ONCE);
            let (next, some): (u64, Vec<String>) = match server.ask(&scan).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.servers.failed(server, &error, false).await;
                    return Err(store_error("domain/*", &error));
                }
            };
            keys.extend(some);
            cursor = next;
            if cursor == 0 {
                return Ok(keys);
            }
        }
    }
}

/// What the feed says.
pub(super) struct Feed {
    pub(super) cursor: Cursor,
    pub(super) changed: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) complete: bool,
    /// Removals have been forgotten that the reader has not seen.
    pub(super) skipped: bool,
}
