//! Whose packets a transport takes, and where it sends.
//!
//! A transport has at most one *locked* source. Only its packets are taken. `docs/security.md` lists the
//! attacks that these rules are for.
//!
//! - While the locked source is alive (heard within `relatch_after`), nobody replaces it, whatever they send.
//!   One exception: a lock that was taken before the signalled address was ever heard yields to it.
//! - Without a lock, the signalled address is locked by its first packet, and so is, under
//!   [`Latch::Fixed`], another port of its host; any other source by two packets in
//!   sequence of one SSRC (RFC 3550 A.1: what arrives by chance does not continue itself).
//! - After a silence the signalled address locks again at once. Another source must send five packets in
//!   sequence, and under [`Latch::Symmetric`] *continue a stream of the transport*: its SSRC, a sequence number
//!   just ahead of the last. Who was not on the path does not know them. A source that starts afresh elsewhere
//!   needs control's word (`relatch`), unless the lock was not *earned* by fifty packets: who tries ports with
//!   a few packets must not keep out whom they belong to.
//! - Under [`Latch::Fixed`] the destination never moves, so that nothing can be stolen: after a silence two
//!   packets in sequence from the same host are enough.
//! - Under [`Latch::Strict`] there is only the signalled address, and so it is under [`Latch::Trunk`].
//! - To an address that was learnt, nothing is sent after a long silence (`learnt_silence_max`; sooner, if
//!   the lock was not earned), until it is heard again: its packets may have been forged, so that it would get
//!   a flood that it never asked for.
//!
//! RTCP is taken from the locked source, or from its host at a port for RTCP alone. It does not lock, except
//! that a transport which publishes nothing has nothing else to show: there, when neither a source nor an
//! address is known, two RTCP datagrams of one SSRC lock. Nothing proves that this is the right one, and no
//! more do RTP packets where none are expected, so such a lock is a *guess*: while it is alive nobody
//! replaces it, but when it fell silent for longer than any RTCP participant does, the next one that shows
//! itself in the same way, or by two RTP packets in sequence, gets it. Once the source sends media of a
//! stream it is no guess, and the rules above hold.

mod snapshot;

use crate::Latch;
use crate::limits::{CANDIDATES_MAX, RTCP_SILENCE_MAX};
use motet_rtp::Time;
use motet_rtp::seq::WireSeq;
use std::net::SocketAddr;
use std::time::Duration;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// From the locked source.
    Accept,
    /// Accept; the source is locked now.
    Latched,
    /// Not yet proven.
    Probation,
    /// Not the leg's source.
    OffPath,
}

/// Whose a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The locked source's.
    Locked,
    /// The locked source's, to which nothing was sent any more: now it is.
    Revived,
    /// Another's.
    Other,
}

/// What a packet from a source that is not locked says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) ssrc: u32,
    pub(crate) sequence: WireSeq,
    /// It continues a stream that this transport carries.
    pub(crate) continues: bool,
    /// RTP is expected from the transport.
    pub(crate) publishes: bool,
}

/// What an RTCP datagram from a source that is not locked says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtcpClaim {
    /// Its sender; none: it names nobody.
    pub(crate) ssrc: Option<u32>,
    /// RTP is expected from the transport.
    pub(crate) publishes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Locked {
    source: SocketAddr,
    heard: Time,
    /// When RTCP came from its host at a port for RTCP alone. It is a sign of life, but not of this port.
    heard_beside: Time,
    /// RTP packets that were taken, as far as it matters.
    taken: u8,
    /// Nothing shows that it is the right one.
    guess: bool,
    /// Silent for so long that nothing is sent to it.
    lapsed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: SocketAddr,
    ssrc: u32,
    /// The RTP packet that would continue it; none: it shows itself by RTCP.
    next: Option<WireSeq>,
    count: u8,
}

/// The state of one transport.
#[derive(Clone, Debug)]
pub(crate) struct Latching {
    policy: Latch,
    remote: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    multiplexed: bool,
    /// Where RTP goes; asked for each destination of a batch.
    destination: Option<SocketAddr>,
    locked: Option<Locked>,
    /// The signalled address has spoken.
    remote_heard: bool,
    /// Where RTCP came from, at a port for RTCP alone.
    rtcp_source: Option<SocketAddr>,
    candidates: [Option<Candidate>; CANDIDATES_MAX],
    /// Picks the candidate that goes.
    dice: u32,
}

/// Packets in sequence, or RTCP datagrams of one SSRC, that a source without a history must send.
const PROOF_PACKETS: u8 = 2;
/// Packets in sequence that a source must send to take over from a silent one.
const ROAMING_PACKETS: u8 = 5;
/// Packets by which a lock is earned: a second of sound. Fewer are sent by who only tries whether a port
/// answers.
const EARNED_PACKETS: u8 = 50;

