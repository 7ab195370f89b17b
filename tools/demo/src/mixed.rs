//! The mixed conference: a telephone, a room system and a browser, each with a codec of its own, who hear one
//! sound each: everybody but themselves.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use motet_proto::conference::ConferenceInfo;
use motet_proto::media::Codec;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cast::CAST;
use crate::ffmpeg::{self, Listener, Process};
use crate::hearing::{self, Heard};
use crate::server::Server;
use crate::terminal::Port;

/// How long everyone talks.
pub const SECONDS: u64 = 8;

/// What each of [`CAST`] has in the mixed conference.
pub struct Voice {
    /// For people.
    pub codec: &'static str,
    /// As in SDP.
    pub payload_type: u32,
    name: &'static str,
    clock_rate_hz: u32,
    channels: u32,
    /// Arguments of ffmpeg that encode it, 20 ms a packet.
    pub encode: &'static str,
    /// Largest packet: with these codecs, 20 ms and the header.
    pub packet_bytes: u32,
}

/// In the order of [`CAST`].
pub const VOICES: [Voice; CAST.len()] = [
    Voice {
        codec: "G.711, 8 kHz",
        payload_type: 0,
        name: "PCMU",
        clock_rate_hz: 8_000,
        channels: 1,
        encode: "-c:a pcm_mulaw -ar 8000 -ac 1",
        packet_bytes: 172,
    },
    Voice {
        codec: "G.722, 16 kHz",
        payload_type: 9,
        name: "G722",
        clock_rate_hz: 8_000,
        channels: 1,
        encode: "-c:a g722 -ar 16000 -ac 1",
        packet_bytes: 172,
    },
    Voice {
        codec: "Opus, 48 kHz",
        payload_type: ffmpeg::OPUS,
        name: "opus",
        clock_rate_hz: 48_000,
        channels: 2,
        encode: "-c:a libopus -b:a 32k -ac 1",
        packet_bytes: 1_200,
    },
];

impl Voice {
    /// As control wants it.
    pub fn codec(&self) -> Codec {
        Codec {
            payload_type: self.payload_type,
            name: self.name.into(),
            clock_rate_hz: self.clock_rate_hz,
            channels: self.channels,
            fmtp: String::new(),
        }
    }

    /// The line of SDP that names it.
    pub fn rtpmap(&self) -> String {
        let channels = if self.channels > 1 { format!("/{}", self.channels) } else { String::new() };
        format!("a=rtpmap:{} {}/{}{channels}", self.payload_type, self.name, self.clock_rate_hz)
    }
}

/// One participant's mix.
pub struct Mix {
    /// Index in [`CAST`].
    pub receiver: usize,
    /// Packets, lost packets, sender reports.
    pub counted: (u64, i64, u64),
    /// Packets of anything else.
    pub strays: u64,
    /// Who is in it.
    pub heard: Heard,
    /// Name of the recording in the results' folder.
    pub wav: String,
}

impl Mix {
    /// All others were there for four fifths of the time, and the receiver was not.
    pub fn is_right(&self) -> bool {
        let times = self.heard.tones.iter().enumerate();
        let enough = |windows: usize| windows as u64 * 5 >= 10 * SECONDS * 4;
        let all = times.clone().all(|(person, windows)| person == self.receiver || enough(*windows));
        let itself = self.heard.tones[self.receiver] * 50 > self.heard.windows;
        all && !itself && self.strays == 0 && self.counted.1 == 0
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let seconds = self.heard.tones.iter().zip(&CAST);
        let heard: serde_json::Map<String, Value> =
            seconds.map(|(windows, person)| (person.name.into(), json!(*windows as f64 / 10.0))).collect();
        json!({
            "receiver": CAST[self.receiver].name,
            "codec": VOICES[self.receiver].codec,
            "packets": self.counted.0,
            "lost": self.counted.1,
            "stray_packets": self.strays,
            "heard_s": heard,
            "recorded_s": self.heard.windows as f64 / 10.0,
            "wav": self.wav,
            "right": self.is_right(),
        })
    }

    fn row(&self) -> Vec<String> {
        let mut cells = vec![
            CAST[self.receiver].name.to_owned(),
            VOICES[self.receiver].codec.to_owned(),
            self.counted.0.to_string(),
            self.counted.1.to_string(),
        ];
        for (person, windows) in self.heard.tones.iter().enumerate() {
            let time = format!("{:.1} s", *windows as f64 / 10.0);
            cells.push(if person == self.receiver { format!("({time})") } else { time });
        }
        cells.push(if self.is_right() { "all but itself".into() } else { "NOT all but itself".into() });
        cells.push(self.wav.clone());
        cells
    }
}

