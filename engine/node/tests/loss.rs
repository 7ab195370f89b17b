//! A mix over loopback: who reports loss gets error correction, and others do not.

use motet_codecs::audio::{AudioCodec, AudioEncoder, EncoderSettings};
use motet_net::IoChoice;
use motet_node::{NodeOptions, start};
use motet_proto::media::{AudioMode, AudioSettings, Codec, Direction, MediaKind};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::*;
use motet_rtp::rtcp::{ReportBlock, write_receiver_report, write_sdes_cname};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Samples of a packet.
const FRAME: usize = 960;

struct Participant {
    id: &'static str,
    socket: UdpSocket,
    /// Where to send.
    node: SocketAddr,
    /// SSRC of what it gets.
    ssrc: u32,
    sequence: u16,
    lost: i32,
}

fn leg(id: &str, socket: &UdpSocket) -> Leg {
    let remote = socket.local_addr().expect("bound").to_string();
    let codec = Codec {
        payload_type: 111,
        name: "opus".into(),
        clock_rate_hz: 48_000,
        channels: 2,
        fmtp: "minptime=10;useinbandfec=1".into(),
    };
    let medium = Medium {
        id: "audio".into(),
        kind: MediaKind::Audio.into(),
        direction: Direction::SendReceive.into(),
        codecs: vec![codec],
        ..Medium::default()
    };
    let transport = Transport { remote, rtcp_mux: true, ..Transport::default() };
    Leg { id: id.into(), transports: vec![transport], media: vec![medium], ..Leg::default() }
}

/// A tone in syllables.
struct Talker {
    encoder: Box<dyn AudioEncoder>,
    samples: u32,
}

impl Talker {
    fn new() -> Talker {
        let codec = AudioCodec::parse("opus", 48_000, 1, "").expect("Opus");
        Talker { encoder: codec.encoder(&EncoderSettings::default()).expect("an encoder"), samples: 0 }
    }

    fn packet(&mut self) -> Vec<u8> {
        let sample = |at: u32| {
            let seconds = f64::from(self.samples + at) / 48_000.0;
            let loudness = 6_000.0 + 4_000.0 * (seconds * 4.0 * std::f64::consts::TAU).sin();
            (loudness * (seconds * 300.0 * std::f64::consts::TAU).sin()) as i16
        };
        let samples: Vec<i16> = (0..FRAME as u32).map(sample).collect();
        let mut payload = [0; 1_500];
        let bytes = self.encoder.encode(&samples, &mut payload).expect("encoded");
        let packet = RtpBuilder::new(0x1234)
            .payload_type(111)
            .sequence(WireSeq((self.samples / FRAME as u32) as u16))
            .timestamp(WireTimestamp(self.samples))
            .payload(&payload[..bytes])
            .to_vec();
        self.samples += FRAME as u32;
        packet
    }
}

impl Participant {
    /// The payload of the next RTP packet, past any RTCP.
    fn receive(&mut self) -> Vec<u8> {
        let mut bytes = [0; 2048];
        loop {
            let length = self.socket.recv(&mut bytes).expect("a packet within five seconds");
            if !(192..=223).contains(&bytes[1]) {
                let packet = RtpView::new(&bytes[..length]).expect("RTP");
                assert_eq!(packet.ssrc(), self.ssrc);
                self.sequence = packet.sequence().0;
                return packet.payload().to_vec();
            }
        }
    }

    /// Says that of ten packets `lost` were lost.
    fn report(&mut self, lost: i32) {
        self.lost += lost;
        let block = ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (256 * lost / 10) as u8,
            cumulative_lost: self.lost,
            highest_sequence: u32::from(self.sequence),
            jitter: 0,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        let mut bytes = Vec::new();
        write_receiver_report(&mut bytes, 0x1234, &[block]);
        write_sdes_cname(&mut bytes, &[(0x1234, self.id)]);
        self.socket.send_to(&bytes, self.node).expect("sent");
    }
}

/// A SILK layer (RFC 6716 section 3.1), and a copy of the packet before in it (section 4.2.3).
fn silk_and_copy(payload: &[u8]) -> (bool, bool) {
    let silk = payload[0] >> 3 < 16;
    (silk, silk && payload[1] & 0x40 != 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reports_loss_gets_copies_and_others_do_not() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let (port_range, io) = (26_000..=26_199, IoChoice::Mmsg);
    let options = NodeOptions { listen, port_range, io, ..NodeOptions::default() };
    let node = start(options).await.expect("the node starts");
    let mut client =
        MediaNodeClient::connect(format!("http://{}", node.address())).await.expect("the node answers");
    let sockets = ["talker", "loses", "hears"].map(|id| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        (id, socket)
    });
    let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
    let legs = sockets.iter().map(|(id, socket)| leg(id, socket)).collect();
    let spec = ConferenceSpec { id: "room".into(), legs, audio: Some(audio), ..ConferenceSpec::default() };
    let request = PutConferenceRequest { spec: Some(spec), epoch: 1, revision: 1 };
    let allocation = client.put_conference(request).await.expect("accepted").into_inner();
    let [talker, mut loses, mut hears] = sockets.map(|(id, socket)| {
        let leg = allocation.legs.iter().find(|leg| leg.leg == id).expect("allocated");
        let node = leg.transports[0].local.parse().expect("an address");
        let mut routes = allocation.routes.iter().filter_map(|route| route.route.as_ref());
        let ssrc = routes.find(|route| route.to_leg == id).expect("a route from the mix").ssrc;
        Participant { id, socket, node, ssrc, sequence: 0, lost: 0 }
    });

    let mut voice = Talker::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut packets, mut copies) = (0_u32, 0);
    // The mixer's own pace: one packet each 20 ms.
    while copies < 50 {
        assert!(Instant::now() < deadline, "{packets} packets without error correction");
        talker.socket.send_to(&voice.packet(), talker.node).expect("sent");
        let (silk, copy) = silk_and_copy(&loses.receive());
        assert!(!silk || packets > 50, "nothing is known of a loss yet");
        copies += u32::from(copy);
        assert_eq!(silk_and_copy(&hears.receive()), (false, false), "it loses nothing");
        packets += 1;
        if packets.is_multiple_of(50) {
            loses.report(1);
            hears.report(0);
        }
    }
    node.shutdown().await;
}
