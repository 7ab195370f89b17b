//! Control as a process: options, listener, services.

use crate::conference::{Detection, Options};
use crate::domains_file;
use crate::metrics::Metrics;
use crate::nodes::GrpcNodes;
use crate::peers::GrpcPeers;
use crate::placement::FILL_PERCENT;
use crate::registry;
use crate::runtime::Control;
use crate::service::{ConferenceService, DomainService, RegistryService};
use crate::store::{self, RedisOptions, Store};
use anyhow::{Context, Result};
use motet_proto::conference::conference_server::ConferenceServer;
use motet_proto::domains::domains_server::DomainsServer;
use motet_proto::registry::node_registry_server::NodeRegistryServer;
use motet_registry::ZooKeeperArgs;
use motet_status::Listen;
use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::server::TcpIncoming;

/// How long a change that no replica confirms is held back while the Sentinels may be about to name another primary.
/// The one that leads a switchover knows it at once; this is for when it cannot be asked.
const STORE_HOLD_MS: u64 = 3_000;

/// Options of `motet css`.
#[derive(clap::Args, Clone, Debug)]
pub struct CssOptions {
    /// Address of the gRPC services; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7400")]
    pub listen: SocketAddr,

    /// Where conferences are kept: embedded (memory; after a restart the nodes tell what runs),
    /// embedded:FILE (survives restarts; for one control process), redis://HOST:PORT[/DB],
    /// redis+sentinel://HOST:PORT,HOST:PORT/NAME, redis+cluster://HOST:PORT,HOST:PORT, or auto: a file in
    /// $STATE_DIRECTORY (systemd) if that is set, else embedded
    #[arg(long, value_name = "auto|embedded|embedded:FILE|URL", default_value = "auto")]
    pub store: String,

    /// Replicas of Redis that are to confirm a change before it is answered (WAIT), 0 to 8; when they do not
    /// in time, it is answered all the same and counted, unless the Sentinels are about to name another primary
    #[arg(long, value_name = "REPLICAS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=8))]
    pub store_wait: u32,

    /// How long to wait for those replicas, in milliseconds, 1 to 500
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=500))]
    pub store_wait_ms: u64,

    /// Follow what other control processes write by reading from a replica of Redis, where there is one
    #[arg(long)]
    pub store_read_replicas: bool,

    /// Name of this control process among those that share a store; the same after a restart
    /// [default: the address of --listen]
    #[arg(long, value_name = "ID")]
    pub css_id: Option<String>,

    /// Where other control processes on the same store reach this one [default: the address of --listen]
    #[arg(long, value_name = "URL")]
    pub css_address: Option<String>,

    /// A control process that has not renewed its lease for so long is replaced by the others, in
    /// milliseconds, 1000 to 60000
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1000..=60_000))]
    pub css_lease_ms: u64,

    /// Where /metrics, /healthz and /readyz are served over HTTP, or off; port 0 takes a free one
    /// [default: the address of --listen with the port 2000 higher; a free one where that is taken]
    #[arg(long, value_name = "IP:PORT|off")]
    pub metrics: Option<Listen>,

    /// A node that has not announced itself for so long is doubted, in milliseconds, 500 to 60000: it and other
    /// nodes are asked whether it lives
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub lease_ms: u64,

    /// How often nodes shall announce themselves, in milliseconds, 100 to 20000; a quarter of the lease is good
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(100..=20_000))]
    pub announce_ms: u64,

    /// How long a node that is doubted has to come back before its conferences move to other nodes, in
    /// milliseconds, 0 to 60000; when nothing listens at its address any more, a fifth of it
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub grace_ms: u64,

    /// How long a node that is doubted has to say that it lives, in milliseconds, 50 to 5000
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(50..=5_000))]
    pub probe_ms: u64,

    /// How long a node must have announced itself without being within anybody's reach before a conference of it
    /// moves for somebody who wants to join, in milliseconds, 1000 to 3600000
    #[arg(long, value_name = "MS", default_value_t = 15_000,
        value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub leave_isolated_ms: u64,

    /// A conference that could not be restored for so long ends, such as 24h; at least a minute
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = pending)]
    pub pending_max: Duration,

    /// MOID of the platform that this process belongs to (confex.platformmoid)
    #[arg(long, value_name = "MOID", default_value = "platform")]
    pub platform: String,

    /// Percent of a node's measured capacity that new conferences may fill, 1 to 100; the rest is for those
    /// who join later
    #[arg(long, value_name = "PERCENT", default_value_t = FILL_PERCENT, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub fill: u32,

    /// How long before the end of a conference an event tells so, such as 10m; at most a day
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = notice)]
    pub notice: Duration,

    /// Most participants expected of a small conference; domains limit small and large ones apart
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub small: u32,

    /// Preferred machine room of a user domain; may be given several times
    #[arg(long = "domain-room", value_name = "MOID=ROOM", value_parser = domain_room)]
    pub domain_rooms: Vec<(String, String)>,

    /// Rooms that take the place of a machine room in which no node fits, in turn; may be given several times
    #[arg(long = "backup-room", value_name = "ROOM=ROOM[,ROOM...]", value_parser = backup_rooms)]
    pub backup_rooms: Vec<(String, Vec<String>)>,

    /// A reserved conference begins when somebody joins, at most so long before its time, such as 10m; at most
    /// a day
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = notice)]
    pub open_early: Duration,

    /// A file with domains, as `motet domains load` takes it, that are set up at each start
    #[arg(long, value_name = "FILE")]
    pub domains: Option<PathBuf>,

    /// Numbers to choose from for conferences without one, as FIRST-LAST
    #[arg(long, value_name = "FIRST-LAST", default_value = "800000-899999", value_parser = numbers)]
    pub numbers: (u64, u64),

    /// Where nodes are found that do not announce themselves here
    #[command(flatten)]
    pub zookeeper: ZooKeeperArgs,
}

