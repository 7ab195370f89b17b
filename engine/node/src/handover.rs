//! Handing a running node to a new process, without a packet lost: what both sides say.
//!
//! ```text
//! successor                                  giver (the running node)
//! Hello: versions  ------------------------>
//!                  <------------------------ Welcome: the highest version both know, or Refused
//!                  <------------------------ Node, with the listeners          media goes on
//!                  <------------------------ Sockets, in chunks                 meanwhile
//! Taken, each time ------------------------>
//!                  <------------------------ AllSockets
//! Ready            ------------------------>
//!                                            workers stop receiving and send what they have:
//!                                            from here on packets wait in the sockets
//!                  <------------------------ Relay, for each worker
//! Imported         ------------------------>
//!                  <------------------------ Go
//! receives
//! Carrying         ------------------------> ends
//! ```
//!
//! At every step before `Carrying` the giver goes on by itself when the successor says anything else, is
//! silent for too long, or is gone. A successor that was told to go and does not say that it carries is
//! ended first, so that never two of them receive. A successor that is not told to go ends.
//!
//! The two sides may be of different versions of the software: each names the versions of the form
//! ([`VERSIONS`]) that it can read and write, and the highest that both know is spoken. Within a version
//! unknown fields are refused by name. `docs/upgrade.md` says what that means for operators.

pub(crate) mod channel;
pub(crate) mod form;
pub(crate) mod give;
mod pages;
pub(crate) mod place;
pub(crate) mod take;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// Versions of the form that this software reads and writes. The newest comes last.
///
/// 2: timelines that add given numbers to their source's (`shifted`); specifications with a seed and wanted
/// ports.
///
/// 3: mixes.
///
/// 4: recordings.
pub(crate) const VERSIONS: &[u32] = &[1, 2, 3, 4];
/// Since this version of the form a conference that is mixed can be handed over.
pub(crate) const MIXES_SINCE: u32 = 3;
/// Since this version one that is recorded can be.
pub(crate) const RECORDINGS_SINCE: u32 = 4;

/// The first word of a successor. It must be readable for every version to come: fields are only added, and
/// those that are not known are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Versions of the form that the successor knows.
    pub(crate) versions: Vec<u32>,
    /// Version of its software, for people.
    pub(crate) software: String,
    /// Nanoseconds on its monotonic clock. Of another clock the moments in a snapshot would mean nothing.
    pub(crate) clock: u64,
}

/// What the giver says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Giver {
    /// The version that is spoken from now on, and the giver's software.
    Welcome { version: u32, software: String },
    /// Nothing is given.
    Refused { why: String },
    /// What runs. Comes with the listeners of gRPC and of the handover.
    Node(Box<form::NodeForm>),
    /// Sockets of a worker, and whether a connected twin follows each. Comes with them.
    Sockets { worker: usize, sockets: Vec<(u32, bool)> },
    /// There are no more.
    AllSockets,
    /// The state of a worker's relay follows as a frame of its own.
    Relay { worker: usize },
    /// The giver has stopped: receive.
    Go { event_sequence: u64 },
}

/// What the successor says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Successor {
    /// Sockets were taken.
    Taken,
    /// All workers have their sockets.
    Ready,
    /// All workers have their relay's state.
    Imported,
    /// Packets are received.
    Carrying,
    /// Something cannot be taken over.
    Failed { why: String },
}

/// The version to speak: the highest that both know.
///
/// Errors: there is none; the text says what each knows.
pub(crate) fn negotiate(ours: &[u32], theirs: &[u32]) -> Result<u32, String> {
    ours.iter().copied().filter(|version| theirs.contains(version)).max().ok_or_else(|| {
        format!(
            "no version of the snapshot is known to both: the running node knows {ours:?}, its successor {theirs:?}; \
             go by a version of the software between the two"
        )
    })
}

/// Writes something down, with field names.
pub(crate) fn encode<T: Serialize>(what: &T) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec_named(what).map_err(|error| format!("cannot be written: {error}"))
}

/// Reads what [`encode`] wrote. Errors name the field that is not known or makes no sense.
pub(crate) fn decode<'a, T: Deserialize<'a>>(name: &str, bytes: &'a [u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| {
        format!("{name} cannot be read: {error}; was it written by a newer version of the software?")
    })
}
