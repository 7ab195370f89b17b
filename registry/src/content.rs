//! What nodes of the tree hold.

use motet_proto::node::{Capacity, Load, NodeDescription};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Number of the form that is written, and the highest that is read.
pub const FORM: u32 = 1;
/// ZooKeeper itself refuses more than 1 MiB.
const BYTES_MAX: usize = 64 * 1024;
/// Of an id or an address.
const NAME_BYTES_MAX: usize = 256;

/// Why content is passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Too large.
    #[error("it has {0} bytes; {BYTES_MAX} at most")]
    TooLarge(usize),
    /// Not the JSON that it should be.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Written by newer software.
    #[error("it has form {0}; this software reads {FORM}")]
    Newer(u32),
    /// A field is empty or too long.
    #[error("{0} is empty or longer than {NAME_BYTES_MAX} bytes")]
    Field(&'static str),
    /// Made to outlive who made it.
    #[error("it is not ephemeral")]
    Lasting,
    /// An older entry of the same name is there and names another start of the node.
    #[error("an older entry has the node_id {0} and names another boot_id: does somebody else use the name?")]
    Foreign(String),
}

/// A media node, as it describes itself in the tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// [`FORM`].
    pub form: u32,
    /// Stable name of the node.
    pub node_id: String,
    /// New at each start of it.
    pub boot_id: String,
    /// What of the node this entry is about (name of a [`crate::Function`]); empty: all of it.
    #[serde(default)]
    pub function: String,
    /// All functions of the node, each with an entry of its own; empty where one entry is about all of it.
    #[serde(default)]
    pub functions: Vec<String>,
    /// Address of its `MediaNode` service, `http://192.0.2.1:7400`.
    pub address: String,
    /// Semantic version of the software.
    #[serde(default)]
    pub version: String,
    /// Machine room (`roommoid`).
    #[serde(default)]
    pub room: String,
    /// NUMA socket; -1: none.
    #[serde(default = "no_socket")]
    pub numa_node: i32,
    /// Encoding names that it can process.
    #[serde(default)]
    pub codecs: Vec<String>,
    /// Takes no new conferences.
    #[serde(default)]
    pub draining: bool,
    /// Milliseconds until it ends; 0: it does not.
    #[serde(default)]
    pub drain_left_ms: u64,
    /// Ends in good order.
    #[serde(default)]
    pub leaving: bool,
    /// As the operator named them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it can carry.
    #[serde(default)]
    pub capacity: ResourceCapacity,
    /// What it carries.
    #[serde(default)]
    pub load: ResourceLoad,
}

fn no_socket() -> i32 {
    -1
}

/// As in `motet.node.v1.Capacity`; 0: not measured, or not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceCapacity {
    /// Worker threads.
    pub workers: u32,
    /// Legs at most.
    pub legs_max: u32,
    /// UDP ports.
    pub ports_max: u32,
    /// Measured, of one worker.
    pub packets_per_second: u32,
    /// Of all workers.
    pub units: u64,
    /// Threads that mix sound.
    pub mixing_threads: u32,
    /// Threads that compose pictures.
    pub canvas_threads: u32,
    /// It has a folder for recordings.
    pub records: bool,
}

/// As in `motet.node.v1.Load`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceLoad {
    /// Conferences that it runs.
    pub conferences: u32,
    /// Legs in them.
    pub legs: u32,
    /// UDP ports in use.
    pub ports_used: u32,
    /// Sent, over the last second.
    pub packets_per_second: f64,
    /// Of the busiest worker over the last second, 0 to 1.
    pub busy_share: f64,
}

