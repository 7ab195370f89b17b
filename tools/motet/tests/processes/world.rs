//! Real processes on free ports, ended with the test.

use rustix::process::Signal;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A process that is killed when the test is over, however it ends.
pub struct Process(Child);

impl Process {
    pub fn motet(arguments: &[&str]) -> Process {
        Process::start(Command::new(env!("CARGO_BIN_EXE_motet")).args(arguments))
    }

    /// A Redis that keeps nothing on disk.
    pub fn redis(port: u16) -> Process {
        let port = port.to_string();
        let mut command = Command::new("redis-server");
        Process::start(command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port,
        ]))
    }

    fn start(command: &mut Command) -> Process {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(silent.spawn().expect("the program is installed"))
    }

    /// As the command says, in a way that the test can read.
    pub fn with_pipes(mut command: Command) -> Process {
        Process(command.spawn().expect("the program is installed"))
    }

    /// Waits until it ends by itself, and reads what it wrote to standard error.
    #[track_caller]
    pub fn ends(&mut self) -> (Option<i32>, String) {
        let status = eventually("the process ends", || self.0.try_wait().expect("it is a child"));
        let mut error = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut error).expect("text");
        }
        (status.code(), error)
    }

    /// Waits until it ends by itself and well, and gives what it wrote to standard output, which must be little.
    #[track_caller]
    pub fn output(mut self) -> String {
        let (code, error) = self.ends();
        assert_eq!(code, Some(0), "{error}");
        let mut output = String::new();
        let stdout = self.0.stdout.take().expect("it is piped");
        std::io::BufReader::new(stdout).read_to_string(&mut output).expect("text");
        output
    }

    /// Sends a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.id(), which);
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a process that this test started.
#[track_caller]
pub fn signal(process: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(process as i32).expect("a process");
    rustix::process::kill_process(pid, signal).expect("it runs");
}

/// A TCP port that was free just now.
pub fn free_port() -> u16 {
    free_port_at(Ipv4Addr::LOCALHOST.into()).expect("a port is free").port()
}

/// An address whose port was free just now, if the machine has the address. The port is below those that the
/// kernel gives to clients (net.ipv4.ip_local_port_range begins at 32768), so that no connection of another test
/// takes it before, or between two starts of, the process that it is for.
fn free_port_at(ip: IpAddr) -> Option<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let slot = std::process::id().wrapping_mul(131).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        match TcpListener::bind((ip, 10_000 + (slot % 10_000) as u16)) {
            Ok(listener) => return listener.local_addr().ok(),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(_) => return None,
        }
    }
}

/// An address of this machine.
pub fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Forty media ports that no other test of this machine is likely to use.
pub fn media_ports() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let slot = (std::process::id() * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 240;
    format!("{}-{}", 20_000 + slot * 40, 20_000 + slot * 40 + 39)
}

