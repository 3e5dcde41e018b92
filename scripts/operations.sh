#!/usr/bin/env bash
# Tries what an operator does to a running cluster, on real nodes of this machine under load with the oracle, and prints
# the figures: scripts/operations.py has the list. A failed one ends the script, and its directory is kept.
#
#   scripts/operations.sh                  all of them: a quarter of an hour
#   scripts/operations.sh short            the same with less load and fewer sessions: some minutes
#   scripts/operations.sh grow drain       some of them; `short` may stand before
#   OLD=DIR scripts/operations.sh upgrade  a rolling upgrade from the `rookery` in that directory, an older build
#   BIN=DIR scripts/operations.sh          the binaries from there instead of a release build
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=${CARGO_TARGET_DIR:-target}/release
fi
BIN=$BIN OLD=${OLD:-} exec python3 scripts/operations.py "$@"
