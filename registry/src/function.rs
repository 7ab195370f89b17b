//! What a media node is good for: each function is a resource of its own (source document 000, section 7.2).

use crate::content::Resource;
use crate::tree::OptionsError;
use std::collections::BTreeMap;

/// A function of a media node, with a *SrcType* of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Runs conferences and relays their media (CMU and MRS of the source documents). Every node does.
    Relay,
    /// Mixes sound and composes pictures (MPU).
    Mixing,
    /// Writes recordings (VRS).
    Recording,
}

impl Function {
    /// All of them. The one that stands for the node comes last, so that who reads in this order has the others then.
    pub const ALL: [Function; 3] = [Function::Mixing, Function::Recording, Function::Relay];

    /// As it is called in options and in the tree.
    pub fn name(self) -> &'static str {
        match self {
            Function::Relay => "relay",
            Function::Mixing => "mixing",
            Function::Recording => "recording",
        }
    }

    fn of_name(name: &str) -> Option<Function> {
        Function::ALL.into_iter().find(|function| function.name() == name)
    }
}

/// *SrcType* of each function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(BTreeMap<Function, String>);

impl Default for Kinds {
    /// `CMU`, `Mpu` and `Vrs`.
    fn default() -> Kinds {
        let all = [(Function::Relay, "CMU"), (Function::Mixing, "Mpu"), (Function::Recording, "Vrs")];
        Kinds(all.map(|(function, kind)| (function, kind.to_owned())).into())
    }
}

impl Kinds {
    /// Those that are usual but for what `changes` say, each `FUNCTION=TYPE`. Errors name the change.
    pub fn with<'a>(changes: impl IntoIterator<Item = &'a str>) -> Result<Kinds, OptionsError> {
        let mut kinds = Kinds::default();
        for change in changes {
            let refused = || OptionsError::Kind(change.to_owned());
            let (function, kind) = change.split_once('=').ok_or_else(refused)?;
            let function = Function::of_name(function).ok_or_else(refused)?;
            let word =
                (1..=32).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !word {
                return Err(refused());
            }
            kinds.0.insert(function, kind.to_owned());
        }
        for (function, kind) in &kinds.0 {
            // Their queues and promises would be one.
            if kinds.0.iter().any(|(other, same)| other != function && same == kind) {
                return Err(OptionsError::OneKind(kind.clone()));
            }
        }
        Ok(kinds)
    }

    /// The *SrcType* of a function.
    pub fn of(&self, function: Function) -> &str {
        &self.0[&function]
    }
}

impl Resource {
    /// What a node that describes itself so is good for.
    pub fn functions(&self) -> Vec<Function> {
        let has = |function: &Function| match function {
            Function::Relay => true,
            Function::Mixing => self.capacity.mixing_threads > 0 || self.capacity.canvas_threads > 0,
            Function::Recording => self.capacity.records,
        };
        Function::ALL.into_iter().filter(has).collect()
    }

    /// The entry of one function: who the node is, and the capacity of that function alone.
    pub fn part(&self, function: Function) -> Resource {
        let whole = self.capacity.clone();
        let mut part = self.clone();
        part.function = function.name().to_owned();
        part.functions = self.functions().into_iter().map(|each| each.name().to_owned()).collect();
        part.capacity = Default::default();
        match function {
            Function::Relay => {
                part.capacity = whole;
                part.capacity.mixing_threads = 0;
                part.capacity.canvas_threads = 0;
                part.capacity.records = false;
            }
            Function::Mixing => {
                part.capacity.mixing_threads = whole.mixing_threads;
                part.capacity.canvas_threads = whole.canvas_threads;
            }
            Function::Recording => part.capacity.records = whole.records,
        }
        if function != Function::Relay {
            part.load = Default::default();
        }
        part
    }

    /// Adds the capacity of another function of the same start.
    fn join(&mut self, part: &Resource) {
        let (own, more) = (&mut self.capacity, &part.capacity);
        own.mixing_threads = own.mixing_threads.max(more.mixing_threads);
        own.canvas_threads = own.canvas_threads.max(more.canvas_threads);
        own.records |= more.records;
    }
}

/// Puts the entries of a node's functions together again.
#[derive(Debug, Default)]
pub struct Joiner {
    nodes: BTreeMap<String, Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    entries: BTreeMap<Function, Resource>,
    /// Start of the node that was given last.
    told: String,
    /// Start of the node whose relay was heard of and which is not whole yet.
    waits: String,
}

