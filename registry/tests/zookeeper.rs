//! Against a real ZooKeeper (Debian's package `zookeeper`), started by each test on a free port.

use motet_registry::{
    Applicant, Heard, ReserveError, Resource, ResourceCapacity, Wanted, ZooKeeperOptions, follow,
    keep_registered,
};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

const JAR: &str = "/usr/share/java/zookeeper.jar";
const PATIENCE: Duration = Duration::from_secs(40);
const SESSION: Duration = Duration::from_secs(2);

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// None, said loudly: ZooKeeper is not installed here.
    fn start() -> Option<Server> {
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

    fn options(&self) -> ZooKeeperOptions {
        ZooKeeperOptions::new(&format!("127.0.0.1:{}", self.port), "Mpu", None, SESSION)
            .expect("they are fine")
    }

    /// kill -9, and started again after the pause.
    async fn crash(&mut self, pause: Duration) {
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

fn resource(node: &str, boot: &str, units: u64) -> Resource {
    Resource {
        form: motet_registry::FORM,
        node_id: node.into(),
        boot_id: boot.into(),
        address: format!("http://{node}:7400"),
        capacity: ResourceCapacity { units, ..ResourceCapacity::default() },
        ..Resource::default()
    }
}

/// A resource that registers itself until it is told to end, or dropped.
struct Registered {
    end: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Registered {
    fn start(server: &Server, resource: Resource) -> Registered {
        let (end, ended) = oneshot::channel::<()>();
        let options = server.options();
        let task = tokio::spawn(async move {
            let describe = || std::future::ready(Some(resource.clone()));
            let ended = async move {
                let _ = ended.await;
            };
            keep_registered(&options, Duration::from_millis(100), describe, ended).await;
        });
        Registered { end: Some(end), task }
    }

    async fn leave(mut self) {
        let _ = self.end.take().expect("once").send(());
        self.task.await.expect("it ends");
    }

    /// As if the process had been killed.
    fn die(self) {
        self.task.abort();
    }
}

/// Waits for news that `wanted` takes.
async fn hear<T>(
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

fn followed(server: &Server) -> mpsc::Receiver<Heard> {
    let (heard, news) = mpsc::channel(64);
    let options = server.options();
    tokio::spawn(async move { follow(&options, heard).await });
    news
}

fn is(node: &'static str, boot: &'static str, leaving: bool) -> impl FnMut(Heard) -> Option<Resource> {
    move |heard| match heard {
        Heard::Resource(found)
            if found.node_id == node && found.boot_id == boot && found.leaving == leaving =>
        {
            Some(*found)
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_come_refresh_and_leave() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let n1 = Registered::start(&server, resource("n1", "first", 1_000));
    let found = hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    assert_eq!(found, resource("n1", "first", 1_000));
    for _ in 0..3 {
        hear(&mut news, "n1 is refreshed", is("n1", "first", false)).await;
    }
    // One that comes late hears of what is there.
    let mut late = followed(&server);
    hear(&mut late, "a late follower hears of n1", is("n1", "first", false)).await;
    n1.leave().await;
    hear(&mut news, "n1 says that it leaves", is("n1", "first", true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_start_left_behind_is_no_news() {
    let Some(server) = Server::start() else { return };
    let n1 = Registered::start(&server, resource("n1", "first", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    n1.die();
    let _again = Registered::start(&server, resource("n1", "second", 1_000));
    hear(&mut news, "the second start registers", is("n1", "second", false)).await;
    // The node of the first start is there until its session is over; nothing is heard of it.
    let mut refreshed = 0;
    hear(&mut news, "many refreshes", |heard| {
        if let Heard::Resource(found) = heard {
            assert_eq!(found.boot_id, "second");
            refreshed += 1;
        }
        (refreshed == 60).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_goes_on_after_the_server_was_killed() {
    let Some(mut server) = Server::start() else { return };
    let _n1 = Registered::start(&server, resource("n1", "first", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    // Long enough for the sessions to end.
    server.crash(2 * SESSION).await;
    while news.try_recv().is_ok() {}
    for _ in 0..5 {
        hear(&mut news, "n1 is refreshed again", is("n1", "first", false)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_said_once_and_harms_nobody() {
    let Some(server) = Server::start() else { return };
    let _n1 = Registered::start(&server, resource("n1", "first", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    let address = format!("127.0.0.1:{}", server.port);
    let other = zookeeper_client::Client::connect(&address).await.expect("it runs");
    let anyone = zookeeper_client::Acls::anyone_all();
    let plain = zookeeper_client::CreateMode::Persistent.with_acls(anyone);
    other.create("/Mpu/Source/stray", b"\xff{", &plain).await.expect("it is made");
    let path = hear(&mut news, "garbage is said", |heard| match heard {
        Heard::Refused { path, .. } => Some(path),
        _ => None,
    })
    .await;
    assert_eq!(path, "/Mpu/Source/stray");
    let mut refreshed = 0;
    hear(&mut news, "n1 goes on", |heard| {
        assert!(!matches!(heard, Heard::Refused { .. }), "it was said before");
        refreshed += 1;
        (refreshed == 70).then_some(())
    })
    .await;
}

fn wanted(units: u64, seconds: u64) -> Wanted {
    Wanted { conference: "m1".into(), units, time_to_live: Duration::from_secs(seconds) }
}

/// The first that has room.
fn first_fit(units: u64) -> impl Fn(&[motet_registry::Candidate]) -> Option<usize> {
    move |candidates| candidates.iter().position(|each| each.promised + units <= each.resource.capacity.units)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_promised_twice_by_many_at_once() {
    let Some(server) = Server::start() else { return };
    let (_n1, _n2) = (
        Registered::start(&server, resource("n1", "b", 1_000)),
        Registered::start(&server, resource("n2", "b", 1_000)),
    );
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let mut other = followed(&server);
    hear(&mut other, "n2 registers", is("n2", "b", false)).await;
    // Room for ten of 200; 24 want one, from six processes.
    let applicants: Vec<_> =
        (0..6).map(|n| Arc::new(Applicant::new(server.options(), format!("css{n}")))).collect();
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let applicant = Arc::clone(&applicants[n % 6]);
            tokio::spawn(
                async move { applicant.reserve(&wanted(200, 60), 0, PATIENCE, first_fit(200)).await },
            )
        })
        .collect();
    let mut granted = Vec::new();
    let mut refused = 0;
    for task in tasks {
        match task.await.expect("it ends") {
            Ok(reservation) => granted.push(reservation),
            Err(ReserveError::NothingFits(2)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((granted.len(), refused), (10, 14));
    assert_eq!(granted.iter().filter(|each| each.node_id == "n1").count(), 5);
    // What is released can be had again; releasing twice is harmless.
    applicants[0].release(&granted[0]).await.expect("it is released");
    applicants[1].release(&granted[0]).await.expect("it is gone already");
    let again = applicants[1].reserve(&wanted(200, 60), 0, PATIENCE, first_fit(200)).await;
    assert_eq!(again.expect("there is room again").node_id, granted[0].node_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_end_with_their_time_and_with_their_applicant() {
    let Some(server) = Server::start() else { return };
    let _n1 = Registered::start(&server, resource("n1", "b", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let (one, two) = (Applicant::new(server.options(), "one"), Applicant::new(server.options(), "two"));
    one.reserve(&wanted(1_000, 5), 0, PATIENCE, first_fit(1_000)).await.expect("it is empty");
    let full = two.reserve(&wanted(1_000, 5), 4_000, PATIENCE, first_fit(1_000)).await;
    assert_eq!(full, Err(ReserveError::NothingFits(1)));
    let held = two.reserve(&wanted(1_000, 60), 6_000, PATIENCE, first_fit(1_000)).await;
    held.expect("the other's time is over");
    // Its session ends with it.
    drop(two);
    let mut tries = 0;
    while one.reserve(&wanted(1_000, 5), 7_000, PATIENCE, first_fit(1_000)).await.is_err() {
        tries += 1;
        assert!(tries < 400, "the promise outlives its session");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