impl Default for CssOptions {
    /// As without any option on the command line.
    fn default() -> CssOptions {
        #[derive(clap::Parser)]
        struct Nothing {
            #[command(flatten)]
            options: CssOptions,
        }
        <Nothing as clap::Parser>::parse_from(["css"]).options
    }
}

fn notice(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time <= Duration::from_secs(86_400) { Ok(time) } else { Err("must be at most a day".to_owned()) }
}

fn pending(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time >= Duration::from_secs(60) { Ok(time) } else { Err("must be at least a minute".to_owned()) }
}

fn domain_room(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((domain, room)) if !domain.is_empty() && !room.is_empty() => Ok((domain.into(), room.into())),
        _ => Err("must be the MOID of a user domain and a machine room, such as d1=room-a".into()),
    }
}

fn backup_rooms(text: &str) -> Result<(String, Vec<String>), String> {
    let (room, backups) = text.split_once('=').unwrap_or_default();
    let backups: Vec<String> = backups.split(',').map(str::to_owned).collect();
    if room.is_empty() || backups.iter().any(|backup| backup.is_empty() || backup == room) {
        return Err("must be a machine room and others, such as room-a=room-b,room-c".into());
    }
    Ok((room.to_owned(), backups))
}

pub(crate) fn numbers(text: &str) -> Result<(u64, u64), String> {
    let parsed =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match parsed {
        Some((first, last)) if first <= last && last < 1_000_000_000_000_000 => Ok((first, last)),
        _ => Err("must be two numbers of up to 15 digits such as 800000-899999".into()),
    }
}

/// Control that runs in this process.
pub struct RunningCss {
    address: SocketAddr,
    control: Control,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    end_server: oneshot::Sender<()>,
    status: Option<motet_status::Server>,
    /// Ended with it.
    _tasks: JoinSet<()>,
}

