#!/usr/bin/env bash
# The architecture's invariants (ARCHITECTURE.md), checked: who may name what, and which way dependencies point.
# Names in comments are free; code is not.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
checked=0

# only_in WHAT PATTERN ALLOWED-PREFIX FOLDER...: code in the folders matches the pattern only below the prefix.
only_in() {
  local what=$1 pattern=$2 allowed=$3 hits
  shift 3
  checked=$((checked + 1))
  hits=$(grep -rnE --include='*.rs' "$pattern" "$@" 2>/dev/null | grep -vE '^[^:]+:[0-9]+:[[:space:]]*//' | grep -vE "^($allowed)" || true)
  [ -z "$hits" ] || { echo "architecture: $what" >&2; echo "$hits" | sed 's/^/  /' >&2; failed=1; }
}

# depends CRATE WHAT PATTERN: no direct dependency of the crate (tests aside) matches the pattern.
depends() {
  local crate=$1 what=$2 pattern=$3 hits
  checked=$((checked + 1))
  hits=$(cargo tree --locked -q -p "$crate" --all-features --depth 1 -e normal,build --prefix none --format '{p}' |
    tail -n +2 | cut -d' ' -f1 | grep -xE "$pattern" || true)
  [ -z "$hits" ] || { echo "architecture: $what" >&2; echo "$hits" | sed 's/^/  /' >&2; failed=1; }
}

nothing='^$'
everything=(protocol storage cluster node loadtest)
only_in "openraft is named outside cluster/src/raft" '\bopenraft(::|_)' 'cluster/(src/raft|tests)/' "${everything[@]}"
only_in "rocksdb is named outside storage" '\brocksdb::' 'storage/' "${everything[@]}"
only_in "actix-web-actors is named outside node/src/gateway/websocket" '\bactix_web_actors\b' 'node/src/gateway/websocket(/|\.rs)' "${everything[@]}"
for gateway in cable mqtt socketio; do
  only_in "the gateway $gateway reaches past the sessions" 'crate::(commands|presence|rpc|service|shard|shard_client|state_machine|subscription)\b' "$nothing" "node/src/gateway/$gateway"
done
only_in "do_send ignores a mailbox's bound" '\.do_send\(' "$nothing" "${everything[@]}"

depends rookery-protocol "protocol does I/O or knows the server" 'actix.*|tokio.*|openraft|rocksdb|rookery.*'
depends rookery-storage "storage points upwards" 'actix.*|openraft|rookery.*'
depends rookery-cluster "cluster points upwards or sideways" 'actix.*|rocksdb|rookery|rookery-protocol|rookery-loadtest'
depends rookery "node reaches past the cluster" 'openraft|rocksdb|rookery-loadtest'
depends rookery-loadtest "loadtest is a client: protocol only" 'actix.*|openraft|rocksdb|rookery|rookery-cluster|rookery-storage'
depends rookery-chat-client "the terminal client is a client: protocol only" 'actix.*|openraft|rocksdb|rookery|rookery-cluster|rookery-storage|rookery-loadtest'
depends rookery-recipes "the recipes are programs of an application" 'rookery.*'

scripts/check-layers.sh || failed=1
scripts/check-spine.sh || failed=1

[ "$failed" = 0 ] && echo "architecture: $checked invariants hold"
exit "$failed"
