//! Media that ffmpeg encodes, packets of it, and what ffprobe finds in files.
#![allow(dead_code, reason = "each test file uses its part")]

use motet_recorder::{Codec, Output, Recording, SegmentSummary, TrackConfig};
use motet_rtp::payload::{H264Mode, Packetizer, PayloadFormat};
use motet_rtp::rtcp::SenderInfo;
use motet_rtp::{Ntp, RtpBuilder, Time, WireSeq, WireTimestamp};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const PAYLOAD_BYTES: usize = 1100;
pub const FRAME_MS: u64 = 40;

/// Runs a tool of ffmpeg's. Panics with its messages when it fails, or says anything.
pub fn run(tool: &str, args: &[&str]) -> Vec<u8> {
    let done = Command::new(tool)
        .args(["-hide_banner", "-loglevel", "error"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is there (scripts/setup.sh installs it)");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{tool} {args:?}: {said}");
    done.stdout
}

/// What ffmpeg makes of a source.
pub fn encode(source: &str, codec: &[&str]) -> Vec<u8> {
    run("ffmpeg", &[&["-f", "lavfi", "-i", source], codec, &["-"]].concat())
}

fn test_picture(seconds: u32, size: &str) -> String {
    format!("testsrc2=size={size}:rate=25:duration={seconds}")
}

/// Access units of 25 pictures a second, a key frame each second.
pub fn h264(seconds: u32, size: &str) -> Vec<Vec<u8>> {
    h264_of(&test_picture(seconds, size))
}

/// As [`h264`], of a source of ffmpeg's.
pub fn h264_of(source: &str) -> Vec<Vec<u8>> {
    let codec = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -b:v 200k -pix_fmt yuv420p \
                 -bsf:v h264_metadata=aud=insert -f h264";
    let stream = encode(source, &codec.split_whitespace().collect::<Vec<_>>());
    split_units(&stream, &[0, 0, 0, 1, 9])
}

/// As [`h264`].
pub fn h265(seconds: u32, size: &str) -> Vec<Vec<u8>> {
    let codec = "-c:v libx265 -preset ultrafast -b:v 200k -pix_fmt yuv420p -x265-params \
                 log-level=none:keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=0:pools=none:frame-threads=1:repeat-headers=1 \
                 -bsf:v hevc_metadata=aud=insert -f hevc";
    let stream = encode(&test_picture(seconds, size), &codec.split_whitespace().collect::<Vec<_>>());
    split_units(&stream, &[0, 0, 0, 1, 35 << 1])
}

/// As [`h264`].
pub fn vp8(seconds: u32, size: &str) -> Vec<Vec<u8>> {
    let codec = "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 200k -g 25 -f ivf";
    let file = encode(&test_picture(seconds, size), &codec.split_whitespace().collect::<Vec<_>>());
    // A header of 32 bytes; before each frame its length in four bytes, and eight of time.
    let (mut frames, mut rest) = (Vec::new(), &file[32..]);
    while rest.len() > 12 {
        let end = 12 + u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        frames.push(rest[12..end].to_vec());
        rest = &rest[end..];
    }
    frames
}

/// Packets of 20 ms.
pub fn opus(seconds: u32) -> Vec<Vec<u8>> {
    opus_of(&format!("sine=440:duration={seconds}:sample_rate=48000"))
}

/// Packets of 20 ms of a source of ffmpeg's.
pub fn opus_of(source: &str) -> Vec<Vec<u8>> {
    let file = encode(source, &["-c:a", "libopus", "-b:a", "32k", "-f", "ogg"]);
    // RFC 3533: 26 bytes, a number of segments, their lengths, and the segments.
    let (mut packets, mut packet, mut rest) = (Vec::new(), Vec::new(), file.as_slice());
    while rest.len() > 27 {
        assert_eq!(&rest[..4], b"OggS");
        let (lengths, mut data) = rest[27..].split_at(rest[26].into());
        for length in lengths {
            let (part, after) = data.split_at((*length).into());
            packet.extend_from_slice(part);
            data = after;
            if *length < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        rest = data;
    }
    // Two headers come first.
    packets.split_off(2)
}

/// Payloads of RFC 3640 of 1024 samples each, 48 kHz, one channel.
pub fn aac(seconds: u32) -> Vec<Vec<u8>> {
    let source = format!("sine=440:duration={seconds}:sample_rate=48000");
    let file = encode(&source, &["-c:a", "aac", "-b:a", "48k", "-f", "adts"]);
    let (mut payloads, mut rest) = (Vec::new(), file.as_slice());
    while rest.len() > 7 {
        let bytes = usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
        let (frame, after) = rest.split_at(bytes);
        let frame = &frame[7..];
        let header = (frame.len() as u16) << 3;
        payloads.push([&[0, 16], header.to_be_bytes().as_slice(), frame].concat());
        rest = after;
    }
    payloads
}

/// 20 ms of μ-law each.
pub fn pcmu(seconds: u32) -> Vec<Vec<u8>> {
    let source = format!("sine=440:duration={seconds}:sample_rate=8000");
    encode(&source, &["-c:a", "pcm_mulaw", "-f", "mulaw"]).chunks(160).map(<[u8]>::to_vec).collect()
}

/// 20 ms of 16 kHz stereo each.
pub fn l16(seconds: u32) -> Vec<Vec<u8>> {
    let source = format!("sine=440:duration={seconds}:sample_rate=16000");
    encode(&source, &["-c:a", "pcm_s16be", "-ac", "2", "-f", "s16be"])
        .chunks(1280)
        .map(<[u8]>::to_vec)
        .collect()
}

/// As [`h264`], with two B pictures between others, and when each is shown, in ticks of 90 kHz.
pub fn h264_with_b(folder: &Path, seconds: u32) -> Vec<(Vec<u8>, u32)> {
    let file = folder.join("b.mp4");
    let path = file.to_str().expect("a path");
    let codec =
        "-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -x264-params b-adapt=0:scenecut=0";
    let codec: Vec<&str> = codec.split_whitespace().collect();
    let source = test_picture(seconds, "160x96");
    run("ffmpeg", &[&["-f", "lavfi", "-i", source.as_str()][..], &codec, &[path]].concat());
    let filter = "h264_mp4toannexb,h264_metadata=aud=insert";
    let stream = run("ffmpeg", &["-i", path, "-c", "copy", "-bsf:v", filter, "-f", "h264", "-"]);
    let shown = Probe::of(&file).times(0);
    let units = split_units(&stream, &[0, 0, 0, 1, 9]);
    assert_eq!(units.len(), shown.len());
    units.into_iter().zip(shown.iter().map(|seconds| (seconds * 90_000.0).round() as u32)).collect()
}

fn split_units(stream: &[u8], mark: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..stream.len()).filter(|at| stream[*at..].starts_with(mark)).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts.iter().zip(ends).map(|(start, end)| stream[*start..end].to_vec()).collect()
}

pub fn track(codec: Codec, sender: u32) -> TrackConfig {
    TrackConfig { name: format!("{codec:?}"), codec, payload_type: 96, sender, parameter_sets: Vec::new() }
}

/// A sender of one track.
#[derive(Clone)]
pub struct Source {
    pub track: usize,
    pub ssrc: u32,
    pub sequence: u16,
    /// Of the first unit.
    pub timestamp: u32,
    pub hz: u32,
    /// What a unit lasts.
    pub ticks: u32,
    /// When the first unit was taken, and how long packets are under way.
    pub begin_ms: u64,
    pub delay_ms: u64,
    /// None: one packet is one unit.
    pub format: Option<PayloadFormat>,
}

impl Source {
    pub fn pictures(track: usize, format: PayloadFormat) -> Source {
        let (timestamp, ticks) = (u32::MAX - 100_000, 3600);
        Source { format: Some(format), hz: 90_000, ticks, timestamp, ..Source::sound(track, 90_000, 0) }
    }

    pub fn sound(track: usize, hz: u32, ticks: u32) -> Source {
        Source {
            track,
            ssrc: 100 + track as u32,
            sequence: 65_500,
            timestamp: 7_000_000,
            hz,
            ticks,
            begin_ms: 10_000,
            delay_ms: 0,
            format: None,
        }
    }

    /// Packets of units, with when they come.
    pub fn send(&mut self, units: &[Vec<u8>]) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (index, unit) in units.iter().enumerate() {
            let ticks = index as u64 * u64::from(self.ticks);
            let at = Time::from_millis(self.begin_ms + self.delay_ms + ticks * 1000 / u64::from(self.hz));
            let timestamp = self.timestamp.wrapping_add(ticks as u32);
            for (payload, marker) in payloads(self.format, unit) {
                let packet = RtpBuilder::new(self.ssrc)
                    .payload_type(96)
                    .marker(marker)
                    .sequence(WireSeq(self.sequence))
                    .timestamp(WireTimestamp(timestamp))
                    .payload(&payload)
                    .to_vec();
                self.sequence = self.sequence.wrapping_add(1);
                sent.push(Sent { at, track: self.track, what: What::Packet(packet) });
            }
        }
        sent
    }

    /// A report of a moment after the beginning, with when it comes; `clock_ms` is the sender's own at the beginning.
    pub fn report(&self, after_ms: u64, clock_ms: u64) -> Sent {
        let info = SenderInfo {
            ntp: Ntp::from_unix(Duration::from_millis(clock_ms + after_ms)),
            rtp_timestamp: WireTimestamp(
                self.timestamp.wrapping_add((after_ms * u64::from(self.hz) / 1000) as u32),
            ),
            ..SenderInfo::default()
        };
        let at = Time::from_millis(self.begin_ms + self.delay_ms + after_ms);
        Sent { at, track: self.track, what: What::Report(self.ssrc, info) }
    }
}

