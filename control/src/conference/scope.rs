//! Isolation of user domains (source 000 section 3.2: user domains are isolated from each other).
//!
//! Who asks in the name of a user domain ([`Request::Scoped`]) sees and changes what is that domain's, and is answered
//! as if there were nothing else. Here, and nowhere else, such a request becomes an ordinary one: what it names is
//! looked up among the conferences and bookings of the domain and goes by its id from then on, and its request id
//! becomes one that no other domain has. What all domains of a platform share shows all the same: a number that
//! another domain has is taken, a node that others fill is full.

use super::domains::Domain;
use super::model::{Conference, RequestId, State};
use super::requests::{Request, Response};
use super::step::Step;
use crate::refusal::Refusal;
use motet_proto::conference::{ConferenceEvent, ListRequest, ListResponse};
use motet_proto::domains;
use sha2::{Digest, Sha256};
use tonic::Code;

/// An event as it is told in the name of a user domain; none: it is not. Events of nodes are for operators, and
/// sequence numbers count the events of all domains.
pub fn event_for(user_domain: &str, event: ConferenceEvent) -> Option<ConferenceEvent> {
    let own = !user_domain.is_empty() && !event.conference.is_empty() && event.user_domain == user_domain;
    own.then_some(ConferenceEvent { sequence: 0, ..event })
}

impl State {
    /// The conference with this id or number, as who asks in the name of a user domain sees it; none: of all.
    pub(super) fn find_in(&self, user_domain: Option<&str>, id_or_number: &str) -> Option<&Conference> {
        let Some(user_domain) = user_domain else { return self.find(id_or_number) };
        let own = |known: &&Conference| known.record.user_domain == user_domain;
        let with_id = self.conferences.get(id_or_number).filter(own);
        with_id.or_else(|| {
            let with_number = self.conferences.ever_with_number(id_or_number).into_iter();
            with_number.filter(own).max_by_key(|known| known.rank())
        })
    }
}

impl Step<'_> {
    /// An ordinary request for one that comes in the name of a user domain. None: it has been answered.
    pub(super) fn unscoped(&mut self, id: RequestId, request: Request) -> Option<Request> {
        let Request::Scoped { user_domain, request } = request else { return Some(request) };
        let answer = match *request {
            _ if user_domain.is_empty() => {
                Err(Refusal::invalid("user_domain", "is needed to ask in its name"))
            }
            Request::List(list) => Ok(self.own_list(&user_domain, &list)),
            Request::ListDomains => Ok(self.own_domain(&user_domain)),
            Request::ResolveDomain(resolve) => self.own_permissions(&user_domain, resolve.user_domain),
            other => match self.own(&user_domain, other) {
                Ok(request) => return Some(request),
                Err(refusal) => Err(refusal),
            },
        };
        self.reply(id, answer);
        None
    }

    /// The same request about what is the domain's own.
    fn own(&self, user_domain: &str, mut request: Request) -> Result<Request, Refusal> {
        if let Request::Create { create, .. } = &mut request {
            if create.user_domain.is_empty() {
                user_domain.clone_into(&mut create.user_domain);
            }
            if create.user_domain != user_domain {
                return Err(no_domain(&create.user_domain));
            }
            if !create.template.is_empty() {
                create.template = self.template(&create.template, Some(user_domain))?.id.clone();
            }
            create.request_id = own_request_id(user_domain, &create.request_id)?;
            return Ok(request);
        }
        let Some((conference, request_id)) = request.names_mut() else {
            let why = "is for operators, not for who asks in the name of a user domain";
            return Err(Refusal::plain(Code::PermissionDenied, format!("{} {why}", request.name())));
        };
        *conference = self.found_in(Some(user_domain), conference)?.record.id.clone();
        if let Some(request_id) = request_id {
            *request_id = own_request_id(user_domain, request_id)?;
        }
        Ok(request)
    }

    fn own_list(&self, user_domain: &str, list: &ListRequest) -> Response {
        let mut conferences = self.state.list(list);
        conferences.retain(|info| info.user_domain == user_domain);
        Response::Conferences(ListResponse { conferences })
    }

    fn own_domain(&self, user_domain: &str) -> Response {
        let own = self.state.domains.iter().filter(|known| known.moid == user_domain);
        Response::Domains(domains::ListResponse { domains: own.map(Domain::to_wire).collect() })
    }

    /// What the domain may do, without what others of its platform use.
    fn own_permissions(&self, user_domain: &str, asked: String) -> Result<Response, Refusal> {
        if !asked.is_empty() && asked != user_domain {
            return Err(no_domain(&asked));
        }
        let mut answer = self.resolve_domain(user_domain)?;
        if let Response::DomainResolved(resolved) = &mut answer {
            resolved.usage.retain(|usage| usage.domain == user_domain);
        }
        Ok(answer)
    }
}

