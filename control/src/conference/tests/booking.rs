//! Reservations, templates and virtual rooms, and conferences that end by themselves.

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn world() -> World {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.settle();
    world
}

/// Time passes; nodes go on announcing themselves, and everything is answered.
fn live(world: &mut World, ms: i64) {
    let end = world.now.unix_ms + ms;
    while world.now.unix_ms < end {
        let step = (end - world.now.unix_ms).min(900) as u64;
        world.now.steady_ms += step;
        world.now.unix_ms += step as i64;
        for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
            world.announce(&node, "b1");
        }
        world.event(Event::Tick);
        world.settle();
    }
}

/// Another process reads what the first one wrote, so much later.
fn restart(world: &mut World, away_ms: i64) {
    world.state = State::new(world.state.options.clone());
    world.pending.clear();
    world.now.steady_ms += away_ms as u64;
    world.now.unix_ms += away_ms;
    world.event(Event::StoreLoaded(world.stored.values().cloned().collect()));
    for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
        world.announce(&node, "b1");
    }
    world.settle();
}

fn create(world: &mut World, id: &str, create: wire::CreateRequest) -> u64 {
    let request = world.request(Request::Create { id: id.into(), seed: 7, create });
    world.settle();
    request
}

fn reserve(world: &World, rule: &str) -> wire::CreateRequest {
    wire::CreateRequest {
        number: "800".into(),
        r#type: wire::ConferenceType::Reserve.into(),
        start_unix_ms: world.now.unix_ms + HOUR,
        duration_ms: (30 * MINUTE) as u64,
        recurrence: (!rule.is_empty())
            .then(|| wire::Recurrence { rule: rule.into(), time_zone: String::new() }),
        ..Default::default()
    }
}

fn info(world: &World, request: u64) -> wire::ConferenceInfo {
    match world.replies[&request].as_ref().expect("an answer") {
        Response::Conference(info) => (**info).clone(),
        other => panic!("another answer: {other:?}"),
    }
}

/// Conferences of a booking that ever were, with their phases.
fn made(world: &World, booking: &str) -> Vec<(String, Phase)> {
    let of = |c: &&Conference| c.record.schedule.booking == booking;
    world.state.conferences.values().filter(of).map(|c| (c.record.id.clone(), c.record.phase)).collect()
}

fn messages(world: &World, kind: Kind) -> Vec<&str> {
    world.events.iter().filter(|(known, _)| *known == kind).map(|(_, message)| message.as_str()).collect()
}

#[test]
fn a_reservation_takes_place_each_time_and_ends() {
    let mut world = world();
    let asked = reserve(&world, "FREQ=DAILY;COUNT=3");
    let start = asked.start_unix_ms;
    let booked = create(&mut world, "r", asked);
    let booked = info(&world, booked);
    assert_eq!((booked.state(), booked.start_unix_ms), (wire::ConferenceState::Booked, start));
    let early = world.join("800", "alice");
    assert_eq!(world.refusal(early).code, Code::FailedPrecondition, "it has not begun");
    for day in 0..3 {
        let begins = start + day * 24 * HOUR;
        let left = begins - world.now.unix_ms - 1;
        live(&mut world, left);
        assert_eq!(world.state.conference_count("r"), 0, "not before its time");
        live(&mut world, 2);
        let id = format!("r.{}", begins / 1000);
        assert_eq!(world.phase(&id), Phase::Running, "day {day}");
        let record = &world.state.conferences[&id].record;
        assert_eq!((record.number.as_str(), record.schedule.ends_unix_ms), ("800", begins + 30 * MINUTE));
        let joined = world.join("800", "alice");
        world.settle();
        assert!(world.replies[&joined].is_ok(), "the number leads to what runs");
        live(&mut world, 21 * MINUTE);
        assert_eq!(messages(&world, Kind::EndsSoon).len() as i64, day + 1, "told once each");
        live(&mut world, 9 * MINUTE);
        assert_eq!(world.phase(&id), Phase::Ended);
    }
    live(&mut world, MINUTE);
    assert_eq!(world.phase("r"), Phase::Ended);
    assert_eq!(world.state.conferences["r"].record.schedule.made, 3);
    let again = world.create("c", "800");
    world.settle();
    assert!(world.replies[&again].is_ok(), "the number is free again");
}

