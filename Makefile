# Everything that people and machines run here. Each target sets up what it needs first.

# Rust installed by rustup is found without a new login.
export PATH := $(HOME)/.cargo/bin:$(PATH)
export CARGO_TERM_COLOR ?= auto

# How long each fuzz target runs, and how long the demo's conference lasts.
FUZZ_SECONDS ?= 5
DEMO_SECONDS ?= 15

# Worlds that make sim runs: FIRST-LAST.
SEEDS ?= 1-10000

# Trials of parallel first joins that sim makes after them.
JOINS ?= 1000000

# How often the demo takes a node over.
UPGRADES ?= 3

# All that benchmarks run, in one build: another set of packages would build shared dependencies again.
BUILD_BENCHES = cargo build --release -p motet -p motet-net -p motet-benches --bins --example bare_loop

# Options for make chaos, such as --row css --seed 7; target/release/motet-chaos --help has them all.
CHAOS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-upgrade test sim fmt fmt-check lint tidy doc fuzz bench chaos bench-relay bench-audio bench-video bench-criterion

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-16s %s\n' "$$name" "$$text"; done

setup: ## install what is missing from Debian's packages
	@scripts/setup.sh

demo: setup ## a conference with real pictures and sound; the result is in target/demo/
	cargo build --release -p motet -p motet-demo
	target/release/motet-demo --seconds $(DEMO_SECONDS)

demo-upgrade: setup ## new processes take a node over under load, without a packet lost
	cargo build --release -p motet
	@MOTET=target/release/motet scripts/demo-upgrade.sh $(UPGRADES)

test: setup fmt-check lint tidy ## everything that a change must pass
	PROPTEST_RNG_SEED=1 cargo test --workspace --no-fail-fast
	$(MAKE) --no-print-directory doc
	scripts/fuzz.sh -s 1 $(FUZZ_SECONDS)
	@echo "make test: format, lint, tidy, tests, documentation and fuzzing all passed"

sim: ## simulated worlds of the seeds SEEDS: control against faults, in virtual time
	cargo run --release --quiet -p motet-sim -- --seeds $(SEEDS)
	cargo run --release --quiet -p motet-sim -- --joins $(JOINS)
	cargo test --release --quiet -p motet-sim --test model -- --include-ignored --nocapture

fmt: ## format the code
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

lint: ## clippy, warnings denied
	cargo clippy --workspace --all-targets -- -D warnings

tidy: ## the repository's own lint: sizes, clocks, unsafe, documents
	cargo run --quiet -p motet-tidy

doc: ## build the documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

fuzz: ## run each fuzz target for FUZZ_SECONDS
	scripts/fuzz.sh $(FUZZ_SECONDS)

bench: bench-relay bench-audio bench-video bench-criterion ## all benchmarks; tables here, figures in target/bench/

chaos: setup ## kill, stop and cut off real processes under media; table here and in benches/RESULTS.md
	cargo build --release -p motet -p motet-chaos
	target/release/motet-chaos --out-markdown benches/RESULTS.md $(CHAOS)

bench-relay: ## CPU per forwarded packet, against a bare loop, rtpengine and mediasoup
	@scripts/setup.sh bench
	@scripts/mediasoup.sh || echo "mediasoup will not be measured"
	$(BUILD_BENCHES)
	target/release/bench_relay --out-markdown benches/RESULTS.md

bench-audio: ## CPU per participant of a mix, mouth to ear, gaps and quality, beside Janus's AudioBridge
	@scripts/setup.sh bench
	@scripts/pesq.sh || echo "quality of speech will not be measured"
	$(BUILD_BENCHES)
	target/release/bench_audio --out-markdown benches/RESULTS.md

bench-video: setup ## CPU per composed picture, beside ffmpeg's, and how near they come to the pictures themselves; from camera to receiver; of recording
	$(BUILD_BENCHES)
	target/release/bench_video --out-markdown benches/RESULTS.md

bench-criterion: ## nanoseconds of parsing, rewriting and routing, and of mixing
	cargo bench -p motet-benches --bench packet --bench mix
	cargo run --release --quiet -p motet-benches --bin criterion_table -- --out-markdown benches/RESULTS.md
