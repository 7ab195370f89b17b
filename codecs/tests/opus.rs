//! Opus against ffmpeg's use of another build of libopus.

mod support;

use motet_codecs::{AudioCodec, AudioDecoder, AudioEncoder, AudioError, CodecError, EncoderSettings};
use support::{ffmpeg, level_db, ogg, snr_db, to_bytes, to_samples, tone_db, tones, voice};

const RATE_HZ: u32 = 48_000;
const FRAME: usize = 960;

fn opus(fmtp: &str) -> AudioCodec {
    AudioCodec::parse("opus", 48_000, 2, fmtp).expect("Opus")
}

fn encoder(settings: EncoderSettings) -> Box<dyn AudioEncoder> {
    opus("").encoder(&settings).expect("an encoder")
}

fn decoder() -> Box<dyn AudioDecoder> {
    opus("").decoder().expect("a decoder")
}

fn encode(encoder: &mut dyn AudioEncoder, samples: &[i16]) -> Vec<Vec<u8>> {
    let mut payload = [0; 1500];
    let frames = samples.chunks_exact(encoder.format().samples_in_ms(20)).map(|frame| {
        let bytes = encoder.encode(frame, &mut payload).expect("a frame");
        payload[..bytes].to_vec()
    });
    frames.collect()
}

fn decode(decoder: &mut dyn AudioDecoder, packets: &[Vec<u8>]) -> Vec<i16> {
    let mut samples = [0; 5760 * 2];
    let frames = packets.iter().flat_map(|packet| {
        let decoded = decoder.decode(packet, &mut samples).expect("a packet");
        assert_eq!(decoder.samples_in(packet), Ok(decoded));
        samples[..decoded].to_vec()
    });
    frames.collect()
}

fn encode_by_ffmpeg(samples: &[i16]) -> Vec<Vec<u8>> {
    let input = ["-f", "s16le", "-ar", "48000", "-ac", "1"];
    let output = ["-c:a", "libopus", "-b:a", "64k", "-application", "voip", "-f", "ogg"];
    ogg::packets(&ffmpeg(&input, &output, &to_bytes(samples)))
}

const TONES: [(f64, f64); 3] = [(440.0, 6000.0), (1000.0, 5000.0), (3000.0, 4000.0)];

/// The tones of TONES are there within a dB, others are not.
fn assert_tones(samples: &[i16], rate_hz: u32) {
    for (hz, peak) in TONES {
        let (expected, found) = (20.0 * (peak / 32_768.0).log10(), tone_db(samples, rate_hz, hz));
        assert!((expected - found).abs() < 1.0, "{hz} Hz: {expected:.1} dB became {found:.1} dB");
    }
    for hz in [700.0, 1700.0, 2300.0] {
        let found = tone_db(samples, rate_hz, hz);
        assert!(found < -50.0, "{hz} Hz: {found:.1} dB");
    }
}

#[test]
fn decodes_what_ffmpeg_encodes() {
    let sound = tones(RATE_HZ, 2 * RATE_HZ as usize, &TONES);
    let packets = encode_by_ffmpeg(&sound);
    assert!(packets.len() >= 100);
    let decoded = decode(&mut *decoder(), &packets);
    assert_tones(&decoded[9600..86_400], RATE_HZ);
    for rate_hz in [8000, 12_000, 16_000, 24_000] {
        let mut decoder = opus("").decoder_at(rate_hz).expect("a decoder");
        let decoded = decode(&mut *decoder, &packets);
        assert_tones(&decoded[rate_hz as usize / 5..rate_hz as usize * 9 / 5], rate_hz);
    }
}

#[test]
fn ffmpeg_decodes_what_is_encoded_here() {
    let sound = tones(RATE_HZ, 2 * RATE_HZ as usize, &TONES);
    // Complexity 10 is ffmpeg's.
    let settings =
        EncoderSettings { bitrate_bps: Some(64_000), complexity: 10, ..EncoderSettings::default() };
    let packets = encode(&mut *encoder(settings), &sound);
    let by_ffmpeg = decode(&mut *decoder(), &encode_by_ffmpeg(&sound));
    let (reference, _) = snr_db(&sound[9600..86_400], &by_ffmpeg[9600..], 400);
    for library in ["libopus", "opus"] {
        let file = ogg::file(1, &packets);
        let output = ["-f", "s16le", "-ar", "48000", "-ac", "1"];
        let decoded = to_samples(&ffmpeg(&["-c:a", library], &output, &file));
        assert_tones(&decoded[9600..86_400], RATE_HZ);
        assert!((level_db(&sound[9600..86_400]) - level_db(&decoded[9600..86_400])).abs() < 1.0);
        let (snr, _) = snr_db(&sound[9600..86_400], &decoded[9600..], 400);
        assert!(snr > reference - 1.0 && snr > 10.0, "{library}: {snr:.1} dB, ffmpeg's {reference:.1} dB");
    }
}

