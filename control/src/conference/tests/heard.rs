//! From whom packets come, as events and lists of nodes say it.

use super::*;

/// The node's event of that number says that alice is heard, or is not.
fn tell(world: &mut World, sequence: u64, alive: bool) {
    let kind = if alive {
        node::event::Kind::LegAlive(node::LegAlive { leg: "alice".into(), ..Default::default() })
    } else {
        node::event::Kind::LegSilent(node::LegSilent { leg: "alice".into(), silent_ms: 5_000 })
    };
    let event = node::Event {
        sequence,
        node_id: "n1".into(),
        conference: "c1".into(),
        epoch: world.state.conferences["c1"].record.epoch,
        kind: Some(kind),
        ..Default::default()
    };
    world.event(Event::Media(Box::new(event)));
}

fn is_alive(world: &World) -> bool {
    world.state.conferences["c1"].info().participants[0].alive
}

/// Has the node asked what it runs, and answers.
fn list(world: &mut World, legs: &[&str], sequence: u64) {
    world.heard = (legs.iter().map(|leg| (*leg).to_owned()).collect(), sequence);
    world.live(30_000);
    world.settle();
}

#[test]
fn participants_are_alive_while_packets_come() {
    let mut world = running();
    for (sequence, alive) in [(1, true), (2, false)] {
        tell(&mut world, sequence, alive);
        assert_eq!(is_alive(&world), alive);
    }
}

#[test]
fn control_that_was_started_again_learns_from_the_list_who_is_heard() {
    let old = running();
    let mut world = World::new();
    world.nodes = old.nodes;
    world.heard = (vec!["alice".into(), "nobody".into()], 7);
    world.announce("n1", "b1");
    world.settle();
    assert!(is_alive(&world));
    assert_eq!(world.state.conferences["c1"].alive.len(), 1, "only those who take part");
    tell(&mut world, 8, false);
    assert!(!is_alive(&world));
}

#[test]
fn a_transition_that_was_missed_is_made_good_by_the_next_list() {
    let mut world = running();
    tell(&mut world, 3, true);
    list(&mut world, &[], 4);
    assert!(!is_alive(&world));
    list(&mut world, &["alice"], 5);
    assert!(is_alive(&world));
}

#[test]
fn a_list_that_an_event_overtook_says_nothing() {
    let mut world = running();
    tell(&mut world, 9, true);
    list(&mut world, &[], 8);
    assert!(is_alive(&world));
    // A node of before lists nobody and counts nothing.
    list(&mut world, &[], 0);
    assert!(is_alive(&world));
}

#[test]
fn a_node_that_was_started_again_counts_anew() {
    let mut world = running();
    tell(&mut world, 900, true);
    world.nodes.get_mut("n1").expect("it is known").clear();
    world.announce("n1", "b2");
    world.settle();
    world.live(2_000);
    world.settle();
    assert!(!is_alive(&world) && world.phase("c1") == Phase::Running);
    list(&mut world, &["alice"], 2);
    assert!(is_alive(&world));
}
