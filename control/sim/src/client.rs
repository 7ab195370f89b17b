//! Applications: each asks for one thing at a time, repeats what was not answered, and writes down what it
//! was told.

use crate::ledger::{Belief, Entry, Person};
use crate::message::{Ask, CallId, Waiting, Who};
use crate::plan::{Order, Ordered};
use crate::random::Random;
use crate::world::{Happening, World};
use motet_control::conference::{Request, Response};
use motet_control::refusal::Refusal;
use motet_proto::conference as wire;
use motet_proto::media::MediaKind;
use tonic::Code;

/// An application waits so long for an answer.
const PATIENCE_MS: u64 = 5_000;

/// An application.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) random: Random,
    pub(crate) operation: Option<Operation>,
    created: u32,
}

/// What it is about.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) what: What,
    /// In the ledger.
    pub(crate) entry: usize,
    /// As it was known before.
    before: Option<Person>,
    /// An attempt may have been carried out.
    uncertain: bool,
    pub(crate) call: Option<CallId>,
    pub(crate) attempts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Create,
    /// A create that was acknowledged, once more.
    CreateAgain,
    Join(String),
    Leave(String),
    Mute(String, bool),
    Get,
    End,
}

impl Client {
    pub(crate) fn new(random: Random) -> Client {
        Client { random, operation: None, created: 0 }
    }
}

impl World {
    /// It is time for an application to do something.
    pub(crate) fn client_wakes(&mut self, index: usize) {
        if self.clients[index].operation.is_none() {
            if !self.load {
                return;
            }
            let operation = self.choose(index);
            self.clients[index].operation = operation;
        }
        let Some(mut operation) = self.clients[index].operation.clone() else {
            return self.client_rests(index);
        };
        operation.attempts += 1;
        let request = self.request_of(index, &operation);
        let random = &mut self.clients[index].random;
        let css = random.index(self.css.len());
        let to = Who::Css(css);
        let call = self.call(
            Who::Client(index),
            to,
            Ask::Client(Box::new(request)),
            Waiting::Operation,
            PATIENCE_MS,
        );
        operation.call = Some(call);
        self.clients[index].operation = Some(operation);
    }

    /// What a script says is asked for by an application of its own.
    pub(crate) fn client_is_told(&mut self, order: usize) {
        let index = self.plan.clients + order;
        let Order { conference, what, .. } = self.plan.script[order].clone();
        if let Ordered::Create(number) | Ordered::CreateUnrestored(number) = what {
            let operation = self.ask_for_another(index, number.to_owned());
            let unrestored = matches!(what, Ordered::CreateUnrestored(_));
            self.ledger.entries[operation.entry].no_restore |= unrestored;
            self.clients[index].operation = Some(operation);
            return self.client_wakes(index);
        }
        if self.ledger.entries.get(conference).is_none_or(|entry| entry.known.is_none()) {
            return self.violated("core", format!("the script asks for conference {conference} too soon"));
        }
        let what = match what {
            Ordered::Join(who) => What::Join(who.to_owned()),
            Ordered::Leave(who) => What::Leave(who.to_owned()),
            Ordered::Mute(who, muted) => What::Mute(who.to_owned(), muted),
            Ordered::Get => What::Get,
            Ordered::End | Ordered::Create(_) | Ordered::CreateUnrestored(_) => What::End,
        };
        let operation = self.intend(conference, what);
        self.clients[index].operation = Some(operation);
        self.client_wakes(index);
    }

    /// Writes down that something is asked for and not certain until it is answered.
    fn intend(&mut self, entry: usize, what: What) -> Operation {
        let absent = Person { present: Belief::Is(false), muted: Belief::Is(false) };
        let conference = &mut self.ledger.entries[entry];
        let mut before = None;
        if let What::Join(who) | What::Leave(who) | What::Mute(who, _) = &what {
            let known = conference.people.get(who).copied().unwrap_or(absent);
            let next = match what {
                What::Mute(..) => Person { muted: Belief::Perhaps, ..known },
                // Who comes back is not muted, if it was done.
                What::Leave(_) => Person { present: Belief::Perhaps, muted: Belief::Perhaps },
                _ => Person { present: Belief::Perhaps, ..known },
            };
            conference.people.insert(who.clone(), next);
            before = Some(known);
        }
        if what == What::End {
            conference.ended = Belief::Perhaps;
        }
        Operation { what, entry, before, uncertain: false, call: None, attempts: 0 }
    }

