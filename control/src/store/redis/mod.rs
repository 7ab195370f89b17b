//! Conferences in Redis, in the layout of the source documents, shared by all control processes.
//!
//! `docs/store.md` has the table of keys. A write is several scripts, each about one slot of a cluster, in
//! an order in which a process that ends between any two leaves nothing wrong for long:
//!
//! 1. the number and the request id are claimed. A claim whose conference does not exist may be taken over
//!    after [`CLAIM_GRACE_MS`], one of an ended conference at once;
//! 2. a new conference is told of in the feed, so that every record is listed there;
//! 3. the record is written by compare-and-set. Only this decides;
//! 4. what was claimed for a new conference is looked at again: who was stopped for so long that the claim
//!    was taken over takes the record back;
//! 5. the number of an ended conference is given back;
//! 6. the change is told in the feed, so that readers of the feed find at least this version.

mod layout;
mod read;
mod sentinel;
mod server;
mod topology;
mod values;
mod write;

use super::{Base, Changes, Cursor, Peer, Place, RedisOptions, Store, StoreCounts, StoreError};
use crate::conference::{Domain, NodeNote, Record};
use layout::{
    CHANGES, CSS, Lua, NOTES, OCCUPANTS, OCCUPY, PUT_DOMAIN, REMOVE, REMOVED, REMOVED_MAX, RENEW, SEQUENCE,
    TELL_REMOVED, conf, confex, domain_of, occupied, word,
};
use redis::Value;
use server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use topology::{Servers, command, store_error};
use values::Foreign;
use write::WriteError;

/// How long a claim stands whose conference is not written yet, in milliseconds.
pub const CLAIM_GRACE_MS: u64 = 10_000;

/// Conferences in Redis.
pub struct RedisStore {
    servers: Servers,
    name: String,
    foreign: Foreign,
    confirmed: AtomicU64,
    unconfirmed: AtomicU64,
    /// In the list of all conferences and without a record, at the last complete reading.
    missing: Mutex<BTreeSet<String>>,
}

impl RedisStore {
    /// Opens one of
    ///
    /// - `redis://[USER:PASSWORD@]HOST:PORT[/DB]`: one server, or an address that moves with the primary;
    /// - `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/NAME[/DB]`: the primary of the group NAME, as
    ///   these Sentinels tell at each connection;
    /// - `redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT`: a cluster that these belong to.
    ///
    /// Connects at the first request.
    ///
    /// # Errors
    ///
    /// The address cannot be read.
    pub fn open(address: &str, options: RedisOptions) -> anyhow::Result<RedisStore> {
        let servers = Servers::of_address(address, options)?;
        // Passwords stay out of messages.
        let name = match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
            _ => address.to_owned(),
        };
        Ok(RedisStore {
            servers,
            name,
            foreign: Foreign::default(),
            confirmed: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
            missing: Mutex::default(),
        })
    }

    /// Runs a script about one slot.
    async fn run(
        &self,
        lua: &Lua,
        keys: &[String],
        args: &[&str],
    ) -> Result<(Value, Arc<Server>), StoreError> {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let done =
            self.servers.script(lua, keys, &args).await.map_err(|error| store_error(&keys[0], &error))?;
        if word(&done.0) == "foreign" {
            return Err(StoreError::Foreign(format!("{} in Redis is not what control keeps there", keys[0])));
        }
        Ok(done)
    }

    async fn tell(&self, lua: &Lua, conference: &str) -> Result<(), StoreError> {
        let keys = [SEQUENCE, CHANGES, REMOVED].map(str::to_owned);
        self.run(lua, &keys, &[conference, REMOVED_MAX]).await.map(drop)
    }
}

