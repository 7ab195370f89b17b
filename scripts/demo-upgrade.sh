#!/usr/bin/env bash
# Takes a node over again and again under load, and shows what the generator counted.
#
#   scripts/demo-upgrade.sh [TAKE-OVERS]
#
# Twenty-five calls of two, 1,000 packets of 1,200 bytes a second from each side: 50,000 packets a second
# in and as many out. Fails when a packet was lost or came late in its stream, when a take-over did not
# work, or when control saw the node end. MOTET names the program.
set -euo pipefail
cd "$(dirname "$0")/.."

times=${1:-3}
motet=${MOTET:-target/release/motet}
calls=${CALLS:-25}
gap_ms_max=20
seconds=$((times * 2 + 4))
folder=$(mktemp -d "${TMPDIR:-/tmp}/motet-upgrade.XXXXXX")
# Ports of its own, so that two demos do not meet; below those that the kernel hands out.
slot=$(($$ % 40))
control=127.0.0.1:$((17000 + slot)) listen=127.0.0.1:$((17100 + slot))
ports=$((20000 + slot * 240))-$((20000 + slot * 240 + 239))
export MOTET_CSS=http://$control

say() {
    local ms=$(($(date +%s%3N) - began))
    printf '%3d.%03d s  %s\n' $((ms / 1000)) $((ms % 1000)) "$*"
}
fail() {
    printf 'demo-upgrade: %s\n' "$*" >&2
    tail -n 5 "$folder"/*.log >&2
    exit 1
}
children=()
finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
began=$(date +%s%3N)

# start NAME ARGUMENT...: a process of ours, its messages in NAME.log, its number in $started
start() {
    "$motet" "${@:2}" >"$folder/$1.log" 2>&1 &
    started=$!
    children+=("$started")
}
node() {
    start "$1" node --node-id demo-upgrade --listen "$listen" --metrics off --control "$MOTET_CSS" \
        --port-range "$ports" --handover-socket "$folder/handover" "${@:2}"
}
# wait_for TEXT FILE: until the text is there
wait_for() {
    for _ in $(seq 200); do
        if grep -q -- "$1" "$2"; then return; fi
        sleep 0.05
    done
    fail "'$1' was not said in time"
}

start css css --listen "$control" --metrics off
css=$started
node node-0
running=$started
wait_for "is ready" "$folder/css.log"
say "control ($css) and a node (process $running) are ready"
start load load --css "$MOTET_CSS" --conferences "$calls" --participants 2 --media video \
    --duration "$seconds" --json "$folder/report.json"
load=$started
wait_for "sends video" "$folder/css.log"
sleep 1.5
say "$calls calls of two carry $((calls * 2))000 packets a second in, and as many out"

for turn in $(seq "$times"); do
    node "node-$turn" --take-over
    successor=$started
    say "take-over $turn: process $successor is asked to go on for $running"
    wait "$running" || fail "the process before did not end well"
    gap=$(sed -n 's/.*gap_us=\([0-9]*\).*/\1/p' "$folder/node-$((turn - 1)).log")
    kill -0 "$successor" 2>/dev/null || fail "the new process ended"
    say "take-over $turn: done; for $(printf '%d.%d' $((gap / 1000)) $((gap % 1000 / 100))) ms packets waited in the sockets"
    running=$successor
    sleep 1.8
done

wait "$load" || { cat "$folder/load.log"; fail "the generator is not content"; }
say "the load has ended; the generator counted:"
cat "$folder/load.log"
if grep -q "is lost" "$folder/css.log"; then fail "control took the node for lost"; fi
number() { sed -n "s/^  \"$1\": \([0-9]*\).*/\1/p" "$folder/report.json"; }
lost=$(number lost) reordered=$(number reordered) gap=$(number gap_us_max)
printf '%s take-overs: %s packets lost, %s reordered, longest gap %s ms (goal: 0, 0, %s)\n' \
    "$times" "$lost" "$reordered" "$((gap / 1000)).$((gap % 1000 / 100))" "$gap_ms_max"
[ "$lost" = 0 ] && [ "$reordered" = 0 ] || fail "packets were lost or reordered"
