//! Opens what a node needs of the machine: descriptors, ports, workers.

use crate::exchange::Exchange;
use crate::fence::{Fence, Word};
use crate::numa::Binding;
use crate::options::NodeOptions;
use crate::ports::{PortPool, bind};
use crate::worker::{Clock, Worker, WorkerOptions};
use anyhow::{Context, Result, bail};
use motet_net::{Io, Options as IoOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Buffers of a socket that all legs of a worker share.
const SHARED_SOCKET_BYTES: u32 = 64 << 20;

/// Every leg needs sockets; shells and systemd give 1,024 descriptors unless told.
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal shows when a socket cannot be opened, with the system's own message.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

pub(super) fn open_pools(options: &NodeOptions) -> Result<Vec<PortPool>> {
    let mut pools: Vec<PortPool> = Vec::new();
    for ip in &options.media_ip {
        if ip.is_unspecified() || ip.is_multicast() {
            bail!("--media-ip {ip}: must be an address of this machine that participants can reach");
        }
        if pools.iter().any(|pool| pool.ip().is_ipv6() == ip.is_ipv6()) {
            bail!("--media-ip {ip}: one address of each family at most");
        }
        bind(SocketAddr::new(*ip, 0), options.media_floating).with_context(|| {
            format!("--media-ip {ip}: not an address of this machine (--media-floating)?")
        })?;
        let pool = PortPool::new(*ip, options.port_range.clone()).floating(options.media_floating);
        if pool.pairs() == 0 {
            bail!("--port-range: holds no pair of an even port and the next");
        }
        pools.push(pool);
    }
    Ok(pools)
}

/// Gives the back end of packet input and output, why it was chosen, and the workers.
pub(super) fn start_workers(
    options: &NodeOptions,
    binding: &Binding,
    (paused, clock, exchange, word): (bool, Clock, &Arc<Exchange>, &Arc<Word>),
    events: &mpsc::Sender<(usize, motet_relay::Event)>,
    died: &mpsc::Sender<usize>,
) -> Result<(&'static str, String, Vec<Worker>)> {
    let mut workers = Vec::new();
    let mut chosen = ("", String::new());
    for (index, core) in binding.workers.iter().copied().enumerate() {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (choice, binding) = (options.io, binding.clone());
        let mut io_options = IoOptions {
            incoming_cpu: core.map(|core| core as u32),
            gso: options.gso,
            zero_copy: options.zero_copy,
            residence_turns: options.residence_turns,
            ..IoOptions::default()
        };
        if options.shared_port.is_some() {
            // All that comes in during one turn of the worker, from everybody, waits in one socket.
            (io_options.socket_receive_bytes, io_options.socket_send_bytes) =
                (SHARED_SOCKET_BYTES, SHARED_SOCKET_BYTES);
        }
        let open = move || {
            // Before the ring is made, so that its memory follows.
            binding.bind_memory()?;
            let (io, reason) = motet_net::select(choice, &io_options).map_err(|error| error.to_string())?;
            let _ = tell.send((io.name(), reason));
            Ok(io)
        };
        let (events, died, exchange) = (events.clone(), died.clone(), Arc::clone(exchange));
        let fence = Fence::new(options.fence(), Arc::clone(word));
        let settings = WorkerOptions { index, core, events, died, exchange, clock, paused, fence };
        workers
            .push(Worker::start(settings, open).map_err(|error| anyhow::anyhow!("worker {index}: {error}"))?);
        chosen = told.recv().context("the worker did not say which back end it took")?;
    }
    Ok((chosen.0, chosen.1, workers))
}

/// Ports that legs can have. Any number of legs fit a port that they share.
pub(super) fn ports_max(options: &NodeOptions, pools: &[PortPool]) -> u32 {
    match options.shared_port {
        Some(_) => 0,
        None => pools.iter().map(|pool| 2 * pool.pairs() as u32).sum(),
    }
}
