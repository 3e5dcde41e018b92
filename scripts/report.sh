#!/usr/bin/env bash
# Measures everything that docs/reports has, on three real nodes of this machine, and writes it there under today's
# date: tables, plots, figures. At the end it compares them with scripts/goals.tsv. Half an hour on two cores, twelve
# minutes more with the soak. Have nothing else running.
#
#   scripts/report.sh                        all of it but the soak
#   scripts/report.sh failover throughput    some steps, see below
#   BIN=DIR scripts/report.sh                the binaries from there instead of a release build
#   DATE=2026-01-31 SCALE=0.1 …              another name, and loads a tenth as long (to try it)
#
# A run that is there already is not made again, so a report that was broken off goes on; FRESH=1 makes its runs anew.
set -euo pipefail
cd "$(dirname "$0")/.."

steps=${*:-failover faults throughput share low rest scale nodes receipts inbox channel conversations hostile flapping}
date=${DATE:-$(date +%F)}
base=${HTTP_BASE:-28180}
runs=${RUNS:-${CARGO_TARGET_DIR:-target}/report/$date}
if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=${CARGO_TARGET_DIR:-target}/release
fi
mkdir -p "$runs"

seconds() { awk -v s="$1" -v scale="${SCALE:-1}" 'BEGIN { t = int(s * scale + 0.5); print (t < 3 ? 3 : t) "s" }'; }
times() { awk -v n="$1" -v scale="${SCALE:-1}" 'BEGIN { t = int(n * scale + 0.5); print (t < 1 ? 1 : t) }'; }

# Where it is measured.
machine() {
  local disk
  disk=$(df --output=fstype "${TMPDIR:-/tmp}" | tail -n 1)
  cat <<END
* $date, $("$BIN/rookery" --version), commit $(git rev-parse --short HEAD)
* $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)), $(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB of memory, Linux $(uname -r), the nodes' data on $disk
* **nodes, clients and the harness share these cores and this disk**; load average at the beginning: $(cut -d' ' -f1-3 /proc/loadavg)
* where nothing else is said: 3 nodes, 32 shards, three replicas of each, fsync on (an ack means: synced on a majority), bodies of 256 bytes; the settings that the harness lifts are in figures.json
END
}
[ -f "$runs/machine.md" ] || machine >"$runs/machine.md"

failed=0
take() { # take NAME COMMAND ARGUMENTS...
  local name=$1 folder=$runs/$1
  shift
  if [ -z "${FRESH:-}" ] && [ -f "$folder/done" ]; then
    echo "there  $name"
    return
  fi
  rm -rf "$folder" && mkdir -p "$folder"
  echo "rookery-loadtest $*" >"$folder/command"
  local began=$SECONDS
  if "$BIN/rookery-loadtest" "$@" --http-base "$base" --report "$folder" >"$folder/output.txt" 2>&1; then
    touch "$folder/done"
    echo "taken  $name in $((SECONDS - began)) s"
  else
    failed=$((failed + 1))
    echo "FAILED $name; see $folder/output.txt"
    tail -n 5 "$folder/output.txt" | sed 's/^/       /'
  fi
}

# The highest of the closed loops' rates.
peak() {
  sed -n 's/^  "acks_per_s": \([0-9]*\).*/\1/p' "$runs"/throughput-*/report.json "$runs"/peak-1*/report.json 2>/dev/null | sort -n | tail -n 1
}

# Compares the figures of the report with the goals of this project. A goal without a run is not measured.
goals() { # goals FIGURES
  local what figure bound limit unit value verdict
  command -v jq >/dev/null || { echo "the goals are not compared: jq is not installed"; return; }
  while IFS=$'\t' read -r what figure bound limit unit; do
    case $what in '#'*) continue ;; esac
    value=$(jq -r "($figure) | numbers" "$1" 2>/dev/null || true)
    verdict=$(awk -v value="$value" -v bound="$bound" -v limit="$limit" 'BEGIN {
      if (value == "") print "not measured"
      else if (bound == "most" ? value + 0 <= limit + 0 : value + 0 >= limit + 0) printf "met at %.1f", value
      else printf "MISSED at %.1f", value }')
    echo "$verdict: $what, at $bound $limit $unit"
  done <scripts/goals.tsv
}

