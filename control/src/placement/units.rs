//! How much work a conference is.
//!
//! One unit is one packet a second sent to one leg, as a node measures its capacity with small packets, one
//! at a time. Video leaves in bursts that cost less a packet, so counting it alike errs on the safe side.

use crate::conference::{Medium, Participant};
use motet_proto::media::{Direction, MediaKind};
use std::collections::BTreeMap;

/// Packets a second of sound: one every 20 ms.
pub const AUDIO_UNITS: u64 = 50;
/// Packets a second of a camera: some 1.5 Mbit/s in packets of 1,000 bytes.
pub const VIDEO_UNITS: u64 = 200;
/// Packets a second of a shared screen: seldom more than a few pictures.
pub const CONTENT_UNITS: u64 = 100;
/// Participants that a conference is kept room for when nobody says how many come.
pub const PARTICIPANTS_EXPECTED: u32 = 3;

/// Work of a conference with these participants, of whom each gets at most `voices_max` streams of sound from all
/// others. Seats up to `expected` that nobody has taken yet count as sending and receiving sound and a camera,
/// since that room is promised.
pub fn units_of(
    participants: &BTreeMap<String, Participant>,
    expected: u32,
    (voices_max, pictures_max): (u64, u64),
) -> u64 {
    let empty = u64::from(expected).saturating_sub(participants.len() as u64);
    let of = |kind, units, empty, streams_max| units * routes(participants, kind, empty, streams_max);
    of(MediaKind::Audio, AUDIO_UNITS, empty, voices_max)
        + of(MediaKind::Video, VIDEO_UNITS, empty, pictures_max)
        + of(MediaKind::Content, CONTENT_UNITS, 0, u64::MAX)
}

/// Streams of a kind times those who receive each. Empty seats send and receive one.
fn routes(
    participants: &BTreeMap<String, Participant>,
    kind: MediaKind,
    empty: u64,
    streams_max: u64,
) -> u64 {
    // Smaller copies are relayed to nobody.
    let whole = |medium: &&Medium| sends(medium) && medium.layer.is_none();
    let sent_by = |who: &Participant| of_kind(who, kind).filter(whole).count() as u64;
    let sent: u64 = participants.values().map(sent_by).sum::<u64>() + empty;
    let received_by = |participant: &Participant| -> u64 {
        let receiving = of_kind(participant, kind).filter(|medium| receives(medium));
        let streams = receiving.map(|medium| match medium.receive_from.as_str() {
            "" => (sent - sent_by(participant)).min(streams_max),
            // One who is not there yet will send one stream.
            from => participants.get(from).map_or(1, sent_by),
        });
        streams.sum()
    };
    participants.values().map(received_by).sum::<u64>() + empty * sent.saturating_sub(1).min(streams_max)
}

fn of_kind(participant: &Participant, kind: MediaKind) -> impl Iterator<Item = &Medium> {
    participant.media.iter().filter(move |medium| medium.kind == kind as i32)
}

fn sends(medium: &Medium) -> bool {
    medium.direction != Direction::ReceiveOnly as i32
}

fn receives(medium: &Medium) -> bool {
    medium.direction != Direction::SendOnly as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conference::{ParticipantAudio, Role};

    fn medium(kind: MediaKind, direction: Direction, receive_from: &str) -> Medium {
        let id = kind.as_str_name().to_owned();
        Medium {
            id,
            kind: kind.into(),
            direction: direction.into(),
            codecs: Vec::new(),
            remote: String::new(),
            remote_rtcp: String::new(),
            rtcp_mux: true,
            latch: 0,
            ssrc: 0,
            bundle: String::new(),
            receive_from: receive_from.to_owned(),
            ip_version: 0,
            audio_level_id: 0,
            layer: None,
        }
    }

    fn both(kind: MediaKind) -> Medium {
        medium(kind, Direction::SendReceive, "")
    }

    fn room(participants: Vec<(&str, Vec<Medium>)>) -> BTreeMap<String, Participant> {
        let named = |(id, media): (&str, Vec<Medium>)| {
            (
                id.to_owned(),
                Participant {
                    name: String::new(),
                    media,
                    audio: ParticipantAudio::default(),
                    video: Default::default(),
                    role: Role::default(),
                },
            )
        };
        participants.into_iter().map(named).collect()
    }

    fn units_of(participants: &BTreeMap<String, Participant>, expected: u32) -> u64 {
        super::units_of(participants, expected, (u64::MAX, u64::MAX))
    }

    #[test]
    fn of_a_mix_everybody_gets_one_stream() {
        let three = room(vec![("a", both_kinds()), ("b", both_kinds()), ("c", both_kinds())]);
        assert_eq!(super::units_of(&three, 5, (1, u64::MAX)), 5 * AUDIO_UNITS + 20 * VIDEO_UNITS);
        assert_eq!(super::units_of(&three, 5, (1, 1)), 5 * (AUDIO_UNITS + VIDEO_UNITS), "and of a canvas");
        assert_eq!(
            super::units_of(&three, 5, (2, u64::MAX)),
            10 * AUDIO_UNITS + 20 * VIDEO_UNITS,
            "and of the two loudest two"
        );
    }

    fn both_kinds() -> Vec<Medium> {
        vec![both(MediaKind::Audio), both(MediaKind::Video)]
    }

    #[test]
    fn nobody_yet_counts_as_promised() {
        // Three who all send sound and picture to two others.
        assert_eq!(units_of(&room(vec![]), 3), 3 * 2 * (AUDIO_UNITS + VIDEO_UNITS));
        assert_eq!(units_of(&room(vec![]), 1), 0);
        assert_eq!(units_of(&room(vec![]), 0), 0);
    }

    #[test]
    fn who_has_come_counts_as_it_is() {
        let audio = || vec![both(MediaKind::Audio)];
        let three = room(vec![("a", audio()), ("b", audio()), ("c", audio())]);
        assert_eq!(units_of(&three, 0), 6 * AUDIO_UNITS);
        assert_eq!(units_of(&three, 3), 6 * AUDIO_UNITS, "all seats are taken, without pictures");
        // The fourth seat hears three and is heard by three; it has nobody to see.
        assert_eq!(units_of(&three, 4), 12 * AUDIO_UNITS);
    }

    #[test]
    fn speakers_and_listeners_differ() {
        let listener = || vec![medium(MediaKind::Video, Direction::ReceiveOnly, "")];
        let speaker = vec![medium(MediaKind::Video, Direction::SendOnly, "")];
        let lecture = room(vec![("s", speaker), ("a", listener()), ("b", listener()), ("c", listener())]);
        assert_eq!(units_of(&lecture, 0), 3 * VIDEO_UNITS);
    }

    #[test]
    fn a_medium_for_one_source_gets_one_stream() {
        let from = |who| medium(MediaKind::Content, Direction::ReceiveOnly, who);
        let room = room(vec![
            ("a", vec![both(MediaKind::Content)]),
            ("b", vec![both(MediaKind::Content)]),
            ("c", vec![from("a"), from("nobody")]),
        ]);
        assert_eq!(units_of(&room, 0), 4 * CONTENT_UNITS);
    }
}
