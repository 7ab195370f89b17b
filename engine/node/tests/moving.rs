//! A conference that moves from worker to worker while it carries media, on both back ends.

use motet_net::IoChoice;
use motet_node::{NodeOptions, Rebalance, RunningNode, start};
use motet_proto::media::{Codec, MediaKind};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::*;
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A participant listens for so long at a time, up to a hundred times.
const SILENCE: Duration = Duration::from_millis(100);

struct Node {
    node: RunningNode,
    client: MediaNodeClient<Channel>,
}

/// Each test takes a range of ports of its own.
fn ports(first: u16) -> NodeOptions {
    NodeOptions { port_range: first..=first + 49, ..NodeOptions::default() }
}

/// A node with two workers.
async fn node(options: NodeOptions) -> Node {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let metrics = Some(motet_status::Listen::Off);
    let options = NodeOptions { listen, metrics, workers: Some(2), ..options };
    let node = start(options).await.expect("the node starts");
    let client =
        MediaNodeClient::connect(format!("http://{}", node.address())).await.expect("the node answers");
    Node { node, client }
}

impl Node {
    async fn move_to(&mut self, worker: u32) -> Result<MoveConferenceResponse, Status> {
        self.ask(MoveConferenceRequest { id: "room".into(), epoch: 1, worker }).await
    }

    async fn ask(&mut self, request: MoveConferenceRequest) -> Result<MoveConferenceResponse, Status> {
        self.client.move_conference(request).await.map(tonic::Response::into_inner)
    }

    async fn put(&mut self, id: &str, legs: Vec<Leg>) -> ConferenceAllocation {
        let spec = ConferenceSpec { id: id.into(), legs, ..ConferenceSpec::default() };
        let put = PutConferenceRequest { spec: Some(spec), epoch: 1, revision: 1 };
        self.client.put_conference(put).await.expect("accepted").into_inner()
    }

    async fn workers(&mut self) -> Vec<u32> {
        let list = self.client.list_conferences(ListConferencesRequest::default()).await.expect("listed");
        list.into_inner().conferences.remove(0).workers
    }

    /// Worker of each conference.
    async fn places(&mut self) -> BTreeMap<String, u32> {
        let list = self.client.list_conferences(ListConferencesRequest::default()).await.expect("listed");
        let list = list.into_inner().conferences.into_iter();
        list.map(|running| (running.id, running.workers[0])).collect()
    }

    async fn stats(&mut self) -> ConferenceStatsResponse {
        let request = ConferenceStatsRequest { id: "room".into() };
        self.client.conference_stats(request).await.expect("it runs").into_inner()
    }

