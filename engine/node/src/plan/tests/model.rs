//! Plans against a naive model of the workers' relays.

use super::naive::{NAMES, Source, any_spec, is_composed, naive, naive_layers, naive_relayed};
use super::*;
use crate::model::Id;
use motet_proto::media::Direction;
use std::sync::Arc;

/// What a route carries that is taken from its stream.
const NOTHING: u32 = u32::MAX;

/// What the relays would hold after the commands. Numbers are unique over all workers here.
#[derive(Default, Debug, PartialEq)]
struct Model {
    /// Legs and their worker.
    legs: BTreeMap<u32, usize>,
    /// Streams and their leg.
    streams: BTreeMap<u32, u32>,
    /// Routes: stream, leg, active.
    routes: BTreeMap<u32, (u32, u32, bool)>,
    /// Ends of trunks: worker and port, and the other end's.
    trunks: BTreeMap<(usize, u32), (usize, u32)>,
    /// What the mixing thread knows.
    mix: Option<Arc<MixForm>>,
    /// And the canvas thread.
    canvas: Option<Arc<CanvasForm>>,
    /// SSRCs that streams are fixed to.
    mixed: BTreeMap<u32, u32>,
}

impl Model {
    fn take(&mut self, plan: &Plan) {
        if let Some(first) = plan.mix.as_ref().and_then(|step| step.first.clone()) {
            self.mix = Some(first);
            self.check_mix();
        }
        if let Some(first) = plan.canvas.as_ref().and_then(|step| step.first.clone()) {
            self.canvas = Some(first);
            self.check_canvas();
        }
        for (worker, step) in &plan.steps {
            for end in &step.open {
                let other = (end.worker, end.peer.0);
                assert!(self.trunks.insert((*worker, end.port.0), other).is_none());
            }
            step.commands.iter().for_each(|command| self.apply(*worker, command));
            for port in &step.close {
                assert!(self.trunks.remove(&(*worker, port.0)).is_some());
            }
        }
        if let Some(step) = &plan.mix {
            assert_eq!(step.station, MIXING_THREAD);
            self.mix = step.last.clone();
            self.check_mix();
        }
        if let Some(step) = &plan.canvas {
            assert_eq!(step.station, CANVAS_THREAD);
            self.canvas = step.last.clone();
            self.check_canvas();
        }
        for (worker, step) in &plan.steps {
            step.last.iter().for_each(|command| self.apply(*worker, command));
        }
    }

    /// Whatever the mixer sends finds its way: what it does not send any more may end, what it is to send must
    /// be expected.
    fn check_mix(&self) {
        if let Some(form) = &self.mix {
            for output in form.outputs.values() {
                let end = form.ends.iter().find(|end| end.port == output.port).expect("an open end");
                assert_eq!(self.trunks[&(end.worker, end.peer.0)], (MIXING_THREAD, end.port.0));
                let stream = self.mixed.iter().find(|(_, ssrc)| **ssrc == output.ssrc).expect("a stream").0;
                assert!(self.routes.values().any(|route| route.0 == *stream), "with a route");
            }
        }
    }

    fn check_canvas(&self) {
        if let Some(form) = &self.canvas {
            for feed in form.outputs.values() {
                let end = form.ends.iter().find(|end| end.port == feed.port).expect("an open end");
                assert_eq!(self.trunks[&(end.worker, end.peer.0)], (CANVAS_THREAD, end.port.0));
                let stream = self.mixed.iter().find(|(_, ssrc)| **ssrc == feed.ssrc).expect("a stream").0;
                assert!(self.routes.values().any(|route| route.0 == *stream), "with a route");
            }
        }
    }

