#!/usr/bin/env bash
# Checks the files of deploy/, each with the tool of its kind. Starts no container and contacts no Kubernetes.
#
#   scripts/check-deploy.sh               everything
#   scripts/check-deploy.sh quick         without Kubernetes and the alerts of a running cluster, as CI does
#   scripts/check-deploy.sh CHECK...      some, by the names of the functions below: rules, compose, metrics, …
#   scripts/check-deploy.sh --self-test   plants a mistake in a copy of each file: each must be found
#   scripts/check-deploy.sh --write       writes the files that are copies of others
#   BIN=DIR scripts/check-deploy.sh       the binary from there instead of a debug build
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "check-deploy: $*" >&2; }
quick=(dockerfile compose scripts settings rules monitor metrics copies unit nginx haproxy caddy)
all=("${quick[@]}" kubernetes pods alerts)

if [ "${1:-}" = --write ]; then
  eval "$(scripts/deploy-tools.sh)"
  exec "$lint/bin/python" scripts/deploy-checks.py . copies write
fi
# Versions of Kubernetes: all that the checker knows of. For the mistakes the oldest and the newest do.
versions=()
selftest=
case ${1:-} in
  --self-test) selftest=1; versions=(1.29 1.37); names=("${quick[@]}" kubernetes) ;;
  quick) names=("${quick[@]}") ;;
  '') names=("${all[@]}") ;;
  *) names=("$@") ;;
esac
wants() { case " ${names[*]} " in *" $1 "*) ;; *) return 1 ;; esac; }

tools=
if wants kubernetes || wants pods; then tools=kubernetes; fi
eval "$(scripts/deploy-tools.sh $tools)"
promtool=$debs/usr/bin/promtool
# The libraries that the unpacked servers bring, behind those of the system.
debian() { LD_LIBRARY_PATH=$debs/usr/lib/$(uname -m)-linux-gnu "$debs/$1" "${@:2}"; }

work=$(mktemp -d)
node=
trap '[ -z "$node" ] || { kill "$node" 2>/dev/null; wait "$node" 2>/dev/null; } || true; rm -rf "$work"' EXIT

if wants metrics || wants pods || wants alerts; then
  if [ -z "${BIN:-}" ]; then
    scripts/cargo.sh build --locked --bin rookery
    BIN=${CARGO_TARGET_DIR:-target}/debug
  fi
  BIN=$(cd "$BIN" && pwd)
  export BIN
fi

# run ARGUMENT...: starts the program, as $node, until its output tells that it serves.
run() {
  "$BIN/rookery" "$@" >"$work/node.out" 2>&1 &
  node=$!
  for _ in $(seq 1200); do
    if grep -q '^Ctrl-C stops' "$work/node.out"; then return; fi
    kill -0 "$node" 2>/dev/null || break
    sleep 0.1
  done
  say "the node does not serve:"
  cat "$work/node.out" >&2
  return 1
}
# scrape: adds what the first node shows at /metrics to $work/metrics, and ends it.
scrape() {
  python3 - "$(grep -ohE 'https?://127\.0\.0\.1:[0-9]+' "$work/node.out" | head -n 1)" >>"$work/metrics.part" <<'PY'
import ssl, sys, urllib.request
print(urllib.request.urlopen(sys.argv[1] + "/metrics", timeout=10, context=ssl._create_unverified_context()).read().decode())
PY
  kill "$node"
  wait "$node" || true
  node=
}
# Every metric. Those of webhooks, of connections between nodes and of certificates are there only if there is one.
show_metrics() {
  local base
  base=$(scripts/free-ports.py 6)
  run cluster --nodes 2 --data "$work/data" --http-base "$base" --cluster-base $((base + 3)) \
    --set webhook.url=http://127.0.0.1:9/ --set webhook.secret=c2VjcmV0IG9mIHRoZSBjaGVjayBvZiBkZXBsb3k= &&
    scrape && certificate || return
  run dev --data "$work/data-tls" --http 127.0.0.1:0 --set "server.tls_cert_file=$work/cert.pem" \
    --set "server.tls_key_file=$work/key.pem" && scrape || return
  mv "$work/metrics.part" "$work/metrics"
}

