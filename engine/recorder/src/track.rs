//! One track: its packets in order, its place in the file, and what waits for the next fragment.

use crate::clock::SECOND_NS;
use crate::config::{Codec, TrackConfig};
use crate::mp4::{FragmentTrack, Sample};
use crate::picture::{PictureEntry, Pictures};
use crate::reorder::Reorder;
use crate::sound::Sound;
use crate::stats::{DropReason, TrackStats};
use crate::{ConfigError, ParameterChange};
use motet_rtp::payload::{Depacketizer, PayloadDrop, PayloadFormat};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use shiguredo_mp4::boxes::SampleEntry;
use std::time::Duration;

/// Ticks of pictures a second.
const PICTURE_HZ: u32 = 90_000;
/// How long a picture stands of which nothing else is known.
const PICTURE_TICKS: u32 = PICTURE_HZ / 30;
/// Bytes of a sample at most.
const SAMPLE_BYTES_MAX: usize = 4 << 20;
/// Silence that is put in at once, at most. What is longer becomes a gap.
const SILENCE_SECONDS_MAX: i64 = 10;
/// Sound may lie so far from where it belongs before that is mended: a 50th of a second.
const SOUND_SLACK: u32 = 50;
/// A gap is never taken for longer than this many ticks.
const GAP_TICKS_MAX: i64 = 1 << 30;

pub(crate) struct Track {
    pub(crate) id: u32,
    pub(crate) config: TrackConfig,
    pub(crate) media: Media,
    pub(crate) order: Order,
    /// The synchronization source; none: nothing came yet.
    pub(crate) source: Option<u32>,
    /// Another one, and what would continue its packet.
    pub(crate) suspect: Option<(u32, WireSeq)>,
    pub(crate) stats: TrackStats,
    /// Lost before the present source.
    pub(crate) lost_before: u64,
    /// Ticks of silence that were put in.
    pub(crate) silence: u64,
    /// Sound: nothing but silence has been written since it began, or last.
    silent: bool,
    /// What the segment's header says of it, or will; none: it is not in this segment.
    pub(crate) entry: Option<Entry>,
    /// Pictures: this segment has one that a decoder can begin with.
    pub(crate) started: bool,
    /// When a key frame was asked for last, while none has come.
    pub(crate) key_wanted: Option<Time>,
    /// Where the next sample would be if it followed directly.
    pub(crate) next: u64,
    pending: Pending,
}

pub(crate) enum Media {
    Sound(Sound),
    Pictures(Box<Pictures>),
}

pub(crate) enum Order {
    Sound(Reorder),
    Pictures(Box<Depacketizer>),
}

/// What a header says of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Sound(SampleEntry),
    Pictures(PictureEntry),
}

/// Samples for the next fragment.
#[derive(Default)]
struct Pending {
    start: u64,
    samples: Vec<Sample>,
    data: Vec<u8>,
    /// The last picture: when it is decoded, and where on the clock it lies. How long it stands, the next one says.
    last: Option<LastPicture>,
    last_ticks: u32,
    /// The picture that is shown last: its timestamp, and when that is.
    highest: Option<(WireTimestamp, i64)>,
}

/// Where a picture belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) timestamp: WireTimestamp,
    /// On the recording's clock.
    pub(crate) at_ns: i64,
    /// The same in ticks of the segment.
    pub(crate) at: i64,
    pub(crate) key_frame: bool,
}

#[derive(Clone, Copy)]
struct LastPicture {
    decoded: u64,
    at_ns: i64,
}

impl Track {
    pub(crate) fn new(
        index: usize,
        config: TrackConfig,
        change: ParameterChange,
        wait: Duration,
    ) -> Result<Track, ConfigError> {
        let sound = Sound::new(&config.codec)
            .map_err(|reason| ConfigError::Codec { track: index, reason })?
            .map(Media::Sound);
        let pictures = || {
            let pictures = Pictures::new(&config.codec, change, &config.parameter_sets);
            pictures.map(|pictures| Media::Pictures(Box::new(pictures)))
        };
        let unknown = ConfigError::Codec { track: index, reason: "it is neither of sound nor of pictures" };
        let media = sound.or_else(pictures).ok_or(unknown)?;
        let mut track = Track {
            id: index as u32 + 1,
            order: order(&config, wait),
            config,
            media,
            source: None,
            suspect: None,
            stats: TrackStats::default(),
            lost_before: 0,
            silence: 0,
            silent: true,
            entry: None,
            started: false,
            key_wanted: None,
            next: 0,
            pending: Pending::default(),
        };
        track.entry = track.media.entry();
        Ok(track)
    }

    pub(crate) fn hz(&self) -> u32 {
        self.media.hz()
    }

