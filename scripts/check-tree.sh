#!/usr/bin/env bash
# What must not be in a tracked file: a path of somebody's machine, a key, a file too large to be source; and what must
# be: the tests that docs/testing.md names.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
complain() { echo "check-tree: $1" >&2; echo "$2" | sed 's/^/  /' >&2; failed=1; }

# Written in pieces so that this file does not find itself.
paths="/(ro)ot/|/(wo)rk/|/(ho)me/[a-z]|/(Us)ers/[A-Za-z]|/(tm)p/(pl)an"
if hits=$(git grep -nIE "$paths" -- . ':!Cargo.lock'); then complain "a machine's own path" "$hits"; fi
if hits=$(git grep -nIE -e "-----BEG(IN) ([A-Z]+ )?(PRIV)ATE KEY" -- . ':!*/tests/*' ':!*/testdata/*'); then complain "a private key" "$hits"; fi
hits=$(git ls-files -z | xargs -0 -r -I{} find {} -maxdepth 0 -size +1024k -print 2>/dev/null || true)
[ -z "$hits" ] || complain "a tracked file over 1 MiB" "$hits"
hits=$(git ls-files -- target rookery-data '*/node_modules/*' sdk/dist sdk/.build web/.shots '*.orig' '*.rej' '*.profraw')
[ -z "$hits" ] || complain "a file that a build or a tool left behind" "$hits"
# named COLUMN FOLDER: files that one column of the table of promises names, and that are not there.
named() {
  awk -F'|' -v column="$1" '/^\| what the chat promises/ { table = 1 } /^$/ { table = 0 } table { print $column }' docs/testing.md |
    grep -o '`[^`]*`' | tr -d '`' | while read -r file; do
    [ -f "$2/$file" ] || [ -f "$file" ] || echo "$file"
  done
}
for place in "3 node/src/state_machine/tests" "4 node/tests" "5 node/tests/processes"; do
  # shellcheck disable=SC2086 # a column and a folder
  hits=$(named $place)
  [ -z "$hits" ] || complain "docs/testing.md names a test that is not there" "$hits"
done
# Tests that the table of attacks in SECURITY.md names, in its last column.
hits=$(awk -F'|' '/^\| attack/ { table = 1 } /^$/ { table = 0 } table { print $4 }' SECURITY.md |
  grep -o '`[^`]*`' | tr -d '`' | while read -r test; do
  git grep -qE "fn $test\(" -- '*.rs' || [ -f "$test" ] || echo "$test"
done)
[ -z "$hits" ] || complain "SECURITY.md names a test that is not there" "$hits"
[ "$failed" = 0 ] && echo "check-tree: clean"
exit "$failed"
