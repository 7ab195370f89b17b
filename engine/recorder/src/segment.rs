//! Files of a recording: when one begins and ends, and its fragments.

use crate::clock::{SECOND_NS, nanos};
use crate::config::{Container, RecordingConfig};
use crate::matroska;
use crate::mp4::{self, FragmentTrack, HeaderTrack};
use crate::piece::Piece;
use crate::recording::Recording;
use crate::track::{Entry, Track};
use motet_rtp::Time;
use std::time::Duration;

/// How long a segment that is to end waits for a key frame to end at.
const END_WAIT: Duration = Duration::from_secs(5);
/// Sound that lies before a cut goes to the next segment; no more than this.
const CARRY_NS_MAX: i64 = SECOND_NS;

/// What is to be done with files and senders, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// A file begins.
    Begin {
        /// Counts up by one from [`RecordingConfig::first_segment`](crate::RecordingConfig::first_segment).
        segment: u32,
    },
    /// Bytes to be appended to it: the header, or a whole fragment.
    Append {
        /// As in [`Output::Begin`].
        segment: u32,
        /// To be written at once, so that a crash takes no whole fragment.
        bytes: Vec<u8>,
    },
    /// Live output: what was appended since the header, or since the piece before, is a piece.
    Piece {
        /// As in [`Output::Begin`].
        segment: u32,
        /// How long it lasts.
        duration: Duration,
    },
    /// It is whole.
    End(SegmentSummary),
    /// The sender of a track is to be asked for a key frame (PLI, or FIR).
    KeyFrameWanted {
        /// Index of the track.
        track: usize,
    },
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// As in [`Output::Begin`].
    pub segment: u32,
    /// What time 0 of the file is on the recording's clock. With pauses, the last one's length is added to that.
    pub begins_at: Time,
    /// From time 0 to the end of the longest track.
    pub duration: Duration,
    /// Its length.
    pub bytes: u64,
    /// Fragments in it.
    pub fragments: u32,
    /// Samples of all tracks, silence included.
    pub samples: u64,
}

/// The file that is written.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    index: u32,
    /// Its time 0.
    origin_ns: Option<i64>,
    /// When its first sample came.
    begun: Option<Time>,
    /// When its header was written.
    opened: Option<Time>,
    /// When a fragment was written last.
    fragment: Time,
    pub(crate) fragments: u32,
    bytes: u64,
    samples: u64,
    pub(crate) end_ns: i64,
    pub(crate) piece: Piece,
    /// Since when it is to end at the next key frame.
    end_wanted: Option<Time>,
}

