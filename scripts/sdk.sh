#!/usr/bin/env bash
# The TypeScript client, from its lock file. It needs Node 20 or later, and npm.
#
#   scripts/sdk.sh            what needs no server: lint, types, tests, package, sizes
#   scripts/sdk.sh nodes      the generated types, and the clients against real nodes
#   scripts/sdk.sh browser    the client in Chromium, which CHROMIUM names (/usr/bin/chromium unless given)
#   scripts/sdk.sh chaos      many clients, three nodes, faults, judged by the oracle of rookery-loadtest
#                             (SECONDS=120 CLIENTS=50 SEED=…)
#
# ROOKERY_BIN or BIN=DIR names the server's binary; otherwise a debug build is made.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-}
. scripts/npm-project.sh sdk
need_npm
[ "$what" != browser ] || need_chromium
case $what in
  "") ;;
  chaos) server_binary rookery-loadtest ;;
  *) server_binary ;;
esac
enter

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
  *) say "nodes, browser, chaos or nothing, not $what"; exit 2 ;;
esac
