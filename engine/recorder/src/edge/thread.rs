//! The thread: what comes in, the recordings, and their writers.

use super::begin::{BeginError, RecordingSpec};
use super::events::EventQueue;
use super::feed::{Deck, Feed};
use super::job::{Clock, Job, Outcome, Writes, write};
use super::storage::{Backend, Storage, ThreadStorage, UringStorage};
use super::{EventKind, RecorderEvent};
use crate::Recording;
use crossbeam_queue::ArrayQueue;
use motet_rtp::Time;
use motet_rtp::rtcp::SenderInfo;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often the thread looks into its queue.
const TURN: Duration = Duration::from_millis(10);
/// Events that wait to be read at most.
const EVENTS_WAITING_MAX: usize = 4096;
/// Bytes that a packet's memory has from the beginning.
const PACKET_BYTES: usize = 2048;
/// Recordings that a feed begins are counted from here.
const FED_FROM: u64 = 1 << 32;
/// How long whole files are waited for at the end.
const END_WAIT: Duration = Duration::from_secs(10);

/// Bounds of a recorder.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// Packets of all recordings that may wait for the thread.
    pub packets_waiting_max: usize,
    /// Bytes of one recording that may wait for its disk; more end it.
    pub write_bytes_max: usize,
    /// How long a disk may take for one operation; longer ends the recording.
    pub stall_max: Duration,
    /// How often files are made to outlast a loss of power; none: when they are whole.
    pub sync_every: Option<Duration>,
}

impl Default for RecorderConfig {
    fn default() -> RecorderConfig {
        RecorderConfig {
            packets_waiting_max: 16_384,
            write_bytes_max: 16 << 20,
            stall_max: Duration::from_secs(10),
            sync_every: Some(Duration::from_secs(5)),
        }
    }
}

/// A thread that records.
#[derive(Debug)]
pub struct Recorder {
    commands: mpsc::UnboundedSender<Command>,
    input: RecorderInput,
    next_id: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

/// Where packets go in: one for each thread that has some.
#[derive(Clone, Debug)]
pub struct RecorderInput {
    shared: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    packets: ArrayQueue<Item>,
    /// Memory of packets that were handled.
    free: ArrayQueue<Vec<u8>>,
    dropped: AtomicU64,
    unclaimed: AtomicU64,
}

#[derive(Debug)]
struct Item {
    recording: u64,
    track: usize,
    at: Time,
    what: What,
}

#[derive(Debug)]
enum What {
    Packet(Vec<u8>),
    Report(u32, SenderInfo),
}

enum Command {
    Begin(u64, Box<RecordingSpec>, Box<Recording>),
    Pause(u64),
    Resume(u64),
    Cut(u64),
    Stop(u64),
    Settle(oneshot::Sender<()>),
}

impl Recorder {
    /// Starts the thread. `clock` is the one that packets' times are of.
    ///
    /// # Errors
    /// When there can be no thread, or no ring for it.
    pub fn start(
        config: RecorderConfig,
        backend: Backend,
        clock: impl Fn() -> Time + Send + 'static,
    ) -> io::Result<(Recorder, Receiver<RecorderEvent>)> {
        match backend {
            Backend::Uring => Recorder::start_on((config, UringStorage, None), clock, run_uring),
            Backend::Threads => Recorder::start_with(config, ThreadStorage, clock),
        }
    }

    /// Starts the thread, with something that fetches packets by itself and is told what happens.
    ///
    /// # Errors
    /// When there can be no thread, or no ring for it.
    pub fn start_fed(
        config: RecorderConfig,
        backend: Backend,
        clock: impl Fn() -> Time + Send + 'static,
        feed: Box<dyn Feed>,
    ) -> io::Result<Recorder> {
        let started = match backend {
            Backend::Uring => Recorder::start_on((config, UringStorage, Some(feed)), clock, run_uring),
            Backend::Threads => Recorder::start_on((config, ThreadStorage, Some(feed)), clock, run_threads),
        };
        Ok(started?.0)
    }

