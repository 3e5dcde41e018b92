#!/usr/bin/env bash
# Breaks three real nodes on this machine, in every way that the load harness knows, under the oracle: docs/testing.md
# has the table. Each run has its own seed; a failed one is printed with the command that repeats it, and its data and
# history are kept.
#
#   scripts/chaos.sh            every fault once, then drawn ones
#   scripts/chaos.sh short      one cluster, one fault after the other (loadtest/plans/short.toml)
#   ROUNDS=20 scripts/chaos.sh  all of it with 20 seeds: a night
#   ONLY=cut scripts/chaos.sh   only runs whose faults have this in their name
#   BIN=DIR scripts/chaos.sh    the binaries from there instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-1}
base=${HTTP_BASE:-28080}
if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=${CARGO_TARGET_DIR:-target}/release
fi

# One line is one run. Those with two faults have them on together.
every() {
  cat <<'RUNS'
kill-owner@3s
kill-all@3s+1s
chase-owner@2s+500ms
stop-owner@3s+5s
pausekill-all@3s+3s
drain-owner@3s
roll-all@2s+1s
cut-owner@3s+6s
cut-follower@3s+6s
cut-all@3s+4s
cut-bridge@3s+6s
mute-owner@3s+5s
deaf-owner@3s+5s
mute-follower@3s+5s
mute-bridge@3s+5s
swizzle-all@3s+8s
delay-all@3s+6s
loss-all@3s+6s
reset-all@3s+6s
throttle-owner@3s+6s
rollback-follower@3s+4s
rollback-owner@3s+4s
full-owner@3s+6s
full-follower@3s+6s
slow-owner@3s+6s
slow-follower@3s+6s
clock-owner@3s+3s
cut-owner@3s+6s kill-follower@4s+2s
delay-all@3s+8s kill-owner@5s+2s
slow-follower@3s+6s stop-owner@4s+3s
RUNS
}

out=$(mktemp -d)
passed=0 failed=0 skipped=0

# Four senders in each of four groups, clients on all nodes; clients of a dead node go on elsewhere.
run() { # run NAME SEED ARGUMENTS...
  local name=$1 seed=$2 report=$out/${1//[ @:+]/_}-$2
  shift 2
  local command=("$BIN/rookery-loadtest" run groups --local 3 --http-base "$base" -p groups=4 -p members=6
    -p speakers=4 --rate 120 --settle 90s --seed "$seed" "$@")
  if "${command[@]}" --report "$report" >"$report.txt" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $name seed $seed: $(grep -E '^[0-9]+ violations' "$report.txt"), $(grep -c '^fault .*Installed' "$report.txt" || true) faults"
  else
    failed=$((failed + 1))
    echo "FAIL  $name seed $seed; again: ${command[*]}"
    tail -n 25 "$report.txt"
  fi
  grep -E '^fault ' "$report.txt" | sed 's/^/        /' || true
  skipped=$((skipped + $(grep -c '^fault .*Skipped' "$report.txt" || true)))
}

if [ "${1:-}" = short ]; then
  run short "${SEED:-1}" --duration 110s --plan loadtest/plans/short.toml
else
  for seed in $(seq 1 "$rounds"); do
    while read -r faults; do
      case $faults in *"${ONLY:-}"*) ;; *) continue ;; esac
      arguments=()
      for fault in $faults; do arguments+=(--fault "$fault"); done
      run "$faults" "$seed" --duration 14s "${arguments[@]}" </dev/null
    done < <(every)
    [ -n "${ONLY:-}" ] || run random "$seed" --duration 60s --faults random:6
  done
fi
[ "$failed" = 0 ] && rm -rf "$out" || echo "reports are kept in $out"
echo "$passed passed, $failed failed; $skipped faults skipped"
[ "$failed" = 0 ]