    fn apply(&mut self, worker: usize, command: &Command) {
        let here = |leg: &LegId| assert_eq!(self.legs[&leg.0], worker, "{command:?}");
        match command {
            Command::AddLeg(leg, _) => assert!(self.legs.insert(leg.0, worker).is_none()),
            Command::RemoveLeg(leg) => {
                here(leg);
                self.legs.remove(&leg.0);
                let streams = self.streams.clone();
                self.routes.retain(|_, (stream, to, _)| *to != leg.0 && streams.get(stream) != Some(&leg.0));
                self.streams.retain(|_, owner| *owner != leg.0);
                self.mixed.retain(|stream, _| self.streams.contains_key(stream));
            }
            Command::AddStream(stream, spec) => {
                here(&spec.leg);
                assert!(self.streams.insert(stream.0, spec.leg.0).is_none());
                self.mixed.extend(spec.ssrc.map(|ssrc| (stream.0, ssrc)));
            }
            Command::RemoveStream(stream) => {
                assert!(self.streams.remove(&stream.0).is_some());
                self.mixed.remove(&stream.0);
            }
            Command::AddRoute(route, spec) => {
                here(&spec.leg);
                here(&LegId(self.streams[&spec.stream.0]));
                let new = (spec.stream.0, spec.leg.0, spec.active);
                assert!(self.routes.insert(route.0, new).is_none());
            }
            Command::RemoveRoute(route) => assert!(self.routes.remove(&route.0).is_some()),
            Command::SwitchRoute { route, stream, .. } => {
                here(&LegId(self.streams[&stream.0]));
                self.routes.get_mut(&route.0).expect("a known route").0 = stream.0;
            }
            Command::AwaitKeyFrame { route, formats } => {
                let stream = self.routes[&route.0].0;
                assert!(self.streams.contains_key(&stream) && !formats.is_empty());
            }
            Command::DetachRoute(route) => self.routes.get_mut(&route.0).expect("a known route").0 = NOTHING,
            Command::SetRouteActive(route, active) => {
                self.routes.get_mut(&route.0).expect("a known route").2 = *active;
            }
            Command::SetRemote { leg, .. } => here(leg),
            Command::RequestKeyFrame(stream) => assert!(self.streams.contains_key(&stream.0)),
            Command::SharePort(_) => panic!("ports are shared when a node starts"),
        }
    }

    fn of(held: &Holdings) -> Model {
        let mut model = Model {
            legs: held.legs.values().map(|leg| (leg.id.0, leg.worker)).collect(),
            streams: held.streams.iter().map(|((leg, _), stream)| (stream.0, held.legs[leg].id.0)).collect(),
            ..Model::default()
        };
        for (key, route) in &held.routes {
            let to = held.legs[&key.to_leg].id.0;
            model.routes.insert(route.id.0, (route.stream.0, to, route.wanted.active));
        }
        for (key, trunk) in &held.trunks {
            let ends = [(trunk.from, trunk.near), (key.to, trunk.far)];
            for ((worker, (leg, port)), (other, (_, peer))) in [(ends[0], ends[1]), (ends[1], ends[0])] {
                model.legs.insert(leg.0, worker);
                model.trunks.insert((worker, port.0), (other, peer.0));
            }
            for crossing in trunk.crossings.values() {
                model.streams.insert(crossing.arrives.0, trunk.far.0.0);
                model.mixed.insert(crossing.arrives.0, crossing.ssrc);
                let route = (crossing.leaves.0, trunk.near.0.0, crossing.active);
                model.routes.insert(crossing.route.0, route);
            }
        }
        if let Some(mix) = &held.mix {
            model.take_mix(held, mix);
        }
        if let Some(canvas) = &held.canvas {
            model.take_canvas(held, canvas);
        }
        model
    }

    fn take_mix(&mut self, held: &Holdings, mix: &HeldMix) {
        let trunk = |leg: &Id| mix.trunks[&held.legs[leg].worker];
        for (worker, trunk) in &mix.trunks {
            self.legs.insert(trunk.leg.0, *worker);
            self.trunks.insert((*worker, trunk.near.0), (MIXING_THREAD, trunk.far.0));
        }
        for (leg, source) in &mix.sources {
            self.routes.insert(source.route.0, (source.stream.0, trunk(leg).leg.0, source.active));
        }
        for (leg, output) in &mix.outputs {
            self.streams.insert(output.stream.0, trunk(leg).leg.0);
            self.mixed.insert(output.stream.0, output.crossing);
            self.routes.insert(output.route.0, (output.stream.0, held.legs[leg].id.0, true));
        }
        self.mix = Some(Arc::clone(&mix.form));
    }

