//! What `motet load` can be asked for.

use crate::audio::options::AudioOptions;
use crate::reach;
use crate::run::Wait;
use crate::sender::PACKET_BYTES_MIN;
use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use motet_net::IoChoice;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Options of `motet load`.
///
/// Raw mode (--send and --receive) loads any relay whose addresses are known; conference mode (--css)
/// creates conferences, joins participants, and checks that each gets exactly all others.
#[derive(Args, Clone, Debug)]
pub struct LoadOptions {
    /// Conference mode: control to create the conferences with, such as http://127.0.0.1:7400
    #[arg(long, value_name = "URL", conflicts_with = "send")]
    pub css: Option<String>,

    /// Seconds that connecting to control, and each of its answers, may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = reach::seconds, requires = "css")]
    pub timeout: Duration,

    /// Conferences to create
    #[arg(long, value_name = "N", default_value_t = 1, requires = "css")]
    pub conferences: u32,

    /// Participants of each conference
    #[arg(long, value_name = "N", default_value_t = 3, requires = "css")]
    pub participants: u32,

    /// What each participant sends and receives; with both, the options about packets are for the video
    #[arg(long, value_enum, default_value_t = Media::Both, requires = "css")]
    pub media: Media,

    /// Raw mode: where to send; stream number k goes to address k modulo their number
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',', required_unless_present = "css")]
    pub send: Vec<SocketAddr>,

    /// Source port towards the first address, plus --stride for each further one [default: any]
    #[arg(long, value_name = "PORT", conflicts_with = "symmetric")]
    pub send_from: Option<u16>,

    /// Send from the receivers' sockets (stream number k from receiver k modulo their number), and open
    /// the paths of those that send nothing
    #[arg(long)]
    pub symmetric: bool,

    /// Where the first receiver listens; conference mode takes free ports unless one is given
    #[arg(long, value_name = "IP:PORT", required_unless_present = "css")]
    pub receive: Option<SocketAddr>,

    /// Receivers, at consecutive ports --stride apart
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub receivers: u32,

    /// Distance of the receivers' ports
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub stride: u16,

    /// What each receiver should get: all, others (all but what is sent from its own socket), or a map
    /// from receivers to streams such as 0=1-3,5;1=0
    #[arg(long, value_name = "all|others|MAP", default_value = "all")]
    pub expect: Expect,

    /// Streams to send
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub streams: u32,

    /// audio: a packet of 172 bytes every 20 ms; video: 10 packets of 1200 bytes every 10 ms
    #[arg(long, value_enum, default_value_t = Profile::Audio)]
    pub profile: Profile,

    /// Bytes of a packet, RTP header included [default: by profile]
    #[arg(long, value_name = "BYTES")]
    pub packet_bytes: Option<usize>,

    /// Packets of a burst [default: by profile]
    #[arg(long, value_name = "N")]
    pub burst: Option<u32>,

    /// Milliseconds from burst to burst [default: by profile]
    #[arg(long, value_name = "MS", conflicts_with = "interval_us")]
    pub interval_ms: Option<u64>,

    /// Microseconds from burst to burst
    #[arg(long, value_name = "US")]
    pub interval_us: Option<u64>,

    /// RTP payload type; in conference mode the first of a few, so that rewriting is tested
    /// [default: 0 or 111 for audio, 96 for video]
    #[arg(long, value_name = "0-127", value_parser = clap::value_parser!(u8).range(0..=127))]
    pub payload_type: Option<u8>,

    /// RTP clock in Hz [default: 8000 or 48000 for audio, 90000 for video]
    #[arg(long, value_name = "HZ")]
    pub clock: Option<u32>,

    /// Packets to send ahead of each stream and not to account (raw mode), for relays that do not forward
    /// the first packets of a new source
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub preamble: u16,

    /// Seconds to send for
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub duration: f64,

    /// Milliseconds to wait for the last packets
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub drain_ms: u64,

    /// Percent of packets that may be lost, or wrongly routed, with exit code 0
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub max_loss: f64,

    /// How packets are carried
    #[arg(long, value_name = "auto|uring|mmsg", default_value = "auto", value_parser = io_choice)]
    pub io: IoChoice,

    /// 1 sends and receives in one thread; with 2 or more the first sends and the others receive (raw
    /// mode), or the participants are spread over all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,

    /// Cores to pin the threads to, in their order
    #[arg(long, value_name = "CORE,...", value_delimiter = ',')]
    pub core: Vec<usize>,

    /// Look for packets every so many microseconds instead of sleeping until they come; 0 never pauses.
    /// Costs a core, and spares the relay the waking
    #[arg(long, value_name = "US")]
    pub poll_us: Option<u64>,

    /// Write a progress line each second even when standard error is not a terminal
    #[arg(long)]
    pub progress: bool,

    /// Write the report as JSON, to a file or (without a value) to standard output instead of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub json: Option<PathBuf>,

    /// Real sound instead of stamped payloads
    #[command(flatten)]
    pub audio: AudioOptions,
}

