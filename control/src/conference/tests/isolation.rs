//! Who asks in the name of a user domain is answered as if there were no other (000 section 3.2).

use super::*;
use proptest::prelude::*;

impl World {
    fn ask(&mut self, user_domain: &str, request: Request) -> u64 {
        let request = Request::Scoped { user_domain: user_domain.into(), request: Box::new(request) };
        let request = self.request(request);
        self.settle();
        request
    }

    fn answer_to(&mut self, user_domain: &str, request: Request) -> Result<Response, Refusal> {
        let request = self.ask(user_domain, request);
        self.replies[&request].clone()
    }
}

fn get(conference: &str) -> Request {
    Request::Get(wire::GetRequest { conference: conference.into() })
}

fn create(id: &str, create: wire::CreateRequest) -> Request {
    Request::Create { id: id.into(), seed: 7, create }
}

fn instant(number: &str, request_id: &str) -> wire::CreateRequest {
    wire::CreateRequest { number: number.into(), request_id: request_id.into(), ..Default::default() }
}

/// One node; a conference of domain a, one of b.
fn world() -> World {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.settle();
    for (domain, id, number) in [("a", "ca", "700"), ("b", "cb", "800")] {
        let made = world.answer_to(domain, create(id, instant(number, "monday")));
        let Ok(Response::Conference(info)) = made else { panic!("{made:?}") };
        assert_eq!(
            (info.id.as_str(), info.user_domain.as_str()),
            (id, domain),
            "the same request id, two conferences"
        );
    }
    world
}

#[test]
fn what_is_another_domains_is_not_there() {
    let mut world = world();
    for (known, unknown) in [("ca", "cx"), ("700", "799")] {
        let hidden = world.answer_to("b", get(known)).expect_err("it is hidden");
        let absent = world.answer_to("b", get(unknown)).expect_err("there is none");
        assert_eq!(hidden.message.replace(known, unknown), absent.message);
        assert_eq!((hidden.code, hidden.field), (absent.code, absent.field));
    }
    assert!(world.answer_to("a", get("700")).is_ok() && world.answer_to("b", get("800")).is_ok());
    let end = Request::End(wire::EndRequest { conference: "700".into(), ..Default::default() });
    assert_eq!(world.answer_to("b", end).map_err(|refusal| refusal.code), Err(Code::NotFound));
    assert_eq!(world.phase("ca"), Phase::Running);
    let list = world.answer_to("b", Request::List(wire::ListRequest::default()));
    let Ok(Response::Conferences(list)) = list else { panic!("a list") };
    assert_eq!(list.conferences.iter().map(|info| info.id.as_str()).collect::<Vec<_>>(), ["cb"]);
    let foreign = wire::CreateRequest { user_domain: "a".into(), ..Default::default() };
    assert_eq!(
        world.answer_to("b", create("cz", foreign)).map_err(|refusal| refusal.code),
        Err(Code::NotFound)
    );
}

