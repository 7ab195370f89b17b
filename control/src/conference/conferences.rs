//! All conferences, and what they are found by.
//!
//! [`Conferences`] alone inserts, removes and lends them. One that was lent to be changed is *open*; before the
//! next question, and before another one is lent, the indexes are brought up to date with it. So they are exact
//! whenever they are asked, and no question looks at more conferences than its answer holds.

use super::index::{Id, Index, Label};
use super::limits::Class;
use super::model::{Conference, Phase};
use crate::placement::Promised;
use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// From one id to another.
pub(super) type IdRange<'a> = (Bound<&'a str>, Bound<&'a str>);

/// From after this id, to this one or the end.
pub(super) fn ids_after<'a>(after: &'a str, through: Option<&'a str>) -> IdRange<'a> {
    (Bound::Excluded(after), through.map_or(Bound::Unbounded, Bound::Included))
}

/// Conferences by id, tombstones included.
#[derive(Clone, Debug, Default)]
pub struct Conferences {
    known: BTreeMap<String, Box<Conference>>,
    index: RefCell<Index>,
    /// Conferences that were looked at.
    #[cfg(test)]
    looked: std::cell::Cell<u64>,
}

impl PartialEq for Conferences {
    fn eq(&self, other: &Conferences) -> bool {
        self.known == other.known
    }
}

impl std::ops::Index<&str> for Conferences {
    type Output = Conference;

    fn index(&self, id: &str) -> &Conference {
        self.get(id).expect("a known conference")
    }
}

impl std::ops::Index<&String> for Conferences {
    type Output = Conference;

    fn index(&self, id: &String) -> &Conference {
        &self[id.as_str()]
    }
}

impl Conferences {
    /// The conference with this id.
    pub fn get(&self, id: &str) -> Option<&Conference> {
        self.look();
        self.known.get(id).map(|conference| &**conference)
    }

    /// Whether there is one with this id.
    pub fn contains_key(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All, by id. Looks at every one: not for what is done often.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Conference)> {
        self.known.iter().map(|(id, conference)| {
            self.look();
            (id, &**conference)
        })
    }

    /// As [`Conferences::iter`].
    pub fn values(&self) -> impl Iterator<Item = &Conference> {
        self.iter().map(|(_, conference)| conference)
    }

    /// As [`Conferences::iter`].
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    /// Those whose ids are in this range, the end left out.
    pub(super) fn range(&self, from: String, end: String) -> impl Iterator<Item = &Conference> {
        self.known.range(from..end).map(|(_, conference)| {
            self.look();
            &**conference
        })
    }

    /// Those after this id.
    pub(super) fn after(&self, id: &str) -> impl Iterator<Item = &Conference> {
        self.known.range::<str, _>((Bound::Excluded(id), Bound::Unbounded)).map(|(_, conference)| {
            self.look();
            &**conference
        })
    }

    /// Lends one to be changed.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Conference> {
        self.look();
        if self.index.get_mut().open.as_deref() != Some(id) {
            self.settle();
        }
        let conference = self.known.get_mut(id)?;
        let open = &mut self.index.get_mut().open;
        if open.is_none() {
            *open = Some(id.into());
        }
        Some(conference)
    }

    /// Participants that packets come from, and the number of the event that says so; nothing is found by them.
    pub(super) fn alive_mut(&mut self, id: &str) -> Option<(&mut BTreeSet<String>, &mut u64)> {
        let conference = self.known.get_mut(id)?;
        Some((&mut conference.alive, &mut conference.alive_told))
    }

    pub(super) fn insert(&mut self, id: String, conference: Conference) {
        self.settle();
        self.index.get_mut().open = Some(id.as_str().into());
        self.known.insert(id, Box::new(conference));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Conference> {
        self.settle();
        let removed = self.known.remove(id)?;
        self.index.get_mut().remove(id);
        Some(*removed)
    }

    /// Brings the indexes up to date with the one that was lent.
    fn settle(&self) {
        let mut index = self.index.borrow_mut();
        if let Some(id) = index.open.take()
            && let Some(conference) = self.known.get(&*id)
        {
            index.update(&id, conference);
        }
    }

    fn index(&self) -> Ref<'_, Index> {
        self.settle();
        self.index.borrow()
    }

    fn labelled(&self, label: Label, name: &str) -> Vec<&Conference> {
        let index = self.index();
        let ids = index.labelled(label, name).into_iter().flatten();
        ids.map(|id| &self[&**id]).collect()
    }

    fn look(&self) {
        #[cfg(test)]
        self.looked.set(self.looked.get() + 1);
    }
}

/// What is asked, and answered by the indexes.
impl Conferences {
    /// Those that have a number: all that have not ended, or if there are none, all that have.
    pub(super) fn with_number(&self, number: &str) -> Vec<&Conference> {
        let living = self.labelled(Label::Number, number);
        if living.is_empty() { self.labelled(Label::NumberBefore, number) } else { living }
    }

    /// Those that have this number, and those that had it.
    pub(super) fn ever_with_number(&self, number: &str) -> Vec<&Conference> {
        let mut all = self.labelled(Label::Number, number);
        all.extend(self.labelled(Label::NumberBefore, number));
        all
    }

    /// Whether one that has not ended has this number.
    pub(super) fn has_number(&self, number: &str) -> bool {
        self.index().labelled(Label::Number, number).is_some()
    }

    /// The lowest number from `first` to `last` that none has that has not ended.
    pub(super) fn free_number(&self, first: u64, last: u64) -> Option<u64> {
        Some(self.index().numbers.first_free(first)).filter(|number| *number <= last)
    }

