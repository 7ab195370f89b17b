//! Any operations on a playout: it never panics, sound stays within bounds, and its accounts agree.

mod support;

use motet_codecs::audio::AudioCodec;
use motet_mixer::playout::{Carries, Inserted, PayloadSetting, Playout, PlayoutConfig, Pulled, SourcePacket};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Operation {
    /// A packet `ahead` of the sender's last, of so many bytes.
    Packet {
        ahead: i16,
        ticks: i32,
        payload_type: u8,
        payload: Vec<u8>,
        ssrc: u32,
    },
    /// Packets as they should be, and as many ticks.
    Stream {
        packets: u8,
    },
    Pull,
    Skip,
    Wait {
        us: u32,
    },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let bytes = prop_oneof![Just(0), Just(1), Just(160), Just(320), 0..1500_usize, Just(2100)];
    let payload = bytes.prop_flat_map(|bytes| prop::collection::vec(any::<u8>(), bytes));
    let types = prop_oneof![Just(0_u8), Just(9), Just(111), Just(101), Just(13), Just(77)];
    let packet =
        (prop_oneof![Just(1_i16), -5..5_i16, any::<i16>()], -3000..3000_i32, types, payload, 0..2_u32);
    let packet = packet.prop_map(|(ahead, ticks, payload_type, payload, ssrc)| Operation::Packet {
        ahead,
        ticks,
        payload_type,
        payload,
        ssrc,
    });
    let operation = prop_oneof![
        4 => packet,
        3 => (1..20_u8).prop_map(|packets| Operation::Stream { packets }),
        4 => Just(Operation::Pull),
        2 => Just(Operation::Skip),
        1 => (0..3_000_000_u32).prop_map(|us| Operation::Wait { us }),
    ];
    prop::collection::vec(operation, 1..120)
}

fn playout(mix_rate_hz: u32) -> Playout {
    let sound = |payload_type, name: &str, clock_hz, channels| {
        let codec = AudioCodec::parse(name, clock_hz, channels, "").expect("a codec");
        PayloadSetting::sound(payload_type, &codec, mix_rate_hz).expect("a decoder")
    };
    let other = |payload_type, carries| PayloadSetting { payload_type, clock_hz: 8000, carries };
    let payloads = vec![
        sound(0, "PCMU", 8000, 1),
        sound(9, "G722", 8000, 1),
        sound(111, "opus", 48_000, 2),
        other(101, Carries::Events),
        other(13, Carries::ComfortNoise),
    ];
    Playout::new(PlayoutConfig { mix_rate_hz, ..PlayoutConfig::default() }, payloads)
        .expect("a configuration")
}

struct Run {
    playout: Playout,
    now: Time,
    sequence: u16,
    timestamp: u32,
    out: Vec<f32>,
    inserted: u64,
}

impl Run {
    fn packet(&mut self, payload_type: u8, payload: &[u8], ssrc: u32) {
        let packet = SourcePacket {
            ssrc,
            sequence: WireSeq(self.sequence),
            timestamp: WireTimestamp(self.timestamp),
            marker: false,
            payload_type,
            level: None,
            payload,
        };
        let inserted = self.playout.insert(self.now, &packet);
        let counted =
            !matches!(inserted, Inserted::Event | Inserted::UnknownPayloadType | Inserted::BadPayload);
        self.inserted += u64::from(counted);
    }

    fn tick(&mut self, skip: bool) {
        self.now += Duration::from_millis(20);
        if skip {
            self.playout.skip(self.now);
            return;
        }
        self.out.fill(9.0);
        let pulled = self.playout.pull(self.now, &mut self.out);
        let untouched = self.out.iter().all(|sample| *sample == 9.0);
        assert_eq!(untouched, pulled == Pulled::Silence);
        // Filters overshoot; blends do not add up to more than what is blended.
        assert!(untouched || self.out.iter().all(|sample| sample.abs() < 2.0), "{:?}", self.out);
    }

    fn operate(&mut self, operation: &Operation) {
        match operation {
            Operation::Packet { ahead, ticks, payload_type, payload, ssrc } => {
                self.sequence = self.sequence.wrapping_add_signed(*ahead);
                self.timestamp = self.timestamp.wrapping_add_signed(*ticks);
                self.packet(*payload_type, payload, *ssrc);
            }
            Operation::Stream { packets } => {
                for _ in 0..*packets {
                    self.sequence = self.sequence.wrapping_add(1);
                    self.timestamp = self.timestamp.wrapping_add(160);
                    self.packet(0, &[0x9f; 160], 1);
                    self.tick(false);
                }
            }
            Operation::Pull => self.tick(false),
            Operation::Skip => self.tick(true),
            Operation::Wait { us } => self.now += Duration::from_micros(u64::from(*us)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_breaks_it(operations in operations(), rate in 0..4_usize) {
        let playout = playout([8000, 16_000, 32_000, 48_000][rate]);
        let out = vec![0.0; playout.tick_samples()];
        let now = Time::from_millis(500);
        let mut run = Run { playout, now, sequence: 65_000, timestamp: u32::MAX - 999, out, inserted: 0 };
        for operation in &operations {
            run.operate(operation);
            let stats = run.playout.stats(run.now);
            prop_assert!(stats.received >= run.inserted);
            prop_assert!(stats.target_delay_ms <= 400);
            prop_assert!(run.playout.waiting_packets() <= 256);
        }
        // After all that, a stream that is right is heard.
        for _ in 0..300 {
            run.operate(&Operation::Stream { packets: 1 });
        }
        run.tick(false);
        run.operate(&Operation::Stream { packets: 1 });
        let heard = run.out.iter().map(|sample| sample.abs()).sum::<f32>() / run.out.len() as f32;
        prop_assert!((0.1..0.3).contains(&heard), "{heard}");
    }
}
