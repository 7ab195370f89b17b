//! What happened to a conference, and its call record (CDR): kept with its record, and so wherever that is.
//!
//! An entry comes with each event that says what somebody did or what became of the conference; what packets
//! alone make happen (who is heard, who talks) is left out. The first entries and the latest are kept. The call
//! record is one chain of segments, one for each epoch, each beginning when the one before ends, so that their
//! sum is the time from creation to end whatever was lost in between.

use super::model::Record;
use super::step::{About, Step};
use crate::placement::Placed;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::conference::{self as wire, CallSegment, HistoryEntry};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Entries that are kept from the begin.
const FIRST: usize = 5;
/// Entries that are kept.
const ENTRIES_MAX: usize = 50;
/// Segments that are kept; the older ones become one.
const SEGMENTS_MAX: usize = 64;

/// What happened to a conference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Oldest first.
    #[serde(default)]
    pub entries: VecDeque<Entry>,
    /// How many are not there any more, after the first few.
    #[serde(default)]
    pub left_out: u32,
    /// The call record, oldest first.
    #[serde(default)]
    pub segments: Vec<Segment>,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970.
    #[serde(rename = "at")]
    pub unix_ms: i64,
    /// Such as `participant-joined`.
    pub kind: String,
    /// Whom it is about; may be empty.
    #[serde(default, rename = "who", skip_serializing_if = "String::is_empty")]
    pub participant: String,
    /// Node; may be empty.
    #[serde(default, rename = "node", skip_serializing_if = "String::is_empty")]
    pub node_id: String,
    /// One sentence for people.
    pub message: String,
}

/// Time under one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Of the conference.
    pub epoch: u64,
    /// Where it ran.
    pub node_id: String,
    /// Machine room of the node.
    pub room: String,
    /// MOID of the platform.
    pub platform: String,
    /// Begin, in milliseconds since 1970.
    pub from_unix_ms: i64,
    /// End; 0: it goes on.
    pub until_unix_ms: i64,
    /// Time without a node that runs it, in milliseconds.
    pub down_ms: u64,
    /// Most participants at once.
    pub participants_max: u32,
    /// Time of all participants together, in milliseconds.
    pub participant_ms: u64,
    /// Participants since `counted_unix_ms`; none while no node runs it.
    participants: Option<u32>,
    counted_unix_ms: i64,
}

impl Segment {
    fn begin(record: &Record, unix_ms: i64) -> Segment {
        Segment {
            epoch: record.epoch,
            node_id: record.node_id.clone(),
            room: record.room.clone(),
            platform: record.platform.clone(),
            from_unix_ms: unix_ms,
            counted_unix_ms: unix_ms,
            ..Segment::default()
        }
    }

    /// From now on there are so many participants; none: no node runs it.
    fn count(&mut self, unix_ms: i64, participants: Option<u32>) {
        // A clock that was set back counts nothing.
        let passed_ms = u64::try_from(unix_ms - self.counted_unix_ms).unwrap_or(0);
        match self.participants {
            Some(before) => self.participant_ms += passed_ms * u64::from(before),
            None => self.down_ms += passed_ms,
        }
        (self.participants, self.counted_unix_ms) = (participants, unix_ms);
        self.participants_max = self.participants_max.max(participants.unwrap_or(0));
    }
}

impl History {
    fn add(&mut self, entry: Entry) {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.remove(FIRST);
            self.left_out += 1;
        }
        self.entries.push_back(entry);
    }

    /// The segment that goes on.
    fn open(&mut self) -> Option<&mut Segment> {
        self.segments.last_mut().filter(|segment| segment.until_unix_ms == 0)
    }

    /// A node runs it, as far as is known.
    fn runs(&mut self) -> bool {
        self.open().is_some_and(|segment| segment.participants.is_some())
    }

    fn close(&mut self, unix_ms: i64) {
        if let Some(segment) = self.open() {
            segment.count(unix_ms, None);
            segment.until_unix_ms = unix_ms.max(segment.from_unix_ms);
        }
    }

    fn begin(&mut self, segment: Segment) {
        self.segments.push(segment);
        if self.segments.len() > SEGMENTS_MAX {
            let second = self.segments.remove(1);
            let first = &mut self.segments[0];
            first.until_unix_ms = second.until_unix_ms;
            first.down_ms += second.down_ms;
            first.participants_max = first.participants_max.max(second.participants_max);
            first.participant_ms += second.participant_ms;
        }
    }

    /// What nodes keep of it: the call record.
    pub(super) fn for_nodes(&self) -> History {
        History { segments: self.segments.clone(), ..History::default() }
    }
}

