//! Where one packet does not follow another: silence, loss, restarts, senders that lie. Virtual time.

mod support;

use motet_mixer::playout::{Carries, Inserted, PayloadSetting, Pulled};
use support::*;

const TONE_HZ: f64 = 400.0;
/// Edges fade within 5 ms, which bends a tone of 400 Hz by less than this.
const EDGE: f64 = 1.6;

fn l16() -> (&'static str, u32) {
    ("L16", 8000)
}

fn meter() -> ClickMeter {
    ClickMeter::new(TONE_HZ, 8000, 0.5)
}

/// The samples of a tick, silence included.
fn heard(path: &mut Path, meter: &mut ClickMeter) -> Pulled {
    let pulled = path.pull(tone(TONE_HZ, 8000));
    if pulled == Pulled::Silence {
        path.tick.fill(0.0);
    }
    meter.hear(&path.tick);
    pulled
}

#[test]
fn packets_of_any_duration_are_played_without_a_seam() {
    for (codec, rate_hz, durations) in [
        (("L16", 8000), 8000, vec![10_000, 20_000, 30_000, 40_000, 60_000]),
        (("opus", 48_000), 48_000, vec![2500, 5000, 10_000, 20_000, 40_000, 60_000]),
    ] {
        for packet_us in durations {
            let mut path = path(codec, rate_hz, PathConfig { packet_us, ..PathConfig::default() });
            let mut sound = Vec::new();
            for tick in 0..500 {
                let pulled = path.pull(tone(TONE_HZ, rate_hz));
                if tick > 20 {
                    assert_eq!(pulled, Pulled::Sound, "{codec:?} {packet_us} us, tick {tick}");
                    sound.extend_from_slice(&path.tick);
                }
            }
            let level = tone_level(&sound, TONE_HZ, rate_hz);
            assert!((level / 0.5 - 1.0).abs() < 0.05, "{codec:?} {packet_us} us: level {level}");
            let stats = path.playout.stats(path.now());
            assert_eq!((stats.lost, stats.concealed_ms), (0, 0), "{codec:?} {packet_us} us: {stats:?}");
            assert!(stats.delay_ms < 40, "{codec:?} {packet_us} us: {stats:?}");
            assert!(stats.stretched + stats.shortened <= 2, "{codec:?} {packet_us} us: {stats:?}");
        }
    }
}

#[test]
fn silence_is_not_loss_and_its_edges_do_not_click() {
    let mut path = path(l16(), 8000, PathConfig::default());
    let mut meter = meter();
    let mut silent = 0;
    for tick in 0..1000 {
        path.quiet = tick % 100 >= 50;
        silent += u32::from(heard(&mut path, &mut meter) == Pulled::Silence);
    }
    let stats = path.playout.stats(path.now());
    assert_eq!((stats.lost, stats.late, stats.resets), (0, 0, 0), "{stats:?}");
    assert!(stats.concealed_ms <= 60, "only the last silence may still pass for loss: {stats:?}");
    // Each end of sound is made longer by 60 ms, since it might have been loss.
    assert!((460..500).contains(&silent), "{silent}");
    assert!(meter.worst < EDGE, "{} at {}", meter.worst, meter.worst_at);
    assert!(stats.delay_ms <= 25, "{stats:?}");
}

#[test]
fn a_lost_packet_is_made_up_without_a_click() {
    let mut path = path(l16(), 8000, PathConfig::default());
    let mut meter = meter();
    let (mut concealed, mut quietest) = (0, f64::MAX);
    for tick in 0..490 {
        path.lose_next = tick % 25 == 24;
        match heard(&mut path, &mut meter) {
            Pulled::Concealed => concealed += 1,
            Pulled::Sound => {}
            Pulled::Silence => assert!(tick < 3, "tick {tick}"),
        }
        if tick > 10 {
            quietest = f64::min(quietest, tone_level(&path.tick, TONE_HZ, 8000));
        } else {
            meter.forget();
        }
    }
    let stats = path.playout.stats(path.now());
    assert!((18..=20).contains(&concealed), "{concealed}");
    assert!((18..=20).contains(&stats.lost), "{stats:?}");
    assert_eq!(stats.concealed_ms, 20 * stats.lost, "{stats:?}");
    assert!(quietest > 0.35, "{quietest}");
    assert!(meter.worst < 1.2, "{} at {}", meter.worst, meter.worst_at);
}

