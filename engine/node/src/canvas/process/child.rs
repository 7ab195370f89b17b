//! In the process: one canvas thread as it is in a node, and two that carry between it and the node.
//!
//! Whoever is asked for something answers in order, so that the reader waits for the canvas thread where there is an
//! answer: it comes within a picture's time, and what comes meanwhile waits in the socket.

use super::frame::{Came, Kind, put_parcel, put_picture, put_word};
use super::word::{Errand, Hello, Order, Word};
use super::{apart, film};
use crate::canvas::mark::Mark;
use crate::canvas::{CanvasGauge, CanvasOptions, CanvasThread, Job};
use crate::exchange::{Bell, Desk, Exchange};
use crate::fence::{self, Fence, Timing};
use crate::mixing::MixingEvent;
use crate::plan::TrunkEnd;
use crate::worker::Clock;
use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, unbounded};
use motet_codecs::video::Frame;
use motet_mixer::video::{Font, Still};
use motet_rtp::Ntp;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Counters and events are looked for so often, if nothing else is to be sent.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Events that may wait.
const EVENTS_WAITING_MAX: usize = 1024;
/// Of all processes the kernel ends this one first when memory is short (proc(5), oom_score_adj).
const OUT_OF_MEMORY_FIRST: &str = "500";

/// Composes pictures for a node until that ends, or reads a file, or decodes one picture. Standard input is the socket to it, standard output the
/// file in which it is marked whom is worked for.
///
/// # Errors
/// When no node has started this process.
pub fn run_canvas_process() -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    let mark = std::io::stdout().as_fd().try_clone_to_owned().context("there is no standard output")?;
    let (socket, mark) = (UnixStream::from(socket), Mark::new(File::from(mark)));
    // A signal for all of a service, or of a terminal, is for the node, which ends this process when it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _caught = runtime.block_on(async { catch_signals() })?;
    // May be forbidden; then the kernel chooses as for all.
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_FIRST);
    // Whatever fails here ends this process, and the node starts another one.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |about| {
        tell(about);
        std::process::abort();
    }));
    let mut from = BufReader::new(socket.try_clone()?);
    let errand: Errand = Came::read(&mut from)
        .context("only a node starts this: it reads from it what is to be done")?
        .word()
        .map_err(|error| anyhow!(error))?;
    let hello = match errand {
        Errand::Compose(hello) => hello,
        Errand::Decode { codec, unit } => {
            end_with_parent();
            apart::decode_for(&socket, &codec, &unit);
            return Ok(());
        }
        Errand::Read { path } => {
            film::read_for(from, &socket, &path);
            return Ok(());
        }
    };
    end_with_parent();
    let (answers, waiting) = unbounded();
    let child = Child::start(hello, mark, socket, (answers, waiting));
    child?.read(from)
}

/// This must not outlive its node, also while a codec does not come back. It ends with the thread that started it.
fn end_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

fn catch_signals() -> std::io::Result<[tokio::signal::unix::Signal; 2]> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?])
}

/// What is to be sent.
enum Answer {
    Word(Word),
    Picture(u64, Frame),
}

/// The reader.
struct Child {
    station: usize,
    exchange: Arc<Exchange>,
    thread: CanvasThread,
    /// For each station whose packets come.
    desks: Vec<Option<Desk>>,
    stills: BTreeMap<u64, Arc<Still>>,
    answers: Sender<Answer>,
    writer: std::thread::Thread,
}

impl Child {
    fn start(
        hello: Hello,
        mark: Mark,
        socket: UnixStream,
        (answers, waiting): (Sender<Answer>, Receiver<Answer>),
    ) -> Result<Child> {
        let Hello { station, stations, index, core, ntp_origin, font } = hello;
        let exchange = Exchange::new(stations);
        let (events, events_out) = mpsc::channel(EVENTS_WAITING_MAX);
        let read = |path| Font::read(std::fs::read(path).ok()?).ok().map(Arc::new);
        let options = CanvasOptions {
            station,
            index,
            core,
            exchange: Arc::clone(&exchange),
            clock: Clock::new(Some(Ntp(ntp_origin))),
            // Who stops this process stops no node: that one has its own fence.
            fence: Fence::new(Timing { after: Duration::ZERO, hold: Duration::ZERO }, fence::Word::new(0)),
            // The node has read it before.
            font: font.and_then(read),
            events,
            // A failed assertion ends the process.
            died: mpsc::channel(1).0,
            mark: Some(mark),
            process: None,
        };
        let thread = CanvasThread::start(options, || Ok(()));
        let started = thread.as_ref().map(|_| ()).map_err(String::clone);
        let mut writer = Writer { socket, frame: Vec::new(), desks: Vec::new() };
        writer.say(&Word::Started(started));
        let thread = thread.map_err(|error| anyhow!(error))?;
        let gauge = thread.gauge();
        let others = (0..stations).filter(|other| *other != station);
        writer.desks = others.map(|other| (other, Desk::new(other, Arc::clone(&exchange)))).collect();
        let body = move || writer.run(&waiting, events_out, &gauge);
        let writer = std::thread::Builder::new().name(format!("canvas-{index}-out")).spawn(body)?;
        let writer = writer.thread().clone();
        for other in (0..stations).filter(|other| *other != station) {
            exchange.set_bell(other, Bell::Thread(writer.clone()));
        }
        let (desks, stills) = (std::iter::repeat_with(|| None).take(stations).collect(), BTreeMap::new());
        Ok(Child { station, exchange, thread, desks, stills, answers, writer })
    }

