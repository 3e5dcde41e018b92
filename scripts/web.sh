#!/usr/bin/env bash
# The chat page and the console, from their lock file. It needs Node 20 or later, and npm; the build of the server needs neither.
#
#   scripts/web.sh            lint, types, texts, unit tests, and the build into web/dist, which is committed
#   scripts/web.sh check      the same, into another folder, and its comparison with web/dist
#   scripts/web.sh browser    the pages of a real cluster in Chromium, which CHROMIUM names (/usr/bin/chromium unless given)
#
# ROOKERY_BIN or BIN=DIR names the server's binary for `browser`; otherwise a debug build is made.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-}
. scripts/npm-project.sh web
need_npm
if [ "$what" = browser ]; then
  need_chromium
  # The load harness judges a drain under load.
  server_binary rookery-loadtest
fi
enter

case $what in
  "")
    npm run --silent check
    npm run --silent test
    npm run --silent build
    ;;
  check)
    npm run --silent check
    npm run --silent test
    OUT=$(mktemp -d)
    trap 'rm -rf "$OUT"' EXIT
    export OUT
    npm run --silent build
    npm run --silent compare -- dist "$OUT"
    ;;
  browser) npm run --silent test:browser ;;
  *) say "check, browser or nothing, not $what"; exit 2 ;;
esac
