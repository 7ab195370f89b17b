//! Who owns conferences and who serves them: service, platform and user domains.
//!
//! A user domain belongs to a service domain, which has platforms or borrows those of the service domain
//! above. Where no domain is set up, everything is permitted.

use super::effect::Effect;
use super::media::Medium;
use super::model::RequestId;
use super::requests::Response;
use super::step::Step;
use crate::refusal::Refusal;
use crate::store::StoreError;
use motet_proto::domains as wire;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

pub use motet_proto::domains::{Feature, Level};

/// Levels of service domains above each other; deeper is taken for a mistake.
const DEPTH_MAX: usize = 32;

/// What is known of a domain: `domain/MOID/info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Domain {
    /// MOID.
    pub moid: String,
    /// `Level`: 0 user, 1 platform, 2 service.
    pub level: i32,
    /// `uplevelmoid`; empty at the top.
    pub parent: String,
    /// Shown to people.
    pub name: String,
    /// Not `used`.
    pub disabled: bool,
    /// Small conferences at once.
    pub small_max: Option<u32>,
    /// Large conferences at once.
    pub large_max: Option<u32>,
    /// `Feature`s that it may not use.
    pub forbidden: BTreeSet<i32>,
    /// Of platforms: numbers to choose from, both inclusive.
    pub numbers: Vec<(u64, u64)>,
    /// Of user domains: the platform that is preferred.
    pub home_platform: String,
    /// Raised at each write.
    pub version: u64,
}

impl Domain {
    fn from_wire(given: wire::Domain) -> Domain {
        Domain {
            moid: given.moid,
            level: given.level,
            parent: given.parent,
            name: given.name,
            disabled: given.disabled,
            small_max: given.small_max,
            large_max: given.large_max,
            forbidden: given.forbidden.into_iter().collect(),
            numbers: given.numbers.iter().map(|range| (range.first, range.last)).collect(),
            home_platform: given.home_platform,
            version: 0,
        }
    }

    /// As applications see it.
    pub fn to_wire(&self) -> wire::Domain {
        wire::Domain {
            moid: self.moid.clone(),
            level: self.level,
            parent: self.parent.clone(),
            name: self.name.clone(),
            disabled: self.disabled,
            small_max: self.small_max,
            large_max: self.large_max,
            forbidden: self.forbidden.iter().copied().collect(),
            numbers: self
                .numbers
                .iter()
                .map(|(first, last)| wire::NumberRange { first: *first, last: *last })
                .collect(),
            home_platform: self.home_platform.clone(),
            version: self.version,
        }
    }

    fn is(&self, level: Level) -> bool {
        self.level == level as i32
    }
}

/// All domains, by MOID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains {
    known: BTreeMap<String, Domain>,
}

impl Domains {
    /// As the store has them. What does not fit together there is kept: it is refused where it is used.
    pub fn new(domains: Vec<Domain>) -> Domains {
        Domains { known: domains.into_iter().map(|domain| (domain.moid.clone(), domain)).collect() }
    }

