//! Numbers that people dial: chosen from those of the platform, and unique in the store.

use super::model::{Conference, Phase};
use super::step::Step;
use crate::refusal::Refusal;
use std::collections::BTreeSet;
use tonic::Code;

impl Step<'_> {
    pub(super) fn number_taken(&self, number: &str) -> bool {
        let living = |conference: &Conference| conference.record.phase != Phase::Ended;
        self.state
            .conferences
            .values()
            .any(|conference| living(conference) && conference.record.number == number)
    }

    /// The lowest free number after `after`, of those of the user domain's home platform; where that has none,
    /// of those that this process was told (`--numbers`).
    pub(super) fn free_number(&self, after: Option<&str>, user_domain: &str) -> Result<String, Refusal> {
        let home = self.state.domains.platforms_for(user_domain).ok();
        let own = home.iter().flatten().map(|platform| platform.numbers.as_slice());
        let ranges = own.into_iter().next().filter(|ranges| !ranges.is_empty());
        let usual = [self.state.options.numbers];
        let mut ranges = ranges.unwrap_or(&usual).to_vec();
        ranges.sort_unstable();
        let after = after.and_then(|number| number.parse::<u64>().ok());
        let taken: BTreeSet<&str> = self
            .state
            .conferences
            .values()
            .filter(|conference| conference.record.phase != Phase::Ended)
            .map(|conference| conference.record.number.as_str())
            .collect();
        let above = ranges.iter().map(|(first, last)| (after.map_or(*first, |n| (*first).max(n + 1)), *last));
        above
            .flat_map(|(first, last)| first..=last)
            .map(|number| number.to_string())
            .find(|number| !taken.contains(number.as_str()))
            .ok_or_else(|| {
                let ranges: Vec<String> =
                    ranges.iter().map(|(first, last)| format!("{first} to {last}")).collect();
                let why = format!(
                    "no number from {} is free; give one, or widen the range (--numbers, motet domains set)",
                    ranges.join(", ")
                );
                Refusal::at(Code::ResourceExhausted, "number", why)
            })
    }
}
