//! What mixing sound costs and how it sounds, in whole processes: motet and Janus's AudioBridge.

pub mod node;
pub mod results;
pub mod rows;
pub mod turns;

pub use results::{Results, row_table};
pub use rows::{ROWS, Row};
pub use turns::{Settings, Turn, measure_row};

use std::net::SocketAddr;

/// A participant's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Where it receives and sends from.
    pub remote: SocketAddr,
    /// False: it only listens.
    pub speaks: bool,
    /// Synchronization source that it sends with.
    pub ssrc: u32,
}

/// A room of one turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Those who speak come first.
    pub seats: Vec<Seat>,
}

/// Something that mixes.
pub trait Mixer {
    /// Its name in tables and figures.
    fn name(&self) -> &'static str;

    /// Process whose processor time counts.
    fn pid(&self) -> u32;

    /// Whether it can do this row at all.
    fn takes_part(&self, row: &Row) -> bool;

    /// Makes the rooms, and says where each participant is to send.
    fn prepare(&mut self, row: &Row, rooms: &[Room]) -> anyhow::Result<Vec<Vec<SocketAddr>>>;

    /// Ticks that were late or left out since it started; none: it does not say.
    fn late_ticks(&self) -> anyhow::Result<Option<u64>> {
        Ok(None)
    }

    /// Ends what `prepare` has made.
    fn finish(&mut self) -> anyhow::Result<()>;
}

#[cfg(test)]
mod tests;
