//! A proxy in front of one server, and the connections through it.

use super::owner::owner;
use super::{Fault, Link, Shared};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Bytes read at once.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks of one direction that may be under way.
const CHUNKS_MAX: usize = 256;
/// Pause before a port is tried again that could not be bound.
const BIND_AGAIN: Duration = Duration::from_millis(5);

pub(super) struct Door {
    pub(super) shared: Weak<Shared>,
    pub(super) changed: watch::Receiver<()>,
    pub(super) to: String,
    pub(super) listen: SocketAddr,
    pub(super) target: SocketAddr,
}

impl Door {
    /// Until the net is dropped.
    pub(super) async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            let Some(shared) = self.shared.upgrade() else { return };
            let shut = shared.is_shut(&self.to);
            drop(shared);
            if shut {
                listener = None;
            } else if listener.is_none() {
                match TcpListener::bind(self.listen).await {
                    Ok(bound) => listener = Some(bound),
                    Err(_) => tokio::time::sleep(BIND_AGAIN).await,
                }
                continue;
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changed.changed() => if changed.is_err() { return },
                accepted = accepted => if let Ok((stream, from)) = accepted {
                    self.connect(stream, from);
                },
            }
        }
    }

    fn connect(&self, stream: TcpStream, from: SocketAddr) {
        let Some(shared) = self.shared.upgrade() else { return };
        let processes = shared.rules().processes.clone();
        // Who is not known is the program itself, whose links have no faults.
        let who = owner(from, self.listen, &processes).unwrap_or_default();
        let link = (who, self.to.clone());
        let connection = Connection {
            resets: shared.resets(&link),
            shared: Arc::downgrade(&shared),
            changed: self.changed.clone(),
            link,
        };
        tokio::spawn(connection.run(stream, self.target));
    }
}

#[derive(Clone)]
struct Connection {
    shared: Weak<Shared>,
    changed: watch::Receiver<()>,
    link: Link,
    /// How often the link had been reset when the connection was made.
    resets: u64,
}

impl Connection {
    async fn run(mut self, near: TcpStream, target: SocketAddr) {
        let broken = self.clone();
        tokio::select! {
            () = broken.wait_until_broken() => {}
            // What cannot be passed on to the end is broken off at both.
            _ = self.pass(&near, target) => {}
        }
    }

    /// Whatever ends this before its end leaves both connections to be reset.
    async fn pass(&mut self, near: &TcpStream, target: SocketAddr) -> Result<()> {
        let linger = |stream: &TcpStream, time| socket2::SockRef::from(stream).set_linger(time);
        // A socket that is closed with a linger time of zero is reset (socket(7)).
        linger(near, Some(Duration::ZERO))?;
        near.set_nodelay(true)?;
        self.wait_until_open().await?;
        let far = TcpStream::connect(target).await?;
        linger(&far, Some(Duration::ZERO))?;
        far.set_nodelay(true)?;
        tokio::try_join!(self.clone().pump(near, &far), self.clone().pump(&far, near))?;
        linger(near, None)?;
        linger(&far, None)
    }

    /// One direction: as long as it is open, each chunk after its delay.
    async fn pump(mut self, from: &TcpStream, to: &TcpStream) -> Result<()> {
        let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
        let reading = async move {
            loop {
                let chunk = read(from).await?;
                let end = chunk.is_empty();
                if queue.send((Instant::now(), chunk)).await.is_err() || end {
                    return Ok::<(), Error>(());
                }
            }
        };
        let writing = async {
            while let Some((came, chunk)) = queued.recv().await {
                let delay = self.wait_until_open().await?;
                tokio::time::sleep_until(came + delay).await;
                if chunk.is_empty() {
                    return socket2::SockRef::from(to).shutdown(std::net::Shutdown::Write);
                }
                write(to, &chunk).await?;
            }
            Ok(())
        };
        tokio::try_join!(reading, writing).map(|_| ())
    }

    /// Waits as long as the link is stalled, and gives its delay.
    async fn wait_until_open(&mut self) -> Result<Duration> {
        loop {
            self.changed.borrow_and_update();
            let shared = self.shared.upgrade().ok_or(ErrorKind::ConnectionAborted)?;
            match shared.fault(&self.link) {
                None => return Ok(Duration::ZERO),
                Some(Fault::Delay(delay)) => return Ok(delay),
                Some(Fault::Stall | Fault::Cut) => {}
            }
            drop(shared);
            self.changed.changed().await.map_err(|_| ErrorKind::ConnectionAborted)?;
        }
    }

    /// Waits until the connection is to be reset.
    async fn wait_until_broken(mut self) {
        loop {
            self.changed.borrow_and_update();
            let Some(shared) = self.shared.upgrade() else { return };
            let cut = shared.fault(&self.link) == Some(Fault::Cut);
            if cut || shared.is_shut(&self.link.1) || shared.resets(&self.link) != self.resets {
                return;
            }
            drop(shared);
            if self.changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What came; empty at the end.
async fn read(stream: &TcpStream) -> Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut chunk) {
            Ok(bytes) => {
                chunk.truncate(bytes);
                return Ok(chunk);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
