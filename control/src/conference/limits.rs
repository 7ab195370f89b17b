//! How many conferences a domain may have at once.
//!
//! A conference claims a place in its user domain and in its platform domain. Places are sets of conferences
//! in the store, which checks and takes each in one step before the record is written. They are renewed as
//! long as the conference lives, and fall out when nobody does: so none is lost, and none given back twice.

use super::domains::Domain;
use super::effect::Effect;
use super::model::{Phase, Record};
use super::step::Step;
use crate::refusal::Refusal;
use motet_proto::domains::Usage;
use serde::{Deserialize, Serialize};
use tonic::Code;

/// How often places are renewed; the store gives one away after five times that.
const RENEW_MS: u64 = 60_000;
/// Conferences that one step looks at for it.
const RENEWED_MAX: usize = 256;

/// Size of a conference, by the participants expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// At most as many as control is told (`--small`).
    Small,
    /// More.
    Large,
}

impl Class {
    /// For people and for keys in stores.
    pub fn name(self) -> &'static str {
        match self {
            Class::Small => "small",
            Class::Large => "large",
        }
    }
}

/// A place that a conference takes in a domain while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// MOID.
    pub domain: String,
    /// Small and large conferences are counted apart.
    pub class: Class,
    /// Places that there are: a new conference is refused when as many others hold one. None: no limit.
    pub max: Option<u32>,
}

impl Record {
    /// Whether it holds places: it runs, or is to.
    pub fn holds_places(&self) -> bool {
        !matches!(self.phase, Phase::Ended | Phase::Booked)
    }
}

impl Step<'_> {
    /// The places that a conference takes; refused when there is none left, as far as is known here.
    pub(super) fn claims(&self, user_domain: &str, seats: u32) -> Result<Vec<Claim>, Refusal> {
        let small = seats <= self.state.options.small;
        let class = if small { Class::Small } else { Class::Large };
        let mut claims = Vec::new();
        for moid in [user_domain, self.state.options.platform.as_str()] {
            let Some(domain) = self.state.domains.find(moid) else { continue };
            let max = if small { domain.small_max } else { domain.large_max };
            if let Some(max) = max
                && self.held(moid, class) >= max
            {
                return Err(no_place(moid, class, max));
            }
            claims.push(Claim { domain: moid.to_owned(), class, max });
        }
        Ok(claims)
    }

    /// Tells the store which conferences still hold their places.
    pub(super) fn tick_places(&mut self) {
        let now_ms = self.now.steady_ms;
        if self.state.store_fault.is_some() || now_ms < self.state.places_renew_ms {
            return;
        }
        let after = self.state.places_renewed.take().unwrap_or_default();
        let some: Vec<&Record> =
            self.state.conferences.after(&after).take(RENEWED_MAX).map(|known| &known.record).collect();
        if some.len() < RENEWED_MAX {
            self.state.places_renew_ms = now_ms + RENEW_MS;
        } else {
            // The others follow with the next steps.
            self.state.places_renewed = some.last().map(|record| record.id.clone());
        }
        let held = some.into_iter().filter(|record| {
            record.holds_places() && !record.claims.is_empty() && self.state.maintains(&record.id)
        });
        let held: Vec<_> = held.map(|record| (record.id.clone(), record.claims.clone())).collect();
        if !held.is_empty() {
            self.effects.push(Effect::PlacesRenew(held));
        }
    }

    fn held(&self, domain: &str, class: Class) -> u32 {
        self.state.conferences.holding(domain, class)
    }

    /// How much of a domain's limits is in use.
    pub(super) fn usage(&self, moid: &str) -> Option<Usage> {
        let Domain { small_max, large_max, .. } = self.state.domains.find(moid)?;
        let (small, large) = (self.held(moid, Class::Small), self.held(moid, Class::Large));
        Some(Usage { domain: moid.to_owned(), small, small_max: *small_max, large, large_max: *large_max })
    }
}

/// What who asks is told.
pub(super) fn no_place(domain: &str, class: Class, max: u32) -> Refusal {
    let why = format!(
        "domain {domain} has all its {max} {} conferences; end one, or raise the limit (motet domains set)",
        class.name()
    );
    Refusal::at(Code::ResourceExhausted, "user_domain", why)
}
