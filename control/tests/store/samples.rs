//! The configurations in `docs/redis`: servers take them, and a store on them does what it must.

use crate::suite;
use crate::world::{PATIENCE, cli_as, eventually, free_port, record};
use motet_control::store::{Base, RedisOptions, RedisStore, Store, StoreError};
use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// As the files say.
const PASSWORD: &str = "change-me";

fn sample(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/redis").join(file)
}

/// A server that was started from a file, with a folder and a port of the test's own.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    sentinel: bool,
}

impl Server {
    /// `places` are addresses of the file and what they are here. An address that is not in the file is a mistake.
    fn start(file: &str, port: u16, places: &[(&str, &str)], more: &str) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let sentinel = file.contains("sentinel.conf");
        let mut text = std::fs::read_to_string(sample(file)).expect("the file is there");
        let own = format!("dir {}", folder.path().display());
        let usual = if sentinel { "port 26379" } else { "port 6379" };
        let port_line = format!("port {port}");
        for (from, to) in [(usual, &*port_line), ("dir /var/lib/redis", &own)].iter().chain(places) {
            assert!(text.contains(from), "{file} has no '{from}'");
            text = text.replace(from, to);
        }
        text = text.replace("bind * -::*\n", "bind 127.0.0.1\n") + more;
        std::fs::write(folder.path().join("this.conf"), text).expect("a file");
        let child = Server::run(folder.path(), sentinel);
        let server = Server { child, port, folder, sentinel };
        server.wait(file);
        server
    }

    fn run(folder: &Path, sentinel: bool) -> Child {
        let mut command = Command::new("redis-server");
        command.arg(folder.join("this.conf")).args(sentinel.then_some("--sentinel"));
        command.current_dir(folder).stdout(Stdio::null());
        command.spawn().expect("redis-server is installed by scripts/setup.sh")
    }

    fn wait(&self, file: &str) {
        eventually(&format!("a server takes {file}"), || (!self.cli(&["PING"]).is_empty()).then_some(()));
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start_again(&mut self) {
        self.child = Server::run(self.folder.path(), self.sentinel);
        self.wait("its file again");
    }

    fn cli(&self, arguments: &[&str]) -> String {
        cli_as(PASSWORD, self.port, arguments)
    }

    fn follows(&self) {
        eventually("a replica follows", || {
            self.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
    }

    /// Runs a script of the samples as keepalived would.
    fn script(&self, script: &str, arguments: &[&str], address: u16) -> bool {
        let mut command = Command::new(sample(script));
        command.args(arguments).env("REDISCLI_AUTH", PASSWORD).env("REDIS_PORT", self.port.to_string());
        command.env("REDIS_VIP", "127.0.0.1").env("REDIS_VIP_PORT", address.to_string());
        command.stderr(Stdio::null()).stdout(Stdio::null());
        command.status().expect("it can be started").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that moves: what connects to it reaches the server that has it, until that loses it.
struct Address {
    port: u16,
    held: Arc<Mutex<(u16, Vec<TcpStream>)>>,
}

impl Address {
    fn of(server: u16) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let held = Arc::new(Mutex::new((server, Vec::new())));
        let shared = Arc::clone(&held);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut held = shared.lock().expect("nobody panics with it");
                let Ok(server) = TcpStream::connect(("127.0.0.1", held.0)) else { continue };
                for (mut from, mut to) in [(&client, &server), (&server, &client)].map(|(from, to)| {
                    (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"))
                }) {
                    std::thread::spawn(move || {
                        let _ = copy(&mut from, &mut to);
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                }
                held.1.extend([client, server]);
            }
        });
        Address { port, held }
    }

    /// Another server has it: nobody answers on the connections that were there.
    fn moves_to(&self, server: u16) {
        let mut held = self.held.lock().expect("nobody panics with it");
        held.0 = server;
        for connection in held.1.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Writes versions of one record until one is taken, from the version that is there.
async fn write_again(store: &RedisStore) {
    let begin = Instant::now();
    loop {
        let there = match store.get("c1").await {
            Ok(there) => there,
            Err(error) => {
                assert!(begin.elapsed() < PATIENCE, "{error}");
                continue;
            }
        };
        let next = record("c1", "700", there.as_ref().map_or(0, |there| there.version) + 1);
        match store.put(&next, there.as_ref().map(Base::of)).await {
            Ok(()) => return,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_pair_behind_an_address_that_moves() {
    let ports = [free_port(), free_port(), free_port()];
    let address = Address::of(ports[0]);
    let follow = format!("replicaof 127.0.0.1 {}", address.port);
    let place = [("replicaof 192.0.2.10 6379", &*follow)];
    let [mut first, second, replica] = ports.map(|port| Server::start("vip/redis.conf", port, &place, ""));
    let role = |server: &Server, role| server.script("vip/redis-role.sh", &[role], address.port);
    assert!(role(&first, "primary") && role(&first, "primary"), "promoting twice is harmless");
    assert!(role(&second, "replica"));
    assert!(!role(&second, "boss"));
    second.follows();
    replica.follows();
    // The store is told one address, and of nothing that happens behind it.
    let store =
        RedisStore::open(&format!("redis://:{PASSWORD}@127.0.0.1:{}", address.port), RedisOptions::default())
            .expect("an address");
    suite::all(&store).await;
    write_again(&store).await;
    // The balancer sends readers to replicas alone.
    let reads = |server: &Server| {
        let port = server.port.to_string();
        server.script("vip/redis-reads.sh", &["127.0.0.1", &port], address.port)
    };
    assert_eq!((reads(&first), reads(&replica)), (false, true));

    first.kill();
    address.moves_to(second.port);
    assert!(role(&second, "primary"));
    replica.follows();
    write_again(&store).await;
    assert_eq!(second.cli(&["HGET", "conf/{c1}", "VERSION"]), "2", "what was written is there");
    // It comes back as what its file says, and takes the address over from nobody.
    first.start_again();
    first.follows();
    assert!(first.cli(&["SET", "a", "b"]).contains("READONLY"));
    assert!(reads(&first));
}

#[tokio::test]
async fn three_servers_and_three_sentinels() {
    let primary = free_port();
    let mut servers = vec![Server::start("sentinel/redis.conf", primary, &[], "")];
    for _ in 0..2 {
        let follow = format!("replicaof 127.0.0.1 {primary}\n");
        servers.push(Server::start("sentinel/redis.conf", free_port(), &[], &follow));
    }
    servers[1..].iter().for_each(Server::follows);
    let watch = format!("monitor mymaster 127.0.0.1 {primary} 2");
    let place = [("monitor mymaster 192.0.2.11 6379 2", &*watch)];
    let sentinels: Vec<Server> = (0..3)
        .map(|_| Server::start("sentinel/sentinel.conf", free_port(), &place, "bind 127.0.0.1\n"))
        .collect();
    eventually("the Sentinels know all", || {
        let info = sentinels[0].cli(&["SENTINEL", "MASTER", "mymaster"]);
        let after = |name: &str| info.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
        (after("num-slaves")? == "2" && after("num-other-sentinels")? == "2").then_some(())
    });
    let hosts: Vec<String> = sentinels.iter().map(|each| format!("127.0.0.1:{}", each.port)).collect();
    let address = format!("redis+sentinel://:{PASSWORD}@{}/mymaster", hosts.join(","));
    // What is acknowledged has left its primary: it holds back for as long as the test takes.
    let options =
        RedisOptions { wait_replicas: 1, wait_ms: 100, hold_ms: 600_000, ..RedisOptions::default() };
    let store = RedisStore::open(&address, options).expect("an address");
    suite::all(&store).await;

    // Killed while it is written to; the writer is told nothing but the Sentinels' addresses.
    let (mut acknowledged, mut after) = (Vec::new(), 0);
    let begin = Instant::now();
    for n in 0..10_000 {
        if n == 100 {
            servers[0].kill();
        }
        let id = format!("c{n}");
        match store.put(&record(&id, &format!("7{n:06}"), 1), None).await {
            Ok(()) => {
                acknowledged.push(id);
                after += u32::from(n > 100);
            }
            Err(StoreError::Unavailable(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
        if after == 100 {
            break;
        }
        assert!(begin.elapsed() < 4 * PATIENCE, "a replica takes its place");
    }
    assert_eq!(after, 100, "writes are taken again");
    let mut lost = Vec::new();
    for id in acknowledged {
        if store.get(&id).await.expect("it answers").is_none() {
            lost.push(id);
        }
    }
    assert_eq!(lost, Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_of_six() {
    let servers: Vec<Server> =
        (0..6).map(|_| Server::start("cluster/redis.conf", free_port(), &[], "")).collect();
    let addresses: Vec<String> = servers.iter().map(|each| format!("127.0.0.1:{}", each.port)).collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    servers[0].cli(&create);
    for server in &servers {
        eventually("the cluster is whole", || {
            let info = server.cli(&["CLUSTER", "INFO"]);
            let parts = ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:6"];
            let whole = parts.iter().all(|part| info.contains(part));
            let role = server.cli(&["INFO", "replication"]);
            let joined = role.contains("master_link_status:up") || role.contains("state=online");
            (whole && joined).then_some(())
        });
    }
    let address = format!("redis+cluster://:{PASSWORD}@{}", addresses[..3].join(","));
    let store = RedisStore::open(&address, RedisOptions::default()).expect("an address");
    suite::all(&store).await;
}

#[test]
fn keepalived_takes_its_files() {
    const SCRIPTS: [&str; 2] = ["redis-role.sh", "redis-reads.sh"];
    for script in SCRIPTS {
        let file = sample("vip").join(script);
        assert!(Command::new("sh").arg("-n").arg(&file).status().is_ok_and(|checked| checked.success()));
    }
    let at = |path: &&str| Path::new(path).exists();
    let program = ["/usr/sbin/keepalived", "/sbin/keepalived", "/usr/bin/keepalived"].into_iter().find(at);
    let card = std::fs::read_dir("/sys/class/net").expect("Linux has it").flatten();
    let card = card.map(|card| card.file_name().into_string().expect("text")).find(|name| {
        let said = |file: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{file}"));
        let flags = said("flags").map(|flags| u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16));
        // Ethernet (ARPHRD_ETHER), and IFF_MULTICAST, which VRRP needs.
        said("type").is_ok_and(|number| number.trim() == "1")
            && flags.is_ok_and(|flags| flags.is_ok_and(|flags| flags & 0x1000 != 0))
    });
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let (Some(program), Some(card), true) = (program, card, root) else {
        eprintln!("SKIPPED: no keepalived (scripts/setup.sh installs it), no network card, or not root");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let check = |text: &str| {
        let file = folder.path().join("keepalived.conf");
        std::fs::write(&file, text).expect("a file");
        let log = folder.path().join("log");
        // It appends.
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new(program);
        command.arg(format!("--config-test={}", log.display())).arg("-f").arg(&file);
        // It ends all of its process group.
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("it can be started");
        (status.success(), std::fs::read_to_string(log).unwrap_or_default())
    };
    for file in ["vip/keepalived-primary.conf", "vip/keepalived-lvs.conf"] {
        let text = std::fs::read_to_string(sample(file)).expect("the file is there");
        // It takes scripts only from folders that are root's alone.
        let mut text = text.replace("eth0", &card);
        for script in SCRIPTS {
            text = text.replace(&format!("/etc/keepalived/{script}"), "/bin/true");
        }
        assert!(!text.contains("/etc/keepalived"), "{file} has a script that is not here");
        let users = ["script_user redis\n", "script_user keepalived_script\n"];
        let text = users.iter().fold(text, |text, user| text.replace(user, "script_user root\n"));
        assert_eq!(check(&text), (true, String::new()), "{file}");
        let wrong = text.replace("virtual_router_id", "virtual_router_idea");
        assert!(!check(&wrong).0, "{file}: a mistake would be found");
    }
}
