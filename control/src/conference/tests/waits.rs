//! Whoever is waited for has a time; what happens when it is over.

use super::losing::nodes;
use super::*;

impl World {
    /// What is asked of this kind first, and never arrives.
    fn lose(&mut self, kind: fn(&Effect) -> bool) -> Effect {
        let index = self.pending.iter().position(kind).expect("it was asked for");
        self.pending.remove(index)
    }
}

fn is_store_put(effect: &Effect) -> bool {
    matches!(effect, Effect::StorePut { .. })
}

fn is_node_put(effect: &Effect) -> bool {
    matches!(effect, Effect::NodePut { .. })
}

fn end(world: &mut World, conference: &str) -> u64 {
    world.request(Request::End(wire::EndRequest { conference: conference.into(), ..Default::default() }))
}

#[test]
fn a_creation_that_the_store_does_not_answer_is_refused_after_ten_seconds() {
    let mut world = nodes(1);
    let request = world.create("x", "700700");
    let lost = world.lose(is_store_put);
    world.live(9_500);
    assert!(!world.replies.contains_key(&request));
    world.live(1_000);
    let refusal = world.refusal(request);
    assert_eq!(refusal.code, Code::DeadlineExceeded);
    assert!(refusal.message.contains("the store embedded has not answered"), "{refusal}");
    // The write may have arrived: it is kept as ended, so that nothing brings it back.
    assert_eq!(world.phase("x"), Phase::Ended);
    // The answer that comes after all changes nothing, and the number is free.
    let Effect::StorePut { token, .. } = lost else { panic!("a write") };
    world.event(Event::StorePutDone { token, conference: "x".into(), result: Ok(()) });
    world.create("y", "700700");
    world.settle();
    assert_eq!(world.phase("y"), Phase::Running);
}

#[test]
fn a_creation_goes_to_another_node_when_one_is_silent_for_five_seconds() {
    let mut world = nodes(2);
    let request = world.create("x", "");
    world.answer(true);
    let silent = world.node_of("x").to_owned();
    world.lose(is_node_put);
    world.live(4_500);
    assert!(!world.replies.contains_key(&request));
    world.live(1_000);
    assert!(world.replies[&request].is_ok());
    assert_ne!(world.node_of("x"), silent);
    assert_eq!(world.state.conferences["x"].record.epoch, 2);
}

#[test]
fn a_restore_goes_to_another_node_when_one_is_silent_for_five_seconds() {
    let mut world = nodes(3);
    let lost = world.node_of("c1").to_owned();
    world.dead.insert(lost.clone());
    while !world.pending.iter().any(is_node_put) {
        world.pass(50);
        while world.pending.first().is_some_and(|effect| !is_node_put(effect)) {
            world.answer(true);
        }
    }
    world.lose(is_node_put);
    assert_eq!(world.state.conferences["c1"].info().state(), wire::ConferenceState::PendingRestore);
    let silent = world.state.conferences["c1"].next_record().node_id.clone();
    world.live(6_500);
    assert_eq!(world.phase("c1"), Phase::Running);
    assert!(![lost, silent].contains(&world.node_of("c1").to_owned()), "{}", world.node_of("c1"));
}

#[test]
fn an_end_that_the_store_does_not_answer_goes_on() {
    let mut world = nodes(1);
    let request = end(&mut world, "c1");
    let lost = world.lose(is_store_put);
    assert_eq!(world.state.conferences["c1"].info().state(), wire::ConferenceState::Ending);
    world.live(10_500);
    let refusal = world.refusal(request);
    assert_eq!(refusal.code, Code::Unavailable);
    assert!(refusal.message.contains("is being ended"), "{refusal}");
    assert_eq!(world.state.conferences["c1"].info().state(), wire::ConferenceState::Ending);
    let join = world.join("c1", "bob");
    world.pending.insert(0, lost);
    world.settle();
    assert_eq!((world.phase("c1"), world.nodes["n1"].len()), (Phase::Ended, 0));
    assert_eq!(world.refusal(join).code, Code::FailedPrecondition);
}

#[test]
fn what_cannot_be_restored_for_a_day_ends() {
    let mut world = nodes(1);
    world.state.options.pending_ms_max = 60_000;
    world.announce("n2", "b1");
    world.settle();
    cordon_all(&mut world);
    world.dead.insert("n1".into());
    world.live(5_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    world.live(54_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    world.live(4_000);
    assert_eq!(world.phase("c1"), Phase::Ended);
    let reason = &world.state.conferences["c1"].record.reason;
    assert!(reason.contains("could not be restored") && reason.contains("n2: is cordoned"), "{reason}");
}

fn cordon_all(world: &mut World) {
    for node in ["n1", "n2"] {
        let cordon = registry::CordonNodeRequest { node_id: node.into(), reason: String::new() };
        world.request(Request::Cordon(cordon));
    }
    world.settle();
}
