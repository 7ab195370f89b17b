//! The loop of a mixing thread.

use super::meter::{Counters, MixingShown, MixingSnapshot};
use super::overload::{Overload, Window};
use super::room::Room;
use super::schedule::{Due, ROUND, Schedule};
use super::{Job, MixingEvent, MixingOptions};
use crate::exchange::{Desk, Run};
use crate::fence::Fence;
use crate::model::Id;
use crate::plan::MixForm;
use crate::worker::{Clock, DeathNotice, pin};
use crossbeam_channel::{Receiver, TryRecvError};
use motet_mixer::audio::{MixCommand, MixOutbox};
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Counters are shown so often.
const SHOW_INTERVAL: Duration = Duration::from_millis(250);
/// Whether there is too much to do is asked so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A tick that ends later than this after its time is late: what it made comes when receivers already wait.
const LATE_AFTER: Duration = Duration::from_millis(10);
/// Time for jobs between two slots, and one job more: a job may make encoders, which takes its time.
const JOBS_TIME: Duration = Duration::from_millis(2);
/// Jobs done between two slots at most.
const JOBS_PER_STEP: usize = 16;
/// A worker that is late with what it brings is waited for so long, and so often, before each look.
const LATE_WORKER: Duration = Duration::from_micros(200);
const LATE_WORKER_WAITS: usize = 8;
/// No conference has this port.
const NOBODY: u32 = u32::MAX;

/// The thread's own.
pub(super) struct Loop {
    station: usize,
    clock: Clock,
    fence: Fence,
    jobs: Receiver<Job>,
    desk: Desk,
    schedule: Schedule,
    rooms: Vec<Option<Room>>,
    numbers: HashMap<Id, usize>,
    /// Numbers of conferences, by the port that packets come to.
    ports: Vec<u32>,
    out: MixOutbox,
    events: mpsc::Sender<MixingEvent>,
    events_dropped: u64,
    overload: Overload,
    /// Of ticks, and of conferences that are over.
    counters: Counters,
    shown: MixingShown,
    show_at: Time,
    look_at: Time,
    window: Look,
    /// Time in which there was nothing to do.
    slept: Duration,
    died: mpsc::Sender<usize>,
}

/// What was when it was looked at last.
#[derive(Clone, Copy, Default)]
struct Look {
    at: Time,
    on_cpu: Duration,
    slept: Duration,
    late: u64,
}

impl Loop {
    pub(super) fn new(
        options: MixingOptions,
        jobs: Receiver<Job>,
        shown: MixingShown,
    ) -> Result<Loop, String> {
        if let Some(core) = options.core {
            pin("--mixing-cores", core)?;
        }
        let now = options.clock.now();
        options.exchange.set_looks(options.station);
        Ok(Loop {
            station: options.station,
            clock: options.clock,
            fence: options.fence,
            jobs,
            desk: Desk::new(options.station, options.exchange),
            schedule: Schedule::new(now),
            rooms: Vec::new(),
            numbers: HashMap::new(),
            ports: Vec::new(),
            out: MixOutbox::new(),
            events: options.events,
            events_dropped: 0,
            overload: Overload::new(),
            counters: Counters::default(),
            shown,
            show_at: now,
            look_at: now + LOOK_INTERVAL,
            window: Look { at: now, on_cpu: on_cpu(), ..Look::default() },
            slept: Duration::ZERO,
            died: options.died,
        })
    }

