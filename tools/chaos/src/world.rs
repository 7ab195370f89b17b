//! The processes of one run and the links between them.

use crate::callers::Callers;
use crate::check::{Views, shown_silent, violations};
use crate::client::{Css, Node};
use crate::media::Media;
use crate::net::Net;
use crate::place::Place;
use crate::process::Process;
use crate::redis;
use anyhow::{Context, Result, bail, ensure};
use motet_proto::registry::NodeState;
use motet_rtpgen::system;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long processes may take to start.
const START: Duration = Duration::from_secs(60);
/// Pause before something is looked at again.
const AGAIN: Duration = Duration::from_millis(20);
/// A participant is to hear another one at least so often when all is well.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// How long Sentinels may take to tell a primary that it was replaced.
const SENTINELS_MAX: Duration = Duration::from_secs(20);

/// Time for what control shows of participants to follow what is.
const SHOWN_MAX: Duration = Duration::from_secs(10);

/// What is not as it must be, a sentence each.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Of the rules in [`crate::check`].
    pub violations: Vec<String>,
    /// See [`shown_silent`].
    pub shown_silent: Vec<String>,
}

/// What there is to be, besides a Redis primary, a replica and three Sentinels.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `motet` program.
    pub motet: PathBuf,
    /// How many control processes.
    pub css: usize,
    /// How many nodes.
    pub nodes: usize,
    /// There is a proxy in front of each server, so that links can be harmed.
    pub doors: bool,
    /// Tells this run from others.
    pub seed: u64,
    /// Where the processes write.
    pub folder: PathBuf,
    /// What they wrote is left there.
    pub keep: bool,
}

/// A server: where it listens, and where others reach it.
#[derive(Clone, Copy, Debug)]
struct Server {
    listen: SocketAddr,
    door: SocketAddr,
}

impl Server {
    fn new(place: &mut Place, has_door: bool) -> Result<Server> {
        let listen = place.server()?;
        Ok(Server { listen, door: if has_door { place.server()? } else { listen } })
    }
}

/// Processes, links, callers. Everything ends when it is dropped.
pub struct World {
    /// The links.
    pub net: Net,
    /// The callers.
    pub callers: Arc<Callers>,
    processes: BTreeMap<String, Process>,
    nodes: Vec<Node>,
    servers: BTreeMap<String, Server>,
    followers: Vec<JoinHandle<()>>,
    setup: Setup,
    place: Place,
    // Last, since the processes write to it.
    folder: Option<TempDir>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.followers.iter().for_each(JoinHandle::abort);
        self.processes.clear();
        if self.setup.keep
            && let Some(folder) = self.folder.take()
        {
            let _ = folder.keep();
        }
    }
}

/// Name of a control process, counted from 0.
pub fn css_name(index: usize) -> String {
    format!("css{}", index + 1)
}

/// Name of a node, counted from 0.
pub fn node_name(index: usize) -> String {
    format!("n{}", index + 1)
}

impl World {
    /// Starts the store, control, and the first `nodes_first` nodes, and waits until they are ready.
    pub async fn start(setup: Setup, nodes_first: usize) -> Result<World> {
        let mut place = Place::own();
        let folder = tempfile::Builder::new().prefix("motet-chaos-").tempdir_in(&setup.folder)?;
        let mut servers = BTreeMap::new();
        for index in 0..setup.css {
            servers.insert(css_name(index), Server::new(&mut place, setup.doors)?);
        }
        let clients = servers.iter().map(|(name, server)| Css::new(name, server.listen)).collect();
        let media = Media::start(place.participants(), setup.seed as u32)?;
        let mut world = World {
            net: Net::default(),
            callers: Callers::new(clients, media),
            processes: BTreeMap::new(),
            nodes: Vec::new(),
            servers,
            followers: Vec::new(),
            setup,
            place,
            folder: Some(folder),
        };
        let store = world.add_store().await?;
        world.add_css(&store).await?;
        for index in 0..world.setup.nodes {
            world.add_node(index).await?;
        }
        world.followers = world.callers.follow();
        for index in 0..nodes_first {
            world.revive(&node_name(index))?;
        }
        world.wait_ready(nodes_first).await?;
        // Connections are made and scripts are known from here on.
        world.callers.wait_served(START).await?;
        Ok(world)
    }

