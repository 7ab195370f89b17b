//! Sockets that come, go and pause.
//!
//! A multishot receive puts a packet into a buffer and posts the completion in one step, on this thread
//! (task work), so that a packet is either in its socket or in a completion. Ending the receives and taking
//! all completions up to the last one of each therefore leaves none behind (io_uring_prep_cancel(3)).

use super::token::Token;
use super::{State, UringIo};
use crate::socket::{Slot, configure};
use io_uring::{opcode, squeue};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Receives are ended at once; the bound of waits in vain only guards against a kernel that cannot.
const WAITS_MAX: usize = 40;
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

    /// Takes a socket and starts its receive at the next turn.
    pub(super) fn register(
        &mut self,
        slot: Slot,
        socket: UdpSocket,
        peer: Option<SocketAddr>,
    ) -> io::Result<()> {
        configure(&socket, slot.id(), &self.options)?;
        let descriptor = socket.as_raw_fd();
        let State { to_arm, sockets, .. } = &mut self.state;
        sockets.insert(slot, socket, peer);
        let place = sockets.get(slot).expect("it was put there").place;
        if let Err(error) = self.ring.submitter().register_files_update(place, &[descriptor]) {
            sockets.remove(slot);
            return Err(error);
        }
        // Room for all, so that starting a receive again never allocates.
        to_arm.reserve(sockets.room().saturating_sub(to_arm.len()));
        to_arm.push_back(slot);
        Ok(())
    }

    /// Ends a socket's receive and closes it.
    pub(super) fn unregister(&mut self, slot: Slot) {
        let Some(entry) = self.state.sockets.remove(slot) else { return };
        self.state.to_arm.retain(|&waiting| waiting != slot);
        if self.enabled
            && let Err(error) = self.cancel_receive(slot, entry.generation)
        {
            self.failure = Some(error);
        }
        // Fails only when the table has no such place, and then there is nothing to clear.
        let _ = self.ring.submitter().register_files_update(entry.place, &[-1]);
    }

    /// Asks for the end of each receive by its name. Asking for the end of all at once takes the kernel a time
    /// that grows with the square of their number: it looks through all of them for each.
    fn load_cancels(&mut self) -> io::Result<()> {
        for index in 0..self.state.sockets.slots() {
            let slot = Slot(index);
            let Some(generation) = self.state.sockets.get(slot).map(|entry| entry.generation) else {
                continue;
            };
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
        if !self.enabled || self.state.receiving == 0 {
            return Ok(());
        }
        self.settle()?;
        self.load_cancels()?;
        let mut idle = 0;
        while idle < WAITS_MAX {
            let before = self.state.receiving;
            self.enter(before.min(COMPLETIONS_PER_WAIT), Some(WAIT))?;
            match self.state.receiving {
                0 => return Ok(()),
                left if left == before => idle += 1,
                _ => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "io_uring did not end its receives"))
    }
}
