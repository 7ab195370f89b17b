//! Whether a node lives: doubts, words of other nodes, and what is made of them.

use super::*;

/// So many nodes, and a conference with one participant on n1.
pub(super) fn nodes(count: usize) -> World {
    let mut world = running();
    for n in 2..=count {
        world.announce(&format!("n{n}"), "b1");
    }
    world.settle();
    world
}

impl World {
    pub(super) fn state_of(&self, node: &str) -> NodeState {
        self.state.nodes[node].state
    }

    /// Time passes in steps of 50 ms; all nodes that live announce themselves and everything is answered.
    pub(super) fn live(&mut self, ms: u64) {
        for passed in (0..ms).step_by(50) {
            if passed % 250 == 0 {
                for (name, boot) in self.boots.clone() {
                    if self.reached(&name) {
                        self.announce(&name, &boot);
                    }
                }
            }
            self.settle();
            self.pass(50);
            self.settle();
        }
    }

    pub(super) fn node_of(&self, conference: &str) -> &str {
        &self.state.conferences[conference].record.node_id
    }
}

#[test]
fn a_short_break_moves_nothing() {
    for break_ms in [100, 500, 900, 1_200] {
        let mut world = nodes(2);
        world.dead.insert("n1".into());
        world.live(break_ms);
        world.dead.clear();
        world.live(1_500);
        assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Ready, "n1"), "{break_ms} ms");
        assert_eq!(world.emitted(Kind::PendingRestore), 0, "{break_ms} ms");
    }
}

#[test]
fn a_cut_control_link_moves_nothing() {
    let mut world = nodes(2);
    world.cut.insert("n1".into());
    world.live(10_000);
    assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Isolated, "n1"));
    assert_eq!((world.emitted(Kind::NodeIsolated), world.emitted(Kind::NodeLost)), (1, 0), "said once");
    world.create("c2", "");
    world.settle();
    assert_eq!(world.node_of("c2"), "n2", "nothing new goes there");
    let leave = wire::RemoveParticipantRequest {
        conference: "c1".into(),
        participant: "alice".into(),
        ..Default::default()
    };
    let leave = world.request(Request::Remove(leave));
    world.settle();
    assert!(world.replies[&leave].is_ok(), "who leaves is gone at once");

    world.cut.clear();
    world.live(1_000);
    assert_eq!((world.state_of("n1"), world.phase("c1")), (NodeState::Ready, Phase::Running));
    assert_eq!(world.emitted(Kind::PendingRestore), 0);
    let (_, _, metadata) = &world.nodes["n1"]["c1"];
    let record: Record = serde_json::from_slice(metadata).expect("a record");
    assert!(record.participants.is_empty(), "the node was told afterwards");
}

/// T-JI1050: a bridge lived, control could not tell it anything, and nobody could join.
#[test]
fn what_control_cannot_tell_a_node_another_node_tells_it() {
    let mut world = nodes(3);
    world.cut.insert("n1".into());
    world.live(3_000);
    let join = world.join("c1", "bob");
    world.settle();
    let Ok(Response::Participant(info)) = &world.replies[&join] else { panic!("bob is in") };
    assert_eq!(info.media[0].local, "n1:5000");
    let leave = wire::RemoveParticipantRequest {
        conference: "c1".into(),
        participant: "alice".into(),
        ..Default::default()
    };
    let leave = world.request(Request::Remove(leave));
    world.live(1_000);
    assert!(world.replies[&leave].is_ok());
    let (_, _, metadata) = &world.nodes["n1"]["c1"];
    let record: Record = serde_json::from_slice(metadata).expect("a record");
    assert_eq!(record.participants.keys().collect::<Vec<_>>(), ["bob"], "the node knows who is in");
    assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Isolated, "n1"));

    // The one in between dies: the other one serves as well.
    world.dead.insert("n2".into());
    world.live(3_000);
    let join = world.join("c1", "carol");
    world.live(1_000);
    assert!(world.replies[&join].is_ok());
    let end = wire::EndRequest { conference: "c1".into(), ..Default::default() };
    let end = world.request(Request::End(end));
    world.live(1_000);
    assert!(world.replies[&end].is_ok());
    assert!(world.nodes["n1"].is_empty(), "it ends on the node at once");
}

