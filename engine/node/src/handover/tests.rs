//! A node that is taken over, and one whose successors fail at every step. The packets' side is tested with
//! real sockets; the process's side is in `tools/motet/tests/processes`.

use super::channel::Channel;
use super::form::NodeForm;
use super::{Giver, Hello, Successor, VERSIONS, decode, encode, negotiate};
use crate::options::Handover;
use crate::testing::{conference, leg, medium, opus};
use crate::worker::monotonic;
use crate::{Ended, NodeOptions, RunningNode, start};
use motet_net::IoChoice;
use motet_proto::media::MediaKind;
use motet_proto::node as wire;
use motet_rtp::{RtpBuilder, RtpView, WireSeq};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use wire::media_node_client::MediaNodeClient;

mod mixed;
mod recorded;

/// A node with one conference of two, and the two.
struct World {
    _folder: TempDir,
    options: NodeOptions,
    node: RunningNode,
    allocation: wire::ConferenceAllocation,
    talker: UdpSocket,
    listener: UdpSocket,
    sent: u16,
    /// What the listener got last.
    received: Option<(u32, u16)>,
}

impl World {
    async fn new(io: IoChoice, first_port: u16) -> World {
        World::with(NodeOptions { io, ..NodeOptions::default() }, first_port).await
    }

