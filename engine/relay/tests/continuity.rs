//! A conference goes on in another relay: what receivers see of it, judged as RFC 3550 judges sources.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Kind, Latch, LegId, Numbering, PayloadType, Relay, RelayConfig, RouteId, RouteSpec, StreamId,
    StreamSpec,
};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::time::Duration;

const FRAME: Duration = Duration::from_millis(20);
const TICKS: u32 = 960;
const SHIFT: Numbering = Numbering::Shift { sequence: 40_000, timestamp: 0xdead_beef };

/// Leg 0 sends sound to leg 1.
fn relay(shared: bool) -> Script {
    let mut script = Script::default();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Strict);
    let payload_types = vec![PayloadType { number: 111, clock_hz: 48_000 }];
    let spec = StreamSpec { leg: LegId(0), transport: 0, kind: Kind::Audio, ssrc: None, payload_types };
    script.command(Command::AddStream(StreamId(0), spec));
    let spec = RouteSpec {
        stream: StreamId(0),
        leg: LegId(1),
        transport: 0,
        ssrc: 77,
        payload_map: vec![(111, 111)],
        numbering: SHIFT,
        active: true,
        shared,
    };
    script.command(Command::AddRoute(RouteId(0), spec));
    script
}

/// A publisher with a clock that never stops.
#[derive(Clone, Copy)]
struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Source {
    fn packet(&mut self) -> Vec<u8> {
        let packet = RtpBuilder::new(self.ssrc).payload_type(111).sequence(WireSeq(self.sequence));
        let bytes = packet.timestamp(WireTimestamp(self.timestamp)).payload(&[7; 20]).to_vec();
        (self.sequence, self.timestamp) = (self.sequence.wrapping_add(1), self.timestamp.wrapping_add(TICKS));
        bytes
    }
}

/// Sends a packet, and lets its time pass; gives SSRC, number and timestamp that the receiver gets.
fn send(script: &mut Script, source: &mut Source) -> Option<(u32, u16, u32)> {
    let sent = script.packet(0, participant(0), &source.packet());
    script.pass(FRAME);
    let is_rtp = |sent: &&Sent| !(192..=223).contains(&sent.bytes[1]);
    sent.iter().find(is_rtp).map(|sent| {
        let view = RtpView::new(&sent.bytes).expect("well-formed RTP");
        (view.ssrc(), view.sequence().0, view.timestamp().0)
    })
}

fn shifted(source: Source) -> (u32, u16, u32) {
    (77, source.sequence.wrapping_add(40_000), source.timestamp.wrapping_add(0xdead_beef))
}

/// RFC 3550 appendix A.1, `update_seq`, after its probation.
struct Receiver {
    max: u16,
    bad: Option<u16>,
}

impl Receiver {
    const MAX_DROPOUT: u16 = 3_000;
    const MAX_MISORDER: u16 = 100;

    fn new(first: u16) -> Receiver {
        Receiver { max: first, bad: None }
    }

    /// Whether the packet is taken.
    fn takes(&mut self, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(self.max);
        if ahead < Receiver::MAX_DROPOUT {
            self.max = sequence;
        } else if ahead <= Receiver::MAX_MISORDER.wrapping_neg() {
            if self.bad != Some(sequence) {
                self.bad = Some(sequence.wrapping_add(1));
                return false;
            }
            // Two in sequence: the other side began again.
            *self = Receiver::new(sequence);
        }
        true
    }
}

