//! mediasoup's worker with plain transports, told over its channel (version 3.12: JSON in frames).
//!
//! The worker is what carries packets; the Node.js and Rust libraries around it only write these requests.
//! `scripts/mediasoup.sh` builds it.

use crate::process::Pinned;
use crate::relay::{Leg, Row, Subject, Task, Work};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the built version calls itself.
pub const VERSION: &str = "3.12";
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Messages are not longer (worker/src/Channel/ChannelSocket.cpp).
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// More sinks are not asked of it.
const SINKS_MAX: u16 = 1_000;
/// The shell gives the worker its channels at the descriptors where it looks for them: 3 and 4, and 5 and 6
/// for a second one that is not used here.
const START: &str = r#"exec "$0" "$@" 3<&0 4<&0 5<&2 6<&2 0</dev/null 2>/dev/null"#;

/// A running worker.
#[derive(Debug)]
pub struct Mediasoup {
    process: Pinned,
    channel: UnixStream,
    /// Kept open, or the worker would end.
    _payload_channel: UnixStream,
    ip: IpAddr,
    requests: u32,
    routers: u32,
}

impl Mediasoup {
    /// Starts the worker on `core`, with all ports of `ip` for itself.
    pub fn start(binary: &Path, ip: IpAddr, core: usize) -> anyhow::Result<Mediasoup> {
        let (channel, theirs) = UnixStream::pair()?;
        let (payload_channel, payload_theirs) = UnixStream::pair()?;
        channel.set_read_timeout(Some(ANSWER_MAX))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", START])
            .arg(binary)
            .args(["--logLevel=none", "--rtcMinPort=10000", "--rtcMaxPort=59999"])
            .env("MEDIASOUP_VERSION", VERSION)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(OwnedFd::from(payload_theirs)));
        let process = Pinned::spawn(&mut command, core)?;
        let mut started =
            Mediasoup { process, channel, _payload_channel: payload_channel, ip, requests: 0, routers: 0 };
        started.request("worker.getResourceUsage", "undefined", &json!({}))?;
        Ok(started)
    }

    /// Sends a request and waits for its answer.
    fn request(&mut self, method: &str, handler: &str, data: &Value) -> anyhow::Result<Value> {
        self.requests += 1;
        let message = format!("{}:{method}:{handler}:{data}", self.requests);
        self.channel.write_all(&(message.len() as u32).to_ne_bytes())?;
        self.channel.write_all(message.as_bytes())?;
        loop {
            let message = self.receive().with_context(|| format!("{method}: mediasoup does not answer"))?;
            // Notifications and lines of the log come between answers.
            let Ok(answer) = serde_json::from_slice::<Value>(&message) else { continue };
            if answer["id"] != self.requests {
                continue;
            }
            if answer["accepted"] != true {
                bail!("mediasoup refused {method}: {}", answer["reason"]);
            }
            return Ok(answer["data"].clone());
        }
    }

    fn receive(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut len = [0; 4];
        self.channel.read_exact(&mut len)?;
        let len = u32::from_ne_bytes(len) as usize;
        if len > MESSAGE_BYTES_MAX {
            bail!("a message of {len} bytes");
        }
        let mut message = vec![0; len];
        self.channel.read_exact(&mut message)?;
        Ok(message)
    }

    fn router(&self) -> String {
        format!("router{}", self.routers)
    }

    /// A transport for a leg; gives the address to send to.
    fn transport(&mut self, id: &str, leg: &Leg) -> anyhow::Result<SocketAddr> {
        let create = json!({
            "transportId": id,
            "listenIp": { "ip": self.ip.to_string() },
            "rtcpMux": true,
            "comedia": false,
        });
        let made = self.request("router.createPlainTransport", &self.router(), &create)?;
        let remote = json!({ "ip": leg.remote.ip().to_string(), "port": leg.remote.port() });
        self.request("transport.connect", id, &remote)?;
        let port = made["tuple"]["localPort"].as_u64().context("mediasoup gave no port")?;
        Ok(SocketAddr::new(self.ip, u16::try_from(port)?))
    }

    fn produce(&mut self, transport: &str, stream: u32, ssrc: u32) -> anyhow::Result<()> {
        let data = json!({
            "producerId": producer(stream),
            "kind": "audio",
            "rtpParameters": parameters(ssrc),
            "rtpMapping": {
                "codecs": [{ "payloadType": 0, "mappedPayloadType": 0 }],
                "encodings": [{ "ssrc": ssrc, "mappedSsrc": mapped(stream) }],
            },
            "paused": false,
        });
        self.request("transport.produce", transport, &data).map(drop)
    }

    fn consume(&mut self, transport: &str, stream: u32) -> anyhow::Result<()> {
        let data = json!({
            "consumerId": format!("{transport}-{stream}"),
            "producerId": producer(stream),
            "kind": "audio",
            "rtpParameters": parameters(stream + 1),
            "type": "simple",
            "consumableRtpEncodings": [{ "ssrc": mapped(stream) }],
            "paused": false,
        });
        self.request("transport.consume", transport, &data).map(drop)
    }
}

fn producer(stream: u32) -> String {
    format!("producer{stream}")
}

/// The SSRC that a stream has within the worker.
fn mapped(stream: u32) -> u32 {
    0x4000_0000 + stream
}

/// It is told PCMU; to a relay the payload is opaque.
fn parameters(ssrc: u32) -> Value {
    json!({
        "mid": "0",
        "codecs": [{
            "mimeType": "audio/PCMU", "payloadType": 0, "clockRate": 8000, "channels": 1,
            "parameters": {}, "rtcpFeedback": [],
        }],
        "headerExtensions": [],
        "encodings": [{ "ssrc": ssrc }],
        "rtcp": { "cname": "bench", "reducedSize": true },
    })
}

impl Subject for Mediasoup {
    fn name(&self) -> &'static str {
        "mediasoup"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

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
        self.routers += 1;
        let router = json!({ "routerId": self.router() });
        self.request("worker.createRouter", "undefined", &router)?;
        let (mut targets, mut streams) = (Vec::new(), 0);
        for (number, room) in task.rooms.iter().enumerate() {
            let first_stream = streams;
            let name = |index: usize| format!("transport{number}-{index}");
            for (index, leg) in room.legs.iter().enumerate() {
                let address = self.transport(&name(index), leg)?;
                if leg.sends {
                    self.produce(&name(index), streams, task.first_ssrc.wrapping_add(streams))?;
                    targets.push(address);
                    streams += 1;
                }
            }
            for (index, _) in room.legs.iter().enumerate().filter(|(_, leg)| leg.receives) {
                for (stream, (sender, _)) in (first_stream..).zip(room.senders()) {
                    if sender != index {
                        self.consume(&name(index), stream)?;
                    }
                }
            }
        }
        Ok(targets)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let router = json!({ "routerId": self.router() });
        self.request("worker.closeRouter", "undefined", &router)?;
        self.process.check_running()
    }
}
