//! What the recorder's thread does each time: takes jobs, packets and what happened.

use super::folder::Folder;
use super::mix::Coding;
use super::room::Room;
use super::shown::Counters;
use super::still::Stills;
use super::{
    Closed, Job, Reason, RecordingEvent, RecordingEventKind, RecordingOptions, RecordingShown,
    RecordingSnapshot, Unfiled, Whose,
};
use crate::exchange::Desk;
use crate::model::{Codec, Id};
use crate::plan::{RecordForm, TrunkEnd};
use crate::worker::{Clock, thread_id};
use crossbeam_channel::{Receiver, Sender};
use motet_recorder::DropReason;
use motet_recorder::edge::{Deck, EventKind, Feed};
use motet_relay::PortId;
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::rtcp::{Compound, Packet, SenderInfo, write_pli, write_receiver_report, write_sdes_cname};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Counters are shown so often.
const SHOW_INTERVAL: Duration = Duration::from_millis(500);
/// Another codec is followed when so many packets of it came.
const FOLLOW_AFTER: u8 = 3;
/// SSRC of what asks for key frames. Relays do not look at it.
const OWN_SSRC: u32 = 1;

/// The thread's own.
pub(super) struct Feeder {
    desk: Desk,
    waiting: Receiver<Job>,
    /// Forms by which something ends, until what came before is taken.
    ending: Vec<(Id, Option<Arc<RecordForm>>)>,
    rooms: HashMap<Id, Room>,
    sources: Sources,
    tools: Tools,
    shown: RecordingShown,
    show_at: Time,
    /// Conferences of which somebody sends another codec now.
    changed: Vec<Id>,
    rtcp: Vec<u8>,
    stills: Stills,
}

/// What rooms need of the thread.
pub(super) struct Tools {
    pub(super) root: PathBuf,
    pub(super) jobs: Sender<Job>,
    /// By the recorder's numbers: all files that are written, also of what has ended.
    pub(super) files: HashMap<u64, Named>,
    pub(super) counters: Counters,
    events: mpsc::Sender<RecordingEvent>,
    clock: Clock,
}

/// Whose a file is.
pub(super) struct Named {
    pub(super) conference: Id,
    pub(super) recording: Id,
    pub(super) whose: Whose,
    /// Where tracks come from; none: the mix.
    pub(super) tracks: Vec<Option<(PortId, u32)>>,
    /// Where it is.
    pub(super) path: Option<PathBuf>,
}

/// What comes, by the recorder's port and SSRC.
#[derive(Default)]
pub(super) struct Sources {
    all: HashMap<(PortId, u32), Source>,
}

struct Source {
    conference: Id,
    codecs: Vec<Arc<Codec>>,
    /// Which of them comes.
    current: usize,
    /// Another payload type, and how many packets of it came.
    other: (u8, u8),
    /// Recordings and tracks that it goes to.
    targets: Vec<(u64, usize)>,
    /// Some recording takes it; false: it is looked at for a single picture.
    recorded: bool,
    /// A recording that takes it waits for its folder.
    early: bool,
}

impl Tools {
    /// Tells the node what happened. What finds no room is counted.
    pub(super) fn tell(&mut self, conference: Id, kind: RecordingEventKind) {
        let told = self.events.try_send(RecordingEvent { conference, kind });
        self.counters.events_dropped += u64::from(told.is_err());
    }

    /// Time since 1970.
    pub(super) fn now_unix(&self) -> Duration {
        self.unix(self.clock.now())
    }

    fn unix(&self, at: Time) -> Duration {
        self.clock.wall(at).to_unix()
    }
}

impl Sources {
    /// Brings another form of a conference.
    pub(super) fn replace(&mut self, conference: &Id, before: &RecordForm, after: &RecordForm) {
        let place = |form: &RecordForm| -> Vec<(PortId, u32)> {
            form.streams().map(|track| (track.port, track.ssrc)).collect()
        };
        let stay = place(after);
        for gone in place(before).into_iter().filter(|place| !stay.contains(place)) {
            self.all.remove(&gone);
        }
        for track in after.streams() {
            let fresh = || Source {
                conference: conference.clone(),
                codecs: Vec::new(),
                current: 0,
                other: (0, 0),
                targets: Vec::new(),
                recorded: false,
                early: false,
            };
            let source = self.all.entry((track.port, track.ssrc)).or_insert_with(fresh);
            if source.codecs != track.codecs {
                let sent = source.codecs.get(source.current).map(|codec| codec.payload_type);
                let same = track.codecs.iter().position(|codec| Some(codec.payload_type) == sent);
                source.current = same.unwrap_or(0);
                source.codecs.clone_from(&track.codecs);
            }
        }
    }