    fn take_canvas(&mut self, held: &Holdings, canvas: &HeldCanvas) {
        for (worker, trunk) in &canvas.trunks {
            self.legs.insert(trunk.leg.0, *worker);
            self.trunks.insert((*worker, trunk.near.0), (CANVAS_THREAD, trunk.far.0));
        }
        for (leg, source) in &canvas.sources {
            let trunk = canvas.trunks[&held.legs[leg].worker];
            self.routes.insert(source.route.0, (source.stream.0, trunk.leg.0, source.active));
        }
        for ((leg, _), source) in &canvas.streams {
            let trunk = canvas.trunks[&held.legs[leg].worker];
            self.routes.insert(source.route.0, (source.stream.0, trunk.leg.0, source.active));
        }
        for (key, feed) in &canvas.feeds {
            self.streams.insert(feed.stream.0, canvas.trunks[&key.worker].leg.0);
            self.mixed.insert(feed.stream.0, feed.crossing);
        }
        for (leg, view) in &canvas.views {
            self.routes.insert(view.route.0, (view.stream.0, held.legs[leg].id.0, true));
        }
        self.canvas = Some(Arc::clone(&canvas.form));
    }

    /// Legs that the canvas thread sees, by what really reaches it, and legs that get exactly one stream of it or of
    /// somebody who is relayed instead.
    fn composed(&self, held: &Holdings) -> (BTreeSet<Id>, BTreeSet<Id>) {
        let Some(canvas) = &held.canvas else { return Default::default() };
        let form = self.canvas.as_ref().expect("the canvas thread was told");
        let seen = form.sources.iter().filter(|(leg, source)| {
            let (from, route) = (&canvas.sources[*leg], &self.routes[&canvas.sources[*leg].route.0]);
            let trunk = canvas.trunks[&held.legs[*leg].worker];
            let stream = held.streams[&((*leg).clone(), from.part.medium.clone())].0;
            *route == (stream, trunk.leg.0, true) && (source.port, source.ssrc) == (trunk.far, from.ssrc)
        });
        let trunks: BTreeSet<u32> = canvas.trunks.values().map(|trunk| trunk.leg.0).collect();
        let served = held.legs.iter().filter(|(id, leg)| {
            let routes = self.routes.values().filter(|route| route.1 == leg.id.0);
            let streams: Vec<u32> =
                routes.map(|route| route.0).filter(|stream| trunks.contains(&self.streams[stream])).collect();
            let made = |stream: &u32| form.outputs.values().any(|feed| feed.ssrc == self.mixed[stream]);
            assert!(streams.len() <= 1 && streams.iter().all(made), "{id} gets {streams:?}");
            let relayed = canvas.views.get(*id).and_then(|held| Some((held, held.view.relayed.as_ref()?)));
            let relayed = relayed.map(|(view, relayed)| {
                let publisher = held.streams[&relayed.source].0;
                assert_eq!(Model::origin(held, self.routes[&view.route.0].0), publisher);
            });
            assert!(relayed.is_none() || streams.is_empty(), "{id} gets one of them");
            relayed.is_some() || !streams.is_empty()
        });
        (seen.map(|(leg, _)| leg.clone()).collect(), served.map(|(leg, _)| leg.clone()).collect())
    }

    /// Smaller copies that the canvas thread knows, by what really reaches it.
    fn layers(&self, held: &Holdings) -> BTreeSet<Source> {
        let Some(canvas) = &held.canvas else { return BTreeSet::new() };
        let form = self.canvas.as_ref().expect("the canvas thread was told");
        let layers = form.streams.iter().filter(|(key, seen)| {
            let (source, trunk) = (&canvas.streams[*key], canvas.trunks[&held.legs[&key.0].worker]);
            let comes = self.routes[&source.route.0] == (held.streams[*key].0, trunk.leg.0, true);
            let of = seen.layer.as_ref().is_some_and(|(leg, _)| *leg == key.0);
            comes && of && (seen.port, seen.ssrc) == (trunk.far, source.ssrc)
        });
        layers.map(|(key, _)| key.clone()).collect()
    }

