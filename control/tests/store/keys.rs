//! Every key that control makes is in the table of `docs/store.md`, with who writes it and until when.

use crate::redis::open;
use crate::suite;
use crate::world::{Redis, eventually, free_port, record};
use motet_control::conference::{NodeNote, Phase, Record};
use motet_control::store::{Base, Cursor, Peer, Place, Store};

/// A row of the table.
struct Family {
    key: String,
    kind: String,
    owner: String,
    until: String,
}

fn families() -> Vec<Family> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/store.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let rows = text.lines().skip_while(|line| *line != "### Keys").filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|cells| cells.len() == 7)
        .map(|cells| Family {
            key: cells[1].trim_matches('`').to_owned(),
            kind: cells[2].to_owned(),
            owner: cells[4].to_owned(),
            until: cells[5].to_owned(),
        })
        .collect()
}

/// Words in capitals stand for anything.
fn fits(family: &str, key: &str) -> bool {
    let mut rest = key;
    let word = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_uppercase()).len();
    let mut pattern = family;
    while !pattern.is_empty() {
        let capitals = word(pattern);
        let (literal, next) = match capitals {
            0 => pattern.split_at(pattern.find(|c: char| c.is_ascii_uppercase()).unwrap_or(pattern.len())),
            _ => ("", &pattern[capitals..]),
        };
        if capitals > 0 {
            // Up to what comes after it.
            let end = next.chars().next().map_or(Some(rest.len()), |after| rest.find(after));
            let Some(end) = end.filter(|end| *end > 0) else { return false };
            rest = &rest[end..];
        } else if let Some(left) = rest.strip_prefix(literal) {
            rest = left;
        } else {
            return false;
        }
        pattern = next;
    }
    rest.is_empty()
}

fn keys(redis: &Redis) -> Vec<String> {
    let mut keys: Vec<String> = redis.cli(&["--scan"]).lines().map(str::to_owned).collect();
    keys.sort();
    keys
}

#[test]
fn a_key_fits_one_family() {
    assert!(fits("conf/{MOID}", "conf/{c1}") && fits("domain/MOID/info", "domain/m1/info"));
    assert!(fits("domain/MOID/occupied/CLASS", "domain/m1/occupied/small") && fits("css", "css"));
    assert!(!fits("conf/{MOID}", "confex/{c1}") && !fits("css", "css2") && !fits("conf/{MOID}", "conf/{}"));
}

#[tokio::test]
async fn no_key_is_without_an_owner() {
    let redis = Redis::start(free_port());
    let store = open(&format!("redis://127.0.0.1:{}", redis.port));
    let me = Peer { id: "a".into(), address: "http://a".into() };
    let place = Place { domain: "m1".into(), class: "small".into() };
    let cordoned = NodeNote { node: "n1".into(), cordon: Some("fan".into()), ..NodeNote::default() };
    let first = Record { request_id: "r1".into(), ..record("c1", "700", 1) };
    assert_eq!(store.put(&first, None).await, Ok(()));
    assert_eq!(store.put(&record("c2", "701", 1), None).await, Ok(()));
    assert_eq!(store.remove("c2").await, Ok(()));
    assert_eq!(store.renew(&me, 60_000).await, Ok(vec![me]));
    assert_eq!(store.occupy(&place, "c1", 1, 60_000).await, Ok(()));
    assert_eq!(store.put_domain(&suite::domain("m1", 1)).await, Ok(()));
    assert_eq!(store.put_note(&cordoned).await, Ok(()));
    store.changes(Cursor::default()).await.expect("all");

    let families = families();
    assert!(families.len() >= 11, "the table is found");
    let there = keys(&redis);
    for key in &there {
        let of_it: Vec<&Family> = families.iter().filter(|family| fits(&family.key, key)).collect();
        let [family] = of_it.as_slice() else { panic!("{key} is in {} rows of docs/store.md", of_it.len()) };
        let kind = redis.cli(&["TYPE", key]);
        assert_eq!(kind.replace("zset", "sorted set"), family.kind, "{key}");
        assert!(!family.owner.is_empty(), "{key}: docs/store.md does not say who writes it");
        assert!(!family.until.is_empty(), "{key}: docs/store.md does not say until when");
        assert_eq!(redis.cli(&["TTL", key]), "-1", "{key}: leases are in the content");
    }
    for family in &families {
        assert!(there.iter().any(|key| fits(&family.key, key)), "nobody makes {}", family.key);
    }

    // What belonged to a conference goes with it, and a lease with its time.
    let ended = Record { phase: Phase::Ended, version: 2, ..first.clone() };
    assert_eq!(store.put(&ended, Some(Base::of(&first))).await, Ok(()));
    assert_eq!(store.remove("c1").await, Ok(()));
    assert_eq!(store.vacate(&place, "c1").await, Ok(()));
    assert_eq!(store.remove_domain("m1").await, Ok(()));
    assert_eq!(store.put_note(&NodeNote { node: "n1".into(), ..NodeNote::default() }).await, Ok(()));
    assert_eq!(store.leave("a").await, Ok(()));
    eventually("only the feed is left", || {
        (keys(&redis) == ["removed/{confs}", "sequence/{confs}"]).then_some(())
    });
}
