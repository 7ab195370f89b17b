//! One connection to one Redis server, and what its replicas have confirmed.

use super::super::RedisOptions;
use super::layout::Lua;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, RedisError, RedisResult, Value,
};
use redis::{ErrorKind, ServerErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A request fails after so long, so that callers get their error soon.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to a server that said it is a primary when it was made. It is never mended: after a failure
/// another one is made, and the address is asked for again.
pub(super) struct Server {
    connection: MultiplexedConnection,
    /// Which connection of this process; no two have the same.
    pub(super) number: u64,
    /// Where it is.
    pub(super) address: String,
    /// Replicas that the server told of, as it reaches them.
    pub(super) replicas: Vec<(String, u16)>,
    confirm: Option<mpsc::UnboundedSender<oneshot::Sender<Confirmed>>>,
    /// Its replicas have not confirmed writes for so long that none is held back for them any more.
    pub(super) alone: AtomicBool,
}

/// What became of a write at the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// As many as asked for have it.
    Yes,
    /// Fewer have it in time.
    Late,
    /// The connection is gone, and with it the word of the server.
    Unknown,
}

impl Server {
    /// Connects to a primary; what is not one is an error.
    pub(super) async fn connect(
        info: ConnectionInfo,
        options: RedisOptions,
        number: u64,
    ) -> RedisResult<Server> {
        let address = info.addr().to_string();
        let mut connection = connection(info).await?;
        let replicas = match role(&mut connection).await? {
            Role::Primary(replicas) => replicas,
            Role::Other(role) => {
                let why = format!("it is not a primary; its role is {role}");
                return Err(RedisError::from((ErrorKind::Client, "wrong server", why)));
            }
        };
        let confirm = (options.wait_replicas > 0).then(|| start_confirming(connection.clone(), options));
        Ok(Server { connection, number, address, replicas, confirm, alone: AtomicBool::new(false) })
    }

    /// Connects to a replica, to read.
    pub(super) async fn connect_replica(info: ConnectionInfo, number: u64) -> RedisResult<Server> {
        let address = info.addr().to_string();
        let mut connection = connection(info).await?;
        match role(&mut connection).await? {
            Role::Other(role) if role == "slave" => {}
            _ => return Err(RedisError::from((ErrorKind::Client, "it is not a replica"))),
        }
        let (replicas, alone) = (Vec::new(), AtomicBool::new(false));
        Ok(Server { connection, number, address, replicas, confirm: None, alone })
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// Sends many commands at once; each has its own result.
    pub(super) async fn ask_all(&self, commands: &[Cmd]) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut pipe = redis::pipe();
        for command in commands {
            pipe.add_command(command.clone());
        }
        pipe.ignore_errors().query_async(&mut self.connection.clone()).await
    }

    /// Runs a script, which the server may not know yet. With `asking`, also where the slot is on its way
    /// to this server (redirection `ASK` of Redis Cluster).
    pub(super) async fn script(
        &self,
        lua: &Lua,
        keys: &[String],
        args: &[&[u8]],
        asking: bool,
    ) -> RedisResult<Value> {
        let known = self.evaluate("EVALSHA", &lua.sha, keys, args, asking).await;
        match &known {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.evaluate("EVAL", lua.text, keys, args, asking).await
            }
            _ => known,
        }
    }

    async fn evaluate(
        &self,
        how: &str,
        script: &str,
        keys: &[String],
        args: &[&[u8]],
        asking: bool,
    ) -> RedisResult<Value> {
        let mut command = redis::cmd(how);
        command.arg(script).arg(keys.len()).arg(keys).arg(args);
        if !asking {
            return self.ask(&command).await;
        }
        let mut answers = self.ask_all(&[redis::cmd("ASKING"), command]).await?;
        answers.pop().unwrap_or_else(|| Err(RedisError::from((ErrorKind::Parse, "an answer is missing"))))
    }

    /// Whether the replicas asked for have what was written on this connection before. `Yes` when none is
    /// asked for.
    pub(super) async fn confirmed(&self) -> Confirmed {
        let Some(confirm) = &self.confirm else { return Confirmed::Yes };
        let (answer, wait) = oneshot::channel();
        if confirm.send(answer).is_err() {
            return Confirmed::Unknown;
        }
        let confirmed = wait.await.unwrap_or(Confirmed::Unknown);
        if confirmed == Confirmed::Yes {
            self.alone.store(false, Ordering::Relaxed);
        }
        confirmed
    }
}

/// `WAIT` counts for all that was written on its connection before it, and holds that connection up. So one
/// is on its way at a time, and the writes that came meanwhile share the next.
fn start_confirming(
    mut connection: MultiplexedConnection,
    options: RedisOptions,
) -> mpsc::UnboundedSender<oneshot::Sender<Confirmed>> {
    let (confirm, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<Confirmed>>();
    tokio::spawn(async move {
        while let Some(first) = asked.recv().await {
            let mut waiting = vec![first];
            while let Ok(next) = asked.try_recv() {
                waiting.push(next);
            }
            let mut command = redis::cmd("WAIT");
            command.arg(options.wait_replicas).arg(options.wait_ms);
            let replicas: RedisResult<u32> = command.query_async(&mut connection).await;
            let confirmed = match replicas {
                Ok(replicas) if replicas >= options.wait_replicas => Confirmed::Yes,
                Ok(_) => Confirmed::Late,
                Err(_) => Confirmed::Unknown,
            };
            for answer in waiting {
                let _ = answer.send(confirmed);
            }
        }
    });
    confirm
}

async fn connection(info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT));
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

/// Asks one question of a server that is not kept connected.
pub(super) async fn ask_once<T: FromRedisValue>(info: ConnectionInfo, command: &Cmd) -> RedisResult<T> {
    let mut connection = connection(info).await?;
    command.query_async(&mut connection).await
}

enum Role {
    /// With its replicas.
    Primary(Vec<(String, u16)>),
    Other(String),
}

async fn role(connection: &mut MultiplexedConnection) -> RedisResult<Role> {
    let answer: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
    let mut answer = answer.into_iter();
    let name: String = answer.next().map(redis::from_redis_value).transpose()?.unwrap_or_default();
    if name != "master" {
        return Ok(Role::Other(name));
    }
    let replicas = answer.nth(1).map(redis::from_redis_value::<Vec<Vec<String>>>).transpose()?;
    let addresses = replicas.unwrap_or_default().into_iter().filter_map(|replica| {
        let mut fields = replica.into_iter();
        Some((fields.next()?, fields.next()?.parse().ok()?))
    });
    Ok(Role::Primary(addresses.collect()))
}
