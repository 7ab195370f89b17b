//! `make demo`: a conference of three with real media, checked and drawn.
//!
//! [`server`] starts motet; each participant [`ffmpeg::send`]s a tone and a moving picture to it and has
//! a [`terminal`] where the others arrive; each pair of receiver and sender has an [`ffmpeg::Decoder`].
//! [`hearing`] and [`sight`] judge what was decoded, [`report`] and [`sheet`] show it.

#![forbid(unsafe_code)]

mod cast;
mod composed;
mod ffmpeg;
mod hearing;
mod mixed;
mod ports;
mod report;
mod server;
mod sheet;
mod sight;
mod terminal;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use motet_proto::conference::{ConferenceInfo, ParticipantInfo};
use motet_proto::media::MediaKind;
use tokio::time::Instant;

use crate::cast::CAST;
use crate::composed::Composed;
use crate::ffmpeg::{Decoder, Process, Target};
use crate::mixed::Mix;
use crate::report::Pair;
use crate::server::Server;
use crate::terminal::{Port, address};

/// A conference of three with real pictures and sound: does everyone see and hear everyone else? And a mixed one of
/// three with a codec each: does everyone hear all others and not themselves? And one of three who talk in turns,
/// composed to one picture and recorded with the mix: is who talks seen large, and heard?
///
/// Exit code 0 only if so. Leaves the contact sheet, recordings, figures and logs in --out.
#[derive(Parser)]
#[command(name = "motet-demo", version, max_term_width = 100)]
struct Options {
    /// How long to watch, 5 to 3600 seconds
    #[arg(long, value_name = "N", default_value = "15", value_parser = clap::value_parser!(u16).range(5..=3600))]
    seconds: u16,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    out: PathBuf,
    /// The motet program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    motet: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Whatever is dropped on the way out ends its process.
    let done = tokio::select! {
        done = run(&options) => done,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\ndemo: interrupted");
            return ExitCode::from(130);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            eprintln!("demo: logs are in {}", options.out.display());
            ExitCode::FAILURE
        }
    }
}

/// One participant's two ports.
struct Terminal {
    audio: Port,
    video: Port,
}

impl Terminal {
    fn port(&self, kind: MediaKind) -> &Port {
        if kind == MediaKind::Audio { &self.audio } else { &self.video }
    }
}

/// One receiver, one sender, and the SSRCs of the sender's sound and picture at the receiver.
struct Link {
    receiver: usize,
    sender: usize,
    ssrcs: [u32; 2],
    decoder: Decoder,
}

/// The whole demo; true if everyone saw and heard everyone else.
async fn run(options: &Options) -> Result<bool> {
    let seconds = usize::from(options.seconds);
    let out = fresh_folder(&options.out)?;
    ffmpeg::check_installed().await?;
    let motet = options.motet.clone().map_or_else(beside_this_program, Ok)?;
    let (mut server, node) = Server::start(&motet, &out).await?;
    let described = node.node.unwrap_or_default();
    println!("demo: control at {}, node {} with {}", server.address, described.node_id, described.io_backend);

    let conference = server.create().await?;
    println!(
        "demo: conference {} (number {}) runs on {}",
        conference.id, conference.number, conference.node_id
    );
    let (terminals, places) = join_all(&server, &conference.id).await?;
    let info = all_routes(&server, &conference.id).await?;
    let links = start_decoders(&info, &terminals, &out, seconds).await?;
    let mut senders = start_senders(&places, &out)?;

    wait_for_media(&mut senders, &links, &terminals).await?;
    println!("demo: everyone receives everyone else; watching for {seconds} s");
    watch(&mut server, &mut senders, &links, &terminals, options.seconds).await?;

    // Decoders first: what is cut off at the end is not an error.
    let strays = terminals.iter().map(|terminal| terminal.audio.strays() + terminal.video.strays()).sum();
    let pairs = end_decoders(links, &terminals).await?;
    for sender in senders {
        sender.end().await?;
    }
    let mixes = mixed::run(&server, &out).await?;
    let composed = composed::run(&server, &out).await?;
    server.end(&conference.id).await?;
    show(&pairs, strays, (&mixes, &composed), seconds, &out).await
}

