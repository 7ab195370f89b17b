//! The edge: one thread that owns the sockets; mixes are decoded when all has been sent.

use crate::audio::abuse::{Abuse, AbuserPlan, Abusers};
use crate::audio::decode::Line;
use crate::audio::ear::Ear;
use crate::audio::impair::Impairment;
use crate::audio::judge::{Scene, listen};
use crate::audio::report::{Measured, Mix, Received, Report};
use crate::audio::reports::Reporter;
use crate::audio::sender::{MouthPlan, Mouths, Style, phase};
use crate::audio::stage::Stage;
use crate::audio::track::Tracks;
use crate::audio::{LoadCodec, wav};
use crate::report::Generator;
use crate::run::{Control, Wait};
use crate::schedule::{Beat, Schedule, spread};
use crate::system;
use anyhow::{Context, anyhow};
use motet_net::{AnyIo, DatagramsIndex, Io, IoChoice, Options, SocketId};
use motet_rtp::{Ntp, Time};
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Time between the thread's start and the first sample.
const LEAD: Duration = Duration::from_millis(50);
/// How often an idle thread looks whether it should stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A whole run.
#[derive(Debug)]
pub struct Plan {
    /// Everybody in every room.
    pub people: Vec<Person>,
    /// Who talks when, in each room.
    pub stage: Stage,
    /// What they say, in all codecs that they have.
    pub tracks: Arc<Tracks>,
    /// What they say has no tones to listen for.
    pub speech: bool,
    /// Tell how loud each packet is (RFC 6464).
    pub level_extension: bool,
    /// The network between everybody and the mixer.
    pub impairment: Impairment,
    /// Everybody reports so often what comes (RTCP); zero: never.
    pub report_interval: Duration,
    /// How many receivers' mixes are decoded.
    pub decoded: usize,
    /// Folder for the mixes that were decoded, as WAV.
    pub wav: Option<PathBuf>,
    /// How packets are carried.
    pub io: IoChoice,
    /// How the thread waits.
    pub wait: Wait,
    /// Core to pin it to.
    pub core: Option<usize>,
    /// What begins within this time is not listened to.
    pub warm_up: Duration,
    /// For how long to send.
    pub duration: Duration,
    /// For how long to receive after that.
    pub drain: Duration,
    /// Percent of packets of mixes that may be missing.
    pub loss_percent_max: f64,
}

/// A participant.
#[derive(Debug)]
pub struct Person {
    /// Number of the room.
    pub room: u32,
    /// Number in the room. Those who speak come first.
    pub participant: u32,
    /// What it sends and receives.
    pub codec: LoadCodec,
    /// Sends and receives.
    pub socket: UdpSocket,
    /// Where it sends.
    pub relay: SocketAddr,
    /// False: it only listens.
    pub speaks: bool,
    /// It sends this instead of sound.
    pub abuse: Option<Abuse>,
    /// Synchronization source to send with.
    pub ssrc: u32,
}

/// Runs a plan to its end, and listens to what came. The calling thread waits.
pub fn execute(plan: Plan, control: &Control) -> anyhow::Result<Report> {
    let loss_percent_max = plan.loss_percent_max;
    let finished = std::thread::scope(|scope| {
        let thread = scope.spawn(|| Worker::open(plan, control).and_then(Worker::run));
        thread.join().map_err(|_| anyhow!("the generator's thread panicked")).flatten()
    })?;
    let (mut measured, kept) = finished.into_measured();
    measured.mixes = kept.listen_all()?;
    Ok(Report::new(measured, loss_percent_max))
}

