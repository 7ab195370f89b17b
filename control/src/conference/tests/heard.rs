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

/// The node is asked what it runs.
fn asked(world: &mut World) -> (Token, ListConferencesRequest) {
    for _ in 0..40 {
        let lists = |effect: &Effect| matches!(effect, Effect::NodeList { .. });
        if let Some(at) = world.pending.iter().position(lists) {
            let Effect::NodeList { token, list, .. } = world.pending.remove(at) else { panic!() };
            return (token, list);
        }
        world.announce("n1", "b1");
        world.pass(250);
    }
    panic!("it is not asked");
}

/// The node answers: what it runs, in brief or in full, and from where to go on.
fn tells(world: &mut World, token: Token, brief: bool, revision: u64, cursor: &str) {
    let mut list = ListConferencesResponse { cursor: cursor.into(), ..world.list("n1") };
    let copy = &mut list.conferences[0];
    copy.revision = revision;
    if brief {
        (copy.brief, copy.metadata) = (true, Vec::new());
    } else {
        copy.allocation = world.state.conferences["c1"].allocation.clone();
    }
    world.event(Event::NodeListed { token, node: "n1".into(), result: Ok(list) });
}

#[test]
fn what_has_not_changed_is_listed_in_brief_and_in_full_where_that_does_not_fit() {
    let mut world = running();
    let revision = world.state.conferences["c1"].record.revision;
    let (token, _) = asked(&mut world);
    tells(&mut world, token, false, revision, "one");
    let (token, list) = asked(&mut world);
    assert_eq!(list.since, "one");
    tells(&mut world, token, true, revision, "two");
    let (token, list) = asked(&mut world);
    assert_eq!((list.since.as_str(), list.in_full), ("two", Vec::new()));
    // It knows better, and does not say what.
    tells(&mut world, token, true, revision + 1, "three");
    assert_eq!(world.state.conferences["c1"].record.revision, revision);
    let (token, list) = asked(&mut world);
    assert_eq!((list.since.as_str(), list.in_full), ("two", vec!["c1".to_owned()]), "that one is to be told");
    // It does not listen.
    tells(&mut world, token, true, revision + 1, "three");
    let (token, list) = asked(&mut world);
    assert_eq!(list.since, "", "all is to be told");
    tells(&mut world, token, false, revision + 1, "four");
    assert_eq!(world.state.conferences["c1"].record.revision, revision + 1);
    assert_eq!(world.phase("c1"), Phase::Running);
}