    /// Starts the thread on another storage, which needs nothing but tokio.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start_with<S: Storage + Send>(
        config: RecorderConfig,
        storage: S,
        clock: impl Fn() -> Time + Send + 'static,
    ) -> io::Result<(Recorder, Receiver<RecorderEvent>)> {
        Recorder::start_on((config, storage, None), clock, run_threads)
    }

    fn start_on<S: Storage + Send>(
        (config, storage, feed): (RecorderConfig, S, Option<Box<dyn Feed>>),
        clock: impl Fn() -> Time + Send + 'static,
        run: fn(World<S>, SyncSender<io::Result<()>>),
    ) -> io::Result<(Recorder, Receiver<RecorderEvent>)> {
        let (commands, to_thread) = mpsc::unbounded_channel();
        let (events, to_caller) = sync_channel(EVENTS_WAITING_MAX);
        let (started, starts) = sync_channel(1);
        let waiting = config.packets_waiting_max.max(1);
        let shared = Arc::new(Queue {
            packets: ArrayQueue::new(waiting),
            free: ArrayQueue::new(waiting),
            dropped: AtomicU64::new(0),
            unclaimed: AtomicU64::new(0),
        });
        let queue = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            let events = Rc::new(EventQueue::new(events, feed.is_some()));
            let (clock, jobs) = (Rc::new(clock), HashMap::new());
            let (commands, waiting, settling) = (to_thread, VecDeque::new(), Vec::new());
            let waits = Waits { commands, waiting, settling };
            run(
                World { config, storage, queue, waits, events, clock, jobs, feed, fed_id: FED_FROM },
                started,
            );
        })?;
        starts.recv().unwrap_or_else(|_| Err(io::Error::other("the recorder's thread ended")))?;
        let input = RecorderInput { shared };
        Ok((Recorder { commands, input, next_id: AtomicU64::new(1), thread: Some(thread) }, to_caller))
    }

    /// Begins a recording; its number in packets and events.
    ///
    /// # Errors
    /// See [`BeginError`]. What is wrong with a file shows later, by an event.
    pub fn begin(&self, spec: RecordingSpec) -> Result<u64, BeginError> {
        spec.check()?;
        let recording = Recording::new(spec.config.clone(), spec.tracks.clone())?;
        let id = self.next_id.fetch_add(1, Relaxed);
        let begin = Command::Begin(id, Box::new(spec), Box::new(recording));
        self.commands.send(begin).map_err(|_| BeginError::Ended)?;
        Ok(id)
    }

    /// Leaves out what comes from now on.
    pub fn pause(&self, recording: u64) {
        self.command(Command::Pause(recording));
    }

    /// Goes on with it.
    pub fn resume(&self, recording: u64) {
        self.command(Command::Resume(recording));
    }

    /// Begins a new segment, with pictures at the next key frame.
    pub fn cut(&self, recording: u64) {
        self.command(Command::Cut(recording));
    }

    /// Ends it; [`EventKind::Stopped`] tells when its files are whole.
    pub fn stop(&self, recording: u64) {
        self.command(Command::Stop(recording));
    }

    /// Where packets go in.
    pub fn input(&self) -> RecorderInput {
        self.input.clone()
    }

    /// Waits until what came before is handled, and what is due by now is written.
    pub fn settle(&self) {
        let (done, settled) = oneshot::channel();
        self.command(Command::Settle(done));
        // It fails when the thread has ended, which settles it as well.
        let _ = settled.blocking_recv();
    }

    fn command(&self, command: Command) {
        // The thread ends after this only.
        let _ = self.commands.send(command);
    }
}

