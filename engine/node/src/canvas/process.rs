//! Canvases in a process of their own, so that a crash inside a codec's library ends that process and not the node.
//!
//! ```text
//! worker <-- exchange --> canvas-N, here: Proxy <-- socket --> reader, canvas-N as it is without, writer
//! ```
//!
//! The process is the node's own program, with a canvas thread as it is in a node without this (`child.rs`) and an
//! exchange of its own. Here a thread has that one's place in the node's exchange: it hands over what came, every few
//! milliseconds, and takes what was made. It remembers what the process was told and with which number each stream goes
//! on, so that another one can take its place (`restart.rs`): receivers see the same streams go on with a key frame.
//! The first one is started when a canvas is about to be put (`Job::Ready`), and stays.
//!
//! Beside those there are processes for one thing: a picture (`apart.rs`), or a file that is played (`film.rs`).
//!
//! Workers never wait: what the process does not take in time stays in the parcels, of which there are so many, and is
//! dropped and counted by who sends it. A process that takes or shows nothing for seconds is ended as one that crashed.

use super::meter::{CanvasShown, CanvasSnapshot};
use super::{CanvasOptions, Job};
use crate::exchange::{Desk, Run};
use crate::fence::Fence;
use crate::mixing::{MixingEvent, MixingEventKind, on_cpu};
use crate::model::Id;
use crate::plan::CanvasForm;
use crate::worker::{Clock, DeathNotice, pin};
use crossbeam_channel::Receiver;
use frame::{Came, Kind, put_parcel};
use link::Link;
use motet_mixer::video::Still;
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use orders::Waiting;
use restart::Restarts;
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use word::{Hello, Order, Word};

mod apart;
mod child;
mod film;
mod frame;
mod link;
mod orders;
mod restart;
mod word;

pub(crate) use apart::decode_apart;
pub use child::run_canvas_process;
pub(crate) use film::Film;

/// Packets are handed over so often.
const TAKE_INTERVAL: Duration = Duration::from_millis(5);
/// Counters are shown so often.
const SHOW_INTERVAL: Duration = Duration::from_millis(250);
/// A process that shows nothing for so long hangs. It shows its counters four times a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// To write takes longer where the process is busy with something large.
const SLOW: Duration = Duration::from_millis(100);
/// Jobs done, and frames taken, between two looks at what came.
const JOBS_PER_STEP: usize = 16;
const FRAMES_PER_STEP: usize = 64;

/// What is needed to start a process for canvases.
pub(crate) struct ProcessOptions {
    /// Of the node.
    pub(crate) stations: usize,
    /// For names.
    pub(crate) font: Option<PathBuf>,
}

/// A conference with a canvas.
struct Known {
    form: Arc<CanvasForm>,
    /// Who talks most, and who talks at all.
    speaker: Option<Id>,
    talking: BTreeSet<Id>,
    /// It is made; else it waits, since the process ended over it again and again.
    made: bool,
}

/// The thread's own.
pub(super) struct Proxy {
    station: usize,
    hello: Hello,
    clock: Clock,
    fence: Fence,
    jobs: Receiver<Job>,
    desk: Desk,
    link: Option<Link>,
    restarts: Restarts,
    known: BTreeMap<Id, Known>,
    /// Since when they wait.
    waiting: HashMap<u64, (Time, Waiting)>,
    tickets: u64,
    /// Stills that the process has, by number.
    stills: HashMap<u64, Weak<Still>>,
    /// The last number sent, by port here and SSRC.
    sequences: HashMap<(u32, u32), u16>,
    events: mpsc::Sender<MixingEvent>,
    died: mpsc::Sender<usize>,
    /// Room for a frame.
    frame: Vec<u8>,
    /// What is counted here.
    counted: CanvasSnapshot,
    /// What the process showed last, and those before it that ended.
    theirs: CanvasSnapshot,
    gone: CanvasSnapshot,
    shown: CanvasShown,
    show_at: Time,
    /// Time that this thread ran since the process showed something.
    silent: Duration,
    looked_at: Time,
}

