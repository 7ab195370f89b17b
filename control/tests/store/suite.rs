//! What every store must do.

use crate::world::record;
use motet_control::conference::{Domain, Feature, Level, NodeNote, Phase, Record, Schedule};
use motet_control::store::{Base, Cursor, EmbeddedStore, Peer, Place, Store, StoreError};
use std::collections::BTreeSet;

#[tokio::test]
async fn embedded() {
    all(&EmbeddedStore::default()).await;
}

/// Everything. The store is empty, and is empty again afterwards but for tombstones.
pub async fn all(store: &dyn Store) {
    versions(store).await;
    numbers(store).await;
    requests(store).await;
    races(store).await;
    feed(store).await;
    leases(store).await;
    places(store).await;
    domains(store).await;
    notes(store).await;
}

fn base(epoch: u64, version: u64) -> Option<Base> {
    Some(Base { epoch, version })
}

async fn versions(store: &dyn Store) {
    let first = record("c1", "700", 1);
    assert_eq!(store.put(&first, base(1, 1)).await, Err(StoreError::Conflict), "there is none to replace");
    assert_eq!(store.put(&first, None).await, Ok(()));
    assert_eq!(store.get("c1").await, Ok(Some(first.clone())));
    assert_eq!(store.put(&first, None).await, Ok(()), "the same again, as when an answer was lost");
    let second = record("c1", "700", 2);
    assert_eq!(store.put(&second, None).await, Err(StoreError::Conflict), "it is not new");
    assert_eq!(store.put(&second, base(1, 9)).await, Err(StoreError::Conflict), "another version is there");
    assert_eq!(store.put(&second, base(1, 2)).await, Err(StoreError::Conflict), "not above what it replaces");
    assert_eq!(store.put(&second, base(1, 1)).await, Ok(()));
    let late = Record { name: "Tuesday".into(), ..record("c1", "700", 2) };
    assert_eq!(store.put(&late, base(1, 1)).await, Err(StoreError::Conflict), "another was first");
    let higher = Record { epoch: 2, ..record("c1", "700", 1) };
    assert_eq!(store.put(&higher, base(1, 2)).await, Ok(()), "a higher epoch is newer, whatever the version");
    assert_eq!(store.get("c1").await, Ok(Some(higher)));
    assert_eq!(store.remove("c1").await, Ok(()));
    assert_eq!(store.remove("c1").await, Ok(()), "forgetting twice is harmless");
    assert_eq!(store.get("c1").await, Ok(None));
    assert_eq!(store.put(&record("c1", "700", 3), base(2, 1)).await, Err(StoreError::Conflict), "no zombie");
}

async fn numbers(store: &dyn Store) {
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    assert_eq!(store.put(&record("c2", "700", 1), None).await, Err(StoreError::NumberTaken));
    assert_eq!(store.get("c2").await, Ok(None), "nothing half done");
    let ended = Record { phase: Phase::Ended, ..record("c1", "700", 2) };
    assert_eq!(store.put(&ended, base(1, 1)).await, Ok(()));
    assert_eq!(store.put(&record("c2", "700", 1), None).await, Ok(()), "the number is free again");
    assert_eq!(store.put(&record("c2", "701", 2), base(1, 1)).await, Ok(()), "it gets another number");
    assert_eq!(store.put(&record("c3", "701", 1), None).await, Err(StoreError::NumberTaken));
    assert_eq!(store.put(&record("c3", "700", 1), None).await, Ok(()), "the number it had is free");
    assert_eq!(store.put(&record("c3", "701", 2), base(1, 1)).await, Err(StoreError::NumberTaken));
    // A reservation and the conference that came of it share a number, until both are over.
    let of = |id: &str, booking: &str, version| Record {
        schedule: Schedule { booking: booking.into(), ..Schedule::default() },
        ..record(id, "702", version)
    };
    assert_eq!(store.put(&of("b", "", 1), None).await, Ok(()));
    assert_eq!(store.put(&of("b.1", "b", 1), None).await, Ok(()));
    for id in ["b", "b.1"] {
        assert_eq!(store.put(&record("c4", "702", 1), None).await, Err(StoreError::NumberTaken));
        let booking = if id == "b" { "" } else { "b" };
        let over = Record { phase: Phase::Ended, ..of(id, booking, 2) };
        assert_eq!(store.put(&over, base(1, 1)).await, Ok(()));
    }
    assert_eq!(store.put(&record("c4", "702", 1), None).await, Ok(()));
    for id in ["c1", "c2", "c3", "c4", "b", "b.1"] {
        assert_eq!(store.remove(id).await, Ok(()));
    }
}