fn payloads(format: Option<PayloadFormat>, unit: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let packetizer = match format {
        None => return vec![(unit.to_vec(), false)],
        Some(PayloadFormat::H264) => Packetizer::h264(unit, H264Mode::NonInterleaved, PAYLOAD_BYTES),
        Some(PayloadFormat::H265) => Packetizer::h265(unit, PAYLOAD_BYTES),
        Some(PayloadFormat::Vp8) => Packetizer::vp8(unit, 0, PAYLOAD_BYTES),
    };
    let mut packetizer = packetizer.expect("ffmpeg's units can be sent");
    let mut room = [0; PAYLOAD_BYTES];
    let next =
        || packetizer.next_payload(&mut room).map(|payload| (room[..payload.bytes].to_vec(), payload.marker));
    std::iter::from_fn(next).collect()
}

#[derive(Clone)]
pub struct Sent {
    pub at: Time,
    pub track: usize,
    pub what: What,
}

#[derive(Clone)]
pub enum What {
    Packet(Vec<u8>),
    Report(u32, SenderInfo),
    Pause,
    Resume,
    Cut,
}

/// A file that was recorded.
pub struct Made {
    pub bytes: Vec<u8>,
    /// When each append came, and where it ends.
    pub appends: Vec<(Time, usize)>,
    pub summary: Option<SegmentSummary>,
}

