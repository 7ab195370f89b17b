//! A conference begins: the request is checked in order - fields, domain, limits, features, number, placement -
//! then the store is told, then a node. The first check that fails is the answer, and nothing has changed.

use super::access::Access;
use super::audio::Audio;
use super::domains::Feature;
use super::model::{Conference, Phase, Record, RequestId, Work};
use super::requests::Response;
use super::room::{Placing, expected_participants};
use super::schedule::{Kind, Schedule};
use super::step::Step;
use super::video::Video;
use crate::refusal::Refusal;
use motet_proto::conference as wire;
use std::collections::BTreeMap;
use tonic::Code;

impl Step<'_> {
    /// Begins a conference, or books one. None: the answer comes when its node runs it.
    pub(super) fn create(
        &mut self,
        request: RequestId,
        (moid, seed): (String, u64),
        create: wire::CreateRequest,
    ) -> Result<Option<Response>, Refusal> {
        if let Some(known) = self.created(&create.request_id)? {
            return Ok(Some(known));
        }
        let (create, access) = self.fill_in(create)?;
        let record = Record { seed, ..self.draft(moid, &create, access)? };
        let features = create.features.iter().enumerate().map(|(index, feature)| {
            let unknown =
                || Refusal::invalid(format!("features[{index}]"), format!("{feature} is not known"));
            Feature::try_from(*feature).map_err(|_| unknown())
        });
        let mut record = self.admit(record, &features.collect::<Result<Vec<_>, Refusal>>()?)?;
        let number_chosen = record.number.is_empty() && record.schedule.kind != Kind::Templet;
        if number_chosen {
            record.number = self.free_number(None, &record.user_domain)?;
        } else {
            self.check_number(&record.number, &record.user_domain)?;
        }
        match record.schedule.kind {
            Kind::Instant => self.begin(request, record, number_chosen)?,
            _ => self.book(request, record, number_chosen),
        }
        Ok(None)
    }

    /// What an earlier call with this request id made.
    fn created(&self, request_id: &str) -> Result<Option<Response>, Refusal> {
        if request_id.is_empty() {
            return Ok(None);
        }
        match self.state.conferences.made_by(request_id) {
            None => Ok(None),
            Some(known) if known.record.phase == Phase::Creating => {
                Err(Refusal::plain(Code::Aborted, "the same request is being carried out; ask again"))
            }
            Some(known) => Ok(Some(Response::Conference(Box::new(known.info())))),
        }
    }

    /// Fills in what the request leaves to its template.
    fn fill_in(&self, mut create: wire::CreateRequest) -> Result<(wire::CreateRequest, Access), Refusal> {
        if create.template.is_empty() {
            return Ok((create, Access::default()));
        }
        let template = self.template(&create.template, None)?;
        let schedule = &template.schedule;
        if create.name.is_empty() {
            create.name.clone_from(&template.name);
        }
        if create.user_domain.is_empty() {
            create.user_domain.clone_from(&template.user_domain);
        }
        if create.expected_participants == 0 {
            create.expected_participants = template.expected;
        }
        if create.audio.is_none() {
            create.audio = template.audio.to_wire();
        }
        if create.video.is_none() {
            create.video = template.video.to_wire();
        }
        if create.end_unix_ms == 0 && create.duration_ms == 0 {
            create.duration_ms = schedule.duration_ms.unsigned_abs();
        }
        if create.empty_ms == 0 {
            create.empty_ms = u32::try_from(schedule.empty_ms).unwrap_or_default();
        }
        if create.room.is_empty() {
            create.room.clone_from(&template.placing.room);
        }
        if create.node_labels.is_empty() {
            create.node_labels = template.placing.labels.clone().into_iter().collect();
        }
        create.no_restore = create.no_restore.or(Some(template.no_restore));
        create.notice_ms = create.notice_ms.or(u32::try_from(schedule.notice_ms).ok());
        Ok((create, template.access.clone()))
    }

    /// The template with this id or name, among those of a user domain if one is given.
    pub(super) fn template(&self, wanted: &str, user_domain: Option<&str>) -> Result<&Record, Refusal> {
        let named = self.state.conferences.templates(wanted).into_iter();
        let with_id = self.state.conferences.get(wanted).into_iter().filter(|known| {
            known.record.phase == Phase::Booked && known.record.schedule.kind == Kind::Templet
        });
        // An id is the better name.
        let named = named.filter(|known| known.record.id != wanted);
        let seen = |known: &&Record| user_domain.is_none_or(|domain| known.user_domain == domain);
        let templates: Vec<&Record> = with_id.chain(named).map(|known| &known.record).filter(seen).collect();
        match templates.as_slice() {
            [] => {
                let why = format!("no template has the id or name '{wanted}'");
                Err(Refusal::at(Code::NotFound, "template", why))
            }
            [first, _, ..] if first.id != wanted => {
                let why = format!("several templates have the name '{wanted}'; give the id");
                Err(Refusal::invalid("template", why))
            }
            [template, ..] => Ok(template),
        }
    }

    /// Checks the fields by themselves. The number is as asked for, and there is no node yet.
    fn draft(&self, moid: String, create: &wire::CreateRequest, usual: Access) -> Result<Record, Refusal> {
        if create.name.chars().count() > 128 {
            return Err(Refusal::invalid("name", "has more than 128 characters"));
        }
        if create.number.len() > 15 || !create.number.bytes().all(|byte| byte.is_ascii_digit()) {
            let why = format!("'{}' must be up to 15 digits (E.164)", create.number);
            return Err(Refusal::invalid("number", why));
        }
        if create.user_domain.len() > 64 || create.request_id.len() > 128 {
            return Err(Refusal::invalid(
                "user_domain",
                "or request_id is too long: 64 and 128 bytes at most",
            ));
        }
        let schedule = Schedule::check(create, self.now.unix_ms, self.state.options.notice_ms)?;
        if schedule.kind == Kind::Templet && !create.number.is_empty() {
            return Err(Refusal::invalid(
                "number",
                "a template has none; give it with what is created from it",
            ));
        }
        let access = Access::check(&moid, create, usual)?;
        let phase = if schedule.kind == Kind::Instant { Phase::Creating } else { Phase::Booked };
        Ok(Record {
            id: moid,
            number: create.number.clone(),
            name: create.name.clone(),
            user_domain: create.user_domain.clone(),
            request_id: create.request_id.clone(),
            created_unix_ms: self.now.unix_ms,
            phase,
            platform: self.state.options.platform.clone(),
            maintainer: self.state.options.css.clone(),
            epoch: 1,
            revision: 1,
            version: 1,
            expected: expected_participants(create)?,
            audio: Audio::check(create.audio.as_ref())?,
            video: Video::check(create.video.as_ref())?,
            placing: Placing::check(create, &self.state.options.rooms)?,
            no_restore: create.no_restore.unwrap_or_default(),
            schedule,
            access,
            ..Record::default()
        })
    }

    /// Whether the user domain may have such a conference here and now; gives it its places in the limits.
    pub(super) fn admit(&self, mut record: Record, features: &[Feature]) -> Result<Record, Refusal> {
        if let Some(why) = &self.state.domains_fault {
            let message = format!("the domains cannot be read: {why}; nothing was changed");
            return Err(Refusal::plain(Code::Unavailable, message));
        }
        let domains = &self.state.domains;
        if domains.is_empty() {
            return Ok(record);
        }
        let (user_domain, platform) = (record.user_domain.as_str(), self.state.options.platform.as_str());
        let platforms = domains.platforms_for(user_domain)?;
        if !platforms.iter().any(|known| known.moid == platform) {
            let names: Vec<&str> = platforms.iter().map(|known| known.moid.as_str()).collect();
            let why = format!("{user_domain} is served by {}, not by {platform}", names.join(", "));
            return Err(Refusal::at(Code::FailedPrecondition, "user_domain", why));
        }
        if record.phase != Phase::Booked {
            record.claims = self.claims(user_domain, record.seats())?;
        }
        for feature in features {
            self.permits(user_domain, *feature, "features")?;
        }
        if record.audio.is_mixed() {
            self.permits(user_domain, Feature::Mixing, "audio.mode")?;
        }
        if record.video.is_encoded() {
            self.permits(user_domain, Feature::Mixing, "video.mode")?;
        }
        Ok(record)
    }

    /// Whether a user domain may do something; the field is what asks for it.
    pub(super) fn permits(&self, user_domain: &str, feature: Feature, field: &str) -> Result<(), Refusal> {
        let platform = &self.state.options.platform;
        let permitted = self.state.domains.permits(user_domain, platform, feature);
        permitted.map_err(|why| Refusal::at(Code::PermissionDenied, field, why))
    }

    /// Whether a number that was asked for may be used.
    fn check_number(&self, number: &str, user_domain: &str) -> Result<(), Refusal> {
        let served = self.state.domains.platforms_for(user_domain).unwrap_or_default();
        let other = self.state.domains.platform_of(number);
        if let Some(other) = other.filter(|other| served.iter().all(|known| known.moid != other.moid)) {
            let why =
                format!("{number} is one of platform {}, which does not serve {user_domain}", other.moid);
            return Err(Refusal::at(Code::FailedPrecondition, "number", why));
        }
        if !number.is_empty() && self.number_taken(number) {
            let why = format!("{number} belongs to another conference that has not ended");
            return Err(Refusal::at(Code::AlreadyExists, "number", why));
        }
        Ok(())
    }

    /// Places what was admitted, and has it written.
    pub(super) fn begin(
        &mut self,
        request: RequestId,
        mut record: Record,
        number_chosen: bool,
    ) -> Result<(), Refusal> {
        let tried = BTreeMap::new();
        let placed = self.place(&record, &tried)?;
        record.assign(placed, self.now.unix_ms);
        let moid = record.id.clone();
        // A copy of an attempt that failed may still turn up on a node, and must be known as old.
        if let Some(abandoned) = self.state.abandoned.remove(&moid) {
            record.epoch = abandoned.epoch + 1;
        }
        self.state.removals.remove(&moid);
        let begun_ms = self.now.steady_ms;
        let conference = Conference { begun_ms, ..Conference::new(record.clone()) };
        self.state.conferences.insert(moid.clone(), conference);
        self.start(&moid, record, Work::Create { request, tried, number_chosen });
        Ok(())
    }
}
