//! A recording: packets of several tracks in, bytes to be appended to files out.

use crate::clock::{Clocks, SECOND_NS, Seen, nanos};
use crate::config::{ConfigError, Container, RecordingConfig, TrackConfig};
use crate::segment::{Output, Segment};
use crate::stats::{DropReason, TrackStats};
use crate::track::{Media, Order, Place, Track, count_dropped};
use motet_rtp::payload::PicturePacket;
use motet_rtp::rtcp::SenderInfo;
use motet_rtp::{RtpView, Time, WireTimestamp};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that wait for a fragment at most; more make one before its time.
pub(crate) const PENDING_BYTES_MAX: usize = 8 << 20;
/// How often a key frame is asked for while none comes.
const KEY_FRAME_ASK: Duration = Duration::from_secs(1);
/// A segment is at least so long before a change of parameters ends it.
const SEGMENT_LEAST: Duration = Duration::from_secs(1);

/// See the [crate's page](crate). Ask [`poll_output`](Self::poll_output) until there is none after each call.
pub struct Recording {
    pub(crate) config: RecordingConfig,
    pub(crate) clocks: Clocks,
    pub(crate) tracks: Vec<Track>,
    pub(crate) segment: Segment,
    pub(crate) outputs: VecDeque<Output>,
    state: State,
    /// A picture while it is handled. Its memory is used again.
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused { since: Time },
    Stopped,
}

/// A picture that came, beside its bytes.
#[derive(Clone, Copy)]
struct PictureHead {
    timestamp: WireTimestamp,
    key_frame: bool,
    damaged: bool,
    missing: u32,
}

impl Recording {
    /// A recording that waits for its first packets.
    ///
    /// # Errors
    /// When it cannot be made: see [`ConfigError`].
    pub fn new(config: RecordingConfig, tracks: Vec<TrackConfig>) -> Result<Recording, ConfigError> {
        config.check(&tracks)?;
        let mut clocks = Clocks::new();
        let mut made = Vec::with_capacity(tracks.len());
        for (index, track) in tracks.into_iter().enumerate() {
            let sender = track.sender;
            let track = Track::new(index, track, config.parameter_change, config.reorder_wait)?;
            clocks.add(track.hz(), sender);
            made.push(track);
        }
        let segment = Segment::new(config.first_segment);
        Ok(Recording {
            config,
            clocks,
            tracks: made,
            segment,
            outputs: VecDeque::new(),
            state: State::Running,
            scratch: Vec::new(),
        })
    }

    /// Takes in an RTP packet of a track, as it came from the network or from a mixer.
    ///
    /// # Panics
    /// When there is no such track.
    pub fn handle_packet(&mut self, now: Time, track: usize, packet: &[u8]) {
        self.tracks[track].stats.packets += 1;
        if let Err(reason) = self.order_packet(now, track, packet) {
            self.tracks[track].stats.drop(reason);
        }
        self.drain(now, track, false);
        self.tick(now);
    }

    /// Takes in a picture (H.264 and H.265 as a byte stream) or a payload of sound that never was in packets. Use this
    /// or [`handle_packet`](Self::handle_packet) for one track, not both.
    ///
    /// # Panics
    /// When there is no such track.
    pub fn handle_frame(
        &mut self,
        now: Time,
        track: usize,
        timestamp: WireTimestamp,
        key_frame: bool,
        frame: &[u8],
    ) {
        let stats = &mut self.tracks[track].stats;
        stats.packets += 1;
        if self.state != State::Running {
            return stats.drop(DropReason::Paused);
        }
        self.observe(now, track, timestamp);
        if self.tracks[track].is_video() {
            let head = PictureHead { timestamp, key_frame, damaged: false, missing: 0 };
            self.handle_picture(now, track, head, frame);
        } else {
            self.handle_sound(now, track, timestamp, frame);
        }
        self.tick(now);
    }

    /// Takes in what a sender report says; reports of other sources than the track's are left aside.
    ///
    /// # Panics
    /// When there is no such track.
    pub fn handle_sender_report(&mut self, now: Time, track: usize, ssrc: u32, info: &SenderInfo) {
        if self.tracks[track].source == Some(ssrc) && !self.clocks.report(now, track, info) {
            self.tracks[track].stats.reports_refused += 1;
        }
    }

    /// Does what is due. Call it at [`poll_timeout`](Self::poll_timeout), or every 100 ms or so.
    pub fn handle_timeout(&mut self, now: Time) {
        for track in 0..self.tracks.len() {
            self.drain(now, track, false);
        }
        self.tick(now);
    }

    /// Leaves out what comes from now on. What came is written.
    pub fn pause(&mut self, now: Time) {
        if self.state == State::Running {
            self.finish_fragment(now);
            self.state = State::Paused { since: now };
        }
    }

    /// Goes on where it was paused: the time between is not in the file.
    pub fn resume(&mut self, now: Time) {
        let State::Paused { since } = self.state else { return };
        self.state = State::Running;
        self.segment.shift(nanos(now) - nanos(since));
        for track in &mut self.tracks {
            track.renew(self.config.reorder_wait);
            track.started = false;
        }
        self.ask_key_frames(now);
    }

