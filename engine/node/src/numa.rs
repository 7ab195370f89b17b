//! Keeps a node on one NUMA socket: its CPUs, its memory, and a word about the network card.
//!
//! [`Binding::resolve`] decides and touches nothing; [`Binding::bind_process`] and
//! [`Binding::bind_worker`] are the edges. Memory is asked for, not insisted on, unless told otherwise: a
//! packet from the far socket's memory is late by some 100 ns, a node without memory is dead.

use crate::topology::{NumaNode, Topology, card_numa_node, format_list};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use motet_net::MemoryPolicy;
use rustix::thread::CpuSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Options of `motet node` about NUMA sockets.
#[derive(Args, Clone, Debug)]
pub struct NumaOptions {
    /// NUMA socket to run on: threads, memory and rings. The number is that of
    /// /sys/devices/system/node/nodeN [default: the whole machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1023))]
    pub numa_node: Option<u32>,

    /// How strictly memory comes from that socket: prefer takes the other's when its own is used up, bind
    /// never does, any leaves it to the kernel
    #[arg(long, value_enum, value_name = "prefer|bind|any", default_value_t = NumaMemory::Prefer)]
    pub numa_memory: NumaMemory,

    /// Where the kernel shows the machine's layout; another folder for tests
    #[arg(long, value_name = "FOLDER", default_value = "/sys", hide = true)]
    pub sysfs: PathBuf,
}

/// How strictly memory comes from a node's own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NumaMemory {
    /// From it while it has some.
    Prefer,
    /// From it only.
    Bind,
    /// As the kernel likes.
    Any,
}

/// What a node asks for about CPUs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) numa: &'a NumaOptions,
    pub(crate) workers: Option<u16>,
    pub(crate) worker_cores: &'a [usize],
}

/// Where a node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The socket; none: the whole machine.
    pub numa_node: Option<u32>,
    /// CPUs for all threads of the process; empty: any.
    pub cpus: Vec<usize>,
    /// One for each worker; none: wherever the kernel likes.
    pub workers: Vec<Option<usize>>,
    /// Where memory comes from.
    pub memory: Option<MemoryPolicy>,
}

impl Binding {
    /// Decides where to run. `allowed` are the CPUs that this process may use.
    ///
    /// Errors: there is no such socket, none of its CPUs is online and allowed, or the cores asked for are
    /// elsewhere or too few. Each names the option.
    pub(crate) fn resolve(wanted: Wanted<'_>, allowed: impl Fn(usize) -> bool) -> Result<Binding> {
        let Wanted { numa, workers, worker_cores } = wanted;
        let count = workers.map(usize::from);
        if let Some(count) = count
            && !worker_cores.is_empty()
            && worker_cores.len() < count
        {
            bail!("--worker-cores: {} cores for {count} workers", worker_cores.len());
        }
        let Some(id) = numa.numa_node else {
            let count = count.unwrap_or_else(|| worker_cores.len().max(1));
            let workers = (0..count).map(|index| worker_cores.get(index).copied()).collect();
            return Ok(Binding { workers, ..Binding::default() });
        };
        let topology =
            Topology::read(&numa.sysfs).context("--numa-node: cannot read the machine's layout")?;
        let node = find(&topology, id)?;
        let cpus: Vec<usize> = node.cpus.iter().copied().filter(|cpu| allowed(*cpu)).collect();
        if cpus.is_empty() {
            bail!(
                "--numa-node {id}: this process may use none of its CPUs {}; look at the cpuset of its \
                 container or the CPUAffinity of its unit",
                format_list(&node.cpus)
            );
        }
        if let Some(elsewhere) = worker_cores.iter().find(|core| !cpus.contains(core)) {
            bail!(
                "--worker-cores: core {elsewhere} is not one of NUMA node {id}, which has {}",
                format_list(&cpus)
            );
        }
        let workers = if worker_cores.is_empty() {
            choose_cores(node, &cpus, count).with_context(|| format!("--workers: on NUMA node {id}"))?
        } else {
            worker_cores.iter().copied().take(count.unwrap_or(usize::MAX)).collect()
        };
        let memory = match (numa.numa_memory, topology.memory_node(id)) {
            (NumaMemory::Prefer, Some(node)) => Some(MemoryPolicy::Prefer(node)),
            (NumaMemory::Bind, Some(node)) => Some(MemoryPolicy::Bind(node)),
            (NumaMemory::Any, _) | (_, None) => None,
        };
        Ok(Binding { numa_node: Some(id), cpus, workers: workers.into_iter().map(Some).collect(), memory })
    }

