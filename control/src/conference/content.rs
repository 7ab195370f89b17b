//! Who may share content: a floor that is requested, granted, denied, taken and given back (RFC 8855 and H.239 speak of
//! the same).

use super::access::Role;
use super::audio::AudioChange;
use super::model::{Record, RequestId};
use super::requests::Response;
use super::step::{About, Step};
use crate::refusal::Refusal;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::media::{ContentFloor, Direction, MediaKind};
use motet_proto::{conference as wire, node};
use serde::{Deserialize, Serialize};
use tonic::Code;
use wire::ContentAction as Action;

/// Participants that wait for the floor at most.
const WAITING_MAX: usize = 64;

/// Who shares content, and who waits to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// `ContentFloor`.
    pub floor: i32,
    /// Who has the floor; empty: nobody.
    pub holder: String,
    /// Who has asked for it, the first one first.
    pub waiting: Vec<String>,
}

impl Content {
    /// As applications see it; none: there is no floor.
    pub(super) fn to_wire(&self) -> Option<wire::ContentState> {
        let Content { floor, holder, waiting } = self.clone();
        self.has_floor().then_some(wire::ContentState { floor, holder, waiting })
    }

    fn rule(&self) -> ContentFloor {
        ContentFloor::try_from(self.floor).unwrap_or_default()
    }

    fn has_floor(&self) -> bool {
        matches!(self.rule(), ContentFloor::Free | ContentFloor::Moderated)
    }

    fn give(&mut self, who: &str) {
        self.waiting.retain(|waiting| waiting != who);
        who.clone_into(&mut self.holder);
    }

    /// Somebody has it no more, and does not wait for it either. The next one gets it where nobody has to agree.
    fn leave(&mut self, who: &str) {
        self.waiting.retain(|waiting| waiting != who);
        if self.holder == who {
            self.holder.clear();
        }
        if self.holder.is_empty() && self.rule() == ContentFloor::Free && !self.waiting.is_empty() {
            self.holder = self.waiting.remove(0);
        }
    }
}

impl Record {
    /// As nodes see it; none: everybody may share content.
    pub(super) fn floor_to_wire(&self) -> Option<node::ContentHolder> {
        self.content.has_floor().then(|| node::ContentHolder { leg: self.content.holder.clone() })
    }

    /// A participant leaves, and the floor with it.
    pub(super) fn leave_floor(&mut self, participant: &str) {
        self.content.leave(participant);
    }

    /// For people.
    pub(super) fn content_told(&self) -> String {
        let (holder, number) = (&self.content.holder, &self.number);
        if holder.is_empty() {
            format!("nobody shares content in conference {number}")
        } else {
            format!("{holder} shares content in conference {number}")
        }
    }
}

