//! The thread that plays one file.

use super::pictures::PictureLine;
use super::sound::SoundLine;
use super::{Order, Playing, PlayingEvent, Shown};
use crate::canvas::Film;
use crate::model::Id;
use crate::worker::Clock;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use motet_codecs::file::MediaItem;
use motet_rtp::Time;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two looks at what is due.
const TURN: Duration = Duration::from_millis(4);
/// So much is decoded ahead.
const AHEAD: Duration = Duration::from_millis(400);
/// Sender reports are sent so often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A file that is shorter than it says by more than this has ended early.
const SHORT_BY: Duration = Duration::from_secs(1);
/// A thread that was held up for longer goes on from where it was.
const HELD_UP: Duration = Duration::from_secs(1);

pub(super) struct Player {
    conference: Id,
    leg: Id,
    name: String,
    file: Film,
    repeat: bool,
    sound: Option<SoundLine>,
    pictures: Option<PictureLine>,
    clock: Clock,
    orders: Receiver<Order>,
    shown: Shown,
    events: mpsc::Sender<PlayingEvent>,
    /// When the file was, or would have been, at which place.
    base: (Time, Duration),
    paused: bool,
    /// All of the file was read.
    read: bool,
    /// All of it was sent, and told.
    ended: bool,
    report_at: Time,
    looked_at: Time,
}

impl Player {
    pub(super) fn new(
        playing: Playing,
        clock: Clock,
        (orders, shown, events): (Receiver<Order>, Shown, mpsc::Sender<PlayingEvent>),
    ) -> Result<Player, String> {
        let Playing { conference, leg, name, file, from, repeat, targets } = playing;
        let sound = targets.sound.as_ref().filter(|_| file.has_sound()).map(SoundLine::new).transpose()?;
        let pictures =
            targets.pictures.as_ref().filter(|_| file.has_pictures()).map(PictureLine::new).transpose()?;
        let now = clock.now();
        let mut player = Player {
            conference,
            leg,
            name,
            file,
            repeat,
            sound,
            pictures,
            clock,
            orders,
            shown,
            events,
            base: (now, Duration::ZERO),
            paused: false,
            read: false,
            ended: false,
            report_at: now,
            looked_at: now,
        };
        if from > Duration::ZERO {
            player.seek(now, from)?;
        }
        player.show(now);
        Ok(player)
    }