#[test]
fn a_reserved_conference_is_opened_early_by_who_joins() {
    let mut world = world();
    world.state.options.early_ms = (10 * MINUTE) as u64;
    let asked = reserve(&world, "FREQ=DAILY;COUNT=2");
    let start = asked.start_unix_ms;
    create(&mut world, "r", asked);
    live(&mut world, HOUR - 11 * MINUTE);
    let early = world.join("800", "alice");
    assert_eq!(world.refusal(early).code, Code::FailedPrecondition, "too early");
    live(&mut world, 6 * MINUTE);
    let joined = world.join("800", "alice");
    world.settle();
    assert!(world.replies[&joined].is_ok(), "{:?}", world.replies[&joined]);
    let id = format!("r.{}", start / 1000);
    assert_eq!(made(&world, "r"), [(id.clone(), Phase::Running)]);
    let bob = world.join("800", "bob");
    world.settle();
    assert!(world.replies[&bob].is_ok());
    // Its time comes: it goes on, ends when it was to end, and the next one is due.
    live(&mut world, 10 * MINUTE);
    assert_eq!(made(&world, "r"), [(id.clone(), Phase::Running)]);
    let record = &world.state.conferences[&id].record;
    assert_eq!((record.participants.len(), record.schedule.ends_unix_ms), (2, start + 30 * MINUTE));
    live(&mut world, 26 * MINUTE);
    assert_eq!(world.phase(&id), Phase::Ended);
    let schedule = &world.state.conferences["r"].record.schedule;
    assert_eq!((schedule.made, schedule.missed, schedule.starts_unix_ms), (1, 0, start + 24 * HOUR));
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let mut world = world();
    let asked = reserve(&world, "FREQ=DAILY;COUNT=5");
    let start = asked.start_unix_ms;
    create(&mut world, "r", asked);
    // Away at the start, back a minute later.
    live(&mut world, HOUR - 1_000);
    restart(&mut world, MINUTE);
    live(&mut world, 1_000);
    assert_eq!(world.state.conference_count("r"), 1);
    assert_eq!(messages(&world, Kind::Late).len(), 1, "{:?}", messages(&world, Kind::Late));
    // Again, while it runs: it goes on, and does not begin again.
    restart(&mut world, MINUTE);
    live(&mut world, MINUTE);
    assert_eq!(made(&world, "r"), [(format!("r.{}", start / 1000), Phase::Running)]);
    // Away over its end, and over all of the next two days.
    restart(&mut world, 3 * 24 * HOUR - HOUR);
    live(&mut world, 2_000);
    assert_eq!(world.state.conference_count("r"), 0);
    assert_eq!(messages(&world, Kind::Missed).len(), 2, "{:?}", messages(&world, Kind::Missed));
    let schedule = &world.state.conferences["r"].record.schedule;
    assert_eq!((schedule.made, schedule.missed), (1, 2));
    assert_eq!(schedule.starts_unix_ms, start + 3 * 24 * HOUR);
}

#[test]
fn a_crash_at_any_write_makes_one_conference() {
    for crash_after in 0..6 {
        let mut world = world();
        let asked = reserve(&world, "");
        let start = asked.start_unix_ms;
        create(&mut world, "r", asked);
        live(&mut world, HOUR - 500);
        world.pass(500);
        for _ in 0..crash_after {
            world.answer(true);
        }
        restart(&mut world, 100);
        live(&mut world, 3_000);
        assert_eq!(made(&world, "r"), [(format!("r.{}", start / 1000), Phase::Running)], "{crash_after}");
        assert_eq!(world.nodes["n1"].len(), 1, "{crash_after}");
        assert_eq!(world.state.conferences["r"].record.schedule.made, 1, "{crash_after}");
    }
}

