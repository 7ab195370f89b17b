//! One conference on a canvas thread: its mixer, and who is who.
//!
//! What is to be composed comes as a whole ([`CanvasForm`]); here it becomes the mixer's commands.

use super::fit::Fit;
use super::voice::Voice;
use crate::exchange::Desk;
use crate::model::{Id, Shows};
use crate::plan::{CONTENT, CanvasForm, FeedForm, FeedKey, SeenForm, TrunkEnd, stream_name};
use crate::routing::Sees;
use motet_codecs::video::{Frame, FramePool, H264Library};
use motet_mixer::video::{
    Font, Layer, Layout, OutputConfig, OutputId, Sequence, SourceConfig, SourceId, Subject, VideoCommand,
    VideoMixError, VideoMixer, VideoOutbox, VideoStats,
};
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::rtcp::{Compound, Packet, write_pli};
use motet_rtp::{Ntp, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The canvas's name in feedback (RFC 4585 section 6.1), which only the relay sees.
const FEEDBACK_SSRC: u32 = 1;
/// Numbers of sources begin behind it.
const NOBODY: SourceId = SourceId(0);
/// Who is seen alone is looked at so often.
const FIT_INTERVAL: Duration = Duration::from_secs(1);

/// How a canvas is doing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SceneStatus {
    pub(crate) stats: VideoStats,
    /// Pictures a second that are made now.
    pub(crate) frames_per_s: f64,
}

/// What a scene counts besides its mixer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) packets: u64,
    pub(super) key_frames_asked: u64,
    pub(super) key_frames_wanted: u64,
}

/// A stream that leaves.
struct Output {
    end: Option<TrunkEnd>,
    /// It goes to the recorder.
    recorded: bool,
    config: OutputConfig,
}

/// A conference.
pub(super) struct Scene {
    pub(super) form: Arc<CanvasForm>,
    pub(super) mixer: VideoMixer,
    pub(super) counts: Counts,
    /// A leg's number is its own for as long as it is here; who came first has the lowest.
    numbers: HashMap<Id, SourceId>,
    outputs: BTreeMap<FeedKey, Output>,
    /// Numbers given so far.
    given: u32,
    voice: Voice,
    /// Who holds a lecture, as was told last.
    lecturer: Option<Id>,
    divisor: u32,
    /// Whether those fit who are seen alone, and when they are looked at next.
    fits: BTreeMap<Id, Fit>,
    fit_at: Time,
    /// Room for a request.
    request: Vec<u8>,
}

impl Scene {
    /// An empty one with the form's settings. [`Scene::put`] fills it.
    pub(super) fn new(form: &CanvasForm, font: Option<Arc<Font>>) -> Scene {
        Scene {
            form: Arc::new(CanvasForm::empty(form.settings.clone())),
            mixer: VideoMixer::with_font(font),
            counts: Counts::default(),
            numbers: HashMap::new(),
            outputs: BTreeMap::new(),
            given: 0,
            voice: Voice::default(),
            lecturer: None,
            divisor: 1,
            fits: BTreeMap::new(),
            fit_at: Time::ZERO,
            request: Vec::new(),
        }
    }

    /// Makes the canvas what the form says. Goes on after what fails, and gives the first failure.
    /// `wall` is the time of day now, which the numbers of new outputs begin with.
    pub(super) fn put(&mut self, now: Time, form: Arc<CanvasForm>, wall: Ntp) -> Result<(), VideoMixError> {
        let old = std::mem::replace(&mut self.form, Arc::clone(&form));
        let mut first_failure = None;
        for command in self.changes(&old, &form, (now, wall)) {
            if let Err(failure) = self.mixer.handle_command(now, command) {
                first_failure.get_or_insert(failure);
            }
        }
        self.voice.set(form.settings.voice);
        self.fits.retain(|leg, _| form.watched.contains_key(leg));
        // Who was told that a lecture goes on, and sees none, is told again.
        self.lecturer.clone_from(&form.lecturer);
        self.show_speaker(now);
        first_failure.map_or(Ok(()), Err)
    }

