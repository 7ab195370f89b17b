//! Reservations in ZooKeeper: what a new conference is given is promised there, in turn with other platforms on
//! the same nodes, until its node runs it.
//!
//! A node that is not in the tree is not reserved, and while ZooKeeper is away nothing is: conferences do not
//! depend on it.

use crate::conference::Record;
use crate::store::StoreError;
use motet_registry::{Applicant, Candidate, Function, Reservation, ReserveError, Wanted, ZooKeeperOptions};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A promise is void after so long: longer than a conference may take to be created.
const TIME_TO_LIVE: Duration = Duration::from_secs(15);
/// How long a creation waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits for ZooKeeper altogether.
const ANSWER: Duration = Duration::from_secs(3);
/// When ZooKeeper does not answer, it is not asked again for so long.
const AWAY: Duration = Duration::from_secs(5);

/// Reserves for this control process.
pub(crate) struct Reserver {
    applicant: Applicant,
    /// Percent of a node's capacity that new conferences may fill.
    fill_percent_max: u32,
    state: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By conference.
    promises: HashMap<String, Reservation>,
    away_until: Option<Instant>,
}

/// What came of an attempt.
enum Outcome {
    Promised(Reservation),
    NotInTree,
    Refused(StoreError),
    Away(String),
}

impl Reserver {
    /// `css` is how this process is called in the queue.
    pub(crate) fn new(options: ZooKeeperOptions, css: &str, fill_percent_max: u32) -> Arc<Reserver> {
        let applicant = Applicant::new(options, css);
        Arc::new(Reserver { applicant, fill_percent_max, state: Mutex::default() })
    }

    /// Has the node of a conference that is to be created promised to it, instead of what it was promised before.
    pub(crate) async fn take(self: &Arc<Self>, record: &Record) -> Result<(), StoreError> {
        self.give_back(&record.id);
        if self.kept().away_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        let (me, asked) = (Arc::clone(self), record.clone());
        // On its own, since who gives up in the middle would leave a place in the queue.
        tokio::spawn(async move {
            if let Err(Outcome::Promised(late)) = tell.send(me.reserve(&asked).await) {
                me.release(late).await;
            }
        });
        let why = match tokio::time::timeout(ANSWER, told).await {
            Ok(Ok(Outcome::Promised(reservation))) => {
                self.kept().promises.insert(record.id.clone(), reservation);
                return Ok(());
            }
            Ok(Ok(Outcome::NotInTree)) => return Ok(()),
            Ok(Ok(Outcome::Refused(error))) => return Err(error),
            Ok(Ok(Outcome::Away(why))) => why,
            Ok(Err(_)) | Err(_) => format!("no answer within {ANSWER:?}"),
        };
        tracing::warn!(%why, "ZooKeeper is away; conferences are created without reservations");
        self.kept().away_until = Some(Instant::now() + AWAY);
        Ok(())
    }

    /// The conference runs, or will not: nothing needs to be promised to it any more.
    pub(crate) fn give_back(self: &Arc<Self>, conference: &str) {
        let Some(reservation) = self.kept().promises.remove(conference) else { return };
        let me = Arc::clone(self);
        tokio::spawn(async move { me.release(reservation).await });
    }

    async fn reserve(&self, record: &Record) -> Outcome {
        let units = record.units();
        // The relay is what a conference is placed by; threads that mix have no units.
        let wanted = Wanted {
            function: Function::Relay,
            conference: record.id.clone(),
            units,
            time_to_live: TIME_TO_LIVE,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (mut there, mut full) = (false, String::new());
        let choose = |candidates: &[Candidate]| {
            let index = candidates.iter().position(|known| known.resource.node_id == record.node_id)?;
            there = true;
            match self.full(&candidates[index], units) {
                None => Some(index),
                Some(why) => {
                    full = why;
                    None
                }
            }
        };
        let reserved = self.applicant.reserve(&wanted, now.as_millis() as i64, PATIENCE, choose).await;
        match reserved {
            Ok(reservation) => Outcome::Promised(reservation),
            Err(ReserveError::NothingFits(_)) if there => Outcome::Refused(StoreError::Promised(full)),
            Err(ReserveError::NothingFits(_)) => Outcome::NotInTree,
            Err(ReserveError::NotInTime(_)) => Outcome::Refused(StoreError::NotInTurn(PATIENCE)),
            Err(error) => Outcome::Away(error.to_string()),
        }
    }

    /// Why the resource has no room beside what it carries and what is promised.
    fn full(&self, candidate: &Candidate, units: u64) -> Option<String> {
        let capacity = candidate.resource.capacity.units;
        let limit = capacity * u64::from(self.fill_percent_max) / 100;
        let carried = candidate.resource.load.packets_per_second.clamp(0.0, 1e12) as u64;
        let taken = carried.saturating_add(candidate.promised);
        (capacity > 0 && taken.saturating_add(units) > limit).then(|| {
            format!(
                "{} of its {limit} units are promised in ZooKeeper and {carried} in use, {units} are needed",
                candidate.promised
            )
        })
    }

    async fn release(&self, reservation: Reservation) {
        if let Err(error) = self.applicant.release(&reservation).await {
            tracing::debug!(node = %reservation.node_id, %error, "a promise in ZooKeeper ends with its time");
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