/// Indexes of those whose mix is decoded: half of them of those who talk in the run, if there are so many, and
/// evenly over the others.
fn chosen(people: &[Person], stage: &Stage, duration: Duration, count: usize) -> HashSet<usize> {
    let turns = (duration.as_secs_f64() / stage.turn_s()).floor() as u64;
    // Groups begin anew at the latest when everybody has talked.
    let talked: HashSet<u32> =
        (0..turns.min(u64::from(stage.speakers))).flat_map(|turn| stage.group(turn)).collect();
    let heard = (0..people.len()).filter(|index| people[*index].abuse.is_none());
    let (talk, quiet): (Vec<usize>, Vec<usize>) =
        heard.partition(|index| people[*index].speaks && talked.contains(&people[*index].participant));
    let of_talk = count.div_ceil(2).max(count.saturating_sub(quiet.len())).min(talk.len());
    let of_quiet = (count - of_talk).min(quiet.len());
    let evenly = |from: &[usize], count: usize| -> Vec<usize> {
        (0..count).map(|index| from[index * from.len() / count]).collect()
    };
    evenly(&talk, of_talk).into_iter().chain(evenly(&quiet, of_quiet)).collect()
}

/// One receiver of the worker.
struct Place {
    room: u32,
    participant: u32,
    codec: LoadCodec,
    ear: Ear,
    keeps: bool,
    relay: SocketAddr,
    /// Its number among those who send.
    mouth: Option<usize>,
}

struct Worker<'a> {
    control: &'a Control,
    io: AnyIo,
    mouths: Mouths,
    abusers: Abusers,
    senders: usize,
    places: Vec<Place>,
    /// When each place reports.
    reports: Schedule,
    report: Vec<u8>,
    /// By the wall's clock, less by the monotonic one.
    epoch: Duration,
    /// Phase of each participant that sends, by room and number.
    phases: Vec<(u32, u32, Duration)>,
    inodes: HashSet<u64>,
    scene: Scene,
    speech: bool,
    wav: Option<PathBuf>,
    wait: Wait,
    drain: Duration,
    busy: Duration,
}

