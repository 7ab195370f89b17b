//! The real `motet node`: one conference for each room.

use crate::process::Pinned;
use crate::relay::{self, Residence, Room, Row, Shape, Subject, Task, Work, residence};
use anyhow::{Context, bail};
use motet_proto::media::{Codec, Direction, LatchPolicy, MediaKind};
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::{
    ConferenceAllocation, ConferenceSpec, DeleteConferenceRequest, DescribeRequest, Leg, Medium,
    PutConferenceRequest, RoutePolicy, Transport,
};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// How long a node may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(10);
/// Ports for media: two for each leg, ten thousand legs and more.
const PORT_RANGE: &str = "10000-59999";
/// The port for media where all legs share one.
const SHARED_PORT: &str = "10000";
/// The allocation of ten thousand legs is larger than tonic reads unless told.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A running node on one back end.
#[derive(Debug)]
pub struct Node {
    name: &'static str,
    runtime: Runtime,
    listen: SocketAddr,
    metrics: SocketAddr,
    process: Pinned,
    binary: PathBuf,
    /// How it was started, without the program.
    arguments: Vec<String>,
    core: usize,
    /// All legs are at one port.
    shares_port: bool,
    /// Where the socket for take-overs is; goes with the node.
    _handover: tempfile::TempDir,
    epoch: u64,
    /// Ids of what runs.
    conferences: Vec<String>,
}

impl Node {
    /// Starts a node with one worker on `core`, with all ports of `ip` for itself. `io` is "uring" or
    /// "mmsg".
    pub fn start(
        name: &'static str,
        io: &str,
        binary: &Path,
        ip: IpAddr,
        core: usize,
    ) -> anyhow::Result<Node> {
        Node::start_with(name, io, binary, ip, core, &[])
    }

    /// The same with one port for all legs.
    pub fn start_at_one_port(
        name: &'static str,
        io: &str,
        binary: &Path,
        ip: IpAddr,
        core: usize,
    ) -> anyhow::Result<Node> {
        Node::start_with(name, io, binary, ip, core, &["--shared-port", SHARED_PORT])
    }

    /// The same with further options of the command.
    pub fn start_with(
        name: &'static str,
        io: &str,
        binary: &Path,
        ip: IpAddr,
        core: usize,
        options: &[&str],
    ) -> anyhow::Result<Node> {
        let (listen, metrics) = (free_address()?, free_address()?);
        let handover = tempfile::tempdir()?;
        let socket = handover.path().join("handover");
        let arguments = [
            ["--node-id", "bench"],
            ["--listen", &listen.to_string()],
            ["--metrics", &metrics.to_string()],
            ["--media-ip", &ip.to_string()],
            ["--io", io],
            ["--workers", "1"],
            ["--worker-cores", &core.to_string()],
        ];
        let shares_port = options.contains(&"--shared-port");
        let socket = socket.to_string_lossy();
        // A node with one port for all has no range of them, and cannot be taken over.
        let own_ports = ["--port-range", PORT_RANGE, "--handover-socket", &*socket];
        let own_ports = if shares_port { &[][..] } else { &own_ports[..] };
        let arguments = arguments.concat().into_iter().chain(own_ports.iter().chain(options).copied());
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let mut process = Pinned::start(command(binary, &arguments), core)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(answers(listen, &mut process))?;
        let (epoch, conferences) = (0, Vec::new());
        let binary = binary.to_owned();
        Ok(Node {
            name,
            runtime,
            listen,
            metrics,
            process,
            binary,
            arguments,
            core,
            shares_port,
            _handover: handover,
            epoch,
            conferences,
        })
    }

    /// Lets a new process take the node over, and waits until it has.
    pub fn take_over(&mut self) -> anyhow::Result<()> {
        let mut command = command(&self.binary, &self.arguments);
        command.arg("--take-over");
        let successor = Pinned::start(command, self.core)?;
        self.process.wait(START_MAX).context("the node that was taken over did not end")?;
        self.process = successor;
        self.runtime.block_on(answers(self.listen, &mut self.process)).context("the successor")
    }

    /// Creates a conference for each room, one after another.
    pub fn create(&mut self, shape: Shape, rooms: &[Room]) -> anyhow::Result<Vec<ConferenceAllocation>> {
        let rooms = rooms.iter().enumerate();
        self.put(rooms.map(|(index, room)| conference(index, shape, room)).collect())
    }