#[test]
fn a_clock_that_jumps_begins_and_ends_nothing_twice() {
    for jump in [HOUR, -HOUR] {
        let mut world = world();
        let asked = reserve(&world, "FREQ=DAILY;COUNT=2");
        create(&mut world, "r", asked);
        live(&mut world, HOUR + MINUTE);
        assert_eq!(world.state.conference_count("r"), 1);
        // For less than a minute nothing is believed.
        world.now.unix_ms += jump;
        live(&mut world, 30_000);
        assert_eq!(world.state.conference_count("r"), 1);
        world.now.unix_ms -= jump;
        live(&mut world, 5 * MINUTE);
        assert_eq!(world.state.conference_count("r"), 1, "{jump}");
        // When it lasts, what is over ends, once, and what has begun does not begin again.
        world.now.unix_ms += jump;
        live(&mut world, 2 * MINUTE);
        world.now.unix_ms -= jump;
        live(&mut world, 3 * HOUR);
        assert_eq!(world.state.conference_count("r"), 0, "{jump}");
        let schedule = &world.state.conferences["r"].record.schedule;
        assert_eq!((schedule.made, schedule.missed), (1, 0), "{jump}");
        assert_eq!(world.emitted(Kind::Ended), 1, "{jump}");
    }
}

#[test]
fn what_finds_no_node_is_tried_until_its_end() {
    let mut world = World::new();
    world.event(Event::Tick);
    let asked = reserve(&world, "");
    create(&mut world, "r", asked.clone());
    live(&mut world, HOUR + 10 * MINUTE);
    let late = messages(&world, Kind::Late);
    assert!(late.len() == 1 && late[0].contains("no node has announced itself"), "{late:?}");
    world.announce("n1", "b1");
    world.settle();
    live(&mut world, 2_000);
    assert_eq!(world.state.conference_count("r"), 1, "ten minutes late");
    let mut world = World::new();
    create(&mut world, "r", asked);
    live(&mut world, HOUR + 31 * MINUTE);
    let missed = messages(&world, Kind::Missed);
    assert!(missed.len() == 1 && missed[0].contains("no node has announced itself"), "{missed:?}");
    assert_eq!(world.phase("r"), Phase::Ended, "nothing comes of it any more");
}

#[test]
fn a_node_that_refuses_is_not_the_end_of_a_reservation() {
    let mut world = world();
    let asked = reserve(&world, "");
    create(&mut world, "r", asked);
    live(&mut world, HOUR - 100);
    world.pass(100);
    world.answer(true);
    world.answer(false);
    world.settle();
    assert_eq!(world.state.conference_count("r"), 0, "the only node did not take it");
    live(&mut world, 3_000);
    assert_eq!(world.state.conference_count("r"), 1);
    let running = world.state.conferences.values().find(|c| c.record.schedule.booking == "r");
    assert!(running.is_some_and(|c| c.record.epoch > 1), "above what failed");
}

#[test]
fn a_cancelled_reservation_keeps_its_number_while_one_runs() {
    let mut world = world();
    let asked = reserve(&world, "FREQ=DAILY;COUNT=3");
    create(&mut world, "r", asked);
    live(&mut world, HOUR + MINUTE);
    let end = wire::EndRequest { conference: "r".into(), ..Default::default() };
    let cancelled = world.request(Request::End(end));
    world.settle();
    assert_eq!(info(&world, cancelled).state(), wire::ConferenceState::Booked);
    assert_eq!(world.state.conference_count("r"), 1, "who is there stays");
    let other = world.create("c", "800");
    world.settle();
    assert_eq!(world.refusal(other).code, Code::AlreadyExists);
    live(&mut world, 48 * HOUR);
    assert_eq!(world.phase_of("r"), None, "it ended with its conference, and was forgotten");
    assert_eq!(world.emitted(Kind::Missed), 0);
}