impl Latching {
    pub(crate) fn new(
        policy: Latch,
        remote: Option<SocketAddr>,
        remote_rtcp: Option<SocketAddr>,
        multiplexed: bool,
    ) -> Latching {
        Latching {
            policy,
            remote,
            remote_rtcp,
            multiplexed,
            destination: remote,
            locked: None,
            remote_heard: false,
            rtcp_source: None,
            candidates: [None; CANDIDATES_MAX],
            dice: 1,
        }
    }

    /// Control changed what it knows.
    pub(crate) fn set(
        &mut self,
        policy: Latch,
        remote: Option<SocketAddr>,
        remote_rtcp: Option<SocketAddr>,
        relatch: bool,
    ) {
        let moved = remote != self.remote || policy != self.policy;
        self.policy = policy;
        self.remote = remote;
        self.remote_rtcp = remote_rtcp;
        // A lock that the new policy would not have allowed goes, too.
        let stands = self.locked.is_some_and(|locked| self.may_lock(locked.source));
        if relatch || moved && !stands {
            self.locked = None;
            self.rtcp_source = None;
        }
        if relatch || moved {
            self.remote_heard = self.locked.is_some_and(|locked| Some(locked.source) == remote);
            self.candidates = [None; CANDIDATES_MAX];
        }
        self.settle();
    }

    /// Where RTP goes.
    #[inline]
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// Works out where RTP goes, whenever something changed that decides it.
    fn settle(&mut self) {
        self.destination = match (self.policy, self.locked) {
            (Latch::Symmetric, Some(locked)) if !locked.lapsed => Some(locked.source),
            _ => self.remote,
        };
    }

    /// Where RTCP goes.
    pub(crate) fn rtcp_destination(&self) -> Option<SocketAddr> {
        let rtp = self.destination()?;
        if let Some(given) = self.remote_rtcp {
            return Some(given);
        }
        if self.multiplexed {
            return Some(rtp);
        }
        let learnt = self.rtcp_source.filter(|source| source.ip() == rtp.ip());
        if self.policy == Latch::Symmetric && learnt.is_some() {
            return learnt;
        }
        let mut next = rtp;
        next.set_port(rtp.port().checked_add(1)?);
        Some(next)
    }

    /// The other end is a relay on the same clock.
    pub(crate) fn is_trunk(&self) -> bool {
        self.policy == Latch::Trunk
    }

    /// The address that control gave.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Forgets the locked source, which is somebody else's now.
    pub(crate) fn unlock(&mut self) {
        self.locked = None;
        self.settle();
    }

