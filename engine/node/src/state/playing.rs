//! What the state asks of players.

use super::State;
use crate::canvas::Film;
use crate::error::NodeError;
use crate::events::Events;
use crate::mixing::prompts::PromptFolder;
use crate::model::{Id, MediaKind};
use crate::playing::{Order, PlayerHandle, Playing, PlayingEvent, Target, Targets, can_send};
use crate::worker::Clock;
use motet_proto::{media, node as wire};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Legs that play files.
#[derive(Default)]
pub(crate) struct Players {
    with: Option<(Clock, mpsc::Sender<PlayingEvent>)>,
    /// By conference and leg.
    all: BTreeMap<(String, Id), PlayerHandle>,
}

/// Files that play on a node at most: each is decoded and encoded.
const PLAYERS_MAX: usize = 64;

impl State {
    /// Plays from now on. Before anything runs.
    pub(crate) fn play_with(&mut self, clock: Clock, events: mpsc::Sender<PlayingEvent>) {
        self.players.with = Some((clock, events));
    }

    /// Checks that a leg can play something; gives where files are.
    pub(crate) fn check_playback(&self, request: &wire::PlaybackRequest) -> Result<PromptFolder, NodeError> {
        self.check_ours()?;
        self.targets_of(request)?;
        Ok(self.mixing.prompts.clone())
    }

    /// Has a leg play a file that was opened.
    pub(crate) fn begin_playing(
        &mut self,
        request: &wire::PlaybackRequest,
        play: &media::PlayFile,
        file: Film,
    ) -> Result<media::PlaybackState, NodeError> {
        // All may have changed while it was opened.
        self.check_ours()?;
        let targets = self.targets_of(request)?;
        let sends = (targets.sound.is_some() && file.has_sound())
            || (targets.pictures.is_some() && file.has_pictures());
        if !sends {
            let why = format!("'{}' holds nothing that '{}' can send", play.file, request.leg);
            return Err(NodeError::invalid("order.play.file", why));
        }
        let key = (request.conference.clone(), Id::from(&request.leg));
        let (clock, events) = self.players.with.clone().expect("it plays since it began");
        if self.players.all.len() >= PLAYERS_MAX && !self.players.all.contains_key(&key) {
            let why = format!("{PLAYERS_MAX} files play on this node, its limit");
            return Err(NodeError::Exhausted { field: "order.play".to_owned(), why });
        }
        let playing = Playing {
            conference: Id::from(&request.conference),
            leg: key.1.clone(),
            name: play.file.clone(),
            file,
            from: Duration::from_millis(play.from_ms),
            repeat: play.repeat,
            targets,
        };
        let player = PlayerHandle::start(playing, clock, events);
        let player = player.map_err(|why| NodeError::invalid("order.play.file", why))?;
        let state = player.state();
        self.players.all.insert(key, player);
        Ok(state)
    }

    /// Has the player of a leg do something; none: only tells how it is doing.
    pub(crate) fn order_player(
        &mut self,
        request: &wire::PlaybackRequest,
        order: Option<Order>,
    ) -> Result<media::PlaybackState, NodeError> {
        self.check_ours()?;
        self.targets_of(request)?;
        let player = self.players.all.get(&(request.conference.clone(), Id::from(&request.leg)));
        let Some(player) = player else {
            return match order {
                None => Ok(media::PlaybackState::default()),
                Some(_) => Err(NodeError::invalid("leg", format!("'{}' plays nothing", request.leg))),
            };
        };
        if let Some(order) = order {
            player.order(order);
        }
        Ok(player.state())
    }

    /// Has a leg play nothing.
    pub(crate) fn stop_player(&mut self, request: &wire::PlaybackRequest) -> Result<(), NodeError> {
        self.check_ours()?;
        self.players.all.remove(&(request.conference.clone(), Id::from(&request.leg)));
        Ok(())
    }

    /// Ends players of a conference whose legs are gone, or send something else, or from elsewhere.
    pub(super) fn keep_players(&mut self, id: &str) {
        let mut all = std::mem::take(&mut self.players.all);
        all.retain(|(conference, leg), player| {
            conference != id || self.targets(id, leg).is_some_and(|targets| targets == player.targets)
        });
        self.players.all = all;
    }

    /// Ends all: another process runs the conferences now.
    pub(crate) fn end_players(&mut self) {
        self.players.all.clear();
    }

    fn targets_of(&self, request: &wire::PlaybackRequest) -> Result<Targets, NodeError> {
        let (id, leg) = (&request.conference, &request.leg);
        let conference = self.conferences.get(id).ok_or_else(|| NodeError::NotFound(id.clone()))?;
        if request.epoch < conference.epoch {
            return Err(super::stale_epoch(id, request.epoch, conference.epoch, "runs"));
        }
        let targets = self.targets(id, leg);
        let targets = targets
            .ok_or_else(|| NodeError::invalid("leg", format!("no leg '{leg}' is in conference '{id}'")))?;
        if targets == Targets::default() {
            let why = format!("'{leg}' sends nothing in a codec that is encoded here");
            return Err(NodeError::invalid("leg", why));
        }
        Ok(targets)
    }

    /// Where a leg's media are sent to; none: there is no such leg.
    fn targets(&self, id: &str, leg: &str) -> Option<Targets> {
        let conference = self.conferences.get(id)?;
        let (leg, held) = (conference.spec.legs.get(leg)?, conference.held.legs.get(leg)?);
        let target = |kind| {
            let medium = leg.media.iter().find(|medium| medium.kind == kind && medium.sends)?;
            let codec = medium.codecs.iter().find(|codec| can_send(kind, codec))?;
            let transport = medium.transport;
            let (to, rtcp_mux) = (held.ports.get(transport)?.rtp.1, leg.transports.get(transport)?.rtcp_mux);
            Some(Target { to, rtcp_mux, codec: Arc::clone(codec) })
        };
        Some(Targets { sound: target(MediaKind::Audio), pictures: target(MediaKind::Video) })
    }
}

/// Tells the watchers that a file is over.
pub(crate) fn publish_playing(state: &State, events: &Events, event: PlayingEvent) {
    let Some(conference) = state.conferences.get(event.conference.as_str()) else { return };
    let (complete, message) = (event.why.is_none(), event.why.unwrap_or_default());
    let (leg, file) = (event.leg.to_string(), event.file);
    let ended = wire::PlaybackEnded { leg, file, complete, message };
    events.send(&event.conference, conference.epoch, wire::event::Kind::PlaybackEnded(ended));
}
