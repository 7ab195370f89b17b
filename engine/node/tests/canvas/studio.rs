//! A node, participants with cameras of one colour each, and what they see.

use motet_codecs::video::{PictureSize, VideoCodecName};
use motet_mixer::testing::{CardReceiver, CardSender};
use motet_net::IoChoice;
use motet_node::{NodeOptions, RunningNode, start};
use motet_proto::media::{
    CanvasSettings, CanvasView, Codec, Direction, MediaKind, ParticipantVideo, PictureLayer, VideoMode,
    VideoSettings,
};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::*;
use motet_rtp::rtcp::{Compound, Packet, write_pli, write_receiver_report, write_sdes_cname};
use motet_rtp::{RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

pub const RED: [u8; 3] = [81, 90, 240];
pub const GREEN: [u8; 3] = [145, 54, 34];
pub const BLUE: [u8; 3] = [41, 240, 110];
pub const BACKGROUND: [u8; 3] = [32, 128, 128];
/// A whole run of the slowest machine is shorter.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two pictures of a camera.
const PICTURE: Duration = Duration::from_millis(66);

/// Of a packet of sound.
const SOUND: Duration = Duration::from_millis(20);

/// What is wanted of a canvas, with a layout.
pub fn canvas(layout: &str) -> CanvasSettings {
    CanvasSettings {
        width: 320,
        height: 180,
        frames_per_second: 15,
        bitrate_bps: 500_000,
        layout: layout.to_owned(),
        ..CanvasSettings::default()
    }
}

fn composed(settings: CanvasSettings) -> VideoSettings {
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(settings), transcode: None }
}

pub struct Participant {
    codec: VideoCodecName,
    socket: UdpSocket,
    pub camera: Option<CardSender>,
    /// Smaller copies of its picture that it sends, too.
    layers: Vec<SmallCamera>,
    pub screen: CardReceiver,
    /// Where to send.
    node: Option<SocketAddr>,
    /// SSRC of what it gets.
    ssrc: u32,
    /// Sequence number and timestamp of the last packet.
    last: Option<(u16, u32)>,
    /// Packets that did not follow the one before.
    pub gaps: u32,
    /// It was asked for a key frame, and how often.
    asked: bool,
    pub times_asked: u32,
    /// What is done to packets of its camera.
    pub harm: fn(&mut Vec<u8>),
    /// What becomes of its pictures.
    pub video: Option<ParticipantVideo>,
    /// It makes noise.
    pub speaks: bool,
    /// Packets of its sound so far.
    sounds: u16,
}

/// A smaller copy.
struct SmallCamera {
    size: PictureSize,
    camera: CardSender,
    asked: bool,
}

pub struct Studio {
    node: RunningNode,
    client: MediaNodeClient<Channel>,
    pub participants: BTreeMap<&'static str, Participant>,
    /// What is asked of the node besides the canvas.
    pub spec: ConferenceSpec,
    revision: u64,
    next_picture: Instant,
    next_sound: Instant,
}

impl Studio {
    /// A node whose ports begin with `first_port`.
    pub async fn start(first_port: u16) -> Studio {
        Studio::with(first_port, NodeOptions::default()).await
    }

    /// The same, with other options.
    pub async fn with(first_port: u16, options: NodeOptions) -> Studio {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let (port_range, io) = (first_port..=first_port + 99, IoChoice::Mmsg);
        let node = start(NodeOptions { listen, port_range, io, ..options }).await;
        let node = node.expect("the node starts");
        let address = format!("http://{}", node.address());
        let client = MediaNodeClient::connect(address).await.expect("the node answers");
        let spec = ConferenceSpec { id: "studio".into(), ..ConferenceSpec::default() };
        let (participants, now) = (BTreeMap::new(), Instant::now());
        Studio { node, client, participants, spec, revision: 0, next_picture: now, next_sound: now }
    }

    /// Somebody who sends a colour and sees the canvas.
    pub fn camera(&mut self, id: &'static str, codec: VideoCodecName, colour: [u8; 3]) {
        let ssrc = 100 + self.participants.len() as u32;
        let camera = CardSender::new(ssrc, codec, PictureSize::new(160, 90), colour).expect("an encoder");
        self.join(id, codec, Some(camera));
    }

