//! Conferences that are not to be restored (003 section 12) end when no node runs them any more.

use super::losing::nodes;
use super::*;

impl World {
    fn create_as(&mut self, id: &str, create: wire::CreateRequest) -> u64 {
        let request = self.request(Request::Create { id: id.into(), seed: 7, create });
        self.settle();
        assert!(self.replies.get(&request).is_some_and(Result::is_ok), "{:?}", self.replies.get(&request));
        request
    }
}

fn unrestored() -> wire::CreateRequest {
    wire::CreateRequest { no_restore: Some(true), ..Default::default() }
}

/// Nodes n1, and more later; c1 on n1 is restored, u1 is not, and both have a participant.
fn world() -> World {
    let mut world = nodes(1);
    world.create_as("u1", wire::CreateRequest { number: "900".into(), ..unrestored() });
    world.join("u1", "bob");
    world.settle();
    world
}

fn is_over(world: &World, id: &str, why: &str) {
    let record = &world.state.conferences[id].record;
    assert_eq!((record.phase, record.epoch), (Phase::Ended, 1), "{}", record.reason);
    assert!(record.reason.starts_with(NOT_RESTORED) && record.reason.contains(why), "{}", record.reason);
    let stored = &world.stored[id];
    assert_eq!((stored.phase, &stored.reason), (Phase::Ended, &record.reason), "the store has it");
}

#[test]
fn it_ends_with_its_node_while_others_are_restored() {
    let mut world = world();
    world.announce("n2", "b1");
    world.settle();
    world.dead.insert("n1".into());
    world.live(2_000);
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"));
    is_over(&world, "u1", "node n1");
    let told =
        |kind| world.events.iter().filter(|(known, text)| *known == kind && text.contains("900")).count();
    assert_eq!((told(Kind::PendingRestore), told(Kind::Restoring), told(Kind::Ended)), (1, 0, 1));
    let asked = wire::HistoryRequest { conference: "u1".into() };
    let told = world.state.conferences["u1"].record.clone();
    assert_eq!(told.history.segments.len(), 1, "one part of the call record");
    assert!(told.history.segments[0].until_unix_ms > 0, "which is closed");
    let history = world.request(Request::History(asked));
    let Ok(Response::History(history)) = &world.replies[&history] else { panic!("a history") };
    let last = history.entries.last().expect("an entry");
    assert!(last.kind == "ended" && last.message.contains(NOT_RESTORED), "{last:?}");
    // The node comes back with its copy, which is deleted.
    world.dead.clear();
    world.live(1_000);
    assert!(!world.nodes["n1"].contains_key("u1"));
    assert_eq!(world.phase("u1"), Phase::Ended);
}

#[test]
fn it_ends_when_its_node_has_started_again() {
    let mut world = world();
    world.nodes.get_mut("n1").expect("a node").clear();
    world.announce("n1", "b2");
    world.live(1_000);
    assert_eq!(world.phase("c1"), Phase::Running, "restored where it was");
    is_over(&world, "u1", "was started again");
}

#[test]
fn it_waits_while_its_node_may_run_it() {
    let mut world = world();
    world.announce("n2", "b1");
    world.settle();
    world.cut.insert("n1".into());
    world.live(5_000);
    assert_eq!(world.phase("u1"), Phase::Running, "the node is isolated, not lost");
    world.cut.clear();
    world.live(1_000);
    // All nodes at once: nothing moves, and nothing ends.
    world.dead.extend(["n1".to_owned(), "n2".to_owned()]);
    world.live(5_000);
    assert_eq!(world.phase("u1"), Phase::PendingRestore);
    world.dead.clear();
    world.live(1_500);
    assert_eq!((world.phase("u1"), world.state.conferences["u1"].record.epoch), (Phase::Running, 1));
}

/// A join moves what is restored away from a node that nobody reaches; this would end it for those who are in it.
#[test]
fn a_join_does_not_end_it_on_a_node_that_nobody_reaches() {
    let mut world = world();
    world.announce("n2", "b1");
    world.settle();
    world.cut.insert("n1".into());
    world.alone.insert("n1".into());
    let (node, boot_id) = ("n1".to_owned(), "b1".to_owned());
    world.event(Event::NodeUnreachable { node, boot_id, why: "broke".into(), certain: false });
    for _ in 0..80 {
        world.announce("n1", "b1");
        world.live(250);
    }
    let join = world.join("u1", "carol");
    world.settle();
    assert_eq!(world.refusal(join).code, Code::Unavailable, "{}", world.refusal(join));
    assert!(world.refusal(join).message.contains("no_restore"), "{}", world.refusal(join));
    assert_eq!((world.phase("u1"), world.node_of("u1")), (Phase::Running, "n1"));
}

#[test]
fn an_end_that_the_store_did_not_take_is_tried_again() {
    let mut world = world();
    world.announce("n2", "b1");
    world.settle();
    world.dead.insert("n1".into());
    while !world.pending.iter().any(ends_u1) {
        if !world.answer(true) {
            world.pass(50);
        }
    }
    while !ends_u1(&world.pending[0]) {
        world.answer(true);
    }
    world.answer(false);
    assert_ne!(world.phase("u1"), Phase::Ended, "nobody is told before the store has it");
    world.live(3_000);
    is_over(&world, "u1", "node n1");
}

fn ends_u1(effect: &Effect) -> bool {
    matches!(effect, Effect::StorePut { record, .. } if record.id == "u1" && record.phase == Phase::Ended)
}

#[test]
fn joins_that_waited_are_refused() {
    let mut world = world();
    world.announce("n2", "b1");
    world.settle();
    world.dead.insert("n1".into());
    world.live(1_050);
    let join = world.join("u1", "carol");
    world.live(2_000);
    assert_eq!(world.refusal(join).code, Code::FailedPrecondition, "{}", world.refusal(join));
}

#[test]
fn templates_reservations_and_rooms_have_it() {
    let mut world = nodes(1);
    let of = |r#type: wire::ConferenceType, name: &str| wire::CreateRequest {
        r#type: r#type.into(),
        name: name.into(),
        ..unrestored()
    };
    world.create_as("t1", of(wire::ConferenceType::Templet, "old devices"));
    let from =
        |no_restore| wire::CreateRequest { template: "old devices".into(), no_restore, ..Default::default() };
    world.create_as("c2", from(None));
    world.create_as("c3", from(Some(false)));
    let shown = |world: &World, id: &str| world.state.conferences[id].info().no_restore;
    assert_eq!(["t1", "c1", "c2", "c3"].map(|id| shown(&world, id)), [true, false, true, false]);
    world.create_as("r1", of(wire::ConferenceType::Virtual, "a room"));
    let join = world.join("r1", "alice");
    world.settle();
    assert!(world.replies[&join].is_ok());
    assert!(shown(&world, "r1.1"), "what comes of a room is as the room");
    world.nodes.get_mut("n1").expect("a node").clear();
    world.announce("n1", "b2");
    world.live(1_000);
    is_over(&world, "r1.1", "was started again");
    let join = world.join("r1", "alice");
    world.live(200);
    assert!(world.replies[&join].is_ok(), "the next one of the room begins: {:?}", world.replies[&join]);
    assert_eq!(world.phase("r1.2"), Phase::Running);
}