impl<'a> Worker<'a> {
    fn open(mut plan: Plan, control: &'a Control) -> anyhow::Result<Worker<'a>> {
        if let Some(core) = plan.core {
            system::pin(core).with_context(|| format!("--core {core}: cannot pin to it"))?;
        }
        system::sharpen_timers();
        let (mut io, _) = motet_net::select(plan.io, &Options::default())?;
        let keeping = chosen(&plan.people, &plan.stage, plan.duration, plan.decoded);
        let (mut mouths, mut phases, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let (mut inodes, mut abusers) = (HashSet::new(), Vec::new());
        let senders = plan.people.iter().filter(|person| person.speaks).count();
        for (index, person) in std::mem::take(&mut plan.people).into_iter().enumerate() {
            let (socket, codec) = (SocketId(index as u32), person.codec);
            let Person { room, participant, ssrc, relay, .. } = person;
            if let Some(abuse) = person.abuse {
                abusers.push(AbuserPlan { abuse, socket, destination: relay, ssrc });
            }
            let mouth = person.speaks.then_some(mouths.len());
            if person.speaks {
                phases.push((room, participant, phase(senders, mouths.len())));
                mouths.push(MouthPlan { participant, codec, socket, destination: relay, ssrc });
            }
            let keeps = keeping.contains(&index);
            let ear =
                Ear::new(codec.payload_type(), codec.frame_ticks(), keeps, plan.impairment, index as u64);
            let reporter = Reporter::new(ssrc, codec, plan.impairment, index as u64);
            let ear = if plan.report_interval.is_zero() { ear } else { ear.reporting(reporter) };
            places.push(Place { room, participant, codec, ear, keeps, relay, mouth });
            inodes.extend(system::inode(&person.socket));
            io.add_socket(socket, person.socket).context("cannot add a socket")?;
        }
        let start = system::now() + LEAD;
        let style =
            Style { stage: plan.stage, level_extension: plan.level_extension, impairment: plan.impairment };
        let reports = report_schedule(&plan, start, places.len());
        Ok(Worker {
            control,
            io,
            senders,
            reports,
            report: Vec::new(),
            epoch: system::wall().saturating_sub(start.since(Time::ZERO)),
            abusers: Abusers::new(start, plan.duration, &abusers)?,
            mouths: Mouths::new(start, plan.duration, &mouths, plan.tracks, style),
            places,
            phases,
            inodes,
            scene: Scene { start, warm_up: plan.warm_up, duration: plan.duration, stage: plan.stage },
            speech: plan.speech,
            wav: plan.wav,
            wait: plan.wait,
            drain: plan.drain,
            busy: Duration::ZERO,
        })
    }

    fn run(mut self) -> anyhow::Result<Finished> {
        let busy_before = system::thread_busy();
        let began = system::now();
        let mut more = false;
        let mut until: Option<Time> = None;
        loop {
            let now = system::now();
            if until.is_some_and(|until| now >= until) {
                break;
            }
            let stopped = self.control.stop.load(Relaxed);
            let sends = until.is_none();
            self.send_reports(now);
            let due = sends && self.send(now);
            more = self.turn(now, sends, due || more)?;
            if sends && (stopped || self.mouths.next_due().is_none()) {
                if stopped {
                    self.scene.duration = self.scene.duration.min(system::now().since(self.scene.start));
                }
                until = Some(system::now() + self.drain);
            }
        }
        let wall = system::now().since(began).max(Duration::from_nanos(1));
        if self.wait == Wait::Block {
            self.busy = system::thread_busy().since(busy_before);
        }
        Ok(self.finish(wall))
    }

    /// True when more is due already.
    fn send(&mut self, now: Time) -> bool {
        let before = self.mouths.packets();
        let io = &mut self.io;
        self.abusers.handle_due(now, |socket, to, bytes| io.queue(socket, to, bytes, None));
        let more = self.mouths.handle_due(now, |socket, to, bytes| io.queue(socket, to, bytes, None));
        self.control.sent.fetch_add(self.mouths.packets() - before, Relaxed);
        more
    }

    fn send_reports(&mut self, now: Time) {
        while let Some(tick) = self.reports.poll(now) {
            let place = &mut self.places[tick.stream];
            let ntp = Ntp::from_unix(self.epoch + now.since(Time::ZERO));
            let info = place.mouth.and_then(|mouth| self.mouths.sender_info(mouth, now, ntp));
            let Some(reporter) = place.ear.reporter() else { continue };
            if reporter.write(now, info, &mut self.report) {
                self.io.queue(SocketId(tick.stream as u32), place.relay, &self.report, None);
            }
        }
    }

    /// One turn of input and output; true when the kernel holds more.
    fn turn(&mut self, began: Time, sends: bool, more: bool) -> anyhow::Result<bool> {
        let others = [self.reports.next_due(), self.abusers.next_due()];
        let next = self.mouths.next_due().into_iter().chain(others.into_iter().flatten()).min();
        let idle = match next {
            Some(due) if sends => due.since(system::now()).min(LOOK_INTERVAL),
            _ => LOOK_INTERVAL,
        };
        let (timeout, pause) = match self.wait {
            _ if more => (Duration::ZERO, Duration::ZERO),
            Wait::Block => (idle, Duration::ZERO),
            Wait::Poll(pause) => (Duration::ZERO, pause.min(idle)),
        };
        let turn = self.io.turn(Some(timeout)).context("packets cannot be carried")?;
        self.receive(turn.received);
        if self.wait != Wait::Block {
            self.busy += system::now().since(began);
        }
        if !turn.more && !pause.is_zero() {
            std::thread::sleep(pause);
        }
        Ok(turn.more)
    }

    fn receive(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        // One reading for the turn: the packets were all there when it ended.
        let now = system::now();
        if now < self.scene.start {
            // The silence since everybody joined, which may have waited for long.
            return;
        }
        let mut received = 0;
        for index in 0..count {
            let run = self.io.datagrams(DatagramsIndex(index as u32));
            let ear = &mut self.places[run.socket.0 as usize].ear;
            for packet in run.bytes.chunks(run.segment_bytes.max(1)) {
                received += u64::from(ear.handle_packet(now, packet));
            }
        }
        self.control.received.fetch_add(received, Relaxed);
    }

    fn finish(self, wall: Duration) -> Finished {
        let stats = self.io.stats();
        let measured = Measured {
            received: Vec::new(),
            mixes: Vec::new(),
            sent: self.mouths.packets(),
            senders: self.senders,
            elapsed_s: self.scene.duration.as_secs_f64(),
            lateness_ms_p99: self.mouths.lateness().value_at_quantile(0.99) as f64 / 1e6,
            generator: Generator {
                io: self.io.name().to_owned(),
                send_dropped: stats.send_dropped_full + stats.send_dropped_error + stats.queue_dropped,
                socket_overflow: system::overflows(&self.inodes),
                busy_share: self.busy.as_secs_f64() / wall.as_secs_f64(),
            },
            interrupted: self.control.stop.load(Relaxed),
            speech: self.speech,
        };
        let Worker { places, phases, scene, speech, wav, .. } = self;
        Finished { measured, kept: Kept { places, phases, scene, speech, wav } }
    }
}

/// Reports of everybody, spread over the interval, the first after half of it (RFC 3550 section 6.2).
fn report_schedule(plan: &Plan, start: Time, people: usize) -> Schedule {
    let interval = plan.report_interval;
    let beat = |index| Beat { interval, phase: interval / 2 + spread(interval, people, index) };
    let beats = if interval.is_zero() { Vec::new() } else { (0..people).map(beat).collect() };
    Schedule::new(start, plan.duration, beats)
}

/// What is left when the sockets are closed.
struct Finished {
    measured: Measured,
    kept: Kept,
}

impl Finished {
    fn into_measured(self) -> (Measured, Kept) {
        let Finished { mut measured, kept } = self;
        let received = |place: &Place| Received {
            room: place.room,
            participant: place.participant,
            counts: place.ear.counts(),
            reported: place.ear.reported(),
        };
        measured.received = kept.places.iter().map(received).collect();
        (measured, kept)
    }
}

/// What was kept of the mixes.
struct Kept {
    places: Vec<Place>,
    phases: Vec<(u32, u32, Duration)>,
    scene: Scene,
    speech: bool,
    wav: Option<PathBuf>,
}

impl Kept {
    /// Decodes and listens to all that was kept, on all cores that the calling thread may use.
    fn listen_all(&self) -> anyhow::Result<Vec<Mix>> {
        if let Some(folder) = &self.wav {
            std::fs::create_dir_all(folder).with_context(|| format!("--wav {}", folder.display()))?;
        }
        let kept: Vec<&Place> = self.places.iter().filter(|place| place.keeps).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(kept.len()).max(1);
        let next = AtomicUsize::new(0);
        let (next, kept) = (&next, &kept);
        let work = || -> anyhow::Result<Vec<(usize, Mix)>> {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Relaxed);
                let Some(place) = kept.get(index) else { return Ok(done) };
                done.push((index, self.listen(place)?));
            }
        };
        let mut mixes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut mixes = Vec::new();
            for thread in threads {
                mixes.extend(thread.join().map_err(|_| anyhow!("a thread that decodes panicked")).flatten()?);
            }
            anyhow::Ok(mixes)
        })?;
        mixes.sort_by_key(|(index, _)| *index);
        Ok(mixes.into_iter().map(|(_, mix)| mix).collect())
    }

    fn listen(&self, place: &Place) -> anyhow::Result<Mix> {
        let line = Line::decode(place.codec, &place.ear)?;
        if let Some(folder) = &self.wav {
            let file = folder.join(format!("room{}-p{}.wav", place.room, place.participant));
            wav::write(&file, &line.samples, line.rate_hz)?;
        }
        let phase = |talker| {
            let found = self
                .phases
                .iter()
                .find(|(room, participant, _)| (*room, *participant) == (place.room, talker));
            found.map_or(Duration::ZERO, |(.., phase)| *phase)
        };
        let heard =
            if self.speech { Vec::new() } else { listen(&line, place.participant, &self.scene, phase) };
        Ok(Mix {
            room: place.room,
            participant: place.participant,
            codec: place.codec.name(),
            seconds: line.samples.len() as f64 / f64::from(line.rate_hz),
            concealed_ms: line.concealed_ms,
            refused: line.refused,
            heard,
        })
    }
}
