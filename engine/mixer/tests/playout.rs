//! Playout, heard: tones through codecs, clocks that drift, networks that lose and delay. Virtual time.

mod support;

use motet_mixer::playout::Pulled;
use support::*;

#[test]
fn a_tone_comes_through_every_codec_at_every_rate() {
    for codec in
        [("PCMU", 8000), ("PCMA", 8000), ("G722", 8000), ("opus", 48_000), ("L16", 44_100), ("L16", 24_000)]
    {
        for mix_rate_hz in [8000, 16_000, 32_000, 48_000] {
            let mut path = path(codec, mix_rate_hz, PathConfig::default());
            let rate_hz = path.source_rate_hz();
            let mut sound = Vec::new();
            let mut silent = 0;
            for _ in 0..100 {
                match path.pull(tone(440.0, rate_hz)) {
                    Pulled::Sound => sound.extend_from_slice(&path.tick),
                    Pulled::Concealed => panic!("{codec:?} at {mix_rate_hz}: nothing was lost"),
                    Pulled::Silence => silent += 1,
                }
            }
            let name = format!("{codec:?} at {mix_rate_hz}");
            assert!(silent <= 2, "{name}: {silent} silent ticks");
            let level = tone_level(&sound[sound.len() / 5..], 440.0, mix_rate_hz);
            assert!((20.0 * (level / 0.5).log10()).abs() < 0.5, "{name}: the tone has level {level}");
            let stats = path.playout.stats(path.now());
            assert_eq!((stats.lost, stats.late, stats.concealed_ms), (0, 0, 0), "{name}");
        }
    }
}

#[test]
fn without_jitter_a_packet_that_comes_a_millisecond_before_the_tick_is_played_in_it() {
    for phase_us in [1_100_u64, 2_000, 5_000, 13_000, 19_500] {
        let config = PathConfig { phase_us: 20_000 - phase_us, ..PathConfig::default() };
        let mut path = path(("PCMU", 8000), 8000, config);
        // A pulse at sample 8000, the first of its packet.
        let mut heard_at = None;
        for tick in 0..100 {
            let pulled = path.pull(|n| if n / 160 == 50 { 0.5 } else { 0.0 });
            if pulled == Pulled::Sound && heard_at.is_none() && path.tick.iter().any(|sample| *sample > 0.4) {
                heard_at = Some(tick);
            }
        }
        // Packet 50 is complete at 20 ms + 20 ms * 50 + 20 ms less the phase; the next tick is number 51.
        assert_eq!(heard_at, Some(51), "{phase_us} us before the tick");
        assert!(path.playout.stats(path.now()).delay_ms <= 20);
    }
}

#[test]
fn what_was_only_listened_to_is_heard_from_any_tick_on_as_if_it_had_always_been() {
    for (codec, mix_rate_hz) in [(("PCMU", 8000), 48_000), (("PCMA", 8000), 16_000), (("G722", 8000), 48_000)]
    {
        let name = format!("{codec:?} at {mix_rate_hz}");
        let mut whole = path(codec, mix_rate_hz, PathConfig::default());
        let mut partly = path(codec, mix_rate_hz, PathConfig::default());
        let rate_hz = whole.source_rate_hz();
        for tick in 0..200 {
            let pulled = whole.pull(tone(440.0, rate_hz));
            assert_eq!(partly.listen(tone(440.0, rate_hz)), pulled, "{name}, tick {tick}");
            if pulled == Pulled::Silence {
                continue;
            }
            let energy = |samples: &[f32]| samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32;
            if tick > 10 {
                let (heard, rendered) = (energy(partly.playout.heard()), energy(&whole.tick));
                assert!((heard / rendered - 1.0).abs() < 0.05, "{name}, tick {tick}: {heard} and {rendered}");
            }
            if tick % 7 == 6 {
                partly.playout.render(&mut partly.tick);
                assert_eq!(partly.tick, whole.tick, "{name}, tick {tick}");
            }
        }
    }
}