#[test]
fn a_fork_goes_on_as_the_original() {
    let sound = voice(RATE_HZ, 100 * FRAME);
    let settings = EncoderSettings { fec: true, loss_percent: 10, ..EncoderSettings::default() };
    let mut original = encoder(settings);
    encode(&mut *original, &sound[..50 * FRAME]);
    let mut fork = original.fork();
    let here = encode(&mut *original, &sound[50 * FRAME..]);
    drop(original);
    assert_eq!(here, encode(&mut *fork, &sound[50 * FRAME..]));
}

/// A voice, encoded with a copy of each frame in the next packet, and decoded without loss.
fn voice_with_fec() -> (Vec<Vec<u8>>, Vec<i16>) {
    let settings = EncoderSettings {
        bitrate_bps: Some(24_000),
        fec: true,
        loss_percent: 20,
        ..EncoderSettings::default()
    };
    let packets = encode(&mut *encoder(settings), &voice(RATE_HZ, 100 * FRAME));
    let whole = decode(&mut *decoder(), &packets);
    (packets, whole)
}

/// Decodes with every tenth packet lost: the sound, and that of the losses alone.
fn decode_with_losses(packets: &[Vec<u8>], fec: bool) -> (Vec<i16>, Vec<usize>) {
    let mut decoder = decoder();
    let (mut sound, mut lost) = (Vec::new(), Vec::new());
    for (number, packet) in packets.iter().enumerate() {
        let mut samples = [0; FRAME];
        if number % 10 == 5 {
            let next = packets.get(number + 1).filter(|_| fec);
            assert_eq!(decoder.conceal(next.map(Vec::as_slice), &mut samples), FRAME);
            lost.push(number);
        } else {
            assert_eq!(decoder.decode(packet, &mut samples), Ok(FRAME));
        }
        sound.extend(samples);
    }
    (sound, lost)
}

#[test]
fn lost_packets_are_found_in_the_next_ones() {
    let (packets, whole) = voice_with_fec();
    let snr = |fec| {
        let (sound, lost) = decode_with_losses(&packets, fec);
        let at = |sound: &[i16]| -> Vec<i16> {
            lost.iter().flat_map(|number| sound[number * FRAME..][..FRAME].to_vec()).collect()
        };
        assert!((level_db(&at(&whole)) - level_db(&at(&sound))).abs() < 3.0, "FEC {fec}");
        (snr_db(&at(&whole), &at(&sound), 0).0, snr_db(&whole, &sound, 0).0)
    };
    let ((guessed, all_guessed), (found, all_found)) = (snr(false), snr(true));
    assert!(found > guessed + 3.0, "{found:.1} dB with FEC, {guessed:.1} dB without");
    assert!(all_found > all_guessed + 3.0, "{all_found:.1} dB with FEC, {all_guessed:.1} dB without");
}

#[test]
fn any_loss_that_is_known_puts_copies_into_packets() {
    let sound = voice(RATE_HZ, 100 * FRAME);
    // RFC 6716: configurations from 16 on are CELT (section 3.1); else, of one channel and 20 ms, the second bit says
    // whether there is a copy (section 4.2.3).
    let copies = |loss_percent, fec| {
        let mut encoder = encoder(EncoderSettings { fec, ..EncoderSettings::default() });
        encoder.set_loss_percent(loss_percent);
        assert_eq!(encoder.corrects_loss(), fec);
        let packets = encode(&mut *encoder, &sound);
        let has_copy = |packet: &&Vec<u8>| packet[0] >> 3 < 16 && packet[1] & 0x40 != 0;
        assert!(packets.iter().all(|packet| decoder().holds_copy(packet) == has_copy(&packet)));
        packets.iter().filter(has_copy).count()
    };
    for loss_percent in [1, 5, 6, 10, 20, 100] {
        let copies = copies(loss_percent, true);
        assert!(copies > 40, "{copies} at {loss_percent} %: a voice that is silent half of the time");
    }
    assert_eq!((copies(0, true), copies(20, false)), (0, 0));
    // Nothing, no frame, a frame of CELT.
    for packet in [&[][..], &[0x48], &[0xf8, 0xff]] {
        assert!(!decoder().holds_copy(packet));
    }
}