    /// Somebody who sends several sizes at once, the largest first, each of its own colour so that they can be told apart.
    pub fn simulcast(&mut self, id: &'static str, sizes: &[(PictureSize, [u8; 3])]) {
        let mut cameras = (200..).zip(sizes).map(|(ssrc, (size, colour))| {
            let camera = CardSender::new(ssrc, VideoCodecName::H264, *size, *colour).expect("an encoder");
            SmallCamera { size: *size, camera, asked: false }
        });
        let whole = cameras.next().expect("one at least").camera;
        let layers = cameras.collect();
        self.join(id, VideoCodecName::H264, Some(whole));
        self.participants.get_mut(id).expect("it has joined").layers = layers;
    }

    /// Somebody who sees the canvas.
    pub fn viewer(&mut self, id: &'static str, codec: VideoCodecName) {
        self.join(id, codec, None);
    }

    fn join(&mut self, id: &'static str, codec: VideoCodecName, camera: Option<CardSender>) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("a socket can be so");
        let participant = Participant {
            codec,
            socket,
            camera,
            layers: Vec::new(),
            screen: CardReceiver::new(codec).expect("a decoder"),
            node: None,
            ssrc: 0,
            last: None,
            gaps: 0,
            asked: false,
            times_asked: 0,
            harm: |_| {},
            video: None,
            speaks: false,
            sounds: 0,
        };
        self.participants.insert(id, participant);
    }

    /// From the next `put` on, somebody sees this besides what all see.
    pub fn views(&mut self, who: &str, view: CanvasView) {
        let participant = self.participants.get_mut(who).expect("it is there");
        participant.video = Some(ParticipantVideo { view: Some(view), ..ParticipantVideo::default() });
    }

    fn request(&mut self, video: VideoSettings) -> PutConferenceRequest {
        let legs = self.participants.iter().map(|(id, participant)| participant.leg(id)).collect();
        let video = Some(video);
        let spec = Some(ConferenceSpec { legs, video, ..self.spec.clone() });
        self.revision += 1;
        PutConferenceRequest { spec, epoch: 1, revision: self.revision }
    }

    /// What the node has against a canvas.
    pub async fn refused(&mut self, settings: CanvasSettings) -> String {
        let request = self.request(composed(settings));
        self.client.put_conference(request).await.expect_err("refused").message().to_owned()
    }

    /// Makes the conference one of these participants, with a canvas.
    pub async fn put(&mut self, settings: CanvasSettings) {
        self.put_video(composed(settings)).await;
    }

    /// The same with any video mode. Nobody gets more than one picture.
    pub async fn put_video(&mut self, video: VideoSettings) {
        let request = self.request(video);
        let allocation = self.client.put_conference(request).await.expect("accepted").into_inner();
        for (id, participant) in &mut self.participants {
            let leg = allocation.legs.iter().find(|leg| leg.leg == *id).expect("allocated");
            participant.node = Some(leg.transports[0].local.parse().expect("an address"));
            let routes = allocation.routes.iter().filter_map(|route| route.route.as_ref());
            let mut routes = routes.filter(|route| route.to_leg == *id);
            let Some(ssrc) = routes.next().map(|route| route.ssrc) else { continue };
            assert_eq!(routes.count(), 0, "one picture");
            assert!(participant.ssrc == 0 || participant.ssrc == ssrc, "it goes on in its stream");
            participant.ssrc = ssrc;
        }
    }