impl Resource {
    /// A node at this address that describes itself so.
    pub fn of_node(address: &str, node: &NodeDescription, leaving: bool) -> Resource {
        let (capacity, load) =
            (node.capacity.clone().unwrap_or_default(), node.load.clone().unwrap_or_default());
        Resource {
            form: FORM,
            node_id: node.node_id.clone(),
            boot_id: node.boot_id.clone(),
            function: String::new(),
            functions: Vec::new(),
            address: address.to_owned(),
            version: node.version.clone(),
            room: node.room.clone(),
            numa_node: node.numa_node,
            codecs: node.codecs.clone(),
            draining: node.draining,
            drain_left_ms: node.drain_left_ms,
            leaving,
            labels: node.labels.clone().into_iter().collect(),
            capacity: ResourceCapacity {
                workers: capacity.workers,
                legs_max: capacity.legs_max,
                ports_max: capacity.ports_max,
                packets_per_second: capacity.packets_per_second,
                units: capacity.units,
                mixing_threads: capacity.mixing_threads,
                canvas_threads: capacity.canvas_threads,
                records: capacity.records,
            },
            load: ResourceLoad {
                conferences: load.conferences,
                legs: load.legs,
                ports_used: load.ports_used,
                packets_per_second: load.packets_per_second,
                busy_share: load.busy_share,
            },
        }
    }

    /// As nodes announce themselves over gRPC.
    pub fn description(&self) -> NodeDescription {
        NodeDescription {
            node_id: self.node_id.clone(),
            boot_id: self.boot_id.clone(),
            version: self.version.clone(),
            room: self.room.clone(),
            numa_node: self.numa_node,
            codecs: self.codecs.clone(),
            draining: self.draining,
            drain_left_ms: self.drain_left_ms,
            labels: self.labels.clone().into_iter().collect::<HashMap<_, _>>(),
            capacity: Some(Capacity {
                workers: self.capacity.workers,
                legs_max: self.capacity.legs_max,
                ports_max: self.capacity.ports_max,
                packets_per_second: self.capacity.packets_per_second,
                units: self.capacity.units,
                mixing_threads: self.capacity.mixing_threads,
                canvas_threads: self.capacity.canvas_threads,
                records: self.capacity.records,
                ..Capacity::default()
            }),
            load: Some(Load {
                conferences: self.load.conferences,
                legs: self.load.legs,
                ports_used: self.load.ports_used,
                packets_per_second: self.load.packets_per_second,
                busy_share: self.load.busy_share,
                ..Load::default()
            }),
            ..NodeDescription::default()
        }
    }

    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    /// Reads what a node of the tree holds.
    pub fn parse(content: &[u8]) -> Result<Resource, ContentError> {
        let resource: Resource = parse(content)?;
        for (name, value) in
            [("node_id", &resource.node_id), ("boot_id", &resource.boot_id), ("address", &resource.address)]
        {
            if value.is_empty() || value.len() > NAME_BYTES_MAX {
                return Err(ContentError::Field(name));
            }
        }
        Ok(resource)
    }
}

/// A resource that was granted and is not occupied yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// [`FORM`].
    pub form: u32,
    /// What was promised.
    pub node_id: String,
    /// To whom.
    pub applicant: String,
    /// What for.
    pub conference: String,
    /// How much of it, in units of capacity.
    pub units: u64,
    /// Void after this, milliseconds since 1970.
    pub until_unix_ms: i64,
}

impl Promise {
    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    /// Reads what a node of the tree holds.
    pub fn parse(content: &[u8]) -> Result<Promise, ContentError> {
        let promise: Promise = parse(content)?;
        if promise.node_id.is_empty() || promise.node_id.len() > NAME_BYTES_MAX {
            return Err(ContentError::Field("node_id"));
        }
        Ok(promise)
    }
}

/// Only its number is looked at before the rest.
#[derive(Deserialize)]
struct Form {
    form: u32,
}