async fn requests(store: &dyn Store) {
    let by = |id: &str, number: &str| Record { request_id: "r1".into(), ..record(id, number, 1) };
    assert_eq!(store.put(&by("c1", "700"), None).await, Ok(()));
    let taken = Err(StoreError::RequestTaken { conference: "c1".into() });
    assert_eq!(store.put(&by("c2", "701"), None).await, taken);
    assert_eq!(store.put(&by("c2", "700"), None).await, taken, "also with the same number");
    assert_eq!(store.put(&record("c3", "701", 1), None).await, Ok(()), "the number was not kept");
    let ended = Record { phase: Phase::Ended, version: 2, ..by("c1", "700") };
    assert_eq!(store.put(&ended, base(1, 1)).await, Ok(()));
    assert_eq!(store.put(&by("c2", "702"), None).await, taken, "while it is remembered");
    assert_eq!(store.remove("c1").await, Ok(()));
    assert_eq!(store.put(&by("c2", "702"), None).await, Ok(()));
    assert_eq!(store.remove("c2").await, Ok(()));
    assert_eq!(store.remove("c3").await, Ok(()));
}

/// Of those who do the same at the same time, one wins.
async fn races(store: &dyn Store) {
    let records: Vec<Record> = (0..16).map(|n| record(&format!("c{n}"), "700", 1)).collect();
    let puts = join_all(records.iter().map(|record| store.put(record, None))).await;
    let won: Vec<usize> = (0..16).filter(|n| puts[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "{puts:?}");
    assert!(puts.iter().all(|put| matches!(put, Ok(()) | Err(StoreError::NumberTaken))), "{puts:?}");
    let id = format!("c{}", won[0]);
    let claims: Vec<Record> =
        (0..16).map(|n| Record { maintainer: format!("css{n}"), ..record(&id, "700", 2) }).collect();
    let claimed = join_all(claims.iter().map(|record| store.put(record, base(1, 1)))).await;
    let won: Vec<usize> = (0..16).filter(|n| claimed[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "{claimed:?}");
    let there = store.get(&id).await.expect("an answer").expect("a record");
    assert_eq!(there.maintainer, format!("css{}", won[0]));
    for record in &records {
        assert_eq!(store.remove(&record.id).await, Ok(()));
    }
}

pub async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

async fn feed(store: &dyn Store) {
    let ids = |records: &[Record]| records.iter().map(|record| record.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    let start = store.changes(Cursor::default()).await.expect("all");
    assert!(start.complete && ids(&start.records) == BTreeSet::from(["c1".into()]), "{start:?}");
    let none = store.changes(start.cursor).await.expect("changes");
    assert!(!none.complete && none.records.is_empty() && none.removed.is_empty(), "{none:?}");
    assert_eq!(store.put(&record("c2", "701", 1), None).await, Ok(()));
    assert_eq!(store.put(&record("c2", "701", 2), base(1, 1)).await, Ok(()));
    let one = store.changes(none.cursor).await.expect("changes");
    assert_eq!(
        (one.complete, &one.records[..]),
        (false, &[record("c2", "701", 2)][..]),
        "once, as it is now"
    );
    assert_eq!(store.remove("c1").await, Ok(()));
    let gone = store.changes(one.cursor).await.expect("changes");
    assert_eq!((gone.records.len(), gone.removed), (0, vec!["c1".to_owned()]));
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()));
    let back = store.changes(gone.cursor).await.expect("changes");
    assert_eq!((ids(&back.records), back.removed.len()), (BTreeSet::from(["c1".into()]), 0));
    let again = store.changes(one.cursor).await.expect("changes");
    assert_eq!(
        (ids(&again.records), again.removed.len()),
        (BTreeSet::from(["c1".into()]), 0),
        "removed and back"
    );
    assert_eq!(store.remove("c1").await, Ok(()));
    assert_eq!(store.remove("c2").await, Ok(()));
    let end = store.changes(Cursor::default()).await.expect("all");
    assert!(end.records.is_empty(), "{end:?}");
}

async fn leases(store: &dyn Store) {
    let peer = |id: &str| Peer { id: id.into(), address: format!("http://{id}:7400") };
    assert_eq!(store.renew(&peer("b"), 60_000).await, Ok(vec![peer("b")]));
    assert_eq!(store.renew(&peer("a"), 60_000).await, Ok(vec![peer("a"), peer("b")]));
    let moved = Peer { address: "http://elsewhere".into(), ..peer("b") };
    assert_eq!(store.renew(&moved, 1).await, Ok(vec![peer("a"), moved]));
    let mut living = store.renew(&peer("a"), 60_000).await;
    while living == Ok(vec![peer("a"), peer("b")]) {
        living = store.renew(&peer("a"), 60_000).await;
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while living.as_ref().is_ok_and(|living| living.len() > 1) && std::time::Instant::now() < end {
        living = store.renew(&peer("a"), 60_000).await;
    }
    assert_eq!(living, Ok(vec![peer("a")]), "a lease that is over");
    assert_eq!(store.leave("a").await, Ok(()));
    assert_eq!(store.leave("a").await, Ok(()), "leaving twice is harmless");
    assert_eq!(store.renew(&peer("c"), 60_000).await, Ok(vec![peer("c")]));
    assert_eq!(store.leave("c").await, Ok(()));
}

async fn places(store: &dyn Store) {
    let place = Place { domain: "m/1".into(), class: "small".into() };
    let other = Place { class: "large".into(), ..place.clone() };
    let ids: Vec<String> = (0..20).map(|n| format!("c{n:02}")).collect();
    let taken = join_all(ids.iter().map(|id| store.occupy(&place, id, 7, 60_000))).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 7, "never above the limit: {taken:?}");
    assert!(
        taken.iter().all(|taken| matches!(taken, Ok(()) | Err(StoreError::Full { occupied: 7 }))),
        "{taken:?}"
    );
    let there = store.occupants(&place).await.expect("a list");
    assert_eq!(there.len(), 7);
    assert_eq!(store.occupy(&place, &there[0], 1, 60_000).await, Ok(()), "who is there stays");
    assert_eq!(store.occupy(&other, "c99", 1, 60_000).await, Ok(()), "another class");
    for id in &there {
        assert_eq!(store.vacate(&place, id).await, Ok(()));
        assert_eq!(store.vacate(&place, id).await, Ok(()), "leaving twice is harmless");
    }
    assert_eq!(store.occupants(&place).await, Ok(vec![]));
    assert_eq!(store.occupy(&place, "dead", 1, 1).await, Ok(()));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while store.occupy(&place, "next", 1, 60_000).await.is_err() {
        assert!(std::time::Instant::now() < end, "a lease that is over frees the place");
    }
    assert_eq!(store.vacate(&place, "next").await, Ok(()));
    assert_eq!(store.vacate(&other, "c99").await, Ok(()));
}

pub fn domain(moid: &str, version: u64) -> Domain {
    Domain {
        moid: moid.into(),
        level: Level::User as i32,
        parent: "top".into(),
        name: "Höhe 会议".into(),
        disabled: false,
        small_max: Some(5),
        large_max: None,
        forbidden: [Feature::H265 as i32, Feature::Recording as i32].into(),
        numbers: vec![(100, 200), (300, 400)],
        home_platform: "p1".into(),
        version,
    }
}

async fn domains(store: &dyn Store) {
    assert_eq!(store.domains().await, Ok(vec![]));
    assert_eq!(store.put_domain(&domain("m1", 3)).await, Ok(()));
    assert_eq!(store.put_domain(&domain("m1", 3)).await, Ok(()), "the same again");
    let other = Domain { disabled: true, ..domain("m1", 3) };
    assert_eq!(store.put_domain(&other).await, Err(StoreError::Conflict));
    assert_eq!(store.put_domain(&domain("m1", 2)).await, Err(StoreError::Conflict));
    let next = Domain {
        level: Level::Service as i32,
        numbers: vec![],
        small_max: None,
        large_max: Some(0),
        ..domain("m1", 4)
    };
    assert_eq!(store.put_domain(&next).await, Ok(()));
    let top = Domain { parent: String::new(), ..domain("m2", 1) };
    assert_eq!(store.put_domain(&top).await, Ok(()));
    assert_eq!(store.domains().await, Ok(vec![next, top]));
    assert_eq!(store.remove_domain("m1").await, Ok(()));
    assert_eq!(store.remove_domain("m1").await, Ok(()), "forgetting twice is harmless");
    assert_eq!(store.remove_domain("m2").await, Ok(()));
    assert_eq!(store.domains().await, Ok(vec![]));
}

async fn notes(store: &dyn Store) {
    assert_eq!(store.notes().await, Ok(vec![]));
    let cordoned = NodeNote { node: "n1".into(), cordon: Some("Lüfter".into()), ..NodeNote::default() };
    let given_up = NodeNote { given_up: "b1".into(), given_up_unix_ms: 7, ..cordoned.clone() };
    let other = NodeNote { node: "n/2".into(), cordon: Some(String::new()), ..NodeNote::default() };
    for note in [&cordoned, &given_up, &other] {
        assert_eq!(store.put_note(note).await, Ok(()));
    }
    assert_eq!(store.notes().await, Ok(vec![other, given_up]), "by node id, and the last word about each");
    for node in ["n1", "n1", "n/2"] {
        let nothing = NodeNote { node: node.into(), ..NodeNote::default() };
        assert_eq!(store.put_note(&nothing).await, Ok(()), "nothing to say, which may be said twice");
    }
    assert_eq!(store.notes().await, Ok(vec![]));
}
