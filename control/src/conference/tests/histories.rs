//! Random histories against rules that always hold.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Create(u8),
    Join(u8, u8),
    Leave(u8, u8),
    End(u8),
    Announce(u8),
    Restart(u8),
    /// Stops answering anybody, or goes on.
    Stop(u8),
    /// Is out of control's reach, or in it again.
    Cut(u8),
    Pass(u16),
    Answer(bool),
    Drop,
    Repeat,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..4_u8).prop_map(Act::Create),
        3 => (0..4_u8, 0..3_u8).prop_map(|(c, p)| Act::Join(c, p)),
        1 => (0..4_u8, 0..3_u8).prop_map(|(c, p)| Act::Leave(c, p)),
        1 => (0..4_u8).prop_map(Act::End),
        3 => (0..3_u8).prop_map(Act::Announce),
        1 => (0..3_u8).prop_map(Act::Restart),
        1 => (0..3_u8).prop_map(Act::Stop),
        1 => (0..3_u8).prop_map(Act::Cut),
        3 => (0..3_000_u16).prop_map(Act::Pass),
        12 => prop::bool::weighted(0.85).prop_map(Act::Answer),
        1 => Just(Act::Drop),
        1 => Just(Act::Repeat),
    ]
}

fn act(world: &mut World, boots: &mut BTreeMap<u8, u8>, created: &mut u32, act: Act) {
    let number = |n: u8| format!("70{n}");
    match act {
        Act::Create(n) => {
            *created += 1;
            world.create(&format!("c{created}"), &number(n));
        }
        Act::Join(c, p) => {
            world.join(&number(c), &format!("p{p}"));
        }
        Act::Leave(c, p) => {
            let (conference, participant) = (number(c), format!("p{p}"));
            world.request(Request::Remove(wire::RemoveParticipantRequest {
                conference,
                participant,
                ..Default::default()
            }));
        }
        Act::End(c) => {
            world.request(Request::End(wire::EndRequest { conference: number(c), ..Default::default() }));
        }
        Act::Announce(n) => {
            let boot = *boots.entry(n).or_default();
            if world.reached(&format!("n{n}")) {
                world.announce(&format!("n{n}"), &format!("b{boot}"));
            }
        }
        Act::Restart(n) => {
            let boot = boots.entry(n).or_default();
            *boot += 1;
            world.boots.insert(format!("n{n}"), format!("b{boot}"));
            world.nodes.entry(format!("n{n}")).or_default().clear();
        }
        Act::Stop(n) => toggle(&mut world.dead, n),
        Act::Cut(n) => toggle(&mut world.cut, n),
        Act::Pass(ms) => world.pass(u64::from(ms)),
        Act::Answer(well) => {
            world.answer(well);
        }
        // An answer that never comes, and one that comes twice. A store writes in order and always answers.
        Act::Drop => {
            if matches!(world.pending.first(), Some(Effect::NodeList { .. } | Effect::NodeDelete { .. })) {
                world.pending.remove(0);
            }
        }
        Act::Repeat => {
            if let Some(first @ Effect::NodePut { .. }) = world.pending.first().cloned() {
                world.pending.push(first);
            }
        }
    }
}

