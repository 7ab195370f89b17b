//! One conference on a mixing thread: its mixer, and who is who.
//!
//! What is to be mixed comes as a whole ([`MixForm`]); here it becomes the mixer's commands. A leg has one number,
//! as a source and as an output.

use super::groups::Groups;
use super::phase::Phase;
use super::tap::{TapEnd, TapOf};
use super::{MixingEvent, MixingEventKind, PromptOrder, translate};
use crate::exchange::Desk;
use crate::model::{Id, MixSettings};
use crate::plan::{MixForm, OutputForm, TrunkEnd};
use motet_mixer::audio::{
    AudioMixer, Effort, MixCommand, MixDrops, MixError, MixEvent, MixOutbox, OutputId, PromptId, SourceId,
    SourceStatus,
};
use motet_rtp::{Ntp, Time};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How long sound waits for what is late, where nobody says how long it does.
const DELAY_USUAL: Duration = Duration::from_millis(30);

/// Somebody who takes part.
struct Member {
    leg: Id,
    /// Where what it hears leaves; none: it hears nothing.
    end: Option<TrunkEnd>,
    /// Sequence number and timestamp that would come next; none: it has heard nothing yet.
    next: Option<(u16, u32)>,
    /// RTP ticks of 20 ms, for the timestamp.
    ticks: u32,
}

/// Who is heard in a mix, and how.
#[derive(Clone, Debug)]
pub(crate) struct RoomStatus {
    pub(crate) sources: Vec<(Id, SourceStatus)>,
    /// Of all, those that are no source's included.
    pub(crate) drops: MixDrops,
    /// Samples a second at which sound is summed up.
    pub(crate) rates_hz: Vec<u32>,
}

/// A conference.
pub(super) struct Room {
    pub(super) id: Id,
    pub(super) slot: usize,
    pub(super) phase: Phase,
    pub(super) form: Arc<MixForm>,
    pub(super) mixer: AudioMixer,
    /// By number.
    members: Vec<Option<Member>>,
    numbers: HashMap<Id, u32>,
    /// Side conferences.
    groups: Groups,
    /// Prompts that play, by number.
    prompts: HashMap<u32, Id>,
    prompts_begun: u32,
    /// Who is among the loudest, by number, as was told last.
    loudest: Vec<bool>,
    taps: Vec<TapEnd>,
}

impl Room {
    /// An empty one with the form's settings. [`Room::put`] fills it.
    pub(super) fn new(id: Id, slot: usize, form: &MixForm) -> Result<Room, MixError> {
        let mixer = AudioMixer::new(translate::config(&form.settings))?;
        let form = Arc::new(MixForm::empty(form.settings));
        let (members, numbers, prompts) = (Vec::new(), HashMap::new(), HashMap::new());
        let (groups, loudest) = (Groups::default(), Vec::new());
        Ok(Room {
            id,
            slot,
            phase: Phase::default(),
            form,
            mixer,
            members,
            numbers,
            groups,
            prompts,
            prompts_begun: 0,
            loudest,
            taps: Vec::new(),
        })
    }

    /// Makes the mix what the form says. Goes on after what fails, and gives the first failure.
    /// `wall` is the time of day, which the numbers of new outputs begin with.
    pub(super) fn put(
        &mut self,
        form: Arc<MixForm>,
        effort: Effort,
        wall: Ntp,
    ) -> Result<Vec<MixingEvent>, MixError> {
        let mut events = Vec::new();
        if translate::config(&form.settings) != *self.mixer.config() {
            // Everybody's numbers go on where they were.
            self.mixer = AudioMixer::new(translate::config(&form.settings))?;
            self.form = Arc::new(MixForm::empty(self.form.settings));
            let stopped = self.prompts.drain().map(|(_, prompt)| prompt);
            let kind = |prompt| MixingEventKind::PromptFinished { prompt, complete: false };
            events.extend(
                stopped.map(|prompt| MixingEvent { conference: self.id.clone(), kind: kind(prompt) }),
            );
        }
        let mut first_failure = self.mixer.handle_command(MixCommand::SetEffort(effort)).err();
        let old = std::mem::replace(&mut self.form, Arc::clone(&form));
        for command in self.changes(&old, &form, wall) {
            if let Err(failure) = self.mixer.handle_command(command) {
                first_failure.get_or_insert(failure);
            }
        }
        self.forget_members();
        self.groups.keep(&form);
        self.set_taps();
        first_failure.map_or(Ok(events), Err)
    }

