//! Recording: what it takes on top of carrying the same conferences, and what is left after SIGKILL.
//!
//! A real `motet node` on one core carries conferences, each with one participant who sends H.264 of 2 Mbit/s and Opus.
//! It does so without recordings and with all recorded; the difference in time on the processor, of all its threads and
//! of those that the kernel works with for it, is what recording takes.

use crate::node::Node;
use crate::process::{pin, processor_ns};
use crate::relay::Subject;
use crate::video::{ffmpeg, motet::payloads};
use crate::{Figure, table};
use anyhow::{Context, ensure};
use motet_proto::media::{Codec, Direction, MediaKind, Recording};
use motet_proto::node::{ConferenceAllocation, ConferenceSpec, Leg, Medium, Transport};
use motet_rtp::{RtpBuilder, WireSeq, WireTimestamp};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// Conferences, and bits a second of each one's pictures.
const CONFERENCES: usize = 50;
const VIDEO_BPS: u32 = 2_000_000;
/// Bytes of a packet of Opus: 32 kbit/s.
const SOUND_BYTES: usize = 80;
/// Before it is measured: key frames have come, files have begun.
const WARM_UP: Duration = Duration::from_secs(3);
/// Pictures a second.
const RATE: u32 = 30;
/// Share of a core that recording may take.
const SHARE_GOAL: f64 = 0.05;
/// Seconds that may be lost when the process is killed.
const LOSS_GOAL_S: f64 = 1.0;

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The program `motet`.
    pub binary: &'a Path,
    /// Core of the node, and of what sends to it.
    pub cores: (usize, usize),
    /// Seconds of each turn.
    pub seconds: u32,
}

/// Measures both rows.
///
/// # Errors
/// When the node or ffmpeg fails.
pub fn measure(settings: &Settings<'_>, folder: &Path) -> anyhow::Result<(String, Vec<Figure>)> {
    let units = ffmpeg::encode_at(folder, "640x360", RATE, 4, VIDEO_BPS)?;
    let stream = Stream::new(&units)?;
    let recordings = folder.join("recordings");
    std::fs::create_dir_all(&recordings)?;
    let options = ["--recordings", recordings.to_str().context("a path that is text")?];
    let start = || {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Node::start_with("recording", "auto", settings.binary, ip, settings.cores.0, &options)
    };
    let mut node = start()?;
    let plain = turn(&mut node, settings, &stream, CONFERENCES, false)?;
    let recorded = turn(&mut node, settings, &stream, CONFERENCES, true)?;
    drop(node);
    let lost_s = killed(&mut start()?, settings, &stream, &recordings)?;

    let share = (recorded.share - plain.share).max(0.0);
    let row = format!("record {CONFERENCES} conferences of 2 Mbit/s as received");
    let figure =
        |row: &str, metric, value, unit, goal| Figure { row: row.to_owned(), metric, value, unit, goal };
    let killed_row = "kill -9 while recording";
    let figures = vec![
        figure(&row, "share_of_a_core", share, "ratio", Some(SHARE_GOAL)),
        figure(&row, "lost", recorded.lost as f64, "packets", Some(0.0)),
        figure(killed_row, "lost", lost_s, "s", Some(LOSS_GOAL_S)),
    ];
    let line = |what: String, found: String, goal: String| vec![what, found, goal];
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let lines = [
        line(format!("{row}: of a core"), percent(share), percent(SHARE_GOAL)),
        line(
            format!("the same, carried and recorded, {} packets", recorded.packets),
            percent(recorded.share),
            "-".into(),
        ),
        line("the same, carried only".into(), percent(plain.share), "-".into()),
        line(format!("packets not in the files{}", recorded.why()), recorded.lost.to_string(), "0".into()),
        line(format!("{killed_row}: seconds lost"), format!("{lost_s:.2}"), format!("{LOSS_GOAL_S}")),
    ];
    Ok((table::render(&["recording", "found", "goal"], &lines), figures))
}

/// What a turn gave.
struct Turn {
    /// Of a core.
    share: f64,
    packets: u64,
    /// Sent, and not in files.
    lost: u64,
    /// Why, as far as the node counted it, and how often.
    reasons: BTreeMap<String, u64>,
}

