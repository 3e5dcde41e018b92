#!/usr/bin/env bash
# The descriptions that `rookery schema` prints, held against their specifications: OpenAPI by redocly, AsyncAPI by its
# parser. A self-test first shows that both refuse a broken one.
#
#   scripts/descriptions.sh
#   BIN=DIR scripts/descriptions.sh       the binary from there instead of a debug build
#
# It needs Node 20 or later, and npm. The packages come from npm, pinned by node/tests/descriptions/package-lock.json, into
# the cache; without a network and without that cache the script says so and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "descriptions: $*" >&2; }

command -v npm >/dev/null || { say "npm is missing: install Node 20 or later"; exit 1; }
if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
BIN=$(cd "$BIN" && pwd)

sources=node/tests/descriptions
pins=$(sha256sum "$sources/package-lock.json" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/descriptions-$pins
if ! [ -f "$cache/complete" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  cp "$sources"/package.json "$sources"/package-lock.json "$cache"
  say "installing the tools into the cache"
  if ! npm ci --prefix "$cache" --ignore-scripts --no-audit --no-fund --silent; then
    rm -rf "$cache"
    say "could not be installed: this needs a network to npm"
    exit 1
  fi
  touch "$cache/complete"
fi

# The tools find their packages and settings beside themselves, and nothing is written into the tree.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R "$sources"/. "$scratch"
ln -s "$cache/node_modules" "$scratch/node_modules"
cd "$scratch"
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

for kind in openapi asyncapi; do "$BIN/rookery" schema "$kind" >"$kind.json"; done
openapi() { node_modules/.bin/redocly lint "$1" --format=stylish; }
asyncapi() { node asyncapi.mjs "$1"; }

mkdir broken
# A reference to a schema that does not exist.
sed 's|"#/components/schemas/Ack"|"#/components/schemas/Nothing"|' openapi.json >broken/openapi.json
sed 's|"#/components/schemas/Ack"|"#/components/schemas/Nothing"|' asyncapi.json >broken/asyncapi.json
for kind in openapi asyncapi; do
  if "$kind" "broken/$kind.json" >/dev/null 2>&1; then
    say "the check of $kind accepts a reference to nothing"
    exit 1
  fi
done

openapi openapi.json
asyncapi asyncapi.json
say "clean"
