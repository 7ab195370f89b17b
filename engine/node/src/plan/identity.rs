//! Under which SSRCs and numbers a conference is known to its receivers.
//!
//! With a seed ([`Spec::seed`](crate::model::Spec::seed)) they follow from it, the conference's id and names: any node that is given
//! the same conference sends under the same SSRCs, and adds the same to the numbers and times of the same sources,
//! so that receivers see a stream go on. Without a seed they are random. `docs/packet.md` says what goes on exactly.
//!
//! What is made here is part of the interface between versions of the software: conferences are restored by a node
//! of another version, too.

use super::Planner;
use crate::model::{Id, Leg, RouteKey};
use motet_relay::Numbering;
use siphasher::sip::SipHasher24;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// The second half of the hash's key; the first is the seed. Another number is another version of all this.
const KEY: u64 = 1;

/// What numbers are made of.
#[derive(Clone, Copy, Debug)]
struct Identity<'a> {
    seed: NonZeroU64,
    /// Conferences of one booking may have one seed.
    conference: &'a str,
}

impl Identity<'_> {
    /// A keyed hash (SipHash-2-4) of a purpose and names; `attempt` gives another one.
    fn hash(self, purpose: &str, names: &[&str], attempt: u32) -> u64 {
        let mut bytes = attempt.to_le_bytes().to_vec();
        for name in [self.conference, purpose].iter().chain(names) {
            // Names have at most 64 bytes; with their lengths no two lists are written alike.
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
        }
        SipHasher24::new_with_keys(self.seed.get(), KEY).hash(&bytes)
    }

    /// SSRCs for a purpose: the first that is free is taken.
    fn ssrcs(self, purpose: &str, names: &[&str]) -> impl Iterator<Item = u32> {
        (0..).map(move |attempt| self.hash(purpose, names, attempt) as u32)
    }

    fn shift(self, purpose: &str, names: &[&str]) -> Numbering {
        let bits = self.hash(purpose, names, 0);
        Numbering::Shift { sequence: (bits >> 32) as u16, timestamp: bits as u32 }
    }
}