#[test]
fn a_conference_leaves_a_node_that_nobody_reaches_when_somebody_wants_to_join() {
    let mut world = nodes(2);
    world.cut.insert("n1".into());
    world.alone.insert("n1".into());
    let spoken = |world: &mut World, ms: u64| {
        for _ in (0..ms).step_by(250) {
            world.announce("n1", "b1");
            world.live(250);
        }
    };
    let (node, boot_id) = ("n1".to_owned(), "b1".to_owned());
    world.event(Event::NodeUnreachable { node, boot_id, why: "broke".into(), certain: false });
    spoken(&mut world, 10_000);
    assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Isolated, "n1"));
    let early = world.join("c1", "bob");
    world.settle();
    assert_eq!(world.refusal(early).code, Code::Unavailable);
    assert_eq!(world.refusal(early).retry_ms, 1_000);
    spoken(&mut world, 10_000);
    assert_eq!(world.node_of("c1"), "n1", "nobody asked");
    let late = world.join("c1", "bob");
    world.live(1_000);
    let Ok(Response::Participant(info)) = &world.replies[&late] else { panic!("bob is in") };
    assert_eq!(info.media[0].local, "n2:5000");
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"));
    assert_eq!(world.emitted(Kind::ParticipantMoved), 1, "alice is told");

    world.cut.clear();
    world.alone.clear();
    world.live(2_000);
    assert_eq!(world.state_of("n1"), NodeState::Ready);
    assert!(world.nodes["n1"].is_empty(), "the old copy goes");
}

#[test]
fn where_no_other_node_takes_it_a_conference_stays_on_a_node_that_nobody_reaches() {
    let mut world = nodes(1);
    world.cut.insert("n1".into());
    let (node, boot_id) = ("n1".to_owned(), "b1".to_owned());
    world.event(Event::NodeUnreachable { node, boot_id, why: "broke".into(), certain: false });
    for _ in 0..80 {
        world.announce("n1", "b1");
        world.live(250);
    }
    let join = world.join("c1", "bob");
    world.settle();
    let refusal = world.refusal(join);
    assert_eq!(refusal.code, Code::Unavailable);
    assert!(refusal.message.contains("no other takes it"), "{}", refusal.message);
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n1"));
}

#[test]
fn an_isolated_node_that_dies_is_lost() {
    let mut world = nodes(2);
    world.cut.insert("n1".into());
    world.live(3_000);
    world.dead.insert("n1".into());
    world.live(1_500);
    assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Lost, "n2"));
}

#[test]
fn a_process_that_has_surely_ended_is_lost_sooner() {
    let mut world = nodes(2);
    world.dead.insert("n1".into());
    let (node, boot_id) = ("n1".to_owned(), "b1".to_owned());
    world.event(Event::NodeUnreachable { node, boot_id, why: "is not there".into(), certain: true });
    world.settle();
    assert_eq!(world.state_of("n1"), NodeState::Suspect);
    world.pass(100);
    world.settle();
    assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Lost, "n2"));
}

#[test]
fn a_stream_that_breaks_alone_is_nothing() {
    let mut world = nodes(2);
    let (node, boot_id) = ("n1".to_owned(), "b1".to_owned());
    world.event(Event::NodeUnreachable { node, boot_id, why: "broke".into(), certain: false });
    world.settle();
    assert_eq!(world.state_of("n1"), NodeState::Ready, "it says itself that it lives");
    let old =
        Event::NodeUnreachable { node: "n1".into(), boot_id: "b0".into(), why: "".into(), certain: true };
    world.event(old);
    assert_eq!(world.state_of("n1"), NodeState::Ready, "another start of it is known by now");
}

