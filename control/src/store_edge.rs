//! Carries out what the core wants of the store.
//!
//! What is about one conference is done in order; different conferences go side by side, a bounded number
//! of them. Reading the whole store waits for all that was asked for before and holds up what comes after,
//! so that its answer is of one moment.

use crate::conference::{DomainAnswer, DomainOrder, Effect, Event, NoteAnswer, NoteOrder, Phase, Record};
use crate::reserve::Reserver;
use crate::store::{Base, Cursor, News, Peer, Reader, Store, StoreError, places};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Conferences that are written side by side.
const TOGETHER_MAX: usize = 64;

/// The edge towards the store.
pub(crate) struct StoreEdge {
    asked: mpsc::UnboundedSender<Asked>,
}

enum Asked {
    Effect(Box<Effect>),
    Leave(oneshot::Sender<()>),
}

impl StoreEdge {
    pub(crate) fn start(
        store: Arc<dyn Store>,
        me: Peer,
        lease_ms: u64,
        reserver: Option<Arc<Reserver>>,
        answers: mpsc::UnboundedSender<Event>,
    ) -> StoreEdge {
        let (asked, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            store,
            me,
            lease_ms,
            reserver,
            reader: Mutex::default(),
            written: Default::default(),
            origin: Instant::now(),
            notes: Mutex::default(),
        });
        let worker = Worker {
            shared,
            answers,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
            loading: Loading::No,
            leaving: false,
            running: JoinSet::new(),
        };
        tokio::spawn(worker.run(waiting));
        StoreEdge { asked }
    }

    pub(crate) fn carry_out(&self, effect: Effect) {
        let _ = self.asked.send(Asked::Effect(Box::new(effect)));
    }

    /// Ends the lease, and renews it no more.
    pub(crate) fn leave(&self, done: oneshot::Sender<()>) {
        let _ = self.asked.send(Asked::Leave(done));
    }
}

/// What all tasks use.
struct Shared {
    store: Arc<dyn Store>,
    me: Peer,
    lease_ms: u64,
    /// Where new conferences are promised their nodes.
    reserver: Option<Arc<Reserver>>,
    reader: Mutex<Reader>,
    /// Conferences that were written since the feed was read, which the feed has yet to tell of.
    written: std::sync::Mutex<Vec<String>>,
    origin: Instant,
    /// Held while one is written, so that the last that was asked for is the one that stays.
    notes: Mutex<()>,
}

#[derive(PartialEq)]
enum Loading {
    No,
    /// Waits for what was asked for before.
    Soon,
    Now,
}

/// What one task did.
struct Done {
    /// Of this conference; none: of the whole store.
    conference: Option<String>,
    event: Option<Event>,
}

struct Worker {
    shared: Arc<Shared>,
    answers: mpsc::UnboundedSender<Event>,
    /// What waits, by conference. One that is being worked on has a lane, if an empty one.
    lanes: HashMap<String, VecDeque<Effect>>,
    /// Conferences that wait and are not being worked on.
    ready: VecDeque<String>,
    /// What came after a reading of the whole store.
    held: VecDeque<Effect>,
    loading: Loading,
    leaving: bool,
    running: JoinSet<Done>,
}

impl Worker {
    async fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Asked>) {
        loop {
            tokio::select! {
                asked = waiting.recv() => match asked {
                    Some(Asked::Effect(effect)) => self.take(*effect),
                    Some(Asked::Leave(done)) => self.leave(done),
                    None => return,
                },
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    let Ok(done) = done else { continue };
                    if let Some(event) = done.event
                        && self.answers.send(event).is_err()
                    {
                        return;
                    }
                    match done.conference {
                        Some(conference) => self.finished(conference),
                        None => self.loaded(),
                    }
                }
            }
            self.pump();
        }
    }

    fn take(&mut self, effect: Effect) {
        let conference = match &effect {
            Effect::LeaseRenew
            | Effect::StoreFollow { .. }
            | Effect::Domains(_)
            | Effect::Notes(_)
            | Effect::PlacesRenew(_) => {
                return self.aside(effect);
            }
            _ if self.loading != Loading::No => return self.held.push_back(effect),
            Effect::StoreLoad => {
                self.loading = Loading::Soon;
                return;
            }
            Effect::StorePut { record, .. } => record.id.clone(),
            Effect::StoreGet { conference } | Effect::StoreRemove { conference } => conference.clone(),
            _ => return,
        };
        match self.lanes.get_mut(&conference) {
            Some(lane) => lane.push_back(effect),
            None => {
                self.lanes.insert(conference.clone(), VecDeque::from([effect]));
                self.ready.push_back(conference);
            }
        }
    }

    /// What neither waits for anything nor holds anything up.
    fn aside(&mut self, effect: Effect) {
        if self.leaving {
            return;
        }
        let (shared, answers) = (Arc::clone(&self.shared), self.answers.clone());
        tokio::spawn(async move {
            let event = match effect {
                Effect::StoreFollow { token } => Event::StoreChanged { token, result: shared.follow().await },
                Effect::Domains(order) => Event::Domains(shared.domains(order).await),
                Effect::Notes(order) => Event::Notes(shared.notes(order).await),
                Effect::PlacesRenew(held) => {
                    if let Err(error) = places::renew(&*shared.store, &held).await {
                        tracing::warn!(%error, "places in the limits of domains were not renewed; that is tried again");
                    }
                    return;
                }
                _ => Event::PeersSeen(shared.store.renew(&shared.me, shared.lease_ms).await),
            };
            let _ = answers.send(event);
        });
    }

    fn leave(&mut self, done: oneshot::Sender<()>) {
        self.leaving = true;
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Err(error) = shared.store.leave(&shared.me.id).await {
                tracing::warn!(%error, "the store was not told that control ends; others will see it by its lease");
            }
            let _ = done.send(());
        });
    }

    fn finished(&mut self, conference: String) {
        if self.lanes.get(&conference).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(&conference);
        } else {
            self.ready.push_back(conference);
        }
    }

    fn loaded(&mut self) {
        self.loading = Loading::No;
        for effect in std::mem::take(&mut self.held) {
            self.take(effect);
        }
    }

    /// Begins what can be begun.
    fn pump(&mut self) {
        while self.running.len() < TOGETHER_MAX
            && let Some(conference) = self.ready.pop_front()
        {
            let Some(effect) = self.lanes.get_mut(&conference).and_then(VecDeque::pop_front) else {
                continue;
            };
            let shared = Arc::clone(&self.shared);
            self.running.spawn(async move {
                let event = shared.about_one(effect).await;
                Done { conference: Some(conference), event }
            });
        }
        if self.loading == Loading::Soon && self.lanes.is_empty() {
            self.loading = Loading::Now;
            let shared = Arc::clone(&self.shared);
            self.running.spawn(async move {
                let event = Some(match shared.load().await {
                    Ok(records) => Event::StoreLoaded(records),
                    Err(error) => Event::StoreLoadFailed(error.to_string()),
                });
                Done { conference: None, event }
            });
        }
    }
}

