//! The real `motet node`: one conference, one publisher, and legs that only receive.

use crate::process::Pinned;
use crate::relay::{Row, Shape, Sinks, Subject};
use anyhow::{Context, bail};
use motet_proto::media::{Codec, Direction, LatchPolicy, MediaKind};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::{
    ConferenceSpec, DeleteConferenceRequest, DescribeRequest, Leg, Medium, PutConferenceRequest, RoutePolicy,
    Transport,
};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// How long a node may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(10);
/// Name of the conference on the node.
const CONFERENCE: &str = "bench";

/// A running node on one back end.
#[derive(Debug)]
pub struct Node {
    name: &'static str,
    runtime: Runtime,
    listen: SocketAddr,
    process: Pinned,
    epoch: u64,
}

impl Node {
    /// Starts a node with one worker on `core`. `io` is "uring" or "mmsg".
    pub fn start(
        name: &'static str,
        io: &str,
        binary: &Path,
        ports: &str,
        core: usize,
    ) -> anyhow::Result<Node> {
        let listen = free_address()?;
        let mut command = Command::new(binary);
        command
            .args(["node", "--node-id", "bench", "--listen", &listen.to_string(), "--exit-with-stdin"])
            .args(["--media-ip", "127.0.0.1", "--port-range", ports, "--io", io])
            .args(["--workers", "1", "--worker-cores", &core.to_string()])
            .env("MOTET_LOG", "error");
        let mut process = Pinned::start(command, core)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(answers(listen, &mut process))?;
        Ok(Node { name, runtime, listen, process, epoch: 0 })
    }

    /// A connection for one call: an idle one would be closed during the measurement, in which nothing
    /// here runs that could answer the node's keep-alive pings.
    async fn connect(listen: SocketAddr) -> anyhow::Result<MediaNodeClient<Channel>> {
        Ok(MediaNodeClient::connect(format!("http://{listen}")).await?)
    }
}

impl Subject for Node {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn prepare(&mut self, row: &Row, sinks: &Sinks) -> anyhow::Result<SocketAddr> {
        let mut legs = vec![leg(row, "publisher".to_owned(), sinks.source, Direction::SendOnly)];
        let receivers = (0..sinks.count).map(|index| (index, sinks.address(index)));
        legs.extend(receivers.map(|(n, sink)| leg(row, format!("sink{n}"), sink, Direction::ReceiveOnly)));
        self.epoch += 1;
        let spec = ConferenceSpec {
            id: CONFERENCE.to_owned(),
            legs,
            route_policy: RoutePolicy::All.into(),
            ..ConferenceSpec::default()
        };
        let request = PutConferenceRequest { spec: Some(spec), epoch: self.epoch, revision: 1 };
        let put = async { anyhow::Ok(Node::connect(self.listen).await?.put_conference(request).await?) };
        let allocation = self.runtime.block_on(put)?.into_inner();
        if let Some(refused) = allocation.refused.first() {
            bail!("the node refused a route: {}", refused.reason);
        }
        let publisher = allocation.legs.iter().find(|leg| leg.leg == "publisher");
        let transport = publisher.and_then(|leg| leg.transports.first());
        Ok(transport.context("the node gave the publisher no port")?.local.parse()?)
    }

    fn finish_row(&mut self) -> anyhow::Result<()> {
        let request = DeleteConferenceRequest { id: CONFERENCE.to_owned(), epoch: self.epoch };
        let delete =
            async { anyhow::Ok(Node::connect(self.listen).await?.delete_conference(request).await?) };
        self.runtime.block_on(delete)?;
        self.process.check_running()
    }
}

fn leg(row: &Row, id: String, remote: SocketAddr, direction: Direction) -> Leg {
    let (kind, name) = match row.shape {
        Shape::Video => (MediaKind::Video, "H264"),
        Shape::Audio => (MediaKind::Audio, "PCMU"),
    };
    let codec = Codec {
        payload_type: u32::from(row.payload_type()),
        name: name.to_owned(),
        clock_rate_hz: row.clock_hz(),
        ..Codec::default()
    };
    let medium = Medium {
        id: "medium".to_owned(),
        kind: kind.into(),
        direction: direction.into(),
        codecs: vec![codec],
        ..Medium::default()
    };
    let transport = Transport {
        remote: remote.to_string(),
        rtcp_mux: true,
        latch: LatchPolicy::Fixed.into(),
        ..Transport::default()
    };
    Leg { id, transports: vec![transport], media: vec![medium], ..Leg::default() }
}

/// Waits until the node answers.
async fn answers(listen: SocketAddr, process: &mut Pinned) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_MAX;
    loop {
        process.check_running().context("the node did not start")?;
        if let Ok(mut client) = Node::connect(listen).await
            && client.describe(DescribeRequest {}).await.is_ok()
        {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the node does not answer at {listen}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