# --- the checks. Each takes a folder with deploy/ and config/, and fails with the reason on stderr.

own() { "$lint/bin/python" scripts/deploy-checks.py "$@" >&2; }
# silent COMMAND...: runs a tool that prints its findings, and prints them only if it fails.
silent() { "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; return 1; }; }

check_dockerfile() { silent "$lint/bin/hadolint" --no-color "$1/deploy/docker/Dockerfile"; }

check_compose() {
  silent "$lint/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$1/deploy/compose/compose.yaml" &&
    silent "$lint/bin/compose-lint" check --fail-on high "$1/deploy/compose/compose.yaml" &&
    own "$1" compose && own "$1" grafana
}

check_scripts() {
  local file
  for file in "$1"/deploy/debian/* "$1/deploy/compose/secrets.sh"; do sh -n "$file" || return; done
  # Secrets that the node reads: two of at least 16 characters, the same after a second run.
  rm -rf "$work/compose"
  mkdir "$work/compose"
  cp "$1/deploy/compose/secrets.sh" "$work/compose"
  local first
  silent "$work/compose/secrets.sh" && first=$(cat "$work/compose/secrets/"*) && silent "$work/compose/secrets.sh" &&
    [ "$(cat "$work/compose/secrets/"*)" = "$first" ] || { say "secrets.sh: other secrets at the second run"; return 1; }
  [ "$(grep -cE '^(admin_token|secret) = "[0-9a-f]{64}"$' "$work/compose/secrets/node.toml")" = 2 ] &&
    grep -qF "\"$(cat "$work/compose/secrets/admin-token")\"" "$work/compose/secrets/node.toml" ||
    { say "secrets.sh: wrong secrets"; return 1; }
}

check_settings() { own "$1" settings; }

check_rules() {
  silent "$promtool" check rules "$1/deploy/prometheus/rules.yaml" &&
    silent "$promtool" test rules "$1/deploy/prometheus/rules_test.yaml" && own "$1" alerts
}

check_monitor() {
  # The paths of the container do not exist here.
  sed -e "s|/etc/prometheus/rules.yaml|$(realpath "$1")/deploy/prometheus/rules.yaml|" \
    -e "s|/etc/prometheus/rookery-admin-token|$work/token|" "$1/deploy/compose/prometheus.yaml" >"$work/prometheus.yaml"
  echo token >"$work/token"
  silent "$promtool" check config "$work/prometheus.yaml" &&
    silent "$debs/usr/bin/amtool" check-config "$1/deploy/prometheus/alertmanager.yaml"
}

check_metrics() {
  [ -f "$work/metrics" ] || show_metrics || return
  own "$1" metrics "$work/metrics" "$work/expressions.yaml" && silent "$promtool" check rules "$work/expressions.yaml"
}

check_copies() { own "$1" copies; }

check_unit() {
  command -v systemd-analyze >/dev/null || { say "systemd-analyze is missing (package systemd)"; return 1; }
  # The program is not at its place here, and the warning about that would hide others.
  sed 's|/usr/local/bin/rookery|/bin/true|' "$1/deploy/systemd/rookery.service" >"$work/rookery.service"
  systemd-analyze verify --recursive-errors=no "$work/rookery.service" >"$work/said" 2>&1 && [ ! -s "$work/said" ] ||
    { cat "$work/said" >&2; return 1; }
  silent systemd-analyze security --offline=true --threshold=20 "$work/rookery.service" || return
  local line
  for line in Type=notify UMask=0077 TimeoutStopSec=60 KillSignal=SIGTERM RestartPreventExitStatus=64 \
    'ExecReload=/bin/kill -HUP $MAINPID' StateDirectoryMode=0700; do
    grep -qxF "$line" "$work/rookery.service" || { say "the unit has no line $line"; return 1; }
  done
}

# A certificate in the place of the operator's.
certificate() {
  command -v openssl >/dev/null || { say "openssl is missing"; return 1; }
  [ -f "$work/all.pem" ] ||
    { openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=chat.example.org -days 2 -keyout "$work/key.pem" \
      -out "$work/cert.pem" 2>/dev/null && cat "$work/cert.pem" "$work/key.pem" >"$work/all.pem"; }
}

check_nginx() {
  certificate || return
  mkdir -p "$work/nginx"
  { echo "pid $work/nginx/pid; error_log stderr; events {} http { access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $work/nginx/$kind;"; done
    sed -e "s|/etc/ssl/chat.example.org.pem|$work/cert.pem|" -e "s|/etc/ssl/chat.example.org.key|$work/key.pem|" \
      -e 's|listen 443 ssl|listen 127.0.0.1:8443 ssl|' "$1/deploy/proxy/nginx.conf"
    echo "}"; } >"$work/nginx.conf"
  silent debian usr/sbin/nginx -t -e stderr -p "$work/nginx" -c "$work/nginx.conf"
}

check_haproxy() {
  certificate || return
  sed "s|/etc/ssl/private/chat.example.org.pem|$work/all.pem|" "$1/deploy/proxy/haproxy.cfg" >"$work/haproxy.cfg"
  silent debian usr/sbin/haproxy -c -f "$work/haproxy.cfg" &&
    silent debian usr/sbin/haproxy -c -f "$1/deploy/compose/haproxy.cfg"
}

check_caddy() {
  # Debian 12 has Caddy 2.6, which lacks the one directive that the file says so of.
  grep -q '^		stream_close_delay [0-9]*m$' "$1/deploy/proxy/Caddyfile" || { say "Caddyfile: no stream_close_delay"; return 1; }
  grep -v stream_close_delay "$1/deploy/proxy/Caddyfile" >"$work/Caddyfile"
  HOME=$work silent "$debs/usr/bin/caddy" validate --adapter caddyfile --config "$work/Caddyfile"
}

check_kubernetes() {
  silent "$kubernetes/bin/python" scripts/deploy-kubernetes.py "$1" "$kubernetes/bin/kubectl" "$promtool" "${versions[@]}" &&
    grep '^deploy-kubernetes' "$work/said"
}

check_pods() {
  silent "$kubernetes/bin/python" scripts/deploy-pods.py "$1" "$BIN" && grep '^deploy-pods' "$work/said"
}

check_alerts() { scripts/alerts-live.sh "$debs/usr/bin/prometheus" "$1/deploy/prometheus/rules.yaml"; }

# --- a run.

if [ -z "$selftest" ]; then
  for name in "${names[@]}"; do
    declare -F "check_$name" >/dev/null || { say "no check is named $name: ${all[*]}"; exit 2; }
    began=$SECONDS
    "check_$name" . || { say "$name FAILED"; exit 1; }
    printf 'check-deploy: %-10s good, %d s\n' "$name" $((SECONDS - began))
  done
  exit
fi

# --- the self-test: CHECK, FILE, what sed does to it.
failed=0 planted=0
files=()
plant() {
  local tree=$work/tree name=$1 file=$2
  rm -rf "$tree"
  mkdir "$tree"
  cp -a deploy config "$tree"
  sed -i "$3" "$tree/$file"
  if cmp -s "$file" "$tree/$file"; then
    say "NOT PLANTED in $file: $3"
    failed=1
  elif (set +e; "check_$name" "$tree") >"$work/found" 2>&1; then
    say "NOT FOUND by $name in $file: $3"
    failed=1
  else
    printf 'found by %-10s in %s: %s\n' "$name" "$file" "$(grep -v -e 'found symbolic link' -e '^ *$' "$work/found" | tail -n 1 | tr -s ' ' | cut -c1-120)"
  fi
  planted=$((planted + 1))
  files+=("$file")
}

for name in "${names[@]}"; do
  "check_$name" . >/dev/null || { say "$name fails without a mistake"; exit 1; }
done
plant dockerfile deploy/docker/Dockerfile 's/^CMD .*/CMD rookery node/'
plant dockerfile deploy/docker/Dockerfile 's/bookworm-slim/latest/'
plant settings deploy/docker/Dockerfile 's/ROOKERY_SERVER__LISTEN/ROOKERY_SERVER__HTTP/'
plant compose deploy/compose/compose.yaml 's/stop_grace_period/stop_grace_time/'
plant compose deploy/compose/compose.yaml 's/cap_drop: \[ALL\]/cap_drop: [KILL]/'
plant compose deploy/compose/compose.yaml 's/image: rookery:0.1.0/image: rookery/'
plant compose deploy/compose/compose.yaml 's|"127.0.0.1:9090:9090"|"9090:9090"|'
plant compose deploy/compose/compose.yaml 's|\./haproxy.cfg:|./proxy.cfg:|'
plant settings deploy/compose/compose.yaml 's/ROOKERY_CLUSTER__SEEDS/ROOKERY_CLUSTER__PEERS/'
plant compose deploy/compose/haproxy.cfg 's/server node3 node3:/server node3 node4:/'
plant haproxy deploy/compose/haproxy.cfg 's/option httpchk/option httpcheck/'
plant scripts deploy/compose/secrets.sh 's/-N32/-N4/'
plant compose deploy/compose/grafana/datasources/prometheus.yaml 's/isDefault/default/'
plant compose deploy/compose/grafana/dashboards/rookery.yaml 's|/var/lib/grafana/dashboards|/dashboards|'
plant monitor deploy/compose/prometheus.yaml 's/credentials_file/credential_file/'
plant compose deploy/compose/prometheus.yaml 's/node3:8079/node4:8079/'
plant monitor deploy/prometheus/alertmanager.yaml 's/receiver: on-call/receiver: nobody/'
plant rules deploy/prometheus/rules.yaml 's/rookery_ready == 0/rookery_ready === 0/'
plant rules deploy/prometheus/rules.yaml 's/^\( *\)for: 10s/\1for: ten/'
plant rules deploy/prometheus/rules.yaml 's/rookery_storage_free_bytes < 2/rookery_storage_free_bytes < 3/'
plant metrics deploy/prometheus/rules.yaml 's/rookery_shards_without_owner > 0/rookery_shards_unowned > 0/'
plant rules deploy/prometheus/rules_test.yaml "s/alertname=\"RookeryFsyncOff\"/alertname=\"RookeryFsyncSlow\"/"
plant rules deploy/prometheus/rules_test.yaml "/rookery_clock_wrong{instance=\"a\"}', values: '0x90'/d"
plant metrics deploy/grafana/rookery.json 's/rookery_sessions{/rookery_session{/'
plant metrics deploy/grafana/rookery.json '0,/"unit": "reqps"/s//"unit": ""/'
plant metrics deploy/grafana/rookery.json '0,/"description": "Nodes whose.*/s//"description": "",/'
plant metrics deploy/grafana/rookery.json 's/histogram_quantile(0.5, sum by (le)/histogram_quantile(0.5 sum by (le)/'
plant copies deploy/kustomize/monitoring/prometheusrule.yaml 's/for: 30s/for: 40s/'
plant unit deploy/systemd/rookery.service 's/^UMask=/Umask=/'
plant unit deploy/systemd/rookery.service 's/^TimeoutStopSec=60/TimeoutStopSec=sixty/'
plant unit deploy/systemd/rookery.service '/^\(Protect\|Private\|Restrict\)/d'
plant nginx deploy/proxy/nginx.conf 's/proxy_read_timeout/proxy_reed_timeout/'
plant haproxy deploy/proxy/haproxy.cfg 's/default_backend nodes/default_backend node/'
plant caddy deploy/proxy/Caddyfile 's/lb_policy/lb_police/'
plant scripts deploy/debian/postinst 's/^    fi$/    if/'
plant scripts deploy/debian/prerm 's/; then$/; than/'
plant scripts deploy/debian/postrm 's/^fi$//'
plant kubernetes deploy/helm/rookery/Chart.yaml 's/^version: .*/version: one/'
plant kubernetes deploy/helm/rookery/values.yaml 's/^replicas: 3/replica: 3/'
plant kubernetes deploy/helm/rookery/values.schema.json '0,/"additionalProperties": false/s//"additionalProperties": true/'
plant kubernetes deploy/helm/rookery/templates/_helpers.tpl 's/fail (printf "settings/print (printf "settings/'
plant kubernetes deploy/helm/rookery/templates/statefulset.yaml 's/failureThreshold: 3/failureTreshold: 3/'
plant kubernetes deploy/helm/rookery/templates/statefulset.yaml 's/podManagementPolicy: Parallel/podManagementPolicy: OrderedReady/'
plant settings deploy/helm/rookery/templates/statefulset.yaml 's/ROOKERY_STORAGE__DIR/ROOKERY_STORAGE__PATH/'
plant kubernetes deploy/helm/rookery/templates/services.yaml 's/publishNotReadyAddresses: true/publishNotReadyAddresses: false/'
plant kubernetes deploy/helm/rookery/templates/secret.yaml 's/stringData/stringdata/'
plant kubernetes deploy/helm/rookery/templates/poddisruptionbudget.yaml 's/maxUnavailable: 1/maxUnavailable: 2/'
plant kubernetes deploy/helm/rookery/templates/ingress.yaml 's/pathType: Prefix/pathType: 1/'
plant kubernetes deploy/helm/rookery/templates/networkpolicy.yaml 's/policyTypes/policyTipes/'
plant kubernetes deploy/helm/rookery/templates/monitoring.yaml 's/jobLabel: .*/jobLabel: app/'
plant kubernetes deploy/helm/rookery/templates/tests/ready.yaml 's/restartPolicy: Never/restartPolicy: no/'
plant kubernetes deploy/helm/rookery/templates/NOTES.txt 's/{{- end }}/{{- fi }}/'
plant kubernetes deploy/kustomize/base/kustomization.yaml 's/services.yaml/service.yaml/'
plant kubernetes deploy/kustomize/base/statefulset.yaml 's/terminationGracePeriodSeconds: 75/terminationGracePeriodSeconds: 30/'
plant kubernetes deploy/kustomize/base/services.yaml 's/targetPort: clients/targetPort: http/'
plant kubernetes deploy/kustomize/base/poddisruptionbudget.yaml 's/maxUnavailable/maxUnavailabel/'
plant kubernetes deploy/kustomize/base/networkpolicy.yaml 's/podSelector/podselector/'
plant kubernetes deploy/kustomize/monitoring/kustomization.yaml 's/kind: Component/kind: Components/'
plant kubernetes deploy/kustomize/monitoring/podmonitor.yaml 's/key: admin-token/key: token/'
plant kubernetes deploy/kustomize/example/kustomization.yaml 's|containers/0/env/-|containers/1/env/-|'
plant kubernetes deploy/grafana/kustomization.yaml 's/rookery.json/board.json/'

# No file without a planted mistake. README.md and .helmignore are for people and packages.
while read -r file; do
  case " ${files[*]} " in *" $file "*) ;; *) say "no mistake is planted in $file"; failed=1 ;; esac
done < <(git ls-files -co --exclude-standard deploy | grep -v -e README.md -e .helmignore -e helm/rookery/files/)
say "$planted mistakes planted"
exit "$failed"
