//! Recordings: how streams reach the recorder.
//!
//! To a relay the recorder is the far end of a trunk (`trunks.rs`), one for each worker with somebody who is recorded.
//! What is recorded has a route to the trunk, under an SSRC that tells the recorder what it is, once however many
//! recordings write it. Numbers and timestamps stay as they are.
//!
//! What the recorder is to do is told as a whole, a [`RecordForm`]; it finds the difference by itself.

use super::trunks::{OTHER_END, REPORT_SSRC};
use super::{HeldTap, Holdings, MixTrunk, Plan, Planner, TrunkEnd};
use crate::error::NodeError;
use crate::model::{Codec, Id, Leg, MediaKind, Medium, Recording, Spec};
use crate::recording::codec::is_recorded;
use crate::routing::Format;
use motet_relay::{Command, Latch, LegSpec, Numbering, PortId, RouteId, RouteSpec, StreamId, TransportSpec};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is held for the recordings of a conference.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldRecording {
    /// The recorder, by its place in the exchange; none: this node records nothing.
    pub station: Option<usize>,
    /// By worker.
    pub trunks: BTreeMap<usize, MixTrunk>,
    /// What is recorded, by leg and medium.
    pub tracks: BTreeMap<(Id, Id), HeldTrack>,
    /// What the recorder was told.
    pub form: Arc<RecordForm>,
}

/// A medium that is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldTrack {
    /// The publisher's stream.
    pub stream: StreamId,
    /// Its route to the trunk.
    pub route: RouteId,
    /// SSRC on the trunk.
    pub ssrc: u32,
    /// False while the leg is muted.
    pub active: bool,
    /// What of it can be written.
    pub payload_types: Vec<u8>,
}

/// All that the recordings of a conference are to the recorder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordForm {
    /// Those that have not ended by themselves, by id.
    pub recordings: BTreeMap<Id, Recording>,
    /// The recorder's ends of the trunks.
    pub ends: Vec<TrunkEnd>,
    /// What comes, by leg and medium.
    pub tracks: BTreeMap<(Id, Id), TrackForm>,
    /// What cannot be written, by leg and medium, with the reason for people.
    pub refused: BTreeMap<(Id, Id), String>,
    /// Samples a second of the mix; none: the conference is not mixed.
    pub mix_rate_hz: Option<u32>,
    /// The composed picture; none: there is none, or no recording takes it.
    pub canvas: Option<TrackForm>,
}

impl RecordForm {
    /// All that comes.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &TrackForm> {
        self.tracks.values().chain(&self.canvas)
    }

    /// This form with what only the one before has: nothing of that ends or is paused by it.
    pub(crate) fn with(&self, before: &RecordForm) -> RecordForm {
        let mut both = self.clone();
        for (id, recording) in &before.recordings {
            let resumes =
                |after: &Recording| recording.paused && !after.paused && after.goes_on_as(recording);
            if !self.recordings.get(id).is_some_and(resumes) {
                both.recordings.insert(id.clone(), recording.clone());
            }
        }
        both.ends.extend(before.ends.iter().filter(|end| !self.ends.contains(end)));
        for (key, track) in &before.tracks {
            both.tracks.entry(key.clone()).or_insert_with(|| track.clone()).take_in(track);
        }
        both.mix_rate_hz = both.mix_rate_hz.or(before.mix_rate_hz);
        if let Some(canvas) = &before.canvas {
            both.canvas.get_or_insert_with(|| canvas.clone()).take_in(canvas);
        }
        both
    }
}

/// A medium, as the recorder knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackForm {
    /// The recorder's port that packets come to.
    pub port: PortId,
    /// SSRC that they come under.
    pub ssrc: u32,
    /// What they carry.
    pub kind: MediaKind,
    /// What of the publisher's can be written, most wanted first.
    pub codecs: Vec<Arc<Codec>>,
    /// Recordings that write it.
    pub recordings: BTreeSet<Id>,
}

