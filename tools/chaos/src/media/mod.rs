//! Participants with real media: each sends a packet every 20 ms, hears all others of its conference, and
//! accounts for every packet.
//!
//! One thread sends and receives for all. Payloads are stamped as those of `motet load`, so that a packet is
//! known wherever it comes out, and a damaged one is not counted as heard.

mod account;
mod book;

pub use account::{Arrival, Flow, Heard};
pub use book::{Book, Hearing, PartyId};

use anyhow::{Context, Result};
use motet_rtp::Time;
use motet_rtpgen::system;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// From one packet of a participant to its next.
pub const INTERVAL: Duration = Duration::from_millis(20);
/// How long packets that were sent may be under way.
pub const DRAIN: Duration = Duration::from_millis(500);
/// Bytes that a participant's socket keeps while the thread is elsewhere, half of what the kernel grants.
const SOCKET_BYTES: usize = 1 << 20;
/// Packets taken from a socket before others have their turn.
const TURN_PACKETS: usize = 64;

/// The participants, and the thread that speaks and listens for them.
#[derive(Debug)]
pub struct Media {
    shared: Arc<Shared>,
    ip: IpAddr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    epoll: OwnedFd,
    end: AtomicBool,
}

impl Media {
    /// Participants at `ip`; packets of other runs are foreign.
    pub fn start(ip: IpAddr, run: u32) -> Result<Media> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let book = Mutex::new(Book::new(run));
        let shared = Arc::new(Shared { book, epoll, end: AtomicBool::new(false) });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("media".into()).spawn(move || worker.run())?;
        Ok(Media { shared, ip, thread: Some(thread) })
    }

    /// A participant of a conference, and where it listens. It is silent until it knows where to send.
    pub fn add(&self, conference: &str, name: &str) -> Result<(PartyId, SocketAddr)> {
        let socket = UdpSocket::bind((self.ip, 0)).context("no UDP port is free")?;
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES)?;
        let address = socket.local_addr()?;
        let socket = Arc::new(socket);
        let id = self.book().add(conference, name, Arc::clone(&socket));
        let data = epoll::EventData::new_u64(id.0 as u64);
        epoll::add(&self.shared.epoll, socket.as_fd(), data, epoll::EventFlags::IN)?;
        Ok((id, address))
    }

    /// What is known, to change or to read. Media waits meanwhile.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book()
    }

    /// Begins to count anew for all; the moment at which it did.
    pub fn mark(&self) -> Time {
        let now = system::now();
        self.book().mark(now);
        now
    }

    /// What everybody heard of everybody else since the mark. Waits for what is under way.
    pub async fn read(&self) -> Vec<Hearing> {
        let sent = self.book().sent();
        tokio::time::sleep(DRAIN).await;
        self.book().read(&sent, system::now())
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panicked; whoever reads from it has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        system::sharpen_timers();
        let mut ready = Vec::with_capacity(256);
        let mut buffer = [0; 2048];
        while !self.end.load(Ordering::Relaxed) {
            let due = self.book().send_due(system::now());
            let wait = due.since(system::now()).min(INTERVAL);
            let timeout = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as _ };
            ready.clear();
            let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout));
            if waited.is_err() {
                // A signal; the next turn looks again.
                continue;
            }
            let mut book = self.book();
            for event in &ready {
                let id = PartyId(event.data.u64() as usize);
                let Some(socket) = book.socket(id) else { continue };
                for _ in 0..TURN_PACKETS {
                    let Ok((bytes, from)) = socket.recv_from(&mut buffer) else { break };
                    book.on_datagram(id, from, &buffer[..bytes], system::now());
                }
            }
        }
    }
}
