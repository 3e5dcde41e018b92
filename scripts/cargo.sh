#!/usr/bin/env bash
# cargo with the set-up done: installs what is missing, points at the cached RocksDB, then runs `cargo "$@"`.
set -euo pipefail
# A RocksDB with fewer optimizations does for everything but what is measured or shipped.
case " $* " in
  *" --release "* | *" bench "* | *" --profile profiling "*) rocksdb=() ;;
  *) rocksdb=(quick) ;;
esac
environment=$("$(dirname "$0")/setup.sh" "${rocksdb[@]}")
eval "$environment"
exec cargo "$@"