/// An empty folder, as an absolute path for ffmpeg's sake.
fn fresh_folder(out: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let out = out.canonicalize()?;
    for entry in std::fs::read_dir(&out)? {
        let path = entry?.path();
        let ours = path
            .extension()
            .is_some_and(|e| ["log", "wav", "sdp", "png", "mp4", "json"].iter().any(|o| e == *o));
        if ours && path.is_file() {
            std::fs::remove_file(&path)?;
        }
    }
    let recordings = recordings(&out);
    if recordings.is_dir() {
        std::fs::remove_dir_all(&recordings)?;
    }
    std::fs::create_dir(&recordings)?;
    Ok(out)
}

/// Where the node records.
fn recordings(out: &Path) -> PathBuf {
    out.join("recordings")
}

fn beside_this_program() -> Result<PathBuf> {
    Ok(std::env::current_exe().context("cannot find this program's own file")?.with_file_name("motet"))
}

/// Everyone joins; gives their terminals and where they send sound and picture to.
async fn join_all(server: &Server, conference: &str) -> Result<(Vec<Terminal>, Vec<[Target; 2]>)> {
    let mut terminals = Vec::new();
    let mut places = Vec::new();
    for person in &CAST {
        let terminal = Terminal { audio: Port::open()?, video: Port::open()? };
        let info = server.join(conference, person.name, &terminal.audio, &terminal.video).await?;
        let place = [target(&info, MediaKind::Audio)?, target(&info, MediaKind::Video)?];
        println!(
            "demo: {:<6} sends a tone of {} Hz to {} and a picture to {}",
            person.name, person.tone_hz, place[0].rtp, place[1].rtp
        );
        terminals.push(terminal);
        places.push(place);
    }
    Ok((terminals, places))
}

fn target(info: &ParticipantInfo, kind: MediaKind) -> Result<Target> {
    let is_wanted = |medium: &&motet_proto::conference::ParticipantMediumInfo| {
        medium.medium.as_ref().is_some_and(|medium| medium.kind() == kind)
    };
    let medium = info.media.iter().find(is_wanted).with_context(|| format!("{} got no {kind:?}", info.id))?;
    Ok(Target { rtp: address(&medium.local)?, rtcp: address(&medium.local_rtcp)? })
}

