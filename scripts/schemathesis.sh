#!/usr/bin/env bash
# Holds the running server against its own description: schemathesis reads /v1/openapi.json and asks what it describes,
# rightly and wrongly. Any 5xx, any answer that is not described and any body that is not of its schema fails the run.
#
#   scripts/schemathesis.sh                    a bounded run with a fixed seed
#   EXAMPLES=500 SEED=7 scripts/schemathesis.sh
#   BIN=DIR scripts/schemathesis.sh            the binary from there instead of a debug build
#
# One check is left out: that whatever fits the schemas is accepted. A schema can't say bytes (it counts characters), nor
# that two parameters exclude each other.
#
# The tool comes from PyPI, pinned, into a virtual environment in the cache; without a network and without that
# environment the script says so and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
examples=${EXAMPLES:-25}
seed=${SEED:-1}

say() { echo "schemathesis: $*" >&2; }

if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
venv=$(scripts/python-venv.sh schemathesis "schemathesis==$version")

scratch=$(mktemp -d)
# Rates are lifted, and polls do not wait: what is tried here is what is said, not how often.
"$BIN/rookery" dev --data "$scratch/data" --http 127.0.0.1:0 \
  --set server.admin_token=schemathesis-operator \
  --set limits.sends_per_second=1000000 --set limits.queries_per_second=1000000 \
  >"$scratch/out" 2>"$scratch/log" &
node=$!
trap 'kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$scratch"' EXIT

url=
for _ in $(seq 1 300); do
  kill -0 "$node" 2>/dev/null || { say "the node ended:"; cat "$scratch/out" "$scratch/log" >&2; exit 1; }
  url=$(grep -ohE 'https?://127\.0\.0\.1:[0-9]+' "$scratch/out" "$scratch/log" | head -n 1 || true)
  [ -n "$url" ] && python3 -c "import urllib.request as u; u.urlopen('$url/readyz', timeout=2)" 2>/dev/null && break
  sleep 0.2
done
[ -n "$url" ] || { say "the node is not ready:"; cat "$scratch/out" "$scratch/log" >&2; exit 1; }

# Something to meet: a group in which the tool writes, edits and reacts at 3 and deletes at 4.
seed_group='
import json, sys, urllib.request

def call(method, path, key, body):
    headers = {"Authorization": "Bearer dev:alice", "Content-Type": "application/json", "Idempotency-Key": key}
    request = urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode(), headers, method=method)
    return json.load(urllib.request.urlopen(request, timeout=10))

c = call("POST", "/v1/conversations", "make", {"kind": "group", "members": ["bob"]})["c"]
for i in range(2):
    call("POST", f"/v1/conversations/{c}/messages", str(i), {"b": {"text": "hi"}})
print(c)
'
conversation=$(python3 -c "$seed_group" "$url")

# Who asks: a user, and for what operators see the operator. The first run is a stranger everywhere but in what it makes
# itself; the second is inside the group, which it must not leave.
config() {
  echo 'headers = { Authorization = "Bearer dev:alice" }'
  [ "$1" = stranger ] || printf '[parameters]\n"path.c" = "%s"\n"path.s" = 3\n' "$conversation"
  cat <<'EOF'
[[operations]]
include-path-regex = "^/(metrics|v1/cluster|v1/admin)"
headers = { Authorization = "Bearer schemathesis-operator" }
[[operations]]
include-path-regex = "^/v1/poll$"
parameters = { "query.wait" = 0 }
EOF
  [ "$1" = stranger ] || cat <<'EOF'
[[operations]]
include-operation-id = "delete_message"
parameters = { "path.s" = 4 }
EOF
}

failed=0
cd "$scratch" # The tool leaves files where it runs.
for place in stranger member; do
  config "$place" >"$place.toml"
  # A stream doesn't end by itself: every case of it would take as long as the tool waits.
  scope=(--exclude-path-regex '^/v1/(events|admin/stream)$')
  # What is set from outside undoes what the tool had made wrong, which the stateful phase doesn't notice.
  [ "$place" = stranger ] || scope=(--include-path-regex '^/v1/conversations/[{]c[}]'
    --exclude-operation-id delete_member --phases "examples,coverage,fuzzing")
  say "as a $place"
  "$venv/bin/schemathesis" --config-file "$place.toml" run "$url/v1/openapi.json" --checks all \
    --exclude-checks positive_data_acceptance "${scope[@]}" --max-examples "$examples" --seed "$seed" --workers 1 \
    --warnings off --no-color "$@" || failed=1
done

kill -0 "$node" 2>/dev/null || { say "the node did not survive it"; failed=1; }
if grep -E '(WARN|ERROR|panicked)' "$scratch/log"; then say "the node complained"; failed=1; fi
[ "$failed" = 0 ] && say "clean: $examples examples for each operation, seed $seed"
exit "$failed"