impl Proxy {
    /// The process is started with the first canvas.
    ///
    /// Errors say why it could not run.
    pub(super) fn new(
        options: CanvasOptions,
        process: ProcessOptions,
        jobs: Receiver<Job>,
        shown: CanvasShown,
    ) -> Result<Proxy, String> {
        let CanvasOptions { station, index, core, exchange, clock, fence, events, died, .. } = options;
        let ProcessOptions { stations, font } = process;
        let ntp_origin = clock.ntp_origin.0;
        let hello = Hello { station, stations, index, core, ntp_origin, font };
        let now = clock.now();
        if let Some(core) = core {
            try_pin(core)?;
        }
        exchange.set_looks(station);
        Ok(Proxy {
            station,
            hello,
            clock,
            fence,
            jobs,
            desk: Desk::new(station, exchange),
            link: None,
            restarts: Restarts::default(),
            known: BTreeMap::new(),
            waiting: HashMap::new(),
            tickets: 0,
            stills: HashMap::new(),
            sequences: HashMap::new(),
            events,
            died,
            frame: Vec::new(),
            counted: CanvasSnapshot::default(),
            theirs: CanvasSnapshot::default(),
            gone: CanvasSnapshot::default(),
            shown,
            show_at: now,
            silent: Duration::ZERO,
            looked_at: now,
        })
    }

    pub(super) fn run(mut self) {
        let guard = DeathNotice::new(self.died.clone(), self.station);
        loop {
            self.wait(self.clock.now());
            if !self.do_jobs() {
                return guard.expected();
            }
            let now = self.clock.now();
            let holds = self.fence.holds(now, false);
            self.hear(holds);
            self.carry(holds);
            self.watch(now);
            if now >= self.show_at {
                self.show(now);
            }
        }
    }

    /// Sleeps until something is due, or came.
    fn wait(&self, now: Time) {
        let mut until = self.show_at;
        if !self.known.is_empty() {
            until = until.min(now + TAKE_INTERVAL);
        }
        if self.fence.is_up() {
            until = self.fence.wake_at();
        }
        let has_mail = self.link.as_ref().is_some_and(Link::has_mail);
        if until > now && self.jobs.is_empty() && !has_mail {
            std::thread::park_timeout(until.since(now));
        }
    }

    /// Takes what came from the process.
    fn hear(&mut self, holds: bool) {
        self.take_frames(holds);
        self.desk.flush();
    }

    fn take_frames(&mut self, holds: bool) {
        for _ in 0..FRAMES_PER_STEP {
            let Some(link) = &mut self.link else { return };
            let came = match link.next() {
                Ok(None) => return,
                Ok(Some(came)) => came,
                Err(()) => return self.lose("it says nothing more"),
            };
            match came.kind {
                Kind::Parcel => self.take_made(&came, holds),
                Kind::Picture => {
                    if let Some((ticket, frame)) = came.picture()
                        && let Some((_, Waiting::Picture(Some(done)))) = self.waiting.remove(&ticket)
                    {
                        let _ = done.send(Some(frame));
                    }
                }
                Kind::Word => match came.word() {
                    Ok(word) => self.take_word(word),
                    Err(why) => return self.lose(&why),
                },
            }
        }
    }

    /// Hands over what the process made. It may have gone wrong: what it says is looked at.
    fn take_made(&mut self, came: &Came, holds: bool) {
        let Some(packets) = came.parcel() else { return self.lose("it sends what is no parcel") };
        if holds {
            self.counted.fenced += packets.datagrams();
            return;
        }
        for run in packets.runs() {
            let Some(end) = self.desk.end(run.from) else { continue };
            if (end.worker, end.peer) != (packets.station, run.to) {
                continue;
            }
            let bytes = packets.bytes(&run);
            self.desk.begin(run.at);
            self.desk.pack(end, &[], bytes, run.segment_bytes);
            for datagram in bytes.chunks(run.segment_bytes as usize) {
                if let Some((ssrc, sequence)) = numbered(datagram) {
                    self.sequences.insert((run.from.0, ssrc), sequence);
                }
            }
        }
    }

