//! Numbers that people dial: chosen from those of the platform, and unique in the store.

use super::step::Step;
use crate::refusal::Refusal;
use tonic::Code;

impl Step<'_> {
    pub(super) fn number_taken(&self, number: &str) -> bool {
        self.state.conferences.has_number(number)
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
        let above = ranges.iter().map(|(first, last)| (after.map_or(*first, |n| (*first).max(n + 1)), *last));
        let mut free = above.filter_map(|(first, last)| self.state.conferences.free_number(first, last));
        free.next().map(|number| number.to_string()).ok_or_else(|| {
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
