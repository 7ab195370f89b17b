//! motet's mixer, in this thread and in virtual time.

use super::Turn;
use super::ffmpeg::{CANVAS, Reference, Stream};
use anyhow::Context;
use motet_codecs::video::{H264Library, PictureSize, VideoCodec, VideoCodecName};
use motet_mixer::testing::CardReceiver;
use motet_mixer::video::{
    Fit, Layout, OutputConfig, OutputId, SourceConfig, SourceId, VideoCommand, VideoMixer, VideoOutbox,
};
use motet_rtp::payload::{H264Mode, Packetizer};
use motet_rtp::{RtpBuilder, Time, WireSeq, WireTimestamp};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Composes streams and encodes the canvas.
///
/// # Errors
/// When a codec is missing.
pub fn compose(streams: &[Stream], personal: bool, reference: &Reference) -> anyhow::Result<Turn> {
    let outputs = if personal { streams.len() as u32 } else { 1 };
    let layout = Layout::Equal(streams.len() as u8);
    let outputs = (0..outputs).map(|index| OutputConfig {
        layout: layout.clone(),
        without: personal.then_some(SourceId(index)),
        ..output(index, CANVAS, 3_000_000)
    });
    let reference = Some(reference).filter(|_| !personal);
    run(streams, outputs.collect(), reference)
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
    run(std::slice::from_ref(stream), vec![alone], Some(reference))
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

/// All pictures of the streams, as outputs want them; the first output's last one is held against the reference.
fn run(
    streams: &[Stream],
    outputs: Vec<OutputConfig>,
    reference: Option<&Reference>,
) -> anyhow::Result<Turn> {
    let codec = VideoCodec::parse("H264", 90_000, "packetization-mode=1").context("H.264")?;
    let mut mixer = VideoMixer::new();
    let start = Time::from_millis(1000);
    for index in 0..streams.len() as u32 {
        let codecs = vec![(96, codec.clone())];
        let source = SourceConfig {
            id: SourceId(index),
            ssrc: index,
            codecs,
            name: String::new(),
            look: Default::default(),
            content: false,
            layer: None,
        };
        mixer.handle_command(start, VideoCommand::AddSource(source))?;
    }
    for output in outputs {
        mixer.handle_command(start, VideoCommand::AddOutput(output))?;
    }
    let mut receiver = CardReceiver::new(codec.name)?;
    let packets: Vec<Vec<Vec<Vec<u8>>>> =
        (0..).zip(streams).map(|(ssrc, stream)| packets(ssrc, stream)).collect::<anyhow::Result<_>>()?;
    let pictures = packets.iter().map(Vec::len).min().context("no sources")?;
    let (mut now, mut out, mut cpu) = (start, VideoOutbox::new(), Duration::ZERO);
    for moment in 0..pictures {
        let begun = on_cpu();
        for source in &packets {
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
    Ok(Turn { cpu_ms, psnr_db, encoded: mixer.stats().encoded / pictures as u64 })
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