    /// What somebody sends at the moment.
    pub(super) fn codec(&self, from: (PortId, u32)) -> Option<&Codec> {
        let source = self.all.get(&from)?;
        source.codecs.get(source.current).map(|codec| &**codec)
    }

    /// Directs what comes of a conference to these tracks, and nowhere else; `waits` tells which recordings have none
    /// yet.
    pub(super) fn direct(
        &mut self,
        conference: &Id,
        form: &RecordForm,
        tracks: impl Iterator<Item = ((PortId, u32), (u64, usize))>,
        waits: impl Fn(&Id) -> bool,
    ) {
        for track in form.streams() {
            if let Some(source) = self.all.get_mut(&(track.port, track.ssrc)) {
                debug_assert_eq!(source.conference, *conference);
                source.targets.clear();
                source.recorded = !track.recordings.is_empty();
                source.early = track.recordings.iter().any(&waits);
            }
        }
        for (from, to) in tracks {
            if let Some(source) = self.all.get_mut(&from) {
                source.targets.push(to);
            }
        }
    }
}

impl Source {
    /// Notes a packet's payload type. True: this is what comes from now on.
    fn follow(&mut self, payload_type: u8) -> bool {
        if self.codecs.get(self.current).is_some_and(|codec| codec.payload_type == payload_type) {
            self.other.1 = 0;
            return false;
        }
        let Some(found) = self.codecs.iter().position(|codec| codec.payload_type == payload_type) else {
            return false;
        };
        self.other =
            if self.other.0 == payload_type { (payload_type, self.other.1 + 1) } else { (payload_type, 1) };
        let follows = self.other.1 >= FOLLOW_AFTER;
        if follows {
            (self.current, self.other) = (found, (0, 0));
        }
        follows
    }
}

impl Feeder {
    pub(super) fn new(
        options: RecordingOptions,
        (jobs, waiting): (Sender<Job>, Receiver<Job>),
        shown: RecordingShown,
    ) -> Feeder {
        let RecordingOptions { station, folder, exchange, clock, events } = options;
        exchange.set_looks(station);
        let (files, counters) = (HashMap::new(), Counters::default());
        Feeder {
            desk: Desk::new(station, exchange),
            waiting,
            ending: Vec::new(),
            rooms: HashMap::new(),
            sources: Sources::default(),
            tools: Tools { root: folder, jobs, files, counters, events, clock },
            shown,
            show_at: Time::ZERO,
            changed: Vec::new(),
            rtcp: Vec::new(),
            stills: Stills::default(),
        }
    }

    fn handle_job(&mut self, job: Job, deck: &mut Deck<'_>) {
        if !matches!(job, Job::Put(..)) {
            // Who asks after an end finds it.
            self.end_after_packets(deck);
        }
        let (tools, sources) = (&mut self.tools, &mut self.sources);
        match job {
            Job::Put(id, form) => self.put(id, form, deck),
            Job::Folder { conference, recording, name, found } => {
                let Some(room) = self.rooms.get_mut(&conference) else { return };
                let found: Result<Folder, _> = found.map_err(|error| {
                    let path = tools.root.join(&name);
                    (Reason::of_error(&error), format!("{}: {error}; look at --recordings", path.display()))
                });
                match found {
                    Ok(folder) => room.folder_is_ready(&recording, &name, folder, (tools, sources), deck),
                    Err(failure) => room.fail(&recording, None, failure, (tools, sources), deck),
                }
            }
            Job::Tap(id, tap) => {
                if let Some(room) = self.rooms.get_mut(&id).filter(|room| room.mixes()) {
                    room.mix.take(tap);
                }
            }
            Job::Still(id, medium, done) => {
                if let Some(track) = self.rooms.get(&id).and_then(|room| room.form.tracks.get(&medium)) {
                    self.stills.wait_for(track, done);
                }
            }
            Job::Look(id, done) => {
                let stats = self.rooms.get(&id).map(|room| room.stats(&tools.files, deck));
                // Who asked may have gone.
                let _ = done.send(stats.unwrap_or_default());
            }
        }
    }

    /// Begins at once what a form begins; what ends by it takes in first what came until now.
    fn put(&mut self, id: Id, form: Option<Arc<RecordForm>>, deck: &mut Deck<'_>) {
        let taken = |end: &TrunkEnd| self.desk.end(end.port).is_some_and(|open| open != *end);
        if self.ending.iter().any(|(known, _)| *known == id)
            || form.as_ref().is_some_and(|form| form.ends.iter().any(taken))
        {
            self.end_after_packets(deck);
        }
        let Some(form) = form else { return self.ending.push((id, None)) };
        let before = self.rooms.get(&id).map(|room| Arc::clone(&room.form)).unwrap_or_default();
        let both = form.with(&before);
        if both == *form {
            return self.make(id, form, deck);
        }
        self.make(id.clone(), Arc::new(both), deck);
        self.ending.push((id, Some(form)));
    }