    /// Waits until so many packets were sent, and says how many. Statistics never go back.
    async fn packets_beyond(&mut self, wanted: u64) -> u64 {
        let end = Instant::now() + Duration::from_secs(10);
        let mut before = 0;
        loop {
            let packets: u64 = self.stats().await.routes.iter().map(|route| route.packets).sum();
            assert!(packets >= before, "statistics went back from {before} to {packets}");
            if packets >= wanted {
                return packets;
            }
            assert!(Instant::now() < end, "{packets} of {wanted} packets");
            before = packets;
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout can be set");
    socket
}

/// Learns where it sends to, unless it is told.
fn leg(id: &str, remote: Option<&UdpSocket>) -> Leg {
    let remote = remote.map(|socket| socket.local_addr().expect("bound").to_string()).unwrap_or_default();
    let codec = Codec { payload_type: 96, name: "H264".into(), clock_rate_hz: 90_000, ..Codec::default() };
    let medium = Medium {
        id: "video".into(),
        kind: MediaKind::Video.into(),
        codecs: vec![codec],
        ..Medium::default()
    };
    let transport = Transport { remote, rtcp_mux: true, ..Transport::default() };
    Leg { id: id.into(), transports: vec![transport], media: vec![medium], ..Leg::default() }
}

/// A packet as it was heard: number, timestamp, source, and which it was to its sender.
type Heard = (u16, u32, u32, u16);

/// A participant: sends picture after picture of five packets, and notes what comes.
struct Talker {
    sender: Option<JoinHandle<u16>>,
    ear: Option<JoinHandle<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    /// How many packets are to come; none sent so many.
    expected: Arc<AtomicU16>,
}

impl Talker {
    fn new(socket: &UdpSocket, to: SocketAddr) -> Talker {
        let (stop, expected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(u16::MAX)));
        let (socket, ended) = (socket.try_clone().expect("another handle"), Arc::clone(&stop));
        let (ear, enough) = (socket.try_clone().expect("another handle"), Arc::clone(&expected));
        let sender = std::thread::spawn(move || send(&socket, to, &ended));
        let ear = std::thread::spawn(move || listen(&ear, &enough));
        Talker { sender: Some(sender), ear: Some(ear), stop, expected }
    }

    /// Ends sending; says how many packets there were.
    fn stop(&mut self) -> u16 {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.take().expect("it is stopped once").join().expect("no panic")
    }

    /// All that another one sent came: each packet once, in order, as one source.
    fn heard_all(&mut self, sent: u16) {
        self.expected.store(sent, Ordering::Relaxed);
        let heard = self.ear.take().expect("it is asked once").join().expect("no panic");
        let (sequence, timestamp, ssrc, _) = heard[0];
        for (index, packet) in (0..).zip(&heard) {
            let timestamp = timestamp.wrapping_add(u32::from(index / 5) * 3_000);
            assert_eq!(*packet, (sequence.wrapping_add(index), timestamp, ssrc, index), "packet {index}");
        }
        assert_eq!(heard.len(), usize::from(sent));
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, ended: &AtomicBool) -> u16 {
    let mut sent = 0u16;
    while !ended.load(Ordering::Relaxed) && sent < 60_000 {
        for _ in 0..5 {
            let mut payload = [7; 700];
            payload[..2].copy_from_slice(&sent.to_be_bytes());
            let packet = RtpBuilder::new(0x1234).payload_type(96).sequence(WireSeq(sent));
            let packet =
                packet.timestamp(WireTimestamp(u32::from(sent / 5) * 3_000)).payload(&payload).to_vec();
            socket.send_to(&packet, to).expect("loopback");
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    sent
}

fn listen(socket: &UdpSocket, expected: &AtomicU16) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut bytes = [0; 2048];
    let mut silent = 0;
    while heard.len() < usize::from(expected.load(Ordering::Relaxed)) && silent < 100 {
        let Ok(length) = socket.recv(&mut bytes) else {
            silent += 1;
            continue;
        };
        silent = 0;
        if (192..=223).contains(&bytes[1]) {
            continue;
        }
        let view = RtpView::new(&bytes[..length]).expect("RTP");
        let number = u16::from_be_bytes([view.payload()[0], view.payload()[1]]);
        heard.push((view.sequence().0, view.timestamp().0, view.ssrc(), number));
    }
    heard
}

/// Two participants of a conference that send to each other.
struct Call(Talker, Talker);

impl Call {
    async fn begin(node: &mut Node, id: &str) -> Call {
        let (a, b) = (socket(), socket());
        let allocation = node.put(id, vec![leg("a", Some(&a)), leg("b", Some(&b))]).await;
        Call(Talker::new(&a, local(&allocation, "a")), Talker::new(&b, local(&allocation, "b")))
    }

    fn loses_nothing(mut self) {
        let (of_a, of_b) = (self.0.stop(), self.1.stop());
        self.1.heard_all(of_a);
        self.0.heard_all(of_b);
    }
}

fn local(allocation: &ConferenceAllocation, leg: &str) -> SocketAddr {
    let leg = allocation.legs.iter().find(|known| known.leg == leg).expect("the leg was allocated");
    leg.transports[0].local.parse().expect("an address")
}

async fn to_and_fro(io: IoChoice, first_port: u16) {
    let mut node = node(NodeOptions { io, ..ports(first_port) }).await;
    let (a, b) = (socket(), socket());
    // b's address is learnt from its first packets, and must be kept.
    let legs = vec![leg("a", Some(&a)), leg("b", None)];
    let allocation = node.put("room", legs).await;
    let other = Talker::new(&b, local(&allocation, "b"));
    a.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    a.peek(&mut [0; 64]).expect("b is heard");
    a.set_read_timeout(Some(SILENCE)).expect("a timeout can be set");
    let mut talkers = [Talker::new(&a, local(&allocation, "a")), other];
    let mut before = 0;
    for round in 1..=20 {
        let to = round % 2;
        let moved = node.move_to(to).await.expect("it moves");
        assert_eq!(moved.from_worker, 1 - to);
        assert_eq!(node.workers().await, [to]);
        let packets = node.packets_beyond(before).await;
        // Some moves follow each other at once, some after a while.
        before = node.packets_beyond(packets + 40 * u64::from(round % 4)).await;
    }
    let sent = talkers.each_mut().map(Talker::stop);
    talkers[1].heard_all(sent[0]);
    talkers[0].heard_all(sent[1]);
    let stats = node.stats().await;
    assert!(stats.streams.iter().all(|stream| stream.lost == 0), "{stats:?}");
    let again = node
        .client
        .list_conferences(ListConferencesRequest { full: true, ..Default::default() })
        .await
        .expect("listed");
    assert_eq!(again.into_inner().conferences[0].allocation.as_ref(), Some(&allocation));
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_the_best_back_end() {
    to_and_fro(IoChoice::Auto, 25_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_mmsg() {
    to_and_fro(IoChoice::Mmsg, 25_050).await;
}

/// Three conferences are on the first worker, one is on the second.
async fn uneven(node: &mut Node) -> Vec<Call> {
    let mut calls = Vec::new();
    for id in ["one", "two", "three", "four"] {
        calls.push(Call::begin(node, id).await);
    }
    let two = MoveConferenceRequest { id: "two".into(), epoch: 1, worker: 0 };
    assert_eq!(node.ask(two).await.expect("it moves").from_worker, 1);
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_gives_a_conference_away() {
    let rebalance_above = Rebalance::Above(0.001);
    let mut node = node(NodeOptions { rebalance_above, ..ports(25_250) }).await;
    let calls = uneven(&mut node).await;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let places = node.places().await;
        // The one that was moved by hand rests.
        assert_eq!(places["two"], 0);
        if places.values().filter(|worker| **worker == 0).count() == 2 {
            break;
        }
        assert!(Instant::now() < end, "nothing moves: {places:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    calls.into_iter().for_each(Call::loses_nothing);
    node.node.shutdown().await;
}

/// Refused for this field, and with this in the message.
fn refused(answer: Result<MoveConferenceResponse, Status>, code: Code, field: &str, why: &str) {
    let status = answer.expect_err(why);
    assert_eq!(status.code(), code, "{status}");
    let details = status.get_details_bad_request().expect("the field is named");
    assert_eq!(details.field_violations[0].field, field, "{status}");
    assert!(status.message().contains(why), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_by_name_and_changes_nothing() {
    let mut node = node(ports(25_100)).await;
    node.put("room", vec![leg("a", None), leg("b", None)]).await;
    let ask = |id: &str, epoch, worker| MoveConferenceRequest { id: id.into(), epoch, worker };
    let not_here = node.ask(ask("rome", 1, 1)).await;
    refused(not_here, Code::NotFound, "id", "'rome' does not run on this node");
    refused(node.ask(ask("room", 0, 1)).await, Code::FailedPrecondition, "epoch", "older than 1");
    refused(node.ask(ask("room", 2, 1)).await, Code::InvalidArgument, "epoch", "runs under 1");
    let (far, here) = (node.move_to(2).await, node.move_to(0).await);
    refused(far, Code::InvalidArgument, "worker", "2 does not exist; this node has workers 0 to 1");
    refused(here, Code::InvalidArgument, "worker", "'room' is on worker 0 already");
    assert_eq!(node.workers().await, [0]);

    node.put("nobody", Vec::new()).await;
    refused(node.ask(ask("nobody", 1, 1)).await, Code::FailedPrecondition, "id", "it has no legs");
    node.client.drain(DrainRequest::default()).await.expect("it drains");
    refused(node.move_to(1).await, Code::FailedPrecondition, "id", "the node drains");
    node.client.undrain(UndrainRequest::default()).await.expect("it goes on");
    assert_eq!(node.move_to(1).await.expect("it moves").from_worker, 0);
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spread_conference_stays_until_it_is_on_one_worker() {
    let mut node = node(NodeOptions { worker_legs_max: 2, ..ports(25_150) }).await;
    let three = || vec![leg("a", None), leg("b", None), leg("c", None)];
    node.put("room", three()).await;
    assert_eq!(node.workers().await, [0, 1]);
    refused(node.move_to(1).await, Code::FailedPrecondition, "id", "it is spread over workers");
    let change = change::Change::RemoveLeg("c".into());
    let changes = vec![Change { change: Some(change) }];
    let patch = PatchConferenceRequest { id: "room".into(), epoch: 1, base_revision: 1, changes };
    node.client.patch_conference(patch).await.expect("accepted");
    node.move_to(1).await.expect("it moves");
    // What comes then finds its place there, or crosses from there.
    let spec = ConferenceSpec { id: "room".into(), legs: three(), ..ConferenceSpec::default() };
    let put = PutConferenceRequest { spec: Some(spec), epoch: 1, revision: 3 };
    node.client.put_conference(put).await.expect("accepted");
    assert_eq!(node.workers().await, [0, 1]);
    let delete = DeleteConferenceRequest { id: "room".into(), epoch: 1, elsewhere: false };
    assert!(node.client.delete_conference(delete).await.expect("ended").into_inner().existed);
    node.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn legs_that_share_a_port_stay() {
    // Two ports that were free just now, in a row.
    let free =
        |port: &u16| [*port, port + 1].iter().all(|port| UdpSocket::bind(("127.0.0.1", *port)).is_ok());
    let shared_port = (25_200..25_250).step_by(2).find(free);
    let mut node = node(NodeOptions { shared_port, ..NodeOptions::default() }).await;
    let (a, b) = (socket(), socket());
    node.put("room", vec![leg("a", Some(&a)), leg("b", Some(&b))]).await;
    refused(node.move_to(1).await, Code::FailedPrecondition, "id", "--shared-port");
    node.node.shutdown().await;
}
