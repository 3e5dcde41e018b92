#!/usr/bin/env bash
# Stock clients of every protocol against a cluster of three real nodes, behind a proxy without stickiness.
#
#   scripts/clients.sh                    all clients
#   scripts/clients.sh short              one or two of each protocol
#   scripts/clients.sh native             some, by their names in node/tests/clients/run.mjs
#   BIN=DIR scripts/clients.sh            the binaries from there instead of a debug build
#   KEEP=DIR scripts/clients.sh           leaves data and logs there
#
# The packages come from npm and PyPI, pinned by node/tests/clients/package-lock.json and requirements.txt, into the
# cache; without a network and without that cache the script says so and fails. Node.js 20 or later is used if it is
# there, and otherwise comes from PyPI, too (requirements-node.txt).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "clients: $*" >&2; }

names=("$@")
if [ "${1:-}" = short ]; then
  names=(native anycable-base anycable-extended socketio-upgrade mqtt-3-tcp mqtt-5-websocket
    docs-socketio-python docs-mqtt-python)
fi

if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
BIN=$(cd "$BIN" && pwd)
DOCS=$PWD/docs
export BIN DOCS

has_node() {
  command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

sources=node/tests/clients
pins=$(cat "$sources/package-lock.json" "$sources"/requirements*.txt | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/clients-$pins
# What the cache has of its own comes first in the search path.
PATH=$cache/venv/bin:$PATH
if ! [ -f "$cache/complete" ]; then
  give_up() {
    rm -rf "$cache"
    say "could not be installed: $1"
    exit 1
  }
  rm -rf "$cache"
  mkdir -p "$cache"
  cp "$sources"/package.json "$sources"/package-lock.json "$cache"
  say "installing the clients into the cache"
  scripts/python-venv.sh "$cache/venv" || give_up "this needs python3 with venv and pip"
  "$cache/venv/bin/pip" install -q --no-deps --require-hashes -r "$sources/requirements.txt" ||
    give_up "this needs a network to PyPI"
  if ! has_node; then
    say "Node.js 20 or later is not here, taking the one of PyPI"
    "$cache/venv/bin/pip" install -q --no-deps --require-hashes -r "$sources/requirements-node.txt" ||
      give_up "this needs a network to PyPI"
    hash -r
    has_node || give_up "the Node.js of PyPI does not run here"
  fi
  npm ci --prefix "$cache" --no-audit --no-fund --silent || give_up "this needs a network to npm"
  touch "$cache/complete"
fi

# The modules find their packages beside themselves, and nothing is written into the tree.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R "$sources"/. "$scratch"
ln -s "$cache/node_modules" "$scratch/node_modules"
PYTHON=$cache/venv/bin/python node "$scratch/run.mjs" "${names[@]}"
