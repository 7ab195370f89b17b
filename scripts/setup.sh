#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks, from Debian's packages.
#
#   scripts/setup.sh          for make demo and make test
#   scripts/setup.sh bench    rtpengine and Janus too, which the benchmarks compare with, what builds
#                             mediasoup, and what installs PESQ
#
# Does nothing, and asks nobody, when all is there. Services that Debian would start on installation
# (redis-server, rtpengine, janus) are installed and not started: tests and benchmarks start their own.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# command or file, package that has it, what it is for
needs=(
    "protoc protobuf-compiler compiles_proto/*.proto"
    "c++ g++ links_the_binaries_and_builds_the_fuzzers"
    "ffmpeg ffmpeg sends_and_decodes_the_demo's_media"
    "cmake cmake builds_libopus"
    "nasm nasm assembles_openh264's_fast_parts"
    "clang clang reads_the_headers_of_FFmpeg_for_Rust"
    "pkg-config pkg-config finds_FFmpeg's_libraries"
    "/usr/lib/$(uname -m)-linux-gnu/pkgconfig/libavformat.pc libavformat-dev AAC_and_pictures_by_FFmpeg's_libraries"
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc fonts-wqy-zenhei writes_names_on_pictures,_Chinese_ones_too"
    "redis-server redis-server the_store_that_tests_start_for_themselves"
    "/usr/share/java/zookeeper.jar zookeeper the_registry_that_tests_start_for_themselves"
    "keepalived keepalived checks_the_sample_configurations"
    "valgrind valgrind counts_instructions_for_the_budgets"
    "strace strace counts_system_calls_for_the_budgets"
)
case "${1:-}" in
    "") ;;
    bench)
        needs+=(
            "rtpengine rtpengine-daemon a_relay_that_benchmarks_compare_with"
            "janus janus a_mixer_that_benchmarks_compare_with"
            "/usr/share/doc/python3-venv python3-venv installs_PESQ,_which_scores_speech"
            "/usr/share/doc/python3-dev python3-dev builds_PESQ"
            "meson meson builds_mediasoup"
            "ninja ninja-build builds_mediasoup"
            "/usr/include/openssl/ssl.h libssl-dev builds_mediasoup"
            "/usr/include/uv.h libuv1-dev builds_mediasoup"
            "/usr/include/srtp2/srtp.h libsrtp2-dev builds_mediasoup"
            "/usr/include/usrsctp.h libusrsctp-dev builds_mediasoup"
            "/usr/include/absl/container/flat_hash_map.h libabsl-dev builds_mediasoup"
            "/usr/include/nlohmann/json.hpp nlohmann-json3-dev builds_mediasoup"
        )
        ;;
    *) fail "unknown argument '$1'; there is only: bench" ;;
esac

# Debian keeps daemons in sbin, which is not on everybody's path.
export PATH="$PATH:/usr/sbin:/sbin"

check_rust() {
    local wanted version
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
    command -v cargo >/dev/null ||
        fail "cargo is missing: install Rust $wanted or newer (https://rustup.rs) and run this again"
    version=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$version" | sort -V | head -n1)" = "$wanted" ] ||
        fail "cargo is $version and Rust $wanted or newer is needed: rustup update stable"
}

is_there() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

packages=()
find_missing() {
    local command package purpose
    for need in "${needs[@]}"; do
        read -r command package purpose <<<"$need"
        if ! is_there "$command"; then
            say "$command is missing (${purpose//_/ }): package $package"
            packages+=("$package")
        fi
    done
}

as_root=()
find_root() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo >/dev/null ||
        fail "installing needs root and there is no sudo; as root: apt-get install ${packages[*]}"
    say "installing needs root: using sudo"
    as_root=(sudo)
}

# invoke-rc.d asks this file before it starts a service; 101 means "not allowed" (Debian policy,
# README.policy-rc.d of package sysv-rc). A file that is there already is left as it is.
policy=/usr/sbin/policy-rc.d
hold_services() {
    [ -e "$policy" ] && return
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
}

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@"
}

update_lists() {
    local try
    for try in 1 2 3; do
        apt update && return
        say "apt-get update failed (try $try of 3)"
        sleep $((try * 3))
    done
    fail "apt-get update failed three times: is the network there, and /etc/apt/sources.list right?"
}

check_rust
find_missing
if [ ${#packages[@]} = 0 ]; then
    say "nothing is missing"
    exit 0
fi
command -v apt-get >/dev/null ||
    fail "this is not Debian: install by hand what has ${packages[*]} on this system"
find_root
say "installing ${packages[*]} (services are not started)"
update_lists
hold_services
apt install -y --no-install-recommends "${packages[@]}" ||
    fail "apt-get install ${packages[*]} failed; its message is above"
say "done"
