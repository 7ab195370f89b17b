//! Redis as one server, with Sentinels and as a cluster.

use crate::suite;
use crate::world::{PATIENCE, Redis, cli, eventually, free_port, record};
use motet_control::store::{Base, Cursor, Peer, RedisOptions, RedisStore, Store, StoreError};
use std::time::{Duration, Instant};

pub fn open(address: &str) -> RedisStore {
    RedisStore::open(address, RedisOptions::default()).expect("an address")
}

#[tokio::test]
async fn one_server_and_its_absence() {
    let port = free_port();
    let store = open(&format!("redis://127.0.0.1:{port}"));
    assert!(
        matches!(store.changes(Cursor::default()).await, Err(StoreError::Unavailable(_))),
        "nobody listens"
    );
    let redis = Redis::start(port);
    tokio::time::sleep(Duration::from_millis(300)).await;
    suite::all(&store).await;
    assert_eq!(redis.cli(&["DBSIZE"]), "2", "what is left: sequence and removals");
    let cursor = store.changes(Cursor::default()).await.expect("all").cursor;
    drop(redis);
    let asked = Instant::now();
    assert!(matches!(store.put(&record("c9", "709", 1), None).await, Err(StoreError::Unavailable(_))));
    assert!(asked.elapsed() < Duration::from_secs(5), "callers get their error soon");
    let _redis = Redis::start(port);
    let back = Instant::now();
    while store.put(&record("c9", "709", 1), None).await.is_err() {
        assert!(back.elapsed() < PATIENCE, "it works again");
    }
    let changes = store.changes(cursor).await.expect("changes");
    assert!(changes.complete && changes.records.len() == 1, "the feed begins anew: {changes:?}");
}

/// 003 sections 1.3, 2.3.4, 2.3.6 and 5.1.2: the name is in CONF, room, platform and user domain are in CONFEX.
#[tokio::test]
async fn fields_that_other_programs_read_have_the_names_of_the_sources() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    let fields = redis.cli(&["HMGET", "confex/{c1}", "moid", "roommoid", "platformmoid", "CONFNAME"]);
    assert_eq!(fields.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim(), "domain room platform");
    assert_eq!(redis.cli(&["HGET", "conf/{c1}", "CONFNAME"]), "Monday");
}

#[tokio::test]
async fn a_stopped_server_makes_nobody_wait_long() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    assert_eq!(store.put(&record("c0", "700", 1), None).await, Ok(()));
    redis.signal("STOP");
    let asked = Instant::now();
    let records: Vec<_> = (1..65).map(|n| record(&format!("c{n}"), &format!("7{n:03}"), 1)).collect();
    let puts = suite::join_all(records.iter().map(|record| store.put(record, None))).await;
    assert!(puts.iter().all(Result::is_err), "{puts:?}");
    // All together, not one timeout after another.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    redis.signal("CONT");
    let again = record("c1", "7001", 1);
    let back = Instant::now();
    while store.put(&again, None).await != Ok(()) {
        // What timed out may have been done by the server when it went on.
        let there = store.get("c1").await.ok().flatten();
        if let Some(there) = there {
            let next = record("c1", &there.number, there.version + 1);
            assert_eq!(store.put(&next, Some(Base::of(&there))).await, Ok(()));
            break;
        }
        assert!(back.elapsed() < PATIENCE, "it works again");
    }
}

/// A primary, a replica, three Sentinels.
pub struct Group {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
}

impl Group {
    pub fn start() -> Group {
        let primary = Redis::start(free_port());
        let port = primary.port.to_string();
        let replica = Redis::start_with(
            free_port(),
            &["--save", "", "--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"],
        );
        eventually("the replica follows", || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
        let sentinels: Vec<Redis> = (0..3).map(|_| Redis::sentinel(free_port(), primary.port, 2)).collect();
        eventually("the Sentinels know all", || {
            let info = cli(sentinels[0].port, &["SENTINEL", "MASTER", "mymaster"]);
            let after = |name: &str| info.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
            (after("num-slaves")? == "1" && after("num-other-sentinels")? == "2").then_some(())
        });
        Group { servers: vec![primary, replica], sentinels }
    }

    pub fn address(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port)).collect();
        format!("redis+sentinel://{}/mymaster", hosts.join(","))
    }

    /// Which server the Sentinels name.
    pub fn primary(&self) -> u16 {
        let answer = cli(self.sentinels[0].port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
        answer.lines().nth(1).and_then(|port| port.parse().ok()).expect("a port")
    }
}

