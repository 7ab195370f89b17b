//! Who may join, and who may do what: passwords, locks, roles.

use super::audio::ParticipantAudio;
use super::media::Medium;
use super::model::Record;
use super::requests::Request;
use super::schedule::Kind as Booking;
use super::step::{About, Step};
use crate::refusal::Refusal;
use motet_proto::conference::{self as wire, ConferenceEventKind as Kind, Secret};
use motet_proto::media::Direction;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use tonic::Code;

/// Bytes of a password.
const PASSWORD_MAX: usize = 64;
/// Wrong passwords within [`WRONG_MS`] after which no password is tried any more until that time is over.
const WRONG_MAX: u32 = 10;
const WRONG_MS: u64 = 60_000;

/// Who may join a conference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// Nobody but chairs.
    pub locked: bool,
    /// Whoever knows it.
    pub password: Option<Password>,
    /// Chairs.
    pub chair_password: Option<Password>,
}

/// A password as it is kept: SHA-256 over a salt and the password.
///
/// Not a slow hash: passwords of conferences are a few digits, said to all who are invited; a slow hash holds
/// up whoever tries all of them for minutes, and every join for as long as one try. The store and its backups
/// are to be kept as what they are: the keys of the house.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Password {
    /// Id of the conference or reservation that it was set for.
    salt: String,
    /// Hexadecimal; empty: it is known that there is one, and not which.
    hash: String,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Password {
    fn new(salt: &str, text: &str) -> Password {
        Password { salt: salt.to_owned(), hash: hash(salt, text) }
    }

    /// None: nobody knows any more.
    fn is(&self, text: &str) -> Option<bool> {
        // In the same time for every wrong one, so that time does not tell how wrong it is.
        let same = hash(&self.salt, text).as_bytes().ct_eq(self.hash.as_bytes());
        (!self.hash.is_empty()).then(|| same.into())
    }

    /// What nodes are told.
    fn unknown(&self) -> Password {
        Password { salt: String::new(), hash: String::new() }
    }
}

fn hash(salt: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(text).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a password that is to be set. An empty one: none is needed.
pub(super) fn password(field: &str, salt: &str, given: &Option<Secret>) -> Result<Option<Password>, Refusal> {
    match given.as_ref().map(|secret| secret.text.as_str()) {
        None | Some("") => Ok(None),
        Some(text) if text.len() <= PASSWORD_MAX => Ok(Some(Password::new(salt, text))),
        Some(_) => Err(Refusal::invalid(field, format!("is longer than {PASSWORD_MAX} bytes"))),
    }
}

impl Access {
    /// As created; what is not given is as `usual` has it.
    pub(super) fn check(salt: &str, create: &wire::CreateRequest, usual: Access) -> Result<Access, Refusal> {
        Ok(Access {
            locked: false,
            password: password("password", salt, &create.password)?.or(usual.password),
            chair_password: password("chair_password", salt, &create.chair_password)?
                .or(usual.chair_password),
        })
    }

    /// Without what could be tried out: for nodes, which keep it in the clear.
    pub(super) fn for_nodes(&self) -> Access {
        let unknown = |password: &Option<Password>| password.as_ref().map(Password::unknown);
        Access {
            locked: self.locked,
            password: unknown(&self.password),
            chair_password: unknown(&self.chair_password),
        }
    }

    /// What a node gave back, with the passwords as they are known here.
    pub(super) fn recognize(&mut self, known: &Access) {
        for (mine, known) in
            [(&mut self.password, &known.password), (&mut self.chair_password, &known.chair_password)]
        {
            if mine.as_ref().is_some_and(|password| password.hash.is_empty()) && known.is_some() {
                mine.clone_from(known);
            }
        }
    }

    /// The passwords of which one is needed for this role. None: none is.
    fn needed(&self, role: Role) -> Vec<&Password> {
        match (role, &self.password, &self.chair_password) {
            (Role::Chair, _, Some(chair)) => vec![chair],
            (Role::Chair, password, None) => password.iter().collect(),
            (_, None, _) => vec![],
            (_, Some(password), chair) => [password].into_iter().chain(chair).collect(),
        }
    }
}

/// What a participant may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// As a speaker, and may command.
    Chair,
    /// Is heard and seen.
    #[default]
    Speaker,
    /// Is muted for good.
    Listener,
    /// Sends nothing.
    Viewer,
}

impl Role {
    /// As on the wire.
    pub fn to_wire(self) -> wire::ParticipantRole {
        match self {
            Role::Chair => wire::ParticipantRole::Chair,
            Role::Speaker => wire::ParticipantRole::Speaker,
            Role::Listener => wire::ParticipantRole::Listener,
            Role::Viewer => wire::ParticipantRole::Viewer,
        }
    }

