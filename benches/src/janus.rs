//! Janus's AudioBridge, told by its HTTP interface: rooms whose participants speak plain RTP.

use crate::audio::{Mixer, Room, Row};
use crate::process::Pinned;
use anyhow::{Context, bail};
use motet_rtpgen::audio::{LEVEL_EXTENSION_ID, LoadCodec};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long Janus may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// More participants than this are beyond what a core does.
const PARTICIPANTS_MAX: usize = 100;
/// Where it receives.
const RTP_IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/janus";

/// A running Janus with nothing but the AudioBridge and HTTP.
#[derive(Debug)]
pub struct Janus {
    process: Pinned,
    agent: ureq::Agent,
    /// Of the HTTP interface.
    base: String,
    _configuration: tempfile::TempDir,
    transactions: u64,
    /// The session of this turn.
    session: Option<u64>,
}

impl Janus {
    /// Its version, if it is installed.
    pub fn installed() -> Option<String> {
        let output = Command::new(PROGRAM).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("ersion")).or_else(|| text.lines().next());
        Some(line.unwrap_or_default().trim().to_owned())
    }

    /// Starts it on `core`. It takes an address that an interface has, so that it cannot have one of its own.
    pub fn start(core: usize) -> anyhow::Result<Janus> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = tempfile::tempdir()?;
        configure(configuration.path(), port)?;
        let mut command = Command::new(PROGRAM);
        command.arg("--configs-folder").arg(configuration.path());
        command.args(["--debug-level", "2", "--disable-colors"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Pinned::spawn(&mut command, core)?;
        let settings =
            ureq::Agent::config_builder().timeout_global(Some(ANSWER_MAX)).http_status_as_error(false);
        let base = format!("http://127.0.0.1:{port}/janus");
        let agent = settings.build().into();
        let mut started =
            Janus { process, agent, base, _configuration: configuration, transactions: 0, session: None };
        let deadline = Instant::now() + START_MAX;
        while started.agent.get(format!("{}/info", started.base)).call().is_err() {
            started.process.check_running().context("Janus did not start")?;
            if Instant::now() > deadline {
                bail!("Janus does not answer at {}", started.base);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(started)
    }

    fn post(&mut self, path: &str, mut body: Value) -> anyhow::Result<Value> {
        self.transactions += 1;
        body["transaction"] = self.transactions.to_string().into();
        let answer = self.agent.post(format!("{}{path}", self.base)).send_json(&body);
        let answer: Value = answer.context("Janus does not answer")?.body_mut().read_json()?;
        if answer["janus"] == "error" {
            bail!("Janus refused {}: {}", body["janus"], answer["error"]["reason"]);
        }
        Ok(answer)
    }

    /// The next event of a handle that `wanted` takes.
    fn event<T>(
        &mut self,
        session: u64,
        handle: u64,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + ANSWER_MAX;
        while Instant::now() < deadline {
            let request = self.agent.get(format!("{}/{session}", self.base)).query("maxev", "1");
            let events: Value = request.call().context("Janus does not answer")?.body_mut().read_json()?;
            let events = if let Value::Array(events) = events { events } else { vec![events] };
            for event in events.iter().filter(|event| event["sender"] == handle) {
                let data = &event["plugindata"]["data"];
                if let Some(error) = data["error"].as_str() {
                    bail!("Janus refused: {error}");
                }
                if let Some(found) = wanted(data) {
                    return Ok(found);
                }
            }
        }
        bail!("Janus says nothing about what it was asked for")
    }

    fn attach(&mut self, session: u64) -> anyhow::Result<u64> {
        let body = json!({"janus": "attach", "plugin": "janus.plugin.audiobridge"});
        let answer = self.post(&format!("/{session}"), body)?;
        answer["data"]["id"].as_u64().context("Janus gave no handle")
    }

    fn join(
        &mut self,
        session: u64,
        room: usize,
        row: &Row,
        remote: SocketAddr,
    ) -> anyhow::Result<SocketAddr> {
        let handle = self.attach(session)?;
        let (codec, payload_type) = (row.codec.name(), row.codec.payload_type());
        let mut rtp =
            json!({"ip": remote.ip().to_string(), "port": remote.port(), "payload_type": payload_type});
        if row.level_extension {
            rtp["audiolevel_ext"] = LEVEL_EXTENSION_ID.into();
        }
        let mut body = json!({"request": "join", "room": room + 1, "codec": codec});
        if row.wants_fec() {
            rtp["fec"] = true.into();
            body["expected_loss"] = (row.loss_percent as u64).into();
        }
        body["rtp"] = rtp;
        self.post(&format!("/{session}/{handle}"), json!({"janus": "message", "body": body}))?;
        let port = self.event(session, handle, |data| data["rtp"]["port"].as_u64())?;
        Ok(SocketAddr::new(RTP_IP, u16::try_from(port).context("Janus gave a port that is none")?))
    }
}

impl Mixer for Janus {
    fn name(&self) -> &'static str {
        "janus"
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn takes_part(&self, row: &Row) -> bool {
        let known = matches!(row.codec, LoadCodec::Opus | LoadCodec::Pcmu | LoadCodec::Pcma);
        known && row.rooms * row.people <= PARTICIPANTS_MAX
    }

    fn prepare(&mut self, row: &Row, rooms: &[Room]) -> anyhow::Result<Vec<Vec<SocketAddr>>> {
        let session = self.post("", json!({"janus": "create"}))?["data"]["id"].as_u64();
        let session = session.context("Janus gave no session")?;
        self.session = Some(session);
        let keeper = self.attach(session)?;
        let mut addresses = Vec::new();
        for (index, room) in rooms.iter().enumerate() {
            // At other rates it does not take participants of 48 kHz.
            let body = json!({
                "request": "create", "room": index + 1, "sampling_rate": 48_000, "allow_rtp_participants": true,
                "audiolevel_event": false,
            });
            let answer =
                self.post(&format!("/{session}/{keeper}"), json!({"janus": "message", "body": body}))?;
            if let Some(error) = answer["plugindata"]["data"]["error"].as_str() {
                bail!("Janus refused a room: {error}");
            }
            let joined = room.seats.iter().map(|seat| self.join(session, index, row, seat.remote));
            addresses.push(joined.collect::<anyhow::Result<_>>()?);
        }
        Ok(addresses)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let keeper = self.attach(session)?;
        let rooms = self.post(
            &format!("/{session}/{keeper}"),
            json!({"janus": "message", "body": {"request": "list"}}),
        )?;
        let rooms = rooms["plugindata"]["data"]["list"].as_array().cloned().unwrap_or_default();
        for room in rooms {
            let body = json!({"request": "destroy", "room": room["room"]});
            self.post(&format!("/{session}/{keeper}"), json!({"janus": "message", "body": body}))?;
        }
        self.post(&format!("/{session}"), json!({"janus": "destroy"}))?;
        self.process.check_running()
    }
}

/// Writes the configuration: the AudioBridge and HTTP, and nothing else.
fn configure(folder: &Path, port: u16) -> anyhow::Result<()> {
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    write("janus.jcfg", "general: {\n\tsession_timeout = 0\n}\n".to_owned() + &disabled())?;
    let http = format!(
        "general: {{\n\tjson = \"plain\"\n\tbase_path = \"/janus\"\n\thttp = true\n\tport = {port}\n\tip = \"127.0.0.1\"\n\thttps = false\n}}\nadmin: {{\n\tadmin_http = false\n}}\n"
    );
    write("janus.transport.http.jcfg", http)?;
    write(
        "janus.plugin.audiobridge.jcfg",
        format!("general: {{\n\tlocal_ip = \"{RTP_IP}\"\n\trtp_port_range = \"30000-39999\"\n}}\n"),
    )
}

fn disabled() -> String {
    const PLUGINS: [&str; 10] = [
        "duktape",
        "echotest",
        "lua",
        "nosip",
        "recordplay",
        "sip",
        "streaming",
        "textroom",
        "videocall",
        "videoroom",
    ];
    const TRANSPORTS: [&str; 5] = ["mqtt", "nanomsg", "pfunix", "rabbitmq", "websockets"];
    let list = |names: &[&str], kind: &str| -> String {
        let names: Vec<String> = names.iter().map(|name| format!("libjanus_{name}.so")).collect();
        format!("{kind}: {{\n\tdisable = \"{}\"\n}}\n", names.join(","))
    };
    let events = "events: {\n\tbroadcast = false\n}\n";
    list(&[&PLUGINS[..], &["voicemail"]].concat(), "plugins") + &list(&TRANSPORTS, "transports") + events
}