#[test]
fn what_is_made_up_has_faded_after_60_ms_and_sound_returns() {
    for codec in [l16(), ("opus", 48_000)] {
        let rate_hz = codec.1;
        let mut path = path(codec, rate_hz, PathConfig::default());
        (0..50).for_each(|_| {
            path.pull(tone(TONE_HZ, rate_hz));
        });
        path.set_network(Network { loss_percent: 100.0, ..LOOPBACK });
        let kinds: Vec<_> = (0..10).map(|_| path.pull(tone(TONE_HZ, rate_hz))).collect();
        let made_up = kinds.iter().filter(|kind| **kind == Pulled::Concealed).count();
        assert_eq!(made_up, 3, "{codec:?}: {kinds:?}");
        assert_eq!(kinds[9], Pulled::Silence);
        path.set_network(LOOPBACK);
        let back: Vec<_> = (0..4).map(|_| path.pull(tone(TONE_HZ, rate_hz))).collect();
        assert_eq!(&back[1..], [Pulled::Sound; 3], "{codec:?}");
        let stats = path.playout.stats(path.now());
        assert_eq!(stats.lost, 10, "{codec:?}");
        assert!(stats.delay_ms <= 20, "{codec:?}: {stats:?}");
    }
}

#[test]
fn a_sender_that_begins_anew_is_heard_within_three_ticks() {
    for case in ["ssrc", "numbers", "timestamps", "all"] {
        let mut path = path(l16(), 8000, PathConfig::default());
        let mut meter = meter();
        (0..50).for_each(|_| {
            heard(&mut path, &mut meter);
        });
        if case != "numbers" && case != "timestamps" {
            path.ssrc = 99;
        }
        if case != "timestamps" && case != "ssrc" {
            path.sequence_offset = path.sequence_offset.wrapping_add(20_000);
        }
        if case != "numbers" && case != "ssrc" {
            path.timestamp_offset = path.timestamp_offset.wrapping_sub(1_000_000);
        }
        let kinds: Vec<_> = (0..10).map(|_| heard(&mut path, &mut meter)).collect();
        assert_eq!(&kinds[3..], [Pulled::Sound; 7], "{case}: {kinds:?}");
        let stats = path.playout.stats(path.now());
        assert_eq!(stats.resets, 1, "{case}: {stats:?}");
        assert!(meter.worst < EDGE, "{case}: {} at {}", meter.worst, meter.worst_at);
        assert!(stats.delay_ms <= 20, "{case}: {stats:?}");
    }
}

#[test]
fn a_sender_at_three_times_its_rate_is_cut_by_rule() {
    let mut path = path(l16(), 8000, PathConfig { speed: 3.0, ..PathConfig::default() });
    for tick in 0..2000 {
        let pulled = path.pull(tone(TONE_HZ, 8000));
        assert!(tick < 2 || pulled == Pulled::Sound, "tick {tick}: {pulled:?}");
        assert!(path.playout.stats(path.now()).delay_ms <= 440);
        assert!(path.playout.waiting_packets() <= 24, "{}", path.playout.waiting_packets());
    }
    let stats = path.playout.stats(path.now());
    assert!((3900..=4000).contains(&stats.overflow), "{stats:?}");
    assert_eq!((stats.lost, stats.late, stats.resets), (0, 0, 0), "{stats:?}");
}

#[test]
fn events_are_handed_back_and_are_not_lost_sound() {
    let events = PayloadSetting { payload_type: 101, clock_hz: 8000, carries: Carries::Events };
    let mut path = path_with(l16(), 8000, PathConfig::default(), vec![events]);
    let mut meter = meter();
    for tick in 0..200 {
        heard(&mut path, &mut meter);
        if tick == 10 {
            meter.forget();
        }
        // Beside the sound, with numbers of the same stream.
        if tick % 10 == 5 {
            assert_eq!(path.insert_other(101, &[5, 0x0a, 0, 160]), Inserted::Event);
        }
    }
    let stats = path.playout.stats(path.now());
    assert_eq!((stats.lost, stats.concealed_ms), (0, 0), "{stats:?}");
    assert!(meter.worst < 1.1, "{} at {}", meter.worst, meter.worst_at);
}

