//! A conference's recordings, and the files of each.

use super::early::Early;
use super::feed::{Named, Sources, Tools, sender_reports};
use super::folder::{Folder, file_name, prepare};
use super::mix::{Coding, MixInput};
use super::shown::{Counters, Unfiled};
use super::{Reason, RecordingEventKind, Whose, codec};
use crate::model::{Id, Recording};
use crate::plan::RecordForm;
use motet_proto::node as wire;
use motet_recorder::edge::{Deck, RecordingSpec};
use motet_recorder::{DropReason, RecordingConfig, TrackConfig, TrackStats};
use motet_relay::PortId;
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A conference that is recorded.
pub(super) struct Room {
    pub(super) id: Id,
    pub(super) form: Arc<RecordForm>,
    recordings: BTreeMap<Id, Active>,
    /// Those that have ended by themselves, until the node knows it too.
    failed: BTreeSet<Id>,
    pub(super) mix: MixInput,
}

/// A recording that has not ended.
struct Active {
    recording: Recording,
    /// None: it is being made.
    folder: Option<Folder>,
    /// What has come until then.
    early: Early,
    files: BTreeMap<Whose, File>,
    /// Files that are whole.
    segments: BTreeMap<Whose, u32>,
}

/// Files that follow each other, of one leg or of the mix.
struct File {
    /// As the recorder knows it.
    id: u64,
    tracks: Vec<Track>,
    paused: bool,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq)]
struct Track {
    /// Where it comes from; none: the mix.
    from: Option<(PortId, u32)>,
    config: Same,
}

/// A track's configuration, to be compared.
#[derive(Clone, Debug)]
struct Same(TrackConfig);

impl PartialEq for Same {
    fn eq(&self, other: &Same) -> bool {
        let of = |same: &Same| (same.0.payload_type, same.0.codec.clone(), same.0.parameter_sets.clone());
        of(self) == of(other)
    }
}

impl Room {
    pub(super) fn new(id: Id) -> Room {
        let (form, recordings) = (Arc::default(), BTreeMap::new());
        Room { id, form, recordings, failed: BTreeSet::new(), mix: MixInput::default() }
    }

    /// Makes all as the form says.
    pub(super) fn put(
        &mut self,
        form: Arc<RecordForm>,
        (tools, sources): (&mut Tools, &mut Sources),
        deck: &mut Deck<'_>,
    ) {
        sources.replace(&self.id, &self.form, &form);
        self.form = form;
        let form = Arc::clone(&self.form);
        let ended: Vec<Id> =
            self.recordings.keys().filter(|id| !form.recordings.contains_key(*id)).cloned().collect();
        for id in ended {
            self.end(&id, tools, deck);
        }
        self.failed.retain(|id| form.recordings.contains_key(id));
        for (id, recording) in &form.recordings {
            if self.failed.contains(id) {
                continue;
            }
            match self.recordings.get_mut(id) {
                Some(active) if recording.goes_on_as(&active.recording) => {
                    active.recording = recording.clone();
                }
                _ => self.begin(id, recording, tools, deck),
            }
        }
        self.settle((tools, sources), deck);
    }

    /// Ends all.
    pub(super) fn end_all(&mut self, (tools, sources): (&mut Tools, &mut Sources), deck: &mut Deck<'_>) {
        sources.replace(&self.id, &self.form, &RecordForm::default());
        for id in self.recordings.keys().cloned().collect::<Vec<_>>() {
            self.end(&id, tools, deck);
        }
    }

    /// Keeps what came for recordings that wait for their folder.
    pub(super) fn hold(&mut self, from: (PortId, u32), at: Time, datagram: &[u8], counters: &mut Counters) {
        let track = self.form.streams().find(|track| (track.port, track.ssrc) == from);
        let Some(track) = track else { return };
        let waiting = self.recordings.iter_mut().filter(|(_, active)| active.folder.is_none());
        for (_, active) in waiting.filter(|(id, _)| track.recordings.contains(*id)) {
            active.hold(from, at, datagram, counters);
        }
    }

