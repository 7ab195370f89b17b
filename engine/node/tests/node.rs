//! A whole node over loopback: gRPC in, RTP in and out, on both back ends.

use motet_net::IoChoice;
use motet_node::{NodeOptions, RunningNode, start};
use motet_proto::media::{Codec, Direction, MediaKind};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::*;
use motet_rtp::{RtpBuilder, RtpView, WireSeq};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic::transport::Channel;

struct Node {
    node: RunningNode,
    client: MediaNodeClient<Channel>,
}

/// A node on free ports. Each test takes a range of its own; ports that others hold are passed over.
async fn node(io: IoChoice, first_port: u16) -> Node {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let port_range = first_port..=first_port + 199;
    let metrics = Some(motet_status::Listen::At(listen));
    let residence_turns = 1;
    let options = NodeOptions { listen, port_range, io, metrics, residence_turns, ..NodeOptions::default() };
    let node = start(options).await.expect("the node starts");
    let client =
        MediaNodeClient::connect(format!("http://{}", node.address())).await.expect("the node answers");
    Node { node, client }
}

/// A participant's socket.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    socket
}

fn leg(id: &str, socket: Option<&UdpSocket>, direction: Direction) -> Leg {
    let remote = socket.map(|socket| socket.local_addr().expect("bound").to_string()).unwrap_or_default();
    let transport = Transport { remote, rtcp_mux: true, ..Transport::default() };
    let codec = Codec { payload_type: 96, name: "H264".into(), clock_rate_hz: 90_000, ..Codec::default() };
    let medium = Medium {
        id: "video".into(),
        kind: MediaKind::Video.into(),
        direction: direction.into(),
        codecs: vec![codec],
        ..Medium::default()
    };
    Leg { id: id.into(), transports: vec![transport], media: vec![medium], ..Leg::default() }
}

fn put(legs: Vec<Leg>, epoch: u64, revision: u64) -> PutConferenceRequest {
    put_as("room", legs, epoch, revision)
}

fn put_as(id: &str, legs: Vec<Leg>, epoch: u64, revision: u64) -> PutConferenceRequest {
    let spec = ConferenceSpec { id: id.into(), legs, ..ConferenceSpec::default() };
    PutConferenceRequest { spec: Some(spec), epoch, revision }
}

fn local(allocation: &ConferenceAllocation, leg: &str) -> SocketAddr {
    let leg = allocation.legs.iter().find(|known| known.leg == leg).expect("the leg was allocated");
    leg.transports[0].local.parse().expect("an address")
}

fn ssrc_to(allocation: &ConferenceAllocation, leg: &str) -> u32 {
    let routes = allocation.routes.iter().filter_map(|route| route.route.as_ref());
    routes.clone().find(|route| route.to_leg == leg).expect("a route to the leg").ssrc
}

fn packet(sequence: u16) -> Vec<u8> {
    RtpBuilder::new(0x1234)
        .payload_type(96)
        .sequence(WireSeq(sequence))
        .payload(&[sequence as u8; 900])
        .to_vec()
}

/// The next RTP packet, past any RTCP.
fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 2048];
    loop {
        let length = socket.recv(&mut bytes).expect("a packet within five seconds");
        if !(192..=223).contains(&bytes[1]) {
            return bytes[..length].to_vec();
        }
    }
}

