//! Mixes in a node that is taken over: what joins workers and mixing threads goes over, the mixing begins anew.

use super::*;
use crate::testing::{caller, codec};
use motet_proto::media::{AudioMode, AudioSettings, VideoMode, VideoSettings};
use motet_rtp::WireTimestamp;

const PCMU: u8 = 0;
/// RTP ticks of 20 ms.
const TICKS: u32 = 160;

/// A packet of a mix.
#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    is_silent: bool,
}

impl World {
    /// The two of the conference hear a mix from now on.
    async fn mix(&mut self, revision: u64, mode: AudioMode) {
        let with_remote = |id, socket: &UdpSocket| {
            let pcmu = codec(PCMU.into(), "PCMU", 8000, "");
            let mut leg = leg(id, vec![medium("audio", MediaKind::Audio, vec![pcmu])]);
            leg.transports[0].remote = socket.local_addr().expect("bound").to_string();
            leg.transports[0].rtcp_mux = true;
            leg
        };
        let legs = vec![with_remote("talker", &self.talker), with_remote("listener", &self.listener)];
        let loudest = u32::from(mode == AudioMode::Loudest);
        let audio = AudioSettings { mode: mode.into(), loudest, ..AudioSettings::default() };
        let spec = wire::ConferenceSpec { audio: Some(audio), ..conference(legs) };
        let put = wire::PutConferenceRequest { spec: Some(spec), epoch: 1, revision };
        let mut client = client(&self.node).await;
        self.allocation = client.put_conference(put).await.expect("accepted").into_inner();
    }

    /// Talks, and hears the next packet.
    fn converse(&mut self) -> Heard {
        let local = self.allocation.legs.iter().find(|leg| leg.leg == "talker").expect("it is there");
        let local: SocketAddr = local.transports[0].local.parse().expect("an address");
        // A loud sound of 2 kHz.
        let sound: Vec<u8> = [0x10, 0x10, 0x90, 0x90].repeat(40);
        let packet = RtpBuilder::new(7).payload_type(PCMU).sequence(WireSeq(self.sent));
        let packet = packet.timestamp(WireTimestamp(u32::from(self.sent) * TICKS)).payload(&sound);
        self.talker.send_to(&packet.to_vec(), local).expect("loopback");
        self.sent = self.sent.wrapping_add(1);
        let mut bytes = [0; 1500];
        loop {
            let len = self.listener.recv(&mut bytes).expect("a packet in time");
            if (192..=223).contains(&bytes[1]) {
                continue;
            }
            let view = RtpView::new(&bytes[..len]).expect("RTP");
            let is_silent = view.payload().iter().all(|byte| matches!(byte, 0x7e..=0x7f | 0xfe..=0xff));
            let (ssrc, sequence, timestamp) = (view.ssrc(), view.sequence().0, view.timestamp().0);
            return Heard { ssrc, sequence, timestamp, is_silent };
        }
    }

    /// Talks until that is heard, each packet after the one before; gives the last packet.
    fn is_heard(&mut self, mut last: Option<Heard>) -> Heard {
        let mut heard = 0;
        for _ in 0..500 {
            let next = self.converse();
            if let Some(last) = last {
                assert_eq!(next.ssrc, last.ssrc);
                let step = next.sequence.wrapping_sub(last.sequence) as i16;
                // Another process begins where the clock says: that may be one off.
                assert!((-1..200).contains(&step), "{last:?} {next:?}");
                let ticks = next.timestamp.wrapping_sub(last.timestamp) as i32;
                let (step, rounds) = (i32::from(step), ticks / TICKS as i32);
                // What a thread that was held up has left out has its time, and no number.
                let in_step = ticks % TICKS as i32 == 0 && (step..step + 200).contains(&rounds);
                assert!(in_step, "{last:?} {next:?}");
            }
            last = Some(next);
            heard += u32::from(!next.is_silent);
            if heard == 20 {
                return next;
            }
        }
        panic!("nothing is heard");
    }

    async fn take_over(&mut self) {
        let options = NodeOptions { take_over: true, ..self.options.clone() };
        let next = start(options).await.expect("it takes over");
        assert_eq!(self.node.ended().await, Ended::TakenOver);
        std::mem::replace(&mut self.node, next).retire().await;
    }