/// As of a domain that does not exist.
fn no_domain(moid: &str) -> Refusal {
    Refusal::at(Code::NotFound, "user_domain", format!("no user domain has the MOID '{moid}'"))
}

/// The request id of a caller as that of its domain: two domains may choose the same.
fn own_request_id(user_domain: &str, request_id: &str) -> Result<String, Refusal> {
    if request_id.is_empty() {
        return Ok(String::new());
    }
    if request_id.len() > 128 {
        return Err(Refusal::invalid("request_id", "is longer than 128 bytes"));
    }
    let both = Sha256::new().chain_update((user_domain.len() as u64).to_be_bytes()).chain_update(user_domain);
    let digest = both.chain_update(request_id).finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Request {
    /// The conference that it is about, and the caller's id of it, if it has one. None: it is about no single
    /// conference.
    fn names_mut(&mut self) -> Option<(&mut String, Option<&mut String>)> {
        let (conference, request_id) = match self {
            Request::Get(get) => return Some((&mut get.conference, None)),
            Request::History(history) => return Some((&mut history.conference, None)),
            Request::Play { play, .. } => return Some((&mut play.conference, None)),
            Request::StopPrompt(stop) => return Some((&mut stop.conference, None)),
            Request::Snapshot(snapshot) => return Some((&mut snapshot.conference, None)),
            Request::Playback(playback) => return Some((&mut playback.conference, None)),
            Request::Add { add, .. } => (&mut add.conference, &mut add.request_id),
            Request::Remove(remove) => (&mut remove.conference, &mut remove.request_id),
            Request::End(end) => (&mut end.conference, &mut end.request_id),
            Request::SetAudio(set) => (&mut set.conference, &mut set.request_id),
            Request::SetVideo(set) => (&mut set.conference, &mut set.request_id),
            Request::SetParticipantAudio(set) => (&mut set.conference, &mut set.request_id),
            Request::SetParticipantVideo(set) => (&mut set.conference, &mut set.request_id),
            Request::ShareContent(ask) => (&mut ask.conference, &mut ask.request_id),
            Request::SetPairGain(set) => (&mut set.conference, &mut set.request_id),
            Request::SetRecording(set) => (&mut set.conference, &mut set.request_id),
            Request::RemoveRecording(end) => (&mut end.conference, &mut end.request_id),
            Request::Rename(rename) => (&mut rename.conference, &mut rename.request_id),
            Request::SetPassword(set) => (&mut set.conference, &mut set.request_id),
            Request::SetLock(set) => (&mut set.conference, &mut set.request_id),
            Request::SetRole(set) => (&mut set.conference, &mut set.request_id),
            Request::Extend(extend) => (&mut extend.conference, &mut extend.request_id),
            // What is not named here is refused in the name of a domain: a new request is hidden until it is looked at.
            Request::Create { .. }
            | Request::SetDomain(_)
            | Request::RemoveDomain(_)
            | Request::ListDomains
            | Request::ResolveDomain(_)
            | Request::List(_)
            | Request::ListNodes
            | Request::Drain(_)
            | Request::Undrain(_)
            | Request::Cordon(_)
            | Request::Uncordon(_)
            | Request::WhatIf(_)
            | Request::GiveUp(_)
            | Request::Scoped { .. } => return None,
        };
        Some((conference, Some(request_id)))
    }
}
