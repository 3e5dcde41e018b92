#!/usr/bin/env bash
# Runs every test of the workspace: with cargo-nextest where it is installed (one process per test, heavy tests
# one at a time, a limit on each), otherwise with `cargo test`. Arguments go to the runner as they are.
#
#   scripts/test.sh                       all
#   scripts/test.sh -p rookery-storage    one crate, without its documentation tests
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$(scripts/setup.sh)
eval "$environment"

scope=(--workspace)
case " $* " in *" -p "* | *" --package "*) scope=() ;; esac
flags=("${scope[@]}" --all-features --locked)
if cargo nextest --version >/dev/null 2>&1; then
  # nextest runs no documentation tests. A crate without a library would refuse to.
  [ ${#scope[@]} = 0 ] || cargo test "${flags[@]}" --doc --quiet "$@"
  cargo nextest run "${flags[@]}" --profile "${NEXTEST_PROFILE:-default}" "$@"
else
  # The tests that start real processes share two cores: one at a time keeps them honest.
  cargo test "${flags[@]}" "$@" -- --test-threads=1
fi
