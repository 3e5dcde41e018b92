#!/usr/bin/env bash
# The documents as a book, into target/book, and the check of every link in them, as files and as pages. Links to other
# hosts are not followed: this needs no network once the tools are in the cache.
#
#   scripts/docs.sh               the book, at target/book/index.html
#   BOOK=DIR scripts/docs.sh      into another folder, which is emptied first
#
# mdBook and lychee come from PyPI, pinned by docs/book/requirements.txt, into the cache; without a network and without that
# cache the script says so and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "docs: $*" >&2; }

venv=$(scripts/python-venv.sh book -r docs/book/requirements.txt)
PATH=$venv/bin:$PATH

book=${BOOK:-${CARGO_TARGET_DIR:-target}/book}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
src=$scratch/src
mkdir "$src"

# The documents under their paths in the repository, so that their links hold.
git ls-files -co --exclude-standard -z -- '*.md' docs config deploy LICENSE 'LICENSE-*' ':!docs/book' ':!docs/SUMMARY.md' |
  while IFS= read -r -d '' file; do
    [ ! -f "$file" ] || cp --parents "$file" "$src"
  done
cp docs/book/book.toml "$scratch"

# entries FOLDER: one line of the summary for each page there, with its own title.
entries() {
  find "$1" -name '*.md' | sort ${2:-} | while read -r page; do
    printf -- '- [%s](%s)\n' "$(sed -n 's/^# //p;' "$page" | head -n 1)" "$page"
  done
}
# The summary stands in docs/, the book begins above it.
{
  sed -e 's|](\.\./|](|; t' -e 's|](|](docs/|' docs/SUMMARY.md
  printf '\n# Decisions\n'
  entries docs/decisions
  printf '\n# Reports\n'
  entries docs/reports -r
} >"$src/SUMMARY.md"

# The page of a recipe shows its programs, which are files beside it.
for page in "$src"/docs/recipes/*/README.md; do
  for program in "${page%/*}"/*.{mjs,jsx,html,py,go,rs,toml}; do
    [ ! -f "$program" ] || printf '\n## %s\n```%s\n%s\n```\n' "${program##*/}" "${program##*.}" "$(cat "$program")" >>"$page"
  done
done

# A page that the summary does not name is in no book.
missing=$(cd "$src" && find . -name '*.md' ! -name SUMMARY.md -printf '%P\n' | sort | while read -r page; do
  grep -qF "]($page)" SUMMARY.md || echo "$page"
done)
if [ -n "$missing" ]; then
  say "docs/SUMMARY.md does not name:" $missing
  exit 1
fi

mkdir -p "$book"
book=$(cd "$book" && pwd)
log=$scratch/log
if ! mdbook build --dest-dir "$book" "$scratch" >"$log" 2>&1 || grep -E 'WARN|ERROR' "$log" >&2; then
  cat "$log" >&2
  exit 1
fi

# As files, with the anchors of GitHub, and as pages. print.html repeats every page under another path.
check() { # check ROOT: the files whose names come in
  xargs -0 lychee --offline --include-fragments --no-progress --root-dir "$1"
}
find "$src" -name '*.md' ! -name SUMMARY.md -print0 | check "$src"
find "$book" -name '*.html' ! -name print.html ! -name toc.html -print0 | check "$book"
say "the book is at $book/index.html"
