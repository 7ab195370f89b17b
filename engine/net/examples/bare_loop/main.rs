//! The floor that relays are measured against: receives runs of datagrams (GRO) and sends each run
//! unchanged to every sink as one message (GSO). It reads no packet and rewrites nothing.
//!
//! ```text
//! bare_loop --io uring|mmsg --listen ADDR:PORT --sinks ADDR:PORT --count N [--stride 2] [--rooms 1]
//!           [--core N] [--per-leg-sockets | --shared-socket] [--through-io]
//! ```
//!
//! Sink number k is at the port of `--sinks` plus k times the stride. Each sink has a sending socket of its
//! own, as the legs of a relay do, unless `--shared-socket` is given. With `--rooms`, each room has such sockets of
//! its own that send to the same sinks, and runs go through the rooms by turns: the kernel meets as many sockets as
//! under a relay with as many legs. With `--through-io` the same work goes
//! through [`motet_net::Io`], with a new 12-byte header for every datagram: what the interface costs.
//!
//! Prints `{"pid":1,"listen":"127.0.0.1:5004"}` and runs until standard input ends or a signal comes.

mod mmsg;
mod through_io;
mod uring;

use std::error::Error;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};

/// What was asked for.
struct Arguments {
    uring: bool,
    listen: SocketAddr,
    sinks: Vec<SocketAddr>,
    core: Option<usize>,
    rooms: usize,
    shared_socket: bool,
    through_io: bool,
}

/// The sockets and where to send.
struct Work {
    listen: UdpSocket,
    /// One per sink in each room, or none when the listening one serves all.
    senders: Vec<UdpSocket>,
    /// Of each room.
    sinks: Vec<SocketAddr>,
}

impl Work {
    /// Numbers of the sockets that send in each room.
    fn rooms(&self) -> usize {
        (self.senders.len() / self.sinks.len().max(1)).max(1)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = parse(std::env::args().skip(1))?;
    if let Some(core) = arguments.core {
        pin(core)?;
    }
    let listen = UdpSocket::bind(arguments.listen)?;
    set(&listen, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    raise_descriptor_limit();
    let sockets = if arguments.shared_socket { 0 } else { arguments.rooms * arguments.sinks.len() };
    let local = SocketAddr::new(arguments.listen.ip(), 0);
    let senders: Vec<UdpSocket> = (0..sockets).map(|_| UdpSocket::bind(local)).collect::<Result<_, _>>()?;
    for socket in senders.iter().chain([&listen]) {
        // As far as the system allows.
        let _ = set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20);
        let _ = set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 4 << 20);
    }
    println!(r#"{{"pid":{},"listen":"{}"}}"#, std::process::id(), listen.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let work = Work { listen, senders, sinks: arguments.sinks };
    match (arguments.through_io, arguments.uring) {
        (true, uring) => through_io::run(work, uring),
        (false, true) => uring::run(&work),
        (false, false) => mmsg::run(&work),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let (mut listen, mut first, mut count, mut stride) = (None, None, 1u16, 2u16);
    let (mut uring, mut core, mut shared_socket, mut through_io) = (true, None, false, false);
    let mut rooms = 1;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--io" => {
                uring = match value()?.as_str() {
                    "uring" => true,
                    "mmsg" => false,
                    other => return Err(format!("--io {other}: uring or mmsg").into()),
                }
            }
            "--listen" => listen = Some(value()?.parse::<SocketAddr>()?),
            "--sinks" => first = Some(value()?.parse::<SocketAddr>()?),
            "--count" => count = value()?.parse()?,
            "--stride" => stride = value()?.parse()?,
            "--rooms" => rooms = value()?.parse()?,
            "--core" => core = Some(value()?.parse()?),
            "--per-leg-sockets" => shared_socket = false,
            "--shared-socket" => shared_socket = true,
            "--through-io" => through_io = true,
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    let first = first.ok_or("--sinks is missing")?;
    let sink = |k: u16| {
        let port = k.checked_mul(stride).and_then(|offset| first.port().checked_add(offset));
        port.map(|port| SocketAddr::new(first.ip(), port)).ok_or("the sinks' ports pass 65535")
    };
    Ok(Arguments {
        uring,
        listen: listen.ok_or("--listen is missing")?,
        sinks: (0..count).map(sink).collect::<Result<_, _>>()?,
        core,
        rooms,
        shared_socket,
        through_io,
    })
}

/// As many sockets as the system allows.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes, and setrlimit(2) reads, this one live structure.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

fn pin(core: usize) -> std::io::Result<()> {
    // SAFETY: an empty set is all zeroes; CPU_SET checks the bounds and writes to the live set only;
    // sched_setaffinity(2) reads it.
    let pinned = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if pinned < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

fn set(socket: &UdpSocket, level: i32, option: i32, value: i32) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: `value` is live and 4 bytes long; setsockopt(2) only reads it.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) };
    if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Room for one control message: a header and up to 8 bytes.
#[repr(C, align(8))]
struct Control([u8; 24]);

impl Control {
    /// UDP_SEGMENT with this size (udp(7)).
    fn segment(bytes: u16) -> Self {
        let mut control = [0; 24];
        control[0..8].copy_from_slice(&18u64.to_ne_bytes());
        control[8..12].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        control[12..16].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        control[16..18].copy_from_slice(&bytes.to_ne_bytes());
        Self(control)
    }
}

/// The segment size in received control data of `len` bytes, which holds UDP_GRO or nothing. 0: nothing.
fn gro_segment(control: &[u8], len: usize) -> u16 {
    if len < 20 { 0 } else { u16::from_ne_bytes([control[16], control[17]]) }
}

/// Addresses of the sinks as the kernel wants them.
fn raw_addresses(sinks: &[SocketAddr]) -> Vec<socket2::SockAddr> {
    sinks.iter().map(|sink| socket2::SockAddr::from(*sink)).collect()
}
