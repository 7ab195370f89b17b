//! Mixed conferences through control.

use crate::audio::options::Switch;
use crate::audio::run::{Person, Plan};
use crate::audio::track::Tracks;
use crate::audio::{LEVEL_EXTENSION_ID, LoadCodec, wav};
use crate::conference::{Session, participant_id, receiver_address, relay_address};
use crate::options::{LoadOptions, Profile};
use crate::system;
use anyhow::Context;
use motet_proto::conference::{AddParticipantRequest, CreateRequest, ParticipantMedium};
use motet_proto::media::{AudioMode, AudioSettings, Codec, Direction, LatchPolicy, MediaKind, MixSettings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl Session {
    /// Creates the conferences, joins everyone, and says who sends what.
    pub async fn set_up_audio(&mut self, options: &LoadOptions, run: u32) -> anyhow::Result<Plan> {
        let audio = &options.audio;
        // Takes a while, in which those who have joined would get silence already.
        let speech = audio.speech.as_deref().map(wav::read_speech).transpose()?;
        let stage = audio.stage(options.participants);
        let tracks = Tracks::new(&audio.codec, stage.speakers, audio.quiet, speech.as_deref())?;
        let mut people = Vec::new();
        for room in 0..options.conferences {
            let mix = MixSettings { speakers_max: audio.mixed_at_once(), ..MixSettings::default() };
            let settings =
                AudioSettings { mode: AudioMode::Mix.into(), mix: Some(mix), ..AudioSettings::default() };
            let request = CreateRequest { audio: Some(settings), ..self.create_request(options, room, run) };
            let id = self.create(request).await?;
            for participant in 0..options.participants + audio.abuse.len() as u32 {
                people.push(self.join_audio(options, &id, (room, participant), run).await?);
            }
        }
        Ok(Plan {
            people,
            stage,
            tracks: Arc::new(tracks),
            speech: speech.is_some(),
            level_extension: audio.level_extension == Switch::On,
            impairment: audio.impairment(),
            report_interval: audio.report_interval(),
            decoded: audio.decode,
            wav: audio.wav.clone(),
            io: options.io,
            wait: options.wait(),
            core: options.core.first().copied(),
            warm_up: Duration::from_secs_f64(audio.warm_up),
            duration: Duration::from_secs_f64(options.duration),
            drain: Duration::from_millis(options.drain_ms),
            loss_percent_max: options.max_loss,
        })
    }

    async fn join_audio(
        &mut self,
        options: &LoadOptions,
        conference: &str,
        (room, participant): (u32, u32),
        run: u32,
    ) -> anyhow::Result<Person> {
        let audio = &options.audio;
        let number = room * (options.participants + audio.abuse.len() as u32) + participant;
        let abuse = participant.checked_sub(options.participants).map(|index| audio.abuse[index as usize]);
        let address = receiver_address(options, number)?;
        let socket =
            system::bind(address).with_context(|| format!("--receive: cannot listen at {address}"))?;
        let ssrc = run.wrapping_mul(0x9e37_79b1).wrapping_add(number);
        let codec = if abuse.is_some() {
            LoadCodec::Opus
        } else {
            audio.codec[participant as usize % audio.codec.len()]
        };
        let speaks = participant < options.participants - audio.listeners;
        let sends = speaks || abuse.is_some();
        let medium = medium(options, codec, socket.local_addr()?, sends.then_some(ssrc));
        let request = AddParticipantRequest {
            conference: conference.to_owned(),
            participant: participant_id(participant),
            media: vec![medium],
            ..AddParticipantRequest::default()
        };
        let info = self.add(request).await?;
        let relay = relay_address(&info, Profile::Audio)?;
        Ok(Person { room, participant, codec, socket, relay, speaks, abuse, ssrc })
    }
}

/// Of somebody who sends with an SSRC, or only listens.
fn medium(
    options: &LoadOptions,
    codec: LoadCodec,
    remote: SocketAddr,
    ssrc: Option<u32>,
) -> ParticipantMedium {
    let levels = options.audio.level_extension == Switch::On;
    let direction = if ssrc.is_some() { Direction::SendReceive } else { Direction::ReceiveOnly };
    ParticipantMedium {
        id: "audio".to_owned(),
        kind: MediaKind::Audio.into(),
        direction: direction.into(),
        codecs: vec![Codec {
            payload_type: codec.payload_type().into(),
            name: codec.encoding_name().to_owned(),
            clock_rate_hz: codec.clock_hz(),
            channels: codec.sdp_channels().into(),
            fmtp: codec.fmtp().to_owned(),
        }],
        remote: remote.to_string(),
        rtcp_mux: true,
        latch: LatchPolicy::Strict.into(),
        ssrc: ssrc.unwrap_or(0),
        audio_level_id: if levels { LEVEL_EXTENSION_ID.into() } else { 0 },
        ..ParticipantMedium::default()
    }
}
