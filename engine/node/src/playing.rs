//! Playing: files that take part in conferences.
//!
//! A leg plays a file as a terminal would send it: by RTP to the leg's own ports, from a thread of its own. So it is
//! relayed, mixed, composed and recorded as any other participant, and a file that is slow, damaged or at its end
//! harms nobody else. What the file holds is decoded and encoded anew, in the codecs that the leg was given, so that
//! who joins, or lost something, gets a key frame. It is read and decoded in a process of its own, unless
//! `--canvas-in-node` (`canvas/process/film.rs`).
//!
//! - `player.rs`: the thread;
//! - `pictures.rs`, `sound.rs`: what it sends;
//! - `socket.rs`: by which way.

use crate::canvas::Film;
use crate::model::{Codec, Id, MediaKind};
use crate::worker::Clock;
use crossbeam_channel::{Sender, unbounded};
use motet_proto::media as wire;
use player::Player;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

mod pictures;
mod player;
mod socket;
mod sound;

/// Where a leg's medium is sent to, and as what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// The node's port for it.
    pub(crate) to: SocketAddr,
    /// RTCP goes there, too.
    pub(crate) rtcp_mux: bool,
    pub(crate) codec: Arc<Codec>,
}

/// Whether a medium of this kind can be sent in a codec.
pub(crate) fn can_send(kind: MediaKind, codec: &Codec) -> bool {
    match kind {
        MediaKind::Audio => sound::encoder(codec).is_some(),
        _ => codec.picture().is_some(),
    }
}

/// What a leg can send of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Targets {
    pub(crate) sound: Option<Target>,
    pub(crate) pictures: Option<Target>,
}

/// What a player is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Pause(bool),
    Seek(Duration),
    Repeat(bool),
}

/// A file has come to its end, or to where it cannot be read further.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlayingEvent {
    pub(crate) conference: Id,
    pub(crate) leg: Id,
    pub(crate) file: String,
    /// Why it ended before its time; none: it was played to its end.
    pub(crate) why: Option<String>,
}

/// What is to be played, and for whom.
pub(crate) struct Playing {
    pub(crate) conference: Id,
    pub(crate) leg: Id,
    /// As it was asked for.
    pub(crate) name: String,
    pub(crate) file: Film,
    pub(crate) from: Duration,
    pub(crate) repeat: bool,
    pub(crate) targets: Targets,
}

/// What the rest of the node holds of a player. Its end ends the player.
pub(crate) struct PlayerHandle {
    pub(crate) targets: Targets,
    orders: Sender<Order>,
    shown: Shown,
}

/// How a player is doing.
#[derive(Clone, Debug, Default)]
struct Shown(Arc<Mutex<wire::PlaybackState>>);

impl Shown {
    fn change(&self, change: impl FnOnce(&mut wire::PlaybackState)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl PlayerHandle {
    /// Begins to play.
    ///
    /// Errors are for people: no socket, no encoder, no thread.
    pub(crate) fn start(
        playing: Playing,
        clock: Clock,
        events: mpsc::Sender<PlayingEvent>,
    ) -> Result<PlayerHandle, String> {
        let (orders, waiting) = unbounded();
        let shown = Shown::default();
        let targets = playing.targets.clone();
        let player = Player::new(playing, clock, (waiting, shown.clone(), events))?;
        let thread = std::thread::Builder::new().name("player".to_owned()).spawn(move || player.run());
        thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(PlayerHandle { targets, orders, shown })
    }

    /// Has it do something. What it does shows at once.
    pub(crate) fn order(&self, order: Order) {
        self.shown.change(|state| match order {
            Order::Pause(paused) => state.paused = paused,
            Order::Seek(to) => (state.position_ms, state.ended) = (to.as_millis() as u64, false),
            Order::Repeat(repeat) => state.repeat = repeat,
        });
        // A player that has failed hears nothing; its event has told so.
        let _ = self.orders.send(order);
    }

    /// How it is doing.
    pub(crate) fn state(&self) -> wire::PlaybackState {
        self.shown.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
