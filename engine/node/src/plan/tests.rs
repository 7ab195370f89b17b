use super::*;
use crate::testing::{caller, conference};
use motet_proto::node as wire;
use proptest::prelude::*;

/// The place of the only mixing thread.
const MIXING_THREAD: usize = 1_000;
/// And of canvas threads.
const CANVAS_THREAD: usize = 2_000;
/// The place of the recorder.
const RECORDER: usize = 3_000;

/// Counts upwards; ports are numbers only.
#[derive(Default)]
struct Counting {
    next: u32,
    ports_left: Option<usize>,
    /// Legs of one conference on one worker, if there are several.
    legs_max: Option<u32>,
}

impl Counting {
    fn count(&mut self) -> u32 {
        self.next += 1;
        self.next
    }
}

impl Resources for Counting {
    fn worker(&mut self, legs: &BTreeMap<usize, u32>) -> usize {
        let Some(legs_max) = self.legs_max else { return 0 };
        (0..).find(|worker| legs.get(worker).copied().unwrap_or(0) < legs_max).expect("workers do not end")
    }
    fn leg(&mut self, _worker: usize) -> Result<LegId, NodeError> {
        Ok(LegId(self.count()))
    }
    fn stream(&mut self, _worker: usize) -> Result<StreamId, NodeError> {
        Ok(StreamId(self.count()))
    }
    fn route(&mut self, _worker: usize) -> Result<RouteId, NodeError> {
        Ok(RouteId(self.count()))
    }
    fn trunk_port(&mut self, _worker: usize) -> PortId {
        PortId(self.count())
    }
    fn ports(&mut self, _worker: usize, transport: &Transport) -> Result<HeldPorts, NodeError> {
        if let Some(left) = &mut self.ports_left {
            *left = left.checked_sub(1).ok_or(NodeError::Exhausted { field: "f".into(), why: "w".into() })?;
        }
        let base = 2 * self.count() as u16;
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let rtp = (PortId(self.count()), address(base));
        let rtcp = (!transport.rtcp_mux).then(|| (PortId(self.count()), address(base + 1)));
        Ok(HeldPorts { pool: 0, base, rtp, rtcp, shared: false })
    }
    fn canvas(&mut self) -> Result<usize, NodeError> {
        Ok(CANVAS_THREAD)
    }

    fn mixer(&mut self) -> Result<usize, NodeError> {
        Ok(MIXING_THREAD)
    }
    fn recorder(&mut self) -> Option<usize> {
        Some(RECORDER)
    }
    fn random(&mut self) -> u32 {
        self.count().wrapping_mul(2_654_435_761)
    }
}

struct World {
    spec: Option<Spec>,
    /// Whose pictures fit the canvas.
    fits: BTreeSet<Id>,
    held: Holdings,
    resources: Counting,
}

impl World {
    fn new() -> World {
        World { spec: None, fits: BTreeSet::new(), held: Holdings::default(), resources: Counting::default() }
    }

    fn go(&mut self, spec: &wire::ConferenceSpec) -> Plan {
        let mut spec = Spec::from_wire(spec, false).expect("a good specification");
        spec.fits.clone_from(&self.fits);
        let plan =
            plan(self.spec.as_ref(), &self.held, &spec, &mut self.resources).expect("resources do not end");
        self.held = plan.next.clone();
        self.spec = Some(spec);
        plan
    }
}

/// All commands for the only worker.
fn commands(plan: &Plan) -> Vec<Command> {
    assert!(plan.steps.keys().all(|worker| *worker == 0), "one worker: {plan:?}");
    plan.steps.values().flat_map(|step| step.commands.iter().chain(&step.last)).cloned().collect()
}

#[test]
fn the_same_again_changes_nothing() {
    let mut world = World::new();
    let spec = conference(vec![caller("a"), caller("b"), caller("c")]);
    world.go(&spec);
    let again = world.go(&spec);
    assert_eq!(commands(&again), []);
    assert_eq!(again.released, Released::default());
}

/// Receivers of a stream, by leg, with the SSRC that they know it under.
fn ssrcs_of(world: &World, from: &str, medium: &str) -> BTreeMap<String, u32> {
    let of_stream = |key: &&RouteKey| (key.from_leg.as_str(), key.from_medium.as_str()) == (from, medium);
    let routes = world.held.routes.iter().filter(|(key, _)| of_stream(key));
    routes.map(|(key, held)| (key.to_leg.to_string(), held.ssrc)).collect()
}

#[test]
fn all_receivers_know_a_stream_under_one_ssrc_unless_they_use_it_already() {
    let mut world = World::new();
    world.go(&conference(vec![caller("a"), caller("b"), caller("c")]));
    let common = ssrcs_of(&world, "a", "video")["b"];
    let mut late = caller("d");
    late.media[0].ssrc = common;
    world.go(&conference(vec![caller("a"), caller("b"), caller("c"), late, caller("e")]));
    let known = ssrcs_of(&world, "a", "video");
    assert_eq!((known["b"], known["c"], known["e"]), (common, common, common));
    assert_ne!(known["d"], common, "the participant sends with it");
    assert_ne!(ssrcs_of(&world, "a", "audio")["b"], common);
}

