//! What a participant reports of the mix that it gets: RTCP (RFC 3550 section 6.4), by which the node knows what is lost.
//!
//! Who has sent sound says so in a sender report, all others make receiver reports, both with a block about the mix:
//! the fraction lost and the jitter of what got through the network, that which the generator spoils on purpose included.
//! Reports come more often than each 5 seconds, as the feedback profile has it (RFC 4585 section 3.4): a run is short.

use crate::audio::LoadCodec;
use crate::audio::impair::{Impairment, Network};
use motet_rtp::reception::Reception;
use motet_rtp::rtcp::{
    Compound, Packet, SenderInfo, write_receiver_report, write_sdes_cname, write_sender_report,
};
use motet_rtp::{Ntp, RtpView, Time, WireSeq, WireTimestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Directions of RTCP have networks of their own, so that reports do not change what becomes of sound.
const RTCP_NETWORKS: u64 = 1 << 32;

/// One participant's reports.
#[derive(Debug)]
pub struct Reporter {
    ssrc: u32,
    name: String,
    clock_hz: u32,
    mix: Option<Mix>,
    last_sender_report: Option<(Ntp, Time)>,
    /// Of reports: they get lost like everything else.
    network: Network,
    reported: Reported,
}

/// What the reports said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Reports with a block about the mix, those that got lost included.
    pub reports: u64,
    /// Packets of the mix that should have come by the last report.
    pub expected: u64,
    /// Packets of those that were said to be lost.
    pub lost: i64,
}

#[derive(Debug)]
struct Mix {
    ssrc: u32,
    reception: Reception,
    /// On their way through the network.
    late: BinaryHeap<Reverse<(Time, u16, u32)>>,
}

impl Reporter {
    /// Reports of a participant that sends as `ssrc` and receives mixes in `codec`; `number` tells its network from
    /// those of others.
    pub fn new(ssrc: u32, codec: LoadCodec, impairment: Impairment, number: u64) -> Reporter {
        Reporter {
            ssrc,
            name: format!("{ssrc:08x}@load.invalid"),
            clock_hz: codec.clock_hz(),
            mix: None,
            last_sender_report: None,
            network: Network::new(impairment, RTCP_NETWORKS + number),
            reported: Reported::default(),
        }
    }

    /// Notes a packet of the mix that the network brings at `at`.
    pub fn note(&mut self, at: Time, view: &RtpView<'_>) {
        let ssrc = view.ssrc();
        if self.mix.as_ref().is_none_or(|mix| mix.ssrc != ssrc) {
            let reception = Reception::new(self.clock_hz);
            self.mix = Some(Mix { ssrc, reception, late: BinaryHeap::new() });
        }
        let Some(mix) = &mut self.mix else { return };
        mix.late.push(Reverse((at, view.sequence().0, view.timestamp().0)));
    }

    /// Takes RTCP from the node: its sender report is what reports refer to (LSR, DLSR).
    pub fn handle_rtcp(&mut self, now: Time, packet: &[u8]) {
        let Ok(compound) = Compound::new(packet) else { return };
        for packet in compound {
            if let Packet::SenderReport(report) = packet {
                self.last_sender_report = Some((report.info.ntp, now));
            }
        }
    }

