#!/usr/bin/env python3
"""Runs the pods of the Helm chart as processes: the command, the environment and the Secret as rendered.

    deploy-pods.py TREE BIN

Each pod has a loopback address of its own, and a file of hosts in the place of the headless service. So the names of
the chart are resolved, and addresses change as those of pods do. Needs the right to mount (root, or user namespaces),
and the virtual environment of scripts/deploy-tools.sh (helm-python-sdk).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import helm_python
import yaml

tree, programs = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
work = Path(tempfile.mkdtemp())
unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
TOKEN = "operator-of-the-pods"
VALUES = {"secret": {"clusterSecret": "c" * 32, "adminToken": TOKEN, "extraToml": f'[auth]\nsecret = "{"s" * 32}"'}}
DEADLINE = 180

chart = helm_python.Chart.load(tree / "deploy/helm/rookery")
addresses, running = {}, {}


def render(**values):
    """Returns the StatefulSet and the test pod, and puts the Secret in its place."""
    files = chart.render({**VALUES, **values}, name="rookery", namespace="chat")
    one = lambda name: yaml.safe_load(files[f"rookery/templates/{name}.yaml"])
    for key, text in one("secret")["stringData"].items():
        (work / "etc").mkdir(exist_ok=True)
        (work / "etc" / key).write_text(text)
    return one("statefulset"), one("tests/ready")


def within(command, environment, **options):
    """Starts a command that resolves the names of the pods."""
    names = "".join(f"{address} rookery-{pod}.rookery-nodes\n" for pod, address in addresses.items())
    (work / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    mount = f'mount --bind {work}/hosts /etc/hosts; exec "$@"'
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.Popen([*unshare, "sh", "-ec", mount, "sh", *command], env=path | environment, **options)


def start(stateful, pod, address):
    addresses[pod] = address
    container = stateful["spec"]["template"]["spec"]["containers"][0]
    environment = {}
    for variable in container["env"]:
        value = variable.get("value", f"rookery-{pod}").replace("$(POD_NAME)", f"rookery-{pod}")
        value = value.replace("0.0.0.0", address).replace("/var/lib/rookery", f"{work}/volume-{pod}")
        environment[variable["name"]] = value
    (work / f"volume-{pod}").mkdir(exist_ok=True)
    # Without a command the entry point of the image runs.
    command = container.get("command", ["rookery"]) + [arg.replace("/etc/rookery/", f"{work}/etc/") for arg in container["args"]]
    with open(work / f"log-{pod}", "a") as log:
        running[pod] = within(command, environment, stdout=log, stderr=log)


def stop(*pods):
    for pod in pods:
        running[pod].terminate()
    for pod in pods:
        code = running.pop(pod).wait(90)
        if code:
            fail(f"pod {pod} ended with {code}", pod)


def fail(what, *pods):
    for pod in pods:
        print(f"--- pod {pod}\n{(work / f'log-{pod}').read_text()[-1500:]}", file=sys.stderr)
    sys.exit(f"deploy-pods: {what}")


def get(pod, port, path):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return urllib.request.urlopen(
        urllib.request.Request(f"http://{addresses[pod]}:{port}{path}", headers=headers), timeout=5
    )


def wait_ready(what, *pods):
    end = time.monotonic() + DEADLINE
    waiting = list(pods)
    while waiting:
        try:
            get(waiting[0], 8080, "/readyz")
            waiting.pop(0)
        except OSError as error:
            if running[waiting[0]].poll() is not None or time.monotonic() > end:
                fail(f"{what}: pod {waiting[0]} is not ready: {error}", *pods)
            time.sleep(0.2)
    status = json.load(get(pods[0], 8079, "/v1/cluster"))
    print(f"deploy-pods: {what}: {len(pods)} pods are ready, {len(status['nodes'])} members")
    return status


def passes_test(test):
    container = test["spec"]["containers"][0]
    # There is no service here, only the pods.
    lines = [line for line in container["args"][0].splitlines() if ".rookery-nodes:" in line]
    if len(lines) != 3:
        fail(f"helm test asks {len(lines)} pods")
    run = within([*container["command"], "\n".join(lines)], {}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = run.communicate(timeout=60)[0]
    if run.returncode:
        fail(f"helm test: {said}")


try:
    stateful, test = render()
    for pod in (2, 1):
        start(stateful, pod, f"127.0.1.{pod + 1}")
    # The others have to repeat their requests.
    time.sleep(2)
    start(stateful, 0, "127.0.1.1")
    cluster = wait_ready("the first start", 0, 1, 2)["cluster"]
    passes_test(test)

    stop(0, 1, 2)
    for pod in (0, 1, 2):
        start(stateful, pod, f"127.0.2.{pod + 1}")
    if wait_ready("an outage of all, with new addresses", 0, 1, 2)["cluster"] != cluster:
        fail("an outage of all made another cluster", 0, 1, 2)

    stop(0)
    shutil.rmtree(work / "volume-0")
    start(stateful, 0, "127.0.3.1")
    if wait_ready("a lost volume of pod 0", 0, 1, 2)["cluster"] != cluster:
        fail("pod 0 made a second cluster beside the others", 0)

    stateful, _ = render(replicas=5)
    for pod in (3, 4):
        start(stateful, pod, f"127.0.3.{pod + 1}")
    if wait_ready("five replicas", 0, 1, 2, 3, 4)["cluster"] != cluster:
        fail("a further pod is in another cluster", 3, 4)
    stop(*running)
finally:
    for process in running.values():
        process.kill()
    for process in running.values():
        process.wait()
    shutil.rmtree(work)
