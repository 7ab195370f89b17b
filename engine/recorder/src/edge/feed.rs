//! Packets that a caller fetches by itself, on the recorder's thread.

use super::begin::{BeginError, RecordingSpec};
use super::events::EventQueue;
use super::job::{Job, Writes};
use super::{EventKind, RecorderEvent};
use crate::{Recording, TrackStats};
use motet_rtp::rtcp::SenderInfo;
use motet_rtp::{Time, WireTimestamp};
use std::collections::HashMap;
use std::rc::Rc;

/// Where a recorder's packets come from when they do not come through its queue: spares a copy and a thread.
pub trait Feed: Send + 'static {
    /// Hands over what came, and takes what happened: every 10 ms, on the recorder's thread, where nothing may wait.
    fn turn(&mut self, now: Time, deck: &mut Deck<'_>);
}

/// The recordings of a thread, for its [`Feed`].
pub struct Deck<'a> {
    pub(super) jobs: &'a mut HashMap<u64, Job>,
    pub(super) events: &'a EventQueue,
    pub(super) next_id: &'a mut u64,
    /// Recordings that need somebody who writes.
    pub(super) begun: Vec<(u64, Rc<Writes>)>,
    pub(super) now: Time,
}

impl Deck<'_> {
    /// Begins a recording; its number in packets and events.
    ///
    /// # Errors
    /// See [`BeginError`]. What is wrong with a file shows later, by an event.
    pub fn begin(&mut self, spec: &RecordingSpec) -> Result<u64, BeginError> {
        spec.check()?;
        let recording = Recording::new(spec.config.clone(), spec.tracks.clone())?;
        let id = *self.next_id;
        *self.next_id += 1;
        let job = Job::new(id, spec, recording);
        self.begun.push((id, Rc::clone(&job.writes)));
        self.jobs.insert(id, job);
        Ok(id)
    }

    /// Takes in an RTP packet that came at `at`. What is for no recording or no track is left aside.
    pub fn packet(&mut self, recording: u64, track: usize, at: Time, packet: &[u8]) {
        let events = self.events;
        if let Some(job) = self.job(recording, track) {
            job.recording.handle_packet(at, track, packet);
            job.pass_on(events);
        }
    }

    /// Takes in a picture or a payload of sound that never was in packets: see [`Recording::handle_frame`].
    pub fn frame(
        &mut self,
        (recording, track): (u64, usize),
        at: Time,
        timestamp: WireTimestamp,
        frame: &[u8],
    ) {
        let events = self.events;
        if let Some(job) = self.job(recording, track) {
            job.recording.handle_frame(at, track, timestamp, true, frame);
            job.pass_on(events);
        }
    }

    /// Takes in what a sender report says of a track.
    pub fn report(&mut self, (recording, track): (u64, usize), at: Time, ssrc: u32, info: &SenderInfo) {
        if let Some(job) = self.job(recording, track) {
            job.recording.handle_sender_report(at, track, ssrc, info);
        }
    }

    /// Leaves out what comes from now on.
    pub fn pause(&mut self, recording: u64) {
        self.act(recording, Recording::pause);
    }

    /// Goes on with it.
    pub fn resume(&mut self, recording: u64) {
        self.act(recording, Recording::resume);
    }

    /// Begins a new segment, with pictures at the next key frame.
    pub fn cut(&mut self, recording: u64) {
        self.act(recording, Recording::cut);
    }

    /// Ends it; [`EventKind::Stopped`] tells when its files are whole. Gives the number that another recording of this
    /// name is to begin with ([`RecordingConfig::first_segment`](crate::RecordingConfig::first_segment)); none: it has
    /// ended already.
    pub fn stop(&mut self, recording: u64) -> Option<u32> {
        let (now, events) = (self.now, self.events);
        let job = self.jobs.get_mut(&recording)?;
        let next = job.recording.next_segment();
        job.stop(now, events);
        Some(next)
    }

    /// What was counted of a track so far; none: there is no such recording or track, or no longer.
    pub fn stats(&self, recording: u64, track: usize) -> Option<TrackStats> {
        let job = self.jobs.get(&recording).filter(|job| track < job.recording.tracks())?;
        Some(job.recording.stats(track))
    }

    /// What happened; none: that was all.
    pub fn event(&mut self) -> Option<RecorderEvent> {
        self.events.take()
    }

    fn job(&mut self, recording: u64, track: usize) -> Option<&mut Job> {
        self.jobs.get_mut(&recording).filter(|job| track < job.recording.tracks())
    }

    fn act(&mut self, recording: u64, act: fn(&mut Recording, Time)) {
        let (now, events) = (self.now, self.events);
        if let Some(job) = self.jobs.get_mut(&recording) {
            act(&mut job.recording, now);
            job.pass_on(events);
        }
    }
}

/// Whether it is what [`Deck::stop`] leads to, or a failure.
impl EventKind {
    /// Nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, EventKind::Stopped { .. } | EventKind::Failed { .. })
    }
}