#[tonic::async_trait]
impl Store for RedisStore {
    async fn changes(&self, since: Cursor) -> Result<Changes, StoreError> {
        let mut feed = self.feed(since).await?;
        if feed.skipped {
            feed = self.feed(Cursor::default()).await?;
        }
        let found = self.records(&feed.changed, feed.complete).await?;
        let mut changes = Changes { complete: feed.complete, cursor: feed.cursor, ..Changes::default() };
        let mut missing = BTreeSet::new();
        for (moid, record) in found {
            match record {
                Some(record) => changes.records.push(record),
                None => drop(missing.insert(moid)),
            }
        }
        if feed.complete {
            self.sweep(missing).await?;
        } else {
            // Told of and not there: removed, which is told as well; not written yet, which is told again; or
            // written where a replica has taken over since, and whoever wrote it does so again.
            changes.removed = feed.removed;
        }
        Ok(changes)
    }

    async fn get(&self, conference: &str) -> Result<Option<Record>, StoreError> {
        let mut found = self.records(&[conference.to_owned()], true).await?;
        match found.remove(conference) {
            Some(record) => Ok(record),
            None => Err(StoreError::Foreign(format!("{} in Redis cannot be read", conf(conference)))),
        }
    }

    async fn put(&self, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        match self.put_at_primary(record, base).await {
            // The new one does not have it, and is asked at once. If it has, that is no other write.
            Err(WriteError::Replaced(_)) => Ok(self.put_at_primary(record, base).await?),
            done => Ok(done?),
        }
    }

    async fn remove(&self, conference: &str) -> Result<(), StoreError> {
        let known = match self.get(conference).await {
            // What cannot be read is not removed.
            Err(StoreError::Foreign(why)) => return Err(StoreError::Foreign(why)),
            known => known?,
        };
        if let Some(record) = known {
            self.run(&REMOVE, &[conf(conference), confex(conference)], &[]).await?;
            self.release_number(&record).await?;
            self.release_request(&record).await?;
        }
        self.tell(&TELL_REMOVED, conference).await
    }

    async fn renew(&self, me: &Peer, lease_ms: u64) -> Result<Vec<Peer>, StoreError> {
        let (keys, lease_ms) = ([CSS.to_owned()], lease_ms.to_string());
        let args = [me.id.as_str(), &me.address, &lease_ms];
        // Often enough that all control processes are at the same primary while their leases last.
        let (renewed, _) =
            tokio::join!(self.run(&RENEW, &keys, &args), self.servers.follow_primary(Instant::now()));
        let (answer, _) = renewed?;
        let living: Vec<String> =
            redis::from_redis_value(answer).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut peers: Vec<Peer> = living
            .chunks_exact(2)
            .map(|pair| Peer { id: pair[0].clone(), address: pair[1].clone() })
            .collect();
        peers.sort();
        Ok(peers)
    }

    async fn leave(&self, id: &str) -> Result<(), StoreError> {
        let server = self.servers.of(CSS).await.map_err(|error| store_error(CSS, &error))?;
        let mut command = command("HDEL", CSS);
        command.arg(id);
        server.ask::<u64>(&command).await.map(drop).map_err(|error| store_error(CSS, &error))
    }

    async fn occupy(
        &self,
        place: &Place,
        conference: &str,
        limit: u64,
        lease_ms: u64,
    ) -> Result<(), StoreError> {
        let key = occupied(&place.domain, &place.class);
        let args = [conference, &limit.to_string(), &lease_ms.to_string()];
        let (answer, _) = self.run(&OCCUPY, &[key], &args).await?;
        match answer {
            Value::Int(occupied) => Err(StoreError::Full { occupied: occupied.unsigned_abs() }),
            _ => Ok(()),
        }
    }

