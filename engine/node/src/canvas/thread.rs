//! The loop of a canvas thread.

use super::mark::Mark;
use super::meter::{CanvasShown, CanvasSnapshot};
use super::rate::Rate;
use super::scene::Scene;
use super::{CanvasOptions, Job};
use crate::exchange::{Desk, Run};
use crate::fence::Fence;
use crate::mixing::overload::Window;
use crate::mixing::{MixingEvent, MixingEventKind, on_cpu};
use crate::model::Id;
use crate::plan::CanvasForm;
use crate::worker::{Clock, DeathNotice, pin};
use crossbeam_channel::{Receiver, TryRecvError};
use motet_mixer::video::{Font, VideoOutbox};
use motet_rtp::Time;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Packets are taken so often, whatever is due.
const TAKE_INTERVAL: Duration = Duration::from_millis(5);
/// Counters are shown so often.
const SHOW_INTERVAL: Duration = Duration::from_millis(250);
/// Whether there is too much to do is asked so often: some pictures of every canvas.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Jobs done between two looks at what came, at most.
const JOBS_PER_STEP: usize = 16;

/// The thread's own.
pub(super) struct Loop {
    station: usize,
    clock: Clock,
    fence: Fence,
    jobs: Receiver<Job>,
    desk: Desk,
    scenes: HashMap<Id, Scene>,
    /// Conferences, by the port that packets come to.
    ports: HashMap<u32, Id>,
    out: VideoOutbox,
    events: mpsc::Sender<MixingEvent>,
    rate: Rate,
    font: Option<Arc<Font>>,
    /// Of what is over, and of the thread itself.
    counted: CanvasSnapshot,
    shown: CanvasShown,
    show_at: Time,
    look_at: Time,
    window: Look,
    /// Time in which there was nothing to do.
    slept: Duration,
    died: mpsc::Sender<usize>,
    /// Whom it works for.
    mark: Option<Mark>,
}

/// What was when it was looked at last.
#[derive(Clone, Copy, Default)]
struct Look {
    at: Time,
    on_cpu: Duration,
    slept: Duration,
    missed: u64,
}

impl Loop {
    pub(super) fn new(
        options: CanvasOptions,
        jobs: Receiver<Job>,
        shown: CanvasShown,
    ) -> Result<Loop, String> {
        if let Some(core) = options.core {
            pin("--canvas-cores", core)?;
        }
        let now = options.clock.now();
        options.exchange.set_looks(options.station);
        Ok(Loop {
            station: options.station,
            clock: options.clock,
            fence: options.fence,
            jobs,
            desk: Desk::new(options.station, options.exchange),
            scenes: HashMap::new(),
            ports: HashMap::new(),
            out: VideoOutbox::new(),
            events: options.events,
            rate: Rate::new(),
            font: options.font,
            counted: CanvasSnapshot::default(),
            shown,
            show_at: now,
            look_at: now + LOOK_INTERVAL,
            window: Look { at: now, on_cpu: on_cpu(), ..Look::default() },
            slept: Duration::ZERO,
            died: options.died,
            mark: options.mark,
        })
    }

    pub(super) fn run(mut self) {
        let guard = DeathNotice::new(self.died.clone(), self.station);
        loop {
            let now = self.clock.now();
            if !self.wait(now) {
                return guard.expected();
            }
            let now = self.clock.now();
            if self.fence.holds(now, false) {
                // What is not made meanwhile counts as missed when it goes on.
                self.hold_back();
                self.show(now);
                continue;
            }
            self.take_packets();
            self.listen();
            self.make();
            let now = self.clock.now();
            if now >= self.look_at {
                self.look(now);
            }
            if now >= self.show_at {
                self.show(now);
            }
        }
    }

