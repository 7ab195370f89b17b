//! The node's state as the wire shows it.

use super::{Conference, State};
use crate::error::NodeError;
use crate::metrics::{io_drops, trunk_drops};
use crate::model::{Id, MediaKind, RouteKey, Spec};
use crate::plan::{HeldCanvas, HeldMix};
use crate::rates::Rate;
use crate::routing::{View, Wanted};
use motet_proto::{media, node as wire};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// What the mix is called where a medium is.
const MIX: &str = "mix";
/// And the canvas.
const CANVAS: &str = "canvas";

impl Conference {
    /// What the conference was given.
    pub(crate) fn allocation(&self) -> wire::ConferenceAllocation {
        let legs = self.held.legs.iter().map(|(id, held)| {
            let transports = self.spec.legs[id].transports.iter().zip(&held.ports);
            wire::LegAllocation {
                leg: id.to_string(),
                transports: transports
                    .map(|(transport, ports)| wire::TransportAllocation {
                        transport: transport.id.clone(),
                        local: ports.rtp.1.to_string(),
                        local_rtcp: ports.rtcp.unwrap_or(ports.rtp).1.to_string(),
                    })
                    .collect(),
            }
        });
        let routes = self.held.routes.iter().map(|(key, held)| wire::RouteAllocation {
            route: Some(key.to_wire(held.ssrc)),
            codecs: held.wanted.mapping.codecs.iter().map(|codec| codec.wire.clone()).collect(),
            kind: self.kind(key).into(),
        });
        let refused = self
            .held
            .refused
            .iter()
            .map(|(key, reason)| wire::RouteRefusal { route: Some(key.to_wire(0)), reason: reason.clone() });
        let (from_mix, refused_by_mix) = self.held.mix.as_ref().map(mixed).unwrap_or_default();
        let (from_canvas, refused_by_canvas) = self.held.canvas.as_ref().map(composed).unwrap_or_default();
        wire::ConferenceAllocation {
            id: self.spec.id.clone(),
            epoch: self.epoch,
            revision: self.revision,
            legs: legs.collect(),
            routes: routes.chain(from_mix).chain(from_canvas).collect(),
            refused: refused.chain(refused_by_mix).chain(refused_by_canvas).collect(),
        }
    }

    fn kind(&self, key: &RouteKey) -> media::MediaKind {
        let from = self.spec.legs[&key.from_leg].media.iter().find(|medium| medium.id == key.from_medium);
        match from.expect("routes name existing media").kind {
            MediaKind::Audio => media::MediaKind::Audio,
            MediaKind::Video => media::MediaKind::Video,
            MediaKind::Content => media::MediaKind::Content,
        }
    }

    /// Workers that have legs of it, in order.
    fn workers(&self) -> impl Iterator<Item = usize> {
        let workers: BTreeSet<usize> = self.held.legs.values().map(|leg| leg.worker).collect();
        workers.into_iter()
    }

    fn running(&self, full: bool) -> wire::RunningConference {
        wire::RunningConference {
            id: self.spec.id.clone(),
            epoch: self.epoch,
            revision: self.revision,
            legs: self.spec.legs.keys().map(|id| id.to_string()).collect(),
            metadata: self.spec.metadata.clone(),
            spec: full.then(|| self.wire.spec()),
            allocation: full.then(|| self.allocation()),
            workers: self.workers().map(|worker| worker as u32).collect(),
            alive_legs: self.alive.iter().map(Id::to_string).collect(),
            brief: false,
        }
    }

    /// For who knows all the rest.
    fn brief(&self) -> wire::RunningConference {
        wire::RunningConference {
            id: self.spec.id.clone(),
            epoch: self.epoch,
            revision: self.revision,
            alive_legs: self.alive.iter().map(Id::to_string).collect(),
            brief: true,
            ..wire::RunningConference::default()
        }
    }
}

/// What comes from a mix, and what cannot.
fn mixed(mix: &HeldMix) -> (Vec<wire::RouteAllocation>, Vec<wire::RouteRefusal>) {
    let outputs = mix.outputs.iter().map(|(leg, output)| wire::RouteAllocation {
        route: Some(made(MIX, leg, &output.part.medium, output.ssrc)),
        codecs: output.part.codecs.iter().map(|codec| codec.wire.clone()).collect(),
        kind: media::MediaKind::Audio.into(),
    });
    (outputs.collect(), refusals(MIX, &mix.unserved, &mix.unheard).collect())
}