    pub(crate) fn client_rests(&mut self, index: usize) {
        if index >= self.plan.clients {
            return;
        }
        let rest = self.clients[index].random.between(20, self.plan.rest_ms_max);
        self.after(rest, Happening::Client(index));
    }

    fn choose(&mut self, index: usize) -> Option<Operation> {
        let living = self.ledger.living();
        let random = &mut self.clients[index].random;
        let dice = random.below(100);
        if living.is_empty() || (dice < 12 && living.len() < self.plan.conferences_max) {
            let any = random.permille(400);
            let wanted = if any { String::new() } else { format!("70{}", random.below(20)) };
            return Some(self.ask_for_another(index, wanted));
        }
        let entry = *random.pick(&living);
        let person = format!("a{}p{}", index + 1, random.below(3));
        let muted = random.permille(500);
        let conference = &self.ledger.entries[entry];
        let mine = conference.creator == index;
        let present = conference.people.get(&person).map_or(Belief::Is(false), |known| known.present);
        let what = match dice {
            ..60 if present == Belief::Is(false) || dice < 20 => What::Join(person),
            ..70 if present == Belief::Is(true) => What::Mute(person, muted),
            70..80 => What::Leave(person),
            80..84 if mine => What::End,
            84..88 if mine => What::CreateAgain,
            _ => What::Get,
        };
        Some(self.intend(entry, what))
    }

    fn ask_for_another(&mut self, index: usize, wanted: String) -> Operation {
        let client = &mut self.clients[index];
        client.created += 1;
        // Not drawn: worlds without such conferences are as they would be otherwise.
        let turn = (client.created as usize + index) as u32;
        let one_in = self.plan.unrestored_one_in;
        self.ledger.entries.push(Entry {
            request_id: format!("a{}r{}", index + 1, client.created),
            creator: index,
            no_restore: one_in > 0 && turn.is_multiple_of(one_in),
            wanted,
            known: None,
            refused: false,
            ended: Belief::Is(false),
            ended_ms: 0,
            people: Default::default(),
            excused: false,
        });
        let entry = self.ledger.entries.len() - 1;
        Operation { what: What::Create, entry, before: None, uncertain: false, call: None, attempts: 0 }
    }

    fn request_of(&mut self, index: usize, operation: &Operation) -> Request {
        let entry = &self.ledger.entries[operation.entry];
        let number = entry.wanted.clone();
        let request_id = entry.request_id.clone();
        let by_number = self.clients[index].random.permille(300);
        let conference = match &entry.known {
            // Another conference may get the number of one that has ended.
            Some((_, number)) if by_number && operation.what == What::Get => number.clone(),
            Some((id, _)) => id.clone(),
            None => String::new(),
        };
        match operation.what.clone() {
            What::Create | What::CreateAgain => {
                self.moids += 1;
                let id = format!("m{}", self.moids);
                let no_restore = Some(entry.no_restore);
                let create = wire::CreateRequest { number, request_id, no_restore, ..Default::default() };
                Request::Create { id, seed: self.moids, create }
            }
            What::Join(participant) => {
                let medium = wire::ParticipantMedium { kind: MediaKind::Audio.into(), ..Default::default() };
                let media = vec![medium];
                let add =
                    wire::AddParticipantRequest { conference, participant, media, ..Default::default() };
                Request::Add { id: "none".into(), add }
            }
            What::Leave(participant) => Request::Remove(wire::RemoveParticipantRequest {
                conference,
                participant,
                ..Default::default()
            }),
            What::Mute(participant, muted) => {
                Request::SetParticipantAudio(wire::SetParticipantAudioRequest {
                    conference,
                    participant,
                    muted: Some(muted),
                    ..Default::default()
                })
            }
            What::Get => Request::Get(wire::GetRequest { conference }),
            What::End => {
                let reason = format!("app{} ended it", index + 1);
                Request::End(wire::EndRequest { conference, reason, ..Default::default() })
            }
        }
    }

