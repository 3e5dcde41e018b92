# Sourced by the scripts of the npm projects, each in a folder of its own: the checks before npm runs, the binary of the
# server, and the installation from the lock file.
#
#   . scripts/npm-project.sh FOLDER

project=$1

say() { echo "$project: $*" >&2; }

need_npm() {
  command -v npm >/dev/null || { say "npm is missing: install Node 20 or later"; exit 1; }
}

need_chromium() {
  [ -x "${CHROMIUM:-/usr/bin/chromium}" ] && return
  say "Chromium is missing: install the package chromium, or name one in CHROMIUM"
  exit 1
}

# Exports the binary of the server as ROOKERY_BIN: the given one, that of BIN, or a debug build. Other binaries that are
# named are expected, or built, beside it.
server_binary() { # server_binary [NAME...]
  if [ -z "${ROOKERY_BIN:-}" ]; then
    if [ -z "${BIN:-}" ]; then
      scripts/cargo.sh build --locked --bin rookery "${@/#/--bin=}"
      BIN=${CARGO_TARGET_DIR:-target}/debug
    fi
    ROOKERY_BIN=$(realpath "$BIN/rookery")
  fi
  local name
  for name in "$@"; do
    [ -x "$(dirname "$ROOKERY_BIN")/$name" ] || { say "$name is missing beside $ROOKERY_BIN"; exit 1; }
  done
  export ROOKERY_BIN
}

# Enters the folder and installs the packages, unless those of this lock file are there: this takes longer than all checks.
enter() {
  cd "$project"
  local stamp=node_modules/.installed
  cmp -s package-lock.json "$stamp" && return
  npm ci --no-audit --no-fund
  cp package-lock.json "$stamp"
}
