//! A node that records, and participants who send to it.

use crate::common::{Sent, What};
use motet_node::{NodeOptions, RunningNode, start};
use motet_proto::media::playback_order::Order;
use motet_proto::media::{
    AudioSettings, Codec, MediaKind, PlaybackOrder, PlaybackState, Recording, VideoSettings,
};
use motet_proto::node::event::Kind;
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::*;
use motet_rtp::Time;
use motet_rtp::rtcp::{write_sdes_cname, write_sender_report};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tonic::Streaming;
use tonic::transport::Channel;

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage {
    node: RunningNode,
    client: MediaNodeClient<Channel>,
    events: Streaming<Event>,
    pub folder: tempfile::TempDir,
    /// None: pictures are relayed.
    pub video: Option<VideoSettings>,
    revision: u64,
}

pub fn codec(payload_type: u32, name: &str, clock_rate_hz: u32, fmtp: &str) -> Codec {
    Codec { payload_type, name: name.into(), clock_rate_hz, channels: 1, fmtp: fmtp.into() }
}

pub fn opus() -> Codec {
    Codec { channels: 2, ..codec(96, "opus", 48_000, "") }
}

impl Stage {
    /// On free ports from here; each test has its own.
    pub async fn new(first_port: u16) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let recordings = Some(folder.path().to_owned());
        Stage::with(NodeOptions { recordings, ..NodeOptions::default() }, folder, first_port).await
    }

    /// With files to be played, in the folder of recordings.
    pub async fn with_files(first_port: u16, folder: tempfile::TempDir) -> Stage {
        let path = Some(folder.path().to_owned());
        let options = NodeOptions { prompts: path.clone(), recordings: path, ..NodeOptions::default() };
        Stage::with(options, folder, first_port).await
    }

    pub async fn without_folder(first_port: u16) -> Stage {
        Stage::with(NodeOptions::default(), tempfile::tempdir().expect("a folder"), first_port).await
    }

    async fn with(options: NodeOptions, folder: tempfile::TempDir, first_port: u16) -> Stage {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let metrics = Some(motet_status::Listen::Off);
        let port_range = first_port..=first_port + 199;
        let node =
            start(NodeOptions { listen, port_range, metrics, ..options }).await.expect("the node starts");
        let address = format!("http://{}", node.address());
        let mut client = MediaNodeClient::connect(address).await.expect("the node answers");
        let events = client.watch(WatchRequest::default()).await.expect("watching").into_inner();
        Stage { node, client, events, folder, video: None, revision: 0 }
    }

    /// A leg with a transport for each medium.
    pub fn join(&self, id: &str, media: &[(&str, Codec)]) -> Leg {
        let transport = |name: &str| Transport { id: name.into(), rtcp_mux: true, ..Transport::default() };
        let medium = |(name, codec): &(&str, Codec)| {
            let kind = if *name == "audio" { MediaKind::Audio } else { MediaKind::Video };
            let codecs = vec![codec.clone()];
            let (id, transport) = ((*name).to_owned(), (*name).to_owned());
            Medium { id, kind: kind.into(), transport, codecs, ..Medium::default() }
        };
        Leg {
            id: id.into(),
            transports: media.iter().map(|(name, _)| transport(name)).collect(),
            media: media.iter().map(medium).collect(),
            ..Leg::default()
        }
    }

    pub async fn put(
        &mut self,
        legs: Vec<Leg>,
        recordings: Vec<Recording>,
        audio: Option<AudioSettings>,
    ) -> ConferenceAllocation {
        self.revision += 1;
        let (id, video) = ("room".into(), self.video.clone());
        let spec = ConferenceSpec { id, legs, recordings, audio, video, ..ConferenceSpec::default() };
        let put = PutConferenceRequest { spec: Some(spec), epoch: 1, revision: self.revision };
        self.client.put_conference(put).await.expect("accepted").into_inner()
    }

    /// Like [`Stage::put`], of what runs.
    pub async fn revise(&mut self, legs: Vec<Leg>, recordings: Vec<Recording>, audio: Option<AudioSettings>) {
        self.put(legs, recordings, audio).await;
    }

    pub async fn patch(&mut self, changes: Vec<change::Change>) {
        let changes = changes.into_iter().map(|change| Change { change: Some(change) }).collect();
        let base_revision = self.revision;
        self.revision += 1;
        let patch = PatchConferenceRequest { id: "room".into(), epoch: 1, base_revision, changes };
        self.client.patch_conference(patch).await.expect("accepted");
    }

    pub async fn delete(&mut self) {
        let delete = DeleteConferenceRequest { id: "room".into(), epoch: 1, elsewhere: false };
        self.client.delete_conference(delete).await.expect("accepted");
    }

    pub async fn stats(&mut self) -> ConferenceStatsResponse {
        let stats = ConferenceStatsRequest { id: "room".into() };
        self.client.conference_stats(stats).await.expect("it runs").into_inner()
    }

    /// Waits until what is counted is as it shall be.
    pub async fn until(
        &mut self,
        wanted: impl Fn(&ConferenceStatsResponse) -> bool,
    ) -> ConferenceStatsResponse {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats().await;
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "{stats:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every recording can take packets, or has failed.
    pub async fn ready(&mut self) {
        let is_ready =
            |recording: &RecordingStats| !recording.folder.is_empty() || !recording.failed.is_empty();
        let ready = |stats: &ConferenceStatsResponse| stats.recordings.iter().all(is_ready);
        self.until(ready).await;
    }

    /// A picture of somebody, or the composed one.
    pub async fn try_snapshot(&mut self, leg: &str) -> Result<Vec<u8>, tonic::Status> {
        let request = SnapshotRequest { conference: "room".into(), epoch: 1, leg: leg.into() };
        Ok(self.client.snapshot(request).await?.into_inner().png)
    }

    /// The same, once there is one.
    pub async fn snapshot(&mut self, leg: &str) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_snapshot(leg).await {
                Ok(png) => return png,
                Err(refused) => assert!(Instant::now() < deadline, "{refused:?}"),
            }
        }
    }

    /// Has a leg play something.
    pub async fn play(&mut self, leg: &str, order: Order) -> Result<PlaybackState, tonic::Status> {
        let order = Some(PlaybackOrder { order: Some(order) });
        let request = PlaybackRequest { conference: "room".into(), epoch: 1, leg: leg.into(), order };
        Ok(self.client.playback(request).await?.into_inner())
    }

    /// Waits until a leg plays like this.
    pub async fn plays(&mut self, leg: &str, wanted: impl Fn(&PlaybackState) -> bool) -> PlaybackState {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.play(leg, Order::Look(true)).await.expect("it plays");
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The next file that is at its end.
    pub async fn played(&mut self) -> PlaybackEnded {
        loop {
            let event =
                tokio::time::timeout(PATIENCE, self.events.message()).await.expect("an event in time");
            let kind = event.expect("a stream").expect("it goes on").kind;
            if let Some(Kind::PlaybackEnded(ended)) = kind {
                return ended;
            }
        }
    }

    /// The next event of a recording.
    pub async fn next(&mut self, recording: &str) -> Kind {
        loop {
            let event =
                tokio::time::timeout(PATIENCE, self.events.message()).await.expect("an event in time");
            let kind = event.expect("a stream").expect("it goes on").kind.expect("it is of some kind");
            let of = match &kind {
                Kind::SegmentBegan(event) => &event.recording,
                Kind::SegmentClosed(event) => &event.recording,
                Kind::RecordingFailed(event) => &event.recording,
                Kind::RecordingStopped(event) => &event.recording,
                _ => continue,
            };
            if of == recording {
                return kind;
            }
        }
    }

    /// The path of the next file that begins.
    pub async fn began(&mut self, recording: &str) -> String {
        loop {
            if let Kind::SegmentBegan(began) = self.next(recording).await {
                return began.path;
            }
        }
    }

    /// The next file that is whole.
    pub async fn closed(&mut self, recording: &str) -> SegmentClosed {
        loop {
            match self.next(recording).await {
                Kind::SegmentClosed(closed) => return closed,
                Kind::RecordingFailed(failed) => panic!("{failed:?}"),
                _ => {}
            }
        }
    }

    pub async fn end(self) {
        self.node.shutdown().await;
    }
}

