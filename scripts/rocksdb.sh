#!/usr/bin/env bash
# Builds the RocksDB sources that the crate `librocksdb-sys` ships as a static library, once, into a cache
# outside the clone, and prints the directory. The crate's own build compiles 340 files one by one, and each spends
# its time on the same headers; a unity build (a few files that include the rest) needs a fraction of it.
#
#   scripts/rocksdb.sh          builds if needed, prints the directory for ROCKSDB_LIB_DIR
#   scripts/rocksdb.sh quick    the same with fewer optimizations: built in three quarters of the time
#
# Anything unexpected (another system, another compiler) prints nothing and exits with 1: the caller then lets
# the crate build RocksDB by itself, which is slower and needs no more than a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

chunks=6
level=-O2
[ "${1:-}" != quick ] || level=-O1
jobs=$(nproc)
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || { echo "rocksdb.sh: no unity build for $(uname -sm)" >&2; exit 1; }
command -v g++ >/dev/null || { echo "rocksdb.sh: g++ is missing" >&2; exit 1; }

crate_dir() { # the unpacked sources of a locked dependency
  cargo metadata $locked --format-version 1 2>/dev/null |
    tr ',' '\n' | sed -n "s|^\"manifest_path\":\"\(.*/$1-[0-9][^/]*\)/Cargo.toml\"\$|\1|p" | head -n 1
}
# A lock file that lags behind a new dependency is the build's business, which says so. Here it must neither cost a build
# of RocksDB nor be written: cargo may bring it up to date, and it is put back as it was.
locked=--locked kept=
if ! cargo fetch --locked >/dev/null 2>&1; then
  locked='' kept=$(mktemp)
  cp -p Cargo.lock "$kept"
  cargo fetch >/dev/null 2>&1 || true
fi
src=$(crate_dir librocksdb-sys)
lz4=$(crate_dir lz4-sys)
[ -z "$kept" ] || mv "$kept" Cargo.lock
[ -f "$src/rocksdb_lib_sources.txt" ] && [ -d "$lz4/liblz4/lib" ] || { echo "rocksdb.sh: sources not found" >&2; exit 1; }

# x86-64-v2 gives the hardware CRC32C. The defines are those of the crate's build.rs for Linux.
flags="$level -march=x86-64-v2 -mpclmul -fPIC -ffunction-sections -fdata-sections -std=c++20 -w -include cstdint
  -DLZ4=1 -DNDEBUG=1 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX
  -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT
  -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT"
key=$(basename "$src")-$(printf '%s %s %s' "$flags" "$chunks" "$(g++ -dumpfullversion)" | sha256sum | cut -c1-12)
out=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/$key
if [ -f "$out/librocksdb.a" ]; then echo "$out"; exit 0; fi

echo "building RocksDB once into $out (5 to 10 CPU minutes)" >&2
mkdir -p "$out"
work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
grep -v '^util/build_version.cc$' "$src/rocksdb_lib_sources.txt" | sed '/^$/d' |
  awk -v n="$chunks" -v dir="$work" '{ line[NR] = $1 } END {
    per = int((NR + n - 1) / n)
    for (i = 1; i <= NR; i++) printf "#include \"%s\"\n", line[i] > sprintf("%s/u%02d.cc", dir, int((i - 1) / per)) }'
echo '#include "build_version.cc"' >> "$work/u00.cc"
includes="-I$src/rocksdb/include -I$src/rocksdb -I$src/rocksdb/third-party/gtest-1.8.1/fused-src -I$lz4/liblz4/lib -I$src"
# shellcheck disable=SC2086  # the flags are words
printf '%s\n' "$work"/u*.cc |
  xargs -P "$jobs" -I{} sh -c "g++ $(echo $flags) $includes -c {} -o {}.o" >&2 ||
  { echo "rocksdb.sh: the unity build failed" >&2; exit 1; }
ar crs "$work/librocksdb.a" "$work"/u*.o
mv "$work/librocksdb.a" "$out/librocksdb.a" # atomic: a killed build leaves no half library
echo "$out"
