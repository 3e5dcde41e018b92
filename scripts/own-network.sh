#!/usr/bin/env bash
# Runs a command in a network of its own, whose loopback interface has every port free: scripts/own-network.sh COMMAND...
#
# Where the system permits no such network, the command runs in the machine's.
set -euo pipefail
if unshare -rn ip link set lo up 2>/dev/null; then
  # shellcheck disable=SC2016 # expanded by the inner shell
  exec unshare -rn sh -c 'ip link set lo up && exec "$@"' sh "$@"
fi
exec "$@"