    /// Sleeps until something is due or a job comes, and does the jobs that wait. False: the end.
    fn wait(&mut self, now: Time) -> bool {
        let mut until = self.look_at.min(self.show_at);
        if !self.scenes.is_empty() {
            let due = self.scenes.values().filter_map(|scene| scene.mixer.poll_timeout()).min();
            until = due.map_or(until, |due| due.min(until)).min(now + TAKE_INTERVAL);
        }
        if self.fence.is_up() {
            until = self.fence.wake_at();
        }
        mark(&mut self.mark, None);
        if until > now && self.jobs.is_empty() {
            // Whoever sends a job ends this.
            std::thread::park_timeout(until.since(now));
            // To be woken late is no rest: others have the core.
            self.slept += self.clock.now().min(until).since(now);
        }
        for _ in 0..JOBS_PER_STEP {
            match self.jobs.try_recv() {
                Ok(job) => {
                    if !self.handle_job(job) {
                        return false;
                    }
                    // To open codecs takes its time, which is no stop.
                    self.fence.rest();
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// False: the end.
    fn handle_job(&mut self, job: Job) -> bool {
        let now = self.clock.now();
        match job {
            Job::Ready(done) => drop(done.send(Ok(()))),
            Job::Put(id, form, done) => {
                let _ = done.send(match form {
                    Some(form) => self.put(now, id, form),
                    None => {
                        self.remove(&id);
                        Ok(())
                    }
                });
            }
            Job::Speaker(id, leg) => {
                if let Some(scene) = self.scenes.get_mut(&id) {
                    scene.set_speaker(now, leg);
                }
            }
            Job::Picture(id, done) => {
                let _ = done.send(self.scenes.get_mut(&id).and_then(|scene| scene.picture(now)));
            }
            Job::Talks(id, leg, talks) => {
                if let Some(scene) = self.scenes.get_mut(&id) {
                    scene.talks(now, leg, talks);
                }
            }
            Job::Look(id, done) => {
                let _ = done.send(self.scenes.get(&id).map(Scene::status));
            }
            Job::End => return false,
        }
        true
    }

    fn put(&mut self, now: Time, id: Id, form: Arc<CanvasForm>) -> Result<(), String> {
        let (wall, divisor) = (self.clock.wall(now), self.rate.divisor());
        mark(&mut self.mark, Some(&id));
        let scene = self.scenes.entry(id.clone()).or_insert_with(|| {
            let mut scene = Scene::new(&form, self.font.clone());
            scene.set_divisor(now, divisor);
            scene
        });
        let before = Arc::clone(&scene.form);
        let put = scene.put(now, Arc::clone(&form), wall);
        self.change_ports(&id, &before, &form);
        put.map_err(|error| error.to_string())
    }

    fn remove(&mut self, id: &Id) {
        let Some(scene) = self.scenes.remove(id) else { return };
        add(&mut self.counted, &scene);
        let nothing = CanvasForm::empty(scene.form.settings.clone());
        self.change_ports(id, &scene.form, &nothing);
    }

    /// Opens and closes ends of trunks.
    fn change_ports(&mut self, id: &Id, before: &CanvasForm, after: &CanvasForm) {
        for end in before.ends.iter().filter(|end| !after.ends.contains(end)) {
            self.desk.close(end.port);
            self.ports.remove(&end.port.0);
        }
        for end in after.ends.iter().filter(|end| !before.ends.contains(end)) {
            self.desk.open(*end);
            self.ports.insert(end.port.0, id.clone());
        }
    }

    /// Drops what came.
    fn hold_back(&mut self) {
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            self.counted.fenced += parcel.runs.iter().map(Run::datagrams).sum::<u64>();
            self.desk.give_back(parcel);
        }
    }

    /// Hands what came to the scenes that it is for, which decode it at once.
    fn take_packets(&mut self) {
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            for run in &parcel.runs {
                // The desk gives only what is for open ends, which are conferences'.
                let id = &self.ports[&run.to.0];
                mark(&mut self.mark, Some(id));
                let scene = self.scenes.get_mut(id).expect("an open end is a conference's");
                let bytes = &parcel.bytes[run.offset as usize..][..run.len as usize];
                for datagram in bytes.chunks(run.segment_bytes as usize) {
                    scene.handle_packet(run.at, datagram);
                }
            }
            self.desk.give_back(parcel);
        }
    }

    /// Looks who is to be shown as the speaker, and who holds a lecture.
    fn listen(&mut self) {
        let now = self.clock.now();
        for (id, scene) in &mut self.scenes {
            scene.listen(now, |leg| {
                let kind = MixingEventKind::Lecture { leg };
                self.events.try_send(MixingEvent { conference: id.clone(), kind }).is_ok()
            });
            scene.look_at_fits(now, |leg, fits| {
                let kind = MixingEventKind::Fits { leg, fits };
                let _ = self.events.try_send(MixingEvent { conference: id.clone(), kind });
            });
        }
    }

    /// Makes the canvases that are due, and hands over each when it is made.
    fn make(&mut self) {
        let mut now = self.clock.now();
        for (id, scene) in &mut self.scenes {
            if scene.mixer.poll_timeout().is_none_or(|due| due > now) {
                continue;
            }
            mark(&mut self.mark, Some(id));
            scene.make(now, &mut self.out, &mut self.desk);
            self.desk.flush();
            now = self.clock.now();
            // Many canvases take their time, which is no stop; a stop among them is one.
            if self.fence.holds(now, false) {
                return;
            }
        }
    }

    /// Looks whether there is too much to do.
    fn look(&mut self, now: Time) {
        self.look_at = now + LOOK_INTERVAL;
        let stats = |scene: &Scene| scene.mixer.stats().missed;
        let missed = self.counted.stats.missed + self.scenes.values().map(stats).sum::<u64>();
        let this = Look { at: now, on_cpu: on_cpu(), slept: self.slept, missed };
        let before = std::mem::replace(&mut self.window, this);
        let wall = this.at.since(before.at).as_secs_f64().max(1e-3);
        let share = |after: Duration, before| after.saturating_sub(before).as_secs_f64() / wall;
        let window = Window {
            busy_share: 1.0 - share(this.slept, before.slept),
            own_share: share(this.on_cpu, before.on_cpu),
            late: this.missed - before.missed,
        };
        let level = self.rate.level();
        if !self.rate.look(now, window) {
            return;
        }
        self.counted.lowered += u64::from(self.rate.level() > level);
        tracing::warn!(
            station = self.station,
            divisor = self.rate.divisor(),
            busy_share = window.busy_share,
            missed = window.late,
            "the rate of canvases changes"
        );
        for (id, scene) in &mut self.scenes {
            scene.set_divisor(now, self.rate.divisor());
            let (frames_per_s, wanted) = (scene.frames_per_s(), scene.form.settings.frames_per_s);
            let kind = MixingEventKind::CanvasRate { frames_per_s, wanted };
            let told = self.events.try_send(MixingEvent { conference: id.clone(), kind }).is_ok();
            self.counted.events_dropped += u64::from(!told);
        }
    }

    fn show(&mut self, now: Time) {
        self.show_at = now + SHOW_INTERVAL;
        let mut snapshot = CanvasSnapshot {
            canvases: self.scenes.len(),
            sources: self.scenes.values().map(Scene::sources).sum(),
            outputs: self.scenes.values().map(|scene| scene.form.outputs.len()).sum(),
            level: self.rate.level(),
            crossed: self.desk.crossed(),
            busy: on_cpu(),
            taken: Some(Instant::now()),
            ..self.counted
        };
        self.scenes.values().for_each(|scene| add(&mut snapshot, scene));
        self.shown.show(snapshot);
    }
}

/// Says whom the thread works for, where somebody wants to know.
fn mark(mark: &mut Option<Mark>, id: Option<&Id>) {
    if let Some(mark) = mark {
        mark.set(id);
    }
}

/// Adds what a scene counted.
fn add(snapshot: &mut CanvasSnapshot, scene: &Scene) {
    snapshot.stats += *scene.mixer.stats();
    snapshot.packets += scene.counts.packets;
    snapshot.key_frames_asked += scene.counts.key_frames_asked;
    snapshot.key_frames_wanted += scene.counts.key_frames_wanted;
}