fn toggle(nodes: &mut BTreeSet<String>, n: u8) {
    let name = format!("n{n}");
    if !nodes.remove(&name) {
        nodes.insert(name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens: epochs and versions never go down, an ended conference stays ended, a number
    /// belongs to one living conference; and when all is well again, every request is answered and what
    /// runs is what control says.
    #[test]
    fn rules_that_always_hold(acts in proptest::collection::vec(any_act(), 1..120)) {
        let mut world = World::new();
        let mut boots = BTreeMap::new();
        let mut created = 0;
        let mut seen: BTreeMap<String, (u64, u64, bool)> = BTreeMap::new();
        for one in acts {
            act(&mut world, &mut boots, &mut created, one);
            let mut numbers = BTreeMap::new();
            for (id, conference) in &world.state.conferences {
                let record = &conference.record;
                let ended = record.phase == Phase::Ended;
                let (epoch, version, was_ended) = seen.get(id).copied().unwrap_or_default();
                prop_assert!(record.epoch >= epoch && record.version >= version && (ended || !was_ended));
                seen.insert(id.clone(), (record.epoch, record.version, ended));
                if !ended {
                    prop_assert!(numbers.insert(record.number.clone(), id.clone()).is_none(), "{}", record.number);
                }
            }
        }
        // Faults stop; every node announces itself and is heard.
        world.dead.clear();
        world.cut.clear();
        for _ in 0..50 {
            world.settle();
            for (n, boot) in boots.clone() {
                world.announce(&format!("n{n}"), &format!("b{boot}"));
            }
            world.settle();
            world.pass(300);
        }
        world.settle();
        for id in 1..=world.requests {
            prop_assert!(world.replies.contains_key(&id), "request {id} was not answered");
        }
        for (id, conference) in &world.state.conferences {
            let record = &conference.record;
            let on: Vec<_> = world.nodes.iter().filter(|(_, runs)| runs.contains_key(id)).collect();
            match record.phase {
                Phase::Running => {
                    prop_assert_eq!(on.len(), 1, "{} runs on {:?}", id, on);
                    let (epoch, revision, _) = &on[0].1[id];
                    prop_assert_eq!((on[0].0, *epoch, *revision), (&record.node_id, record.epoch, record.revision));
                }
                Phase::Ended => prop_assert_eq!(on.len(), 0, "{} has ended", id),
                Phase::PendingRestore => {
                    prop_assert_eq!(on.len(), 0);
                    prop_assert!(boots.is_empty(), "{} waits: {}", id, record.reason);
                }
                Phase::Booked => prop_assert_eq!(on.len(), 0),
                Phase::Restoring => prop_assert!(false, "{id} is still being restored"),
                Phase::Creating => prop_assert!(false, "{id} is still being created"),
            }
            let stored = world.stored.get(id).map(|stored| (stored.phase, stored.revision));
            prop_assert_eq!(stored, Some((record.phase, record.revision)), "{}", id);
        }
    }
}

#[test]
fn what_could_not_be_created_is_not_adopted() {
    let mut world = World::new();
    for node in ["n1", "n2"] {
        world.announce(node, "b1");
    }
    world.settle();
    let create = world.create("c1", "700");
    let first = world.node_of("c1").to_owned();
    assert!(world.answer(true), "the store takes it");
    // The node does it twice: the first answer is lost, and the second comes after control has gone on.
    let again = world.pending[0].clone();
    assert!(matches!(again, Effect::NodePut { .. }));
    world.pending.push(again);
    assert!(world.answer(false), "no answer: another node is tried");
    assert!(world.answer(true), "the first one runs it");
    assert!(matches!(world.pending.remove(0), Effect::NodeDelete { .. }), "lost on its way");
    assert!(world.answer(false), "the store is away");
    assert_eq!(world.refusal(create).code, Code::Unavailable);
    assert_eq!(world.nodes[&first].len(), 1);

    for _ in 0..12 {
        world.announce(&first, "b1");
        world.settle();
        world.pass(1_100);
    }
    assert_eq!((world.nodes[&first].len(), world.phase("c1")), (0, Phase::Ended), "it is deleted");
    assert_eq!(world.stored["c1"].phase, Phase::Ended, "whoever is started next knows it, too");
    world.pass(700_000);
    // Not while its node cannot be reached.
    for _ in 0..5 {
        for node in ["n1", "n2"] {
            world.announce(node, "b1");
        }
        world.settle();
        world.pass(300);
    }
    world.settle();
    assert!(world.state.conferences.is_empty() && world.stored.is_empty(), "and forgotten");
}
