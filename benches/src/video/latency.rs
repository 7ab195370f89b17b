//! From a camera over a canvas to a receiver: a real node on one core, cameras and receiver on another one.
//!
//! Four cameras of 720p30 are seen on a canvas of 1080p30. One of them draws a number into each picture, encodes it and
//! sends it at once; the receiver decodes the canvas and reads the number. What is measured is the time from before the
//! picture is drawn until the canvas with it is decoded: both encoders and decoders, loopback, the node, and the wait for
//! the next canvas. The other three send pictures that were encoded before.

use super::ffmpeg::{self, CANVAS};
use super::live::{Camera, Film, Lens, PAYLOAD_TYPE, PERIOD, watch};
use crate::node::Node;
use crate::process::pin;
use crate::{Figure, table};
use anyhow::{Context, ensure};
use motet_codecs::video::PictureSize;
use motet_mixer::video::PixelRect;
use motet_proto::media::{
    CanvasSettings, CellShows, CellSubject, Codec, Direction, LatchPolicy, MediaKind, VideoMode,
    VideoSettings,
};
use motet_proto::node::{ConferenceAllocation, ConferenceSpec, Leg, Medium, Transport};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// Its name.
pub const ROW: &str = "camera to canvas to receiver on loopback";
const CAMERAS: u32 = 4;
const CAMERA_SIZE: PictureSize = PictureSize::new(1280, 720);
const CAMERA_BPS: u32 = 1_500_000;
const CANVAS_BPS: u32 = 3_000_000;
/// Pictures that are not counted: key frames have come and decoders are warm then.
const WARM_UP: u16 = 60;
/// What is on its way at the end arrives.
const LAST: Duration = Duration::from_secs(1);
/// Milliseconds that half of the pictures may take.
const MEDIAN_GOAL_MS: f64 = 100.0;
/// Of the pictures, those that must have been seen for times to say anything. A node with too much to do shows fewer.
const SEEN_MIN: f64 = 0.1;

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The program `motet`.
    pub binary: &'a Path,
    /// Core of the node, and of cameras and receiver.
    pub cores: (usize, usize),
    /// Seconds of pictures that are counted, 1 to 2000.
    pub seconds: u32,
}

/// Measures the row.
///
/// # Errors
/// When the node or ffmpeg fails, or fewer than a tenth of the pictures were seen.
pub fn measure(settings: &Settings<'_>, folder: &Path) -> anyhow::Result<(String, Vec<Figure>)> {
    ensure!((1..=2000).contains(&settings.seconds), "seconds of pictures: 1 to 2000");
    let others = ffmpeg::make_sources(folder, CAMERAS as usize - 1, 150)?;
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let core = settings.cores.0.to_string();
    let options = ["--canvas-cores", &core];
    let mut node = Node::start_with("canvas", "auto", settings.binary, ip, settings.cores.0, &options)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let allocations = node.put(vec![conference(socket.local_addr()?)])?;
    let allocation = allocations.first().context("a conference")?;
    if let Some(refused) = allocation.refused.first() {
        anyhow::bail!("the node refused a route: {}", refused.reason);
    }
    let live = Lens::new(CAMERA_SIZE, CAMERA_BPS)?;
    let films = std::iter::once(Film::Live(live));
    let films = films.chain(others.iter().map(|stream| Film::Recorded(&stream.units, 0)));
    let mut cameras = Vec::new();
    for (index, film) in (0..).zip(films) {
        let offset = PERIOD * index / CAMERAS;
        cameras.push(Camera::new(film, 100 + index, address(allocation, &camera_name(index))?, offset)?);
    }
    let pictures = WARM_UP + settings.seconds as u16 * 30;
    let begin = Instant::now() + Duration::from_millis(100);
    let until = begin + PERIOD * u32::from(pictures) * 11 / 10 + LAST;
    let run = |camera: Camera<'_>| -> anyhow::Result<Vec<Instant>> {
        pin(settings.cores.1)?;
        camera.play(begin, pictures)
    };
    let (captured, seen) = std::thread::scope(|scope| {
        let running: Vec<_> = cameras.into_iter().map(|camera| scope.spawn(|| run(camera))).collect();
        pin(settings.cores.1)?;
        let seen = watch(&socket, cell(), until);
        let ended: Vec<_> =
            running.into_iter().map(|thread| thread.join().expect("cameras do not panic")).collect();
        let captured = ended.into_iter().collect::<anyhow::Result<Vec<_>>>()?.swap_remove(0);
        anyhow::Ok((captured, seen?))
    })?;
    pin(settings.cores.0)?;
    node.end()?;
    tell(&captured, &seen)
}

