//! Measures the mixers of a row in turns.

use crate::audio::{Mixer, Room, Row, Seat};
use crate::process::processor_ns;
use anyhow::Context;
use motet_net::IoChoice;
use motet_rtpgen::audio::report::Report;
use motet_rtpgen::audio::run::{Person, Plan, execute};
use motet_rtpgen::audio::track::{Quiet, Tracks};
use motet_rtpgen::audio::wav;
use motet_rtpgen::run::{Control, Wait};
use motet_rtpgen::system;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time of load after measuring, so that the end is not measured.
const COOL_DOWN: Duration = Duration::from_millis(100);
/// Wait for the last packets.
const DRAIN: Duration = Duration::from_millis(300);
/// Least time of speech, so that its score says something.
const SPEECH_MIN: Duration = Duration::from_secs(9);
/// How often a turn is measured at most until the generator keeps its schedule.
const ATTEMPTS_MAX: u32 = 3;
/// Between two reports of each participant about what it gets.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// Mixes decoded in each turn.
const DECODED: usize = 8;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Turns of each mixer in each row.
    pub rounds: u32,
    /// Time measured in each turn.
    pub time: Duration,
    /// Core of the generator.
    pub core: usize,
    /// How it waits.
    pub wait: Wait,
    /// Where it receives.
    pub ip: IpAddr,
    /// Speech for rows that want it: mono, 48 kHz.
    pub speech: Option<PathBuf>,
    /// Where mixes of speech go, one folder for each mixer and round.
    pub mixes: PathBuf,
}

/// What one turn of one mixer came to.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Share of a core that the process used.
    pub core_busy: f64,
    /// Ticks that were late or left out; none: it does not say.
    pub late_ticks: Option<u64>,
    /// Quality of the speech, 1 to 5; none: not measured.
    pub quality: Option<f64>,
    /// Segmental signal-to-noise ratio of recorded speech, in dB.
    pub snr_db: Option<f64>,
    /// What was heard.
    pub report: Report,
}

/// Measures all mixers that take part in a row, in turns.
pub fn measure_row(
    row: &Row,
    mixers: &mut [Box<dyn Mixer>],
    settings: &Settings,
) -> anyhow::Result<Vec<crate::audio::Results>> {
    let mut entrants: Vec<_> = mixers.iter_mut().filter(|mixer| mixer.takes_part(row)).collect();
    let mut results: Vec<crate::audio::Results> = entrants
        .iter()
        .map(|mixer| crate::audio::Results { row: *row, mixer: mixer.name(), turns: Vec::new() })
        .collect();
    for round in 0..settings.rounds {
        for (mixer, results) in entrants.iter_mut().zip(&mut results) {
            let turn = measure_well(row, mixer.as_mut(), settings, round);
            results.turns.push(turn.with_context(|| format!("{}: {}", row.name, results.mixer))?);
        }
    }
    Ok(results)
}

/// Measures again when the generator itself was held up: then the turn says little about the mixer.
fn measure_well(row: &Row, mixer: &mut dyn Mixer, settings: &Settings, round: u32) -> anyhow::Result<Turn> {
    let mut turn = measure(row, mixer, settings, round)?;
    for _ in 1..ATTEMPTS_MAX {
        if turn.report.bottlenecks.is_empty() {
            break;
        }
        turn = measure(row, mixer, settings, round)?;
    }
    Ok(turn)
}