    pub(crate) fn is_video(&self) -> bool {
        matches!(self.media, Media::Pictures(_))
    }

    /// Packets of another source, or of the same after a pause.
    pub(crate) fn renew(&mut self, wait: Duration) {
        self.lost_before += self.lost();
        count_dropped(&self.order, &mut self.stats);
        self.order = order(&self.config, wait);
    }

    /// Of the present source.
    pub(crate) fn lost(&self) -> u64 {
        match &self.order {
            Order::Sound(reorder) => reorder.lost(),
            Order::Pictures(depacketizer) => depacketizer.stats().lost,
        }
    }

    /// When something is given up that is waited for.
    pub(crate) fn timeout(&self) -> Option<Time> {
        match &self.order {
            Order::Sound(reorder) => reorder.timeout(),
            Order::Pictures(depacketizer) => depacketizer.poll_timeout(),
        }
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.data.len() + self.pending.samples.len() * size_of::<Sample>()
    }

    /// Forgets how pictures lay to each other in the file before.
    pub(crate) fn begin_file(&mut self) {
        self.pending.highest = None;
    }

    pub(crate) fn ticks(&self, ns: i64) -> i64 {
        ticks(ns, self.hz())
    }

    /// Where its samples end, in nanoseconds of the segment.
    pub(crate) fn end_ns(&self) -> i64 {
        (i128::from(self.next) * i128::from(SECOND_NS) / i128::from(self.hz())) as i64
    }

    /// Puts a frame of sound where it belongs; `at` are ticks of the segment.
    pub(crate) fn push_sound(&mut self, at: i64, frame: &[u8], duration: u32) -> Result<(), DropReason> {
        let slack = i64::from(self.hz() / SOUND_SLACK);
        let gap = at - self.next as i64;
        if gap < -slack {
            return Err(DropReason::Overlap);
        }
        // Longer silence harms nobody: what comes after it lies where it belongs.
        if gap > if self.silent { 0 } else { slack } {
            self.fill(gap);
        }
        self.silent = false;
        self.push(Sample { duration, bytes: frame.len() as u32, key_frame: true, composition_offset: 0 });
        self.pending.data.extend_from_slice(frame);
        self.stats.samples += 1;
        self.stats.bytes += frame.len() as u64;
        Ok(())
    }

    /// Puts silence up to a place in the segment.
    pub(crate) fn fill_to(&mut self, at: i64) {
        let gap = at - self.next as i64;
        if gap > 0 && !self.is_video() {
            self.fill(gap);
        }
    }

    fn fill(&mut self, gap: i64) {
        let hz = i64::from(self.hz());
        let gap = gap.min(GAP_TICKS_MAX);
        self.silent = true;
        let mut left = gap.min(SILENCE_SECONDS_MAX * hz);
        self.skip(gap - left);
        while left > 0 {
            let Media::Sound(sound) = &self.media else { return };
            let before = self.pending.data.len();
            let duration = sound.write_silence(left as u32, &mut self.pending.data);
            if duration == 0 {
                break;
            }
            let bytes = (self.pending.data.len() - before) as u32;
            self.push(Sample { duration, bytes, key_frame: true, composition_offset: 0 });
            self.silence += u64::from(duration);
            left -= i64::from(duration);
        }
        // Less than the shortest silence is left for the next frame to make up, unless there is no silence at all.
        if left > hz / i64::from(SOUND_SLACK) {
            self.skip(left);
        }
    }

    /// A gap: the sample before it lasts longer, or the next fragment begins later.
    fn skip(&mut self, ticks: i64) {
        if let Some(last) = self.pending.samples.last_mut() {
            last.duration = last.duration.saturating_add(ticks as u32);
        }
        self.next += ticks as u64;
    }

    fn push(&mut self, sample: Sample) {
        if self.pending.samples.is_empty() {
            self.pending.start = self.next;
        }
        self.next += u64::from(sample.duration);
        self.pending.samples.push(sample);
    }

