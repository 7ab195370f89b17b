//! From the node's words to the mixer's.

use super::PromptOrder;
use crate::model::{Codec, MixSettings};
use crate::plan::{OutputForm, SourceForm};
use motet_codecs::audio::{AudioCodec, EncoderSettings, fmtp};
use motet_mixer::audio::{
    EventHandling, Gain, GroupId, MixConfig, OutputConfig, OutputId, OutputSettings, PromptConfig, PromptId,
    PromptRepeat, PromptTarget, SourceConfig, SourceId, SourcePayload, SourceSettings,
};

/// The main room of a conference.
pub(super) const MAIN: GroupId = GroupId(0);

pub(super) fn config(settings: &MixSettings) -> MixConfig {
    MixConfig {
        rate_hz: settings.rate_hz,
        speakers_max: settings.speakers_max as u16,
        hold_ms: settings.hold_ms as u16,
        ..MixConfig::default()
    }
}

pub(super) fn source(
    id: SourceId,
    source: &SourceForm,
    group: GroupId,
    settings: &MixSettings,
) -> SourceConfig {
    SourceConfig {
        id,
        ssrc: source.ssrc,
        group,
        payloads: source
            .codecs
            .iter()
            .filter_map(|codec| Some((codec.payload_type, payload(codec)?)))
            .collect(),
        level_extension: source.audio_level_id,
        settings: source_settings(source, settings),
    }
}

fn payload(codec: &Codec) -> Option<SourcePayload> {
    let clock_hz = codec.clock_hz;
    Some(match codec.name.as_str() {
        "telephone-event" => SourcePayload::Events { clock_hz },
        "cn" => SourcePayload::ComfortNoise { clock_hz },
        _ => SourcePayload::Sound(codec.sound()?),
    })
}

pub(super) fn source_settings(source: &SourceForm, settings: &MixSettings) -> SourceSettings {
    SourceSettings {
        gain: gain(source.gain_db),
        muted: source.muted,
        heard: if source.private { Gain::SILENT } else { Gain::UNITY },
        automatic_gain: source.automatic_gain,
        noise_suppression: source.noise_suppression,
        events: if settings.strip_dtmf { EventHandling::Report } else { EventHandling::PassOn },
    }
}

/// What an output hears, and the main room from its own.
pub(super) fn output_settings(output: &OutputForm) -> OutputSettings {
    let background = output.main_room_db.filter(|_| output.room.is_some());
    let background = background.map(|gain_db| (MAIN, gain(gain_db)));
    OutputSettings { deaf: output.deaf, background, ..OutputSettings::default() }
}

/// None: the codec is not one of the mixer's, which planning has seen to.
pub(super) fn output(
    id: OutputId,
    output: &OutputForm,
    group: GroupId,
    (first_sequence, first_timestamp): (u16, u32),
) -> Option<OutputConfig> {
    let wanted = output.codecs.first()?;
    let events = output
        .codecs
        .iter()
        .find(|codec| codec.name == "telephone-event" && codec.clock_hz == wanted.clock_hz);
    let codec = wanted.sound()?;
    let encoder = EncoderSettings { loss_percent: output.loss_percent, ..encoder(&codec) };
    Some(OutputConfig {
        id,
        group,
        // A leg has one number.
        own: Some(SourceId(id.0)),
        ssrc: output.ssrc,
        payload_type: wanted.payload_type,
        first_sequence,
        first_timestamp,
        codec,
        encoder,
        events_payload_type: events.map(|codec| codec.payload_type),
        settings: output_settings(output),
    })
}

/// What a receiver asks for (RFC 7587 section 6.1).
fn encoder(codec: &AudioCodec) -> EncoderSettings {
    let asked = |parameter: &str| fmtp::value(&codec.fmtp, parameter) == Some("1");
    EncoderSettings { fec: asked("useinbandfec"), dtx: asked("usedtx"), ..EncoderSettings::default() }
}

/// A gain in the range that specifications are checked for.
pub(super) fn gain(gain_db: f32) -> Gain {
    Gain::from_db(gain_db.clamp(Gain::DB_MIN, Gain::DB_MAX)).unwrap_or_default()
}

/// None: not heard at all.
pub(super) fn pair_gain(gain_db: Option<f32>) -> Gain {
    gain_db.map_or(Gain::SILENT, gain)
}

/// `room`: where it is heard, unless only some outputs hear it.
pub(super) fn prompt(
    id: PromptId,
    order: &PromptOrder,
    room: GroupId,
    outputs: Vec<OutputId>,
) -> PromptConfig {
    PromptConfig {
        id,
        sound: order.sound.clone(),
        to: if order.to.is_empty() { PromptTarget::Group(room) } else { PromptTarget::Outputs(outputs) },
        gain: gain(order.gain_db),
        repeat: if order.repeat { PromptRepeat::Forever } else { PromptRepeat::Times(1) },
        duck: order.duck_db.map(gain),
    }
}

/// RFC 4733 section 3.2. None: no key.
pub(super) fn key(event: u8) -> Option<char> {
    "0123456789*#ABCD".chars().nth(usize::from(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::codec;
    use motet_relay::PortId;
    use std::sync::Arc;

    fn form(codecs: &[(u32, &str, u32, &str)]) -> OutputForm {
        let codecs = codecs.iter().map(|(number, name, clock_hz, fmtp)| {
            Arc::new(Codec::read(&codec(*number, name, *clock_hz, fmtp)).expect("a codec"))
        });
        OutputForm {
            port: PortId(1),
            ssrc: 7,
            codecs: codecs.collect(),
            deaf: false,
            room: None,
            main_room_db: None,
            loss_percent: 0,
        }
    }

    #[test]
    fn a_receiver_gets_what_its_fmtp_asks_for() {
        let opus = |fmtp| {
            let form = form(&[(111, "opus", 48_000, fmtp), (101, "telephone-event", 8_000, "")]);
            output(OutputId(3), &form, MAIN, (1, 2)).expect("the mixer has Opus")
        };
        let plain = opus("");
        assert_eq!((plain.own, plain.payload_type, plain.ssrc), (Some(SourceId(3)), 111, 7));
        assert_eq!((plain.encoder.fec, plain.encoder.dtx, plain.events_payload_type), (false, false, None));
        let asking = opus("minptime=10;useinbandfec=1;usedtx=1");
        assert_eq!((asking.encoder.fec, asking.encoder.dtx), (true, true));
        let events = form(&[(0, "PCMU", 8_000, ""), (101, "telephone-event", 8_000, "")]);
        let events = output(OutputId(3), &events, MAIN, (1, 2)).expect("and PCMU");
        assert_eq!(events.events_payload_type, Some(101), "of the same clock");
    }

    #[test]
    fn keys_are_told_by_their_names() {
        assert_eq!([0, 9, 10, 11, 15].map(key), ['0', '9', '*', '#', 'D'].map(Some));
        assert_eq!(key(16), None);
    }
}
