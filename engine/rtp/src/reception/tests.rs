use super::*;
use proptest::prelude::*;

/// The code of RFC 3550 appendices A.1, A.3 and A.8, with its names, types and wrap-around.
#[derive(Default)]
struct Rfc {
    max_seq: u16,
    cycles: u32,
    base_seq: u32,
    bad_seq: u32,
    probation: u32,
    received: u32,
    expected_prior: u32,
    received_prior: u32,
    transit: Option<i32>,
    jitter: u32,
}

const RTP_SEQ_MOD: u32 = 1 << 16;

impl Rfc {
    fn first(seq: u16) -> Rfc {
        let mut source = Rfc::default();
        source.init_seq(seq);
        source.max_seq = seq.wrapping_sub(1);
        source.probation = u32::from(MIN_SEQUENTIAL);
        source
    }

    fn init_seq(&mut self, seq: u16) {
        *self = Rfc {
            base_seq: u32::from(seq),
            max_seq: seq,
            bad_seq: RTP_SEQ_MOD + 1,
            transit: self.transit,
            jitter: self.jitter,
            ..Rfc::default()
        };
    }

    fn update_seq(&mut self, seq: u16) -> bool {
        let udelta = seq.wrapping_sub(self.max_seq);
        if self.probation > 0 {
            if seq == self.max_seq.wrapping_add(1) {
                self.probation -= 1;
                self.max_seq = seq;
                if self.probation == 0 {
                    self.init_seq(seq);
                    self.received += 1;
                    return true;
                }
            } else {
                self.probation = u32::from(MIN_SEQUENTIAL) - 1;
                self.max_seq = seq;
            }
            return false;
        } else if udelta < MAX_DROPOUT {
            if seq < self.max_seq {
                self.cycles += RTP_SEQ_MOD;
            }
            self.max_seq = seq;
        } else if u32::from(udelta) <= RTP_SEQ_MOD - u32::from(MAX_MISORDER) {
            if u32::from(seq) == self.bad_seq {
                self.init_seq(seq);
                self.transit = None;
            } else {
                self.bad_seq = (u32::from(seq) + 1) & (RTP_SEQ_MOD - 1);
                return false;
            }
        }
        self.received += 1;
        true
    }

    fn measure(&mut self, arrival: u32, timestamp: u32) {
        let transit = arrival.wrapping_sub(timestamp) as i32;
        if let Some(before) = self.transit {
            let d = transit.wrapping_sub(before).unsigned_abs();
            self.jitter = (self.jitter + d).wrapping_sub((self.jitter + 8) >> 4);
        }
        self.transit = Some(transit);
    }

    fn report(&mut self) -> (u8, i32, u32, u32) {
        let extended_max = self.cycles + u32::from(self.max_seq);
        let expected = extended_max - self.base_seq + 1;
        let lost = expected.wrapping_sub(self.received) as i32;
        let expected_interval = expected.wrapping_sub(self.expected_prior);
        let received_interval = self.received.wrapping_sub(self.received_prior);
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_interval = expected_interval.wrapping_sub(received_interval) as i32;
        let fraction = match expected_interval {
            0 => 0,
            _ if lost_interval <= 0 => 0,
            _ => ((lost_interval << 8) as u32 / expected_interval) as u8,
        };
        (fraction, lost, extended_max, self.jitter >> 4)
    }
}

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// Feeds numbers 20 ms apart with matching timestamps, and returns the verdicts.
fn feed(reception: &mut Reception, sequences: &[u16]) -> Vec<Verdict> {
    let verdict = |s: &u16| {
        reception.on_packet(ms(u64::from(*s) * 20), WireSeq(*s), WireTimestamp(u32::from(*s) * 160))
    };
    sequences.iter().map(verdict).collect()
}

const NEXT: Verdict = Verdict::InOrder { skipped: 0 };

