//! Replays the committed fuzz corpus of the mixer, and the same with bytes changed: a short, repeatable stand-in for the
//! fuzzer.

use motet_mixer::testing::{canvas_seeds, fuzz_canvas, fuzz_layout, fuzz_mixer};
use std::path::Path;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("a seed can be read")).collect()
}

/// Each seed, and the same so many times with bytes changed.
fn replay(seeds: &[Vec<u8>], times: usize, fuzz: fn(&[u8])) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for seed in seeds {
        fuzz(seed);
        for _ in 0..times {
            let mut changed = seed.clone();
            for _ in 0..4 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (random >> 33) as usize % changed.len().max(1);
                if let Some(byte) = changed.get_mut(at) {
                    *byte = (random >> 24) as u8;
                }
            }
            fuzz(&changed);
        }
    }
}

#[test]
fn the_corpus_and_what_is_like_it_harm_nobody() {
    let seeds = seeds("mixer");
    assert!(seeds.len() >= 5, "only {} seeds", seeds.len());
    replay(&seeds, 6, fuzz_mixer);
}

#[test]
fn whatever_one_sends_the_other_is_seen_on_the_canvas() {
    let seeds = seeds("canvas");
    assert!(seeds.len() >= 13, "only {} seeds", seeds.len());
    replay(&seeds, 6, fuzz_canvas);
    replay(&canvas_seeds(), 6, fuzz_canvas);
}

#[test]
fn layouts_that_were_found() {
    let seeds = seeds("layout");
    assert!(seeds.len() >= 5, "only {} seeds", seeds.len());
    for seed in &seeds {
        fuzz_layout(seed);
        (0..seed.len()).for_each(|bytes| fuzz_layout(&seed[..bytes]));
    }
}
