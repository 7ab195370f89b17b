//! What the loop does for trunks: brings in what other workers sent, and packs what goes to them.

use super::Loop;
use super::gathering::Pause;
use crate::exchange::{Desk, Parcel, Run};
use crate::plan::{OTHER_END, TrunkEnd};
use motet_net::{AnyIo, DatagramsIndex, Io, Slice, Turn};
use motet_relay::{Inbound, Payload, PortId};
use motet_rtp::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Parcels brought in between two batches at most: as many as one other worker may have on the way.
const PARCELS_PER_TURN: usize = crate::exchange::PARCELS_MAX;

/// Parcels that the current turn's packets may refer to.
#[derive(Default)]
pub(super) struct Arrivals {
    /// Runs of the current turn, after those that sockets brought.
    runs: Vec<(DatagramsIndex, Run)>,
    /// Lent to packet input and output, in order, without their bytes.
    lent: VecDeque<Parcel>,
}

impl Arrivals {
    /// The trunk's port that a part of the current batch came to; none: a socket brought it.
    pub(super) fn port(&self, received: u32, payload: Payload) -> Option<PortId> {
        let index = payload.inbound.checked_sub(received)?;
        Some(self.runs[index as usize].1.to)
    }
}

impl Loop {
    /// Says how long the next wait is to last at least, to the sockets and to those who look for what they bring.
    pub(super) fn gather(&mut self, now: Time, any: bool) {
        let (gather, until, look) = match self.gathering.pause(now, any, self.desk.next_look(now)) {
            Pause::Gather(time) => (time, None, None),
            Pause::Rest { until, look } => (Duration::ZERO, Some(until), look),
        };
        self.io.gather(gather);
        self.io.rest(until.map(|until| self.clock.instant(until)));
        self.desk.promise(look);
    }

    /// Gives back what the last turn sent, and brings in what waits.
    pub(super) fn bring_in(&mut self) {
        while let Some(bytes) = self.io.returned() {
            let mut parcel = self.arrivals.lent.pop_front().expect("only parcels are lent");
            parcel.bytes = bytes;
            self.desk.give_back(parcel);
        }
        self.arrivals.runs.clear();
        self.desk.look();
        for _ in 0..PARCELS_PER_TURN {
            let Some(mut parcel) = self.desk.take() else { return };
            let datagrams = self.io.lend(std::mem::take(&mut parcel.bytes));
            self.arrivals.runs.extend(parcel.runs.iter().map(|run| (datagrams, *run)));
            self.arrivals.lent.push_back(parcel);
        }
    }

    /// Hands the packets of a turn to the relay: those of sockets, then those of other workers. False: nothing of
    /// this turn is to be carried, what it made included.
    pub(super) fn carry(&mut self, now: Time, turn: Turn) -> bool {
        let holds = self.fence.holds(now, turn.more);
        let (io, runs) = (&self.io, &self.arrivals.runs);
        let received_here = (0..turn.received).map(|index| {
            let run = io.datagrams(DatagramsIndex(index as u32));
            Inbound {
                port: PortId(run.socket.0),
                source: run.source,
                bytes: run.bytes,
                segment_bytes: run.segment_bytes,
            }
        });
        let crossed = runs.iter().map(|(datagrams, run)| Inbound {
            port: run.to,
            source: OTHER_END,
            bytes: &io.lent(*datagrams)[run.offset as usize..][..run.len as usize],
            segment_bytes: run.segment_bytes as usize,
        });
        self.received = turn.received as u32;
        let inbound = received_here.chain(crossed);
        if holds {
            self.relay.hold_back(inbound);
        } else {
            self.relay.handle_batch(now, inbound, &mut self.out);
        }
        !holds
    }
}

/// Where a part of the current batch lies, of which sockets brought the first `received` runs.
#[inline]
pub(super) fn slice(arrivals: &Arrivals, received: u32, payload: Payload) -> Slice {
    let Payload { inbound, offset, len } = payload;
    match inbound.checked_sub(received) {
        None => Slice { datagrams: DatagramsIndex(inbound), offset, len },
        Some(index) => {
            let (datagrams, run) = arrivals.runs[index as usize];
            Slice { datagrams, offset: run.offset + offset, len }
        }
    }
}

/// Packs a message for another worker.
pub(super) fn pack(
    desk: &mut Desk,
    io: &AnyIo,
    end: TrunkEnd,
    header: &[u8],
    payload: Option<Slice>,
    segment_bytes: u32,
) {
    let payload = payload.map_or(&[][..], |slice| {
        let lent = slice.datagrams.is_lent();
        let bytes = if lent { io.lent(slice.datagrams) } else { io.datagrams(slice.datagrams).bytes };
        &bytes[slice.offset as usize..][..slice.len as usize]
    });
    desk.pack(end, header, payload, segment_bytes);
}
