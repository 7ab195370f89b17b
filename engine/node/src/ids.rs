//! Small dense numbers, given out and taken back.

/// Gives the lowest numbers first use, then those that came back longest ago.
#[derive(Debug, Default)]
pub(crate) struct IdPool {
    next: u32,
    free: std::collections::VecDeque<u32>,
}

impl IdPool {
    /// A pool of which these are taken.
    pub(crate) fn with_taken(taken: &std::collections::BTreeSet<u32>) -> IdPool {
        let next = taken.last().map_or(0, |last| last + 1);
        IdPool { next, free: (0..next).filter(|id| !taken.contains(id)).collect() }
    }

    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop_front().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(crate) fn give_back(&mut self, id: u32) {
        debug_assert!(id < self.next && !self.free.contains(&id), "{id} was not taken");
        self.free.push_back(id);
    }

    pub(crate) fn taken(&self) -> u32 {
        self.next - u32::try_from(self.free.len()).expect("at most `next` ids are free")
    }
}