for step in $steps; do
  case $step in
    failover)
      take failover-kill failover --local 3 --how kill --rounds "$(times 31)" --hold 2s
      take failover-cut failover --local 3 --how cut --rounds "$(times 15)" --hold 3s
      take failover-stop failover --local 3 --how stop --rounds "$(times 11)" --hold 3s
      take failover-drain failover --local 3 --how drain --rounds "$(times 11)" --hold 1s
      ;;
    faults)
      take faults-all run groups --local 3 -p groups=16 -p members=6 --rate 400 --duration 90s --seed 7 \
        --fault kill-owner@10s+3s --fault cut-owner@25s+6s --fault stop-owner@42s+5s --fault drain-owner@58s+1s --fault roll-all@70s+1s
      ;;
    throughput)
      for window in 1 4 16 64; do
        take "throughput-$window" run pairs --local 3 --clients 64 --window "$window" --duration "$(seconds 20)"
      done
      take peak-128 run pairs --local 3 --clients 128 --window 64 --duration "$(seconds 30)"
      take peak-room run room --local 3 --clients 200 -p speakers=4 --window 16 --duration "$(seconds 30)"
      ;;
    share)
      most=$(peak)
      if [ -z "$most" ]; then
        echo "share needs throughput first" >&2
        exit 1
      fi
      for percent in 25 50 75; do
        take "share-$percent" run pairs --local 3 --clients 128 --rate $((most * percent / 100)) --duration "$(seconds 45)"
      done
      ;;
    low)
      for rate in 25 100 500; do
        take "low-$rate" run pairs --local 3 --clients 20 --rate "$rate" --duration "$(seconds 60)" --probe-disk
      done
      ;;
    rest)
      take rest-empty run idle --local 3 --clients 0 --duration "$(seconds 60)"
      take rest-5000 run idle --local 3 --clients 5000 --duration "$(seconds 45)"
      ;;
    scale)
      take scale-10 run pairs --local 3 --clients 20 --rate 2000 --duration "$(seconds 30)"
      for peers in 1 10 100; do
        take "scale-$((peers * 100))" run pairs --local 3 --clients 200 -p peers="$peers" --rate 2000 --duration "$(seconds 30)"
      done
      ;;
    nodes)
      for nodes in 1 3; do
        take "nodes-$nodes" run pairs --local "$nodes" --clients 64 --rate 2000 --duration "$(seconds 30)"
      done
      ;;
    receipts)
      take receipts-marked run receipts --local 3 --rate 40 --duration "$(seconds 45)"
      take receipts-unmarked run receipts --local 3 -p marks=0 --rate 40 --duration "$(seconds 45)"
      ;;
    inbox)
      take inbox-quiet run inbox --local 3 -p lists=100 --rate 5 --duration "$(seconds 45)"
      take inbox-busy run inbox --local 3 -p lists=5 --rate 100 --duration "$(seconds 45)"
      ;;
    channel)
      for members in 10 10000; do
        take "channel-$members" run channel --local 3 --clients 10 -p members="$members" --rate 200 --duration "$(seconds 30)"
      done
      ;;
    conversations)
      take conversations run conversations --local 3
      ;;
    hostile)
      take hostile run hostile --local 3 --duration "$(seconds 60)"
      ;;
    flapping)
      take flapping-calm run flapping --local 3 --clients 200 --rate 200 --duration "$(seconds 120)" --seed 7
      take flapping-faults run flapping --local 3 --clients 200 --rate 200 --duration "$(seconds 120)" --seed 7 \
        --fault kill-owner@"$(seconds 15)"+3s --fault cut-owner@"$(seconds 35)"+5s --fault stop-any@"$(seconds 60)"+4s \
        --fault drain-any@"$(seconds 80)"+1s --fault mute-owner@"$(seconds 95)"+5s
      ;;
    soak)
      # Ten faults in the first five minutes, and then six and a half in which nobody is restarted: the trend is theirs.
      take soak-faults run soak --local 3 --rate 40 --duration "$(seconds 690)" --faults random:10@"$(seconds 300)" --settle 90s
      ;;
    *)
      echo "no step $step" >&2
      exit 1
      ;;
  esac
done

"$BIN/rookery-loadtest" collect "$runs" --out "docs/reports/$date"
goals "docs/reports/$date/figures.json"
[ "$failed" = 0 ]
