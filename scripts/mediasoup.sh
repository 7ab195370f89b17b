#!/usr/bin/env bash
# Builds mediasoup's worker, a peer that the benchmarks compare with, into target/peers/ (or $PEERS_DIR).
#
# The source is the crate mediasoup-sys. Its own build would download the libraries; here each of its
# subprojects is replaced by a stub that names Debian's package of the library. Takes a few minutes once.
# Does nothing when the worker is there.
set -euo pipefail

# The last version whose worker speaks JSON: worker 3.12.
version=0.6.0
root=$(cd "$(dirname "$0")/.." && pwd)
peers=${PEERS_DIR:-$root/target/peers}
worker=$peers/mediasoup-worker

say() { printf 'mediasoup: %s\n' "$*"; }

if [ -x "$worker" ]; then
    say "the worker is there"
    exit 0
fi
say "building the worker, which takes a few minutes; the log is $peers/mediasoup.log"
mkdir -p "$peers"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec 3>&1 >"$peers/mediasoup.log" 2>&1
trap 'status=$?; rm -rf "$work"; [ $status = 0 ] || { say "the build failed; the end of the log:"; tail -n 15 "$peers/mediasoup.log"; } >&3' EXIT

mkdir "$work/src"
: >"$work/src/lib.rs"
cat >"$work/Cargo.toml" <<TOML
[package]
name = "peers"
version = "0.0.0"
edition = "2021"
[dependencies]
mediasoup-sys = "=$version"
TOML
(cd "$work" && cargo vendor vendor)
source=$work/vendor/mediasoup-sys
# Debian 12 has 1.0.1; nothing newer is used.
sed -i "s/meson_version: '>= 1.1.0'/meson_version: '>= 1.0.0'/" "$source/meson.build"

# A subproject that is only the system's library: stub NAME DEPENDENCY VARIABLE-OF-IT LIBRARY-VARIABLES...
stub() {
    local name=$1 dependency=$2 variable=$3 directory library
    shift 3
    directory=$source/subprojects/$(sed -n 's/^directory = //p' "$source/subprojects/$name.wrap")
    mkdir -p "$directory"
    : >"$directory/nothing.c"
    {
        echo "project('$name', 'c')"
        printf '%b\n' "$variable = $dependency"
        for library in "$@"; do
            echo "$library = static_library('${name}_$library', 'nothing.c')"
        done
    } >"$directory/meson.build"
}
# Options that the worker's build sets on a subproject.
options() {
    local directory option
    directory=$source/subprojects/$(sed -n 's/^directory = //p' "$source/subprojects/$1.wrap")
    shift
    for option in "$@"; do
        echo "option('$option', type: 'string', value: '')"
    done >"$directory/meson_options.txt"
}
absl="declare_dependency(dependencies: [dependency('absl_flat_hash_map'), dependency('absl_flat_hash_set'),"
absl+=" dependency('absl_inlined_vector')])"
absl+="\nabsl_strings_dep = dependency('absl_strings')\nabsl_types_dep = dependency('absl_optional')"
stub abseil-cpp "$absl" absl_container_dep absl_container_lib absl_strings_lib absl_types_lib absl_throw_delegate_lib
stub openssl "dependency('openssl')" openssl_dep libcrypto_lib libssl_lib
stub libuv "dependency('libuv')" libuv_dep libuv
stub libsrtp2 "dependency('libsrtp2')" libsrtp2_dep libsrtp2
stub usrsctp "dependency('usrsctp')" usrsctp_dep usrsctp
stub nlohmann_json "dependency('nlohmann_json')" nlohmann_json_dep
stub catch2 "declare_dependency()" catch2_dep
options libuv build_tests build_benchmarks
options libsrtp2 crypto-library crypto-library-kdf tests
options usrsctp sctp_build_programs sctp_inet sctp_inet6

meson setup --buildtype release -Db_ndebug=true -Dcpp_args=-I/usr/include/srtp2 "$work/out" "$source"
ninja -C "$work/out" mediasoup-worker
cp "$work/out/mediasoup-worker" "$worker"
say "built $worker" >&3
