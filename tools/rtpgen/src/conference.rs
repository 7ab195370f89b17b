//! Conference mode: creates conferences through control, joins participants, and knows from control's
//! answers exactly what each of them must receive.

use crate::account::{Expectation, Label};
use crate::cli::complain;
use crate::options::{LoadOptions, Media, Profile};
use crate::reach::{Connection, ControlError, Link};
use crate::run::{Plan, SocketPlan, WorkerPlan};
use crate::schedule::{Beat, spread};
use crate::sender::StreamPlan;
use crate::system;
use anyhow::{Context, ensure};
use motet_net::SocketId;
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::conference::{
    AddParticipantRequest, ConferenceInfo, CreateRequest, EndRequest, GetRequest, ParticipantInfo,
    ParticipantMedium,
};
use motet_proto::media::{Codec, Direction, LatchPolicy, MediaKind};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Participants take payload types in turn from so many, so that most receivers need them rewritten.
const PAYLOAD_TYPES: u32 = 4;

/// Conferences that exist because of this run.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    client: ConferenceClient<Link>,
    conferences: Vec<String>,
}

/// One medium of one participant.
struct Member {
    conference: u32,
    participant: u32,
    medium: Profile,
    socket: UdpSocket,
    /// Where the participant sends.
    relay: SocketAddr,
    payload_type: u8,
    ssrc: u32,
}

impl Session {
    /// Connects to control. Connecting and each answer may take as long as `within`.
    pub async fn open(url: &str, within: Duration) -> Result<Session, ControlError> {
        let connection = Connection::open(url, within).await?;
        let client = ConferenceClient::new(connection.channel());
        Ok(Session { connection, client, conferences: Vec::new() })
    }

    /// Creates the conferences, joins everyone, and says what must come where.
    pub async fn set_up(&mut self, options: &LoadOptions, run: u32) -> anyhow::Result<Plan> {
        let mut members = Vec::new();
        let mut infos = Vec::new();
        for conference in 0..options.conferences {
            let id = self.create(self.create_request(options, conference, run)).await?;
            for participant in 0..options.participants {
                members.extend(self.join(options, &id, conference, participant, run).await?);
            }
            // Asked for when all have joined: only now is it known what each of them receives.
            let request = GetRequest { conference: id };
            let info = self.connection.answer(self.client.get(request)).await;
            infos.push(info.context("cannot read the conference")?);
        }
        plan(options, run, members, &infos)
    }

    /// Ends what was created, as far as control can be reached.
    pub async fn end_all(&mut self) {
        for conference in std::mem::take(&mut self.conferences) {
            let request = EndRequest {
                conference: conference.clone(),
                reason: "load test ended".into(),
                ..Default::default()
            };
            if let Err(error) = self.connection.answer(self.client.end(request)).await {
                complain(&format!("conference {conference} could not be ended: {error}"));
                if error.is_away() {
                    return;
                }
            }
        }
    }

    pub(crate) fn create_request(&self, options: &LoadOptions, conference: u32, run: u32) -> CreateRequest {
        CreateRequest {
            name: format!("load {run:08x} {conference}"),
            request_id: format!("load-{run:08x}-{conference}"),
            expected_participants: options.participants,
            ..CreateRequest::default()
        }
    }

    /// Creates a conference, which will be ended with all others, and gives its id.
    pub(crate) async fn create(&mut self, request: CreateRequest) -> anyhow::Result<String> {
        let info = self.connection.answer(self.client.create(request)).await;
        let info = info.context("cannot create a conference")?;
        self.conferences.push(info.id.clone());
        Ok(info.id)
    }

    pub(crate) async fn add(&mut self, request: AddParticipantRequest) -> anyhow::Result<ParticipantInfo> {
        let info = self.connection.answer(self.client.add_participant(request)).await;
        info.context("cannot join a participant")
    }

    async fn join(
        &mut self,
        options: &LoadOptions,
        id: &str,
        conference: u32,
        participant: u32,
        run: u32,
    ) -> anyhow::Result<Vec<Member>> {
        let profiles = media_profiles(options.media);
        let mut members = Vec::new();
        for (index, medium) in profiles.iter().enumerate() {
            let number =
                (conference * options.participants + participant) * profiles.len() as u32 + index as u32;
            let address = receiver_address(options, number)?;
            members.push(Member {
                conference,
                participant,
                medium: *medium,
                socket: system::bind(address)
                    .with_context(|| format!("--receive: cannot listen at {address}"))?,
                relay: address,
                payload_type: payload_type(options, *medium, participant),
                ssrc: run.wrapping_mul(0x9e37_79b1).wrapping_add(number),
            });
        }
        let media = members.iter().map(|member| medium_request(options, member));
        let request = AddParticipantRequest {
            conference: id.to_owned(),
            participant: participant_id(participant),
            media: media.collect::<anyhow::Result<_>>()?,
            ..AddParticipantRequest::default()
        };
        let info = self.add(request).await?;
        for member in &mut members {
            member.relay = relay_address(&info, member.medium)?;
        }
        Ok(members)
    }
}

fn media_profiles(media: Media) -> &'static [Profile] {
    match media {
        Media::Audio => &[Profile::Audio],
        Media::Video => &[Profile::Video],
        Media::Both => &[Profile::Audio, Profile::Video],
    }
}

pub(crate) fn receiver_address(options: &LoadOptions, number: u32) -> anyhow::Result<SocketAddr> {
    let first = options.receive_from();
    if first.port() == 0 {
        return Ok(first);
    }
    let port = u32::from(first.port()) + number * u32::from(options.stride);
    ensure!(port <= 65_535, "--receive {first}: the ports of all participants pass 65535");
    Ok(SocketAddr::new(first.ip(), port as u16))
}