    /// From one form to another, as commands in their order.
    fn changes(&mut self, old: &MixForm, new: &MixForm, wall: Ntp) -> Vec<MixCommand> {
        let mut commands = Vec::new();
        let strips = |settings: &MixSettings| settings.strip_dtmf;
        let same_handling = strips(&old.settings) == strips(&new.settings);
        let mut fresh = BTreeSet::new();
        for (leg, output) in &old.outputs {
            if !new.outputs.get(leg).is_some_and(|new| new.same_stream(output)) {
                commands.push(MixCommand::RemoveOutput(OutputId(self.numbers[leg])));
                self.member(leg).end = None;
            }
        }
        for (leg, source) in &old.sources {
            if !new.sources.get(leg).is_some_and(|new| new.same_stream(source)) {
                commands.push(MixCommand::RemoveSource(SourceId(self.numbers[leg])));
            }
        }
        for (leg, source) in &new.sources {
            let before = old.sources.get(leg).filter(|old| old.same_stream(source));
            let (id, group) = (SourceId(self.number(leg)), self.groups.number(source.room.as_ref()));
            let Some(before) = before else {
                let config = translate::source(id, source, group, &new.settings);
                commands.push(MixCommand::AddSource(config));
                fresh.insert(leg.as_str());
                continue;
            };
            if before.room != source.room {
                commands.push(MixCommand::MoveSource { id, group });
            }
            if before != source || !same_handling {
                let settings = translate::source_settings(source, &new.settings);
                commands.push(MixCommand::SetSource { id, settings });
            }
        }
        for (leg, output) in &new.outputs {
            let Some(before) = old.outputs.get(leg).filter(|old| old.same_stream(output)) else {
                commands.extend(self.add_output(leg, (new, output), wall));
                fresh.insert(leg.as_str());
                continue;
            };
            self.change_output(leg, before, output, &mut commands);
        }
        self.change_pairs(old, new, &fresh, &mut commands);
        if old.floor != new.floor {
            let holder = |leg: &Id| SourceId(self.numbers[leg]);
            let holders = new.floor.as_ref().map(|legs| legs.iter().map(holder).collect());
            commands.push(MixCommand::SetFloor { group: translate::MAIN, holders });
        }
        commands
    }

    fn change_output(
        &mut self,
        leg: &Id,
        before: &OutputForm,
        output: &OutputForm,
        commands: &mut Vec<MixCommand>,
    ) {
        let id = OutputId(self.number(leg));
        if before.room != output.room {
            let group = self.groups.number(output.room.as_ref());
            commands.push(MixCommand::MoveOutput { id, group });
        }
        let settings = translate::output_settings(output);
        if translate::output_settings(before) != settings {
            commands.push(MixCommand::SetOutput { id, settings });
        }
        if before.loss_percent != output.loss_percent {
            commands.push(MixCommand::SetOutputLoss { id, percent: output.loss_percent });
        }
    }

    fn add_output(
        &mut self,
        leg: &Id,
        (form, output): (&MixForm, &OutputForm),
        wall: Ntp,
    ) -> Option<MixCommand> {
        let (id, group) = (OutputId(self.number(leg)), self.groups.number(output.room.as_ref()));
        let end = form.ends.iter().find(|end| end.port == output.port).copied();
        let member = self.member(leg);
        (member.end, member.ticks) = (end, output.codecs[0].clock_hz / 50);
        let next = *member.next.get_or_insert_with(|| numbers_at(wall, member.ticks));
        translate::output(id, output, group, next).map(MixCommand::AddOutput)
    }

    /// Pairs whose gain is another one, or whose ends are new to the mixer.
    fn change_pairs(
        &self,
        old: &MixForm,
        new: &MixForm,
        fresh: &BTreeSet<&str>,
        commands: &mut Vec<MixCommand>,
    ) {
        let mut set = |(from, to): &(Id, Id), gain| {
            let (source, output) = (SourceId(self.numbers[from]), OutputId(self.numbers[to]));
            commands.push(MixCommand::SetPair { source, output, gain });
        };
        for pair in old.pair_gains.keys().filter(|pair| !new.pair_gains.contains_key(*pair)) {
            let stays = |leg: &Id| !fresh.contains(leg.as_str());
            let known = new.sources.contains_key(&pair.0) && new.outputs.contains_key(&pair.1);
            if known && stays(&pair.0) && stays(&pair.1) {
                set(pair, None);
            }
        }
        for (pair, gain) in &new.pair_gains {
            let touched = fresh.contains(pair.0.as_str()) || fresh.contains(pair.1.as_str());
            if touched || old.pair_gains.get(pair) != Some(gain) {
                set(pair, Some(translate::pair_gain(*gain)));
            }
        }
    }

