//! Where one packet does not follow another: silence, loss, and what stands in for it.

use super::conceal::SILENT_US;
use super::{Joint, Mode, Playout, TICKS_PER_SECOND};
use motet_rtp::Time;

/// What a codec makes up is as loud as it likes for so long, and then fades until [`SILENT_US`].
const CODEC_FULL_US: usize = 40_000;
/// A tick may be short of so much through rounding.
const ROUNDED_US: usize = 250;
/// How sound ends when the sender is silent all at once.
const END_US: usize = 5000;

/// Made-up sound since the last packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gap {
    /// How long the buffer's time stood still.
    ticks: u32,
    /// Samples made up.
    samples: usize,
    /// The codec made it up, and its next sound fits.
    by_codec: bool,
    /// Packets were dropped.
    broken: bool,
}

impl Gap {
    /// What follows does not follow what was.
    pub(super) fn broken(&mut self) {
        self.broken = true;
    }

    /// Sound follows sound.
    pub(super) fn is_none(&self) -> bool {
        self.samples == 0 && !self.broken
    }
}

impl Playout {
    /// Goes on with the next packet, or stands in for it. False when nothing more can be had.
    pub(super) fn go_on(&mut self, now: Time) -> bool {
        let short = self.line_samples() - self.line.waiting();
        if short <= self.samples(ROUNDED_US) {
            self.line.hold(short);
            return true;
        }
        let Some(clock_hz) = self.buffer.clock_hz() else { return false };
        let Some(head) = self.buffer.head() else { return self.make_up(false, u32::MAX) };
        // What codecs with odd frames round off.
        let about_none = i64::from(clock_hz) / 1000;
        let left = head.gap_ticks - i64::from(self.gap.ticks);
        if head.gap_ticks <= about_none || (head.missing > 0 && left <= about_none) {
            let fits = self.gap.is_none() || (self.gap.by_codec && !self.gap.broken);
            self.play(now, if fits { Joint::Seamless } else { Joint::Blend });
            return true;
        }
        if head.missing == 0 {
            // The sender was silent, and nothing was lost.
            self.unexplained_ms = self.gap.samples as u64 * 1000 / u64::from(self.line_hz);
            self.rest();
            return true;
        }
        let next = left <= i64::from(head.duration_ticks) + about_none;
        self.make_up(next, left.clamp(1, i64::from(u32::MAX)) as u32)
    }

    /// The next packet is there: if it follows the last one, what was made up stood for silence.
    pub(super) fn explain(&mut self) {
        let made_up_ms = std::mem::take(&mut self.unexplained_ms);
        if self.buffer.head().is_some_and(|head| head.missing == 0 && head.gap_ticks > 0) {
            // Parts of a millisecond were counted piece by piece.
            self.stats.concealed_ms -= made_up_ms.min(self.stats.concealed_ms);
        }
    }

    /// Makes up sound for a gap of `left_ticks`, 20 ms at most; all of it if the packet after it waits (`next`).
    /// When enough was made up, rests.
    fn make_up(&mut self, next: bool, left_ticks: u32) -> bool {
        let silent = self.samples(SILENT_US);
        let (Some(voice), Some(clock_hz)) = (self.voice, self.buffer.clock_hz()) else {
            self.rest();
            return true;
        };
        if self.gap.samples >= silent {
            self.unexplained_ms = self.gap.samples as u64 * 1000 / u64::from(self.line_hz);
            self.rest();
            // What ended as silence needs no other end.
            self.sounding = false;
            return true;
        }
        let usual = self.taken.duration_ticks.clamp(1, clock_hz / TICKS_PER_SECOND);
        let ticks = if next { left_ticks.min(clock_hz / 8) } else { usual.min(left_ticks) };
        let rate_hz = u64::from(self.line_hz);
        let samples = (u64::from(ticks) * rate_hz / u64::from(clock_hz)).max(1) as usize;
        self.sound.clear();
        let payload = self.buffer.head().filter(|_| next).map(|head| head.payload);
        let copy = payload.is_some_and(|next| self.voices.holds_copy(voice, next));
        let by_codec = self.voices.conceal(voice, payload, ticks, &mut self.sound);
        let recovered = by_codec && payload.is_some();
        if by_codec && (copy || !self.repeats()) {
            if self.concealment.is_active() {
                self.concealment.blend_into(self.line.past(), &mut self.sound);
            }
            let full = self.samples(CODEC_FULL_US);
            if !recovered {
                fade(&mut self.sound, self.gap.samples, full, silent);
            }
            self.gap.by_codec = recovered || self.gap.samples + samples <= full;
        } else {
            self.sound.clear();
            self.concealment.begin(self.line.past());
            if recovered {
                self.concealment.hold();
            }
            self.concealment.extend(samples, &mut self.sound);
            self.gap.by_codec = false;
        }
        self.stats.fec_recovered += u64::from(recovered);
        self.tick.sent |= recovered;
        self.stats.concealed_ms += if recovered { 0 } else { samples as u64 * 1000 / rate_hz };
        self.gap.ticks = self.gap.ticks.saturating_add(ticks);
        self.gap.samples += samples;
        self.push_made_up();
        true
    }

    /// Whether what is lost is to be made up by repetition though the codec could: what repeats itself so well that this
    /// is not heard. SILK (Opus for speech) loses a tone within 10 ms and finds it again 20 ms after the loss.
    fn repeats(&mut self) -> bool {
        if self.gap.samples == 0 && !self.concealment.is_active() {
            self.concealment.begin(self.line.past());
            if !self.concealment.is_steady() {
                self.concealment.end();
            }
        }
        self.concealment.is_active()
    }

    /// Stands in for a packet that was taken and could not be decoded.
    pub(super) fn make_up_for_bad(&mut self) {
        let samples = (self.taken_us() * u64::from(self.line_hz) / 1_000_000) as usize;
        self.sound.clear();
        self.concealment.begin(self.line.past());
        self.concealment.extend(samples, &mut self.sound);
        self.gap.samples += samples;
        self.gap.by_codec = false;
        self.stats.concealed_ms += self.taken_us() / 1000;
        self.push_made_up();
    }

    /// Ends sound that nothing follows, so that it does not click.
    pub(super) fn end_sound(&mut self) {
        if self.mode == Mode::Idle && self.sounding && self.line.waiting() < self.line_samples() {
            let end = self.samples(END_US);
            self.sound.clear();
            self.concealment.begin(self.line.past());
            self.concealment.extend(end, &mut self.sound);
            self.concealment.end();
            fade(&mut self.sound, 0, 0, end);
            self.line.push(&self.sound);
            self.sounding = false;
        }
    }

    /// Drops what would be played too late; what is around it will be joined.
    pub(super) fn trim(&mut self, now: Time) {
        if self.buffer.trim(now) > 0 && self.mode == Mode::Playing {
            self.gap.broken = true;
            self.pace.reset();
        }
    }

    fn push_made_up(&mut self) {
        self.tick.made_up = true;
        self.sounding = true;
        self.line.push(&self.sound);
    }

    fn samples(&self, us: usize) -> usize {
        self.line_hz as usize * us / 1_000_000
    }
}

/// Sound whose first sample is number `first` gets silent between the numbers `full` and `silent`.
fn fade(sound: &mut [f32], first: usize, full: usize, silent: usize) {
    for (at, sample) in sound.iter_mut().enumerate() {
        *sample *= (silent.saturating_sub(first + at) as f32 / (silent - full) as f32).min(1.0);
    }
}
