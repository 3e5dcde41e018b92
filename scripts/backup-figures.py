#!/usr/bin/env python3
"""The measuring part of backup-figures.sh: starts nodes, writes, backs up, restores, compares, prints."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

BIN = pathlib.Path(os.environ["BIN"])
MESSAGES = int(os.environ.get("MESSAGES", "1000000"))
SIZE = int(os.environ.get("SIZE", "256"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
LOAD_S = int(os.environ.get("LOAD_S", "30"))
CLIENTS = int(os.environ.get("CLIENTS", "64"))
SHARDS = int(os.environ.get("SHARDS", "32"))
RATE = os.environ.get("RATE", "")

work = pathlib.Path(tempfile.mkdtemp(prefix="backup-figures-", dir=os.environ.get("DATA")))
running = []


def say(text):
    print(f"backup-figures: {text}", file=sys.stderr, flush=True)


def free_ports(count):
    printed = subprocess.run(
        [sys.executable, "scripts/free-ports.py", str(count)], check=True, capture_output=True, text=True
    )
    return int(printed.stdout)


class Node:
    """A node of a cluster, with a directory and ports of its own."""

    def __init__(self, name, ports, seeds):
        self.dir = work / name
        self.dir.mkdir()
        self.url = f"http://127.0.0.1:{ports}"
        self.between = f"127.0.0.1:{ports + 1}"
        self.seeds = seeds or [self.between]
        self.process = None

    def start(self):
        settings = f"""
