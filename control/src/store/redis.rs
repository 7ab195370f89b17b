//! Conferences in Redis, in the layout of the source documents: hashes `conf/{MOID}` and `confex/{MOID}`.
//!
//! | key | type | content |
//! | --- | --- | --- |
//! | `conf/{MOID}` | hash | `CONFNAME`, `E164`, `STATE`, `NODE`, `EPOCH`, `VERSION`, `RECORD` (JSON) |
//! | `confex/{MOID}` | hash | `moid` (user domain), `roommoid`, `platformmoid` |
//! | `confs` | set | MOIDs of all conferences |
//! | `e164/{NUMBER}` | string | MOID of the living conference with the number |
//!
//! A write is one Lua script: the check of epoch and version and the change are one step.

use super::{Store, StoreError};
use crate::conference::{Phase, Record};
use anyhow::Context;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use std::time::Duration;
use tokio::sync::Mutex;

/// A request fails after so long, so that callers get their error soon.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A Redis server.
pub struct RedisStore {
    client: Client,
    name: String,
    /// None: to be connected again.
    connection: Mutex<Option<MultiplexedConnection>>,
    put: Script,
    remove: Script,
}

const PUT: &str = r"
local epoch, version = tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[1], 'EPOCH', 'VERSION')
if known[1] then
  local e, v = tonumber(known[1]), tonumber(known[2])
  if ARGV[10] == 'new' or e > epoch or (e == epoch and v >= version) then return 'conflict' end
end
if KEYS[4] ~= 'e164/{}' then
  local owner = redis.call('GET', KEYS[4])
  if ARGV[5] ~= 'ended' then
    if owner and owner ~= ARGV[1] then return 'number' end
    redis.call('SET', KEYS[4], ARGV[1])
  elseif owner == ARGV[1] then
    redis.call('DEL', KEYS[4])
  end
end
redis.call('HSET', KEYS[1], 'CONFNAME', ARGV[4], 'STATE', ARGV[5], 'NODE', ARGV[6], 'EPOCH', ARGV[2],
  'VERSION', ARGV[3], 'E164', ARGV[11], 'RECORD', ARGV[12])
redis.call('HSET', KEYS[2], 'moid', ARGV[7], 'roommoid', ARGV[8], 'platformmoid', ARGV[9])
redis.call('SADD', KEYS[3], ARGV[1])
return 'ok'
";

const REMOVE: &str = r"
local number = redis.call('HGET', KEYS[1], 'E164')
if number and number ~= '' and redis.call('GET', 'e164/{' .. number .. '}') == ARGV[1] then
  redis.call('DEL', 'e164/{' .. number .. '}')
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SREM', KEYS[3], ARGV[1])
return 'ok'
";

impl RedisStore {
    /// A store at `redis://[USER:PASSWORD@]HOST:PORT[/DB]`. Connects at the first request.
    pub fn open(address: &str) -> anyhow::Result<RedisStore> {
        let client = Client::open(address).with_context(|| "--store: not an address of Redis")?;
        // Passwords stay out of messages.
        let name = match address.split_once('@') {
            Some((_, place)) => format!("redis://{place}"),
            None => address.to_owned(),
        };
        let (put, remove) = (Script::new(PUT), Script::new(REMOVE));
        Ok(RedisStore { client, name, connection: Mutex::new(None), put, remove })
    }

    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = made.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// After any failure the connection is made anew.
    async fn failed(&self, error: redis::RedisError) -> StoreError {
        *self.connection.lock().await = None;
        StoreError::Unavailable(error.to_string())
    }
}

fn conf(moid: &str) -> String {
    format!("conf/{{{moid}}}")
}

fn confex(moid: &str) -> String {
    format!("confex/{{{moid}}}")
}

const INDEX: &str = "confs";

#[tonic::async_trait]
impl Store for RedisStore {
    async fn load(&self) -> Result<Vec<Record>, StoreError> {
        let mut connection = self.connection().await?;
        let moids: Vec<String> = match redis::cmd("SMEMBERS").arg(INDEX).query_async(&mut connection).await {
            Ok(moids) => moids,
            Err(error) => return Err(self.failed(error).await),
        };
        let mut records = Vec::new();
        for some in moids.chunks(256) {
            let mut pipe = redis::pipe();
            for moid in some {
                pipe.hget(conf(moid), "RECORD");
            }
            let texts: Vec<Option<String>> = match pipe.query_async(&mut connection).await {
                Ok(texts) => texts,
                Err(error) => return Err(self.failed(error).await),
            };
            for (moid, text) in some.iter().zip(texts) {
                match text.as_deref().map(serde_json::from_str) {
                    Some(Ok(record)) => records.push(record),
                    // Another program's record, or a broken one: left alone, and said.
                    Some(Err(error)) => {
                        tracing::warn!(%moid, %error, "a record in Redis cannot be read; it is left alone")
                    }
                    None => {}
                }
            }
        }
        Ok(records)
    }

    async fn put(&self, record: &Record, new: bool) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).expect("a record is plain data");
        let state = if record.phase == Phase::Ended { "ended" } else { record.phase.name() };
        let mut connection = self.connection().await?;
        let mut call = self.put.prepare_invoke();
        call.key(conf(&record.id))
            .key(confex(&record.id))
            .key(INDEX)
            .key(format!("e164/{{{}}}", record.number));
        call.arg(&record.id).arg(record.epoch).arg(record.version).arg(&record.name).arg(state);
        call.arg(&record.node_id).arg(&record.user_domain).arg(&record.room).arg(&record.platform);
        call.arg(if new { "new" } else { "" }).arg(&record.number).arg(text);
        let answer: Result<String, _> = call.invoke_async(&mut connection).await;
        match answer.as_deref() {
            Ok("ok") => Ok(()),
            Ok("number") => Err(StoreError::NumberTaken),
            Ok(_) => Err(StoreError::Conflict),
            Err(_) => Err(self.failed(answer.expect_err("it is an error")).await),
        }
    }

    async fn remove(&self, conference: &str) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let mut call = self.remove.prepare_invoke();
        call.key(conf(conference)).key(confex(conference)).key(INDEX).arg(conference);
        let answer: Result<String, _> = call.invoke_async(&mut connection).await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
