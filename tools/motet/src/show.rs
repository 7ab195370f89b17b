//! What the client prints, as text: JSON for programs, tables for people.

use booked::{booking, kind, terms};
pub(crate) use booked::{booking_page, booking_table, domain, domain_table, resolved, resolved_page, role};
use motet_proto::conference::*;
use motet_proto::media::{Codec, PairGain};
use motet_proto::node::{Calibration, RunningConference};
use motet_proto::registry::{NodeState, PlannedMove, RegisteredNode};
use serde_json::{Value, json};
use std::fmt::Write;

mod booked;

/// State in small letters: "running".
pub(crate) fn state(info: &ConferenceInfo) -> String {
    short(info.state().as_str_name(), "CONFERENCE_STATE_")
}

/// "CONFERENCE_STATE_PENDING_RESTORE" as "pending-restore".
fn short(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

pub(crate) fn conference(info: &ConferenceInfo) -> Value {
    json!({
        "id": info.id,
        "number": info.number,
        "name": info.name,
        "user_domain": info.user_domain,
        "state": state(info),
        "reason": info.reason,
        "node_id": info.node_id,
        "room": info.room,
        "epoch": info.epoch,
        "revision": info.revision,
        "created_unix_ms": info.created_unix_ms,
        "ended_unix_ms": info.ended_unix_ms,
        "audio": crate::sound::mode_of(info),
        "video": crate::picture::mode_of(info),
        "content": info.content.as_ref().map(|content| {
            json!({ "floor": crate::content::state_of(info), "holder": content.holder, "waiting": content.waiting })
        }),
        "banner": crate::caption::text_of(info, |canvas| canvas.banner.as_ref()),
        "caption": crate::caption::text_of(info, |canvas| canvas.caption.as_ref()),
        "pair_gains": info.pair_gains.iter().map(pair_gain).collect::<Vec<_>>(),
        "recordings": info.recordings.iter().map(|known| known.id.as_str()).collect::<Vec<_>>(),
        "participants": info.participants.iter().map(participant).collect::<Vec<_>>(),
        "type": kind(info),
        "start_unix_ms": info.start_unix_ms,
        "end_unix_ms": info.end_unix_ms,
        "notice_ms": info.notice_ms,
        "empty_ms": info.empty_ms,
        "expected_participants": info.expected_participants,
        "no_restore": info.no_restore,
        "locked": info.locked,
        "has_password": info.has_password,
        "has_chair_password": info.has_chair_password,
        "booking": info.booking,
        "booked": info.booked.as_ref().map(booking),
    })
}

pub(crate) fn participant(info: &ParticipantInfo) -> Value {
    let media = info.media.iter().map(|entry| {
        let medium = entry.medium.clone().unwrap_or_default();
        json!({
            "id": medium.id,
            "kind": short(medium.kind().as_str_name(), "MEDIA_KIND_"),
            "direction": short(medium.direction().as_str_name(), "DIRECTION_"),
            "send_rtp_to": entry.local,
            "send_rtcp_to": entry.local_rtcp,
            "remote": medium.remote,
            "remote_rtcp": medium.remote_rtcp,
            "rtcp_mux": medium.rtcp_mux,
            "latch": short(medium.latch().as_str_name(), "LATCH_POLICY_"),
            "codecs": medium.codecs.iter().map(codec).collect::<Vec<_>>(),
        })
    });
    let receives = info.receives.iter().map(|stream| {
        json!({
            "from": stream.from_participant,
            "from_medium": stream.from_medium,
            "medium": stream.medium,
            "kind": short(stream.kind().as_str_name(), "MEDIA_KIND_"),
            "ssrc": stream.ssrc,
            "codecs": stream.codecs.iter().map(codec).collect::<Vec<_>>(),
        })
    });
    let audio = info.audio.clone().unwrap_or_default();
    json!({
        "id": info.id,
        "name": info.name,
        "alive": info.alive,
        "role": role(info),
        "muted": audio.muted,
        "deaf": audio.deaf,
        "gain_db": audio.gain_db,
        "automatic_gain": audio.automatic_gain,
        "noise_suppression": audio.noise_suppression,
        "private": audio.private,
        "floor": audio.floor,
        "side_room": audio.room,
        "main_room_db": audio.main_room_db,
        "view": crate::layout::view_of(info),
        "camera": crate::caption::look_of(info),
        "media": media.collect::<Vec<_>>(),
        "receives": receives.collect::<Vec<_>>(),
    })
}

fn pair_gain(pair: &PairGain) -> Value {
    json!({ "from": pair.from, "to": pair.to, "gain_db": pair.gain_db, "silent": pair.silent, "heard": pair.heard })
}

/// What becomes of a participant's sound, in words.
pub(crate) fn sound(info: &ParticipantInfo) -> String {
    let audio = info.audio.clone().unwrap_or_default();
    let mut words = Vec::new();
    words.extend(audio.muted.then(|| "muted".to_owned()));
    words.extend(audio.deaf.then(|| "deaf".to_owned()));
    words.extend((audio.gain_db != 0.0).then(|| format!("{:+} dB", audio.gain_db)));
    words.extend(audio.automatic_gain.then(|| "levelled".to_owned()));
    words.extend(audio.noise_suppression.then(|| "without noise".to_owned()));
    words.extend(audio.private.then(|| "private".to_owned()));
    words.extend(audio.floor.then(|| "has the floor".to_owned()));
    words.extend((!audio.room.is_empty()).then(|| format!("in room {}", audio.room)));
    words.extend(audio.main_room_db.map(|gain_db| format!("hears the main room at {gain_db:+} dB")));
    if words.is_empty() { "as it is".to_owned() } else { words.join(", ") }
}

fn codec(codec: &Codec) -> Value {
    json!({
        "payload_type": codec.payload_type,
        "name": codec.name,
        "clock_rate_hz": codec.clock_rate_hz,
        "channels": codec.channels,
        "fmtp": codec.fmtp,
    })
}

pub(crate) fn node(node: &RegisteredNode) -> Value {
    let described = node.node.clone().unwrap_or_default();
    let load = described.load.clone().unwrap_or_default();
    let capacity = described.capacity.clone().unwrap_or_default();
    json!({
        "node_id": described.node_id,
        "boot_id": described.boot_id,
        "address": node.address,
        "state": node_state(node),
        "drain_left_ms": described.drain_left_ms,
        "silent_ms": node.silent_ms,
        "version": described.version,
        "room": described.room,
        "numa_node": described.numa_node,
        "io_backend": described.io_backend,
        "io_reason": described.io_reason,
        "conferences": load.conferences,
        "legs": load.legs,
        "routes": load.routes,
        "packets_received": load.packets_received,
        "packets_sent": load.packets_sent,
        "gso_share": load.gso_share,
        "busy_share": load.busy_share,
        "packets_per_second": load.packets_per_second,
        "units": capacity.units,
        "units_used": node.units_used,
        "calibration": capacity.calibration.as_ref().map(calibration),
        "drops": load.drops,
    })
}

/// A conference as its node lists it.
pub(crate) fn running(running: &RunningConference) -> Value {
    json!({
        "id": running.id,
        "epoch": running.epoch,
        "revision": running.revision,
        "legs": running.legs,
        "workers": running.workers,
    })
}

pub(crate) fn running_table(list: &[RunningConference]) -> String {
    let rows = list.iter().map(|running| {
        let workers: Vec<String> = running.workers.iter().map(u32::to_string).collect();
        let numbers = [running.epoch, running.revision, running.legs.len() as u64].map(|n| n.to_string());
        let [epoch, revision, legs] = numbers;
        vec![running.id.clone(), epoch, revision, legs, workers.join(",")]
    });
    table(&["CONFERENCE", "EPOCH", "REVISION", "LEGS", "WORKERS"], rows.collect())
}

/// What would become of a conference if its node were lost.
pub(crate) fn planned(planned: &PlannedMove) -> Value {
    json!({
        "conference": planned.conference,
        "number": planned.number,
        "name": planned.name,
        "participants": planned.participants,
        "units": planned.units,
        "to_node": planned.to_node,
        "why": planned.why,
    })
}

pub(crate) fn planned_table(moves: &[PlannedMove]) -> String {
    let rows = moves.iter().map(|planned| {
        let to = if planned.to_node.is_empty() { "nowhere".to_owned() } else { planned.to_node.clone() };
        let [participants, units] = [planned.participants.to_string(), planned.units.to_string()];
        vec![planned.number.clone(), participants, units, to, planned.why.clone()]
    });
    table(&["NUMBER", "PARTICIPANTS", "UNITS", "TO", "WHY"], rows.collect())
}

fn calibration(calibration: &Calibration) -> Value {
    json!({
        "measured_unix_ms": calibration.measured_unix_ms,
        "loss_share": calibration.loss_share,
        "delay_p99_us": calibration.delay_p99_us,
        "busy_share": calibration.busy_share,
        "lower_bound": calibration.lower_bound,
        "identity": calibration.identity,
    })
}

/// Units in use, and those that were measured; see docs/capacity.md.
fn units(node: &RegisteredNode) -> String {
    match node.node.as_ref().and_then(|node| node.capacity.as_ref()).map_or(0, |capacity| capacity.units) {
        0 => format!("{}/?", node.units_used),
        measured => format!("{}/{measured}", node.units_used),
    }
}

fn node_state(node: &RegisteredNode) -> String {
    short(NodeState::try_from(node.state).unwrap_or_default().as_str_name(), "NODE_STATE_")
}

/// One line.
pub(crate) fn event(event: &ConferenceEvent, as_json: bool) -> String {
    let kind = short(event.kind().as_str_name(), "CONFERENCE_EVENT_KIND_");
    if as_json {
        let mut line = json!({
            "sequence": event.sequence,
            "unix_ms": event.unix_ms,
            "kind": kind,
            "conference": event.conference,
            "participant": event.participant,
            "node_id": event.node_id,
            "message": event.message,
        });
        if let Some(info) = &event.participant_info {
            line["participant_info"] = participant(info);
        }
        format!("{line}\n")
    } else {
        format!("{} {kind:20} {}\n", time(event.unix_ms), event.message)
    }
}

/// Time of day in UTC.
pub(crate) fn time(unix_ms: i64) -> String {
    let second = unix_ms.div_euclid(1000).rem_euclid(86_400);
    let ms = unix_ms.rem_euclid(1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", second / 3600, second / 60 % 60, second % 60)
}

pub(crate) fn conference_table(conferences: &[ConferenceInfo]) -> String {
    let rows = conferences.iter().map(|info| {
        let participants = info.participants.len().to_string();
        vec![
            info.number.clone(),
            info.name.clone(),
            state(info),
            info.node_id.clone(),
            participants,
            info.id.clone(),
        ]
    });
    table(&["NUMBER", "NAME", "STATE", "NODE", "PEOPLE", "ID"], rows.collect())
}

pub(crate) fn node_table(nodes: &[RegisteredNode]) -> String {
    let rows = nodes.iter().map(|node| {
        let described = node.node.clone().unwrap_or_default();
        let load = described.load.clone().unwrap_or_default();
        vec![
            described.node_id,
            node_state(node),
            node.address.clone(),
            described.room,
            if described.numa_node < 0 { "-".to_owned() } else { described.numa_node.to_string() },
            described.io_backend,
            load.conferences.to_string(),
            load.legs.to_string(),
            units(node),
            format!("{:.0} %", load.busy_share * 100.0),
            format!("{:.0} %", load.gso_share * 100.0),
        ]
    });
    table(
        &["NODE", "STATE", "ADDRESS", "ROOM", "NUMA", "IO", "CONFS", "LEGS", "UNITS", "BUSY", "GSO"],
        rows.collect(),
    )
}

pub(crate) fn conference_page(info: &ConferenceInfo) -> String {
    let why = if info.reason.is_empty() { String::new() } else { format!(": {}", info.reason) };
    let mut page = format!(
        "conference {}  {}\n  id        {}\n  state     {}{why}\n  node      {} (epoch {}, revision {})\n  sound     {}\n{}",
        info.number,
        info.name,
        info.id,
        state(info),
        info.node_id,
        info.epoch,
        info.revision,
        crate::sound::mode_of(info),
        terms(info)
    );
    for participant in &info.participants {
        page.push('\n');
        page.push_str(&participant_page(participant));
    }
    page
}

pub(crate) fn participant_page(info: &ParticipantInfo) -> String {
    let name = if info.name.is_empty() { String::new() } else { format!(" ({})", info.name) };
    let sound = info.audio.as_ref().map(|_| format!(", {}", sound(info))).unwrap_or_default();
    let role = match info.role() {
        ParticipantRole::Speaker | ParticipantRole::Unspecified => String::new(),
        _ => format!(", {}", role(info)),
    };
    let view = info
        .video
        .as_ref()
        .map(|_| format!(", {}, {}", crate::caption::look_of(info), crate::layout::view_of(info)));
    let view = view.unwrap_or_default();
    let alive = if info.alive { "sending" } else { "silent" };
    let mut page = format!("{}{name}, {alive}{role}{sound}{view}\n", info.id);
    let mut rows = Vec::new();
    for entry in &info.media {
        let medium = entry.medium.clone().unwrap_or_default();
        let remote = if medium.remote.is_empty() { "where packets come from" } else { &medium.remote };
        rows.push(vec![
            format!("  {}", medium.id),
            format!("send to {}", entry.local),
            format!("rtcp {}", entry.local_rtcp),
            format!("receives at {remote}"),
            codecs(&medium.codecs),
        ]);
    }
    page.push_str(&align(&rows));
    let mut rows = Vec::new();
    for stream in &info.receives {
        rows.push(vec![
            match stream.from_participant.as_str() {
                "" => "  from the mix".to_owned(),
                who => format!("  from {who}/{}", stream.from_medium),
            },
            format!("in {}", stream.medium),
            format!("ssrc {}", stream.ssrc),
            codecs(&stream.codecs),
        ]);
    }
    page.push_str(&align(&rows));
    page
}

fn codecs(codecs: &[Codec]) -> String {
    let one = |codec: &Codec| format!("{}/{}", codec.name.to_ascii_lowercase(), codec.payload_type);
    codecs.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    all.extend(rows);
    align(&all)
}

/// Rows with columns under each other.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