impl Turn {
    /// Reasons for a loss, to be read after what it is.
    fn why(&self) -> String {
        self.reasons.iter().map(|(reason, count)| format!(", {count} {reason}")).collect()
    }
}

fn turn(
    node: &mut Node,
    settings: &Settings<'_>,
    stream: &Stream,
    conferences: usize,
    records: bool,
) -> anyhow::Result<Turn> {
    let before = counted(node)?;
    let specs = (0..conferences).map(|index| conference(index, records)).collect();
    let mut senders = Senders::new(&node.put(specs)?)?;
    pin(settings.cores.1)?;
    let mut sent = senders.play(stream, WARM_UP)?;
    let (cpu_ns, begun) = (processor_ns(node.pid())?, Instant::now());
    sent += senders.play(stream, Duration::from_secs(settings.seconds.into()))?;
    let share = (processor_ns(node.pid())? - cpu_ns) as f64 / begun.elapsed().as_nanos() as f64;
    pin(settings.cores.0)?;
    // What is sent last may still be on its way to the recorder, which comes every 10 ms.
    std::thread::sleep(Duration::from_secs(2));
    let after = counted(node)?;
    let written = after.packets - before.packets;
    let unwritten = after.unwritten - before.unwritten;
    let lost = if records { sent.saturating_sub(written) + unwritten } else { 0 };
    let mut reasons = after.drops;
    for (reason, count) in &mut reasons {
        *count -= before.drops.get(reason).copied().unwrap_or(0);
    }
    reasons.retain(|_, count| *count > 0);
    node.end()?;
    Ok(Turn { share, packets: sent, lost, reasons })
}

/// What the node's metrics say.
struct Counted {
    /// That reached the recorder.
    packets: u64,
    /// Of them, those that it did not write.
    unwritten: u64,
    /// By reason: of the relay, on the way, and of the recorder.
    drops: BTreeMap<String, u64>,
}

fn counted(node: &Node) -> anyhow::Result<Counted> {
    let page = node.metrics()?;
    let mut counted = Counted { packets: 0, unwritten: 0, drops: BTreeMap::new() };
    for line in page.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let value = value.parse::<f64>().unwrap_or(0.0) as u64;
        let (metric, labels) = name.split_once('{').unwrap_or((name, ""));
        let reason = labels.split_once("reason=\"").and_then(|(_, rest)| rest.split('"').next());
        match (metric, reason) {
            ("motet_recording_packets_total", _) => counted.packets += value,
            ("motet_dropped_packets_total" | "motet_recording_dropped_packets_total", Some(reason)) => {
                let came = metric.contains("recording") && !reason.starts_with("trunk_");
                counted.unwritten += if came { value } else { 0 };
                *counted.drops.entry(reason.to_owned()).or_default() += value;
            }
            _ => {}
        }
    }
    Ok(counted)
}

/// Kills a node that records; the seconds of what was sent that its file lacks.
fn killed(
    node: &mut Node,
    settings: &Settings<'_>,
    stream: &Stream,
    recordings: &Path,
) -> anyhow::Result<f64> {
    let spec = ConferenceSpec { id: "killed".to_owned(), ..conference(0, true) };
    let mut senders = Senders::new(&node.put(vec![spec])?)?;
    pin(settings.cores.1)?;
    let seconds = Duration::from_millis(6_300);
    senders.play(stream, seconds)?;
    let pid = Pid::from_raw(node.pid() as i32).context("a process")?;
    kill_process(pid, Signal::KILL).context("cannot kill the node")?;
    pin(settings.cores.0)?;
    let file = recordings.join("killed+all/sender-00001.part.mp4");
    let recorded = ffmpeg::last_time(&file)?;
    ensure!(recorded > 0.0, "{} does not play", file.display());
    Ok((seconds.as_secs_f64() - recorded).max(0.0))
}