    /// None is set up: everything is permitted.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All, by MOID.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.known.values()
    }

    /// The domain of this MOID.
    pub fn find(&self, moid: &str) -> Option<&Domain> {
        self.known.get(moid)
    }

    /// Whether a domain may be set up so; fields are those of the domain.
    pub fn check(&self, domain: &Domain) -> Result<(), Refusal> {
        super::media::check_identifier("domain.moid", &domain.moid)?;
        if Level::try_from(domain.level).is_err() {
            return Err(Refusal::invalid("domain.level", format!("{} is not known", domain.level)));
        }
        if domain.name.chars().count() > 128 {
            return Err(Refusal::invalid("domain.name", "has more than 128 characters"));
        }
        if let Some(known) = self.known.get(&domain.moid)
            && known.level != domain.level
            && self.needs(&domain.moid).is_some()
        {
            let why = "cannot be changed while other domains need this one";
            return Err(Refusal::at(Code::FailedPrecondition, "domain.level", why));
        }
        self.check_parent(domain)?;
        self.check_numbers(domain)?;
        if let Some(feature) = domain.forbidden.iter().find(|feature| Feature::try_from(**feature).is_err()) {
            return Err(Refusal::invalid("domain.forbidden", format!("{feature} is not known")));
        }
        if domain.home_platform.is_empty() {
            return Ok(());
        }
        match self.known.get(&domain.home_platform) {
            Some(home) if home.is(Level::Platform) && domain.is(Level::User) => Ok(()),
            _ => {
                let why = format!("'{}' must be a platform domain, of a user domain", domain.home_platform);
                Err(Refusal::invalid("domain.home_platform", why))
            }
        }
    }

    fn check_parent(&self, domain: &Domain) -> Result<(), Refusal> {
        if domain.parent.is_empty() {
            return match domain.is(Level::Service) {
                true => Ok(()),
                false => Err(Refusal::invalid("domain.parent", "a user or platform domain needs one")),
            };
        }
        match self.known.get(&domain.parent) {
            Some(parent) if parent.is(Level::Service) => {}
            Some(_) => {
                let why = format!("'{}' is no service domain", domain.parent);
                return Err(Refusal::invalid("domain.parent", why));
            }
            None => {
                let why = format!("no domain has the MOID '{}'; set it up first", domain.parent);
                return Err(Refusal::at(Code::NotFound, "domain.parent", why));
            }
        }
        let mut above = Some(domain.parent.as_str());
        for _ in 0..DEPTH_MAX {
            match above {
                Some(moid) if moid == domain.moid => {
                    let why = format!("'{}' is below this domain: a circle", domain.parent);
                    return Err(Refusal::invalid("domain.parent", why));
                }
                Some(moid) => {
                    above = self.known.get(moid).map(|next| next.parent.as_str()).filter(|m| !m.is_empty())
                }
                None => return Ok(()),
            }
        }
        Err(Refusal::invalid("domain.parent", format!("has more than {DEPTH_MAX} domains above it")))
    }

    fn check_numbers(&self, domain: &Domain) -> Result<(), Refusal> {
        for (index, (first, last)) in domain.numbers.iter().enumerate() {
            let bad = |why: String| Err(Refusal::invalid(format!("domain.numbers[{index}]"), why));
            if !domain.is(Level::Platform) {
                return bad("only platform domains have numbers".to_owned());
            }
            if first > last || *last > 999_999_999_999_999 {
                return bad(format!("{first} to {last} must be two numbers of up to 15 digits, in order"));
            }
            for other in self.known.values().filter(|other| other.moid != domain.moid) {
                if other.numbers.iter().any(|(from, to)| from <= last && first <= to) {
                    return bad(format!("{first} to {last} meets numbers of platform {}", other.moid));
                }
            }
        }
        Ok(())
    }

    /// A domain that needs this one.
    fn needs(&self, moid: &str) -> Option<&Domain> {
        self.known.values().find(|other| other.parent == moid || other.home_platform == moid)
    }

    /// The platforms that serve a user domain, its home first: those of its service domain, or of the nearest
    /// one above that has any. Platforms that are not in use are left out.
    pub fn platforms_for(&self, user_domain: &str) -> Result<Vec<&Domain>, Refusal> {
        let user = self.user(user_domain)?;
        let mut service = self.known.get(&user.parent);
        for _ in 0..DEPTH_MAX {
            let Some(above) = service else { break };
            if above.disabled {
                let why = format!("the service domain {} above it is not in use", above.moid);
                return Err(Refusal::at(Code::PermissionDenied, "user_domain", why));
            }
            let platforms = self.known.values().filter(|known| known.is(Level::Platform));
            let mut own: Vec<&Domain> =
                platforms.filter(|known| known.parent == above.moid && !known.disabled).collect();
            if !own.is_empty() {
                own.sort_by_key(|platform| platform.moid != user.home_platform);
                return Ok(own);
            }
            service = self.known.get(&above.parent);
        }
        let why = format!("no platform serves {user_domain}");
        Err(Refusal::at(Code::FailedPrecondition, "user_domain", why))
    }

    /// The user domain of this MOID, if it is known and in use.
    fn user(&self, moid: &str) -> Result<&Domain, Refusal> {
        if moid.is_empty() {
            return Err(Refusal::invalid("user_domain", "is needed, since domains are set up"));
        }
        match self.known.get(moid).filter(|known| known.is(Level::User)) {
            None => {
                let why = format!("no user domain has the MOID '{moid}'");
                Err(Refusal::at(Code::NotFound, "user_domain", why))
            }
            Some(user) if user.disabled => {
                Err(Refusal::at(Code::PermissionDenied, "user_domain", format!("{moid} is not in use")))
            }
            Some(user) => Ok(user),
        }
    }

    /// Whether a user domain may do something on a platform.
    pub fn permits(&self, user_domain: &str, platform: &str, feature: Feature) -> Result<(), String> {
        for moid in [user_domain, platform] {
            if self.known.get(moid).is_some_and(|domain| domain.forbidden.contains(&(feature as i32))) {
                return Err(format!("{} is not permitted to domain {moid}", feature_name(feature)));
            }
        }
        Ok(())
    }

    /// The platform that has this number.
    pub(super) fn platform_of(&self, number: &str) -> Option<&Domain> {
        let number: u64 = number.parse().ok()?;
        let has =
            |domain: &&Domain| domain.numbers.iter().any(|(first, last)| (*first..=*last).contains(&number));
        self.known.values().find(has)
    }
}

