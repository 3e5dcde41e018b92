#!/usr/bin/env bash
# Generated references, docs/reference/*.md: settings, command line, metrics, errors, REST requests and WebSocket messages,
# each from the program itself.
#
#   scripts/references.sh              writes them
#   scripts/references.sh check        writes them elsewhere and compares
#   BIN=DIR scripts/references.sh      the binary from there instead of a debug build
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "references: $*" >&2; }

case ${1:-} in "" | check) ;; *) say "check or nothing, not $1"; exit 2 ;; esac
if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
# The ports below are free in a network of its own.
if [ -z "${OWN_NETWORK:-}" ]; then OWN_NETWORK=1 BIN=$BIN exec scripts/own-network.sh scripts/references.sh "$@"; fi
rookery=$(cd "$BIN" && pwd)/rookery

work=$(mktemp -d)
cluster=
finish() {
  if [ -n "$cluster" ]; then
    kill "$cluster" 2>/dev/null || true
    wait "$cluster" || true
  fi
  rm -rf "$work"
}
trap finish EXIT

# Two nodes, so that the connections between them have metrics, with every part that has some of its own. Nobody listens at
# the addresses of the webhooks.
"$rookery" cluster --nodes 2 --data "$work/data" --http-base 18080 \
  --set webhook.url=http://127.0.0.1:9/ --set webhook.secret=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3 \
  --set login.webhook_url=http://127.0.0.1:9/ --set login.webhook_secret=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3 \
  >"$work/out" 2>"$work/log" &
cluster=$!
url=http://127.0.0.1:18080
for _ in $(seq 1200); do
  if [ -f "$work/data/cluster.json" ] && curl -fs "$url/readyz" >/dev/null; then break; fi
  kill -0 "$cluster" 2>/dev/null || { say "the nodes ended: $(tail -n 3 "$work/out" "$work/log")"; exit 1; }
  sleep 0.1
done
"$rookery" config >"$work/config"
for kind in openapi asyncapi; do "$rookery" schema "$kind" >"$work/$kind"; done
curl -fsS "$url/metrics" >"$work/metrics"
curl -fsS "$url/v1/docs" >"$work/page"
kill "$cluster"
wait "$cluster" || { say "the nodes failed at their stop: $(tail -n 3 "$work/log")"; exit 1; }
cluster=

mkdir "$work/reference"
python3 scripts/references.py "$rookery" "$work" "$work/reference"
if [ "${1:-}" = check ]; then
  diff -ru docs/reference "$work/reference" || { say "docs/reference is not that of the program: run scripts/references.sh"; exit 1; }
  say "docs/reference is that of the program"
else
  mkdir -p docs/reference
  rm -f docs/reference/*.md
  cp "$work"/reference/*.md docs/reference/
fi