impl TrackForm {
    /// Goes to those, too, that another form of the same stream went to.
    fn take_in(&mut self, before: &TrackForm) {
        if (self.port, self.ssrc) == (before.port, before.ssrc) {
            self.recordings.extend(before.recordings.iter().cloned());
        }
    }
}

/// What the recorder is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordStep {
    /// The recorder, by its place in the exchange; none: there is none.
    pub station: Option<usize>,
    /// None: nothing is recorded any longer.
    pub form: Option<Arc<RecordForm>>,
}

/// A medium that is to be recorded.
struct WantedTrack {
    codecs: Vec<Arc<Codec>>,
    kind: MediaKind,
    active: bool,
    recordings: BTreeSet<Id>,
}

impl Planner<'_> {
    /// Begins, changes or ends what the conference's recordings get.
    pub(super) fn change_recordings(&mut self) -> Result<(), NodeError> {
        let held = self.held.recording.as_ref();
        if self.new.recordings.is_empty() && self.new.stills.is_empty() {
            if let Some(held) = held {
                self.plan.end_recordings(self.held, held);
            }
            return Ok(());
        }
        let station = held.map_or_else(|| self.resources.recorder(), |held| held.station);
        // Without a recorder nothing is to be sent to it.
        let wanted = if station.is_some() { wanted_tracks(self.new).0 } else { BTreeMap::new() };
        let mut next = HeldRecording {
            station,
            trunks: self.change_record_trunks(&wanted, station)?,
            tracks: BTreeMap::new(),
            form: Arc::default(),
        };
        self.end_tracks(&wanted, &next);
        for (key, wanted) in &wanted {
            let track = self.change_track(&next, key, wanted)?;
            next.tracks.insert(key.clone(), track);
        }
        next.form = next.form_for(self.new, &self.plan.next).expect("what is wanted is held");
        if held.is_none_or(|held| held.form != next.form) {
            self.plan.recording = Some(RecordStep { station, form: Some(Arc::clone(&next.form)) });
        }
        self.plan.next.recording = Some(next);
        Ok(())
    }

    /// One trunk for each worker with somebody who is recorded.
    fn change_record_trunks(
        &mut self,
        wanted: &BTreeMap<(Id, Id), WantedTrack>,
        station: Option<usize>,
    ) -> Result<BTreeMap<usize, MixTrunk>, NodeError> {
        let Some(station) = station else { return Ok(BTreeMap::new()) };
        let needed: BTreeSet<usize> = wanted.keys().map(|(leg, _)| self.plan.next.legs[leg].worker).collect();
        let held = self.held.recording.iter().flat_map(|held| &held.trunks);
        let (stay, go): (Vec<_>, Vec<_>) =
            held.map(|(worker, trunk)| (*worker, *trunk)).partition(|(worker, _)| needed.contains(worker));
        go.into_iter().for_each(|(worker, trunk)| self.plan.close_record_trunk(station, worker, &trunk));
        let mut trunks: BTreeMap<usize, MixTrunk> = stay.into_iter().collect();
        for worker in needed {
            if let Entry::Vacant(entry) = trunks.entry(worker) {
                entry.insert(self.open_record_trunk(station, worker)?);
            }
        }
        Ok(trunks)
    }

    fn open_record_trunk(&mut self, station: usize, worker: usize) -> Result<MixTrunk, NodeError> {
        let leg = self.resources.leg(worker)?;
        let (near, far) = (self.resources.trunk_port(worker), self.resources.trunk_port(station));
        let transport = TransportSpec {
            rtp: near,
            rtcp: None,
            remote: Some(OTHER_END),
            remote_rtcp: None,
            latch: Latch::Trunk,
        };
        let cname = format!("recorder@{}", self.new.id);
        let spec = LegSpec { cname, report_ssrc: REPORT_SSRC, transports: vec![transport] };
        let step = self.plan.steps.entry(worker).or_default();
        step.open.push(TrunkEnd { port: near, worker: station, peer: far });
        step.commands.push(Command::AddLeg(leg, spec));
        Ok(MixTrunk { leg, near, far })
    }

    /// Ends routes of what is no longer recorded. What ends with its leg or its trunk needs no command of its own.
    fn end_tracks(&mut self, wanted: &BTreeMap<(Id, Id), WantedTrack>, next: &HeldRecording) {
        let Some(held) = &self.held.recording else { return };
        for (key, track) in &held.tracks {
            let leg_stays = self.kept.contains(key.0.as_str());
            if leg_stays && wanted.contains_key(key) {
                continue;
            }
            let worker = self.held.legs[&key.0].worker;
            if leg_stays && next.trunks.contains_key(&worker) {
                self.plan.command(worker, Command::RemoveRoute(track.route));
            }
            self.plan.released.routes.push((worker, track.route));
        }
    }

    fn change_track(
        &mut self,
        next: &HeldRecording,
        key: &(Id, Id),
        wanted: &WantedTrack,
    ) -> Result<HeldTrack, NodeError> {
        let worker = self.plan.next.legs[&key.0].worker;
        let (stream, active) = (self.plan.next.streams[key], wanted.active);
        let payload_types = payload_types(&wanted.codecs);
        let payload_map: Vec<(u8, u8)> = payload_types.iter().map(|number| (*number, *number)).collect();
        let held = self.held.recording.as_ref().and_then(|held| held.tracks.get(key));
        if let Some(held) = held.filter(|_| self.kept.contains(key.0.as_str())) {
            if held.stream != stream || held.payload_types != payload_types {
                self.plan.command(worker, Command::SwitchRoute { route: held.route, stream, payload_map });
            }
            if held.active != active {
                self.plan.command(worker, Command::SetRouteActive(held.route, active));
            }
            return Ok(HeldTrack { stream, active, payload_types, ..*held });
        }
        let route = self.resources.route(worker)?;
        let ssrc = held.map_or_else(|| self.track_ssrc(next), |held| held.ssrc);
        let spec = RouteSpec {
            stream,
            leg: next.trunks[&worker].leg,
            transport: 0,
            ssrc,
            payload_map,
            numbering: Numbering::Shift { sequence: 0, timestamp: 0 },
            active,
            shared: false,
        };
        self.plan.steps.entry(worker).or_default().last.push(Command::AddRoute(route, spec));
        Ok(HeldTrack { stream, route, ssrc, active, payload_types })
    }

    /// An SSRC that nothing has between this conference and the recorder.
    fn track_ssrc(&mut self, next: &HeldRecording) -> u32 {
        let held = self.held.recording.as_ref();
        let used = |ssrc: u32| {
            let of = |recording: &HeldRecording| recording.tracks.values().any(|track| track.ssrc == ssrc);
            ssrc <= REPORT_SSRC || of(next) || held.is_some_and(of)
        };
        std::iter::repeat_with(|| self.resources.random())
            .find(|ssrc| !used(*ssrc))
            .expect("random numbers do not end")
    }
}

