#!/usr/bin/env bash
# Executes the documents: every fenced block of `sh`, `python`, `ts` and `go`, in the order of the pages, against the nodes
# that the blocks themselves start. The README comes first, from the packaged archive. Blocks of `console` are only shown.
#
#   scripts/docs-test.sh                    all pages
#   scripts/docs-test.sh authentication go  the pages whose paths contain one of these words
#   BIN=DIR scripts/docs-test.sh            the binaries from there instead of a debug build
#   DIST=DIR scripts/docs-test.sh           the packages from there (target/dist); otherwise they are made of the binaries
#   KEEP=DIR scripts/docs-test.sh           leaves the working folders and the output of every server there
#
# It needs python3, Node 20 or later with npm, and Go, which apt-get installs where it is missing. The packages of Python
# come from PyPI, pinned by docs/recipes/requirements.txt, into the cache. The blocks use the ports that the pages name: on
# Linux they run in a network of their own, so that nothing else has these ports.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "docs-test: $*" >&2; }

build=${CARGO_TARGET_DIR:-target}
if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --workspace --bins
  BIN=$build/debug
fi
BIN=$(cd "$BIN" && pwd)
if ! [ -x "$BIN/recipe-client" ]; then
  scripts/cargo.sh build --locked -p rookery-recipes
  RECIPES=$(cd "$build/debug" && pwd)
fi
export BIN RECIPES=${RECIPES:-$BIN}

if ! command -v go >/dev/null; then
  root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
    say "Go is missing, and cannot be installed from here (Debian: apt-get install golang-go)"
    exit 1
  fi
  say "Go is missing; asking apt-get for it"
  "${root[@]}" apt-get update -qq >&2
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >&2
fi

venv=$(scripts/python-venv.sh docs-test -r docs/recipes/requirements.txt)

# The TypeScript client as a package, as its own script makes it.
(. scripts/npm-project.sh sdk && need_npm && enter && npm run --silent build) >&2

if [ -z "${DIST:-}" ] && [ -f "$build/dist/SHA256SUMS" ]; then DIST=$build/dist; fi
made=
trap '[ -z "$made" ] || rm -rf "$made"' EXIT
if [ -z "${DIST:-}" ]; then
  say "making the packages"
  made=$(mktemp -d)
  DIST=$made scripts/dist.sh >/dev/null
  DIST=$made
fi
DIST=$(cd "$DIST" && pwd)
export DIST

scripts/own-network.sh "$venv/bin/python" scripts/docs-test.py "$@"
