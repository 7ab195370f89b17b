//! What replicas have confirmed, what they have not, and what is read from them.

use crate::redis::open;
use crate::suite;
use crate::world::{Redis, eventually, free_port, record};
use motet_control::store::{Base, Cursor, RedisOptions, RedisStore, Store};
use std::time::Instant;

fn replica_of(primary: &Redis) -> Redis {
    let port = primary.port.to_string();
    let more = ["--save", "", "--replicaof", "127.0.0.1", &port];
    let replica = Redis::start_with(free_port(), &more);
    eventually("the replica follows", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    replica
}

#[tokio::test]
async fn writes_that_no_replica_has_are_counted() {
    let primary = Redis::start_with(free_port(), &["--save", "", "--repl-diskless-sync-delay", "0"]);
    let options = RedisOptions { wait_replicas: 1, wait_ms: 100, read_replicas: false };
    let store =
        RedisStore::open(&format!("redis://127.0.0.1:{}", primary.port), options).expect("an address");
    let replica = replica_of(&primary);
    let version = put_until_confirmed(&store, "c1", "700").await;
    let there = replica.cli(&["HGET", "conf/{c1}", "VERSION"]);
    assert_eq!(there, version.to_string(), "it is there when the answer is");
    assert_eq!(store.counts().unconfirmed, version - 1, "what came too late on a slow machine");
    // A replica that hangs: writes are acknowledged all the same, share the wait, and are counted.
    replica.signal("STOP");
    let records: Vec<_> = (0..200).map(|n| record(&format!("d{n}"), &format!("8{n:03}"), 1)).collect();
    let begin = Instant::now();
    let puts = suite::join_all(records.iter().map(|record| store.put(record, None))).await;
    assert!(puts.iter().all(Result::is_ok), "{puts:?}");
    assert!(begin.elapsed().as_secs() < 15, "not one wait after another: {:?}", begin.elapsed());
    assert_eq!(store.counts().unconfirmed, version - 1 + 200);
    replica.signal("CONT");
    eventually("the replica follows again", || {
        (replica.cli(&["EXISTS", "conf/{d199}"]) == "1").then_some(())
    });
    put_until_confirmed(&store, "c2", "702").await;
}

/// Writes versions of a record until the replica has confirmed one in time; gives that one.
async fn put_until_confirmed(store: &RedisStore, id: &str, number: &str) -> u64 {
    let (before, end) = (store.counts().confirmed, Instant::now() + crate::world::PATIENCE);
    let mut base = None;
    for version in 1.. {
        let next = record(id, number, version);
        assert_eq!(store.put(&next, base).await, Ok(()));
        if store.counts().confirmed > before {
            return version;
        }
        assert!(Instant::now() < end, "the replica confirms a write");
        base = Some(Base::of(&next));
    }
    unreachable!("versions do not end")
}

#[tokio::test]
async fn the_feed_may_be_read_from_a_replica_and_decisions_may_not() {
    let primary = Redis::start_with(free_port(), &["--save", "", "--repl-diskless-sync-delay", "0"]);
    let replica = replica_of(&primary);
    let options = RedisOptions { read_replicas: true, ..RedisOptions::default() };
    let address = format!("redis://127.0.0.1:{}", primary.port);
    // The primary tells of its replicas when a connection is made.
    let store = eventually("the replica is known", || {
        primary
            .cli(&["ROLE"])
            .contains(&replica.port.to_string())
            .then(|| RedisStore::open(&address, options).expect("an address"))
    });
    let start = store.changes(Cursor::default()).await.expect("all").cursor;
    replica.signal("STOP");
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    assert_eq!(store.get("c1").await, Ok(Some(record("c1", "700", 1))), "decisions are the primary's");
    replica.signal("CONT");
    let cursor = eventually_changes(&store, start).await;
    assert!(open(&address).changes(Cursor::default()).await.expect("all").complete);
    let reads = |redis: &Redis| {
        let stats = redis.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_zrangebyscore"))?.to_owned();
        line.split(['=', ',']).nth(1)?.parse::<u64>().ok()
    };
    let before = reads(&replica).expect("the replica answered");
    store.changes(cursor).await.expect("changes");
    assert!(reads(&replica).expect("the replica answered") > before);
}

async fn eventually_changes(store: &RedisStore, since: Cursor) -> Cursor {
    let end = Instant::now() + crate::world::PATIENCE;
    loop {
        let changes = store.changes(since).await.unwrap_or_default();
        if changes.records.iter().any(|record| record.id == "c1") {
            return changes.cursor;
        }
        assert!(Instant::now() < end, "the change is seen");
    }
}
