//! What is recorded of a conference: kept in its record, so that it goes on wherever the conference does.

use super::audio::AudioChange;
use super::domains::Feature;
use super::media::check_identifier;
use super::model::{MediaEvent, Record, RequestId};
use super::requests::Response;
use super::step::{About, Step};
use crate::placement;
use crate::refusal::Refusal;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::media;
use motet_proto::node::event::Kind as Media;
use serde::{Deserialize, Serialize};
use tonic::Code;

/// A recording; see `media.proto`. Enumerations are the numbers of the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// Unique in the conference.
    pub id: String,
    /// Folder of its files; empty: named after the ids.
    pub folder: String,
    /// Participants are written.
    pub participants: bool,
    /// These only; empty: all.
    pub only: Vec<String>,
    /// `MediaKind`, these only; empty: all.
    pub kinds: Vec<i32>,
    /// The mix is written.
    pub mix: bool,
    /// The composed picture is written, with the mix.
    pub canvas: bool,
    /// `RecordingFormat`.
    pub format: i32,
    /// Another file after so many seconds; 0: never.
    pub segment_seconds: u32,
    /// Another file after so many bytes; 0: never.
    pub segment_bytes: u64,
    /// What comes now is left out.
    pub paused: bool,
}

/// Recordings of a conference at most.
const RECORDINGS_MAX: usize = 16;
const FOLDER_BYTES_MAX: usize = 128;
const SEGMENT_SECONDS_MAX: u32 = 86_400;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// A piece of live output lasts so long at most.
const LIVE_SECONDS_MAX: u32 = 60;

impl Recording {
    /// Errors name the field, beginning with `recording`.
    fn check(given: Option<media::Recording>) -> Result<Recording, Refusal> {
        let given = given.ok_or_else(|| Refusal::invalid("recording", "is missing"))?;
        let bad = |field: &str, why: String| Err(Refusal::invalid(format!("recording.{field}"), why));
        check_identifier("recording.id", &given.id)?;
        if !given.folder.is_empty() {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
            let name = &given.folder;
            if name.len() > FOLDER_BYTES_MAX || name.starts_with('.') || !name.chars().all(allowed) {
                let why = format!(
                    "'{name}' must be 1 to {FOLDER_BYTES_MAX} of A-Z a-z 0-9 . _ : - and begin with no dot"
                );
                return bad("folder", why);
            }
        }
        if !given.participants && !given.mix && !given.canvas {
            return bad("participants", "or mix or canvas must be set, or nothing is written".to_owned());
        }
        if !given.participants && (!given.only.is_empty() || !given.kinds.is_empty()) {
            return bad("participants", "must be set where only or kinds choose among them".to_owned());
        }
        for (index, who) in given.only.iter().enumerate() {
            check_identifier(&format!("recording.only[{index}]"), who)?;
        }
        let kind = |kind: &i32| media::MediaKind::try_from(*kind).is_ok_and(|kind| kind as i32 != 0);
        if let Some(unknown) = given.kinds.iter().find(|given| !kind(given)) {
            return bad("kinds", format!("{unknown} is not known"));
        }
        if media::RecordingFormat::try_from(given.format).is_err() {
            return bad("format", format!("{} is not known", given.format));
        }
        if given.format() == media::RecordingFormat::Hls {
            // Sound of participants is what they send, which few players of live output take.
            if given.participants {
                return bad("format", "is live, which is of mix and canvas, not of participants".to_owned());
            }
            if given.segment_bytes != 0 || given.segment_seconds > LIVE_SECONDS_MAX {
                let why = format!("live output has pieces of at most {LIVE_SECONDS_MAX} s, and of any size");
                return bad("segment_seconds", why);
            }
        }
        if given.segment_seconds > SEGMENT_SECONDS_MAX {
            let why = format!("{} s; at most {SEGMENT_SECONDS_MAX}", given.segment_seconds);
            return bad("segment_seconds", why);
        }
        if given.segment_bytes != 0 && given.segment_bytes < SEGMENT_BYTES_MIN {
            let why = format!("{} bytes; at least {SEGMENT_BYTES_MIN}, or 0", given.segment_bytes);
            return bad("segment_bytes", why);
        }
        Ok(Recording::from_wire(&given))
    }

    pub(super) fn to_wire(&self) -> media::Recording {
        media::Recording {
            id: self.id.clone(),
            folder: self.folder.clone(),
            participants: self.participants,
            only: self.only.clone(),
            kinds: self.kinds.clone(),
            mix: self.mix,
            canvas: self.canvas,
            format: self.format,
            segment_seconds: self.segment_seconds,
            segment_bytes: self.segment_bytes,
            paused: self.paused,
        }
    }