    /// The one that was made by this request.
    pub(super) fn made_by(&self, request_id: &str) -> Option<&Conference> {
        self.labelled(Label::Request, request_id).first().copied()
    }

    /// Templates of this name.
    pub(super) fn templates(&self, name: &str) -> Vec<&Conference> {
        self.labelled(Label::Template, name)
    }

    /// Those that have not ended and are, or are about to be, on this node.
    pub(super) fn on_node(&self, node: &str) -> Vec<&Conference> {
        self.labelled(Label::Node, node)
    }

    /// Some that run on this node or are restored there, as far as the records say: at most so many of these ids.
    pub(super) fn placed_on(&self, node: &str, ids: IdRange<'_>, count: usize) -> Vec<&Conference> {
        let index = self.index();
        let ids = index.labelled(Label::Placed, node).into_iter().flat_map(|all| all.range::<str, _>(ids));
        ids.take(count).map(|id| &self[&**id]).collect()
    }

    /// Those of which this node is being told something.
    pub(super) fn told_to(&self, node: &str) -> Vec<&Conference> {
        self.labelled(Label::Told, node)
    }

    /// Those on this node that requests wait for.
    pub(super) fn queued_on(&self, node: &str) -> Vec<&Conference> {
        self.labelled(Label::Queued, node)
    }

    /// Ids of those on this node of which it has not said yet what it runs, among these.
    pub(super) fn unheard_on(&self, node: &str, ids: IdRange<'_>) -> Vec<String> {
        let index = self.index();
        let ids = index.labelled(Label::Unheard, node).into_iter().flat_map(|all| all.range::<str, _>(ids));
        ids.map(|id| id.to_string()).collect()
    }

    /// Nodes that some are placed on.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.index().names(Label::Placed).cloned().collect()
    }

    /// Control processes that maintain some, and how many.
    pub(super) fn maintainers(&self) -> Vec<(String, usize)> {
        let index = self.index();
        index.sets(Label::Maintainer).map(|(name, ids)| (name.clone(), ids.len())).collect()
    }

    /// Some that this control process maintains: at most so many after this id, around.
    pub(super) fn maintained_by(&self, css: &str, after: &str, count: usize) -> Vec<&Conference> {
        let index = self.index();
        let Some(ids) = index.labelled(Label::Maintainer, css) else { return Vec::new() };
        let later = ids.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let ids = later.chain(ids.range::<str, _>((Bound::Unbounded, Bound::Included(after))));
        ids.take(count).map(|id| &self[&**id]).collect()
    }

    /// How many are being claimed.
    pub(super) fn claiming(&self) -> usize {
        self.index().claiming.len()
    }

    /// What is promised to each node. A conference that is being changed counts as it will be; one that waits to
    /// be restored counts where it last was, in case its node comes back.
    pub(super) fn promised(&self) -> BTreeMap<String, Promised> {
        self.index().promised.clone()
    }

    /// As [`Conferences::promised`], of what this control process maintains.
    pub(super) fn promised_by(&self, css: &str) -> BTreeMap<String, Promised> {
        self.index().promised_by(css).cloned().unwrap_or_default()
    }

    /// What is promised to one node.
    pub(super) fn promised_to(&self, node: &str) -> Promised {
        self.index().promised.get(node).copied().unwrap_or_default()
    }

    /// How many hold a place of this class in a domain.
    pub(super) fn holding(&self, domain: &str, class: Class) -> u32 {
        self.index().holding(domain, class)
    }

    /// How many are in this state.
    pub(super) fn in_phase(&self, phase: Phase) -> usize {
        self.index().phases[phase as usize]
    }

    /// Participants of those that have not ended.
    pub(super) fn participants(&self) -> usize {
        self.index().participants
    }

    /// Some that wait to be restored and nothing is being done to, in the order in which they are: at most so
    /// many, after this one.
    pub(super) fn waiting(&self, after: Option<&Waiting>, count: usize) -> Vec<Waiting> {
        let index = self.index();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        index.waiting.range((from, Bound::Unbounded)).take(count).cloned().collect()
    }
}

/// One that waits to be restored: whether it is without participants, since when, and its id.
pub(super) type Waiting = (bool, u64, Id);

/// What is to be looked at, and when.
impl Conferences {
    /// Takes those that have changed since they were looked at, and those whose time has come; of each at most so
    /// many.
    pub(super) fn take_due(&mut self, now_ms: u64, count: usize) -> Vec<String> {
        self.settle();
        self.index.get_mut().agenda.take_due(now_ms, count)
    }

    /// It was looked at, and is to be looked at again at this time, or when it has changed.
    pub(super) fn look_again(&mut self, id: &str, due_ms: u64) {
        self.settle();
        if self.known.contains_key(id) {
            self.index.get_mut().agenda.put_off(id, due_ms);
        }
    }

    /// All are to be looked at.
    pub(super) fn look_at_all(&mut self) {
        let agenda = &mut self.index.get_mut().agenda;
        for id in self.known.keys() {
            agenda.changed(&Id::from(id.as_str()));
        }
    }
}

impl<'a> IntoIterator for &'a Conferences {
    type Item = (&'a String, &'a Conference);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl Conferences {
    /// Compares the indexes with a look at every conference, for tests and simulators.
    ///
    /// # Panics
    ///
    /// When they differ.
    pub fn check(&self) {
        let naive = Index::of(self.known.iter().map(|(id, conference)| (id.as_str(), &**conference)));
        self.index().check(&naive);
    }

    /// How many were looked at since this was asked last.
    #[cfg(test)]
    pub(super) fn looked(&self) -> u64 {
        self.looked.take()
    }
}
