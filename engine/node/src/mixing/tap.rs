//! Sound of a mix for other parts of the node: the mix, or one participant, 20 ms at a time.
//!
//! The mixing thread never waits: what finds no room in the queue is dropped and counted, and the numbers of frames say
//! where something is missing. Memory goes round: frames that are given back are filled again.

use crate::model::Id;
use motet_rtp::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{
    self, Receiver, Sender,
    error::{TryRecvError, TrySendError},
};

/// Frames that may wait: two seconds.
const FRAMES_WAITING_MAX: usize = 100;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TapOf {
    /// What all in the main room hear who only listen.
    Mix,
    /// What one leg says; silence while it is muted, private or without the floor.
    Leg(Id),
}

/// 20 ms of sound, one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TapFrame {
    /// Counts up by one each 20 ms from 0, those included that were dropped.
    pub(crate) number: u64,
    /// Samples a second; another one when the mix was given other settings.
    pub(crate) rate_hz: u32,
    /// When its first sample came from who said it, as well as that is known where many speak; a guess while nobody is
    /// heard.
    pub(crate) at: Time,
    /// Somebody is heard, or a prompt: otherwise the mix is silent.
    pub(crate) heard: bool,
    pub(crate) samples: Vec<i16>,
}

/// The end of who listens. The sound ends with the mix, or when the leg leaves.
#[derive(Debug)]
pub(crate) struct Tap {
    frames: Receiver<TapFrame>,
    used: Sender<Vec<i16>>,
    dropped: Arc<AtomicU64>,
}

/// The mixing thread's end.
#[derive(Debug)]
pub(crate) struct TapEnd {
    pub(crate) of: TapOf,
    frames: Sender<TapFrame>,
    used: Receiver<Vec<i16>>,
    dropped: Arc<AtomicU64>,
    number: u64,
}

/// Both ends.
pub(crate) fn tap(of: TapOf) -> (TapEnd, Tap) {
    let (frames, to_listener) = mpsc::channel(FRAMES_WAITING_MAX);
    let (used, from_listener) = mpsc::channel(FRAMES_WAITING_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let end = TapEnd { of, frames, used: from_listener, dropped: Arc::clone(&dropped), number: 0 };
    (end, Tap { frames: to_listener, used, dropped })
}

impl Tap {
    /// The next frame; none: the sound has ended.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<TapFrame>> {
        self.frames.poll_recv(context)
    }

    /// The next frame, if it waits already. An error: it does not; true: the sound has ended.
    pub(crate) fn try_next(&mut self) -> Result<TapFrame, bool> {
        self.frames.try_recv().map_err(|error| error == TryRecvError::Disconnected)
    }

    /// Gives a frame's memory back.
    pub(crate) fn give_back(&self, frame: TapFrame) {
        // What finds no room is freed.
        let _ = self.used.try_send(frame.samples);
    }

    /// Frames that found no room since they were not taken in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl TapEnd {
    /// Somebody listens still.
    pub(super) fn is_open(&self) -> bool {
        !self.frames.is_closed()
    }

    /// Hands over a tick's sound: when it came, and whether anybody is heard.
    pub(super) fn send(&mut self, rate_hz: u32, (at, heard): (Time, bool), samples: &[i16]) {
        let mut memory = self.used.try_recv().unwrap_or_default();
        memory.clear();
        memory.extend_from_slice(samples);
        let frame = TapFrame { number: self.number, rate_hz, at, heard, samples: memory };
        self.number += 1;
        if let Err(TrySendError::Full(_)) = self.frames.try_send(frame) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_in_time_is_dropped_and_counted() {
        let (mut end, mut tap) = tap(TapOf::Mix);
        for _ in 0..FRAMES_WAITING_MAX + 5 {
            end.send(8_000, (Time::ZERO, true), &[1, 2, 3]);
        }
        assert_eq!(tap.dropped(), 5);
        let first = tap.frames.try_recv().expect("it waits");
        assert_eq!((first.number, first.samples.as_slice()), (0, [1, 2, 3].as_slice()));
        let memory = first.samples.as_ptr();
        tap.give_back(first);
        end.send(8_000, (Time::ZERO, true), &[4]);
        let last = std::iter::from_fn(|| tap.frames.try_recv().ok()).last().expect("it waits");
        assert_eq!((last.number, last.samples.as_slice()), (FRAMES_WAITING_MAX as u64 + 5, [4].as_slice()));
        assert_eq!(last.samples.as_ptr(), memory, "memory goes round");
        drop(tap);
        assert!(!end.is_open());
    }
}
