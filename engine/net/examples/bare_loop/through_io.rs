//! The same work through the interface that a worker uses, with a new header for every datagram.

use crate::Work;
use motet_net::{DatagramsIndex, Io, IoChoice, Options, Slice, SocketId, select};
use std::error::Error;

const HEADER_BYTES: usize = 12;

/// Runs for ever; errors end it.
pub fn run(work: Work, uring: bool) -> Result<(), Box<dyn Error>> {
    let choice = if uring { IoChoice::Uring } else { IoChoice::Mmsg };
    let (mut io, _) = select(choice, &Options::default())?;
    let shared = work.senders.is_empty();
    for (sender, id) in work.senders.into_iter().zip(1..) {
        io.add_socket(SocketId(id), sender)?;
    }
    io.add_socket(SocketId(0), work.listen)?;
    loop {
        let turn = io.turn(None)?;
        for index in (0..turn.received as u32).map(DatagramsIndex) {
            for (sink, leg) in work.sinks.iter().zip(1u32..) {
                let run = io.datagrams(index);
                let (len, segment) = (run.bytes.len(), run.segment_bytes);
                for start in (0..len).step_by(segment) {
                    let end = len.min(start + segment);
                    let split = end.min(start + HEADER_BYTES);
                    let mut header = [0; HEADER_BYTES];
                    let bytes = &io.datagrams(index).bytes[start..split];
                    header[..bytes.len()].copy_from_slice(bytes);
                    // What a relay does at the least: another sequence number and source.
                    header[2] = header[2].wrapping_add(1);
                    header[8..12].copy_from_slice(&leg.to_be_bytes());
                    let header = &header[..split - start];
                    let payload = Slice { datagrams: index, offset: split as u32, len: (end - split) as u32 };
                    let socket = SocketId(if shared { 0 } else { leg });
                    io.queue(socket, *sink, header, Some(payload));
                }
            }
        }
    }
}
