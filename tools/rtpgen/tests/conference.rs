//! Conference mode against a control and relay in this process, which keep their word or do not.

use motet_proto::conference::conference_server::{Conference, ConferenceServer};
use motet_proto::conference::*;
use motet_rtp::rtp::FixedHeader;
use motet_rtpgen::cli::{LoadOptions, run};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tonic::{Request, Response, Status};

/// What the relay does other than control has announced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Sends under another SSRC.
    Ssrc,
    /// Sends with the publisher's payload type.
    PayloadType,
    /// Sends everyone their own packets as well.
    Echo,
    /// Refuses the third participant.
    Refusal,
}

/// One medium of a participant as the relay sees it.
#[derive(Clone)]
struct Port {
    conference: String,
    participant: String,
    medium: ParticipantMedium,
    local: SocketAddr,
    number: u32,
}

#[derive(Clone)]
struct FakeControl {
    fault: Fault,
    ports: Arc<Mutex<Vec<Port>>>,
    ended: Arc<Mutex<Vec<String>>>,
    created: Arc<AtomicU32>,
}

/// SSRC of a stream at a receiver.
fn ssrc(from: &Port, to: &Port) -> u32 {
    1_000_000 + from.number * 1000 + to.number
}

fn goes_to(from: &Port, to: &Port) -> bool {
    from.conference == to.conference && from.participant != to.participant && from.medium.id == to.medium.id
}

impl FakeControl {
    /// Takes packets at a port of the relay and sends them to the others. Ends with the process.
    fn forward(&self, socket: UdpSocket, from: Port) {
        let (ports, fault) = (self.ports.clone(), self.fault);
        std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Ok((len, _)) = socket.recv_from(&mut packet) {
                let header = FixedHeader::read(&packet[..len]).expect("the generator sends RTP");
                let ports = ports.lock().expect("no panic").clone();
                let is_own = |to: &Port| fault == Fault::Echo && to.number == from.number;
                for to in ports.iter().filter(|to| goes_to(&from, to) || is_own(to)) {
                    let payload_type = match fault {
                        Fault::PayloadType => header.payload_type,
                        _ => to.medium.codecs[0].payload_type as u8,
                    };
                    let ssrc = ssrc(&from, to) + u32::from(fault == Fault::Ssrc);
                    packet[1] = payload_type | (u8::from(header.marker) << 7);
                    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
                    let _ = socket.send_to(&packet[..len], &to.medium.remote);
                }
            }
        });
    }

    fn info(&self, conference: &str) -> ConferenceInfo {
        let ports = self.ports.lock().expect("no panic");
        let mut info = ConferenceInfo { id: conference.to_owned(), ..ConferenceInfo::default() };
        for to in ports.iter().filter(|port| port.conference == conference) {
            let receives = ports.iter().filter(|from| goes_to(from, to)).map(|from| ReceivedStream {
                from_participant: from.participant.clone(),
                from_medium: from.medium.id.clone(),
                medium: to.medium.id.clone(),
                kind: to.medium.kind,
                ssrc: ssrc(from, to),
                codecs: to.medium.codecs.clone(),
            });
            let receives: Vec<_> = receives.collect();
            match info.participants.iter_mut().find(|known| known.id == to.participant) {
                Some(known) => known.receives.extend(receives),
                None => info.participants.push(ParticipantInfo {
                    id: to.participant.clone(),
                    receives,
                    ..ParticipantInfo::default()
                }),
            }
        }
        info
    }
}

#[tonic::async_trait]
impl Conference for FakeControl {
    type WatchEventsStream = std::pin::Pin<
        Box<dyn tonic::codegen::tokio_stream::Stream<Item = Result<ConferenceEvent, Status>> + Send>,
    >;

    async fn create(&self, _: Request<CreateRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Ok(Response::new(self.info(&format!("c{}", self.created.fetch_add(1, Relaxed)))))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Ok(Response::new(self.info(&request.into_inner().conference)))
    }

    async fn add_participant(
        &self,
        request: Request<AddParticipantRequest>,
    ) -> Result<Response<ParticipantInfo>, Status> {
        let request = request.into_inner();
        if self.fault == Fault::Refusal && request.participant == "p2" {
            return Err(Status::resource_exhausted("no node has room"));
        }
        let mut info = ParticipantInfo { id: request.participant.clone(), ..ParticipantInfo::default() };
        for medium in request.media {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let local = socket.local_addr()?;
            let mut ports = self.ports.lock().expect("no panic");
            let port = Port {
                conference: request.conference.clone(),
                participant: request.participant.clone(),
                medium: medium.clone(),
                local,
                number: ports.len() as u32,
            };
            ports.push(port.clone());
            info.media.push(ParticipantMediumInfo {
                medium: Some(medium),
                local: port.local.to_string(),
                local_rtcp: port.local.to_string(),
            });
            self.forward(socket, port);
        }
        Ok(Response::new(info))
    }

