//! Once made, encoders and decoders allocate nothing, shown by an allocator that counts.
//!
//! AAC is not here: libavcodec allocates for each frame, by malloc, which this does not see.

use motet_codecs::audio::comfort_noise::{ComfortNoise, NoiseGenerator};
use motet_codecs::audio::events::{EventReceiver, EventSender, TelephoneEvent};
use motet_codecs::{AudioCodec, EncoderSettings};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn encoding_and_decoding_do_not_allocate() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "the allocator counts");
    let settings = EncoderSettings { fec: true, dtx: true, loss_percent: 10, ..EncoderSettings::default() };
    let described = [
        ("PCMU", 8000, 1, ""),
        ("PCMA", 8000, 1, ""),
        ("G722", 8000, 1, ""),
        ("L16", 44_100, 2, ""),
        ("opus", 48_000, 2, ""),
        ("opus", 48_000, 2, "stereo=1"),
    ];
    for (name, clock_hz, channels, fmtp) in described {
        let codec = AudioCodec::parse(name, clock_hz, channels, fmtp).expect(name);
        let mut encoder = codec.encoder(&settings).expect(name);
        let mut decoder = codec.decoder().expect(name);
        let mut samples: Vec<i16> =
            (0..encoder.format().samples_in_ms(20) as i32).map(|n| (n * 77) as i16).collect();
        let mut payload = [0; 4000];
        let counted = allocations(|| {
            for turn in 0..100 {
                if turn == 50 {
                    samples.fill(0);
                    encoder.resync();
                    encoder.set_complexity(2);
                    encoder.set_loss_percent(20);
                }
                let bytes = encoder.encode(&samples, &mut payload).expect(name);
                if bytes == 0 || turn % 10 == 5 {
                    decoder.conceal(None, &mut samples);
                } else {
                    decoder.conceal(Some(&payload[..bytes]), &mut samples);
                    decoder.decode(&payload[..bytes], &mut samples).expect(name);
                }
                // Bad payloads are as cheap.
                assert!(name != "opus" || decoder.decode(&[0; 1500], &mut samples).is_err());
            }
            decoder.reset();
        });
        assert_eq!(counted, 0, "{name}");
    }
}

#[test]
fn events_and_noise_do_not_allocate() {
    let mut samples = [0; 160];
    let counted = allocations(|| {
        let mut receiver = EventReceiver::new();
        for (packet, _) in EventSender::new(5, 10, 800, 160) {
            let packet = TelephoneEvent::parse(&packet.to_bytes()).expect("an event");
            receiver.handle_event(1000, &packet).for_each(drop);
        }
        let mut generator = NoiseGenerator::new(1);
        generator.set_noise(&ComfortNoise::parse(&[40, 100, 120]).expect("noise"));
        generator.fill(&mut samples);
        ComfortNoise::measure(&samples, 10).write(&mut [0; 11]).expect("it fits");
    });
    assert_eq!(counted, 0);
}
