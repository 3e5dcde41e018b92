#!/usr/bin/env bash
# Backups into a bucket, against an object storage by another party: moto, on this machine.
#
#   scripts/backup-s3.sh                 with a debug build
#   BIN=DIR scripts/backup-s3.sh         the binary from there
#
# A node gets messages, is backed up into a bucket twice, verified, listed and restored; then objects are damaged, removed
# and locked by another client (boto3), and a listing has more than one page. The tools come from PyPI, pinned, into a
# virtual environment in the cache; without a network and without that environment the script says so and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

version=5.2.5
venv=${XDG_CACHE_HOME:-$HOME/.cache}/rookery/moto-$version

say() { echo "backup-s3: $*" >&2; }

if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
if ! [ -x "$venv/bin/moto_server" ]; then
  say "installing moto $version into the cache"
  if ! { scripts/python-venv.sh "$venv" && "$venv/bin/pip" install --quiet "moto[server]==$version"; }; then
    rm -rf "$venv"
    say "could not be installed: this needs a network to PyPI, and python3 with venv and pip"
    exit 1
  fi
fi

scratch=$(mktemp -d)
processes=()
stop() {
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; wait "$process" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap stop EXIT

port=$(scripts/free-ports.py 3)
# Credentials are given to each command alone, so that their absence can be tried.
credentials=(env AWS_ACCESS_KEY_ID=backup AWS_SECRET_ACCESS_KEY=only-here AWS_REGION=eu-central-1
  "AWS_ENDPOINT_URL=http://127.0.0.1:$port")
target=s3://rookery-backups/chat/eu
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$scratch/moto" 2>&1 &
processes+=($!)

# s3 CODE: Python with a client of the storage as `s3`, and the name of the bucket as `bucket`.
s3() {
  "${credentials[@]}" AWS_DEFAULT_REGION=eu-central-1 "$venv/bin/python" -c "
import boto3
s3, bucket = boto3.client('s3'), 'rookery-backups'
$1"
}
# refuses TEXT COMMAND…: the command has to fail and say so.
refuses() {
  local expected=$1
  shift
  if "$@" >"$scratch/refused" 2>&1; then say "not refused: $*"; exit 1; fi
  grep -q -- "$expected" "$scratch/refused" || { say "no word of '$expected':"; cat "$scratch/refused" >&2; exit 1; }
}
# says TEXT COMMAND…: the command has to succeed and print this.
says() {
  local expected=$1
  shift
  "$@" >"$scratch/said" 2>"$scratch/talk" || { say "failed: $*"; cat "$scratch/talk" >&2; exit 1; }
  grep -q -- "$expected" "$scratch/said" || { say "no '$expected' in:"; cat "$scratch/said" >&2; exit 1; }
}
# node NAME PORT: a node for development on the data of that name, ready.
node() {
  "$BIN/rookery" dev --data "$scratch/$1" --http "127.0.0.1:$2" --set mqtt.listen= \
    --set limits.sends_per_second=100000 --set "cluster.listen=127.0.0.1:0" >"$scratch/$1.out" 2>"$scratch/$1.log" &
  processes+=($!)
  for _ in $(seq 1 300); do
    curl -fsS -o "$scratch/ready" "http://127.0.0.1:$2/readyz" 2>/dev/null && return
    sleep 0.2
  done
  say "the node is not ready:"
  cat "$scratch/$1.log" >&2
  exit 1
}
# call METHOD PORT PATH KEY BODY
call() {
  curl -fsS -X "$1" "http://127.0.0.1:$2$3" -H "Authorization: Bearer dev:alice" -H "Idempotency-Key: $4" \
    -H "Content-Type: application/json" -d "$5"
}

for _ in $(seq 1 150); do
  s3 'pass' && curl -sS -o "$scratch/answer" "http://127.0.0.1:$port/" 2>/dev/null && break
  sleep 0.2
done
node data $((port + 1))
url=http://127.0.0.1:$((port + 1))
c=$(call POST $((port + 1)) /v1/conversations make '{"kind":"group","members":["bob"]}' |
  python3 -c 'import json,sys; print(json.load(sys.stdin)["c"])')
speak() {
  for n in $(seq "$1" "$2"); do
    call POST $((port + 1)) "/v1/conversations/$c/messages" "m$n" "{\"b\":{\"text\":\"message $n\"}}" >"$scratch/answer"
  done
}
speak 1 40

say "refusals before the first backup"
refuses "AWS_SECRET_ACCESS_KEY" env -u AWS_ACCESS_KEY_ID "$BIN/rookery" backup create "$target" --url "$url"
refuses "NoSuchBucket" "${credentials[@]}" "$BIN/rookery" backup create "$target" --url "$url"
s3 "s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={'LocationConstraint': 'eu-central-1'})"
refuses "no directory of backups" "${credentials[@]}" "$BIN/rookery" backup list "$target"
s3 "s3.put_object(Bucket=bucket, Key='chat/eu/letter.txt', Body=b'words')"
refuses "letter.txt" "${credentials[@]}" "$BIN/rookery" backup create "$target" --url "$url"
s3 "s3.delete_object(Bucket=bucket, Key='chat/eu/letter.txt')"
s3 "s3.put_object(Bucket=bucket, Key='chat/eu/locks/0123', Body=b'')"
refuses "another backup is running" "${credentials[@]}" "$BIN/rookery" backup create "$target" --url "$url"
s3 "s3.delete_object(Bucket=bucket, Key='chat/eu/locks/0123')"

say "two backups, verified and listed"
says "^backup " "${credentials[@]}" "$BIN/rookery" backup create "$target" --url "$url" --include-keys
speak 41 60
says "^backup " "${credentials[@]}" "$BIN/rookery" backup create "$target" --url "$url" --include-keys
says "is whole" "${credentials[@]}" "$BIN/rookery" backup verify "$target"
says "with keys" "${credentials[@]}" "$BIN/rookery" backup list "$target"
[ "$(wc -l <"$scratch/said")" = 2 ] || { say "not two backups"; cat "$scratch/said" >&2; exit 1; }
s3 "
left = s3.list_objects_v2(Bucket=bucket, Prefix='chat/eu/locks/')['KeyCount']
assert left == 0, f'{left} locks are left'"

say "a listing of more than one page, and what no backup needs"
s3 "
for n in range(1100):
    s3.put_object(Bucket=bucket, Key=f'chat/eu/chunks/00/{n:064x}', Body=b'left over')
s3.put_object(Bucket=bucket, Key='chat/elsewhere', Body=b'of others')"
says "removed 1 backups, " "${credentials[@]}" "$BIN/rookery" backup prune "$target" --keep 1
removed=$(grep -oE '[0-9]+ files' "$scratch/said" | cut -d' ' -f1)
[ "$removed" -ge 1100 ] || { say "only $removed files were removed"; exit 1; }
says "is whole" "${credentials[@]}" "$BIN/rookery" backup verify "$target"
s3 "
keys = [o['Key'] for o in s3.list_objects_v2(Bucket=bucket)['Contents']]
assert 'chat/elsewhere' in keys, keys
assert not any('/00/0000000000' in key for key in keys), keys"

say "restored into a new node"
says "with one node" "${credentials[@]}" "$BIN/rookery" restore "$target" --data "$scratch/restored"
node restored $((port + 2))
call GET $((port + 2)) "/v1/conversations/$c/events?limit=100" - '' >"$scratch/events"
python3 - "$scratch/events" <<'PY'
import json, sys
events = json.load(open(sys.argv[1]))["events"]
texts = [event["b"]["text"] for event in events if event["t"] == "msg"]
assert texts == [f"message {n}" for n in range(1, 61)], texts
PY

say "damaged objects"
chunk=$(s3 "
chunks = s3.list_objects_v2(Bucket=bucket, Prefix='chat/eu/chunks/')['Contents']
print(chunks[0]['Key'])")
name=${chunk##*/}
s3 "
body = s3.get_object(Bucket=bucket, Key='$chunk')['Body'].read()
open('$scratch/chunk', 'wb').write(body)
s3.put_object(Bucket=bucket, Key='$chunk', Body=body[:-1] + bytes([body[-1] ^ 1]))"
refuses "$name: the bytes do not match" "${credentials[@]}" "$BIN/rookery" backup verify "$target"
s3 "s3.put_object(Bucket=bucket, Key='$chunk', Body=open('$scratch/chunk', 'rb').read()[:-1])"
refuses "$name: truncated" "${credentials[@]}" "$BIN/rookery" restore "$target" --data "$scratch/never"
s3 "s3.put_object(Bucket=bucket, Key='$chunk', Body=b'x' * 40_000_000)"
refuses "40000000 bytes, more than" "${credentials[@]}" "$BIN/rookery" backup verify "$target"
s3 "s3.delete_object(Bucket=bucket, Key='$chunk')"
refuses "$name: the chunk is missing" "${credentials[@]}" "$BIN/rookery" backup verify "$target"
[ ! -e "$scratch/never" ] || { say "a refused restore left a directory"; exit 1; }
s3 "s3.put_object(Bucket=bucket, Key='$chunk', Body=open('$scratch/chunk', 'rb').read())"
says "is whole" "${credentials[@]}" "$BIN/rookery" backup verify "$target"

if grep -hE '(ERROR|panicked)' "$scratch"/*.log; then say "a node complained"; exit 1; fi
say "clean"