#[test]
fn gaps_of_any_length_are_concealed() {
    let (packets, _) = voice_with_fec();
    for (gap, concealed) in [(0, 0), (119, 0), (120, 120), (1000, 960), (3 * FRAME, 3 * FRAME), (5760, 5760)]
    {
        for next in [None, Some(packets[40].as_slice()), Some(&[][..]), Some(&[0xff; 1500])] {
            let mut decoder = decoder();
            decode(&mut *decoder, &packets[..30]);
            let mut samples = vec![9; gap];
            assert_eq!(decoder.conceal(next, &mut samples), concealed, "{gap}");
            assert_eq!(samples[concealed..], vec![9; gap - concealed]);
            assert_eq!(decoder.decode(&packets[40], &mut [0; FRAME]), Ok(FRAME));
        }
    }
    // Before anything was heard there is nothing to go on with.
    let mut samples = [9; FRAME];
    assert_eq!(decoder().conceal(None, &mut samples), FRAME);
    assert_eq!(samples, [0; FRAME]);
}

#[test]
fn nothing_is_sent_in_silence() {
    let settings = EncoderSettings { dtx: true, ..EncoderSettings::default() };
    let mut sound = voice(RATE_HZ, 50 * FRAME);
    sound.extend(vec![0; 100 * FRAME]);
    sound.extend(voice(RATE_HZ, 50 * FRAME));
    let packets = encode(&mut *encoder(settings), &sound);
    let sent = |packets: &[Vec<u8>]| packets.iter().filter(|packet| !packet.is_empty()).count();
    assert!(sent(&packets[..15]) == 15 && sent(&packets[155..165]) == 10);
    // A packet each 400 ms keeps the decoder's noise alive.
    assert!((1..=10).contains(&sent(&packets[100..150])), "{}", sent(&packets[100..150]));
    let refused = opus("usedtx=0").encoder(&settings).expect("an encoder");
    let packets = encode(&mut *{ refused }, &sound);
    assert_eq!(sent(&packets), 200);
}

#[test]
fn a_decoder_can_be_handed_to_another_encoder() {
    let sound = voice(RATE_HZ, 60 * FRAME);
    // The other one has heard something louder beside it until now.
    let hum = tones(RATE_HZ, sound.len(), &[(300.0, 9000.0)]);
    let other: Vec<i16> = sound.iter().zip(&hum).map(|(a, b)| a.saturating_add(*b)).collect();
    let start = 42 * FRAME;
    let worst = |resync: bool| {
        let (mut first, mut second) =
            (encoder(EncoderSettings::default()), encoder(EncoderSettings::default()));
        let before = encode(&mut *first, &sound[..start]);
        encode(&mut *second, &other[..start]);
        if resync {
            second.resync();
        }
        let after = encode(&mut *second, &sound[start..]);
        let mut decoder = decoder();
        decode(&mut *decoder, &before);
        let switched = decode(&mut *decoder, &after);
        // What the same packets are to a decoder that has followed first all along, as the sound should be.
        let reference =
            decode(&mut *self::decoder(), &encode(&mut *encoder(EncoderSettings::default()), &sound));
        snr_db(&reference[start + FRAME..], &switched[FRAME..], 0).0
    };
    let (with, without) = (worst(true), worst(false));
    assert!(with > without, "{with:.1} dB with resync, {without:.1} dB without");
}

#[test]
fn frames_of_all_lengths_and_channels_are_decoded() {
    let sound = tones(RATE_HZ, RATE_HZ as usize, &TONES);
    let stereo: Vec<i16> = sound.iter().flat_map(|sample| [*sample; 2]).collect();
    for (duration, samples) in [("2.5", 120), ("5", 240), ("10", 480), ("40", 1920), ("60", 2880)] {
        let input = ["-f", "s16le", "-ar", "48000", "-ac", "2"];
        let output = ["-c:a", "libopus", "-b:a", "128k", "-frame_duration", duration, "-f", "ogg"];
        let packets = ogg::packets(&ffmpeg(&input, &output, &to_bytes(&stereo)));
        for (fmtp, channels) in [("", 1), ("sprop-stereo=1", 2)] {
            let mut decoder = opus(fmtp).decoder().expect("a decoder");
            assert_eq!(decoder.format().channels, channels);
            let channels = usize::from(channels);
            assert_eq!(decoder.samples_in(&packets[0]), Ok(samples * channels));
            let decoded = decode(&mut *decoder, &packets);
            for channel in 0..channels {
                let one: Vec<i16> = decoded[channel..].iter().step_by(channels).copied().collect();
                assert_tones(&one[9600..43_200], RATE_HZ);
            }
        }
    }
    let mut encoder = opus("stereo=1").encoder(&EncoderSettings::default()).expect("an encoder");
    let mut decoder = opus("stereo=1").decoder().expect("a decoder");
    let decoded = decode(&mut *decoder, &encode(&mut *encoder, &stereo));
    assert_eq!(decoded.len(), stereo.len());
    assert!((level_db(&stereo[9600..]) - level_db(&decoded[9600..])).abs() < 1.0);
}

