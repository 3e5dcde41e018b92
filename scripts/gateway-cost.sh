#!/usr/bin/env bash
# Cost of Socket.IO, ActionCable and MQTT beside the native WebSocket: memory of an idle connection and CPU time of a
# delivery, as medians with their ratio to the native ones. The goal is at most 1.3 for each.
#
#   scripts/gateway-cost.sh                          a release build, 1,000 connections, 200 receivers, 3 rounds
#   BIN=DIR scripts/gateway-cost.sh                  the binary from there
#   TESTS=FILE BIN=DIR scripts/gateway-cost.sh       with the test binary `processes`, built already with all features
#   CONNECTIONS=50 RECEIVERS=10 MESSAGES=20 ROUNDS=1 scripts/gateway-cost.sh
#
# Nothing else may run on the machine. Five rounds or more make a figure that may be written down.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --release --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/release
fi
ROOKERY_BIN=$(cd "$BIN" && pwd)/rookery
export ROOKERY_BIN
# The clients may be a debug build: only the node is measured.
measure=(--ignored --exact --nocapture gateway_cost::gateways_beside_the_native_websocket)
[ -z "${TESTS:-}" ] || exec "$TESTS" "${measure[@]}"
exec scripts/cargo.sh test --locked --all-features -p rookery --test processes -- "${measure[@]}"