    fn make(&mut self, id: Id, form: Arc<RecordForm>, deck: &mut Deck<'_>) {
        let room = self.rooms.entry(id.clone()).or_insert_with(|| Room::new(id));
        change_ends(&mut self.desk, &room.form, &form);
        room.put(form, (&mut self.tools, &mut self.sources), deck);
    }

    /// Ends what ends, if something does, once what came until now is taken.
    fn end_after_packets(&mut self, deck: &mut Deck<'_>) {
        if self.ending.is_empty() {
            return;
        }
        self.take_packets(deck);
        for (id, form) in std::mem::take(&mut self.ending) {
            match form {
                Some(form) => self.make(id, form, deck),
                None => {
                    let Some(mut room) = self.rooms.remove(&id) else { continue };
                    change_ends(&mut self.desk, &room.form, &RecordForm::default());
                    room.end_all((&mut self.tools, &mut self.sources), deck);
                }
            }
        }
    }

    /// Hands what workers packed to the files that it is for.
    fn take_packets(&mut self, deck: &mut Deck<'_>) {
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            for run in &parcel.runs {
                let bytes = &parcel.bytes[run.offset as usize..][..run.len as usize];
                for datagram in bytes.chunks(run.segment_bytes as usize) {
                    match classify(datagram) {
                        PacketClass::Rtp => self.take_rtp((run.to, run.at), datagram, deck),
                        PacketClass::Rtcp => self.take_rtcp((run.to, run.at), datagram, deck),
                        _ => self.tools.counters.dropped(DropReason::NotRtp),
                    }
                }
            }
            self.desk.give_back(parcel);
        }
        while let Some(id) = self.changed.pop() {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.settle((&mut self.tools, &mut self.sources), deck);
            }
        }
    }

    fn take_rtp(&mut self, (port, at): (PortId, Time), packet: &[u8], deck: &mut Deck<'_>) {
        let counters = &mut self.tools.counters;
        let Some(ssrc) = packet.get(8..12) else { return counters.dropped(DropReason::NotRtp) };
        let from = (port, u32::from_be_bytes([ssrc[0], ssrc[1], ssrc[2], ssrc[3]]));
        let Some(source) = self.sources.all.get_mut(&from) else {
            return counters.unfiled(Unfiled::UnknownSource);
        };
        if source.follow(packet[1] & 0x7f) {
            self.changed.push(source.conference.clone());
        }
        for (recording, track) in &source.targets {
            deck.packet(*recording, *track, at, packet);
        }
        if source.early {
            let room = self.rooms.get_mut(&source.conference).expect("its sources go with it");
            room.hold(from, at, packet, counters);
        } else if source.recorded && source.targets.is_empty() {
            counters.unfiled(Unfiled::NoFile);
        }
        self.stills.handle_packet(from, at, packet);
    }

    /// Sender reports put tracks in step.
    fn take_rtcp(&mut self, (port, at): (PortId, Time), packet: &[u8], deck: &mut Deck<'_>) {
        for (ssrc, info) in sender_reports(packet) {
            let Some(source) = self.sources.all.get(&(port, ssrc)) else { continue };
            for target in &source.targets {
                deck.report(*target, at, ssrc, &info);
            }
            if source.early {
                let room = self.rooms.get_mut(&source.conference).expect("its sources go with it");
                room.hold((port, ssrc), at, packet, &mut self.tools.counters);
            }
        }
    }

    /// Hands mixes to their files, and asks for those that lack.
    fn take_sound(&mut self, now: Time, deck: &mut Deck<'_>) {
        for room in self.rooms.values_mut().filter(|room| room.mixes()) {
            if room.mix.asks(now) {
                self.tools.tell(room.id.clone(), RecordingEventKind::TapWanted);
            }
            let mut mix = std::mem::take(&mut room.mix);
            let wanted = |coding| room.mix_tracks().any(|(known, _)| known == coding);
            mix.turn(Coding::ALL.map(wanted), |coding, at, timestamp, frame| {
                let tracks = room.mix_tracks().filter(|(known, _)| *known == coding);
                tracks.for_each(|(_, track)| deck.frame(track, at, timestamp, frame));
            });
            room.mix = mix;
        }
    }

    fn take_events(&mut self, deck: &mut Deck<'_>) {
        while let Some(event) = deck.event() {
            let id = event.recording;
            let Some(named) = self.tools.files.get_mut(&id) else { continue };
            let (conference, recording) = (named.conference.clone(), named.recording.clone());
            let whose = named.whose.clone();
            match event.kind {
                EventKind::SegmentBegan { path } => {
                    named.path = Some(path.clone());
                    self.tools.tell(conference, RecordingEventKind::Began { recording, whose, path });
                }
                EventKind::SegmentEnded { path, summary } => {
                    named.path = None;
                    self.tools.counters.segments += 1;
                    if let Some(room) = self.rooms.get_mut(&conference) {
                        room.segment_ended(&recording, &whose);
                    }
                    let begins = self.tools.unix(summary.begins_at);
                    let (duration, bytes, samples) = (summary.duration, summary.bytes, summary.samples);
                    let segment = Box::new(Closed { path, begins, duration, bytes, samples });
                    self.tools.tell(conference, RecordingEventKind::Closed { recording, whose, segment });
                }
                EventKind::KeyFrameWanted { track } => {
                    if let Some(from) = named.tracks.get(track).copied().flatten() {
                        ask_key_frame(&mut self.desk, &mut self.rtcp, from);
                    }
                }
                EventKind::Failed { reason, message } => {
                    self.tools.files.remove(&id);
                    let (tools, sources) = (&mut self.tools, &mut self.sources);
                    if let Some(room) = self.rooms.get_mut(&conference) {
                        room.fail(&recording, Some(whose), (reason.into(), message), (tools, sources), deck);
                    }
                }
                EventKind::Stopped { tracks } => {
                    self.tools.files.remove(&id);
                    self.tools.counters.add(&tracks);
                    let room = self.rooms.get(&conference);
                    if !room.is_some_and(|room| room.goes_on(&recording, &whose)) {
                        self.tools.tell(conference, RecordingEventKind::Stopped { recording, whose });
                    }
                }
                _ => {}
            }
        }
    }

    fn show(&mut self, now: Time, deck: &Deck<'_>) {
        self.show_at = now + SHOW_INTERVAL;
        let mut counters = self.tools.counters.clone();
        for (id, named) in &self.tools.files {
            let tracks: Vec<_> = (0..named.tracks.len()).filter_map(|track| deck.stats(*id, track)).collect();
            counters.add(&tracks);
        }
        let (mut recordings, mut paused) = (0, 0);
        for (all, of_them) in self.rooms.values().map(Room::count) {
            (recordings, paused) = (recordings + all, paused + of_them);
        }
        let files = self.tools.files.len();
        let (crossed, taken) = (self.desk.crossed(), Some(Instant::now()));
        let thread_id = Some(thread_id());
        let snapshot = RecordingSnapshot { recordings, paused, files, counters, crossed, taken, thread_id };
        self.shown.show(snapshot);
    }
}

