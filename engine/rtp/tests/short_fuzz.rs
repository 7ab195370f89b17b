//! A short, repeatable stand-in for the fuzzer: the corpus with bytes changed, cut, doubled and joined.

use std::path::Path;

use motet_rtp::testing::{
    fuzz_jitter, fuzz_payload_h264, fuzz_payload_h265, fuzz_payload_vp8, fuzz_rtcp, fuzz_rtp,
};

const ITERATIONS: u32 = 300_000;
const BYTES_MAX: usize = 512;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    // The order of a folder is not the same everywhere; the run is to be.
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed can be read")).collect()
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len());
    match random.below(8) {
        0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        2 if !bytes.is_empty() => bytes[at] = [0, 1, 3, 4, 0x7f, 0x80, 0xfe, 0xff][random.below(8)],
        3 => bytes.truncate(at),
        4 => bytes.extend_from_slice(&other[random.below(other.len())..]),
        5 => bytes.extend_from_slice(other),
        6 => drop(bytes.splice(at..at, other.iter().copied().take(4))),
        7 => drop(bytes.drain(at..(at + 4).min(bytes.len()))),
        _ => bytes.push(random.next() as u8),
    }
    bytes.truncate(BYTES_MAX);
}

fn run(target: &str, seed: u64, iterations: u32, body: fn(&[u8])) {
    let corpus = corpus(target);
    let mut random = Random(seed);
    for iteration in 0..iterations {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            let other = &corpus[random.below(corpus.len())];
            mutate(&mut random, &mut bytes, other);
        }
        let outcome = std::panic::catch_unwind(|| body(&bytes));
        assert!(outcome.is_ok(), "{target}: seed {seed:#x}, iteration {iteration}, bytes {bytes:02x?}");
    }
}

#[test]
fn rtp() {
    run("rtp", 0x2545_f491_4f6c_dd1d, ITERATIONS, fuzz_rtp);
}

#[test]
fn rtcp() {
    run("rtcp", 0x9e37_79b9_7f4a_7c15, ITERATIONS, fuzz_rtcp);
}

#[test]
fn jitter() {
    // An input is up to 170 operations.
    run("jitter", 0x0bad_cafe_5eed_1e55, ITERATIONS / 100, fuzz_jitter);
}

#[test]
fn payloads() {
    let iterations = ITERATIONS / 10;
    run("payload_h264", 0x5bd1_e995_2545_f491, iterations, fuzz_payload_h264);
    run("payload_h265", 0x1b87_3593_cc9e_2d51, iterations, fuzz_payload_h265);
    run("payload_vp8", 0x85eb_ca6b_c2b2_ae35, iterations, fuzz_payload_vp8);
}
