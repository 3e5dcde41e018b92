#!/usr/bin/env bash
# A real Prometheus over three real nodes: for a minute every alert is quiet; then a node is killed, and exactly the
# alerts of a lost node fire.
#
#   BIN=DIR scripts/alerts-live.sh PROMETHEUS RULES
set -euo pipefail
cd "$(dirname "$0")/.."

prometheus=$1 rules=$(realpath "$2")
expected="RookeryNoSpareReplica RookeryNodeDown"
say() { echo "alerts-live: $*" >&2; }

work=$(mktemp -d)
pids=()
stop() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap stop EXIT

base=$(scripts/free-ports.py 10)
monitor=127.0.0.1:$((base + 9))

"$BIN/rookery" cluster --nodes 3 --data "$work/cluster" --http-base "$base" --cluster-base $((base + 3)) \
  >"$work/cluster.out" 2>&1 &
pids+=($!)
for _ in $(seq 1200); do
  [ -f "$work/cluster/cluster.json" ] && break
  kill -0 "${pids[0]}" 2>/dev/null || { say "the cluster ended:"; cat "$work/cluster.out" >&2; exit 1; }
  sleep 0.1
done
[ -f "$work/cluster/cluster.json" ] || { say "the cluster is not ready"; exit 1; }

cat >"$work/prometheus.yaml" <<END
global: { scrape_interval: 2s, evaluation_interval: 2s }
rule_files: ["$rules"]
scrape_configs:
  - job_name: rookery
    static_configs:
      - targets: ["127.0.0.1:$base", "127.0.0.1:$((base + 1))", "127.0.0.1:$((base + 2))"]
END
"$prometheus" --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/tsdb" --web.listen-address="$monitor" \
  >"$work/prometheus.log" 2>&1 &
pids+=($!)

# ask EXPRESSION: the instances or alert names of the result, sorted, in one line; `unreachable` without an answer.
ask() {
  python3 - "http://$monitor/api/v1/query" "$1" <<'PY'
import json, sys, urllib.parse, urllib.request
url = sys.argv[1] + "?" + urllib.parse.urlencode({"query": sys.argv[2]})
try:
    answer = json.load(urllib.request.urlopen(url, timeout=5))
except OSError:
    print("unreachable")
    sys.exit()
found = {r["metric"].get("alertname") or r["metric"].get("instance") or r["value"][1] for r in answer["data"]["result"]}
print(" ".join(sorted(found)))
PY
}
up() { ask 'count(up == 1)'; }
for _ in $(seq 300); do [ "$(up)" = 3 ] && break; sleep 0.2; done
[ "$(up)" = 3 ] || { say "Prometheus does not reach three nodes"; tail -n 5 "$work/prometheus.log" >&2; exit 1; }

say "three nodes are scraped; a minute without an alert"
sleep 60
began='max_over_time(ALERTS{alertstate="firing"}[10m])'
fired=$(ask "$began")
[ -z "$fired" ] || { say "fired on a healthy cluster: $fired"; exit 1; }
[ "$(ask 'count_over_time(up[1m]) > 25')" != "" ] || { say "too few scrapes"; exit 1; }

killed=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["nodes"][2]["pid"])' "$work/cluster/cluster.json")
kill -9 "$killed"
say "node 3 is killed; the alerts of a lost node, and no other"
# The alerts of a lost node wait for 30 s; the minute behind them is for any that should not follow.
deadline=$((SECONDS + 120))
until [ "$(ask 'ALERTS{alertstate="firing"}')" = "$expected" ] || [ "$SECONDS" -ge "$deadline" ]; do sleep 1; done
sleep 60
fired=$(ask "$began")
[ "$fired" = "$expected" ] || { say "expected: $expected; fired: ${fired:-none}"; exit 1; }
say "fired: $fired"