    async fn vacate(&self, place: &Place, conference: &str) -> Result<(), StoreError> {
        let key = occupied(&place.domain, &place.class);
        let server = self.servers.of(&key).await.map_err(|error| store_error(&key, &error))?;
        let mut command = command("ZREM", &key);
        command.arg(conference);
        match server.ask::<u64>(&command).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.servers.failed(&server, &error, false).await;
                Err(store_error(&key, &error))
            }
        }
    }

    async fn occupants(&self, place: &Place) -> Result<Vec<String>, StoreError> {
        let key = occupied(&place.domain, &place.class);
        let (answer, _) = self.run(&OCCUPANTS, &[key], &[]).await?;
        let mut occupants: Vec<String> =
            redis::from_redis_value(answer).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        occupants.sort();
        Ok(occupants)
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        let mut domains = BTreeMap::new();
        for server in self.servers.primaries().await.map_err(|error| store_error("domain/*", &error))? {
            for key in self.domain_keys(&server).await? {
                let Some(moid) = domain_of(&key) else { continue };
                let answers = self.ask_all(&server, &[command("HGETALL", &key)]).await?;
                let read = match answers.into_iter().next() {
                    Some(Ok(value)) => values::domain(moid, value),
                    _ => Err("it is not a hash".to_owned()),
                };
                match read {
                    Ok(Some(domain)) => {
                        self.foreign.gone(&key);
                        domains.insert(moid.to_owned(), domain);
                    }
                    Ok(None) => {}
                    Err(why) => self.foreign.found(&key, &why),
                }
            }
        }
        Ok(domains.into_values().collect())
    }

    async fn put_domain(&self, domain: &Domain) -> Result<(), StoreError> {
        let fields = values::domain_fields(domain);
        let version = domain.version.to_string();
        let mut args = vec![version.as_str()];
        args.extend(fields.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        let (answer, server) = self.run(&PUT_DOMAIN, &[layout::domain(&domain.moid)], &args).await?;
        if word(&answer) != "ok" {
            return Err(StoreError::Conflict);
        }
        Ok(self.confirm(vec![server]).await?)
    }

    async fn remove_domain(&self, moid: &str) -> Result<(), StoreError> {
        let key = layout::domain(moid);
        let server = self.servers.of(&key).await.map_err(|error| store_error(&key, &error))?;
        server.ask::<u64>(&command("DEL", &key)).await.map(drop).map_err(|error| store_error(&key, &error))
    }

    async fn notes(&self) -> Result<Vec<NodeNote>, StoreError> {
        let server = self.servers.of(NOTES).await.map_err(|error| store_error(NOTES, &error))?;
        let rows: BTreeMap<String, Vec<u8>> =
            server.ask(&command("HGETALL", NOTES)).await.map_err(|error| store_error(NOTES, &error))?;
        let read = rows.into_iter().filter_map(|(node, value)| {
            let key = format!("{NOTES}/{node}");
            match serde_json::from_slice::<NodeNote>(&value) {
                Ok(note) if note.node == node => {
                    self.foreign.gone(&key);
                    Some(note)
                }
                Ok(_) => {
                    self.foreign.found(&key, "it is about another node");
                    None
                }
                Err(error) => {
                    self.foreign.found(&key, &error.to_string());
                    None
                }
            }
        });
        Ok(read.collect())
    }

    async fn put_note(&self, note: &NodeNote) -> Result<(), StoreError> {
        let server = self.servers.of(NOTES).await.map_err(|error| store_error(NOTES, &error))?;
        let value = serde_json::to_vec(note).expect("a note is plain data");
        let mut put = if note.is_empty() { command("HDEL", NOTES) } else { command("HSET", NOTES) };
        put.arg(&note.node);
        if !note.is_empty() {
            put.arg(value);
        }
        server.ask::<u64>(&put).await.map_err(|error| store_error(NOTES, &error))?;
        Ok(self.confirm(vec![server]).await?)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn shared(&self) -> bool {
        true
    }

    fn counts(&self) -> StoreCounts {
        StoreCounts {
            unconfirmed: self.unconfirmed.load(Ordering::Relaxed),
            confirmed: self.confirmed.load(Ordering::Relaxed),
            foreign: self.foreign.counted(),
            connections: self.servers.connections(),
        }
    }
}
