//! A node has an entry for each of its functions.

use crate::world::{PATIENCE, Registered, Server, first_fit, followed, hear, resource, until, wanted};
use motet_registry::{Applicant, Function, Heard, Joiner, ReserveError, Resource, ResourceCapacity, Wanted};

/// A node that relays, mixes and records.
fn all() -> Resource {
    let mut node = resource("n1", "b", 1_000);
    node.capacity = ResourceCapacity { mixing_threads: 2, canvas_threads: 1, records: true, ..node.capacity };
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_function_has_an_entry_and_they_are_one_node() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let n1 = Registered::start(server.options(), all());
    let n2 = Registered::start(server.options(), resource("n2", "b", 500));
    let mut joiner = Joiner::default();
    let mut found = Vec::new();
    hear(&mut news, "both nodes", |heard| {
        if let Heard::Resource(part) = heard
            && let Some(node) = joiner.hear(*part)
            && !found.contains(&node)
        {
            found.push(node);
        }
        (found.len() == 2).then_some(())
    })
    .await;
    found.sort_by(|one, other| one.node_id.cmp(&other.node_id));
    assert_eq!(found, [all(), resource("n2", "b", 500)]);

    let looking = server.stranger(None).await;
    let mut capacities = Vec::new();
    for kind in ["CMU", "Mpu", "Vrs"] {
        let folder = format!("/{kind}/Source");
        for name in looking.list_children(&folder).await.expect("it is there") {
            assert!(name.starts_with(kind), "{name}");
            let (content, _) = looking.get_data(&format!("{folder}/{name}")).await.expect("it is there");
            let entry = Resource::parse(&content).expect("it makes sense");
            if entry.node_id == "n1" {
                let capacity = entry.capacity;
                capacities.push((kind, capacity.units, capacity.mixing_threads, capacity.records));
            } else {
                assert_eq!(kind, "CMU", "n2 only relays");
            }
        }
    }
    assert_eq!(capacities, [("CMU", 1_000, 0, false), ("Mpu", 0, 2, false), ("Vrs", 0, 0, true)]);

    // What is promised of one function is not taken from another.
    let control = Applicant::new(server.options(), "css");
    let relay = control.reserve(&wanted(1_000, 60), 0, PATIENCE, first_fit(1_000)).await;
    assert_eq!(relay.expect("n1 is empty").node_id, "n1");
    let mixing = Wanted { function: Function::Mixing, ..wanted(1, 60) };
    let reserved = control.reserve(&mixing, 0, PATIENCE, |candidates| {
        assert_eq!(candidates.len(), 1, "n2 does not mix");
        assert_eq!((candidates[0].promised, candidates[0].resource.capacity.mixing_threads), (0, 2));
        Some(0)
    });
    assert_eq!(reserved.await.expect("it mixes").node_id, "n1");
    let second = control.reserve(&mixing, 0, PATIENCE, |candidates| {
        assert_eq!(candidates[0].promised, 1);
        None
    });
    assert_eq!(second.await, Err(ReserveError::NothingFits(1)));

    n1.leave().await;
    n2.leave().await;
    for kind in ["CMU", "Mpu", "Vrs"] {
        until("nothing is left", async || {
            looking.list_children(&format!("/{kind}/Source")).await.expect("it is there").is_empty()
        })
        .await;
    }
}