    /// Reads until the node ends this.
    fn read(mut self, mut from: BufReader<UnixStream>) -> Result<()> {
        // The node is gone, or has had enough: there is nothing to be saved.
        while let Ok(came) = Came::read(&mut from) {
            match came.kind {
                Kind::Parcel => self.take_packets(&came),
                Kind::Picture => {
                    if let Some((number, frame)) = came.picture() {
                        self.stills.insert(number, Arc::new(Still::from_picture(&frame.picture())));
                    }
                }
                Kind::Word => self.do_order(came.word().map_err(|error| anyhow!(error))?)?,
            }
        }
        Ok(())
    }

    /// Lays packets where the canvas thread comes to take them.
    fn take_packets(&mut self, came: &Came) {
        let Some(packets) = came.parcel() else { return };
        let Some(desk) = self.desks.get_mut(packets.station) else { return };
        let desk = desk.get_or_insert_with(|| Desk::new(packets.station, Arc::clone(&self.exchange)));
        for run in packets.runs() {
            let end = TrunkEnd { port: run.from, worker: self.station, peer: run.to };
            desk.begin(run.at);
            desk.pack(end, &[], packets.bytes(&run), run.segment_bytes);
        }
        desk.flush();
        // It has waited for some milliseconds in the node.
        self.thread.wake();
    }

    fn do_order(&mut self, order: Order) -> Result<()> {
        let gone = || anyhow!("the canvas thread is gone");
        let answer = match order {
            Order::Put { ticket, id, form } => {
                let (done, answer) = oneshot::channel();
                let form = form.map(|form| Arc::new(form.form(&self.stills)));
                self.thread.send(Job::Put(id, form, done)).with_context(gone)?;
                Answer::Word(Word::Put(ticket, answer.blocking_recv().with_context(gone)?))
            }
            Order::Look { ticket, id } => {
                let (done, answer) = oneshot::channel();
                self.thread.send(Job::Look(id, done)).with_context(gone)?;
                Answer::Word(Word::Look(ticket, answer.blocking_recv().with_context(gone)?))
            }
            Order::Picture { ticket, id } => {
                let (done, answer) = oneshot::channel();
                self.thread.send(Job::Picture(id, done)).with_context(gone)?;
                match answer.blocking_recv().with_context(gone)? {
                    Some(frame) => Answer::Picture(ticket, frame),
                    None => Answer::Word(Word::NoPicture(ticket)),
                }
            }
            Order::Speaker(id, leg) => {
                self.thread.tell_speaker(&id, leg);
                return Ok(());
            }
            Order::Talks(id, leg, talks) => {
                self.thread.tell_talks(&id, leg, talks);
                return Ok(());
            }
            Order::Forget(number) => {
                self.stills.remove(&number);
                return Ok(());
            }
        };
        let _ = self.answers.send(answer);
        self.writer.unpark();
        Ok(())
    }
}

/// What is sent to the node.
struct Writer {
    socket: UnixStream,
    /// Room for a frame.
    frame: Vec<u8>,
    /// Whom the canvas thread sends to.
    desks: Vec<(usize, Desk)>,
}

impl Writer {
    fn run(
        mut self,
        answers: &Receiver<Answer>,
        mut events: mpsc::Receiver<MixingEvent>,
        gauge: &CanvasGauge,
    ) {
        let mut shown = None;
        loop {
            for (station, desk) in &mut self.desks {
                desk.look();
                while let Some(parcel) = desk.take_unopened() {
                    put_parcel(&mut self.frame, *station, &parcel);
                    desk.give_back(parcel);
                    send(&self.socket, &self.frame);
                }
            }
            while let Ok(answer) = answers.try_recv() {
                match answer {
                    Answer::Word(word) => self.say(&word),
                    Answer::Picture(ticket, frame) => {
                        put_picture(&mut self.frame, ticket, &frame.picture());
                        send(&self.socket, &self.frame);
                    }
                }
            }
            while let Ok(event) = events.try_recv() {
                self.say(&Word::Event(event));
            }
            let snapshot = gauge.snapshot();
            if snapshot.taken != shown {
                shown = snapshot.taken;
                self.say(&Word::Shown(Box::new(snapshot)));
            }
            // Whoever has something to be sent ends this.
            std::thread::park_timeout(LOOK_INTERVAL);
        }
    }

    fn say(&mut self, word: &Word) {
        put_word(&mut self.frame, word).expect("words can be written");
        send(&self.socket, &self.frame);
    }
}

fn send(mut socket: &UnixStream, frame: &[u8]) {
    if socket.write_all(frame).is_err() {
        // The node is gone.
        std::process::exit(0);
    }
}
