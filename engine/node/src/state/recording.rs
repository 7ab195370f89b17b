//! What the state asks of the recorder.

use super::{Conference, Opened, State};
use crate::error::NodeError;
use crate::events::Events;
use crate::model::{Id, MediaKind, Medium, Spec};
use crate::plan::{RecordStep, plan};
use crate::recording::{Closed, Reason, RecorderThread, RecordingEventKind, Still, Whose};
use crate::resources::Taker;
use motet_codecs::video::Frame;
use motet_proto::node as wire;
use tokio::sync::oneshot;
use wire::event::Kind;

/// Why a node without a folder records nothing, for people.
const NO_FOLDER: &str = "this node was started without a folder for recordings (--recordings)";

impl State {
    /// Records from now on. Before anything runs.
    pub(crate) fn record_with(&mut self, recorder: RecorderThread) {
        assert_eq!(recorder.station(), self.ids.len(), "the recorder's station comes last");
        self.ids.push(crate::resources::WorkerIds::default());
        self.recorder = Some(recorder);
    }

    /// The recorder's place in the exchange.
    pub(super) fn recorder_station(&self) -> Option<usize> {
        self.recorder.as_ref().map(RecorderThread::station)
    }

    /// Tells the recorder what to record.
    pub(super) fn tell_recorder(&self, id: &str, step: &RecordStep) {
        if let Some(recorder) = &self.recorder {
            recorder.put(id, step.form.clone());
        }
    }

    /// Brings recordings that have failed into another specification; gives those that fail by it.
    pub(super) fn bring_failed(&self, running: Option<&Spec>, spec: &mut Spec) -> Vec<Id> {
        if let Some(running) = running {
            spec.failed_recordings.clone_from(&running.failed_recordings);
            spec.failed_recordings.retain(|id, _| spec.recordings.contains_key(id));
            spec.stills.clone_from(&running.stills);
        }
        if self.recorder.is_some() {
            return Vec::new();
        }
        let failed = &spec.failed_recordings;
        let fresh: Vec<Id> = spec.recordings.keys().filter(|id| !failed.contains_key(*id)).cloned().collect();
        for id in &fresh {
            spec.failed_recordings.insert(id.clone(), NO_FOLDER.to_owned());
        }
        fresh
    }

    /// Says that these recordings cannot be here.
    pub(super) fn tell_unrecorded(&self, id: &str, epoch: u64, recordings: Vec<Id>) {
        for recording in recordings {
            let failed = wire::RecordingFailed {
                recording: recording.to_string(),
                leg: String::new(),
                reason: Reason::NoFolder.to_wire().into(),
                message: NO_FOLDER.to_owned(),
                canvas: false,
            };
            self.events.send(id, epoch, Kind::RecordingFailed(failed));
        }
    }

    /// Sends nothing any longer to a recording that has ended by itself.
    pub(crate) async fn recording_failed(
        &mut self,
        id: &str,
        recording: &Id,
        message: String,
    ) -> Result<(), NodeError> {
        self.check_ours()?;
        let Some(conference) = self.conferences.get(id) else { return Ok(()) };
        if !conference.spec.recordings.contains_key(recording) {
            return Ok(());
        }
        let mut spec = conference.spec.clone();
        spec.failed_recordings.insert(recording.clone(), message);
        self.plan_again(id, spec).await
    }

    /// Makes a conference that runs what the node itself has found about it.
    async fn plan_again(&mut self, id: &str, spec: Spec) -> Result<(), NodeError> {
        let (threads, recorder) = (self.thread_loads(), self.recorder_station());
        let conference = &self.conferences[id];
        let (old, held) = (&conference.spec, &conference.held);
        let taker = Taker::new(&mut self.ids, &mut self.pools, &self.loads, self.limits, threads);
        let mut taker = taker.recording(recorder);
        let planned = match plan(Some(old), held, &spec, &mut taker) {
            Ok(planned) => planned,
            Err(error) => {
                taker.undo();
                return Err(error);
            }
        };
        let next = planned.next.clone();
        self.carry_out(id, Opened::new(), planned).await?;
        let conference = self.conferences.get_mut(id).expect("only this call holds the state");
        (conference.spec, conference.held) = (spec, next);
        Ok(())
    }

    /// What the canvas of a conference shows now.
    pub(crate) async fn canvas_picture(&self, id: &str, epoch: u64) -> Result<Frame, NodeError> {
        let conference = self.conference_of(id, epoch)?;
        let no_canvas =
            || NodeError::invalid("conference", format!("'{id}' is not composed (its video mode)"));
        let canvas = conference.held.canvas.as_ref().filter(|_| conference.spec.video.canvas().is_some());
        let station = canvas.ok_or_else(no_canvas)?.station;
        self.canvas_frame(station, id).await.ok_or_else(|| {
            let why = "nobody gets the composed picture, so that there is none; let somebody receive it, or record it";
            NodeError::invalid("conference", why)
        })
    }