#[test]
fn where_sound_ends_the_end_comes_out_of_the_filter() {
    let mut path = path(("L16", 8000), 48_000, PathConfig::default());
    let mut meter = ClickMeter::new(440.0, 48_000, 0.5);
    for tick in 0..60 {
        path.quiet = tick % 20 >= 10;
        if path.pull(tone(440.0, 8000)) == Pulled::Silence {
            path.tick.fill(0.0);
        }
        meter.hear(&path.tick);
    }
    assert!(meter.worst < 1.6, "{} at {}", meter.worst, meter.worst_at);
}

/// How far the second difference of what is heard may be above the tone's own: a jump of a tenth of a sample's
/// slope is more.
const CLICK: f64 = 1.1;

fn drift((codec, rate_hz): (&str, u32), ppm: f64, tone_hz: f64, ticks: u32) {
    let name = format!("{codec} {rate_hz}, {ppm} ppm, {tone_hz} Hz");
    let config = PathConfig { ppm, phase_us: 12_345, ..PathConfig::default() };
    let mut path = path((codec, rate_hz), rate_hz, config);
    let mut meter = ClickMeter::new(tone_hz, rate_hz, 0.5);
    let mut delay_ms_max = 0;
    for tick in 0..ticks {
        let pulled = path.pull(tone(tone_hz, rate_hz));
        if tick > 10 {
            assert_eq!(pulled, Pulled::Sound, "{name}, tick {tick}");
            meter.hear(&path.tick);
            if tick == 11 {
                meter.forget();
            }
        }
        delay_ms_max = delay_ms_max.max(path.playout.stats(path.now()).delay_ms);
    }
    let stats = path.playout.stats(path.now());
    println!(
        "{name}: delay at most {delay_ms_max}, worst {:.3} at {}, {stats:?}",
        meter.worst, meter.worst_at
    );
    assert!(delay_ms_max <= 40, "{name}: {delay_ms_max} ms");
    assert!(meter.worst < CLICK, "{name}: {} at {}", meter.worst, meter.worst_at);
    assert!(stats.stretched + stats.shortened >= u64::from(ticks / 7000), "{stats:?}");
    assert_eq!((stats.lost, stats.late, stats.concealed_ms, stats.overflow), (0, 0, 0, 0));
}

#[test]
fn a_clock_that_drifts_for_an_hour_neither_clicks_nor_delays() {
    drift(("L16", 8000), 200.0, 440.0, 180_000);
    drift(("L16", 8000), -200.0, 440.0, 180_000);
}

#[test]
fn no_tone_clicks_at_any_rate() {
    for tone_hz in [100.0, 313.0, 1000.0, 3000.0] {
        drift(("L16", 8000), 200.0, tone_hz, 12_000);
        drift(("L16", 16_000), -200.0, tone_hz, 12_000);
        drift(("L16", 48_000), if tone_hz < 500.0 { 200.0 } else { -200.0 }, tone_hz, 7000);
    }
}

#[test]
fn with_loss_and_jitter_no_gap_is_longer_than_60_ms() {
    let network = Network { transit_us: 1000, jitter_us: 40_000, loss_percent: 5.0 };
    let config = PathConfig { payload_type: 111, network, ..PathConfig::default() };
    let mut path = path(("opus", 48_000), 48_000, config);
    let (mut gap, mut gap_max) = (0, 0);
    for tick in 0..15_000 {
        let pulled = path.pull(tone(300.0, 48_000));
        if tick > 20 {
            gap = if pulled == Pulled::Sound { 0 } else { gap + 20 };
            gap_max = gap_max.max(gap);
        }
    }
    let stats = path.playout.stats(path.now());
    println!("{stats:?} gap {gap_max}");
    assert!(gap_max <= 60, "{gap_max} ms");
    // What is neither sent nor recovered is made up, and nothing else is.
    assert!(stats.concealed_ms + 20 * stats.fec_recovered >= 20 * stats.lost, "{stats:?}");
    assert!(stats.concealed_ms <= 20 * (stats.lost - stats.fec_recovered) + 500, "{stats:?}");
    assert!(stats.fec_recovered > stats.lost / 2, "{stats:?}");
    assert!(stats.delay_ms < 80);
}
