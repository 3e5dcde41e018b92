#!/usr/bin/env bash
# Makes a virtual environment of Python with pip in a folder: scripts/python-venv.sh DIR
#
# On Debian and Ubuntu missing packages are installed with apt-get; on another system the script says what is needed and
# fails.
set -euo pipefail

say() { echo "python: $*" >&2; }

dir=$1
# Debian has pip of a virtual environment in a package of its own.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
    say "python3 with venv and pip is missing, and cannot be installed from here (Debian: apt-get install python3-venv)"
    exit 1
  fi
  say "python3 with venv and pip is missing; asking apt-get for it"
  "${root[@]}" apt-get update -qq >&2
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
fi
rm -rf "$dir"
python3 -m venv "$dir"