#[test]
fn a_number_is_ones_own_conference_even_if_another_domain_has_it_now() {
    let mut world = world();
    let end = Request::End(wire::EndRequest { conference: "700".into(), ..Default::default() });
    assert!(world.answer_to("a", end).is_ok());
    assert!(world.answer_to("b", create("cb2", instant("700", ""))).is_ok());
    let id = |answer: Result<Response, Refusal>| match answer {
        Ok(Response::Conference(info)) => info.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(id(world.answer_to("a", get("700"))), "ca", "its own, which has ended");
    assert_eq!(id(world.answer_to("b", get("700"))), "cb2");
}

#[test]
fn what_is_for_operators_is_refused() {
    let mut world = world();
    let node_id = || "n1".to_owned();
    let requests = [
        Request::ListNodes,
        Request::Drain(registry::DrainNodeRequest { node_id: node_id(), ..Default::default() }),
        Request::Undrain(registry::UndrainNodeRequest { node_id: node_id() }),
        Request::Cordon(registry::CordonNodeRequest { node_id: node_id(), ..Default::default() }),
        Request::Uncordon(registry::UncordonNodeRequest { node_id: node_id() }),
        Request::WhatIf(registry::WhatIfLostRequest { node_id: node_id() }),
        Request::GiveUp(registry::GiveUpNodeRequest { node_id: node_id() }),
        Request::SetDomain(Default::default()),
        Request::RemoveDomain(Default::default()),
        Request::Scoped { user_domain: "a".into(), request: Box::new(get("ca")) },
    ];
    let before = world.state.clone();
    for request in requests {
        let name = request.name();
        let refused = world.answer_to("b", request).map_err(|refusal| refusal.code);
        assert_eq!(refused, Err(Code::PermissionDenied), "{name}");
    }
    assert_eq!(world.state, before, "and nothing has changed");
    let nobody = world.answer_to("", get("ca")).map_err(|refusal| refusal.code);
    assert_eq!(nobody, Err(Code::InvalidArgument), "an empty name is no name, and not everybody's");
}

/// What two domains and chance do, one thing after the other.
#[derive(Clone, Debug)]
enum Op {
    Create {
        own: usize,
        kind: wire::ConferenceType,
        request_id: usize,
        template: usize,
    },
    Get(usize),
    History(usize),
    End(usize, usize),
    Rename(usize),
    Join(usize, usize),
    Leave(usize),
    Mute(usize),
    Lock(usize),
    Password(usize),
    Extend(usize),
    List(bool, bool),
    Resolve,
    /// The node loses its memory.
    Restart,
    Pass(u64),
}

/// Names that anybody may try: ids and numbers of both domains, and the name that both give their templates.
const NAMES: [&str; 13] =
    ["a0", "a1", "a2", "b0", "b1", "b2", "700", "701", "702", "800", "801", "802", "weekly"];
const REQUEST_IDS: [&str; 3] = ["", "r1", "r2"];
const TEMPLATES: [&str; 4] = ["", "weekly", "a0", "b0"];

fn op() -> impl Strategy<Value = Op> {
    use wire::ConferenceType as What;
    let name = 0..NAMES.len();
    let id = 0..REQUEST_IDS.len();
    let kind =
        prop_oneof![Just(What::Instant), Just(What::Reserve), Just(What::Templet), Just(What::Virtual)];
    let create = (0..3_usize, kind, id.clone(), 0..TEMPLATES.len());
    prop_oneof![
        6 => create.prop_map(|(own, kind, request_id, template)| Op::Create { own, kind, request_id, template }),
        2 => name.clone().prop_map(Op::Get),
        1 => name.clone().prop_map(Op::History),
        1 => (name.clone(), id.clone()).prop_map(|(name, id)| Op::End(name, id)),
        1 => name.clone().prop_map(Op::Rename),
        4 => (name.clone(), id).prop_map(|(name, id)| Op::Join(name, id)),
        1 => name.clone().prop_map(Op::Leave),
        1 => name.clone().prop_map(Op::Mute),
        1 => name.clone().prop_map(Op::Lock),
        1 => name.clone().prop_map(Op::Password),
        1 => name.prop_map(Op::Extend),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(ended, booked)| Op::List(ended, booked)),
        1 => Just(Op::Resolve),
        1 => Just(Op::Restart),
        2 => prop_oneof![Just(300), Just(5_000), Just(700_000)].prop_map(Op::Pass),
    ]
}

/// What a domain creates, as its turn-th.
fn creation(domain: &str, op: &Op, (turn, now_ms): (usize, i64)) -> Request {
    let Op::Create { own, kind, request_id, template } = op else { unreachable!("the caller looked") };
    let templet = *kind == wire::ConferenceType::Templet;
    let reserve = *kind == wire::ConferenceType::Reserve;
    let hundreds = if domain == "a" { 7 } else { 8 };
    let made = wire::CreateRequest {
        name: if templet { "weekly".into() } else { format!("{domain} meets") },
        number: if templet { String::new() } else { format!("{hundreds}0{own}") },
        r#type: (*kind).into(),
        request_id: REQUEST_IDS[*request_id].to_owned(),
        template: TEMPLATES[*template].into(),
        start_unix_ms: if reserve { now_ms + 4_000 } else { 0 },
        duration_ms: if reserve { 60_000 } else { 0 },
        ..Default::default()
    };
    create(&format!("{domain}{turn}"), made)
}

