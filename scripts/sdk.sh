#!/usr/bin/env bash
# The TypeScript client, from its lock file. It needs Node 20 or later, and npm.
#
#   scripts/sdk.sh            what needs no server: lint, types, tests, package, sizes
#   scripts/sdk.sh nodes      the generated types, and the clients against real nodes
#   scripts/sdk.sh browser    the client in Chromium, which CHROMIUM names (/usr/bin/chromium unless given)
#   scripts/sdk.sh chaos      many clients, three nodes, faults (SECONDS=120 CLIENTS=50 SEED=…)
#
# ROOKERY_BIN or BIN=DIR names the server's binary; otherwise a debug build is made.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-}
command -v npm >/dev/null || { echo "sdk: npm is missing: install Node 20 or later" >&2; exit 1; }
if [ "$what" = browser ] && ! [ -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
  echo "sdk: Chromium is missing: install the package chromium, or name one in CHROMIUM" >&2
  exit 1
fi
if [ -n "$what" ] && [ -z "${ROOKERY_BIN:-}" ]; then
  if [ -z "${BIN:-}" ]; then
    scripts/cargo.sh build --locked --bin rookery
    BIN=${CARGO_TARGET_DIR:-target}/debug
  fi
  ROOKERY_BIN=$(realpath "$BIN/rookery")
  export ROOKERY_BIN
fi

cd sdk
# Installed again only if the lock file is another one: this takes longer than all checks.
stamp=node_modules/.installed
if ! cmp -s package-lock.json "$stamp"; then
  npm ci --no-audit --no-fund
  cp package-lock.json "$stamp"
fi

case $what in
  "")
    npm run --silent check
    npm run --silent test
    npm run --silent build
    npm run --silent size
    npm run --silent snippets
    npm run --silent package
    ;;
  nodes)
    npm run --silent generate -- --check
    npm run --silent build
    npm run --silent snippets
    npm run --silent test:nodes
    ;;
  browser | chaos) npm run --silent "test:$what" ;;
  *) echo "sdk: nodes, browser, chaos or nothing, not $what" >&2; exit 2 ;;
esac
