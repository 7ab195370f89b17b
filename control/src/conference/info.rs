//! What control knows, as applications see it.

use super::audio::PairGain;
use super::model::{Conference, Phase, State};
use crate::placement;
use crate::refusal::Refusal;
use motet_proto::conference as wire;
use motet_proto::registry::{NodeState, RegisteredNode};
use tonic::Code;

impl Conference {
    /// As applications see it.
    pub fn info(&self) -> wire::ConferenceInfo {
        let record = &self.record;
        let state = match record.phase {
            phase if self.is_ending() && phase != Phase::Ended => wire::ConferenceState::Ending,
            Phase::Creating => wire::ConferenceState::Creating,
            Phase::Running => wire::ConferenceState::Running,
            Phase::PendingRestore => wire::ConferenceState::PendingRestore,
            Phase::Booked => wire::ConferenceState::Booked,
            Phase::Restoring => wire::ConferenceState::Restoring,
            Phase::Ended => wire::ConferenceState::Ended,
        };
        wire::ConferenceInfo {
            id: record.id.clone(),
            number: record.number.clone(),
            name: record.name.clone(),
            user_domain: record.user_domain.clone(),
            state: state.into(),
            reason: record.reason.clone(),
            node_id: record.node_id.clone(),
            room: record.room.clone(),
            epoch: record.epoch,
            revision: record.revision,
            created_unix_ms: record.created_unix_ms,
            ended_unix_ms: record.ended_unix_ms,
            audio: record.audio.to_wire(),
            video: record.video.to_wire(),
            pair_gains: record.pair_gains.iter().map(PairGain::to_wire).collect(),
            participants: record.participants.keys().filter_map(|id| self.participant_info(id)).collect(),
            r#type: record.schedule.kind.to_wire().into(),
            start_unix_ms: record.schedule.starts_unix_ms,
            end_unix_ms: record.schedule.ends_unix_ms,
            locked: record.access.locked,
            has_password: record.access.password.is_some(),
            has_chair_password: record.access.chair_password.is_some(),
            booking: record.schedule.booking.clone(),
            booked: record.booking_info(),
            notice_ms: record.schedule.notice_ms as u32,
            empty_ms: record.schedule.empty_ms as u32,
            expected_participants: record.expected,
            recordings: record.recordings_to_wire(),
            content: record.content.to_wire(),
            no_restore: record.no_restore,
        }
    }

    /// Of several with one number, the highest is meant.
    pub(super) fn rank(&self) -> (u8, i64) {
        let rank = match self.record.phase {
            Phase::Ended => 0,
            Phase::Booked => 1,
            _ => 2,
        };
        (rank, self.record.ended_unix_ms)
    }

    /// The answer to somebody who has joined: not before it is known where to send. Control that was just started
    /// knows who takes part, and learns from the node what it gave them.
    pub(super) fn joined_info(&self, id: &str) -> Option<Result<wire::ParticipantInfo, Refusal>> {
        let info = self.participant_info(id)?;
        if info.media.iter().any(|medium| medium.local.is_empty()) {
            let why = format!("'{id}' takes part, and its node has not yet said where to send; try again");
            return Some(Err(Refusal::plain(Code::Unavailable, why)));
        }
        Some(Ok(info))
    }

    /// One participant: where it sends, what it receives.
    pub fn participant_info(&self, id: &str) -> Option<wire::ParticipantInfo> {
        let participant = self.record.participants.get(id)?;
        let allocation = self.allocation.as_ref();
        let leg = allocation.and_then(|allocation| allocation.legs.iter().find(|leg| leg.leg == id));
        let media = participant.media.iter().map(|medium| {
            let transport = medium.transport();
            let given = leg.and_then(|leg| leg.transports.iter().find(|given| given.transport == transport));
            wire::ParticipantMediumInfo {
                medium: Some(medium.to_wire()),
                local: given.map(|given| given.local.clone()).unwrap_or_default(),
                local_rtcp: given.map(|given| given.local_rtcp.clone()).unwrap_or_default(),
            }
        });
        let routes = allocation.map(|allocation| allocation.routes.as_slice()).unwrap_or_default();
        let receives = routes.iter().filter_map(|given| {
            let route = given.route.as_ref().filter(|route| route.to_leg == id)?;
            Some(wire::ReceivedStream {
                from_participant: route.from_leg.clone(),
                from_medium: route.from_medium.clone(),
                medium: route.to_medium.clone(),
                kind: given.kind,
                ssrc: route.ssrc,
                codecs: given.codecs.clone(),
            })
        });
        Some(wire::ParticipantInfo {
            id: id.to_owned(),
            name: participant.name.clone(),
            media: media.collect(),
            receives: receives.collect(),
            alive: self.alive.contains(id),
            audio: participant.audio.to_wire(),
            video: participant.video.to_wire(),
            role: participant.role.to_wire().into(),
        })
    }
}

impl State {
    /// A conference as applications see it; of what is booked, with the conference that runs.
    pub(super) fn info(&self, conference: &Conference) -> wire::ConferenceInfo {
        let mut info = conference.info();
        if let Some(booked) = &mut info.booked {
            let from = self.conferences.range(format!("{}.", info.id), format!("{}/", info.id));
            let running = from.map(|known| &known.record).find(|known| known.holds_places());
            booked.running = running.map(|known| known.id.clone()).unwrap_or_default();
        }
        info
    }

    /// The conference with this id or number: of the same number one that runs, then what is booked, then one
    /// that has ended.
    pub fn find(&self, id_or_number: &str) -> Option<&Conference> {
        if let Some(conference) = self.conferences.get(id_or_number) {
            return Some(conference);
        }
        self.conferences.with_number(id_or_number).into_iter().max_by_key(|known| known.rank())
    }

    /// Conferences, or what is booked, oldest first.
    pub fn list(&self, list: &wire::ListRequest) -> Vec<wire::ConferenceInfo> {
        let wanted = |conference: &&Conference| {
            let record = &conference.record;
            let booked = record.phase == Phase::Booked || record.booking_info().is_some();
            (list.include_ended || record.phase != Phase::Ended) && booked == list.booked
        };
        let matching = self.conferences.values().filter(wanted);
        let mut infos: Vec<_> = matching.map(|conference| self.info(conference)).collect();
        infos.sort_by(|a, b| (a.created_unix_ms, &a.id).cmp(&(b.created_unix_ms, &b.id)));
        infos
    }

    /// Nodes, by id.
    pub fn list_nodes(&self, steady_ms: u64) -> Vec<RegisteredNode> {
        let promised = self.conferences.promised();
        let show = |(id, node): (&String, &super::model::Node)| RegisteredNode {
            address: node.address.clone(),
            node: Some(node.description.clone()),
            state: self.shown_state(id, node).into(),
            silent_ms: steady_ms.saturating_sub(node.announced_ms),
            units_used: placement::units_of_node(
                node,
                promised.get(id.as_str()).copied().unwrap_or_default(),
            )
            .1,
            reason: match self.notes.cordon(id) {
                Some(why) if node.doubt.is_none() && node.hold.is_none() => why.to_owned(),
                _ => node.reason(),
            },
        };
        self.nodes.iter().map(show).collect()
    }

    /// A node's state as operators see it.
    pub(super) fn shown_state(&self, id: &str, node: &super::model::Node) -> NodeState {
        let cordoned = node.state == NodeState::Ready && self.notes.cordon(id).is_some();
        if cordoned { NodeState::Cordoned } else { node.state }
    }
}