    /// Has packets of a leg's pictures come to the recorder, which waits for a whole one.
    pub(crate) async fn begin_still(
        &mut self,
        id: &str,
        epoch: u64,
        leg: &str,
    ) -> Result<((Id, Id), oneshot::Receiver<Still>), NodeError> {
        let conference = self.conference_of(id, epoch)?;
        let bad = |why: String| NodeError::invalid("leg", why);
        let found = conference.spec.legs.get(leg).ok_or_else(|| bad(format!("there is no leg '{leg}'")))?;
        let whole =
            |medium: &&Medium| medium.sends && medium.kind == MediaKind::Video && medium.layer.is_none();
        let medium = found.media.iter().find(whole);
        let medium = medium.ok_or_else(|| bad(format!("'{leg}' sends no pictures")))?;
        if found.muted {
            return Err(bad(format!("'{leg}' is muted")));
        }
        if !medium.codecs.iter().any(|codec| codec.picture().is_some()) {
            return Err(bad(format!("none of the codecs of '{leg}' is decoded here")));
        }
        if self.recorder.is_none() {
            let why = "this node was started without a folder for recordings (--recordings), and so takes no snapshots \
                       of participants";
            return Err(NodeError::Exhausted { field: "leg".to_owned(), why: why.to_owned() });
        }
        let key = (found.id.clone(), medium.id.clone());
        let mut spec = conference.spec.clone();
        *spec.stills.entry(key.clone()).or_default() += 1;
        self.plan_again(id, spec).await?;
        let recorder = self.recorder.as_ref().expect("it was there a moment ago");
        Ok((key.clone(), recorder.still(id, key)))
    }

    /// Has packets come no longer for that.
    pub(crate) async fn end_still(&mut self, id: &str, key: &(Id, Id)) -> Result<(), NodeError> {
        self.check_ours()?;
        let Some(conference) = self.conferences.get(id) else { return Ok(()) };
        let mut spec = conference.spec.clone();
        let Some(count) = spec.stills.get_mut(key) else { return Ok(()) };
        *count -= 1;
        if *count == 0 {
            spec.stills.remove(key);
        }
        self.plan_again(id, spec).await
    }

    fn conference_of(&self, id: &str, epoch: u64) -> Result<&Conference, NodeError> {
        self.check_ours()?;
        let conference = self.conferences.get(id).ok_or_else(|| NodeError::NotFound(id.to_owned()))?;
        if epoch < conference.epoch {
            return Err(super::stale_epoch(id, epoch, conference.epoch, "runs"));
        }
        Ok(conference)
    }

    /// Hands the sound of a mix to the recorder. Until there is some, it asks again.
    pub(crate) async fn tap_for_recorder(&self, id: &str) {
        let Some(recorder) = &self.recorder else { return };
        if let Ok(tap) = self.tap(id, "").await {
            recorder.tap(id, tap);
        }
    }

    /// How the recordings of a conference are doing.
    pub(super) async fn recording_stats(&self, conference: &Conference) -> Vec<wire::RecordingStats> {
        let spec = &conference.spec;
        if spec.recordings.is_empty() {
            return Vec::new();
        }
        let mut stats = match &self.recorder {
            Some(recorder) => recorder.look(&spec.id).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let failed = spec.failed_recordings.iter().map(|(id, why)| wire::RecordingStats {
            recording: id.to_string(),
            failed: why.clone(),
            ..wire::RecordingStats::default()
        });
        stats.extend(failed);
        stats.sort_by(|one, other| one.recording.cmp(&other.recording));
        stats.dedup_by(|later, first| later.recording == first.recording);
        stats
    }

    /// Tells the watchers what happened to a recording.
    pub(crate) fn publish_recording(&self, events: &Events, id: &str, kind: &RecordingEventKind) {
        let running = self.conferences.get(id).map(|conference| conference.epoch);
        // What was recorded is whole a moment after a conference has ended.
        let epoch = running.or_else(|| self.ended.get(id).map(|(epoch, _)| *epoch)).unwrap_or_default();
        let kind = match kind {
            RecordingEventKind::TapWanted => return,
            RecordingEventKind::Began { recording, whose, path } => Kind::SegmentBegan(wire::SegmentBegan {
                recording: recording.to_string(),
                leg: whose.leg(),
                path: path.display().to_string(),
                canvas: *whose == Whose::Canvas,
            }),
            RecordingEventKind::Closed { recording, whose, segment } => {
                let Closed { path, begins, duration, bytes, samples } = &**segment;
                Kind::SegmentClosed(wire::SegmentClosed {
                    recording: recording.to_string(),
                    leg: whose.leg(),
                    path: path.display().to_string(),
                    begins_unix_ms: begins.as_millis() as i64,
                    duration_ms: duration.as_millis() as u64,
                    bytes: *bytes,
                    samples: *samples,
                    canvas: *whose == Whose::Canvas,
                })
            }
            RecordingEventKind::Stopped { recording, whose } => {
                let (recording, leg, canvas) = (recording.to_string(), whose.leg(), *whose == Whose::Canvas);
                Kind::RecordingStopped(wire::RecordingStopped { recording, leg, canvas })
            }
            RecordingEventKind::Failed { recording, whose, reason, message } => {
                Kind::RecordingFailed(wire::RecordingFailed {
                    recording: recording.to_string(),
                    leg: whose.as_ref().map(|whose| whose.leg()).unwrap_or_default(),
                    canvas: *whose == Some(Whose::Canvas),
                    reason: reason.to_wire().into(),
                    message: message.clone(),
                })
            }
        };
        events.send(id, epoch, kind);
    }
}
