//! `motet conf audio`, `mute`, `deaf`, `gain`, `level`, `play` and `stop`: what becomes of sound.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::{playback, show};
use anyhow::Result;
use clap::Args;
use motet_proto::conference::*;
use motet_proto::media::{AudioMode, AudioSettings, MixSettings, PairGain, PlayFile};
use std::process::ExitCode;

/// Explains audio modes; shown by `--help`.
pub(crate) const MODES: &str = "\
A MODE is one of
  relay                 each hears each of the others as it is
  loudest:N             the same, of the N loudest only
  mix                   each gets one stream with all others, in a codec of its own
  mix,rate=16000,speakers=4,hold=300,strip-dtmf,floor
                        the same, with samples a second at most (8000, 16000, 32000 or 48000; auto, the
                        default: as each one's codec has), how many are heard at once, how long a
                        voice stays (ms), keys told but not heard, and only those heard who have the
                        floor (`motet conf floor`)";

/// Reads an audio mode.
pub(crate) fn parse_mode(text: &str) -> Result<AudioSettings, String> {
    let (mode, rest) = text.split_once([',', ':']).unwrap_or((text, ""));
    let number = |key: &str, value: &str| {
        value.parse::<u32>().map_err(|_| format!("'{value}' in '{text}' is not a number for {key}"))
    };
    match mode {
        "relay" if rest.is_empty() => {
            Ok(AudioSettings { mode: AudioMode::Relay.into(), ..AudioSettings::default() })
        }
        "loudest" => {
            let loudest = number("loudest", rest)?;
            Ok(AudioSettings { mode: AudioMode::Loudest.into(), loudest, mix: None })
        }
        "mix" => {
            let mut mix = MixSettings::default();
            for item in rest.split(',').filter(|item| !item.is_empty()) {
                match item.split_once('=') {
                    Some(("rate", "auto")) => mix.rate_hz = 0,
                    Some((key @ "rate", value)) => mix.rate_hz = number(key, value)?,
                    Some((key @ "speakers", value)) => mix.speakers_max = number(key, value)?,
                    Some((key @ "hold", value)) => mix.hold_ms = number(key, value)?,
                    None if item == "strip-dtmf" => mix.strip_dtmf = true,
                    None if item == "floor" => mix.floor = true,
                    _ => return Err(format!("'{item}' is not known; see --help")),
                }
            }
            Ok(AudioSettings { mode: AudioMode::Mix.into(), loudest: 0, mix: Some(mix) })
        }
        _ => Err(format!("'{text}' must be relay, loudest:N or mix")),
    }
}

#[derive(Args)]
#[command(after_help = MODES)]
pub(crate) struct Audio {
    /// Id or number
    conference: String,
    /// See below
    #[arg(value_parser = parse_mode)]
    mode: AudioSettings,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Mute {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// It is to be heard again
    #[arg(long)]
    off: bool,
    /// For this participant only
    #[arg(long, value_name = "PARTICIPANT")]
    to: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Deaf {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// It is to hear again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Gain {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// How much louder or quieter, in decibels, -60 to 20; 0: as it is
    #[arg(value_name = "DB", allow_negative_numbers = true)]
    gain_db: f64,
    /// For this participant only
    #[arg(long, value_name = "PARTICIPANT")]
    to: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Level {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// Leave it as it is again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Play {
    /// Id or number
    conference: String,
    /// Name of a file below the folder that nodes are started with (--prompts): WAV for a mix; with --as also MP4 and
    /// Matroska
    file: String,
    /// Play it as this participant, with sound and pictures, in any conference; it joins unless it is there. See
    /// `motet conf playback`
    #[arg(long = "as", value_name = "PARTICIPANT", conflicts_with_all = ["to", "gain", "duck", "prompt"])]
    participant: Option<String>,
    /// With --as: begin at this place, such as 1m30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "participant")]
    from: Option<std::time::Duration>,
    /// Participants who hear it [default: all]
    #[arg(long, value_name = "PARTICIPANT")]
    to: Vec<String>,
    /// How much louder or quieter, in decibels
    #[arg(long, value_name = "DB", default_value_t = 0.0, allow_negative_numbers = true)]
    gain: f64,
    /// Begin again at the end, until it is stopped
    #[arg(long)]
    repeat: bool,
    /// Bring the conference down meanwhile, to so many decibels, -60 to 0
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    duck: Option<f64>,
    /// Name of it, for `stop` [default: a new one]
    #[arg(long, value_name = "ID", default_value = "")]
    prompt: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Stop {
    /// Id or number
    conference: String,
    /// As `play` has said
    prompt: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn audio(options: Audio) -> Result<ExitCode> {
    let Audio { conference, mode, server } = options;
    let (control, mut client) = server.conferences().await?;
    let info = control
        .answer(client.set_audio(SetAudioRequest { conference, audio: Some(mode), ..Default::default() }))
        .await?;
    done(server.json, show::conference(&info), || {
        format!("the sound of conference {}: {}\n", info.number, mode_of(&info))
    })
}

/// For people.
pub(crate) fn mode_of(info: &ConferenceInfo) -> String {
    let audio = info.audio.unwrap_or_default();
    match audio.mode() {
        AudioMode::Mix => "mix".to_owned(),
        AudioMode::Loudest => format!("loudest:{}", audio.loudest),
        _ => "relay".to_owned(),
    }
}

pub(crate) async fn mute(options: Mute) -> Result<ExitCode> {
    let Mute { conference, participant, off, to, server } = options;
    match to {
        Some(to) => {
            let pair = PairGain { from: participant, to, silent: !off, ..PairGain::default() };
            set_pair(server, conference, pair).await
        }
        None => {
            let muted = Some(!off);
            set(server, SetParticipantAudioRequest { conference, participant, muted, ..Default::default() })
                .await
        }
    }
}

pub(crate) async fn deaf(options: Deaf) -> Result<ExitCode> {
    let Deaf { conference, participant, off, server } = options;
    let deaf = Some(!off);
    set(server, SetParticipantAudioRequest { conference, participant, deaf, ..Default::default() }).await
}

pub(crate) async fn gain(options: Gain) -> Result<ExitCode> {
    let Gain { conference, participant, gain_db, to, server } = options;
    if !gain_db.is_finite() {
        return Err(Usage(format!("DB '{gain_db}': must be a number")).into());
    }
    match to {
        Some(to) => {
            set_pair(server, conference, PairGain { from: participant, to, gain_db, ..PairGain::default() })
                .await
        }
        None => {
            let gain_db = Some(gain_db);
            set(server, SetParticipantAudioRequest { conference, participant, gain_db, ..Default::default() })
                .await
        }
    }
}

pub(crate) async fn level(options: Level) -> Result<ExitCode> {
    let Level { conference, participant, off, server } = options;
    let automatic_gain = Some(!off);
    set(server, SetParticipantAudioRequest { conference, participant, automatic_gain, ..Default::default() })
        .await
}

pub(crate) async fn set(server: Server, set: SetParticipantAudioRequest) -> Result<ExitCode> {
    let (control, mut client) = server.conferences().await?;
    let info = control.answer(client.set_participant_audio(set)).await?;
    done(server.json, show::participant(&info), || format!("{}: {}\n", info.id, show::sound(&info)))
}

pub(crate) async fn set_pair(server: Server, conference: String, pair: PairGain) -> Result<ExitCode> {
    let (from, to) = (pair.from.clone(), pair.to.clone());
    let (control, mut client) = server.conferences().await?;
    let set = SetPairGainRequest { conference, pair_gain: Some(pair), ..Default::default() };
    let info = control.answer(client.set_pair_gain(set)).await?;
    done(server.json, show::conference(&info), || {
        let pair = info.pair_gains.iter().find(|pair| (&pair.from, &pair.to) == (&from, &to));
        match pair {
            None => format!("{to} hears {from} as all others do\n"),
            Some(pair) if pair.silent => format!("{to} does not hear {from}\n"),
            Some(pair) if pair.heard && pair.gain_db == 0.0 => format!("{to} hears {from}, private or not\n"),
            Some(pair) => format!("{to} hears {from} at {:+} dB\n", pair.gain_db),
        }
    })
}

pub(crate) async fn play(options: Play) -> Result<ExitCode> {
    let Play { conference, file, participant, from, to, gain, repeat, duck, prompt, server } = options;
    if let Some(participant) = participant {
        let from_ms = from.map_or(0, |from| from.as_millis() as u64);
        return playback::play(server, conference, participant, PlayFile { file, repeat, from_ms }).await;
    }
    let (control, mut client) = server.conferences().await?;
    let play = PlayPromptRequest { conference, prompt, file, to, gain_db: gain, repeat, duck_db: duck };
    let playing = control.answer(client.play_prompt(play)).await?;
    let value = serde_json::json!({ "prompt": playing.prompt, "duration_ms": playing.duration_ms });
    done(server.json, value, || {
        format!("plays as {}, for {:.1} s\n", playing.prompt, playing.duration_ms as f64 / 1e3)
    })
}

pub(crate) async fn stop(options: Stop) -> Result<ExitCode> {
    let Stop { conference, prompt, server } = options;
    let (control, mut client) = server.conferences().await?;
    let stop = StopPromptRequest { conference, prompt: prompt.clone() };
    let existed = control.answer(client.stop_prompt(stop)).await?.existed;
    done(server.json, serde_json::json!({ "existed": existed }), || {
        format!("{prompt} {}\n", if existed { "was stopped" } else { "does not play" })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read() {
        assert_eq!(parse_mode("relay").expect("a mode").mode(), AudioMode::Relay);
        assert_eq!(parse_mode("loudest:3").expect("a mode").loudest, 3);
        let mix = parse_mode("mix,rate=16000,speakers=4,hold=300,strip-dtmf,floor").expect("a mode").mix;
        let wanted =
            MixSettings { rate_hz: 16_000, speakers_max: 4, hold_ms: 300, strip_dtmf: true, floor: true };
        assert_eq!(mix, Some(wanted));
        assert_eq!(parse_mode("mix,rate=auto").expect("a mode").mix, Some(MixSettings::default()));
        for (text, part) in [
            ("mixed", "mixed"),
            ("loudest", "number"),
            ("relay,x", "relay,x"),
            ("mix,rate=a", "'a'"),
            ("mix,x", "'x'"),
        ] {
            let error = parse_mode(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