fn parse<T: for<'a> Deserialize<'a>>(content: &[u8]) -> Result<T, ContentError> {
    if content.len() > BYTES_MAX {
        return Err(ContentError::TooLarge(content.len()));
    }
    let malformed = |error: serde_json::Error| ContentError::Malformed(error.to_string());
    match serde_json::from_slice::<Form>(content).map_err(malformed)?.form {
        0 => Err(ContentError::Malformed("its form is 0".into())),
        form if form > FORM => Err(ContentError::Newer(form)),
        _ => serde_json::from_slice(content).map_err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resource() -> Resource {
        Resource {
            form: FORM,
            node_id: "n1".into(),
            boot_id: "b1".into(),
            address: "http://192.0.2.1:7400".into(),
            room: "r1".into(),
            numa_node: -1,
            capacity: ResourceCapacity {
                units: 100_000,
                workers: 2,
                canvas_threads: 3,
                records: true,
                ..ResourceCapacity::default()
            },
            load: ResourceLoad { packets_per_second: 12.5, ..ResourceLoad::default() },
            ..Resource::default()
        }
    }

    #[test]
    fn a_resource_is_read_as_it_was_written() {
        let written = resource();
        let read = Resource::parse(&written.to_json()).expect("it is well formed");
        assert_eq!(read, written);
        assert_eq!(Resource::of_node(&read.address, &read.description(), false), written);
    }

    #[test]
    fn fields_of_others_are_left_alone() {
        let text = br#"{"form":1,"node_id":"n1","boot_id":"b","address":"http://a","colour":"red"}"#;
        let read = Resource::parse(text).expect("it has all that is needed");
        assert_eq!((read.node_id.as_str(), read.numa_node), ("n1", -1));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |text: &str| Resource::parse(text.as_bytes()).expect_err("it makes no sense");
        assert_eq!(refused(r#"{"form":2,"node_id":7}"#), ContentError::Newer(2));
        assert_eq!(
            refused(r#"{"form":1,"node_id":"","boot_id":"b","address":"a"}"#),
            ContentError::Field("node_id")
        );
        assert!(matches!(refused("[]"), ContentError::Malformed(_)));
        assert!(matches!(refused(r#"{"form":0}"#), ContentError::Malformed(_)));
        assert!(matches!(refused(r#"{"form":1,"node_id":"n1"}"#), ContentError::Malformed(_)));
        let long = format!(r#"{{"form":1,"node_id":"{}"}}"#, "x".repeat(BYTES_MAX));
        assert!(matches!(refused(&long), ContentError::TooLarge(_)));
    }

    /// Any JSON, a few levels deep.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map(".{0,8}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    /// A field of these, replaced by anything, or one that nobody knows.
    fn changed(text: &[u8], field: &str, value: serde_json::Value) -> Vec<u8> {
        let mut object: serde_json::Map<_, _> = serde_json::from_slice(text).expect("an object");
        object.insert(field.to_owned(), value);
        serde_json::to_vec(&object).expect("it is plain data")
    }

    proptest! {
        #[test]
        fn any_field_may_be_anything(
            field in prop_oneof![
                proptest::sample::select(vec![
                    "form", "node_id", "boot_id", "function", "functions", "address", "room", "numa_node",
                    "codecs", "leaving", "labels", "capacity", "load", "units", "until_unix_ms",
                ]).prop_map(str::to_owned),
                ".{0,8}",
            ],
            value in json(),
        ) {
            if let Ok(read) = Resource::parse(&changed(&resource().to_json(), &field, value.clone())) {
                prop_assert_eq!(read.form, FORM);
                prop_assert!(!read.node_id.is_empty() && !read.boot_id.is_empty() && !read.address.is_empty());
                let again = Resource::parse(&read.to_json()).expect("what was read can be written");
                prop_assert_eq!(again.to_json(), read.to_json());
                let mut joiner = crate::Joiner::default();
                for _ in 0..2 {
                    let _ = joiner.hear(read.clone());
                }
            }
            let promise = Promise { form: FORM, node_id: "n1".into(), ..Promise::default() };
            if let Ok(read) = Promise::parse(&changed(&promise.to_json(), &field, value)) {
                prop_assert!(read.form == FORM && !read.node_id.is_empty());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Resource::parse(&bytes);
            let _ = Promise::parse(&bytes);
        }
    }
}
