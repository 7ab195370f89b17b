//! Commands: checked as a whole first, so that a refused one has changed nothing.

mod outputs;
mod playing;
mod rooms;
mod sources;

use super::mixer::AudioMixer;
use super::{MixCommand, MixError};

impl AudioMixer {
    /// Carries out a command. It is heard from the next tick on.
    ///
    /// # Errors
    /// What [`MixError`] says; nothing is changed then.
    pub fn handle_command(&mut self, command: MixCommand) -> Result<(), MixError> {
        match command {
            MixCommand::AddSource(config) => self.add_source(config),
            MixCommand::SetSource { id, settings } => self.set_source(id, settings),
            MixCommand::MoveSource { id, group } => self.move_source(id, group),
            MixCommand::RemoveSource(id) => self.remove_source(id),
            MixCommand::AddOutput(config) => self.add_output(config),
            MixCommand::SetOutput { id, settings } => self.set_output(id, settings),
            MixCommand::SetOutputLoss { id, percent } => self.set_output_loss(id, percent),
            MixCommand::MoveOutput { id, group } => self.move_output(id, group),
            MixCommand::RemoveOutput(id) => self.remove_output(id),
            MixCommand::SetPair { source, output, gain } => self.set_pair(source, output, gain),
            MixCommand::SetFloor { group, holders } => self.set_floor(group, holders),
            MixCommand::PlayPrompt(config) => self.play_prompt(config),
            MixCommand::StopPrompt(id) => self.stop_prompt(id),
            MixCommand::SetTap { group, on } => self.set_tap(group, on),
            MixCommand::SetSourceTap { id, on } => self.set_source_tap(id, on),
            MixCommand::SetEffort(effort) => {
                self.set_effort(effort);
                Ok(())
            }
        }
    }
}
