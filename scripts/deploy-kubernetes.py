#!/usr/bin/env python3
"""Renders the Helm chart and the Kustomize overlays, and validates what comes out. Contacts no cluster.

    deploy-kubernetes.py TREE KUBECTL PROMTOOL [VERSION...]

Runs in the virtual environment of scripts/deploy-tools.sh (helm-python-sdk, kubernetes-validate).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import helm_python
import jsonschema
import kubernetes_validate
import yaml

tree, kubectl, promtool = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
chart_dir = tree / "deploy/helm/rookery"
VERSIONS = sys.argv[4:] or ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
# The native sleep of preStop, which Kustomize has no condition for.
KUSTOMIZE_VERSIONS = VERSIONS[1:]

problems = []


def complain(where, what):
    problems.append(f"{where}: {what}")


class UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping with the same key twice, which YAML forbids and PyYAML takes."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def closed(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


# The resources of the Prometheus operator have no schema in the validator. These are the fields that are used.
TEXT, TEXTS = {"type": "string", "minLength": 1}, {"type": "object", "additionalProperties": {"type": "string"}}
META = closed(["name"], name=TEXT, namespace=TEXT, labels=TEXTS)
ENDPOINT = closed(
    ["port", "path", "interval", "authorization"],
    port={"const": "admin"},
    path={"const": "/metrics"},
    interval={"type": "string", "pattern": "^[0-9]+(s|m)$"},
    authorization=closed(["credentials"], credentials=closed(["name", "key"], name=TEXT, key={"const": "admin-token"})),
    relabelings={
        "type": "array",
        "items": closed(["sourceLabels", "targetLabel"], sourceLabels={"type": "array"}, targetLabel=TEXT),
    },
)
RULE = closed(
    ["alert", "expr", "labels", "annotations"],
    **{"alert": TEXT, "expr": TEXT, "for": TEXT, "labels": TEXTS, "annotations": TEXTS},
)


def resource(**spec):
    required = list(spec)
    return closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=TEXT, kind=TEXT, metadata=META, spec=closed(required, **spec),
    )


OPERATOR = {
    "PodMonitor": resource(
        # The label becomes the job, which the alerts select.
        jobLabel={"const": "app.kubernetes.io/name"},
        selector=closed(["matchLabels"], matchLabels={**TEXTS, "required": ["app.kubernetes.io/name"]}),
        podMetricsEndpoints={"type": "array", "minItems": 1, "items": ENDPOINT},
    ),
    "PrometheusRule": resource(
        groups={
            "type": "array",
            "minItems": 1,
            "items": closed(["name", "rules"], name=TEXT, rules={"type": "array", "items": RULE}),
        }
    ),
}


def check_rules(where, doc):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(doc["spec"], file)
        file.flush()
        run = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True)
        if run.returncode:
            complain(where, run.stdout + run.stderr)


def validate(where, docs, version):
    for doc in docs:
        name = f"{where}, {version}: {doc.get('kind')}/{doc.get('metadata', {}).get('name')}"
        try:
            if doc["apiVersion"].startswith("monitoring.coreos.com/"):
                jsonschema.validate(doc, OPERATOR[doc["kind"]])
            else:
                kubernetes_validate.validate(doc, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError as error:
            complain(name, error.message)
        except (jsonschema.ValidationError, KeyError) as error:
            path = ".".join(str(part) for part in getattr(error, "path", []))
            complain(name, f"{path}: {getattr(error, 'message', error)}")


def one(docs, kind, name=None):
    found = [doc for doc in docs if doc["kind"] == kind and name in (None, doc["metadata"]["name"])]
    return found[0] if len(found) == 1 else {}


def get(doc, path):
    for part in path.split("."):
        doc = doc[int(part)] if isinstance(doc, list) else (doc or {}).get(part)
    return doc


def check_operation(where, docs, replicas):
    """Checks what a cluster needs in order to start, drain and survive."""
    stateful = one(docs, "StatefulSet")
    pod = "spec.template.spec."
    container = pod + "containers.0."
    expected = {
        "spec.podManagementPolicy": "Parallel",
        "spec.minReadySeconds": 10,
        "spec.replicas": replicas,
        "spec.serviceName": "rookery-nodes",
        "spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        pod + "terminationGracePeriodSeconds": 75,
        pod + "topologySpreadConstraints.0.maxSkew": 1,
        pod + "securityContext.runAsNonRoot": True,
        container + "readinessProbe.httpGet.path": "/readyz",
        container + "readinessProbe.periodSeconds": 2,
        container + "readinessProbe.failureThreshold": 3,
        container + "livenessProbe.httpGet.path": "/livez",
        container + "startupProbe.httpGet.path": "/livez",
        container + "securityContext.readOnlyRootFilesystem": True,
        container + "securityContext.allowPrivilegeEscalation": False,
        container + "securityContext.capabilities": {"drop": ["ALL"]},
    }
    for path, value in expected.items():
        if get(stateful, path) != value:
            complain(where, f"StatefulSet {path} is {get(stateful, path)!r} and not {value!r}")
    stop = get(stateful, container + "lifecycle.preStop") or {}
    if stop not in ({"sleep": {"seconds": 5}}, {"exec": {"command": ["sleep", "5"]}}):
        complain(where, f"preStop is {stop}")
    headless = one(docs, "Service", "rookery-nodes").get("spec", {})
    if headless.get("clusterIP") != "None" or headless.get("publishNotReadyAddresses") is not True:
        complain(where, "nodes cannot meet before they are ready")
    labels = get(stateful, "spec.template.metadata.labels")
    ports = {port["name"] for port in get(stateful, container + "ports")}
    for service in (doc for doc in docs if doc["kind"] == "Service"):
        if not set(service["spec"]["selector"].items()) <= set(labels.items()):
            complain(where, f"the service {service['metadata']['name']} selects no node")
        if not {port["targetPort"] for port in service["spec"]["ports"]} <= ports:
            complain(where, f"the service {service['metadata']['name']} has a port that no node has")
    budget = one(docs, "PodDisruptionBudget")
    if (replicas > 1) != (get(budget, "spec.maxUnavailable") == 1):
        complain(where, f"a disruption budget of {get(budget, 'spec.maxUnavailable')} for {replicas} nodes")
    # Secrets come from the mounted Secret.
    environment = {variable["name"]: variable.get("value", "") for variable in get(stateful, container + "env")}
    for name in environment:
        if name.endswith(("SECRET", "TOKEN")):
            complain(where, f"{name} is a secret in the environment")
    return stateful


def normal(stateful):
    """Returns the pod of a StatefulSet without labels, to compare the chart with Kustomize."""
    pod = dict(stateful["spec"]["template"]["spec"])
    pod["topologySpreadConstraints"] = [{**c, "labelSelector": None} for c in pod["topologySpreadConstraints"]]
    container = dict(pod["containers"][0])
    container.pop("imagePullPolicy", None)
    container["args"] = [" ".join(arg.split()) for arg in container["args"]]
    container["env"] = [
        {**v, "value": "".join(v["value"].split())} if "value" in v else v for v in container["env"]
    ]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = dict(container[probe]["httpGet"])
        get.pop("scheme", None)
        container[probe] = {**container[probe], "httpGet": get}
    pod["containers"] = [container]
    return pod


# --- Helm.

secret = {"existingSecret": "rookery"}
alone = {"replicas": 1, "podDisruptionBudget": {"enabled": False}}
on = {"enabled": True}
VALUES = {
    "one node": {"secret": secret, **alone},
    "three nodes": {"secret": {"clusterSecret": "x" * 32, "adminToken": "y" * 32}},
    "five nodes": {
        "replicas": 5,
        "secret": secret,
        "settings": {
            "auth": {"algorithm": "EdDSA", "key_file": "/etc/rookery/tokens.pem"},
            "limits": {"sends_per_second": 1000000},
            "server": {"trusted_proxies": ["10.0.0.0/8"]},
        },
        "tolerations": [{"key": "chat", "operator": "Exists"}],
        "nodeSelector": {"disk": "ssd"},
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "chat"},
        "podAnnotations": {"team": "chat"},
    },
    "TLS": {"secret": secret, "tls": {"secretName": "rookery-tls"}, "service": {"type": "LoadBalancer"}},
    "monitoring": {
        "secret": secret,
        "monitoring": {"podMonitor": {**on, "labels": {"release": "prometheus"}}, "rules": on, "dashboard": on},
    },
    "external secret and ingress": {
        "secret": {"existingSecret": "from-a-vault"},
        "ingress": {**on, "className": "nginx", "tlsSecretName": "chat-tls", "annotations": {"a": "b"}},
        "persistence": {"storageClassName": "fast", "size": "100Gi"},
        "listenAddress": "[::]",
        "networkPolicy": {"enabled": True, "monitors": []},
    },
}
REFUSED = {
    "a budget for one node": {"secret": secret, "replicas": 1},
    "no secret": {},
    "a short secret": {"secret": {"clusterSecret": "short", "adminToken": "y" * 32}},
    "an unknown value": {"secret": secret, "replica": 3},
    "a number as text": {"secret": secret, "replicas": "3"},
    "a secret among the settings": {"secret": secret, "settings": {"auth": {"secret": "x" * 32}}},
    "a setting of the chart": {"secret": secret, "settings": {"server": {"listen": "0.0.0.0:80"}}},
}
secret_values = {"secret": secret}
for message in helm_python.lint(chart_dir, values=secret_values)["messages"]:
    # 1 is information, such as the missing icon.
    if message["severity"] > 1:
        complain("helm lint", f"{message['path']}: {message['error']}")
try:
    chart = helm_python.Chart.load(chart_dir)
except helm_python.HelmError as error:
    sys.exit("\n".join([*problems, f"chart: {error}"]))
plain = None
manifests = 0
for title, values in VALUES.items():
    for version in VERSIONS:
        where = f"chart, {title}"
        try:
            rendered = chart.render({**values, "kubeVersion": f"{version}.0"}, name="rookery", namespace="chat")
            docs = [
                doc
                for file, text in rendered.items()
                if file.endswith(".yaml")
                for doc in yaml.load_all(text, UniqueKeys)
                if doc
            ]
        except (helm_python.HelmError, yaml.YAMLError) as error:
            complain(f"{where}, {version}", error)
            continue
        manifests += len(docs)
        validate(where, docs, version)
        stateful = check_operation(where, docs, values.get("replicas", 3))
        native = "sleep" in get(stateful, "spec.template.spec.containers.0.lifecycle.preStop")
        if native != (version != "1.29"):
            complain(where, f"preStop does not fit {version}")
        if title == "one node" and version == VERSIONS[-1]:
            plain = normal(stateful)
        if title == "monitoring" and version == VERSIONS[-1]:
            check_rules(where, one(docs, "PrometheusRule"))
            if not one(docs, "ConfigMap")["data"]["rookery.json"].startswith("{"):
                complain(where, "the dashboard is empty")
for title, values in REFUSED.items():
    try:
        chart.render(values, name="rookery", namespace="chat")
        complain("chart", f"accepts {title}")
    except helm_python.HelmError:
        pass

# --- Kustomize.

for overlay, replicas in (("base", 3), ("example", 5)):
    where = f"kustomize/{overlay}"
    run = subprocess.run([kubectl, "kustomize", tree / "deploy/kustomize" / overlay], capture_output=True, text=True)
    if run.returncode:
        complain(where, run.stderr)
        continue
    if run.stderr:
        complain(where, run.stderr)
    docs = [doc for doc in yaml.load_all(run.stdout, UniqueKeys) if doc]
    manifests += len(docs)
    for version in KUSTOMIZE_VERSIONS:
        validate(where, docs, version)
    stateful = check_operation(where, docs, replicas)
    if overlay == "base" and plain and normal(stateful) != plain:
        ours, theirs = normal(stateful), plain
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                complain(where, f"differs from the chart in {key}:\n  {ours.get(key)}\n  {theirs.get(key)}")
    if overlay == "example":
        check_rules(where, one(docs, "PrometheusRule"))
        if not one(docs, "ConfigMap").get("data"):
            complain(where, "no dashboard")

for problem in problems:
    print(problem, file=sys.stderr)
if problems:
    sys.exit(1)
print(f"deploy-kubernetes: {manifests} manifests of {len(VALUES)} value sets and 2 overlays are valid, "
      f"Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}; {len(REFUSED)} value sets refused")