    pub(super) fn check(given: i32) -> Result<Role, Refusal> {
        match wire::ParticipantRole::try_from(given) {
            Ok(wire::ParticipantRole::Chair) => Ok(Role::Chair),
            Ok(wire::ParticipantRole::Listener) => Ok(Role::Listener),
            Ok(wire::ParticipantRole::Viewer) => Ok(Role::Viewer),
            Ok(wire::ParticipantRole::Speaker | wire::ParticipantRole::Unspecified) => Ok(Role::Speaker),
            Err(_) => Err(Refusal::invalid("role", format!("{given} is not known"))),
        }
    }

    /// Nobody hears who has it.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Role::Listener | Role::Viewer)
    }

    /// What becomes of media and sound in this role.
    pub(super) fn apply(self, media: &mut [Medium], audio: &mut ParticipantAudio) -> Result<(), Refusal> {
        audio.muted |= self.is_silent();
        if self != Role::Viewer {
            return Ok(());
        }
        for (index, medium) in media.iter_mut().enumerate() {
            if medium.direction == Direction::SendOnly as i32 {
                let why = "a viewer sends nothing; leave the medium out, or join with another role";
                return Err(Refusal::invalid(format!("media[{index}].direction"), why));
            }
            medium.direction = Direction::ReceiveOnly as i32;
        }
        Ok(())
    }
}

/// Wrong passwords of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    count: u32,
    pub(super) until_ms: u64,
}

impl Step<'_> {
    /// Whether the password opens the conference for this role.
    pub(super) fn check_password(
        &mut self,
        moid: &str,
        role: Role,
        given: &Option<Secret>,
    ) -> Result<(), Refusal> {
        let record = &self.found(moid)?.record;
        let needed = record.access.needed(role);
        if needed.is_empty() {
            return Ok(());
        }
        // All conferences of a room have its passwords.
        let place = if record.schedule.booking.is_empty() { &record.id } else { &record.schedule.booking };
        let (place, number, id) = (place.clone(), record.number.clone(), record.id.clone());
        let now = self.now.steady_ms;
        let wrong = self.state.wrong.get(&place).copied().filter(|wrong| wrong.until_ms > now);
        if let Some(wrong) = wrong.filter(|wrong| wrong.count >= WRONG_MAX) {
            let seconds = (wrong.until_ms - now).div_ceil(1000);
            let why = format!("too many wrong ones came; try again in {seconds} s");
            return Err(Refusal::at(Code::ResourceExhausted, "password", why));
        }
        let who = if role == Role::Chair { "a chair" } else { "whoever joins" };
        let Some(text) = given.as_ref().map(|secret| &secret.text).filter(|text| !text.is_empty()) else {
            let why = format!("conference {number} needs one from {who}");
            return Err(Refusal::at(Code::PermissionDenied, "password", why));
        };
        let answers: Vec<Option<bool>> =
            needed.iter().map(|password| password.is(text.get(..PASSWORD_MAX + 1).unwrap_or(text))).collect();
        if answers.contains(&Some(true)) {
            return Ok(());
        }
        if answers.contains(&None) {
            let why = format!(
                "conference {number} has one that was lost with the store; set a new one, or end the conference"
            );
            return Err(Refusal::at(Code::FailedPrecondition, "password", why));
        }
        let mut wrong = wrong.unwrap_or(Wrong { count: 0, until_ms: now + WRONG_MS });
        wrong.count += 1;
        self.state.wrong.insert(place, wrong);
        if wrong.count == WRONG_MAX {
            let message = format!("conference {number} got {WRONG_MAX} wrong passwords within a minute");
            self.emit(Kind::PasswordsRefused, About { conference: &id, ..About::default() }, message);
        }
        Err(Refusal::at(Code::PermissionDenied, "password", format!("is not that of conference {number}")))
    }

    /// Whether who asks may: the application, a chair, and everybody about itself.
    pub(super) fn check_by(&self, moid: &str, request: &Request) -> Result<(), Refusal> {
        let (by, about) = request.by();
        if by.is_empty() || about == Some(by) {
            return Ok(());
        }
        let record = &self.found(moid)?.record;
        match record.participants.get(by).map(|participant| participant.role) {
            Some(Role::Chair) => Ok(()),
            Some(_) => {
                let why = format!("'{by}' is no chair of conference {}", record.number);
                Err(Refusal::at(Code::PermissionDenied, "by", why))
            }
            None => {
                let why = format!("'{by}' is not in conference {}", record.number);
                Err(Refusal::at(Code::PermissionDenied, "by", why))
            }
        }
    }
}

impl Record {
    /// What a node is told to keep: enough to go on with if the store is lost, and no passwords.
    pub(super) fn for_nodes(&self) -> Record {
        Record { access: self.access.for_nodes(), history: self.history.for_nodes(), ..self.clone() }
    }

    /// Whether it is a virtual room that nobody is in.
    pub(super) fn is_room(&self) -> bool {
        self.phase == super::Phase::Booked && self.schedule.kind == Booking::Virtual
    }
}
