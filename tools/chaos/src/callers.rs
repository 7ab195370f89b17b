//! Everybody who uses the service: creates, joins, speaks, and follows where to send.

use crate::client::{Css, is_away};
use crate::ledger::Ledger;
use crate::media::{Media, PartyId};
use anyhow::{Context, Result, bail, ensure};
use motet_proto::conference as wire;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::media::{Codec, Direction, LatchPolicy, MediaKind};
use motet_rtpgen::system;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};
use tonic::{Code, Status};

/// How long something is tried again while control is away.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before something is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// Conferences that are set up side by side.
const SIDE_BY_SIDE: usize = 8;

/// All callers.
#[derive(Debug)]
pub struct Callers {
    css: Vec<Css>,
    /// Who speaks and listens.
    pub media: Media,
    ledger: Mutex<Ledger>,
    /// Each thing that is asked has a number.
    asked: AtomicU64,
}

impl Callers {
    /// Callers of these control processes.
    pub fn new(css: Vec<Css>, media: Media) -> Arc<Callers> {
        Arc::new(Callers { css, media, ledger: Mutex::default(), asked: AtomicU64::new(0) })
    }

    /// The control processes that they call.
    pub fn css(&self) -> &[Css] {
        &self.css
    }

    /// What was acknowledged.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }

    /// A request for a conference that nobody has asked for before.
    pub fn wish(&self, people: usize) -> wire::CreateRequest {
        let number = self.number();
        wire::CreateRequest {
            name: format!("chaos {number}"),
            request_id: format!("chaos-create-{number}"),
            expected_participants: people as u32,
            ..wire::CreateRequest::default()
        }
    }

    /// Asks once, and remembers what is answered.
    pub async fn create_once(
        &self,
        css: &Css,
        wish: wire::CreateRequest,
    ) -> Result<wire::ConferenceInfo, Status> {
        self.ledger().unsure.insert(wish.name.clone());
        let name = wish.name.clone();
        let answer = css.create(wish).await;
        match &answer {
            Ok(info) => self.ledger().created(&info.id, &info.number, &name, info.epoch),
            Err(status) if !is_away(status) => {
                self.ledger().unsure.remove(&name);
            }
            Err(_) => {}
        }
        answer
    }

    /// Creates a conference, with one control process after another until it is answered.
    pub async fn create(&self, people: usize) -> Result<wire::ConferenceInfo> {
        let (wish, first) = (self.wish(people), self.number() as usize);
        let end = Instant::now() + PATIENCE;
        for turn in first.. {
            let css = &self.css[turn % self.css.len()];
            match self.create_once(css, wish.clone()).await {
                Ok(info) => return Ok(info),
                // Control that was just started knows of no nodes until they announce themselves.
                Err(status) if may_come(&status) && Instant::now() < end => tokio::time::sleep(AGAIN).await,
                Err(status) => bail!("{} does not create a conference: {}", css.name, status.message()),
            }
        }
        unreachable!("turns do not end")
    }

    /// Waits until each control process creates a conference, lets somebody join it, and ends it; gives the time.
    pub async fn wait_served(&self, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        for css in &self.css {
            let id = loop {
                match self.create_once(css, self.wish(2)).await {
                    Ok(info) => break info.id,
                    Err(status) => ensure!(begun.elapsed() < within, "{}: {}", css.name, status.message()),
                }
                tokio::time::sleep(AGAIN).await;
            };
            self.join(&id, "late").await?;
            self.end(&id).await?;
        }
        Ok(begun.elapsed())
    }

