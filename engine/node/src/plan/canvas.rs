//! Canvases: how pictures reach a canvas thread, and come back as streams that many receive.
//!
//! As for a mix (`mix.rs`), the thread is the far end of a trunk from each worker with somebody who takes part. Who
//! can be seen has a route to it. What comes back is published by the trunk once for all on a worker who get the
//! same (a *feed*), and each of them has a route from there: the relay sends it on as it does a participant's stream.
//! So numbers and timestamps go on towards a participant whatever feed it gets, and requests for key frames come as
//! for any stream.
//!
//! What is transcoded goes the same way: the medium has a route to the thread, and what comes back is a feed that shows
//! it alone. The routes to receivers are those of the policy, which have that feed's stream instead of the publisher's.

use super::recording::running;
use super::{Holdings, MixTrunk, Plan, Planner, Ssrcs};
use crate::error::NodeError;
use crate::model::{Id, RouteKey};
use crate::routing::{Composed, Format, Routes, Sees, View, Wanted};
use motet_relay::{Command, Kind, PayloadType, PortId, RouteId, RouteSpec, StreamId, StreamSpec};
use motet_rtp::payload::PayloadFormat;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod form;

pub(crate) use form::{CONTENT, stream_name};
pub use form::{
    CanvasForm, CanvasStep, FeedForm, FeedKey, HeldCanvas, HeldFeed, HeldTap, HeldView, SeenForm,
};

/// RFC 6184 section 8.1, and the other formats.
const CLOCK_HZ: u32 = 90_000;