#[test]
fn a_source_is_believed_after_packets_in_order() {
    let mut reception = Reception::new(8000);
    assert_eq!(feed(&mut reception, &[10, 12, 11]), [Verdict::Probation; 3]);
    assert!(!reception.is_valid());
    assert_eq!((reception.received(), reception.expected(), reception.lost()), (0, 0, 0));
    assert_eq!(feed(&mut reception, &[12, 13]), [NEXT; 2]);
    assert_eq!((reception.received(), reception.expected()), (2, 2));

    for eager in [0, 1] {
        let mut reception = Reception::with_probation(8000, eager);
        assert_eq!(feed(&mut reception, &[500]), [NEXT]);
    }
    let mut wary = Reception::with_probation(8000, 3);
    let verdicts = feed(&mut wary, &[65_534, 65_535, 0]);
    assert_eq!(verdicts, [Verdict::Probation, Verdict::Probation, NEXT]);
    assert_eq!(wary.highest(), SeqNo(0));
}

#[test]
fn loss_is_skipped_and_made_good_by_late_packets() {
    let mut reception = Reception::with_probation(8000, 1);
    let verdicts = feed(&mut reception, &[1, 2, 5, 4, 4, 3]);
    let expected =
        [NEXT, NEXT, Verdict::InOrder { skipped: 2 }, Verdict::Late, Verdict::Duplicate, Verdict::Late];
    assert_eq!(verdicts, expected);
    assert_eq!(reception.lost(), -1, "one came twice");
    assert_eq!(feed(&mut reception, &[5]), [Verdict::Duplicate]);
    let block = reception.report_block(7, None, ms(0));
    assert_eq!((block.cumulative_lost, block.fraction_lost), (-2, 0));
}

#[test]
fn bounds_of_dropout_and_misorder() {
    let mut start = Reception::with_probation(8000, 1);
    assert_eq!(feed(&mut start, &[10_000]), [NEXT]);
    let judge = |sequence| feed(&mut start.clone(), &[sequence])[0];
    assert_eq!(judge(10_000 + MAX_DROPOUT - 1), Verdict::InOrder { skipped: MAX_DROPOUT - 2 });
    assert_eq!(judge(10_000 + MAX_DROPOUT), Verdict::Jump);
    assert_eq!(judge(10_000 - MAX_MISORDER + 1), Verdict::Late);
    assert_eq!(judge(10_000 - MAX_MISORDER), Verdict::Jump);
}

#[test]
fn a_jump_counts_once_its_follower_comes() {
    let mut reception = Reception::with_probation(8000, 1);
    let _ = feed(&mut reception, &[100, 101, 103]);
    assert_eq!(feed(&mut reception, &[40_000, 104]), [Verdict::Jump, NEXT]);
    assert_eq!(feed(&mut reception, &[50_000, 50_001]), [Verdict::Jump, Verdict::Restarted]);
    assert_eq!((reception.highest(), reception.received(), reception.lost()), (SeqNo(50_001), 1, 0));
    assert!(Verdict::Restarted.is_counted() && !Verdict::Jump.is_counted());
}

#[test]
fn duplicates_are_known_within_64_packets() {
    let mut reception = Reception::with_probation(8000, 1);
    let _ = feed(&mut reception, &(0..=100).collect::<Vec<u16>>());
    assert_eq!(feed(&mut reception, &[37, 36]), [Verdict::Duplicate, Verdict::Late]);
}

#[test]
fn fraction_is_of_the_interval_and_lsr_of_the_last_sender_report() {
    let mut reception = Reception::with_probation(8000, 1);
    let _ = feed(&mut reception, &[1, 2, 3, 4]);
    assert_eq!(reception.report_block(9, None, ms(0)).fraction_lost, 0);
    let _ = feed(&mut reception, &[6, 8]);
    let ntp = Ntp(0x1122_3344_5566_7788);
    let block = reception.report_block(9, Some((ntp, ms(1000))), ms(1500));
    let expected = ReportBlock {
        ssrc: 9,
        fraction_lost: 128,
        cumulative_lost: 2,
        highest_sequence: 8,
        jitter: 0,
        last_sr: 0x3344_5566,
        delay_since_last_sr: 32_768,
    };
    assert_eq!(block, expected);
    let idle = reception.report_block(9, Some((ntp, ms(1000))), ms(u64::from(u32::MAX)));
    assert_eq!((idle.fraction_lost, idle.cumulative_lost), (0, 2), "nothing was expected since");
    assert_eq!(idle.delay_since_last_sr, u32::MAX, "the field is full after 18 hours");
}