#[test]
fn comfort_noise_has_the_level_that_was_said_until_sound_comes() {
    for mix_rate_hz in [8000, 48_000] {
        let noise = PayloadSetting { payload_type: 13, clock_hz: 8000, carries: Carries::ComfortNoise };
        let mut path = path_with(l16(), mix_rate_hz, PathConfig::default(), vec![noise]);
        (0..50).for_each(|_| {
            path.pull(tone(TONE_HZ, 8000));
        });
        path.quiet = true;
        path.pull(tone(TONE_HZ, 8000));
        assert_eq!(path.insert_other(13, &[40]), Inserted::Queued);
        let mut sound = Vec::new();
        for tick in 0..50 {
            let pulled = path.pull(tone(TONE_HZ, 8000));
            if tick >= 5 {
                assert_eq!(pulled, Pulled::Concealed, "tick {tick}");
                sound.extend_from_slice(&path.tick);
            }
        }
        let square = sound.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / sound.len() as f64;
        let level_db = 10.0 * square.log10();
        assert!((-42.5..=-38.5).contains(&level_db), "{mix_rate_hz}: {level_db} dB");
        path.quiet = false;
        let back: Vec<_> = (0..5).map(|_| path.pull(tone(TONE_HZ, 8000))).collect();
        assert_eq!(&back[2..], [Pulled::Sound; 3]);
        assert_eq!(path.playout.stats(path.now()).lost, 0);
    }
}

