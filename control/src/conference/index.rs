//! What conferences are found by, and sums over them.

use super::agenda::Agenda;
use super::limits::{Claim, Class};
use super::model::{Conference, Phase, Work};
use super::schedule::Kind;
use crate::placement::Promised;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Id of a conference; shared, since many indexes hold it.
pub(super) type Id = Arc<str>;

/// What a set of conferences has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// The number of one that has not ended.
    Number,
    /// The number of one that has.
    NumberBefore,
    /// The id of the request that made it.
    Request,
    /// The name of a template.
    Template,
    /// The node of one that has not ended, now or when what is being done succeeds.
    Node,
    /// The node of one that runs or is restored there.
    Placed,
    /// The control process that maintains it.
    Maintainer,
    /// The node that is being told something about it.
    Told,
    /// The node of one that requests wait for.
    Queued,
    /// The node of one of which that has not said yet what it runs.
    Unheard,
}

/// How many labels there are.
const LABELS: usize = 10;

/// All indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Lent to be changed.
    pub(super) open: Option<Id>,
    /// What each conference is in the indexes with.
    keys: BTreeMap<Id, Keys>,
    sets: [BTreeMap<String, BTreeSet<Id>>; LABELS],
    /// Numbers of those that have not ended.
    pub(super) numbers: Runs,
    /// By node.
    pub(super) promised: BTreeMap<String, Promised>,
    /// The same by control process, of what it maintains.
    promised_by: BTreeMap<String, BTreeMap<String, Promised>>,
    holding: BTreeMap<String, [u32; 2]>,
    pub(super) phases: [usize; Phase::COUNT],
    pub(super) participants: usize,
    pub(super) claiming: BTreeSet<Id>,
    /// See [`super::conferences::Waiting`].
    pub(super) waiting: BTreeSet<(bool, u64, Id)>,
    pub(super) agenda: Agenda,
}

/// What a conference is in the indexes with.
#[derive(Clone, Debug, PartialEq)]
struct Keys {
    labels: Vec<(Label, String)>,
    promised: Option<(String, Promised)>,
    claims: Vec<Claim>,
    phase: Phase,
    participants: usize,
    claiming: bool,
    waiting: Option<(bool, u64)>,
}