proptest! {
    /// Whatever numbers the source has and however many packets nobody carried, the next relay sends the same
    /// SSRC and the source's own steps.
    #[test]
    fn another_relay_sends_the_very_next_numbers(
        sequence: u16,
        timestamp: u32,
        before in 1..200_u32,
        lost in 0..500_u16,
        shared: bool,
    ) {
        let mut source = Source { ssrc: 5, sequence, timestamp };
        let mut first = relay(shared);
        let mut receiver = None;
        for _ in 0..before {
            let expected = shifted(source);
            prop_assert_eq!(send(&mut first, &mut source), Some(expected));
            let receiver = receiver.get_or_insert_with(|| Receiver::new(expected.1));
            prop_assert!(receiver.takes(expected.1));
        }
        drop(first);
        (0..lost).for_each(|_| drop(source.packet()));
        let mut second = relay(!shared);
        for _ in 0..50 {
            let expected = shifted(source);
            prop_assert_eq!(send(&mut second, &mut source), Some(expected));
            prop_assert!(receiver.as_mut().expect("there were packets").takes(expected.1));
        }
    }

    /// What a pause left out is a gap in the numbers when another relay goes on, and none in the time.
    #[test]
    fn after_a_pause_times_go_on_exactly_and_numbers_never_go_back(
        sequence: u16,
        timestamp: u32,
        paused in 1..2_500_u16,
    ) {
        let mut source = Source { ssrc: 5, sequence, timestamp };
        let mut first = relay(true);
        for _ in 0..10 {
            send(&mut first, &mut source);
        }
        first.command(Command::SetRouteActive(RouteId(0), false));
        for _ in 0..paused {
            prop_assert_eq!(send(&mut first, &mut source), None);
        }
        first.command(Command::SetRouteActive(RouteId(0), true));
        let (mut receiver, mut last) = (None, 0);
        for _ in 0..10 {
            let (_, number, at) = shifted(source);
            let got = send(&mut first, &mut source).expect("it is forwarded again");
            prop_assert_eq!(got, (77, number.wrapping_sub(paused), at), "no gap in the numbers");
            prop_assert!(receiver.get_or_insert_with(|| Receiver::new(got.1)).takes(got.1));
            last = got.1;
        }
        drop(first);
        let mut second = relay(true);
        for n in 0..10 {
            let expected = shifted(source);
            prop_assert_eq!(send(&mut second, &mut source), Some(expected));
            prop_assert!(receiver.as_mut().expect("there were packets").takes(expected.1));
            if n == 0 {
                prop_assert_eq!(expected.1.wrapping_sub(last), paused + 1);
            }
        }
    }

    /// A source that began anew while the first relay carried it is another one to the second: its receiver
    /// does without one packet at most, unless its numbers happen to lie just behind.
    #[test]
    fn after_a_restart_of_the_source_a_receiver_takes_all_but_one(
        sequence in 0..10_000_u16,
        again in 20_000..60_000_u16,
    ) {
        let mut source = Source { ssrc: 5, sequence, timestamp: 7 };
        let mut first = relay(true);
        let mut receiver = Receiver::new(shifted(source).1);
        for n in 0..200 {
            if n == 100 {
                source = Source { ssrc: 6, sequence: again, timestamp: 70_000 };
            }
            if let Some((_, number, _)) = send(&mut first, &mut source) {
                prop_assert!(receiver.takes(number), "one relay hides it");
            }
        }
        let mut second = relay(true);
        let taken = (0..20).filter(|_| {
            let (ssrc, number, _) = send(&mut second, &mut source).expect("it is forwarded");
            assert_eq!(ssrc, 77);
            receiver.takes(number)
        });
        prop_assert!(taken.count() >= 19);
    }
}

#[test]
fn nothing_was_sent_so_nothing_has_to_go_on() {
    // The first source never got through to the receiver, which has no address yet.
    let mut script = Script::default();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Symmetric);
    script.stream(0, 0, Kind::Audio);
    let payload_map = vec![(111, 111)];
    let (leg, stream) = (LegId(1), StreamId(0));
    let spec = RouteSpec {
        stream,
        leg,
        transport: 0,
        ssrc: 77,
        payload_map,
        numbering: SHIFT,
        active: true,
        shared: false,
    };
    script.command(Command::AddRoute(RouteId(0), spec));
    let mut source = Source { ssrc: 5, sequence: 9_000, timestamp: 5 };
    for _ in 0..10 {
        assert_eq!(send(&mut script, &mut source), None);
    }
    source = Source { ssrc: 6, sequence: 100, timestamp: 1_000_000 };
    for _ in 0..3 {
        assert_eq!(send(&mut script, &mut source), None);
    }
    let mut hello = Vec::new();
    motet_rtp::rtcp::write_receiver_report(&mut hello, 9, &[]);
    for _ in 0..3 {
        script.packet(1, participant(1), &hello);
    }
    let expected = shifted(source);
    assert_eq!(send(&mut script, &mut source), Some(expected), "as the source has them that is heard first");
}

#[test]
fn a_snapshot_keeps_the_numbers_that_were_given_and_an_older_version_goes_on_without() {
    for (version, as_given) in [(2, true), (1, false)] {
        for shared in [true, false] {
            let mut script = relay(shared);
            let snapshot = script.relay.snapshot().for_version(version);
            script.relay = Relay::restore(RelayConfig::default(), &snapshot).expect("it makes sense");
            let mut source = Source { ssrc: 5, sequence: 9_000, timestamp: 5 };
            for _ in 0..3 {
                let expected = shifted(source);
                let got = send(&mut script, &mut source).expect("forwarded");
                assert_eq!((got == expected, got.0), (as_given, 77), "version {version}");
            }
            // What has begun goes on in every version.
            let snapshot = script.relay.snapshot().for_version(1);
            script.relay = Relay::restore(RelayConfig::default(), &snapshot).expect("it makes sense");
            let expected = shifted(source);
            assert_eq!(send(&mut script, &mut source).map(|got| got == expected), Some(as_given));
        }
    }
}
