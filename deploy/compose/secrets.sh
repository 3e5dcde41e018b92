#!/bin/sh
# Writes random secrets for compose.yaml into ./secrets: node.toml for the nodes, admin-token for Prometheus. Keeps those
# that are there, because the nodes of one cluster must have the same ones.
set -eu
cd "$(dirname "$0")"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

if [ -e secrets/node.toml ] && [ -e secrets/admin-token ]; then
  echo "secrets.sh: kept deploy/compose/secrets" >&2
  exit 0
fi
# The users of the containers read the files; the folder keeps other users of this machine out.
mkdir -p -m 700 secrets
umask 022
admin=$(random)
printf '%s' "$admin" >secrets/admin-token
printf '[server]\nadmin_token = "%s"\n\n[cluster]\nsecret = "%s"\n' "$admin" "$(random)" >secrets/node.toml
echo "secrets.sh: wrote deploy/compose/secrets" >&2