#[test]
fn a_room_opens_with_the_first_and_closes_after_the_last() {
    let mut world = world();
    let asked = wire::CreateRequest {
        number: "900".into(),
        r#type: wire::ConferenceType::Virtual.into(),
        empty_ms: 5_000,
        ..Default::default()
    };
    create(&mut world, "v", asked);
    for round in 1..4 {
        assert_eq!(world.state.conference_count("v"), 0);
        let (alice, bob) = (world.join("900", "alice"), world.join("v", "bob"));
        world.settle();
        assert!(world.replies[&alice].is_ok() && world.replies[&bob].is_ok());
        assert_eq!(world.phase(&format!("v.{round}")), Phase::Running, "one conference for both");
        live(&mut world, 20_000);
        for participant in ["alice", "bob"] {
            let (conference, participant) = ("900".to_owned(), participant.to_owned());
            let remove = wire::RemoveParticipantRequest { conference, participant, ..Default::default() };
            world.request(Request::Remove(remove));
            world.settle();
        }
        live(&mut world, 4_000);
        assert_eq!(world.state.conference_count("v"), 1, "somebody may come back");
        live(&mut world, 2_000);
        assert_eq!(world.phase(&format!("v.{round}")), Phase::Ended);
        if round == 2 {
            restart(&mut world, 1_000);
        }
    }
    assert_eq!(world.state.conferences["v"].record.schedule.made, 3);
}

#[test]
fn a_room_stays_closed_when_nobody_may_enter() {
    let mut world = world();
    let asked = wire::CreateRequest {
        number: "900".into(),
        r#type: wire::ConferenceType::Virtual.into(),
        password: Some(wire::Secret { text: "1234".into() }),
        ..Default::default()
    };
    create(&mut world, "v", asked);
    let wrong = world.join("900", "alice");
    world.settle();
    assert_eq!(
        (world.refusal(wrong).code, world.refusal(wrong).field.as_str()),
        (Code::PermissionDenied, "password")
    );
    assert_eq!(made(&world, "v"), []);
    for (number, _) in [("900", 1), ("v", 1)] {
        let end = wire::RemoveParticipantRequest { conference: number.into(), ..Default::default() };
        let remove = world.request(Request::Remove(end));
        assert_eq!(world.refusal(remove).code, Code::FailedPrecondition);
    }
}

#[test]
fn a_conference_is_made_from_a_template() {
    let mut world = world();
    let template = wire::CreateRequest {
        name: "board".into(),
        r#type: wire::ConferenceType::Templet.into(),
        expected_participants: 20,
        duration_ms: HOUR as u64,
        password: Some(wire::Secret { text: "1234".into() }),
        ..Default::default()
    };
    create(&mut world, "t", template);
    let from = wire::CreateRequest { template: "board".into(), number: "801".into(), ..Default::default() };
    let made = create(&mut world, "c", from);
    let made = info(&world, made);
    assert_eq!((made.name.as_str(), made.expected_participants, made.has_password), ("board", 20, true));
    assert_eq!(made.end_unix_ms, world.now.unix_ms + HOUR);
    let join = world.join("801", "alice");
    assert_eq!(world.refusal(join).field, "password");
    let none = wire::CreateRequest { template: "nothing".into(), ..Default::default() };
    let none = create(&mut world, "d", none);
    assert_eq!((world.refusal(none).code, world.refusal(none).field.as_str()), (Code::NotFound, "template"));
}

#[test]
fn a_conference_ends_while_its_node_is_away() {
    let mut world = world();
    let asked = wire::CreateRequest { number: "700".into(), duration_ms: 30_000, ..Default::default() };
    create(&mut world, "c", asked);
    // Nothing is heard of the node from now on.
    for _ in 0..35 {
        world.pass(1_000);
        let (store, node) = std::mem::take(&mut world.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|effect| matches!(effect, Effect::StorePut { .. }));
        world.pending = store;
        world.settle();
        world.pending = node;
    }
    assert_eq!(world.phase("c"), Phase::Ended);
    assert!(world.state.conferences["c"].record.reason.contains("its time was over"));
}

