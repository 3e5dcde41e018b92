#!/usr/bin/env bash
# Prepares the machine for a build and prints the environment that cargo needs, as shell exports.
#
#   eval "$(scripts/setup.sh)"      then plain cargo commands use the cached RocksDB
#   scripts/setup.sh quick          the same with the RocksDB of tests and first starts, which is built sooner
#
# On Debian and Ubuntu missing system packages are installed with apt-get; on another system it is said what is
# needed and the build goes on. What is said goes to stderr, so that stdout stays clean for `eval`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }

command -v cargo >/dev/null || { say "cargo is missing: install Rust with rustup (https://rustup.rs), then run this again"; exit 1; }

# bindgen opens libclang at build time, whatever its version. The symbolic link libclang.so is not needed; libclang-cpp
# is another library and does not do.
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || { ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null; } | grep -qE 'libclang(-[0-9]+)?\.so' ||
    compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null
}

missing=()
command -v g++ >/dev/null || missing+=(g++)
command -v make >/dev/null || missing+=(make)
have_libclang || missing+=(libclang)

if [ ${#missing[@]} -gt 0 ]; then
  if command -v apt-get >/dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    if [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
      say "missing: ${missing[*]}. Neither root nor sudo here: install them as root (libclang: the package libclang1-NN)"
      exit 1
    fi
    say "missing: ${missing[*]}; asking apt-get for them"
    "${root[@]}" apt-get update -qq >&2
    packages=()
    for name in "${missing[@]}"; do
      if [ "$name" = libclang ]; then
        # The library alone (no headers, no compiler) of the release that the distribution calls its own.
        version=$(apt-cache depends libclang-dev 2>/dev/null | sed -n 's/.*libclang-\([0-9][0-9]*\)-dev.*/\1/p' | head -n 1)
        name=libclang1-${version:-14}
      fi
      packages+=("$name")
    done
    say "installing ${packages[*]}"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
  else
    say "missing: ${missing[*]}. This system has no apt-get, so install them by its own means:"
    say "  a C++20 compiler (g++ or clang++), make, and libclang with its headers"
    say "  Fedora: dnf install gcc-c++ make clang-devel    Arch: pacman -S gcc make clang    macOS: xcode-select --install; brew install llvm"
    say "going on; the build will say what it still lacks"
  fi
fi

export_line() { printf 'export %s=%q\n' "$1" "$2"; }

# The library package carries no compiler headers (stdbool.h and the like): g++ has them.
if [ -z "${BINDGEN_EXTRA_CLANG_ARGS:-}" ] && include=$(g++ -print-file-name=include 2>/dev/null) && [ -d "$include" ]; then
  export_line BINDGEN_EXTRA_CLANG_ARGS "-I$include"
fi

# RocksDB, built once into a cache outside the clone.
if [ -z "${ROCKSDB_LIB_DIR:-}" ]; then
  if rocksdb=$(scripts/rocksdb.sh "$@"); then
    export_line ROCKSDB_LIB_DIR "$rocksdb"
    export_line ROCKSDB_STATIC 1
  else
    say "no cached RocksDB on this system: cargo builds it from source, which costs about 45 CPU minutes, once per target directory"
  fi
fi