fn measure(row: &Row, mixer: &mut dyn Mixer, settings: &Settings, round: u32) -> anyhow::Result<Turn> {
    let (rooms, sockets) = seats(row, settings.ip, round)?;
    let addresses = mixer.prepare(row, &rooms).context("cannot be set up")?;
    let plan = plan(row, settings, round, Taken { rooms: &rooms, sockets, addresses, mixer: mixer.name() })?;
    let control = Control::default();
    let pid = mixer.pid();
    let (from, to, late, report) = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(plan, &control));
        std::thread::sleep(row.warm_up());
        let late_before = mixer.late_ticks();
        let from = (Instant::now(), processor_ns(pid));
        std::thread::sleep(time(row, settings));
        let to = (Instant::now(), processor_ns(pid));
        let late = (late_before, mixer.late_ticks());
        (from, to, late, running.join().expect("a panic of the generator was printed"))
    });
    mixer.finish().context("cannot be taken down")?;
    let report = report?;
    let (quality, snr_db) = match (&settings.speech, row.speech) {
        (Some(speech), true) => {
            let mixes = folder(row, settings, mixer.name(), round);
            (crate::pesq::score(speech, &mixes)?, crate::snr::score(speech, &mixes)?)
        }
        _ => (None, None),
    };
    Ok(Turn {
        core_busy: (to.1? - from.1?) as f64 / (to.0 - from.0).as_nanos() as f64,
        late_ticks: late.1?.zip(late.0?).map(|(after, before)| after - before),
        quality,
        snr_db,
        report,
    })
}

fn time(row: &Row, settings: &Settings) -> Duration {
    if row.speech { settings.time.max(SPEECH_MIN) } else { settings.time }
}

/// Everybody's socket, and what others must know of it.
fn seats(row: &Row, ip: IpAddr, round: u32) -> anyhow::Result<(Vec<Room>, Vec<UdpSocket>)> {
    let (mut rooms, mut sockets) = (Vec::new(), Vec::new());
    for room in 0..row.rooms {
        let mut seats = Vec::new();
        for person in 0..row.people {
            let socket = system::bind(SocketAddr::new(ip, 0)).context("the generator cannot listen")?;
            let ssrc = 1 + ((round as usize) << 20) as u32 + (room * row.people + person) as u32;
            let speaks = person < row.people - row.listeners;
            seats.push(Seat { remote: socket.local_addr()?, speaks, ssrc });
            sockets.push(socket);
        }
        rooms.push(Room { seats });
    }
    Ok((rooms, sockets))
}

struct Taken<'a> {
    rooms: &'a [Room],
    sockets: Vec<UdpSocket>,
    addresses: Vec<Vec<SocketAddr>>,
    mixer: &'a str,
}

fn plan(row: &Row, settings: &Settings, round: u32, taken: Taken<'_>) -> anyhow::Result<Plan> {
    let seats = taken.rooms.iter().enumerate().flat_map(|(room, seats)| {
        let addresses = &taken.addresses[room];
        seats
            .seats
            .iter()
            .zip(addresses)
            .zip(0..)
            .map(move |((seat, address), person)| (room, person, seat, address))
    });
    let people = seats.zip(taken.sockets).map(|((room, participant, seat, address), socket)| Person {
        room: room as u32,
        participant,
        codec: row.codec,
        socket,
        relay: *address,
        speaks: seat.speaks,
        abuse: None,
        ssrc: seat.ssrc,
    });
    let speech = match &settings.speech {
        Some(file) if row.speech => Some(wav::read_speech(file)?),
        _ => None,
    };
    let stage = row.stage();
    let tracks = Tracks::new(&[row.codec], stage.speakers, Quiet::Noise, speech.as_deref())?;
    Ok(Plan {
        people: people.collect(),
        stage,
        tracks: Arc::new(tracks),
        speech: speech.is_some(),
        level_extension: row.level_extension,
        impairment: row.impairment(u64::from(round) + 1),
        report_interval: REPORT_INTERVAL,
        decoded: DECODED,
        wav: row.speech.then(|| folder(row, settings, taken.mixer, round)),
        io: IoChoice::Auto,
        wait: settings.wait,
        core: Some(settings.core),
        warm_up: if row.loss_percent > 0.0 { row.warm_up() } else { Duration::ZERO },
        duration: row.warm_up() + time(row, settings) + COOL_DOWN,
        drain: DRAIN,
        loss_percent_max: 0.0,
    })
}

fn folder(row: &Row, settings: &Settings, mixer: &str, round: u32) -> PathBuf {
    let row = row.name.replace([' ', ',', '%'], "-");
    settings.mixes.join(format!("{row}-{mixer}-{round}"))
}
