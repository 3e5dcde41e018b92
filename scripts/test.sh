#!/usr/bin/env bash
# Runs every test of the workspace: with cargo-nextest where it is installed (one process per test, a limit on each),
# otherwise with `cargo test`. Arguments go to the runner as they are.
#
#   scripts/test.sh                       all
#   scripts/test.sh -p rookery-storage    one crate, without its documentation tests
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$(scripts/setup.sh quick)
eval "$environment"

scope=(--workspace)
case " $* " in *" -p "* | *" --package "*) scope=() ;; esac
flags=("${scope[@]}" --all-features --locked)
# Most tests wait more than they compute, so two for each core.
threads=$(($(getconf _NPROCESSORS_ONLN) * 2))
if cargo nextest --version >/dev/null 2>&1; then
  export NEXTEST_TEST_THREADS="${NEXTEST_TEST_THREADS:-$threads}"
  # nextest runs no documentation tests. A crate without a library would refuse to.
  [ ${#scope[@]} = 0 ] || cargo test "${flags[@]}" --doc --quiet "$@"
  cargo nextest run "${flags[@]}" --profile "${NEXTEST_PROFILE:-default}" "$@"
else
  # Failpoints are a whole process's: those of the storage go one at a time, and nothing else beside them.
  case " ${scope[*]} $* " in
    *" --workspace "* | *" rookery-storage "*) cargo test "${flags[@]}" "$@" --test suite -- --test-threads=1 failpoints:: ;;
  esac
  cargo test "${flags[@]}" "$@" -- --test-threads="$threads" --skip failpoints::
fi