    /// Until whoever gives orders is gone, or the file cannot be read further.
    pub(super) fn run(mut self) {
        loop {
            match self.orders.recv_timeout(TURN) {
                Ok(order) => {
                    if let Err(error) = self.handle(self.clock.now(), order) {
                        return self.fail(error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Err(error) = self.turn() {
                return self.fail(error);
            }
        }
    }

    fn handle(&mut self, now: Time, order: Order) -> Result<(), String> {
        match order {
            Order::Pause(paused) if paused != self.paused => {
                self.base = (now, self.position(now));
                self.paused = paused;
            }
            Order::Pause(_) => {}
            Order::Seek(to) => self.seek(now, to)?,
            Order::Repeat(repeat) => {
                self.repeat = repeat;
                // What has ended begins again.
                if repeat && self.ended {
                    self.seek(now, Duration::ZERO)?;
                }
            }
        }
        Ok(())
    }

    fn seek(&mut self, now: Time, to: Duration) -> Result<(), String> {
        let to = self.file.duration().map_or(to, |duration| to.min(duration));
        self.file.seek(to)?;
        (self.base, self.read, self.ended) = ((now, to), false, false);
        if let Some(line) = &mut self.sound {
            line.restart(to);
        }
        if let Some(line) = &mut self.pictures {
            line.restart(to);
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        // A machine that stood still for long is no reason to send all of that at once.
        let held_up = now.since(self.looked_at);
        if held_up > HELD_UP {
            self.base.0 += held_up;
        }
        self.looked_at = now;
        if let Some(line) = &mut self.pictures
            && line.way.listen()
        {
            line.request_key_frame();
        }
        if let Some(line) = &mut self.sound {
            line.way.listen();
        }
        if self.paused || self.ended {
            if let Some(line) = &mut self.pictures {
                line.send_again(now.as_nanos());
            }
        } else {
            self.play()?;
        }
        if now >= self.report_at {
            self.report_at = now + REPORT_INTERVAL;
            self.report(now);
        }
        self.show(now);
        Ok(())
    }

    fn play(&mut self) -> Result<(), String> {
        self.fill()?;
        // To decode takes its time.
        let now = self.clock.now();
        let (position, (begun, from)) = (self.position(now), self.base);
        let at_ns = move |place: Duration| (begun + place.saturating_sub(from)).as_nanos();
        if let Some(line) = &mut self.sound {
            line.send(position, at_ns);
        }
        if let Some(line) = &mut self.pictures {
            line.send(position, at_ns);
        }
        let sound = self.sound.as_ref().is_none_or(SoundLine::is_empty);
        let pictures = self.pictures.as_ref().is_none_or(PictureLine::is_empty);
        if self.read && sound && pictures {
            self.end(now)?;
        }
        Ok(())
    }

    /// Decodes ahead.
    fn fill(&mut self) -> Result<(), String> {
        let until = self.position(self.clock.now()) + AHEAD;
        while !self.read {
            let sound = self.sound.as_ref().is_some_and(|line| line.end() < until);
            let pictures = self.pictures.as_ref().is_some_and(|line| line.end() < until);
            let full = self.sound.as_ref().is_some_and(SoundLine::is_full)
                || self.pictures.as_ref().is_some_and(PictureLine::is_full);
            if full || !(sound || pictures) {
                break;
            }
            match self.file.read()? {
                None => self.read = true,
                Some(MediaItem::Picture { at, picture }) => {
                    if let Some(line) = &mut self.pictures {
                        line.push(at, &picture);
                    }
                }
                Some(MediaItem::Sound { at, rate_hz, samples }) => {
                    if let Some(line) = &mut self.sound
                        && !line.push(at, rate_hz, samples)
                    {
                        tracing::warn!(file = self.name, rate_hz, "sound of this rate is not played");
                        self.sound = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// The file is over.
    fn end(&mut self, now: Time) -> Result<(), String> {
        let at = self.position(now);
        let short = self.file.duration().filter(|duration| at + SHORT_BY < *duration);
        if self.repeat && short.is_none() {
            return self.seek(now, Duration::ZERO);
        }
        self.ended = true;
        self.base = (now, at);
        let why = short.map(|duration| {
            let (at, duration) = (at.as_secs_f64(), duration.as_secs_f64());
            format!("{} ends after {at:.1} s and says that it has {duration:.1} s: it is cut off", self.name)
        });
        self.tell(why);
        Ok(())
    }

    fn fail(mut self, error: String) {
        self.ended = true;
        self.show(self.clock.now());
        self.tell(Some(error));
    }

    fn tell(&self, why: Option<String>) {
        let (conference, leg, file) = (self.conference.clone(), self.leg.clone(), self.name.clone());
        // Where nobody takes events for so long, this one is missed; what is shown says the same.
        let _ = self.events.try_send(PlayingEvent { conference, leg, file, why });
    }

    fn report(&mut self, now: Time) {
        let ntp = self.clock.wall(now);
        if let Some(line) = &mut self.sound {
            line.way.report(now.as_nanos(), ntp, "player");
        }
        if let Some(line) = &mut self.pictures {
            line.way.report(now.as_nanos(), ntp, "player");
        }
    }

    /// Where the file is.
    fn position(&self, now: Time) -> Duration {
        let stands = self.paused || self.ended;
        self.base.1 + if stands { Duration::ZERO } else { now.since(self.base.0) }
    }

    fn show(&self, now: Time) {
        let duration_ms = self.file.duration().map_or(0, |duration| duration.as_millis() as u64);
        let position_ms = self.position(now).as_millis() as u64;
        // Orders that wait show already.
        if !self.orders.is_empty() {
            return;
        }
        self.shown.change(|state| {
            state.file.clone_from(&self.name);
            (state.paused, state.repeat, state.ended) = (self.paused, self.repeat, self.ended);
            (state.position_ms, state.duration_ms) = (position_ms, duration_ms);
        });
    }
}
