#!/usr/bin/env python3
"""Tries operations on a running cluster under load with the oracle; called by operations.sh.

grow     1 node becomes 3, then 5; then 5 become 3 again, with clients on the nodes that leave
restart  three nodes are restarted one after the other
upgrade  the same, with a change from an older build (OLD=DIR) to this one
drain    a node with many sessions is drained
replace  a node and its disk are lost, and a new node takes its place
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

BIN = Path(os.environ["BIN"]).resolve()
OLD = Path(os.environ["OLD"]).resolve() if os.environ.get("OLD") else None
# Longest time for one operation, and for a node to become ready: a busy machine must pass.
PATIENCE = 300
SETTINGS = """
[server]
listen = "127.0.0.1:{http}"
admin = ""
unauthenticated_per_address = 1000000
[mqtt]
listen = ""
[auth]
dev_tokens = true
[limits]
sends_per_second = 1000000
queries_per_second = 1000000
additions_per_day = 0
outbound_queue_size = "4MiB"
[cluster]
listen = "127.0.0.1:{between}"
seeds = ["127.0.0.1:{seed}"]
shards = 16
[storage]
cache_size = "32MiB"
free_space_reserve = "64MiB"
dir = "{dir}/data"
"""


class Failed(Exception):
    """An operation that did not do what it has to."""


class Node:
    """A node, which is a process of its own."""

    def __init__(self, number, base, root):
        self.number, self.http = number, base + number
        self.dir = root / f"node-{number}"
        self.dir.mkdir()
        ports = {"http": self.http, "between": base + 10 + number, "seed": base + 11}
        (self.dir / "node.toml").write_text(SETTINGS.format(dir=self.dir, **ports))
        self.process = None

    def start(self, bin=BIN):
        log = (self.dir / "log").open("ab")
        command = [bin / "rookery", "node", "--config", self.dir / "node.toml"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
            return json.load(answer)

    def is_ready(self):
        try:
            return self.get("/readyz")["status"] == "ready"
        except OSError:
            return False


class Cluster:
    """Nodes with a directory of their own, which is removed unless something failed."""

    def __init__(self, count, bin=BIN):
        self.root = Path(tempfile.mkdtemp(prefix="rookery-operations-"))
        ports = subprocess.check_output([sys.executable, "scripts/free-ports.py", "20"], text=True)
        self.base, self.nodes = int(ports), []
        for _ in range(count):
            self.add(bin)

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.kill()
        if kind is None:
            shutil.rmtree(self.root)
        else:
            print(f"logs and data are in {self.root}")

    def add(self, bin=BIN):
        """Starts a further node, and returns it with the seconds until it holds its share."""
        node = Node(len(self.nodes) + 1, self.base, self.root)
        began = time.monotonic()
        node.start(bin)
        self.nodes.append(node)
        until(f"node {node.number} is ready", node.is_ready)
        return node, time.monotonic() - began

    def ctl(self, *arguments, env=None, timeout=PATIENCE):
        """Runs a command of an operator, and returns what it prints as JSON, and its seconds."""
        urls = ",".join(f"http://127.0.0.1:{node.http}" for node in self.nodes)
        command = [BIN / "rookery", "ctl", *map(str, arguments), "-o", "json"]
        began = time.monotonic()
        done = subprocess.run(
            command,
            env={**os.environ, "ROOKERY_URL": urls, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise Failed(f"ctl {arguments} ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout), time.monotonic() - began

    def replicated_bytes(self):
        """Returns the size of the data on the disk of the first node."""
        files = (self.nodes[0].dir / "data").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


class Load:
    """A run of the load harness beside an operation."""

    def __init__(self, cluster, nodes, seconds, *arguments):
        self.report = cluster.root / f"report-{time.monotonic_ns()}"
        self.text = self.report.with_suffix(".txt")
        addresses = ",".join(f"127.0.0.1:{node.http}" for node in nodes)
        command = [BIN / "rookery-loadtest", "run", *arguments, "--nodes", addresses]
        command += ["--duration", f"{seconds}s", "--settle", "120s", "--report", self.report]
        self.process = subprocess.Popen(command, stdout=self.text.open("wb"), stderr=subprocess.STDOUT)
        # The set-up of the conversations, after which the load begins.
        time.sleep(5)

    def end(self):
        """Waits for the verdict, and returns the report."""
        still_loaded = self.process.poll() is None
        code = self.process.wait(PATIENCE + 600)
        if code != 0:
            raise Failed(f"the load ended with {code}:\n" + self.text.read_text()[-3000:])
        if not still_loaded:
            raise Failed("the operation took longer than the load: a longer one is needed")
        report = json.loads((self.report / "report.json").read_text())
        if report["counts"]["violations"] != 0 or report["counts"]["acked"] == 0:
            raise Failed(f"counts: {report['counts']}")
        return report


def until(what, done, patience=PATIENCE):
    given_up = time.monotonic() + patience
    while not done():
        if time.monotonic() > given_up:
            raise Failed(f"waited in vain: {what}")
        time.sleep(0.1)


def groups(rate, seed=1):
    """Returns the arguments of a load of groups, whose members are on all nodes."""
    return ["groups", "-p", "groups=4", "-p", "members=6", "-p", "speakers=5", "--rate", str(rate), "--seed", str(seed)]


def verdict(report):
    """Returns the figures of a load in a sentence."""
    acks = [phase["ack"]["max_us"] for phase in report["phases"] if phase["ack"]["max_us"]]
    return (
        f"{report['counts']['acked']} acknowledged, {report['counts']['violations']} violations, "
        f"longest unanswered send {max(acks) / 1000:.0f} ms"
    )


def grow(short):
    with Cluster(1) as cluster:
        load = Load(cluster, cluster.nodes, 60 if short else 120, *groups(40 if short else 120))
        joined = [cluster.add()[1] for _ in range(4)]
        size = cluster.replicated_bytes() >> 20
        print("grow     joins: " + ", ".join(f"{seconds:.1f} s" for seconds in joined) + f" (node 1 has {size} MiB)")
        print("grow     1 to 3 to 5: " + verdict(load.end()))
        load = Load(cluster, cluster.nodes, 40 if short else 90, *groups(40 if short else 120, 2))
        left = [cluster.ctl("leave", number)[1] for number in (5, 4)]
        size = cluster.replicated_bytes() >> 20
        print("grow     leaves: " + ", ".join(f"{seconds:.1f} s" for seconds in left) + f" (node 1 has {size} MiB)")
        print("grow     5 to 3: " + verdict(load.end()))
        for node in cluster.nodes[3:]:
            node.stop()
            node.start()
            if node.process.wait(60) != 64:
                raise Failed(f"node {node.number} came back under its number")


# Restarts the node that `ctl rolling-restart` names, as a service manager would.
RESTART = """
set -e
kill -TERM "$(cat "$DIR/pid-$ROOKERY_NODE_ID")"
while kill -0 "$(cat "$DIR/pid-$ROOKERY_NODE_ID")" 2>/dev/null; do sleep 0.1; done
"$NEW/rookery" node --config "$DIR/node-$ROOKERY_NODE_ID/node.toml" >>"$DIR/node-$ROOKERY_NODE_ID/log" 2>&1 &
echo $! >"$DIR/pid-$ROOKERY_NODE_ID"
"""


class Restarted:
    """A node's process that is no child of this one."""

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def kill(self):
        os.kill(self.pid, 9)

    def wait(self, patience=60):
        until("the process ends", lambda: self.poll() is not None, patience)


