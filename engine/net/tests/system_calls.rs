//! System calls for each packet, against benches/budgets.toml, and a look from outside at the counter.

mod common;

use common::{Open, add, peer, send_gso, turn, wait};
use motet_net::{AnyIo, DatagramsIndex, Io, IoChoice, Options, Slice, SocketId, select};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Name, packets of a burst, bytes of a packet, receivers, rounds.
const CASES: [(&str, u16, u16, u32, u32); 4] = [
    ("small to 1", 1, 172, 1, 400),
    ("small to 20", 1, 172, 20, 200),
    ("small to 200", 1, 172, 200, 40),
    ("burst of 10 to 20", 10, 1200, 20, 100),
];

/// A socket that packets come in at, and one for each receiver.
struct Scene {
    io: AnyIo,
    source: UdpSocket,
    at: SocketAddr,
    receivers: Vec<(SocketId, UdpSocket, SocketAddr)>,
}

impl Scene {
    fn new(open: Open<'_>, receivers: u32) -> Scene {
        let mut io = open(Options::default());
        let at = add(&mut io, 0);
        let receiver = |id| {
            add(&mut io, id);
            let socket = peer();
            let address = socket.local_addr().expect("bound");
            (SocketId(id), socket, address)
        };
        let receivers = (1..=receivers).map(receiver).collect();
        Scene { io, source: peer(), at, receivers }
    }

    /// Takes bursts in and sends each packet to all receivers, leg by leg, as a worker does: what a turn brings
    /// leaves with the next.
    fn forward(&mut self, burst: u16, bytes: u16, rounds: u32) {
        let packets = vec![7; usize::from(burst) * usize::from(bytes)];
        for _ in 0..rounds {
            send_gso(&self.source, self.at, &packets, bytes);
            let received = wait(&mut self.io).received as u32;
            for (id, _, address) in &self.receivers {
                for index in 0..received {
                    let run = self.io.datagrams(DatagramsIndex(index));
                    let (len, segment) = (run.bytes.len() as u32, run.segment_bytes as u32);
                    for offset in (0..len).step_by(segment as usize) {
                        let payload = Slice {
                            datagrams: DatagramsIndex(index),
                            offset: offset + 12,
                            len: segment.min(len - offset) - 12,
                        };
                        self.io.queue(*id, *address, &[1; 12], Some(payload));
                    }
                }
            }
        }
        turn(&mut self.io, Duration::ZERO);
    }
}

/// All cases with one back end; none where it is not to be had.
fn measure(choice: IoChoice) -> Option<Vec<(&'static str, f64)>> {
    if let Err(error) = select(choice, &Options::default()) {
        eprintln!("{choice:?} does not work on this machine: {error}");
        return None;
    }
    let open = |options| select(choice, &options).expect("the back end opens").0;
    let one = |(name, burst, bytes, receivers, rounds): &(&'static str, u16, u16, u32, u32)| {
        let mut scene = Scene::new(&open, *receivers);
        scene.forward(*burst, *bytes, 20);
        let before = *scene.io.stats();
        scene.forward(*burst, *bytes, *rounds);
        let stats = *scene.io.stats();
        let sent = stats.datagrams_sent - before.datagrams_sent;
        assert_eq!(sent, u64::from(*rounds) * u64::from(*burst) * u64::from(*receivers), "{stats:?}");
        let calls = stats.system_calls - before.system_calls;
        (*name, calls as f64 / sent as f64)
    };
    Some(CASES.iter().map(one).collect())
}

#[test]
fn a_packet_takes_no_more_system_calls_than_its_budget() {
    for (choice, budget) in
        [(IoChoice::Uring, "net.system_calls.uring"), (IoChoice::Mmsg, "net.system_calls.mmsg")]
    {
        if let Some(measured) = measure(choice) {
            motet_budget::hold(budget, &measured);
        }
    }
}

on_both!(every_system_call_is_counted);

/// In the process that strace watches: how many rounds to forward, and where to say what was counted.
const ROUNDS: &str = "MOTET_TEST_ROUNDS";
const TELL: &str = "MOTET_TEST_TELL";
/// What the back ends make for packets, and nothing else in this file does.
const CALLS: &str = "io_uring_enter,epoll_wait,epoll_pwait,epoll_pwait2,recvmmsg,recvmsg,sendmmsg,sendmsg";

fn every_system_call_is_counted(open: Open<'_>) {
    if let Some(file) = std::env::var_os(TELL) {
        let rounds = std::env::var(ROUNDS).expect("set with the other").parse().expect("a number");
        let mut scene = Scene::new(open, 20);
        scene.forward(10, 1200, rounds);
        scene.forward(1, 172, rounds);
        let told = std::fs::write(&file, scene.io.stats().system_calls.to_string());
        return told.expect("the folder is there");
    }
    let name = open(Options::default()).name();
    let folder = std::env::temp_dir().join(format!("motet-calls-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let seen = [0, 50].map(|rounds| watched(&folder, name, rounds));
    let _ = std::fs::remove_dir_all(&folder);
    let [Some((counted_at_start, made_at_start)), Some((counted, made))] = seen else {
        eprintln!("this machine does not let strace watch: not tested");
        return;
    };
    // What opening takes, and trying whether it can be opened, drops out.
    let (counted, made) = (counted - counted_at_start, made - made_at_start);
    assert_eq!(counted, made, "counted by the back end, and seen by strace");
    assert!(counted >= 100, "{counted} for 100 rounds");
}

/// Runs this very test under strace: calls that the back end counted, and that strace saw; none where
/// tracing is forbidden.
fn watched(folder: &Path, name: &str, rounds: u32) -> Option<(u64, u64)> {
    let strace = |file: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-c", "-e", &format!("trace={CALLS}"), "-o"]).arg(folder.join(file));
        command
    };
    let allowed = strace("try").arg("true").status().expect("strace is installed: scripts/setup.sh does it");
    if !allowed.success() {
        return None;
    }
    let test = format!("{name}::every_system_call_is_counted");
    let status = strace("seen")
        .arg(std::env::current_exe().expect("a test has a file"))
        .args([&test, "--exact", "--test-threads=1"])
        .env(TELL, folder.join("counted"))
        .env(ROUNDS, rounds.to_string())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.expect("strace runs").success(), "{test} under strace");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).expect("it was written");
    let seen = read("seen");
    // "% time, seconds, usecs/call, calls, [errors,] syscall", with rules around the calls.
    let calls = seen.lines().filter(|line| line.contains('_') || line.contains("msg"));
    let calls = calls.filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    Some((read("counted").parse().expect("a number"), calls.sum()))
}
