//! A ZooKeeper of the test's own, and who uses it.

use motet_registry::{
    Candidate, Function, Heard, Kinds, Resource, ResourceCapacity, Wanted, ZooKeeperOptions, follow,
    keep_registered,
};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use zookeeper_client::Client;

const JAR: &str = "/usr/share/java/zookeeper.jar";
pub const PATIENCE: Duration = Duration::from_secs(40);
pub const SESSION: Duration = Duration::from_secs(2);

/// A server that ends with the test.
pub struct Server {
    child: Child,
    pub port: u16,
    folder: TempDir,
}

impl Server {
    /// None, said loudly: ZooKeeper is not installed here.
    pub fn start() -> Option<Server> {
        if !Path::new(JAR).exists() {
            eprintln!("SKIPPED: {JAR} is not there; scripts/setup.sh installs it");
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let settings = format!(
            "tickTime=200\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             minSessionTimeout=400\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("zoo.cfg"), settings).expect("a file");
        let child = Server::run(folder.path());
        Some(Server { child, port, folder })
    }

    fn run(folder: &Path) -> Child {
        let mut java = Command::new("java");
        java.args(["-Xmx128m", "-cp", JAR, "org.apache.zookeeper.server.quorum.QuorumPeerMain"]);
        java.arg(folder.join("zoo.cfg")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        java.spawn().expect("Java is installed with ZooKeeper")
    }

    /// Of a process without an identity.
    pub fn options(&self) -> ZooKeeperOptions {
        self.options_of(None, SESSION)
    }

    pub fn options_of(&self, identity: Option<&str>, session: Duration) -> ZooKeeperOptions {
        ZooKeeperOptions::new(&self.address(), Kinds::default(), identity, session).expect("they are fine")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Any program; an identity is `USER:PASSWORD`.
    pub async fn stranger(&self, identity: Option<&str>) -> Client {
        let mut connector = Client::connector().with_session_timeout(SESSION);
        if let Some(identity) = identity {
            connector = connector.with_auth("digest", identity.as_bytes());
        }
        connector.connect(&self.address()).await.expect("it runs")
    }

    /// kill -9, and started again after the pause.
    pub async fn crash(&mut self, pause: Duration) {
        self.end();
        tokio::time::sleep(pause).await;
        self.child = Server::run(self.folder.path());
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Below those that the kernel gives to clients.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let slot = std::process::id().wrapping_mul(17).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + (slot % 8_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn resource(node: &str, boot: &str, units: u64) -> Resource {
    Resource {
        form: motet_registry::FORM,
        node_id: node.into(),
        boot_id: boot.into(),
        address: format!("http://{node}:7400"),
        capacity: ResourceCapacity { units, ..ResourceCapacity::default() },
        ..Resource::default()
    }
}

/// A process: a runtime of its own, so that it can be killed, and its session left behind.
pub struct Crashing(Option<Runtime>);

impl Crashing {
    pub fn start(future: impl Future<Output = ()> + Send + 'static) -> Crashing {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.spawn(future);
        Crashing(Some(runtime))
    }

    /// Nothing more is sent, no session closed.
    pub fn crash(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Crashing {
    fn drop(&mut self) {
        self.end();
    }
}

/// A resource that registers itself until it is told to end, or dies.
pub struct Registered {
    end: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
    process: Crashing,
}

impl Registered {
    pub fn start(options: ZooKeeperOptions, resource: Resource) -> Registered {
        let (end, told) = oneshot::channel::<()>();
        let (tell, ended) = oneshot::channel();
        let process = Crashing::start(async move {
            let describe = || std::future::ready(Some(resource.clone()));
            let told = async move {
                let _ = told.await;
            };
            keep_registered(&options, Duration::from_millis(100), describe, told).await;
            let _ = tell.send(());
        });
        Registered { end: Some(end), ended, process }
    }

    pub async fn leave(mut self) {
        let _ = self.end.take().expect("once").send(());
        self.ended.await.expect("it ends");
    }

    /// As if the process had been killed.
    pub fn die(self) {
        self.process.crash();
    }
}

/// Waits for news that `wanted` takes.
pub async fn hear<T>(
    news: &mut mpsc::Receiver<Heard>,
    what: &str,
    mut wanted: impl FnMut(Heard) -> Option<T>,
) -> T {
    let search = async {
        loop {
            if let Some(found) = wanted(news.recv().await.expect("it goes on")) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let asking = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}

pub fn followed(server: &Server) -> mpsc::Receiver<Heard> {
    let (heard, news) = mpsc::channel(64);
    let options = server.options();
    tokio::spawn(async move { follow(&options, heard).await });
    news
}

pub fn is(node: &'static str, boot: &'static str, leaving: bool) -> impl FnMut(Heard) -> Option<Resource> {
    move |heard| match heard {
        Heard::Resource(found)
            if found.node_id == node && found.boot_id == boot && found.leaving == leaving =>
        {
            Some(*found)
        }
        _ => None,
    }
}

pub fn wanted(units: u64, seconds: u64) -> Wanted {
    Wanted {
        function: Function::Relay,
        conference: "m1".into(),
        units,
        time_to_live: Duration::from_secs(seconds),
    }
}

/// The first that has room.
pub fn first_fit(units: u64) -> impl Fn(&[Candidate]) -> Option<usize> {
    move |candidates| candidates.iter().position(|each| each.promised + units <= each.resource.capacity.units)
}