/// The same, borrowed from the conference.
struct View<'a> {
    labels: Vec<(Label, &'a str)>,
    promised: Option<(&'a str, Promised)>,
    claims: &'a [Claim],
    phase: Phase,
    participants: usize,
    claiming: bool,
    waiting: Option<(bool, u64)>,
}

impl<'a> View<'a> {
    fn of(conference: &'a Conference) -> View<'a> {
        let (record, next) = (&conference.record, conference.next_record());
        let (phase, ended) = (record.phase, record.phase == Phase::Ended);
        let mut labels = vec![(Label::Maintainer, record.maintainer.as_str())];
        let mut label = |applies: bool, label: Label, name: &'a str| {
            if applies && !name.is_empty() && !labels.contains(&(label, name)) {
                labels.push((label, name));
            }
        };
        label(!ended, Label::Number, &record.number);
        label(ended, Label::NumberBefore, &record.number);
        label(true, Label::Request, &record.request_id);
        label(phase == Phase::Booked && record.schedule.kind == Kind::Templet, Label::Template, &record.name);
        label(!ended, Label::Node, &record.node_id);
        label(!ended, Label::Node, &next.node_id);
        label(matches!(phase, Phase::Running | Phase::Restoring), Label::Placed, &record.node_id);
        let operation = conference.operation.as_ref();
        let told = operation.is_some_and(|operation| operation.at_node);
        label(told, Label::Told, &next.node_id);
        label(!conference.queue.is_empty(), Label::Queued, &record.node_id);
        label(!ended && !conference.heard, Label::Unheard, &record.node_id);
        let promised = next.holds_places().then(|| {
            let mut promised = Promised::default();
            promised.add(next);
            (next.node_id.as_str(), promised)
        });
        let idle = operation.is_none() && conference.ending.is_none();
        let waits = phase == Phase::PendingRestore && idle;
        View {
            labels,
            promised,
            claims: if next.holds_places() { &next.claims } else { &[] },
            phase,
            participants: if ended { 0 } else { record.participants.len() },
            claiming: operation.is_some_and(|operation| operation.work == Work::Claim),
            waiting: waits.then_some((record.participants.is_empty(), conference.restore.since_ms)),
        }
    }

    fn is(&self, keys: &Keys) -> bool {
        let labels = keys.labels.iter().map(|(label, name)| (*label, name.as_str()));
        labels.eq(self.labels.iter().copied())
            && self.promised == keys.promised.as_ref().map(|(node, promised)| (node.as_str(), *promised))
            && self.claims == keys.claims
            && self.phase == keys.phase
            && self.participants == keys.participants
            && self.claiming == keys.claiming
            && self.waiting == keys.waiting
    }

    fn to_keys(&self) -> Keys {
        Keys {
            labels: self.labels.iter().map(|(label, name)| (*label, (*name).to_owned())).collect(),
            promised: self.promised.map(|(node, promised)| (node.to_owned(), promised)),
            claims: self.claims.to_vec(),
            phase: self.phase,
            participants: self.participants,
            claiming: self.claiming,
            waiting: self.waiting,
        }
    }
}

impl Keys {
    fn maintainer(&self) -> &str {
        let (label, maintainer) = &self.labels[0];
        assert_eq!(*label, Label::Maintainer, "it comes first");
        maintainer
    }
}

/// Takes it from the sum of a node, and the node out when nothing is left.
fn subtract(sums: &mut BTreeMap<String, Promised>, node: &str, promised: Promised) {
    let sum = sums.get_mut(node).expect("it was put in");
    sum.minus(promised);
    if *sum == Promised::default() {
        sums.remove(node);
    }
}

impl Index {
    /// Of these conferences, with nothing on the agenda that they have not just put there.
    pub(super) fn of<'a>(conferences: impl Iterator<Item = (&'a str, &'a Conference)>) -> Index {
        let mut index = Index::default();
        for (id, conference) in conferences {
            index.update(&id.into(), conference);
        }
        index
    }

    /// The conference is as it is now.
    pub(super) fn update(&mut self, id: &Id, conference: &Conference) {
        self.agenda.changed(id);
        if !conference.record.schedule.booking.is_empty() {
            // What becomes of it is the booking's concern.
            self.agenda.changed_if_known(&conference.record.schedule.booking);
        }
        let view = View::of(conference);
        if self.keys.get(id).is_some_and(|keys| view.is(keys)) {
            return;
        }
        self.take_out(id);
        let keys = view.to_keys();
        self.put_in(id, &keys);
        self.keys.insert(Id::clone(id), keys);
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.take_out(id);
        self.agenda.remove(id);
    }

    pub(super) fn labelled(&self, label: Label, name: &str) -> Option<&BTreeSet<Id>> {
        self.sets[label as usize].get(name)
    }

    pub(super) fn sets(&self, label: Label) -> impl Iterator<Item = (&String, &BTreeSet<Id>)> {
        self.sets[label as usize].iter()
    }

    pub(super) fn names(&self, label: Label) -> impl Iterator<Item = &String> {
        self.sets[label as usize].keys()
    }

    /// By node, of what this control process maintains.
    pub(super) fn promised_by(&self, css: &str) -> Option<&BTreeMap<String, Promised>> {
        self.promised_by.get(css)
    }

    pub(super) fn holding(&self, domain: &str, class: Class) -> u32 {
        self.holding.get(domain).map_or(0, |counts| counts[class as usize])
    }

    fn put_in(&mut self, id: &Id, keys: &Keys) {
        for (label, name) in &keys.labels {
            let set = self.sets[*label as usize].entry(name.clone()).or_default();
            set.insert(Id::clone(id));
            if *label == Label::Number && set.len() == 1 {
                self.numbers.insert(name);
            }
        }
        if let Some((node, promised)) = &keys.promised {
            self.promised.entry(node.clone()).or_default().plus(*promised);
            let by = self.promised_by.entry(keys.maintainer().to_owned()).or_default();
            by.entry(node.clone()).or_default().plus(*promised);
        }
        for claim in &keys.claims {
            self.holding.entry(claim.domain.clone()).or_default()[claim.class as usize] += 1;
        }
        self.phases[keys.phase as usize] += 1;
        self.participants += keys.participants;
        if keys.claiming {
            self.claiming.insert(Id::clone(id));
        }
        if let Some((empty, since_ms)) = keys.waiting {
            self.waiting.insert((empty, since_ms, Id::clone(id)));
        }
    }

    fn take_out(&mut self, id: &str) {
        let Some((id, keys)) = self.keys.remove_entry(id) else { return };
        for (label, name) in &keys.labels {
            let sets = &mut self.sets[*label as usize];
            let set = sets.get_mut(name).expect("it was put in");
            set.remove(&id);
            if set.is_empty() {
                sets.remove(name);
                if *label == Label::Number {
                    self.numbers.remove(name);
                }
            }
        }
        if let Some((node, promised)) = &keys.promised {
            subtract(&mut self.promised, node, *promised);
            let by = self.promised_by.get_mut(keys.maintainer()).expect("it was put in");
            subtract(by, node, *promised);
            if by.is_empty() {
                self.promised_by.remove(keys.maintainer());
            }
        }
        for claim in &keys.claims {
            let counts = self.holding.get_mut(&claim.domain).expect("it was put in");
            counts[claim.class as usize] -= 1;
            if *counts == [0; 2] {
                self.holding.remove(&claim.domain);
            }
        }
        self.phases[keys.phase as usize] -= 1;
        self.participants -= keys.participants;
        self.claiming.remove(&id);
        if let Some((empty, since_ms)) = keys.waiting {
            self.waiting.remove(&(empty, since_ms, id));
        }
    }

    /// Panics when the other one, made anew, differs.
    pub(super) fn check(&self, naive: &Index) {
        assert_eq!(self.keys, naive.keys);
        assert_eq!(self.sets, naive.sets);
        assert_eq!(self.numbers, naive.numbers);
        assert_eq!(self.promised, naive.promised);
        assert_eq!((&self.promised_by, &self.holding), (&naive.promised_by, &naive.holding));
        assert_eq!((self.phases, self.participants), (naive.phases, naive.participants));
        assert_eq!((&self.claiming, &self.waiting), (&naive.claiming, &naive.waiting));
        self.agenda.check(self.keys.keys());
    }
}

