//! Who may have a conference, and who may join one: a refusal for each reason.

use super::*;
use motet_proto::domains::Feature;

fn secret(text: &str) -> Option<wire::Secret> {
    Some(wire::Secret { text: text.into() })
}

/// A world with a service domain, a platform, two user domains, and a domain elsewhere.
pub(super) fn world() -> World {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.settle();
    let domain = |moid: &str, level: Level, parent: &str| Domain {
        moid: moid.into(),
        level: level as i32,
        parent: parent.into(),
        ..Domain::default()
    };
    let mut domains = vec![
        domain("s", Level::Service, ""),
        domain("platform", Level::Platform, "s"),
        domain("u", Level::User, "s"),
        domain("off", Level::User, "s"),
        domain("plain", Level::User, "s"),
        domain("s2", Level::Service, ""),
        domain("p2", Level::Platform, "s2"),
        domain("u2", Level::User, "s2"),
    ];
    domains[1].numbers = vec![(500, 501)];
    domains[6].numbers = vec![(600, 699)];
    domains[3].disabled = true;
    (domains[2].small_max, domains[2].large_max) = (Some(2), Some(0));
    let forbidden = [Feature::H265, Feature::FullHd, Feature::Mixing, Feature::Recording];
    domains[4].forbidden = forbidden.map(|feature| feature as i32).into();
    world.state.domains = Domains::new(domains);
    world
}

pub(super) fn ask(user_domain: &str) -> wire::CreateRequest {
    wire::CreateRequest { user_domain: user_domain.into(), ..Default::default() }
}

/// A request, and the code, the field and a word of its refusal.
type Refused = (wire::CreateRequest, Code, &'static str, &'static str);

fn refused_by_domain() -> Vec<Refused> {
    let mixed = Some(motet_proto::media::AudioSettings { mode: 3, ..Default::default() });
    let large = wire::CreateRequest { expected_participants: 9, ..ask("u") };
    let foreign = wire::CreateRequest { number: "650".into(), ..ask("u") };
    let using = |domain: &str, feature| wire::CreateRequest { features: vec![feature], ..ask(domain) };
    vec![
        (ask(""), Code::InvalidArgument, "user_domain", "needed"),
        (ask("nobody"), Code::NotFound, "user_domain", "nobody"),
        (ask("s"), Code::NotFound, "user_domain", "no user domain"),
        (ask("off"), Code::PermissionDenied, "user_domain", "not in use"),
        (ask("u2"), Code::FailedPrecondition, "user_domain", "served by p2"),
        (large, Code::ResourceExhausted, "user_domain", "0 large"),
        (
            wire::CreateRequest { audio: mixed, ..ask("plain") },
            Code::PermissionDenied,
            "audio.mode",
            "mixing",
        ),
        (using("plain", 1), Code::PermissionDenied, "features", "h265"),
        (using("plain", 4), Code::PermissionDenied, "features", "recording"),
        (using("u", 9), Code::InvalidArgument, "features[0]", "9"),
        (foreign, Code::FailedPrecondition, "number", "p2"),
    ]
}