impl Joiner {
    /// An entry was heard of. Gives the whole node when its relay was refreshed: the relay stands for the node, and
    /// the others of the same start add to it. A node that starts is given when all the functions that it says it has
    /// were heard of, or with the second refresh of its relay.
    pub fn hear(&mut self, heard: Resource) -> Option<Resource> {
        if heard.function.is_empty() {
            // Written by who has one entry for all.
            return Some(heard);
        }
        let function = Function::of_name(&heard.function)?;
        let id = heard.node_id.clone();
        let node = self.nodes.entry(id.clone()).or_default();
        node.entries.insert(function, heard);
        let mut whole = node.entries.get(&Function::Relay)?.clone();
        let boot = whole.boot_id.clone();
        let others = [Function::Mixing, Function::Recording].map(|other| node.entries.get(&other));
        let others = others.into_iter().flatten().filter(|part| part.boot_id == boot && !part.leaving);
        let mut count = 1;
        for part in others {
            count += 1;
            whole.join(part);
        }
        let refreshed = function == Function::Relay;
        let known = whole.functions.iter().filter(|name| Function::of_name(name).is_some()).count();
        let given = if node.told == boot {
            refreshed
        } else {
            let waited = refreshed && std::mem::replace(&mut node.waits, boot.clone()) == boot;
            count >= known || waited || whole.leaving
        };
        if !given {
            return None;
        }
        node.told = boot;
        if whole.leaving {
            self.nodes.remove(&id);
        }
        whole.function.clear();
        whole.functions.clear();
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{FORM, ResourceCapacity};

    fn node(boot: &str) -> Resource {
        let capacity = ResourceCapacity {
            units: 7,
            mixing_threads: 2,
            canvas_threads: 3,
            records: true,
            ..ResourceCapacity::default()
        };
        Resource {
            form: FORM,
            node_id: "n1".into(),
            boot_id: boot.into(),
            address: "http://a".into(),
            capacity,
            ..Resource::default()
        }
    }

    #[test]
    fn a_node_has_an_entry_for_each_function_with_its_own_capacity() {
        let whole = node("b");
        let [mixing, recording, relay] = Function::ALL.map(|function| whole.part(function));
        assert_eq!(
            (mixing.capacity.mixing_threads, mixing.capacity.units, mixing.capacity.records),
            (2, 0, false)
        );
        assert_eq!((relay.capacity.mixing_threads, relay.capacity.units), (0, 7));
        assert_eq!((recording.capacity.units, recording.capacity.records), (0, true));
        let small = Resource { capacity: ResourceCapacity::default(), ..whole };
        assert_eq!(
            small.functions(),
            [Function::Relay],
            "what it has no threads or folder for it does not offer"
        );
    }

    #[test]
    fn entries_are_one_node_again_in_whatever_order_they_are_heard() {
        let whole = node("b");
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut joiner = Joiner::default();
            let heard: Vec<_> =
                order.iter().map(|index| joiner.hear(whole.part(Function::ALL[*index]))).collect();
            assert_eq!(heard, [None, None, Some(whole.clone())], "{order:?}");
            assert_eq!(joiner.hear(whole.part(Function::Mixing)), None, "the relay stands for the node");
            assert_eq!(joiner.hear(whole.part(Function::Relay)), Some(whole.clone()));
        }
    }

    #[test]
    fn one_start_is_not_joined_with_another() {
        let mut joiner = Joiner::default();
        for function in Function::ALL {
            joiner.hear(node("first").part(function));
        }
        // Its other functions are never heard of: it is taken for what it is with its second refresh.
        let relay = node("second").part(Function::Relay);
        assert_eq!(joiner.hear(relay.clone()), None);
        let found = joiner.hear(relay).expect("it waited");
        assert_eq!(
            (found.boot_id.as_str(), found.capacity.mixing_threads, found.capacity.units),
            ("second", 0, 7)
        );
        let leaving = Resource { leaving: true, ..node("second") };
        assert!(joiner.hear(leaving.part(Function::Relay)).is_some_and(|found| found.leaving));
    }

    #[test]
    fn who_has_one_entry_for_all_is_taken_as_it_is() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.hear(node("b")), Some(node("b")));
        let newer = Resource { function: "holography".into(), ..node("b") };
        assert_eq!(joiner.hear(newer), None);
    }

    #[test]
    fn kinds_are_checked() {
        let kinds = Kinds::with(["mixing=Xmpu", "relay=Mrs"]).expect("they are words");
        assert_eq!(Function::ALL.map(|function| kinds.of(function)), ["Xmpu", "Vrs", "Mrs"]);
        for wrong in ["Mpu", "mixing=a/b", "mixing=", "holography=Mpu"] {
            assert_eq!(Kinds::with([wrong]), Err(OptionsError::Kind(wrong.into())));
        }
        assert_eq!(Kinds::with(["relay=Mpu"]), Err(OptionsError::OneKind("Mpu".into())));
    }
}
