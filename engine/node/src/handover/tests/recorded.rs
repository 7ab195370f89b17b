//! Recordings in a node that is taken over: they go on with other files.

use super::*;
use motet_proto::media::Recording;
use motet_rtp::WireTimestamp;

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// Records both from now on.
    async fn record(&mut self, recordings: Vec<Recording>) {
        let mut client = client(&self.node).await;
        for recording in recordings {
            let change = wire::change::Change::PutRecording(recording);
            let changes = vec![wire::Change { change: Some(change) }];
            let patch = wire::PatchConferenceRequest { id: "c1".into(), epoch: 1, base_revision: 1, changes };
            client.patch_conference(patch).await.expect("accepted");
        }
    }

    /// Talks until some of it is in this file.
    async fn is_recorded(&mut self, file: &str) {
        let local = self.allocation.legs.iter().find(|leg| leg.leg == "talker").expect("it is there");
        let local: SocketAddr = local.transports[0].local.parse().expect("an address");
        let begun = tokio::time::Instant::now();
        loop {
            // A frame of Opus of 20 ms.
            let packet = RtpBuilder::new(7).payload_type(111).sequence(WireSeq(self.sent));
            let packet = packet.timestamp(WireTimestamp(u32::from(self.sent) * 960)).payload(&[0x78; 60]);
            self.talker.send_to(&packet.to_vec(), local).expect("loopback");
            self.sent = self.sent.wrapping_add(1);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let stats = wire::ConferenceStatsRequest { id: "c1".into() };
            let stats = client(&self.node).await.conference_stats(stats).await.expect("it runs").into_inner();
            let files = stats.recordings.iter().flat_map(|recording| &recording.files);
            let talker = files.clone().find(|file| file.leg == "talker");
            if talker.is_some_and(|talker| talker.file == file && talker.samples > 20) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?}", stats.recordings);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_on_in_another_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let recordings = Some(folder.path().to_owned());
    let mut world = World::with(NodeOptions { recordings, ..NodeOptions::default() }, 24_900).await;
    let all = Recording { id: "r1".into(), participants: true, ..Recording::default() };
    world.record(vec![all]).await;
    world.is_recorded("talker-00001.part.mp4").await;
    let (_, answer) = world.greet(vec![1, 2, 3]);
    let Giver::Refused { why } = answer else { panic!("{answer:?}") };
    assert!(why.contains("conference 'c1' is recorded, and the new process is of a version"), "{why}");
    let without = NodeOptions { recordings: None, take_over: true, ..world.options.clone() };
    let Err(error) = start(without).await else { panic!("nothing records there") };
    assert!(format!("{error:#}").contains("--recordings: it is recorded by the running node"), "{error:#}");

    let options = NodeOptions { take_over: true, ..world.options.clone() };
    let next = start(options).await.expect("it takes over");
    assert_eq!(world.node.ended().await, Ended::TakenOver);
    std::mem::replace(&mut world.node, next).retire().await;
    let file = |name: &str| folder.path().join("c1+r1").join(name);
    assert!(file("talker-00001.mp4").is_file(), "what the process before has written is whole");
    world.is_recorded("talker-00002.part.mp4").await;
    // What was inherited can be ended.
    let delete = wire::DeleteConferenceRequest { id: "c1".into(), epoch: 1, elsewhere: false };
    client(&world.node).await.delete_conference(delete).await.expect("ended");
    world.node.shutdown().await;
    assert!(file("talker-00002.mp4").is_file());
}