impl Made {
    /// Writes it where ffprobe can read it.
    pub fn save(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, &self.bytes).expect("written");
        path
    }
}

/// Runs a recording through what is sent, in virtual time, to its end. How often key frames were asked for is the
/// second part.
pub fn record(recording: &mut Recording, mut sent: Vec<Sent>) -> (Vec<Made>, u32) {
    sent.sort_by_key(|sent| sent.at);
    let (mut made, mut asked, mut now) = (Vec::new(), 0, Time::ZERO);
    for Sent { at, track, what } in sent {
        while let Some(due) = recording.poll_timeout().filter(|due| *due <= at) {
            now = due.max(now);
            recording.handle_timeout(now);
            collect(recording, now, &mut made, &mut asked);
        }
        now = at;
        match what {
            What::Packet(bytes) => recording.handle_packet(now, track, &bytes),
            What::Report(ssrc, info) => recording.handle_sender_report(now, track, ssrc, &info),
            What::Pause => recording.pause(now),
            What::Resume => recording.resume(now),
            What::Cut => recording.cut(now),
        }
        collect(recording, now, &mut made, &mut asked);
    }
    recording.stop(now);
    collect(recording, now, &mut made, &mut asked);
    assert!(made.iter().all(|file| file.summary.is_some()), "all that has begun has ended");
    (made, asked)
}

