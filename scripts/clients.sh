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
python=(-r "$sources/requirements.txt")
if ! has_node; then
  say "Node.js 20 or later is not here, taking the one of PyPI"
  python+=("$sources/requirements-node.txt")
fi
venv=$(scripts/python-venv.sh clients "${python[@]}")
PATH=$venv/bin:$PATH
has_node || { say "the Node.js of PyPI does not run here"; exit 1; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/clients-npm-$(sha256sum "$sources/package-lock.json" | cut -c1-16)
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
PYTHON=$venv/bin/python node "$scratch/run.mjs" "${names[@]}"
