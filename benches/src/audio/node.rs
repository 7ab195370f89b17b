//! The real `motet node`, mixing.

use crate::audio::{Mixer, Room, Row, Seat};
use crate::node::Node;
use crate::relay::Subject;
use anyhow::{Context, bail};
use motet_proto::media::{AudioMode, AudioSettings, Codec, Direction, LatchPolicy, MediaKind, MixSettings};
use motet_proto::node::{ConferenceAllocation, ConferenceSpec, Leg, Medium, RoutePolicy, Transport};
use motet_rtpgen::audio::LEVEL_EXTENSION_ID;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Counters of ticks that were not in time.
const LATE: [&str; 2] = ["motet_mixing_late_ticks_total", "motet_mixing_missed_ticks_total"];

/// A node whose one mixing thread is on the same core as its worker.
#[derive(Debug)]
pub struct MixingNode(Node);

impl MixingNode {
    /// Starts it on `core`, with all ports of `ip` for itself.
    pub fn start(binary: &Path, ip: IpAddr, core: usize) -> anyhow::Result<MixingNode> {
        let cores = core.to_string();
        Ok(MixingNode(Node::start_with("motet", "uring", binary, ip, core, &["--mixing-cores", &cores])?))
    }
}

impl Mixer for MixingNode {
    fn name(&self) -> &'static str {
        "motet"
    }

    fn pid(&self) -> u32 {
        self.0.pid()
    }

    fn takes_part(&self, _: &Row) -> bool {
        true
    }

    fn prepare(&mut self, row: &Row, rooms: &[Room]) -> anyhow::Result<Vec<Vec<SocketAddr>>> {
        let specs = rooms.iter().enumerate().map(|(index, room)| conference(index, row, room));
        let allocations = self.0.put(specs.collect())?;
        rooms.iter().zip(&allocations).map(|(room, allocation)| addresses(room, allocation)).collect()
    }

    fn late_ticks(&self) -> anyhow::Result<Option<u64>> {
        Ok(late_ticks(&self.0.metrics()?))
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.0.end()
    }
}

/// Late and missed ticks of all mixing threads. None: the page does not say.
pub fn late_ticks(page: &str) -> Option<u64> {
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.split('{').next()?;
        // A float, as far as the format goes.
        LATE.contains(&name).then(|| value.parse::<f64>().ok()).flatten()
    };
    let values: Vec<f64> = page.lines().filter_map(value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

fn leg_name(index: usize) -> String {
    format!("p{index}")
}

fn addresses(room: &Room, allocation: &ConferenceAllocation) -> anyhow::Result<Vec<SocketAddr>> {
    if let Some(refused) = allocation.refused.first() {
        bail!("the node refused a route: {}", refused.reason);
    }
    let address = |index: usize| {
        let leg = allocation.legs.iter().find(|leg| leg.leg == leg_name(index));
        let transport = leg.and_then(|leg| leg.transports.first()).context("the node gave a leg no port")?;
        Ok(transport.local.parse()?)
    };
    (0..room.seats.len()).map(address).collect()
}

fn conference(index: usize, row: &Row, room: &Room) -> ConferenceSpec {
    let mix =
        MixSettings { rate_hz: row.mix_rate_hz, speakers_max: row.talkers.max(3), ..MixSettings::default() };
    ConferenceSpec {
        id: format!("mix{index}"),
        legs: room.seats.iter().enumerate().map(|(index, seat)| leg(index, row, seat)).collect(),
        route_policy: RoutePolicy::All.into(),
        audio: Some(AudioSettings {
            mode: AudioMode::Mix.into(),
            mix: Some(mix),
            ..AudioSettings::default()
        }),
        ..ConferenceSpec::default()
    }
}

fn leg(index: usize, row: &Row, seat: &Seat) -> Leg {
    let codec = Codec {
        payload_type: row.codec.payload_type().into(),
        name: row.codec.encoding_name().to_owned(),
        clock_rate_hz: row.codec.clock_hz(),
        channels: row.codec.sdp_channels().into(),
        fmtp: if row.wants_fec() { row.codec.fmtp().to_owned() } else { String::new() },
    };
    let direction = if seat.speaks { Direction::SendReceive } else { Direction::ReceiveOnly };
    let medium = Medium {
        id: "audio".to_owned(),
        kind: MediaKind::Audio.into(),
        direction: direction.into(),
        codecs: vec![codec],
        ssrc: if seat.speaks { seat.ssrc } else { 0 },
        audio_level_id: if row.level_extension { LEVEL_EXTENSION_ID.into() } else { 0 },
        ..Medium::default()
    };
    let transport = Transport {
        remote: seat.remote.to_string(),
        rtcp_mux: true,
        latch: LatchPolicy::Fixed.into(),
        ..Transport::default()
    };
    Leg { id: leg_name(index), transports: vec![transport], media: vec![medium], ..Leg::default() }
}