    fn begin(&mut self, id: &Id, recording: &Recording, tools: &mut Tools, deck: &mut Deck<'_>) {
        // What ended a moment ago may have files that do not show in the folder yet.
        let before = self.end(id, tools, deck).filter(|before| before.recording.folder == recording.folder);
        let (folder, segments) = before.map(|before| (before.folder, before.segments)).unwrap_or_default();
        if folder.is_none() {
            let names = (self.id.clone(), id.clone());
            prepare(&tools.root, recording.folder.clone(), names, tools.jobs.clone());
        }
        let (files, early) = (BTreeMap::new(), Early::default());
        let active = Active { recording: recording.clone(), folder, early, files, segments };
        self.recordings.insert(id.clone(), active);
    }

    /// Ends a recording; what is left of it.
    fn end(&mut self, id: &Id, tools: &mut Tools, deck: &mut Deck<'_>) -> Option<Active> {
        let mut active = self.recordings.remove(id)?;
        for (_, _, datagram) in std::mem::take(&mut active.early).datagrams() {
            if is_packet(datagram) {
                tools.counters.unfiled(Unfiled::NoFile);
            }
        }
        for (whose, file) in std::mem::take(&mut active.files) {
            active.end_file(&whose, &file, deck);
        }
        Some(active)
    }

    /// The folder of a recording is there.
    pub(super) fn folder_is_ready(
        &mut self,
        id: &Id,
        name: &str,
        folder: Folder,
        (tools, sources): (&mut Tools, &mut Sources),
        deck: &mut Deck<'_>,
    ) {
        let active = self.recordings.get_mut(id);
        let Some(active) = active.filter(|active| active.folder.is_none() && active.recording.folder == name)
        else {
            return;
        };
        active.folder = Some(folder);
        self.settle((tools, sources), deck);
    }

    /// A recording can go on no longer.
    pub(super) fn fail(
        &mut self,
        recording: &Id,
        whose: Option<Whose>,
        (reason, message): (Reason, String),
        (tools, sources): (&mut Tools, &mut Sources),
        deck: &mut Deck<'_>,
    ) {
        if self.end(recording, tools, deck).is_none() {
            return;
        }
        self.failed.insert(recording.clone());
        tools.counters.failed(reason);
        let (recording, conference) = (recording.clone(), self.id.clone());
        tools.tell(conference, RecordingEventKind::Failed { recording, whose, reason, message });
        self.settle((tools, sources), deck);
    }

    /// Begins and ends files, and directs packets to those that there are.
    pub(super) fn settle(&mut self, (tools, sources): (&mut Tools, &mut Sources), deck: &mut Deck<'_>) {
        let mut failed = Vec::new();
        for (id, active) in &mut self.recordings {
            let wanted = wanted_files(&self.form, id, &active.recording, sources);
            let names = (&self.id, id);
            if let Err((whose, message)) = active.settle(names, wanted, tools, deck) {
                failed.push((id.clone(), whose, message));
            }
        }
        let waits = |id: &Id| self.recordings.get(id).is_some_and(|active| active.folder.is_none());
        let tracks = self.recordings.values().flat_map(Active::tracks);
        sources.direct(&self.id, &self.form, tracks, waits);
        if !self.mixes() {
            self.mix.end();
        }
        for (id, whose, message) in failed {
            self.fail(&id, Some(whose), (Reason::File, message), (&mut *tools, &mut *sources), deck);
        }
    }

    /// The mix goes into files.
    pub(super) fn mixes(&self) -> bool {
        self.mix_tracks().next().is_some()
    }

    /// Files and tracks that the mix goes into, and how it is encoded for them.
    pub(super) fn mix_tracks(&self) -> impl Iterator<Item = (Coding, (u64, usize))> {
        let files = self.recordings.values().flat_map(|active| {
            active.files.values().map(|file| (Coding::of(active.recording.container), file))
        });
        files.flat_map(|(coding, file)| {
            let tracks = file.tracks.iter().enumerate().filter(|(_, track)| track.from.is_none());
            tracks.map(move |(index, _)| (coding, (file.id, index)))
        })
    }

    /// Notes that a file is whole.
    pub(super) fn segment_ended(&mut self, recording: &Id, whose: &Whose) {
        if let Some(active) = self.recordings.get_mut(recording) {
            *active.segments.entry(whose.clone()).or_default() += 1;
        }
    }

