//! A node ends, and another one goes on with its conference: what participants see over loopback.

use motet_node::{NodeOptions, RunningNode, start};
use motet_proto::media::{Codec, Direction, MediaKind};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::*;
use motet_rtp::rtcp::{Compound, Packet};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

struct Node {
    node: RunningNode,
    client: MediaNodeClient<Channel>,
}

async fn node(first_port: u16) -> Node {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let port_range = first_port..=first_port + 99;
    let metrics = Some(motet_status::Listen::Off);
    let options = NodeOptions { listen, port_range, metrics, media_floating: true, ..NodeOptions::default() };
    let node = start(options).await.expect("the node starts");
    let client = MediaNodeClient::connect(format!("http://{}", node.address())).await;
    Node { node, client: client.expect("the node answers") }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    socket
}

fn leg(id: &str, socket: &UdpSocket) -> Leg {
    let remote = socket.local_addr().expect("bound").to_string();
    let codec = Codec { payload_type: 96, name: "H264".into(), clock_rate_hz: 90_000, ..Codec::default() };
    let medium = Medium {
        id: "video".into(),
        kind: MediaKind::Video.into(),
        direction: Direction::SendReceive.into(),
        codecs: vec![codec],
        ..Medium::default()
    };
    let transport = Transport { remote, rtcp_mux: true, ..Transport::default() };
    Leg { id: id.into(), transports: vec![transport], media: vec![medium], ..Leg::default() }
}

/// SSRC, sequence number and timestamp of the next RTP packet.
fn receive(socket: &UdpSocket) -> (u32, u16, u32) {
    let mut bytes = [0; 2048];
    loop {
        let length = socket.recv(&mut bytes).expect("a packet within five seconds");
        if !(192..=223).contains(&bytes[1]) {
            let view = RtpView::new(&bytes[..length]).expect("RTP");
            return (view.ssrc(), view.sequence().0, view.timestamp().0);
        }
    }
}

/// The conference's epoch on this node; gives where alice sends to.
async fn put(node: &mut Node, legs: Vec<Leg>, epoch: u64) -> SocketAddr {
    let spec = ConferenceSpec { id: "room".into(), legs, seed: 0x0dd5_eed5, ..ConferenceSpec::default() };
    let put = PutConferenceRequest { spec: Some(spec), epoch, revision: 1 };
    let allocation = node.client.put_conference(put).await.expect("accepted").into_inner();
    let alice = allocation.legs.iter().find(|leg| leg.leg == "alice").expect("allocated");
    alice.transports[0].local.parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_see_one_stream_that_goes_on() {
    let (mut first, mut second) = (node(26_400).await, node(26_500).await);
    let (alice, bob, carol) = (socket(), socket(), socket());
    let legs = vec![leg("alice", &alice), leg("bob", &bob), leg("carol", &carol)];
    // Sequence numbers and timestamps wrap around on the way.
    let (mut sequence, mut timestamp) = (65_500_u16, u32::MAX - 90_000);
    let mut send = |to: SocketAddr| {
        let packet = RtpBuilder::new(0x1234).payload_type(96).sequence(WireSeq(sequence));
        alice
            .send_to(&packet.timestamp(WireTimestamp(timestamp)).payload(&[5; 500]).to_vec(), to)
            .expect("sent");
        let sent = (sequence, timestamp);
        (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(3_000));
        sent
    };
    let local = put(&mut first, legs.clone(), 1).await;
    let mut shift = None;
    for _ in 0..50 {
        let (sent, at) = send(local);
        let (got, other) = (receive(&bob), receive(&carol));
        assert_eq!(got, other, "both know it under one SSRC");
        let this = (got.0, got.1.wrapping_sub(sent), got.2.wrapping_sub(at));
        assert_eq!(*shift.get_or_insert(this), this);
    }
    first.node.shutdown().await;
    for socket in [&bob, &carol] {
        // Goodbyes and reports of the first node.
        socket.set_nonblocking(true).expect("can be set");
        while socket.recv(&mut [0; 2048]).is_ok() {}
        socket.set_nonblocking(false).expect("can be set");
    }
    // Who cannot be told another address goes on sending to the old one.
    let mut legs = legs;
    legs[0].transports[0].port_wanted = local.port().into();
    // The kernel closes the first one's sockets in its own time.
    let end = Instant::now() + Duration::from_secs(20);
    while UdpSocket::bind(local).is_err() {
        assert!(Instant::now() < end, "{local} does not become free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(put(&mut second, legs, 2).await, local, "the port is free, if outside of the range");
    // What was sent to nobody is lost, and nothing else.
    for _ in 0..7 {
        send(SocketAddr::from(([127, 0, 0, 1], 9)));
    }
    for _ in 0..50 {
        let (sent, at) = send(local);
        let (got, other) = (receive(&bob), receive(&carol));
        assert_eq!(got, other);
        assert_eq!(Some((got.0, got.1.wrapping_sub(sent), got.2.wrapping_sub(at))), shift);
    }
    second.node.shutdown().await;
}

/// What receivers hear last of a conference that is deleted: whether there is a goodbye (RFC 3550 section 6.6).
async fn says_goodbye(first_port: u16, epoch: u64, elsewhere: bool) -> bool {
    let mut node = node(first_port).await;
    let (alice, bob) = (socket(), socket());
    let local = put(&mut node, vec![leg("alice", &alice), leg("bob", &bob)], 1).await;
    let packet = RtpBuilder::new(0x1234).payload_type(96).payload(&[5; 500]).to_vec();
    alice.send_to(&packet, local).expect("sent");
    receive(&bob);
    let delete = DeleteConferenceRequest { id: "room".into(), epoch, elsewhere };
    assert!(node.client.delete_conference(delete).await.expect("accepted").into_inner().existed);
    // All that it sends has left when it has ended.
    node.node.shutdown().await;
    bob.set_nonblocking(true).expect("can be set");
    let mut bytes = [0; 2048];
    let mut goodbye = false;
    while let Ok(length) = bob.recv(&mut bytes) {
        if (192..=223).contains(&bytes[1]) {
            let compound = Compound::new(&bytes[..length]).expect("a compound");
            goodbye |= compound.packets().any(|packet| matches!(packet, Packet::Bye(..)));
        }
    }
    goodbye
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_told_goodbye_only_when_nobody_goes_on() {
    assert!(says_goodbye(26_600, 1, false).await, "it is over");
    assert!(!says_goodbye(26_620, 1, true).await, "another node has it");
    assert!(!says_goodbye(26_640, 2, false).await, "another node has it, as its epoch says");
}
