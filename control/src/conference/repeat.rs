//! Requests that come again: the network lost the answer, not the request.
//!
//! A request id of the caller names a request. The answer to the first that succeeds is kept for ten minutes,
//! and is the answer to all later ones; one that comes meanwhile waits for it. A refused request has changed
//! nothing, so it is simply tried again. What has been done is kept with the conference, too, so that it is
//! not done again after a restart, or by another control process.

use super::model::{Record, RequestId};
use super::requests::{Request, Response};
use super::step::Step;
use crate::refusal::Refusal;
use motet_proto::conference as wire;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use tonic::Code;

/// How long an answer is kept.
const KEPT_MS: u64 = 600_000;
/// Answers that are kept; the oldest give way.
const KEPT_MAX: usize = 10_000;
/// Requests that are kept with a conference.
const APPLIED_MAX: usize = 16;

/// A request that was carried out, as its conference keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The caller's id.
    pub request_id: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: i64,
}

/// Requests with an id, and what became of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answers {
    known: BTreeMap<String, Known>,
    /// Answered ones, oldest first.
    order: VecDeque<(u64, String)>,
    /// Ids of requests that are being carried out.
    names: BTreeMap<RequestId, String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    /// What was asked, and of which conference.
    what: (&'static str, String),
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    /// These wait for it.
    Waiting(Vec<RequestId>),
    Given(Box<Response>),
}

impl Answers {
    /// The caller's id of a request that is being carried out.
    fn name(&self, id: RequestId) -> Option<&String> {
        self.names.get(&id)
    }

    /// Forgets what is old.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while let Some((until_ms, _)) = self.order.front()
            && (*until_ms <= now_ms || self.order.len() > KEPT_MAX)
        {
            let (_, name) = self.order.pop_front().expect("looked at a moment ago");
            self.known.remove(&name);
        }
    }
}

impl Step<'_> {
    /// Looks whether a request has come before. True: it is taken care of.
    pub(super) fn repeated(&mut self, id: RequestId, request: &Request) -> bool {
        let name = request.request_id();
        if name.is_empty() {
            return false;
        }
        if name.len() > 128 {
            self.reply(id, Err(Refusal::invalid("request_id", "is longer than 128 bytes")));
            return true;
        }
        let what = (request.name(), request.conference().to_owned());
        let answers = &mut self.state.answers;
        let Some(known) = answers.known.get_mut(name) else {
            answers.known.insert(name.to_owned(), Known { what, answer: Answer::Waiting(Vec::new()) });
            answers.names.insert(id, name.to_owned());
            return false;
        };
        if known.what != what {
            let why = "was used for another request; choose a new one for each";
            self.reply(id, Err(Refusal::invalid("request_id", why)));
            return true;
        }
        match &mut known.answer {
            Answer::Waiting(others) => others.push(id),
            Answer::Given(response) => {
                let response = (**response).clone();
                self.reply(id, Ok(response));
            }
        }
        true
    }

    /// Keeps the answer to a request that has an id; gives all others that wait for it.
    pub(super) fn answered(&mut self, id: RequestId, answer: &Result<Response, Refusal>) -> Vec<RequestId> {
        let answers = &mut self.state.answers;
        let Some(name) = answers.names.remove(&id) else { return Vec::new() };
        let given = match answer {
            Ok(response) => {
                answers.order.push_back((self.now.steady_ms + KEPT_MS, name.clone()));
                let known = answers.known.get_mut(&name);
                known.map(|known| {
                    std::mem::replace(&mut known.answer, Answer::Given(Box::new(response.clone())))
                })
            }
            Err(_) => answers.known.remove(&name).map(|known| known.answer),
        };
        answers.expire(self.now.steady_ms);
        match given {
            Some(Answer::Waiting(others)) => others,
            _ => Vec::new(),
        }
    }

    /// Notes in the record that the request is carried out with it.
    pub(super) fn note_applied(&self, request: RequestId, next: &mut Record) {
        let Some(name) = self.state.answers.name(request) else { return };
        let since = self.now.unix_ms - KEPT_MS as i64;
        next.applied.retain(|applied| applied.unix_ms > since && applied.request_id != *name);
        let surplus = (next.applied.len() + 1).saturating_sub(APPLIED_MAX);
        next.applied.drain(..surplus);
        next.applied.push(Applied { request_id: name.clone(), unix_ms: self.now.unix_ms });
    }

    /// The answer to a request that was carried out before control was started again, or by another process.
    pub(super) fn applied(&self, moid: &str, request: &Request) -> Option<Result<Response, Refusal>> {
        let name = request.request_id();
        let conference = self.state.conferences.get(moid)?;
        let record = &conference.record;
        let since = self.now.unix_ms - KEPT_MS as i64;
        let same = |applied: &Applied| applied.request_id == name && applied.unix_ms > since;
        if name.is_empty() || !record.applied.iter().any(same) {
            return None;
        }
        let participant = match request {
            Request::Add { add, .. } if add.participant.is_empty() => None,
            Request::Add { add, .. } => Some(&add.participant),
            Request::SetParticipantAudio(set) => Some(&set.participant),
            Request::SetParticipantVideo(set) => Some(&set.participant),
            Request::SetRole(set) => Some(&set.participant),
            Request::Remove(_) => {
                return Some(Ok(Response::Removed(wire::RemoveParticipantResponse { existed: true })));
            }
            _ => return Some(Ok(Response::Conference(Box::new(self.state.info(conference))))),
        };
        if let (Request::Add { .. }, Some(id)) = (request, participant)
            && let Some(Err(refusal)) = conference.joined_info(id)
        {
            return Some(Err(refusal));
        }
        let info = participant.and_then(|id| conference.participant_info(id));
        Some(info.map(|info| Response::Participant(Box::new(info))).ok_or_else(|| {
            let why = "was carried out, and the participant is not there any more";
            Refusal::at(Code::NotFound, "request_id", why)
        }))
    }
}

