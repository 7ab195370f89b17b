//! One suite for every store: the embedded one, and a real redis-server of its own.

use motet_control::conference::{Phase, Record};
use motet_control::store::{EmbeddedStore, RedisStore, Store, StoreError};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn record(id: &str, number: &str, version: u64) -> Record {
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

async fn suite(store: &dyn Store) {
    let first = record("c1", "700", 1);
    assert_eq!(store.put(&first, true).await, Ok(()));
    assert_eq!(store.load().await, Ok(vec![first.clone()]));
    assert_eq!(store.put(&first, false).await, Err(StoreError::Conflict), "as new as what is there");
    assert_eq!(store.put(&record("c1", "700", 9), true).await, Err(StoreError::Conflict), "it is not new");
    assert_eq!(store.put(&record("c1", "700", 2), false).await, Ok(()));
    assert_eq!(store.put(&first, false).await, Err(StoreError::Conflict), "late");
    let higher = Record { epoch: 2, ..record("c1", "700", 1) };
    assert_eq!(store.put(&higher, false).await, Ok(()), "a higher epoch is newer, whatever the version");
    assert_eq!(store.put(&record("c2", "700", 1), true).await, Err(StoreError::NumberTaken));
    let ended = Record { phase: Phase::Ended, epoch: 2, ..record("c1", "700", 2) };
    assert_eq!(store.put(&ended, false).await, Ok(()));
    assert_eq!(store.put(&record("c2", "700", 1), true).await, Ok(()), "the number is free again");
    assert_eq!(store.remove("c1").await, Ok(()));
    assert_eq!(store.remove("c1").await, Ok(()), "forgetting twice is harmless");
    assert_eq!(store.load().await, Ok(vec![record("c2", "700", 1)]));
    let (one, other) = (record("c3", "701", 1), record("c4", "701", 1));
    let (one, other) = tokio::join!(store.put(&one, true), store.put(&other, true));
    assert_eq!([&one, &other].iter().filter(|result| result.is_ok()).count(), 1, "{one:?} {other:?}");
}

/// A redis-server that ends with the test.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Redis {
    fn start(port: u16, dir: &std::path::Path) -> Redis {
        let port_text = port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn();
        let redis = Redis(child.expect("redis-server is installed by scripts/setup.sh"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen on {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }
}

#[tokio::test]
async fn embedded() {
    suite(&EmbeddedStore::default()).await;
}

#[tokio::test]
async fn redis_and_its_absence() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let store = RedisStore::open(&format!("redis://127.0.0.1:{port}")).expect("an address");
    assert!(matches!(store.load().await, Err(StoreError::Unavailable(_))), "nothing listens yet");
    let redis = Redis::start(port, dir.path());
    suite(&store).await;
    drop(redis);
    let asked = Instant::now();
    assert!(matches!(store.put(&record("c9", "709", 1), true).await, Err(StoreError::Unavailable(_))));
    assert!(asked.elapsed() < Duration::from_secs(3), "callers get their error soon");
    let _redis = Redis::start(port, dir.path());
    assert_eq!(store.put(&record("c9", "709", 1), true).await, Ok(()), "it works again");
}