fn refused_by_times() -> Vec<Refused> {
    let typed = |r#type: i32, start_unix_ms, end_unix_ms| wire::CreateRequest {
        r#type,
        start_unix_ms,
        end_unix_ms,
        ..ask("u")
    };
    let lasting = |create: wire::CreateRequest, duration_ms| wire::CreateRequest { duration_ms, ..create };
    let bad = Code::InvalidArgument;
    let again = wire::CreateRequest { recurrence: Some(wire::Recurrence::default()), ..ask("u") };
    let ahead = typed(2, 1_700_000_100_000, 1_700_000_200_000);
    let rule = |rule: &str| wire::CreateRequest {
        recurrence: Some(wire::Recurrence { rule: rule.into(), time_zone: String::new() }),
        ..ahead.clone()
    };
    vec![
        (typed(7, 0, 0), bad, "type", "7"),
        (typed(1, 5, 0), bad, "start_unix_ms", "RESERVE"),
        (typed(2, 0, 0), bad, "start_unix_ms", "needs one"),
        (typed(2, 5, 0), bad, "start_unix_ms", "over"),
        (typed(2, i64::MAX, 0), bad, "start_unix_ms", "ten years"),
        (typed(2, 1_700_000_100_000, 0), bad, "end_unix_ms", "needed"),
        (typed(2, 1_700_000_100_000, 1_700_000_100_000), bad, "end_unix_ms", "after the start"),
        (rule("FREQ=WEEKLY"), bad, "recurrence.rule", "COUNT"),
        (lasting(rule("FREQ=DAILY;COUNT=2"), 5), bad, "duration_ms", "together"),
        (
            lasting(wire::CreateRequest { end_unix_ms: 0, ..rule("FREQ=DAILY;COUNT=2") }, 90_000_000),
            bad,
            "end_unix_ms",
            "the next one begins",
        ),
        (typed(4, 0, 5), bad, "end_unix_ms", "duration_ms"),
        (typed(1, 0, 5), bad, "end_unix_ms", "after the start"),
        (lasting(typed(1, 0, 5), 5), bad, "duration_ms", "together"),
        (lasting(ask("u"), 1 << 40), bad, "duration_ms", "366"),
        (wire::CreateRequest { notice_ms: Some(86_400_001), ..ask("u") }, bad, "notice_ms", "day"),
        (wire::CreateRequest { empty_ms: 999, ..ask("u") }, bad, "empty_ms", "999"),
        (again, bad, "recurrence", "RESERVE"),
    ]
}