    /// Media that a leg gets transcoded, by what really reaches it, and how it is encoded.
    fn transcoded(&self, held: &Holdings, to: &str) -> BTreeSet<(Id, Id)> {
        let Some(canvas) = &held.canvas else { return BTreeSet::new() };
        let form = self.canvas.as_ref().expect("the canvas thread was told");
        let leg = held.legs[to].id.0;
        let streams = self.routes.values().filter(|route| route.1 == leg).map(|route| route.0);
        let feeds = streams.filter_map(|stream| {
            let mut feeds = canvas.feeds.iter();
            feeds.find(|(_, feed)| feed.stream.0 == stream).map(|(key, _)| key)
        });
        let alone = feeds.filter_map(|feed| {
            assert!(form.outputs.contains_key(feed), "it is made");
            feed.sees.alone.clone()
        });
        // Who is seen alone on a canvas comes to it as all do.
        alone
            .filter(|_| canvas.views.is_empty())
            .inspect(|key| {
                let Some(source) = canvas.streams.get(key) else { return };
                let trunk = canvas.trunks[&held.legs[&key.0].worker];
                let route = (held.streams[key].0, trunk.leg.0, true);
                assert_eq!(self.routes[&source.route.0], route, "it comes to the thread");
                assert_eq!(form.streams[key].ssrc, source.ssrc);
            })
            .collect()
    }

    /// Legs that the mixer hears, by what really reaches it.
    fn heard(&self, held: &Holdings) -> BTreeSet<Id> {
        let Some(mix) = &held.mix else { return BTreeSet::new() };
        let form = self.mix.as_ref().expect("the mixing thread was told");
        let known = form.sources.iter().filter(|(leg, source)| {
            let (from, route) = (&mix.sources[*leg], &self.routes[&mix.sources[*leg].route.0]);
            let trunk = mix.trunks[&held.legs[*leg].worker];
            route.0 == held.streams[&((*leg).clone(), from.part.medium.clone())].0
                && route.1 == trunk.leg.0
                && (source.port, source.ssrc) == (trunk.far, from.ssrc)
        });
        known.map(|(leg, _)| leg.clone()).collect()
    }

    /// Legs that get something of the mixer, by what really reaches them: exactly one stream.
    fn served(&self, held: &Holdings) -> BTreeSet<Id> {
        let Some(mix) = &held.mix else { return BTreeSet::new() };
        let trunks: BTreeSet<u32> = mix.trunks.values().map(|trunk| trunk.leg.0).collect();
        let served = held.legs.iter().filter(|(id, leg)| {
            let routes = self.routes.values().filter(|route| route.1 == leg.id.0);
            let streams: Vec<u32> =
                routes.map(|route| route.0).filter(|stream| trunks.contains(&self.streams[stream])).collect();
            let form = self.mix.as_ref().expect("the mixing thread was told");
            match (streams.as_slice(), form.outputs.get(*id)) {
                ([stream], Some(output)) => self.mixed[stream] == output.ssrc,
                ([], None) => false,
                other => panic!("{id} gets {other:?}"),
            }
        });
        served.map(|(id, _)| id.clone()).collect()
    }

    /// Streams of publishers that reach a leg, over trunks too.
    fn reaches(&self, held: &Holdings, to: &str) -> BTreeSet<u32> {
        let leg = held.legs[to].id.0;
        let instead: Vec<u32> =
            held.canvas.iter().flat_map(|canvas| canvas.views.values()).map(|view| view.route.0).collect();
        let routes = self.routes.iter().filter(|(route, _)| !instead.contains(route));
        let streams = routes.filter(|(_, route)| route.1 == leg).map(|(_, route)| route.0);
        let mixed = |stream: &u32| {
            let mut outputs = held.mix.iter().flat_map(|mix| mix.outputs.values());
            let mut feeds = held.canvas.iter().flat_map(|canvas| canvas.feeds.values());
            outputs.any(|output| output.stream.0 == *stream) || feeds.any(|feed| feed.stream.0 == *stream)
        };
        streams.filter(|stream| !mixed(stream)).map(|stream| Model::origin(held, stream)).collect()
    }

