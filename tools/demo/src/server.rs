//! `motet serve` as a child process, and the calls that an application makes to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::conference::{
    AddParticipantRequest, ConferenceInfo, CreateRequest, EndRequest, GetRequest, ParticipantInfo,
    ParticipantMedium, RemoveRecordingRequest, SetRecordingRequest, SetVideoRequest,
};
use motet_proto::media::{
    AudioMode, AudioSettings, CanvasSettings, Codec, Direction, LatchPolicy, MediaKind, Recording, VideoMode,
    VideoSettings,
};
use motet_proto::registry::node_registry_client::NodeRegistryClient;
use motet_proto::registry::{ListNodesRequest, NodeState, RegisteredNode};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::ffmpeg::{H264, OPUS};
use crate::mixed::Voice;
use crate::ports;
use crate::terminal::Port;

/// How long the server may take until a node is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running server with one node.
pub struct Server {
    child: Child,
    log: PathBuf,
    channel: Channel,
    /// Where control listens.
    pub address: String,
}

impl Server {
    /// Starts the program and waits until its node is ready.
    pub async fn start(program: &Path, folder: &Path) -> Result<(Server, RegisteredNode)> {
        let listen = ports::tcp()?;
        let log = folder.join("motet.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // A range of its own, so that two demos do not meet; below the ports that the kernel hands out.
        let first = 20_000 + std::process::id() % 90 * 100;
        let child = Command::new(program)
            .args(["serve", "--listen", &listen.to_string()])
            .args(["--port-range", &format!("{first}-{}", first + 99)])
            .arg("--recordings")
            .arg(crate::recordings(folder))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot start {}; 'cargo build --release -p motet' makes it", program.display())
            })?;
        let address = format!("http://{listen}");
        let channel = Endpoint::from_shared(address.clone())?.timeout(Duration::from_secs(5)).connect_lazy();
        let mut server = Server { child, log, channel, address };
        let node = server.wait_ready().await?;
        Ok((server, node))
    }

    async fn wait_ready(&mut self) -> Result<RegisteredNode> {
        let end = Instant::now() + READY_WITHIN;
        let mut registry = NodeRegistryClient::new(self.channel.clone());
        loop {
            self.check()?;
            if let Ok(list) = registry.list_nodes(ListNodesRequest {}).await {
                let ready = list.into_inner().nodes.into_iter().find(|node| node.state() == NodeState::Ready);
                if let Some(node) = ready {
                    return Ok(node);
                }
            }
            if Instant::now() > end {
                bail!("no node is ready after {} s:\n{}", READY_WITHIN.as_secs(), self.log_end());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Fails if the server has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("motet serve ended with {status}:\n{}", self.log_end());
        }
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn conferences(&self) -> ConferenceClient<Channel> {
        ConferenceClient::new(self.channel.clone())
    }

    /// Creates the conference.
    pub async fn create(&self) -> Result<ConferenceInfo> {
        let request = CreateRequest { name: "motet demo".into(), ..Default::default() };
        let answer = self.conferences().create(request).await;
        Ok(answer.map_err(|status| refused("creating a conference", &status))?.into_inner())
    }

    /// Adds a participant that listens at two ports, and sends from wherever ffmpeg does.
    pub async fn join(
        &self,
        conference: &str,
        name: &str,
        audio: &Port,
        video: &Port,
    ) -> Result<ParticipantInfo> {
        let request = AddParticipantRequest {
            conference: conference.into(),
            participant: name.into(),
            name: name.into(),
            media: vec![medium(MediaKind::Audio, audio), medium(MediaKind::Video, video)],
            ..Default::default()
        };
        let answer = self.conferences().add_participant(request).await;
        Ok(answer.map_err(|status| refused(&format!("adding {name}"), &status))?.into_inner())
    }

    /// Creates a conference in which everybody gets one sound.
    pub async fn create_mixed(&self) -> Result<ConferenceInfo> {
        let audio = AudioSettings { mode: AudioMode::Mix as i32, ..AudioSettings::default() };
        let request =
            CreateRequest { name: "motet demo, mixed".into(), audio: Some(audio), ..Default::default() };
        let answer = self.conferences().create(request).await;
        Ok(answer.map_err(|status| refused("creating a mixed conference", &status))?.into_inner())
    }

    /// Adds a participant with sound alone.
    pub async fn join_mixed(
        &self,
        conference: &str,
        name: &str,
        voice: &Voice,
        port: &Port,
    ) -> Result<ParticipantInfo> {
        let request = AddParticipantRequest {
            conference: conference.into(),
            participant: name.into(),
            name: name.into(),
            media: vec![ParticipantMedium { codecs: vec![voice.codec()], ..medium(MediaKind::Audio, port) }],
            ..Default::default()
        };
        let answer = self.conferences().add_participant(request).await;
        Ok(answer.map_err(|status| refused(&format!("adding {name}"), &status))?.into_inner())
    }

    /// Creates a conference in which everybody gets one picture and one sound.
    pub async fn create_composed(&self, size: (u32, u32), layout: &str) -> Result<ConferenceInfo> {
        let video = Some(canvas(size, layout));
        let audio = Some(AudioSettings { mode: AudioMode::Mix as i32, ..AudioSettings::default() });
        let request =
            CreateRequest { name: "motet demo, composed".into(), video, audio, ..Default::default() };
        let answer = self.conferences().create(request).await;
        Ok(answer.map_err(|status| refused("creating a composed conference", &status))?.into_inner())
    }

    /// Divides the picture in another way.
    pub async fn compose(&self, conference: &str, size: (u32, u32), layout: &str) -> Result<()> {
        let video = Some(canvas(size, layout));
        let request = SetVideoRequest { conference: conference.into(), video, ..Default::default() };
        let answer = self.conferences().set_video(request).await;
        answer.map(|_| ()).map_err(|status| refused("changing the layout", &status))
    }

    /// Records the picture with the sound, to a folder of its own.
    pub async fn record(&self, conference: &str, folder: &str) -> Result<()> {
        let recording =
            Recording { id: folder.into(), folder: folder.into(), canvas: true, ..Recording::default() };
        let request = SetRecordingRequest {
            conference: conference.into(),
            recording: Some(recording),
            ..Default::default()
        };
        let answer = self.conferences().set_recording(request).await;
        answer.map(|_| ()).map_err(|status| refused("recording", &status))
    }

    /// Ends a recording.
    pub async fn end_recording(&self, conference: &str, folder: &str) -> Result<()> {
        let request = RemoveRecordingRequest {
            conference: conference.into(),
            recording: folder.into(),
            ..Default::default()
        };
        let answer = self.conferences().remove_recording(request).await;
        answer.map(|_| ()).map_err(|status| refused("ending a recording", &status))
    }

    /// Adds a participant with an id and a name: one who sends sound and picture and gets neither, or one who only gets
    /// the picture.
    pub async fn join_named(
        &self,
        conference: &str,
        (participant, name): (&str, &str),
        audio: Option<&Port>,
        video: &Port,
    ) -> Result<ParticipantInfo> {
        let direction = if audio.is_some() { Direction::SendOnly } else { Direction::ReceiveOnly };
        let media = audio.map(|port| medium(MediaKind::Audio, port)).into_iter();
        let media = media.chain([medium(MediaKind::Video, video)]);
        let media = media.map(|medium| ParticipantMedium { direction: direction.into(), ..medium });
        let request = AddParticipantRequest {
            conference: conference.into(),
            participant: participant.into(),
            name: name.into(),
            media: media.collect(),
            ..Default::default()
        };
        let answer = self.conferences().add_participant(request).await;
        Ok(answer.map_err(|status| refused(&format!("adding {participant}"), &status))?.into_inner())
    }

    /// The conference as it is now.
    pub async fn show(&self, conference: &str) -> Result<ConferenceInfo> {
        let answer = self.conferences().get(GetRequest { conference: conference.into() }).await;
        Ok(answer.map_err(|status| refused("reading the conference", &status))?.into_inner())
    }

    /// Ends the conference and then the server, in good order.
    pub async fn end(mut self, conference: &str) -> Result<()> {
        let request = EndRequest {
            conference: conference.into(),
            reason: "the demo is over".into(),
            ..Default::default()
        };
        self.conferences().end(request).await.map_err(|status| refused("ending the conference", &status))?;
        let id = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        let status = tokio::time::timeout(Duration::from_secs(8), self.child.wait())
            .await
            .context("motet serve does not end when asked to")??;
        if !status.success() {
            bail!("motet serve ended with {status}:\n{}", self.log_end());
        }
        Ok(())
    }
}

fn canvas((width, height): (u32, u32), layout: &str) -> VideoSettings {
    let canvas = CanvasSettings {
        width,
        height,
        frames_per_second: 15,
        bitrate_bps: 1_500_000,
        layout: layout.to_owned(),
        names: true,
        ..CanvasSettings::default()
    };
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(canvas), transcode: None }
}

fn medium(kind: MediaKind, port: &Port) -> ParticipantMedium {
    let codec = if kind == MediaKind::Audio {
        Codec {
            payload_type: OPUS,
            name: "opus".into(),
            clock_rate_hz: 48_000,
            channels: 2,
            fmtp: String::new(),
        }
    } else {
        let fmtp = "packetization-mode=1".into();
        Codec { payload_type: H264, name: "H264".into(), clock_rate_hz: 90_000, channels: 1, fmtp }
    };
    ParticipantMedium {
        kind: kind as i32,
        codecs: vec![codec],
        remote: port.address.to_string(),
        latch: LatchPolicy::Fixed as i32,
        ..Default::default()
    }
}

fn refused(what: &str, status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{what}: {} ({:?})", status.message(), status.code())
}