/// For people.
pub fn feature_name(feature: Feature) -> &'static str {
    match feature {
        Feature::H265 => "h265",
        Feature::FullHd => "full-hd",
        Feature::Mixing => "mixing",
        Feature::Recording => "recording",
        Feature::Unspecified => "unspecified",
    }
}

/// What a participant's media use, and the field that says so.
pub(super) fn features_of(media: &[Medium]) -> Vec<(String, Feature)> {
    let mut used = Vec::new();
    for (at, medium) in media.iter().enumerate() {
        for (index, codec) in medium.codecs.iter().enumerate() {
            let field = format!("media[{at}].codecs[{index}]");
            let name = codec.name.to_ascii_uppercase();
            if name == "H265" {
                used.push((field.clone(), Feature::H265));
            }
            if full_hd(&name, &codec.fmtp) {
                used.push((field, Feature::FullHd));
            }
        }
    }
    used
}

/// Whether the level is 4 or higher: 1920 x 1080 pictures need it (H.264 table A-1, H.265 table A.8).
fn full_hd(name: &str, fmtp: &str) -> bool {
    let value = |name: &str| {
        fmtp.split(';').find_map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    match name {
        // RFC 6184 section 8.1: the last byte of the three.
        "H264" => value("profile-level-id")
            .and_then(|id| u8::from_str_radix(id.get(4..6)?, 16).ok())
            .is_some_and(|level| level >= 40),
        // RFC 7798 section 7.1: thirty times the level.
        "H265" => value("level-id").and_then(|id| id.parse::<u32>().ok()).is_some_and(|level| level >= 120),
        _ => false,
    }
}

/// What is to be done about domains in the store.
#[derive(Clone, Debug, PartialEq)]
pub enum DomainOrder {
    /// Read all of them.
    Load,
    /// Write one whose version is one above the known one.
    Put(RequestId, Box<Domain>),
    /// Forget one.
    Remove(RequestId, String),
}

/// What the store said.
#[derive(Clone, Debug)]
pub enum DomainAnswer {
    /// All of them.
    Loaded(Result<Vec<Domain>, StoreError>),
    /// As in the order.
    Put(RequestId, Box<Domain>, Result<(), StoreError>),
    /// As in the order.
    Removed(RequestId, String, Result<(), StoreError>),
}

/// How often other control processes' changes are looked for.
const LOAD_MS: u64 = 5_000;

impl Step<'_> {
    pub(super) fn tick_domains(&mut self) {
        if self.state.store_fault.is_none() && self.now.steady_ms >= self.state.domains_load_ms {
            self.state.domains_load_ms = self.now.steady_ms + LOAD_MS;
            self.effects.push(Effect::Domains(DomainOrder::Load));
        }
    }

    /// Sets one up, or changes it.
    pub(super) fn set_domain(&mut self, request: RequestId, given: Option<wire::Domain>) {
        let checked = given.ok_or_else(|| Refusal::invalid("domain", "is missing")).and_then(|given| {
            let mut domain = Domain::from_wire(given);
            self.state.domains.check(&domain)?;
            domain.version = self.state.domains.find(&domain.moid).map_or(1, |known| known.version + 1);
            Ok(domain)
        });
        match checked {
            Ok(domain) => self.effects.push(Effect::Domains(DomainOrder::Put(request, Box::new(domain)))),
            Err(refusal) => self.reply(request, Err(refusal)),
        }
    }

    pub(super) fn remove_domain(&mut self, request: RequestId, moid: String) {
        if self.state.domains.find(&moid).is_none() {
            let removed = wire::RemoveResponse { existed: false };
            return self.reply(request, Ok(Response::DomainRemoved(removed)));
        }
        if let Some(other) = self.state.domains.needs(&moid) {
            let why = format!("domain {} needs it", other.moid);
            return self.reply(request, Err(Refusal::at(Code::FailedPrecondition, "moid", why)));
        }
        self.effects.push(Effect::Domains(DomainOrder::Remove(request, moid)));
    }

    /// The store answered.
    pub(super) fn domains_done(&mut self, answer: DomainAnswer) {
        match answer {
            DomainAnswer::Loaded(Ok(domains)) => {
                self.state.domains = Domains::new(domains);
                self.state.domains_fault = None;
            }
            DomainAnswer::Loaded(Err(error)) => {
                self.state.domains_fault = Some(error.to_string());
                self.state.domains_load_ms = 0;
            }
            DomainAnswer::Put(request, domain, result) => {
                let answer = result.map(|()| {
                    let info = domain.to_wire();
                    self.state.domains.known.insert(domain.moid.clone(), *domain);
                    Response::Domain(Box::new(info))
                });
                self.domain_reply(request, answer);
            }
            DomainAnswer::Removed(request, moid, result) => {
                let answer = result.map(|()| {
                    self.state.domains.known.remove(&moid);
                    Response::DomainRemoved(wire::RemoveResponse { existed: true })
                });
                self.domain_reply(request, answer);
            }
        }
    }

    fn domain_reply(&mut self, request: RequestId, answer: Result<Response, StoreError>) {
        let store = self.state.options.store.clone();
        let answer = answer.map_err(|error| match error {
            StoreError::Unavailable(why) => {
                Refusal::plain(Code::Unavailable, format!("the store {store} cannot be used: {why}"))
            }
            _ => Refusal::plain(Code::Aborted, "another control process changed the domain; ask again"),
        });
        // What another process wrote is to be seen soon.
        self.state.domains_load_ms = 0;
        self.reply(request, answer);
    }

    /// What a user domain may do, where, and how much of it is in use.
    pub(super) fn resolve_domain(&self, user_domain: &str) -> Result<Response, Refusal> {
        let platforms = self.state.domains.platforms_for(user_domain)?;
        let platforms: Vec<String> = platforms.into_iter().map(|platform| platform.moid.clone()).collect();
        let all = [Feature::H265, Feature::FullHd, Feature::Mixing, Feature::Recording];
        let platform = platforms.first().map(String::as_str).unwrap_or_default();
        let may = |feature: &Feature| self.state.domains.permits(user_domain, platform, *feature).is_ok();
        let features = all.into_iter().filter(may).map(i32::from).collect();
        let usage = [user_domain, platform].iter().filter_map(|moid| self.usage(moid)).collect();
        Ok(Response::DomainResolved(wire::ResolveResponse { platforms, features, usage }))
    }
}

#[cfg(test)]
mod tests;
