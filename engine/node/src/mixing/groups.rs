//! The rooms of a conference: side conferences have names, and numbers by which the mixer knows them.

use super::translate::MAIN;
use crate::model::Id;
use crate::plan::MixForm;
use motet_mixer::audio::GroupId;

/// Names of side conferences; the number of one is its place and one more.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<Option<Id>>);

impl Groups {
    /// The number of a room, a new one if the mixer does not know it.
    pub(super) fn number(&mut self, room: Option<&Id>) -> GroupId {
        let Some(room) = room else { return MAIN };
        let known = self.0.iter().position(|name| name.as_ref() == Some(room));
        let place = known.or_else(|| self.0.iter().position(Option::is_none)).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.push(None);
        }
        self.0[place] = Some(room.clone());
        GroupId(place as u32 + 1)
    }

    /// All rooms, the main one first.
    pub(super) fn numbers(&self) -> Vec<GroupId> {
        let named = self.0.iter().zip(1..).filter(|(name, _)| name.is_some());
        std::iter::once(MAIN).chain(named.map(|(_, number)| GroupId(number))).collect()
    }

    /// Forgets rooms in which nobody is.
    pub(super) fn keep(&mut self, form: &MixForm) {
        let of_sources = || form.sources.values().filter_map(|source| source.room.as_ref());
        let of_outputs = || form.outputs.values().filter_map(|output| output.room.as_ref());
        for place in &mut self.0 {
            let named = |name: &Id| of_sources().chain(of_outputs()).any(|room| room == name);
            if place.as_ref().is_some_and(|name| !named(name)) {
                *place = None;
            }
        }
    }
}