    /// Puts a picture where it belongs; `place` says where.
    pub(crate) fn push_picture(&mut self, place: Place, unit: &[u8]) -> Result<(), DropReason> {
        let Place { timestamp, at_ns, at, key_frame } = place;
        if unit.len() > SAMPLE_BYTES_MAX {
            return Err(DropReason::TooLong);
        }
        let Media::Pictures(pictures) = &self.media else { return Err(DropReason::BadSound) };
        let before = self.pending.data.len();
        pictures.write(unit, &mut self.pending.data);
        let bytes = (self.pending.data.len() - before) as u32;
        if bytes == 0 {
            // Nothing but parameter sets, which the header has.
            return Ok(());
        }
        self.pending.last_ticks =
            if self.pending.last_ticks == 0 { PICTURE_TICKS } else { self.pending.last_ticks };
        let shown = at.max(0) as u64;
        let decoded = match self.pending.last.take() {
            Some(last) => {
                // Each is decoded after the one before, even where pictures are not shown in that order.
                let decoded = shown.clamp(last.decoded + 1, last.decoded + GAP_TICKS_MAX as u64);
                self.close(last, (decoded - last.decoded) as u32);
                decoded
            }
            None => shown.max(self.next),
        };
        self.next = decoded;
        let composition_offset = self.composition_offset(timestamp, decoded);
        self.push(Sample { duration: 0, bytes, key_frame, composition_offset });
        self.pending.last = Some(LastPicture { decoded, at_ns });
        self.stats.samples += 1;
        self.stats.bytes += u64::from(bytes);
        self.stats.key_frames += u64::from(key_frame);
        Ok(())
    }

    /// Pictures that are shown before one that came before them (B pictures) keep their distance to it. All others are
    /// shown when they are decoded.
    fn composition_offset(&mut self, timestamp: WireTimestamp, decoded: u64) -> i32 {
        let decoded = decoded as i64;
        if let Some((highest, shown)) = self.pending.highest {
            let before = highest.distance(timestamp);
            if (1..=PICTURE_HZ as i32).contains(&before) {
                return (shown - i64::from(before) - decoded).clamp(-GAP_TICKS_MAX, 0) as i32;
            }
        }
        self.pending.highest = Some((timestamp, decoded));
        0
    }

    fn close(&mut self, last: LastPicture, duration: u32) {
        if let Some(sample) = self.pending.samples.last_mut() {
            sample.duration = duration;
        }
        self.next = last.decoded + u64::from(duration);
        self.pending.last_ticks = duration;
    }

    /// What waits, for a fragment. The last picture stays back until its end is known, unless it is the last of the
    /// segment (`whole`) or nothing has followed it since `stale_ns`.
    pub(crate) fn take(&mut self, whole: bool, stale_ns: i64) -> Option<FragmentTrack> {
        let mut held = None;
        if let Some(last) = self.pending.last {
            if whole || last.at_ns < stale_ns {
                let usual = self.pending.last_ticks.min(PICTURE_HZ / 5);
                self.close(last, usual);
                self.pending.last = None;
            } else {
                held = self.pending.samples.pop();
            }
        }
        let held_bytes = held.map_or(0, |sample| sample.bytes as usize);
        let held_data = self.pending.data.split_off(self.pending.data.len() - held_bytes);
        let data = std::mem::replace(&mut self.pending.data, held_data);
        let samples = std::mem::take(&mut self.pending.samples);
        let start = self.pending.start;
        if let (Some(sample), Some(last)) = (held, self.pending.last) {
            self.pending.samples.push(sample);
            self.pending.start = last.decoded;
        }
        (!samples.is_empty()).then_some(FragmentTrack { id: self.id, start, samples, data })
    }
}

/// Adds what was dropped of the present source while it was put in order.
pub(crate) fn count_dropped(order: &Order, stats: &mut TrackStats) {
    match order {
        Order::Sound(reorder) => stats.drop_all(DropReason::Flushed, reorder.flushed()),
        Order::Pictures(depacketizer) => {
            for reason in PayloadDrop::ALL {
                stats.drop_all(reason.into(), depacketizer.stats().dropped(reason));
            }
        }
    }
}

impl Media {
    fn hz(&self) -> u32 {
        match self {
            Media::Sound(sound) => sound.hz,
            Media::Pictures(_) => PICTURE_HZ,
        }
    }

    /// What a header says of what comes now; none: that is not known yet.
    pub(crate) fn entry(&self) -> Option<Entry> {
        match self {
            Media::Sound(sound) => Some(Entry::Sound(sound.sample_entry())),
            Media::Pictures(pictures) => pictures.entry().cloned().map(Entry::Pictures),
        }
    }
}

/// Ticks of a time.
fn ticks(ns: i64, hz: u32) -> i64 {
    (i128::from(ns) * i128::from(hz)).div_euclid(i128::from(SECOND_NS)) as i64
}

fn order(config: &TrackConfig, wait: Duration) -> Order {
    let format = match config.codec {
        Codec::H264 => PayloadFormat::H264,
        Codec::H265 => PayloadFormat::H265,
        Codec::Vp8 => PayloadFormat::Vp8,
        _ => return Order::Sound(Reorder::new(wait)),
    };
    Order::Pictures(Box::new(Depacketizer::new(format, wait, config.parameter_sets.clone())))
}
