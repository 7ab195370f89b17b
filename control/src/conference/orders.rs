//! What a conference's node is to do at once, and no record keeps: prompts, snapshots, and what
//! participants play.

use super::audio::{check_below_all, check_gain, find};
use super::effect::Effect;
use super::model::{Record, RequestId};
use super::requests::{NodeOrder, OrderAnswer, Response};
use super::step::Step;
use crate::nodes::NodeFailure;
use crate::placement;
use crate::refusal::Refusal;
use motet_proto::{conference as wire, node};
use tonic::Code;

impl Step<'_> {
    /// Has the conference's node do something.
    fn order(
        &mut self,
        request: RequestId,
        conference: &str,
        order: impl FnOnce(&Record) -> Result<NodeOrder, Refusal>,
    ) {
        let found = self.found(conference).map(|found| found.record.id.clone());
        let ordered = found.and_then(|moid| {
            let record = &self.running(&moid)?.record;
            let order = order(record)?;
            let node = self.state.nodes.get(&record.node_id).filter(|node| placement::reachable(node));
            let why = || format!("node {} does not answer", record.node_id);
            let node = node.ok_or_else(|| Refusal::plain(Code::Unavailable, why()))?;
            Ok(Effect::NodeOrder { request, address: node.address.clone(), order: Box::new(order) })
        });
        match ordered {
            Ok(effect) => self.effects.push(effect),
            Err(refusal) => self.reply(request, Err(refusal)),
        }
    }

    /// What the node is to play.
    pub(super) fn play_prompt(&mut self, request: RequestId, chosen: String, play: wire::PlayPromptRequest) {
        let conference = play.conference.clone();
        self.order(request, &conference, |record| {
            check_mixed(record)?;
            for (index, participant) in play.to.iter().enumerate() {
                find(record, &format!("to[{index}]"), participant)?;
            }
            check_gain("gain_db", play.gain_db)?;
            play.duck_db.map_or(Ok(()), |duck_db| check_below_all("duck_db", duck_db))?;
            let wire::PlayPromptRequest { prompt, file, to, gain_db, repeat, duck_db, .. } = play;
            let prompt = if prompt.is_empty() { chosen } else { prompt };
            let (conference, epoch) = (record.id.clone(), record.epoch);
            let play =
                node::PlayPromptRequest { conference, epoch, prompt, file, to, gain_db, repeat, duck_db };
            Ok(NodeOrder::Play(play))
        });
    }

    /// What the node is to stop playing.
    pub(super) fn stop_prompt(&mut self, request: RequestId, stop: wire::StopPromptRequest) {
        let wire::StopPromptRequest { conference, prompt } = stop;
        self.order(request, &conference, |record| {
            check_mixed(record)?;
            let (conference, epoch) = (record.id.clone(), record.epoch);
            Ok(NodeOrder::Stop(node::StopPromptRequest { conference, epoch, prompt }))
        });
    }

    /// Whose picture the node is to give.
    pub(super) fn take_snapshot(&mut self, request: RequestId, snapshot: wire::SnapshotRequest) {
        let wire::SnapshotRequest { conference, participant } = snapshot;
        self.order(request, &conference, |record| {
            if !participant.is_empty() {
                find(record, "participant", &participant)?;
            }
            let (conference, epoch) = (record.id.clone(), record.epoch);
            Ok(NodeOrder::Snapshot(node::SnapshotRequest { conference, epoch, leg: participant }))
        });
    }

    /// What a participant is to play.
    pub(super) fn order_playback(&mut self, request: RequestId, playback: wire::PlaybackRequest) {
        let wire::PlaybackRequest { conference, participant, order } = playback;
        self.order(request, &conference, |record| {
            find(record, "participant", &participant)?;
            if order.as_ref().is_none_or(|order| order.order.is_none()) {
                return Err(Refusal::invalid("order", "is missing"));
            }
            let (conference, epoch) = (record.id.clone(), record.epoch);
            Ok(NodeOrder::Playback(node::PlaybackRequest { conference, epoch, leg: participant, order }))
        });
    }

    /// The node has done it, or not.
    pub(super) fn node_ordered(&mut self, request: RequestId, result: Result<OrderAnswer, NodeFailure>) {
        self.reply(request, result.map(Response::Order).map_err(Refusal::from));
    }
}

/// Prompts are heard in mixes.
fn check_mixed(record: &Record) -> Result<(), Refusal> {
    if record.audio.is_mixed() {
        return Ok(());
    }
    let why = format!("{} is not mixed; prompts need the audio mode MIX", record.number);
    Err(Refusal::at(Code::FailedPrecondition, "conference", why))
}
