//! A conference begins: the request is checked in order, then the store is told, then a node.

use super::audio::Audio;
use super::model::{Conference, Phase, Record, RequestId, Work};
use super::requests::Response;
use super::room::expected_participants;
use super::step::Step;
use crate::placement::units;
use crate::refusal::Refusal;
use motet_proto::conference as wire;
use std::collections::BTreeMap;
use tonic::Code;

impl Step<'_> {
    /// Begins a conference. None: the answer comes when its node runs it.
    pub(super) fn create(
        &mut self,
        request: RequestId,
        moid: String,
        create: wire::CreateRequest,
    ) -> Result<Option<Response>, Refusal> {
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
        if !create.request_id.is_empty() {
            let same = |conference: &&Conference| conference.record.request_id == create.request_id;
            if let Some(known) = self.state.conferences.values().find(same) {
                return match known.record.phase {
                    Phase::Creating => {
                        Err(Refusal::plain(Code::Aborted, "the same request is being carried out; ask again"))
                    }
                    _ => Ok(Some(Response::Conference(Box::new(known.info())))),
                };
            }
        }
        let expected = expected_participants(&create)?;
        let audio = Audio::check(create.audio.as_ref())?;
        let number_chosen = create.number.is_empty();
        let number = if number_chosen { self.free_number(None)? } else { create.number };
        if self.number_taken(&number) {
            let why = format!("{number} belongs to another conference that has not ended");
            return Err(Refusal::at(Code::AlreadyExists, "number", why));
        }
        let tried = BTreeMap::new();
        let units = units::units_of(&BTreeMap::new(), expected, audio.voices_max());
        let (node_id, room) = self.place(units, expected, &tried)?;
        let record = Record {
            id: moid.clone(),
            number,
            name: create.name,
            user_domain: create.user_domain,
            request_id: create.request_id,
            created_unix_ms: self.now.unix_ms,
            phase: Phase::Creating,
            node_id,
            room,
            platform: self.state.options.platform.clone(),
            epoch: 1,
            revision: 1,
            version: 1,
            expected,
            audio,
            ..Record::default()
        };
        self.state.conferences.insert(moid.clone(), Conference::new(record.clone()));
        self.start(&moid, record, Work::Create { request, tried, number_chosen });
        Ok(None)
    }
}