impl RunningCss {
    /// Where the services listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served over HTTP; none: switched off.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.status.as_ref().map(motet_status::Server::address)
    }

    /// The library itself, for callers that live in this process.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Ends the services. Nodes and their media go on.
    pub async fn shutdown(mut self) {
        self.control.leave().await;
        let _ = self.end_server.send(());
        // Watchers would hold an orderly end open for ever.
        if tokio::time::timeout(Duration::from_millis(500), &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

/// Runs control until `shutdown`.
pub async fn run(options: CssOptions, shutdown: impl Future<Output = ()>) -> Result<()> {
    let css = start(options).await?;
    tell_manager(&[NotifyState::Ready, NotifyState::Status(&format!("listens on {}", css.address()))]);
    shutdown.await;
    tell_manager(&[NotifyState::Stopping]);
    css.shutdown().await;
    Ok(())
}

/// Tells systemd how this process is (sd_notify(3)), where it asked.
fn tell_manager(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how this process is (NOTIFY_SOCKET)");
    }
}

/// Starts control and returns when it serves.
pub async fn start(options: CssOptions) -> Result<RunningCss> {
    anyhow::ensure!(
        options.announce_ms < options.lease_ms,
        "--announce-ms: {} must be less than --lease-ms, {}",
        options.announce_ms,
        options.lease_ms
    );
    let zookeeper = options.zookeeper.options().map_err(anyhow::Error::msg)?;
    let domains = options.domains.as_deref().map(domains_file::read).transpose()?;
    let store = open_store(&options)?;
    let listener = TcpListener::bind(options.listen).await.with_context(|| {
        format!("cannot listen on {} (--listen); does another control process run here?", options.listen)
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address commands all conferences: there is no authentication; keep it in a network of your own");
    }
    let name = store.name();
    if options.store == "auto" && name == "embedded" {
        tracing::info!("conferences are kept in memory; --store embedded:FILE keeps them over a restart");
    }
    let (metrics, announce_ms) = (options.metrics, options.announce_ms);
    let core = core_options(options, address, &*store)?;
    let peers = Box::new(GrpcPeers::new(&core.css));
    let nodes = Box::<GrpcNodes>::default();
    let control = Control::start_reserving(core, store, nodes, peers, zookeeper.clone());
    tracing::info!(%address, store = %name, "control starts");
    let mut tasks = JoinSet::new();
    if let Some(domains) = domains {
        tasks.spawn(domains_file::set_up(control.clone(), domains));
    }
    if let Some(zookeeper) = zookeeper {
        let interval = Duration::from_millis(announce_ms);
        let nodes = Arc::new(GrpcNodes::default());
        tasks.spawn(registry::announce(zookeeper, control.clone(), nodes, interval));
    }

    let source = Arc::new(Metrics { control: control.clone(), store: name });
    let status = motet_status::serve(metrics, address, source).await?;

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ConferenceServer<ConferenceService>>().await;
    health.set_serving::<NodeRegistryServer<RegistryService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(motet_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the schema cannot be reflected")?;
    let (end_server, ended) = oneshot::channel::<()>();
    // Small answers must not wait for the acknowledgement of the ones before (RFC 896).
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(ConferenceServer::new(ConferenceService(control.clone())))
        .add_service(DomainsServer::new(DomainService(control.clone())))
        .add_service(NodeRegistryServer::new(RegistryService(control.clone())))
        .serve_with_incoming_shutdown(incoming, async {
            let _ = ended.await;
        });
    Ok(RunningCss { address, control, server: tokio::spawn(server), end_server, status, _tasks: tasks })
}

fn open_store(options: &CssOptions) -> Result<Box<dyn Store>> {
    let redis = RedisOptions {
        wait_replicas: options.store_wait,
        wait_ms: options.store_wait_ms,
        hold_ms: STORE_HOLD_MS,
        read_replicas: options.store_read_replicas,
    };
    store::open(&options.store, redis)
}

/// What the core is told to hold to.
fn core_options(options: CssOptions, address: SocketAddr, store: &dyn Store) -> Result<Options> {
    let css = options.css_id.unwrap_or_else(|| address.to_string());
    anyhow::ensure!(
        (1..=64).contains(&css.len()) && css.bytes().all(|byte| byte.is_ascii_graphic()),
        "--css-id: '{css}' must be 1 to 64 printable ASCII characters without spaces"
    );
    anyhow::ensure!(
        !store.shared() || options.css_address.is_some() || !address.ip().is_unspecified(),
        "--css-address: is needed, since other control processes cannot reach {address}"
    );
    Ok(Options {
        lease_ms: options.lease_ms,
        announce_ms: options.announce_ms,
        pending_ms_max: options.pending_max.as_millis() as u64,
        platform: options.platform,
        numbers: options.numbers,
        fill_percent_max: options.fill,
        notice_ms: options.notice.as_millis() as u64,
        small: options.small,
        store: store.name(),
        rooms: options.domain_rooms.into_iter().collect(),
        backup_rooms: options.backup_rooms.into_iter().collect(),
        early_ms: options.open_early.as_millis() as u64,
        detection: Detection {
            grace_ms: options.grace_ms,
            grace_certain_ms: options.grace_ms / 5,
            probe_timeout_ms: options.probe_ms,
            leave_isolated_ms: options.leave_isolated_ms,
            ..Detection::default()
        },
        css_address: options.css_address.unwrap_or_else(|| format!("http://{address}")),
        css_lease_ms: options.css_lease_ms,
        css_renew_ms: options.css_lease_ms / 3,
        css,
        ..Options::default()
    })
}
