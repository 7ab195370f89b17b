//! Which server has a key: one server, the primary that Sentinels name, or a cluster.

use super::super::{RedisOptions, StoreError};
use super::layout::{Lua, slot};
use super::sentinel::Sentinels;
use super::server::{Confirmed, Server, ask_once};
use anyhow::{Context, Result, ensure};
use redis::{Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult};
use redis::{ServerErrorKind, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often the Sentinels are asked for the sake of a write that is held back.
const HELD_FOR: Duration = Duration::from_millis(50);
/// After a connection failed, others do not try within this: many may wait for the same server.
const REFUSED_FOR: Duration = Duration::from_millis(250);
/// Redirections that one request follows.
const REDIRECTIONS_MAX: usize = 5;

/// How the servers are found.
enum Way {
    One(ConnectionInfo),
    Sentinel(Sentinels),
    /// Where to ask for the map of slots first; any address.
    Cluster(Vec<ConnectionInfo>),
}

/// The servers of one Redis, connected when they are needed.
pub(super) struct Servers {
    way: Way,
    options: RedisOptions,
    known: Mutex<Known>,
    /// When the Sentinels were asked last, and the primary that all agree on.
    asked: Mutex<(Option<Instant>, Option<String>)>,
    connections: AtomicU64,
}

#[derive(Default)]
struct Known {
    /// By address; an empty one where there is one server.
    servers: HashMap<String, Arc<Server>>,
    /// First and last slot, address.
    slots: Vec<(u16, u16, String)>,
    reader: Option<Arc<Server>>,
    /// When connecting failed last, and why, by address.
    refused: HashMap<String, (Instant, String)>,
}

impl Servers {
    /// `redis://[USER:PASSWORD@]HOST:PORT[/DB]`, `redis+sentinel://[USER:PASSWORD@]HOST:PORT,…/NAME[/DB]` or
    /// `redis+cluster://[USER:PASSWORD@]HOST:PORT,…`.
    pub(super) fn of_address(address: &str, options: RedisOptions) -> Result<Servers> {
        let way = if let Some(rest) = address.strip_prefix("redis+sentinel://") {
            let (user, hosts, path) = parts(rest);
            let (name, db) = path.split_once('/').unwrap_or((path, "0"));
            ensure!(
                !name.is_empty(),
                "--store: a name is missing, as in redis+sentinel://127.0.0.1:26379/mymaster"
            );
            // Sentinels have passwords of their own; this one is that of the servers.
            let server = one(&format!("redis://{user}127.0.0.1/{db}"))?;
            let addresses = all(hosts, "", 26_379)?;
            Way::Sentinel(Sentinels { addresses, group: name.to_owned(), server })
        } else if let Some(rest) = address.strip_prefix("redis+cluster://") {
            let (user, hosts, path) = parts(rest);
            ensure!(
                path.is_empty(),
                "--store: a cluster has one database; end the address after the last port"
            );
            Way::Cluster(all(hosts, user, 6_379)?)
        } else {
            Way::One(one(address)?)
        };
        let (known, asked, connections) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Ok(Servers { way, options, known, asked, connections })
    }

    /// Connections made so far.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Runs a script where the first key is.
    pub(super) async fn script(
        &self,
        lua: &Lua,
        keys: &[String],
        args: &[&[u8]],
    ) -> RedisResult<(Value, Arc<Server>)> {
        let mut asking = None;
        for left in (0..REDIRECTIONS_MAX).rev() {
            let server = match asking.take() {
                Some(address) => self.at(address).await?,
                None => self.of(&keys[0]).await?,
            };
            let is_asking = asking.is_some();
            let error = match server.script(lua, keys, args, is_asking).await {
                Ok(value) => return Ok((value, server)),
                Err(error) => error,
            };
            // A script may be run again, but who waits for a server that hangs is told after one timeout.
            let again = left > 0 && self.failed(&server, &error, left == REDIRECTIONS_MAX - 1).await;
            if !again {
                return Err(error);
            }
            if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) {
                asking = error.redirect_node().map(|(address, _)| address.to_owned());
            }
        }
        unreachable!("the last round gives its error")
    }

    /// Notes what a failure says about a server. True: the same request may succeed if it is sent again.
    pub(super) async fn failed(&self, server: &Arc<Server>, error: &RedisError, first: bool) -> bool {
        let (forget, again) = match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => (false, true),
            ErrorKind::Server(ServerErrorKind::Ask) => return true,
            ErrorKind::Server(ServerErrorKind::TryAgain) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                return true;
            }
            // It has become a replica, and has done nothing.
            ErrorKind::Server(ServerErrorKind::ReadOnly) => (true, first),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown,
            ) => (true, false),
            // It lost its replicas (min-replicas-to-write), perhaps since one of them is the primary now.
            _ if error.code() == Some("NOREPLICAS") => (true, false),
            ErrorKind::Server(_) | ErrorKind::UnexpectedReturnType | ErrorKind::Extension => return false,
            _ => (true, first && !error.is_timeout()),
        };
        let mut known = self.known.lock().await;
        known.slots.clear();
        if forget {
            known.servers.retain(|_, other| other.number != server.number);
            known.reader = None;
        }
        again
    }

    /// The primary that has this key.
    pub(super) async fn of(&self, key: &str) -> RedisResult<Arc<Server>> {
        let mut known = self.known.lock().await;
        let address = match &self.way {
            Way::One(_) | Way::Sentinel(..) => String::new(),
            Way::Cluster(seeds) => {
                if known.slots.is_empty() {
                    known.slots = self.slots(seeds, &known).await?;
                }
                let slot = slot(key);
                let range = known.slots.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
                let Some((_, _, address)) = range else {
                    let why = format!("no server of the cluster has slot {slot}");
                    known.slots.clear();
                    return Err(RedisError::from((ErrorKind::ClusterConnectionNotFound, "cluster", why)));
                };
                address.clone()
            }
        };
        self.server(&mut known, address).await
    }

    /// Goes to the primary that the Sentinels name by now. The one before may not have been told, and takes for
    /// seconds what will be lost; other control processes are at the new one already. Gives its address, if no
    /// replica can have been promoted that they do not name yet. An answer to a question asked after `since` will do.
    pub(super) async fn follow_primary(&self, since: Instant) -> Option<String> {
        let Way::Sentinel(sentinels) = &self.way else { return None };
        let mut last = self.asked.lock().await;
        if last.0.is_some_and(|asked| asked >= since) {
            return last.1.clone();
        }
        let asked = Instant::now();
        let said = sentinels.ask().await;
        if let Ok(said) = &said {
            self.go_to(said.primary.clone()).await;
        }
        let settled = said.ok().filter(|said| said.settled);
        *last = (Some(asked), settled.map(|said| said.primary.addr().to_string()));
        last.1.clone()
    }

    /// Connects to the primary that the Sentinels name, unless it is the one that is connected.
    async fn go_to(&self, named: ConnectionInfo) {
        let address = named.addr().to_string();
        let is_elsewhere =
            |known: &Known| known.servers.get("").is_some_and(|server| server.address != address);
        if !is_elsewhere(&*self.known.lock().await) {
            return;
        }
        // One that is not a primary is passed over until it is.
        let Ok(server) = Server::connect(named, self.options, self.next_number()).await else { return };
        let mut known = self.known.lock().await;
        if is_elsewhere(&known) {
            known.servers.insert(String::new(), Arc::new(server));
            known.reader = None;
        }
    }

    /// Whether the replicas asked for have what was written on this connection. With Sentinel, a write that they do
    /// not confirm is held back until it is certain that none of them has been promoted, for
    /// [`RedisOptions::hold_ms`] at most.
    ///
    /// # Errors
    ///
    /// Another server is the primary, or the connection is gone: what was written may be lost.
    pub(super) async fn confirmed(&self, server: &Arc<Server>) -> RedisResult<bool> {
        let begun = Instant::now();
        let hold = Duration::from_millis(self.options.hold_ms);
        loop {
            match server.confirmed().await {
                Confirmed::Yes => return Ok(true),
                Confirmed::Unknown => return Err(self.replaced(server, "the connection broke").await),
                Confirmed::Late => {}
            }
            let Way::Sentinel(_) = &self.way else { return Ok(false) };
            match self.follow_primary(Instant::now()).await {
                Some(named) if named == server.address => return Ok(false),
                Some(named) => return Err(self.replaced(server, &format!("{named} is the primary")).await),
                None => {}
            }
            let is_current =
                |known: &Known| known.servers.get("").is_some_and(|current| current.number == server.number);
            if !is_current(&*self.known.lock().await) {
                return Err(self.replaced(server, "another one is the primary").await);
            }
            if server.alone.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if begun.elapsed() >= hold {
                server.alone.store(true, Ordering::Relaxed);
                return Ok(false);
            }
            tokio::time::sleep(HELD_FOR).await;
        }
    }

    /// What was written there does not count.
    async fn replaced(&self, server: &Arc<Server>, why: &str) -> RedisError {
        let why = format!("{} had not confirmed a change when {why}", server.address);
        let error = RedisError::from((ErrorKind::Io, "the change may be lost", why));
        self.failed(server, &error, false).await;
        error
    }

    /// Every primary.
    pub(super) async fn primaries(&self) -> RedisResult<Vec<Arc<Server>>> {
        let first = self.of("").await?;
        let Way::Cluster(_) = &self.way else { return Ok(vec![first]) };
        let mut known = self.known.lock().await;
        let mut addresses: Vec<String> = known.slots.iter().map(|(_, _, address)| address.clone()).collect();
        addresses.sort();
        addresses.dedup();
        let mut servers = Vec::new();
        for address in addresses {
            servers.push(self.server(&mut known, address).await?);
        }
        Ok(servers)
    }

    /// Who may answer what need not be of this moment: a replica if that is wanted and there is one.
    pub(super) async fn reader(&self, key: &str) -> RedisResult<Arc<Server>> {
        let primary = self.of(key).await?;
        let info = match &self.way {
            Way::One(info) if self.options.read_replicas => info,
            Way::Sentinel(sentinels) if self.options.read_replicas => &sentinels.server,
            _ => return Ok(primary),
        };
        let mut known = self.known.lock().await;
        if let Some(reader) = &known.reader {
            return Ok(Arc::clone(reader));
        }
        for (host, port) in &primary.replicas {
            let info = info.clone().set_addr(ConnectionAddr::Tcp(host.clone(), *port));
            if let Ok(reader) = Server::connect_replica(info, self.next_number()).await {
                return Ok(Arc::clone(known.reader.insert(Arc::new(reader))));
            }
        }
        Ok(primary)
    }

    /// The server at this address of a cluster.
    async fn at(&self, address: String) -> RedisResult<Arc<Server>> {
        let mut known = self.known.lock().await;
        self.server(&mut known, address).await
    }

    fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn server(&self, known: &mut Known, address: String) -> RedisResult<Arc<Server>> {
        if let Some(server) = known.servers.get(&address) {
            return Ok(Arc::clone(server));
        }
        if let Some((when, why)) = known.refused.get(&address)
            && when.elapsed() < REFUSED_FOR
        {
            return Err(RedisError::from((ErrorKind::Io, "not connected", why.clone())));
        }
        match self.connect(&address).await {
            Ok(server) => {
                known.refused.remove(&address);
                known.servers.insert(address, Arc::clone(&server));
                Ok(server)
            }
            Err(error) => {
                known.refused.insert(address, (Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn connect(&self, address: &str) -> RedisResult<Arc<Server>> {
        let info = match &self.way {
            Way::One(info) => info.clone(),
            // [`Server::connect`] asks that one for its role.
            Way::Sentinel(sentinels) => sentinels.ask().await?.primary,
            Way::Cluster(seeds) => at_address(&seeds[0], address)?,
        };
        Ok(Arc::new(Server::connect(info, self.options, self.next_number()).await?))
    }

    /// Which server has which slots, by the first that answers: those known, then the seeds.
    async fn slots(&self, seeds: &[ConnectionInfo], known: &Known) -> RedisResult<Vec<(u16, u16, String)>> {
        let question = {
            let mut question = redis::cmd("CLUSTER");
            question.arg("SLOTS");
            question
        };
        let mut reason =
            RedisError::from((ErrorKind::ClusterConnectionNotFound, "no server of the cluster answers"));
        for server in known.servers.values() {
            match server.ask::<Vec<Vec<Value>>>(&question).await {
                Ok(slots) if !slots.is_empty() => return ranges(slots, ""),
                Ok(_) => {}
                Err(error) => reason = error,
            }
        }
        for seed in seeds {
            let ConnectionAddr::Tcp(host, _) = seed.addr() else { continue };
            match ask_once::<Vec<Vec<Value>>>(seed.clone(), &question).await {
                Ok(slots) if !slots.is_empty() => return ranges(slots, host),
                Ok(_) => {}
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

/// `CLUSTER SLOTS`: first slot, last slot, then the primary's host and port; an empty host is the one asked.
fn ranges(slots: Vec<Vec<Value>>, asked: &str) -> RedisResult<Vec<(u16, u16, String)>> {
    let mut ranges = Vec::new();
    for range in slots {
        let [first, last, primary, ..] = range.as_slice() else { continue };
        let (first, last) = (redis::from_redis_value(first.clone())?, redis::from_redis_value(last.clone())?);
        let Value::Array(primary) = primary else { continue };
        let [host, port, ..] = primary.as_slice() else { continue };
        let host: Option<String> = redis::from_redis_value(host.clone())?;
        let port: u16 = redis::from_redis_value(port.clone())?;
        let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| asked.to_owned());
        ranges.push((first, last, format!("{host}:{port}")));
    }
    Ok(ranges)
}

/// User and password with their `@`, hosts, and what comes after the slash.
fn parts(rest: &str) -> (&str, &str, &str) {
    let (user, place) = match rest.rfind('@') {
        Some(at) => rest.split_at(at + 1),
        None => ("", rest),
    };
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    (user, hosts, path)
}

fn one(address: &str) -> Result<ConnectionInfo> {
    address.into_connection_info().with_context(|| "--store: not an address of Redis")
}

fn all(hosts: &str, user: &str, port: u16) -> Result<Vec<ConnectionInfo>> {
    ensure!(!hosts.is_empty(), "--store: the address names no host");
    let with_port = |host: &str| {
        if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            one(&format!("redis://{user}{host}"))
        } else {
            one(&format!("redis://{user}{host}:{port}"))
        }
    };
    hosts.split(',').map(with_port).collect()
}

/// Like `seed`, elsewhere.
fn at_address(seed: &ConnectionInfo, address: &str) -> RedisResult<ConnectionInfo> {
    let place = address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let Some((host, port)) = place else {
        return Err(RedisError::from((ErrorKind::Parse, "not an address", address.to_owned())));
    };
    Ok(seed.clone().set_addr(ConnectionAddr::Tcp(host, port)))
}

/// A failure as the caller has to take it: what is in the way, or what cannot be reached.
pub(super) fn store_error(key: &str, error: &RedisError) -> StoreError {
    match error.code() {
        Some("WRONGTYPE") => StoreError::Foreign(format!("{key} in Redis is not what control keeps there")),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// A command about one key.
pub(super) fn command(name: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}
