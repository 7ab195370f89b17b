//! rtpengine, told by its ng protocol (bencode over UDP): publish and subscribe from one to many, offer and
//! answer for calls.

use crate::bencode::{Value, dictionary};
use crate::process::Pinned;
use crate::relay::{Room, Row, Subject, Task, Work};
use anyhow::{Context, bail};
use std::net::{IpAddr, SocketAddr, UdpSocket};
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
    /// Calls of this turn.
    calls: Vec<String>,
    /// Calls of all turns.
    calls_made: u64,
}

/// Ports for media: four for each call.
const PORTS: (u16, u16) = (10_000, 59_999);
/// More sinks are beyond what it is meant for.
const SINKS_MAX: u16 = 1_000;

impl Rtpengine {
    /// Where it is installed, if it is.
    pub fn installed() -> Option<String> {
        let output = Command::new("rtpengine").arg("--version").output().ok()?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Some(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Starts it on `core`, with all ports of `ip` for itself.
    pub fn start(ip: IpAddr, core: usize) -> anyhow::Result<Rtpengine> {
        let listen = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("rtpengine");
        // It complains about bursts line by line; what came of them is counted at the sinks.
        command.stderr(Stdio::null());
        let pid_file = PidFile(std::env::temp_dir().join(format!("rtpengine-{}.pid", listen.port())));
        command
            .args(["--table=-1", "--foreground", "--num-threads=1", "--log-level=4"])
            .arg(format!("--interface={ip}"))
            .arg(format!("--listen-ng={listen}"))
            .arg(format!("--port-min={}", PORTS.0))
            .arg(format!("--port-max={}", PORTS.1))
            .arg(format!("--pidfile={}", pid_file.0.display()));
        let process = Pinned::start(command, core)?;
        let control = UdpSocket::bind("127.0.0.1:0")?;
        control.connect(listen)?;
        control.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut started =
            Rtpengine { process, _pid_file: pid_file, control, cookie: 0, calls: Vec::new(), calls_made: 0 };
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

    fn publish(&mut self, call: &str, source: SocketAddr) -> anyhow::Result<SocketAddr> {
        let answer = self.command(dictionary([
            ("command", "publish".into()),
            ("call-id", call.into()),
            ("from-tag", "publisher".into()),
            ("sdp", sdp(source, "sendonly").as_str().into()),
        ]))?;
        media_address(&answer)
    }

    fn subscribe(&mut self, call: &str, index: usize, sink: SocketAddr) -> anyhow::Result<()> {
        let answer = self.command(dictionary([
            ("command", "subscribe request".into()),
            ("call-id", call.into()),
            ("from-tags", Value::List(vec!["publisher".into()])),
            ("set-label", format!("sink{index}").as_str().into()),
        ]))?;
        let tag = answer.text("to-tag").context("rtpengine gave the subscription no tag")?.to_owned();
        self.command(dictionary([
            ("command", "subscribe answer".into()),
            ("call-id", call.into()),
            ("to-tag", tag.as_str().into()),
            ("sdp", sdp(sink, "recvonly").as_str().into()),
        ]))?;
        Ok(())
    }

    /// One publisher, the others subscribe.
    fn fan_out(&mut self, call: &str, room: &Room) -> anyhow::Result<Vec<SocketAddr>> {
        let (_, publisher) = room.senders().next().context("nobody publishes")?;
        let address = self.publish(call, publisher.remote)?;
        for (index, leg) in room.legs.iter().enumerate().filter(|(_, leg)| leg.receives) {
            self.subscribe(call, index, leg.remote)?;
        }
        Ok(vec![address])
    }

    /// A call between two.
    fn call(&mut self, call: &str, room: &Room) -> anyhow::Result<Vec<SocketAddr>> {
        let [caller, callee] = room.legs[..] else { bail!("a call has two sides") };
        let offered = self.command(dictionary([
            ("command", "offer".into()),
            ("call-id", call.into()),
            ("from-tag", "caller".into()),
            ("sdp", sdp(caller.remote, "sendrecv").as_str().into()),
        ]))?;
        let answered = self.command(dictionary([
            ("command", "answer".into()),
            ("call-id", call.into()),
            ("from-tag", "caller".into()),
            ("to-tag", "callee".into()),
            ("sdp", sdp(callee.remote, "sendrecv").as_str().into()),
        ]))?;
        // The offer as rewritten is for the callee, the answer for the caller.
        Ok(vec![media_address(&answered)?, media_address(&offered)?])
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

    fn takes_part(&self, row: &Row) -> bool {
        match row.work {
            Work::FanOut(sinks) => sinks <= SINKS_MAX,
            Work::Calls(_) => true,
            Work::Rooms(_) | Work::SharedPort(_) => false,
        }
    }

    fn prepare(&mut self, task: &Task<'_>) -> anyhow::Result<Vec<SocketAddr>> {
        let mut targets = Vec::new();
        for room in task.rooms {
            self.calls_made += 1;
            let call = format!("bench-{}-{}", std::process::id(), self.calls_made);
            targets.extend(match task.row.work {
                Work::Calls(_) => self.call(&call, room)?,
                _ => self.fan_out(&call, room)?,
            });
            self.calls.push(call);
        }
        Ok(targets)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        for call in std::mem::take(&mut self.calls) {
            self.command(dictionary([
                ("command", "delete".into()),
                ("call-id", call.as_str().into()),
                ("delete-delay", Value::Integer(0)),
            ]))?;
        }
        self.process.check_running()
    }
}

/// Where the other side is to send, from the SDP of an answer.
fn media_address(answer: &Value) -> anyhow::Result<SocketAddr> {
    let sdp = answer.text("sdp").context("rtpengine gave no SDP")?;
    let line = |prefix| sdp.lines().find_map(|line: &str| line.strip_prefix(prefix));
    let port = line("m=audio ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let ip = line("c=IN IP4 ").and_then(|rest| rest.trim().parse().ok());
    let ip: IpAddr = ip.context("rtpengine's SDP has no address")?;
    Ok(SocketAddr::new(ip, port.context("rtpengine's SDP has no port")?))
}

fn sdp(address: SocketAddr, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na={direction}\r\n",
        ip = address.ip(),
        port = address.port(),
    )
}
