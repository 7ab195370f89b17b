//! What control knows.

use super::access::{Access, Role, Wrong};
use super::audio::{Audio, AudioChange, PairGain, ParticipantAudio};
use super::clock::Clock;
use super::conferences::Conferences;
use super::content::Content;
use super::detect::{Doubt, Hold, MassLoss};
use super::domains::Domains;
use super::history::History;
use super::limits::Claim;
use super::listing::Lists;
use super::maintain::Peers;
use super::media::Medium;
use super::notes::Notes;
use super::options::Options;
use super::reach::Isolation;
use super::recordings::Recording;
use super::repeat::{Answers, Applied};
use super::requests::Request;
use super::restore::{Restore, Restores};
use super::room::Placing;
use super::schedule::{Schedule, Watch};
use super::storing::Stored;
use super::video::Video;
use super::views::ParticipantVideo;
use crate::placement::units;
use motet_proto::conference::ConferenceEventKind;
use motet_proto::node as wire;
use motet_proto::registry::NodeState;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The time, as the edge saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never jumps: leases and retries.
    pub steady_ms: u64,
    /// Milliseconds since 1970: what people read.
    pub unix_ms: i64,
}

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Nobody asked, and nobody waits for an answer.
    pub(super) const NOBODY: RequestId = RequestId(0);
}

/// Names a command to an edge; an answer with another token is late or a duplicate, and is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Where a conference is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Placed, and its node has not confirmed it yet.
    #[default]
    Creating,
    /// Its node runs it.
    Running,
    /// Its node is lost or no longer runs it.
    PendingRestore,
    /// Nothing runs: a reservation, a template or a virtual room.
    Booked,
    /// Another node has been chosen, and has not confirmed it yet.
    Restoring,
    /// Over; kept for a while, so that a copy that turns up is recognized.
    Ended,
}

impl Phase {
    /// How many there are.
    pub(super) const COUNT: usize = 6;

    /// As in the store.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Creating => "creating",
            Phase::Running => "running",
            Phase::PendingRestore => "pending-restore",
            Phase::Booked => "booked",
            Phase::Restoring => "restoring",
            Phase::Ended => "ended",
        }
    }
}

/// What the store keeps of a conference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// MOID.
    pub id: String,
    /// E.164 number, 1 to 15 digits.
    pub number: String,
    /// Shown to people.
    pub name: String,
    /// MOID of the user domain that owns it.
    pub user_domain: String,
    /// Makes the create call safe to repeat.
    pub request_id: String,
    /// When it was created.
    pub created_unix_ms: i64,
    /// When it ended; 0 while it lives.
    pub ended_unix_ms: i64,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why, for people.
    pub reason: String,
    /// Node that it is assigned to.
    pub node_id: String,
    /// Machine room of that node.
    pub room: String,
    /// MOID of the platform that runs it.
    pub platform: String,
    /// Raised at each assignment to a node.
    pub epoch: u64,
    /// Raised at each change of what the node shall run.
    pub revision: u64,
    /// Raised at each write to the store.
    pub version: u64,
    /// Participants by id.
    pub participants: BTreeMap<String, Participant>,
    /// Participants that room is kept for.
    #[serde(default)]
    pub expected: u32,
    /// Id of the control process that alone changes it; empty: any may claim it.
    #[serde(default)]
    pub maintainer: String,
    /// What becomes of sound.
    #[serde(default)]
    pub audio: Audio,
    /// What becomes of pictures.
    #[serde(default)]
    pub video: Video,
    /// Who hears whom in another way than all others do.
    #[serde(default)]
    pub pair_gains: Vec<PairGain>,
    /// Who shares content.
    #[serde(default)]
    pub content: Content,
    /// What is recorded.
    #[serde(default)]
    pub recordings: Vec<Recording>,
    /// When it begins and ends.
    #[serde(default)]
    pub schedule: Schedule,
    /// Who may join.
    #[serde(default)]
    pub access: Access,
    /// Places that it takes in the limits of domains.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Requests with an id that were carried out of late.
    #[serde(default)]
    pub applied: Vec<Applied>,
    /// What nodes make SSRCs and numbers towards receivers of; random, and the same for its whole life. 0: made
    /// before there were such.
    #[serde(default)]
    pub seed: u64,
    /// Where it is to run.
    #[serde(default)]
    pub placing: Placing,
    /// It ends when its node is lost, instead of going to another one (003 section 12).
    #[serde(default)]
    pub no_restore: bool,
    /// What happened to it.
    #[serde(default)]
    pub history: History,
}