#[test]
fn cumulative_loss_stops_at_24_bits() {
    let mut reception = Reception::with_probation(90_000, 1);
    let mut sequence = WireSeq(0);
    for _ in 0..3000 {
        let _ = reception.on_packet(ms(0), sequence, WireTimestamp(0));
        sequence = sequence.plus(MAX_DROPOUT - 1);
    }
    assert!(reception.lost() > LOST_MAX);
    let block = reception.report_block(1, None, ms(0));
    assert_eq!((block.cumulative_lost, block.fraction_lost), (0x7f_ffff, 255));
    assert_eq!(block.highest_sequence, 2999 * u32::from(MAX_DROPOUT - 1));
}

#[test]
fn jitter_grows_by_a_sixteenth_and_starts_afresh_with_the_clock() {
    let mut reception = Reception::with_probation(8000, 1);
    let _ = reception.on_packet(ms(0), WireSeq(1), WireTimestamp(0));
    let _ = reception.on_packet(ms(20 + 16), WireSeq(2), WireTimestamp(160));
    assert_eq!(reception.jitter(), 128 / 16);
    reception.set_clock_hz(8000);
    assert_eq!(reception.jitter(), 8, "the same clock changes nothing");
    reception.set_clock_hz(48_000);
    assert_eq!((reception.jitter(), reception.clock_hz()), (0, 48_000));
    let _ = reception.on_packet(ms(40), WireSeq(3), WireTimestamp(123_456));
    assert_eq!(reception.jitter(), 0);
}

/// One packet: step of the sequence number, milliseconds since the last, ticks of the timestamp.
fn packets() -> impl Strategy<Value = Vec<(i32, u64, u32)>> {
    let step = prop_oneof![
        20 => Just(1),
        4 => 2..6_i32,
        4 => -8..=0_i32,
        1 => -110..-90_i32,
        1 => 2990..3010_i32,
        1 => -40_000..40_000_i32,
    ];
    prop::collection::vec((step, 0..40_u64, 0..4000_u32), 1..400)
}

proptest! {
    #[test]
    fn agrees_with_the_rfc(first: u16, packets in packets(), report_every in 1..50_usize) {
        const CLOCK_HZ: u64 = 48_000;
        let mut reception = Reception::new(CLOCK_HZ as u32);
        let mut rfc = Rfc::first(first);
        let (mut sequence, mut timestamp, mut millis) = (first, 0_u32, 1_u64);
        for (index, (step, later_ms, ticks)) in packets.into_iter().enumerate() {
            let arrival = (millis * CLOCK_HZ / 1000) as u32;
            let now = ms(millis);
            let verdict = reception.on_packet(now, WireSeq(sequence), WireTimestamp(timestamp));
            let counted = rfc.update_seq(sequence);
            prop_assert_eq!(verdict.is_counted(), counted, "packet {} was {:?}", index, verdict);
            if counted {
                rfc.measure(arrival, timestamp);
            }
            prop_assert_eq!(reception.is_valid(), rfc.probation == 0);
            if reception.is_valid() && index % report_every == 0 {
                let block = reception.report_block(1, None, now);
                let ours =
                    (block.fraction_lost, block.cumulative_lost, block.highest_sequence, block.jitter);
                prop_assert_eq!(ours, rfc.report(), "packet {} was {:?}", index, verdict);
            }
            // Steps count from the highest, or from a jump that the RFC waits to see confirmed.
            let from = if verdict == Verdict::Jump && step > 0 { sequence } else { rfc.max_seq };
            sequence = from.wrapping_add(step as u16);
            timestamp = timestamp.wrapping_add(ticks);
            millis += later_ms;
        }
    }
}