/// The shape of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Single small packets.
    Audio,
    /// Bursts of large packets.
    Video,
}

/// What the participants of conference mode send and receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Media {
    /// Opus-like.
    Audio,
    /// H.264-like.
    Video,
    /// Both, each on its own port.
    Both,
}

/// Which streams should come to which receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Every stream to every receiver.
    All,
    /// Every stream to every receiver, except to the one that it was sent from.
    Others,
    /// Receiver and stream, for each pair.
    Map(BTreeSet<(u32, u32)>),
}

impl Expect {
    /// Whether a stream should come to a receiver; `receivers` is their number.
    pub fn includes(&self, receiver: u32, stream: u32, receivers: u32) -> bool {
        match self {
            Expect::All => true,
            Expect::Others => stream % receivers.max(1) != receiver,
            Expect::Map(pairs) => pairs.contains(&(receiver, stream)),
        }
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Expect::All),
            "others" => return Ok(Expect::Others),
            _ => {}
        }
        let mut pairs = BTreeSet::new();
        for entry in text.split(';').filter(|entry| !entry.is_empty()) {
            let (receiver, streams) =
                entry.split_once('=').ok_or(format!("{entry:?} is not RECEIVER=STREAMS"))?;
            let receiver = number(receiver)?;
            for range in streams.split(',').filter(|range| !range.is_empty()) {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                pairs.extend((number(first)?..=number(last)?).map(|stream| (receiver, stream)));
            }
        }
        Ok(Expect::Map(pairs))
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a number; write all, others or 0=1-3,5;1=0"))
}

/// Numbers of one stream after the defaults of its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a packet, RTP header included.
    pub packet_bytes: usize,
    /// Packets of a burst.
    pub burst: u32,
    /// From burst to burst.
    pub interval: Duration,
}

impl Shape {
    /// What the profile says.
    pub fn of(profile: Profile) -> Shape {
        let (packet_bytes, burst, millis) = match profile {
            Profile::Audio => (172, 1, 20),
            Profile::Video => (1200, 10, 10),
        };
        Shape { packet_bytes, burst, interval: Duration::from_millis(millis) }
    }
}

impl LoadOptions {
    /// What is set by hand about streams is about this profile: with audio and video, the video.
    pub fn is_set_for(&self, profile: Profile) -> bool {
        let both = self.css.is_some() && self.media == Media::Both;
        !(both && profile == Profile::Audio)
    }

    /// The shape of streams of a profile, with what was set by hand.
    pub fn shape(&self, profile: Profile) -> Shape {
        let default = Shape::of(profile);
        if !self.is_set_for(profile) {
            return default;
        }
        let interval =
            self.interval_us.map(Duration::from_micros).or(self.interval_ms.map(Duration::from_millis));
        Shape {
            packet_bytes: self.packet_bytes.unwrap_or(default.packet_bytes),
            burst: self.burst.unwrap_or(default.burst),
            interval: interval.unwrap_or(default.interval),
        }
    }

    /// How the threads wait.
    pub fn wait(&self) -> Wait {
        self.poll_us.map_or(Wait::Block, |micros| Wait::Poll(Duration::from_micros(micros)))
    }

    /// Address and port of the first receiver; port 0: any.
    pub fn receive_from(&self) -> SocketAddr {
        self.receive.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
    }

    /// Refuses what makes no sense, naming the option.
    pub fn check(&self) -> anyhow::Result<()> {
        let shapes = [self.shape(Profile::Audio), self.shape(Profile::Video)];
        for shape in shapes {
            let bytes = shape.packet_bytes;
            ensure!(bytes >= PACKET_BYTES_MIN, "--packet-bytes {bytes}: at least {PACKET_BYTES_MIN}");
            ensure!(bytes <= 65_507, "--packet-bytes {bytes}: a UDP datagram holds at most 65507");
            ensure!(shape.burst >= 1, "--burst: at least 1");
            ensure!(!shape.interval.is_zero(), "--interval: at least 1 microsecond");
        }
        ensure!(
            self.duration > 0.0 && self.duration <= 1e7,
            "--duration {}: more than 0 seconds",
            self.duration
        );
        ensure!((0.0..=100.0).contains(&self.max_loss), "--max-loss {}: 0 to 100", self.max_loss);
        ensure!(self.clock != Some(0), "--clock: at least 1");
        if self.css.is_some() {
            ensure!(self.conferences >= 1, "--conferences: at least 1");
            ensure!(self.participants >= 2, "--participants: at least 2, or there is nothing to receive");
            if self.audio.audio {
                self.audio.check(self.participants, self.duration)?;
            }
            return Ok(());
        }
        ensure!(self.streams >= 1, "--streams: at least 1");
        ensure!(self.receivers >= 1, "--receivers: at least 1");
        if !self.symmetric && self.expect == Expect::Others {
            bail!("--expect others: needs --symmetric, which gives each receiver streams of its own");
        }
        Ok(())
    }
}

