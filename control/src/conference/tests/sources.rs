//! Small rules of the source documents; see `docs/sources.md`.

use super::admission::{ask, world};
use super::*;

/// GET_RES_NACK's error codes (003 section 1.4), as codes and fields.
#[test]
fn each_kind_of_resource_refusal_has_its_code() {
    let mut world = world();
    let refused = |world: &mut World, create: wire::CreateRequest| {
        let asked = world.request(Request::Create { id: "c".into(), seed: 7, create });
        (world.refusal(asked).code, world.refusal(asked).field.clone())
    };
    let is = |code: Code, field: &str| (code, field.to_owned());
    assert_eq!(
        refused(&mut world, ask("nobody")),
        is(Code::NotFound, "user_domain"),
        "the domain is unknown"
    );
    let large = wire::CreateRequest { expected_participants: 9, ..ask("u") };
    assert_eq!(refused(&mut world, large), is(Code::ResourceExhausted, "user_domain"), "a limit is reached");
    world
        .request(Request::Cordon(registry::CordonNodeRequest { node_id: "n1".into(), ..Default::default() }));
    world.settle();
    assert_eq!(refused(&mut world, ask("u")), is(Code::ResourceExhausted, ""), "no node takes it");
    world.state.store_fault = Some("it is away".into());
    assert_eq!(refused(&mut world, ask("u")), is(Code::Unavailable, ""), "the fault is control's own");
}

/// 003 section 5.1.4.
#[test]
fn two_conferences_may_have_one_name() {
    let mut world = world();
    for id in ["c0", "c1"] {
        let create = wire::CreateRequest { name: "Monday".into(), ..ask("u") };
        world.request(Request::Create { id: id.into(), seed: 7, create });
        world.settle();
    }
    let known = ["c0", "c1"].map(|id| world.state.conferences[id].record.clone());
    assert_eq!(
        known.clone().map(|record| (record.phase, record.name)),
        [(); 2].map(|()| (Phase::Running, "Monday".to_owned()))
    );
    assert_ne!(known[0].number, known[1].number);
}
