#!/usr/bin/env bash
# Stock clients of every protocol against a cluster of three real nodes, behind a proxy without stickiness.
#
#   scripts/clients.sh                    all clients
#   scripts/clients.sh native             some, by their names in node/tests/clients/run.mjs
#   BIN=DIR scripts/clients.sh            the binaries from there instead of a debug build
#   KEEP=DIR scripts/clients.sh           leaves data and logs there
#
# The packages come from npm and PyPI, pinned by node/tests/clients/package-lock.json and requirements.txt, into the
# cache; without a network and without that cache the script says so and fails.
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
command -v python3 >/dev/null || { say "python3 is missing: the clients need Python 3.9 or later"; exit 1; }
pins=$(cat "$sources/package-lock.json" "$sources/requirements.txt" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/clients-$pins
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
  if ! python3 -m venv "$cache/venv" || ! "$cache/venv/bin/pip" install -q -r "$sources/requirements.txt"; then
    rm -rf "$cache"
    say "could not be installed: this needs a network to PyPI"
    exit 1
  fi
  touch "$cache/complete"
fi

# The modules find their packages beside themselves, and nothing is written into the tree.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R "$sources"/. "$scratch"
ln -s "$cache/node_modules" "$scratch/node_modules"
PYTHON=$cache/venv/bin/python node "$scratch/run.mjs" "$@"
