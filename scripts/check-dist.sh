#!/usr/bin/env bash
# Tries the packages that scripts/dist.sh made: their checksums, the program of the archive as the README starts it, and
# the contents of the Debian package. Installs nothing.
#
#   scripts/check-dist.sh             those in target/dist
#   DIST=DIR scripts/check-dist.sh    those there
set -euo pipefail
cd "$(dirname "$0")/.."

dist=$(cd "${DIST:-${CARGO_TARGET_DIR:-target}/dist}" && pwd)
work=$(mktemp -d)
node=
trap '[ -z "$node" ] || kill -9 "$node" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "check-dist: $*" >&2; exit 1; }

(cd "$dist" && sha256sum --quiet --check SHA256SUMS)
# named SUFFIX: the file that the checksums name.
named() { awk -v end="$1" 'substr($2, length($2) - length(end) + 1) == end { print $2 }' "$dist/SHA256SUMS"; }

# --- the archive: a node that sends a message.
archive=$(named .tar.gz | grep -v -- '-debug\.tar\.gz$')
tar -xzf "$dist/$archive" -C "$work"
root=$work/${archive%.tar.gz}
for file in LICENSE LICENSE-MIT LICENSE-APACHE THIRD-PARTY-LICENSES README.md docs/operations.md \
  config/node.example.toml deploy/systemd/rookery.service; do
  [ -s "$root/$file" ] || fail "$archive lacks $file"
done
"$root/rookery-loadtest" --help >/dev/null || fail "rookery-loadtest does not start"
"$root/rookery" config | cmp - "$root/config/node.example.toml" || fail "the example is not that of the program"
"$root/rookery" dev --http 127.0.0.1:0 --data "$work/data" >"$work/out" 2>"$work/log" &
node=$!
url=
for _ in $(seq 600); do
  [ -n "$url" ] || url=$(sed -n 's|.* one node on \(http://[0-9.:]*\),.*|\1|p' "$work/out")
  if [ -n "$url" ] && curl -fs "$url/readyz" >/dev/null; then break; fi
  kill -0 "$node" 2>/dev/null || fail "the node ended: $(tail -n 3 "$work/log")"
  sleep 0.1
done
ack=$(curl -fsS -X POST -H 'Authorization: Bearer dev:alice' -H 'Idempotency-Key: first' \
  -H 'Content-Type: application/json' -d '{"b":{"text":"hello"}}' "$url/v1/users/bob/messages")
case $ack in *'"cid":"first"'*) ;; *) fail "no ack: $ack" ;; esac
kill "$node"
wait "$node" || fail "an orderly stop failed"
node=

# --- the Debian package.
package=$(named .deb)
if [ -n "$package" ]; then
  dpkg-deb -x "$dist/$package" "$work/deb"
  dpkg-deb -e "$dist/$package" "$work/control"
  cmp "$work/deb/usr/bin/rookery" "$root/rookery"
  for script in postinst prerm postrm; do sh -n "$work/control/$script"; done
  for file in man/man1/rookery.1.gz man/man1/rookery-ctl-drain.1.gz bash-completion/completions/rookery \
    zsh/vendor-completions/_rookery fish/vendor_completions.d/rookery.fish; do
    [ -s "$work/deb/usr/share/$file" ] || fail "$package has no $file"
  done
  grep -qx /etc/rookery/node.toml "$work/control/conffiles" || fail "node.toml is no conffile"
  (cd "$work/deb" && md5sum --quiet --check "$work/control/md5sums")
  # All that the settings of the package lack is the operator's choice of a source of tokens.
  code=0
  "$work/deb/usr/bin/rookery" node --config "$work/deb/etc/rookery/node.toml" 2>"$work/refused" || code=$?
  [ "$code" = 64 ] && [ "$(grep -c '^  ' "$work/refused")" = 1 ] && grep -q '^  auth\.secret: ' "$work/refused" ||
    fail "the settings of $package: $(cat "$work/refused")"
fi
echo "check-dist: $archive ${package:-(no Debian package)} are good"
