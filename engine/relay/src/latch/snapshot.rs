//! A transport's latch, written down and taken up again.

use super::{Candidate, Latching, Locked};
use crate::limits::CANDIDATES_MAX;
use crate::snapshot::{CandidateSnapshot, LatchSnapshot, LockedSnapshot};

impl Latching {
    pub(crate) fn snapshot(&self) -> LatchSnapshot {
        // Whether it is multiplexed is told by the transport.
        let Latching {
            policy,
            remote,
            remote_rtcp,
            multiplexed: _,
            // Follows from the rest.
            destination: _,
            locked,
            remote_heard,
            rtcp_source,
            candidates,
            dice,
        } = self.clone();
        let candidate = |candidate: Candidate| {
            let Candidate { source, ssrc, next, count } = candidate;
            CandidateSnapshot { source: source.into(), ssrc, next, count }
        };
        LatchSnapshot {
            policy,
            remote: remote.map(Into::into),
            remote_rtcp: remote_rtcp.map(Into::into),
            locked: locked.map(|Locked { source, heard, heard_beside, taken, guess, lapsed }| {
                LockedSnapshot { source: source.into(), heard, heard_beside, taken, guess, lapsed }
            }),
            remote_heard,
            rtcp_source: rtcp_source.map(Into::into),
            candidates: candidates.into_iter().map(|known| known.map(candidate)).collect(),
            dice,
        }
    }

    /// None: more candidates than are remembered here, or a policy without the address that it needs.
    pub(crate) fn restore(from: &LatchSnapshot, multiplexed: bool) -> Option<Latching> {
        let LatchSnapshot {
            policy,
            remote,
            remote_rtcp,
            locked,
            remote_heard,
            rtcp_source,
            candidates,
            dice,
        } = from;
        if candidates.len() > CANDIDATES_MAX {
            return None;
        }
        let mut latch = Latching::new(
            *policy,
            remote.as_ref().map(Into::into),
            remote_rtcp.as_ref().map(Into::into),
            multiplexed,
        );
        crate::change::check_remote(latch.policy, latch.remote).ok()?;
        latch.locked = locked.as_ref().map(|locked| Locked {
            source: (&locked.source).into(),
            heard: locked.heard,
            heard_beside: locked.heard_beside,
            taken: locked.taken,
            guess: locked.guess,
            lapsed: locked.lapsed,
        });
        latch.remote_heard = *remote_heard;
        latch.rtcp_source = rtcp_source.as_ref().map(Into::into);
        for (place, known) in latch.candidates.iter_mut().zip(candidates) {
            *place = known.as_ref().map(|known| Candidate {
                source: (&known.source).into(),
                ssrc: known.ssrc,
                next: known.next,
                count: known.count,
            });
        }
        latch.dice = *dice;
        latch.settle();
        Some(latch)
    }
}
