//! Values in Redis that somebody else wrote: left alone, said and counted once, never half read.

use crate::redis::open;
use crate::suite;
use crate::world::{Redis, free_port, record};
use motet_control::conference::{Feature, Record};
use motet_control::store::{Base, Cursor, Place, Store, StoreError};

#[tokio::test]
async fn records_of_others_are_left_alone() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    assert_eq!(store.put(&record("good", "700", 1), None).await, Ok(()));
    let text = serde_json::to_string(&record("x", "701", 1)).expect("text");
    let broken: [(&str, &[&str]); 8] = [
        ("list", &["RPUSH", "conf/{list}", "a"]),
        ("string", &["SET", "conf/{string}", "a"]),
        ("json", &["HSET", "conf/{json}", "EPOCH", "1", "VERSION", "1", "RECORD", "{\"id\":"]),
        ("fields", &["HSET", "conf/{fields}", "EPOCH", "1", "VERSION", "1", "RECORD", "{}"]),
        ("none", &["HSET", "conf/{none}", "EPOCH", "1", "VERSION", "1"]),
        ("number", &["HSET", "conf/{number}", "EPOCH", "high", "VERSION", "1", "RECORD", &text]),
        ("other", &["HSET", "conf/{other}", "EPOCH", "1", "VERSION", "1", "RECORD", &text]),
        ("newer", &["HSET", "conf/{newer}", "EPOCH", "1", "VERSION", "1", "FORMAT", "99", "RECORD", &text]),
    ];
    for (n, (id, command)) in broken.iter().enumerate() {
        redis.cli(command);
        redis.cli(&["ZADD", "changes/{confs}", &(100 + n).to_string(), id]);
    }
    let dump = |key: &str| redis.cli(&["--no-raw", "DUMP", key]);
    let before: Vec<String> = broken.iter().map(|(id, _)| dump(&format!("conf/{{{id}}}"))).collect();
    for _ in 0..3 {
        let all = store.changes(Cursor::default()).await.expect("the others can be read");
        assert_eq!(all.records, [record("good", "700", 1)]);
    }
    assert_eq!(store.counts().foreign, broken.len() as u64, "each is counted once");
    for (n, (id, _)) in broken.iter().enumerate() {
        assert!(matches!(store.get(id).await, Err(StoreError::Foreign(_))), "{id}");
        let number = format!("80{n}");
        for base in [None, Some(Base { epoch: 1, version: 7 })] {
            let put = store.put(&record(id, &number, 8), base).await;
            assert!(matches!(put, Err(StoreError::Foreign(_) | StoreError::Conflict)), "{id}: {put:?}");
        }
        assert!(store.remove(id).await.is_err(), "{id}");
    }
    let after: Vec<String> = broken.iter().map(|(id, _)| dump(&format!("conf/{{{id}}}"))).collect();
    assert_eq!(after, before);
    // Mended by hand, it is read again.
    redis.cli(&["DEL", "conf/{list}"]);
    assert_eq!(store.get("list").await, Ok(None));
}

#[tokio::test]
async fn what_is_in_the_way_is_a_typed_refusal() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    redis.cli(&["SET", "e164/{700}", "somebody"]);
    let put = store.put(&record("c1", "700", 1), None).await;
    assert!(matches!(put, Err(StoreError::Foreign(_))), "{put:?}");
    assert_eq!(store.get("c1").await, Ok(None));
    assert_eq!(redis.cli(&["SET", "confex/{c2}", "somebody"]), "OK");
    let put = store.put(&record("c2", "702", 1), None).await;
    assert!(matches!(put, Err(StoreError::Foreign(_))), "{put:?}");
    assert_eq!(
        (store.get("c2").await, redis.cli(&["EXISTS", "conf/{c2}"]).as_str()),
        (Ok(None), "0"),
        "nothing is half done"
    );
    redis.cli(&["SET", "domain/m1/occupied/small", "7"]);
    let place = Place { domain: "m1".into(), class: "small".into() };
    let occupied = store.occupy(&place, "c1", 9, 1_000).await;
    assert!(matches!(occupied, Err(StoreError::Foreign(_))), "{occupied:?}");
    assert_eq!(redis.cli(&["GET", "e164/{700}"]), "somebody");
}

#[tokio::test]
async fn claims_of_the_dead_are_taken_over() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    // Its process ended between the claim and the record, long ago and just now.
    redis.cli(&["HSET", "e164/{700}", "moid", "dead", "since", "1000", "+dead", "1"]);
    redis.cli(&["HSET", "request/{r1}", "moid", "dead", "since", "1000", "+dead", "1"]);
    let time: u64 = redis.cli(&["TIME"]).lines().next().and_then(|s| s.parse().ok()).expect("seconds");
    redis.cli(&["HSET", "e164/{701}", "moid", "young", "since", &(time * 1000).to_string(), "+young", "1"]);
    let first = Record { request_id: "r1".into(), ..record("c1", "700", 1) };
    assert_eq!(store.put(&first, None).await, Ok(()));
    assert_eq!(
        store.put(&record("c2", "701", 1), None).await,
        Err(StoreError::NumberTaken),
        "it may still come"
    );
    // Its process ended between the end of a conference and giving back the number.
    redis.cli(&["HSET", "conf/{c1}", "STATE", "ended"]);
    assert_eq!(store.put(&record("c3", "700", 1), None).await, Err(StoreError::NumberTaken), "RECORD counts");
}

#[tokio::test]
async fn domains_of_others_are_read_whole_or_not_at_all() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    let fields = |moid: &str, level: &str, used: &str| {
        let mut command = vec!["HSET".to_owned(), format!("domain/{moid}/info")];
        let pairs = [("moid", moid), ("level", level), ("uplevelmoid", "top"), ("name", "n"), ("used", used)];
        command.extend(pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]));
        command
            .extend(["enableh265", "1", "enablehdmeeting", "0", "smallconfnumlimit", "3"].map(str::to_owned));
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        redis.cli(&command);
    };
    fields("bmc", "1", "1");
    fields("level", "7", "1");
    fields("used", "0", "yes");
    redis.cli(&["SET", "domain/text/info", "x"]);
    redis.cli(&["HSET", "domain/short/info", "moid", "short", "level", "0"]);
    redis.cli(&["HSET", "domain/bmc/license", "license", "x"]);
    for _ in 0..2 {
        let domains = store.domains().await.expect("a list");
        let [bmc] = domains.as_slice() else { panic!("{domains:?}") };
        assert_eq!(
            (bmc.moid.as_str(), bmc.parent.as_str(), bmc.small_max, bmc.version),
            ("bmc", "top", Some(3), 0)
        );
        assert_eq!(bmc.forbidden, [Feature::FullHd as i32].into(), "what it does not say is permitted");
    }
    assert_eq!(store.counts().foreign, 4);
    assert_eq!(store.put_domain(&suite::domain("bmc", 1)).await, Ok(()), "a higher version");
    assert_eq!(store.domains().await, Ok(vec![suite::domain("bmc", 1)]));
}
