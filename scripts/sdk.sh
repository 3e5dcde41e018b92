#!/usr/bin/env bash
# The TypeScript client, from its lock file: lint, types, tests, package and sizes. It needs Node 20 or later, and npm.
#
#   scripts/sdk.sh          what needs no server
#   scripts/sdk.sh nodes    the generated types, and the clients against real nodes; ROOKERY_BIN or BIN=DIR names the
#                           binary, otherwise a debug build is made
set -euo pipefail
cd "$(dirname "$0")/.."

command -v npm >/dev/null || { echo "sdk: npm is missing: install Node 20 or later" >&2; exit 1; }
if [ "${1:-}" = nodes ] && [ -z "${ROOKERY_BIN:-}" ]; then
  if [ -z "${BIN:-}" ]; then
    scripts/cargo.sh build --locked --bin rookery
    BIN=${CARGO_TARGET_DIR:-target}/debug
  fi
  ROOKERY_BIN=$(realpath "$BIN/rookery")
fi
export ROOKERY_BIN=${ROOKERY_BIN:-}

cd sdk
# Installed again only if the lock file is another one: this takes longer than all checks.
stamp=node_modules/.installed
if ! cmp -s package-lock.json "$stamp"; then
  npm ci --no-audit --no-fund
  cp package-lock.json "$stamp"
fi

if [ "${1:-}" = nodes ]; then
  npm run --silent generate -- --check
  npm run --silent build
  npm run --silent snippets
  npm run --silent test:nodes
else
  npm run --silent check
  npm run --silent test
  npm run --silent build
  npm run --silent size
  npm run --silent snippets
  npm run --silent package
fi
