#!/usr/bin/env bash
# Packages for operators: an archive and a Debian package with stripped binaries, their debug symbols, a list of the
# crates in them, and the checksums of all.
#
#   scripts/dist.sh             of a release build, into target/dist
#   BIN=DIR scripts/dist.sh     of the binaries there
#   DIST=DIR scripts/dist.sh    into another folder
#   DEBFULLNAME=… DEBEMAIL=…    the maintainer that the Debian package names
#
# Binaries of one build and one commit give the same bytes: every time is that of the commit (SOURCE_DATE_EPOCH).
set -euo pipefail
cd "$(dirname "$0")/.."

build=${CARGO_TARGET_DIR:-target}
if [ -z "${BIN:-}" ]; then
  make --no-print-directory build
  BIN=$build/release
fi
dist=${DIST:-$build/dist}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} LC_ALL=C
umask 022
die() { echo "dist: $*" >&2; exit 1; }
for tool in strip objcopy python3; do command -v "$tool" >/dev/null || die "$tool is missing (packages binutils, python3)"; done
for program in rookery rookery-loadtest; do [ -x "$BIN/$program" ] || die "no $program in $BIN"; done

version=$("$BIN/rookery" --version | cut -d' ' -f2)
target=$(rustc -vV | sed -n 's/^host: //p')
name=rookery-$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out
mkdir "$out"

pack() { # pack NAME: the folder NAME as an archive
  tar -C "$work" --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    -cf - "$1" | gzip -n >"$out/$1.tar.gz"
}

# --- programs, and their symbols apart: a backtrace of a stripped program still names its functions with them.
root=$work/$name symbols=$work/$name-debug
mkdir "$root" "$symbols"
for program in rookery rookery-loadtest; do
  objcopy --only-keep-debug "$BIN/$program" "$symbols/$program.debug"
  strip -o "$root/$program" "$BIN/$program"
  objcopy --add-gnu-debuglink="$symbols/$program.debug" "$root/$program"
  chmod 755 "$root/$program"
done

# --- man pages and completions, which the program writes by itself.
"$BIN/rookery" man "$root/man"
mkdir "$root/completions"
for shell in bash zsh fish; do "$BIN/rookery" completions "$shell" >"$root/completions/rookery.$shell"; done

# --- documents, under their paths in the repository, so that their links hold.
documents=(README.md ARCHITECTURE.md CHANGELOG.md SECURITY.md 'docs/*.md' 'docs/decisions/*.md' 'docs/images/*' 'docs/recipes/*'
  config/node.example.toml 'deploy/*')
git ls-files -z -- "${documents[@]}" LICENSE 'LICENSE-*' | xargs -0 cp --parents -t "$root"
scripts/third-party.py --target "$target" --licenses "$root/THIRD-PARTY-LICENSES" --sbom "$out/$name.cdx.json"
pack "$name"
pack "$name-debug"

# --- the Debian package.
debian() {
  local pkg=$work/deb arch depends doc
  case $target in
    x86_64-*) arch=amd64 ;;
    aarch64-*) arch=arm64 ;;
    *) die "no Debian architecture for $target" ;;
  esac
  doc=$pkg/usr/share/doc/rookery
  install -d "$pkg/DEBIAN" "$pkg/usr/bin" "$pkg/usr/lib/systemd/system" "$pkg/etc/rookery" "$doc"
  install -m 755 "$root/rookery" "$root/rookery-loadtest" "$pkg/usr/bin/"
  git ls-files -z -- "${documents[@]}" | xargs -0 cp --parents -t "$doc"
  install -d "$pkg/usr/share/man/man1" "$pkg/usr/share/bash-completion/completions" \
    "$pkg/usr/share/zsh/vendor-completions" "$pkg/usr/share/fish/vendor_completions.d"
  install -m 644 "$root"/man/*.1 "$pkg/usr/share/man/man1/"
  gzip -n -9 "$pkg"/usr/share/man/man1/*.1
  install -m 644 "$root/completions/rookery.bash" "$pkg/usr/share/bash-completion/completions/rookery"
  install -m 644 "$root/completions/rookery.zsh" "$pkg/usr/share/zsh/vendor-completions/_rookery"
  install -m 644 "$root/completions/rookery.fish" "$pkg/usr/share/fish/vendor_completions.d/"
  { cat LICENSE LICENSE-MIT LICENSE-APACHE "$root/THIRD-PARTY-LICENSES"; } >"$doc/copyright"
  # The unit of a package has the package's user, of its own name and on every start the same, and its paths.
  sed -e 's|/usr/local/bin/rookery|/usr/bin/rookery|' \
    -e 's|^DynamicUser=yes$|User=rookery\nGroup=rookery\nRemoveIPC=yes\nRestrictSUIDSGID=yes|' \
    deploy/systemd/rookery.service >"$pkg/usr/lib/systemd/system/rookery.service"
  sed -e 's|^# dir = .*|dir = "/var/lib/rookery"|' config/node.example.toml >"$pkg/etc/rookery/node.toml"
  grep -q '^ExecStart=/usr/bin/rookery ' "$pkg/usr/lib/systemd/system/rookery.service" &&
    grep -q '^User=rookery$' "$pkg/usr/lib/systemd/system/rookery.service" &&
    grep -q '^dir = "/var/lib/rookery"$' "$pkg/etc/rookery/node.toml" ||
    die "deploy/systemd/rookery.service or config/node.example.toml has no line to adapt"
  echo /etc/rookery/node.toml >"$pkg/DEBIAN/conffiles"
  install -m 755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$pkg/DEBIAN/"

  # dpkg-shlibdeps wants the control file of a source package to be there.
  mkdir -p "$work/source/debian"
  printf 'Source: rookery\n\nPackage: rookery\nArchitecture: any\n' >"$work/source/debian/control"
  depends=$(cd "$work/source" && dpkg-shlibdeps -O "$pkg/usr/bin/rookery" "$pkg/usr/bin/rookery-loadtest" 2>/dev/null |
    sed -n 's/^shlibs:Depends=//p')
  [ -n "$depends" ] || die "dpkg-shlibdeps finds no libraries"
  cat >"$pkg/DEBIAN/control" <<END
Package: rookery
Version: ${version/-/\~}-1
Section: net
Priority: optional
Architecture: $arch
Maintainer: ${DEBFULLNAME:-Rookery maintainers} <${DEBEMAIL:-$(git log -1 --format=%ae)}>
Installed-Size: $(du -sk --apparent-size "$pkg/usr" "$pkg/etc" | awk '{ sum += $1 } END { print sum }')
Depends: $depends, passwd
Recommends: ca-certificates
Description: clustered chat server
 A cluster of equal nodes, in which every acknowledged message is on the
 disks of a majority before its sender receives the ack. Storage and
 agreement are inside: one program, one data directory.
 .
 The unit rookery.service is neither enabled nor started by the package:
 write /etc/rookery/node.toml first.
END
  (cd "$pkg" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum) >"$pkg/DEBIAN/md5sums"
  find "$pkg" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zgzip --build "$pkg" "$out" >/dev/null
}
if command -v dpkg-deb >/dev/null && command -v dpkg-shlibdeps >/dev/null; then
  debian
else
  echo "dist: no Debian package, which needs dpkg-deb and dpkg-shlibdeps (package dpkg-dev)" >&2
fi

(cd "$out" && sha256sum -- rookery* >SHA256SUMS)
mkdir -p "$dist"
mv -f "$out"/* "$dist/"
(cd "$dist" && ls -l $(awk '{ print $2 }' SHA256SUMS) SHA256SUMS)