def rolling(name, cluster, new, short):
    """Restarts every node with the programs of a directory, under load."""
    load = Load(cluster, cluster.nodes, 60 if short else 120, *groups(40 if short else 120))
    script = cluster.root / "restart.sh"
    script.write_text(RESTART)
    for node in cluster.nodes:
        (cluster.root / f"pid-{node.number}").write_text(str(node.process.pid))
        # Collects the ended process: as a zombie it would look alive to the script.
        threading.Thread(target=node.process.wait).start()
    env = {"DIR": str(cluster.root), "NEW": str(new)}
    try:
        done, seconds = cluster.ctl("rolling-restart", "--exec", f"sh {script}", env=env)
        report = load.end()
    finally:
        for node in cluster.nodes:
            node.process = Restarted(int((cluster.root / f"pid-{node.number}").read_text()))
    for node in done["nodes"]:
        print(
            f"{name:8} node {node['node']}: {node['drain_ms']} ms to drain, {node['restart_ms']} ms until back, "
            f"{node['whole_ms']} ms until nothing was missing"
        )
    print(f"{name:8} {seconds:.1f} s for three nodes: " + verdict(report))


def restart(short):
    with Cluster(3) as cluster:
        rolling("restart", cluster, BIN, short)


def upgrade(short):
    if OLD is None:
        print("upgrade  skipped: OLD=DIR names the directory of an older build")
        return
    with Cluster(3, OLD) as cluster:
        before = cluster.nodes[0].get("/v1/cluster")["feature_level"]
        rolling("upgrade", cluster, BIN, short)
        newest = max(node["supported_level"] for node in cluster.nodes[0].get("/v1/cluster")["nodes"])
        level = lambda: cluster.nodes[0].get("/v1/cluster")["feature_level"]
        until("the feature level has risen", lambda: level() == newest)
        print(f"upgrade  feature level {before} became {newest}")