fn conference(index: usize, records: bool) -> ConferenceSpec {
    let codec = |name: &str, clock_rate_hz, channels| Codec {
        payload_type: 96,
        name: name.to_owned(),
        clock_rate_hz,
        channels,
        ..Codec::default()
    };
    let medium = |id: &str, kind: MediaKind, codec| Medium {
        id: id.to_owned(),
        kind: kind.into(),
        direction: Direction::SendOnly.into(),
        transport: id.to_owned(),
        codecs: vec![codec],
        ..Medium::default()
    };
    let transport = |id: &str| Transport { id: id.to_owned(), rtcp_mux: true, ..Transport::default() };
    let leg = Leg {
        id: "sender".to_owned(),
        transports: vec![transport("audio"), transport("video")],
        media: vec![
            medium("audio", MediaKind::Audio, codec("opus", 48_000, 2)),
            medium("video", MediaKind::Video, codec("H264", 90_000, 1)),
        ],
        ..Leg::default()
    };
    let all = Recording { id: "all".to_owned(), participants: true, ..Recording::default() };
    let recordings = if records { vec![all] } else { Vec::new() };
    ConferenceSpec { id: format!("bench{index}"), legs: vec![leg], recordings, ..ConferenceSpec::default() }
}

/// Payloads of each picture, to be sent again and again.
struct Stream {
    pictures: Vec<Vec<(Vec<u8>, bool)>>,
}

impl Stream {
    fn new(units: &[Vec<u8>]) -> anyhow::Result<Stream> {
        let pictures = units.iter().map(|unit| payloads(unit)).collect::<anyhow::Result<_>>()?;
        Ok(Stream { pictures })
    }
}

/// One for each conference.
struct Senders {
    all: Vec<Sender>,
    /// Milliseconds that were played.
    played_ms: u64,
}

struct Sender {
    /// Sound and pictures.
    sockets: [UdpSocket; 2],
    sequences: [u16; 2],
    pictures: u64,
}

impl Senders {
    fn new(allocations: &[ConferenceAllocation]) -> anyhow::Result<Senders> {
        let mut all = Vec::new();
        for allocation in allocations {
            let transports = &allocation.legs.first().context("a leg")?.transports;
            let connect = |name: &str| -> anyhow::Result<UdpSocket> {
                let to = transports.iter().find(|known| known.transport == name).context("a port")?;
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(to.local.parse::<SocketAddr>()?)?;
                Ok(socket)
            };
            let sockets = [connect("audio")?, connect("video")?];
            all.push(Sender { sockets, sequences: [0; 2], pictures: 0 });
        }
        Ok(Senders { all, played_ms: 0 })
    }

    /// Sends for so long, in time; the number of packets.
    fn play(&mut self, stream: &Stream, time: Duration) -> anyhow::Result<u64> {
        let (begun, from_ms, mut sent) = (Instant::now(), self.played_ms, 0);
        let count = self.all.len() as u64;
        while self.played_ms - from_ms < time.as_millis() as u64 {
            for (index, sender) in self.all.iter_mut().enumerate() {
                // Not all at once.
                let at_ms = self.played_ms + index as u64 * 33 / count.max(1);
                sent += sender.send(stream, at_ms)?;
            }
            self.played_ms += 1;
            let due = begun + Duration::from_millis(self.played_ms - from_ms);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(sent)
    }
}

impl Sender {
    /// Sends what is due at a millisecond.
    fn send(&mut self, stream: &Stream, at_ms: u64) -> anyhow::Result<u64> {
        let mut sent = 0;
        if at_ms.is_multiple_of(20) {
            self.packet(0, at_ms * 48, &[0x78; SOUND_BYTES], false)?;
            sent += 1;
        }
        if at_ms * u64::from(RATE) / 1_000 >= self.pictures {
            let picture = &stream.pictures[self.pictures as usize % stream.pictures.len()];
            let timestamp = self.pictures * 90_000 / u64::from(RATE);
            for (payload, marker) in picture {
                self.packet(1, timestamp, payload, *marker)?;
                sent += 1;
            }
            self.pictures += 1;
        }
        Ok(sent)
    }

    fn packet(&mut self, medium: usize, timestamp: u64, payload: &[u8], marker: bool) -> anyhow::Result<()> {
        let packet = RtpBuilder::new(100 + medium as u32)
            .payload_type(96)
            .marker(marker)
            .sequence(WireSeq(self.sequences[medium]))
            .timestamp(WireTimestamp(timestamp as u32))
            .payload(payload)
            .to_vec();
        self.sequences[medium] = self.sequences[medium].wrapping_add(1);
        self.sockets[medium].send(&packet)?;
        Ok(())
    }
}