    /// A server. Its door is shut until its process runs.
    async fn add_server(&mut self, name: &str) -> Result<Server> {
        let server = match self.servers.get(name) {
            Some(server) => *server,
            None => Server::new(&mut self.place, self.setup.doors)?,
        };
        if self.setup.doors {
            self.net.shut(name);
            self.net.add(name, server.door, server.listen).await?;
        }
        self.servers.insert(name.to_owned(), server);
        Ok(server)
    }

    fn add_process(&mut self, name: &str, program: &str, arguments: Vec<String>) {
        let program = if program == "motet" { self.setup.motet.clone() } else { program.into() };
        let process = Process::new(name, &program, arguments, &self.folder());
        self.processes.insert(name.to_owned(), process);
    }

    fn folder(&self) -> PathBuf {
        self.folder.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default()
    }

    /// Gives the value of `--store`.
    async fn add_store(&mut self) -> Result<String> {
        let [one, other] = redis::SERVERS;
        let first = self.add_redis(one, None).await?;
        self.add_redis(other, Some(first.door)).await?;
        // Sentinels ask the primary for its replicas when they start, and then only every ten seconds.
        self.wait_replica(other).await?;
        let mut sentinels = Vec::new();
        for name in redis::SENTINELS {
            let server = self.add_server(name).await?;
            let file = redis::sentinel_file(&self.folder(), server.listen, first.door, 2)?;
            self.add_process(name, "redis-server", vec![file, "--sentinel".into()]);
            self.revive(name)?;
            self.wait_redis(name).await?;
            sentinels.push(server.door.to_string());
        }
        Ok(format!("redis+sentinel://{}/{}", sentinels.join(","), redis::NAME))
    }

    async fn add_redis(&mut self, name: &str, primary: Option<SocketAddr>) -> Result<Server> {
        let server = self.add_server(name).await?;
        let file = redis::server_file(&self.folder(), server.listen, server.door, primary)?;
        self.add_process(name, "redis-server", vec![file]);
        self.revive(name)?;
        self.wait_redis(name).await?;
        Ok(server)
    }

