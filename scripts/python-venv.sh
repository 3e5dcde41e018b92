#!/usr/bin/env bash
# Prints the folder of a virtual environment of Python with packages of PyPI, which it makes in the cache if it is not there.
#
#   scripts/python-venv.sh NAME PACKAGE==VERSION...   these packages, with what they depend on
#   scripts/python-venv.sh NAME -r FILE...            the packages of these files, and no others, by their hashes
#
# On Debian and Ubuntu a missing Python is installed with apt-get. What is said goes to standard error.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
shift
say() { echo "$name: $*" >&2; }

# Of the arguments and of the files that they name.
pins=$({
  echo "$*"
  [ "$1" != -r ] || cat "${@:2}"
} | sha256sum | cut -c1-16)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/$name-$pins
if [ -f "$dir/complete" ]; then
  echo "$dir"
  exit
fi

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

if [ "$1" = -r ]; then
  packages=(--no-deps --require-hashes)
  for file in "${@:2}"; do packages+=(-r "$file"); done
else
  packages=("$@")
fi
say "installing $* into the cache"
rm -rf "$dir"
if ! { python3 -m venv "$dir" && "$dir/bin/pip" install --quiet "${packages[@]}"; } >&2; then
  rm -rf "$dir"
  say "could not be installed: this needs a network to PyPI, and packages that PyPI has for this system"
  exit 1
fi
touch "$dir/complete"
echo "$dir"