impl Shared {
    async fn about_one(&self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::StorePut { token, record, base } => {
                let result = self.put(&record, base).await;
                Some(Event::StorePutDone { token, conference: record.id.clone(), result })
            }
            Effect::StoreGet { conference } => {
                let result = self.store.get(&conference).await.map(|record| record.map(Box::new));
                Some(Event::StoreGot { conference, result })
            }
            Effect::StoreRemove { conference } => {
                self.not_reserved(&conference);
                let result = self.store.remove(&conference).await;
                if let Err(error) = &result {
                    tracing::warn!(%conference, %error, "the store did not forget a conference; that is tried again");
                }
                Some(Event::StoreRemoved { conference, result })
            }
            _ => None,
        }
    }

    /// Takes the places of a new conference before it is written, and gives back those of an ended one.
    async fn put(&self, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        let store = &*self.store;
        let new = base.is_none() && record.phase == Phase::Creating;
        if new {
            places::take(store, record).await?;
        }
        let result = match self.reserved(record).await {
            Ok(()) => store.put(record, base).await,
            Err(refused) => Err(refused),
        };
        if record.phase != Phase::Creating || result.is_err() {
            self.not_reserved(&record.id);
        }
        let unknown = matches!(result, Err(StoreError::Unavailable(_)));
        if (new && result.is_err() && !unknown) || (record.phase == Phase::Ended && result.is_ok()) {
            places::give_back(store, record).await;
        }
        if result.is_ok() && store.shared() {
            self.written().push(record.id.clone());
        }
        result
    }

    /// Has the node of a conference that is being created promised to it.
    async fn reserved(&self, record: &Record) -> Result<(), StoreError> {
        match &self.reserver {
            Some(reserver) if record.phase == Phase::Creating => reserver.take(record).await,
            _ => Ok(()),
        }
    }

    fn not_reserved(&self, conference: &str) {
        if let Some(reserver) = &self.reserver {
            reserver.give_back(conference);
        }
    }

    async fn notes(&self, order: NoteOrder) -> NoteAnswer {
        let _one_by_one = self.notes.lock().await;
        match order {
            NoteOrder::Load => NoteAnswer::Loaded(self.store.notes().await),
            NoteOrder::Put(request, note) => {
                let result = self.store.put_note(&note).await;
                NoteAnswer::Put(request, note, result)
            }
        }
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn domains(&self, order: DomainOrder) -> DomainAnswer {
        match order {
            DomainOrder::Load => DomainAnswer::Loaded(self.store.domains().await),
            DomainOrder::Put(request, domain) => {
                let result = self.store.put_domain(&domain).await;
                DomainAnswer::Put(request, domain, result)
            }
            DomainOrder::Remove(request, moid) => {
                let result = self.store.remove_domain(&moid).await;
                DomainAnswer::Removed(request, moid, result)
            }
        }
    }

    async fn load(&self) -> Result<Vec<Record>, StoreError> {
        let mut reader = self.reader.lock().await;
        let changes = self.store.changes(Cursor::default()).await?;
        Ok(reader.all(changes, self.now_ms()))
    }

    async fn follow(&self) -> Result<News, StoreError> {
        let mut reader = self.reader.lock().await;
        let changes = self.store.changes(reader.since(self.now_ms())).await?;
        let written = std::mem::take(&mut *self.written());
        Ok(reader.news(changes, written, self.now_ms()))
    }

    fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests;