    /// The leg's number, which is its own until it is neither source nor output.
    fn number(&mut self, leg: &Id) -> u32 {
        if let Some(number) = self.numbers.get(leg) {
            return *number;
        }
        let leg = leg.clone();
        let free = self.members.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            self.members.push(None);
            self.members.len() - 1
        });
        self.members[number] = Some(Member { leg: leg.clone(), end: None, next: None, ticks: 0 });
        self.numbers.insert(leg, number as u32);
        number as u32
    }

    fn member(&mut self, leg: &Id) -> &mut Member {
        let number = self.number(leg);
        self.members[number as usize].as_mut().expect("who has a number is a member")
    }

    fn forget_members(&mut self) {
        let form = Arc::clone(&self.form);
        let stays = |leg: &Id| form.sources.contains_key(leg) || form.outputs.contains_key(leg);
        let members = &mut self.members;
        self.numbers.retain(|leg, number| {
            let stays = stays(leg);
            if !stays {
                members[*number as usize] = None;
            }
            stays
        });
    }

    /// Plays a prompt, or leaves it alone if it plays already.
    pub(super) fn play(&mut self, order: PromptOrder) -> Result<(), MixError> {
        if self.prompts.values().any(|prompt| *prompt == order.prompt) {
            return Ok(());
        }
        let outputs = order.to.iter().filter_map(|leg| self.numbers.get(leg).copied().map(OutputId));
        let outputs: Vec<OutputId> = outputs.collect();
        // What all hear is played in each of the rooms.
        let rooms = if order.to.is_empty() { self.groups.numbers() } else { vec![translate::MAIN] };
        for room in rooms {
            self.prompts_begun += 1;
            let number = self.prompts_begun;
            let config = translate::prompt(PromptId(number), &order, room, outputs.clone());
            self.mixer.handle_command(MixCommand::PlayPrompt(config))?;
            self.prompts.insert(number, order.prompt.clone());
        }
        Ok(())
    }

    /// False: it does not play.
    pub(super) fn stop(&mut self, prompt: &str) -> bool {
        let mut stopped = false;
        for (number, _) in self.prompts.iter().filter(|(_, known)| **known == *prompt) {
            stopped |= self.mixer.handle_command(MixCommand::StopPrompt(PromptId(*number))).is_ok();
        }
        stopped
    }

    /// Hands over sound from now on. False: the leg is not heard here.
    pub(super) fn tap(&mut self, end: TapEnd) -> bool {
        if let TapOf::Leg(leg) = &end.of
            && !self.form.sources.contains_key(leg)
        {
            return false;
        }
        self.taps.push(end);
        self.set_taps();
        true
    }

    /// Ends taps that nobody wants or that have nothing to say, and tells the mixer which there are.
    fn set_taps(&mut self) {
        let heard = &self.form.sources;
        self.taps.retain(|tap| {
            let speaks = match &tap.of {
                TapOf::Mix => true,
                TapOf::Leg(leg) => heard.contains_key(leg),
            };
            tap.is_open() && speaks
        });
        let on = self.taps.iter().any(|tap| tap.of == TapOf::Mix);
        let mix = MixCommand::SetTap { group: translate::MAIN, on };
        let sources = self.form.sources.keys().filter_map(|leg| {
            let on = self.taps.iter().any(|tap| matches!(&tap.of, TapOf::Leg(tapped) if tapped == leg));
            Some(MixCommand::SetSourceTap { id: SourceId(*self.numbers.get(leg)?), on })
        });
        let commands: Vec<MixCommand> = std::iter::once(mix).chain(sources).collect();
        for command in commands {
            // A source that was refused has no tap.
            let _ = self.mixer.handle_command(command);
        }
    }

    /// Hands what was tapped to those who listen.
    fn hand_over_taps(&mut self, now: Time, out: &MixOutbox) {
        let delay = self.delay(now);
        let heard = delay.is_some() || !self.prompts.is_empty();
        let at = now - delay.unwrap_or(DELAY_USUAL);
        let rate_hz = self.mixer.config().rate_hz;
        for tap in &mut self.taps {
            let samples = match &tap.of {
                TapOf::Mix => {
                    out.taps().find(|(group, _)| *group == translate::MAIN).map(|(_, samples)| samples)
                }
                TapOf::Leg(leg) => {
                    let number = self.numbers.get(leg).copied();
                    out.source_taps().find(|(source, _)| Some(source.0) == number).map(|(_, samples)| samples)
                }
            };
            if let Some(samples) = samples {
                tap.send(rate_hz, (at, heard), samples);
            }
        }
        if self.taps.iter().any(|tap| !tap.is_open()) {
            self.set_taps();
        }
    }

    /// How long ago came what is mixed now: as that of the one among them who waits longest. None: nobody is heard.
    fn delay(&self, now: Time) -> Option<Duration> {
        let sources = self.form.sources.keys().filter_map(|leg| {
            self.mixer.source_status(now, SourceId(*self.numbers.get(leg)?)).filter(|status| status.mixed)
        });
        let delay_ms = sources.map(|status| status.playout.delay_ms).max();
        delay_ms.map(|delay_ms| Duration::from_millis(delay_ms.into()))
    }

    /// How it is doing.
    pub(super) fn status(&self, now: Time) -> RoomStatus {
        let status = |leg: &Id| self.mixer.source_status(now, SourceId(*self.numbers.get(leg)?));
        let sources = self.form.sources.keys().filter_map(|leg| Some((leg.clone(), status(leg)?)));
        let (drops, rates_hz) = (self.mixer.drops(), self.mixer.rates_hz());
        RoomStatus { sources: sources.collect(), drops, rates_hz }
    }

    /// Makes a tick, and hands over what it made.
    pub(super) fn tick(
        &mut self,
        now: Time,
        out: &mut MixOutbox,
        desk: &mut Desk,
        mut tell: impl FnMut(MixingEvent) -> bool,
    ) {
        self.mixer.tick(now, out);
        for packet in out.packets() {
            let Some(member) = &mut self.members[packet.output.0 as usize] else { continue };
            let Some(end) = member.end else { continue };
            let [_, _, s0, s1, t0, t1, t2, t3, ..] = *packet.header;
            let (sequence, timestamp) = (u16::from_be_bytes([s0, s1]), u32::from_be_bytes([t0, t1, t2, t3]));
            member.next = Some((sequence.wrapping_add(1), timestamp.wrapping_add(member.ticks)));
            desk.pack(
                end,
                packet.header,
                packet.payload,
                (packet.header.len() + packet.payload.len()) as u32,
            );
        }
        if !self.taps.is_empty() {
            self.hand_over_taps(now, out);
        }
        for event in out.events() {
            if let Some(kind) = self.kind_of(event) {
                tell(MixingEvent { conference: self.id.clone(), kind });
            }
        }
        if self.form.finds_loudest {
            self.find_loudest(now, tell);
        }
    }

    /// Tells who is among the loudest when that has changed.
    fn find_loudest(&mut self, now: Time, mut tell: impl FnMut(MixingEvent) -> bool) {
        self.loudest.resize(self.members.len(), false);
        let is_loud = |number: usize| {
            self.mixer.source_status(now, SourceId(number as u32)).is_some_and(|status| status.mixed)
        };
        if (0..self.members.len()).all(|number| self.loudest[number] == is_loud(number)) {
            return;
        }
        let loudest: Vec<bool> = (0..self.members.len()).map(is_loud).collect();
        let loud = self.members.iter().zip(&loudest).filter(|(_, loud)| **loud);
        let legs = loud.filter_map(|(member, _)| Some(member.as_ref()?.leg.clone())).collect();
        // What finds no room is told again at the next tick.
        if tell(MixingEvent { conference: self.id.clone(), kind: MixingEventKind::Loudest { legs } }) {
            self.loudest = loudest;
        }
    }

    /// Voices that are in a mix in this moment.
    pub(super) fn speakers(&self, now: Time) -> usize {
        let numbers = self.form.sources.keys().filter_map(|leg| self.numbers.get(leg));
        let mixed = |number: &&u32| {
            self.mixer.source_status(now, SourceId(**number)).is_some_and(|status| status.mixed)
        };
        numbers.filter(mixed).count()
    }

    /// An event by the names that the node knows. None: whom it is about has just left.
    fn kind_of(&mut self, event: &MixEvent) -> Option<MixingEventKind> {
        let leg = |source: SourceId| Some(self.members.get(source.0 as usize)?.as_ref()?.leg.clone());
        Some(match *event {
            MixEvent::SpeakerStarted { source } => {
                MixingEventKind::Speaker { leg: leg(source)?, speaking: true }
            }
            MixEvent::SpeakerStopped { source } => {
                MixingEventKind::Speaker { leg: leg(source)?, speaking: false }
            }
            // Those of side conferences are nobody else's business.
            MixEvent::ActiveSpeaker { group, .. } if group != translate::MAIN => return None,
            MixEvent::ActiveSpeaker { source, .. } => MixingEventKind::Active { leg: source.and_then(leg) },
            MixEvent::Dtmf { source, event, duration_ms } => {
                MixingEventKind::Key { leg: leg(source)?, key: translate::key(event)?, duration_ms }
            }
            MixEvent::PromptFinished { prompt, stopped } => {
                let prompt = self.prompts.remove(&prompt.0)?;
                // In some rooms it may play still.
                if self.prompts.values().any(|other| *other == prompt) {
                    return None;
                }
                MixingEventKind::PromptFinished { prompt, complete: !stopped }
            }
            _ => return None,
        })
    }
}

/// Sequence number and timestamp of the 20 ms that begin now, `ticks` of the RTP clock each. They count the time of
/// day, so that another node that mixes the conference from now on is where this one would be.
fn numbers_at(wall: Ntp, ticks: u32) -> (u16, u32) {
    let rounds = ((u128::from(wall.0) * 50) >> 32) as u64;
    (rounds as u16, (rounds as u32).wrapping_mul(ticks))
}