    /// The node's start, and what runs there.
    async fn listed(&self) -> (String, Vec<wire::RunningConference>) {
        let full = wire::ListConferencesRequest { full: true, ..Default::default() };
        let list = client(&self.node).await.list_conferences(full).await.expect("listed").into_inner();
        (list.boot_id, list.conferences)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_goes_on_in_another_process() {
    let mut world = World::new(IoChoice::Auto, 24_600).await;
    world.mix(2, AudioMode::Mix).await;
    let mut last = world.is_heard(None);
    let before = world.listed().await;
    for _ in 0..3 {
        world.take_over().await;
        last = world.is_heard(Some(last));
        assert_eq!(world.listed().await, before, "the same conference, ports and SSRCs");
    }
    // What was inherited can be changed and ended.
    world.mix(3, AudioMode::Mix).await;
    world.is_heard(Some(last));
    let delete = wire::DeleteConferenceRequest { id: "c1".into(), epoch: 1, elsewhere: false };
    let mut client = client(&world.node).await;
    assert!(client.delete_conference(delete).await.expect("ended").into_inner().existed);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loudest_are_found_in_another_process() {
    let mut world = World::new(IoChoice::Auto, 24_700).await;
    world.mix(2, AudioMode::Loudest).await;
    let forwarded = |world: &mut World| {
        world.listener.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
        let local = world.allocation.legs.iter().find(|leg| leg.leg == "talker").expect("it is there");
        let local: SocketAddr = local.transports[0].local.parse().expect("an address");
        let sound: Vec<u8> = [0x10, 0x10, 0x90, 0x90].repeat(40);
        let mut bytes = [0; 1500];
        let mut ssrcs = Vec::new();
        for _ in 0..1_500 {
            let packet = RtpBuilder::new(7).payload_type(PCMU).sequence(WireSeq(world.sent));
            let packet = packet.timestamp(WireTimestamp(u32::from(world.sent) * TICKS)).payload(&sound);
            world.talker.send_to(&packet.to_vec(), local).expect("loopback");
            world.sent = world.sent.wrapping_add(1);
            // Its timeout is the pace when nothing is forwarded, and what comes is when something is.
            let Ok(len) = world.listener.recv(&mut bytes) else { continue };
            if let Some(view) = RtpView::new(&bytes[..len]).ok().filter(|_| bytes[1] < 192) {
                ssrcs.push(view.ssrc());
            }
            if ssrcs.len() == 30 {
                return ssrcs[29];
            }
        }
        panic!("nobody is among the loudest");
    };
    let ssrc = forwarded(&mut world);
    world.take_over().await;
    assert_eq!(forwarded(&mut world), ssrc, "under the same SSRC");
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_cannot_take_a_mix_is_refused() {
    let mut world = World::new(IoChoice::Auto, 24_800).await;
    world.mix(2, AudioMode::Mix).await;
    let (_, answer) = world.greet(vec![1, 2]);
    let Giver::Refused { why } = answer else { panic!("{answer:?}") };
    assert!(why.contains("conference 'c1' is mixed, and the new process is of a version"), "{why}");
    let without = NodeOptions { mixing_threads: 0, take_over: true, ..world.options.clone() };
    let Err(error) = start(without).await else { panic!("nothing mixes there") };
    assert!(format!("{error:#}").contains("--mixing-threads: it is mixed on thread 0"), "{error:#}");
    world.is_heard(None);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_canvas_is_not_taken_over() {
    let mut world = World::new(IoChoice::Auto, 24_900).await;
    let video = VideoSettings { mode: VideoMode::Canvas.into(), canvas: None, transcode: None };
    let spec = wire::ConferenceSpec { video: Some(video), ..conference(vec![caller("a")]) };
    let put = wire::PutConferenceRequest { spec: Some(spec), epoch: 1, revision: 2 };
    client(&world.node).await.put_conference(put).await.expect("accepted");
    let (_, answer) = world.greet(VERSIONS.to_vec());
    let Giver::Refused { why } = answer else { panic!("{answer:?}") };
    assert!(why.contains("conference 'c1' has a canvas"), "{why}");
    // It goes on, and without the canvas it can be.
    world.mix(3, AudioMode::Mix).await;
    world.take_over().await;
    world.is_heard(None);
    world.node.shutdown().await;
}
