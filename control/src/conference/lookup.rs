//! Conferences that another control process has just made.
//!
//! Its caller has had the answer, and may ask here before the feed has told of the conference. So a request about
//! what is not known waits until the feed was read once more; "not found" would be believed.

use super::model::{Phase, RequestId, Token};
use super::requests::Request;
use super::step::Step;

impl Step<'_> {
    /// Keeps a request until the feed was read, if that may tell more; else gives it back.
    pub(super) fn look_up(&mut self, id: RequestId, request: Request) -> Option<Request> {
        let name = about(&request);
        let alone = !self.state.options.shared || self.state.living().count() <= 1;
        if name.is_empty() || alone || !self.state.loaded || self.state.store_fault.is_some() {
            return Some(request);
        }
        // A number may have gone from one that has ended to a new one.
        let known = self.state.find(name);
        if known.is_some_and(|known| known.record.id == name || known.record.phase != Phase::Ended) {
            return Some(request);
        }
        let since = self.token();
        self.state.peers.lookups.push((since, id, request));
        self.follow_now();
        None
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
        other => other.conference(),
    }
}
