//! What the rest of the node asks of canvases, on its way to the process that makes them.

use super::frame::{put_picture, put_word};
use super::word::{FormOnWire, Order};
use super::{JOBS_PER_STEP, Known, Proxy};
use crate::canvas::Job;
use crate::canvas::scene::SceneStatus;
use crate::model::Id;
use crate::plan::{CanvasForm, TrunkEnd};
use crossbeam_channel::TryRecvError;
use motet_codecs::video::Frame;
use motet_rtp::Time;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// An answer takes at most so long; control waits for two seconds.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);

/// Somebody who waits for an answer; none: who had to go on without it.
pub(super) enum Waiting {
    Put(Id, Option<oneshot::Sender<Result<(), String>>>),
    /// A form that was put again: nobody asked for it.
    PutAgain(Id),
    Look(Option<oneshot::Sender<Option<SceneStatus>>>),
    Picture(Option<oneshot::Sender<Option<Frame>>>),
}

impl Waiting {
    /// Answers as it is while there is no process.
    pub(super) fn answer_without(&mut self) {
        match self {
            // It is remembered, and made by the next one.
            Waiting::Put(_, done) => answer(done.take(), Ok(())),
            Waiting::PutAgain(_) => {}
            Waiting::Look(done) => answer(done.take(), Some(SceneStatus::default())),
            Waiting::Picture(done) => answer(done.take(), None),
        }
    }
}

fn answer<T>(to: Option<oneshot::Sender<T>>, with: T) {
    if let Some(to) = to {
        let _ = to.send(with);
    }
}

impl Proxy {
    /// False: the end.
    pub(super) fn do_jobs(&mut self) -> bool {
        for _ in 0..JOBS_PER_STEP {
            match self.jobs.try_recv() {
                Ok(Job::End) | Err(TryRecvError::Disconnected) => return false,
                Ok(job) => self.do_job(job),
                Err(TryRecvError::Empty) => break,
            }
            // What is large takes its time, which is no stop.
            self.fence.rest();
        }
        true
    }

    fn do_job(&mut self, job: Job) {
        match job {
            Job::Ready(done) => drop(done.send(self.begin())),
            Job::Put(id, Some(form), done) => {
                let known = self.known.remove(&id);
                self.change_ends(known.as_ref().map_or(&[], |known| &known.form.ends), &form.ends);
                self.forget_numbers(&form);
                let known = match known {
                    Some(known) => Known { form, ..known },
                    None => {
                        let (speaker, talking) = (None, BTreeSet::new());
                        Known { form, speaker, talking, made: self.restarts.makes(&id) }
                    }
                };
                self.known.insert(id.clone(), known);
                self.put(id.clone(), Waiting::Put(id, Some(done)));
            }
            Job::Put(id, None, done) => {
                let known = self.known.remove(&id);
                self.change_ends(known.as_ref().map_or(&[], |known| &known.form.ends), &[]);
                let ticket = self.ask(Waiting::Put(id.clone(), Some(done)));
                self.say(&Order::Put { ticket, id, form: None });
            }
            Job::Speaker(id, leg) => {
                if let Some(known) = self.known.get_mut(&id) {
                    known.speaker.clone_from(&leg);
                    self.say(&Order::Speaker(id, leg));
                }
            }
            Job::Talks(id, leg, talks) => {
                if let Some(known) = self.known.get_mut(&id) {
                    if talks {
                        known.talking.insert(leg.clone());
                    } else {
                        known.talking.remove(&leg);
                    }
                    self.say(&Order::Talks(id, leg, talks));
                }
            }
            Job::Picture(id, done) => {
                let ticket = self.ask(Waiting::Picture(Some(done)));
                self.say(&Order::Picture { ticket, id });
            }
            Job::Look(id, done) => {
                if self.known.get(&id).is_some_and(|known| !known.made) {
                    return Waiting::Look(Some(done)).answer_without();
                }
                let ticket = self.ask(Waiting::Look(Some(done)));
                self.say(&Order::Look { ticket, id });
            }
            Job::End => unreachable!("handled above"),
        }
    }

    /// Opens and closes ends of trunks.
    fn change_ends(&mut self, before: &[TrunkEnd], after: &[TrunkEnd]) {
        for end in before.iter().filter(|end| !after.contains(end)) {
            self.desk.close(end.port);
            self.sequences.retain(|(port, _), _| *port != end.port.0);
        }
        for end in after.iter().filter(|end| !before.contains(end)) {
            self.desk.open(*end);
        }
    }

    /// Forgets numbers of streams that are not made any more.
    fn forget_numbers(&mut self, form: &CanvasForm) {
        self.sequences.retain(|(port, ssrc), _| {
            let of_others = form.ends.iter().all(|end| end.port.0 != *port);
            of_others || form.outputs.values().any(|feed| (feed.port.0, feed.ssrc) == (*port, *ssrc))
        });
    }

    /// Tells the process what a canvas is to be.
    pub(super) fn put(&mut self, id: Id, mut waiting: Waiting) {
        let known = &self.known[&id];
        if !known.made || self.link.is_none() {
            // It will be, when there is a process that makes it.
            return waiting.answer_without();
        }
        let mut form = CanvasForm::clone(&known.form);
        for feed in form.outputs.values() {
            if let Some(last) = self.sequences.get(&(feed.port.0, feed.ssrc)) {
                form.goes_on.insert(feed.ssrc, last.wrapping_add(1));
            }
        }
        self.send_stills(&form);
        let ticket = self.ask(waiting);
        self.say(&Order::Put { ticket, id, form: Some(Box::new(FormOnWire::new(form))) });
    }

    /// Sends stills that the process has not got, and has it forget those that nobody shows any more.
    fn send_stills(&mut self, form: &CanvasForm) {
        let over = self.stills.extract_if(|_, still| still.strong_count() == 0);
        for number in over.map(|(number, _)| number).collect::<Vec<_>>() {
            self.say(&Order::Forget(number));
        }
        for still in FormOnWire::stills(form) {
            if self.stills.insert(still.number(), Arc::downgrade(still)).is_none() {
                put_picture(&mut self.frame, still.number(), &still.picture());
                self.send();
            }
        }
    }

    fn ask(&mut self, mut waiting: Waiting) -> u64 {
        self.tickets += 1;
        if self.link.is_none() {
            waiting.answer_without();
        } else {
            self.waiting.insert(self.tickets, (self.clock.now(), waiting));
        }
        self.tickets
    }

    /// Nobody waits until a process that hangs is ended: whoever asks holds up what else is asked of the node.
    pub(super) fn answer_late(&mut self, now: Time) {
        for (asked_at, waiting) in self.waiting.values_mut() {
            if now.since(*asked_at) > ANSWER_MAX {
                waiting.answer_without();
            }
        }
    }

    pub(super) fn say(&mut self, order: &Order) {
        put_word(&mut self.frame, order).expect("orders can be written");
        self.send();
    }

    /// Sends the frame that was made, if there is somebody to take it.
    pub(super) fn send(&mut self) {
        let Some(link) = &mut self.link else { return };
        if let Err(why) = link.write(&self.frame) {
            self.lose(&why);
        }
    }
}
