//! What the generator asks of the system: the clock, a core, descriptors, and what sockets dropped.

use motet_rtp::Time;
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How long to wait for a port that is in use.
const BIND_WAIT_MAX: Duration = Duration::from_millis(500);
/// How often to try it.
const BIND_WAIT_STEP: Duration = Duration::from_millis(10);

/// The monotonic clock; the same for all processes of a machine.
pub fn now() -> Time {
    nanos_of(rustix::time::ClockId::Monotonic)
}

/// The wall's clock, as time since 1970.
pub fn wall() -> Duration {
    Duration::from_nanos(nanos_of(rustix::time::ClockId::Realtime).as_nanos())
}

/// Processor time of the calling thread since it began.
pub fn thread_busy() -> Time {
    nanos_of(rustix::time::ClockId::ThreadCPUTime)
}

fn nanos_of(clock: rustix::time::ClockId) -> Time {
    let time = rustix::time::clock_gettime(clock);
    Time::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Pins the calling thread to a core.
pub fn pin(core: usize) -> std::io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

/// Lets timers of the calling thread fire when they are due, not up to 50 µs later.
pub fn sharpen_timers() {
    // A refusal only makes the pacing coarser, which the report shows as lateness.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Raises the limit of open files to what is allowed.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal shows when a socket cannot be opened, with the system's own message.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Binds a socket; waits a moment for a port that an earlier run has not quite given back. The kernel
/// closes the sockets of an io_uring a little after its process has ended.
pub fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let asked = now();
    loop {
        match UdpSocket::bind(address) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && now().since(asked) < BIND_WAIT_MAX =>
            {
                std::thread::sleep(BIND_WAIT_STEP);
            }
            done => return done,
        }
    }
}

/// The number under which /proc/net/udp lists a socket; none when /proc is not there.
pub fn inode(socket: &UdpSocket) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Datagrams that the kernel dropped at these sockets because their receive buffers were full.
pub fn overflows(inodes: &HashSet<u64>) -> u64 {
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|table| overflows_in(&table, inodes))
        .sum()
}

/// Columns of proc(5): the inode is the tenth, the drops are the last.
fn overflows_in(table: &str, inodes: &HashSet<u64>) -> u64 {
    let drops = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let inode = columns.get(9)?.parse().ok()?;
        if inodes.contains(&inode) { columns.get(12)?.parse::<u64>().ok() } else { None }
    });
    drops.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  410: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7001 2 0000000000000000 12
  411: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7002 2 0000000000000000 30
";

    #[test]
    fn only_own_sockets_count() {
        assert_eq!(overflows_in(TABLE, &HashSet::from([7001])), 12);
        assert_eq!(overflows_in(TABLE, &HashSet::from([7001, 7002])), 42);
        assert_eq!(overflows_in(TABLE, &HashSet::from([1])), 0);
    }

    #[test]
    fn a_full_socket_shows_its_drops() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let to = receiver.local_addr().expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let inodes = HashSet::from([inode(&receiver).expect("/proc is there")]);
        assert_eq!(overflows(&inodes), 0);
        for _ in 0..20_000 {
            sender.send_to(&[0; 1000], to).expect("loopback takes everything");
        }
        assert!(overflows(&inodes) > 0, "20 MB fit into one socket");
    }
}
