//! Taking a resource without taking it twice: in turn, less what is promised to others.

use crate::content::{FORM, Promise, Resource};
use crate::entries::{Entry, contents, spoken};
use crate::function::Function;
use crate::tree::{Part, ZooKeeperOptions, number, over};
use std::time::Duration;
use tokio::sync::Mutex;
use zookeeper_client::{Client, Error};

/// Prefix of the places in the queue.
const PLACE: &str = "apply-";
/// Prefix of promises.
const PROMISE: &str = "reserve-";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of which function; each has a queue of its own.
    pub function: Function,
    /// For whom, for people.
    pub conference: String,
    /// In units of capacity.
    pub units: u64,
    /// A promise is void after so long, in case it is forgotten.
    pub time_to_live: Duration,
}

/// A resource that may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// As it describes itself.
    pub resource: Resource,
    /// Units promised to others, not yet occupied.
    pub promised: u64,
}

/// Why nothing was reserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// Nothing fits; what is there was looked at in turn.
    #[error("none of the {0} resources fits")]
    NothingFits(usize),
    /// Others were served for longer than the caller waits.
    #[error("the turn did not come within {0:?}")]
    NotInTime(Duration),
    /// No answer; nothing is held, or what is held goes with the session.
    #[error("ZooKeeper does not answer: {0}")]
    Unavailable(String),
}

impl From<Error> for ReserveError {
    fn from(error: Error) -> ReserveError {
        ReserveError::Unavailable(error.to_string())
    }
}

/// Something promised. It stays until it is released, its session ends, or its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Node that was chosen.
    pub node_id: String,
    path: String,
}

/// Someone who reserves.
pub struct Applicant {
    options: ZooKeeperOptions,
    /// As it is called in the queue.
    name: String,
    session: Mutex<Option<Client>>,
}

impl Applicant {
    /// Connects at the first request.
    pub fn new(options: ZooKeeperOptions, name: impl Into<String>) -> Applicant {
        Applicant { options, name: name.into(), session: Mutex::new(None) }
    }

    /// Waits for its turn, at most `patience`, has `choose` say which of the resources it is to be, and promises it.
    /// `now_unix_ms` is the time in milliseconds since 1970.
    pub async fn reserve(
        &self,
        wanted: &Wanted,
        now_unix_ms: i64,
        patience: Duration,
        choose: impl FnOnce(&[Candidate]) -> Option<usize>,
    ) -> Result<Reservation, ReserveError> {
        let client = self.client().await?;
        let queue = self.options.part(wanted.function, Part::ApplyQueue);
        let made = self.options.make(&client, &queue, PLACE, self.name.as_bytes()).await;
        let place = self.checked(made).await?;
        let turn = tokio::time::timeout(patience, self.turn(&client, &queue, &place));
        let result = match turn.await {
            Err(_) => Err(ReserveError::NotInTime(patience)),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(())) => self.promise(&client, wanted, now_unix_ms, choose).await,
        };
        // If even this cannot be told, the place goes with the session.
        if client.delete(&place, None).await.is_err_and(|error| error != Error::NoNode) {
            *self.session.lock().await = None;
        }
        result
    }

    /// The resource is occupied now, or is not wanted any more. Releasing twice is harmless.
    pub async fn release(&self, reservation: &Reservation) -> Result<(), ReserveError> {
        let client = self.client().await?;
        let deleted = client.delete(&reservation.path, None).await;
        match self.checked(deleted).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn client(&self) -> Result<Client, Error> {
        let mut session = self.session.lock().await;
        if session.as_ref().is_none_or(|client| client.state().is_terminated()) {
            *session = Some(self.options.open().await?);
        }
        Ok(session.clone().expect("it was opened"))
    }

    /// Drops a session that is over.
    async fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.as_ref().is_err_and(over) {
            *self.session.lock().await = None;
        }
        result
    }

    /// Waits until nobody is before `place`.
    async fn turn(&self, client: &Client, folder: &str, place: &str) -> Result<(), Error> {
        let own = place.rsplit('/').next().expect("a path has a name");
        loop {
            let queue = client.list_children(folder).await?;
            let before =
                queue.iter().filter(|name| number(name) < number(own)).max_by_key(|name| number(name));
            let Some(before) = before else { return Ok(()) };
            // Only the one before is watched, so that not all wake up at each turn.
            let (stat, watcher) = client.check_and_watch_stat(&format!("{folder}/{before}")).await?;
            if stat.is_some() && watcher.changed().await.session_state.is_terminated() {
                return Err(Error::SessionExpired);
            }
        }
    }

    async fn promise(
        &self,
        client: &Client,
        wanted: &Wanted,
        now_unix_ms: i64,
        choose: impl FnOnce(&[Candidate]) -> Option<usize>,
    ) -> Result<Reservation, ReserveError> {
        let folder = self.options.part(wanted.function, Part::ReserveQueue);
        let promises = promises(client, &folder, now_unix_ms).await?;
        let sources = contents(client, &self.options.part(wanted.function, Part::Source)).await?;
        let entries: Vec<Entry> =
            sources.iter().filter_map(|(_, content, stat)| Entry::read(content, stat).ok()).collect();
        let candidate = |resource: Resource| {
            let of_it = promises.iter().filter(|promise| promise.node_id == resource.node_id);
            let promised = of_it.map(|promise| promise.units).fold(0, u64::saturating_add);
            Candidate { resource, promised }
        };
        let candidates: Vec<Candidate> = spoken(&entries).into_iter().map(candidate).collect();
        let Some(chosen) = choose(&candidates).and_then(|index| candidates.get(index)) else {
            return Err(ReserveError::NothingFits(candidates.len()));
        };
        let node_id = chosen.resource.node_id.clone();
        let promise = Promise {
            form: FORM,
            node_id: node_id.clone(),
            applicant: self.name.clone(),
            conference: wanted.conference.clone(),
            units: wanted.units,
            until_unix_ms: now_unix_ms + wanted.time_to_live.as_millis() as i64,
        };
        let path = self.options.make(client, &folder, PROMISE, &promise.to_json()).await?;
        Ok(Reservation { node_id, path })
    }
}

/// What is promised and not void. What is void is taken away.
async fn promises(client: &Client, folder: &str, now_unix_ms: i64) -> Result<Vec<Promise>, Error> {
    let mut promises = Vec::new();
    for (path, content, _) in contents(client, folder).await? {
        match Promise::parse(&content) {
            Ok(promise) if promise.until_unix_ms < now_unix_ms => {
                let _ = client.delete(&path, None).await;
            }
            Ok(promise) => promises.push(promise),
            // Another program's: left alone.
            Err(_) => {}
        }
    }
    Ok(promises)
}