    /// An answer, or none in time.
    pub(crate) fn client_hears(&mut self, index: usize, answer: Option<Result<Response, Refusal>>) {
        let Some(mut operation) = self.clients[index].operation.take() else { return };
        let again = match &answer {
            None => true,
            Some(Err(refusal)) => matches!(
                refusal.code,
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted
            ),
            Some(Ok(_)) => false,
        };
        if again {
            operation.uncertain = true;
            operation.call = None;
            // Some give up, and never learn.
            let random = &mut self.clients[index].random;
            let gives_up = self.load && index < self.plan.clients && random.permille(50);
            if !gives_up {
                self.clients[index].operation = Some(operation);
                let pause = self.clients[index].random.between(100, 600);
                return self.after(pause, Happening::Client(index));
            }
            self.count("given up");
        }
        match answer {
            Some(Ok(response)) => self.client_learns(&operation, &response),
            Some(Err(refusal)) if !again => self.client_is_refused(&operation, &refusal),
            _ => {}
        }
        self.client_rests(index);
    }

    /// What was asked for has been done.
    fn client_learns(&mut self, operation: &Operation, response: &Response) {
        let entry = &mut self.ledger.entries[operation.entry];
        let people = &mut entry.people;
        match (&operation.what, response) {
            (What::Create | What::CreateAgain, Response::Conference(info)) => {
                if let Some((id, number)) = &entry.known
                    && (*id != info.id || *number != info.number)
                    && !entry.excused
                {
                    let what = format!("{} got {id} and then {}", entry.request_id, info.id);
                    return self.violated("N5", what);
                }
                if !entry.wanted.is_empty() && entry.wanted != info.number {
                    let what = format!("{} was asked for, {} was given", entry.wanted, info.number);
                    return self.violated("N1", what);
                }
                entry.known = Some((info.id.clone(), info.number.clone()));
                self.count("created");
            }
            (What::Join(who), Response::Participant(_)) => {
                people.entry(who.clone()).and_modify(|person| person.present = Belief::Is(true));
                self.count("joined");
            }
            (What::Leave(who), Response::Removed(_)) => {
                let gone = Person { present: Belief::Is(false), muted: Belief::Is(false) };
                people.insert(who.clone(), gone);
                self.count("left");
            }
            (What::Mute(who, muted), Response::Participant(_)) => {
                people.entry(who.clone()).and_modify(|person| person.muted = Belief::Is(*muted));
                self.count("muted");
            }
            (What::End, Response::Conference(_)) => {
                (entry.ended, entry.ended_ms) = (Belief::Is(true), self.now_ms);
                self.count("ended");
            }
            (What::Get, Response::Conference(info)) => {
                let known = entry.known.clone();
                if entry.lives() && !entry.excused && known.as_ref().is_some_and(|(id, _)| *id != info.id) {
                    let what = format!("{known:?} was asked for, {} was given", info.id);
                    return self.violated("N1", what);
                }
                self.count("got");
            }
            (what, response) => {
                let what = format!("{what:?} was answered with {response:?}");
                self.violated("core", what);
            }
        }
    }

    fn client_is_refused(&mut self, operation: &Operation, refusal: &Refusal) {
        self.count("refused");
        let index = operation.entry;
        let entry = &self.ledger.entries[index];
        let (lives, excused) = (entry.lives(), entry.excused);
        let present = operation.before.map(|before| before.present);
        let (wanted, known) = (entry.wanted.clone(), entry.known.clone());
        let since_ms = self.now_ms.saturating_sub(PATIENCE_MS);
        match refusal.code {
            // It waits to be restored, or has ended meanwhile.
            Code::FailedPrecondition => {}
            Code::NotFound if !lives || excused => {}
            Code::NotFound if refusal.field == "participant" && present != Some(Belief::Is(true)) => {}
            Code::NotFound if refusal.field == "participant" => {
                self.violated("N3", format!("{:?} of {known:?}: {refusal}", operation.what));
            }
            Code::NotFound => self.violated("N1", format!("{:?} of {known:?}: {refusal}", operation.what)),
            Code::ResourceExhausted => {}
            // Its own earlier attempt may hold the number for a moment.
            Code::AlreadyExists if operation.uncertain => {}
            Code::AlreadyExists if self.ledger.may_be_taken(&wanted, index, since_ms) => {}
            _ => self.violated("N5", format!("{:?}: {:?}: {refusal}", operation.what, refusal.code)),
        }
        // A refusal has changed nothing; an earlier attempt that was not answered may have.
        if operation.uncertain {
            return;
        }
        let entry = &mut self.ledger.entries[index];
        match &operation.what {
            What::Create => entry.refused = true,
            What::End => entry.ended = Belief::Is(false),
            What::Join(who) | What::Leave(who) | What::Mute(who, _) => {
                if let Some(before) = operation.before {
                    entry.people.insert(who.clone(), before);
                }
            }
            What::Get | What::CreateAgain => {}
        }
    }
}
