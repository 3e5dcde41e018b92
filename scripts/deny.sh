#!/usr/bin/env bash
# Licences, bans and sources of every dependency, by deny.toml. `scripts/deny.sh advisories` asks the advisory
# database, which needs a network.
#
# cargo-deny takes minutes to compile, so it is not installed behind anybody's back: `make deny` and CI install it
# (DENY_INSTALL=1), `make verify` uses it where it is there and says so where it is not.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
  if [ "${DENY_INSTALL:-0}" != 1 ]; then
    echo "deny: cargo-deny is not installed, dependencies were not checked; 'make deny' installs it and checks" >&2
    exit 0
  fi
  echo "deny: installing cargo-deny from crates.io (a few minutes, once)" >&2
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  # Without optimizations: it runs for seconds, and a release would be compiled for minutes.
  CARGO_TARGET_DIR=$build CARGO_PROFILE_DEV_DEBUG=false cargo install --locked --quiet --debug cargo-deny
fi
case "${1:-offline}" in
  advisories) cargo deny --locked check advisories ;;
  *) cargo deny --locked --offline check --hide-inclusion-graph bans licenses sources ;;
esac