/// The request of a domain, which is `a` or `b`.
fn request_of(domain: &str, op: &Op, (turn, now_ms): (usize, i64)) -> Option<Request> {
    let conference = |name: &usize| NAMES[*name].to_owned();
    let request_id = |id: &usize| REQUEST_IDS[*id].to_owned();
    Some(match op {
        Op::Create { .. } => creation(domain, op, (turn, now_ms)),
        Op::Get(name) => get(NAMES[*name]),
        Op::History(name) => Request::History(wire::HistoryRequest { conference: conference(name) }),
        Op::End(name, id) => Request::End(wire::EndRequest {
            conference: conference(name),
            request_id: request_id(id),
            ..Default::default()
        }),
        Op::Rename(name) => Request::Rename(wire::RenameRequest {
            conference: conference(name),
            name: format!("{domain} renamed it"),
            ..Default::default()
        }),
        Op::Join(name, id) => {
            let medium = wire::ParticipantMedium { kind: MediaKind::Audio.into(), ..Default::default() };
            let add = wire::AddParticipantRequest {
                conference: conference(name),
                participant: format!("{domain}-alice"),
                media: vec![medium],
                request_id: request_id(id),
                ..Default::default()
            };
            Request::Add { id: "chosen".into(), add }
        }
        Op::Leave(name) => Request::Remove(wire::RemoveParticipantRequest {
            conference: conference(name),
            participant: format!("{domain}-alice"),
            ..Default::default()
        }),
        Op::Mute(name) => Request::SetParticipantAudio(wire::SetParticipantAudioRequest {
            conference: conference(name),
            participant: format!("{domain}-alice"),
            muted: Some(true),
            ..Default::default()
        }),
        Op::Lock(name) => Request::SetLock(wire::SetLockRequest {
            conference: conference(name),
            locked: true,
            ..Default::default()
        }),
        Op::Password(name) => Request::SetPassword(wire::SetPasswordRequest {
            conference: conference(name),
            password: Some(wire::Secret { text: "secret".into() }),
            ..Default::default()
        }),
        Op::Extend(name) => Request::Extend(wire::ExtendRequest {
            conference: conference(name),
            to: Some(wire::extend_request::To::EndUnixMs(now_ms + 30_000)),
            ..Default::default()
        }),
        Op::List(include_ended, booked) => {
            Request::List(wire::ListRequest { include_ended: *include_ended, booked: *booked })
        }
        Op::Resolve => Request::ResolveDomain(Default::default()),
        Op::Restart | Op::Pass(_) => return None,
    })
}

/// What domain b is answered and told; without what domain a does, if it is left out.
fn seen_by_b(ops: &[(bool, Op)], with_a: bool) -> (Vec<String>, Vec<String>) {
    let mut world = World::new();
    let mut boot = 0;
    let mut answers = Vec::new();
    let mut made = [0, 0];
    world.announce("n1", "boot0");
    world.settle();
    for (by_a, op) in ops {
        let domain = if *by_a { "a" } else { "b" };
        let turn = made[usize::from(*by_a)];
        made[usize::from(*by_a)] += usize::from(matches!(op, Op::Create { .. }));
        match (op, request_of(domain, op, (turn, world.now.unix_ms))) {
            (_, Some(_)) if *by_a && !with_a => {}
            (_, Some(request)) => {
                let request = world.ask(domain, request);
                // A join of a conference that waits for a node is answered later.
                if !by_a {
                    answers.push(request);
                }
            }
            (Op::Restart, _) => {
                boot += 1;
                world.nodes.get_mut("n1").expect("a node").clear();
                world.announce("n1", &format!("boot{boot}"));
            }
            (Op::Pass(ms), _) => {
                world.pass(*ms);
                world.settle();
                world.announce("n1", &format!("boot{boot}"));
            }
            _ => unreachable!("all others are requests"),
        }
        world.settle();
        world.pass(50);
        world.settle();
    }
    world.pass(10_000);
    world.settle();
    let answers = answers.iter().map(|request| format!("{:?}", world.replies.get(request))).collect();
    let told = std::mem::take(&mut world.told).into_iter().filter_map(|event| event_for("b", event));
    (answers, told.map(|event| format!("{event:?}")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Whatever domain a does, domain b is answered and told exactly the same: nothing of a shows, and nothing of b is
    /// changed by a.
    #[test]
    fn one_domain_does_not_see_the_other(ops in prop::collection::vec((any::<bool>(), op()), 1..30)) {
        let (alone, beside) = (seen_by_b(&ops, false), seen_by_b(&ops, true));
        prop_assert_eq!(alone.0, beside.0);
        prop_assert_eq!(alone.1, beside.1);
    }
}
