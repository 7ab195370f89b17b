//! What fuzzing runs.

use crate::{Codec, Container, Output, ParameterChange, Recording, RecordingConfig, TrackConfig};
use motet_rtp::rtcp::SenderInfo;
use motet_rtp::{Ntp, RtpBuilder, Time, WireSeq, WireTimestamp};
use std::time::Duration;

/// A recording is not to hold more than this, whatever comes.
const HELD_BYTES_MAX: usize = 24 << 20;

/// Any operations on a recording of every codec, against what must hold whatever comes.
///
/// The first byte chooses settings. An operation is four bytes (which, which track, numbers, time and bytes of
/// payload) and a payload.
///
/// # Panics
/// When the recording is wrong.
pub fn fuzz_recording(bytes: &[u8]) {
    let Some((first, mut bytes)) = bytes.split_first() else { return };
    let Some(mut world) = World::new(*first) else { return };
    while let Some(([operation, flags, step, length], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min((*length).into()));
        bytes = rest;
        world.step(*operation, *flags, *step, payload);
        world.check();
    }
    world.recording.stop(world.now);
    world.check();
    assert!(world.open.is_none(), "what has begun has ended");
    world.recording.handle_packet(world.now, 0, &[]);
    assert!(world.recording.poll_output().is_none() && world.recording.poll_timeout().is_none());
}

struct World {
    recording: Recording,
    now: Time,
    tracks: Vec<(u16, u32)>,
    /// The segment that is open, with its bytes and fragments so far.
    open: Option<(u32, u64, u32)>,
    last_segment: u32,
}

impl World {
    fn new(settings: u8) -> Option<World> {
        let codecs = [
            Codec::H264,
            Codec::H265,
            Codec::Vp8,
            Codec::Opus { channels: 2 },
            Codec::Aac { config: vec![0x11, 0x88] },
            Codec::Pcmu,
            Codec::L16 { rate_hz: 16_000, channels: 2 },
        ];
        let track = |(index, codec): (usize, Codec)| TrackConfig {
            name: format!("track {index}"),
            codec,
            payload_type: 96,
            sender: index as u32 / 2,
            parameter_sets: Vec::new(),
        };
        let tracks: Vec<TrackConfig> = codecs.into_iter().enumerate().map(track).collect();
        let config = RecordingConfig {
            segment_duration_max: (settings & 1 != 0).then_some(Duration::from_secs(2)),
            segment_bytes_max: (settings & 2 != 0).then_some(64 << 10),
            parameter_change: if settings & 4 != 0 {
                ParameterChange::InBand
            } else {
                ParameterChange::NewSegment
            },
            container: if settings & 8 != 0 { Container::Hls } else { Container::Mp4 },
            ..RecordingConfig::default()
        };
        let starts = tracks.iter().map(|_| (65_530, u32::MAX - 9000)).collect();
        let recording = Recording::new(config, tracks).ok()?;
        Some(World { recording, now: Time::from_millis(5000), tracks: starts, open: None, last_segment: 0 })
    }

    fn step(&mut self, operation: u8, flags: u8, step: u8, payload: &[u8]) {
        self.now += Duration::from_millis(u64::from(step) * if flags & 0x40 != 0 { 40 } else { 1 });
        let now = self.now;
        let index = usize::from(flags & 7) % self.tracks.len();
        let (sequence, timestamp) = &mut self.tracks[index];
        let jump = if flags & 0x80 != 0 { 1 << 29 } else { 0 };
        *timestamp = timestamp.wrapping_add(u32::from(step) * 90).wrapping_add(jump);
        match operation {
            0..=3 => self.recording.handle_timeout(now),
            4 => self.recording.pause(now),
            5 => self.recording.resume(now),
            6 => self.recording.cut(now),
            7..=20 => {
                let ntp = Ntp((u64::from(operation) << 60).wrapping_add(now.as_nanos() * 4));
                let info =
                    SenderInfo { ntp, rtp_timestamp: WireTimestamp(*timestamp), ..SenderInfo::default() };
                self.recording.handle_sender_report(now, index, u32::from(flags >> 5), &info);
            }
            21..=60 => {
                let (key, timestamp) = (flags & 8 != 0, WireTimestamp(*timestamp));
                self.recording.handle_frame(now, index, timestamp, key, payload);
            }
            61..=64 => self.recording.handle_packet(now, index, payload),
            _ => {
                *sequence = sequence.wrapping_add(if operation > 250 { 3 } else { 1 });
                let packet = RtpBuilder::new(u32::from(operation == 249 || operation == 250))
                    .payload_type(96)
                    .marker(flags & 8 != 0)
                    .sequence(WireSeq(*sequence))
                    .timestamp(WireTimestamp(*timestamp))
                    .payload(payload)
                    .to_vec();
                self.recording.handle_packet(now, index, &packet);
            }
        }
    }

    fn check(&mut self) {
        while let Some(output) = self.recording.poll_output() {
            match output {
                Output::Begin { segment } => {
                    assert!(self.open.is_none() && segment == self.last_segment + 1);
                    (self.open, self.last_segment) = (Some((segment, 0, 0)), segment);
                }
                Output::Append { segment, bytes } => {
                    let open = self.open.as_mut().filter(|open| open.0 == segment);
                    let (_, written, fragments) = open.unwrap_or_else(|| panic!("{segment} is not open"));
                    if *written > 0 {
                        *fragments += 1;
                    }
                    *written += bytes.len() as u64;
                    check_boxes(&bytes);
                }
                Output::End(summary) => {
                    let open = self.open.take();
                    assert_eq!(open, Some((summary.segment, summary.bytes, summary.fragments)));
                }
                Output::Piece { segment, duration } => {
                    let fragments = self.open.filter(|open| open.0 == segment).map_or(0, |open| open.2);
                    assert!(fragments > 0, "a piece has something in it: {duration:?}");
                }
                Output::KeyFrameWanted { track } => assert!(track < 3, "sound has no key frames"),
            }
        }
        assert!(self.recording.pending_bytes() <= HELD_BYTES_MAX);
        assert!(self.recording.poll_timeout().is_none_or(|due| due != Time::ZERO));
    }
}

/// Boxes follow each other up to the end, and samples fill the data.
fn check_boxes(mut bytes: &[u8]) {
    use shiguredo_mp4::Decode;
    use shiguredo_mp4::boxes::MoofBox;
    let mut samples_bytes = None;
    while let Some((size, _)) = bytes.split_first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        assert!((8..=bytes.len()).contains(&size), "a box lies within its fragment");
        let (this, rest) = bytes.split_at(size);
        match &this[4..8] {
            b"moof" => {
                let moof = MoofBox::decode(this).unwrap_or_else(|error| panic!("a moof: {error}")).0;
                let bytes_of = |traf: &shiguredo_mp4::boxes::TrafBox| -> usize {
                    let default = traf.tfhd_box.default_sample_size;
                    let samples = traf.trun_boxes.iter().flat_map(|trun| &trun.samples);
                    samples.map(|sample| sample.size.or(default).unwrap_or(0) as usize).sum()
                };
                samples_bytes = Some(moof.traf_boxes.iter().map(bytes_of).sum::<usize>());
            }
            b"mdat" => assert_eq!(samples_bytes.take(), Some(size - 8), "samples fill the data"),
            b"ftyp" | b"moov" => {}
            other => panic!("a box {other:02x?}"),
        }
        bytes = rest;
    }
    assert!(bytes.is_empty() && samples_bytes.is_none());
}
