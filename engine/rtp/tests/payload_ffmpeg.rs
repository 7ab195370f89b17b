//! Packets that ffmpeg makes, against the stream that it made them of.

use motet_rtp::payload::{Depacketizer, PayloadFormat, PicturePacket, nal_units};
use motet_rtp::{PacketClass, RtpView, Time, classify};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs ffmpeg. Panics with its messages when it fails.
fn ffmpeg(args: &[&str]) {
    let done = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .expect("ffmpeg starts (scripts/setup.sh installs it)");
    assert!(done.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Units that come of what ffmpeg sends of a file.
fn received(format: PayloadFormat, file: &str) -> Vec<(Vec<u8>, bool)> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    // All of it fits the socket's buffer, so that nothing is lost however late it is read.
    let address = socket.local_addr().expect("bound");
    // Its reports come here as well: the next port may be another program's.
    let to = format!("rtp://{address}?pkt_size=500&rtcpport={}", address.port());
    ffmpeg(&["-i", file, "-c", "copy", "-f", "rtp", &to]);
    let mut depacketizer = Depacketizer::new(format, Duration::from_secs(1), Vec::new());
    let (mut room, mut units) = ([0; 2000], Vec::new());
    socket.set_nonblocking(true).expect("non-blocking");
    while let Ok(bytes) = socket.recv(&mut room) {
        if classify(&room[..bytes]) != PacketClass::Rtp {
            continue;
        }
        let packet = RtpView::new(&room[..bytes]).expect("ffmpeg sends RTP");
        let packet = PicturePacket {
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            payload: packet.payload(),
        };
        depacketizer.handle_packet(Time::ZERO, &packet);
        while let Some(unit) = depacketizer.poll_unit(Time::ZERO) {
            assert!(!unit.damaged && unit.missing == 0);
            units.push((unit.bytes.to_vec(), unit.key_frame));
        }
    }
    assert!(depacketizer.stats().packets > 30, "there were fragments");
    units
}

fn encoded(folder: &Path, name: &str, codec: &[&str]) -> String {
    let file = folder.join(name).to_str().expect("a path").to_owned();
    let source = ["-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25", "-frames:v", "20", "-g", "10"];
    ffmpeg(&[&source, codec, &["-pix_fmt", "yuv420p", &file]].concat());
    file
}

fn check_nal(format: PayloadFormat, name: &str, codec: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = encoded(folder.path(), name, codec);
    let units = received(format, &file);
    assert_eq!(units.len(), 20);
    assert!(units.iter().enumerate().all(|(index, (_, key))| *key == (index % 10 == 0)));
    let stream: Vec<u8> = units.into_iter().flat_map(|(bytes, _)| bytes).collect();
    let file = std::fs::read(file).expect("ffmpeg wrote it");
    assert!(nal_units(&stream).eq(nal_units(&file)));
}

#[test]
fn h264() {
    let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "150k"];
    check_nal(PayloadFormat::H264, "pictures.h264", &codec);
}

#[test]
fn h265() {
    let parameters =
        "log-level=error:keyint=10:min-keyint=10:scenecut=0:open-gop=0:bframes=0:pools=none:frame-threads=1";
    let codec = ["-c:v", "libx265", "-preset", "ultrafast", "-b:v", "150k", "-x265-params", parameters];
    check_nal(PayloadFormat::H265, "pictures.hevc", &codec);
}

#[test]
fn vp8() {
    let folder = tempfile::tempdir().expect("a folder");
    let codec = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "150k"];
    let file = encoded(folder.path(), "pictures.ivf", &codec);
    let units = received(PayloadFormat::Vp8, &file);
    assert_eq!(units.len(), 20);
    let file = std::fs::read(file).expect("ffmpeg wrote it");
    // IVF: a header of 32 bytes; before each frame its length in four bytes, and eight of time.
    let mut rest = &file[32..];
    for (bytes, key) in &units {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        assert_eq!(bytes, &rest[12..12 + length]);
        assert_eq!(*key, bytes[0] & 1 == 0);
        rest = &rest[12 + length..];
    }
    assert!(rest.is_empty());
}