impl Step<'_> {
    /// Something is asked of the floor.
    pub(super) fn share_content(
        &mut self,
        request: RequestId,
        moid: &str,
        ask: &wire::ShareContentRequest,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.changeable(moid)?.record.clone();
        let before = next.content.clone();
        let action = Action::try_from(ask.action).ok().filter(|action| *action != Action::Unspecified);
        let action = action.ok_or_else(|| Refusal::invalid("action", "is missing, or not known"))?;
        if action == Action::Floor {
            return self.set_floor(request, moid, next, ask);
        }
        if !before.has_floor() {
            let why = format!("{} has no floor: everybody may share content", next.number);
            return Err(Refusal::at(Code::FailedPrecondition, "conference", why));
        }
        let who = if ask.participant.is_empty() && action == Action::Revoke {
            before.holder.as_str()
        } else {
            ask.participant.as_str()
        };
        if !(who.is_empty() && action == Action::Revoke) {
            check_member(&next, who)?;
        }
        let commands = next.commands(&ask.by);
        let moderated = before.rule() == ContentFloor::Moderated && !commands;
        let denied = || {
            let why = format!("'{}' is no chair of conference {}", ask.by, next.number);
            Refusal::at(Code::PermissionDenied, "by", why)
        };
        let number = next.number.clone();
        let requested =
            || (Kind::ContentRequested, format!("{who} asks to share content in conference {number}"));
        let mut news = None;
        match action {
            Action::Grant | Action::Deny | Action::Revoke if !commands => return Err(denied()),
            Action::Take if moderated => return Err(denied()),
            Action::Request | Action::Take | Action::Grant => {
                check_sends(&next, who)?;
                let free = before.holder.is_empty() && !moderated;
                if action != Action::Request || free || before.holder == who {
                    next.content.give(who);
                } else if !before.waiting.iter().any(|waiting| waiting == who) {
                    if before.waiting.len() == WAITING_MAX {
                        let why = format!("{WAITING_MAX} participants wait for the floor already");
                        return Err(Refusal::at(Code::ResourceExhausted, "participant", why));
                    }
                    next.content.waiting.push(who.to_owned());
                    news = Some(requested());
                }
            }
            Action::Deny => {
                next.content.waiting.retain(|waiting| waiting != who);
                let told = format!("{who} may not share content in conference {number}");
                news = Some((Kind::ContentDenied, told));
            }
            _ => next.content.leave(who),
        }
        let (kind, told) = news.unwrap_or_else(|| (Kind::ContentChanged, next.content_told()));
        let about = if kind == Kind::ContentChanged { next.content.holder.clone() } else { who.to_owned() };
        self.change_audio(request, moid, next, AudioChange::Content(kind, about, told))
    }

    /// Tells who shares content, if that is another one than before.
    pub(super) fn tell_floor(&mut self, moid: &str, before: &str) {
        let Some(conference) = self.conference(moid) else { return };
        let (record, holder) = (&conference.record, conference.record.content.holder.clone());
        if holder != before {
            let (told, node) = (record.content_told(), record.node_id.clone());
            let about = About { conference: moid, participant: &holder, node: &node, ..About::default() };
            self.emit(Kind::ContentChanged, about, told);
        }
    }

    /// Another rule. Where there is no floor any more nobody has it.
    fn set_floor(
        &mut self,
        request: RequestId,
        moid: &str,
        mut next: Record,
        ask: &wire::ShareContentRequest,
    ) -> Result<Option<Response>, Refusal> {
        let floor =
            ContentFloor::try_from(ask.floor).ok().filter(|floor| *floor != ContentFloor::Unspecified);
        let floor = floor.ok_or_else(|| Refusal::invalid("floor", "is missing, or not known"))?;
        if !next.commands(&ask.by) {
            let why = format!("'{}' is no chair of conference {}", ask.by, next.number);
            return Err(Refusal::at(Code::PermissionDenied, "by", why));
        }
        if floor == ContentFloor::Open {
            next.content = Content::default();
        } else {
            next.content.floor = floor.into();
        }
        let what = match floor {
            ContentFloor::Free => "one participant at a time",
            ContentFloor::Moderated => "one participant at a time, whom a chair lets",
            _ => "everybody",
        };
        let told = format!("{what} may share content in conference {}", next.number);
        self.change_audio(
            request,
            moid,
            next,
            AudioChange::Content(Kind::ContentChanged, String::new(), told),
        )
    }
}

impl Record {
    /// Whether who asks may decide about others: the application, and chairs.
    fn commands(&self, by: &str) -> bool {
        by.is_empty() || self.participants.get(by).is_some_and(|who| who.role == Role::Chair)
    }
}

fn check_member(record: &Record, who: &str) -> Result<(), Refusal> {
    if record.participants.contains_key(who) {
        return Ok(());
    }
    let why = format!("'{who}' is not in conference {}", record.number);
    Err(Refusal::at(Code::NotFound, "participant", why))
}

fn check_sends(record: &Record, who: &str) -> Result<(), Refusal> {
    let content = MediaKind::Content as i32;
    let media =
        record.participants.get(who).map(|participant| participant.media.as_slice()).unwrap_or_default();
    let sends = media
        .iter()
        .any(|medium| medium.kind == content && medium.direction != Direction::ReceiveOnly as i32);
    if sends {
        return Ok(());
    }
    let why = format!("'{who}' has no medium that sends content");
    Err(Refusal::at(Code::FailedPrecondition, "participant", why))
}