    fn take_word(&mut self, word: Word) {
        match word {
            Word::Started(_) => {}
            Word::Put(ticket, done) => match self.waiting.remove(&ticket) {
                Some((_, Waiting::Put(_, Some(waiting)))) => drop(waiting.send(done)),
                Some((_, Waiting::Put(id, None) | Waiting::PutAgain(id))) if let Err(error) = done => {
                    tracing::error!(conference = %id, error, "the canvas was accepted before, and is refused now");
                }
                Some((_, Waiting::PutAgain(id))) => self.tell_rate(&id, true),
                _ => {}
            },
            Word::Look(ticket, status) => {
                if let Some((_, Waiting::Look(Some(waiting)))) = self.waiting.remove(&ticket) {
                    let _ = waiting.send(status);
                }
            }
            Word::NoPicture(ticket) => {
                if let Some((_, Waiting::Picture(Some(waiting)))) = self.waiting.remove(&ticket) {
                    let _ = waiting.send(None);
                }
            }
            Word::Event(event) => self.tell(event),
            Word::Shown(snapshot) => (self.theirs, self.silent) = (*snapshot, Duration::ZERO),
        }
    }

    /// Tells those who watch a conference that there is no canvas for now, or one again.
    fn tell_rate(&mut self, id: &Id, made: bool) {
        let Some(known) = self.known.get(id) else { return };
        let wanted = known.form.settings.frames_per_s;
        let frames_per_s = if made { f64::from(wanted) } else { 0.0 };
        let kind = MixingEventKind::CanvasRate { frames_per_s, wanted };
        self.tell(MixingEvent { conference: id.clone(), kind });
    }

    fn tell(&mut self, event: MixingEvent) {
        let told = self.events.try_send(event).is_ok();
        self.counted.events_dropped += u64::from(!told);
    }