    /// Whether something more is to come after what was written.
    pub(super) fn goes_on(&self, recording: &Id, whose: &Whose) -> bool {
        self.recordings.get(recording).is_some_and(|active| active.files.contains_key(whose))
    }

    /// How many recordings run, and how many of them are paused.
    pub(super) fn count(&self) -> (usize, usize) {
        let paused = self.recordings.values().filter(|active| active.recording.paused);
        (self.recordings.len(), paused.count())
    }

    /// How all are doing.
    pub(super) fn stats(&self, files: &HashMap<u64, Named>, deck: &Deck<'_>) -> Vec<wire::RecordingStats> {
        let stats = self.recordings.iter().map(|(id, active)| {
            let recorded = active.files.iter().map(|(whose, file)| {
                let named = files.get(&file.id);
                let path = named.and_then(|named| named.path.as_ref()?.file_name());
                let tracks = (0..file.tracks.len()).filter_map(|track| deck.stats(file.id, track));
                let stats = recorded_file(tracks);
                wire::RecordedFile {
                    leg: whose.leg(),
                    canvas: *whose == Whose::Canvas,
                    file: path.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                    segments: active.segments.get(whose).copied().unwrap_or_default(),
                    ..stats
                }
            });
            let folder = active.folder.as_ref().map(|folder| folder.path.display().to_string());
            let refused = self.form.refused.iter().map(|((leg, medium), reason)| wire::RecordingRefusal {
                leg: leg.to_string(),
                medium: medium.to_string(),
                reason: reason.clone(),
            });
            wire::RecordingStats {
                recording: id.to_string(),
                paused: active.recording.paused,
                failed: String::new(),
                folder: folder.unwrap_or_default(),
                files: recorded.collect(),
                refused: refused.filter(|_| active.recording.participants).collect(),
            }
        });
        stats.collect()
    }
}