impl Record {
    /// Work that the conference is promised; see [`units`].
    pub fn units(&self) -> u64 {
        let streams_max = (self.audio.voices_max(), self.video.pictures_max());
        units::units_of(&self.participants, self.expected, streams_max)
    }

    /// Id of who has the number: the reservation or room that it is of, or the conference itself.
    pub fn number_owner(&self) -> &str {
        if self.schedule.booking.is_empty() { &self.id } else { &self.schedule.booking }
    }

    /// Participants who are there or expected.
    pub fn seats(&self) -> u32 {
        self.expected.max(self.participants.len() as u32)
    }
}

/// A participant as it was added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Shown to people.
    pub name: String,
    /// Checked, with defaults filled in.
    pub media: Vec<Medium>,
    /// What becomes of its sound.
    #[serde(default)]
    pub audio: ParticipantAudio,
    /// What becomes of its pictures.
    #[serde(default)]
    pub video: ParticipantVideo,
    /// What it may do.
    #[serde(default)]
    pub role: Role,
}

/// A conference in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Conference {
    /// As last agreed; a change in progress is in the operation.
    pub record: Record,
    /// What the last node answer gave it.
    pub allocation: Option<wire::ConferenceAllocation>,
    /// Participants that packets come from.
    pub alive: BTreeSet<String>,
    /// Number of the last event of its node that says who they are.
    pub(super) alive_told: u64,
    /// What the store holds of it, and is about to hold.
    pub(super) stored: Stored,
    /// The store does not hold this record yet.
    pub(super) dirty: bool,
    /// A write of it is on its way.
    pub(super) flushing: Option<Token>,
    /// The node may run something else than the record says.
    pub(super) repair: bool,
    /// When to repair again.
    pub(super) repair_at_ms: u64,
    /// Step at which its node last confirmed it; older lists say nothing about it.
    pub(super) confirmed: Token,
    /// When it began to be empty, and the like.
    pub(super) watch: Watch,
    /// On its way to another node.
    pub(super) restore: Restore,
    /// Since when the store lacks something of its history.
    pub(super) noted_ms: Option<u64>,
    /// What its node runs is known. Not so after a restart of control: the store may hold a change that the node
    /// never confirmed, and that was taken back.
    pub(super) heard: bool,
    /// It is to end, and why: the store has not answered that it has ended.
    pub(super) ending: Option<String>,
    /// When it was asked for.
    pub(super) begun_ms: u64,
    /// When it was first seen to have ended.
    pub(super) ended_ms: Option<u64>,
    pub(super) operation: Option<Operation>,
    pub(super) queue: VecDeque<(RequestId, Request)>,
}

/// The one thing that is being done to a conference.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operation {
    pub(super) token: Token,
    /// The record when it succeeds.
    pub(super) next: Record,
    pub(super) work: Work,
    /// The store has taken it, and the node is being told.
    pub(super) at_node: bool,
    /// Since when the store or the node has been asked.
    pub(super) since_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// Candidates that failed and why; whether control chose the number.
    Create {
        request: RequestId,
        tried: BTreeMap<String, String>,
        number_chosen: bool,
    },
    /// Its node runs it; the store is to hold that.
    Confirm {
        request: RequestId,
    },
    /// A participant joins or leaves.
    Change {
        request: RequestId,
        joins: bool,
        participant: String,
    },
    /// Something becomes of sound.
    Audio {
        request: RequestId,
        what: AudioChange,
    },
    End {
        request: RequestId,
    },
    /// Something is booked; whether control chose the number.
    Book {
        request: RequestId,
        number_chosen: bool,
    },
    /// Only control keeps what changes; what watchers are told.
    Save {
        request: RequestId,
        told: Vec<(ConferenceEventKind, String)>,
    },
    /// The node is told again.
    Repair,
    /// It goes to another node than this one, where it ran under this epoch.
    Restore {
        from: String,
        epoch: u64,
    },
    /// This control process is to maintain it.
    Claim,
}

impl Work {
    /// Who waits for it.
    pub(super) fn request(&self) -> Option<RequestId> {
        match self {
            Work::Create { request, .. }
            | Work::Confirm { request }
            | Work::Change { request, .. }
            | Work::Audio { request, .. }
            | Work::End { request }
            | Work::Book { request, .. }
            | Work::Save { request, .. } => Some(*request),
            Work::Repair | Work::Restore { .. } | Work::Claim => None,
        }
    }
}

