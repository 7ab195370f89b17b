//! Who is seen in which cell.

use super::SourceId;
use super::layout::{Cell, Role};

/// Fills cells: those who are fixed first, then speakers where they belong, everybody else where they were, and
/// newcomers in free cells in their order.
///
/// `people` are those who can be seen, in their order; `before` is who was in which cell.
pub(super) fn place(
    cells: &[Cell],
    people: &[SourceId],
    [speaker, previous]: [Option<SourceId>; 2],
    before: &[Option<SourceId>],
) -> Vec<Option<SourceId>> {
    let is_here = |id: &SourceId| people.contains(id);
    let fixed = |cell: &Cell| match cell.role {
        Role::Fixed(source) => source.filter(is_here),
        _ => None,
    };
    let mut placed: Vec<Option<SourceId>> = cells.iter().map(fixed).collect();
    // Who has spoken, the last one first; then whoever is there.
    let spoken = [speaker, previous].into_iter().flatten().filter(is_here);
    let mut important: Vec<SourceId> = Vec::new();
    for id in spoken.chain(people.iter().copied()) {
        if !important.contains(&id) && !placed.contains(&Some(id)) {
            important.push(id);
        }
    }
    let mut important = important.into_iter();
    for role in [Role::Speaker, Role::PreviousSpeaker] {
        for index in (0..cells.len()).filter(|index| cells[*index].role == role) {
            placed[index] = important.next();
        }
    }
    let is_free = |index: usize| cells[index].role == Role::Anybody;
    for index in (0..cells.len()).filter(|index| is_free(*index)) {
        let stays = before.get(index).copied().flatten().filter(is_here);
        placed[index] = stays.filter(|id| !placed.contains(&Some(*id)));
    }
    let mut waiting =
        people.iter().copied().filter(|id| !placed.contains(&Some(*id))).collect::<Vec<_>>().into_iter();
    for index in (0..cells.len()).filter(|index| is_free(*index)) {
        if placed[index].is_none() {
            placed[index] = waiting.next();
        }
    }
    // Who speaks is seen, whatever the layout: in the last cell, if there is none to spare.
    if let Some(speaker) = speaker.filter(is_here)
        && !placed.contains(&Some(speaker))
        && let Some(last) = (0..cells.len()).rev().find(|index| is_free(*index))
    {
        placed[last] = Some(speaker);
    }
    placed
}
