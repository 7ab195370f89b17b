//! The network between the processes: a TCP proxy in front of each server, and rules for each link.
//!
//! A link has a direction: who connects, and to whom. Who connects is read from /proc, since a server has one
//! address for all who call it. Media does not come through here.

mod door;
mod owner;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whatever is sent arrives so much later.
    Delay(Duration),
    /// Nothing arrives and nothing is said about it, as when a cable is pulled: what was sent arrives later.
    Stall,
    /// Connections are reset, and new ones too, as by a firewall that rejects.
    Cut,
}

/// All links of a run.
#[derive(Clone, Debug)]
pub struct Net {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Rules>,
    changed: watch::Sender<()>,
}

/// From whom, to whom.
type Link = (String, String);

#[derive(Debug, Default)]
struct Rules {
    faults: BTreeMap<Link, Fault>,
    /// How often a link was reset.
    resets: BTreeMap<Link, u64>,
    /// Servers that do not run: nothing listens there.
    shut: BTreeSet<String>,
    processes: Vec<(String, u32)>,
}

impl Default for Net {
    fn default() -> Self {
        Net { shared: Arc::new(Shared { rules: Mutex::default(), changed: watch::channel(()).0 }) }
    }
}

impl Net {
    /// Puts a proxy at `listen` in front of the server `to` at `target`, until the net is dropped.
    pub async fn add(&self, to: &str, listen: SocketAddr, target: SocketAddr) -> std::io::Result<()> {
        let listener = TcpListener::bind(listen).await?;
        let door = door::Door {
            shared: Arc::downgrade(&self.shared),
            changed: self.shared.changed.subscribe(),
            to: to.to_owned(),
            listen,
            target,
        };
        tokio::spawn(door.run(listener));
        Ok(())
    }

    /// Says which process has a name from now on.
    pub fn know(&self, name: &str, id: u32) {
        let mut rules = self.rules();
        rules.processes.retain(|(known, _)| known != name);
        rules.processes.push((name.to_owned(), id));
    }

    /// Puts a fault on a link, or takes it away.
    pub fn set(&self, from: &str, to: &str, fault: Option<Fault>) {
        let link = (from.to_owned(), to.to_owned());
        match fault {
            Some(fault) => self.rules().faults.insert(link, fault),
            None => self.rules().faults.remove(&link),
        };
        self.tell();
    }

    /// The same both ways.
    pub fn set_both(&self, one: &str, other: &str, fault: Option<Fault>) {
        self.set(one, other, fault);
        self.set(other, one, fault);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.rules().faults.clear();
        self.tell();
    }

    /// Resets the connections that a link has now; new ones are let through.
    pub fn reset(&self, from: &str, to: &str) {
        *self.rules().resets.entry((from.to_owned(), to.to_owned())).or_default() += 1;
        self.tell();
    }

    /// Resets all connections to a server and listens for it no more, as the kernel does when a process dies.
    pub fn shut(&self, to: &str) {
        self.rules().shut.insert(to.to_owned());
        self.tell();
    }

    /// Listens again.
    pub fn open(&self, to: &str) {
        self.rules().shut.remove(to);
        self.tell();
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.shared.rules()
    }

    fn tell(&self) {
        self.shared.changed.send_replace(());
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_shut(&self, to: &str) -> bool {
        self.rules().shut.contains(to)
    }

    fn fault(&self, link: &Link) -> Option<Fault> {
        self.rules().faults.get(link).copied()
    }

    fn resets(&self, link: &Link) -> u64 {
        self.rules().resets.get(link).copied().unwrap_or_default()
    }
}