async fn carries_a_conference(io: IoChoice, first_port: u16) {
    let mut node = node(io, first_port).await;
    let (sender, first, second) = (socket(), socket(), socket());
    let legs = vec![
        leg("sender", Some(&sender), Direction::SendOnly),
        leg("first", Some(&first), Direction::ReceiveOnly),
        leg("second", Some(&second), Direction::ReceiveOnly),
    ];
    let allocation =
        node.client.put_conference(put(legs.clone(), 1, 1)).await.expect("accepted").into_inner();
    assert_eq!((allocation.legs.len(), allocation.routes.len(), allocation.refused.len()), (3, 2, 0));
    for sequence in 0..100 {
        sender.send_to(&packet(sequence), local(&allocation, "sender")).expect("sent");
        for (socket, leg) in [(&first, "first"), (&second, "second")] {
            let received = receive(socket);
            let view = RtpView::new(&received).expect("RTP");
            assert_eq!((view.ssrc(), view.payload_type()), (ssrc_to(&allocation, leg), 96));
            assert_eq!(view.payload(), [sequence as u8; 900]);
        }
    }
    let again =
        node.client.put_conference(put(legs, 1, 1)).await.expect("repeating is harmless").into_inner();
    assert_eq!(again, allocation);
    let stats = ConferenceStatsRequest { id: "room".into() };
    let stats = node.client.conference_stats(stats).await.expect("it runs").into_inner();
    assert_eq!((stats.streams[0].packets, stats.streams[0].lost), (100, 0));
    assert!(stats.routes.iter().all(|route| route.packets == 100));
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_a_conference_by_mmsg() {
    carries_a_conference(IoChoice::Mmsg, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_a_conference_by_the_best_back_end() {
    carries_a_conference(IoChoice::Auto, 20_200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_field_and_change_nothing() {
    let mut node = node(IoChoice::Auto, 20_400).await;
    let legs = || vec![leg("a", None, Direction::SendReceive), leg("b", None, Direction::SendReceive)];
    let allocation = node.client.put_conference(put(legs(), 3, 5)).await.expect("accepted").into_inner();

    let mut twice = legs();
    let codec = twice[1].media[0].codecs[0].clone();
    twice[1].media[0].codecs.push(codec);
    let mut too_many = legs();
    too_many.extend((0..100).map(|n| leg(&format!("x{n}"), None, Direction::SendReceive)));
    for (request, code, field) in [
        (put(twice, 3, 6), Code::InvalidArgument, "spec.legs[1].media[0].codecs[1].payload_type"),
        (put(legs(), 2, 6), Code::FailedPrecondition, "epoch"),
        (put(legs(), 3, 4), Code::FailedPrecondition, "revision"),
        (put(vec![], 3, 5), Code::FailedPrecondition, "revision"),
        (put(too_many, 3, 6), Code::ResourceExhausted, "port range exhausted"),
    ] {
        let status = node.client.put_conference(request).await.expect_err(field);
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(field), "{status}");
    }
    let patch = PatchConferenceRequest { id: "room".into(), epoch: 3, base_revision: 4, changes: vec![] };
    assert_eq!(node.client.patch_conference(patch).await.expect_err("old").code(), Code::Aborted);
    let delete = DeleteConferenceRequest { id: "room".into(), epoch: 2, elsewhere: false };
    assert_eq!(
        node.client.delete_conference(delete).await.expect_err("old").code(),
        Code::FailedPrecondition
    );

    let list = node
        .client
        .list_conferences(ListConferencesRequest { full: true, ..Default::default() })
        .await
        .expect("a list");
    let list = list.into_inner().conferences;
    assert_eq!((list.len(), list[0].allocation.as_ref()), (1, Some(&allocation)));
    let used = node.client.describe(DescribeRequest {}).await.expect("described").into_inner().load;
    assert_eq!(used.expect("a load").ports_used, 4, "what a refused call took was given back");
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_told_page_by_page_and_in_brief_unless_named() {
    let mut node = node(IoChoice::Auto, 20_640).await;
    for id in ["e", "a", "c", "d", "b"] {
        let put = put_as(id, vec![leg("a", None, Direction::SendReceive)], 1, 1);
        node.client.put_conference(put).await.expect("accepted");
    }
    let mut pages = Vec::new();
    let mut asked = ListConferencesRequest { full: true, limit: 2, ..Default::default() };
    loop {
        let page = node.client.list_conferences(asked.clone()).await.expect("listed").into_inner();
        pages.push(page.conferences.iter().map(|copy| copy.id.clone()).collect::<String>());
        asked.after = page.conferences.last().expect("a page has some").id.clone();
        if !page.more {
            asked.since = page.cursor;
            break;
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    let asked = ListConferencesRequest { after: "b".into(), in_full: vec!["d".into()], ..asked };
    let page = node.client.list_conferences(asked).await.expect("listed").into_inner();
    let told: Vec<(&str, bool)> =
        page.conferences.iter().map(|copy| (copy.id.as_str(), copy.brief)).collect();
    assert_eq!(told, [("c", true), ("d", false)], "nothing has changed since, and one was named");
    assert!(page.more && page.conferences[1].allocation.is_some());
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_a_leg_and_an_ended_conference_stays_ended() {
    let mut node = node(IoChoice::Auto, 20_600).await;
    let legs = vec![leg("a", None, Direction::SendReceive), leg("b", None, Direction::SendReceive)];
    node.client.put_conference(put(legs.clone(), 1, 1)).await.expect("accepted");
    let changes = vec![
        Change { change: Some(change::Change::PutLeg(leg("c", None, Direction::ReceiveOnly))) },
        Change { change: Some(change::Change::RemoveLeg("a".into())) },
    ];
    let patch = PatchConferenceRequest { id: "room".into(), epoch: 1, base_revision: 1, changes };
    let allocation = node.client.patch_conference(patch).await.expect("accepted").into_inner();
    assert_eq!((allocation.revision, allocation.routes.len()), (2, 1));
    let delete = DeleteConferenceRequest { id: "room".into(), epoch: 1, elsewhere: false };
    let existed = node.client.delete_conference(delete.clone()).await.expect("accepted").into_inner().existed;
    assert!(existed);
    assert!(!node.client.delete_conference(delete).await.expect("harmless").into_inner().existed);
    let late = node.client.put_conference(put(legs.clone(), 1, 2)).await.expect_err("a late copy");
    assert_eq!(late.code(), Code::FailedPrecondition);
    node.client.put_conference(put(legs, 2, 1)).await.expect("a new epoch begins anew");
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_hear_what_happens() {
    let mut node = node(IoChoice::Auto, 20_800).await;
    let mut events = node.client.watch(WatchRequest::default()).await.expect("watching").into_inner();
    let first = events.message().await.expect("a stream").expect("an event");
    assert!(matches!(first.kind, Some(event::Kind::Status(_))));
    let sender = socket();
    let legs = vec![leg("a", None, Direction::SendOnly), leg("b", None, Direction::ReceiveOnly)];
    let allocation = node.client.put_conference(put(legs, 1, 1)).await.expect("accepted").into_inner();
    for sequence in 0..3 {
        sender.send_to(&packet(sequence), local(&allocation, "a")).expect("sent");
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let event = tokio::time::timeout(Duration::from_secs(10), events.message());
        let event = event.await.expect("in time").expect("a stream").expect("an event");
        match event.kind.expect("a kind") {
            event::Kind::ConferenceChanged(_) => heard.push("changed".to_owned()),
            event::Kind::LegAlive(alive) => {
                assert_eq!(alive.source, sender.local_addr().expect("bound").to_string());
                heard.push(format!("{} alive", alive.leg));
            }
            event::Kind::StreamStarted(started) => {
                heard.push(format!("{}/{} started", started.leg, started.medium))
            }
            _ => {}
        }
    }
    // The stream starts with its first packet, the source is locked by the second.
    assert_eq!(heard, ["changed", "a/video started", "a alive"]);
    let list = node.client.list_conferences(ListConferencesRequest::default()).await;
    let list = list.expect("listed").into_inner();
    assert_eq!(list.conferences[0].alive_legs, ["a"], "who did not hear the event is told here");
    assert!(list.event_sequence >= 3, "{list:?}");
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_keeps_what_it_has() {
    let mut node = node(IoChoice::Auto, 21_000).await;
    node.client.put_conference(put(vec![], 1, 1)).await.expect("accepted");
    let left =
        node.client.drain(DrainRequest::default()).await.expect("drains").into_inner().conferences_left;
    assert_eq!(left, 1);
    node.client.put_conference(put(vec![], 1, 2)).await.expect("what runs goes on");
    let mut other = put(vec![], 1, 1);
    other.spec.as_mut().expect("given").id = "other".into();
    let refusal = node.client.put_conference(other.clone()).await.expect_err("new");
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(!refusal.details().is_empty(), "tells a node that drains from one that is away");
    node.client.undrain(UndrainRequest {}).await.expect("undrains");
    node.client.put_conference(other).await.expect("new ones again");
    node.node.shutdown().await;
}

/// Status and body of a page of the node's HTTP services.
async fn http(node: &Node, path: &str) -> (u16, String) {
    let address = node.node.metrics_address().expect("it is on");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: motet\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

/// Asks until the page has all of these lines: workers show their counters a few times a second.
async fn shows(node: &Node, wanted: &[&str]) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, page) = http(node, "/metrics").await;
        assert_eq!(status, 200, "{page}");
        let missing: Vec<_> = wanted.iter().filter(|line| !page.lines().any(|have| have == **line)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{missing:?} is not in\n{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the node says so: its threads may not have run yet, or not for a while, on a busy machine.
async fn becomes_ready(node: &Node) {
    let end = Instant::now() + Duration::from_secs(10);
    while http(node, "/readyz").await != (200, "ready\n".to_owned()) {
        assert!(Instant::now() < end, "{:?}", http(node, "/readyz").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_went_through() {
    let mut node = node(IoChoice::Auto, 21_400).await;
    let (sender, receiver) = (socket(), socket());
    let legs = vec![
        leg("sender", Some(&sender), Direction::SendOnly),
        leg("receiver", Some(&receiver), Direction::ReceiveOnly),
    ];
    let allocation = node.client.put_conference(put(legs, 1, 1)).await.expect("accepted").into_inner();
    for sequence in 0..10 {
        sender.send_to(&packet(sequence), local(&allocation, "sender")).expect("sent");
        receive(&receiver);
    }
    shows(&node, &["motet_relay_residence_seconds_count{worker=\"0\"} 10"]).await;
    sender.send_to(&[0x80, 96], local(&allocation, "sender")).expect("sent");
    let wanted = [
        "motet_received_packets_total{worker=\"0\"} 11",
        "motet_received_bytes_total{worker=\"0\"} 9122",
        "motet_relay_forwarded_packets_total{worker=\"0\"} 10",
        "motet_dropped_packets_total{worker=\"0\",reason=\"too_short\"} 1",
        "motet_batch_packets_sum{worker=\"0\"} 11.0",
        "motet_relay_legs{worker=\"0\"} 2.0",
        "motet_relay_routes{worker=\"0\"} 1.0",
        "motet_node_conferences 1.0",
        "motet_node_used_ports 4.0",
        "motet_node_draining 0.0",
    ];
    shows(&node, &wanted).await;
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_lives_and_is_not_ready() {
    let mut node = node(IoChoice::Auto, 21_600).await;
    shows(&node, &["motet_node_draining 0.0"]).await;
    becomes_ready(&node).await;
    node.client.drain(DrainRequest::default()).await.expect("drains");
    let (status, why) = http(&node, "/readyz").await;
    assert_eq!((status, why.as_str()), (503, "not ready: the node drains\n"));
    assert_eq!(http(&node, "/healthz").await.0, 200);
    shows(&node, &["motet_node_draining 1.0"]).await;
    node.client.undrain(UndrainRequest {}).await.expect("undrains");
    becomes_ready(&node).await;
    node.node.shutdown().await;
}

/// Sends to an address as fast as it can, from another host as far as the node can see, while it lives.
struct Flood {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Flood {
    fn start(target: SocketAddr) -> Flood {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let socket = UdpSocket::bind("127.0.0.2:0").expect("all of 127/8 is this machine");
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                sent += u64::from(socket.send_to(&packet(sent as u16), target).is_ok());
            }
            sent
        });
        Flood { stop, thread: Some(thread) }
    }

    fn end(&mut self) -> u64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().expect("no panic"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

async fn others_are_served_during_a_flood(io: IoChoice, first_port: u16) {
    let mut node = node(io, first_port).await;
    let (victim, sender, receiver) = (socket(), socket(), socket());
    let legs = vec![leg("victim", Some(&victim), Direction::SendReceive)];
    let flooded = node.client.put_conference(put_as("flooded", legs, 1, 1)).await.expect("accepted");
    let legs = vec![
        leg("sender", Some(&sender), Direction::SendOnly),
        leg("receiver", Some(&receiver), Direction::ReceiveOnly),
    ];
    let allocation = node.client.put_conference(put(legs, 1, 1)).await.expect("accepted").into_inner();
    let mut flood = Flood::start(local(&flooded.into_inner(), "victim"));
    let target = local(&allocation, "sender");
    let mut bytes = [0; 2048];
    let mut reports = 0;
    let end = Instant::now() + Duration::from_secs(20);
    for sequence in 0.. {
        sender.send_to(&packet(sequence), target).expect("sent");
        // Each packet comes, and timers work: reports come between them.
        while let Ok(length) = receiver.recv(&mut bytes) {
            if !(192..=223).contains(&bytes[1]) {
                assert_eq!(bytes[12..length], [sequence as u8; 900]);
                break;
            }
            reports += 1;
        }
        if sequence >= 200 && reports >= 2 {
            break;
        }
        assert!(Instant::now() < end, "{sequence} packets and {reports} reports in 20 s");
    }
    // Control is served, too.
    let stats = ConferenceStatsRequest { id: "room".into() };
    let stats = node.client.conference_stats(stats).await.expect("it runs").into_inner();
    assert_eq!(stats.streams[0].lost, 0);
    let sent = flood.end();
    assert!(sent > 10_000, "{sent} packets are no flood");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (_, page) = http(&node, "/metrics").await;
        let counted = page.lines().any(|line| {
            line.contains("off_path")
                && !line.contains("rtcp")
                && !line.starts_with('#')
                && !line.ends_with(" 0")
        });
        if counted {
            break;
        }
        assert!(Instant::now() < deadline, "the flood is not counted as off_path: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_during_a_flood_by_mmsg() {
    others_are_served_during_a_flood(IoChoice::Mmsg, 23_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_during_a_flood_by_the_best_back_end() {
    others_are_served_during_a_flood(IoChoice::Auto, 23_200).await;
}