fn collect(recording: &mut Recording, now: Time, made: &mut Vec<Made>, asked: &mut u32) {
    while let Some(output) = recording.poll_output() {
        match output {
            Output::Begin { segment } => {
                assert_eq!(segment as usize, made.len() + 1);
                made.push(Made { bytes: Vec::new(), appends: Vec::new(), summary: None });
            }
            Output::Append { segment, bytes } => {
                let file = &mut made[segment as usize - 1];
                file.bytes.extend_from_slice(&bytes);
                file.appends.push((now, file.bytes.len()));
            }
            Output::End(summary) => {
                let file = &mut made[summary.segment as usize - 1];
                assert_eq!(summary.bytes, file.bytes.len() as u64);
                assert_eq!(summary.fragments as usize, file.appends.len() - 1);
                file.summary = Some(summary);
            }
            Output::KeyFrameWanted { .. } => *asked += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// A packet that ffprobe finds.
#[derive(Clone, Debug)]
pub struct Probed {
    pub stream: usize,
    /// In seconds.
    pub pts: f64,
    pub duration: f64,
    pub key: bool,
}

/// What ffprobe finds in a file: the codec and size of each stream, and packets.
pub struct Probe {
    pub codecs: Vec<String>,
    pub sizes: Vec<(u64, u64)>,
    pub packets: Vec<Probed>,
}

impl Probe {
    pub fn of(path: &Path) -> Probe {
        let path = path.to_str().expect("a path");
        let json = run("ffprobe", &["-show_streams", "-show_packets", "-of", "json", path]);
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let list = |name: &str| json[name].as_array().cloned().unwrap_or_default();
        let number = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok());
        let packet = |packet: &serde_json::Value| Probed {
            stream: packet["stream_index"].as_u64().expect("an index") as usize,
            pts: number(&packet["pts_time"]).expect("a time"),
            duration: number(&packet["duration_time"]).unwrap_or(0.0),
            key: packet["flags"].as_str().is_some_and(|flags| flags.starts_with('K')),
        };
        let side = |stream: &serde_json::Value, name: &str| stream[name].as_u64().unwrap_or(0);
        Probe {
            codecs: list("streams")
                .iter()
                .map(|s| s["codec_name"].as_str().unwrap_or("?").to_owned())
                .collect(),
            sizes: list("streams").iter().map(|s| (side(s, "width"), side(s, "height"))).collect(),
            packets: list("packets").iter().map(packet).collect(),
        }
    }

    /// Times of one stream's packets, in the order of the file.
    pub fn times(&self, stream: usize) -> Vec<f64> {
        self.packets.iter().filter(|packet| packet.stream == stream).map(|packet| packet.pts).collect()
    }

    /// Where a stream ends, in seconds. Where ffprobe does not say how long packets last, the last one is as long as the
    /// one before it.
    pub fn end(&self, stream: usize) -> f64 {
        let times = self.times(stream);
        let [.., before, last] = times[..] else { return 0.0 };
        let final_packet = self.packets.iter().rfind(|packet| packet.stream == stream);
        let said = final_packet.map_or(0.0, |packet| packet.duration);
        last + if said > 0.0 { said } else { last - before }
    }
}

/// Decodes all of a file. Panics when the decoder says anything.
pub fn decode(path: &Path) {
    run("ffmpeg", &["-xerror", "-i", path.to_str().expect("a path"), "-f", "null", "-"]);
}
