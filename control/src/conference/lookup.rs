//! Conferences that another control process has just made.
//!
//! Its caller has had the answer, and may ask here before the feed has told of the conference. So a request about
//! what is not known waits until the feed was read once more; "not found" would be believed.

use super::effect::Effect;
use super::model::{Phase, RequestId, Token};
use super::requests::Request;
use super::step::Step;

impl Step<'_> {
    /// Keeps a request until the feed was read, if that may tell more; else gives it back.
    pub(super) fn look_up(&mut self, id: RequestId, request: Request) -> Option<Request> {
        let (scope, asked) = match &request {
            Request::Scoped { user_domain, request } => (Some(user_domain.as_str()), &**request),
            asked => (None, asked),
        };
        let name = about(asked);
        if !self.state.options.shared || !self.state.loaded || self.state.store_fault.is_some() {
            return Some(request);
        }
        // Who had the number may have ended.
        let taken = matches!(asked, Request::Create { create, .. } if self.number_taken(&create.number));
        if name.is_empty() && !taken {
            return Some(request);
        }
        // A number may have gone from one that has ended to a new one.
        let known = self.state.find_in(scope, name);
        if !taken && known.is_some_and(|known| known.record.id == name || known.record.phase != Phase::Ended)
        {
            return Some(request);
        }
        let since = self.token();
        self.state.peers.lookups.push((since, id, request));
        self.follow_now();
        None
    }

    /// Whether another control process that lives maintains what the store lacks: a replica that took over has not
    /// heard of it, and it may be written again.
    pub(super) fn is_missing(&mut self, id: &str) -> bool {
        let Some(known) = self.state.conferences.get(id) else { return false };
        let lives = known.record.phase != Phase::Ended && self.left_to(&known.record.maintainer);
        let (now_ms, lease_ms) = (self.now.steady_ms, self.state.options.css_lease_ms);
        let since_now = (now_ms + lease_ms, false);
        let (until_ms, _) = *self.state.peers.missing.entry(id.to_owned()).or_insert(since_now);
        lives && now_ms < until_ms
    }

    /// Asks once more for what had the time to be written again.
    pub(super) fn ask_for_missing(&mut self) {
        let now_ms = self.now.steady_ms;
        for (id, (until_ms, asked)) in &mut self.state.peers.missing {
            if *until_ms <= now_ms && !std::mem::replace(asked, true) {
                self.effects.push(Effect::StoreGet { conference: id.clone() });
            }
        }
    }

    /// The feed was read, from step `asked` on; or cannot be.
    pub(super) fn looked_up(&mut self, asked: Token) {
        let fault = self.store_ready().err();
        for (since, id, request) in std::mem::take(&mut self.state.peers.lookups) {
            match &fault {
                Some(refusal) => self.reply(id, Err(refusal.clone())),
                None if since < asked => self.request_known(id, request),
                None => self.state.peers.lookups.push((since, id, request)),
            }
        }
        if !self.state.peers.lookups.is_empty() {
            self.follow_now();
        }
    }
}

/// Id or number of the conference that a request is about, be it to read or to change it; empty: of none.
fn about(request: &Request) -> &str {
    match request {
        Request::Get(get) => &get.conference,
        Request::History(history) => &history.conference,
        Request::Play { play, .. } => &play.conference,
        Request::StopPrompt(stop) => &stop.conference,
        Request::Snapshot(snapshot) => &snapshot.conference,
        Request::Playback(playback) => &playback.conference,
        other => other.conference(),
    }
}
