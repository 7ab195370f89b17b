//! Replays the committed fuzz corpus.

use std::path::Path;

use motet_rtp::rtcp::Compound;
use motet_rtp::testing::{
    fuzz_jitter, fuzz_payload_h264, fuzz_payload_h265, fuzz_payload_vp8, fuzz_rtcp, fuzz_rtp,
};
use motet_rtp::{RtpError, RtpView};

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is committed");
    let seed = |path: &Path| (path.display().to_string(), std::fs::read(path).expect("a seed can be read"));
    entries.map(|entry| seed(&entry.expect("the folder can be listed").path())).collect()
}

fn seed(target: &str, name: &str) -> Vec<u8> {
    let found = seeds(target).into_iter().find(|(path, _)| path.ends_with(&format!("/{name}")));
    found.unwrap_or_else(|| panic!("no seed {target}/{name}")).1
}

#[test]
fn rtp_corpus() {
    let seeds = seeds("rtp");
    assert!(seeds.len() >= 15, "only {} seeds", seeds.len());
    for (path, bytes) in seeds {
        println!("{path}");
        fuzz_rtp(&bytes);
        fuzz_rtcp(&bytes);
    }
}

#[test]
fn rtcp_corpus() {
    let seeds = seeds("rtcp");
    assert!(seeds.len() >= 15, "only {} seeds", seeds.len());
    for (path, bytes) in seeds {
        println!("{path}");
        fuzz_rtcp(&bytes);
        fuzz_rtp(&bytes);
    }
}

#[test]
fn jitter_corpus() {
    let seeds = seeds("jitter");
    assert!(seeds.len() >= 5, "only {} seeds", seeds.len());
    for (path, bytes) in seeds {
        println!("{path}");
        fuzz_jitter(&bytes);
    }
}

#[test]
fn payload_corpus() {
    type Body = fn(&[u8]);
    let bodies: [(&str, Body); 3] = [
        ("payload_h264", fuzz_payload_h264),
        ("payload_h265", fuzz_payload_h265),
        ("payload_vp8", fuzz_payload_vp8),
    ];
    for (target, body) in bodies {
        let seeds = seeds(target);
        assert!(seeds.len() >= 4, "only {} seeds of {target}", seeds.len());
        for (path, bytes) in seeds {
            println!("{path}");
            body(&bytes);
        }
    }
}

/// A corpus of which nothing is accepted would test little.
#[test]
fn seeds_are_what_their_names_say() {
    for (name, error) in [
        ("short", RtpError::TooShort),
        ("version_1", RtpError::BadVersion),
        ("csrcs_cut", RtpError::CsrcTruncated),
        ("ext_cut", RtpError::ExtensionTruncated),
        ("padding_zero", RtpError::BadPadding),
        ("padding_long", RtpError::BadPadding),
    ] {
        assert_eq!(RtpView::new(&seed("rtp", name)).err(), Some(error), "{name}");
    }
    let all = seed("rtp", "all");
    let all = RtpView::new(&all).expect("well formed");
    assert_eq!(all.extension().map(|e| e.elements().count()), Some(2));
    for name in ["ffmpeg_sr", "sr_sdes", "rr_nack", "rr_fir", "rr_remb", "padded_last", "bye_reason"] {
        assert!(Compound::new(&seed("rtcp", name)).is_ok(), "{name}");
    }
    for name in ["remb_cut", "bye_reason_cut", "sdes_no_end", "padded_first", "length_lies", "count_lies"] {
        assert!(Compound::reduced(&seed("rtcp", name)).is_err(), "{name}");
    }
}