/// Waits until control has announced every stream to every receiver.
async fn all_routes(server: &Server, conference: &str) -> Result<ConferenceInfo> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let info = server.show(conference).await?;
        let wanted = 2 * (CAST.len() - 1);
        let counts: Vec<usize> = info.participants.iter().map(|one| one.receives.len()).collect();
        if counts == [wanted; CAST.len()] {
            return Ok(info);
        }
        if Instant::now() > end {
            bail!("each participant should receive {wanted} streams and control announces {counts:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Starts a decoder for every pair, tells the terminals which SSRC goes where, and waits until all listen.
async fn start_decoders(
    info: &ConferenceInfo,
    terminals: &[Terminal],
    out: &Path,
    seconds: usize,
) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for (receiver, person) in CAST.iter().enumerate() {
        let one = info.participants.iter().find(|one| one.id == person.name);
        let one = one.with_context(|| format!("{} is not in the conference", person.name))?;
        for (sender, other) in CAST.iter().enumerate().filter(|(sender, _)| *sender != receiver) {
            let name = format!("{}-receives-{}", person.name, other.name);
            let decoder = Decoder::start(&name, out, sheet::shots(seconds))?;
            let mut ssrcs = [0; 2];
            for (index, kind) in [MediaKind::Audio, MediaKind::Video].into_iter().enumerate() {
                let stream =
                    one.receives.iter().find(|s| s.from_participant == other.name && s.kind() == kind);
                let stream = stream.with_context(|| format!("{} is not to receive {name}", person.name))?;
                ssrcs[index] = stream.ssrc;
                terminals[receiver].port(kind).expect(
                    stream.ssrc,
                    decoder.ports[index],
                    kind == MediaKind::Video,
                );
            }
            links.push(Link { receiver, sender, ssrcs, decoder });
        }
    }
    let end = Instant::now() + Duration::from_secs(20);
    for link in &mut links {
        while !link.decoder.is_ready()? {
            if Instant::now() > end {
                bail!("a decoder does not listen after 20 s: is the machine very busy?");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(links)
}

fn start_senders(places: &[[Target; 2]], out: &Path) -> Result<Vec<Process>> {
    CAST.iter()
        .zip(places)
        .map(|(person, [audio, video])| ffmpeg::send(person, *audio, *video, out))
        .collect()
}

/// Waits until every stream has come to every receiver.
async fn wait_for_media(senders: &mut [Process], links: &[Link], terminals: &[Terminal]) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        for sender in senders.iter_mut() {
            sender.check()?;
        }
        let missing: Vec<&Link> = links
            .iter()
            .filter(|link| counted(link, terminals).iter().any(|(packets, _, _)| *packets == 0))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            let names = missing
                .iter()
                .map(|link| format!("{} from {}", CAST[link.receiver].name, CAST[link.sender].name));
            bail!("after 15 s nothing has come to {}", names.collect::<Vec<_>>().join(", to "));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Packets, losses and reports of sound and picture.
fn counted(link: &Link, terminals: &[Terminal]) -> [(u64, i64, u64); 2] {
    let terminal = &terminals[link.receiver];
    [terminal.audio.counted(link.ssrcs[0]), terminal.video.counted(link.ssrcs[1])]
}

/// Lets the conference run, and shows that it does.
async fn watch(
    server: &mut Server,
    senders: &mut [Process],
    links: &[Link],
    terminals: &[Terminal],
    seconds: u16,
) -> Result<()> {
    let shows = std::io::stdout().is_terminal();
    for second in 1..=seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.check()?;
        for sender in senders.iter_mut() {
            sender.check()?;
        }
        if shows {
            let counts = links.iter().flat_map(|link| counted(link, terminals));
            let (packets, lost) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            print!("\rdemo: {second:>3} s, {packets} packets received, {lost} lost ");
            std::io::stdout().flush()?;
        }
    }
    if shows {
        println!();
    }
    // What a decoder still holds when the time is over.
    tokio::time::sleep(Duration::from_millis(700)).await;
    Ok(())
}

/// Ends all decoders at once and judges what they made.
async fn end_decoders(links: Vec<Link>, terminals: &[Terminal]) -> Result<Vec<Pair>> {
    let mut ending = Vec::new();
    for link in links {
        let [audio, video] = counted(&link, terminals);
        ending.push((link.receiver, link.sender, audio, video, tokio::spawn(link.decoder.end())));
    }
    let mut pairs = Vec::new();
    for (receiver, sender, audio, video, decoder) in ending {
        let (seen, samples, errors) = decoder.await??;
        let heard = hearing::listen(&samples);
        pairs.push(Pair { receiver, sender, audio, video, seen, heard, errors });
    }
    Ok(pairs)
}

async fn show(
    pairs: &[Pair],
    strays: u64,
    (mixes, composed): (&[Mix], &Composed),
    seconds: usize,
    out: &Path,
) -> Result<bool> {
    let result = out.join("result.json");
    let mut figures = report::json(pairs, strays, seconds);
    figures["mixes"] = mixes.iter().map(Mix::json).collect();
    figures["mixes_passed"] = mixed::passed(mixes).into();
    figures["composed"] = composed.json();
    std::fs::write(&result, format!("{figures:#}\n"))
        .with_context(|| format!("cannot write {}", result.display()))?;
    let picture = out.join("contact-sheet.png");
    sheet::write(pairs, seconds, &picture).await?;
    println!("\n{}", report::table(pairs, seconds));
    if strays > 0 {
        println!("demo: {strays} packets came that were for nobody");
    }
    let passed = report::passed(pairs, strays, seconds);
    if passed {
        println!("demo: everyone saw and heard everyone else, and nobody themselves");
    } else {
        println!("demo: FAILED: not everyone saw and heard everyone else; logs are in {}", out.display());
    }
    println!("demo: look at {}\n\n{}", picture.display(), mixed::table(mixes));
    let mixed = mixed::passed(mixes);
    if mixed {
        println!("demo: each mix has everybody's voice but its receiver's; they are in {}", out.display());
    } else {
        println!("demo: FAILED: a mix is wrong; logs are in {}", out.display());
    }
    println!("demo: {}", composed.line());
    if composed.is_right() {
        println!("demo: who talks is seen large with a border and heard, and the others are small");
    } else {
        println!("demo: FAILED: the composed picture or its sound is wrong; logs are in {}", out.display());
    }
    Ok(passed && mixed && composed.is_right())
}