impl Feed for Feeder {
    fn turn(&mut self, now: Time, deck: &mut Deck<'_>) {
        self.desk.begin(now);
        // Before packets are looked for: what they are for is known before they are sent.
        for _ in 0..self.waiting.len() {
            let Ok(job) = self.waiting.try_recv() else { break };
            self.handle_job(job, deck);
        }
        self.take_packets(deck);
        self.take_sound(now, deck);
        self.end_after_packets(deck);
        self.take_events(deck);
        self.stills.turn(now, &mut self.desk, &mut self.rtcp);
        self.desk.flush();
        if now >= self.show_at {
            self.show(now, deck);
        }
    }
}

/// What a compound packet says of senders' clocks.
pub(super) fn sender_reports(compound: &[u8]) -> impl Iterator<Item = (u32, SenderInfo)> {
    let compound = Compound::new(compound).ok();
    compound.into_iter().flat_map(|compound| compound.packets()).filter_map(|packet| match packet {
        Packet::SenderReport(report) => Some((report.ssrc, report.info)),
        _ => None,
    })
}

/// Opens and closes ends of trunks.
fn change_ends(desk: &mut Desk, before: &RecordForm, after: &RecordForm) {
    for end in before.ends.iter().filter(|end| !after.ends.contains(end)) {
        desk.close(end.port);
    }
    for end in after.ends.iter().filter(|end| !before.ends.contains(end)) {
        desk.open(*end);
    }
}

/// Asks a publisher for a key frame, by its relay.
pub(super) fn ask_key_frame(desk: &mut Desk, rtcp: &mut Vec<u8>, (port, ssrc): (PortId, u32)) {
    let Some(end) = desk.end(port) else { return };
    rtcp.clear();
    // RFC 3550 section 6.1: a compound begins with a report and holds a name.
    write_receiver_report(rtcp, OWN_SSRC, &[]);
    write_sdes_cname(rtcp, &[(OWN_SSRC, "recorder")]);
    write_pli(rtcp, OWN_SSRC, ssrc);
    desk.pack(end, rtcp, &[], rtcp.len() as u32);
}
