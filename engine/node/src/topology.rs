//! NUMA nodes, CPUs and network cards of a machine, as sysfs shows them.
//!
//! Reads files below a folder that is `/sys` on a real machine and anything in tests. A machine with
//! sub-socket clustering shows several NUMA nodes for one socket; each is treated as a socket. Sources:
//! Documentation/ABI/stable/sysfs-devices-node, Documentation/admin-guide/cputopology.rst and
//! Documentation/ABI/testing/sysfs-class-net of the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A machine's NUMA nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// In ascending order of their numbers, those without CPUs or without memory included.
    pub nodes: Vec<NumaNode>,
    /// False: the kernel knows nothing of NUMA; the one node stands for the whole machine.
    pub numa: bool,
}

/// One NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNode {
    /// Number, as in /sys/devices/system/node.
    pub id: u32,
    /// CPUs that are online, ascending; empty for a node that is memory only.
    pub cpus: Vec<usize>,
    /// Of each physical core the lowest CPU, ascending: where workers do not share a core.
    pub cores: Vec<usize>,
    /// Whether memory can come from here.
    pub has_memory: bool,
    /// Distance to each node in the order of [`Topology::nodes`], 10 to itself; empty when not known.
    pub distances: Vec<u32>,
}

/// Why the machine's layout cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold a list of numbers such as 0-3,8.
    #[error("{}: '{text}' is not a list of numbers such as 0-3,8", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
}

/// Highest number in a list: far above what a kernel can be built for, low enough to hold every number.
const LIST_NUMBER_MAX: usize = 65_535;

impl Topology {
    /// Reads the layout below `sysfs`, usually `/sys`.
    ///
    /// Errors: neither NUMA nodes nor CPUs can be read there, or a file does not hold what it should.
    pub fn read(sysfs: &Path) -> Result<Topology, TopologyError> {
        let cpu_folder = sysfs.join("devices/system/cpu");
        let online: BTreeSet<usize> = read_list(&cpu_folder.join("online"))?.into_iter().collect();
        let folder = sysfs.join("devices/system/node");
        let Some(ids) = absent_as_none(read_list(&folder.join("online")))? else {
            let node = NumaNode {
                id: 0,
                cores: cores(&cpu_folder, &online),
                cpus: online.into_iter().collect(),
                has_memory: true,
                distances: Vec::new(),
            };
            return Ok(Topology { nodes: vec![node], numa: false });
        };
        // Kernels of today all have it; one that has not knows no memoryless nodes either.
        let with_memory = absent_as_none(read_list(&folder.join("has_memory")))?;
        let mut nodes = Vec::new();
        for id in ids {
            let this = folder.join(format!("node{id}"));
            let mut cpus: BTreeSet<usize> = read_list(&this.join("cpulist"))?.into_iter().collect();
            cpus.retain(|cpu| online.contains(cpu));
            let distances = fs::read_to_string(this.join("distance")).unwrap_or_default();
            nodes.push(NumaNode {
                id: id as u32,
                cores: cores(&cpu_folder, &cpus),
                cpus: cpus.into_iter().collect(),
                has_memory: with_memory.as_ref().is_none_or(|list| list.contains(&id)),
                distances: distances.split_whitespace().filter_map(|text| text.parse().ok()).collect(),
            });
        }
        Ok(Topology { nodes, numa: true })
    }

    /// The nodes that media can run on: those with a CPU that is online.
    pub fn sockets(&self) -> impl Iterator<Item = &NumaNode> {
        self.nodes.iter().filter(|node| !node.cpus.is_empty())
    }

    /// The node of this number.
    pub fn node(&self, id: u32) -> Option<&NumaNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Where the memory of a node should come from: from itself, else from the nearest that has some. None:
    /// no node has memory, or the kernel knows nothing of NUMA.
    pub fn memory_node(&self, id: u32) -> Option<u32> {
        if !self.numa {
            return None;
        }
        let node = self.node(id)?;
        let with_memory = self.nodes.iter().enumerate().filter(|(_, other)| other.has_memory);
        let distance = |index: usize| node.distances.get(index).copied().unwrap_or(u32::MAX);
        with_memory.min_by_key(|(index, other)| (other.id != id, distance(*index))).map(|(_, other)| other.id)
    }
}

/// NUMA node that the network card of an interface hangs on. None: not known, as for loopback, virtual
/// cards and machines with one node. Bonds, bridges and VLANs are followed down to their first card.
pub fn card_numa_node(sysfs: &Path, interface: &str) -> Option<u32> {
    card_below(&sysfs.join("class/net").join(interface), 8)
}

fn card_below(interface: &Path, depth_left: u32) -> Option<u32> {
    if let Ok(text) = fs::read_to_string(interface.join("device/numa_node")) {
        // -1: the firmware did not say.
        return text.trim().parse().ok();
    }
    let names = fs::read_dir(interface).ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut lower: Vec<_> = names.filter(|name| name.as_encoded_bytes().starts_with(b"lower_")).collect();
    lower.sort();
    let deeper = depth_left.checked_sub(1)?;
    lower.iter().find_map(|name| card_below(&interface.join(name), deeper))
}

/// Of each physical core the lowest of these CPUs. A CPU whose siblings are not known is a core.
fn cores(cpu_folder: &Path, cpus: &BTreeSet<usize>) -> Vec<usize> {
    let first_of_core = |cpu: &usize| {
        let siblings = read_list(&cpu_folder.join(format!("cpu{cpu}/topology/thread_siblings_list")));
        let first = siblings.unwrap_or_default().into_iter().filter(|other| cpus.contains(other)).min();
        first.is_none_or(|first| first == *cpu)
    };
    cpus.iter().copied().filter(first_of_core).collect()
}

fn read_list(path: &Path) -> Result<Vec<usize>, TopologyError> {
    let text =
        fs::read_to_string(path).map_err(|source| TopologyError::Read { path: path.to_owned(), source })?;
    let text = text.trim();
    parse_list(text).ok_or_else(|| TopologyError::List { path: path.to_owned(), text: text.to_owned() })
}

fn absent_as_none<T>(read: Result<T, TopologyError>) -> Result<Option<T>, TopologyError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(TopologyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a list such as `0-3,8`, as the kernel writes sets of CPUs and nodes. None: it is not one.
pub fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > LIST_NUMBER_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Writes numbers in ascending order as the kernel does, such as `0-3,8`.
pub fn format_list(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let range = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