    /// Puts the calling thread, and those that it starts from now on, on the socket.
    ///
    /// Errors: the kernel refuses the CPUs, or the memory when it was to be bound.
    pub(crate) fn bind_process(&self) -> Result<()> {
        if self.cpus.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        self.cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(*cpu));
        rustix::thread::sched_setaffinity(None, &set)
            .with_context(|| format!("--numa-node: cannot run on CPUs {}", format_list(&self.cpus)))?;
        self.bind_memory().map_err(anyhow::Error::msg)
    }

    /// Sets where the memory of the calling thread comes from. Forbidden by the machine: a word in the log,
    /// unless it was to be bound.
    pub(crate) fn bind_memory(&self) -> Result<(), String> {
        let Some(policy) = self.memory else { return Ok(()) };
        match motet_net::set_memory_policy(policy) {
            Ok(()) => Ok(()),
            Err(error) if matches!(policy, MemoryPolicy::Bind(_)) => {
                Err(format!("--numa-memory bind: {error}{}", likely_cause(&error)))
            }
            Err(error) => {
                tracing::warn!("memory is not kept on the socket: {error}{}", likely_cause(&error));
                Ok(())
            }
        }
    }
}

/// Why set_mempolicy(2) is refused, most likely.
fn likely_cause(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; containers often forbid set_mempolicy",
        io::ErrorKind::InvalidInput => {
            "; its memory is offline, or the container's cpuset (cpuset.mems) leaves it out"
        }
        _ => "",
    }
}

fn find(topology: &Topology, id: u32) -> Result<&NumaNode> {
    let sockets = || topology.sockets().map(|node| node.id as usize).collect::<Vec<_>>();
    match topology.node(id) {
        None => bail!("--numa-node {id}: this machine has {}", format_list(&sockets())),
        Some(node) if node.cpus.is_empty() => {
            bail!(
                "--numa-node {id}: none of its CPUs is online; those with CPUs are {}",
                format_list(&sockets())
            )
        }
        Some(node) => Ok(node),
    }
}

/// Cores for workers: each on a physical core of its own as far as they go, then on the other threads.
/// Unless told how many, one physical core of three and more is left to everything else.
fn choose_cores(node: &NumaNode, cpus: &[usize], count: Option<usize>) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = node.cores.iter().copied().filter(|core| cpus.contains(core)).collect();
    let physical = order.len();
    let others: Vec<usize> = cpus.iter().copied().filter(|cpu| !order.contains(cpu)).collect();
    order.extend(others);
    let usual = match physical {
        0 => 1,
        1 | 2 => physical,
        more => more - 1,
    };
    let count = count.unwrap_or(usual);
    if count > order.len() {
        bail!("{count} workers for {} CPUs", order.len());
    }
    // The first core answers interrupts and calls on most machines: it is given to a worker last.
    if count < physical {
        order.remove(0);
    }
    order.truncate(count);
    Ok(order)
}

/// CPUs that the calling thread may run on, ascending.
pub fn allowed_cpus() -> Vec<usize> {
    let allowed = allowed_here();
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed(*cpu)).take(count).collect()
}

/// Whether the calling thread may run on a CPU. Unknown counts as yes: pinning will tell.
pub(crate) fn allowed_here() -> impl Fn(usize) -> bool {
    let set = rustix::thread::sched_getaffinity(None).ok();
    move |cpu| cpu < CpuSet::MAX_CPU && set.is_none_or(|set| set.is_set(cpu))
}

/// A warning for each media address whose network card hangs on another socket. `interface_of` gives the
/// interface that has an address.
pub(crate) fn card_warnings(
    sysfs: &Path,
    numa_node: u32,
    media_ips: &[IpAddr],
    interface_of: impl Fn(IpAddr) -> Option<String>,
) -> Vec<String> {
    let warning = |ip: &IpAddr| {
        let interface = interface_of(*ip)?;
        let card = card_numa_node(sysfs, &interface)?;
        (card != numa_node).then(|| {
            format!(
                "--media-ip {ip}: its network card {interface} hangs on NUMA node {card}, and this node runs \
                 on {numa_node}: every packet crosses from socket to socket. Run it with --numa-node {card}, \
                 or give it an address of a card of its own socket"
            )
        })
    };
    media_ips.iter().filter_map(warning).collect()
}

/// The network interface that has this address.
pub(crate) fn interface_of(ip: IpAddr) -> Option<String> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    interfaces.into_iter().find(|interface| interface.ip() == ip).map(|interface| interface.name)
}

#[cfg(test)]
mod tests;
