//! What commands are refused, and that a refused one names its field.

use motet_relay::testing::{Script, participant};
use motet_relay::{
    Command, CommandError, Kind, Latch, LegId, Numbering, Outbox, PayloadType, RouteId, RouteSpec, StreamId,
    StreamSpec,
};

/// Legs 0 and 1, video stream 0 of leg 0, route 1 to leg 1.
fn scene() -> Script {
    let mut script = Script::default();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Strict);
    script.stream(0, 0, Kind::Video);
    script.route(1, 0, 1);
    script
}

fn stream(leg: u32, ssrc: Option<u32>, number: u8, clock_hz: u32) -> StreamSpec {
    let payload_types = vec![PayloadType { number, clock_hz }];
    StreamSpec { leg: LegId(leg), transport: 0, kind: Kind::Audio, ssrc, payload_types }
}

fn route(ssrc: u32, payload_map: Vec<(u8, u8)>) -> RouteSpec {
    RouteSpec {
        stream: StreamId(0),
        leg: LegId(1),
        transport: 0,
        ssrc,
        payload_map,
        numbering: Numbering::Begin { sequence: 0, timestamp: 0 },
        active: true,
        shared: false,
    }
}

fn answer(script: &mut Script, command: Command) -> Result<(), CommandError> {
    script.relay.handle_command(script.now, command, &mut Outbox::new())
}

#[test]
fn a_clock_is_1_to_999_999_999_hz() {
    let mut script = scene();
    for clock_hz in [0, 1_000_000_000, u32::MAX] {
        let refused = answer(&mut script, Command::AddStream(StreamId(7), stream(0, None, 8, clock_hz)));
        assert!(matches!(refused, Err(CommandError::OutOfRange { field: "clock_hz", .. })), "{refused:?}");
    }
    for (number, clock_hz) in [(9, 1), (10, 999_999_999)] {
        let id = StreamId(u32::from(number));
        assert_eq!(answer(&mut script, Command::AddStream(id, stream(0, None, number, clock_hz))), Ok(()));
        // Not only taken: such a clock can be counted in.
        let packet = motet_rtp::RtpBuilder::new(u32::from(number)).payload_type(number).to_vec();
        script.packet(0, participant(0), &packet);
    }
}

#[test]
fn a_route_does_not_speak_as_something_else_in_its_leg() {
    let mut script = scene();
    answer(&mut script, Command::AddStream(StreamId(7), stream(1, Some(4242), 8, 8_000)))
        .expect("a new SSRC");
    for (ssrc, what) in [(0xf000_0001, "our reports"), (4242, "a stream of the leg"), (0xa001, "a route")] {
        let refused = answer(&mut script, Command::AddRoute(RouteId(2), route(ssrc, vec![])));
        assert_eq!(refused, Err(CommandError::DuplicateSsrc(ssrc)), "{what}");
    }
    let refused = answer(&mut script, Command::AddStream(StreamId(8), stream(1, Some(0xa001), 9, 8_000)));
    assert_eq!(refused, Err(CommandError::DuplicateSsrc(0xa001)), "the other way round");
    assert_eq!(answer(&mut script, Command::AddRoute(RouteId(2), route(4243, vec![]))), Ok(()));
}

#[test]
fn nothing_is_sent_under_a_payload_type_that_looks_like_rtcp() {
    let mut script = scene();
    for to in [64, 72, 95, 128] {
        let map = vec![(96, to)];
        let refused = answer(&mut script, Command::AddRoute(RouteId(2), route(1, map.clone())));
        assert!(matches!(refused, Err(CommandError::OutOfRange { field: "payload_map", .. })), "{to}");
        let switch = Command::SwitchRoute { route: RouteId(1), stream: StreamId(0), payload_map: map };
        assert!(answer(&mut script, switch).is_err(), "{to}");
    }
    assert_eq!(answer(&mut script, Command::AddRoute(RouteId(2), route(1, vec![(96, 63)]))), Ok(()));
}
