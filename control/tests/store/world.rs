//! Records, and servers that end with the test.

use motet_control::conference::{Phase, Record};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn record(id: &str, number: &str, version: u64) -> Record {
    Record {
        id: id.into(),
        number: number.into(),
        name: "Monday".into(),
        user_domain: "domain".into(),
        created_unix_ms: 1,
        phase: Phase::Running,
        node_id: "n1".into(),
        room: "room".into(),
        platform: "platform".into(),
        epoch: 1,
        revision: 1,
        version,
        expected: 5,
        ..Record::default()
    }
}

/// A port that was free just now, with the one 10,000 above it (the bus of a cluster) free too.
pub fn free_port() -> u16 {
    for _ in 0..100 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
    panic!("no port is free whose bus port is free too");
}

/// A redis-server that ends with the test.
pub struct Redis {
    child: Child,
    pub port: u16,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    /// On this port, with nothing on disk.
    pub fn start(port: u16) -> Redis {
        Redis::start_with(port, &["--save", "", "--appendonly", "no"])
    }

    pub fn start_with(port: u16, more: &[&str]) -> Redis {
        let dir = tempfile::tempdir().expect("a directory");
        let mut redis = Redis::start_in(dir.path(), port, more);
        redis._dir = Some(dir);
        redis
    }

    pub fn start_in(dir: &Path, port: u16, more: &[&str]) -> Redis {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--loglevel", "warning"])
            .args(more)
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn();
        let redis =
            Redis { child: child.expect("redis-server is installed by scripts/setup.sh"), port, _dir: None };
        eventually("redis-server listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        redis
    }

    /// A Sentinel that watches the group `mymaster`.
    pub fn sentinel(port: u16, primary: u16, quorum: u16) -> Redis {
        let dir = tempfile::tempdir().expect("a directory");
        let config: PathBuf = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n",
            dir.path().display()
        );
        std::fs::write(&config, text).expect("a file");
        let child = Command::new("redis-server")
            .arg(&config)
            .arg("--sentinel")
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn();
        let sentinel = Redis { child: child.expect("redis-server is there"), port, _dir: Some(dir) };
        eventually("the Sentinel listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        sentinel
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs redis-cli against it.
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }

    /// Sends a signal, such as STOP and CONT.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }
}

pub fn cli(port: u16, arguments: &[&str]) -> String {
    cli_as("", port, arguments)
}

/// With a password, unless that is empty.
pub fn cli_as(password: &str, port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]).args(arguments);
    if !password.is_empty() {
        command.env("REDISCLI_AUTH", password).stderr(Stdio::null());
    }
    let output = command.output().expect("redis-cli is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Asks until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