/// Tracks of media that are to be recorded, and why others cannot be.
type Wanted = (BTreeMap<(Id, Id), WantedTrack>, BTreeMap<(Id, Id), String>);

/// Recordings that have not ended by themselves.
pub(super) fn running(spec: &Spec) -> impl Iterator<Item = &Recording> {
    spec.recordings.values().filter(|recording| !spec.failed_recordings.contains_key(&recording.id))
}

fn wanted_tracks(spec: &Spec) -> Wanted {
    let (mut wanted, mut refused) = Wanted::default();
    for leg in spec.legs.values() {
        for medium in &leg.media {
            let takers = running(spec).filter(|recording| recording.takes(leg, medium));
            let recordings: BTreeSet<Id> = takers.map(|recording| recording.id.clone()).collect();
            let key = (leg.id.clone(), medium.id.clone());
            if recordings.is_empty() && !spec.stills.contains_key(&key) {
                continue;
            }
            let codecs: Vec<_> = medium.codecs.iter().filter(|codec| is_recorded(codec)).cloned().collect();
            if codecs.is_empty() {
                let names: Vec<&str> = medium.codecs.iter().map(|codec| codec.name.as_str()).collect();
                refused.insert(key, format!("files hold none of its codecs: {}", names.join(", ")));
                continue;
            }
            let (kind, active) = (medium.kind, is_open(leg, medium));
            wanted.insert(key, WantedTrack { codecs, kind, active, recordings });
        }
    }
    (wanted, refused)
}

