#!/usr/bin/env bash
# Figures of backups: what `backup create` costs a loaded cluster, and how long a backup and a restoration of many
# messages take.
#
#   scripts/backup-figures.sh                               a release build, 1,000,000 messages of 256 bytes
#   BIN=DIR scripts/backup-figures.sh                       the binaries from there
#   MESSAGES=20000 ROUNDS=1 LOAD_S=10 scripts/backup-figures.sh   a short trial
#   RATE=8MiB scripts/backup-figures.sh                     the backups of the cost at most at this rate
#   DATA=DIR scripts/backup-figures.sh                      the data there (free: about eight times the messages)
#
# Nothing else may run on the machine. The messages are written by rookery-loadtest in a closed loop over WebSockets, and
# judged by its oracle. Exit code 1: a command failed, digests differ, or the oracle found a violation.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=${CARGO_TARGET_DIR:-target}/release
fi
BIN=$(cd "$BIN" && pwd)
export BIN
exec python3 scripts/backup-figures.py