/// What comes from a canvas, and what cannot.
fn composed(canvas: &HeldCanvas) -> (Vec<wire::RouteAllocation>, Vec<wire::RouteRefusal>) {
    let views = canvas.views.iter().map(|(leg, held)| wire::RouteAllocation {
        route: Some(made(CANVAS, leg, &held.view.medium, held.ssrc)),
        codecs: match &held.view.relayed {
            Some(relayed) => relayed.mapping.codecs.iter().map(|codec| codec.wire.clone()).collect(),
            None => vec![held.view.codec.wire.clone()],
        },
        kind: media::MediaKind::Video.into(),
    });
    (views.collect(), refusals(CANVAS, &canvas.unserved, &canvas.unseen).collect())
}

/// Why some get nothing that is made here, and others cannot take part in it.
fn refusals(
    what: &str,
    unserved: &BTreeMap<Id, (Id, String)>,
    untaken: &BTreeMap<Id, (Id, String)>,
) -> impl Iterator<Item = wire::RouteRefusal> {
    let unserved = unserved.iter().map(move |(leg, (medium, reason))| wire::RouteRefusal {
        route: Some(made(what, leg, medium, 0)),
        reason: reason.clone(),
    });
    let untaken = untaken.iter().map(move |(leg, (medium, reason))| wire::RouteRefusal {
        route: Some(wire::Route {
            from_leg: leg.to_string(),
            from_medium: medium.to_string(),
            to_medium: what.to_owned(),
            ..wire::Route::default()
        }),
        reason: reason.clone(),
    });
    unserved.chain(untaken)
}

/// How pictures of a route come to its receiver, and why; none: it is sound.
fn way_of_route(
    key: &RouteKey,
    kind: media::MediaKind,
    wanted: &Wanted,
) -> Option<(wire::PictureWay, String)> {
    match wanted.transcoded {
        Some(_) => {
            let why = format!("{}/{} has none of its codecs", key.to_leg, key.to_medium);
            Some((wire::PictureWay::Transcoded, why))
        }
        None if kind == media::MediaKind::Audio => None,
        None => Some((wire::PictureWay::Relayed, String::new())),
    }
}

/// How pictures come to who sees a canvas, and why.
fn way_of_view(spec: &Spec, leg: &Id, view: &View) -> (wire::PictureWay, String) {
    let Some((source, _)) = &view.sees.alone else { return (wire::PictureWay::Composed, String::new()) };
    if view.relayed.is_some() {
        return (wire::PictureWay::Relayed, format!("sees {source} alone"));
    }
    let why = if !spec.fits.contains(source) {
        "is more than asked for, or not measured yet"
    } else if leg == source {
        "is its own"
    } else {
        "may come in a codec that it lacks"
    };
    (wire::PictureWay::Transcoded, format!("sees {source} alone, whose picture {why}"))
}

/// A route from what is made here.
fn made(what: &str, leg: &str, medium: &str, ssrc: u32) -> wire::Route {
    let (from_medium, to_leg, to_medium) = (what.to_owned(), leg.to_owned(), medium.to_owned());
    wire::Route { from_leg: String::new(), from_medium, to_leg, to_medium, ssrc }
}

impl State {
    /// The conferences that run here and are asked for, and whether there are more after these.
    pub(crate) fn list(&self, asked: &wire::ListConferencesRequest) -> (Vec<wire::RunningConference>, bool) {
        let since = asked.since.split_once('/').filter(|(process, _)| asked.full && *process == self.process);
        let known = since.and_then(|(_, changes)| changes.parse::<u64>().ok());
        let named: BTreeSet<&str> = asked.in_full.iter().map(String::as_str).collect();
        let after = (Bound::Excluded(asked.after.as_str()), Bound::Unbounded);
        let mut conferences = self.conferences.range::<str, _>(after);
        let limit = if asked.limit == 0 { usize::MAX } else { asked.limit as usize };
        let list = conferences.by_ref().take(limit).map(|(id, conference)| match known {
            Some(known) if conference.changed <= known && !named.contains(id.as_str()) => conference.brief(),
            _ => conference.running(asked.full),
        });
        (list.collect(), conferences.next().is_some())
    }

    /// What has changed after this moment has changed since this.
    pub(crate) fn cursor(&self) -> String {
        format!("{}/{}", self.process, self.changes)
    }