    /// The publisher's stream that is brought by a trunk.
    fn origin(held: &Holdings, stream: u32) -> u32 {
        let mut crossings = held.trunks.values().flat_map(|trunk| trunk.crossings.values());
        crossings.find(|crossing| crossing.arrives.0 == stream).map_or(stream, |crossing| crossing.leaves.0)
    }
}

proptest! {
    /// Whatever follows whatever, on however many workers: the commands are ones that relays accept, they lead
    /// to what is held, everyone gets every stream of the others, and nothing is both held and released.
    #[test]
    fn commands_lead_to_what_is_held(
        specs in proptest::collection::vec((any_spec(), any::<[bool; 5]>()), 1..8),
        legs_max in proptest::option::of(1..4_u32),
    ) {
        let mut world = World::new();
        world.resources.legs_max = legs_max;
        let mut model = Model::default();
        for (spec, fits) in &specs {
            let fitting = NAMES.iter().zip(fits).filter(|(_, fits)| **fits);
            world.fits = fitting.map(|(name, _)| Id::from(*name)).collect();
            let plan = world.go(spec);
            model.take(&plan);
            prop_assert_eq!(&model, &Model::of(&world.held));
            for leg in world.held.legs.keys() {
                let (relayed, transcoded) = naive(spec, leg);
                let wanted = relayed.into_iter().map(|key| world.held.streams[&key].0).collect();
                prop_assert_eq!(model.reaches(&world.held, leg), wanted);
                prop_assert_eq!(model.transcoded(&world.held, leg), transcoded);
            }
            let composed = is_composed(spec);
            for (leg, held) in world.held.canvas.iter().flat_map(|canvas| &canvas.views) {
                let relayed = held.view.relayed.as_ref().map(|relayed| relayed.source.0.clone());
                prop_assert_eq!(relayed, naive_relayed(spec, leg, &world.fits));
            }
            let mixed = spec.audio.is_some();
            let audio = |made: bool, test: fn(&wire::Medium) -> bool| -> BTreeSet<Id> {
                let able = spec.legs.iter().filter(|leg| made && leg.media[0].codecs[0].name == "opus");
                able.filter(|leg| test(&leg.media[0])).map(|leg| Id::from(&leg.id)).collect()
            };
            let canvas = |test: fn(&wire::Leg) -> bool| -> BTreeSet<Id> {
                let legs = spec.legs.iter().filter(|leg| composed && test(leg));
                legs.map(|leg| Id::from(&leg.id)).collect()
            };
            if composed {
                prop_assert_eq!(model.layers(&world.held), naive_layers(spec));
                prop_assert_eq!(model.composed(&world.held), (canvas(|leg| !leg.muted), canvas(|_| true)));
            }
            // On a canvas it is shown who speaks.
            let listens = mixed || composed;
            prop_assert_eq!(model.heard(&world.held), audio(listens, |_| true), "each publisher is listened to");
            let receives = |medium: &wire::Medium| medium.direction != i32::from(Direction::SendOnly);
            prop_assert_eq!(model.served(&world.held), audio(mixed, receives), "each receiver gets one stream of it");
            let (released, expected) = (&plan.released, Model::of(&world.held));
            prop_assert!(released.routes.iter().all(|(_, route)| !expected.routes.contains_key(&route.0)));
            prop_assert!(released.streams.iter().all(|(_, stream)| !expected.streams.contains_key(&stream.0)));
            prop_assert!(released.legs.iter().all(|(_, leg)| !expected.legs.contains_key(&leg.0)));
            let ports: BTreeSet<_> = world.held.legs.values().flat_map(|leg| &leg.ports).map(|p| p.base).collect();
            prop_assert!(plan.released.ports.iter().all(|(_, released)| !ports.contains(&released.base)));
        }
        let end = plan_end(&world.held);
        model.take(&end);
        prop_assert_eq!(model, Model::default());
    }
}
