#!/usr/bin/env bash
# Breaks three real nodes on this machine, over and over, under the oracle: the owner killed, all killed at once, the
# owner stopped and woken, the owner drained. Each round has its own seed; a failed one is printed with the command
# that repeats it, and its data and history are kept.
#
#   scripts/chaos.sh            5 rounds of each fault
#   ROUNDS=20 scripts/chaos.sh
#   BIN=DIR scripts/chaos.sh    the binaries from there instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
base=${HTTP_BASE:-28080}
if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=${CARGO_TARGET_DIR:-target}/release
fi
out=$(mktemp -d)
passed=0
failed=0
for fault in kill-owner@2s kill-all@2s+1s stop-owner@2s+5s drain-owner@2s; do
  for seed in $(seq 1 "$rounds"); do
    report=$out/${fault%%@*}-$seed
    # Four senders, clients on all nodes, 2,000 messages into one group; clients of a dead node go on elsewhere.
    command=("$BIN/rookery-loadtest" run groups --local 3 --http-base "$base" -p groups=1 -p members=6 -p speakers=4
      --messages 2000 --rate 400 --duration 30s --seed "$seed" --fault "$fault")
    if "${command[@]}" --report "$report" >"$report.txt" 2>&1; then
      passed=$((passed + 1))
      echo "ok    $fault seed $seed: $(grep -E '^(kill|stop|drain) send-ack' "$report.txt" | tr -s ' ')"
    else
      failed=$((failed + 1))
      echo "FAIL  $fault seed $seed; again: ${command[*]}"
      tail -n 25 "$report.txt"
    fi
  done
done
[ "$failed" = 0 ] && rm -rf "$out" || echo "reports are kept in $out"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