/// The table for people; one's own voice is in brackets.
pub fn table(mixes: &[Mix]) -> String {
    let mut head: Vec<String> = ["MIX FOR", "CODEC", "PACKETS", "LOST"].map(String::from).to_vec();
    head.extend(CAST.iter().map(|person| format!("{} {} Hz", person.name.to_uppercase(), person.tone_hz)));
    head.extend(["HEARS", "LISTEN TO"].map(String::from));
    let mut rows = vec![head];
    rows.extend(mixes.iter().map(Mix::row));
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Everybody has a mix, and each is right.
pub fn passed(mixes: &[Mix]) -> bool {
    mixes.len() == CAST.len() && mixes.iter().all(Mix::is_right)
}

/// The whole conference, from its creation to its end.
pub async fn run(server: &Server, out: &Path) -> Result<Vec<Mix>> {
    let conference = server.create_mixed().await?.id;
    let mut ports = Vec::new();
    let mut targets = Vec::new();
    for (person, voice) in CAST.iter().zip(&VOICES) {
        let port = Port::open()?;
        let info = server.join_mixed(&conference, person.name, voice, &port).await?;
        targets.push(crate::target(&info, motet_proto::media::MediaKind::Audio)?);
        ports.push(port);
    }
    let info = all_mixes(server, &conference).await?;
    let mut listeners = Vec::new();
    // SSRCs, and what came before it was known whose they are.
    let mut known = Vec::new();
    for ((person, voice), port) in CAST.iter().zip(&VOICES).zip(&ports) {
        let listener = Listener::start(&format!("mix-for-{}", person.name), out, voice)?;
        let one = info.participants.iter().find(|one| one.id == person.name);
        let mix = one.and_then(|one| one.receives.first()).context("it was there a moment ago")?;
        port.expect(mix.ssrc, listener.port, false);
        known.push((mix.ssrc, port.strays()));
        listeners.push(listener);
    }
    wait_ready(&mut listeners).await?;
    let senders: Result<Vec<Process>> = CAST
        .iter()
        .zip(&VOICES)
        .zip(&targets)
        .map(|((person, voice), target)| ffmpeg::speak(person, voice, *target, out))
        .collect();
    let mut senders = senders?;
    println!("demo: a telephone, a room and a browser talk in a mixed conference for {SECONDS} s");
    for _ in 0..SECONDS + 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        senders.iter_mut().try_for_each(Process::check)?;
    }
    let mut mixes = Vec::new();
    for (receiver, listener) in listeners.into_iter().enumerate() {
        let (ssrc, before) = known[receiver];
        let counted = ports[receiver].counted(ssrc);
        let strays = ports[receiver].strays() - before;
        let wav = listener.name();
        let heard = hearing::listen(&listener.end().await?);
        mixes.push(Mix { receiver, counted, strays, heard, wav });
    }
    for sender in senders {
        sender.end().await?;
    }
    Ok(mixes)
}

/// Waits until control has announced a mix to everybody.
async fn all_mixes(server: &Server, conference: &str) -> Result<ConferenceInfo> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let info = server.show(conference).await?;
        let is_mix = |one: &motet_proto::conference::ParticipantInfo| {
            one.receives.len() == 1 && one.receives[0].from_participant.is_empty()
        };
        if info.participants.len() == CAST.len() && info.participants.iter().all(is_mix) {
            return Ok(info);
        }
        if Instant::now() > end {
            bail!("control does not announce a mix to everybody: {:?}", info.participants);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_ready(listeners: &mut [Listener]) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    for listener in listeners {
        while !listener.is_ready()? {
            if Instant::now() > end {
                bail!("a decoder does not listen after 20 s: is the machine very busy?");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(receiver: usize, tones: [usize; 3]) -> Mix {
        let heard = Heard { windows: 80, tones };
        Mix { receiver, counted: (400, 0, 2), strays: 0, heard, wav: "mix.wav".into() }
    }

    #[test]
    fn a_mix_has_all_but_its_receiver() {
        assert!(mix(0, [0, 80, 64]).is_right());
        assert!(!mix(0, [0, 80, 63]).is_right(), "carol is missing for too long");
        assert!(!mix(0, [2, 80, 80]).is_right(), "alice hears herself");
        assert!(!Mix { strays: 1, ..mix(0, [0, 80, 80]) }.is_right());
        assert!(!Mix { counted: (399, 1, 2), ..mix(0, [0, 80, 80]) }.is_right());
    }

    #[test]
    fn everybody_needs_a_mix() {
        let all = || vec![mix(0, [0, 80, 80]), mix(1, [80, 0, 80]), mix(2, [80, 80, 0])];
        assert!(passed(&all()));
        assert!(!passed(&all()[1..]));
        let table = table(&all());
        assert!(table.contains("ALICE 440 Hz") && table.contains("(0.0 s)"), "{table}");
    }

    #[test]
    fn codecs_are_named_as_in_sdp() {
        assert_eq!(VOICES[0].rtpmap(), "a=rtpmap:0 PCMU/8000");
        assert_eq!(VOICES[2].rtpmap(), "a=rtpmap:111 opus/48000/2");
    }
}
