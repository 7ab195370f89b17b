//! Measured turns.

use super::{State, UringIo};
use std::io;
use std::time::Duration;

impl UringIo {
    /// In one turn of many, sends what was loaded apart from the wait, so that the end of the sends can be
    /// seen. It costs a system call more. What was gathered waited on purpose, and says nothing of what turns take.
    pub(super) fn measure(&mut self) -> io::Result<()> {
        let State { outbound, stats, .. } = &mut self.state;
        if self.gathered
            || outbound.messages().is_empty()
            || !stats.residence.begins(self.options.residence_turns)
        {
            return Ok(());
        }
        self.transfer(0, Some(Duration::ZERO))?;
        self.state.stats.residence.record(self.state.inbound.arrivals());
        Ok(())
    }
}