#[tokio::test]
async fn sentinels_name_the_primary_at_each_connection() {
    let group = Group::start();
    let store = open(&group.address());
    suite::all(&store).await;
    let unknown = open(&group.address().replace("mymaster", "other"));
    let error = unknown.get("c1").await.expect_err("no such group").to_string();
    assert!(error.contains("knows no other"), "{error}");

    let (mut version, mut base) = (0, None);
    for round in 0..3 {
        let before = group.primary();
        // Without a break: the old primary goes on, as a replica, and must not be trusted.
        // Refused while the replica of the round before is not in step yet.
        eventually(&format!("sentinels switch over in round {round}"), || {
            let answer = cli(group.sentinels[0].port, &["SENTINEL", "FAILOVER", "mymaster"]);
            (answer == "OK").then_some(())
        });
        eventually("another primary is named", || (group.primary() != before).then_some(()));
        let end = Instant::now() + PATIENCE;
        loop {
            let next = record("c1", "700", version + 1);
            match store.put(&next, base).await {
                Ok(()) => {
                    (version, base) = (next.version, Some(Base::of(&next)));
                    if cli(group.primary(), &["HGET", "conf/{c1}", "VERSION"]) == version.to_string() {
                        break;
                    }
                }
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                // The write before, whose answer was lost, or what the old primary took last.
                Err(_) => {
                    if let Ok(there) = store.get("c1").await {
                        base = there.as_ref().map(Base::of);
                        version = base.map_or(0, |base| base.version);
                    }
                }
            }
            assert!(Instant::now() < end, "round {round}: writes reach the new primary");
        }
        eventually("the old primary follows the new one", || {
            let replica = group.servers.iter().find(|server| server.port == before)?;
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
    }
}

/// Two primaries, and a Sentinel that named one of them and names the other one now; nobody has told the first.
fn deposed() -> ([Redis; 2], Redis, RedisStore) {
    let servers = [Redis::start(free_port()), Redis::start(free_port())];
    let sentinel = Redis::sentinel(free_port(), servers[0].port, 1);
    let store = open(&format!("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port));
    (servers, sentinel, store)
}

pub fn depose(sentinel: &Redis, by: &Redis) {
    let port = by.port.to_string();
    // Removed already, where nobody was to be the primary for a while.
    sentinel.cli(&["SENTINEL", "REMOVE", "mymaster"]);
    assert_eq!(sentinel.cli(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &port, "1"]), "OK");
}

#[tokio::test]
async fn a_primary_that_was_not_told_to_have_been_replaced_is_left() {
    let ([old, new], sentinel, store) = deposed();
    let me = Peer { id: "a".into(), address: "http://a".into() };
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    assert_eq!(store.renew(&me, 3_000).await, Ok(vec![me.clone()]));
    assert_eq!(old.cli(&["HEXISTS", "css", "a"]), "1");
    depose(&sentinel, &new);
    for _ in 0..2 {
        assert_eq!(store.renew(&me, 3_000).await, Ok(vec![me.clone()]));
    }
    assert_eq!(new.cli(&["HEXISTS", "css", "a"]), "1", "the lease is renewed where the others look");
    assert_eq!(store.put(&record("c2", "701", 1), None).await, Ok(()));
    assert_eq!(
        (new.cli(&["EXISTS", "conf/{c2}"]).as_str(), old.cli(&["EXISTS", "conf/{c2}"]).as_str()),
        ("1", "0")
    );
}

#[tokio::test]
async fn a_primary_without_replicas_is_asked_for_no_more() {
    let ([old, new], sentinel, store) = deposed();
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    depose(&sentinel, &new);
    assert_eq!(old.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    let refused = store.put(&record("c2", "701", 1), None).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("NOREPLICAS")),
        "{refused:?}"
    );
    assert_eq!(store.put(&record("c2", "701", 1), None).await, Ok(()));
    assert_eq!(new.cli(&["EXISTS", "conf/{c2}"]), "1");
}

/// Three primaries that share the slots.
fn cluster() -> Vec<Redis> {
    let servers: Vec<Redis> = (0..3)
        .map(|_| {
            let more = ["--save", "", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            Redis::start_with(free_port(), &more)
        })
        .collect();
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.push("--cluster-yes");
    cli(servers[0].port, &create);
    for server in &servers {
        eventually("the cluster is whole", || {
            let info = server.cli(&["CLUSTER", "INFO"]);
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")).then_some(())
        });
    }
    servers
}

#[tokio::test]
async fn a_cluster_whose_slots_move() {
    let servers = cluster();
    let store = open(&format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", servers[1].port));
    suite::all(&store).await;
    for n in 0..60 {
        assert_eq!(store.put(&record(&format!("c{n}"), &format!("7{n:03}"), 1), None).await, Ok(()));
    }
    let sizes: Vec<String> = servers.iter().map(|server| server.cli(&["DBSIZE"])).collect();
    assert!(sizes.iter().all(|size| size != "0"), "keys are on all servers: {sizes:?}");
    // Slots go from the first to the second, while conferences are changed.
    let id = servers.iter().map(|server| server.cli(&["CLUSTER", "MYID"])).collect::<Vec<_>>();
    let address = format!("127.0.0.1:{}", servers[0].port);
    let moving = std::thread::spawn({
        let (port, from, to) = (servers[0].port, id[0].clone(), id[1].clone());
        move || {
            let more = ["--cluster-slots", "2000", "--cluster-yes"];
            let mut reshard =
                vec!["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to];
            reshard.extend(more);
            cli(port, &reshard)
        }
    });
    let mut version = 1;
    while !moving.is_finished() || version < 4 {
        for n in 0..60 {
            let next = record(&format!("c{n}"), &format!("7{n:03}"), version + 1);
            let base = Some(Base { epoch: 1, version });
            assert_eq!(store.put(&next, base).await, Ok(()), "version {version} of c{n}");
        }
        version += 1;
    }
    moving.join().expect("slots were moved");
    // A slot that moved after the last write is noticed by the first reading, which fails.
    let end = Instant::now() + PATIENCE;
    let all = loop {
        match store.changes(Cursor::default()).await {
            Ok(all) => break all,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(all.records.len(), 60);
    assert!(all.records.iter().all(|record| record.version == version));
}