    /// Hands over what came for the process, which may take its time: that is no stop.
    fn carry(&mut self, holds: bool) {
        let begun = self.clock.now();
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            let datagrams = || parcel.runs.iter().map(Run::datagrams).sum::<u64>();
            if holds {
                self.counted.fenced += datagrams();
            } else if self.link.is_none() {
                self.counted.away += datagrams();
            } else if !parcel.runs.is_empty() {
                put_parcel(&mut self.frame, parcel.sender(), &parcel);
                self.send();
            }
            self.desk.give_back(parcel);
        }
        if self.clock.now().since(begun) > SLOW {
            self.fence.rest();
        }
    }

    /// Looks whether the process hangs, and starts another one when it is time.
    fn watch(&mut self, now: Time) {
        // This thread may have been stopped together with it.
        self.silent += now.since(self.looked_at).min(SHOW_INTERVAL);
        self.looked_at = now;
        self.answer_late(now);
        if self.link.is_some() && self.silent > SILENCE_MAX {
            self.lose("it hangs");
        }
        for id in self.restarts.pardoned(now) {
            let Some(known) = self.known.get_mut(&id) else { continue };
            known.made = true;
            tracing::info!(conference = %id, "its canvas is tried again");
            self.put_again(id);
        }
        if self.link.is_none() && !self.known.is_empty() && self.restarts.is_due(now) {
            match self.start() {
                Ok(()) => self
                    .known
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|id| self.put_again(id)),
                Err(error) => {
                    tracing::error!(station = self.station, error, "no process for canvases can be started");
                    self.restarts.ended(now, None);
                }
            }
        }
    }

    /// Starts a process for the first canvas. One that ended with canvases is started again by itself, and they wait.
    fn begin(&mut self) -> Result<(), String> {
        let waits = !self.known.is_empty() || !self.restarts.is_due(self.clock.now());
        if self.link.is_some() || waits { Ok(()) } else { self.start() }
    }

    fn start(&mut self) -> Result<(), String> {
        let link = Link::start(&self.hello, std::thread::current());
        self.fence.rest();
        self.silent = Duration::ZERO;
        let link = link?;
        tracing::info!(station = self.station, process = link.id(), "a new process composes pictures");
        self.link = Some(link);
        self.stills.clear();
        Ok(())
    }

    fn put_again(&mut self, id: Id) {
        self.put(id.clone(), Waiting::PutAgain(id.clone()));
        let Some(known) = self.known.get(&id).filter(|known| known.made) else { return };
        let (speaker, talking) = (known.speaker.clone(), known.talking.clone());
        for leg in talking {
            self.say(&Order::Talks(id.clone(), leg, true));
        }
        if speaker.is_some() {
            self.say(&Order::Speaker(id, speaker));
        }
    }

    /// The process has ended, or is to.
    fn lose(&mut self, why: &str) {
        let Some(mut link) = self.link.take() else { return };
        let (how, over) = link.end();
        drop(link);
        // To write its memory down may have taken it a while.
        self.fence.rest();
        let now = self.clock.now();
        let canvases = self.known.len();
        self.counted.crashes += 1;
        let made = self.known.iter().filter(|(_, known)| known.made).map(|(id, _)| id.clone());
        for id in made.collect::<Vec<_>>() {
            self.tell_rate(&id, false);
        }
        let banned = self.restarts.ended(now, over.clone().filter(|id| self.known.contains_key(id)));
        let conference = over.as_deref().unwrap_or_default();
        tracing::error!(
            station = self.station,
            canvases,
            conference,
            why,
            how,
            "the process that composes pictures has ended; another one takes its place"
        );
        if let Some(id) = banned
            && let Some(known) = self.known.get_mut(&id)
        {
            known.made = false;
            tracing::error!(conference = %id, "the process ended over it again and again: it has no canvas for a while");
        }
        self.waiting.drain().for_each(|(_, (_, mut waiting))| waiting.answer_without());
        let theirs = std::mem::take(&mut self.theirs);
        add(&mut self.gone, &theirs);
    }

    fn show(&mut self, now: Time) {
        self.show_at = now + SHOW_INTERVAL;
        let forms = || self.known.values().map(|known| &known.form);
        let mut snapshot = CanvasSnapshot {
            canvases: self.known.len(),
            sources: forms().map(|form| form.seen().count()).sum(),
            outputs: forms().map(|form| form.outputs.len()).sum(),
            left_out: self.known.values().filter(|known| !known.made).count(),
            level: self.theirs.level,
            crossed: self.desk.crossed(),
            busy: on_cpu(),
            taken: Some(Instant::now()),
            ..self.counted
        };
        add(&mut snapshot, &self.gone);
        add(&mut snapshot, &self.theirs);
        self.shown.show(snapshot);
    }
}

/// Whether the process can be pinned to a core: who starts a node is to know at once.
fn try_pin(core: usize) -> Result<(), String> {
    let failed = |error| format!("--canvas-cores: cannot tell or set this thread's cores: {error}");
    let before = sched_getaffinity(None).map_err(failed)?;
    pin("--canvas-cores", core)?;
    sched_setaffinity(None, &before).map_err(failed)
}

/// SSRC and sequence number of an RTP packet.
fn numbered(datagram: &[u8]) -> Option<(u32, u16)> {
    let bytes = datagram.first_chunk::<12>().filter(|_| classify(datagram) == PacketClass::Rtp)?;
    let ssrc = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    Some((ssrc, u16::from_be_bytes([bytes[2], bytes[3]])))
}

/// Adds what a process counted.
fn add(all: &mut CanvasSnapshot, one: &CanvasSnapshot) {
    all.stats += one.stats;
    all.packets += one.packets;
    all.lowered += one.lowered;
    all.key_frames_asked += one.key_frames_asked;
    all.key_frames_wanted += one.key_frames_wanted;
    all.events_dropped += one.events_dropped;
    all.busy += one.busy;
    // What is on its way there is dropped as what is on its way here.
    all.crossed.dropped_full += one.crossed.dropped_full;
    all.crossed.dropped_closed += one.crossed.dropped_closed;
}
