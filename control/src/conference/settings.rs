//! What is changed about a conference besides its media: name, passwords, lock, roles.

use super::access::{Role, password};
use super::audio::AudioChange;
use super::model::{Conference, Phase, Record, RequestId, Work};
use super::requests::Response;
use super::step::{About, Step};
use crate::refusal::Refusal;
use motet_proto::conference::{
    self as wire, ConferenceEventKind as Kind, RenameRequest, SetLockRequest, SetPasswordRequest,
    SetRoleRequest,
};
use tonic::Code;

impl Step<'_> {
    /// The conference or booking, if it has not ended.
    pub(super) fn living(&self, moid: &str) -> Result<&Conference, Refusal> {
        let conference = self.found(moid)?;
        if conference.record.phase == Phase::Ended {
            let why = format!("{} has ended", conference.record.label());
            return Err(Refusal::at(Code::FailedPrecondition, "conference", why));
        }
        Ok(conference)
    }

    pub(super) fn rename(
        &mut self,
        request: RequestId,
        moid: &str,
        rename: RenameRequest,
    ) -> Result<Option<Response>, Refusal> {
        if rename.name.chars().count() > 128 {
            return Err(Refusal::invalid("name", "has more than 128 characters"));
        }
        let mut next = self.living(moid)?.record.clone();
        next.name = rename.name;
        let told = format!("conference {} is called '{}' now", next.number, next.name);
        self.save(request, moid, next, vec![(Kind::Renamed, told)])
    }

    pub(super) fn set_lock(
        &mut self,
        request: RequestId,
        moid: &str,
        set: &SetLockRequest,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.living(moid)?.record.clone();
        next.access.locked = set.locked;
        let what = if set.locked { "is locked" } else { "is open again" };
        let told = format!("conference {} {what}", next.number);
        self.save(request, moid, next, vec![(Kind::LockChanged, told)])
    }

    pub(super) fn set_password(
        &mut self,
        request: RequestId,
        moid: &str,
        set: &SetPasswordRequest,
    ) -> Result<Option<Response>, Refusal> {
        if set.password.is_none() && set.chair_password.is_none() {
            return Err(Refusal::invalid("password", "or chair_password is needed"));
        }
        let mut next = self.living(moid)?.record.clone();
        if set.password.is_some() {
            next.access.password = password("password", moid, &set.password)?;
        }
        if set.chair_password.is_some() {
            next.access.chair_password = password("chair_password", moid, &set.chair_password)?;
        }
        let told = format!("passwords of conference {} were changed", next.number);
        self.save(request, moid, next, vec![(Kind::PasswordChanged, told)])
    }

    pub(super) fn set_role(
        &mut self,
        request: RequestId,
        moid: &str,
        set: SetRoleRequest,
    ) -> Result<Option<Response>, Refusal> {
        let role = Role::check(set.role)?;
        let mut next = self.running(moid)?.record.clone();
        let number = next.number.clone();
        let Some(participant) = next.participants.get_mut(&set.participant) else {
            let why = format!("'{}' is not in conference {number}", set.participant);
            return Err(Refusal::at(Code::NotFound, "participant", why));
        };
        if participant.role != role && (participant.role == Role::Viewer || role == Role::Viewer) {
            let why = "a viewer has other media; remove the participant and add it again";
            return Err(Refusal::at(Code::FailedPrecondition, "role", why));
        }
        // Who was a listener is heard again; who muted itself as a speaker stays muted.
        participant.audio.muted &= !participant.role.is_silent();
        participant.audio.muted |= role.is_silent();
        participant.role = role;
        self.change_audio(request, moid, next, AudioChange::Role(set.participant))
    }

    /// Begins a change that only control keeps. Nodes are told in passing, so that they can give it back.
    pub(super) fn save(
        &mut self,
        request: RequestId,
        moid: &str,
        mut next: Record,
        told: Vec<(Kind, String)>,
    ) -> Result<Option<Response>, Refusal> {
        let conference = self.found(moid)?;
        if next == conference.record {
            return Ok(Some(Response::Conference(Box::new(conference.info()))));
        }
        if next.phase != Phase::Booked {
            next.revision += 1;
        }
        self.start(moid, next, Work::Save { request, told });
        Ok(None)
    }

    /// The store has it.
    pub(super) fn saved(&mut self, moid: &str, next: Record, request: RequestId, told: Vec<(Kind, String)>) {
        let conference = self.conference(moid).expect("the caller found it");
        conference.repair |= next.phase == Phase::Running;
        conference.record = next;
        let node = conference.record.node_id.clone();
        let info = self.state.info(&self.state.conferences[moid]);
        for (kind, message) in told {
            self.emit(kind, About { conference: moid, node: &node, ..About::default() }, message);
        }
        self.reply(request, Ok(Response::Conference(Box::new(info))));
        self.next_request(moid);
    }

    /// For people.
    pub(super) fn role_name(&self, moid: &str, participant: &str) -> &'static str {
        let participants = self.state.conferences.get(moid).map(|known| &known.record.participants);
        match participants.and_then(|known| known.get(participant)).map(|known| known.role) {
            Some(Role::Chair) => "chair",
            Some(Role::Listener) => "listener",
            Some(Role::Viewer) => "viewer",
            _ => "speaker",
        }
    }

    /// Whether a participant may come in, as far as the conference is concerned.
    pub(super) fn check_entry(
        &mut self,
        moid: &str,
        participant: &str,
        role: &i32,
        password: &Option<wire::Secret>,
    ) -> Result<Role, Refusal> {
        let role = Role::check(*role)?;
        self.check_password(moid, role, password)?;
        let record = &self.found(moid)?.record;
        let known = record.participants.contains_key(participant);
        if record.access.locked && role != Role::Chair && !known {
            let why = format!("{} is locked", record.number);
            return Err(Refusal::at(Code::FailedPrecondition, "conference", why));
        }
        Ok(role)
    }
}