    /// Waits until a Redis server or Sentinel answers.
    pub async fn wait_redis(&mut self, name: &str) -> Result<()> {
        let end = Instant::now() + START;
        while self.ask_redis(name, &["PING"]).is_err() {
            self.check_processes()?;
            ensure!(Instant::now() < end, "{name} does not answer");
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Waits until a replica has all that its primary has. Sentinels tell a primary that was replaced after some ten
    /// seconds, or never on a machine that is too busy for them: then it is done for them.
    pub async fn wait_replica(&mut self, name: &str) -> Result<()> {
        let (begun, end) = (Instant::now(), Instant::now() + START);
        let mut told = false;
        let is_up = |said: Vec<String>| said.iter().any(|text| text.contains("master_link_status:up"));
        while !self.ask_redis(name, &["INFO", "replication"]).is_ok_and(is_up) {
            self.check_processes()?;
            if begun.elapsed() > SENTINELS_MAX && !std::mem::replace(&mut told, true) {
                let primary = self.servers[&self.primary()?].door;
                let (host, port) = (primary.ip().to_string(), primary.port().to_string());
                self.ask_redis(name, &["REPLICAOF", &host, &port])?;
            }
            ensure!(Instant::now() < end, "{name} does not follow its primary");
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Asks a Redis server or Sentinel, past its door.
    pub fn ask_redis(&self, name: &str, words: &[&str]) -> Result<Vec<String>> {
        redis::ask(self.servers[name].listen, words)
    }

    /// Name of the Redis server that the Sentinels hold for the primary.
    pub fn primary(&self) -> Result<String> {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", redis::NAME];
        let said = self.ask_redis(redis::SENTINELS[0], &words)?.join(":");
        let found = self.servers.iter().find(|(_, server)| server.door.to_string() == said);
        Ok(found.with_context(|| format!("the Sentinels name {said}, which is no server"))?.0.clone())
    }

    async fn add_css(&mut self, store: &str) -> Result<()> {
        for index in 0..self.setup.css {
            let name = css_name(index);
            let server = self.add_server(&name).await?;
            let listen = server.listen.to_string();
            let address = format!("http://{}", server.door);
            let mut arguments = vec!["css", "--listen", &listen, "--store", store, "--metrics", "off"];
            // What is acknowledged is on the replica too.
            arguments.extend(["--store-wait", "1", "--css-id", &name, "--css-address", &address]);
            let arguments = arguments.into_iter().map(str::to_owned).collect();
            self.add_process(&name, "motet", arguments);
            self.revive(&name)?;
        }
        Ok(())
    }

    async fn add_node(&mut self, index: usize) -> Result<()> {
        let name = node_name(index);
        let server = self.add_server(&name).await?;
        let media = self.place.media(index as u8).to_string();
        let (listen, advertise) = (server.listen.to_string(), format!("http://{}", server.door));
        let mut arguments = vec!["node", "--node-id", &name, "--listen", &listen, "--advertise", &advertise];
        arguments.extend(["--media-ip", &media, "--port-range", "20000-29999", "--metrics", "off"]);
        arguments.extend(["--handover-socket", "off", "--mixing-threads", "0", "--room", "room"]);
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        for css in 0..self.setup.css {
            arguments
                .extend(["--control".to_owned(), format!("http://{}", self.servers[&css_name(css)].door)]);
        }
        self.add_process(&name, "motet", arguments);
        self.nodes.push(Node::new(&name, server.listen));
        Ok(())
    }

    /// Starts what does not run.
    pub fn revive(&mut self, name: &str) -> Result<()> {
        let process = self.processes.get_mut(name).with_context(|| format!("there is no {name}"))?;
        process.start()?;
        let id = process.id().context("it was just started")?;
        self.net.know(name, id);
        self.net.open(name);
        Ok(())
    }

    /// SIGKILL; its connections are reset, as the kernel does.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.process(name)?.kill();
        self.net.shut(name);
        Ok(())
    }

    /// A process, to stop it or to look at it.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.processes.get_mut(name).with_context(|| format!("there is no {name}"))
    }

    /// Names of all processes.
    pub fn names(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }

    /// Fails when a process has ended that nobody killed.
    pub fn check_processes(&mut self) -> Result<()> {
        self.processes.values_mut().try_for_each(Process::check)
    }

    /// Waits until each control process that is at work has so many ready nodes.
    pub async fn wait_ready(&mut self, nodes: usize) -> Result<()> {
        let end = Instant::now() + START;
        for css in self.css_at_work() {
            loop {
                self.check_processes()?;
                let known = css.nodes().await.unwrap_or_default();
                if known.iter().filter(|node| node.state() == NodeState::Ready).count() >= nodes {
                    break;
                }
                if Instant::now() > end {
                    let words = self.process(&css.name)?.last_words();
                    bail!("{} does not have {nodes} ready nodes; it said:\n{words}", css.name);
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    fn css_at_work(&self) -> Vec<Css> {
        let at_work = |css: &&Css| self.processes[&css.name].is_at_work();
        self.callers.css().iter().filter(at_work).cloned().collect()
    }

    /// What control processes and nodes that are at work say now.
    pub async fn views(&self) -> Result<Views> {
        let mut views = Views::default();
        for css in self.css_at_work() {
            let list = css.list().await.with_context(|| format!("{} gives no list", css.name))?;
            views.css.insert(css.name, list);
        }
        for node in self.nodes.iter().filter(|node| self.processes[&node.name].is_at_work()) {
            let list = node.list().await.with_context(|| format!("{} gives no list", node.name))?;
            views.nodes.insert(node.name.clone(), list);
        }
        Ok(views)
    }

    /// A node, by name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name == name).with_context(|| format!("there is no {name}"))
    }

    /// Waits until all is as it must be, and everybody hears everybody; gives what is not, at the end.
    pub async fn settle(&mut self, within: Duration) -> Result<Settled> {
        let (begun, mut at_last) = (Instant::now(), None);
        loop {
            self.check_processes()?;
            let mut found = Settled::default();
            match self.views().await {
                Ok(views) => {
                    found.violations = violations(&self.callers.ledger(), &views);
                    found.shown_silent = shown_silent(&self.callers.ledger(), &views);
                }
                Err(error) => found.violations.push(format!("N1: {error:#}")),
            }
            let silent = self.callers.media.book().silent(SILENCE_MAX, system::now());
            found.violations.extend(silent.into_iter().map(|pair| format!("N13: {pair}")));
            if found.violations.is_empty() {
                // What is only shown wrongly has less time.
                let since = *at_last.get_or_insert_with(Instant::now);
                if found.shown_silent.is_empty() || since.elapsed() > SHOWN_MAX {
                    return Ok(found);
                }
            }
            if begun.elapsed() > within {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