impl HeldRecording {
    /// What the recorder is to be told of it. None: what is held is not what the specification wants.
    pub(crate) fn form_for(&self, spec: &Spec, held: &Holdings) -> Option<Arc<RecordForm>> {
        let (wanted, refused) = if self.station.is_some() { wanted_tracks(spec) } else { Wanted::default() };
        if !wanted.keys().eq(self.tracks.keys()) {
            return None;
        }
        let mut form = RecordForm {
            recordings: running(spec).map(|recording| (recording.id.clone(), recording.clone())).collect(),
            refused,
            mix_rate_hz: spec.audio.mix().map(|mix| mix.rate_hz),
            ..RecordForm::default()
        };
        for (worker, trunk) in &self.trunks {
            form.ends.push(TrunkEnd { port: trunk.far, worker: *worker, peer: trunk.near });
        }
        for (key, WantedTrack { codecs, kind, recordings, .. }) in wanted {
            let port = self.trunks.get(&held.legs.get(&key.0)?.worker)?.far;
            let ssrc = self.tracks.get(&key)?.ssrc;
            form.tracks.insert(key, TrackForm { port, ssrc, kind, codecs, recordings });
        }
        let tap = held.canvas.as_ref().and_then(|canvas| Some((canvas.station, canvas.tap?)));
        if let Some((canvas, HeldTap { near, far, ssrc, .. })) = tap {
            form.ends.push(TrunkEnd { port: far, worker: canvas, peer: near });
            let takers = running(spec).filter(|recording| recording.canvas);
            let recordings = takers.map(|recording| recording.id.clone()).collect();
            let codecs = vec![Arc::new(composed_codec())];
            form.canvas = Some(TrackForm { port: far, ssrc, kind: MediaKind::Video, codecs, recordings });
        }
        Some(Arc::new(form))
    }
}

/// What the canvas sends to the recorder.
fn composed_codec() -> Codec {
    let codec = Format::RECORDED.codec();
    Codec {
        payload_type: Format::RECORDED.payload_type(),
        name: codec.name.encoding_name().to_ascii_lowercase(),
        clock_hz: 90_000,
        channels: 1,
        fmtp: codec.fmtp,
        wire: Default::default(),
    }
}

/// Whether anybody may hear or see it: what nobody may is not recorded.
fn is_open(leg: &Leg, medium: &Medium) -> bool {
    !leg.muted && (medium.kind != MediaKind::Audio || !leg.audio.muted)
}

fn payload_types(codecs: &[Arc<Codec>]) -> Vec<u8> {
    codecs.iter().map(|codec| codec.payload_type).collect()
}

impl Plan {
    /// Ends all recordings.
    pub(super) fn end_recordings(&mut self, holdings: &Holdings, held: &HeldRecording) {
        if let Some(station) = held.station {
            for (worker, trunk) in &held.trunks {
                self.close_record_trunk(station, *worker, trunk);
            }
        }
        for ((leg, _), track) in &held.tracks {
            self.released.routes.push((holdings.legs[leg].worker, track.route));
        }
        self.recording = Some(RecordStep { station: held.station, form: None });
    }

    fn close_record_trunk(&mut self, station: usize, worker: usize, trunk: &MixTrunk) {
        let step = self.steps.entry(worker).or_default();
        step.commands.push(Command::RemoveLeg(trunk.leg));
        step.close.push(trunk.near);
        self.released.legs.push((worker, trunk.leg));
        self.released.trunk_ports.push((worker, trunk.near));
        self.released.trunk_ports.push((station, trunk.far));
    }
}
