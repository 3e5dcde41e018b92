#!/usr/bin/env bash
# Breaks three real nodes on this machine, in every way that the load harness knows, under the oracle: docs/loadtest.md
# has the table. Each run has its own seed; a failed one is printed with the command that repeats it, and its data and
# history are kept.
#
#   scripts/chaos.sh            every fault, full disks, two at once, wrong clocks, removals, moved nodes, clients of all
#                               gateways, drawn ones: a quarter of an hour
#   scripts/chaos.sh short      a choice of them: three minutes; or another plan's name (loadtest/plans), or random
#   scripts/chaos.sh pauses     the owner paused, cut off and read from, a hundred times: eight minutes
#   ROUNDS=20 scripts/chaos.sh  all of it with 20 seeds: a night
#   WIRE=mqtt scripts/chaos.sh short   the same with clients of this protocol, or of several in turn
#   BIN=DIR scripts/chaos.sh    the binaries from there instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-1}
plans=${*:-every full pairs clocks removals addresses wires random}
base=${HTTP_BASE:-28080}
if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=${CARGO_TARGET_DIR:-target}/release
fi

out=$(mktemp -d)
passed=0 failed=0 skipped=0

# Five senders in each of four groups, clients on all nodes; clients of a dead node go on elsewhere. The last two of
# each group are removed on the way, in the middle of whatever is on then.
run() { # run NAME SEED ARGUMENTS...
  local name=$1 seed=$2 report=$out/$1-$2
  shift 2
  local wire=${WIRE:-native}
  if [ "$name" = wires ]; then wire=${WIRE:-native,socketio,mqtt,actioncable}; fi
  local command=("$BIN/rookery-loadtest" run groups --local 3 --http-base "$base" -p groups=4 -p members=6
    -p speakers=5 -p kicks=2 -p every=4 --rate 120 --settle 90s --seed "$seed" --wire "$wire" "$@")
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

for seed in $(seq 1 "$rounds"); do
  for plan in $plans; do
    case $plan in
      random) run random "$seed" --duration 60s --faults random:6 ;;
      pairs) run "$plan" "$seed" --duration 75s --plan "loadtest/plans/$plan.toml" ;;
      # As long as its faults take.
      *) run "$plan" "$seed" --duration 5s --plan "loadtest/plans/$plan.toml" ;;
    esac
  done
done
[ "$failed" = 0 ] && rm -rf "$out" || echo "reports are kept in $out"
echo "$passed passed, $failed failed; $skipped faults skipped"
[ "$failed" = 0 ]
