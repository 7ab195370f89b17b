//! New twins, which must not be read before what came to their sockets earlier.
//!
//! From the moment a twin is connected, the kernel gives it what its peer sends. What the peer sent before is in the
//! queue of the socket itself, and would be overtaken if the twin were read first: a turn need not read a socket
//! empty, and when buffers are short it may not read it at all. So nothing is received from a twin until the socket
//! was seen empty. That is looked up between turns, and costs nothing once no twin is new.

use crate::socket::{Slot, Sockets};
use std::collections::VecDeque;

/// Twins looked at in a turn.
const LOOKS_PER_TURN: usize = 256;
/// How often a twin is looked at before it is received from all the same: a flood from strangers, who reach only the
/// socket, must not silence the peer.
const LOOKS_MAX: u32 = 1000;

/// Twins that are yet to be received from.
#[derive(Default)]
pub(crate) struct Newcomers {
    waiting: VecDeque<Newcomer>,
    /// Room that is used again.
    looked_at: Vec<Newcomer>,
    polled: Vec<libc::pollfd>,
    ripe: VecDeque<Slot>,
}

#[derive(Clone, Copy)]
struct Newcomer {
    slot: Slot,
    generation: u32,
    looks: u32,
}

impl Sockets {
    /// Notes that a twin is to be received from as soon as its socket has been read empty.
    pub(crate) fn let_wait(&mut self, twin: Slot) {
        let Some(entry) = self.get_mut(twin) else { return };
        let generation = entry.generation;
        if !std::mem::replace(&mut entry.waiting, true) {
            self.newcomers.waiting.push_back(Newcomer { slot: twin, generation, looks: 0 });
        }
    }

    /// A twin waits for its socket to be read.
    #[inline]
    pub(crate) fn has_newcomers(&self) -> bool {
        !self.newcomers.waiting.is_empty()
    }

    /// A twin that was found to be ripe: it may be received from now.
    pub(crate) fn next_ripe(&mut self) -> Option<Slot> {
        self.newcomers.ripe.pop_front()
    }

    /// Looks at the twins that wait, as far as a turn allows: ripe are those whose sockets are empty. What was there
    /// has been taken from the kernel.
    #[cold]
    pub(crate) fn look_at_newcomers(&mut self) {
        let mut newcomers = std::mem::take(&mut self.newcomers);
        newcomers.looked_at.clear();
        newcomers.polled.clear();
        let count = newcomers.waiting.len().min(LOOKS_PER_TURN);
        for newcomer in newcomers.waiting.drain(..count) {
            let twin = self.get_mut(newcomer.slot).filter(|twin| twin.generation == newcomer.generation);
            let Some(twin) = twin else { continue };
            if twin.held {
                // It waits again when it is let go.
                twin.waiting = false;
                continue;
            }
            let main =
                self.descriptor(Slot::main(newcomer.slot.id())).expect("a twin goes before its socket");
            newcomers.polled.push(libc::pollfd { fd: main, events: libc::POLLIN, revents: 0 });
            newcomers.looked_at.push(newcomer);
        }
        let (polled, len) = (newcomers.polled.as_mut_ptr(), newcomers.polled.len());
        // SAFETY: `polled` has `len` live and writable entries; poll(2) keeps nothing.
        let seen = unsafe { libc::poll(polled, len as libc::nfds_t, 0) } >= 0;
        for (mut newcomer, polled) in newcomers.looked_at.drain(..).zip(&newcomers.polled) {
            newcomer.looks += 1;
            let is_empty = seen && polled.revents & libc::POLLIN == 0;
            if is_empty || newcomer.looks >= LOOKS_MAX {
                self.get_mut(newcomer.slot).expect("it was there a moment ago").waiting = false;
                newcomers.ripe.push_back(newcomer.slot);
            } else {
                newcomers.waiting.push_back(newcomer);
            }
        }
        self.newcomers = newcomers;
    }
}