/// Somebody who sends, from a socket for each transport.
pub struct Participant {
    sockets: Vec<(UdpSocket, SocketAddr)>,
}

impl Participant {
    pub fn new(leg: &str, allocation: &ConferenceAllocation) -> Participant {
        let leg = allocation.legs.iter().find(|known| known.leg == leg).expect("it was allocated");
        let to = |transport: &TransportAllocation| transport.local.parse().expect("an address");
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a free port");
        Participant { sockets: leg.transports.iter().map(|transport| (socket(), to(transport))).collect() }
    }

    /// Sends all in its time, a track on the transport of its number. Gives by how much something was late at most.
    pub async fn play(&self, mut sent: Vec<Sent>) -> Duration {
        sent.sort_by_key(|sent| sent.at);
        let sockets: Vec<_> =
            self.sockets.iter().map(|(socket, to)| (socket.try_clone().expect("cloned"), *to)).collect();
        let play = move || {
            let (begun, first) = (Instant::now(), sent.first().map_or(Time::ZERO, |sent| sent.at));
            let mut held_up = Duration::ZERO;
            for Sent { at, track, what } in &sent {
                let due = begun + at.since(first);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                held_up = held_up.max(due.elapsed());
                let (socket, to) = &sockets[*track];
                let mut rtcp = Vec::new();
                let bytes = match what {
                    What::Packet(packet) => packet,
                    What::Report(ssrc, info) => {
                        write_sender_report(&mut rtcp, *ssrc, info, &[]);
                        write_sdes_cname(&mut rtcp, &[(*ssrc, "sender")]);
                        &rtcp
                    }
                    _ => continue,
                };
                socket.send_to(bytes, to).expect("sent");
            }
            held_up
        };
        tokio::task::spawn_blocking(play).await.expect("it sends")
    }
}
