//! Short ways to write specifications and machines in tests.

use crate::topology::{Topology, format_list};
use motet_proto::{media, node as wire};
use std::fs;
use std::path::Path;

pub(crate) fn codec(payload_type: u32, name: &str, clock_rate_hz: u32, fmtp: &str) -> media::Codec {
    media::Codec { payload_type, name: name.into(), clock_rate_hz, channels: 0, fmtp: fmtp.into() }
}

pub(crate) fn opus(payload_type: u32) -> media::Codec {
    codec(payload_type, "opus", 48_000, "")
}

pub(crate) fn medium(id: &str, kind: media::MediaKind, codecs: Vec<media::Codec>) -> wire::Medium {
    wire::Medium { id: id.into(), kind: kind.into(), transport: id.into(), codecs, ..wire::Medium::default() }
}

/// A leg with one transport for each medium.
pub(crate) fn leg(id: &str, media: Vec<wire::Medium>) -> wire::Leg {
    let transports = media
        .iter()
        .map(|medium| wire::Transport { id: medium.id.clone(), ..wire::Transport::default() })
        .collect();
    wire::Leg { id: id.into(), transports, media, ..wire::Leg::default() }
}

/// A leg that sends and receives Opus and H.264.
pub(crate) fn caller(id: &str) -> wire::Leg {
    leg(
        id,
        vec![
            medium("audio", media::MediaKind::Audio, vec![opus(111)]),
            medium("video", media::MediaKind::Video, vec![codec(96, "H264", 90_000, "packetization-mode=1")]),
        ],
    )
}

pub(crate) fn conference(legs: Vec<wire::Leg>) -> wire::ConferenceSpec {
    wire::ConferenceSpec { id: "c1".into(), legs, ..wire::ConferenceSpec::default() }
}

/// A machine's layout as a tree of files, as in /sys.
pub(crate) struct FakeSysfs(tempfile::TempDir);

impl FakeSysfs {
    pub(crate) fn new() -> FakeSysfs {
        FakeSysfs(tempfile::tempdir().expect("a folder can be made"))
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn topology(&self) -> Topology {
        Topology::read(self.root()).expect("the tree is whole")
    }

    /// CPUs that are online.
    pub(crate) fn cpus(&self, list: &str) -> &Self {
        self.write("devices/system/cpu/online", list)
    }

    /// A NUMA node that is online.
    pub(crate) fn node(&self, id: usize, cpus: &str, distances: &str) -> &Self {
        let online = self.0.path().join("devices/system/node/online");
        let before = fs::read_to_string(online).unwrap_or_default();
        let list = [before.trim().to_owned(), id.to_string()].join(",");
        self.write("devices/system/node/online", list.trim_start_matches(','));
        self.write(&format!("devices/system/node/node{id}/distance"), distances);
        self.write(&format!("devices/system/node/node{id}/cpulist"), cpus)
    }

    /// NUMA nodes that have memory.
    pub(crate) fn memory(&self, list: &str) -> &Self {
        self.write("devices/system/node/has_memory", list)
    }

    /// CPUs that are threads of one core.
    pub(crate) fn siblings(&self, cpus: &[usize]) -> &Self {
        for cpu in cpus {
            let file = format!("devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            self.write(&file, &format_list(cpus));
        }
        self
    }

    /// A network interface that is no card.
    pub(crate) fn interface(&self, name: &str) -> &Self {
        self.write(&format!("class/net/{name}/operstate"), "up")
    }

    /// A network card on a NUMA node; -1: not known.
    pub(crate) fn card(&self, name: &str, numa_node: i32) -> &Self {
        self.write(&format!("class/net/{name}/device/numa_node"), &numa_node.to_string())
    }

    /// An interface on top of another, such as a bond.
    pub(crate) fn above(&self, name: &str, lower: &str) -> &Self {
        self.interface(name);
        let folder = self.0.path().join("class/net");
        let link = folder.join(name).join(format!("lower_{lower}"));
        std::os::unix::fs::symlink(folder.join(lower), link).expect("a link can be made");
        self
    }

    fn write(&self, file: &str, text: &str) -> &Self {
        let file = self.0.path().join(file);
        fs::create_dir_all(file.parent().expect("below the root")).expect("a folder can be made");
        fs::write(file, format!("{text}\n")).expect("a file can be written");
        self
    }
}
