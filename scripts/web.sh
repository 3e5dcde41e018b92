#!/usr/bin/env bash
# The web page, from its lock file. It needs Node 20 or later, and npm; the build of the server needs neither.
#
#   scripts/web.sh            lint, types, texts, unit tests, and the build into web/dist, which is committed
#   scripts/web.sh check      the same, into another folder, and its comparison with web/dist
#   scripts/web.sh browser    the page of a real cluster in Chromium, which CHROMIUM names (/usr/bin/chromium unless given)
#
# ROOKERY_BIN or BIN=DIR names the server's binary for `browser`; otherwise a debug build is made.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-}
command -v npm >/dev/null || { echo "web: npm is missing: install Node 20 or later" >&2; exit 1; }
if [ "$what" = browser ]; then
  [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || {
    echo "web: Chromium is missing: install the package chromium, or name one in CHROMIUM" >&2
    exit 1
  }
  if [ -z "${ROOKERY_BIN:-}" ]; then
    if [ -z "${BIN:-}" ]; then
      scripts/cargo.sh build --locked --bin rookery
      BIN=${CARGO_TARGET_DIR:-target}/debug
    fi
    ROOKERY_BIN=$(realpath "$BIN/rookery")
  fi
  export ROOKERY_BIN
fi

cd web
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
  *) echo "web: check, browser or nothing, not $what" >&2; exit 2 ;;
esac
