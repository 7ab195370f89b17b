//! Cameras of one colour, screens that see canvases, and the processes that compose those.

use crate::world::{Css, Process, eventually, http, signal};
use motet_codecs::video::{PictureSize, VideoCodecName};
use motet_mixer::testing::{CardReceiver, CardSender};
use motet_rtp::rtcp::{Compound, Packet};
use motet_rtp::{RtpView, Time};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

pub const RED: [u8; 3] = [81, 90, 240];
pub const GREEN: [u8; 3] = [145, 54, 34];

/// The processes that a process has started, and that have not ended.
pub fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("proc(5)").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|process| matches!(stat(*process), Some((state, parent)) if state != 'Z' && parent == of))
        .collect()
}

/// State of a process, and its parent (proc_pid_stat(5)); none: it is gone.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Waits until a process has ended.
#[track_caller]
pub fn until_gone(process: u32) {
    eventually("the process has ended", || stat(process).is_none_or(|(state, _)| state == 'Z').then_some(()));
}

/// The process that composes pictures for a node.
pub fn composer(node: &Process) -> Option<u32> {
    match children(node.id())[..] {
        [composer] => Some(composer),
        _ => None,
    }
}

/// Ends the process that composes pictures for a node while it works for a conference.
#[track_caller]
pub fn kill_over(node: &Process, conference: &str) -> u32 {
    eventually("it works for the conference", || {
        let process = composer(node)?;
        // Its marks are in what it has for standard output: a length of two bytes, and a name.
        let marks = File::open(format!("/proc/{process}/fd/1")).ok()?;
        let works = || {
            let mut mark = [0; 256];
            marks.read_at(&mut mark, 0).expect("memory can be read");
            mark.get(2..2 + usize::from(mark[0])) == Some(conference.as_bytes())
        };
        // It is done with a picture within milliseconds, and begins another one soon.
        (0..100_000).find(|_| works())?;
        signal(process, Signal::STOP);
        eventually("it has stopped", || (stat(process)?.0 == 'T').then_some(()));
        let works = works();
        signal(process, if works { Signal::KILL } else { Signal::CONT });
        works.then_some(process)
    })
}

/// Something that goes on in a thread until it is asked for.
pub struct Going<T> {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Going<T> {
    pub fn start(mut state: T, mut turn: impl FnMut(&mut T) + Send + 'static, every: Duration) -> Going<T> {
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        let body = move || {
            while !asked.load(Relaxed) {
                turn(&mut state);
                std::thread::sleep(every);
            }
            state
        };
        Going { ends, thread: std::thread::spawn(body) }
    }

    pub fn end(self) -> T {
        self.ends.store(true, Relaxed);
        self.thread.join().expect("it goes on to its end")
    }
}

/// Joins with these media, which are of one bundle if they are more than one, and gives the socket and where to send.
fn join(css: &Css, conference: &str, name: &str, kind: &str, media: &[&str]) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_nonblocking(true).expect("a socket can be so");
    let at = socket.local_addr().expect("bound");
    let media: Vec<String> = media.iter().map(|medium| format!("{medium},mux@{at}")).collect();
    let media = media.iter().flat_map(|medium| [kind, medium]);
    let arguments: Vec<&str> = ["conf", "join", conference, name].into_iter().chain(media).collect();
    let info = css.json(&arguments);
    let target = info["media"][0]["send_rtp_to"].as_str().expect("an address to send to");
    (socket, target.parse().expect("an address"))
}

/// What a camera sends: a picture of one colour, and smaller ones at the same time, the largest first.
pub struct Camera {
    socket: UdpSocket,
    target: SocketAddr,
    sizes: Vec<CardSender>,
    /// Key frames that it was asked for.
    pub asked: u32,
}

impl Camera {
    /// Shows red.
    pub fn join(css: &Css, conference: &str) -> Going<Camera> {
        Camera::of_sizes(css, conference, &["h264/96"], &[(PictureSize::new(160, 90), RED)])
    }

    /// Sends several sizes at once (simulcast, RFC 8853): red in 320 by 180, and green in 160 by 90.
    pub fn with_layers(css: &Css, conference: &str) -> Going<Camera> {
        let whole = "h264/96,bundle=v,ssrc=100,id=video";
        let layer = "h264/96,bundle=v,ssrc=101,id=small,layer=video:160x90";
        let sizes = [(PictureSize::new(320, 180), RED), (PictureSize::new(160, 90), GREEN)];
        Camera::of_sizes(css, conference, &[whole, layer], &sizes)
    }

    fn of_sizes(
        css: &Css,
        conference: &str,
        media: &[&str],
        sizes: &[(PictureSize, [u8; 3])],
    ) -> Going<Camera> {
        let (socket, target) = join(css, conference, "camera", "--video", media);
        let sender = |(ssrc, (size, colour)): (u32, &(PictureSize, [u8; 3]))| {
            CardSender::new(ssrc, VideoCodecName::H264, *size, *colour).expect("an encoder")
        };
        let sizes = (100..).zip(sizes).map(sender).collect();
        let camera = Camera { socket, target, sizes, asked: 0 };
        Going::start(camera, Camera::turn, Duration::from_millis(60))
    }

