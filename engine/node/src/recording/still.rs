//! Single pictures of participants: the first key frame that comes whole.

use super::feed::ask_key_frame;
use crate::exchange::Desk;
use crate::plan::TrackForm;
use motet_codecs::video::{VideoCodec, VideoCodecName};
use motet_relay::PortId;
use motet_rtp::payload::{Depacketizer, PayloadFormat, PicturePacket, parameter_sets};
use motet_rtp::{RtpView, Time};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a key frame is asked for.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a missing packet is waited for.
const REORDER_WAIT: Duration = Duration::from_millis(100);

/// A key frame.
#[derive(Debug)]
pub(crate) struct Still {
    pub(crate) codec: VideoCodec,
    /// Its access unit.
    pub(crate) unit: Vec<u8>,
}

/// Pictures that are waited for.
#[derive(Default)]
pub(super) struct Stills(Vec<Waiting>);

struct Waiting {
    from: (PortId, u32),
    /// By payload type.
    lines: Vec<(u8, VideoCodec, Depacketizer)>,
    ask_at: Time,
    done: Option<oneshot::Sender<Still>>,
}

impl Stills {
    /// Waits for a picture. Who asks learns at once, by the end of `done`, of what is not decoded.
    pub(super) fn wait_for(&mut self, track: &TrackForm, done: oneshot::Sender<Still>) {
        let lines = track.codecs.iter().filter_map(|codec| {
            let picture = codec.picture()?;
            let format = match picture.name {
                VideoCodecName::H264 => PayloadFormat::H264,
                VideoCodecName::H265 => PayloadFormat::H265,
                _ => PayloadFormat::Vp8,
            };
            let sets = parameter_sets(format, &codec.fmtp);
            Some((codec.payload_type, picture, Depacketizer::new(format, REORDER_WAIT, sets)))
        });
        let lines: Vec<_> = lines.collect();
        if !lines.is_empty() {
            let from = (track.port, track.ssrc);
            self.0.push(Waiting { from, lines, ask_at: Time::ZERO, done: Some(done) });
        }
    }

    /// Looks at a packet.
    pub(super) fn handle_packet(&mut self, from: (PortId, u32), at: Time, packet: &[u8]) {
        for waiting in self.0.iter_mut().filter(|waiting| waiting.from == from) {
            waiting.handle_packet(at, packet);
        }
    }

    /// Asks for key frames, and forgets who waits no longer.
    pub(super) fn turn(&mut self, now: Time, desk: &mut Desk, rtcp: &mut Vec<u8>) {
        self.0.retain(|waiting| waiting.done.as_ref().is_some_and(|done| !done.is_closed()));
        for waiting in self.0.iter_mut().filter(|waiting| waiting.ask_at <= now) {
            waiting.ask_at = now + ASK_INTERVAL;
            ask_key_frame(desk, rtcp, waiting.from);
        }
    }
}

impl Waiting {
    fn handle_packet(&mut self, at: Time, packet: &[u8]) {
        let Ok(packet) = RtpView::new(packet) else { return };
        let line = self.lines.iter_mut().find(|(payload_type, ..)| *payload_type == packet.payload_type());
        let Some((_, codec, depacketizer)) = line else { return };
        let (sequence, timestamp, marker) = (packet.sequence(), packet.timestamp(), packet.marker());
        depacketizer
            .handle_packet(at, &PicturePacket { sequence, timestamp, marker, payload: packet.payload() });
        while let Some(unit) = depacketizer.poll_unit(at) {
            if unit.key_frame
                && !unit.damaged
                && let Some(done) = self.done.take()
            {
                // Who asked may have gone.
                let _ = done.send(Still { codec: codec.clone(), unit: unit.bytes.to_vec() });
            }
        }
    }
}
