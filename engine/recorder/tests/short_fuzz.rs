//! A short, repeatable stand-in for the fuzzer, and its committed corpus.

use motet_recorder::testing::fuzz_recording;
use std::path::Path;

const ITERATIONS: u32 = 200;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/recording");
    let entries = std::fs::read_dir(folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    // The order of a folder is not the same everywhere; the run is to be.
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed can be read")).collect()
}

#[test]
fn the_corpus() {
    let seeds = corpus();
    assert!(seeds.len() >= 4, "only {} seeds", seeds.len());
    seeds.iter().for_each(|seed| fuzz_recording(seed));
}

#[test]
fn operations() {
    let seeds = corpus();
    let seed = 0x5bd1_e995_2545_f491;
    let mut random = Random(seed);
    for iteration in 0..ITERATIONS {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            let (at, other) = (random.below(bytes.len()), &seeds[random.below(seeds.len())]);
            let part = &other[random.below(other.len())..];
            match random.below(5) {
                0 | 1 if !bytes.is_empty() => bytes[at] = random.below(256) as u8,
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, part.iter().copied().take(200))),
                _ => bytes.extend_from_slice(part),
            }
        }
        bytes.truncate(8192);
        let outcome = std::panic::catch_unwind(|| fuzz_recording(&bytes));
        assert!(outcome.is_ok(), "seed {seed:#x}, iteration {iteration}, bytes {bytes:02x?}");
    }
}
