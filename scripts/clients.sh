#!/usr/bin/env bash
# Stock clients of every protocol against a cluster of three real nodes, behind a proxy without stickiness.
#
#   scripts/clients.sh                    all clients
#   scripts/clients.sh native             some, by their names in node/tests/clients/run.mjs
#   BIN=DIR scripts/clients.sh            the binaries from there instead of a debug build
#   KEEP=DIR scripts/clients.sh           leaves data and logs there
#
# The packages come from npm, pinned by the lock file, into the cache; without a network and without that cache the
# script says so and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "clients: $*" >&2; }

if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
BIN=$(cd "$BIN" && pwd)
DOCS=$PWD/docs
export BIN DOCS

command -v npm >/dev/null || { say "npm is missing: the clients need Node.js 20 or later"; exit 1; }
sources=node/tests/clients
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/clients-$(sha256sum "$sources/package-lock.json" | cut -c1-16)
if ! [ -f "$cache/complete" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  cp "$sources"/package.json "$sources"/package-lock.json "$cache"
  say "installing the clients into the cache"
  if ! npm ci --prefix "$cache" --no-audit --no-fund --silent; then
    rm -rf "$cache"
    say "could not be installed: this needs a network to npm"
    exit 1
  fi
  touch "$cache/complete"
fi

# The modules find their packages beside themselves, and nothing is written into the tree.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R "$sources"/. "$scratch"
ln -s "$cache/node_modules" "$scratch/node_modules"
node "$scratch/run.mjs" "$@"
