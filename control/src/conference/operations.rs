//! Join, leave, end: first the store, then the node, then the answer. [`super::create`] begins a conference,
//! [`super::answers`] has what the store and the node say.

use super::audio::ParticipantAudio;
use super::domains::features_of;
use super::media::{check_identifier, check_media};
use super::model::{Conference, Operation, Participant, Phase, Record, RequestId, Work};
use super::requests::{Request, Response};
use super::step::Step;
use super::views::ParticipantVideo;
use crate::refusal::Refusal;
use motet_proto::conference as wire;
use tonic::Code;

impl Step<'_> {
    /// A request that changes something; the store can be used.
    pub(super) fn change(&mut self, id: RequestId, request: Request) {
        if let Request::Create { id: moid, seed, create } = request {
            return match self.create(id, (moid, seed), create) {
                Ok(Some(response)) => self.reply(id, Ok(response)),
                Ok(None) => {}
                Err(refusal) => self.reply(id, Err(refusal)),
            };
        }
        match request {
            Request::SetDomain(set) => return self.set_domain(id, set.domain),
            Request::RemoveDomain(remove) => return self.remove_domain(id, remove.moid),
            _ => {}
        }
        match self.found(request.conference()).map(|found| self.target(found, &request)) {
            Ok(moid)
                if matches!(request, Request::Add { .. })
                    && self.ours(&moid)
                    && self.opens_by_joining(&moid) =>
            {
                self.open_room(&moid, id, request);
            }
            Ok(moid) => {
                self.route(id, &moid, request);
            }
            Err(refusal) => self.reply(id, Err(refusal)),
        }
    }

    /// The conference that a request is about: of what is booked, the one that runs, unless the booking itself
    /// is to be changed.
    fn target(&self, found: &Conference, request: &Request) -> String {
        let of_media = !matches!(
            request,
            Request::End(_)
                | Request::Rename(_)
                | Request::SetPassword(_)
                | Request::SetLock(_)
                | Request::Extend(_)
        );
        let booked = found.record.phase == Phase::Booked && of_media;
        let running = booked.then(|| self.conference_of(&found.record.id)).flatten();
        running.unwrap_or(found).record.id.clone()
    }

    /// Takes requests from the queue until one has to wait for an answer.
    pub(super) fn next_request(&mut self, moid: &str) {
        while let Some(conference) = self.conference(moid) {
            if conference.operation.is_some() {
                return;
            }
            let booked = conference.record.phase == Phase::Booked;
            let ends = matches!(conference.queue.front(), Some((_, Request::End(_))));
            if !ends && self.in_doubt(moid) {
                return;
            }
            let Some((id, request)) = self.conference(moid).and_then(|c| c.queue.pop_front()) else { break };
            if !ends && self.ending(moid) {
                let refusal = Refusal::at(Code::FailedPrecondition, "conference", "it is being ended");
                self.reply(id, Err(refusal));
                continue;
            }
            let before =
                self.check_by(moid, &request).err().map(Err).or_else(|| self.applied(moid, &request));
            if let Some(answer) = before {
                self.reply(id, answer);
                continue;
            }
            let answer = match request {
                Request::Add { id: chosen, add } => self.add(id, moid, chosen, add),
                Request::Remove(remove) => self.remove(id, moid, &remove.participant),
                Request::End(end) if booked => self.cancel(id, moid, end.reason),
                Request::End(end) => self.end(id, moid, end.reason),
                Request::Rename(rename) => self.rename(id, moid, rename),
                Request::SetPassword(set) => self.set_password(id, moid, &set),
                Request::SetLock(set) => self.set_lock(id, moid, &set),
                Request::SetRole(set) => self.set_role(id, moid, set),
                Request::Extend(extend) => self.extend(id, moid, &extend),
                Request::SetAudio(set) => self.set_audio(id, moid, set.audio),
                Request::SetVideo(set) => self.set_video(id, moid, set.video),
                Request::ShareContent(ask) => self.share_content(id, moid, &ask),
                Request::SetParticipantVideo(set) => self.set_participant_video(id, moid, set),
                Request::SetParticipantAudio(set) => self.set_participant_audio(id, moid, set),
                Request::SetPairGain(set) => self.set_pair_gain(id, moid, set.pair_gain),
                Request::SetRecording(set) => self.set_recording(id, moid, set.recording),
                Request::RemoveRecording(end) => self.remove_recording(id, moid, &end.recording),
                _ => unreachable!("only changes are queued"),
            };
            match answer {
                Ok(None) => {}
                Ok(Some(response)) => self.reply(id, Ok(response)),
                Err(refusal) => self.reply(id, Err(refusal)),
            }
        }
        let waits = |conference: &&mut Conference| conference.record.phase == Phase::PendingRestore;
        if self.conference(moid).filter(waits).is_some() {
            self.wait_for_restore();
        }
        let dirty = self.conference(moid).is_some_and(|conference| conference.dirty);
        if dirty {
            self.flush(moid);
        }
    }

    fn add(
        &mut self,
        request: RequestId,
        moid: &str,
        chosen: String,
        add: wire::AddParticipantRequest,
    ) -> Result<Option<Response>, Refusal> {
        let participant = if add.participant.is_empty() { chosen } else { add.participant };
        let add = wire::AddParticipantRequest { participant: participant.clone(), ..add };
        check_identifier("participant", &participant)?;
        if add.name.chars().count() > 128 {
            return Err(Refusal::invalid("name", "has more than 128 characters"));
        }
        let mut media = check_media(&participant, &add.media)?;
        let mut audio = ParticipantAudio::check(add.audio.as_ref())?;
        let video = ParticipantVideo::check(add.video.as_ref())?;
        self.changeable(moid)?;
        let role = self.check_entry(moid, &participant, &add.role, &add.password)?;
        role.apply(&mut media, &mut audio)?;
        let mut next = self.changeable(moid)?.record.clone();
        let conference = self.conference(moid).expect("it was found a moment ago");
        if let Some(known) = next.participants.get(&participant) {
            if known.media == media {
                let info = conference.joined_info(&participant).expect("it is there")?;
                return Ok(Some(Response::Participant(Box::new(info))));
            }
            let why = format!("'{participant}' is in the conference with other media; remove it first");
            return Err(Refusal::at(Code::AlreadyExists, "participant", why));
        }
        for (field, feature) in features_of(&media) {
            self.permits(&next.user_domain, feature, &field)?;
        }
        self.leave_isolated(moid, &participant)?;
        if self.state.conferences[moid].record.phase == Phase::PendingRestore {
            // Everything else is checked again then.
            let later = Request::Add { id: participant, add };
            return self.join_later(request, moid, later).map(|()| None);
        }
        let before = next.clone();
        next.participants
            .insert(participant.clone(), Participant { name: add.name, media, audio, video, role });
        self.check_growth(&before, &next)?;
        next.revision += 1;
        self.start(moid, next, Work::Change { request, joins: true, participant });
        Ok(None)
    }

    fn remove(
        &mut self,
        request: RequestId,
        moid: &str,
        participant: &str,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.changeable(moid)?.record.clone();
        if next.participants.remove(participant).is_none() {
            return Ok(Some(Response::Removed(wire::RemoveParticipantResponse { existed: false })));
        }
        next.forget_pairs(participant);
        next.leave_floor(participant);
        next.revision += 1;
        self.start(moid, next, Work::Change { request, joins: false, participant: participant.to_owned() });
        Ok(None)
    }

    pub(super) fn end(
        &mut self,
        request: RequestId,
        moid: &str,
        reason: String,
    ) -> Result<Option<Response>, Refusal> {
        let conference = self.conference(moid).expect("the caller found it");
        if conference.record.phase == Phase::Ended {
            return Ok(Some(Response::Conference(Box::new(conference.info()))));
        }
        let reason = if reason.is_empty() { "ended by request".to_owned() } else { reason };
        self.begin_end(moid, request, reason);
        Ok(None)
    }

    /// Whether it is to end, and the store has not said that it has.
    pub(super) fn ending(&self, moid: &str) -> bool {
        self.state.conferences.get(moid).is_some_and(|conference| conference.ending.is_some())
    }

    /// An end may have been written, and what has ended stays ended: it is tried again.
    pub(super) fn end_later(&mut self, moid: &str, reason: String) {
        self.conference(moid).expect("it is being ended").ending = Some(reason);
        self.next_request(moid);
    }

    /// Ends what is to end, and what the store has not said to have ended.
    pub(super) fn end_again(&mut self, moid: &str) {
        let Some(conference) = self.conference(moid) else { return };
        let Some(reason) = conference.ending.take() else { return };
        if conference.record.phase != Phase::Ended {
            self.begin_end(moid, RequestId::NOBODY, reason);
        }
    }

    fn begin_end(&mut self, moid: &str, request: RequestId, reason: String) {
        let ended_unix_ms = self.now.unix_ms;
        let conference = self.conference(moid).expect("the caller found it");
        let next = Record { phase: Phase::Ended, ended_unix_ms, reason, ..conference.record.clone() };
        self.start(moid, next, Work::End { request });
    }

    /// The conference, if it runs.
    pub(super) fn running(&self, moid: &str) -> Result<&Conference, Refusal> {
        let conference = self.found(moid)?;
        let record = &conference.record;
        match record.phase {
            Phase::Booked => Err(self.only_booked(record)),
            Phase::Running if conference.heard => Ok(conference),
            Phase::Running => {
                let why = format!(
                    "node {} has not said yet what it runs since control started; ask again",
                    record.node_id
                );
                Err(Refusal::plain(Code::Unavailable, why))
            }
            Phase::Ended => Err(Refusal::at(
                Code::FailedPrecondition,
                "conference",
                format!("{} has ended", record.number),
            )),
            phase => {
                let why = format!("{} is {}: {}", record.number, phase.name(), record.reason);
                Err(Refusal::at(Code::FailedPrecondition, "conference", why))
            }
        }
    }

    /// The conference, if it runs or waits to be restored, which takes changes along.
    pub(super) fn changeable(&self, moid: &str) -> Result<&Conference, Refusal> {
        let conference = self.found(moid)?;
        if conference.record.phase == Phase::PendingRestore { Ok(conference) } else { self.running(moid) }
    }

    /// Begins an operation by writing what it leads to.
    pub(super) fn start(&mut self, moid: &str, mut next: Record, work: Work) {
        let (token, since_ms) = (self.token(), self.now.steady_ms);
        if let Some(request) = work.request() {
            self.note_applied(request, &mut next);
        }
        next.maintainer.clone_from(&self.state.options.css);
        let conference = self.conference(moid).expect("an operation is about a known conference");
        if conference.stored.base.is_some() || conference.record.version != next.version {
            next.version = conference.next_version();
        }
        conference.record.version = next.version;
        conference.operation = Some(Operation { token, next: next.clone(), work, at_node: false, since_ms });
        self.store_put(token, next);
    }
}
