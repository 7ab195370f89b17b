use super::*;
use crate::ids::IdPool;
use crate::model::Transport;
use crate::plan::{HeldPorts, Holdings, Plan, Resources, plan, plan_end};
use crate::testing::{caller, conference, leg, medium, opus};
use motet_proto::{media, node as wire};
use motet_relay::testing::Script;
use motet_relay::{Command, LegId, PortId, RouteId, StreamId};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn spec(id: &str, legs: Vec<wire::Leg>) -> Spec {
    let wire = wire::ConferenceSpec { id: id.into(), ..conference(legs) };
    Spec::from_wire(&wire, false).expect("a good specification")
}

/// A leg with sound and a picture, with these addresses and SSRCs; 0 is none.
fn participant(id: &str, hosts: [u8; 2], ssrcs: [u32; 2]) -> wire::Leg {
    let mut leg = caller(id);
    for ((transport, medium), (host, ssrc)) in
        leg.transports.iter_mut().zip(&mut leg.media).zip(hosts.into_iter().zip(ssrcs))
    {
        if host > 0 {
            transport.remote = format!("192.0.2.{host}:5004");
        }
        medium.ssrc = ssrc;
    }
    leg
}

fn refused(claims: &Claims, legs: Vec<wire::Leg>) -> (String, String) {
    match claims.check(&spec("c2", legs)) {
        Err(NodeError::Invalid { field, why }) => (field, why),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn everybody_has_an_address_or_an_ssrc() {
    let claims = Claims::default();
    for good in [[[1, 2], [0, 0]], [[0, 0], [1, 2]], [[1, 0], [0, 2]], [[1, 1], [0, 0]]] {
        let [hosts, ssrcs] = good;
        let leg = participant("a", hosts.map(|host| host as u8), ssrcs);
        assert_eq!(claims.check(&spec("c2", vec![leg])), Ok(()), "{good:?}");
    }
    let (field, why) = refused(&claims, vec![participant("a", [1, 0], [7, 0])]);
    assert_eq!(field, "spec.legs.transports.remote");
    assert!(why.contains("video") && why.contains("--shared-port") && why.contains("ssrc"), "{why}");
    let mut listener = participant("a", [1, 0], [7, 8]);
    listener.media[1].direction = media::Direction::ReceiveOnly.into();
    assert_eq!(refused(&claims, vec![listener]).0, field, "who sends nothing has no SSRC to be known by");
}

#[test]
fn what_is_taken_is_refused_with_the_owners_name() {
    let mut claims = Claims::default();
    let first = spec("c1", vec![participant("a", [1, 2], [11, 12]), participant("b", [3, 3], [0, 14])]);
    assert_eq!(claims.check(&first), Ok(()));
    claims.put(None, &first);
    assert_eq!(claims.check(&first), Ok(()), "it does not stand in its own way");
    let (field, why) = refused(&claims, vec![participant("x", [9, 3], [0, 0])]);
    assert_eq!(field, "spec.legs.transports.remote");
    assert!(why.contains("192.0.2.3:5004") && why.contains("leg 'b' of conference 'c1'"), "{why}");
    let (field, why) = refused(&claims, vec![participant("x", [9, 8], [12, 0])]);
    assert_eq!(field, "spec.legs.media.ssrc");
    assert!(why.contains("leg 'a' of conference 'c1'"), "{why}");
    let twice = vec![participant("x", [9, 9], [5, 6]), participant("y", [8, 8], [7, 5])];
    assert_eq!(refused(&claims, twice).0, "spec.legs.media.ssrc");

    let second = spec("c1", vec![participant("b", [3, 3], [0, 14])]);
    claims.put(Some(&first), &second);
    assert_eq!(claims.check(&spec("c2", vec![participant("x", [1, 2], [11, 12])])), Ok(()));
    claims.remove(&second);
    assert_eq!((claims.addresses.len(), claims.ssrcs.len()), (0, 0));
}

#[test]
fn what_one_participant_sends_can_be_told_apart() {
    let sound = |id| medium(id, media::MediaKind::Audio, vec![opus(111)]);
    let mut two = leg("a", vec![sound("left"), sound("right")]);
    two.transports[0].remote = "192.0.2.1:5004".into();
    two.transports[1].remote = "192.0.2.2:5004".into();
    let (field, why) = refused(&Claims::default(), vec![two.clone()]);
    assert_eq!(field, "spec.legs.media.codecs.payload_type");
    assert!(why.contains("'left' and 'right'"), "{why}");
    (two.media[0].ssrc, two.media[1].ssrc) = (1, 2);
    assert_eq!(Claims::default().check(&spec("c2", vec![two])), Ok(()));
}

#[test]
fn rtcp_has_no_address_of_its_own() {
    let mut leg = participant("a", [1, 2], [0, 0]);
    leg.transports[0].remote_rtcp = "192.0.2.1:5005".into();
    assert_eq!(refused(&Claims::default(), vec![leg]).0, "spec.legs.transports.remote_rtcp");
}

/// Numbers for plans; all ports are one.
#[derive(Default)]
struct OnePort {
    legs: IdPool,
    streams: IdPool,
    routes: IdPool,
    random: u32,
}

impl Resources for OnePort {
    fn worker(&mut self, _legs: &BTreeMap<usize, u32>) -> usize {
        0
    }
    fn trunk_port(&mut self, _worker: usize) -> PortId {
        unreachable!("there is one worker")
    }
    fn leg(&mut self, _worker: usize) -> Result<LegId, NodeError> {
        Ok(LegId(self.legs.take()))
    }
    fn stream(&mut self, _worker: usize) -> Result<StreamId, NodeError> {
        Ok(StreamId(self.streams.take()))
    }
    fn route(&mut self, _worker: usize) -> Result<RouteId, NodeError> {
        Ok(RouteId(self.routes.take()))
    }
    fn ports(&mut self, _worker: usize, _: &Transport) -> Result<HeldPorts, NodeError> {
        let rtp = (PortId(0), SocketAddr::from(([127, 0, 0, 1], 5000)));
        Ok(HeldPorts { pool: 0, base: 5000, rtp, rtcp: None, shared: true })
    }
    fn mixer(&mut self) -> Result<usize, NodeError> {
        unreachable!("nothing is mixed")
    }
    fn canvas(&mut self) -> Result<usize, NodeError> {
        unreachable!("nothing is composed")
    }
    fn random(&mut self) -> u32 {
        self.random += 1;
        0x8000_0000 | self.random
    }
}

fn any_spec() -> impl Strategy<Value = Vec<wire::Leg>> {
    let leg = (0..4_usize, [0..7_u8, 0..7_u8], [0..12_u32, 0..12_u32], any::<bool>());
    proptest::collection::vec(leg, 0..4).prop_map(|legs| {
        let legs = legs.into_iter().map(|(id, hosts, ssrcs, one)| {
            let mut leg = participant(["a", "b", "c", "d"][id], hosts, ssrcs);
            if one {
                // Both at one transport.
                leg.transports.truncate(1);
                leg.media.iter_mut().for_each(|medium| medium.transport = "audio".into());
            }
            (leg.id.clone(), leg)
        });
        legs.collect::<BTreeMap<_, _>>().into_values().collect()
    })
}

/// All that the only worker is to do.
fn commands_of(plan: &Plan) -> Vec<Command> {
    plan.steps.values().flat_map(|step| step.commands.iter().chain(&step.last).cloned()).collect()
}

/// A relay, and what two conferences hold on it.
struct World {
    script: Script,
    claims: Claims,
    resources: OnePort,
    running: [(Option<Spec>, Holdings); 2],
}

impl World {
    fn new() -> World {
        let mut script = Script::default();
        script.command(Command::SharePort(PortId(0)));
        let (claims, resources) = (Claims::default(), OnePort::default());
        World { script, claims, resources, running: Default::default() }
    }

    /// Makes a conference so, unless it is refused. The relay must not refuse what is left.
    fn put(&mut self, second: bool, legs: Vec<wire::Leg>) -> Option<Vec<Command>> {
        let id = ["c1", "c2"][usize::from(second)];
        let wire = wire::ConferenceSpec { id: id.into(), ..conference(legs) };
        let new = Spec::from_wire(&wire, false).ok()?;
        self.claims.check(&new).ok()?;
        let (old, held) = &mut self.running[usize::from(second)];
        let plan = plan(old.as_ref(), held, &new, &mut self.resources).expect("resources do not end");
        let commands = commands_of(&plan);
        for command in &commands {
            self.script.command(command.clone());
        }
        plan.released.legs.iter().for_each(|(_, id)| self.resources.legs.give_back(id.0));
        plan.released.streams.iter().for_each(|(_, id)| self.resources.streams.give_back(id.0));
        plan.released.routes.iter().for_each(|(_, id)| self.resources.routes.give_back(id.0));
        self.claims.put(old.as_ref(), &new);
        (*old, *held) = (Some(new), plan.next);
        Some(commands)
    }
}

#[test]
fn legs_may_change_places() {
    let mut world = World::new();
    let at = |id, host| participant(id, [host, host], [0, 0]);
    world.put(false, vec![at("a", 1), at("b", 2), at("c", 3)]).expect("allowed");
    world.put(false, vec![at("a", 2), at("b", 1), at("c", 3)]).expect("two change places");
    let commands = world.put(false, vec![at("a", 3), at("b", 1), at("c", 4)]).expect("one follows another");
    let removed = commands.iter().filter(|command| matches!(command, Command::RemoveLeg(_))).count();
    assert_eq!(removed, 1, "only who takes another's place is made anew: {commands:?}");
    let commands = world.put(false, vec![at("a", 3), at("b", 5), at("c", 4)]).expect("one moves");
    assert!(matches!(commands.as_slice(), [Command::SetRemote { .. }, Command::SetRemote { .. }]));
}

proptest! {
    /// Whatever follows whatever in two conferences: what is allowed here, the relay takes, in the order of
    /// the plan.
    #[test]
    fn the_relay_takes_what_is_allowed(specs in proptest::collection::vec((any::<bool>(), any_spec()), 1..12)) {
        let mut world = World::new();
        for (second, legs) in specs {
            world.put(second, legs);
        }
        for (_, held) in &world.running {
            commands_of(&plan_end(held)).into_iter().for_each(|command| drop(world.script.command(command)));
        }
        prop_assert_eq!(world.script.relay.counts().legs, 0);
    }
}