/// A node that announced itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Address of its `MediaNode` service.
    pub address: String,
    /// As it described itself last.
    pub description: wire::NodeDescription,
    /// Where it is in its life.
    pub state: NodeState,
    /// When it announced last.
    pub announced_ms: u64,
    /// Lost when it has not announced until then.
    pub lease_until_ms: u64,
    /// What it is asked, and says, of what it runs.
    pub(super) lists: Lists,
    /// What speaks against its life, and who is asked about it.
    pub(super) doubt: Option<Doubt>,
    /// When it is isolated: since when, and who reaches it.
    pub(super) isolation: Option<Isolation>,
    /// Lost, and why its conferences stay where they are all the same.
    pub(super) hold: Option<Hold>,
    /// When it was lost; 0: it was not.
    pub(super) lost_ms: u64,
    /// Why, for people.
    pub(super) lost_why: String,
    /// Did not answer a command; others are preferred until then.
    pub(super) avoid_until_ms: u64,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeAnnouncement {
    /// What it runs, if it was stopped for a while and asks what it may go on with: ids and epochs.
    pub held: Vec<(String, u64)>,
    /// Address of its `MediaNode` service.
    pub address: String,
    /// Who it is.
    pub description: wire::NodeDescription,
    /// It ends in good order.
    pub leaving: bool,
}

/// A conference that a node runs; from `ListConferences`.
pub type RunningCopy = wire::RunningConference;

/// An event of a node's `Watch` stream.
pub type MediaEvent = wire::Event;

/// A conference of a booking that could not be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abandoned {
    /// Its highest epoch.
    pub(super) epoch: u64,
    /// How long it is remembered.
    pub(super) until_ms: u64,
}

/// All that control knows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What it was told to hold to.
    pub options: Options,
    /// Conferences by id, tombstones included.
    pub conferences: Conferences,
    /// Nodes by id.
    pub nodes: BTreeMap<String, Node>,
    /// Why the store cannot be used; none when it can.
    pub store_fault: Option<String>,
    /// The records of the store have been read.
    pub(super) loaded: bool,
    /// When to try the store again.
    pub(super) store_retry_ms: u64,
    pub(super) last_token: u64,
    /// Who owns conferences and who serves them.
    pub domains: Domains,
    /// Why they cannot be read.
    pub(super) domains_fault: Option<String>,
    /// When to read them again.
    pub(super) domains_load_ms: u64,
    /// When to renew what conferences hold in them.
    pub(super) places_renew_ms: u64,
    /// The machine's clock.
    pub(super) clock: Clock,
    /// By how much it was ahead of the one that never jumps when times were worked out.
    pub(super) agenda_clock_ms: Option<i64>,
    /// Conference on a lost node that was looked at last, if there are more than one step looks at.
    pub(super) swept: String,
    /// The node that was asked for the next page of its list last.
    pub(super) listed: String,
    /// Conference whose places were renewed last, while they are being renewed.
    pub(super) places_renewed: Option<String>,
    /// Requests that may come again.
    pub(super) answers: Answers,
    /// Wrong passwords of late, by conference or room.
    pub(super) wrong: BTreeMap<String, Wrong>,
    /// Conferences of bookings that could not be created, by id: a node may run a copy all the same.
    pub(super) abandoned: BTreeMap<String, Abandoned>,
    /// Conferences that the store is to forget and has not said to have forgotten, by id: when to ask again.
    pub(super) removals: BTreeMap<String, u64>,
    /// When the first event came: nodes get time to announce themselves.
    pub(super) started_ms: Option<u64>,
    /// So many nodes were lost at once that nothing moves.
    pub(super) mass_loss: Option<MassLoss>,
    /// Conferences that wait to be restored.
    pub(super) restores: Restores,
    /// What operators have said about nodes.
    pub(super) notes: Notes,
    /// The other control processes on the same store.
    pub(super) peers: Peers,
}

impl State {
    /// Nothing known, the store not read yet.
    pub fn new(options: Options) -> State {
        State {
            options,
            conferences: Conferences::default(),
            nodes: BTreeMap::new(),
            store_fault: Some("its records have not been read yet".into()),
            loaded: false,
            store_retry_ms: 0,
            last_token: 0,
            domains: Domains::default(),
            domains_fault: None,
            domains_load_ms: 0,
            places_renew_ms: 0,
            clock: Clock::default(),
            agenda_clock_ms: None,
            swept: String::new(),
            listed: String::new(),
            places_renewed: None,
            answers: Answers::default(),
            wrong: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            removals: BTreeMap::new(),
            started_ms: None,
            mass_loss: None,
            restores: Restores::default(),
            notes: Notes::default(),
            peers: Peers::default(),
        }
    }
}
