//! Which process a connection comes from, by /proc.

use std::net::SocketAddr;
use std::path::Path;

/// The one of `processes` (name and id) whose socket is bound to `from` and connected to `to`.
pub fn owner(from: SocketAddr, to: SocketAddr, processes: &[(String, u32)]) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let wanted = format!("socket:[{}]", inode(&table, from, to)?);
    let has = |id: u32| {
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        open.into_iter()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link == Path::new(&wanted)))
    };
    processes.iter().find(|(_, id)| has(*id)).map(|(name, _)| name.clone())
}

/// Columns of proc(5): local address, remote address, and the inode, which is the tenth.
fn inode(table: &str, from: SocketAddr, to: SocketAddr) -> Option<&str> {
    let (from, to) = (hex(from)?, hex(to)?);
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let found = columns.get(1) == Some(&from.as_str()) && columns.get(2) == Some(&to.as_str());
        if found { columns.get(9).copied() } else { None }
    })
}

/// The address as the kernel's table has it: its four bytes read as a number of this machine.
fn hex(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let ip = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_this_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let to = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(to).expect("it listens");
        let from = stream.local_addr().expect("bound");
        let processes = [("init".to_owned(), 1), ("me".to_owned(), std::process::id())];
        assert_eq!(owner(from, to, &processes), Some("me".to_owned()));
        assert_eq!(owner(to, to, &processes), None);
    }
}