impl Active {
    fn settle(
        &mut self,
        (conference, id): (&Id, &Id),
        wanted: BTreeMap<Whose, Vec<Track>>,
        tools: &mut Tools,
        deck: &mut Deck<'_>,
    ) -> Result<(), (Whose, String)> {
        let goes = |whose: &Whose, file: &File| wanted.get(whose) != Some(&file.tracks);
        let going: Vec<Whose> = self
            .files
            .iter()
            .filter(|(whose, file)| goes(whose, file))
            .map(|(whose, _)| whose.clone())
            .collect();
        for whose in going {
            if let Some(file) = self.files.remove(&whose) {
                self.end_file(&whose, &file, deck);
            }
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        for (whose, tracks) in wanted {
            if self.files.contains_key(&whose) {
                continue;
            }
            let name = file_name(&whose);
            let config = RecordingConfig {
                container: self.recording.container,
                segment_duration_max: self.recording.segment_duration,
                segment_bytes_max: self.recording.segment_bytes,
                first_segment: folder.next(&name),
                created: tools.now_unix(),
                ..RecordingConfig::default()
            };
            let configs = tracks.iter().map(|track| track.config.0.clone()).collect();
            let spec = RecordingSpec { folder: folder.path.clone(), name, config, tracks: configs };
            let begun = deck.begin(&spec).map_err(|error| (whose.clone(), error.to_string()))?;
            let froms = tracks.iter().map(|track| track.from).collect();
            let (conference, recording) = (conference.clone(), id.clone());
            let named = Named { conference, recording, whose: whose.clone(), tracks: froms, path: None };
            tools.files.insert(begun, named);
            self.files.insert(whose, File { id: begun, tracks, paused: false });
        }
        self.hand_over(tools, deck);
        for file in self.files.values_mut().filter(|file| file.paused != self.recording.paused) {
            file.paused = self.recording.paused;
            if file.paused { deck.pause(file.id) } else { deck.resume(file.id) }
        }
        Ok(())
    }

    /// Tracks that files are written of, with where each comes from.
    fn tracks(&self) -> impl Iterator<Item = ((PortId, u32), (u64, usize))> {
        self.files.values().flat_map(|file| {
            let tracks = file.tracks.iter().enumerate();
            tracks.filter_map(|(index, track)| Some((track.from?, (file.id, index))))
        })
    }

    fn hold(&mut self, from: (PortId, u32), at: Time, datagram: &[u8], counters: &mut Counters) {
        let counted = is_packet(datagram);
        if self.recording.paused {
            if counted {
                counters.dropped(DropReason::Paused);
            }
        } else if !self.early.push(from, at, datagram) && counted {
            counters.unfiled(Unfiled::WaitingFolder);
        }
    }

    /// Has the first files take in what came before they were there. Only then are they paused.
    fn hand_over(&mut self, tools: &mut Tools, deck: &mut Deck<'_>) {
        for (from, at, datagram) in std::mem::take(&mut self.early).datagrams() {
            let targets = self.tracks().filter(|(track, _)| *track == from).map(|(_, target)| target);
            if is_packet(datagram) {
                let count = targets.map(|(file, track)| deck.packet(file, track, at, datagram)).count();
                if count == 0 {
                    tools.counters.unfiled(Unfiled::NoFile);
                }
                continue;
            }
            let report = sender_reports(datagram).find(|(ssrc, _)| *ssrc == from.1);
            if let Some((ssrc, info)) = report {
                targets.for_each(|target| deck.report(target, at, ssrc, &info));
            }
        }
    }

    fn end_file(&mut self, whose: &Whose, file: &File, deck: &mut Deck<'_>) {
        if let (Some(next), Some(folder)) = (deck.stop(file.id), &mut self.folder) {
            folder.went_on_to(file_name(whose), next);
        }
    }
}

/// Whether it carries media, which is counted; reports are not.
fn is_packet(datagram: &[u8]) -> bool {
    matches!(classify(datagram), PacketClass::Rtp)
}

/// The files that a recording is to have at the moment.
fn wanted_files(
    form: &RecordForm,
    id: &Id,
    recording: &Recording,
    sources: &Sources,
) -> BTreeMap<Whose, Vec<Track>> {
    let mut wanted: BTreeMap<Whose, Vec<Track>> = BTreeMap::new();
    for ((leg, medium), track) in form.tracks.iter().filter(|(_, track)| track.recordings.contains(id)) {
        let from = (track.port, track.ssrc);
        let codec = sources.codec(from).and_then(|codec| codec::track(codec, medium.to_string()));
        // What cannot be recorded was left out when it was planned.
        let Some(config) = codec else { continue };
        let tracks = wanted.entry(Whose::Leg(leg.clone())).or_default();
        tracks.push(Track { from: Some(from), config: Same(config) });
    }
    let mix = form.mix_rate_hz.map(|rate_hz| {
        let config = TrackConfig {
            name: "mix".to_owned(),
            codec: Coding::of(recording.container).codec_at(rate_hz),
            payload_type: 0,
            sender: 0,
            parameter_sets: Vec::new(),
        };
        Track { from: None, config: Same(config) }
    });
    if let Some(canvas) = form.canvas.as_ref().filter(|_| recording.canvas) {
        let from = (canvas.port, canvas.ssrc);
        let config = sources.codec(from).and_then(|codec| codec::track(codec, "canvas".to_owned()));
        let picture = config.map(|config| Track { from: Some(from), config: Same(config) });
        wanted.insert(Whose::Canvas, picture.into_iter().chain(mix.clone()).collect());
    }
    if let Some(mix) = mix.filter(|_| recording.mix) {
        wanted.insert(Whose::Mix, vec![mix]);
    }
    wanted
}

/// Sums of the tracks of a file.
fn recorded_file(tracks: impl Iterator<Item = TrackStats>) -> wire::RecordedFile {
    let mut sum = wire::RecordedFile::default();
    for stats in tracks {
        sum.packets += stats.packets;
        sum.samples += stats.samples;
        sum.bytes += stats.bytes;
        sum.lost += stats.lost;
        sum.silence_ms += stats.silence_ms;
        for reason in DropReason::ALL {
            let count = stats.dropped(reason);
            if count > 0 {
                *sum.drops.entry(reason.reason().to_owned()).or_default() += count;
            }
        }
    }
    sum
}
