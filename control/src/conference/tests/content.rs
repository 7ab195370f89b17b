//! The floor of content.

use super::*;
use motet_proto::media::ContentFloor;
use wire::ContentAction as Action;

fn ask(world: &mut World, action: Action, participant: &str, by: &str) -> u64 {
    let ask = wire::ShareContentRequest {
        conference: "700".into(),
        action: action.into(),
        participant: participant.into(),
        by: by.into(),
        ..Default::default()
    };
    let request = world.request(Request::ShareContent(ask));
    world.settle();
    request
}

fn set_floor(world: &mut World, floor: ContentFloor) -> u64 {
    let ask = wire::ShareContentRequest {
        conference: "700".into(),
        action: Action::Floor.into(),
        floor: floor.into(),
        ..Default::default()
    };
    let request = world.request(Request::ShareContent(ask));
    world.settle();
    request
}

/// A conference with a chair and two others who can share content, and one who cannot.
fn sharing(floor: ContentFloor) -> World {
    let mut world = running();
    for (who, role) in [
        ("chair", wire::ParticipantRole::Chair),
        ("bob", wire::ParticipantRole::Speaker),
        ("erin", wire::ParticipantRole::Speaker),
    ] {
        let media = vec![wire::ParticipantMedium { kind: MediaKind::Content.into(), ..Default::default() }];
        let add = wire::AddParticipantRequest {
            conference: "700".into(),
            participant: who.into(),
            media,
            role: role.into(),
            ..Default::default()
        };
        world.request(Request::Add { id: who.into(), add });
        world.settle();
    }
    set_floor(&mut world, floor);
    world
}

/// Who has the floor, and who waits.
fn state(world: &World) -> (&str, Vec<&str>) {
    let content = &world.stored["c1"].content;
    (content.holder.as_str(), content.waiting.iter().map(String::as_str).collect())
}

#[test]
fn a_free_floor_goes_to_who_asks_first_then_to_the_next_or_to_who_takes_it() {
    let mut world = sharing(ContentFloor::Free);
    ask(&mut world, Action::Request, "bob", "bob");
    assert_eq!(state(&world), ("bob", vec![]));
    let request = ask(&mut world, Action::Request, "erin", "erin");
    let Ok(Response::Conference(info)) = &world.replies[&request] else { panic!("a conference") };
    let shown = info.content.clone().expect("there is a floor");
    assert_eq!((shown.holder.as_str(), shown.waiting, shown.floor), ("bob", vec!["erin".to_owned()], 2));
    assert_eq!(world.emitted(Kind::ContentRequested), 1);
    ask(&mut world, Action::Release, "bob", "bob");
    assert_eq!(state(&world), ("erin", vec![]));
    ask(&mut world, Action::Take, "bob", "bob");
    assert_eq!(state(&world), ("bob", vec![]));
    // Who leaves gives it away.
    ask(&mut world, Action::Request, "erin", "erin");
    let told = world.emitted(Kind::ContentChanged);
    let remove = wire::RemoveParticipantRequest {
        conference: "700".into(),
        participant: "bob".into(),
        ..Default::default()
    };
    world.request(Request::Remove(remove));
    world.settle();
    assert_eq!((state(&world), world.emitted(Kind::ContentChanged)), (("erin", vec![]), told + 1));
    set_floor(&mut world, ContentFloor::Open);
    assert_eq!(world.stored["c1"].content, Content::default());
}

#[test]
fn who_leaves_while_the_node_is_lost_gives_the_floor_away_too() {
    let mut world = sharing(ContentFloor::Free);
    ask(&mut world, Action::Request, "bob", "bob");
    ask(&mut world, Action::Request, "erin", "erin");
    world.dead.insert("n1".into());
    world.live(3_000);
    assert_eq!(world.phase("c1"), Phase::PendingRestore);
    let told = world.emitted(Kind::ContentChanged);
    let remove = wire::RemoveParticipantRequest {
        conference: "700".into(),
        participant: "bob".into(),
        ..Default::default()
    };
    world.request(Request::Remove(remove));
    world.settle();
    assert_eq!((state(&world), world.emitted(Kind::ContentChanged)), (("erin", vec![]), told + 1));
}

#[test]
fn a_moderated_floor_is_the_chairs_to_give() {
    let mut world = sharing(ContentFloor::Moderated);
    ask(&mut world, Action::Request, "bob", "bob");
    ask(&mut world, Action::Request, "erin", "erin");
    assert_eq!(state(&world), ("", vec!["bob", "erin"]));
    for action in [Action::Grant, Action::Take, Action::Deny, Action::Revoke] {
        let request = ask(&mut world, action, "bob", "bob");
        assert_eq!(world.refusal(request).code, Code::PermissionDenied, "{action:?}");
    }
    ask(&mut world, Action::Grant, "erin", "chair");
    assert_eq!(state(&world), ("erin", vec!["bob"]));
    ask(&mut world, Action::Deny, "bob", "chair");
    assert_eq!((state(&world), world.emitted(Kind::ContentDenied)), (("erin", vec![]), 1));
    ask(&mut world, Action::Revoke, "", "chair");
    assert_eq!(state(&world), ("", vec![]));
    ask(&mut world, Action::Request, "chair", "chair");
    assert_eq!(state(&world), ("chair", vec![]));
}

#[test]
fn what_cannot_be_asked_is_refused_and_the_node_knows_the_holder() {
    let mut world = sharing(ContentFloor::Free);
    let request = ask(&mut world, Action::Request, "alice", "alice");
    assert!(world.refusal(request).message.contains("no medium that sends content"));
    let request = ask(&mut world, Action::Request, "nobody", "");
    assert_eq!(world.refusal(request).code, Code::NotFound);
    let ask_bob = wire::ShareContentRequest {
        conference: "700".into(),
        action: Action::Request.into(),
        participant: "bob".into(),
        ..Default::default()
    };
    world.request(Request::ShareContent(ask_bob));
    assert!(world.answer(true), "the store comes first");
    let put = world.pending.iter().find_map(|effect| match effect {
        Effect::NodePut { put, .. } => put.spec.clone(),
        _ => None,
    });
    assert_eq!(put.expect("the node is told").content, Some(node::ContentHolder { leg: "bob".into() }));
    world.settle();
    set_floor(&mut world, ContentFloor::Open);
    let request = ask(&mut world, Action::Request, "bob", "bob");
    assert_eq!(world.refusal(request).code, Code::FailedPrecondition);
}
