//! The property: whatever happens, two relays send what one would.

use crate::world::{
    LEGS, PAYLOAD_TYPES, STREAMS, TRUNK_ROUTES, World, is_left, is_rtcp, publisher_of, route,
};
use motet_relay::testing::Sent;
use motet_relay::{Command, Numbering, RouteId, RouteSpec, StreamId};
use motet_rtp::rtcp::{Compound, FirEntry, Packet, write_bye, write_fir, write_pli, write_receiver_report};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    /// One batch; a stream may send more than once, and others in between.
    Packets(Vec<u32>),
    /// Packets that got lost before they reached us.
    Skip(u32, u16),
    /// An earlier packet comes, late or again.
    Late(u32, u16),
    /// A new source takes the publisher's place.
    NewSource(u32),
    /// Sequence numbers begin elsewhere.
    Restart(u32),
    /// Timestamps begin elsewhere.
    Retime(u32),
    Goodbye(u32),
    /// A receiver asks for a key frame, by FIR or by PLI.
    Ask {
        stream: u32,
        leg: u32,
        fir: bool,
    },
    Mute(u32, bool),
    Leave {
        stream: u32,
        leg: u32,
    },
    Join {
        stream: u32,
        leg: u32,
    },
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (stream, leg) = (|| 0..STREAMS, || 0..LEGS);
    prop_oneof![
        10 => proptest::collection::vec(stream(), 1..12).prop_map(Step::Packets),
        2 => (stream(), 1..60_u16).prop_map(|(stream, count)| Step::Skip(stream, count)),
        2 => (stream(), 1..90_u16).prop_map(|(stream, back)| Step::Late(stream, back)),
        1 => stream().prop_map(Step::NewSource),
        1 => stream().prop_map(Step::Restart),
        1 => stream().prop_map(Step::Retime),
        1 => stream().prop_map(Step::Goodbye),
        2 => (stream(), leg(), any::<bool>()).prop_map(|(stream, leg, fir)| Step::Ask { stream, leg, fir }),
        2 => (stream(), any::<bool>()).prop_map(|(stream, muted)| Step::Mute(stream, muted)),
        2 => (stream(), leg()).prop_map(|(stream, leg)| Step::Leave { stream, leg }),
        2 => (stream(), leg()).prop_map(|(stream, leg)| Step::Join { stream, leg }),
        5 => (0..3_000_u16).prop_map(Step::Pass),
    ]
}

struct Pair {
    world: World,
    /// Which routes exist, by their number.
    routes: Vec<bool>,
    muted: [bool; STREAMS as usize],
    /// How far each stream's latest packet is ahead of the one that all its routes took it up with. What is older
    /// is nobody's loss; only a route made since would have it, and a trunk does not carry it.
    ahead: [i32; STREAMS as usize],
}

impl Pair {
    fn take(&mut self, step: &Step) -> (Vec<Sent>, Vec<Sent>) {
        let world = &mut self.world;
        match *step {
            Step::Packets(ref streams) => {
                streams.iter().for_each(|stream| self.ahead[*stream as usize] += 1);
                return world.packets(streams);
            }
            Step::Skip(stream, count) => {
                let publisher = &mut world.publishers[stream as usize];
                publisher.sequence = publisher.sequence.wrapping_add(count);
            }
            Step::Late(stream, _) if self.ahead[stream as usize] < 1 => {}
            Step::Late(stream, back) => {
                let mut publisher = world.publishers[stream as usize];
                let back = 1 + back % self.ahead[stream as usize] as u16;
                publisher.sequence = publisher.sequence.wrapping_sub(back + 1);
                let packet = publisher.packet(PAYLOAD_TYPES[stream as usize]);
                return world.datagram(publisher_of(stream), &packet);
            }
            Step::NewSource(stream) => {
                world.publishers[stream as usize].ssrc += 0x1000;
                self.begin_anew(stream, -2);
            }
            Step::Restart(stream) => {
                let publisher = &mut world.publishers[stream as usize];
                publisher.sequence = publisher.sequence.wrapping_add(20_000);
                self.begin_anew(stream, -2);
            }
            Step::Retime(stream) => {
                let publisher = &mut world.publishers[stream as usize];
                publisher.timestamp = publisher.timestamp.wrapping_add(0x4000_0000);
                self.begin_anew(stream, -1);
            }
            Step::Goodbye(stream) if self.muted[stream as usize] => {}
            Step::Goodbye(stream) => {
                self.ahead[stream as usize] += 1;
                let (mut whole, mut spread) = world.packets(&[stream]);
                let ssrc = world.publishers[stream as usize].ssrc;
                let goodbye = compound(|bytes| write_bye(bytes, &[ssrc], None));
                let (one, two) = world.datagram(publisher_of(stream), &goodbye);
                whole.extend(one);
                spread.extend(two);
                return (whole, spread);
            }
            Step::Ask { stream, leg, fir } => {
                let ssrc = 0xa000 + route(stream, leg);
                let ask = compound(|bytes| match fir {
                    true => write_fir(bytes, 1, &[FirEntry { ssrc, sequence: 1 }]),
                    false => write_pli(bytes, 1, ssrc),
                });
                return world.datagram(leg, &ask);
            }
            Step::Mute(stream, muted) => return self.mute(stream, muted),
            Step::Leave { stream, leg } => return self.leave(stream, leg),
            Step::Join { stream, leg } => return self.join(stream, leg),
            Step::Pass(millis) => return world.pass(Duration::from_millis(millis.into())),
        }
        Default::default()
    }