#[test]
fn the_receiver_limits_the_encoder() {
    let sound = voice(RATE_HZ, 100 * FRAME);
    let bytes = |fmtp| -> Vec<usize> {
        let settings = EncoderSettings { bitrate_bps: Some(64_000), ..EncoderSettings::default() };
        let mut encoder = opus(fmtp).encoder(&settings).expect("an encoder");
        encode(&mut *encoder, &sound).iter().map(Vec::len).collect()
    };
    let sum = |sizes: &[usize]| sizes.iter().sum::<usize>();
    let (free, limited) = (sum(&bytes("")), sum(&bytes("minptime=10;maxaveragebitrate=16000")));
    assert!(limited * 5 < free * 2 && limited * 8 < 16_000 * 2 * 5 / 4, "{limited} of {free} bytes");
    let constant = bytes("cbr=1");
    assert!(constant.iter().all(|size| *size == 160), "{constant:?}");
    // Bandwidth is in the first byte: configurations of narrowband are 0 to 3 and 16 to 19 (RFC 6716 table 2).
    let mut narrow = opus("maxplaybackrate=8000").encoder(&EncoderSettings::default()).expect("an encoder");
    let packets = encode(&mut *narrow, &sound);
    assert!(packets.iter().all(|packet| matches!(packet[0] >> 3, 0..=3 | 16..=19)));
    let wrong = AudioCodec::parse("opus", 48_000, 2, "maxaveragebitrate=fast").map(|_| ());
    assert!(matches!(wrong, Err(CodecError::Fmtp { parameter: "maxaveragebitrate", .. })), "{wrong:?}");
    for bitrate_bps in [499, 512_001] {
        let settings = EncoderSettings { bitrate_bps: Some(bitrate_bps), ..EncoderSettings::default() };
        let wrong = opus("").encoder(&settings).map(|_| ());
        assert!(matches!(wrong, Err(CodecError::Setting { setting: "bitrate_bps", .. })), "{wrong:?}");
    }
}

#[test]
fn bad_packets_are_refused_and_harm_nothing() {
    let (packets, whole) = voice_with_fec();
    let mut decoder = decoder();
    let mut samples = [0; 5760];
    // No byte; one frame of more than 1275 bytes; no frames; more than 120 ms; lengths that are not there.
    for bad in [&[][..], &[0; 1500], &[3, 0], &[3, 63], &[0x1a], &[2, 252]] {
        let found = decoder.decode(bad, &mut samples);
        assert!(
            matches!(found, Err(AudioError::BadPayload { bytes, .. }) if bytes == bad.len()),
            "{bad:?}: {found:?}"
        );
    }
    assert!(matches!(decoder.samples_in(&[]), Err(AudioError::BadPayload { bytes: 0, .. })));
    let short = decoder.decode(&packets[0], &mut samples[..FRAME - 1]);
    assert_eq!(short, Err(AudioError::BufferTooShort { needed: FRAME, available: FRAME - 1 }));
    assert_eq!(decode(&mut *decoder, &packets), whole);
    decoder.reset();
    assert_eq!(decode(&mut *decoder, &packets), whole);
}

#[test]
fn bad_frames_are_refused_and_harm_nothing() {
    let sound = voice(RATE_HZ, 10 * FRAME);
    let mut opus = encoder(EncoderSettings::default());
    let mut payload = [7; 1500];
    for samples in [0, 1, 119, 121, 882, 961, 1024, 5761, 9600] {
        let found = opus.encode(&vec![0; samples], &mut payload);
        assert!(
            matches!(found, Err(AudioError::FrameSize { samples: named, .. }) if named == samples),
            "{found:?}"
        );
    }
    // 20 ms at 32 kbit/s, and some more.
    let short = opus.encode(&sound[..FRAME], &mut payload[..95]);
    assert_eq!(short, Err(AudioError::BufferTooShort { needed: 96, available: 95 }));
    assert_eq!(payload, [7; 1500]);
    assert_eq!(encode(&mut *opus, &sound), encode(&mut *encoder(EncoderSettings::default()), &sound));
    // More than there is counts as all there is.
    opus.set_complexity(255);
    opus.set_loss_percent(255);
    assert_eq!(encode(&mut *opus, &sound).len(), 10);
}