    /// Begins a new segment, with pictures at the next key frame.
    pub fn cut(&mut self, now: Time) {
        if self.state == State::Running && self.segment.is_open() {
            self.segment.want_end(now);
            self.tick(now);
        }
    }

    /// Writes what is there and ends the segment. Nothing comes after that.
    pub fn stop(&mut self, now: Time) {
        if self.state == State::Running {
            self.finish_fragment(now);
        }
        if self.state != State::Stopped {
            self.end_segment();
            self.state = State::Stopped;
        }
    }

    /// The next thing to be done; none: that was all.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; none: not before the next packet.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.state != State::Running {
            return None;
        }
        let waiting = self.tracks.iter().filter_map(Track::timeout).min();
        [waiting, self.segment.timeout(&self.config)].into_iter().flatten().min()
    }

    /// Number of the segment that comes after what there is already.
    pub fn next_segment(&self) -> u32 {
        self.segment.index() + u32::from(self.segment.has_begun())
    }

    /// What its files are.
    pub fn container(&self) -> Container {
        self.config.container
    }

    /// How many tracks there are.
    pub fn tracks(&self) -> usize {
        self.tracks.len()
    }

    /// What was counted of a track so far.
    ///
    /// # Panics
    /// When there is no such track.
    pub fn stats(&self, track: usize) -> TrackStats {
        let track = &self.tracks[track];
        let mut stats = track.stats.clone();
        stats.lost = track.lost_before + track.lost();
        stats.silence_ms = track.silence * 1000 / u64::from(track.hz());
        count_dropped(&track.order, &mut stats);
        if let Order::Pictures(depacketizer) = &track.order {
            stats.packets_to_pictures = Some(*depacketizer.stats());
        }
        stats
    }

    /// Bytes that wait for the next fragment.
    pub fn pending_bytes(&self) -> usize {
        self.tracks.iter().map(Track::pending_bytes).sum()
    }

    fn order_packet(&mut self, now: Time, index: usize, packet: &[u8]) -> Result<(), DropReason> {
        let packet = RtpView::new(packet)?;
        let track = &mut self.tracks[index];
        if packet.payload_type() != track.config.payload_type {
            return Err(DropReason::PayloadType);
        }
        self.follow_source(now, index, &packet)?;
        self.observe(now, index, packet.timestamp());
        if self.state != State::Running {
            return Err(DropReason::Paused);
        }
        let (sequence, timestamp) = (packet.sequence(), packet.timestamp());
        match &mut self.tracks[index].order {
            Order::Sound(reorder) => reorder.push(now, sequence, timestamp, packet.payload()),
            Order::Pictures(depacketizer) => {
                let (marker, payload) = (packet.marker(), packet.payload());
                depacketizer.handle_packet(now, &PicturePacket { sequence, timestamp, marker, payload });
                Ok(())
            }
        }
    }

    /// Another source takes the track over once two of its packets came in sequence.
    fn follow_source(&mut self, now: Time, index: usize, packet: &RtpView<'_>) -> Result<(), DropReason> {
        let track = &mut self.tracks[index];
        let (ssrc, sequence) = (packet.ssrc(), packet.sequence());
        if track.source == Some(ssrc) {
            track.suspect = None;
            return Ok(());
        }
        if track.source.is_some() && track.suspect != Some((ssrc, sequence)) {
            track.suspect = Some((ssrc, sequence.next()));
            return Err(DropReason::Stray);
        }
        if track.source.is_some() {
            track.stats.sources += 1;
            self.drain(now, index, true);
        }
        let track = &mut self.tracks[index];
        track.renew(self.config.reorder_wait);
        (track.source, track.suspect) = (Some(ssrc), None);
        self.clocks.restart(index);
        if self.state == State::Running {
            self.ask_key_frame(now, index);
        }
        Ok(())
    }

    fn observe(&mut self, now: Time, track: usize, timestamp: WireTimestamp) {
        if self.clocks.observe(now, track, timestamp) == Seen::Jumped {
            self.tracks[track].stats.timestamp_jumps += 1;
        }
    }

    /// Handles what is in order. `all`: what is missing is not waited for.
    fn drain(&mut self, now: Time, index: usize, all: bool) {
        let until = if all { Time::MAX } else { now };
        loop {
            match &mut self.tracks[index].order {
                Order::Sound(reorder) => {
                    let Some(held) = reorder.pop(until) else { return };
                    if self.state == State::Running {
                        self.handle_sound(now, index, held.timestamp, &held.payload);
                    }
                }
                Order::Pictures(depacketizer) => {
                    let Some(unit) = depacketizer.poll_unit(until) else { return };
                    let head = PictureHead {
                        timestamp: unit.timestamp,
                        key_frame: unit.key_frame,
                        damaged: unit.damaged,
                        missing: unit.missing,
                    };
                    let mut bytes = std::mem::take(&mut self.scratch);
                    bytes.clear();
                    bytes.extend_from_slice(unit.bytes);
                    if self.state == State::Running {
                        self.handle_picture(now, index, head, &bytes);
                    }
                    self.scratch = bytes;
                }
            }
        }
    }

    fn handle_sound(&mut self, now: Time, index: usize, timestamp: WireTimestamp, payload: &[u8]) {
        let track = &mut self.tracks[index];
        let Media::Sound(sound) = &track.media else { return };
        let Some(frames) = sound.frames(payload) else {
            // A payload of padding alone is how some senders probe.
            return track.stats.drop(DropReason::BadSound);
        };
        let mut offset = 0;
        for (frame, duration) in frames {
            let at_ns = self.clocks.at_ns(now, index, timestamp.plus(offset));
            offset += duration;
            let origin_ns = self.segment.begin(now, at_ns);
            let track = &mut self.tracks[index];
            if let Err(reason) = track.push_sound(track.ticks(at_ns - origin_ns), frame, duration) {
                track.stats.drop(reason);
            }
        }
    }

    fn handle_picture(&mut self, now: Time, index: usize, head: PictureHead, unit: &[u8]) {
        if head.missing > 0 {
            self.ask_key_frame(now, index);
        }
        if let Err(reason) = self.place_picture(now, index, head, unit) {
            self.tracks[index].stats.drop(reason);
            self.ask_key_frame(now, index);
        }
    }

    fn place_picture(
        &mut self,
        now: Time,
        index: usize,
        head: PictureHead,
        unit: &[u8],
    ) -> Result<(), DropReason> {
        let at_ns = self.clocks.at_ns(now, index, head.timestamp);
        let track = &mut self.tracks[index];
        if head.damaged {
            return Err(DropReason::Damaged);
        }
        let Media::Pictures(pictures) = &mut track.media else { return Err(DropReason::BadSound) };
        pictures.note(unit, head.key_frame)?;
        if head.key_frame {
            let latest = track.media.entry();
            let binds = matches!(&track.media, Media::Pictures(pictures) if pictures.entry_binds());
            if track.entry.is_none() && !self.segment.is_open() {
                track.entry = latest;
            } else if track.entry.is_none() || (binds && track.entry != latest) {
                // Neither the header of this file nor samples that wait for it fit: another file begins.
                if !self.segment.is_open() {
                    self.open_segment(now);
                } else if self.segment.is_younger(now, SEGMENT_LEAST) {
                    self.tracks[index].started = false;
                    return Err(DropReason::WaitingKeyFrame);
                }
                self.switch_segment(now, at_ns);
            } else if self.segment.is_open() && self.segment.wants_end() {
                self.switch_segment(now, at_ns);
            } else if self.segment.piece.ends {
                self.end_piece(now);
            }
        }
        let track = &mut self.tracks[index];
        if !track.started && !head.key_frame {
            return Err(DropReason::WaitingKeyFrame);
        }
        let origin_ns = self.segment.begin(now, at_ns);
        let at = track.ticks(at_ns - origin_ns);
        let place = Place { timestamp: head.timestamp, at_ns, at, key_frame: head.key_frame };
        track.push_picture(place, unit)?;
        if head.key_frame {
            track.started = true;
            track.key_wanted = None;
        }
        Ok(())
    }

    /// Asks for a key frame, unless it was done a moment ago.
    pub(crate) fn ask_key_frame(&mut self, now: Time, index: usize) {
        let track = &mut self.tracks[index];
        if track.is_video() && track.key_wanted.is_none_or(|at| now.since(at) >= KEY_FRAME_ASK) {
            track.key_wanted = Some(now);
            self.outputs.push_back(Output::KeyFrameWanted { track: index });
        }
    }

    pub(crate) fn ask_key_frames(&mut self, now: Time) {
        for track in 0..self.tracks.len() {
            self.ask_key_frame(now, track);
        }
    }

    /// Writes all that is there, whatever is missing before it.
    fn finish_fragment(&mut self, now: Time) {
        for track in 0..self.tracks.len() {
            self.drain(now, track, true);
        }
        if !self.segment.is_open() && self.segment.has_begun() {
            self.open_segment(now);
        }
        self.write_fragment(now, true);
    }

    /// Opens the segment and writes a fragment when it is time.
    fn tick(&mut self, now: Time) {
        if self.state != State::Running || !self.segment.has_begun() {
            return;
        }
        let full = self.pending_bytes() > PENDING_BYTES_MAX;
        if !self.segment.is_open() {
            let ready = self.tracks.iter().all(|track| track.entry.is_some());
            if !ready && !full && !self.segment.start_is_due(now, &self.config) {
                return;
            }
            self.open_segment(now);
        }
        if full || self.segment.fragment_is_due(now, &self.config) {
            let stale = nanos(now) - SECOND_NS;
            self.fill_silent(stale);
            self.write_fragment(now, false);
            self.check_limits(now);
        }
        self.end_if_due(now);
    }

    /// Tracks of sound that nothing came for have silence.
    fn fill_silent(&mut self, until_ns: i64) {
        let Some(origin_ns) = self.segment.origin_ns() else { return };
        for track in &mut self.tracks {
            track.fill_to(track.ticks(until_ns - origin_ns));
        }
    }
}