impl Drop for Recorder {
    /// Ends every recording, and waits for whole files up to 10 seconds.
    fn drop(&mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        drop(std::mem::replace(&mut self.commands, closed));
        if let Some(thread) = self.thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl RecorderInput {
    /// Copies a packet into the queue; false: there was no room.
    pub fn push_packet(&self, recording: u64, track: usize, at: Time, packet: &[u8]) -> bool {
        let mut memory = self.shared.free.pop().unwrap_or_else(|| Vec::with_capacity(PACKET_BYTES));
        memory.clear();
        memory.extend_from_slice(packet);
        self.push(Item { recording, track, at, what: What::Packet(memory) })
    }

    /// Puts what a sender report says into the queue; false: there was no room.
    pub fn push_report(&self, recording: u64, track: usize, at: Time, ssrc: u32, info: SenderInfo) -> bool {
        self.push(Item { recording, track, at, what: What::Report(ssrc, info) })
    }

    /// What found no room so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Packets so far that no recording was there for any longer, or no track.
    pub fn unclaimed(&self) -> u64 {
        self.shared.unclaimed.load(Relaxed)
    }

    fn push(&self, item: Item) -> bool {
        let pushed = self.shared.packets.push(item);
        if pushed.is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
        pushed.is_ok()
    }
}

/// All that the thread has.
struct World<S: Storage> {
    config: RecorderConfig,
    storage: S,
    queue: Arc<Queue>,
    waits: Waits,
    events: Rc<EventQueue>,
    clock: Clock,
    jobs: HashMap<u64, Job>,
    feed: Option<Box<dyn Feed>>,
    /// Number of the next recording that the feed begins.
    fed_id: u64,
}

/// What the thread was told.
struct Waits {
    commands: mpsc::UnboundedReceiver<Command>,
    /// Commands that wait until what came before them is handled.
    waiting: VecDeque<Command>,
    /// Who waits for all to be written.
    settling: Vec<oneshot::Sender<()>>,
}

fn run_uring<S: Storage>(world: World<S>, started: SyncSender<io::Result<()>>) {
    match tokio_uring::Runtime::new(&tokio_uring::builder()) {
        Ok(runtime) => runtime.block_on(run(world, started)),
        // Who started it reads this, or is gone.
        Err(error) => drop(started.send(Err(error))),
    }
}

fn run_threads<S: Storage>(world: World<S>, started: SyncSender<io::Result<()>>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, run(world, started));
            drop(local);
            // A thread may hang in a disk that answers nothing.
            runtime.shutdown_background();
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn run<S: Storage>(mut world: World<S>, started: SyncSender<io::Result<()>>) {
    // Who started it reads this, or is gone.
    let _ = started.send(Ok(()));
    let mut turns = tokio::time::interval(TURN);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = world.waits.commands.recv() => match command {
                Some(command) => world.take_command(command),
                None => break,
            },
            _ = turns.tick() => {}
        }
        world.turn();
        if !world.waits.settling.is_empty() && world.is_settled() {
            // Who asked may have gone.
            for done in world.waits.settling.drain(..) {
                let _: Result<(), ()> = oneshot::Sender::send(done, ());
            }
        }
    }
    world.end(turns).await;
}

impl<S: Storage> World<S> {
    /// Begins what is to begin, before packets for it are handled. Other commands wait until packets are.
    fn take_command(&mut self, command: Command) {
        match command {
            Command::Begin(id, spec, recording) => self.begin(id, &spec, *recording),
            other => self.waits.waiting.push_back(other),
        }
    }