/// Times as a table and as figures.
fn tell(captured: &[Instant], seen: &BTreeMap<u16, Instant>) -> anyhow::Result<(String, Vec<Figure>)> {
    let counted = (0..).zip(captured).skip(WARM_UP.into());
    let mut times: Vec<f64> = counted
        .filter_map(|(number, captured)| Some(seen.get(&number)?.saturating_duration_since(*captured)))
        .map(|time| time.as_secs_f64() * 1000.0)
        .collect();
    times.sort_by(f64::total_cmp);
    let sent = captured.len() - usize::from(WARM_UP);
    ensure!(
        times.len() as f64 >= sent as f64 * SEEN_MIN,
        "{ROW}: of {sent} pictures {} were seen",
        times.len()
    );
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let row = format!("{ROW} / {CAMERAS} x 720p30 on 1080p30");
    let figure = |metric, value, goal| Figure { row: row.clone(), metric, value, unit: "ms", goal };
    let figures = vec![
        figure("latency_p50", at(0.5), Some(MEDIAN_GOAL_MS)),
        figure("latency_p95", at(0.95), None),
        figure("latency_max", at(1.0), None),
    ];
    let verdict = if figures[0].is_reached() { "ok" } else { "MISSED" };
    let line = |what: &str, found: String, goal: String| vec![what.to_owned(), found, goal];
    let ms = |figure: &Figure| format!("{:.1}", figure.value);
    let what = format!("{CAMERAS} x 720p30 on 1080p30: median, ms");
    let lines = [
        line(&what, ms(&figures[0]), format!("≤ {MEDIAN_GOAL_MS} {verdict}")),
        line("the same: 95 % within, ms", ms(&figures[1]), "-".to_owned()),
        line("the same: longest, ms", ms(&figures[2]), "-".to_owned()),
        line("pictures on the canvas, of those sent", format!("{} of {sent}", times.len()), "-".to_owned()),
    ];
    Ok((table::render(&[ROW, "found", "goal"], &lines), figures))
}

/// Where the numbers are seen: the first of four equal cells.
fn cell() -> PixelRect {
    PixelRect { left: 0, top: 0, width: CANVAS.width / 2, height: CANVAS.height / 2 }
}

fn camera_name(index: u32) -> String {
    format!("camera{index}")
}

fn address(allocation: &ConferenceAllocation, leg: &str) -> anyhow::Result<SocketAddr> {
    let leg = allocation.legs.iter().find(|known| known.leg == leg);
    let transport = leg.and_then(|leg| leg.transports.first()).context("the node gave a camera no port")?;
    Ok(transport.local.parse()?)
}

fn conference(receiver: SocketAddr) -> ConferenceSpec {
    let canvas = CanvasSettings {
        width: CANVAS.width,
        height: CANVAS.height,
        frames_per_second: 30,
        bitrate_bps: CANVAS_BPS,
        layout: format!("equal:{CAMERAS}"),
        cells: vec![CellSubject {
            cell: 0,
            shows: CellShows::Participant.into(),
            participant: camera_name(0),
            ..CellSubject::default()
        }],
        ..CanvasSettings::default()
    };
    let cameras = (0..CAMERAS).map(|index| {
        leg(camera_name(index), Direction::SendOnly, Transport { rtcp_mux: true, ..Transport::default() })
    });
    let to_receiver = Transport {
        remote: receiver.to_string(),
        rtcp_mux: true,
        latch: LatchPolicy::Fixed.into(),
        ..Transport::default()
    };
    let legs = cameras.chain([leg("receiver".to_owned(), Direction::ReceiveOnly, to_receiver)]);
    ConferenceSpec {
        id: "latency".to_owned(),
        legs: legs.collect(),
        video: Some(VideoSettings {
            mode: VideoMode::Canvas.into(),
            canvas: Some(canvas),
            ..VideoSettings::default()
        }),
        ..ConferenceSpec::default()
    }
}

fn leg(id: String, direction: Direction, transport: Transport) -> Leg {
    let codec = Codec {
        payload_type: PAYLOAD_TYPE.into(),
        name: "H264".to_owned(),
        clock_rate_hz: 90_000,
        fmtp: "packetization-mode=1".to_owned(),
        ..Codec::default()
    };
    let medium = Medium {
        id: "video".to_owned(),
        kind: MediaKind::Video.into(),
        direction: direction.into(),
        codecs: vec![codec],
        ..Medium::default()
    };
    Leg { id, transports: vec![transport], media: vec![medium], ..Leg::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_figures_and_pictures_that_were_not_seen_are_told() {
        let begin = Instant::now();
        let captured: Vec<_> = (0..160).map(|number| begin + PERIOD * number).collect();
        let after =
            |number: u16| Duration::from_millis(if number < WARM_UP { 900 } else { u64::from(number) - 20 });
        let seen = |count: u16| -> BTreeMap<u16, Instant> {
            (0..count).map(|number| (number, captured[usize::from(number)] + after(number))).collect()
        };
        let (table, figures) = tell(&captured, &seen(141)).expect("enough were seen");
        assert_eq!(
            figures.iter().map(|figure| figure.value.round()).collect::<Vec<_>>(),
            [80.0, 116.0, 120.0]
        );
        assert!(table.contains("80.0 | ≤ 100 ok") && table.contains("81 of 100"), "{table}");
        let error = tell(&captured, &seen(69)).expect_err("too few");
        assert!(error.to_string().contains("of 100 pictures 9 were seen"), "{error}");
    }

    #[test]
    fn a_median_above_the_goal_is_missed() {
        let begin = Instant::now();
        let captured = vec![begin; 80];
        let seen = (0..80).map(|number| (number, begin + Duration::from_millis(101))).collect();
        let (table, figures) = tell(&captured, &seen).expect("all were seen");
        assert!(!figures[0].is_reached() && table.contains("≤ 100 MISSED"), "{table}");
    }
}