    pub(super) fn run(mut self) {
        let guard = DeathNotice::new(self.died.clone(), self.station);
        loop {
            let now = self.clock.now();
            if !self.wait(now) {
                return guard.expected();
            }
            let mut now = self.clock.now();
            if self.fence.holds(now, false) {
                // What is not mixed meanwhile counts as missed when it goes on.
                self.hold_back();
                self.show(now);
                continue;
            }
            self.wait_for_workers(now);
            self.take_packets();
            now = self.clock.now();
            // One slot at a time: jobs and the rules for overload have their turn however much is due.
            if let Some(due) = self.schedule.due(now) {
                now = self.mix(due);
            }
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
        // With conferences there is a turn each 20 ms at least, and the rest goes with it.
        let mut until = self.schedule.next().unwrap_or(self.look_at.min(self.show_at));
        if self.fence.is_up() {
            until = self.fence.wake_at();
        }
        self.desk.expect_look(self.schedule.next().filter(|_| !self.fence.is_up()));
        if until > now && self.jobs.is_empty() {
            // Whoever sends a job ends this.
            std::thread::park_timeout(until.since(now));
            // To be woken late is no rest: others have the core.
            self.slept += self.clock.now().min(until).since(now);
        }
        let mut begun = None;
        for _ in 0..JOBS_PER_STEP {
            match self.jobs.try_recv() {
                Ok(job) => {
                    let begun = *begun.get_or_insert_with(|| self.clock.now());
                    if !self.handle_job(job) {
                        return false;
                    }
                    if self.clock.now().since(begun) > JOBS_TIME {
                        break;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// Gives workers a little time that were woken late: they have what this look is for.
    fn wait_for_workers(&self, now: Time) {
        for _ in 0..LATE_WORKER_WAITS {
            if !self.desk.is_owed(now) {
                return;
            }
            std::thread::park_timeout(LATE_WORKER);
        }
    }

    /// False: the end.
    fn handle_job(&mut self, job: Job) -> bool {
        match job {
            Job::Put(id, form, done) => {
                let _ = done.send(match form {
                    Some(form) => self.put(id, form),
                    None => {
                        self.remove(&id);
                        Ok(())
                    }
                });
            }
            Job::Play(id, order, done) => {
                let played = match self.room(&id) {
                    Some(room) => room.play(order).map_err(|error| error.to_string()),
                    None => Err("the conference is not mixed".to_owned()),
                };
                let _ = done.send(played);
            }
            Job::Stop(id, prompt, done) => {
                let _ = done.send(self.room(&id).is_some_and(|room| room.stop(&prompt)));
            }
            Job::Tap(id, end, done) => {
                let _ = done.send(self.room(&id).is_some_and(|room| room.tap(end)));
            }
            Job::Look(id, done) => {
                let now = self.clock.now();
                let _ = done.send(self.room(&id).map(|room| room.status(now)));
            }
            Job::End => return false,
        }
        true
    }

    fn room(&mut self, id: &str) -> Option<&mut Room> {
        let number = *self.numbers.get(id)?;
        self.rooms[number].as_mut()
    }

    fn put(&mut self, id: Id, form: Arc<MixForm>) -> Result<(), String> {
        let number = match self.numbers.get(&id) {
            Some(number) => *number,
            None => self.begin(id, &form)?,
        };
        let effort = self.overload.effort();
        let wall = self.clock.wall(self.clock.now());
        let room = self.rooms[number].as_mut().expect("a number is a conference's");
        let before = Arc::clone(&room.form);
        let put = room.put(Arc::clone(&form), effort, wall);
        self.change_ports(number, &before, &form);
        let events = put.map_err(|error| error.to_string())?;
        for event in events {
            tell(&self.events, &mut self.events_dropped, event);
        }
        Ok(())
    }

    fn begin(&mut self, id: Id, form: &MixForm) -> Result<usize, String> {
        let slot = self.schedule.place(self.clock.now());
        let room = Room::new(id.clone(), slot, form).map_err(|error| error.to_string());
        let room = room.inspect_err(|_| self.schedule.leave(slot))?;
        let number = self.rooms.iter().position(Option::is_none).unwrap_or_else(|| {
            self.rooms.push(None);
            self.rooms.len() - 1
        });
        self.rooms[number] = Some(room);
        self.numbers.insert(id, number);
        Ok(number)
    }

    fn remove(&mut self, id: &str) {
        let Some(number) = self.numbers.remove(id) else { return };
        let room = self.rooms[number].take().expect("a number is a conference's");
        self.counters.add(&room);
        self.schedule.leave(room.slot);
        let nothing = MixForm::empty(room.form.settings);
        self.change_ports(number, &room.form, &nothing);
        if self.numbers.is_empty() {
            // What was too much is gone with whom it was for.
            self.overload = Overload::new();
        }
    }

    /// Opens and closes ends of trunks.
    fn change_ports(&mut self, number: usize, before: &MixForm, after: &MixForm) {
        for end in before.ends.iter().filter(|end| !after.ends.contains(end)) {
            self.desk.close(end.port);
            self.ports[end.port.0 as usize] = NOBODY;
        }
        for end in after.ends.iter().filter(|end| !before.ends.contains(end)) {
            self.desk.open(*end);
            let port = end.port.0 as usize;
            if self.ports.len() <= port {
                self.ports.resize(port + 1, NOBODY);
            }
            self.ports[port] = number as u32;
        }
    }

    /// Drops what came.
    fn hold_back(&mut self) {
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            self.counters.dropped("fenced", parcel.runs.iter().map(Run::datagrams).sum());
            self.desk.give_back(parcel);
        }
    }

    /// Hands what came to the mixers that it is for.
    fn take_packets(&mut self) {
        self.desk.look();
        while let Some(parcel) = self.desk.take() {
            for run in &parcel.runs {
                // The desk gives only what is for open ends, which are conferences'.
                let number = self.ports[run.to.0 as usize] as usize;
                let room = self.rooms[number].as_mut().expect("an open end is a conference's");
                let bytes = &parcel.bytes[run.offset as usize..][..run.len as usize];
                for datagram in bytes.chunks(run.segment_bytes as usize) {
                    // The relay's reports say nothing that the mixer does not know.
                    if classify(datagram) == PacketClass::Rtp {
                        room.mixer.handle_packet(run.at, datagram);
                    }
                }
            }
            self.desk.give_back(parcel);
        }
    }

    /// Mixes the conferences of a slot; gives the time when that is done.
    fn mix(&mut self, due: Due) -> Time {
        if due.missed > 0 {
            self.miss(&due);
        }
        let begun = self.clock.now();
        let mut before = begun;
        let in_slot = |room: &&mut Room| room.slot == due.slot;
        for room in self.rooms.iter_mut().flatten().filter(in_slot) {
            let (events, dropped) = (&self.events, &mut self.events_dropped);
            room.tick(due.at, &mut self.out, &mut self.desk, |event| tell(events, dropped, event));
            let now = self.clock.now();
            self.counters.tick(now.since(before), now.since(due.at) > LATE_AFTER);
            before = now;
            room.phase.follow(&mut room.slot, &mut self.schedule);
        }
        self.schedule.worked(due.slot, before.since(begun));
        // Workers that are woken by the next line then know how long they may gather.
        self.desk.expect_look(self.schedule.next());
        self.desk.flush();
        before
    }

    #[cold]
    fn miss(&mut self, due: &Due) {
        for room in self.rooms.iter_mut().flatten() {
            room.mixer.miss(due.at, due.missed.min(u64::from(u32::MAX)) as u32);
            self.counters.missed += due.missed;
        }
        let missed_ms = due.missed * ROUND.as_millis() as u64;
        tracing::warn!(station = self.station, missed_ms, "mixing was held up; nothing was mixed meanwhile");
    }

    /// Looks whether there is too much to do.
    fn look(&mut self, now: Time) {
        self.look_at = now + LOOK_INTERVAL;
        for room in self.rooms.iter_mut().flatten() {
            room.phase.look(room.mixer.take_spare_us());
        }
        let late = self.counters.late + self.counters.missed;
        let this = Look { at: now, on_cpu: on_cpu(), slept: self.slept, late };
        let before = std::mem::replace(&mut self.window, this);
        let wall = this.at.since(before.at).as_secs_f64().max(1e-3);
        let share = |after: Duration, before| after.saturating_sub(before).as_secs_f64() / wall;
        let window = Window {
            busy_share: 1.0 - share(this.slept, before.slept),
            own_share: share(this.on_cpu, before.on_cpu),
            late: this.late - before.late,
        };
        if !self.overload.look(now, window) {
            return;
        }
        let (level, effort) = (self.overload.level(), self.overload.effort());
        tracing::warn!(
            station = self.station,
            level,
            busy_share = window.busy_share,
            late = window.late,
            "mixing effort changes"
        );
        for room in self.rooms.iter_mut().flatten() {
            let set = room.mixer.handle_command(MixCommand::SetEffort(effort));
            debug_assert!(set.is_ok(), "any effort will do");
        }
    }

    fn show(&mut self, now: Time) {
        self.show_at = now + SHOW_INTERVAL;
        let mut counters = self.counters.clone();
        let rooms = || self.rooms.iter().flatten();
        rooms().for_each(|room| counters.add(room));
        let snapshot = MixingSnapshot {
            mixers: self.numbers.len(),
            sources: rooms().map(|room| room.form.sources.len()).sum(),
            outputs: rooms().map(|room| room.form.outputs.len()).sum(),
            speakers: rooms().map(|room| room.speakers(now)).sum(),
            shed_level: self.overload.level(),
            counters,
            crossed: self.desk.crossed(),
            events_dropped: self.events_dropped,
            taken: Some(Instant::now()),
        };
        self.shown.show(snapshot);
    }
}

/// False: there was no room for it.
fn tell(events: &mpsc::Sender<MixingEvent>, dropped: &mut u64, event: MixingEvent) -> bool {
    let told = events.try_send(event).is_ok();
    *dropped += u64::from(!told);
    told
}

/// Time that this thread has spent on a processor.
pub(crate) fn on_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