    async fn end(&self, request: Request<EndRequest>) -> Result<Response<ConferenceInfo>, Status> {
        self.ended.lock().expect("no panic").push(request.into_inner().conference);
        Ok(Response::new(ConferenceInfo::default()))
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_audio(&self, _: Request<SetAudioRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_video(&self, _: Request<SetVideoRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_participant_video(
        &self,
        _: Request<SetParticipantVideoRequest>,
    ) -> Result<Response<ParticipantInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<SnapshotResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn playback(
        &self,
        _: Request<PlaybackRequest>,
    ) -> Result<Response<motet_proto::media::PlaybackState>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn share_content(
        &self,
        _: Request<ShareContentRequest>,
    ) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_participant_audio(
        &self,
        _: Request<SetParticipantAudioRequest>,
    ) -> Result<Response<ParticipantInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_pair_gain(
        &self,
        _: Request<SetPairGainRequest>,
    ) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_recording(
        &self,
        _: Request<SetRecordingRequest>,
    ) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn remove_recording(
        &self,
        _: Request<RemoveRecordingRequest>,
    ) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn play_prompt(
        &self,
        _: Request<PlayPromptRequest>,
    ) -> Result<Response<PlayPromptResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn stop_prompt(
        &self,
        _: Request<StopPromptRequest>,
    ) -> Result<Response<StopPromptResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn rename(&self, _: Request<RenameRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_password(&self, _: Request<SetPasswordRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_lock(&self, _: Request<SetLockRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn set_role(&self, _: Request<SetRoleRequest>) -> Result<Response<ParticipantInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<ConferenceInfo>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn remove_participant(
        &self,
        _: Request<RemoveParticipantRequest>,
    ) -> Result<Response<RemoveParticipantResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn watch_events(
        &self,
        _: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: LoadOptions,
}

struct Outcome {
    result: anyhow::Result<ExitCode>,
    report: Option<serde_json::Value>,
    ended: Vec<String>,
}

/// Two conferences of three, half a second of audio and video. Once more when the machine held the generator up so long
/// that sockets ran over, which the generator says itself.
async fn load(fault: Fault) -> Outcome {
    let held_up = |outcome: &Outcome| {
        let bottlenecks = outcome.report.as_ref().and_then(|report| report["bottlenecks"].as_array());
        bottlenecks.is_some_and(|bottlenecks| !bottlenecks.is_empty())
    };
    let mut outcome = load_once(fault).await;
    for _ in 0..10 {
        if !held_up(&outcome) {
            break;
        }
        outcome = load_once(fault).await;
    }
    outcome
}

async fn load_once(fault: Fault) -> Outcome {
    let control =
        FakeControl { fault, ports: Arc::default(), ended: Arc::default(), created: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(ConferenceServer::new(control.clone()));
    let server = tokio::spawn(server.serve_with_incoming(incoming));
    let file = std::env::temp_dir().join(format!("load-{}-{}.json", std::process::id(), address.port()));
    let words = format!(
        "load --css http://{address} --conferences 2 --participants 3 --duration 0.5 --burst 3 --io mmsg --json {}",
        file.display()
    );
    let options = <Line as clap::Parser>::parse_from(words.split(' ')).options;
    let result = tokio::task::spawn_blocking(|| run(options)).await.expect("no panic");
    server.abort();
    let report = std::fs::read_to_string(&file).ok();
    let _ = std::fs::remove_file(&file);
    let ended = control.ended.lock().expect("no panic").clone();
    Outcome { result, report: report.map(|text| serde_json::from_str(&text).expect("JSON")), ended }
}

fn number(outcome: &Outcome, name: &str) -> u64 {
    outcome.report.as_ref().expect("there is a report")[name].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_gets_all_others_and_the_conferences_end() {
    let outcome = load(Fault::None).await;
    assert_eq!(outcome.result.as_ref().expect("it ran"), &ExitCode::SUCCESS);
    // Of each of 6 participants 25 audio packets and 50 bursts of 3 go to the two others.
    assert_eq!((number(&outcome, "sent"), number(&outcome, "expected")), (6 * 175, 12 * 175));
    assert_eq!((number(&outcome, "lost"), number(&outcome, "mislabelled")), (0, 0));
    assert_eq!(outcome.ended, ["c0", "c1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_other_than_announced_fail_the_run() {
    let outcome = load(Fault::Ssrc).await;
    assert_eq!(outcome.result.as_ref().expect("it ran"), &ExitCode::FAILURE);
    assert_eq!(number(&outcome, "mislabelled"), 12 * 175);
    let outcome = load(Fault::PayloadType).await;
    assert_eq!(number(&outcome, "mislabelled"), 12 * 175, "participants have different payload types");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_packets_are_wrongly_routed() {
    let outcome = load(Fault::Echo).await;
    assert_eq!(outcome.result.as_ref().expect("it ran"), &ExitCode::FAILURE);
    assert_eq!((number(&outcome, "wrongly_routed"), number(&outcome, "lost")), (6 * 175, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_and_leaves_no_conference_behind() {
    let outcome = load(Fault::Refusal).await;
    let error = format!("{:#}", outcome.result.expect_err("the third participant is refused"));
    assert!(error.contains("no node has room"), "{error}");
    assert_eq!(outcome.ended, ["c0"]);
}
