#!/usr/bin/env bash
# Public suites for MQTT brokers against the topic tree (node/src/gateway/mqtt/free_topics), which has the connection code
# of the chat: the interoperability tests of Eclipse Paho, and the broker tests of mosquitto that need no setting of its own.
#
#   scripts/mqtt-suites.sh paho DIR             DIR: checkout of github.com/eclipse/paho.mqtt.testing
#   scripts/mqtt-suites.sh mosquitto DIR        DIR: checkout of github.com/eclipse/mosquitto
#   scripts/mqtt-suites.sh mosquitto DIR 03-    the tests whose names begin so
#   BIN=DIR scripts/mqtt-suites.sh …            the binary from there, built with the features conformance and test-tuning
#
# The run fails if a test fails that docs/testing.md does not list, or if one of the list passes.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests that cannot pass; docs/testing.md has the reasons.
excepted=(03-publish-c2b-disconnect-qos2.py 12-prop-maximum-packet-size-publish-qos1.py
  12-prop-maximum-packet-size-publish-qos2.py 13-malformed-subscribe-v5.py msg_sequence_test.py)

say() { echo "mqtt-suites: $*" >&2; }

suite=${1:-} checkout=${2:-} only=${3:-}
case $suite in paho | mosquitto) ;; *) say "the suite is paho or mosquitto"; exit 2 ;; esac
[ -d "$checkout" ] || { say "there is no checkout at '$checkout'"; exit 2; }
checkout=$(cd "$checkout" && pwd)
command -v python3 >/dev/null || { say "python3 is missing"; exit 1; }

if [ -z "${BIN:-}" ]; then
  scripts/cargo.sh build --locked --bin rookery --features conformance,test-tuning
  BIN=${CARGO_TARGET_DIR:-target}/debug
fi
BIN=$(cd "$BIN" && pwd)
scratch=$(mktemp -d)
node=
finish() {
  [ -z "$node" ] || { kill "$node" 2>/dev/null && wait "$node" 2>/dev/null; } || true
  rm -rf "$scratch"
}
trap finish EXIT

# A broker as the tests start it: `mosquitto -p PORT`, or a file with the port. Each start has a tree of its own. One
# thread, because the tests count on the order of what they send over several connections without waiting.
broker=$scratch/mosquitto/src/mosquitto
mkdir -p "$(dirname "$broker")"
cat >"$broker" <<EOF
#!/usr/bin/env bash
port=
while [ \$# -gt 0 ]; do
  case \$1 in
    -p) port=\$2; shift ;;
    -c) port=\$(tr -d '\r' <"\$2" | sed -nE 's/^(listener|port) ([0-9]+).*/\2/p' | head -n 1); shift ;;
  esac
  shift
done
data=\$(mktemp -d "$scratch/data.XXXXXX")
exec "$BIN/rookery" dev --data "\$data" --http 127.0.0.1:0 --set mqtt.listen=127.0.0.1:\$port \\
  --set tuning.mqtt_free_topics=true --set server.threads=1 >"\$data/out" 2>"\$data/log"
EOF
chmod +x "$broker"

run_paho() {
  local port=18830
  "$broker" -p "$port" &
  node=$!
  cd "$checkout/interoperability"
  PORT=$port PYTHONDONTWRITEBYTECODE=1 python3 - "$only" <<'EOF'
import os, socket, sys, time, unittest

sys.path.insert(0, os.getcwd())
import client_test, client_test5

names = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
wild = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
suite = unittest.TestSuite()
for module, prefix in (client_test, ""), (client_test5, "client_test5/"):
    module.host, module.port, module.topic_prefix = "127.0.0.1", int(os.environ["PORT"]), prefix
    module.topics = [prefix + name for name in names]
    module.wildtopics = [prefix + name for name in wild]
    module.nosubscribe_topics = ("test/nosubscribe",)
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    suite.addTests(test for case in tests for test in case if sys.argv[1] in test.id())
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))).close()
        break
    except OSError:
        time.sleep(0.1)
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(not result.wasSuccessful())
EOF
}

# The tests of the suite without a configuration, and those whose configuration is what the tree does anyway.
mosquitto_tests() {
  python3 - <<'EOF'
import re

plain = ["01-connect-windows-line-endings.py", "02-subpub-qos0-queued-bytes.py", "07-will-per-listener.py",
  "12-prop-server-keepalive.py"]
for name in re.findall(r"^\s*\(\d, '\./(\S+\.py)'\)", open("test.py").read(), re.M) + ["msg_sequence_test.py"]:
    text = open(name).read()
    is_other = re.match(r"0[68]-|14-", name)
    if name in plain or not (is_other or "write_config" in text or "use_conf" in text):
        print(name)
EOF
}

run_mosquitto() {
  cp -R "$checkout/test" "$scratch/mosquitto/test"
  # The tests wait for 2 s until the broker listens, which a node on a busy machine may miss.
  sed -i 's/for i in range(0, 20):/for i in range(0, 200):/' "$scratch/mosquitto/test/mosq_test.py"
  cd "$scratch/mosquitto/test/broker"
  local failed=0 count=0 passed=0 name is_excepted
  for name in $(mosquitto_tests); do
    [[ $name == "$only"* ]] || continue
    count=$((count + 1))
    is_excepted=0
    [[ " ${excepted[*]} " != *" $name "* ]] || is_excepted=1
    if timeout 180 "./$name" >"$scratch/$name.log" 2>&1 </dev/null; then
      passed=$((passed + 1))
      [ $is_excepted = 0 ] || { say "$name passes, and docs/testing.md lists it"; failed=1; }
    elif [ $is_excepted = 0 ]; then
      say "$name failed:"
      tail -n 12 "$scratch/$name.log" >&2
      failed=1
    fi
  done
  [ ! -f "$scratch/msg_sequence_test.py.log" ] || tail -n 2 "$scratch/msg_sequence_test.py.log" | sed 's/^/  msg_sequence_test.py: /' >&2
  say "$passed of $count tests of mosquitto pass"
  return $failed
}

"run_$suite"