impl<'a> Planner<'a> {
    fn identity(&self) -> Option<Identity<'a>> {
        self.new.seed.map(|seed| Identity { seed, conference: &self.new.id })
    }

    /// The first that can be an SSRC and is not used in a leg.
    fn take(used: &mut BTreeSet<u32>, mut candidates: impl Iterator<Item = u32>) -> u32 {
        let found = candidates.find(|ssrc| *ssrc != 0 && used.insert(*ssrc));
        found.expect("numbers do not end")
    }

    /// The SSRC for a route that has none: the one under which all know the stream, unless the leg uses it for
    /// something else. `common` is the one that its receivers know already.
    pub(super) fn route_ssrc(
        &mut self,
        key: &RouteKey,
        common: Option<&u32>,
        used: &mut BTreeSet<u32>,
    ) -> u32 {
        let Some(identity) = self.identity() else {
            let random = std::iter::repeat_with(|| self.resources.random());
            return Planner::take(used, common.copied().into_iter().chain(random));
        };
        // Who got its routes before there was a seed keeps them.
        let common = common.filter(|_| self.old.is_some_and(|old| old.seed != self.new.seed)).copied();
        let stream = identity.hash("stream", &[&key.from_leg, &key.from_medium], 0) as u32;
        let names = [&*key.to_leg, &*key.to_medium, &*key.from_leg, &*key.from_medium];
        let others = identity.ssrcs("route", &names);
        Planner::take(used, common.into_iter().chain([stream]).chain(others))
    }

    /// The SSRC under which a leg knows the mix.
    pub(super) fn mix_ssrc(&mut self, leg: &Id, used: &mut BTreeSet<u32>) -> u32 {
        match self.identity() {
            Some(identity) => Planner::take(used, identity.ssrcs("mix", &[leg])),
            None => Planner::take(used, std::iter::repeat_with(|| self.resources.random())),
        }
    }

    /// The SSRC of our reports to a leg: none that the participant sends with.
    pub(super) fn report_ssrc(&mut self, leg: &Leg) -> u32 {
        let mut used = leg.media.iter().filter_map(|medium| medium.ssrc).collect();
        match self.identity() {
            Some(identity) => Planner::take(&mut used, identity.ssrcs("report", &[&leg.id])),
            None => Planner::take(&mut used, std::iter::repeat_with(|| self.resources.random())),
        }
    }

    /// Numbers of a route. The same for all receivers of a stream, who may then get the same packets.
    pub(super) fn numbering(&mut self, key: &RouteKey) -> Numbering {
        let names = [&*key.from_leg, &*key.from_medium];
        self.identity().map_or_else(|| self.random_numbering(), |identity| identity.shift("numbers", &names))
    }

    /// Numbers of the mix for a leg.
    pub(super) fn mix_numbering(&mut self, leg: &Id) -> Numbering {
        self.identity()
            .map_or_else(|| self.random_numbering(), |identity| identity.shift("mix numbers", &[leg]))
    }

    /// The SSRC under which a leg knows a canvas: that of all who get the same, unless the leg uses it for something
    /// else. `common` is the one that they know it by already.
    pub(super) fn canvas_ssrc(
        &mut self,
        leg: &Id,
        same: &str,
        common: Option<u32>,
        used: &mut BTreeSet<u32>,
    ) -> u32 {
        match self.identity() {
            Some(identity) => {
                let stream = identity.hash("canvas", &[same], 0) as u32;
                let names = [&**leg];
                let others = identity.ssrcs("canvas of", &names);
                Planner::take(used, std::iter::once(stream).chain(others))
            }
            None => {
                let random = std::iter::repeat_with(|| self.resources.random());
                Planner::take(used, common.into_iter().chain(random))
            }
        }
    }

    /// Numbers of a canvas for those who get the same.
    pub(super) fn canvas_numbering(&mut self, same: &str) -> Numbering {
        self.identity()
            .map_or_else(|| self.random_numbering(), |identity| identity.shift("canvas numbers", &[same]))
    }

    /// Numbers that nobody else has.
    pub(super) fn random_numbering(&mut self) -> Numbering {
        let (sequence, timestamp) = (self.resources.random() as u16, self.resources.random());
        Numbering::Begin { sequence, timestamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(seed: u64) -> Identity<'static> {
        Identity { seed: NonZeroU64::new(seed).expect("not 0"), conference: "c1" }
    }

    /// Nodes of all versions must agree: these never change. They were made by another implementation of the hash.
    #[test]
    fn what_follows_from_a_seed_is_the_same_in_every_version() {
        let identity = identity(0x0123_4567_89ab_cdef);
        assert_eq!(identity.hash("", &[], 0), 8_006_154_500_496_787_262);
        let ssrcs: Vec<u32> = identity.ssrcs("route", &["bob", "audio", "alice", "audio"]).take(3).collect();
        assert_eq!(ssrcs, [1_588_230_109, 4_236_674_551, 1_672_165_958]);
        assert_eq!(
            identity.shift("numbers", &["alice", "video"]),
            Numbering::Shift { sequence: 33_240, timestamp: 679_333_752 }
        );
    }

    #[test]
    fn names_are_kept_apart() {
        let identity = identity(1);
        assert_ne!(identity.hash("p", &["ab", "c"], 0), identity.hash("p", &["a", "bc"], 0));
        assert_ne!(identity.hash("p", &["a"], 0), identity.hash("pa", &[], 0));
        assert_ne!(identity.hash("p", &["a"], 0), identity.hash("p", &["a"], 1));
        assert_ne!(identity.hash("p", &["a"], 0), self::identity(2).hash("p", &["a"], 0));
        let other = Identity { conference: "c2", ..identity };
        assert_ne!(identity.hash("p", &["a"], 0), other.hash("p", &["a"], 0));
    }
}
