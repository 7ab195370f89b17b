//! Which nodes a machine gets: names, ports and addresses of their own. Pure.

use super::UpOptions;
use anyhow::{Result, ensure};
use motet_node::topology::{Topology, format_list};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// One node to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    pub(crate) numa_node: u32,
    pub(crate) node_id: String,
    /// Arguments of the motet command.
    pub(crate) arguments: Vec<String>,
}

impl NodePlan {
    /// As one would type it.
    pub(crate) fn command_line(&self) -> String {
        let words = self.arguments.iter().map(|word| quoted(word));
        ["motet".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A media address, for one socket or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaIp {
    numa_node: Option<u32>,
    ip: IpAddr,
}

impl FromStr for MediaIp {
    type Err = String;

    fn from_str(text: &str) -> Result<MediaIp, String> {
        let (numa_node, ip) = match text.split_once('=') {
            Some((node, ip)) => {
                (Some(node.parse().map_err(|_| format!("'{node}' is not a socket's number"))?), ip)
            }
            None => (None, text),
        };
        let ip = ip.parse().map_err(|_| format!("'{ip}' is not an IP address; write IP or SOCKET=IP"))?;
        Ok(MediaIp { numa_node, ip })
    }
}

/// UDP ports, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    first: u16,
    last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<PortRange, String> {
        let parsed = text.split_once('-').and_then(|(first, last)| {
            Some(PortRange { first: first.parse().ok()?, last: last.parse().ok()? })
        });
        match parsed {
            Some(range) if range.first > 0 && range.first < range.last => Ok(range),
            _ => Err("must be two port numbers such as 20000-29999".into()),
        }
    }
}

impl PortRange {
    /// As many equal parts, each beginning with an even port. None: there are not enough.
    fn divided(self, parts: usize) -> Option<Vec<PortRange>> {
        if parts == 1 {
            return Some(vec![self]);
        }
        let first = u32::from(self.first).next_multiple_of(2);
        let pairs = (u32::from(self.last) + 1).saturating_sub(first) / 2 / parts as u32;
        let part = |index: u32| PortRange {
            first: (first + 2 * pairs * index) as u16,
            last: (first + 2 * pairs * (index + 1) - 1) as u16,
        };
        (pairs > 0).then(|| (0..parts as u32).map(part).collect())
    }
}

/// One node for each socket.
///
/// Errors: a socket asked for is not there, or ports and addresses do not suffice; each names the option.
pub(crate) fn plan(options: &UpOptions, topology: &Topology, host: &str) -> Result<Vec<NodePlan>> {
    let all: Vec<usize> = topology.sockets().map(|node| node.id as usize).collect();
    ensure!(!all.is_empty(), "no NUMA node of this machine has a CPU that is online");
    let known = |socket: u32| all.contains(&(socket as usize));
    if let Some(strange) = options.sockets.iter().find(|socket| !known(**socket)) {
        anyhow::bail!("--sockets {strange}: this machine has {}", format_list(&all));
    }
    let named = options.media_ip.iter().filter_map(|media| media.numa_node);
    if let Some(strange) = named.clone().find(|socket| !known(*socket)) {
        anyhow::bail!("--media-ip {strange}=: this machine has the sockets {}", format_list(&all));
    }
    let chosen = |id: &u32| options.sockets.is_empty() || options.sockets.contains(id);
    let sockets: Vec<u32> = all.iter().map(|id| *id as u32).filter(chosen).collect();
    let ranges = options.port_range.divided(sockets.len());
    let Some(ranges) = ranges else {
        anyhow::bail!(
            "--port-range: too few ports for {} nodes, which need two each at least",
            sockets.len()
        );
    };
    let name = options.node_id.clone().unwrap_or_else(|| usable(host));
    let nodes = sockets.iter().zip(ranges).enumerate();
    nodes
        .map(|(index, (&numa_node, ports))| node(options, Place { index, numa_node, ports }, &name))
        .collect()
}

struct Place {
    index: usize,
    numa_node: u32,
    ports: PortRange,
}

fn node(options: &UpOptions, place: Place, name: &str) -> Result<NodePlan> {
    let Place { index, numa_node, ports } = place;
    let node_id = format!("{name}-numa{numa_node}");
    let mut arguments: Vec<String> = ["node", "--numa-node"].map(str::to_owned).into();
    arguments.push(numa_node.to_string());
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add("--node-id", node_id.clone());
    add("--listen", next_port(options.listen, index)?.to_string());
    add("--port-range", format!("{}-{}", ports.first, ports.last));
    for ip in media_ips(&options.media_ip, numa_node)? {
        add("--media-ip", ip.to_string());
    }
    for control in &options.control {
        add("--control", control.clone());
    }
    if !options.room.is_empty() {
        add("--room", options.room.clone());
    }
    if options.sysfs.as_os_str() != "/sys" {
        add("--sysfs", options.sysfs.display().to_string());
    }
    let number = numa_node.to_string();
    arguments.extend(options.further.iter().map(|word| word.replace("{node}", &number)));
    Ok(NodePlan { numa_node, node_id, arguments })
}

/// Port 0 stays: each node takes a free one.
fn next_port(first: SocketAddr, index: usize) -> Result<SocketAddr> {
    let port = match first.port() {
        0 => Some(0),
        port => u16::try_from(index).ok().and_then(|index| port.checked_add(index)),
    };
    let port =
        port.ok_or_else(|| anyhow::anyhow!("--listen {first}: there are no ports left for all nodes"))?;
    Ok(SocketAddr::new(first.ip(), port))
}

fn media_ips(given: &[MediaIp], numa_node: u32) -> Result<Vec<IpAddr>> {
    let of = |wanted| given.iter().filter(move |media| media.numa_node == wanted).map(|media| media.ip);
    let own: Vec<IpAddr> = of(Some(numa_node)).collect();
    let ips = if own.is_empty() { of(None).collect() } else { own };
    ensure!(!ips.is_empty(), "--media-ip: there is none for socket {numa_node}; give {numa_node}=IP");
    Ok(ips)
}

/// A host name as the first part of a node's name.
fn usable(host: &str) -> String {
    let good = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let host: String = host.chars().filter(good).take(50).collect();
    if host.is_empty() { "node".to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use motet_node::topology::NumaNode;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: UpOptions,
    }

    fn options(words: &[&str]) -> UpOptions {
        Line::try_parse_from([&["up"], words].concat()).expect("they parse").options
    }

    /// Sockets with as many CPUs.
    fn machine(cpus: &[usize]) -> Topology {
        let node = |(id, count): (usize, &usize)| NumaNode {
            id: id as u32,
            cpus: (id * 8..id * 8 + count).collect(),
            cores: (id * 8..id * 8 + count).collect(),
            has_memory: true,
            distances: Vec::new(),
        };
        Topology { nodes: cpus.iter().enumerate().map(node).collect(), numa: true }
    }

    fn lines(words: &[&str], topology: &Topology) -> Vec<String> {
        let plans = plan(&options(words), topology, "host1").expect("it can be planned");
        plans.iter().map(NodePlan::command_line).collect()
    }

    fn refused(words: &[&str], topology: &Topology) -> String {
        plan(&options(words), topology, "host1").expect_err("it cannot be planned").to_string()
    }

    #[test]
    fn one_socket_gets_one_node_with_everything() {
        let expected = "motet node --numa-node 0 --node-id host1-numa0 --listen 127.0.0.1:7500 \
                        --port-range 20000-29999 --media-ip 127.0.0.1";
        assert_eq!(lines(&[], &machine(&[2])), [expected]);
    }

    #[test]
    fn four_sockets_share_nothing() {
        let words = ["--port-range", "20001-20042", "--control", "http://192.0.2.9:7400", "--room", "room-1"];
        let lines = lines(&words, &machine(&[4, 4, 4, 4]));
        let expected =
            [(7500, "20002-20011"), (7501, "20012-20021"), (7502, "20022-20031"), (7503, "20032-20041")];
        assert_eq!(lines.len(), 4);
        for (index, (line, (port, range))) in lines.iter().zip(expected).enumerate() {
            let expected = format!(
                "motet node --numa-node {index} --node-id host1-numa{index} --listen 127.0.0.1:{port} \
                 --port-range {range} --media-ip 127.0.0.1 --control http://192.0.2.9:7400 --room room-1"
            );
            assert_eq!(*line, expected);
        }
    }

    #[test]
    fn sockets_without_cpus_get_no_node_and_names_stay() {
        let plans = plan(&options(&[]), &machine(&[4, 0, 4]), "host1").expect("two have CPUs");
        let ids: Vec<&str> = plans.iter().map(|plan| plan.node_id.as_str()).collect();
        assert_eq!(ids, ["host1-numa0", "host1-numa2"]);
        assert!(refused(&[], &machine(&[0, 0])).contains("no NUMA node"));
        assert_eq!(refused(&["--sockets", "1"], &machine(&[4, 0, 4])), "--sockets 1: this machine has 0,2");
        assert_eq!(lines(&["--sockets", "2"], &machine(&[4, 0, 4])).len(), 1);
    }

    #[test]
    fn sockets_may_have_addresses_of_their_own() {
        let words =
            ["--media-ip", "0=192.0.2.1", "--media-ip", "0=2001:db8::1", "--media-ip", "198.51.100.1"];
        let lines = lines(&words, &machine(&[4, 4]));
        assert!(lines[0].ends_with("--media-ip 192.0.2.1 --media-ip 2001:db8::1"), "{}", lines[0]);
        assert!(lines[1].ends_with("--media-ip 198.51.100.1"), "{}", lines[1]);
        let only_first = ["--media-ip", "0=192.0.2.1"];
        assert_eq!(
            refused(&only_first, &machine(&[4, 4])),
            "--media-ip: there is none for socket 1; give 1=IP"
        );
        let strange = ["--media-ip", "7=192.0.2.1"];
        assert_eq!(refused(&strange, &machine(&[4, 4])), "--media-ip 7=: this machine has the sockets 0-1");
    }

    #[test]
    fn ports_that_do_not_suffice_are_refused() {
        let machine = machine(&[4, 4, 4]);
        assert!(refused(&["--port-range", "20001-20006"], &machine).contains("--port-range: too few"));
        assert_eq!(lines(&["--port-range", "20000-20005"], &machine).len(), 3);
        assert!(refused(&["--listen", "127.0.0.1:65534"], &machine).contains("--listen 127.0.0.1:65534"));
        assert!(lines(&["--listen", "127.0.0.1:0"], &machine)[2].contains("--listen 127.0.0.1:0"));
    }

    #[test]
    fn further_options_know_their_socket() {
        let lines =
            lines(&["--", "--metrics-listen", "127.0.0.1:910{node}", "--x", "a b"], &machine(&[4, 4]));
        assert!(lines[1].ends_with("--metrics-listen 127.0.0.1:9101 --x 'a b'"), "{}", lines[1]);
    }
}