    pub(super) fn from_wire(given: &media::Recording) -> Recording {
        Recording {
            id: given.id.clone(),
            folder: given.folder.clone(),
            participants: given.participants,
            only: given.only.clone(),
            kinds: given.kinds.clone(),
            mix: given.mix,
            canvas: given.canvas,
            format: given.format,
            segment_seconds: given.segment_seconds,
            segment_bytes: given.segment_bytes,
            paused: given.paused,
        }
    }
}

impl Step<'_> {
    /// Begins a recording, or changes one.
    pub(super) fn set_recording(
        &mut self,
        request: RequestId,
        moid: &str,
        given: Option<media::Recording>,
    ) -> Result<Option<Response>, Refusal> {
        let recording = Recording::check(given)?;
        let before = self.changeable(moid)?.record.clone();
        self.permits(&before.user_domain, Feature::Recording, "recording")?;
        self.check_records(&before)?;
        let mut next = before;
        let (id, what) = (recording.id.clone(), if recording.paused { "is paused" } else { "is recorded" });
        let others = || next.recordings.iter().filter(|known| known.id != id);
        if others().any(|known| !known.folder.is_empty() && known.folder == recording.folder) {
            let why = format!("'{}' is that of another recording", recording.folder);
            return Err(Refusal::invalid("recording.folder", why));
        }
        match next.recordings.iter().position(|known| known.id == id) {
            Some(known) => next.recordings[known] = recording,
            None if next.recordings.len() == RECORDINGS_MAX => {
                let why = format!("{} has {RECORDINGS_MAX} recordings already", next.number);
                return Err(Refusal::at(Code::ResourceExhausted, "recording", why));
            }
            None => next.recordings.push(recording),
        }
        let told = format!("recording {id} of conference {} {what}", next.number);
        self.change_audio(request, moid, next, AudioChange::Recording(told))
    }

    /// Ends a recording.
    pub(super) fn remove_recording(
        &mut self,
        request: RequestId,
        moid: &str,
        id: &str,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.changeable(moid)?.record.clone();
        next.recordings.retain(|known| known.id != id);
        let told = format!("recording {id} of conference {} has ended", next.number);
        self.change_audio(request, moid, next, AudioChange::Recording(told))
    }

    /// Who asks is told at once that nothing would be written.
    fn check_records(&self, record: &Record) -> Result<(), Refusal> {
        let node = self.state.nodes.get(&record.node_id).filter(|node| placement::reachable(node));
        let capacity = node.and_then(|node| node.description.capacity.as_ref());
        if capacity.is_some_and(|capacity| !capacity.records) {
            let why = format!("node {} has no folder for recordings (--recordings)", record.node_id);
            return Err(Refusal::at(Code::FailedPrecondition, "recording", why));
        }
        Ok(())
    }

    /// An event of a recording. False: it is another one.
    pub(super) fn recorded(&mut self, event: &MediaEvent, number: &str, kind: &Media) -> bool {
        let whose = |leg: &str, canvas| match leg {
            "" if canvas => "the composed picture".to_owned(),
            "" => "the mix".to_owned(),
            leg => leg.to_owned(),
        };
        let (kind, who, message) = match kind {
            Media::SegmentClosed(segment) => {
                let (what, path) = (whose(&segment.leg, segment.canvas), &segment.path);
                let seconds = segment.duration_ms as f64 / 1e3;
                let message = format!("{seconds:.1} s of {what} in conference {number} are in {path}");
                (Kind::RecordingSegment, segment.leg.as_str(), message)
            }
            Media::RecordingFailed(failed) => {
                let (id, why) = (&failed.recording, &failed.message);
                let message = format!("recording {id} of conference {number} has ended: {why}");
                (Kind::RecordingFailed, failed.leg.as_str(), message)
            }
            Media::SegmentBegan(_) | Media::RecordingStopped(_) => return true,
            _ => return false,
        };
        let about = About {
            conference: &event.conference,
            participant: who,
            node: &event.node_id,
            ..About::default()
        };
        self.emit(kind, about, message);
        true
    }
}

impl Record {
    /// As applications and nodes see them.
    pub(super) fn recordings_to_wire(&self) -> Vec<media::Recording> {
        self.recordings.iter().map(Recording::to_wire).collect()
    }
}
