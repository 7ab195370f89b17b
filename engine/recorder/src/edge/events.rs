//! Where events go out.

use super::{EventKind, RecorderEvent};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};

/// To the caller, or to the feed.
pub(super) struct EventQueue {
    sender: SyncSender<RecorderEvent>,
    /// What the feed is to be told; none: there is no feed, and events go to the sender.
    for_feed: Option<RefCell<VecDeque<RecorderEvent>>>,
}

impl EventQueue {
    pub(super) fn new(sender: SyncSender<RecorderEvent>, is_fed: bool) -> EventQueue {
        EventQueue { sender, for_feed: is_fed.then(RefCell::default) }
    }

    /// The next one for the feed.
    pub(super) fn take(&self) -> Option<RecorderEvent> {
        self.for_feed.as_ref()?.borrow_mut().pop_front()
    }

    pub(super) fn send(&self, recording: u64, kind: EventKind) {
        if let Some(events) = &self.for_feed {
            // Taken each turn; what one turn makes is bounded by what came in it.
            return events.borrow_mut().push_back(RecorderEvent { recording, kind });
        }
        if let Err(TrySendError::Full(event)) = self.sender.try_send(RecorderEvent { recording, kind }) {
            tracing::warn!(recording, ?event, "an event found no room: nobody reads them");
        }
    }
}
