//! rtpengine as a relay from one to many: its ng protocol (bencode over UDP), publish and subscribe.

use crate::bencode::{Value, dictionary};
use crate::process::Pinned;
use crate::relay::{Row, Sinks, Subject};
use anyhow::{Context, bail};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long rtpengine may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Removed when dropped: rtpengine leaves it behind.
#[derive(Debug)]
struct PidFile(PathBuf);

impl Drop for PidFile {
    fn drop(&mut self) {
        // It may not have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running rtpengine: one thread, in user space.
#[derive(Debug)]
pub struct Rtpengine {
    process: Pinned,
    _pid_file: PidFile,
    control: UdpSocket,
    cookie: u64,
    call: String,
    calls: u64,
}

impl Rtpengine {
    /// Where it is installed, if it is.
    pub fn installed() -> Option<String> {
        let output = Command::new("rtpengine").arg("--version").output().ok()?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Some(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Starts it on `core` with media ports `port_min` to `port_max`.
    pub fn start(port_min: u16, port_max: u16, core: usize) -> anyhow::Result<Rtpengine> {
        let listen = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("rtpengine");
        // It complains about bursts line by line; what came of them is counted at the sinks.
        command.stderr(Stdio::null());
        let pid_file = PidFile(std::env::temp_dir().join(format!("rtpengine-{}.pid", listen.port())));
        command
            .args(["--interface=127.0.0.1", "--table=-1", "--foreground", "--num-threads=1", "--log-level=4"])
            .arg(format!("--listen-ng={listen}"))
            .arg(format!("--port-min={port_min}"))
            .arg(format!("--port-max={port_max}"))
            .arg(format!("--pidfile={}", pid_file.0.display()));
        let process = Pinned::start(command, core)?;
        let control = UdpSocket::bind("127.0.0.1:0")?;
        control.connect(listen)?;
        control.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut started =
            Rtpengine { process, _pid_file: pid_file, control, cookie: 0, call: String::new(), calls: 0 };
        let deadline = Instant::now() + START_MAX;
        while started.command(dictionary([("command", "ping".into())])).is_err() {
            started.process.check_running().context("rtpengine did not start")?;
            if Instant::now() > deadline {
                bail!("rtpengine does not answer at {listen}");
            }
            // A refused connection is told at once.
            std::thread::sleep(Duration::from_millis(20));
        }
        started.control.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(started)
    }

    fn command(&mut self, command: Value) -> anyhow::Result<Value> {
        self.cookie += 1;
        let cookie = format!("{}_{}", std::process::id(), self.cookie);
        let mut request = format!("{cookie} ").into_bytes();
        command.write(&mut request);
        self.control.send(&request)?;
        let mut answer = vec![0; 65_536];
        loop {
            let len = self.control.recv(&mut answer).context("rtpengine does not answer")?;
            // An answer to an earlier, repeated request may still be on its way.
            let Some(rest) = answer[..len].strip_prefix(format!("{cookie} ").as_bytes()) else { continue };
            let value = Value::read(rest).context("rtpengine's answer is malformed")?;
            return match value.text("result") {
                Some("error") | None => bail!("rtpengine refused: {:?}", value.text("error-reason")),
                Some(_) => Ok(value),
            };
        }
    }

    fn publish(&mut self, source: SocketAddr) -> anyhow::Result<SocketAddr> {
        let answer = self.command(dictionary([
            ("command", "publish".into()),
            ("call-id", self.call.as_str().into()),
            ("from-tag", "publisher".into()),
            ("sdp", sdp(source, "sendonly").as_str().into()),
        ]))?;
        let sdp = answer.text("sdp").context("rtpengine gave no SDP")?;
        let media = sdp.lines().find_map(|line| line.strip_prefix("m=audio "));
        let port = media.and_then(|line| line.split(' ').next()?.parse().ok());
        Ok(SocketAddr::new(source.ip(), port.context("rtpengine's SDP has no port")?))
    }

    fn subscribe(&mut self, index: u16, sink: SocketAddr) -> anyhow::Result<()> {
        let answer = self.command(dictionary([
            ("command", "subscribe request".into()),
            ("call-id", self.call.as_str().into()),
            ("from-tags", Value::List(vec!["publisher".into()])),
            ("set-label", format!("sink{index}").as_str().into()),
        ]))?;
        let tag = answer.text("to-tag").context("rtpengine gave the subscription no tag")?.to_owned();
        self.command(dictionary([
            ("command", "subscribe answer".into()),
            ("call-id", self.call.as_str().into()),
            ("to-tag", tag.as_str().into()),
            ("sdp", sdp(sink, "recvonly").as_str().into()),
        ]))?;
        Ok(())
    }
}

impl Subject for Rtpengine {
    fn name(&self) -> &'static str {
        "rtpengine"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// It is told PCMU; to a relay the payload is opaque.
    fn payload_type(&self, _: &Row) -> u8 {
        0
    }

    fn prepare(&mut self, _: &Row, sinks: &Sinks) -> anyhow::Result<SocketAddr> {
        self.calls += 1;
        self.call = format!("bench-{}-{}", std::process::id(), self.calls);
        let address = self.publish(sinks.source)?;
        for index in 0..sinks.count {
            self.subscribe(index, sinks.address(index))?;
        }
        Ok(address)
    }

    fn finish_row(&mut self) -> anyhow::Result<()> {
        self.command(dictionary([
            ("command", "delete".into()),
            ("call-id", self.call.as_str().into()),
            ("from-tag", "publisher".into()),
            ("delete-delay", Value::Integer(0)),
        ]))?;
        self.process.check_running()
    }
}

fn sdp(address: SocketAddr, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na={direction}\r\n",
        ip = address.ip(),
        port = address.port(),
    )
}
