//! Ten thousand conferences: no step looks at more of them than beside a hundred.

use super::*;
use crate::conference::{Claim, Class};

const NODES: usize = 20;
/// Conferences of one node.
const FULL: usize = 1_200;

/// So many conferences that run on twenty nodes, and that the nodes have told of.
fn beside(count: usize) -> World {
    let mut world = World::unloaded();
    world.checked = false;
    let records = (0..count).map(|n| {
        let id = format!("c{n:05}");
        Record {
            number: (800_000 + n).to_string(),
            request_id: format!("made-{n}"),
            phase: Phase::Running,
            node_id: format!("n{}", n % NODES),
            maintainer: "css".into(),
            claims: vec![Claim { domain: "d".into(), class: Class::Small, max: None }],
            epoch: 1,
            revision: 1,
            version: 2,
            id,
            ..Record::default()
        }
    });
    for record in records {
        let copy = (1, 1, Vec::new());
        world.nodes.entry(record.node_id.clone()).or_default().insert(record.id.clone(), copy);
        world.stored.insert(record.id.clone(), record);
    }
    world.event(Event::StoreLoaded(world.stored.values().cloned().collect()));
    world.announce_all();
    // What was just read is looked at once, some with each step.
    for _ in 0..count / 200 + 10 {
        world.live(50);
    }
    world.state.conferences.check();
    world.state.conferences.looked();
    world
}

impl World {
    fn announce_all(&mut self) {
        for n in 0..NODES {
            self.announce(&format!("n{n}"), "b1");
        }
    }

    /// The most that one event made control look at, and the sum, while this is done.
    fn looking(&mut self, what: impl FnOnce(&mut World)) -> (u64, u64) {
        self.state.conferences.looked();
        (self.looked_max, self.looked) = (0, 0);
        what(self);
        (self.looked_max, self.looked)
    }
}

#[test]
fn a_creation_looks_at_as_many_beside_ten_thousand_as_beside_a_hundred() {
    let looked = |count: usize| {
        let mut world = beside(count);
        let created = world.looking(|world| {
            let create = wire::CreateRequest { request_id: "new".into(), ..Default::default() };
            let request = world.request(Request::Create { id: "new".into(), seed: 7, create });
            world.settle();
            assert!(world.replies[&request].is_ok());
        });
        let number: usize = world.state.conferences["new"].record.number.parse().expect("a number");
        assert_eq!(number, 800_000 + count, "the lowest that is free");
        let used = world.looking(|world| {
            for name in ["a", "b"] {
                world.join("new", name);
                world.settle();
            }
            world.request(Request::End(wire::EndRequest {
                conference: number.to_string(),
                ..Default::default()
            }));
            world.settle();
        });
        assert_eq!(world.phase("new"), Phase::Ended);
        (created, used)
    };
    let (few, many) = (looked(100), looked(10_000));
    assert_eq!(few, many);
    assert!(many.0.1 < 100, "a creation looks at {} conferences", many.0.1);
}

#[test]
fn what_is_done_again_and_again_is_bounded_in_each_step() {
    let mut world = beside(10_000);
    // Lists of all nodes, leases, places and whatever else there is in ten seconds.
    let (most, all) = world.looking(|world| {
        for _ in 0..200 {
            world.announce_all();
            world.live(50);
        }
    });
    assert!(most < 6_000, "one step looked at {most}");
    assert!(all / 200 < 600, "steps looked at {} on average", all / 200);
    assert!(world.state.conferences.values().all(|known| known.record.phase == Phase::Running));
}

#[test]
fn a_full_node_is_listed_and_lost_in_steps_of_bounded_size() {
    let mut world = World::new();
    world.checked = false;
    world.announce("n0", "b1");
    world.announce("full", "b1");
    world.settle();
    let runs = world.nodes.get_mut("full").expect("a node");
    for n in 0..FULL {
        let record =
            Record { id: format!("c{n:05}"), number: (800_000 + n).to_string(), ..Record::default() };
        let metadata = serde_json::to_vec(&record).expect("plain data");
        runs.insert(record.id.clone(), (1, 1, metadata));
    }
    // The node was cut off, and tells of all of them; then it ends, and they go to the other one.
    let (most, _) = world.looking(|world| {
        for _ in 0..120 {
            world.announce("n0", "b1");
            world.announce("full", "b1");
            world.live(50);
        }
    });
    assert!(most < 12_000, "one step looked at {most}");
    assert_eq!(world.state.conferences.len(), FULL);
    world.dead.insert("full".into());
    let (most, _) = world.looking(|world| {
        for _ in 0..80 {
            world.announce("n0", "b1");
            world.live(50);
        }
    });
    assert!(most < 12_000, "one step looked at {most}");
    world.state.conferences.check();
    let restored = world.state.conferences.values().filter(|c| c.record.node_id == "n0").count();
    assert_eq!((restored, world.nodes["n0"].len()), (FULL, FULL));
}