/// Numbers in use, as runs of consecutive ones: first and last. A number with a zero in front is none of those
/// that control chooses from, and is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// The lowest number from this one on that is not in use.
    pub(super) fn first_free(&self, from: u64) -> u64 {
        match self.0.range(..=from).next_back() {
            Some((_, last)) if *last >= from => last + 1,
            _ => from,
        }
    }

    fn insert(&mut self, number: &str) {
        let Some(number) = canonical(number) else { return };
        let before = self.0.range(..number).next_back().map(|(first, last)| (*first, *last));
        let last = self.0.remove(&(number + 1)).unwrap_or(number);
        match before {
            Some((first, end)) if end + 1 == number => self.0.insert(first, last),
            _ => self.0.insert(number, last),
        };
    }

    fn remove(&mut self, number: &str) {
        let Some(number) = canonical(number) else { return };
        let (first, last) =
            self.0.range(..=number).next_back().map(|(first, last)| (*first, *last)).expect("it was put in");
        self.0.remove(&first);
        if first < number {
            self.0.insert(first, number - 1);
        }
        if number < last {
            self.0.insert(number + 1, last);
        }
    }
}

/// A number as control writes it: up to 15 digits, so one more fits too.
fn canonical(number: &str) -> Option<u64> {
    let plain = number.len() <= 15 && number.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (number == "0" || !number.starts_with('0'));
    number.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_what_a_set_is(acts in proptest::collection::vec((0..40u64, any::<bool>()), 0..200)) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (number, put) in acts {
                let text = number.to_string();
                if put && set.insert(number) {
                    runs.insert(&text);
                }
                if !put && set.remove(&number) {
                    runs.remove(&text);
                }
                for from in 0..42 {
                    let naive = (from..).find(|number| !set.contains(number)).expect("one is free");
                    prop_assert_eq!(runs.first_free(from), naive);
                }
            }
        }
    }

    #[test]
    fn numbers_that_control_does_not_choose_are_no_runs() {
        let mut runs = Runs::default();
        for number in ["", "007", "08", "12345678901234567890", "+49"] {
            runs.insert(number);
            runs.remove(number);
        }
        assert_eq!(runs, Runs::default());
        runs.insert("999999999999999");
        assert_eq!(runs.first_free(999_999_999_999_999), 1_000_000_000_000_000);
    }
}