#[test]
fn a_node_that_cannot_be_called_but_announces_itself_is_isolated() {
    let mut world = nodes(1);
    let (node, boot_id) = ("n1".to_owned(), "b1".to_owned());
    world.cut.insert("n1".into());
    world.event(Event::NodeUnreachable { node, boot_id, why: "broke".into(), certain: false });
    for _ in 0..20 {
        world.announce("n1", "b1");
        world.settle();
        world.pass(200);
    }
    assert_eq!((world.state_of("n1"), world.phase("c1")), (NodeState::Isolated, Phase::Running));
    world.cut.clear();
    world.live(1_500);
    assert_eq!(world.state_of("n1"), NodeState::Ready);
}

#[test]
fn the_only_node_is_lost_by_the_grace_alone_and_waited_for() {
    let mut world = nodes(1);
    world.dead.insert("n1".into());
    world.live(2_000);
    assert_eq!((world.state_of("n1"), world.phase("c1")), (NodeState::Lost, Phase::PendingRestore));
    assert_eq!((world.emitted(Kind::NodeLost), world.emitted(Kind::PendingRestore)), (1, 1));
    // Another node comes: only now can somebody say that it is dead.
    world.announce("n2", "b1");
    world.live(3_000);
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n2"));
}

#[test]
fn control_that_is_cut_off_from_all_moves_nothing() {
    let mut world = nodes(2);
    world.cut.extend(["n1".to_owned(), "n2".to_owned()]);
    world.live(5_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    // It hears from one of them first, which reaches the other.
    world.cut.remove("n2");
    world.live(5_000);
    assert_eq!((world.state_of("n1"), world.node_of("c1")), (NodeState::Isolated, "n1"));
    world.cut.clear();
    world.live(1_000);
    assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n1"));
    assert_eq!(world.state.conferences["c1"].record.epoch, 1);
}

/// T-COCOON20: a control store lock-up caused mass eviction.
#[test]
fn more_than_half_at_once_move_nothing_until_an_operator_says_so() {
    for give_up in ["", "n1"] {
        let mut world = nodes(4);
        world.dead.extend(["n1", "n2", "n3"].map(str::to_owned));
        world.live(20_000);
        assert_eq!((world.emitted(Kind::NodesMassLoss), world.emitted(Kind::Restoring)), (1, 0));
        assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::PendingRestore, "n1"));
        let request = registry::GiveUpNodeRequest { node_id: give_up.into() };
        let request = world.request(Request::GiveUp(request));
        assert!(matches!(&world.replies[&request], Ok(Response::GivenUp(given)) if given.conferences == 1));
        world.settle();
        assert_eq!((world.phase("c1"), world.node_of("c1")), (Phase::Running, "n4"));
    }
}

#[test]
fn when_enough_are_back_the_others_are_lost_like_any_node() {
    let mut world = nodes(4);
    world.dead.extend(["n1", "n2", "n3"].map(str::to_owned));
    world.live(15_000);
    assert_eq!(world.emitted(Kind::Restoring), 0);
    world.dead.remove("n3");
    world.live(1_000);
    assert_eq!((world.phase("c1"), world.emitted(Kind::Restoring)), (Phase::Running, 1));
    assert!(["n3", "n4"].contains(&world.node_of("c1")));
}

#[test]
fn a_node_that_answers_is_not_given_up() {
    let mut world = nodes(1);
    for (node, code) in [("n1", Code::FailedPrecondition), ("n9", Code::NotFound)] {
        let request = world.request(Request::GiveUp(registry::GiveUpNodeRequest { node_id: node.into() }));
        assert_eq!(world.refusal(request).code, code);
    }
}

/// T-JI1143: one slow health check removed a healthy node for ever.
#[test]
fn a_node_that_is_well_again_is_used_again() {
    let mut world = nodes(1);
    world.dead.insert("n1".into());
    world.live(5_000);
    world.dead.clear();
    world.live(1_000);
    assert_eq!((world.state_of("n1"), world.phase("c1")), (NodeState::Ready, Phase::Running));
    world.create("c2", "");
    world.settle();
    assert_eq!(world.node_of("c2"), "n1");
}