#[test]
fn two_who_extend_add_up_and_who_knows_another_end_is_told() {
    let mut world = world();
    let asked = wire::CreateRequest { number: "700".into(), duration_ms: HOUR as u64, ..Default::default() };
    create(&mut world, "c", asked);
    let ends = world.state.conferences["c"].record.schedule.ends_unix_ms;
    let extend = |to, known_end_unix_ms, request_id: &str| {
        Request::Extend(wire::ExtendRequest {
            conference: "700".into(),
            to: Some(to),
            known_end_unix_ms,
            request_id: request_id.into(),
            ..Default::default()
        })
    };
    use wire::extend_request::To::{ByMs, EndUnixMs};
    let (one, two) =
        (world.request(extend(ByMs(HOUR), None, "a")), world.request(extend(ByMs(-10_000), None, "b")));
    let repeated = world.request(extend(ByMs(HOUR), None, "a"));
    world.settle();
    assert_eq!(info(&world, two).end_unix_ms, ends + HOUR - 10_000, "both count");
    assert_eq!(world.replies[&one], world.replies[&repeated], "the same call counts once");
    restart(&mut world, 1_000);
    let after = world.request(extend(ByMs(HOUR), None, "a"));
    world.settle();
    assert_eq!(info(&world, after).end_unix_ms, ends + HOUR - 10_000, "also after a restart");
    let late = world.request(extend(EndUnixMs(ends), Some(ends), "c"));
    assert_eq!(world.refusal(late).code, Code::Aborted);
    assert_eq!(world.refusal(late).field, "known_end_unix_ms");
    for (to, field) in [(ByMs(0), "by_ms"), (ByMs(-3 * HOUR), "by_ms"), (EndUnixMs(1), "end_unix_ms")] {
        let refused = world.request(extend(to, None, ""));
        assert_eq!(world.refusal(refused).field, field);
    }
    let forever = world.request(extend(EndUnixMs(0), None, ""));
    world.settle();
    assert_eq!(info(&world, forever).end_unix_ms, 0);
    live(&mut world, 3 * HOUR);
    assert_eq!(world.phase("c"), Phase::Running);
}

#[test]
fn a_reserved_conference_does_not_run_into_the_next() {
    let mut world = world();
    let asked = reserve(&world, "FREQ=DAILY;COUNT=2");
    let start = asked.start_unix_ms;
    create(&mut world, "r", asked);
    live(&mut world, HOUR + MINUTE);
    let extend = |conference: &str, by_ms| {
        let to = Some(wire::extend_request::To::ByMs(by_ms));
        Request::Extend(wire::ExtendRequest { conference: conference.into(), to, ..Default::default() })
    };
    let far = world.request(extend("800", 25 * HOUR));
    assert!(world.refusal(far).message.contains("the next conference"), "{}", world.refusal(far));
    let all = world.request(extend("r", 25 * HOUR));
    assert!(world.refusal(all).message.contains("the next one begins"), "{}", world.refusal(all));
    let longer = world.request(extend("r", HOUR));
    world.settle();
    let longer = info(&world, longer);
    assert_eq!(longer.end_unix_ms, start + 24 * HOUR + 90 * MINUTE);
    assert_eq!(longer.booked.expect("a booking").duration_ms as i64, 90 * MINUTE);
}

impl State {
    /// Living conferences of a booking.
    fn conference_count(&self, booking: &str) -> usize {
        let of = |c: &&Conference| c.record.schedule.booking == booking && c.record.phase == Phase::Running;
        self.conferences.values().filter(of).count()
    }
}

impl World {
    fn phase_of(&self, id: &str) -> Option<Phase> {
        self.state.conferences.get(id).map(|c| c.record.phase)
    }
}
