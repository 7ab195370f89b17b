//! One node for each socket of a machine that is a tree of files. Its CPUs are real ones, since threads are
//! pinned to them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Css, eventually, media_ports, signal, text};

/// A CPU that this process may use.
fn usable_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    list.trim().split([',', '-']).next().expect("at least one").to_owned()
}

fn write(root: &Path, file: &str, text: &str) {
    let file = root.join(file);
    fs::create_dir_all(file.parent().expect("below the root")).expect("a folder can be made");
    fs::write(file, text).expect("a file can be written");
}

/// So many sockets, each with the same real CPU; the last has no memory.
fn machine(sockets: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (root, cpu) = (folder.path(), usable_cpu());
    let last = sockets - 1;
    write(root, "devices/system/cpu/online", &cpu);
    write(root, "devices/system/node/online", &format!("0-{last}"));
    write(root, "devices/system/node/has_memory", &format!("0-{}", last.saturating_sub(1)));
    for node in 0..sockets {
        write(root, &format!("devices/system/node/node{node}/cpulist"), &cpu);
        let distances: Vec<&str> = (0..sockets).map(|to| if to == node { "10" } else { "21" }).collect();
        write(root, &format!("devices/system/node/node{node}/distance"), &distances.join(" "));
    }
    // Loopback's card, if it had one, would hang on the second socket.
    write(root, "class/net/lo/device/numa_node", "1");
    folder
}

struct Up {
    process: Child,
    log: tempfile::NamedTempFile,
    machine: TempDir,
}

impl Up {
    fn start(sockets: usize, arguments: &[&str]) -> Up {
        let machine = machine(sockets);
        let log = tempfile::NamedTempFile::new().expect("a file can be made");
        let file = log.reopen().expect("it can be opened");
        let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
        command.arg("up").arg("--sysfs").arg(machine.path()).args(arguments).env_remove("NOTIFY_SOCKET");
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        Up { process: process.expect("motet can be started"), log, machine }
    }

    /// Two nodes that announce themselves to control.
    fn two(css: &Css, further: &[&str]) -> Up {
        let (url, ports) = (css.url(), media_ports());
        let arguments =
            ["--node-id", "m", "--listen", "127.0.0.1:0", "--control", &url, "--port-range", &ports];
        Up::start(2, &[arguments.as_slice(), further].concat())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Process ids of its nodes.
    fn nodes(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it runs");
        let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    #[track_caller]
    fn exit_code(&mut self) -> Option<i32> {
        let process = &mut self.process;
        eventually("it has ended", || process.try_wait().expect("it can be waited for")).code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sockets(css: &Css) -> Vec<(String, i64)> {
    let nodes = css.json(&["nodes"]);
    let fields = |node: &Value| {
        (node["node_id"].as_str().unwrap_or_default().to_owned(), node["numa_node"].as_i64().unwrap_or(-9))
    };
    nodes.as_array().expect("a list").iter().map(fields).collect()
}

#[test]
fn each_socket_gets_a_node_that_comes_back_when_it_dies() {
    let css = Css::new();
    let _control = css.start("embedded");
    let mut up = Up::two(&css, &[]);
    css.wait_for_nodes(2);
    assert_eq!(sockets(&css), [("m-numa0".to_owned(), 0), ("m-numa1".to_owned(), 1)]);
    eventually("it says that both are ready", || up.log().contains("2 nodes are ready").then_some(()));
    let log = up.log();
    let card = log.lines().find(|line| line.contains("network card lo")).expect("a warning about the card");
    assert!(card.starts_with("numa0 | ") && card.contains("NUMA node 1"), "only the far one warns: {card}");

    let before = up.nodes();
    assert_eq!(before.len(), 2);
    signal(before[0], Signal::KILL);
    eventually("another process has taken its place", || {
        let now = up.nodes();
        (now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])).then_some(())
    });
    eventually("it says so", || up.log().contains("ended by signal 9; it is started again").then_some(()));
    css.wait_for_nodes(2);

    let nodes = up.nodes();
    signal(up.process.id(), Signal::TERM);
    assert_eq!(up.exit_code(), Some(0), "{}", up.log());
    for node in nodes {
        assert!(!Path::new(&format!("/proc/{node}")).exists(), "node {node} is still there");
    }
}

#[test]
fn a_supervisor_that_is_killed_leaves_no_node_behind() {
    let css = Css::new();
    let _control = css.start("embedded");
    let up = Up::two(&css, &[]);
    css.wait_for_nodes(2);
    let nodes = up.nodes();
    signal(up.process.id(), Signal::KILL);
    eventually("all nodes have ended", || {
        let gone = |node: &u32| {
            let stat = fs::read_to_string(format!("/proc/{node}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        nodes.iter().all(gone).then_some(())
    });
}

#[test]
fn what_cannot_start_ends_with_its_reason() {
    // An address that is not of this machine (RFC 5737): the first node to say so ends the other.
    let mut up = Up::start(2, &["--listen", "127.0.0.1:0", "--media-ip", "192.0.2.1"]);
    assert_eq!(up.exit_code(), Some(1));
    assert!(up.log().contains("--media-ip 192.0.2.1"), "{}", up.log());

    let mut up = Up::start(1, &["--listen", "127.0.0.1:0", "--", "--no-such-option"]);
    assert_eq!(up.exit_code(), Some(2));
    assert!(up.log().contains("--no-such-option"), "{}", up.log());
}

#[test]
fn the_plan_can_be_seen_beforehand() {
    let machine = machine(4);
    let root = machine.path().to_str().expect("a name");
    let css = Css::new();
    let output =
        css.run(&["up", "--print", "--sysfs", root, "--node-id", "m", "--port-range", "20000-20039"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[3].starts_with("motet node --numa-node 3 --node-id m-numa3 --listen 127.0.0.1:7503"),
        "{}",
        lines[3]
    );
    css.fails(&["node", "--numa-node", "9", "--sysfs", root], 1, "--numa-node 9: this machine has 0-3");
}

#[test]
fn a_bound_node_keeps_its_threads_on_its_socket() {
    let css = Css::new();
    let _control = css.start("embedded");
    let up = Up::two(&css, &[]);
    css.wait_for_nodes(2);
    assert!(up.machine.path().exists());
    let cpu = usable_cpu();
    for node in up.nodes() {
        let tasks = fs::read_dir(format!("/proc/{node}/task")).expect("it runs");
        for task in tasks.flatten() {
            let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
            let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            let name = status.lines().next().unwrap_or_default();
            assert_eq!(allowed.map(str::trim), Some(cpu.as_str()), "{name}");
        }
    }
}
