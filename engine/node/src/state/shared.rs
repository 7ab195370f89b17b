//! Ports that all legs of a worker share.

use super::State;
use crate::claims::Claims;
use crate::plan::HeldPorts;
use crate::worker::Apply;
use anyhow::{Context, Result};
use motet_net::SocketId;
use motet_relay::{Command, PortId};
use std::net::SocketAddr;

impl State {
    /// Opens one port of each media address for each worker, `first` for the first one and so on. Legs get
    /// these, and no others, from now on. To be called once, before anything runs.
    pub(crate) async fn share_ports(&mut self, first: u16) -> Result<()> {
        for worker in 0..self.workers.len() {
            let mut apply = Apply::default();
            let number = u16::try_from(worker).ok().and_then(|worker| first.checked_add(worker));
            let number = number.context("--shared-port: the ports of all workers pass 65535")?;
            for (pool, from) in self.pools.iter().enumerate() {
                let address = SocketAddr::new(from.ip(), number);
                let socket = from.open(number).with_context(|| {
                    format!("--shared-port: cannot open UDP port {address}; does another program hold it?")
                })?;
                let ids = &mut self.ids[worker];
                let id = PortId(ids.ports.take());
                apply.open.push((SocketId(id.0), socket));
                apply.commands.push(Command::SharePort(id));
                ids.shared.push(HeldPorts {
                    pool,
                    base: number,
                    rtp: (id, address),
                    rtcp: None,
                    shared: true,
                });
            }
            let answer = self.workers[worker].apply(apply).await.context("a worker ended at start")?;
            answer.map_err(|error| anyhow::anyhow!("--shared-port {number}: {error}"))?;
        }
        self.claims = Some(Claims::default());
        Ok(())
    }
}
