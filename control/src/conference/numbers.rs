//! Numbers that people dial.

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

    /// The lowest free number after `after`.
    pub(super) fn free_number(&self, after: Option<&str>) -> Result<String, Refusal> {
        let (first, last) = self.state.options.numbers;
        let from = after.and_then(|number| number.parse::<u64>().ok()).map_or(first, |number| number + 1);
        let taken: BTreeSet<&str> = self
            .state
            .conferences
            .values()
            .filter(|conference| conference.record.phase != Phase::Ended)
            .map(|conference| conference.record.number.as_str())
            .collect();
        (from..=last)
            .map(|number| number.to_string())
            .find(|number| !taken.contains(number.as_str()))
            .ok_or_else(|| {
                let why = format!("no number from {first} to {last} is free; give one, or widen --numbers");
                Refusal::at(Code::ResourceExhausted, "number", why)
            })
    }
}
