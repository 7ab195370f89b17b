//! Memory while packets wait.
//!
//! The system finds memory when it is written for the first time, by 2 MiB at once where it has huge pages
//! (`CONFIG_TRANSPARENT_HUGEPAGE`). To clear that much takes a fraction of a millisecond on a machine of one's own, and 5
//! ms and more on a virtual one whose host has to find it, too. Both sides of a take-over allocate while nobody receives.

use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

/// While this lives, memory that the process writes for the first time comes in small pages.
pub(crate) struct SmallPages(());

impl SmallPages {
    /// None where it is so anyhow, or cannot be had: take-overs work without.
    pub(crate) fn begin() -> Option<SmallPages> {
        let by_others = transparent_huge_pages_are_disabled().unwrap_or(true);
        (!by_others && disable_transparent_huge_pages(true).is_ok()).then_some(SmallPages(()))
    }
}

impl Drop for SmallPages {
    fn drop(&mut self) {
        let _ = disable_transparent_huge_pages(false);
    }
}