    /// The source that packets are taken from.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.locked.map(|locked| locked.source)
    }

    /// Whether it is the locked source, which is then alive: the way of nearly every packet.
    #[inline]
    pub(crate) fn hear(&mut self, now: Time, source: SocketAddr) -> Heard {
        match &mut self.locked {
            Some(locked) if locked.source == source => {
                locked.heard = now;
                locked.taken = locked.taken.saturating_add(1);
                if locked.lapsed {
                    self.revive();
                    return Heard::Revived;
                }
                Heard::Locked
            }
            _ => Heard::Other,
        }
    }

    /// A source that had lapsed speaks again.
    #[cold]
    fn revive(&mut self) {
        if let Some(locked) = &mut self.locked {
            locked.lapsed = false;
        }
        self.settle();
    }

    /// Judges an RTP packet of a source that is not the locked one.
    pub(crate) fn judge(
        &mut self,
        now: Time,
        source: SocketAddr,
        claim: Claim,
        relatch_after: Duration,
    ) -> Judgement {
        if !self.may_lock(source) {
            return Judgement::OffPath;
        }
        let signalled = self.remote == Some(source);
        let needed = match self.locked {
            None if signalled => 1,
            // The destination cannot be stolen, and the first packet may hold what a decoder needs.
            None if self.policy == Latch::Fixed => 1,
            None => PROOF_PACKETS,
            Some(_) if signalled && !self.remote_heard => 1,
            Some(locked) if locked.guess && !signalled => {
                if !self.is_open(now, relatch_after) {
                    return Judgement::OffPath;
                }
                PROOF_PACKETS
            }
            Some(locked) if now.since(locked.heard) < relatch_after => return Judgement::OffPath,
            Some(_) if signalled => 1,
            Some(locked) if self.policy == Latch::Symmetric && !claim.continues && locked.is_earned() => {
                return Judgement::OffPath;
            }
            Some(_) if self.policy == Latch::Symmetric => ROAMING_PACKETS,
            Some(_) => PROOF_PACKETS,
        };
        if self.proofs(source, claim.ssrc, Some(claim.sequence)) < needed {
            return Judgement::Probation;
        }
        self.lock(now, source, !claim.publishes);
        Judgement::Latched
    }

    /// The locked source sent media of a stream: it is no guess any more.
    pub(crate) fn prove(&mut self) {
        if let Some(locked) = &mut self.locked {
            locked.guess = false;
        }
    }

    /// Looks whether the locked source, if it was learnt, was silent for too long to be sent to.
    pub(crate) fn look(&mut self, now: Time, learnt_silence_max: Duration) {
        let (policy, remote) = (self.policy, self.remote);
        if let Some(locked) = &mut self.locked
            && policy == Latch::Symmetric
            && remote != Some(locked.source)
        {
            let trusted = locked.is_earned() && !locked.guess;
            let silence_max = if trusted { learnt_silence_max } else { RTCP_SILENCE_MAX };
            locked.lapsed = now.since(locked.heard.max(locked.heard_beside)) >= silence_max;
            self.settle();
        }
    }

    /// Judges RTCP.
    pub(crate) fn judge_rtcp(
        &mut self,
        now: Time,
        source: SocketAddr,
        claim: RtcpClaim,
        relatch_after: Duration,
    ) -> Judgement {
        if let Some(locked) = &mut self.locked
            && locked.source == source
        {
            locked.heard = now;
            self.revive();
            return Judgement::Accept;
        }
        let host = |other: Option<SocketAddr>| other.is_some_and(|other| other.ip() == source.ip());
        let known = match self.policy {
            Latch::Fixed => host(self.remote),
            Latch::Strict | Latch::Trunk => {
                [self.remote, self.remote_rtcp].contains(&Some(source))
                    || (!self.multiplexed && host(self.remote))
            }
            Latch::Symmetric if self.locked.is_some() => !self.multiplexed && host(self.source()),
            Latch::Symmetric => self.remote == Some(source) || (!self.multiplexed && host(self.remote)),
        };
        if known {
            if !self.multiplexed {
                self.rtcp_source = Some(source);
            }
            if let Some(locked) = &mut self.locked {
                locked.heard_beside = now;
                self.revive();
            }
            return Judgement::Accept;
        }
        let nothing_else = self.multiplexed && !claim.publishes && self.remote.is_none();
        let may_show_itself = self.policy == Latch::Symmetric && nothing_else;
        let Some(ssrc) = claim.ssrc.filter(|_| may_show_itself && self.is_open(now, relatch_after)) else {
            return Judgement::OffPath;
        };
        if self.proofs(source, ssrc, None) < PROOF_PACKETS {
            return Judgement::Probation;
        }
        self.lock(now, source, true);
        Judgement::Latched
    }

    /// No source is locked, or only a guess that fell silent. RTCP comes every few seconds only, so
    /// that silence begins later for it.
    fn is_open(&self, now: Time, relatch_after: Duration) -> bool {
        let silence = relatch_after.max(RTCP_SILENCE_MAX);
        self.locked.is_none_or(|locked| locked.guess && now.since(locked.heard) >= silence)
    }

    fn may_lock(&self, source: SocketAddr) -> bool {
        match (self.policy, self.remote) {
            (Latch::Symmetric, _) => true,
            (Latch::Fixed, Some(remote)) => remote.ip() == source.ip(),
            (Latch::Strict | Latch::Trunk, Some(remote)) => remote == source,
            (_, None) => false,
        }
    }

    /// How many packets in sequence the source has sent, with this one; without a number: RTCP datagrams.
    fn proofs(&mut self, source: SocketAddr, ssrc: u32, sequence: Option<WireSeq>) -> u8 {
        let next = sequence.map(WireSeq::next);
        let same = |candidate: &&mut Candidate| {
            (candidate.source, candidate.ssrc, candidate.next.is_some()) == (source, ssrc, next.is_some())
        };
        if let Some(candidate) = self.candidates.iter_mut().flatten().find(same) {
            let follows = candidate.next == sequence;
            candidate.count = if follows { candidate.count.saturating_add(1) } else { 1 };
            candidate.next = next;
            return candidate.count;
        }
        // By chance: whatever the order in which strangers come, some pass by whom they shall keep out. A
        // linear congruential generator is enough, since nobody sees what it picks.
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let free = self.candidates.iter().position(Option::is_none);
        let slot = free.unwrap_or((self.dice >> 16) as usize % CANDIDATES_MAX);
        self.candidates[slot] = Some(Candidate { source, ssrc, next, count: 1 });
        1
    }

    /// `unexpected`: by something else than media of a stream.
    fn lock(&mut self, now: Time, source: SocketAddr, unexpected: bool) {
        let guess = unexpected && self.policy == Latch::Symmetric && self.remote != Some(source);
        let heard_beside = Time::ZERO;
        self.locked = Some(Locked { source, heard: now, heard_beside, taken: 0, guess, lapsed: false });
        self.remote_heard |= self.remote == Some(source);
        self.candidates = [None; CANDIDATES_MAX];
        self.rtcp_source = None;
        self.settle();
    }
}

impl Locked {
    fn is_earned(&self) -> bool {
        self.taken >= EARNED_PACKETS
    }
}

#[cfg(test)]
mod tests;