    /// Writes a compound of a report and the sender's name; `sender`: what it has sent, if it sends. False: it is lost
    /// on its way.
    pub fn write(&mut self, now: Time, sender: Option<SenderInfo>, out: &mut Vec<u8>) -> bool {
        out.clear();
        let mut blocks = Vec::new();
        if let Some(mix) = &mut self.mix {
            while mix.late.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
                let Some(Reverse((at, sequence, timestamp))) = mix.late.pop() else { break };
                let _ = mix.reception.on_packet(at, WireSeq(sequence), WireTimestamp(timestamp));
            }
            if mix.reception.is_valid() {
                blocks.push(mix.reception.report_block(mix.ssrc, self.last_sender_report, now));
                self.reported.reports += 1;
                (self.reported.expected, self.reported.lost) =
                    (mix.reception.expected(), mix.reception.lost());
            }
        }
        match sender {
            Some(info) => write_sender_report(out, self.ssrc, &info, &blocks),
            None => write_receiver_report(out, self.ssrc, &blocks),
        }
        write_sdes_cname(out, &[(self.ssrc, &self.name)]);
        self.network.carry(now).is_some()
    }

    /// What was said so far.
    pub fn reported(&self) -> Reported {
        self.reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_rtp::RtpBuilder;
    use motet_rtp::rtcp::ReportBlock;
    use std::time::Duration;

    fn note(reporter: &mut Reporter, at_ms: u64, sequence: u16) {
        let packet = RtpBuilder::new(9)
            .payload_type(111)
            .sequence(WireSeq(sequence))
            .timestamp(WireTimestamp(u32::from(sequence) * 960))
            .payload(&[1])
            .to_vec();
        reporter.note(Time::from_millis(at_ms), &RtpView::new(&packet).expect("it is RTP"));
    }

    fn report(reporter: &mut Reporter, at_ms: u64, sender: Option<SenderInfo>) -> Option<ReportBlock> {
        let mut out = Vec::new();
        assert!(reporter.write(Time::from_millis(at_ms), sender, &mut out));
        let packets: Vec<Packet<'_>> = Compound::new(&out).expect("a compound").packets().collect();
        assert!(matches!(packets[1], Packet::Sdes(_)), "{packets:?}");
        match (packets[0], sender) {
            (Packet::ReceiverReport(report), None) => report.blocks().next(),
            (Packet::SenderReport(report), Some(sender)) => {
                assert_eq!(report.info, sender);
                report.blocks().next()
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_did_not_come_is_reported_and_what_is_still_on_its_way_is_not_there() {
        let mut reporter = Reporter::new(7, LoadCodec::Opus, Impairment::default(), 0);
        assert_eq!(report(&mut reporter, 0, None), None, "nothing came yet");
        for sequence in (0..100).filter(|sequence| sequence % 10 != 5) {
            note(&mut reporter, 20 * u64::from(sequence), sequence);
        }
        let block = report(&mut reporter, 1_990, None).expect("a mix is known");
        assert_eq!((block.ssrc, block.cumulative_lost, block.highest_sequence), (9, 10, 99));
        assert_eq!(block.fraction_lost, 25, "a tenth, in 256ths");
        note(&mut reporter, 5_000, 105);
        let block = report(&mut reporter, 2_000, Some(SenderInfo { packets: 3, ..SenderInfo::default() }));
        assert_eq!(block.map(|block| (block.fraction_lost, block.highest_sequence)), Some((0, 99)));
        let block = report(&mut reporter, 5_000, None).expect("it came");
        assert_eq!((block.fraction_lost, block.highest_sequence), ((5 * 256 / 6) as u8, 105));
        assert_eq!(reporter.reported(), Reported { reports: 3, expected: 105, lost: 15 });
    }

    #[test]
    fn reports_refer_to_the_last_one_of_the_node() {
        let mut reporter = Reporter::new(7, LoadCodec::Pcmu, Impairment::default(), 0);
        let mut sender_report = Vec::new();
        let info = SenderInfo { ntp: Ntp(0x1122_3344_5566_7788), ..SenderInfo::default() };
        write_sender_report(&mut sender_report, 9, &info, &[]);
        reporter.handle_rtcp(Time::from_millis(100), &sender_report);
        (0..2).for_each(|sequence| note(&mut reporter, 0, sequence));
        let block = report(&mut reporter, 600, None).expect("a mix is known");
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x3344_5566, 65_536 / 2));
    }

    #[test]
    fn reports_get_lost_like_everything_else() {
        let impairment = Impairment { loss: 0.5, jitter: Duration::ZERO, seed: 1 };
        let mut reporter = Reporter::new(7, LoadCodec::Opus, impairment, 0);
        let mut out = Vec::new();
        let came = (0..1_000).filter(|_| reporter.write(Time::ZERO, None, &mut out)).count();
        assert!((400..600).contains(&came), "{came}");
    }
}