pub(crate) fn participant_id(participant: u32) -> String {
    format!("p{participant}")
}

fn medium_id(medium: Profile) -> &'static str {
    match medium {
        Profile::Audio => "audio",
        Profile::Video => "video",
    }
}

fn payload_type(options: &LoadOptions, medium: Profile, participant: u32) -> u8 {
    let default = match medium {
        Profile::Audio => 111,
        Profile::Video => 96,
    };
    let first = options.payload_type.filter(|_| options.is_set_for(medium)).unwrap_or(default);
    // Dynamic payload types end at 127 (RFC 3551 section 6).
    (u32::from(first) + participant % PAYLOAD_TYPES).min(127) as u8
}

fn clock_hz(options: &LoadOptions, medium: Profile) -> u32 {
    options.clock.filter(|_| options.is_set_for(medium)).unwrap_or(match medium {
        Profile::Audio => 48_000,
        Profile::Video => 90_000,
    })
}

fn medium_request(options: &LoadOptions, member: &Member) -> anyhow::Result<ParticipantMedium> {
    let (kind, name, channels) = match member.medium {
        Profile::Audio => (MediaKind::Audio, "opus", 2),
        Profile::Video => (MediaKind::Video, "H264", 0),
    };
    let codec = Codec {
        payload_type: u32::from(member.payload_type),
        name: name.to_owned(),
        clock_rate_hz: clock_hz(options, member.medium),
        channels,
        fmtp: String::new(),
    };
    Ok(ParticipantMedium {
        id: medium_id(member.medium).to_owned(),
        kind: kind.into(),
        direction: Direction::SendReceive.into(),
        codecs: vec![codec],
        remote: member.socket.local_addr()?.to_string(),
        rtcp_mux: true,
        latch: LatchPolicy::Strict.into(),
        ssrc: member.ssrc,
        ..ParticipantMedium::default()
    })
}

pub(crate) fn relay_address(info: &ParticipantInfo, medium: Profile) -> anyhow::Result<SocketAddr> {
    let id = medium_id(medium);
    let found = info.media.iter().find(|media| media.medium.as_ref().is_some_and(|medium| medium.id == id));
    let local = &found.with_context(|| format!("control gave participant {} no {id}", info.id))?.local;
    local.parse().with_context(|| format!("control gave {id} of {} the address {local:?}", info.id))
}

/// Streams and receivers are numbered alike: by conference, participant and medium.
fn plan(
    options: &LoadOptions,
    run: u32,
    members: Vec<Member>,
    infos: &[ConferenceInfo],
) -> anyhow::Result<Plan> {
    let place =
        |member: &Member| (member.conference, participant_id(member.participant), medium_id(member.medium));
    let numbers: HashMap<_, u32> =
        members.iter().zip(0..).map(|(member, number)| (place(member), number)).collect();
    let count = members.len();
    let mut workers: Vec<WorkerPlan> = (0..options.threads as usize)
        .map(|index| WorkerPlan { core: options.core.get(index).copied(), ..WorkerPlan::default() })
        .collect();
    for (number, member) in members.into_iter().enumerate() {
        let worker = &mut workers[number % options.threads as usize];
        let socket = SocketId(worker.sockets.len() as u32);
        let streams = expected_streams(&member, &infos[member.conference as usize], &numbers, options)?;
        worker.streams.push(stream_plan(options, &member, (number, count), socket));
        worker.sockets.push(SocketPlan {
            socket: member.socket,
            expectation: Some(Expectation { receiver: number as u32, streams }),
        });
    }
    Ok(Plan {
        run,
        io: options.io,
        wait: options.wait(),
        workers,
        duration: Duration::from_secs_f64(options.duration),
        drain: Duration::from_millis(options.drain_ms),
        loss_percent_max: options.max_loss,
    })
}

fn stream_plan(
    options: &LoadOptions,
    member: &Member,
    (number, count): (usize, usize),
    socket: SocketId,
) -> StreamPlan {
    let shape = options.shape(member.medium);
    StreamPlan {
        stream: number as u32,
        socket,
        destination: member.relay,
        ssrc: member.ssrc,
        payload_type: member.payload_type,
        clock_hz: clock_hz(options, member.medium),
        burst: shape.burst,
        packet_bytes: shape.packet_bytes,
        beat: Beat { interval: shape.interval, phase: spread(shape.interval, count, number) },
    }
}

/// All others' streams of the same kind, with the headers that control announced.
fn expected_streams(
    member: &Member,
    info: &ConferenceInfo,
    numbers: &HashMap<(u32, String, &'static str), u32>,
    options: &LoadOptions,
) -> anyhow::Result<std::collections::BTreeMap<u32, Label>> {
    let own = participant_id(member.participant);
    let medium = medium_id(member.medium);
    let participant = info.participants.iter().find(|participant| participant.id == own);
    let participant = participant.with_context(|| format!("control does not list participant {own}"))?;
    let mut streams = std::collections::BTreeMap::new();
    for other in (0..options.participants).filter(|other| *other != member.participant) {
        let other = participant_id(other);
        let received = participant.receives.iter().find(|received| {
            received.from_participant == other && received.from_medium == medium && received.medium == medium
        });
        let received =
            received.with_context(|| format!("control does not let {own} receive {medium} of {other}"))?;
        let codec = received.codecs.first();
        let label = Label {
            ssrc: Some(received.ssrc),
            payload_type: codec.and_then(|codec| u8::try_from(codec.payload_type).ok()),
        };
        let number = numbers[&(member.conference, other, medium)];
        streams.insert(number, label);
    }
    Ok(streams)
}