impl Planner<'_> {
    /// Begins, changes or ends the canvas.
    pub(super) fn change_canvas(&mut self, routes: &Routes, ssrcs: &mut Ssrcs) -> Result<(), NodeError> {
        let held = self.held.canvas.as_ref();
        let Some((composed, settings)) = routes.composed.as_ref().zip(self.new.video.encoded()) else {
            if let Some(held) = held {
                self.plan.end_canvas(self.held, held);
                let trunks = held.trunks.iter().map(|(worker, trunk)| (held.station, *worker, *trunk));
                self.closing.extend(trunks);
            }
            return Ok(());
        };
        let station = held.map_or_else(|| self.resources.canvas(), |held| Ok(held.station))?;
        let mut canvas = HeldCanvas {
            station,
            trunks: self.change_canvas_trunks(station, composed, routes)?,
            sources: BTreeMap::new(),
            content: None,
            streams: BTreeMap::new(),
            feeds: BTreeMap::new(),
            views: BTreeMap::new(),
            tap: None,
            unseen: composed.unseen.clone(),
            unserved: composed.unserved.clone(),
            form: Arc::new(CanvasForm::empty(settings.clone())),
        };
        self.leave_canvas(composed, &canvas.trunks);
        let mut crossing: BTreeSet<u32> = held.iter().flat_map(|held| held.crossing()).collect();
        for (leg, part) in &composed.sources {
            let before = held.and_then(|held| held.sources.get(leg));
            let source = self.change_source((&canvas.trunks, &mut crossing), leg, part, before)?;
            canvas.sources.insert(leg.clone(), source);
        }
        if let Some((leg, part)) = composed.content.as_ref() {
            let before = held.and_then(|held| held.content.as_ref()).filter(|(known, _)| known == leg);
            let trunks = (&canvas.trunks, &mut crossing);
            let source = self.change_source(trunks, leg, part, before.map(|(_, source)| source))?;
            canvas.content = Some((leg.clone(), source));
        }
        for (key, part) in &composed.streams {
            let before = held.and_then(|held| held.streams.get(key));
            let source = self.change_source((&canvas.trunks, &mut crossing), &key.0, part, before)?;
            canvas.streams.insert(key.clone(), source);
        }
        let transcoded = routes.wanted.iter().filter_map(|(key, wanted)| self.transcoded(key, wanted));
        for feed in transcoded.collect::<Vec<_>>() {
            self.make_feed(&mut canvas, &mut crossing, feed)?;
        }
        for (leg, view) in &composed.outputs {
            let worker = self.plan.next.legs[leg].worker;
            let feed = FeedKey { worker, format: view.format, sees: view.sees.clone() };
            if view.relayed.is_none() {
                self.make_feed(&mut canvas, &mut crossing, feed.clone())?;
            }
            let view = self.change_view(&canvas, leg, (view, feed), ssrcs)?;
            canvas.views.insert(leg.clone(), view);
        }
        self.end_feeds(&canvas);
        canvas.tap = self.change_canvas_tap(station, &mut crossing);
        let form = Arc::new(CanvasForm::new(self.new, &self.plan.next, &canvas));
        if held.is_none_or(|held| held.form != form) {
            let goes = |key: &FeedKey, feed: &FeedForm| form.outputs.get(key) != Some(feed);
            let first = held.and_then(|held| held.form.without(goes)).map(Arc::new);
            self.plan.canvas = Some(CanvasStep { station, first, last: Some(Arc::clone(&form)) });
        }
        self.plan.next.canvas = Some(HeldCanvas { form, ..canvas });
        Ok(())
    }

    /// One trunk between the thread and each worker with somebody who takes part.
    fn change_canvas_trunks(
        &mut self,
        station: usize,
        composed: &Composed,
        routes: &Routes,
    ) -> Result<BTreeMap<usize, MixTrunk>, NodeError> {
        let Composed { sources, outputs, content, streams, .. } = composed;
        let content = content.iter().map(|(leg, _)| leg);
        let streams = streams.keys().map(|(leg, _)| leg);
        let receivers = routes.wanted.iter().filter(|(_, wanted)| wanted.transcoded.is_some());
        let legs = sources.keys().chain(outputs.keys()).chain(content).chain(streams);
        let legs = legs.chain(receivers.map(|(key, _)| &key.to_leg));
        let needed: BTreeSet<usize> = legs.map(|leg| self.plan.next.legs[leg].worker).collect();
        let held = self.held.canvas.iter().flat_map(|held| &held.trunks);
        let (stay, go): (Vec<_>, Vec<_>) =
            held.map(|(worker, trunk)| (*worker, *trunk)).partition(|(worker, _)| needed.contains(worker));
        self.closing.extend(go.into_iter().map(|(worker, trunk)| (station, worker, trunk)));
        self.change_mix_trunks(needed, &stay.into_iter().collect(), (station, "canvas"))
    }

    /// Closes trunks that nobody needs, when what came over them has other streams: a route ends with its stream's leg.
    pub(super) fn close_canvas_trunks(&mut self) {
        for (station, worker, trunk) in std::mem::take(&mut self.closing) {
            self.plan.close_mix_trunk(station, worker, &trunk);
        }
    }

    /// What was switched goes on with a key frame: what comes before refers to pictures that the receiver has not got.
    pub(super) fn await_key_frame(
        &mut self,
        worker: usize,
        route: RouteId,
        formats: Vec<(u8, PayloadFormat)>,
    ) {
        if !formats.is_empty() {
            self.plan.command(worker, Command::AwaitKeyFrame { route, formats });
        }
    }

    /// How pictures are in the packets that a view is made of.
    fn formats_of_view(&self, view: &View) -> Vec<(u8, PayloadFormat)> {
        match &view.relayed {
            Some(relayed) => self.formats_of(&relayed.source),
            None => format_of(view.format).into_iter().collect(),
        }
    }

    /// How pictures are in the packets of a route.
    pub(super) fn formats_of_route(&self, key: &RouteKey, wanted: &Wanted) -> Vec<(u8, PayloadFormat)> {
        match wanted.transcoded {
            Some(format) => format_of(format).into_iter().collect(),
            None => self.formats_of(&key.source()),
        }
    }

    fn formats_of(&self, (leg, medium): &(Id, Id)) -> Vec<(u8, PayloadFormat)> {
        let codecs = self.medium_of(leg, medium).codecs.iter();
        codecs.filter_map(|codec| Some((codec.payload_type, PayloadFormat::parse(&codec.name)?))).collect()
    }

    /// What a route carries that is transcoded.
    fn transcoded(&self, key: &RouteKey, wanted: &Wanted) -> Option<FeedKey> {
        let sees = Sees::alone(&key.from_leg, &key.from_medium);
        let worker = self.plan.next.legs[&key.to_leg].worker;
        wanted.transcoded.map(|format| FeedKey { worker, format, sees })
    }

    /// The stream of a route that is transcoded.
    pub(super) fn transcoded_stream(&self, key: &RouteKey, wanted: &Wanted) -> Option<StreamId> {
        let feed = self.transcoded(key, wanted)?;
        Some(self.plan.next.canvas.as_ref().expect("somebody transcodes").feeds[&feed].stream)
    }

    /// Ends routes of who was relayed another one's stream and sees no canvas any more; of who gets something else, takes
    /// them from that stream: it may end, with its leg or a trunk, before they are switched.
    pub(super) fn detach_views(&mut self, routes: &Routes) {
        let held = self.held;
        for (leg, view) in held.canvas.iter().flat_map(|canvas| &canvas.views) {
            let Some(relayed) = view.view.relayed.as_ref().filter(|_| self.kept.contains(leg.as_str()))
            else {
                continue;
            };
            let next = routes.composed.as_ref().and_then(|composed| composed.outputs.get(leg));
            let goes_on = next.and_then(|next| next.relayed.as_ref()) == Some(relayed);
            let source_stays = self.kept.contains(relayed.source.0.as_str());
            let worker = held.legs[leg].worker;
            if !self.view_stays(leg, view, next) {
                self.plan.command(worker, Command::RemoveRoute(view.route));
            } else if !goes_on || !source_stays {
                self.plan.command(worker, Command::DetachRoute(view.route));
            }
        }
    }

    /// The way to the recorder, while a recording takes the canvas.
    fn change_canvas_tap(&mut self, station: usize, crossing: &mut BTreeSet<u32>) -> Option<HeldTap> {
        let held = self.held.canvas.as_ref().and_then(|held| held.tap);
        let records = || running(self.new).any(|recording| recording.canvas);
        if self.new.video.canvas().is_none() || !records() {
            self.plan.released.trunk_ports.extend(held.iter().flat_map(|tap| tap_ports(station, tap)));
            return None;
        }
        held.or_else(|| {
            let recorder = self.resources.recorder()?;
            let (near, far) = (self.resources.trunk_port(station), self.resources.trunk_port(recorder));
            Some(HeldTap { station: recorder, near, far, ssrc: self.crossing_ssrc(crossing) })
        })
    }

    /// Ends what no longer takes part, or takes part in another way. What ends with its leg or its trunk needs no
    /// command of its own.
    fn leave_canvas(&mut self, composed: &Composed, trunks: &BTreeMap<usize, MixTrunk>) {
        let Some(held) = &self.held.canvas else { return };
        self.leave_sources(&held.sources, &composed.sources, trunks);
        let (before, after) = (held.content.clone(), composed.content.clone());
        self.leave_sources(&before.into_iter().collect(), &after.into_iter().collect(), trunks);
        for (key, source) in &held.streams {
            self.leave_source((&key.0, source), composed.streams.contains_key(key), trunks);
        }
        for (leg, view) in &held.views {
            if self.view_stays(leg, view, composed.outputs.get(leg)) {
                continue;
            }
            let worker = self.held.legs[leg].worker;
            // What was relayed has ended already.
            let made = view.view.relayed.is_none() && trunks.contains_key(&worker);
            if self.kept.contains(leg.as_str()) && made {
                self.plan.command(worker, Command::RemoveRoute(view.route));
            }
            self.plan.released.routes.push((worker, view.route));
        }
    }

    /// Whether what a leg sees goes on, at the same port.
    fn view_stays(&self, leg: &Id, held: &HeldView, view: Option<&View>) -> bool {
        view.is_some_and(|view| self.stays_at_port(leg, &held.view.medium, &view.medium))
    }

    /// Has a feed made: the one that others get, or was there before, or a new one.
    fn make_feed(
        &mut self,
        canvas: &mut HeldCanvas,
        crossing: &mut BTreeSet<u32>,
        key: FeedKey,
    ) -> Result<(), NodeError> {
        if canvas.feeds.contains_key(&key) {
            return Ok(());
        }
        let worker = key.worker;
        let held = self.held.canvas.as_ref();
        // A worker's feeds end with its trunk, and nobody there has seen anything since.
        let feed = match held.and_then(|held| held.feeds.get(&key)) {
            Some(feed) => *feed,
            None => {
                let (stream, crossing) = (self.resources.stream(worker)?, self.crossing_ssrc(crossing));
                let number = key.format.payload_type();
                let spec = StreamSpec {
                    leg: canvas.trunks[&worker].leg,
                    transport: 0,
                    kind: Kind::Video,
                    ssrc: Some(crossing),
                    payload_types: vec![PayloadType { number, clock_hz: CLOCK_HZ }],
                };
                self.plan.command(worker, Command::AddStream(stream, spec));
                HeldFeed { stream, crossing }
            }
        };
        canvas.feeds.insert(key, feed);
        Ok(())
    }

    fn change_view(
        &mut self,
        canvas: &HeldCanvas,
        leg: &Id,
        (view, feed): (&View, FeedKey),
        ssrcs: &mut Ssrcs,
    ) -> Result<HeldView, NodeError> {
        let worker = self.plan.next.legs[leg].worker;
        let (stream, payload_map) = match &view.relayed {
            Some(relayed) => (self.stream_at(&relayed.source, worker), relayed.mapping.payload_types.clone()),
            None => {
                let payload_types = (feed.format.payload_type(), view.codec.payload_type);
                (canvas.feeds[&feed].stream, vec![payload_types])
            }
        };
        let before = self.held.canvas.as_ref().and_then(|held| held.views.get(leg));
        if let Some(known) = before.filter(|known| self.view_stays(leg, known, Some(view))) {
            let (route, ssrc) = (known.route, known.ssrc);
            if known.stream != stream || known.payload_map != payload_map {
                // Another picture: what the participant receives goes on where it was.
                let payload_map = payload_map.clone();
                self.plan.command(worker, Command::SwitchRoute { route, stream, payload_map });
                self.await_key_frame(worker, route, self.formats_of_view(view));
            }
            return Ok(HeldView { view: view.clone(), feed, stream, payload_map, route, ssrc });
        }
        let same = feed.name();
        let ssrc = match before {
            Some(known) => known.ssrc,
            None => {
                let others = canvas.views.values().filter(|other| other.feed.name() == same);
                let common = others.map(|other| other.ssrc).next();
                self.canvas_ssrc(leg, &same, common, ssrcs.entry(leg.clone()).or_default())
            }
        };
        let route = self.resources.route(worker)?;
        let spec = RouteSpec {
            stream,
            leg: self.plan.next.legs[leg].id,
            transport: self.medium_of(leg, &view.medium).transport as u8,
            ssrc,
            payload_map: payload_map.clone(),
            numbering: self.canvas_numbering(&same),
            active: true,
            shared: true,
        };
        self.plan.command(worker, Command::AddRoute(route, spec));
        Ok(HeldView { view: view.clone(), feed, stream, payload_map, route, ssrc })
    }

    /// Ends feeds that nobody gets any more.
    fn end_feeds(&mut self, canvas: &HeldCanvas) {
        let held = self.held.canvas.iter().flat_map(|held| &held.feeds);
        for (key, feed) in held.filter(|(key, _)| !canvas.feeds.contains_key(*key)) {
            if canvas.trunks.contains_key(&key.worker) {
                self.plan.command(key.worker, Command::RemoveStream(feed.stream));
            }
            self.plan.released.streams.push((key.worker, feed.stream));
        }
    }
}

impl Plan {
    /// Removes all of a canvas but its trunks.
    pub(super) fn end_canvas(&mut self, holdings: &Holdings, held: &HeldCanvas) {
        let sources = held.taken().map(|(leg, source)| (leg, source.route));
        let views = held.views.iter().map(|(leg, view)| (leg, view.route));
        let routes = sources.chain(views).map(|(leg, route)| (holdings.legs[leg].worker, route));
        self.released.routes.extend(routes);
        self.released.streams.extend(held.feeds.iter().map(|(key, feed)| (key.worker, feed.stream)));
        self.released.trunk_ports.extend(held.tap.iter().flat_map(|tap| tap_ports(held.station, tap)));
        let first = held.form.without(|_, _| true).map(Arc::new);
        self.canvas = Some(CanvasStep { station: held.station, first, last: None });
    }
}

/// Payload type and format between the canvas and the workers.
fn format_of(format: Format) -> Option<(u8, PayloadFormat)> {
    Some((format.payload_type(), PayloadFormat::parse(format.name.encoding_name())?))
}

/// Ports of the way to the recorder, and who has them.
fn tap_ports(canvas: usize, tap: &HeldTap) -> [(usize, PortId); 2] {
    [(canvas, tap.near), (tap.station, tap.far)]
}