    /// Sends pictures and looks at the screens until this is so.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Studio) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "never came: {what}\n{}", self.describe());
            self.go_on().await;
        }
    }

    /// Goes on until the node has counted this.
    pub async fn until_counted(&mut self, what: &str, holds: impl Fn(&CanvasStats) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats().await;
            if holds(&stats) {
                return;
            }
            assert!(Instant::now() < deadline, "never counted: {what}\n{stats:?}");
            for _ in 0..20 {
                self.go_on().await;
            }
        }
    }

    /// Until somebody sees these colours in these places.
    pub async fn until_seen(&mut self, who: &str, places: &[(u32, u32, [u8; 3])]) {
        self.until(&format!("{who} sees {places:?}"), |studio| studio.sees(who, places)).await;
    }

    pub fn sees(&self, who: &str, places: &[(u32, u32, [u8; 3])]) -> bool {
        let screen = &self.participants[who].screen;
        places.iter().all(|(left, top, expected)| {
            screen.colour_at(*left, *top).is_some_and(|found| {
                found.iter().zip(expected).all(|(found, expected)| found.abs_diff(*expected) <= 12)
            })
        })
    }

    fn describe(&self) -> String {
        let lines = self.participants.iter().map(|(id, participant)| {
            let Participant { screen, gaps, times_asked, .. } = participant;
            let places = [(40, 90), (280, 90), (160, 10), (40, 160), (160, 160), (280, 160)];
            let colours = places.map(|(left, top)| screen.colour_at(left, top));
            let (pictures, failures) = (screen.pictures, screen.failures);
            format!(
                "{id}: {pictures} pictures, {failures} bad, {gaps} gaps, asked {times_asked}: {colours:?}"
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A few milliseconds: what came is looked at, and cameras send when it is time.
    pub async fn go_on(&mut self) {
        let pictures = Instant::now() >= self.next_picture;
        if pictures {
            // What was missed is not made up for.
            self.next_picture = (self.next_picture + PICTURE).max(Instant::now());
        }
        let sounds = Instant::now() >= self.next_sound;
        if sounds {
            self.next_sound = (self.next_sound + SOUND).max(Instant::now());
        }
        for participant in self.participants.values_mut() {
            if sounds {
                participant.sound();
            }
            participant.receive();
            if pictures {
                participant.send();
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    /// Every stream went on without a gap, and each picture was whole.
    pub fn check_streams(&self) {
        for (id, participant) in &self.participants {
            let (gaps, failures) = (participant.gaps, participant.screen.failures);
            assert_eq!((gaps, failures), (0, 0), "{id}");
        }
    }

    pub async fn stats(&mut self) -> CanvasStats {
        self.made().await.expect("there is a canvas")
    }

    /// What is encoded; none: nothing is.
    pub async fn made(&mut self) -> Option<CanvasStats> {
        self.counted().await.canvas
    }

    async fn counted(&mut self) -> ConferenceStatsResponse {
        let request = ConferenceStatsRequest { id: "studio".into() };
        self.client.conference_stats(request).await.expect("told").into_inner()
    }

    /// Goes on until pictures come to somebody in this way; gives the reason.
    pub async fn until_way(&mut self, who: &str, way: PictureWay) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let routes = self.counted().await.routes;
            let to = |stats: &&RouteStats| stats.route.as_ref().is_some_and(|route| route.to_leg == who);
            let found = routes.iter().find(to).expect("a picture");
            if found.way() == way {
                return found.why.clone();
            }
            assert!(Instant::now() < deadline, "{who} never gets it {way:?}: {found:?}\n{}", self.describe());
            for _ in 0..20 {
                self.go_on().await;
            }
        }
    }

    pub async fn end(self) {
        self.node.shutdown().await;
    }
}

impl Participant {
    /// It has another codec now.
    pub fn set_codec(&mut self, codec: VideoCodecName) {
        (self.codec, self.screen) = (codec, CardReceiver::new(codec).expect("a decoder"));
    }

    fn leg(&self, id: &str) -> Leg {
        let remote = self.socket.local_addr().expect("bound").to_string();
        let fmtp = if self.codec == VideoCodecName::H264 { "packetization-mode=1" } else { "" };
        let codec = Codec {
            payload_type: 96,
            name: self.codec.encoding_name().into(),
            clock_rate_hz: 90_000,
            channels: 0,
            fmtp: fmtp.into(),
        };
        let direction = if self.camera.is_some() { Direction::SendReceive } else { Direction::ReceiveOnly };
        let medium = Medium {
            id: "video".into(),
            kind: MediaKind::Video.into(),
            direction: direction.into(),
            codecs: vec![codec.clone()],
            ssrc: self.camera.as_ref().filter(|_| !self.layers.is_empty()).map_or(0, |camera| camera.ssrc),
            ..Medium::default()
        };
        let layers = self.layers.iter().map(|layer| layer.medium(codec.clone())).collect::<Vec<_>>();
        let transport = Transport { remote, rtcp_mux: true, ..Transport::default() };
        let codec = Codec { name: "PCMU".into(), clock_rate_hz: 8_000, ..Codec::default() };
        let sound = Medium {
            id: "audio".into(),
            kind: MediaKind::Audio.into(),
            direction: Direction::SendOnly.into(),
            codecs: vec![codec],
            ..Medium::default()
        };
        let mut media = if self.camera.is_some() { vec![medium, sound] } else { vec![medium] };
        media.extend(layers);
        let video = self.video.clone();
        Leg { id: id.into(), transports: vec![transport], media, video, ..Leg::default() }
    }

    /// The next picture of its camera, a key frame if it was asked for one.
    fn send(&mut self) {
        let (Some(camera), Some(node)) = (&mut self.camera, self.node) else { return };
        let key_frame = std::mem::take(&mut self.asked);
        for mut packet in camera.next_picture(key_frame).expect("an encoder") {
            (self.harm)(&mut packet);
            if packet.is_empty() {
                continue;
            }
            self.socket.send_to(&packet, node).expect("sent");
        }
        for layer in &mut self.layers {
            let key_frame = std::mem::take(&mut layer.asked);
            for packet in layer.camera.next_picture(key_frame).expect("an encoder") {
                self.socket.send_to(&packet, node).expect("sent");
            }
        }
    }

    /// The next 20 ms of its sound.
    fn sound(&mut self) {
        let (Some(camera), Some(node)) = (&self.camera, self.node) else { return };
        let sound: Vec<u8> = if self.speaks { [0x10, 0x10, 0x90, 0x90].repeat(40) } else { vec![0xff; 160] };
        let timestamp = WireTimestamp(u32::from(self.sounds) * 160);
        let packet = RtpBuilder::new(camera.ssrc + 1_000).payload_type(0).sequence(WireSeq(self.sounds));
        let packet = packet.timestamp(timestamp).payload(&sound).to_vec();
        self.sounds = self.sounds.wrapping_add(1);
        self.socket.send_to(&packet, node).expect("sent");
    }

    /// Takes all that came.
    fn receive(&mut self) {
        let mut bytes = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let datagram = &bytes[..length];
            if (192..=223).contains(&datagram[1]) {
                let compound = Compound::reduced(datagram).expect("RTCP");
                for packet in compound.packets() {
                    let Packet::Pli(pli) = packet else { continue };
                    self.times_asked += 1;
                    let mut layers = self.layers.iter_mut();
                    match layers.find(|layer| layer.camera.ssrc == pli.media_ssrc) {
                        Some(layer) => layer.asked = true,
                        None => self.asked = true,
                    }
                }
                continue;
            }
            let packet = RtpView::new(datagram).expect("RTP");
            assert_eq!((packet.ssrc(), packet.payload_type()), (self.ssrc, 96));
            let (sequence, timestamp) = (packet.sequence().0, packet.timestamp().0);
            if let Some((before, then)) = self.last {
                self.gaps += u32::from(sequence != before.wrapping_add(1));
                let passed = timestamp.wrapping_sub(then);
                assert!(passed < 90_000 * 120, "time goes on: {then} {timestamp}");
            }
            self.last = Some((sequence, timestamp));
            self.screen.handle_packet(Time::ZERO, datagram);
        }
    }

    /// Asks for a key frame.
    pub fn ask(&self) {
        let mut bytes = Vec::new();
        write_receiver_report(&mut bytes, 77, &[]);
        write_sdes_cname(&mut bytes, &[(77, "receiver")]);
        write_pli(&mut bytes, 77, self.ssrc);
        self.socket.send_to(&bytes, self.node.expect("it has joined")).expect("sent");
    }
}

impl SmallCamera {
    fn medium(&self, codec: Codec) -> Medium {
        let PictureSize { width, height } = self.size;
        Medium {
            id: format!("layer{height}"),
            kind: MediaKind::Video.into(),
            direction: Direction::SendOnly.into(),
            codecs: vec![codec],
            ssrc: self.camera.ssrc,
            layer: Some(PictureLayer { of: "video".to_owned(), width, height }),
            ..Medium::default()
        }
    }
}
