//! What a node counts of a conference, as tables and as JSON.

use crate::show::table;
use motet_proto::node::{
    CanvasStats, ConferenceStatsResponse, MixSourceStats, MixStats, PictureWay, Route, RouteStats,
    StreamStats,
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// All of it, for programs. What is not known is null.
pub(crate) fn value(stats: &ConferenceStatsResponse) -> Value {
    json!({
        "streams": stats.streams.iter().map(stream).collect::<Vec<_>>(),
        "routes": stats.routes.iter().map(route).collect::<Vec<_>>(),
        "mix": stats.mix.as_ref().map(mix),
        "canvas": stats.canvas.as_ref().map(canvas),
    })
}

fn stream(stream: &StreamStats) -> Value {
    json!({
        "leg": stream.leg,
        "medium": stream.medium,
        "ssrc": stream.ssrc,
        "packets": stream.packets,
        "bytes": stream.bytes,
        "lost": stream.lost,
        "jitter_us": stream.jitter_us,
        "silent_ms": known(stream.silent_ms),
        "source": stream.source,
    })
}

fn route(stats: &RouteStats) -> Value {
    let route = stats.route.clone().unwrap_or_default();
    json!({
        "from": route.from_leg,
        "from_medium": route.from_medium,
        "to": route.to_leg,
        "to_medium": route.to_medium,
        "ssrc": route.ssrc,
        "packets": stats.packets,
        "bytes": stats.bytes,
        "fraction_lost": (stats.fraction_lost >= 0.0).then_some(stats.fraction_lost),
        "lost": stats.lost,
        "jitter_us": stats.jitter_us,
        "round_trip_us": known(stats.round_trip_us),
        "way": way(stats),
        "why": stats.why,
    })
}

/// How pictures come to the receiver; none: it is sound.
fn way(stats: &RouteStats) -> Option<&'static str> {
    match stats.way() {
        PictureWay::Unspecified => None,
        PictureWay::Relayed => Some("relayed"),
        PictureWay::Transcoded => Some("transcoded"),
        PictureWay::Composed => Some("composed"),
    }
}

/// What is negative is not known.
fn known(value: i64) -> Option<i64> {
    (value >= 0).then_some(value)
}

fn mix(mix: &MixStats) -> Value {
    let outputs = mix.outputs.iter().map(|output| {
        json!({
            "leg": output.leg,
            "codec": output.codec,
            "guarded_loss_percent": output.guarded_loss_percent,
        })
    });
    json!({
        "mixing_thread": mix.mixing_thread,
        "rates_hz": mix.rates_hz,
        "sources": mix.sources.iter().map(source).collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
        "drops": mix.drops,
    })
}

fn source(source: &MixSourceStats) -> Value {
    json!({
        "leg": source.leg,
        "mixed": source.mixed,
        "speaking": source.speaking,
        "level_dbov": source.level_dbov,
        "packets": source.packets,
        "lost": source.lost,
        "drops": source.drops,
        "recovered": source.recovered,
        "concealed_ms": source.concealed_ms,
        "delay_ms": source.delay_ms,
    })
}

/// The same, for people.
pub(crate) fn tables(stats: &ConferenceStatsResponse) -> String {
    let streams = stats.streams.iter().map(|stream| {
        let jitter = format!("{:.1}", stream.jitter_us as f64 / 1e3);
        let from = if stream.source.is_empty() { "-".to_owned() } else { stream.source.clone() };
        let counts = [stream.packets.to_string(), stream.lost.to_string()];
        [vec![format!("{}/{}", stream.leg, stream.medium)], counts.into(), vec![jitter, from]].concat()
    });
    let routes = stats.routes.iter().map(|stats| {
        let fraction = match stats.fraction_lost {
            unknown if unknown < 0.0 => "-".to_owned(),
            fraction => format!("{:.1} %", fraction * 100.0),
        };
        let route = stats.route.clone().unwrap_or_default();
        let ends = vec![from(&route), format!("{}/{}", route.to_leg, route.to_medium)];
        let way = way(stats).unwrap_or("-");
        let way = if stats.why.is_empty() { way.to_owned() } else { format!("{way}: {}", stats.why) };
        [ends, vec![stats.packets.to_string(), stats.lost.to_string(), fraction, way]].concat()
    });
    let mut page = table(&["FROM", "PACKETS", "LOST", "JITTER MS", "ADDRESS"], streams.collect());
    page += "\n";
    page += &table(&["FROM", "TO", "PACKETS", "LOST", "LATELY", "WAY"], routes.collect());
    if let Some(mix) = &stats.mix {
        page += "\n";
        page += &mix_tables(mix);
    }
    if let Some(canvas) = &stats.canvas {
        page += "\n";
        page += &canvas_table(canvas);
    }
    page
}

fn from(route: &Route) -> String {
    if route.from_leg.is_empty() {
        route.from_medium.clone()
    } else {
        format!("{}/{}", route.from_leg, route.from_medium)
    }
}