[server]
listen = "{self.url.removeprefix('http://')}"
admin = ""
[mqtt]
listen = ""
[cluster]
listen = "{self.between}"
seeds = {json.dumps(self.seeds)}
shards = {SHARDS}
[auth]
dev_tokens = true
[limits]
sends_per_second = 1000000
queries_per_second = 1000000
[storage]
dir = "{self.dir / 'data'}"
"""
        (self.dir / "node.toml").write_text(settings)
        log = open(self.dir / "log", "a")
        command = [BIN / "rookery", "node", "--config", self.dir / "node.toml"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        running.append(self.process)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def wait_ready(self):
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the node ended, see its log:\n{(self.dir / 'log').read_text()[-2000:]}")
            try:
                urllib.request.urlopen(self.url + "/readyz", timeout=2)
                return
            except OSError:
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        running.remove(self.process)


def cluster(name, count):
    """Starts a cluster in which every shard has a replica on three nodes, if there are three."""
    base = free_ports(2 * count)
    nodes = []
    for n in range(count):
        nodes.append(Node(f"{name}-{n + 1}", base + 2 * n, [nodes[0].between] if nodes else None))
        nodes[n].start()
        if n == 0:
            nodes[0].wait_ready()
    wait_replicas(nodes)
    return nodes


def wait_replicas(nodes):
    for node in nodes:
        node.wait_ready()
    replicas = min(3, len(nodes))
    while True:
        shards = nodes[0].get("/v1/cluster")["shards"]
        if all(len(shard["replicas"]) == replicas and len((shard["local"] or {"voters": shard["replicas"]})["voters"]) == replicas for shard in shards):
            return
        time.sleep(0.2)


def load(nodes, name, *arguments):
    """Runs the load harness and returns its report."""
    addresses = ",".join(node.url.removeprefix("http://") for node in nodes)
    command = [
        BIN / "rookery-loadtest", "run", "pairs", "--nodes", addresses, "--clients", str(CLIENTS),
        "--size", str(SIZE), "--window", "32", "--no-readback", "--report", work / name, *arguments,
    ]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"the load ended with {ran.returncode}:\n{ran.stdout[-3000:]}{ran.stderr[-2000:]}")
    return json.loads((work / name / "report.json").read_text())


def rookery(*arguments):
    """Runs a command to its end; returns its seconds and its output."""
    began = time.monotonic()
    ran = subprocess.run([BIN / "rookery", *arguments], capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"{arguments[:2]} ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
    return time.monotonic() - began, ran.stdout.strip()


def manifest(directory):
    """The newest manifest of a directory of backups."""
    newest = sorted(pathlib.Path(directory).glob("*.manifest"))[-1]
    return json.loads(newest.read_bytes().split(b"\n", 1)[1])


def digests(manifest):
    """Number and digest of the rows of each shard, those with keys apart."""
    parts = lambda shard: [shard[part]["totals"] for part in ("rows", "keys")]
    return [parts(shard) for shard in manifest["shards"]]


def cost(nodes):
    """Acknowledged messages per second without and with backups one after the other, in turn."""
    without, beside, taken = [], [], []
    for n in range(ROUNDS):
        for with_backups in (n % 2 == 0, n % 2 != 0):
            name = f"round-{n}-{'with' if with_backups else 'without'}"
            creating, count = None, 0
            stop = work / f"{name}.stop"
            if with_backups:
                # Each into a directory of its own: nothing is there already, which is the most expensive case.
                rate = f"--rate {RATE}" if RATE else ""
                loop = (
                    f'n=0; while [ ! -e "{stop}" ]; do "{BIN}/rookery" backup create "{work}/{name}-$n" '
                    f'--url {nodes[0].url} --include-keys {rate} || exit 1; rm -rf "{work}/{name}-$n"; n=$((n+1)); done; echo $n'
                )
                creating = subprocess.Popen(["bash", "-c", loop], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            report = load(nodes, name, "--duration", f"{LOAD_S}s")
            if creating:
                stop.touch()
                printed = creating.communicate()[0]
                if creating.returncode != 0:
                    sys.exit("a backup under load failed")
                count = int(printed.strip().splitlines()[-1])
                taken.append(count)
            (beside if with_backups else without).append(report["acks_per_s"])
            say(f"round {n + 1}: {report['acks_per_s']:.0f} sends/s {'with ' + str(count) + ' backups' if with_backups else 'without'}")
    print(f"sends/s without a backup: {fmt(without)}; with backups one after the other ({sum(taken)} in all): {fmt(beside)}")
    fall = 1 - statistics.median(beside) / statistics.median(without)
    print(f"cost: {fall:.1%} of the sends/s by the medians (aim: at most 10 %)" + (f", at most {RATE}/s" if RATE else ""))


def fmt(rates):
    return f"{statistics.median(rates):.0f} ({', '.join(f'{rate:.0f}' for rate in rates)})"


def size(directory):
    files = [path for path in pathlib.Path(directory).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 2**20


def main():
    say(f"a cluster of three nodes, {SHARDS} shards")
    nodes = cluster("node", 3)
    say(f"{MESSAGES} messages of {SIZE} bytes by {CLIENTS} clients")
    began = time.monotonic()
    written = load(nodes, "fill", "--messages", str(MESSAGES))
    acked = written["counts"]["acked"]
    print(f"written: {acked} messages of {SIZE} bytes in {time.monotonic() - began:.0f} s ({written['acks_per_s']:.0f}/s)")
    cost(nodes)

    backups = work / "backups"
    seconds, said = rookery("backup", "create", backups, "--url", nodes[0].url, "--include-keys")
    first = manifest(backups)
    print(f"backup: {seconds:.1f} s, {size(backups):.0f} MiB; data directory of a node {size(nodes[0].dir / 'data'):.0f} MiB")
    print(f"  {said}")
    print(f"  RPO: what is acknowledged after its begin; repeated without a pause, at most {2 * seconds:.1f} s")
    # Behind the last client the outboxes are emptied and cursors are written for some seconds.
    time.sleep(15)
    seconds, _ = rookery("backup", "create", backups, "--url", nodes[0].url, "--include-keys")
    first = manifest(backups)
    print(f"second backup, with little that is new: {seconds:.1f} s")
    seconds, _ = rookery("backup", "verify", backups)
    print(f"verify: {seconds:.1f} s")
    for node in nodes:
        node.stop()

    restored = {}
    for count in (1, 5):
        base = free_ports(2 * count)
        members = [Node(f"restored{count}-1", base, None)]
        began = time.monotonic()
        seconds, said = rookery("restore", backups, "--data", members[0].dir / "data")
        offline = work / f"offline-{count}"
        began_check = time.monotonic()
        rookery("backup", "create", offline, "--data", members[0].dir / "data", "--include-keys")
        if digests(manifest(offline)) != digests(first):
            sys.exit("the restored directory differs from the backup")
        print(f"restored for {count}: every shard of the directory equal to the backup by digest")
        began += time.monotonic() - began_check
        members[0].start()
        members[0].wait_ready()
        ready = time.monotonic() - began
        for n in range(1, count):
            members.append(Node(f"restored{count}-{n + 1}", base + 2 * n, [members[0].between]))
            members[n].start()
        wait_replicas(members)
        whole = time.monotonic() - began
        print(f"restored into {count}: restore {seconds:.1f} s; RTO, the first node ready: {ready:.1f} s; all replicas: {whole:.1f} s")
        again = work / f"again-{count}"
        rookery("backup", "create", again, "--url", members[-1].url, "--include-keys")
        restored[count] = digests(manifest(again))
        if count > 1:
            _, said = rookery("audit", "--url", members[0].url, "--rows", "--wait", "120")
            print(f"  {said}")
        for member in members:
            member.stop()
    for count, found in restored.items():
        # The owners write rows of their own after a start, and the audit log has an entry for each reading of a backup.
        equal = sum(a == b for a, b in zip(found, digests(first)))
        rows = sum(part["rows"] for shard in found for part in shard)
        print(f"running again as {count}: {rows} rows, {equal} of {len(found)} shards unchanged since the restoration")


try:
    main()
finally:
    for process in running:
        process.kill()
        process.wait()
    shutil.rmtree(work)
