//! All that a conference is to a node, made from its record.

use super::audio::PairGain;
use super::media::leg;
use super::model::Record;
use motet_proto::node;

/// What a node shall run, without what only control reads.
pub(super) fn specification(record: &Record) -> node::ConferenceSpec {
    let participants = record.participants.iter();
    let legs = participants.map(|(id, participant)| leg(id, participant));
    node::ConferenceSpec {
        id: record.id.clone(),
        legs: legs.collect(),
        audio: record.audio.to_wire(),
        video: record.video.to_wire(),
        pair_gains: record.pair_gains.iter().map(PairGain::to_wire).collect(),
        recordings: record.recordings_to_wire(),
        content: record.floor_to_wire(),
        seed: record.seed,
        ..node::ConferenceSpec::default()
    }
}

/// Whether this is what a node shall run of the record, wherever its ports are.
pub(super) fn runs_as_written(record: &Record, spec: &node::ConferenceSpec) -> bool {
    let mut spec = spec.clone();
    spec.metadata.clear();
    for transport in spec.legs.iter_mut().flat_map(|leg| &mut leg.transports) {
        transport.port_wanted = 0;
    }
    spec == specification(record)
}
