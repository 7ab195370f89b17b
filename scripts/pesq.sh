#!/usr/bin/env bash
# Installs PESQ (ITU-T P.862.2), which scores speech against the original, into target/peers/pesq (or
# $PEERS_DIR/pesq): PyPI's package pesq in an environment of its own.
#
# Does nothing when it is there.
set -euo pipefail

version=0.0.4
root=$(cd "$(dirname "$0")/.." && pwd)
peers=${PEERS_DIR:-$root/target/peers}
python=$peers/pesq/bin/python

say() { printf 'pesq: %s\n' "$*"; }

if [ -x "$python" ] && "$python" -c 'import pesq' 2>/dev/null; then
    say "it is there"
    exit 0
fi
say "installing pesq $version; the log is $peers/pesq.log"
mkdir -p "$peers"
rm -rf "$peers/pesq"
if ! { python3 -m venv "$peers/pesq" && "$python" -m pip install --quiet "pesq==$version" numpy; } >"$peers/pesq.log" 2>&1; then
    say "it cannot be installed; the end of the log:"
    tail -n 5 "$peers/pesq.log"
    exit 1
fi
say "done"