    /// The stream is taken up again with the first packet from now (-1), or with the second (-2).
    fn begin_anew(&mut self, stream: u32, ahead: i32) {
        let known = &mut self.ahead[stream as usize];
        *known = ahead.min(*known);
    }

    /// The publisher's side first, the trunk last: so does the node.
    fn mute(&mut self, stream: u32, muted: bool) -> (Vec<Sent>, Vec<Sent>) {
        self.muted[stream as usize] = muted;
        self.begin_anew(stream, -1);
        let (mut whole, mut spread) = (Vec::new(), Vec::new());
        let mut legs: Vec<u32> = (0..LEGS).filter(|leg| self.routes[route(stream, *leg) as usize]).collect();
        legs.sort_by_key(|leg| is_left(*leg) != is_left(publisher_of(stream)));
        for leg in legs {
            let command = Command::SetRouteActive(RouteId(route(stream, leg)), !muted);
            let (one, two) = self.world.command(leg, command);
            whole.extend(one);
            spread.extend(two);
        }
        let side = if stream < 2 { &mut self.world.left } else { &mut self.world.right };
        spread.extend(side.command(Command::SetRouteActive(RouteId(TRUNK_ROUTES + stream), !muted)));
        (whole, spread)
    }

    fn leave(&mut self, stream: u32, leg: u32) -> (Vec<Sent>, Vec<Sent>) {
        if !std::mem::take(&mut self.routes[route(stream, leg) as usize]) {
            return Default::default();
        }
        self.world.command(leg, Command::RemoveRoute(RouteId(route(stream, leg))))
    }

    fn join(&mut self, stream: u32, leg: u32) -> (Vec<Sent>, Vec<Sent>) {
        let number = route(stream, leg);
        if leg == publisher_of(stream) || std::mem::replace(&mut self.routes[number as usize], true) {
            return Default::default();
        }
        self.begin_anew(stream, -1);
        let spec = RouteSpec {
            stream: StreamId(stream),
            leg: motet_relay::LegId(leg),
            transport: 0,
            ssrc: 0xa000 + number,
            payload_map: vec![(96, 97), (111, 112)],
            numbering: Numbering::Begin { sequence: 65_530, timestamp: 5_000 },
            active: !self.muted[stream as usize],
            shared: false,
        };
        self.world.command(leg, Command::AddRoute(RouteId(number), spec))
    }
}

fn compound(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_receiver_report(&mut bytes, 1, &[]);
    write(&mut bytes);
    bytes
}

/// What a leg was sent but for reports: of each source media and goodbyes in their order, and requests. Packets
/// of several sources that come in one batch may come in another order when some of them crossed.
fn told(sent: &[Sent], leg: u32) -> Vec<(u32, Vec<u8>)> {
    let to_leg = sent.iter().filter(|sent| sent.port.0 == leg);
    let mut told: Vec<(u32, Vec<u8>)> =
        to_leg.filter_map(|sent| Some((source(sent)?, sent.bytes.clone()))).collect();
    told.sort_by_key(|(source, _)| *source);
    told
}

/// What a datagram is about: a source, or 0 for a request; none: it is a report.
fn source(sent: &Sent) -> Option<u32> {
    if !is_rtcp(sent) {
        return sent.bytes[8..12].try_into().ok().map(u32::from_be_bytes);
    }
    Compound::new(&sent.bytes).expect("RTCP").packets().find_map(|packet| match packet {
        Packet::Bye(bye) => bye.ssrcs().next(),
        Packet::Pli(_) | Packet::Fir(_) => Some(0),
        _ => None,
    })
}

proptest! {
    #[test]
    fn two_relays_send_what_one_would(steps in proptest::collection::vec(step(), 1..60)) {
        let mut routes = vec![false; 10 * STREAMS as usize];
        for stream in 0..STREAMS {
            for leg in (0..LEGS).filter(|leg| *leg != publisher_of(stream)) {
                routes[route(stream, leg) as usize] = true;
            }
        }
        let mut pair = Pair { world: World::new(), routes, muted: [false; STREAMS as usize], ahead: [0; STREAMS as usize] };
        for (index, step) in steps.iter().enumerate() {
            let (whole, spread) = pair.take(step);
            for leg in 0..LEGS {
                prop_assert_eq!(told(&whole, leg), told(&spread, leg), "leg {} at step {} {:?}", leg, index, step);
            }
        }
    }
}
