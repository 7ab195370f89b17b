//! Participants who send what they should not: a mix is to go on for all others as if they were not there.

use crate::audio::LoadCodec;
use crate::audio::sound::to_i16;
use crate::schedule::{Beat, Schedule};
use anyhow::Context;
use motet_codecs::{AudioCodec, EncoderSettings};
use motet_net::SocketId;
use motet_rtp::{RtpBuilder, Time, WireSeq, WireTimestamp};
use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::time::Duration;

const FRAME: Duration = Duration::from_millis(20);
/// Bytes of a payload that no codec has in 20 ms, and that fills most networks' largest packet.
const LARGE_BYTES: usize = 1_500;
/// Nobody has announced this payload type.
const UNKNOWN_TYPE: u8 = 125;
/// Above all that talkers have, below what telephones carry at most.
const LOUD_HZ: f64 = 3_600.0;
const PAYLOAD_BYTES_MAX: usize = 2_000;

/// What a participant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Abuse {
    /// Opus in stereo where mono was agreed on
    Channels,
    /// Opus packets of 40 ms, one each 20 ms
    Frames,
    /// G.711 under the payload type of Opus
    Codec,
    /// A payload type that nobody knows
    Type,
    /// Payloads of no bytes
    Empty,
    /// Payloads of 1,500 bytes that are no sound
    Large,
    /// Sound at three times real time
    Fast,
    /// A tone at full scale
    Loud,
    /// Datagrams that are no RTP
    Garbage,
}

impl Abuse {
    /// Whether something comes of it that a mixer may take for a voice.
    pub const fn may_be_heard(self) -> bool {
        !matches!(self, Abuse::Type | Abuse::Empty | Abuse::Garbage)
    }
}

/// Somebody who does it, in Opus.
#[derive(Clone, Copy, Debug)]
pub struct AbuserPlan {
    /// What.
    pub abuse: Abuse,
    /// Socket to send from.
    pub socket: SocketId,
    /// Where to.
    pub destination: SocketAddr,
    /// Synchronization source.
    pub ssrc: u32,
}

/// All of them.
#[derive(Debug)]
pub struct Abusers {
    abusers: Vec<Abuser>,
    schedule: Schedule,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Abuser {
    plan: AbuserPlan,
    sequence: u16,
    timestamp: u32,
    /// A second of it, each with a frame's time.
    payloads: Vec<Vec<u8>>,
    random: u64,
}

impl Abusers {
    /// Abusers that begin at `start`, for `duration`.
    ///
    /// # Errors
    /// Opus is not to be had.
    pub fn new(start: Time, duration: Duration, plans: &[AbuserPlan]) -> anyhow::Result<Abusers> {
        let beats = plans.iter().map(|_| Beat { interval: FRAME, phase: Duration::ZERO }).collect();
        let abuser = |plan: &AbuserPlan| -> anyhow::Result<Abuser> {
            let payloads = payloads(plan.abuse)?;
            let random = 0x9e37_79b9_7f4a_7c15 ^ u64::from(plan.ssrc);
            Ok(Abuser { plan: *plan, sequence: 0, timestamp: 0, payloads, random })
        };
        let abusers = plans.iter().map(abuser).collect::<anyhow::Result<_>>()?;
        Ok(Abusers { abusers, schedule: Schedule::new(start, duration, beats), packet: Vec::new() })
    }

    /// Gives what is due at `now` to `queue`.
    pub fn handle_due(&mut self, now: Time, mut queue: impl FnMut(SocketId, SocketAddr, &[u8])) {
        while let Some(tick) = self.schedule.poll(now) {
            let abuser = &mut self.abusers[tick.stream];
            let packets = if abuser.plan.abuse == Abuse::Fast { 3 } else { 1 };
            for _ in 0..packets {
                abuser.write(&mut self.packet);
                queue(abuser.plan.socket, abuser.plan.destination, &self.packet);
            }
        }
    }

