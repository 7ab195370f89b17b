//! The store in a file: restarts, a second process, damage, and the end of the process at any moment.

use crate::suite;
use crate::world::{PATIENCE, record};
use motet_control::store::{Base, Cursor, DiskStore, Place, Store, StoreError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn open(path: &Path) -> DiskStore {
    // The thread of a store that was dropped a moment ago may hold the file still.
    let end = Instant::now() + PATIENCE;
    loop {
        match DiskStore::open(path) {
            Ok(store) => return store,
            Err(error) if Instant::now() > end => panic!("{error:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[tokio::test]
async fn a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    suite::all(&open(&dir.path().join("s.redb"))).await;
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.redb");
    let place = Place { domain: "m/1".into(), class: "small".into() };
    let store = open(&path);
    let first = motet_control::conference::Record { request_id: "r".into(), ..record("c1", "700", 1) };
    assert_eq!(store.put(&first, None).await, Ok(()));
    assert_eq!(store.put(&record("c2", "701", 1), None).await, Ok(()));
    assert_eq!(store.remove("c2").await, Ok(()));
    assert_eq!(store.put_domain(&suite::domain("m/1", 1)).await, Ok(()));
    assert_eq!(store.occupy(&place, "c1", 1, 60_000).await, Ok(()));
    drop(store);
    let store = open(&path);
    assert_eq!(store.changes(Cursor::default()).await.expect("all").records, std::slice::from_ref(&first));
    assert_eq!(store.domains().await, Ok(vec![suite::domain("m/1", 1)]));
    assert_eq!(store.occupants(&place).await, Ok(vec!["c1".into()]));
    assert_eq!(store.put(&record("c3", "700", 1), None).await, Err(StoreError::NumberTaken));
    let taken = StoreError::RequestTaken { conference: "c1".into() };
    let again = motet_control::conference::Record { id: "c4".into(), number: "704".into(), ..first };
    assert_eq!(store.put(&again, None).await, Err(taken));
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.redb");
    let store = open(&path);
    let error = DiskStore::open(&path).err().expect("it is locked").to_string();
    assert!(error.contains("used by another process"), "{error}");
    assert_eq!(store.put(&record("c1", "700", 1), None).await, Ok(()), "the first goes on");
}

#[test]
fn damage_is_said_and_nothing_is_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = open(&path);
        for n in 0..200 {
            let record = record(&format!("c{n}"), &format!("7{n:04}"), 1);
            assert_eq!(store.put(&record, None).await, Ok(()));
        }
    });
    drop(open(&path));
    let good = std::fs::read(&path).expect("the file");
    let mut damages = vec![b"not a store of conferences at all".to_vec(), good[..good.len() / 3].to_vec()];
    for start in [0, 16, 4096, good.len() / 2] {
        let mut bad = good.clone();
        let end = (start + 4096).min(bad.len());
        bad[start..end].fill(0xa5);
        damages.push(bad);
    }
    let mut refused = 0;
    for (n, damage) in damages.into_iter().enumerate() {
        let path = dir.path().join(format!("bad{n}.redb"));
        std::fs::write(&path, &damage).expect("a file");
        // What is damaged may be a page that is not in use; then all is well.
        if let Err(error) = DiskStore::open(&path) {
            let error = error.to_string();
            assert!(error.contains("is damaged, or is not a file of motet"), "{n}: {error}");
            refused += 1;
        }
    }
    assert!(refused >= 3, "{refused}");
    let missing = DiskStore::open(&dir.path().join("none/s.redb")).err().expect("no such directory");
    assert!(missing.to_string().contains("cannot open"), "{missing}");
}

/// Writes versions of one conference and says each when it was acknowledged. Does nothing as a test.
#[test]
fn writer_that_is_killed() {
    let Some(path) = std::env::var_os("MOTET_TEST_STORE") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = open(path.as_ref());
        let mut base = store.get("c1").await.expect("an answer").as_ref().map(Base::of);
        loop {
            let version = base.map_or(1, |base| base.version + 1);
            store.put(&record("c1", "700", version), base).await.expect("it is written");
            base = Some(Base { epoch: 1, version });
            eprintln!("acknowledged {version}");
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut writer = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "disk::writer_that_is_killed", "--nocapture"])
            .env("MOTET_TEST_STORE", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let mut lines = BufReader::new(writer.stderr.take().expect("a pipe")).lines();
        let mut count = 0;
        let mut read = |line: String| {
            if let Some(version) = line.strip_prefix("acknowledged ") {
                acknowledged = version.parse::<u64>().expect("a number");
                count += 1;
            }
            count
        };
        while let Some(Ok(line)) = lines.next() {
            if read(line) > 5 * round {
                break;
            }
        }
        writer.kill().expect("it runs");
        for line in lines.map_while(Result::ok) {
            read(line);
        }
        writer.wait().expect("it ends");
        let there = runtime.block_on(async { open(&path).get("c1").await });
        let version = there.expect("an answer").expect("a record").version;
        assert!(
            version == acknowledged || version == acknowledged + 1,
            "{version}, acknowledged {acknowledged}"
        );
    }
    assert!(acknowledged > 100, "{acknowledged}");
}
