//! Sinks: where each transport's media goes. All that sending needs of a leg, in one dense table, so that
//! the packet path does not walk through legs.

use crate::PortId;
use crate::stream::NONE;
use std::net::SocketAddr;

/// A transport's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SinkId(u32);

impl SinkId {
    /// Not given out yet.
    pub(crate) const UNSET: SinkId = SinkId(u32::MAX);
}

/// Where the media of one transport leaves and goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sink {
    /// First and last job of this batch.
    pub(crate) first_job: u32,
    pub(crate) last_job: u32,
    /// Batches with a job, since the last report.
    pub(crate) batches: u32,
    pub(crate) port: PortId,
    /// As its latch says; none: not known yet.
    pub(crate) destination: Option<SocketAddr>,
}

/// All transports' sinks.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    table: Vec<Sink>,
    free: Vec<SinkId>,
}

impl Sinks {
    pub(crate) fn add(&mut self, port: PortId, destination: Option<SocketAddr>) -> SinkId {
        let sink = Sink { first_job: NONE, last_job: NONE, batches: 0, port, destination };
        if let Some(id) = self.free.pop() {
            *self.at(id) = sink;
            return id;
        }
        self.table.push(sink);
        SinkId(self.table.len() as u32 - 1)
    }

    /// Takes back what [`Sinks::add`] gave, when no route leads there any more.
    pub(crate) fn remove(&mut self, id: SinkId) {
        self.free.push(id);
    }

    #[inline]
    pub(crate) fn at(&mut self, id: SinkId) -> &mut Sink {
        &mut self.table[id.0 as usize]
    }
}