    /// From one form to another, as commands in their order.
    fn changes(&mut self, old: &CanvasForm, new: &CanvasForm, at: (Time, Ntp)) -> Vec<VideoCommand> {
        let mut commands = Vec::new();
        for (key, feed) in &old.outputs {
            if new.outputs.get(key) != Some(feed)
                && let Some(output) = self.outputs.remove(key)
            {
                commands.push(VideoCommand::RemoveOutput(output.config.id));
            }
        }
        let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) = (old.seen().collect(), new.seen().collect());
        let same = |one: &BTreeMap<Id, &SeenForm>, leg: &Id, source: &SeenForm| {
            one.get(leg).is_some_and(|other| other.same_stream(source))
        };
        for (leg, _) in before.iter().filter(|(leg, source)| !same(&after, leg, source)) {
            commands.push(VideoCommand::RemoveSource(self.number(leg)));
        }
        self.numbers.retain(|leg, _| after.contains_key(leg));
        for (leg, source) in &after {
            let (id, name, look) = (self.number(leg), source.name.clone(), source.look.clone());
            if !same(&before, leg, source) {
                let (ssrc, codecs) = (source.ssrc, source.codecs.clone());
                let layer =
                    source.layer.as_ref().map(|(of, size)| Layer { of: self.number(of), size: *size });
                commands.push(VideoCommand::AddSource(SourceConfig {
                    id,
                    ssrc,
                    codecs,
                    name,
                    look,
                    // A page of a document may stand for as long as it likes, whoever sees it.
                    content: leg.starts_with('/') && layer.is_none(),
                    layer,
                }));
                continue;
            }
            let before = before[leg];
            if before.name != name {
                commands.push(VideoCommand::SetName { id, name });
            }
            if before.look != look {
                commands.push(VideoCommand::SetLook { id, look });
            }
        }
        let measured = |leg: &Id| new.watched.contains_key(leg);
        let measures = self.numbers.iter().map(|(leg, id)| (*id, measured(leg)));
        commands.extend(measures.map(|(id, measured)| VideoCommand::Measure { id, measured }));
        for (key, feed) in &new.outputs {
            match self.outputs.get(key) {
                None => {
                    self.given += 1;
                    let config = self.config(OutputId(self.given), (key, feed), new, at);
                    let end = new.ends.iter().find(|end| end.port == feed.port).copied();
                    let recorded = feed.recorded;
                    self.outputs.insert(key.clone(), Output { end, recorded, config: config.clone() });
                    commands.push(VideoCommand::AddOutput(config));
                }
                Some(output) => {
                    let OutputConfig { id, sequence, timestamp, .. } = output.config;
                    let config = self.config(id, (key, feed), new, at);
                    let config = OutputConfig { sequence, timestamp, ..config };
                    if config != output.config {
                        commands.push(VideoCommand::SetOutput(config.clone()));
                        let (end, recorded) = (output.end, output.recorded);
                        self.outputs.insert(key.clone(), Output { end, recorded, config });
                    }
                }
            }
        }
        commands
    }

    fn config(
        &self,
        id: OutputId,
        (key, feed): (&FeedKey, &FeedForm),
        form: &CanvasForm,
        (now, wall): (Time, Ntp),
    ) -> OutputConfig {
        let (settings, sees) = (&form.settings, &key.sees);
        let source = |leg: &Id| self.numbers.get(leg).copied();
        let without = sees.without.as_ref().and_then(source);
        // Who is left out is not seen large either.
        let pinned = sees.pinned.as_ref().or(settings.pinned.as_ref()).and_then(source);
        // On a canvas a leg has one medium.
        let alone = sees.alone.as_ref().map(|key| {
            let transcoded = form.streams.contains_key(key).then(|| stream_name(key));
            source(transcoded.as_ref().unwrap_or(&key.0)).unwrap_or(NOBODY)
        });
        let lecture = self.lecture(sees, form);
        let (layout, subjects, pinned) = lecture.unwrap_or_else(|| {
            let layout = sees.layout.as_ref().unwrap_or(&settings.layout).clone();
            let subjects = self.subjects(sees.cells.as_ref().unwrap_or(&settings.cells));
            (layout, subjects, pinned.filter(|pinned| without != Some(*pinned)))
        });
        OutputConfig {
            id,
            ssrc: feed.ssrc,
            payload_type: key.format.payload_type(),
            codec: key.format.codec(),
            h264: H264Library::default(),
            bitrate_bps: settings.bitrate_bps,
            frames_per_s: settings.frames_per_s,
            size: settings.size,
            layout,
            fit: settings.fit,
            subjects,
            pinned,
            names: settings.names,
            still: form.still.clone(),
            background: settings.background,
            texts: settings.texts.clone(),
            alone,
            without,
            // Of the time of day, so that another node that makes the canvas begins later.
            sequence: form.goes_on.get(&feed.ssrc).copied().unwrap_or((wall.0 >> 22) as u16),
            timestamp: ticks_of_day(wall).wrapping_sub(ticks(now)),
        }
    }

    /// What is seen of a lecture, by the lecturer and by those who have chosen nothing else.
    fn lecture(&self, sees: &Sees, form: &CanvasForm) -> Option<(Layout, Vec<Subject>, Option<SourceId>)> {
        if sees.lectures {
            let others = Sequence { members: Vec::new(), interval: form.settings.lecture_turn };
            return Some((Layout::Equal(1), vec![Subject::Sequence(Arc::new(others))], None));
        }
        let lecturer = form.lecturer.as_ref().filter(|_| sees.is_plain())?;
        Some((Layout::Equal(1), Vec::new(), self.numbers.get(lecturer).copied()))
    }

    /// Who is to be seen in each of the first cells.
    fn subjects(&self, cells: &BTreeMap<u8, Shows>) -> Vec<Subject> {
        let count = cells.keys().last().map_or(0, |last| last + 1);
        let subject = |cell| match cells.get(&cell) {
            None => Subject::Layout,
            Some(Shows::Speaker) => Subject::Speaker,
            Some(Shows::PreviousSpeaker) => Subject::PreviousSpeaker,
            Some(Shows::Nobody) => Subject::Nobody,
            Some(Shows::Content) => {
                self.numbers.get(CONTENT).map_or(Subject::Layout, |id| Subject::Source(*id))
            }
            Some(Shows::Sequence(legs, interval)) => {
                let members: Vec<_> = legs.iter().filter_map(|leg| self.numbers.get(leg).copied()).collect();
                let nobody = members.is_empty() && !legs.is_empty();
                let sequence = Sequence { members, interval: *interval };
                if nobody { Subject::Nobody } else { Subject::Sequence(Arc::new(sequence)) }
            }
            // The cell waits for who is not here yet.
            Some(Shows::Leg(leg)) => self.numbers.get(leg).map_or(Subject::Nobody, |id| Subject::Source(*id)),
        };
        (0..count).map(subject).collect()
    }

    fn number(&mut self, leg: &Id) -> SourceId {
        *self.numbers.entry(leg.clone()).or_insert_with(|| {
            self.given += 1;
            SourceId(self.given)
        })
    }

    /// Takes a datagram in that came to one of its ports.
    pub(super) fn handle_packet(&mut self, came: Time, datagram: &[u8]) {
        if classify(datagram) == PacketClass::Rtp {
            return self.mixer.handle_packet(came, datagram);
        }
        let Ok(compound) = Compound::reduced(datagram) else { return };
        for packet in compound.packets() {
            match packet {
                Packet::Pli(pli) => self.key_frame_asked(came, pli.media_ssrc),
                Packet::Fir(fir) => fir.entries().for_each(|entry| self.key_frame_asked(came, entry.ssrc)),
                // The relay's reports say nothing that matters here.
                _ => {}
            }
        }
    }

    fn key_frame_asked(&mut self, now: Time, ssrc: u32) {
        let Some(output) = self.outputs.values().find(|output| output.config.ssrc == ssrc) else { return };
        self.counts.key_frames_asked += 1;
        let asked = self.mixer.handle_command(now, VideoCommand::RequestKeyFrame(output.config.id));
        debug_assert!(asked.is_ok(), "an output that is there");
    }

    /// Another one talks most; none: who did has left.
    pub(super) fn set_speaker(&mut self, now: Time, leg: Option<Id>) {
        self.voice.active(now, leg);
    }

    /// Somebody begins to talk, or stops.
    pub(super) fn talks(&mut self, now: Time, leg: Id, talks: bool) {
        self.voice.talks(now, leg, talks);
    }

    /// Looks who is to be shown, and tells who holds a lecture; what finds no room is told later.
    pub(super) fn listen(&mut self, now: Time, tell: impl FnOnce(Option<Id>) -> bool) {
        if self.voice.look(now) {
            self.show_speaker(now);
        }
        // Who shows no picture holds none.
        let lecturer = self.voice.lecturer().filter(|leg| self.form.sources.contains_key(*leg));
        if lecturer != self.lecturer.as_ref() && tell(lecturer.cloned()) {
            self.lecturer = lecturer.cloned();
        }
    }

    /// Looks whether those fit the canvas's limits who are seen alone, and tells of whom that has changed; what finds no
    /// room is told later.
    pub(super) fn look_at_fits(&mut self, now: Time, mut tell: impl FnMut(Id, bool)) {
        if now < self.fit_at || self.form.watched.is_empty() {
            return;
        }
        self.fit_at = now + FIT_INTERVAL;
        for (leg, known) in &self.form.watched {
            let shape = self.numbers.get(leg).and_then(|id| self.mixer.shape(*id));
            let Some(shape) = shape else { continue };
            let fit = self.fits.entry(leg.clone()).or_default();
            if let Some(fits) = fit.look(shape, &self.form.settings).filter(|fits| fits != known) {
                tell(leg.clone(), fits);
            }
        }
    }

    /// Who is not seen does not take the place of who is.
    fn show_speaker(&mut self, now: Time) {
        let speaker = self.voice.speaker().and_then(|leg| self.numbers.get(leg)).copied();
        let set = self.mixer.handle_command(now, VideoCommand::SetSpeaker(speaker));
        debug_assert!(set.is_ok(), "whoever has a number is a source");
    }

    /// Only each so many pictures are made.
    pub(super) fn set_divisor(&mut self, now: Time, divisor: u32) {
        self.divisor = divisor;
        let set = self.mixer.handle_command(now, VideoCommand::SetDivisor(divisor));
        debug_assert!(set.is_ok(), "any will do");
    }

    /// Who is seen, or transcoded; copies are not counted.
    pub(super) fn sources(&self) -> usize {
        self.form.seen().filter(|(_, seen)| seen.layer.is_none()).count()
    }

    /// Pictures a second that are made now.
    pub(super) fn frames_per_s(&self) -> f64 {
        f64::from(self.form.settings.frames_per_s) / f64::from(self.divisor)
    }

    /// A copy of what those see who have chosen nothing.
    pub(super) fn picture(&mut self, now: Time) -> Option<Frame> {
        let common = self.outputs.iter().find(|(key, _)| key.sees == Sees::default());
        let picture = self.mixer.picture(now, common?.1.config.id)?;
        let mut frame = FramePool::new(1).take(picture.size());
        frame.copy_from(&picture);
        Some(frame)
    }

    pub(super) fn status(&self) -> SceneStatus {
        SceneStatus { stats: *self.mixer.stats(), frames_per_s: self.frames_per_s() }
    }

    /// Makes what is due, and hands it over.
    pub(super) fn make(&mut self, now: Time, out: &mut VideoOutbox, desk: &mut Desk) {
        self.mixer.handle_timeout(now, out);
        // Who is seen came since the picture before: half of that ago in the mean. The recorder goes by it, as sound does.
        let seen_at = now - Duration::from_secs(1) / self.form.settings.frames_per_s.max(1) / 2;
        for packet in out.packets() {
            let output = self.outputs.values().find(|output| output.config.id == packet.output);
            let Some((end, recorded)) = output.and_then(|output| Some((output.end?, output.recorded))) else {
                continue;
            };
            desk.begin(if recorded { seen_at } else { now });
            let bytes = packet.header.len() + packet.payload.len();
            desk.pack(end, packet.header, packet.payload, bytes as u32);
            self.counts.packets += 1;
        }
        for wanted in out.key_frames_wanted() {
            let leg = self.numbers.iter().find(|(_, number)| *number == wanted).map(|(leg, _)| leg);
            let Some((_, source)) = leg.and_then(|leg| self.form.seen().find(|(seen, _)| seen == leg)) else {
                continue;
            };
            let Some(end) = self.form.ends.iter().find(|end| end.port == source.port) else { continue };
            self.request.clear();
            write_pli(&mut self.request, FEEDBACK_SSRC, source.ssrc);
            desk.pack(*end, &self.request, &[], self.request.len() as u32);
            self.counts.key_frames_wanted += 1;
        }
    }
}

/// RTP ticks of 90 kHz since an origin; they wrap. As the mixer counts them.
fn ticks(now: Time) -> u32 {
    (u128::from(now.as_nanos()) * 9 / 100_000) as u32
}

fn ticks_of_day(wall: Ntp) -> u32 {
    ((u128::from(wall.0) * 90_000) >> 32) as u32
}