def drain(short):
    sessions = 200 if short else 2_000
    with Cluster(3) as cluster:
        load = Load(
            cluster, cluster.nodes, 60 if short else 120,
            "pairs", "--clients", str(3 * sessions), "--rate", "50", "--connect-rate", "300",
        )
        node = lambda: next(node for node in cluster.ctl("nodes")[0]["nodes"] if node["id"] == 2)
        until("the node has its sessions", lambda: node()["report"]["sessions"] >= 0.9 * sessions)
        time.sleep(5)
        had = node()["report"]["sessions"]
        _, seconds = cluster.ctl("drain", 2)
        print(f"drain    {had} sessions and the shards of a node: {seconds:.1f} s")
        cluster.ctl("resume", 2)
        report = load.end()
        back = report["reconnects"]
        print("drain    " + verdict(report))
        print(
            f"drain    {back['lost']} connections closed, {back['resumed']} resumed, {back['synced']} began anew; "
            f"online again p50 {back['online']['p50_us'] / 1000:.0f} ms, p99 {back['online']['p99_us'] / 1000:.0f} ms, "
            f"longest {back['online']['max_us'] / 1000:.0f} ms (announced: at most 2000 ms)"
        )


def replace(short):
    with Cluster(3) as cluster:
        load = Load(cluster, cluster.nodes[:2], 60 if short else 120, *groups(40 if short else 120))
        cluster.nodes[2].kill()
        until("the loss is known", lambda: any(node["silent"] for node in cluster.ctl("nodes")[0]["nodes"]))
        new, _ = cluster.add()
        _, seconds = cluster.ctl("replace", 3, new.number)
        print(f"replace  the replicas of the dead node, from the order to its removal: {seconds:.1f} s")
        print("replace  " + verdict(load.end()))


OPERATIONS = {"grow": grow, "restart": restart, "upgrade": upgrade, "drain": drain, "replace": replace}


def main():
    arguments = sys.argv[1:]
    short = "short" in arguments
    names = [name for name in arguments if name != "short"] or list(OPERATIONS)
    for name in names:
        if name not in OPERATIONS:
            sys.exit(f"unknown operation {name}: {', '.join(OPERATIONS)}")
    for name in names:
        try:
            OPERATIONS[name](short)
        except Failed as failure:
            sys.exit(f"FAIL  {name}: {failure}")


if __name__ == "__main__":
    main()