impl Record {
    /// It goes to this node.
    pub(super) fn assign(&mut self, placed: Placed, unix_ms: i64) {
        let message = format!("placed on node {}: {}", placed.node, placed.why);
        (self.node_id, self.room) = (placed.node.clone(), placed.room);
        let (kind, participant) = ("placed".to_owned(), String::new());
        self.history.add(Entry { unix_ms, kind, participant, node_id: placed.node, message });
    }

    /// Brings the call record up to what has just happened.
    fn account(&mut self, kind: Kind, unix_ms: i64) {
        let there = Some(self.participants.len() as u32);
        match kind {
            Kind::Running | Kind::Adopted => {
                let epoch = self.epoch;
                if self.history.open().is_none_or(|segment| segment.epoch != epoch) {
                    let first = self.history.segments.is_empty() && kind == Kind::Running;
                    let from = if first { self.created_unix_ms } else { unix_ms };
                    // Without a gap: what was down belongs to the one before.
                    self.history.close(unix_ms);
                    let segment = Segment::begin(self, from);
                    self.history.begin(segment);
                }
                self.recount(unix_ms, there);
            }
            Kind::ParticipantJoined | Kind::ParticipantLeft if self.history.runs() => {
                self.recount(unix_ms, there);
            }
            Kind::PendingRestore => self.recount(unix_ms, None),
            Kind::Ended => self.history.close(unix_ms),
            _ => {}
        }
    }

    fn recount(&mut self, unix_ms: i64, participants: Option<u32>) {
        if let Some(segment) = self.history.open() {
            segment.count(unix_ms, participants);
        }
    }

    /// As applications see it.
    pub(super) fn told(&self) -> wire::HistoryResponse {
        let entries = self.history.entries.iter().map(|entry| HistoryEntry {
            unix_ms: entry.unix_ms,
            kind: entry.kind.clone(),
            participant: entry.participant.clone(),
            node_id: entry.node_id.clone(),
            message: entry.message.clone(),
        });
        let segments = self.history.segments.iter().map(|segment| CallSegment {
            epoch: segment.epoch,
            node_id: segment.node_id.clone(),
            room: segment.room.clone(),
            platform: segment.platform.clone(),
            from_unix_ms: segment.from_unix_ms,
            until_unix_ms: segment.until_unix_ms,
            down_ms: segment.down_ms,
            participants_max: segment.participants_max,
            participant_ms: segment.participant_ms,
        });
        wire::HistoryResponse {
            conference: self.id.clone(),
            number: self.number.clone(),
            entries: entries.collect(),
            left_out: self.history.left_out,
            segments: segments.collect(),
        }
    }
}

impl Step<'_> {
    /// Keeps what was told about a conference.
    pub(super) fn note(&mut self, kind: Kind, about: About<'_>, message: &str) {
        // What another control process maintains, it keeps itself.
        if !is_kept(kind) || about.conference.is_empty() || !self.ours(about.conference) {
            return;
        }
        let now = self.now;
        let Some(conference) = self.conference(about.conference) else { return };
        let name = kind.as_str_name().trim_start_matches("CONFERENCE_EVENT_KIND_");
        let entry = Entry {
            unix_ms: now.unix_ms,
            kind: name.to_ascii_lowercase().replace('_', "-"),
            participant: about.participant.to_owned(),
            node_id: about.node.to_owned(),
            message: message.to_owned(),
        };
        conference.record.account(kind, now.unix_ms);
        conference.record.history.add(entry.clone());
        // What is being done was made from the record before.
        if let Some(operation) = &mut conference.operation {
            operation.next.history.add(entry);
            operation.next.history.segments.clone_from(&conference.record.history.segments);
        }
        conference.noted_ms.get_or_insert(now.steady_ms);
    }
}

/// What somebody did, or what became of the conference.
fn is_kept(kind: Kind) -> bool {
    let kept = [
        Kind::Created,
        Kind::Running,
        Kind::Ended,
        Kind::PendingRestore,
        Kind::Adopted,
        Kind::Restoring,
        Kind::ParticipantJoined,
        Kind::ParticipantLeft,
        Kind::AudioChanged,
        Kind::VideoChanged,
        Kind::ContentChanged,
        Kind::RecordingChanged,
        Kind::RecordingFailed,
        Kind::EndsSoon,
        Kind::EndChanged,
        Kind::LockChanged,
        Kind::Renamed,
        Kind::PasswordChanged,
        Kind::RoleChanged,
        Kind::Booked,
        Kind::Late,
        Kind::Missed,
        Kind::PasswordsRefused,
    ];
    kept.contains(&kind)
}
