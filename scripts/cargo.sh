#!/usr/bin/env bash
# cargo with the set-up done: installs what is missing, points at the cached RocksDB, then runs `cargo "$@"`.
set -euo pipefail
environment=$("$(dirname "$0")/setup.sh")
eval "$environment"
exec cargo "$@"
