//! motet's mixer, in this thread and in virtual time.

use super::Turn;
use super::ffmpeg::{CANVAS, Reference, Stream};
use anyhow::Context;
use motet_codecs::video::{H264Library, PictureSize, VideoCodec, VideoCodecName};
use motet_mixer::testing::CardReceiver;
use motet_mixer::video::{
    Fit, Layer, Layout, OutputConfig, OutputId, SourceConfig, SourceId, VideoCommand, VideoMixer, VideoOutbox,
};
use motet_rtp::payload::{H264Mode, Packetizer};
use motet_rtp::{RtpBuilder, Time, WireSeq, WireTimestamp};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Cameras, and what each sends besides: the same in a smaller size.
#[derive(Clone, Copy)]
pub struct Cameras<'a> {
    /// One of each.
    pub streams: &'a [Stream],
    /// None, or one of each, in the same order.
    pub layers: &'a [Stream],
    /// Of each layer.
    pub layer_size: PictureSize,
}

impl<'a> Cameras<'a> {
    /// Which send one size.
    pub fn of_one_size(streams: &'a [Stream]) -> Cameras<'a> {
        Cameras { streams, layers: &[], layer_size: PictureSize::new(0, 0) }
    }

    /// All sources, each with what it sends. A layer's number follows that of the last camera.
    fn sources(&self) -> impl Iterator<Item = (SourceConfig, &'a Stream)> {
        let layer = |index| Some(Layer { of: SourceId(index), size: self.layer_size });
        let cameras = self.streams.iter().map(|stream| (None, stream));
        let layers = (0..).zip(self.layers).map(move |(index, stream)| (layer(index), stream));
        (0..).zip(cameras.chain(layers)).map(|(index, (layer, stream))| {
            let codec = VideoCodec { name: VideoCodecName::H264, fmtp: "packetization-mode=1".to_owned() };
            let source = SourceConfig {
                id: SourceId(index),
                ssrc: index,
                codecs: vec![(96, codec)],
                name: String::new(),
                look: Default::default(),
                content: false,
                layer,
            };
            (source, stream)
        })
    }
}

/// Composes cameras and encodes the canvas.
///
/// # Errors
/// When a codec is missing.
pub fn compose(cameras: Cameras<'_>, personal: bool, reference: &Reference) -> anyhow::Result<Turn> {
    let streams = cameras.streams;
    let outputs = if personal { streams.len() as u32 } else { 1 };
    let layout = Layout::Equal(streams.len() as u8);
    let outputs = (0..outputs).map(|index| OutputConfig {
        layout: layout.clone(),
        without: personal.then_some(SourceId(index)),
        ..output(index, CANVAS, 3_000_000)
    });
    let reference = Some(reference).filter(|_| !personal);
    run(cameras, outputs.collect(), reference)
}

/// Brings a stream to another size and so many kilobits.
///
/// # Errors
/// When a codec is missing.
pub fn transcode(
    stream: &Stream,
    (size, kbps): (PictureSize, u32),
    reference: &Reference,
) -> anyhow::Result<Turn> {
    let alone = OutputConfig { alone: Some(SourceId(0)), ..output(0, size, kbps * 1000) };
    run(Cameras::of_one_size(std::slice::from_ref(stream)), vec![alone], Some(reference))
}

fn output(index: u32, size: PictureSize, bitrate_bps: u32) -> OutputConfig {
    OutputConfig {
        id: OutputId(index),
        ssrc: 1000 + index,
        payload_type: 97,
        codec: VideoCodec { name: VideoCodecName::H264, fmtp: "packetization-mode=1".to_owned() },
        h264: H264Library::X264,
        bitrate_bps,
        frames_per_s: 30,
        size,
        layout: Layout::Auto,
        fit: Fit::Letterbox,
        subjects: Vec::new(),
        pinned: None,
        without: None,
        names: false,
        still: None,
        background: motet_mixer::video::BACKGROUND,
        texts: Vec::new(),
        alone: None,
        sequence: 0,
        timestamp: 0,
    }
}

/// All pictures of the cameras, as outputs want them; the first output's last one is held against the reference.
fn run(
    cameras: Cameras<'_>,
    outputs: Vec<OutputConfig>,
    reference: Option<&Reference>,
) -> anyhow::Result<Turn> {
    let mut mixer = VideoMixer::new();
    let start = Time::from_millis(1000);
    let mut sent: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
    for (source, stream) in cameras.sources() {
        sent.push(packets(source.ssrc, stream)?);
        mixer.handle_command(start, VideoCommand::AddSource(source))?;
    }
    for output in outputs {
        mixer.handle_command(start, VideoCommand::AddOutput(output))?;
    }
    let mut receiver = CardReceiver::new(VideoCodecName::H264)?;
    let pictures = sent.iter().map(Vec::len).min().context("no sources")?;
    let (mut now, mut out, mut cpu) = (start, VideoOutbox::new(), Duration::ZERO);
    for moment in 0..pictures {
        let begun = on_cpu();
        for source in &sent {
            source[moment].iter().for_each(|packet| mixer.handle_packet(now, packet));
        }
        mixer.handle_timeout(now, &mut out);
        cpu += on_cpu().saturating_sub(begun);
        for packet in out.packets().filter(|packet| packet.output == OutputId(0)) {
            receiver.handle_packet(now, &[packet.header.as_slice(), packet.payload].concat());
        }
        now += Duration::from_nanos(33_333_334);
    }
    let psnr_db = reference.and_then(|reference| Some(reference.psnr_db(&receiver.picture()?)));
    let cpu_ms = cpu.as_secs_f64() * 1000.0 / pictures as f64;
    let stats = mixer.stats();
    let of_layers = stats.decoded_layers as f64 / stats.decoded.max(1) as f64;
    Ok(Turn { cpu_ms, psnr_db, encoded: stats.encoded / pictures as u64, of_layers })
}

/// The packets of each picture of a stream.
fn packets(ssrc: u32, stream: &Stream) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
    let (mut sequence, mut all) = (WireSeq(0), Vec::new());
    for (number, unit) in (0..).zip(&stream.units) {
        let mut packets = Vec::new();
        for (payload, marker) in payloads(unit)? {
            let packet = RtpBuilder::new(ssrc)
                .payload_type(96)
                .sequence(sequence)
                .timestamp(WireTimestamp(number * 3000))
                .marker(marker)
                .payload(&payload);
            packets.push(packet.to_vec());
            sequence = sequence.next();
        }
        all.push(packets);
    }
    Ok(all)
}

/// Payloads of an access unit of H.264, each with its marker.
pub(crate) fn payloads(unit: &[u8]) -> anyhow::Result<Vec<(Vec<u8>, bool)>> {
    let mut room = vec![0; 1_200];
    let mut packetizer = Packetizer::h264(unit, H264Mode::NonInterleaved, room.len())?;
    let mut payloads = Vec::new();
    while let Some(payload) = packetizer.next_payload(&mut room) {
        payloads.push((room[..payload.bytes].to_vec(), payload.marker));
    }
    Ok(payloads)
}

/// Time that this thread has spent on a processor.
pub(super) fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
