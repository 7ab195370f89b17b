//! Which rate to try next. Pure.
//!
//! Doubles until a rate fails, then halves the distance (in ratio) to what held. A rate fails when it fails
//! twice in a row, since anything on the machine may spoil one try.

/// The first rate, in packets per second: less than any machine of today carries.
const FIRST: u64 = 50_000;
/// Below this there is no point in going on.
const LOWEST: u64 = 1_000;
/// The two ends may be this many percent apart.
const PRECISION_PERCENT: u64 = 5;

/// How a try went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It kept to the bounds.
    Held,
    /// The relay did not.
    Relay,
    /// The generator could not keep up; of the relay nothing is known.
    Generator,
}

/// The state of a search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// The highest rate that held.
    low: Option<u64>,
    /// The lowest that did not, and why.
    high: Option<(u64, Verdict)>,
    /// A rate that failed once.
    doubtful: Option<u64>,
    tries_left: u32,
}

impl Search {
    /// So many tries in all, which bounds the time.
    pub(crate) fn new(tries_max: u32) -> Search {
        Search { low: None, high: None, doubtful: None, tries_left: tries_max }
    }

    /// The rate to try next; none: the search is over.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.tries_left == 0 {
            return None;
        }
        if self.doubtful.is_some() {
            return self.doubtful;
        }
        match (self.low, self.high) {
            (None, None) => Some(FIRST),
            (Some(low), None) => Some(2 * low),
            (None, Some((high, _))) => Some(high / 2).filter(|rate| *rate >= LOWEST),
            (Some(low), Some((high, _))) => {
                let close = high * 100 <= low * (100 + PRECISION_PERCENT);
                (!close).then(|| (low as f64 * high as f64).sqrt() as u64)
            }
        }
    }

    /// A try went like this.
    pub(crate) fn tried(&mut self, rate: u64, verdict: Verdict) {
        self.tries_left = self.tries_left.saturating_sub(1);
        match verdict {
            Verdict::Held => (self.low, self.doubtful) = (Some(rate), None),
            failed if self.doubtful == Some(rate) => {
                (self.high, self.doubtful) = (Some((rate, failed)), None)
            }
            _ => self.doubtful = Some(rate),
        }
    }

    /// What kept the rate from being higher; none: nothing did, as far as was tried.
    pub(crate) fn ended_by(&self) -> Option<Verdict> {
        self.high.map(|(_, verdict)| verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRIES: u32 = 14;

    /// Searches a relay that carries so much; a try in the list of bad ones fails whatever the rate.
    fn search(carries: u64, bad: &[u32]) -> (Option<u64>, Search) {
        let mut search = Search::new(TRIES);
        let mut best = None;
        while let Some(rate) = search.next() {
            let held = rate <= carries && !bad.contains(&(TRIES - search.tries_left));
            if held {
                best = Some(rate);
            }
            search.tried(rate, if held { Verdict::Held } else { Verdict::Relay });
        }
        (best, search)
    }

    #[test]
    fn the_rate_is_found_in_a_few_tries() {
        let (best, search) = search(260_000, &[]);
        let best = best.expect("it carries something");
        assert!((247_000..=260_000).contains(&best), "{best}");
        assert_eq!(search.ended_by(), Some(Verdict::Relay), "{search:?}");
    }

    #[test]
    fn one_spoilt_try_changes_nothing() {
        let (best, _) = search(300_000, &[0]);
        assert!(best.is_some_and(|best| best >= 270_000), "{best:?}");
    }

    #[test]
    fn what_ended_the_search_is_told() {
        let mut search = Search::new(TRIES);
        search.tried(50_000, Verdict::Held);
        search.tried(100_000, Verdict::Generator);
        search.tried(100_000, Verdict::Generator);
        assert_eq!(search.ended_by(), Some(Verdict::Generator));
        assert_eq!(search.next(), Some(70_710));
    }

    #[test]
    fn a_relay_that_carries_nothing_ends_the_search() {
        let (best, search) = search(0, &[]);
        assert_eq!((best, search.next()), (None, None));
    }

    proptest! {
        #[test]
        fn every_search_ends_and_never_says_too_much(carries in 0u64..100_000_000, bad in prop::collection::vec(0u32..14, 0..4)) {
            let (best, search) = search(carries, &bad);
            prop_assert!(best.is_none_or(|best| best <= carries));
            prop_assert_eq!(best, search.low);
        }
    }
}