#[test]
fn a_leg_that_leaves_takes_its_routes_along_and_others_stay() {
    let mut world = World::new();
    world.go(&conference(vec![caller("a"), caller("b"), caller("c")]));
    let before = world.held.clone();
    let plan = world.go(&conference(vec![caller("a"), caller("b")]));
    assert_eq!(commands(&plan), [Command::RemoveLeg(before.legs["c"].id)]);
    assert_eq!(
        (plan.released.routes.len(), plan.released.streams.len(), plan.released.ports.len()),
        (8, 2, 2)
    );
    assert!(world.held.routes.iter().all(|(key, route)| before.routes[key] == *route));
}

#[test]
fn a_new_address_moves_the_leg_without_touching_its_routes() {
    let mut world = World::new();
    let mut spec = conference(vec![caller("a"), caller("b")]);
    world.go(&spec);
    spec.legs[0].transports[0].remote = "127.0.0.1:5004".into();
    spec.legs[0].transports[0].latch_generation = 1;
    let plan = world.go(&spec);
    assert!(
        matches!(commands(&plan)[..], [Command::SetRemote { transport: 0, relatch: true, .. }]),
        "{plan:?}"
    );
}

#[test]
fn a_new_port_remakes_the_leg_on_the_ports_it_has() {
    let mut world = World::new();
    let mut spec = conference(vec![caller("a"), caller("b")]);
    world.go(&spec);
    let before = world.held.clone();
    spec.legs[0].transports.push(wire::Transport { id: "content".into(), ..Default::default() });
    let plan = world.go(&spec);
    assert_eq!(commands(&plan)[0], Command::RemoveLeg(before.legs["a"].id));
    assert!(plan.released.ports.is_empty());
    assert_eq!(world.held.legs["a"].ports[..2], before.legs["a"].ports[..]);
    let ssrcs = |held: &Holdings| held.routes.values().map(|route| route.ssrc).collect::<Vec<_>>();
    assert_eq!(ssrcs(&world.held), ssrcs(&before), "receivers keep knowing the streams");
}

#[test]
fn a_changed_codec_switches_the_routes_that_stay() {
    let mut world = World::new();
    let mut spec = conference(vec![caller("a"), caller("b")]);
    world.go(&spec);
    let old = world.held.streams[&("a".into(), "audio".into())];
    spec.legs[0].media[0].codecs[0].payload_type = 120;
    let plan = world.go(&spec);
    let switched =
        commands(&plan).iter().filter(|command| matches!(command, Command::SwitchRoute { .. })).count();
    assert_eq!(commands(&plan)[0], Command::RemoveStream(old));
    // a to b carries another stream; b to a has another payload type.
    assert_eq!(switched, 2, "{plan:?}");
    assert!(
        !commands(&plan)
            .iter()
            .any(|command| matches!(command, Command::AddRoute(..) | Command::RemoveRoute(_)))
    );
}

#[test]
fn muting_is_one_command_for_each_route() {
    let mut world = World::new();
    let mut spec = conference(vec![caller("a"), caller("b")]);
    world.go(&spec);
    spec.legs[0].muted = true;
    let plan = world.go(&spec);
    assert_eq!(commands(&plan).len(), 2);
    assert!(commands(&plan).iter().all(|command| matches!(command, Command::SetRouteActive(_, false))));
}

#[test]
fn an_ssrc_used_twice_is_refused() {
    let mut spec = conference(vec![caller("a"), caller("b"), caller("c")]);
    for from_leg in ["b", "c"] {
        let (from_leg, from_medium) = (from_leg.to_owned(), "audio".to_owned());
        let (to_leg, to_medium) = ("a".to_owned(), "audio".to_owned());
        spec.routes.push(wire::Route { from_leg, from_medium, to_leg, to_medium, ssrc: 5 });
    }
    let spec = Spec::from_wire(&spec, false).expect("good by itself");
    let error =
        plan(None, &Holdings::default(), &spec, &mut Counting::default()).expect_err("5 is used twice");
    assert_eq!(error.field(), Some("spec.routes.ssrc"));
}

#[test]
fn running_out_of_ports_is_an_error() {
    let spec = Spec::from_wire(&conference(vec![caller("a"), caller("b")]), false).expect("good");
    let mut resources = Counting { ports_left: Some(3), ..Default::default() };
    let error = plan(None, &Holdings::default(), &spec, &mut resources).expect_err("four are needed");
    assert!(matches!(error, NodeError::Exhausted { .. }));
}

mod canvas;
mod identity;
mod mix;
mod model;
mod naive;
mod recording;
mod relocate;
mod trunks;
