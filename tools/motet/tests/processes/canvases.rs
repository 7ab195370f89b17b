//! Canvases in a process of their own, which is killed: nothing that is relayed is lost, and pictures come again.

use crate::world::{Css, Process, Watched, eventually, free_port, http, local, signal};
use motet_codecs::video::{PictureSize, VideoCodecName};
use motet_mixer::testing::{CardReceiver, CardSender};
use motet_rtp::rtcp::{Compound, Packet};
use motet_rtp::{RtpView, Time};
use rustix::process::Signal;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

const RED: [u8; 3] = [81, 90, 240];

/// The processes that a process has started, and that have not ended.
fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("proc(5)").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |process: &u32| {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
        // Behind the name, which may hold anything: state and parent.
        let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
        let mut fields = rest.split(' ');
        fields.next() != Some("Z") && fields.next() == Some(of.to_string().as_str())
    };
    numbers.filter(is_child).collect()
}

/// The process that composes pictures for a node.
fn composer(node: &Process) -> Option<u32> {
    match children(node.id())[..] {
        [composer] => Some(composer),
        _ => None,
    }
}

/// Something that goes on in a thread until it is asked for.
struct Going<T> {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Going<T> {
    fn start(mut state: T, mut turn: impl FnMut(&mut T) + Send + 'static, every: Duration) -> Going<T> {
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

    fn end(self) -> T {
        self.ends.store(true, Relaxed);
        self.thread.join().expect("it goes on to its end")
    }
}

/// Joins with one medium, and gives the socket and where to send.
fn join(css: &Css, conference: &str, name: &str, (kind, codec): (&str, &str)) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_nonblocking(true).expect("a socket can be so");
    let medium = format!("{codec},mux@{}", socket.local_addr().expect("bound"));
    let info = css.json(&["conf", "join", conference, name, kind, &medium]);
    let target = info["media"][0]["send_rtp_to"].as_str().expect("an address to send to");
    (socket, target.parse().expect("an address"))
}

/// A camera that shows red, and a key frame whenever it is asked for one.
fn camera(css: &Css, conference: &str) -> Going<u32> {
    let (socket, target) = join(css, conference, "camera", ("--video", "h264/96"));
    let mut camera =
        CardSender::new(100, VideoCodecName::H264, PictureSize::new(160, 90), RED).expect("an encoder");
    let turn = move |asked: &mut u32| {
        let (mut bytes, before) = ([0; 2_048], *asked);
        while let Ok(length) = socket.recv(&mut bytes) {
            let Ok(compound) = Compound::reduced(&bytes[..length]) else { continue };
            *asked += u32::from(compound.packets().any(|packet| matches!(packet, Packet::Pli(_))));
        }
        for packet in camera.next_picture(*asked > before).expect("an encoder") {
            socket.send_to(&packet, target).expect("loopback takes packets");
        }
    };
    Going::start(0, turn, Duration::from_millis(60))
}

/// Somebody who sees the canvas.
struct Screen {
    socket: UdpSocket,
    screen: CardReceiver,
    stream: Option<(u32, u16)>,
    jumps: u32,
}

impl Screen {
    fn join(css: &Css, conference: &str) -> Screen {
        let (socket, _) = join(css, conference, "screen", ("--video", "h264/96,recvonly"));
        let screen = CardReceiver::new(VideoCodecName::H264).expect("a decoder");
        Screen { socket, screen, stream: None, jumps: 0 }
    }

    /// Takes what came. The last picture, if it was red.
    fn looks_red(&mut self) -> Option<u64> {
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
        let colour = self.screen.colour_at(160, 50)?;
        let red = colour.iter().zip(RED).all(|(found, red)| found.abs_diff(red) <= 12);
        red.then_some(self.screen.pictures)
    }

    #[track_caller]
    fn until_red(&mut self, after: u64) -> u64 {
        eventually("pictures come", || self.looks_red().filter(|pictures| *pictures > after))
    }
}

/// Numbered packets from one to another, a few in each turn.
struct Relayed {
    from: (UdpSocket, SocketAddr),
    to: UdpSocket,
    sent: u16,
    received: Vec<u16>,
}

impl Relayed {
    fn join(css: &Css, conference: &str) -> Relayed {
        let from = join(css, conference, "talker", ("--audio", "pcmu"));
        let (to, _) = join(css, conference, "listener", ("--audio", "pcmu,recvonly"));
        Relayed { from, to, sent: 0, received: Vec::new() }
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
}

fn crashes(metrics: u16) -> Option<u64> {
    let (_, page) = http(metrics, "/metrics")?;
    let name = "motet_canvas_crashes_times_total{thread=\"0\"} ";
    page.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

#[test]
fn a_process_that_composes_pictures_is_killed_and_another_one_goes_on_while_nothing_relayed_is_lost() {
    let (css, metrics) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let node = css.start_node_with("n1", &["--canvas-process", "--metrics", &local(metrics)]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8801"]);
    let settings = "canvas,layout=equal:1,size=320x180,rate=15,kbps=500";
    css.json(&["conf", "create", "--number", "8802", "--video", settings]);
    let watch = Watched::start(css.command(&["conf", "watch", "8802", "--json"]));
    let relayed = Relayed::join(&css, "8801");
    let (camera, mut screen) = (camera(&css, "8802"), Screen::join(&css, "8802"));
    let pictures = screen.until_red(10);
    let relayed = Going::start(relayed, Relayed::turn, Duration::from_millis(5));

    let first = eventually("one process composes", || composer(&node));
    signal(first, Signal::KILL);
    eventually("the end is counted", || crashes(metrics).filter(|count| *count == 1));
    let second = eventually("another process composes", || composer(&node).filter(|next| *next != first));
    let pictures = screen.until_red(pictures + 30);
    // A process that is stopped composes nothing; it is the same one when it goes on.
    signal(second, Signal::STOP);
    signal(second, Signal::CONT);
    screen.until_red(pictures + 10);
    assert_eq!((composer(&node), crashes(metrics)), (Some(second), Some(1)));
    let told = || watch.lines().iter().filter(|line| line.contains("canvas-rate-changed")).count();
    eventually("it is told that there is no canvas, and then one again", || (told() == 2).then_some(()));
    assert_eq!(screen.jumps, 0, "the stream went on where it was");
    assert!(camera.end() >= 2, "each process asked for a key frame");

    let mut relayed = relayed.end();
    let sent: Vec<u16> = (0..relayed.sent).collect();
    eventually("all that was relayed came", || {
        relayed.receive();
        (relayed.received.len() >= sent.len()).then_some(())
    });
    assert!(sent.len() > 50 && relayed.received == sent, "nothing was lost or came twice");

    // It does not outlive its node, however that ends.
    node.kill();
    let path = format!("/proc/{second}/stat");
    eventually("the process has ended", || {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}
