//! A node says whether another one lives.

use motet_node::{NodeOptions, RunningNode, start};
use motet_proto::node::forward_request::Order;
use motet_proto::node::forward_response::Answer;
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::{
    ConferenceSpec, DeleteConferenceRequest, DescribeRequest, ForwardRequest, ListConferencesRequest,
    ProbeRequest, ProbeResponse, PutConferenceRequest,
};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

struct Node {
    node: RunningNode,
    client: MediaNodeClient<Channel>,
}

impl Node {
    async fn start(first_port: u16) -> Node {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let port_range = first_port..=first_port + 9;
        let options = NodeOptions {
            listen,
            port_range,
            metrics: Some(motet_status::Listen::Off),
            ..NodeOptions::default()
        };
        let node = start(options).await.expect("the node starts");
        let client = MediaNodeClient::connect(format!("http://{}", node.address())).await;
        Node { node, client: client.expect("the node answers") }
    }

    fn address(&self) -> String {
        format!("http://{}", self.node.address())
    }

    async fn probe(&self, address: &str, timeout_ms: u32) -> Result<ProbeResponse, Status> {
        let request = ProbeRequest { address: address.into(), timeout_ms };
        self.client.clone().probe(request).await.map(|answer| answer.into_inner())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_who_lives_and_what_is_seen_of_who_does_not() {
    let (asked, mut other) = (Node::start(26_000).await, Node::start(26_010).await);
    let address = other.address();
    let boot_id = other.client.describe(DescribeRequest {}).await.expect("it lives").into_inner().boot_id;
    let lives = ProbeResponse { reachable: true, boot_id, why: String::new() };
    assert_eq!(asked.probe(&address, 5_000).await.expect("answered"), lives);

    other.node.shutdown().await;
    // The kernel may still take a connection for a listener that is being closed.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let gone = asked.probe(&address, 5_000).await.expect("that nobody answers is an answer");
        assert_eq!((gone.reachable, gone.boot_id.as_str()), (false, ""));
        if gone.why.contains("refused") {
            break;
        }
        assert!(Instant::now() < end, "{}", gone.why);
    }

    // The kernel takes the connection, and nobody reads: as a process that is stopped.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", silent.local_addr().expect("bound"));
    let silence = asked.probe(&address, 50).await.expect("silence is an answer");
    assert_eq!((silence.reachable, silence.why.as_str()), (false, "no answer within 50 ms"));
    asked.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_mistake_names_the_field() {
    let asked = Node::start(26_020).await;
    for (address, timeout_ms, field) in [
        ("https://127.0.0.1:7500", 0, "address"),
        ("", 0, "address"),
        ("http://127.0.0.1:1", 60_000, "timeout_ms"),
    ] {
        let status = asked.probe(address, timeout_ms).await.expect_err(address);
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(field), "{status}");
    }
    asked.node.shutdown().await;
}

fn put(id: &str, epoch: u64) -> PutConferenceRequest {
    let spec = Some(ConferenceSpec { id: id.into(), ..ConferenceSpec::default() });
    PutConferenceRequest { spec, epoch, revision: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_on_what_another_node_is_to_run_and_what_that_says() {
    let (between, other) = (Node::start(26_040).await, Node::start(26_050).await);
    let forward = async |address: String, order| {
        let request = ForwardRequest { address, timeout_ms: 1_000, order };
        between.client.clone().forward(request).await.map(|answer| answer.into_inner().answer)
    };
    let runs = async || {
        let list = other.client.clone().list_conferences(ListConferencesRequest::default()).await;
        list.expect("it lives").into_inner().conferences.len()
    };
    let said = forward(other.address(), Some(Order::Put(put("c1", 2)))).await.expect("passed on");
    let Some(Answer::Put(allocation)) = said else { panic!("{said:?}") };
    assert_eq!((allocation.id.as_str(), allocation.epoch, runs().await), ("c1", 2, 1));

    // A refusal is the other node's own, with its code.
    let stale = forward(other.address(), Some(Order::Put(put("c1", 1)))).await.expect_err("an older epoch");
    let direct = other.client.clone().put_conference(put("c1", 1)).await.expect_err("an older epoch");
    assert_eq!((stale.code(), stale.message()), (direct.code(), direct.message()));
    assert_eq!(stale.details(), direct.details());

    let delete = DeleteConferenceRequest { id: "c1".into(), epoch: 2, elsewhere: false };
    let said = forward(other.address(), Some(Order::Delete(delete))).await.expect("passed on");
    assert!(matches!(said, Some(Answer::Delete(_))), "{said:?}");
    assert_eq!(runs().await, 0);

    let nothing = forward(other.address(), None).await.expect_err("no order");
    assert_eq!(nothing.code(), Code::InvalidArgument, "{nothing}");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", silent.local_addr().expect("bound"));
    let late = forward(address.clone(), Some(Order::Put(put("c1", 3)))).await.expect_err("silence");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    drop(silent);
    let gone = forward(address, Some(Order::Put(put("c1", 3)))).await.expect_err("nobody is there");
    assert_eq!(gone.code(), Code::Unavailable, "{gone}");
    between.node.shutdown().await;
    other.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_at_once_and_no_more() {
    let asked = Node::start(26_030).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", silent.local_addr().expect("bound"));
    let mut probes = JoinSet::new();
    for _ in 0..40 {
        let request = ProbeRequest { address: address.clone(), timeout_ms: 5_000 };
        let mut client = asked.client.clone();
        probes.spawn(async move { client.probe(request).await });
    }
    // Those under way hold their places until the listener goes away, so that the rest is refused first.
    for _ in 0..24 {
        let status = probes.join_next().await.expect("a probe").expect("no panic").expect_err("refused");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
    drop(silent);
    while let Some(probe) = probes.join_next().await {
        assert!(!probe.expect("no panic").expect("an answer").into_inner().reachable);
    }
    asked.node.shutdown().await;
}
