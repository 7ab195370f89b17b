//! Sockets that come, go and pause.
//!
//! A multishot receive puts a packet into a buffer and posts the completion in one step, on this thread
//! (task work), so that a packet is either in its socket or in a completion. Ending the receives and taking
//! all completions up to the last one of each therefore leaves none behind (io_uring_prep_cancel(3)).

use super::token::Token;
use super::{State, UringIo};
use crate::SocketId;
use crate::pair::{Refused, Registry};
use crate::socket::{Entry, Slot, Sockets, configure};
use io_uring::{opcode, squeue};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Receives are ended at once; the bound of waits in vain only guards against a kernel that cannot.
const WAITS_MAX: usize = 40;
/// Other sockets' packets end waits, too.
const ENTERS_MAX: usize = 10_000;
const WAIT: Duration = Duration::from_millis(25);
/// Kernels do no more work in one call than it takes for the completions asked for; all of them fit into the
/// completion queue.
const COMPLETIONS_PER_WAIT: usize = 1024;

impl UringIo {
    /// Ends the receive of a socket that was removed: it would keep the port open.
    fn cancel_receive(&mut self, slot: Slot, generation: u32) -> io::Result<()> {
        self.settle()?;
        let token = Token::Receive { slot, generation };
        let cancel = opcode::AsyncCancel::new(token.pack()).build().user_data(Token::Cancel.pack());
        // SAFETY: the request refers to no memory.
        unsafe { self.ring.submission().push(&cancel) }.expect("the queue is empty");
        self.enter(0, Some(Duration::ZERO))
    }

    /// Ends a socket's receive and closes it.
    pub(super) fn unregister(&mut self, slot: Slot) {
        let Some(entry) = self.forget(slot) else { return };
        if self.enabled
            && let Err(error) = self.cancel_receive(slot, entry.generation)
        {
            self.failure = Some(error);
        }
        self.clear_place(&entry);
    }

    fn forget(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.state.sockets.remove(slot)?;
        self.state.to_arm.retain(|&waiting| waiting != slot);
        Some(entry)
    }

    fn clear_place(&mut self, entry: &Entry) {
        // Fails only when the table has no such place, and then there is nothing to clear.
        let _ = self.ring.submitter().register_files_update(entry.place, &[-1]);
    }

    /// Asks for the end of each receive by its name. Asking for the end of all at once takes the kernel a time
    /// that grows with the square of their number: it looks through all of them for each.
    fn load_cancels(&mut self, slots: &[Slot]) -> io::Result<()> {
        for &slot in slots {
            let entry = self.state.sockets.get(slot).expect("only receives of sockets are ended");
            let generation = entry.generation;
            if self.ring.submission().is_full() {
                self.enter(0, Some(Duration::ZERO))?;
            }
            let token = Token::Receive { slot, generation };
            let cancel = opcode::AsyncCancel::new(token.pack()).build().user_data(Token::Cancel.pack());
            // The receive's own completion says enough.
            let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
            // SAFETY: the request refers to no memory.
            unsafe { self.ring.submission().push(&cancel) }.expect("there is room");
        }
        Ok(())
    }

    /// Ends every receive and starts no more. What was received goes to the backlog.
    pub(super) fn end_receives(&mut self) -> io::Result<()> {
        self.state.paused = true;
        let all = (0..self.state.sockets.slots()).map(Slot).collect();
        self.end_receives_of(all)
    }

    /// Ends the receives of some sockets, and starts no more of them. What was received goes to the backlog.
    pub(super) fn hold_sockets(&mut self, ids: &[SocketId]) -> io::Result<()> {
        let State { sockets, to_arm, .. } = &mut self.state;
        let slots = sockets.hold(ids)?;
        to_arm.retain(|slot| !sockets.is_held(*slot));
        self.end_receives_of(slots)
    }

    /// Starts receives at the next turn of sockets that were held.
    pub(super) fn let_go_of(&mut self, ids: &[SocketId]) {
        let State { sockets, to_arm, .. } = &mut self.state;
        for slot in sockets.set_held(ids, false) {
            // One whose receive is yet to end starts again by that.
            let idle = sockets.get(slot).is_some_and(|entry| !entry.receiving);
            if !idle || to_arm.contains(&slot) {
                continue;
            }
            if slot.is_twin() { sockets.let_wait(slot) } else { to_arm.push_back(slot) }
        }
    }

    /// Ends receives, and takes all that they brought.
    fn end_receives_of(&mut self, mut slots: Vec<Slot>) -> io::Result<()> {
        let receives = |state: &State, slot| state.sockets.get(slot).is_some_and(|entry| entry.receiving);
        slots.retain(|slot| receives(&self.state, *slot));
        if !self.enabled || slots.is_empty() {
            return Ok(());
        }
        self.settle()?;
        self.load_cancels(&slots)?;
        let mut in_vain = 0;
        for _ in 0..ENTERS_MAX {
            let (before, messages) = (slots.len(), self.state.stats.messages_received);
            self.enter(before.min(COMPLETIONS_PER_WAIT), Some(WAIT))?;
            slots.retain(|slot| receives(&self.state, *slot));
            if slots.is_empty() {
                return Ok(());
            }
            let idle = slots.len() == before && self.state.stats.messages_received == messages;
            in_vain += usize::from(idle);
            if in_vain == WAITS_MAX {
                break;
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "io_uring did not end its receives"))
    }
}

impl Registry for UringIo {
    fn sockets(&mut self) -> &mut Sockets {
        &mut self.state.sockets
    }

    /// Its receive starts at the next turn; a twin's when its socket has been read empty.
    fn register(
        &mut self,
        slot: Slot,
        socket: UdpSocket,
        peer: Option<SocketAddr>,
    ) -> Result<(), Refused<UdpSocket>> {
        if let Err(error) = configure(&socket, slot.id(), &self.options) {
            return Err((error, socket));
        }
        let descriptor = socket.as_raw_fd();
        let State { to_arm, sockets, .. } = &mut self.state;
        sockets.insert(slot, socket, peer);
        let place = sockets.get(slot).expect("it was put there").place;
        if let Err(error) = self.ring.submitter().register_files_update(place, &[descriptor]) {
            let entry = sockets.remove(slot).expect("it was put there");
            return Err((error, entry.socket));
        }
        // Room for all, so that starting a receive again never allocates.
        to_arm.reserve(sockets.room().saturating_sub(to_arm.len()));
        if slot.is_twin() {
            sockets.let_wait(slot)
        } else {
            to_arm.push_back(slot)
        }
        Ok(())
    }

    fn detach(&mut self, slot: Slot) -> Option<UdpSocket> {
        let receiving = self.state.sockets.get(slot)?.receiving;
        assert!(!receiving, "socket {} is received from", slot.id().0);
        let entry = self.forget(slot)?;
        self.clear_place(&entry);
        Some(entry.socket)
    }
}