impl Segment {
    pub(crate) fn new(index: u32) -> Segment {
        Segment {
            index,
            origin_ns: None,
            begun: None,
            opened: None,
            fragment: Time::ZERO,
            fragments: 0,
            bytes: 0,
            samples: 0,
            end_ns: 0,
            piece: Piece::default(),
            end_wanted: None,
        }
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Notes a sample; the segment's time 0.
    pub(crate) fn begin(&mut self, now: Time, at_ns: i64) -> i64 {
        self.begun.get_or_insert(now);
        *self.origin_ns.get_or_insert(at_ns)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    pub(crate) fn is_younger(&self, now: Time, than: Duration) -> bool {
        self.opened.is_some_and(|opened| now.since(opened) < than)
    }

    pub(crate) fn origin_ns(&self) -> Option<i64> {
        self.origin_ns
    }

    /// Leaves time out.
    pub(crate) fn shift(&mut self, ns: i64) {
        self.origin_ns = self.origin_ns.map(|origin_ns| origin_ns + ns);
    }

    pub(crate) fn want_end(&mut self, now: Time) {
        self.end_wanted.get_or_insert(now);
    }

    pub(crate) fn wants_end(&self) -> bool {
        self.end_wanted.is_some()
    }

    pub(crate) fn start_is_due(&self, now: Time, config: &RecordingConfig) -> bool {
        self.begun.is_some_and(|begun| now >= begun + config.start_wait)
    }

    pub(crate) fn fragment_is_due(&self, now: Time, config: &RecordingConfig) -> bool {
        now >= self.fragment + config.fragment
    }

    /// When something is due.
    pub(crate) fn timeout(&self, config: &RecordingConfig) -> Option<Time> {
        let begun = self.begun?;
        Some(match self.opened {
            Some(_) => self.fragment + config.fragment,
            None => begun + config.start_wait,
        })
    }
}

impl Recording {
    /// Writes the header, with the tracks that are there.
    pub(crate) fn open_segment(&mut self, now: Time) {
        let tracks: Vec<HeaderTrack<'_>> = self.tracks.iter().filter_map(header_track).collect();
        let bytes = match self.config.container {
            Container::Mp4 | Container::Hls => mp4::header(self.config.created, &tracks),
            Container::Matroska => matroska::header(self.config.created, &tracks),
        };
        let segment = &mut self.segment;
        (segment.opened, segment.fragment) = (Some(now), now);
        segment.bytes += bytes.len() as u64;
        let index = segment.index;
        self.outputs.push_back(Output::Begin { segment: index });
        self.outputs.push_back(Output::Append { segment: index, bytes });
    }

    /// Writes what waits; `whole`: the last picture too.
    pub(crate) fn write_fragment(&mut self, now: Time, whole: bool) {
        if !self.segment.is_open() {
            return;
        }
        self.segment.fragment = now;
        let stale_ns = nanos(now) - SECOND_NS;
        let tracks = self.tracks.iter_mut().filter(|track| track.entry.is_some());
        let taken: Vec<FragmentTrack> = tracks.filter_map(|track| track.take(whole, stale_ns)).collect();
        if taken.is_empty() {
            return;
        }
        let segment = &mut self.segment;
        segment.fragments += 1;
        let hz = |id: u32| self.tracks.iter().find(|track| track.id == id).map_or(1, Track::hz);
        let bytes = match self.config.container {
            Container::Mp4 | Container::Hls => mp4::fragment(segment.fragments, &taken),
            Container::Matroska => matroska::fragment(&taken, hz),
        };
        segment.bytes += bytes.len() as u64;
        segment.samples += taken.iter().map(|track| track.samples.len() as u64).sum::<u64>();
        segment.end_ns = self.tracks.iter().map(Track::end_ns).max().unwrap_or(0);
        self.outputs.push_back(Output::Append { segment: segment.index, bytes });
    }

    /// Ends the file, if there is one.
    pub(crate) fn end_segment(&mut self) {
        if !self.segment.is_open() {
            return;
        }
        if self.config.pieces().is_some() {
            self.close_piece();
        }
        let segment = &self.segment;
        let positive = |ns: i64| u64::try_from(ns).unwrap_or(0);
        self.outputs.push_back(Output::End(SegmentSummary {
            segment: segment.index,
            begins_at: Time::from_nanos(positive(segment.origin_ns.unwrap_or(0))),
            duration: Duration::from_nanos(positive(segment.end_ns)),
            bytes: segment.bytes,
            fragments: segment.fragments,
            samples: segment.samples,
        }));
    }

    /// Ends the file and begins the next one at a place on the recording's clock. Sound goes on without a gap.
    pub(crate) fn switch_segment(&mut self, now: Time, at_ns: i64) {
        self.write_fragment(now, true);
        self.end_segment();
        let origin_ns = self.segment.origin_ns.unwrap_or(at_ns);
        let sound = self.tracks.iter().filter(|track| !track.is_video());
        let ends = sound.map(|track| origin_ns + track.end_ns());
        let begin_ns = ends.filter(|end_ns| *end_ns > at_ns - CARRY_NS_MAX).fold(at_ns, i64::min);
        for track in &mut self.tracks {
            let carried = if track.is_video() { 0 } else { origin_ns + track.end_ns() - begin_ns };
            track.next = track.ticks(carried.max(0)) as u64;
            track.started = false;
            track.begin_file();
            track.entry = track.media.entry();
        }
        self.segment = Segment::new(self.segment.index + 1);
        self.segment.begin(now, begin_ns);
        self.open_segment(now);
        self.ask_key_frames(now);
    }

    /// Notes that the segment is long enough.
    pub(crate) fn check_limits(&mut self, now: Time) {
        if let Some(pieces) = self.config.pieces() {
            return self.check_piece(now, pieces);
        }
        let segment = &self.segment;
        let long = self
            .config
            .segment_duration_max
            .is_some_and(|max| segment.end_ns >= i64::try_from(max.as_nanos()).unwrap_or(i64::MAX));
        let large = self.config.segment_bytes_max.is_some_and(|max| segment.bytes >= max);
        if long || large {
            self.segment.want_end(now);
        }
    }

    /// Ends a segment that is to end without a key frame: there are no pictures, or they have none.
    pub(crate) fn end_if_due(&mut self, now: Time) {
        let Some(wanted) = self.segment.end_wanted else { return };
        let pictures = self.tracks.iter().any(|track| track.is_video() && track.started);
        if !pictures || now.since(wanted) >= END_WAIT {
            self.switch_segment(now, nanos(now));
        } else {
            self.ask_key_frames(now);
        }
    }
}

fn header_track(track: &Track) -> Option<HeaderTrack<'_>> {
    let (entry, size) = match track.entry.as_ref()? {
        Entry::Sound(entry) => (entry, None),
        Entry::Pictures(pictures) => (&pictures.entry, Some((pictures.width, pictures.height))),
    };
    Some(HeaderTrack { id: track.id, name: &track.config.name, hz: track.hz(), entry, size })
}
