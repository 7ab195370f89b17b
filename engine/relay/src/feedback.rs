//! Key frames: receivers' requests brought to the publisher, merged and throttled.
//!
//! The first request goes at once. Requests within the interval after it are remembered as one and sent at
//! its end, so that a receiver that joins just after another is not left waiting, and a room of a thousand
//! does not make the publisher send nothing but key frames.

use crate::relay::{Relay, Timer};
use crate::stream::Stream;
use crate::{Event, Outbox, StreamId};
use motet_rtp::Time;
use motet_rtp::rtcp::{FirEntry, write_fir, write_pli};

/// How a key frame is asked for. The stronger request wins when two wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Picture loss indication (RFC 4585 section 6.3.1).
    Pli,
    /// Full intra request (RFC 5104 section 4.3.1).
    Fir,
}

/// The requests of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyFrames {
    pub(crate) last: Option<Time>,
    pub(crate) waiting: Option<Ask>,
    /// When the stream's timer is due, if it runs.
    pub(crate) timer: Option<Time>,
}

impl Relay {
    /// A route begins to carry a video stream: the receiver can show nothing before a key frame.
    pub(crate) fn want_first_key_frame(&mut self, now: Time, id: StreamId, out: &mut Outbox) {
        let Some(stream) = self.streams.get(id.0 as usize).and_then(Option::as_ref) else { return };
        // What a trunk has yet to bring begins with the key frame that the trunk's own route asked for.
        if stream.is_video() && (stream.started() || !self.comes_by_trunk(stream)) {
            self.want_key_frame(now, id, Ask::Pli, out);
        }
    }

    fn comes_by_trunk(&self, stream: &Stream) -> bool {
        self.transport(stream.spec.leg, stream.spec.transport).is_some_and(|place| place.latch.is_trunk())
    }

    /// A key frame is wanted; asks now or when the throttle allows.
    pub(crate) fn want_key_frame(&mut self, now: Time, id: StreamId, ask: Ask, out: &mut Outbox) {
        let stream = self.streams[id.0 as usize].as_mut().expect("the caller looked it up");
        let waiting = &mut stream.key_frames.waiting;
        *waiting = Some(waiting.map_or(ask, |before| before.max(ask)));
        self.send_waiting_key_frame(now, id, out);
    }

    /// The stream started: what waited for its SSRC can go. It begins with a key frame by itself, so that
    /// nothing new is asked.
    pub(crate) fn stream_started(&mut self, now: Time, id: StreamId, out: &mut Outbox) {
        self.send_waiting_key_frame(now, id, out);
    }

    /// The timer of a stream's requests is due.
    pub(crate) fn key_frame_due(&mut self, now: Time, id: StreamId, out: &mut Outbox) {
        let stream = self.streams[id.0 as usize].as_mut().expect("a stream takes its timer along");
        stream.key_frames.timer = None;
        self.send_waiting_key_frame(now, id, out);
    }

    /// Sends a waiting request if address, SSRC and throttle allow; else it goes on waiting.
    pub(crate) fn send_waiting_key_frame(&mut self, now: Time, id: StreamId, out: &mut Outbox) {
        let Some(stream) = self.streams.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        let Some(ask) = stream.key_frames.waiting else { return };
        let place =
            &self.legs[stream.spec.leg.0 as usize].as_ref().expect("a stream belongs to a leg").transports;
        let throttled = !place[usize::from(stream.spec.transport)].latch.is_trunk();
        if let Some(last) = stream.key_frames.last.filter(|_| throttled) {
            let allowed = last + self.config.key_frame_interval_min;
            if now < allowed {
                // One that runs already is not later, and looks again.
                if stream.key_frames.timer.is_none() {
                    stream.key_frames.timer = Some(allowed);
                    self.timers.insert((allowed, Timer::KeyFrame(id)));
                }
                return;
            }
        }
        // Without an SSRC or an address it waits for `stream_started`, `latched` or the leg's next tick.
        let Some(media_ssrc) = stream.ssrc else { return };
        let leg = self.legs[stream.spec.leg.0 as usize].as_mut().expect("a stream belongs to a leg");
        let transport = &leg.transports[usize::from(stream.spec.transport)];
        let Some(destination) = transport.latch.rtcp_destination() else { return };
        stream.key_frames.waiting = None;
        stream.key_frames.last = Some(now);
        let port = transport.rtcp_port();
        let (sender, cname) = (leg.report_ssrc, &self.config.cname);
        if ask == Ask::Fir {
            leg.fir_command = leg.fir_command.wrapping_add(1);
        }
        let command = leg.fir_command;
        out.message(port, destination, |bytes| {
            crate::report::write_preamble(bytes, sender, cname);
            match ask {
                Ask::Pli => write_pli(bytes, sender, media_ssrc),
                Ask::Fir => write_fir(bytes, sender, &[FirEntry { ssrc: media_ssrc, sequence: command }]),
            }
        });
        self.counts.rtcp_out += 1;
        out.events.push(Event::KeyFrameWanted { stream: id });
    }
}