fn io_choice(text: &str) -> Result<IoChoice, String> {
    match text {
        "auto" => Ok(IoChoice::Auto),
        "uring" => Ok(IoChoice::Uring),
        "mmsg" => Ok(IoChoice::Mmsg),
        _ => Err("must be auto, uring or mmsg".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: LoadOptions,
    }

    fn parse(words: &str) -> Result<LoadOptions, clap::Error> {
        Line::try_parse_from(format!("load {words}").split_whitespace()).map(|line| line.options)
    }

    #[test]
    fn maps_have_ranges_and_lists() {
        let map: Expect = "0=1-3,5;1=0".parse().expect("valid");
        assert_eq!(map, Expect::Map([(0, 1), (0, 2), (0, 3), (0, 5), (1, 0)].into()));
        assert!(map.includes(0, 2, 2) && !map.includes(1, 2, 2));
        assert!("0:1".parse::<Expect>().is_err());
        assert!("0=x".parse::<Expect>().is_err());
    }

    #[test]
    fn profiles_have_defaults_and_can_be_changed() {
        let raw = "--send 127.0.0.1:5004 --receive 127.0.0.1:6000";
        let options = parse(raw).expect("valid");
        assert_eq!(options.shape(options.profile), Shape::of(Profile::Audio));
        let options = parse(&format!("{raw} --profile video --burst 3 --interval-us 500")).expect("valid");
        let shape = options.shape(options.profile);
        assert_eq!((shape.burst, shape.packet_bytes, shape.interval.as_micros()), (3, 1200, 500));
    }

    #[test]
    fn with_audio_and_video_the_options_are_for_the_video() {
        let options = parse("--css http://127.0.0.1:7400 --burst 3").expect("valid");
        assert_eq!(options.shape(Profile::Audio), Shape::of(Profile::Audio));
        assert_eq!(options.shape(Profile::Video).burst, 3);
        let options = parse("--css http://127.0.0.1:7400 --media audio --burst 3").expect("valid");
        assert_eq!(options.shape(Profile::Audio).burst, 3);
    }

    #[test]
    fn modes_need_their_addresses() {
        assert!(parse("").is_err());
        assert!(parse("--send 127.0.0.1:5004").is_err());
        assert!(parse("--css http://127.0.0.1:7400").is_ok());
        assert!(parse("--css http://127.0.0.1:7400 --send 127.0.0.1:1").is_err());
    }

    #[test]
    fn options_about_sound_need_audio() {
        let css = "--css http://127.0.0.1:7400";
        assert!(parse(&format!("{css} --talkers 2")).is_err());
        let refused = |words: &str| {
            let options = parse(&format!("{css} --audio {words}")).expect("parses");
            options.check().map_err(|error| error.to_string())
        };
        assert_eq!(refused("--participants 8 --talkers 3 --codec opus,g722 --listeners 2"), Ok(()));
        for (words, name) in [
            ("--listeners 3", "--listeners"),
            ("--talkers 26", "--talkers"),
            ("--turn 1", "--turn"),
            ("--duration 2.5", "--duration"),
            ("--speech x.wav --codec pcmu", "--speech"),
            ("--loss 101", "--loss"),
            ("--jitter 201", "--jitter"),
        ] {
            let error = refused(words).expect_err(words);
            assert!(error.starts_with(name), "{error}");
        }
        assert!(parse(&format!("{css} --audio --codec mp3")).is_err());
    }

    #[test]
    fn nonsense_is_refused_with_the_options_name() {
        let raw = "--send 127.0.0.1:5004 --receive 127.0.0.1:6000";
        for (words, name) in [
            ("--packet-bytes 20", "--packet-bytes"),
            ("--burst 0", "--burst"),
            ("--duration 0", "--duration"),
            ("--max-loss 101", "--max-loss"),
            ("--expect others", "--expect"),
        ] {
            let options = parse(&format!("{raw} {words}")).expect("parses");
            let error = options.check().expect_err(words).to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
