//! The relay benchmark: processor time per forwarded packet, on real processes.
//!
//! The subject has one core, the generator the other. Processor time is what the kernel has counted for
//! all threads of the subject; packets are those that the sinks have received. Subjects take turns within
//! a round, so that a machine that changes its mind hits them all alike.
//!
//! Here is who takes part: rows of work, the participants of each, and the processes under test.
//! [`turns`] measures, `results` compares, [`memory`] is about legs that carry nothing.

pub mod memory;
pub mod residence;
mod results;
pub mod rows;
pub mod takeover;
pub mod turns;

pub use residence::Residence;
pub use results::{flatness, row_table};
pub use rows::{HALF_LOAD, ROWS, Row, SHARED_PORT, Shape, TAKE_OVERS, Work};
pub use turns::{Results, Settings, measure_row};

use std::net::{IpAddr, SocketAddr};

/// One participant of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Where it sends from and receives.
    pub remote: SocketAddr,
    /// It publishes one stream.
    pub sends: bool,
    /// It gets the streams of all others in its room.
    pub receives: bool,
}

/// Participants that hear each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// In the order in which the generator numbers streams and receivers.
    pub legs: Vec<Leg>,
}

impl Room {
    /// Those that publish.
    pub fn senders(&self) -> impl Iterator<Item = (usize, &Leg)> {
        self.legs.iter().enumerate().filter(|(_, leg)| leg.sends)
    }
}

/// Where the generator sends from and receives.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The generator's address; the unspecified one where it has many.
    pub ip: IpAddr,
    /// The publisher's port; the receivers' follow.
    pub first: u16,
}

impl Ports {
    /// Address of the port so many after the first.
    pub fn address(&self, index: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.first + index)
    }
}

/// What a subject is to forward in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The row.
    pub row: &'a Row,
    /// Who sends to whom.
    pub rooms: &'a [Room],
    /// SSRC of the first stream; those of the others follow, in the order of rooms and legs.
    pub first_ssrc: u32,
}

/// A process under test.
pub trait Subject {
    /// Its stable name.
    fn name(&self) -> &'static str;
    /// Its process id, once prepared.
    fn pid(&self) -> u32;
    /// RTP payload type to send it.
    fn payload_type(&self, row: &Row) -> u8 {
        row.shape.payload_type()
    }
    /// Whether it can do this kind of work, and is to be measured in it.
    fn takes_part(&self, row: &Row) -> bool;
    /// Makes it forward; gives the address that each sender is to send to, in the order of rooms and legs.
    fn prepare(&mut self, task: &Task<'_>) -> anyhow::Result<Vec<SocketAddr>>;
    /// How long packets stayed in it so far; none: it does not say.
    fn residence(&self) -> anyhow::Result<Option<Residence>> {
        Ok(None)
    }
    /// Undoes it.
    fn finish(&mut self) -> anyhow::Result<()>;
}

#[cfg(test)]
mod tests;