impl Request {
    /// The caller's id of it; empty: none.
    pub(super) fn request_id(&self) -> &str {
        match self {
            Request::Create { create, .. } => &create.request_id,
            Request::Add { add, .. } => &add.request_id,
            Request::Remove(remove) => &remove.request_id,
            Request::End(end) => &end.request_id,
            Request::SetAudio(set) => &set.request_id,
            Request::SetVideo(set) => &set.request_id,
            Request::SetParticipantAudio(set) => &set.request_id,
            Request::SetParticipantVideo(set) => &set.request_id,
            Request::ShareContent(ask) => &ask.request_id,
            Request::SetPairGain(set) => &set.request_id,
            Request::SetRecording(set) => &set.request_id,
            Request::RemoveRecording(end) => &end.request_id,
            Request::Rename(rename) => &rename.request_id,
            Request::SetPassword(set) => &set.request_id,
            Request::SetLock(set) => &set.request_id,
            Request::SetRole(set) => &set.request_id,
            Request::Extend(extend) => &extend.request_id,
            _ => "",
        }
    }

    /// Id or number of the conference that it is about; empty: of none.
    pub(super) fn conference(&self) -> &str {
        match self {
            Request::Add { add, .. } => &add.conference,
            Request::Remove(remove) => &remove.conference,
            Request::End(end) => &end.conference,
            Request::SetAudio(set) => &set.conference,
            Request::SetVideo(set) => &set.conference,
            Request::SetParticipantAudio(set) => &set.conference,
            Request::SetParticipantVideo(set) => &set.conference,
            Request::ShareContent(ask) => &ask.conference,
            Request::SetPairGain(set) => &set.conference,
            Request::SetRecording(set) => &set.conference,
            Request::RemoveRecording(end) => &end.conference,
            Request::Rename(rename) => &rename.conference,
            Request::SetPassword(set) => &set.conference,
            Request::SetLock(set) => &set.conference,
            Request::SetRole(set) => &set.conference,
            Request::Extend(extend) => &extend.conference,
            _ => "",
        }
    }

    /// The participant that asks, and the one that it asks something about.
    pub(super) fn by(&self) -> (&str, Option<&str>) {
        match self {
            Request::Remove(remove) => (&remove.by, Some(&remove.participant)),
            Request::SetParticipantAudio(set) => (&set.by, Some(&set.participant)),
            Request::SetParticipantVideo(set) => (&set.by, Some(&set.participant)),
            // What one may do for oneself is looked at later.
            Request::ShareContent(ask) => (&ask.by, Some(&ask.participant)),
            Request::End(end) => (&end.by, None),
            Request::SetAudio(set) => (&set.by, None),
            Request::SetVideo(set) => (&set.by, None),
            Request::SetPairGain(set) => (&set.by, None),
            Request::SetRecording(set) => (&set.by, None),
            Request::RemoveRecording(end) => (&end.by, None),
            Request::Rename(rename) => (&rename.by, None),
            Request::SetPassword(set) => (&set.by, None),
            Request::SetLock(set) => (&set.by, None),
            Request::SetRole(set) => (&set.by, None),
            Request::Extend(extend) => (&extend.by, None),
            _ => ("", None),
        }
    }
}
