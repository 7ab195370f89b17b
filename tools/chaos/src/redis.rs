//! Redis servers and Sentinels as the run wants them, and a word with them.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// What Sentinels call the servers.
pub const NAME: &str = "motet";
/// The servers, in this run; the first begins as the primary.
pub const SERVERS: [&str; 2] = ["redis1", "redis2"];
/// The Sentinels, in this run.
pub const SENTINELS: [&str; 3] = ["sentinel1", "sentinel2", "sentinel3"];
/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// The file that a server starts with. It writes everything to its file before it answers, so that its death loses
/// nothing (the loss of the machine would); `door` is where others reach it, `primary` whom it follows.
pub fn server_file(
    folder: &Path,
    listen: SocketAddr,
    door: SocketAddr,
    primary: Option<SocketAddr>,
) -> Result<String> {
    let data = folder.join(format!("redis-{}", listen.port()));
    std::fs::create_dir_all(&data)?;
    let mut text = format!(
        "bind {}\nport {}\ndir {}\nprotected-mode no\nsave \"\"\nappendonly yes\nappendfsync no\n\
         replica-announce-ip {}\nreplica-announce-port {}\nrepl-diskless-sync-delay 0\n",
        listen.ip(),
        listen.port(),
        data.display(),
        door.ip(),
        door.port(),
    );
    if let Some(primary) = primary {
        writeln!(text, "replicaof {} {}", primary.ip(), primary.port())?;
    }
    write_file(&data.join("redis.conf"), &text)
}

/// The file that a Sentinel starts with and keeps. It watches the primary at its door.
pub fn sentinel_file(
    folder: &Path,
    listen: SocketAddr,
    primary: SocketAddr,
    quorum: usize,
) -> Result<String> {
    let data = folder.join(format!("sentinel-{}", listen.port()));
    std::fs::create_dir_all(&data)?;
    let text = format!(
        "bind {}\nport {}\ndir {}\nprotected-mode no\nsentinel announce-ip {}\nsentinel announce-port {}\n\
         sentinel monitor {NAME} {} {} {quorum}\nsentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 3000\nsentinel parallel-syncs {NAME} 1\n",
        listen.ip(),
        listen.port(),
        data.display(),
        listen.ip(),
        listen.port(),
        primary.ip(),
        primary.port(),
    );
    write_file(&data.join("sentinel.conf"), &text)
}

fn write_file(path: &Path, text: &str) -> Result<String> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

/// Asks a server and gives its answer, elements of lists one after another. An error of the server is one.
pub fn ask(server: SocketAddr, words: &[&str]) -> Result<Vec<String>> {
    let stream = TcpStream::connect_timeout(&server, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        write!(request, "${}\r\n{word}\r\n", word.len())?;
    }
    (&stream).write_all(request.as_bytes())?;
    let mut found = Vec::new();
    read_value(&mut BufReader::new(stream), &mut found)?;
    Ok(found)
}

/// Redis serialization protocol (RESP2).
fn read_value(from: &mut impl BufRead, found: &mut Vec<String>) -> Result<()> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let rest = line.get(1..).unwrap_or_default().trim_end().to_owned();
    match line.as_bytes().first() {
        Some(b'+' | b':') => found.push(rest),
        Some(b'-') => bail!("{rest}"),
        Some(b'$') => {
            if let Ok(bytes) = rest.parse::<usize>() {
                let mut text = vec![0; bytes + 2];
                from.read_exact(&mut text)?;
                found.push(String::from_utf8_lossy(&text[..bytes]).into_owned());
            }
        }
        Some(b'*') => {
            for _ in 0..rest.parse::<usize>().unwrap_or_default() {
                read_value(from, found)?;
            }
        }
        _ => bail!("the server said '{line}'"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let mut found = Vec::new();
        read_value(&mut &b"*3\r\n$2\r\nab\r\n$-1\r\n*1\r\n:7\r\n"[..], &mut found).expect("it is one");
        assert_eq!(found, ["ab", "7"]);
        assert!(read_value(&mut &b"-ERR no\r\n"[..], &mut found).is_err());
        assert!(read_value(&mut &b""[..], &mut found).is_err());
    }
}