    /// Joins a participant, who speaks at once.
    pub async fn join(&self, conference: &str, who: &str) -> Result<()> {
        let (party, address) = self.media.add(conference, who)?;
        let request = self.join_request(conference, who, party, address);
        let mut turn = self.number() as usize;
        let end = Instant::now() + PATIENCE;
        self.ledger().change(conference, |expected| {
            expected.unsure.insert(who.to_owned());
        });
        let info = loop {
            let css = &self.css[turn % self.css.len()];
            match css.join(request.clone()).await {
                Ok(info) => break info,
                Err(status) if may_pass(&status) && Instant::now() < end => {
                    self.not_done(css, "join", conference, &status)?;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(status) => {
                    bail!("{} does not let {who} join {conference}: {}", css.name, status.message())
                }
            }
            turn += 1;
        };
        self.direct(conference, &info)?;
        self.ledger().change(conference, |expected| {
            expected.unsure.remove(who);
            expected.people.insert(who.to_owned(), party);
        });
        Ok(())
    }

    fn join_request(
        &self,
        conference: &str,
        who: &str,
        party: PartyId,
        address: SocketAddr,
    ) -> wire::AddParticipantRequest {
        let codec = Codec {
            payload_type: 111,
            name: "opus".into(),
            clock_rate_hz: 48_000,
            channels: 2,
            fmtp: String::new(),
        };
        let medium = wire::ParticipantMedium {
            id: "audio".into(),
            kind: MediaKind::Audio.into(),
            direction: Direction::SendReceive.into(),
            codecs: vec![codec],
            remote: address.to_string(),
            rtcp_mux: true,
            latch: LatchPolicy::Strict.into(),
            ssrc: self.media.book().ssrc(party),
            ..wire::ParticipantMedium::default()
        };
        wire::AddParticipantRequest {
            conference: conference.to_owned(),
            participant: who.to_owned(),
            media: vec![medium],
            request_id: format!("chaos-join-{}", self.number()),
            ..wire::AddParticipantRequest::default()
        }
    }

    /// Has a participant send where control says.
    fn direct(&self, conference: &str, info: &wire::ParticipantInfo) -> Result<()> {
        let mut book = self.media.book();
        let Some(party) = book.find(conference, &info.id) else { return Ok(()) };
        let medium = info.media.first().with_context(|| format!("control gave {} no medium", info.id))?;
        let to = medium.local.parse();
        let to = to.with_context(|| format!("control gave {} the address '{}'", info.id, medium.local))?;
        book.send_to(party, to, system::now());
        Ok(())
    }

    /// Creates conferences and has participants join each, some side by side; gives their ids.
    pub async fn populate(self: &Arc<Self>, conferences: usize, people: usize) -> Result<Vec<String>> {
        let mut running = JoinSet::new();
        let mut made = Vec::new();
        for _ in 0..conferences {
            if running.len() == SIDE_BY_SIDE {
                made.push(running.join_next().await.context("one runs")?.context("it does not panic")??);
            }
            let callers = Arc::clone(self);
            running.spawn(async move { callers.set_up(people).await });
        }
        while let Some(done) = running.join_next().await {
            made.push(done.context("it does not panic")??);
        }
        Ok(made)
    }

    async fn set_up(&self, people: usize) -> Result<String> {
        let id = self.create(people).await?.id;
        for who in 0..people {
            self.join(&id, &format!("p{who}")).await?;
        }
        Ok(id)
    }

    /// Ends all conferences, as far as control answers.
    pub async fn end_all(&self) -> Result<()> {
        let living: Vec<String> = self.ledger().living().map(|(id, _)| id.clone()).collect();
        for id in living {
            self.end(&id).await?;
        }
        // Those whose creation had no answer may be there as well.
        for css in &self.css {
            for info in css.list().await.with_context(|| format!("{} gives no list", css.name))? {
                if self.ledger().unsure.contains(&info.name) {
                    self.end(&info.id).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends a conference.
    pub async fn end(&self, conference: &str) -> Result<()> {
        // Of two who end it, one may come too late.
        let what = if self.may_have_ended(conference) { "end again" } else { "end" };
        self.ledger().change(conference, |expected| expected.maybe_ended = true);
        let request = wire::EndRequest {
            conference: conference.to_owned(),
            reason: "the callers hang up".into(),
            request_id: format!("chaos-end-{}", self.number()),
            ..wire::EndRequest::default()
        };
        self.insist(what, conference, |css| {
            let request = request.clone();
            async move { css.end(request).await }
        })
        .await?;
        let people: Vec<PartyId> = {
            let mut ledger = self.ledger();
            ledger.change(conference, |expected| expected.ended = true);
            let expected = ledger.conferences.get(conference);
            expected.map(|expected| expected.people.values().copied().collect()).unwrap_or_default()
        };
        let mut book = self.media.book();
        people.into_iter().for_each(|party| book.leave(party));
        Ok(())
    }

    /// Renames a conference.
    pub async fn rename(&self, conference: &str) -> Result<()> {
        let number = self.number();
        let name = format!("renamed {number}");
        self.ledger().change(conference, |expected| {
            expected.names.insert(name.clone());
        });
        let request = wire::RenameRequest {
            conference: conference.to_owned(),
            name: name.clone(),
            request_id: format!("chaos-rename-{number}"),
            ..wire::RenameRequest::default()
        };
        self.insist("rename", conference, |css| {
            let request = request.clone();
            async move { css.rename(request).await }
        })
        .await?;
        self.ledger().change(conference, |expected| expected.names = [name].into());
        Ok(())
    }

    /// Locks or unlocks a conference.
    pub async fn lock(&self, conference: &str, locked: bool) -> Result<()> {
        self.ledger().change(conference, |expected| {
            expected.locks.insert(locked);
        });
        let request = wire::SetLockRequest {
            conference: conference.to_owned(),
            locked,
            request_id: format!("chaos-lock-{}", self.number()),
            ..wire::SetLockRequest::default()
        };
        self.insist("lock", conference, |css| {
            let request = request.clone();
            async move { css.lock(request).await }
        })
        .await?;
        self.ledger().change(conference, |expected| expected.locks = [locked].into());
        Ok(())
    }

    /// Asks one control process after another until there is an answer.
    async fn insist<F>(&self, what: &str, conference: &str, ask: impl Fn(Css) -> F) -> Result<()>
    where
        F: Future<Output = Result<(), Status>>,
    {
        let end = Instant::now() + PATIENCE;
        let (mut turn, mut unanswered) = (self.number() as usize, false);
        loop {
            let css = &self.css[turn % self.css.len()];
            match ask(css.clone()).await {
                Ok(()) => return Ok(()),
                // The end before, whose answer was lost.
                Err(status) if status.code() == Code::NotFound && what == "end" && unanswered => {
                    return Ok(());
                }
                Err(status) if may_pass(&status) && Instant::now() < end => {
                    unanswered |= is_away(&status);
                    self.not_done(css, what, conference, &status)?;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(status) => bail!("{}: {what}: {} ({:?})", css.name, status.message(), status.code()),
            }
            turn += 1;
        }
    }

    /// Whether its end was asked for, by whomever.
    fn may_have_ended(&self, conference: &str) -> bool {
        let ledger = self.ledger();
        ledger.conferences.get(conference).is_some_and(|expected| expected.maybe_ended)
    }

    /// Books "not found" of what was acknowledged, which would be believed. Fails when there is nothing left to do.
    fn not_done(&self, css: &Css, what: &str, conference: &str, status: &Status) -> Result<()> {
        ensure!(
            what == "end" || !self.may_have_ended(conference),
            "{what}: {conference} was ended meanwhile"
        );
        if status.code() == Code::NotFound {
            self.ledger().wrong.push(format!("N1: {}: {what}: {}", css.name, status.message()));
        }
        Ok(())
    }

    /// Follows the events of each control process, so that participants send to where their conference is.
    pub fn follow(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let follow = |css: &Css| tokio::spawn(Arc::clone(self).follow_one(css.clone()));
        self.css.iter().map(follow).collect()
    }

    async fn follow_one(self: Arc<Self>, css: Css) {
        loop {
            if let Ok(mut events) = css.watch().await {
                // What happened while nobody was listening.
                if let Ok(list) = css.list().await {
                    list.iter().for_each(|info| self.learn(info));
                }
                while let Ok(Some(event)) = events.message().await {
                    self.on_event(&css, &event).await;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn on_event(&self, css: &Css, event: &wire::ConferenceEvent) {
        if event.kind() == Kind::ParticipantMoved
            && let Some(info) = &event.participant_info
        {
            // An address that makes no sense leaves the participant unheard, which is seen.
            let _ = self.direct(&event.conference, info);
        }
        if event.kind() == Kind::Adopted
            && let Ok(info) = css.show(&event.conference).await
        {
            self.learn(&info);
        }
    }

    /// A list that is older than what is known changes nothing.
    fn learn(&self, info: &wire::ConferenceInfo) {
        let known = self.ledger().conferences.get(&info.id).map(|expected| expected.epoch);
        if known.is_some_and(|known| info.epoch >= known) {
            self.ledger().change(&info.id, |expected| expected.epoch = info.epoch);
            for someone in &info.participants {
                // Control that was just started does not know yet, and tells it by an event.
                let _ = self.direct(&info.id, someone);
            }
        }
    }
}

/// Whether there may be room a moment later.
fn may_come(status: &Status) -> bool {
    is_away(status) || status.code() == Code::ResourceExhausted
}

/// Whether it may be done a moment later.
fn may_pass(status: &Status) -> bool {
    is_away(status) || matches!(status.code(), Code::FailedPrecondition | Code::NotFound)
}
