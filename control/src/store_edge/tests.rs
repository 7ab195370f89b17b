//! A store that forgets what it has acknowledged, as a primary does that a replica without the last writes replaces.

use super::*;
use crate::conference::{Domain, NodeNote, Token};
use crate::store::{Changes, Place};
use std::collections::BTreeMap;
use std::sync::MutexGuard;

/// Tells of all that it has at each reading by a new connection, and then of what was told to it.
#[derive(Clone, Default)]
struct Forgetful(Arc<std::sync::Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    records: BTreeMap<String, Record>,
    changed: Vec<String>,
    connection: u64,
}

impl Forgetful {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nobody panics with it")
    }
}

#[tonic::async_trait]
impl Store for Forgetful {
    async fn changes(&self, since: Cursor) -> Result<Changes, StoreError> {
        let tables = self.tables();
        let complete = since.generation != tables.connection;
        let told =
            |record: &&Record| complete || tables.changed[since.sequence as usize..].contains(&record.id);
        Ok(Changes {
            records: tables.records.values().filter(told).cloned().collect(),
            removed: Vec::new(),
            complete,
            cursor: Cursor { generation: tables.connection, sequence: tables.changed.len() as u64 },
        })
    }

    async fn get(&self, conference: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.tables().records.get(conference).cloned())
    }

    async fn put(&self, record: &Record, _: Option<Base>) -> Result<(), StoreError> {
        let mut tables = self.tables();
        tables.records.insert(record.id.clone(), record.clone());
        tables.changed.push(record.id.clone());
        Ok(())
    }

    async fn remove(&self, conference: &str) -> Result<(), StoreError> {
        self.tables().records.remove(conference);
        Ok(())
    }

    async fn renew(&self, me: &Peer, _: u64) -> Result<Vec<Peer>, StoreError> {
        Ok(vec![me.clone()])
    }

    async fn leave(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn occupy(&self, _: &Place, _: &str, _: u64, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn vacate(&self, _: &Place, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn occupants(&self, _: &Place) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_domain(&self, _: &Domain) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove_domain(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn notes(&self) -> Result<Vec<NodeNote>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_note(&self, _: &NodeNote) -> Result<(), StoreError> {
        Ok(())
    }

    fn name(&self) -> String {
        "forgetful".to_owned()
    }

    fn shared(&self) -> bool {
        true
    }
}

struct World {
    store: Forgetful,
    edge: StoreEdge,
    answers: mpsc::UnboundedReceiver<Event>,
}

impl World {
    async fn new() -> World {
        let store = Forgetful::default();
        store.tables().connection = 1;
        let me = Peer { id: "a".into(), address: "http://a".into() };
        let (tell, answers) = mpsc::unbounded_channel();
        let edge = StoreEdge::start(Arc::new(store.clone()), me, 3_000, None, tell);
        let mut world = World { store, edge, answers };
        world.edge.carry_out(Effect::StoreLoad);
        assert!(matches!(world.answer().await, Event::StoreLoaded(_)));
        // The first one compares all, the next ones read what has changed.
        for _ in 0..2 {
            assert_eq!(world.follow().await, (vec![], vec![]));
        }
        world
    }

    async fn answer(&mut self) -> Event {
        self.answers.recv().await.expect("the edge runs")
    }

    async fn put(&mut self, version: u64) {
        let record = Record { id: "c1".into(), epoch: 1, version, ..Record::default() };
        let base = (version > 1).then(|| Base { epoch: 1, version: version - 1 });
        self.edge.carry_out(Effect::StorePut { token: Token(version), record: Box::new(record), base });
        assert!(matches!(self.answer().await, Event::StorePutDone { result: Ok(()), .. }));
    }

    /// Versions that the feed tells of, and conferences that are missing.
    async fn follow(&mut self) -> (Vec<u64>, Vec<String>) {
        self.edge.carry_out(Effect::StoreFollow { token: Token(1) });
        match self.answer().await {
            Event::StoreChanged { result: Ok(News { records, removed, missing }), .. } => {
                assert!(removed.is_empty(), "nobody has removed {removed:?}");
                (records.iter().map(|record| record.version).collect(), missing)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_conference_that_another_primary_lacks_is_missed() {
    let mut world = World::new().await;
    world.put(1).await;
    // Before the feed has told of it.
    world.store.tables().records.clear();
    world.store.tables().connection = 2;
    assert_eq!(world.follow().await, (vec![], vec!["c1".to_owned()]));
}

#[tokio::test]
async fn a_version_that_another_primary_lacks_is_missed() {
    let mut world = World::new().await;
    world.put(1).await;
    assert_eq!(world.follow().await, (vec![1], vec![]));
    let old = world.store.tables().records.clone();
    world.put(2).await;
    world.store.tables().records = old;
    world.store.tables().connection = 2;
    assert_eq!(world.follow().await, (vec![1], vec![]), "though it was told of before");
    assert_eq!(world.follow().await, (vec![1], vec![]), "and once more, for what was on its way");
    assert_eq!(world.follow().await, (vec![], vec![]));
}