    /// The next picture in each size, a key frame where it was asked for one.
    fn turn(&mut self) {
        let (mut bytes, mut asked) = ([0; 2_048], BTreeSet::new());
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let Ok(compound) = Compound::reduced(&bytes[..length]) else { continue };
            for packet in compound.packets() {
                let Packet::Pli(pli) = packet else { continue };
                asked.insert(pli.media_ssrc);
                self.asked += 1;
            }
        }
        for size in &mut self.sizes {
            for packet in size.next_picture(asked.contains(&size.ssrc)).expect("an encoder") {
                self.socket.send_to(&packet, self.target).expect("loopback takes packets");
            }
        }
    }
}

/// Somebody who sees the canvas.
pub struct Screen {
    socket: UdpSocket,
    screen: CardReceiver,
    stream: Option<(u32, u16)>,
    /// Packets that did not follow the one before.
    pub jumps: u32,
}

impl Screen {
    pub fn join(css: &Css, conference: &str, name: &str) -> Screen {
        let (socket, _) = join(css, conference, name, "--video", &["h264/96,recvonly"]);
        let screen = CardReceiver::new(VideoCodecName::H264).expect("a decoder");
        Screen { socket, screen, stream: None, jumps: 0 }
    }

    /// Takes what came, and gives the number of pictures so far.
    pub fn look(&mut self) -> u64 {
        let mut bytes = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            if (192..=223).contains(&bytes[1]) {
                continue;
            }
            let packet = RtpView::new(&bytes[..length]).expect("RTP");
            let (ssrc, sequence) = (packet.ssrc(), packet.sequence().0);
            let before = self.stream.replace((ssrc, sequence));
            self.jumps += u32::from(before.is_some_and(|before| before != (ssrc, sequence.wrapping_sub(1))));
            self.screen.handle_packet(Time::ZERO, &bytes[..length]);
        }
        self.screen.pictures
    }

    fn shows(&self, colour: [u8; 3]) -> bool {
        // Inside the first cell, and in the middle of a canvas with one.
        let shown = self.screen.colour_at(40, 50);
        shown
            .is_some_and(|shown| shown.iter().zip(colour).all(|(found, wanted)| found.abs_diff(wanted) <= 12))
    }

    /// Waits for more pictures than so many, of which the last has this colour; gives how many there are.
    #[track_caller]
    pub fn until(&mut self, colour: [u8; 3], after: u64) -> u64 {
        eventually("pictures come", || {
            Some(self.look()).filter(|pictures| *pictures > after && self.shows(colour))
        })
    }
}

/// Numbered packets from one to another, a few in each turn.
pub struct Relayed {
    from: (UdpSocket, SocketAddr),
    to: UdpSocket,
    sent: u16,
    received: Vec<u16>,
}

impl Relayed {
    pub fn start(css: &Css, conference: &str) -> Going<Relayed> {
        let from = join(css, conference, "talker", "--audio", &["pcmu"]);
        let (to, _) = join(css, conference, "listener", "--audio", &["pcmu,recvonly"]);
        let relayed = Relayed { from, to, sent: 0, received: Vec::new() };
        Going::start(relayed, Relayed::turn, Duration::from_millis(5))
    }

    fn turn(&mut self) {
        let number = self.sent.to_be_bytes();
        let mut packet = vec![0x80, 0, number[0], number[1], 0, 0, number[0], number[1], 0, 0, 0, 7];
        packet.extend_from_slice(&number.repeat(80));
        self.sent += 1;
        self.from.0.send_to(&packet, self.from.1).expect("loopback takes packets");
        self.receive();
    }

    fn receive(&mut self) {
        let mut bytes = [0; 2_048];
        while let Ok(length) = self.to.recv(&mut bytes) {
            if length == 172 {
                self.received.push(u16::from_be_bytes([bytes[12], bytes[13]]));
            }
        }
    }

    /// Everything arrived, once and in its order.
    #[track_caller]
    pub fn check(mut self) {
        let sent: Vec<u16> = (0..self.sent).collect();
        eventually("all that was relayed came", || {
            self.receive();
            (self.received.len() >= sent.len()).then_some(())
        });
        assert!(sent.len() > 50 && self.received == sent, "nothing was lost or came twice");
    }
}

/// A value of the only canvas thread, by its name on the page of metrics.
pub fn of_canvases(metrics: u16, name: &str) -> Option<u64> {
    let (_, page) = http(metrics, "/metrics")?;
    let name = format!("{name}{{thread=\"0\"}} ");
    let value = page.lines().find_map(|text| text.strip_prefix(&name)?.parse::<f64>().ok())?;
    Some(value as u64)
}

/// Times that the process which composes pictures ended by itself.
pub fn crashes(metrics: u16) -> Option<u64> {
    of_canvases(metrics, "motet_canvas_crashes_times_total")
}