    /// When something is due next; none at the end.
    pub fn next_due(&self) -> Option<Time> {
        self.schedule.next_due()
    }
}

impl Abuser {
    fn write(&mut self, packet: &mut Vec<u8>) {
        packet.clear();
        if self.plan.abuse == Abuse::Garbage {
            // Version 1, and whatever comes to mind.
            packet.extend(std::iter::repeat_with(|| self.draw()).take(100));
            packet[0] = 0x40 | packet[0] & 0x3f;
            return;
        }
        let payload = &self.payloads[usize::from(self.sequence) % self.payloads.len()];
        let known = LoadCodec::Opus.payload_type();
        RtpBuilder::new(self.plan.ssrc)
            .payload_type(if self.plan.abuse == Abuse::Type { UNKNOWN_TYPE } else { known })
            .sequence(WireSeq(self.sequence))
            .timestamp(WireTimestamp(self.timestamp))
            .payload(payload)
            .write(packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(LoadCodec::Opus.frame_ticks());
    }

    /// Xorshift: any bytes will do.
    fn draw(&mut self) -> u8 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u8
    }
}

/// What one of them sends, again and again.
fn payloads(abuse: Abuse) -> anyhow::Result<Vec<Vec<u8>>> {
    Ok(match abuse {
        Abuse::Empty => vec![Vec::new()],
        Abuse::Large => {
            let byte = |index: usize| (index * 167 + index / 7) as u8;
            // The first byte says one frame of Opus of 20 ms, which has 1,275 bytes at most (RFC 6716 section 3.2.1).
            vec![std::iter::once(0xf8).chain((1..LARGE_BYTES).map(byte)).collect()]
        }
        Abuse::Codec => encode("PCMU", 8_000, 1, "", 0.05)?,
        Abuse::Channels => encode("opus", 48_000, 2, "stereo=1;sprop-stereo=1", 0.05)?,
        Abuse::Loud => encode("opus", 48_000, 2, "", 1.0)?,
        Abuse::Frames => {
            // Two equal frames in a packet have code 1 (RFC 6716 section 3.2.3).
            let twice = |payload: Vec<u8>| match payload.split_first() {
                Some((first, frame)) if first & 3 == 0 => [&[first | 1], frame, frame].concat(),
                _ => payload,
            };
            encode("opus", 48_000, 2, "cbr=1", 0.05)?.into_iter().map(twice).collect()
        }
        Abuse::Type | Abuse::Fast | Abuse::Garbage => encode("opus", 48_000, 2, "", 0.05)?,
    })
}

/// A second of a tone.
fn encode(
    name: &str,
    clock_hz: u32,
    channels: u8,
    fmtp: &str,
    amplitude: f32,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut encoder =
        AudioCodec::parse(name, clock_hz, channels, fmtp)?.encoder(&EncoderSettings::default())?;
    let format = encoder.format();
    let sample =
        |at: u32| amplitude * (f64::from(at) * LOUD_HZ / f64::from(format.sample_rate_hz) * TAU).sin() as f32;
    let mono: Vec<f32> = (0..format.sample_rate_hz).map(sample).collect();
    let both =
        to_i16(&mono).into_iter().flat_map(|sample| std::iter::repeat_n(sample, format.channels.into()));
    let samples: Vec<i16> = both.collect();
    let mut payload = vec![0; PAYLOAD_BYTES_MAX];
    let frames = samples.chunks_exact(format.samples_in_ms(20));
    frames
        .map(|frame| {
            let bytes = encoder.encode(frame, &mut payload).context("a tone is encoded")?;
            Ok(payload[..bytes].to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use motet_rtp::RtpView;

    /// What one of them sends in a second.
    fn sent(abuse: Abuse) -> Vec<Vec<u8>> {
        let plan = AbuserPlan {
            abuse,
            socket: SocketId(0),
            destination: "127.0.0.1:9".parse().expect("an address"),
            ssrc: 5,
        };
        let mut abusers = Abusers::new(Time::ZERO, Duration::from_secs(1), &[plan]).expect("Opus is there");
        let mut packets = Vec::new();
        abusers.handle_due(Time::from_millis(1_000), |_, _, packet| packets.push(packet.to_vec()));
        assert_eq!(abusers.next_due(), None);
        packets
    }

    #[test]
    fn each_does_what_its_name_says() {
        let decoder = LoadCodec::Opus.codec().and_then(|codec| codec.decoder()).expect("Opus is there");
        for abuse in Abuse::value_variants() {
            let packets = sent(*abuse);
            assert_eq!(packets.len(), if *abuse == Abuse::Fast { 150 } else { 50 }, "{abuse:?}");
            let view = RtpView::new(&packets[20]);
            if *abuse == Abuse::Garbage {
                assert!(view.is_err());
                continue;
            }
            let view = view.expect("RTP");
            let (samples, bytes) = (decoder.samples_in(view.payload()), view.payload().len());
            match abuse {
                Abuse::Channels => assert!(view.payload()[0] & 4 != 0, "RFC 6716 section 3.1: s"),
                Abuse::Frames => assert_eq!(samples.ok(), Some(2 * 960)),
                Abuse::Codec => assert_eq!(bytes, 160),
                Abuse::Type => assert_eq!(view.payload_type(), UNKNOWN_TYPE),
                Abuse::Empty => assert_eq!(bytes, 0),
                Abuse::Large => assert_eq!(bytes, 1_500),
                _ => assert_eq!(samples.ok(), Some(960), "{abuse:?}"),
            }
        }
    }
}