    fn handle_command(&mut self, command: Command, now: Time) {
        let (id, act): (u64, fn(&mut Recording, Time)) = match command {
            Command::Stop(id) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.stop(now, &self.events);
                }
                return;
            }
            Command::Pause(id) => (id, Recording::pause),
            Command::Resume(id) => (id, Recording::resume),
            Command::Cut(id) => (id, Recording::cut),
            Command::Settle(done) => return self.waits.settling.push(done),
            Command::Begin(..) => unreachable!("it does not wait"),
        };
        if let Some(job) = self.jobs.get_mut(&id) {
            act(&mut job.recording, now);
        }
    }

    fn begin(&mut self, id: u64, spec: &RecordingSpec, recording: Recording) {
        let job = Job::new(id, spec, recording);
        self.spawn_writer(id, Rc::clone(&job.writes));
        self.jobs.insert(id, job);
    }

    fn spawn_writer(&self, id: u64, writes: Rc<Writes>) {
        let (events, clock) = (Rc::clone(&self.events), Rc::clone(&self.clock));
        let sync_every = self.config.sync_every;
        tokio::task::spawn_local(write(self.storage.clone(), writes, id, events, clock, sync_every));
    }

    /// Has the feed hand over what it has.
    fn take_fed(&mut self, now: Time) {
        let Some(feed) = &mut self.feed else { return };
        let (jobs, events, next_id) = (&mut self.jobs, &*self.events, &mut self.fed_id);
        let mut deck = Deck { jobs, events, next_id, begun: Vec::new(), now };
        feed.turn(now, &mut deck);
        for (id, writes) in deck.begun {
            self.spawn_writer(id, writes);
        }
    }

    /// Handles what came and what is due.
    fn turn(&mut self) {
        // Packets of before this moment are in the queue.
        let now = (self.clock)();
        self.handle_packets();
        while let Some(command) = self.waits.waiting.pop_front() {
            self.handle_command(command, now);
        }
        self.take_fed(now);
        for job in self.jobs.values_mut() {
            if job.recording.poll_timeout().is_some_and(|due| due <= now) {
                job.recording.handle_timeout(now);
            }
            job.pass_on(&self.events);
        }
        let (bytes_max, stall_max) = (self.config.write_bytes_max, self.config.stall_max);
        let events = &self.events;
        self.jobs.retain(|id, job| match job.look(now, bytes_max, stall_max) {
            Outcome::Runs => true,
            Outcome::Stopped => {
                let tracks = (0..job.recording.tracks()).map(|track| job.recording.stats(track)).collect();
                events.send(*id, EventKind::Stopped { tracks });
                false
            }
            Outcome::Failed(reason, message) => {
                job.abandon();
                events.send(*id, EventKind::Failed { reason, message });
                false
            }
        });
    }

    /// As many as there are now: more may come all the time.
    fn handle_packets(&mut self) {
        let count = self.queue.packets.len();
        // Who has sent them was told by `begin` what for, which has sent its command before.
        while let Ok(command) = self.waits.commands.try_recv() {
            self.take_command(command);
        }
        for _ in 0..count {
            let Some(Item { recording, track, at, what }) = self.queue.packets.pop() else { return };
            let job = self.jobs.get_mut(&recording).filter(|job| track < job.recording.tracks());
            match what {
                What::Packet(packet) => {
                    if let Some(job) = job {
                        job.recording.handle_packet(at, track, &packet);
                        job.pass_on(&self.events);
                    } else {
                        self.queue.unclaimed.fetch_add(1, Relaxed);
                    }
                    // What finds no room is freed.
                    let _ = self.queue.free.push(packet);
                }
                What::Report(ssrc, info) => {
                    if let Some(job) = job {
                        job.recording.handle_sender_report(at, track, ssrc, &info);
                    }
                }
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.queue.packets.is_empty() && self.jobs.values().all(|job| job.writes.is_idle())
    }

    /// Stops every recording and waits for their files, but not for ever.
    async fn end(&mut self, mut turns: tokio::time::Interval) {
        let now = (self.clock)();
        self.handle_packets();
        self.take_fed(now);
        self.feed = None;
        for job in self.jobs.values_mut() {
            job.stop(now, &self.events);
        }
        let mut left = END_WAIT.as_millis() / TURN.as_millis();
        while !self.jobs.is_empty() && left > 0 {
            turns.tick().await;
            self.turn();
            left -= 1;
        }
    }
}