#[test]
fn payloads_that_are_none_are_counted_and_harm_nothing() {
    let mut path = path(("opus", 48_000), 48_000, PathConfig { payload_type: 111, ..PathConfig::default() });
    let mut dice = Dice(3);
    let mut refused = 0;
    for tick in 0..500 {
        let pulled = path.pull(tone(TONE_HZ, 48_000));
        assert!(tick < 3 || pulled == Pulled::Sound, "tick {tick}: {pulled:?}");
        let payload: Vec<u8> = (0..[0, 1500, 3, 60][tick % 4]).map(|_| dice.roll() as u8).collect();
        // A stranger's packets, beside the sender's.
        match path.insert_stray(111, &payload) {
            Inserted::BadPayload => refused += 1,
            Inserted::Jump => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(path.insert_stray(77, &payload), Inserted::UnknownPayloadType);
    }
    let stats = path.playout.stats(path.now());
    assert_eq!((stats.bad_payload, stats.unknown_payload_type), (refused, 500));
    assert!(refused >= 125 && stats.jumps + refused == 500, "{stats:?}");
    assert_eq!((stats.lost, stats.resets), (0, 0), "{stats:?}");
}

#[test]
fn skipping_costs_no_decoding_and_sound_returns_without_a_click() {
    for (codec, packet_us) in
        [(l16(), 20_000), (l16(), 60_000), (("opus", 48_000), 20_000), (("G722", 8000), 20_000)]
    {
        let mix_rate_hz = if codec.0 == "opus" { 48_000 } else { 8000 };
        let mut path = path(codec, mix_rate_hz, PathConfig { packet_us, ..PathConfig::default() });
        let rate_hz = path.source_rate_hz();
        let name = format!("{codec:?}, {packet_us} us");
        let usual = usual_roughness(codec, mix_rate_hz);
        let mut meter = ClickMeter::new(TONE_HZ, mix_rate_hz, 0.5);
        for round in 0..40 {
            for tick in 0..20 {
                let pulled = path.pull(tone(TONE_HZ, rate_hz));
                assert!(
                    round == 0 || tick > 3 || pulled == Pulled::Sound,
                    "{name}, {round}/{tick}: {pulled:?}"
                );
                if pulled == Pulled::Silence {
                    path.tick.fill(0.0);
                }
                // The mixer's part: the last tick fades out.
                let fade = (if tick == 19 { 1.0 } else { 0.0 }) / path.tick.len() as f32;
                for (at, sample) in path.tick.iter_mut().enumerate() {
                    *sample *= 1.0 - at as f32 * fade;
                }
                meter.hear(&path.tick);
                if tick >= 3 {
                    let level = tone_level(&path.tick, TONE_HZ, mix_rate_hz);
                    assert!(level > 0.2 && level < 0.6, "{name}, {round}/{tick}: level {level}");
                }
            }
            if round == 0 {
                // What a codec makes of its very first packet is its own affair.
                meter.forget();
            }
            let silence = vec![0.0; path.tick.len()];
            for _ in 0..1 + round {
                path.skip(tone(TONE_HZ, rate_hz));
                meter.hear(&silence);
            }
        }
        let stats = path.playout.stats(path.now());
        assert_eq!((stats.lost, stats.late, stats.concealed_ms, stats.overflow), (0, 0, 0, 0), "{name}");
        println!("{name}: worst {}, usual {usual}", meter.worst);
        assert!(meter.worst < usual * EDGE, "{name}: {} at {}, usual {usual}", meter.worst, meter.worst_at);
    }
}

/// What the codec itself makes of a tone, all of it decoded.
fn usual_roughness(codec: (&str, u32), mix_rate_hz: u32) -> f64 {
    let mut path = path(codec, mix_rate_hz, PathConfig::default());
    let rate_hz = path.source_rate_hz();
    let mut meter = ClickMeter::new(TONE_HZ, mix_rate_hz, 0.5);
    for tick in 0..1000 {
        path.pull(tone(TONE_HZ, rate_hz));
        meter.hear(&path.tick);
        if tick < 20 {
            meter.forget();
        }
    }
    meter.worst
}

#[test]
fn the_delay_goes_up_fast_with_jitter_and_comes_down_when_it_is_over() {
    let mut path = path(l16(), 8000, PathConfig::default());
    let mut delay_after = |network: Network, ticks: u32| {
        path.set_network(network);
        let mut silent = 0;
        for _ in 0..ticks {
            silent += u32::from(path.pull(tone(TONE_HZ, 8000)) == Pulled::Silence);
        }
        (path.playout.stats(path.now()).delay_ms, silent)
    };
    let jitter = Network { jitter_us: 60_000, ..LOOPBACK };
    assert!(delay_after(LOOPBACK, 500).0 <= 20);
    let (delay_ms, silent) = delay_after(jitter, 50);
    assert!((50..=90).contains(&delay_ms), "{delay_ms} ms after a second");
    assert_eq!(silent, 0);
    let late = |path: &Path| path.playout.stats(path.now()).late;
    let (delay_ms, _) = delay_after(jitter, 1000);
    assert!((55..=90).contains(&delay_ms), "{delay_ms} ms");
    assert!(delay_after(LOOPBACK, 100).0 >= 40, "not at once");
    assert!(delay_after(LOOPBACK, 1500).0 <= 25, "30 s later");
    assert!(late(&path) <= 10, "{}", late(&path));
}

#[test]
fn a_network_that_stands_still_is_caught_up_with() {
    let mut path = path(l16(), 8000, PathConfig::default());
    for round in 0..5 {
        (0..1000).for_each(|_| {
            path.pull(tone(TONE_HZ, 8000));
        });
        let stats = path.playout.stats(path.now());
        assert!(stats.delay_ms <= 25, "round {round}: {stats:?}");
        path.hold_until_us = path.now().as_nanos() / 1000 + 200_000;
    }
    let stats = path.playout.stats(path.now());
    assert_eq!((stats.lost, stats.overflow, stats.resets), (0, 0, 0), "{stats:?}");
}

#[test]
fn ticks_left_out_shorten_sound_and_neither_delay_nor_silence_it() {
    for codec in [l16(), ("opus", 48_000)] {
        let rate_hz = codec.1;
        let mut path = path(codec, rate_hz, PathConfig::default());
        for _ in 0..50 {
            path.pull(tone(TONE_HZ, rate_hz));
        }
        for round in 0..100 {
            path.miss(2, tone(TONE_HZ, rate_hz));
            for tick in 0..3 {
                assert_eq!(path.pull(tone(TONE_HZ, rate_hz)), Pulled::Sound, "{codec:?} {round} {tick}");
            }
            let level = tone_level(&path.tick, TONE_HZ, rate_hz);
            assert!((level / 0.5 - 1.0).abs() < 0.15, "{codec:?} {round}: {level}");
        }
        let stats = path.playout.stats(path.now());
        assert_eq!((stats.lost, stats.concealed_ms, stats.overflow), (0, 0, 0), "{codec:?} {stats:?}");
        assert!(stats.delay_ms <= 25, "{codec:?} {stats:?}");
    }
}
