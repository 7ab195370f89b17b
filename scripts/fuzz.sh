#!/bin/sh
# Runs every fuzz target for some seconds: scripts/fuzz.sh [-s SEED] [SECONDS] [TARGET...]
#
# Needs cargo and a C++ compiler, no nightly and no cargo-fuzz: libfuzzer-sys brings libFuzzer, and the
# coverage that guides it is LLVM's own pass. Starts from fuzz/corpus/TARGET, which is committed and
# small; what it finds goes to target/fuzz-corpus/TARGET and is used the next time. With a SEED above 0 it
# knows the committed ones alone and makes the same inputs each time, as far as the seconds reach: what
# gates a change must not depend on luck. Fails at the first crash and says where its input is.
set -eu

cd "$(dirname "$0")/.."
seed=0
if [ "${1:-}" = -s ]; then
    seed=${2:-}
    shift $(($# < 2 ? $# : 2))
fi
seconds=${1:-10}
[ $# -eq 0 ] || shift
usage() {
    echo "usage: scripts/fuzz.sh [-s SEED] [SECONDS] [TARGET...]; SECONDS is a whole number above 0" >&2
    exit 2
}
case $seconds in '' | *[!0-9]* | 0) usage ;; esac
case $seed in '' | *[!0-9]*) usage ;; esac
targets=${*:-$(cd fuzz/fuzz_targets && ls ./*.rs | sed 's|^\./||; s|\.rs$||')}

# What cargo-fuzz passes, without a sanitizer, which stable Rust lacks: the code under test is safe Rust,
# so a fault is a panic.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    RUSTFLAGS="$RUSTFLAGS -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS

# With a target named, build scripts are built without coverage.
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target-dir fuzz/target --target "$host"

for target in $targets; do
    found=target/fuzz-corpus/$target
    crashes=target/fuzz-crashes/$target
    log=target/fuzz-corpus/$target.log
    if [ "$seed" -ne 0 ]; then
        found=$found.$seed
        rm -rf "$found"
    fi
    mkdir -p "$found" "$crashes" "fuzz/corpus/$target"
    if ! "fuzz/target/$host/release/$target" "$found" "fuzz/corpus/$target" -max_total_time="$seconds" \
        -seed="$seed" -max_len=2048 -timeout=5 -rss_limit_mb=1024 -artifact_prefix="$crashes/" -print_final_stats=1 \
        >"$log" 2>&1; then
        cat "$log"
        echo "fuzz $target: crashed; inputs are in $crashes/, run one with" >&2
        echo "  fuzz/target/$host/release/$target $crashes/NAME" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    # Without coverage the fuzzer would only roll dice, and pass.
    if [ "${coverage:-0}" -lt 50 ] || [ "${runs:-0}" -eq 0 ]; then
        cat "$log"
        echo "fuzz $target: ${runs:-no} executions with coverage ${coverage:-none}: not instrumented" >&2
        exit 1
    fi
    echo "fuzz $target: $runs executions in $seconds s, $coverage edges covered, no crash"
done
