//! What replicas have confirmed, what they have not, and what is read from them.

use crate::redis::{Group, depose, open};
use crate::suite;
use crate::world::{PATIENCE, Redis, cli, eventually, free_port, record};
use motet_control::store::{Base, Cursor, RedisOptions, RedisStore, Store, StoreError};
use std::time::{Duration, Instant};

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
    let options = RedisOptions { wait_replicas: 1, wait_ms: 100, ..RedisOptions::default() };
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

#[tokio::test]
async fn when_replicas_are_lost_others_are_read_and_at_last_the_primary() {
    let primary = Redis::start_with(free_port(), &["--save", "", "--repl-diskless-sync-delay", "0"]);
    let mut replicas = vec![replica_of(&primary), replica_of(&primary)];
    eventually("both are known", || {
        let role = primary.cli(&["ROLE"]);
        replicas.iter().all(|replica| role.contains(&replica.port.to_string())).then_some(())
    });
    let options = RedisOptions { read_replicas: true, ..RedisOptions::default() };
    let address = format!("redis://127.0.0.1:{}", primary.port);
    let store = RedisStore::open(&address, options).expect("an address");
    let start = store.changes(Cursor::default()).await.expect("all").cursor;
    let reads = |redis: &Redis| redis.cli(&["INFO", "commandstats"]).contains("cmdstat_zrangebyscore");
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    while !replicas.is_empty() {
        eventually_changes(&store, start).await;
        // Whoever reads is told no other address.
        let read = replicas.iter().position(reads).expect("one of the replicas is read");
        drop(replicas.remove(read));
    }
    eventually_changes(&store, start).await;
    assert!(reads(&primary), "nobody else is left");
}

/// Waits for one replica, and holds back what it does not confirm for as long as a test may take.
fn holding(address: &str) -> RedisStore {
    let options =
        RedisOptions { wait_replicas: 1, wait_ms: 100, hold_ms: 600_000, ..RedisOptions::default() };
    RedisStore::open(address, options).expect("an address")
}

#[tokio::test]
async fn what_is_acknowledged_during_switchovers_is_there_after_them() {
    let group = Group::start();
    for sentinel in &group.sentinels {
        // They switch over when they are told to, however busy the machine is.
        let answer = sentinel.cli(&["SENTINEL", "SET", "mymaster", "down-after-milliseconds", "600000"]);
        assert_eq!(answer, "OK");
    }
    let store = holding(&group.address());
    let mut acknowledged = Vec::new();
    for round in 0..2 {
        let before = group.primary();
        // The replica is promoted a second before anybody names it, and longer before the old primary knows.
        let (mut after, end, mut ordered) = (0, Instant::now() + 4 * PATIENCE, None::<Instant>);
        for n in 0.. {
            let switched = group.primary() != before;
            if !switched && ordered.is_none_or(|ordered| ordered.elapsed() > PATIENCE / 3) {
                // Refused while one is under way.
                cli(group.sentinels[0].port, &["SENTINEL", "FAILOVER", "mymaster"]);
                ordered = Some(Instant::now());
            }
            let (id, number) = (format!("c{round}-{n}"), format!("7{round}{n:06}"));
            if store.put(&record(&id, &number, 1), None).await == Ok(()) {
                acknowledged.push(id);
                after += u32::from(switched);
            }
            if after > 20 {
                break;
            }
            assert!(Instant::now() < end, "round {round}: the new primary takes writes");
        }
        let follows = || {
            let replica = group.servers.iter().find(|server| server.port == before);
            replica.is_some_and(|replica| {
                replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
            })
        };
        while !follows() {
            assert!(Instant::now() < end, "round {round}: the old primary follows the new one");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let there = |id: &String| cli(group.primary(), &["EXISTS", &format!("conf/{{{id}}}")]) == "1";
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !there(id)).collect();
    assert!(lost.is_empty(), "of {}: {lost:?}", acknowledged.len());
}

#[tokio::test]
async fn a_write_without_a_replica_waits_while_the_primary_is_in_doubt() {
    let old = Redis::start(free_port());
    let new = Redis::start_with(free_port(), &["--save", "", "--repl-diskless-sync-delay", "0"]);
    let _replica = replica_of(&new);
    let sentinel = Redis::sentinel(free_port(), old.port, 1);
    let store =
        std::sync::Arc::new(holding(&format!("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port)));
    // All say that it is the primary, and that none is about to be.
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    assert_eq!((store.counts().confirmed, store.counts().unconfirmed), (0, 1));
    assert_eq!(sentinel.cli(&["SENTINEL", "REMOVE", "mymaster"]), "OK");
    let held = tokio::spawn({
        let store = std::sync::Arc::clone(&store);
        async move { store.put(&record("c2", "701", 1), None).await }
    });
    let end = Instant::now() + PATIENCE;
    while old.cli(&["EXISTS", "conf/{c2}"]) != "1" {
        assert!(Instant::now() < end, "it is written where the Sentinels named the primary last");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    depose(&sentinel, &new);
    let result = tokio::time::timeout(PATIENCE, held).await.expect("it ends").expect("nobody panics");
    match result {
        Ok(()) => assert_eq!(new.cli(&["EXISTS", "conf/{c2}"]), "1", "it is where it counts"),
        // The replica was too busy to say so in time.
        Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
    }
}

#[tokio::test]
async fn a_list_of_another_primary_takes_nothing_out_of_use() {
    let redis = Redis::start(free_port());
    let (one, other) = (
        open(&format!("redis://127.0.0.1:{}", redis.port)),
        open(&format!("redis://127.0.0.1:{}", redis.port)),
    );
    assert_eq!(one.put(&record("c1", "700", 1), None).await, Ok(()));
    let cursor = other.changes(Cursor::default()).await.expect("all").cursor;
    // A change was told of, and the record is where a replica has taken over since.
    assert_eq!(redis.cli(&["DEL", "conf/{c1}", "confex/{c1}"]), "2");
    assert_eq!(redis.cli(&["ZADD", "changes/{confs}", "1000", "c1"]), "0");
    let changes = other.changes(cursor).await.expect("changes");
    assert_eq!(
        (changes.records, changes.removed, changes.complete),
        (vec![], vec![], false),
        "nobody has removed it"
    );
    for _ in 0..3 {
        one.changes(Cursor::default()).await.expect("all");
    }
    let changes = other.changes(cursor).await.expect("changes");
    assert_eq!((changes.records, changes.removed, changes.complete), (vec![], vec![], false));
    // Its maintainer still has it.
    assert_eq!(one.put(&record("c1", "700", 1), None).await, Ok(()));
    let changes = other.changes(cursor).await.expect("changes");
    assert_eq!(changes.records, vec![record("c1", "700", 1)]);
}