    /// How busy the node is; what is per time is measured by the caller.
    pub(crate) fn load(&self, rate: Rate) -> wire::Load {
        let mut load = wire::Load {
            conferences: self.conferences.len() as u32,
            ports_used: self.pools.iter().map(|pool| 2 * pool.used() as u32).sum::<u32>()
                + self.ids.iter().map(|ids| ids.shared.len() as u32).sum::<u32>(),
            busy_share: rate.busy_share,
            packets_per_second: rate.packets_per_second,
            ..wire::Load::default()
        };
        let mut drops: HashMap<String, u64> = HashMap::new();
        let (mut sent, mut in_gso) = (0, 0);
        for conference in self.conferences.values() {
            load.legs += conference.held.legs.len() as u32;
            load.streams += conference.held.streams.len() as u32;
            load.routes += conference.held.routes.len() as u32;
        }
        for worker in &self.workers {
            let snapshot = worker.snapshot();
            load.packets_received += snapshot.io.datagrams_received;
            load.packets_sent += snapshot.io.datagrams_sent;
            sent += snapshot.io.datagrams_sent;
            in_gso += snapshot.io.datagrams_in_gso;
            let io = io_drops(&snapshot.io).into_iter().chain([("events_dropped", snapshot.events_dropped)]);
            let io = io.chain(trunk_drops(&snapshot.crossed));
            for (name, count) in snapshot.drops.into_iter().chain(io).filter(|(_, count)| *count > 0) {
                *drops.entry(name.to_owned()).or_default() += count;
            }
        }
        load.gso_share = if sent == 0 { 0.0 } else { in_gso as f64 / sent as f64 };
        load.drops = drops;
        load
    }

    /// Statistics of one conference, read from its worker.
    pub(crate) async fn stats(&self, id: &str) -> Result<wire::ConferenceStatsResponse, NodeError> {
        let conference = self.conferences.get(id).ok_or_else(|| NodeError::NotFound(id.to_owned()))?;
        let held = &conference.held;
        let mut streams = Vec::new();
        let mut routes = Vec::new();
        let from_mix = held.mix.iter().flat_map(|mix| &mix.outputs);
        let from_mix = from_mix
            .map(|(leg, output)| (leg, output.route, made(MIX, leg, &output.part.medium, output.ssrc), None));
        let from_canvas = held.canvas.iter().flat_map(|canvas| &canvas.views);
        let from_canvas = from_canvas.map(|(leg, held)| {
            let way = way_of_view(&conference.spec, leg, &held.view);
            (leg, held.route, made(CANVAS, leg, &held.view.medium, held.ssrc), Some(way))
        });
        let made: Vec<_> = from_mix.chain(from_canvas).collect();
        for worker in conference.workers() {
            let on_worker = |leg: &Id| held.legs[leg].worker == worker;
            let streams_here: Vec<_> = held.streams.iter().filter(|((leg, _), _)| on_worker(leg)).collect();
            let routes_here: Vec<_> = held.routes.iter().filter(|(key, _)| on_worker(&key.to_leg)).collect();
            let ids = streams_here.iter().map(|(_, stream)| **stream).collect();
            let made_here: Vec<_> = made.iter().filter(|(leg, ..)| on_worker(leg)).collect();
            let ids_made = made_here.iter().map(|(_, route, ..)| *route);
            let route_ids = routes_here.iter().map(|(_, route)| route.id).chain(ids_made).collect();
            let stats =
                self.workers[worker].stats(ids, route_ids).await.ok_or(NodeError::WorkerGone(worker))?;
            streams.extend(streams_here.into_iter().map(|(key, _)| key).zip(stats.streams));
            let shown = routes_here.into_iter().map(|(key, held)| {
                (key.to_wire(held.ssrc), way_of_route(key, conference.kind(key), &held.wanted))
            });
            let shown_made = made_here.into_iter().map(|(_, _, route, way)| (route.clone(), way.clone()));
            routes.extend(shown.chain(shown_made).zip(stats.routes));
        }
        let streams = streams.into_iter().filter_map(|((leg, medium), stats)| {
            let stats = stats?;
            Some(wire::StreamStats {
                leg: leg.to_string(),
                medium: medium.to_string(),
                ssrc: stats.ssrc.unwrap_or(0),
                packets: stats.packets,
                bytes: stats.bytes,
                lost: stats.lost,
                jitter_us: stats.jitter.as_micros() as u64,
                silent_ms: stats.silent.map_or(-1, |silent| silent.as_millis() as i64),
                source: stats.source.map(|source| source.to_string()).unwrap_or_default(),
            })
        });
        let routes = routes.into_iter().filter_map(|((route, way), stats)| {
            let stats = stats?;
            let (way, why) = way.unwrap_or_default();
            Some(wire::RouteStats {
                route: Some(route),
                packets: stats.packets,
                bytes: stats.bytes,
                fraction_lost: stats.fraction_lost.map_or(-1.0, f64::from),
                lost: stats.lost,
                jitter_us: stats.jitter.as_micros() as u64,
                round_trip_us: stats.round_trip.map_or(-1, |trip| trip.as_micros() as i64),
                way: way.into(),
                why,
            })
        });
        let (mix, canvas) = (self.mix_stats(conference).await?, self.canvas_stats(conference).await?);
        let recordings = self.recording_stats(conference).await;
        Ok(wire::ConferenceStatsResponse {
            streams: streams.collect(),
            routes: routes.collect(),
            mix,
            canvas,
            recordings,
        })
    }
}
