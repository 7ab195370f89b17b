//! What a control process that was started again finds in the store, in the middle of something, is settled.

use super::*;

/// Control that has just been started: the store has the conference in this phase on n1, under epoch 2.
fn found(phase: Phase, on_node: bool) -> World {
    let old = running();
    let mut world = World::unloaded();
    let record = Record { phase, epoch: 2, version: 9, ..old.stored["c1"].clone() };
    let metadata = serde_json::to_vec(&record).expect("a record");
    let runs = on_node.then(|| ("c1".to_owned(), (2, record.revision, metadata)));
    world.nodes.insert("n1".into(), runs.into_iter().collect());
    world.stored.insert("c1".into(), record.clone());
    world.event(Event::StoreLoaded(vec![record]));
    world
}

#[test]
fn a_restore_that_was_finished_on_the_node_only_is_finished() {
    for phase in [Phase::Restoring, Phase::PendingRestore, Phase::Running] {
        let mut world = found(phase, true);
        // Another node is there sooner; that is no reason to move anything.
        world.announce("n2", "b1");
        world.live(1_000);
        world.announce("n1", "b1");
        world.live(1_000);
        let record = &world.state.conferences["c1"].record;
        assert_eq!(
            (record.phase, record.node_id.as_str(), record.epoch),
            (Phase::Running, "n1", 2),
            "{phase:?}"
        );
        assert_eq!(world.stored["c1"].phase, Phase::Running);
        assert!(world.nodes["n2"].is_empty());
    }
}

#[test]
fn a_restore_that_no_node_heard_of_is_done_again() {
    for phase in [Phase::Restoring, Phase::PendingRestore, Phase::Running] {
        let mut world = found(phase, false);
        world.announce("n1", "b1");
        world.live(1_000);
        let record = &world.state.conferences["c1"].record;
        assert_eq!((record.phase, record.epoch), (Phase::Running, 3), "{phase:?}");
        assert_eq!(world.nodes["n1"]["c1"].0, 3);
    }
}

#[test]
fn a_node_that_never_comes_is_not_waited_for_for_ever() {
    for phase in [Phase::Restoring, Phase::PendingRestore, Phase::Running] {
        let mut world = found(phase, false);
        world.announce("n2", "b1");
        world.live(4_500);
        assert_eq!(world.state.conferences["c1"].record.node_id, "n1", "{phase:?}: it may still come");
        world.live(1_500);
        let record = &world.state.conferences["c1"].record;
        assert_eq!(
            (record.phase, record.node_id.as_str(), record.epoch),
            (Phase::Running, "n2", 3),
            "{phase:?}"
        );
    }
}

#[test]
fn a_node_that_was_lost_before_the_store_could_be_read() {
    let old = running();
    let mut world = World::unloaded();
    world.event(Event::StoreLoadFailed("away".into()));
    for node in ["n1", "n2"] {
        world.announce(node, "b1");
    }
    while !world.pending.is_empty() {
        let load = matches!(world.pending.first(), Some(Effect::StoreLoad));
        world.answer(!load);
    }
    world.dead.insert("n1".into());
    for _ in 0..40 {
        world.announce("n2", "b1");
        world.pass(50);
        while !world.pending.is_empty() {
            let load = matches!(world.pending.first(), Some(Effect::StoreLoad));
            world.answer(!load);
        }
    }
    assert_eq!(world.state_of("n1"), NodeState::Lost);
    world.stored = old.stored;
    world.live(2_000);
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"));
}
