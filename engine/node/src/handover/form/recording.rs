//! What joins workers and the recorder, written down. What is recorded follows from the specification; the process that
//! takes over goes on with other files.

use super::mix::MixTrunkForm;
use crate::model::{Id, Spec};
use crate::plan::{HeldRecording, HeldTrack, Holdings, MixTrunk};
use motet_relay::{RouteId, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

form! {
    /// Recordings of a conference. `recorded`: there is a recorder; `failed` are those that have ended by themselves, and
    /// why.
    struct RecordingForm {
        recorded: bool,
        trunks: Vec<MixTrunkForm>,
        tracks: Vec<RecordedForm>,
        failed: Vec<(String, String)>,
    }

    /// A medium that is recorded.
    struct RecordedForm {
        leg: String,
        medium: String,
        stream: StreamId,
        route: RouteId,
        ssrc: u32,
        active: bool,
        payload_types: Vec<u8>,
    }
}

impl RecordingForm {
    pub(crate) fn new(spec: &Spec, held: &HeldRecording) -> RecordingForm {
        let trunks = held.trunks.iter().map(|(worker, trunk)| {
            let MixTrunk { leg, near, far } = *trunk;
            MixTrunkForm { worker: *worker, leg, near, far }
        });
        let tracks = held.tracks.iter().map(|((leg, medium), track)| {
            let HeldTrack { stream, route, ssrc, active, payload_types } = track.clone();
            let (leg, medium) = (leg.to_string(), medium.to_string());
            RecordedForm { leg, medium, stream, route, ssrc, active, payload_types }
        });
        RecordingForm {
            recorded: held.station.is_some(),
            trunks: trunks.collect(),
            tracks: tracks.collect(),
            failed: spec.failed_recordings.iter().map(|(id, why)| (id.to_string(), why.clone())).collect(),
        }
    }

    /// Recordings that have ended by themselves.
    pub(crate) fn failed(&self) -> BTreeMap<Id, String> {
        self.failed.iter().map(|(id, why)| (Id::from(id), why.clone())).collect()
    }

    /// What is held of it by a node whose recorder is this station. `held` is the rest, and `spec` knows what has failed.
    pub(crate) fn held(
        self,
        spec: &Spec,
        held: &Holdings,
        (workers, recorder): (usize, Option<usize>),
    ) -> Result<HeldRecording, String> {
        if self.recorded && recorder.is_none() {
            return Err(
                "--recordings: it is recorded by the running node, and this one has no folder".to_owned()
            );
        }
        let wrong = || "what its recordings hold is not what its specification says".to_owned();
        let trunk = |form: MixTrunkForm| {
            let MixTrunkForm { worker, leg, near, far } = form;
            (worker, MixTrunk { leg, near, far })
        };
        let track = |form: RecordedForm| {
            let RecordedForm { leg, medium, stream, route, ssrc, active, payload_types } = form;
            ((Id::from(leg), Id::from(medium)), HeldTrack { stream, route, ssrc, active, payload_types })
        };
        let station = recorder.filter(|_| self.recorded);
        let trunks: BTreeMap<usize, MixTrunk> = self.trunks.into_iter().map(trunk).collect();
        let tracks: BTreeMap<(Id, Id), HeldTrack> = self.tracks.into_iter().map(track).collect();
        let joined =
            |(leg, _): &(Id, Id)| held.legs.get(leg).is_some_and(|leg| trunks.contains_key(&leg.worker));
        if !tracks.keys().all(joined) || trunks.keys().any(|worker| *worker >= workers) {
            return Err(wrong());
        }
        let mut recording = HeldRecording { station, trunks, tracks, form: Default::default() };
        recording.form = recording.form_for(spec, held).ok_or_else(wrong)?;
        Ok(recording)
    }
}