fn mix_tables(mix: &MixStats) -> String {
    let sources = mix.sources.iter().map(|source| {
        let state = match (source.speaking, source.mixed) {
            (true, true) => "speaks",
            (true, false) => "speaks, not mixed",
            (false, true) => "mixed",
            (false, false) => "silent",
        };
        vec![
            source.leg.clone(),
            state.to_owned(),
            format!("{:.0}", source.level_dbov),
            source.packets.to_string(),
            source.lost.to_string(),
            source.concealed_ms.to_string(),
            source.delay_ms.to_string(),
            reasons(&source.drops),
        ]
    });
    let head = ["IN THE MIX", "STATE", "DBOV", "PACKETS", "LOST", "CONCEALED MS", "DELAY MS", "DROPPED"];
    let outputs = mix.outputs.iter().map(|output| {
        vec![output.leg.clone(), output.codec.clone(), format!("{} %", output.guarded_loss_percent)]
    });
    let hears = table(&["HEARS THE MIX", "CODEC", "GUARDED LOSS"], outputs.collect());
    let rates: Vec<String> = mix.rates_hz.iter().map(u32::to_string).collect();
    let rates = if rates.is_empty() { "no".to_owned() } else { rates.join(", ") };
    let (thread, drops) = (mix.mixing_thread, reasons(&mix.drops));
    let thread = format!("mixed by thread {thread} at {rates} Hz; dropped: {drops}\n");
    format!("{}\n{hears}\n{thread}", table(&head, sources.collect()))
}

fn canvas(canvas: &CanvasStats) -> Value {
    let outputs = canvas.outputs.iter().map(|output| {
        json!({
            "codec": output.codec,
            "layout": output.layout,
            "pinned": output.pinned,
            "legs": output.legs,
            "from_leg": output.from_leg,
            "from_medium": output.from_medium,
        })
    });
    json!({
        "canvas_thread": canvas.canvas_thread,
        "frames_per_second": canvas.frames_per_second,
        "sources": canvas.sources,
        "outputs": outputs.collect::<Vec<_>>(),
        "decoded": canvas.decoded,
        "decoded_layers": canvas.decoded_layers,
        "decodes_spared": canvas.decodes_spared,
        "undecoded": canvas.undecoded,
        "concealed": canvas.concealed,
        "transcoded": canvas.transcoded,
        "composed": canvas.composed,
        "composes_shared": canvas.composes_shared,
        "encoded": canvas.encoded,
        "encodes_shared": canvas.encodes_shared,
        "missed": canvas.missed,
        "packets_refused": canvas.packets_refused,
    })
}

fn canvas_table(canvas: &CanvasStats) -> String {
    let outputs = canvas.outputs.iter().map(|output| {
        let pinned = if output.pinned.is_empty() { "-" } else { &output.pinned };
        let layout = match output.from_leg.as_str() {
            "" => output.layout.clone(),
            leg => format!("{leg}/{} alone", output.from_medium),
        };
        vec![output.codec.clone(), layout, pinned.to_owned(), output.legs.join(", ")]
    });
    let CanvasStats { decoded, decoded_layers, undecoded, concealed, composed, missed, .. } = canvas;
    let CanvasStats { transcoded, encoded, .. } = canvas;
    let (thread, rate) = (canvas.canvas_thread, canvas.frames_per_second);
    format!(
        "{}\nmade by thread {thread}, {rate:.1} pictures a second\n\
         decoded {decoded} ({decoded_layers} of smaller layers), not decodable {undecoded}, mended {concealed}; composed {composed}, missed {missed}; \
         transcoded {transcoded}; encoded {encoded}\n",
        table(&["ENCODED AS", "LAYOUT", "PINNED", "SEEN BY"], outputs.collect())
    )
}

fn reasons(drops: &HashMap<String, u64>) -> String {
    let mut reasons: Vec<String> = drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    reasons.sort();
    if reasons.is_empty() { "-".to_owned() } else { reasons.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_proto::node::MixOutputStats;

    #[test]
    fn what_is_dropped_is_said_by_reason() {
        let source = MixSourceStats {
            leg: "a".into(),
            speaking: true,
            mixed: true,
            packets: 7,
            drops: HashMap::from([("late".to_owned(), 2), ("bad_payload".to_owned(), 5)]),
            ..MixSourceStats::default()
        };
        let output = MixOutputStats { leg: "b".into(), codec: "opus".into(), guarded_loss_percent: 5 };
        let (sources, outputs, rates_hz) = (vec![source], vec![output], vec![8_000, 48_000]);
        let mix = MixStats { sources, outputs, rates_hz, ..MixStats::default() };
        let from_mix = Route { from_medium: "mix".into(), to_leg: "b".into(), ..Route::default() };
        let route = RouteStats { route: Some(from_mix), fraction_lost: -1.0, ..RouteStats::default() };
        let stats = ConferenceStatsResponse { routes: vec![route], mix: Some(mix), ..Default::default() };
        let page = tables(&stats);
        assert!(page.contains("bad_payload 5, late 2") && page.contains("speaks"), "{page}");
        assert!(page.contains("at 8000, 48000 Hz"), "{page}");
        let value = value(&stats);
        assert_eq!(
            (&value["routes"][0]["fraction_lost"], &value["routes"][0]["from"]),
            (&Value::Null, &"".into())
        );
        assert_eq!(value["mix"]["outputs"][0]["guarded_loss_percent"], 5);
    }
}