    /// Puts conferences, one after another.
    pub fn put(&mut self, specs: Vec<ConferenceSpec>) -> anyhow::Result<Vec<ConferenceAllocation>> {
        self.epoch += 1;
        self.conferences = specs.iter().map(|spec| spec.id.clone()).collect();
        let (epoch, listen) = (self.epoch, self.listen);
        self.runtime.block_on(async {
            let mut client = connect(listen).await?;
            let mut allocations = Vec::new();
            for spec in specs {
                let request = PutConferenceRequest { spec: Some(spec), epoch, revision: 1 };
                allocations.push(client.put_conference(request).await?.into_inner());
            }
            Ok(allocations)
        })
    }

    /// Ends what [`Node::create`] or [`Node::put`] has made.
    pub fn end(&mut self) -> anyhow::Result<()> {
        let (epoch, listen, conferences) = (self.epoch, self.listen, std::mem::take(&mut self.conferences));
        self.runtime.block_on(async {
            let mut client = connect(listen).await?;
            for id in conferences {
                client.delete_conference(DeleteConferenceRequest { id, epoch, elsewhere: false }).await?;
            }
            anyhow::Ok(())
        })?;
        self.process.check_running()
    }

    /// Its page of metrics.
    pub fn metrics(&self) -> anyhow::Result<String> {
        residence::page(self.metrics)
    }
}

/// A connection for a few calls: an idle one would be closed during the measurement, in which nothing
/// here runs that could answer the node's keep-alive pings.
async fn connect(listen: SocketAddr) -> anyhow::Result<MediaNodeClient<Channel>> {
    let client = MediaNodeClient::connect(format!("http://{listen}")).await?;
    Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX))
}

impl Subject for Node {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn takes_part(&self, row: &Row) -> bool {
        matches!(row.work, Work::SharedPort(_)) == self.shares_port
    }

    fn prepare(&mut self, task: &Task<'_>) -> anyhow::Result<Vec<SocketAddr>> {
        let allocations = self.create(task.row.shape, task.rooms)?;
        let mut targets = Vec::new();
        for (room, allocation) in task.rooms.iter().zip(&allocations) {
            if let Some(refused) = allocation.refused.first() {
                bail!("the node refused a route: {}", refused.reason);
            }
            for (index, _) in room.senders() {
                let leg = allocation.legs.iter().find(|leg| leg.leg == leg_name(index));
                let transport = leg.and_then(|leg| leg.transports.first());
                targets.push(transport.context("the node gave a publisher no port")?.local.parse()?);
            }
        }
        Ok(targets)
    }

    fn residence(&self) -> anyhow::Result<Option<Residence>> {
        Residence::of_node(self.metrics)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.end()
    }
}

fn command(binary: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(binary);
    command.args(["node", "--exit-with-stdin"]).args(arguments).env("MOTET_LOG", "error");
    command
}

fn name(conference: usize) -> String {
    format!("bench{conference}")
}

fn leg_name(index: usize) -> String {
    format!("leg{index}")
}

fn conference(index: usize, shape: Shape, room: &Room) -> ConferenceSpec {
    let legs = room.legs.iter().enumerate();
    ConferenceSpec {
        id: name(index),
        legs: legs.map(|(index, leg)| leg_spec(index, shape, leg)).collect(),
        route_policy: RoutePolicy::All.into(),
        ..ConferenceSpec::default()
    }
}

fn leg_spec(index: usize, shape: Shape, leg: &relay::Leg) -> Leg {
    let (kind, name) = match shape {
        Shape::Video => (MediaKind::Video, "H264"),
        Shape::Audio => (MediaKind::Audio, "PCMU"),
    };
    let direction = match (leg.sends, leg.receives) {
        (true, true) => Direction::SendReceive,
        (true, false) => Direction::SendOnly,
        (false, _) => Direction::ReceiveOnly,
    };
    let codec = Codec {
        payload_type: u32::from(shape.payload_type()),
        name: name.to_owned(),
        clock_rate_hz: shape.clock_hz(),
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
        remote: leg.remote.to_string(),
        rtcp_mux: true,
        latch: LatchPolicy::Fixed.into(),
        ..Transport::default()
    };
    Leg { id: leg_name(index), transports: vec![transport], media: vec![medium], ..Leg::default() }
}

/// Waits until the node answers.
async fn answers(listen: SocketAddr, process: &mut Pinned) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_MAX;
    loop {
        process.check_running().context("the node did not start")?;
        if let Ok(mut client) = connect(listen).await
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