    async fn with(options: NodeOptions, first_port: u16) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let options = NodeOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            port_range: first_port..=first_port + 99,
            handover_socket: Some(Handover::At(folder.path().join("handover"))),
            metrics: Some(motet_status::Listen::Off),
            ..options
        };
        let node = start(options.clone()).await.expect("the node starts");
        let (talker, listener) = (socket(), socket());
        let (allocation, sent, received) = (wire::ConferenceAllocation::default(), 65_530, None);
        let mut world =
            World { _folder: folder, options, node, allocation, talker, listener, sent, received };
        world.put(1).await;
        world
    }

    /// Makes the conference.
    async fn put(&mut self, epoch: u64) {
        let with_remote = |id, socket: &UdpSocket| {
            let mut leg = leg(id, vec![medium("audio", MediaKind::Audio, vec![opus(111)])]);
            leg.transports[0].remote = socket.local_addr().expect("bound").to_string();
            leg.transports[0].rtcp_mux = true;
            leg
        };
        let legs = vec![with_remote("talker", &self.talker), with_remote("listener", &self.listener)];
        let put = wire::PutConferenceRequest { spec: Some(conference(legs)), epoch, revision: 1 };
        let mut client = client(&self.node).await;
        self.allocation = client.put_conference(put).await.expect("accepted").into_inner();
        self.received = None;
    }

    fn path(&self) -> PathBuf {
        match &self.options.handover_socket {
            Some(Handover::At(path)) => path.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a packet; it goes on under the numbers that follow.
    fn talk(&mut self) {
        let local: SocketAddr = self
            .allocation
            .legs
            .iter()
            .find(|leg| leg.leg == "talker")
            .and_then(|leg| leg.transports[0].local.parse().ok())
            .expect("an address");
        let packet = RtpBuilder::new(7).payload_type(111).sequence(WireSeq(self.sent)).payload(b"sound");
        self.talker.send_to(&packet.to_vec(), local).expect("loopback");
        self.sent = self.sent.wrapping_add(1);
    }

    fn hear(&mut self) {
        let mut bytes = [0; 1500];
        loop {
            let len = self.listener.recv(&mut bytes).expect("a packet in time");
            if (192..=223).contains(&bytes[1]) {
                continue;
            }
            let view = RtpView::new(&bytes[..len]).expect("RTP");
            let got = (view.ssrc(), view.sequence().0);
            if let Some((ssrc, sequence)) = self.received {
                assert_eq!(got, (ssrc, sequence.wrapping_add(1)), "the same source, the next number");
            }
            self.received = Some(got);
            return;
        }
    }

    fn flows(&mut self) {
        for _ in 0..20 {
            self.talk();
            self.hear();
        }
    }

    /// Greets the node as a successor would.
    fn greet(&self, versions: Vec<u32>) -> (Channel, Giver) {
        let mut to = Channel::new(UnixStream::connect(self.path()).expect("the node waits"));
        to.set_patience(Duration::from_secs(10)).expect("a socket can be set");
        let clock = monotonic().as_nanos();
        to.say(&Hello { versions, software: "test".into(), clock }, &[]).expect("said");
        let (answer, _) = to.hear("an answer").expect("heard");
        (to, answer)
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
    socket
}

async fn client(node: &RunningNode) -> MediaNodeClient<tonic::transport::Channel> {
    MediaNodeClient::connect(format!("http://{}", node.address())).await.expect("the node answers")
}

async fn is_taken_over(io: IoChoice, first_port: u16) {
    let mut world = World::new(io, first_port).await;
    world.flows();
    let mut old_client = client(&world.node).await;
    let before = loop {
        let list = old_client
            .list_conferences(wire::ListConferencesRequest { full: true, ..Default::default() })
            .await;
        let list = list.expect("listed").into_inner();
        // The relay's event is on its way.
        if list.conferences[0].alive_legs == ["talker"] {
            break list;
        }
    };
    let mut watch = old_client.watch(wire::WatchRequest::default()).await.expect("watched").into_inner();
    for round in 0..3 {
        world.talk();
        let options = NodeOptions { take_over: true, ..world.options.clone() };
        let next = start(options).await.expect("it takes over");
        assert_eq!(world.node.ended().await, Ended::TakenOver);
        world.talk();
        std::mem::replace(&mut world.node, next).retire().await;
        world.hear();
        world.hear();
        world.flows();
        assert!(world.path().exists(), "round {round}: the next one may come");
    }
    while watch.message().await.expect("the watch ends in good order").is_some() {}
    let mut client = client(&world.node).await;
    let known =
        wire::ListConferencesRequest { full: true, since: before.cursor.clone(), ..Default::default() };
    let after = client.list_conferences(known).await.expect("listed").into_inner();
    assert!(after.event_sequence >= before.event_sequence, "events are counted on");
    let known = wire::ListConferencesRequest { full: true, since: after.cursor, ..Default::default() };
    let brief = client.list_conferences(known).await.expect("listed").into_inner().conferences.remove(0);
    assert!(brief.brief && brief.metadata.is_empty() && brief.allocation.is_none(), "nothing has changed");
    assert_eq!(
        (&brief.id, &brief.alive_legs),
        (&before.conferences[0].id, &before.conferences[0].alive_legs)
    );
    let (event_sequence, cursor) = (before.event_sequence, before.cursor.clone());
    let after = wire::ListConferencesResponse { event_sequence, cursor, ..after };
    assert_eq!(after, before, "the same node, start, conferences, ports, SSRCs, and who is heard");

    // What was inherited can be changed and ended.
    let patch = wire::PatchConferenceRequest {
        id: "c1".into(),
        epoch: 1,
        base_revision: 1,
        changes: vec![wire::Change { change: Some(wire::change::Change::SetMetadata(b"x".to_vec())) }],
    };
    client.patch_conference(patch).await.expect("accepted");
    world.flows();
    let delete = wire::DeleteConferenceRequest { id: "c1".into(), epoch: 1, elsewhere: false };
    assert!(client.delete_conference(delete).await.expect("ended").into_inner().existed);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_goes_on_where_this_one_was() {
    is_taken_over(IoChoice::Auto, 24_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_goes_on_where_this_one_was_by_mmsg() {
    is_taken_over(IoChoice::Mmsg, 24_100).await;
}

/// Where a successor of [`a_successor_that_fails_changes_nothing`] gives up.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Until {
    Welcome,
    Node,
    Sockets,
    Ready,
    Relay,
    Imported,
    Go,
}

/// Behaves like a successor until some point.
fn go_along(from: &mut Channel, until: Until) {
    let hear = |from: &mut Channel| -> (Giver, Vec<OwnedFd>) { from.hear("a word").expect("heard") };
    if until == Until::Welcome {
        return;
    }
    let (node, given) = hear(from);
    assert!(matches!(node, Giver::Node(_)) && given.len() == 2, "{node:?}");
    if until == Until::Node {
        return;
    }
    let (sockets, given) = hear(from);
    assert!(matches!(sockets, Giver::Sockets { worker: 0, .. }) && given.len() >= 2, "{sockets:?}");
    if until == Until::Sockets {
        return;
    }
    from.say(&Successor::Taken, &[]).expect("said");
    assert_eq!(hear(from).0, Giver::AllSockets);
    from.say(&Successor::Ready, &[]).expect("said");
    if until == Until::Ready {
        return;
    }
    assert_eq!(hear(from).0, Giver::Relay { worker: 0 });
    assert!(from.receive().expect("a relay").0.len() > 100);
    if until == Until::Relay {
        from.say(&Successor::Failed { why: "of a whim".into() }, &[]).expect("said");
        return;
    }
    from.say(&Successor::Imported, &[]).expect("said");
    if until == Until::Imported {
        return;
    }
    assert!(matches!(hear(from).0, Giver::Go { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_fails_changes_nothing() {
    let mut world = World::new(IoChoice::Auto, 24_200).await;
    world.flows();
    use Until::*;
    for until in [Welcome, Node, Sockets, Ready, Relay, Imported, Go] {
        let (mut from, answer) = world.greet(VERSIONS.to_vec());
        assert!(matches!(answer, Giver::Welcome { version: 4, .. }), "{answer:?}");
        go_along(&mut from, until);
        // These wait in the socket while nobody receives.
        world.talk();
        world.talk();
        drop(from);
        world.hear();
        world.hear();
        world.flows();
        let mut client = client(&world.node).await;
        client.list_conferences(wire::ListConferencesRequest::default()).await.expect("it answers");
    }
    // After all of them one that does not fail.
    let options = NodeOptions { take_over: true, ..world.options.clone() };
    let next = start(options).await.expect("it takes over");
    assert_eq!(world.node.ended().await, Ended::TakenOver);
    std::mem::replace(&mut world.node, next).retire().await;
    world.flows();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_with_other_options_is_refused_and_told_why() {
    let mut world = World::new(IoChoice::Auto, 24_300).await;
    let take_over = || NodeOptions { take_over: true, ..world.options.clone() };
    let named = NodeOptions { node_id: Some("somebody-else".into()), ..take_over() };
    let elsewhere = NodeOptions { media_ip: vec!["127.0.0.2".parse().expect("an address")], ..take_over() };
    let off = NodeOptions { handover_socket: Some(Handover::Off), ..take_over() };
    let nobody = Some(Handover::At(world.path().with_extension("no")));
    let nobody = NodeOptions { handover_socket: nobody, ..take_over() };
    for (options, why) in [
        (named, "--node-id: the running node is"),
        (elsewhere, "--media-ip: the running node carries media at 127.0.0.1 too"),
        (off, "--handover-socket is off"),
        (nobody, "no running node can be reached"),
    ] {
        let Err(error) = start(options).await else { panic!("{why}") };
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
    world.flows();
    let again = NodeOptions { listen: "127.0.0.1:0".parse().expect("an address"), ..world.options.clone() };
    let second = start(again).await.expect("a node works without a handover socket");
    second.shutdown().await;
    assert!(world.path().exists(), "the first one's socket stays");
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_conference_on_two_workers_is_not_taken_over() {
    let two = NodeOptions { workers: Some(2), worker_legs_max: 1, ..NodeOptions::default() };
    let mut world = World::with(two, 24_500).await;
    world.flows();
    let take_over = NodeOptions { take_over: true, ..world.options.clone() };
    let Err(error) = start(take_over.clone()).await else { panic!("what crosses would be lost") };
    let why = "the running node refuses: conference 'c1' is spread over workers";
    assert!(format!("{error:#}").contains(why), "{error:#}");
    world.flows();
    // Without the conference it is, and the workers of the next process spread one again.
    let mut old = client(&world.node).await;
    let delete = wire::DeleteConferenceRequest { id: "c1".into(), epoch: 1, elsewhere: false };
    old.delete_conference(delete).await.expect("ended");
    let next = start(take_over).await.expect("it takes over");
    assert_eq!(world.node.ended().await, Ended::TakenOver);
    std::mem::replace(&mut world.node, next).retire().await;
    world.put(2).await;
    world.flows();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_decide_what_is_spoken() {
    let mut world = World::new(IoChoice::Auto, 24_400).await;
    let (_, answer) = world.greet(vec![77, 78]);
    let Giver::Refused { why } = answer else { panic!("{answer:?}") };
    assert!(why.contains("knows [1, 2, 3, 4], its successor [77, 78]"), "{why}");
    let (_, answer) = world.greet(vec![1, 2, 3, 4, 5]);
    assert!(matches!(answer, Giver::Welcome { version: 4, .. }), "a newer one speaks as we do: {answer:?}");
    let (_, answer) = world.greet(vec![1]);
    assert!(matches!(answer, Giver::Welcome { version: 1, .. }), "we speak as an older one does: {answer:?}");
    world.flows();
    world.node.shutdown().await;
}

#[test]
fn the_highest_version_that_both_know_is_spoken() {
    assert_eq!(negotiate(&[1, 2, 3], &[2, 3, 4]), Ok(3));
    assert_eq!(negotiate(&[2], &[1, 2]), Ok(2));
    let why = negotiate(&[1], &[2, 3]).expect_err("nothing in common");
    assert!(why.contains("[1]") && why.contains("[2, 3]"), "{why}");
}

/// A form of the next version, as it might be: one field more, left out when it writes for version 1.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextForm {
    node_id: String,
    boot_id: String,
    workers: usize,
    draining: bool,
    ntp_origin: u64,
    metrics: Option<SocketAddr>,
    pools: Vec<u8>,
    conferences: Vec<u8>,
    ended: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drain_deadline: Option<u64>,
}

fn form() -> NodeForm {
    NodeForm {
        node_id: "n".into(),
        boot_id: "b".into(),
        workers: 1,
        draining: false,
        ntp_origin: 0x1234,
        metrics: None,
        pools: Vec::new(),
        conferences: Vec::new(),
        ended: Vec::new(),
    }
}

#[test]
fn one_version_up_and_back() {
    // Back: the newer one writes version 1 when that is spoken, and is read.
    let next = |drain_deadline| NextForm {
        node_id: "n".into(),
        boot_id: "b".into(),
        workers: 1,
        draining: false,
        ntp_origin: 0x1234,
        metrics: None,
        pools: Vec::new(),
        conferences: Vec::new(),
        ended: Vec::new(),
        drain_deadline,
    };
    let spoken = encode(&next(None)).expect("it can be written");
    assert_eq!(decode::<NodeForm>("the node", &spoken), Ok(form()));
    // If it wrote its own version all the same, the field would be named.
    let wrong = encode(&next(Some(5))).expect("it can be written");
    let error = decode::<NodeForm>("the node", &wrong).expect_err("one field too many");
    assert!(error.contains("unknown field `drain_deadline`") && error.contains("newer"), "{error}");
    // Up: what version 1 writes is read by the newer one.
    let old = encode(&form()).expect("it can be written");
    assert_eq!(decode::<NextForm>("the node", &old), Ok(next(None)));
}

#[test]
fn a_giver_that_writes_an_unknown_field_is_left_alone() {
    #[derive(Serialize)]
    enum NextGiver {
        Node(Box<NextForm>),
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("handover");
    let listener = UnixListener::bind(&path).expect("a socket");
    let giver = std::thread::spawn(move || {
        let mut to = Channel::new(listener.accept().expect("a successor").0);
        let (hello, _): (Hello, _) = to.hear("a greeting").expect("heard");
        assert_eq!(hello.versions, VERSIONS);
        to.say(&Giver::Welcome { version: 1, software: "9.9".into() }, &[]).expect("said");
        let form = NextForm {
            drain_deadline: Some(5),
            ..decode("", &encode(&form()).expect("written")).expect("read")
        };
        to.say(&NextGiver::Node(Box::new(form)), &[]).expect("said");
        to.wait_for_end();
    });
    let error = super::take::ask(&path).err().expect("it cannot be read");
    assert!(error.contains("unknown field `drain_deadline`"), "{error}");
    giver.join().expect("no panic");
}

#[test]
fn a_specification_with_unknown_fields_is_refused() {
    use prost::Message;
    let spec = wire::ConferenceSpec { id: "c".into(), ..wire::ConferenceSpec::default() };
    let mut bytes = spec.encode_to_vec();
    assert_eq!(super::form::message("the specification", &bytes), Ok(spec));
    // Field 99, a number.
    bytes.extend([0x98, 0x06, 0x01]);
    let error =
        super::form::message::<wire::ConferenceSpec>("the specification", &bytes).expect_err("unknown");
    assert!(error.contains("does not know"), "{error}");
}

#[test]
fn a_seed_is_not_told_to_a_version_that_does_not_know_it() {
    let spec = wire::ConferenceSpec { seed: 5, ..conference(Vec::new()) };
    let held = crate::plan::Holdings::default();
    let conferences = vec![super::form::ConferenceForm::new(&spec, (1, 1), &held)];
    let read = |form: &NodeForm| -> wire::ConferenceSpec {
        super::form::message("the specification", &form.conferences[0].spec).expect("it is known")
    };
    let mut form = NodeForm { conferences, ..form() };
    form.speak(2).expect("nothing is left out");
    assert_eq!(read(&form), spec);
    form.speak(1).expect("it can be left out");
    assert_eq!(read(&form), wire::ConferenceSpec { seed: 0, ..spec });
}