fn refused_by_fields() -> Vec<Refused> {
    let bad = Code::InvalidArgument;
    vec![
        (wire::CreateRequest { number: "+49".into(), ..ask("u") }, bad, "number", "+49"),
        (wire::CreateRequest { name: "x".repeat(129), ..ask("u") }, bad, "name", "128"),
        (wire::CreateRequest { r#type: 3, number: "5".into(), ..ask("u") }, bad, "number", "template"),
        (wire::CreateRequest { password: secret(&"x".repeat(65)), ..ask("u") }, bad, "password", "64"),
        (
            wire::CreateRequest { chair_password: secret(&"x".repeat(65)), ..ask("u") },
            bad,
            "chair_password",
            "64",
        ),
        (wire::CreateRequest { request_id: "x".repeat(129), ..ask("u") }, bad, "request_id", "128"),
        (wire::CreateRequest { template: "t".into(), ..ask("u") }, Code::NotFound, "template", "'t'"),
    ]
}

#[test]
fn each_check_of_a_creation_has_its_refusal() {
    let mut world = world();
    for (create, code, field, why) in [refused_by_fields(), refused_by_times(), refused_by_domain()].concat()
    {
        let asked = world.request(Request::Create { id: "c".into(), seed: 7, create: create.clone() });
        let refusal = world.refusal(asked);
        assert_eq!((refusal.code, refusal.field.as_str()), (code, field), "{create:?}: {refusal}");
        assert!(refusal.message.contains(why), "{create:?}: {refusal}");
        assert!(world.state.conferences.is_empty() && world.pending.is_empty(), "nothing has changed");
    }
}

#[test]
fn limits_and_numbers_of_a_domain_are_kept() {
    let mut world = world();
    for (index, number) in ["500", "501"].into_iter().enumerate() {
        let id = format!("c{index}");
        world.request(Request::Create { id: id.clone(), seed: 7, create: ask("u") });
        assert_eq!(world.state.conferences[&id].record.number, number, "the platform's numbers");
    }
    let third = world.request(Request::Create { id: "c3".into(), seed: 7, create: ask("u") });
    assert!(world.refusal(third).message.contains("all its 2 small"), "counted before they run");
    let other = world.request(Request::Create { id: "c3".into(), seed: 7, create: ask("plain") });
    assert_eq!(
        (world.refusal(other).code, world.refusal(other).field.as_str()),
        (Code::ResourceExhausted, "number")
    );
    world.settle();
    let end = wire::EndRequest { conference: "c0".into(), ..Default::default() };
    world.request(Request::End(end));
    world.settle();
    let again = world.request(Request::Create { id: "c4".into(), seed: 7, create: ask("u") });
    world.settle();
    assert!(world.replies[&again].is_ok(), "{:?}", world.replies[&again]);
}

#[test]
fn five_hundred_creates_at_once_take_the_last_place() {
    let mut world = world();
    let known: Vec<Domain> = world.state.domains.iter().cloned().collect();
    let limited = |d: Domain| Domain { small_max: (d.moid == "u").then_some(10), numbers: vec![], ..d };
    world.state.domains = Domains::new(known.into_iter().map(limited).collect());
    for index in 0..9 {
        world.request(Request::Create { id: format!("held{index}"), seed: 7, create: ask("u") });
    }
    world.settle();
    let asked: Vec<u64> = (0..500)
        .map(|i| world.request(Request::Create { id: format!("c{i}"), seed: 7, create: ask("u") }))
        .collect();
    world.settle();
    let taken = asked.iter().filter(|id| world.replies[id].is_ok()).count();
    assert_eq!(taken, 1, "one place was left");
    let living = world.state.conferences.values().filter(|c| c.record.phase == Phase::Running).count();
    assert_eq!(living, 10);
}

fn add(world: &mut World, participant: &str, role: i32, password: &str) -> u64 {
    let medium = wire::ParticipantMedium { kind: MediaKind::Audio.into(), ..Default::default() };
    let add = wire::AddParticipantRequest {
        conference: "700".into(),
        participant: participant.into(),
        media: vec![medium],
        role,
        password: if password.is_empty() { None } else { secret(password) },
        ..Default::default()
    };
    let id = world.request(Request::Add { id: "chosen".into(), add });
    world.settle();
    id
}

const CHAIR: i32 = wire::ParticipantRole::Chair as i32;
const LISTENER: i32 = wire::ParticipantRole::Listener as i32;
const VIEWER: i32 = wire::ParticipantRole::Viewer as i32;

fn guarded() -> World {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.settle();
    let create = wire::CreateRequest {
        number: "700".into(),
        password: secret("1234"),
        chair_password: secret("9876"),
        ..Default::default()
    };
    world.request(Request::Create { id: "c".into(), seed: 7, create });
    world.settle();
    world
}

#[test]
fn passwords_open_the_roles_that_they_are_for() {
    let mut world = guarded();
    for (who, role, password, opens) in [
        ("a", 0, "", false),
        ("a", 0, "1235", false),
        ("a", 0, "1234", true),
        ("b", CHAIR, "1234", false),
        ("b", CHAIR, "9876", true),
        ("d", LISTENER, "9876", true),
    ] {
        let asked = add(&mut world, who, role, password);
        assert_eq!(world.replies[&asked].is_ok(), opens, "{who} {role} {password}");
        if !opens {
            let refusal = world.refusal(asked);
            assert_eq!((refusal.code, refusal.field.as_str()), (Code::PermissionDenied, "password"));
        }
    }
    let info = world.state.conferences["c"].participant_info("b").expect("b is there");
    assert_eq!(info.role(), wire::ParticipantRole::Chair);
}

#[test]
fn guessing_is_slow() {
    let mut world = guarded();
    for guess in 0..10 {
        let asked = add(&mut world, "a", 0, &format!("{guess}"));
        assert_eq!(world.refusal(asked).code, Code::PermissionDenied);
    }
    let right = add(&mut world, "a", 0, "1234");
    assert_eq!(world.refusal(right).code, Code::ResourceExhausted, "not even the right one, for a minute");
    assert_eq!(world.emitted(Kind::PasswordsRefused), 1);
    world.pass(60_000);
    world.announce("n1", "b1");
    world.settle();
    world.pass(100);
    world.settle();
    let right = add(&mut world, "a", 0, "1234");
    assert!(!matches!(&world.replies[&right], Err(refusal) if refusal.field == "password"));
}

#[test]
fn passwords_are_seen_nowhere() {
    let mut world = guarded();
    add(&mut world, "a", 0, "1234");
    let set = wire::SetPasswordRequest {
        conference: "700".into(),
        password: secret("geheim"),
        ..Default::default()
    };
    world.request(Request::SetPassword(set.clone()));
    world.settle();
    let shown = format!("{:?} {:?} {:?} {:?}", world.state, world.events, world.replies, set);
    let stored = serde_json::to_string(&world.stored).expect("plain data");
    let metadata = String::from_utf8(world.nodes["n1"]["c"].2.clone()).expect("text");
    for text in ["1234", "9876", "geheim"] {
        assert!(
            !shown.contains(&format!("\"{text}\"")) && !stored.contains(text) && !metadata.contains(text)
        );
    }
    let kept = &world.stored["c"].access;
    let hashes = serde_json::to_value(kept).expect("plain data");
    let hash = hashes["password"]["hash"].as_str().expect("a hash").to_owned();
    assert!(stored.contains(&hash), "the store has it");
    assert!(!shown.contains(&hash) && !metadata.contains(&hash), "{metadata}");
    // A process that finds nothing in the store lets nobody in by chance.
    world.state = State::new(world.state.options.clone());
    world.pending.clear();
    world.event(Event::StoreLoaded(vec![]));
    world.announce("n1", "b1");
    world.settle();
    let lost = add(&mut world, "z", 0, "geheim");
    assert!(world.refusal(lost).message.contains("lost with the store"), "{}", world.refusal(lost));
    world.request(Request::SetPassword(set));
    world.settle();
    let found = add(&mut world, "z", 0, "geheim");
    assert!(world.replies[&found].is_ok());
}

#[test]
fn chairs_command_and_others_do_not() {
    let mut world = guarded();
    add(&mut world, "chair", CHAIR, "9876");
    add(&mut world, "alice", 0, "1234");
    let lock = |by: &str, locked| {
        let (conference, by) = ("700".into(), by.into());
        Request::SetLock(wire::SetLockRequest { conference, locked, by, ..Default::default() })
    };
    for by in ["alice", "nobody"] {
        let asked = world.request(lock(by, true));
        assert_eq!(
            (world.refusal(asked).code, world.refusal(asked).field.as_str()),
            (Code::PermissionDenied, "by")
        );
    }
    world.request(lock("chair", true));
    world.settle();
    let out = add(&mut world, "bob", 0, "1234");
    assert!(world.refusal(out).message.contains("is locked"));
    let again = add(&mut world, "alice", 0, "1234");
    assert!(world.replies[&again].is_ok(), "who is in stays in");
    let chair = add(&mut world, "chair2", CHAIR, "9876");
    assert!(world.replies[&chair].is_ok());
    world.request(lock("", false));
    world.settle();
    let r#in = add(&mut world, "bob", 0, "1234");
    assert!(world.replies[&r#in].is_ok());
    let leave = |participant: &str, by: &str| {
        let (conference, participant, by) = ("700".into(), participant.into(), by.into());
        Request::Remove(wire::RemoveParticipantRequest { conference, participant, by, ..Default::default() })
    };
    let other = world.request(leave("bob", "alice"));
    assert_eq!(world.refusal(other).code, Code::PermissionDenied);
    let own = world.request(leave("alice", "alice"));
    world.settle();
    assert!(world.replies[&own].is_ok());
    let end = wire::EndRequest { conference: "700".into(), by: "chair".into(), ..Default::default() };
    world.request(Request::End(end));
    world.settle();
    assert_eq!(world.phase("c"), Phase::Ended);
}

#[test]
fn roles_say_who_is_heard() {
    let mut world = guarded();
    add(&mut world, "quiet", LISTENER, "1234");
    add(&mut world, "tv", VIEWER, "1234");
    let record = |world: &World| world.state.conferences["c"].record.clone();
    let known = record(&world).participants;
    assert!(known["quiet"].audio.muted && known["tv"].audio.muted);
    assert_eq!(known["tv"].media[0].direction, motet_proto::media::Direction::ReceiveOnly as i32);
    let unmute = wire::SetParticipantAudioRequest {
        conference: "700".into(),
        participant: "quiet".into(),
        muted: Some(false),
        ..Default::default()
    };
    let asked = world.request(Request::SetParticipantAudio(unmute.clone()));
    assert_eq!(world.refusal(asked).field, "muted");
    let role = |participant: &str, role| {
        let (conference, participant) = ("700".into(), participant.into());
        Request::SetRole(wire::SetRoleRequest { conference, participant, role, ..Default::default() })
    };
    world.request(role("quiet", CHAIR));
    world.settle();
    assert!(!record(&world).participants["quiet"].audio.muted);
    assert_eq!(world.emitted(Kind::RoleChanged), 1);
    let tv = world.request(role("tv", 0));
    assert_eq!(world.refusal(tv).field, "role");
}

#[test]
fn a_request_that_comes_again_is_answered_once() {
    let mut world = guarded();
    let rename = |name: &str, request_id: &str| {
        let (name, request_id) = (name.into(), request_id.into());
        Request::Rename(wire::RenameRequest {
            conference: "700".into(),
            name,
            request_id,
            ..Default::default()
        })
    };
    let (one, two) = (world.request(rename("weekly", "q")), world.request(rename("weekly", "q")));
    assert!(!world.replies.contains_key(&two), "it waits for the first");
    world.settle();
    assert_eq!(world.replies[&one], world.replies[&two]);
    assert_eq!(world.emitted(Kind::Renamed), 1);
    let version = world.stored["c"].version;
    world.request(rename("daily", ""));
    world.settle();
    let late = world.request(rename("weekly", "q"));
    assert_eq!(world.replies[&late], world.replies[&one], "as answered then");
    assert_eq!(world.state.conferences["c"].record.name, "daily", "and not done again");
    assert!(world.stored["c"].version > version);
    let lock =
        wire::SetLockRequest { conference: "700".into(), request_id: "q".into(), ..Default::default() };
    let other = world.request(Request::SetLock(lock));
    assert_eq!(world.refusal(other).field, "request_id");
    world.pass(600_001);
    world.announce("n1", "b1");
    world.settle();
    world.request(rename("weekly", "q"));
    world.settle();
    assert_eq!(world.state.conferences["c"].record.name, "weekly", "after ten minutes it is a new one");
}

#[test]
fn a_refused_request_may_be_tried_again_with_its_id() {
    let mut world = guarded();
    let rename = Request::Rename(wire::RenameRequest {
        conference: "700".into(),
        name: "weekly".into(),
        request_id: "q".into(),
        ..Default::default()
    });
    let (first, second) = (world.request(rename.clone()), world.request(rename.clone()));
    world.answer(false);
    assert_eq!(world.refusal(first).code, Code::Unavailable);
    assert_eq!(world.replies[&first], world.replies[&second]);
    world.pass(1_100);
    world.settle();
    let third = world.request(rename);
    world.settle();
    assert!(world.replies[&third].is_ok(), "{:?}", world.replies[&third]);
}

#[test]
fn codecs_that_a_domain_may_not_use_are_refused_at_the_join() {
    let mut world = world();
    let create = wire::CreateRequest { number: "700".into(), ..ask("plain") };
    world.state.domains = {
        let known: Vec<Domain> = world.state.domains.iter().cloned().collect();
        Domains::new(known.into_iter().map(|d| Domain { numbers: vec![], ..d }).collect())
    };
    world.request(Request::Create { id: "c".into(), seed: 7, create });
    world.settle();
    for (name, fmtp, why) in [
        ("H265", "", "h265"),
        ("h264", "packetization-mode=1; profile-level-id=42E028", "full-hd"),
        ("H264", "profile-level-id=42e01f", ""),
    ] {
        let codec = motet_proto::media::Codec {
            payload_type: 96,
            name: name.into(),
            clock_rate_hz: 90_000,
            channels: 0,
            fmtp: fmtp.into(),
        };
        let video = wire::ParticipantMedium {
            kind: MediaKind::Video.into(),
            codecs: vec![codec],
            ..Default::default()
        };
        let add = wire::AddParticipantRequest {
            conference: "700".into(),
            participant: "alice".into(),
            media: vec![video],
            ..Default::default()
        };
        let asked = world.request(Request::Add { id: "x".into(), add });
        world.settle();
        match (&world.replies[&asked], why) {
            (Ok(_), "") => {}
            (Err(refusal), why) => {
                assert_eq!(
                    (refusal.code, refusal.field.as_str()),
                    (Code::PermissionDenied, "media[0].codecs[0]")
                );
                assert!(!why.is_empty() && refusal.message.contains(why), "{refusal}");
            }
            (Ok(_), why) => panic!("{name} {fmtp} should be refused: {why}"),
        }
    }
}