/// Status and body of a page over HTTP; none: nobody answers there.
pub fn http(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: motet\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Control at a free port, and the commands that talk to it.
pub struct Css {
    address: SocketAddr,
    /// Port of its metrics.
    pub metrics: u16,
}

impl Css {
    pub fn new() -> Css {
        Css::at(Ipv4Addr::LOCALHOST.into()).expect("a port is free")
    }

    /// At [::1], if this machine speaks IPv6.
    pub fn over_ipv6() -> Option<Css> {
        Css::at(Ipv6Addr::LOCALHOST.into())
    }

    fn at(ip: IpAddr) -> Option<Css> {
        Some(Css { address: free_port_at(ip)?, metrics: free_port() })
    }

    pub fn listen(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen())
    }

    pub fn start(&self, store: &str) -> Process {
        self.start_with(store, &[])
    }

    pub fn start_with(&self, store: &str, more: &[&str]) -> Process {
        let (metrics, listen) = (local(self.metrics), self.listen());
        let css = ["css", "--listen", &listen, "--store", store, "--metrics", &metrics];
        Process::motet(&[&css, more].concat())
    }

    pub fn start_node(&self, id: &str) -> Process {
        self.start_node_with(id, &["--metrics", "off"])
    }

    pub fn start_node_with(&self, id: &str, more: &[&str]) -> Process {
        let (url, ports) = (self.url(), media_ports());
        let listen =
            ["node", "--node-id", id, "--listen", "127.0.0.1:0", "--control", &url, "--port-range", &ports];
        Process::motet(&[&listen, more].concat())
    }

    /// Runs a client command.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("motet can be started")
    }

    /// A client command that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
        command.args(arguments).env("MOTET_CSS", self.url()).stdin(Stdio::null());
        command
    }

    /// Runs a client command that must succeed, and reads its JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    /// Runs a client command that must fail with this code and say this in one line.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: i32, part: &str) {
        let output = self.run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?} should say '{part}': {error}");
        assert!(code == 2 || error.trim().lines().count() == 1, "{arguments:?} should say one line: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?} failed and printed {}", text(&output.stdout));
    }

    /// Waits until this many nodes are ready.
    #[track_caller]
    pub fn wait_for_nodes(&self, count: usize) {
        eventually("nodes are ready", || {
            let output = self.run(&["nodes", "--json"]);
            let list: Value = serde_json::from_slice(&output.stdout).ok()?;
            let ready = list.as_array()?.iter().filter(|node| node["state"] == "ready").count();
            (ready == count).then_some(())
        });
    }

    /// Waits until the conference is in this state.
    #[track_caller]
    pub fn wait_for_state(&self, conference: &str, state: &str) -> Value {
        eventually(&format!("{conference} is {state}"), || {
            let output = self.run(&["conf", "show", conference, "--json"]);
            let info: Value = serde_json::from_slice(&output.stdout).ok()?;
            (info["state"] == state).then_some(info)
        })
    }
}

/// Asks until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two participants with one PCMU port each; the first talks and the second listens.
pub struct Call {
    talker: UdpSocket,
    listener: UdpSocket,
    target: SocketAddr,
    sequence: u16,
}

impl Call {
    #[track_caller]
    pub fn join(css: &Css, conference: &str) -> Call {
        let (talker, _) = participant(css, conference, "alice");
        let (listener, _) = participant(css, conference, "bob");
        let info = css.json(&["conf", "show", conference]);
        let target = target(&info["participants"][0]);
        Call { talker, listener, target, sequence: 0 }
    }

    /// The talker sends where its description says from now on.
    #[track_caller]
    pub fn follow(&mut self, talker: &Value) {
        self.target = target(talker);
    }

    /// Whether a packet that is sent now arrives; sends on until one does.
    pub fn carries(&mut self) -> bool {
        self.drain();
        let mut buffer = [0; 1_500];
        for _ in 0..100 {
            let mark = self.sequence.to_be_bytes();
            let mut packet = vec![0x80, 0, mark[0], mark[1], 0, 0, mark[0], mark[1], 0, 0, 0, 7];
            packet.extend_from_slice(&[b'm'; 160]);
            self.sequence += 1;
            self.talker.send_to(&packet, self.target).expect("loopback takes packets");
            if self.listener.recv(&mut buffer).is_ok_and(|bytes| buffer[12..bytes] == [b'm'; 160]) {
                return true;
            }
        }
        false
    }

    fn drain(&self) {
        let mut buffer = [0; 1_500];
        self.listener.set_nonblocking(true).expect("a socket can be set");
        while self.listener.recv(&mut buffer).is_ok() {}
        self.listener.set_nonblocking(false).expect("a socket can be set");
    }
}

/// Where a participant with one medium sends.
#[track_caller]
fn target(participant: &Value) -> SocketAddr {
    let local = participant["media"][0]["send_rtp_to"].as_str().expect("an address to send to");
    local.parse().expect("an address")
}

fn participant(css: &Css, conference: &str, name: &str) -> (UdpSocket, Value) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket can be set");
    let medium = format!("pcmu@{}", socket.local_addr().expect("it is bound"));
    let info = css.json(&["conf", "join", conference, name, "--audio", &medium]);
    (socket, info)
}

/// A client command that goes on, and what it has printed so far.
pub struct Watched {
    lines: Arc<Mutex<Vec<String>>>,
    _process: Process,
}

impl Watched {
    pub fn start(mut command: Command) -> Watched {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be started");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                seen.lock().expect("nobody panics with it").push(line);
            }
        });
        Watched { lines, _process: Process(child) }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }
}
