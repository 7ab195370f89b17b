//! What nodes run is told page by page.

use super::*;

/// Control that was started again beside a node that runs so many conferences, all in the store, and tells two at a time.
fn started(count: usize) -> World {
    let mut world = World::unloaded();
    world.state.options.list_page = 2;
    for n in 0..count {
        let record = Record {
            id: format!("c{n}"),
            number: (700 + n).to_string(),
            phase: Phase::Running,
            node_id: "n1".into(),
            maintainer: "css".into(),
            epoch: 1,
            revision: 1,
            version: 2,
            ..Record::default()
        };
        let metadata = serde_json::to_vec(&record).expect("a record");
        world.nodes.entry("n1".into()).or_default().insert(record.id.clone(), (1, 1, metadata));
        world.stored.insert(record.id.clone(), record);
    }
    world
}

impl World {
    fn load(&mut self) {
        self.event(Event::StoreLoaded(self.stored.values().cloned().collect()));
    }

    /// What n1 is asked next.
    fn question(&self) -> Option<&ListConferencesRequest> {
        self.pending.iter().find_map(|effect| match effect {
            Effect::NodeList { list, .. } => Some(list),
            _ => None,
        })
    }

    /// n1 answers: one page.
    fn tell_page(&mut self) {
        let asked = |effect: &Effect| matches!(effect, Effect::NodeList { .. });
        let at = self.pending.iter().position(asked).expect("it is asked what it runs");
        let Effect::NodeList { token, node, list, .. } = self.pending.remove(at) else { panic!() };
        let page = self.page(&node, &list);
        assert!(page.conferences.len() <= 2, "{list:?}");
        self.event(Event::NodeListed { token, node, result: Ok(page) });
    }

    fn is_ready(&self) -> bool {
        self.state.nodes["n1"].state == NodeState::Ready
    }
}

#[test]
fn a_node_is_ready_when_the_last_page_was_told() {
    let mut world = started(5);
    world.load();
    world.announce("n1", "b1");
    for after in ["", "c1", "c3"] {
        assert!(!world.is_ready());
        let list = world.question().expect("it is asked for the next page");
        assert_eq!((list.after.as_str(), list.limit), (after, 2));
        world.tell_page();
    }
    assert!(world.is_ready() && world.question().is_none());
}

#[test]
fn what_a_page_does_not_mention_is_not_missed_by_another_one() {
    let mut world = started(6);
    world.nodes.get_mut("n1").expect("it is there").retain(|id, _| id != "c2" && id != "c5");
    world.load();
    world.announce("n1", "b1");
    // c0 and c1, then c3 and c4.
    world.tell_page();
    assert!((0..6).all(|n| world.phase(&format!("c{n}")) == Phase::Running), "none is missed yet");
    world.tell_page();
    assert_eq!(world.phase("c2"), Phase::PendingRestore, "c3 was told and it was not");
    world.live(1_000);
    // It has room for them.
    for n in 0..6 {
        let record = &world.stored[&format!("c{n}")];
        let restored = n == 2 || n == 5;
        assert_eq!((record.phase, record.epoch), (Phase::Running, if restored { 2 } else { 1 }), "c{n}");
    }
    assert_eq!(world.nodes["n1"].len(), 6);
}

#[test]
fn what_is_not_known_is_taken_over_whatever_page_it_is_on() {
    let mut world = started(5);
    let records = std::mem::take(&mut world.stored);
    world.load();
    world.announce("n1", "b1");
    world.live(1_000);
    assert_eq!(world.stored.len(), records.len());
    assert_eq!(world.emitted(Kind::Adopted), 5);
}

#[test]
fn a_pass_is_not_begun_again_before_it_is_over() {
    let mut world = started(5);
    world.load();
    world.announce("n1", "b1");
    world.tell_page();
    // The store was lost and is there again: all that was said before is to be seen in its light.
    world.load();
    let list = world.question().expect("it goes on");
    assert_eq!(list.after, "c1");
    world.tell_page();
    world.tell_page();
    assert!(world.is_ready());
    world.announce("n1", "b1");
    world.pass(50);
    let list = world.question().expect("another pass begins at once");
    assert_eq!((list.after.as_str(), list.since.as_str()), ("", ""));
}

#[test]
fn a_node_that_is_ready_tells_a_page_with_each_tick() {
    let mut world = started(5);
    world.load();
    world.announce("n1", "b1");
    world.settle();
    assert!(world.is_ready());
    world.load();
    world.announce("n1", "b1");
    for after in ["", "c1", "c3"] {
        world.pass(50);
        let list = world.question().expect("it is asked with each tick");
        assert_eq!(list.after, after);
        world.tell_page();
        assert!(world.question().is_none(), "what else it is asked comes between");
    }
    world.pass(50);
    assert!(world.question().is_none());
}

#[test]
fn a_page_that_says_there_is_more_and_gives_nothing_is_the_last() {
    let mut world = started(1);
    world.load();
    world.announce("n1", "b1");
    let at = world.pending.iter().position(|effect| matches!(effect, Effect::NodeList { .. }));
    let Effect::NodeList { token, node, .. } = world.pending.remove(at.expect("it is asked")) else {
        panic!()
    };
    let list = ListConferencesResponse { more: true, ..world.list("n1") };
    let list = ListConferencesResponse { conferences: Vec::new(), ..list };
    world.event(Event::NodeListed { token, node, result: Ok(list) });
    assert!(world.is_ready() && world.question().is_none());
}
